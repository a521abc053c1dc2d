#!/bin/sh
# Blue-green: sends all traffic to the colour that has none; said again, it goes back. Usage: k8s/promote.sh OVERLAY
set -eu
cd "$(dirname "$0")"
namespace=$(sed -n 's/^namespace: //p' "overlays/$1/kustomization.yaml")
k() { kubectl -n "$namespace" "$@"; }

live=$(k get service landfall -o 'jsonpath={.spec.selector.track}')
case $live in
blue) next=green ;;
green) next=blue ;;
*)
    echo "The Service landfall has no colour: add components/blue-green to the overlay." >&2
    exit 1
    ;;
esac

# As many pods as the live colour has: the HPA of a colour without traffic keeps it at its minimum, and takes minutes
# before it scales down again.
k scale "deployment/landfall-$next" --replicas="$(k get "deployment/landfall-$live" -o 'jsonpath={.spec.replicas}')"
k rollout status "deployment/landfall-$next" --timeout=15m
k patch service landfall --patch "{\"spec\": {\"selector\": {\"track\": \"$next\"}}}"
echo "$next is live. Record it: set \`track: $next\` in k8s/components/blue-green/service.yaml."
