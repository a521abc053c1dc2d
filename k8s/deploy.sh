#!/bin/sh
# Applies an overlay and waits until its pods have been replaced. Usage: k8s/deploy.sh OVERLAY
set -eu
cd "$(dirname "$0")"
overlay=overlays/$1
./check-placeholders.sh "$1"
. ./names.sh

# With two colours an apply must not undo `make promote`: the colour in the files has to be the one that is live.
colour=$(kubectl kustomize "$overlay" |
    awk '/^kind:/ { service = $2 == "Service" } service && /^    track: (blue|green)$/ { print $2 }')
if [ -n "$colour" ]; then
    live=$(k get service "$name" --ignore-not-found -o 'jsonpath={.spec.selector.track}')
    if [ -n "$live" ] && [ "$live" != "$colour" ]; then
        echo "$live is live and the overlay says $colour: set \`track: $live\` in k8s/components/blue-green/service.yaml" >&2
        exit 1
    fi
fi

kubectl apply -k "$overlay"
for deployment in $(k get deployments -l "app.kubernetes.io/name=$name" -o name); do
    k rollout status "$deployment" --timeout=15m
done
