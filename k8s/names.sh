# Sourced in k8s/ by the scripts beside it, with the overlay as $1: what is deployed, and where. CONTEXT says in which of
# kubectl's contexts; without it, in the current one.
# shellcheck shell=sh disable=SC2034
fail() {
    echo "$1" >&2
    exit 1
}
[ -f "overlays/${1:-}/kustomization.yaml" ] || fail "There is no overlay k8s/overlays/${1:-}."
name=$(sed -n 's/^ *app.kubernetes.io\/name: //p' base/kustomization.yaml)
namespace=$(sed -n 's/^namespace: //p' "overlays/$1/kustomization.yaml")
[ -n "$namespace" ] || fail "k8s/overlays/$1 names no namespace."
# In a pod there is no context, and kubectl asks the cluster that it runs in.
context=${CONTEXT:-$(kubectl config current-context 2>/dev/null || true)}
echo "overlay $1, namespace $namespace, context ${context:-none}" >&2

case $1,${CONTEXT:-},$context in
local,,kind-* | local,,k3d-* | local,,minikube | local,,microk8s | local,,docker-desktop | local,,rancher-desktop | \
    local,,orbstack | local,,colima | local,,colima-*) ;;
local,,*)
    fail "The overlay local is for a cluster on this machine, and the context ${context:-none} does not look like one.
Say OVERLAY= for another overlay, or CONTEXT= for the context that is meant."
    ;;
esac

cluster() { kubectl --context "$context" "$@"; }
k() { cluster -n "$namespace" "$@"; }

# The Deployment of a track.
deployment_of() {
    case $1 in
    stable) echo "$name" ;;
    *) echo "$name-$1" ;;
    esac
}

# The track whose pods the Service has; stable when it names none; nothing when there is no Service.
live_track() {
    k get service "$name" --ignore-not-found -o 'go-template={{or .spec.selector.track "stable"}}'
}
