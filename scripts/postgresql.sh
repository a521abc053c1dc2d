#!/usr/bin/env bash
# Prints the directory of PostgreSQL's programs: one that is on the PATH or where Debian puts it, else one that Debian's
# package is unpacked into. No root needed.
set -euo pipefail
cd "$(dirname "$0")/.."

for program in "$(command -v initdb || true)" /usr/lib/postgresql/*/bin/initdb; do
    [ -x "$program" ] && [ -x "$(dirname "$program")/postgres" ] && dirname "$program" && exit
done

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

command -v apt-get >/dev/null ||
    fail "make examples needs PostgreSQL's initdb and postgres on the PATH (macOS: brew install postgresql@17)"
tools=$PWD/.tools
# PostgreSQL does not run as root, and another user may not look into root's directories.
[ "$(id -u)" -ne 0 ] || tools=/var/tmp/landfall-tools
unpacked=$tools/postgresql
mkdir -p "$unpacked"

if ! [ -x "$unpacked/bin/postgres" ]; then
    # What an installation would bring that is not here yet.
    packages=$(apt-get install --simulate --no-install-recommends postgresql | sed -n 's/^Inst \([^ ]*\) .*/\1/p') ||
        fail "PostgreSQL can't be found: run 'apt-get update', or install the package postgresql"
    # shellcheck disable=SC2086 # one word each
    (cd "$unpacked" && apt-get download -qq $packages && for package in *.deb; do dpkg -x "$package" .; done) ||
        fail "PostgreSQL can't be fetched: run 'apt-get update', or install the package postgresql"
    rm "$unpacked"/*.deb
    libraries=$(printf '%s:' "$unpacked"/usr/lib/*-linux-gnu*)
    libraries=${libraries%:}
    mkdir -p "$unpacked/bin"
    for program in initdb postgres; do
        real=$(printf '%s\n' "$unpacked"/usr/lib/postgresql/*/bin/"$program")
        # shellcheck disable=SC2016 # for the script that is written
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries" "$real" >"$unpacked/bin/$program"
        chmod +x "$unpacked/bin/$program"
    done
fi
printf '%s\n' "$unpacked/bin"
