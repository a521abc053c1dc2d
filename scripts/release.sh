#!/bin/sh
# What a release asks of the repository and changes in it. Usage: version TAG | changelog VERSION | bump TAG
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "release: $1" >&2
    exit 1
}

case ${1:-} in
version)
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' service/Cargo.toml)
    [ "$2" = "v$version" ] || fail "the tag is '$2', and service/Cargo.toml says version $version: expected v$version"
    echo "$version"
    ;;
changelog)
    awk -v head="## [$2]" 'index($0, head) == 1 { in_it = 1; next } /^## / { in_it = 0 } in_it' CHANGELOG.md
    ;;
bump)
    expected="expected 1.2.3 or 1.2.3@sha256:DIGEST"
    case $2 in *[!A-Za-z0-9_.@:-]*) fail "TAG is '$2': $expected" ;; esac
    echo "$2" | grep -Eqx '[A-Za-z0-9_][A-Za-z0-9_.-]*(@sha256:[0-9a-f]{64})?' || fail "TAG is '$2': $expected"
    name=$(scripts/name.sh)
    for overlay in k8s/overlays/*/kustomization.yaml; do
        [ "$overlay" != k8s/overlays/local/kustomization.yaml ] || continue
        awk -v name="$name" -v tag="$2" '
            /^ *- name: / { ours = $3 == name }
            ours && /^ *newTag: / { sub(/newTag: .*/, "newTag: " tag); changed = 1 }
            { print }
            END { exit !changed }
        ' "$overlay" > "$overlay.new" || {
            rm "$overlay.new"
            fail "$overlay has no newTag for $name"
        }
        mv "$overlay.new" "$overlay"
        echo "$overlay: $2"
    done
    ;;
*)
    fail "usage: $0 version TAG | changelog VERSION | bump TAG"
    ;;
esac
