#!/bin/sh
# Blue-green: sends all traffic to the colour that has none; said again, it goes back. Usage: k8s/promote.sh OVERLAY
#
#   SETTLE=120   for how many seconds after the switch the HPA may take no pod away
set -eu
cd "$(dirname "$0")"
. ./names.sh

live=$(live_track)
case $live in
stable) next=green ;;
green) next=stable ;;
*) fail "There is no Service $name with one of two colours." ;;
esac
from=$(deployment_of "$live")
to=$(deployment_of "$next")
found=$(k get deployment "$to" --ignore-not-found -o name)
[ -n "$found" ] || fail "There is no Deployment $to: add components/blue-green to the overlay."

# As many pods as the live colour has. The HPA of a colour without traffic would take them away again, so its minimum is
# raised, and put back when it has seen the traffic.
settle=0
replicas=$(k get deployment "$from" -o 'jsonpath={.spec.replicas}')
minimum=$(k get hpa "$to" --ignore-not-found -o 'jsonpath={.spec.minReplicas}')
set_minimum() { k patch hpa "$to" --patch "{\"spec\": {\"minReplicas\": $1}}"; }
if [ -n "$minimum" ] && [ "$minimum" -lt "$replicas" ]; then
    trap 'set_minimum "$minimum"' EXIT
    trap 'exit 130' INT TERM
    set_minimum "$replicas"
    settle=${SETTLE:-120}
fi
k scale "deployment/$to" --replicas="$replicas"
k rollout status "deployment/$to" --timeout=15m
k patch service "$name" --patch "{\"spec\": {\"selector\": {\"track\": \"$next\"}}}"
echo "$to is live. Record it: set \`track: $next\` in k8s/components/blue-green/service.yaml."
sleep "$settle"
