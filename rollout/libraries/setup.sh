#!/usr/bin/env bash
# Puts the clients of `rollout --library` into .tools/libraries, an executable for each library and HTTP version. What cannot be
# put there leaves a file NAME.missing that says why.
set -euo pipefail
cd "$(dirname "$0")"
sources=$PWD
cd ../..
mkdir -p .tools/libraries
into=$PWD/.tools/libraries

client() { # NAME HTTP COMMAND...
    local name=$1 http=$2
    shift 2
    printf '#!/bin/sh\nROLLOUT_HTTP=%s exec %s\n' "$http" "$*" > "$into/$name"
    chmod +x "$into/$name"
    rm -f "$into/$name.missing"
    echo "$name"
}
missing() { # WHY NAME...
    local why=$1 name
    shift
    for name in "$@"; do
        rm -f "$into/$name"
        echo "$why" > "$into/$name.missing"
        echo "$name is missing: $why" >&2
    done
}
quietly() { # COMMAND...: its output is shown if it fails
    local output
    output=$("$@" 2>&1) || { printf '%s\n' "$output" >&2; return 1; }
}

# A path may have spaces.
quoted() { printf "'%s'" "$1"; }

python=$into/.python
if command -v python3 > /dev/null && { [ -x "$python/bin/python" ] || quietly python3 -m venv "$python"; } &&
    quietly "$python/bin/pip" install --disable-pip-version-check --requirement "$sources/requirements.txt"; then
    run="$(quoted "$python/bin/python") $(quoted "$sources/client.py")"
    client requests 1.1 "$run requests"
    client aiohttp 1.1 "$run aiohttp"
    client httpx 1.1 "$run httpx"
    client httpx-h2 2 "$run httpx"
else
    missing "no python3 with venv and pip that reach PyPI" requests aiohttp httpx httpx-h2
fi

go=$(command -v go || echo "$python/bin/go")
if [ -x "$go" ] && GOTOOLCHAIN=local GOFLAGS='' quietly "$go" build -o "$into/.go" "$sources/client.go"; then
    client go 1.1 "$(quoted "$into/.go")"
    client go-h2 2 "$(quoted "$into/.go")"
else
    missing "no Go 1.25 or later on the PATH or from PyPI" go go-h2
fi

if command -v node > /dev/null; then
    cp "$sources/client.mjs" "$into/.client.mjs"
    run="node $(quoted "$into/.client.mjs")"
    client node 1.1 "$run http"
    client node-h2 2 "$run http2"
    if command -v npm > /dev/null &&
        quietly npm install --prefix "$into" --no-save --no-package-lock --no-audit --no-fund undici@7.30.2; then
        client undici 1.1 "$run undici"
    else
        missing "no npm that reaches its registry" undici
    fi
else
    missing "no node on the PATH" node node-h2 undici
fi

if command -v javac > /dev/null && quietly javac -d "$into/.java" "$sources/Client.java"; then
    client java 1.1 "java -cp $(quoted "$into/.java") Client"
else
    missing "no javac 17 or later on the PATH (Debian: openjdk-17-jdk-headless)" java
fi

if command -v curl > /dev/null; then
    client curl 1.1 "$(quoted "$sources/curl.sh")"
    # curl 7 cannot use a connection with --http2-prior-knowledge twice.
    case $(curl --version) in
        "curl 7."*) missing "curl 8 or later is not on the PATH" curl-h2 ;;
        *HTTP2*) client curl-h2 2 "$(quoted "$sources/curl.sh")" ;;
        *) missing "curl on the PATH speaks no HTTP/2" curl-h2 ;;
    esac
else
    missing "no curl on the PATH" curl curl-h2
fi

if quietly cargo build --locked --manifest-path "$sources/rust/Cargo.toml" --target-dir "$into/.rust"; then
    client reqwest 1.1 "$(quoted "$into/.rust/debug/rollout-libraries") reqwest"
    client reqwest-h2 2 "$(quoted "$into/.rust/debug/rollout-libraries") reqwest"
    client tonic 2 "$(quoted "$into/.rust/debug/rollout-libraries") tonic"
else
    missing "its crates could not be built" reqwest reqwest-h2 tonic
fi
