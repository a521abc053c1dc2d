#!/usr/bin/env bash
# Gives a clone of the last commit another name, and makes its checks.
set -euo pipefail
cd "$(dirname "$0")/.."
renamed=$(mktemp -d)
trap 'rm -rf "$renamed"' EXIT
git clone --quiet . "$renamed"
PATH="$PWD/.tools/bin:$PATH" CARGO_TARGET_DIR="$PWD/target" make -C "$renamed" rename check NAME=orders
