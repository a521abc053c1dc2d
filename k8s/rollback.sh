#!/bin/sh
# Goes back to the revision before, of the track that is live. Usage: k8s/rollback.sh OVERLAY
set -eu
cd "$(dirname "$0")"
. ./names.sh
live=$(live_track)
deployment=deployment/$(deployment_of "${live:-stable}")
k rollout undo "$deployment"
k rollout status "$deployment" --timeout=15m
