#!/usr/bin/env bash
# Prints the directory of PostgreSQL's programs: one that is on the PATH or where Debian puts it, else one that Debian's
# packages are unpacked into, without root and without touching the system.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/.."

for initdb in "$(command -v initdb || true)" /usr/lib/postgresql/*/bin/initdb; do
    if [ -x "$initdb" ] && [ -x "$(dirname "$initdb")/postgres" ]; then
        dirname "$initdb"
        exit
    fi
done

command -v apt-get > /dev/null || {
    echo "make examples needs initdb and postgres on the PATH (macOS: brew install postgresql@17)" >&2
    exit 1
}

tools=$PWD/.tools
# PostgreSQL refuses to run as root, and another user may have no way into root's directories.
[ "$(id -u)" != 0 ] || tools=/var/tmp/postgresql-for-examples
mkdir -p "$tools"

if [ ! -x "$tools/postgresql/bin/postgres" ]; then
    echo "fetching PostgreSQL into $tools" >&2
    scratch=$tools/fetch-postgresql
    rm -rf "$scratch" "$tools/postgresql"
    mkdir -p "$scratch"/{lists,archives}/partial "$tools/postgresql/bin"
    trap 'rm -rf "$scratch"' EXIT
    apt() {
        apt-get -qq -o Dir::State::Lists="$scratch/lists" -o Dir::Cache="$scratch" -o Acquire::Languages=none \
            -o Debug::NoLocking=true -o APT::Sandbox::User=root "$@" > /dev/null
    }
    # A source of somebody else's may be broken without harm.
    apt update || :
    # With what it needs of libraries and is not here yet.
    apt install --download-only --no-install-recommends --yes postgresql
    for package in "$scratch"/archives/*.deb; do dpkg -x "$package" "$tools/postgresql"; done
    libraries=$(printf '%s:' "$tools"/postgresql/{,usr/}lib/*-linux-gnu*)
    for program in initdb postgres; do
        # shellcheck disable=SC2016 # for the script that is written
        printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec %s "$@"\n' "${libraries%:}" \
            "$tools"/postgresql/usr/lib/postgresql/*/bin/$program > "$tools/postgresql/bin/$program"
        chmod +x "$tools/postgresql/bin/$program"
    done
fi
echo "$tools/postgresql/bin"
