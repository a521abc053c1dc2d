#!/bin/sh
# Blue-green: sends all traffic to the colour that has none; said again, it goes back. Usage: k8s/promote.sh OVERLAY
set -eu
cd "$(dirname "$0")"
. ./names.sh

live=$(k get service "$name" -o 'jsonpath={.spec.selector.track}')
case $live in
blue) next=green ;;
green) next=blue ;;
*)
    echo "The Service $name has no colour: add components/blue-green to the overlay." >&2
    exit 1
    ;;
esac

# As many pods as the live colour has: the HPA of a colour without traffic keeps it at its minimum, and takes minutes
# before it scales down again.
k scale "deployment/$name-$next" --replicas="$(k get "deployment/$name-$live" -o 'jsonpath={.spec.replicas}')"
k rollout status "deployment/$name-$next" --timeout=15m
k patch service "$name" --patch "{\"spec\": {\"selector\": {\"track\": \"$next\"}}}"
echo "$next is live. Record it: set \`track: $next\` in k8s/components/blue-green/service.yaml."
