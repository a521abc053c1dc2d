#!/bin/sh
# Gives the canary a share of the traffic, 0 to 100 percent. Usage: k8s/canary.sh OVERLAY WEIGHT
set -eu
cd "$(dirname "$0")"
. ./names.sh
weight=${2:-}
case $weight in
*[!0-9]* | '' | ????*) weight=101 ;;
esac
[ "$weight" -le 100 ] || fail "WEIGHT is a number from 0 to 100."

# How many rules a route has; none when there is no such route, or no such kind in this cluster.
count_rules() { # KIND NAME LIST-OF-RULES
    if found=$(k get "$1" "$2" --ignore-not-found -o "go-template={{range $3}}rule{{\"\n\"}}{{end}}" 2>&1); then
        printf '%s\n' "$found" | grep -cx rule || true
    else
        case $found in
        *"doesn't have a resource type"*) echo 0 ;;
        *) fail "$found" ;;
        esac
    fi
}
# In each rule the stable track stands first, the canary second.
set_weights() { # KIND NAME LIST-OF-RULES COUNT TARGETS-OF-A-RULE
    patch=
    rule=0
    while [ "$rule" -lt "$4" ]; do
        path=$(echo "$3" | tr . /)/$rule/$5
        patch="$patch${patch:+, }{\"op\": \"replace\", \"path\": \"$path/0/weight\", \"value\": $((100 - weight))}"
        patch="$patch, {\"op\": \"replace\", \"path\": \"$path/1/weight\", \"value\": $weight}"
        rule=$((rule + 1))
    done
    k patch "$1" "$2" --type=json --patch "[$patch]"
}
for route in "httproutes.gateway.networking.k8s.io $name .spec.rules backendRefs" \
    "virtualservices.networking.istio.io $name-canary .spec.http route"; do
    # shellcheck disable=SC2086
    set -- $route
    rules=$(count_rules "$1" "$2" "$3")
    if [ "$rules" -gt 0 ]; then
        set_weights "$1" "$2" "$3" "$rules" "$4"
        echo "$weight % of the traffic goes to the canary. An apply sets the weights of the files again: record them there."
        exit
    fi
done
fail "There is no route to weigh: add components/canary-gateway-api or components/canary-istio to the overlay."
