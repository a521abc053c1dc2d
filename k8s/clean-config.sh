#!/bin/sh
# Removes the generated ConfigMaps that no Deployment, old revision or pod names any more. An apply removes none, and Flux is
# told not to: the pods of a rollout that is stuck still need theirs. Not while a deploy is under way.
# Usage: k8s/clean-config.sh OVERLAY
set -eu
cd "$(dirname "$0")"
. ./names.sh
# Generated names end in ten characters that say what is in them.
maps=$(k get configmaps -l "app.kubernetes.io/name=$name" -o name | sed -n 's|^configmap/\(.*-[[:alnum:]]\{10\}\)$|\1|p')
named=$(k get deployments,replicasets,pods -l "app.kubernetes.io/name=$name" -o json)
for map in $maps; do
    case $named in
    *"\"$map\""*) ;;
    *) k delete configmap "$map" ;;
    esac
done
