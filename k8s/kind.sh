#!/bin/sh
# From nothing to a proof: a cluster by kind on this machine, metrics-server, an ingress, the image, the overlay `local`, and
# rolling updates under load by rollout/e2e.sh, at the node's port and through the ingress. Tested with stand-ins for kind and
# kubectl (k8s/check/tests/kind.rs), and not yet with a real cluster.
#
# It needs docker, kind, kubectl, cargo and the internet. The kubeconfig of the user is not touched.
#
#   CLUSTER=landfall  what the cluster is called; one of that name is used, and left, if it is there
#   KEEP=1            leave the cluster, and what is applied to it
#   ROLLOUTS, REPLICAS, ROLLOUT_ARGS, INGRESS_ARGS, DOCKER   as rollout/e2e.sh has them
set -eu
cd "$(dirname "$0")/.."

cluster=${CLUSTER:-landfall}
# Releases: https://github.com/kubernetes-sigs/metrics-server/releases
metrics_server=https://github.com/kubernetes-sigs/metrics-server/releases/download/v0.8.1/components.yaml

for program in "${DOCKER:-docker}" kind kubectl cargo; do
    command -v "$program" > /dev/null || {
        echo "kind: $program is not on the PATH" >&2
        exit 2
    }
done

KUBECONFIG=$(mktemp)
export KUBECONFIG
made=
clean_up() {
    if [ -n "$made" ] && [ -z "${KEEP:-}" ]; then
        kind delete cluster --name "$cluster"
    fi
    rm -f "$KUBECONFIG"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

if kind get clusters | grep -qx "$cluster"; then
    kind export kubeconfig --name "$cluster"
else
    made=1
    # Two nodes to spread over, and the node ports of the overlay and of the ingress at 127.0.0.1.
    kind create cluster --name "$cluster" --wait 3m --config - << EOF
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
- role: control-plane
  extraPortMappings:
  - {containerPort: 30080, hostPort: 30080, listenAddress: 127.0.0.1}
  - {containerPort: 30443, hostPort: 30443, listenAddress: 127.0.0.1}
- role: worker
- role: worker
EOF
fi

# Without metrics the HPA stays at its minimum. The kubelets of kind have certificates that nobody signed.
kubectl apply --filename "$metrics_server"
kubectl --namespace kube-system patch deployment metrics-server --type json \
    --patch '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--kubelet-insecure-tls"}]'
kubectl --namespace kube-system rollout status deployment/metrics-server --timeout=5m

kubectl apply --filename k8s/kind/traefik.yaml
kubectl --namespace traefik rollout status deployment/traefik --timeout=5m

OVERLAY=local LOAD=kind URL=http://127.0.0.1:30080 INGRESS=https://127.0.0.1:30443 rollout/e2e.sh
