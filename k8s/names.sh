# Sourced in k8s/ by the scripts beside it, with the overlay as $1: what is deployed, and where.
# shellcheck shell=sh disable=SC2034
name=$(sed -n 's/^ *app.kubernetes.io\/name: //p' base/kustomization.yaml)
namespace=$(sed -n 's/^namespace: //p' "overlays/$1/kustomization.yaml")
k() { kubectl -n "$namespace" "$@"; }
