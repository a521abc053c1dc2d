#!/usr/bin/env bash
# Gives a clone of the last commit another name, and makes its checks. What it builds knows the clone, and would be taken for
# what is built here: a directory that both build into is not to be used here afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."
renamed=$(mktemp -d)
trap 'rm -rf "$renamed"' EXIT
git clone --quiet . "$renamed"
PATH="$PWD/.tools/bin:$PATH" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target/copies}" \
    make -C "$renamed" rename check NAME=orders
