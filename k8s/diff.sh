#!/bin/sh
# What a deploy would change. Usage: k8s/diff.sh OVERLAY
set -eu
cd "$(dirname "$0")"
. ./names.sh
# 1 says that there are differences, more that there was an error.
cluster diff -k "overlays/$1" || [ $? -eq 1 ]
