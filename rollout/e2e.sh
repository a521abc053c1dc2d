#!/bin/sh
# A rolling update of the service on a cluster, under load: builds the image, brings it there, applies an overlay,
# waits, runs `rollout cluster`, and takes away what it applied.
#
# It needs: docker (or DOCKER=podman), kubectl with a current context, the right to make a namespace there, and a URL
# at which the overlay's Service answers from here.
#
#   OVERLAY=local     which overlay of k8s/overlays
#   LOAD=kind|k3d|minikube|k3s|push|none   how the image gets to the cluster [default: by the name of the context]
#   URL=http://HOST:PORT   where the service answers [default: the node port of the first node]
#   INGRESS=https://HOST   where its Ingress answers: the rollouts are made again with the clients there, any certificate believed
#   ROLLOUTS=3        how often the Deployment is restarted
#   REPLICAS=3        pods at least, set on the HPA for this run; a single pod proves little
#   ROLLOUT_ARGS=     more for `rollout cluster`, such as --clients or --chart
#   INGRESS_ARGS=     the same for the rollouts behind the Ingress
#   KEEP=1            leave everything applied
set -eu
cd "$(dirname "$0")/.."

overlay=${OVERLAY:-local}
docker=${DOCKER:-docker}
directory=k8s/overlays/$overlay

fail() {
    echo "e2e: $1" >&2
    exit 2
}

command -v kubectl > /dev/null || fail "kubectl is not on the PATH"
command -v "$docker" > /dev/null || fail "$docker is not on the PATH; set DOCKER"
[ -d "$directory" ] || fail "there is no overlay $directory; set OVERLAY"
context=$(kubectl config current-context 2> /dev/null) || fail "kubectl has no current context: choose a cluster with kubectl config use-context"
kubectl get --raw /readyz > /dev/null 2>&1 || fail "the cluster of context $context does not answer"

rendered=$(kubectl kustomize "$directory")
image=$(printf '%s\n' "$rendered" | sed -n 's/^ *\(- \)\{0,1\}image: *//p' | sort -u)
[ "$(printf '%s\n' "$image" | wc -l)" -eq 1 ] || fail "$directory renders more than one image: $image"
name_of() {
    printf '%s\n' "$rendered" | awk -v wanted="$1" '/^---/ { kind = "" } /^kind:/ { kind = $2 } /^  name:/ && kind == wanted { print $2 }'
}
deployment=$(name_of Deployment)
[ "$(printf '%s\n' "$deployment" | wc -w)" -eq 1 ] || fail "$directory does not render exactly one Deployment: $deployment"
namespace=$(sed -n 's/^namespace: //p' "$directory/kustomization.yaml")
[ -n "$namespace" ] || fail "$directory/kustomization.yaml names no namespace"
if kubectl get namespace "$namespace" > /dev/null 2>&1 && [ -z "${KEEP:-}" ]; then
    fail "namespace $namespace is there already and would be taken away at the end: set KEEP=1, or delete it first"
fi

echo "e2e: overlay $overlay, namespace $namespace, context $context"
load=${LOAD:-}
if [ -z "$load" ]; then
    case $context in
        kind-*) load=kind ;;
        k3d-*) load=k3d ;;
        minikube*) load=minikube ;;
        *) fail "cannot tell from context $context how $image gets to the cluster: set LOAD=kind, k3d, minikube, k3s, push or none" ;;
    esac
fi

echo "e2e: building $image"
DOCKER_BUILDKIT=1 "$docker" build --tag "$image" .
echo "e2e: bringing $image to $context ($load)"
case $load in
    kind) kind load docker-image --name "${context#kind-}" "$image" ;;
    k3d) k3d image import --cluster "${context#k3d-}" "$image" ;;
    minikube) minikube image load "$image" ;;
    k3s) "$docker" save "$image" | sudo k3s ctr images import - ;;
    push) "$docker" push "$image" ;;
    none) ;;
    *) fail "LOAD=$load is none of kind, k3d, minikube, k3s, push, none" ;;
esac
cargo build --release --package rollout

# shellcheck disable=SC2329 # the trap calls it
clean_up() {
    if [ -z "${KEEP:-}" ]; then
        echo "e2e: taking away what was applied (KEEP=1 leaves it)"
        kubectl delete --kustomize "$directory" --ignore-not-found --timeout=5m > /dev/null
    fi
}
trap clean_up EXIT
trap 'exit 130' INT TERM

echo "e2e: applying $directory"
kubectl apply --kustomize "$directory"
kubectl --namespace "$namespace" patch hpa "$(name_of HorizontalPodAutoscaler)" --type merge \
    --patch "{\"spec\": {\"minReplicas\": ${REPLICAS:-3}, \"maxReplicas\": ${REPLICAS:-3}}}"
# The HPA may have no metrics here, and then holds the number of pods that it finds.
kubectl --namespace "$namespace" scale deployment "$deployment" --replicas "${REPLICAS:-3}"
kubectl --namespace "$namespace" rollout status "deployment/$deployment" --timeout=10m

if [ -z "${URL:-}" ]; then
    host=$(kubectl get nodes -o 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}')
    port=$(kubectl --namespace "$namespace" get service "$(name_of Service)" -o 'jsonpath={.spec.ports[0].nodePort}')
    [ -n "$port" ] || fail "the Service of $overlay has no node port: set URL to where its load balancer or ingress answers"
    URL=http://$host:$port
fi
under_load() {
    echo "e2e: rolling out under load at $1"
    target/release/rollout cluster --namespace "$namespace" --deployment "$deployment" --rollouts "${ROLLOUTS:-3}" --url "$@"
}
code=0
# Word splitting is wanted: each of these is a list of arguments.
# shellcheck disable=SC2086
under_load "$URL" ${ROLLOUT_ARGS:-} || code=$?
if [ -n "${INGRESS:-}" ]; then
    # shellcheck disable=SC2086
    under_load "$INGRESS" --insecure ${INGRESS_ARGS:-} || code=$?
fi
exit "$code"
