#!/usr/bin/env bash
# Replaces the two replicas of compose.replicas.yaml, the second once the balancer uses the first again.
set -euo pipefail
cd "$(dirname "$0")/.."

for replica in first second; do
  docker compose -f compose.replicas.yaml up --detach --no-deps --no-build --force-recreate --wait "$replica"
  curl --silent --show-error --fail --output /dev/null --retry 30 --retry-delay 1 http://127.0.0.1:8080/both-up
done
