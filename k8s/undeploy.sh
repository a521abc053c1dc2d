#!/bin/sh
# Removes an overlay, with its namespace and all that is in it. Usage: k8s/undeploy.sh OVERLAY [NAMESPACE]
# For another overlay than local the namespace has to be said too.
set -eu
cd "$(dirname "$0")"
. ./names.sh
if [ "$1" != local ] && [ "${2:-}" != "$namespace" ]; then
    fail "This removes the namespace $namespace with all that is in it. If that is meant: make undeploy OVERLAY=$1 CONFIRM=$namespace"
fi
cluster delete -k "overlays/$1" --ignore-not-found
