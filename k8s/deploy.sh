#!/bin/sh
# Applies an overlay and waits until its pods have been replaced. Usage: k8s/deploy.sh OVERLAY
set -eu
cd "$(dirname "$0")"
. ./names.sh
overlay=overlays/$1
./check-placeholders.sh "$1"

# With two colours an apply must not undo `make promote`, nor go before it: the colour in the files has to be the one that
# is live.
rendered=$(kubectl kustomize "$overlay")
colour=$(printf '%s\n' "$rendered" | awk -v name="$name" '
    /^---/ { kind = ""; named = 0; spec = 0 }
    /^kind:/ { kind = $2 }
    /^spec:/ { spec = 1 }
    !spec && $0 == "  name: " name { named = 1 }
    spec && named && kind == "Service" && /^    track:/ { print $2 }')
if [ -n "$colour" ]; then
    live=$(live_track)
    if [ -n "$live" ] && [ "$live" != "$colour" ]; then
        fail "$live is live and the overlay says $colour: set \`track: $live\` in k8s/components/blue-green/service.yaml, or make promote first"
    fi
fi

cluster apply -k "$overlay"
deployments=$(k get deployments -l "app.kubernetes.io/name=$name" -o name)
[ -n "$deployments" ] || fail "Nothing to wait for: no Deployment has the label app.kubernetes.io/name=$name."
for deployment in $deployments; do
    k rollout status "$deployment" --timeout=15m
done
