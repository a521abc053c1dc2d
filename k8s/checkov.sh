#!/bin/sh
# Runs checkov over what the overlays and the combinations render. It must be on the PATH: pip install -r k8s/requirements.txt
set -eu
cd "$(dirname "$0")"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for target in overlays/* tests/*; do
    kubectl kustomize "$target" >"$dir/$(echo "$target" | tr / -).yaml"
done
checkov --config-file checkov.yaml --directory "$dir"
