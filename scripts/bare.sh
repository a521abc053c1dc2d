#!/usr/bin/env bash
# Tries the two commands of the README, `make run` and `make test`, where there is Rust, a linker and make, and nothing
# else: as a user without rights, in a container of the image that the Dockerfile builds in, on a copy of the last commit.
set -euo pipefail
cd "$(dirname "$0")/.."
docker=${DOCKER:-docker}

bare=$("$docker" build --quiet - << EOF
FROM $(sed -n 's/^FROM \(--[^ ]* \)\{0,1\}\([^ ]*\).*/\2/p' Dockerfile | head -n 1)
RUN command -v make || { apt-get update && apt-get install --yes --no-install-recommends make; }
RUN rm -rf /var/lib/apt/lists/* && useradd --create-home dev
RUN ! command -v curl git kubectl pip3 prometheus promtool python3
USER dev
RUN mkdir /home/dev/repository
WORKDIR /home/dev/repository
ENV CARGO_HOME=/home/dev/.cargo
EOF
)
trap '"$docker" image rm --force "$bare" > /dev/null' EXIT

# shellcheck disable=SC2016 # what is quoted expands in the container
git archive HEAD | "$docker" run --rm --interactive --init "$bare" bash -euo pipefail -c '
    tar -x
    make run &
    until exec 3<> /dev/tcp/127.0.0.1/8080; do
        kill -0 $!
        sleep 0.5
    done 2> /dev/null
    printf "GET / HTTP/1.0\r\n\r\n" >&3
    head -n 1 <&3 | grep "200 OK"
    echo "make run: $SECONDS s"
    kill $!
    wait $! || :

    SECONDS=0
    make test
    echo "make test: $SECONDS s"
'
