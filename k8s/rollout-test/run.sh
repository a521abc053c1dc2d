#!/bin/sh
# Runs `rollout cluster` in a pod and ends as it ends: 0 nothing was lost, 1 something was, 2 it could not be tried. What it
# says goes to the pod's log, and with the chart into the ConfigMap $REPORT.
set -u
work=$(mktemp -d)
{
    # The arguments are several words.
    # shellcheck disable=SC2086
    rollout cluster --namespace "$NAMESPACE" --deployment "$DEPLOYMENT" --url "$URL" --rollouts "$ROLLOUTS" \
        --chart "$work/chart.svg" ${ROLLOUT_ARGS:-} 2>&1
    echo $? >"$work/code"
} | tee "$work/report.txt"
code=$(cat "$work/code")
set -- "--from-file=$work/report.txt" "--from-literal=exit-code=$code"
[ ! -s "$work/chart.svg" ] || set -- "$@" "--from-file=$work/chart.svg"
kubectl -n "$NAMESPACE" create configmap "$REPORT" "$@" --dry-run=client -o yaml |
    kubectl -n "$NAMESPACE" apply --server-side --force-conflicts -f - ||
    echo "The report could not be kept in the ConfigMap $REPORT." >&2
exit "$code"
