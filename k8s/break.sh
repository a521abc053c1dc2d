#!/bin/sh
# Breaks a pod of the overlay `local`, to watch it heal: docs/self-healing.md. Usage: k8s/break.sh HOW
#
#   crash    its process is killed
#   stuck    its process is stopped, as when nothing in it moves any more
#   memory   its memory limit is lowered until the kernel kills it
#   disk     its log grows over the limit of ephemeral storage
#   evict    as the drain of a node does it
#
# All but evict need a shell on the pod's node. In kind and k3d that is a container; elsewhere ON_NODE says how it is
# reached: ON_NODE=sudo for k3s on this machine, ON_NODE="ssh root@HOST" for another.
set -eu
cd "$(dirname "$0")"
how=${1:-}
case $how in
crash | stuck | memory | disk | evict) ;;
*)
    echo "HOW is crash, stuck, memory, disk or evict." >&2
    exit 2
    ;;
esac
set -- local
. ./names.sh

pod=$(k get pods -l "app.kubernetes.io/name=$name" --field-selector=status.phase=Running \
    -o 'go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}} {{.metadata.uid}} {{.spec.nodeName}}{{"\n"}}{{end}}{{end}}')
[ -n "$pod" ] || fail "No pod of $name is running in $namespace."
read -r pod uid node <<END
$pod
END
echo "$how: pod/$pod on node $node"
if [ "$how" = evict ]; then
    printf '{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "%s", "namespace": "%s"}}' "$pod" "$namespace" |
        cluster create --raw "/api/v1/namespaces/$namespace/pods/$pod/eviction" -f -
else
    # Word splitting is wanted: ON_NODE is a command with its arguments.
    # shellcheck disable=SC2086
    ${ON_NODE:-${DOCKER:-docker} exec -i "$node"} sh -s -- "$how" "$uid" "/var/log/pods/${namespace}_${pod}_$uid/$name" <break-on-node.sh
fi
