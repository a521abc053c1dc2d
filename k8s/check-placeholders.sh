#!/bin/sh
# Lists the placeholders in what an overlay renders, or all overlays and gitops when none is named; exits 1 if any is left.
# Usage: k8s/check-placeholders.sh [OVERLAY]
set -eu
cd "$(dirname "$0")"
if [ $# -gt 0 ]; then
    set -- "overlays/$1"
else
    set -- overlays/* gitops/*
fi
left=0
for target in "$@"; do
    rendered=$(kubectl kustomize "$target")
    found=$(printf '%s\n' "$rendered" | sort -u | grep -E 'example\.com|change-me') || continue
    printf '%s:\n%s\n' "$target" "$found"
    left=1
done
if [ $left -ne 0 ]; then
    echo "These are placeholders. They stand in k8s/site/site.env, or in the overlay and its components themselves:" >&2
    grep -nE 'example\.com|change-me' site/site.env | sed 's|^|k8s/site/site.env:|' >&2 || true
fi
exit $left
