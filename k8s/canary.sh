#!/bin/sh
# Gives the canary a share of the traffic, 0 to 100 percent. Usage: k8s/canary.sh OVERLAY WEIGHT
set -eu
cd "$(dirname "$0")"
. ./names.sh
weight=$2
case $weight in
*[!0-9]* | '') weight=101 ;;
esac
if [ "$weight" -gt 100 ]; then
    echo "WEIGHT is a number from 0 to 100." >&2
    exit 2
fi

# The stable track stands first in each rule, the canary second.
set_weights() { # PATH-OF-A-RULE'S-TARGETS ...
    patch=
    for targets in "$@"; do
        patch="$patch${patch:+, }{\"op\": \"replace\", \"path\": \"$targets/0/weight\", \"value\": $((100 - weight))}"
        patch="$patch, {\"op\": \"replace\", \"path\": \"$targets/1/weight\", \"value\": $weight}"
    done
    printf '[%s]' "$patch"
}
if [ -n "$(k get httproutes.gateway.networking.k8s.io "$name" --ignore-not-found -o name 2>/dev/null)" ]; then
    k patch httproutes.gateway.networking.k8s.io "$name" --type=json \
        --patch "$(set_weights /spec/rules/0/backendRefs /spec/rules/1/backendRefs)"
elif [ -n "$(k get virtualservices.networking.istio.io "$name" --ignore-not-found -o name 2>/dev/null)" ]; then
    k patch virtualservices.networking.istio.io "$name" --type=json --patch "$(set_weights /spec/http/0/route)"
else
    echo "There is no route to weigh: add components/canary-gateway-api or components/canary-istio to the overlay." >&2
    exit 1
fi
echo "$weight % of the traffic goes to the canary. An apply sets the weights of the files again: record them there."
