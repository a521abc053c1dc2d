#!/usr/bin/env bash
# Lets libFuzzer, which sees what code an input reaches, choose the inputs of the tests with random ones: fuzz-coverage.sh SECONDS [TEST]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1
only=${2:-::any_}
found=$PWD/target/fuzz/found

command -v "${CXX:-c++}" > /dev/null || {
    echo "libFuzzer is compiled: this needs a C++ compiler as c++ on the PATH, or its name in CXX" >&2
    exit 1
}
# What `cargo fuzz` sets, without the sanitizers of a nightly: there is no unsafe code here.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares"
export CARGO_PROFILE_DEV_OPT_LEVEL=2
# A target that is named, so that build scripts and macros are compiled without these.
test=(cargo test --quiet --locked --target "$(rustc -vV | sed -n 's/^host: //p')" --target-dir target/fuzz --lib)
for package in landfall landfall-frames landfall-telemetry landfall-variables; do
    for name in $("${test[@]}" --package "$package" -- --list --format terse "$only" | sed -n 's/: test$//p'); do
        echo "== $package $name"
        mkdir -p "$found/$name"
        FUZZ_ARGUMENTS="-max_total_time=$seconds -timeout=20 -print_final_stats=1 -artifact_prefix=$found/ $found/$name" \
            "${test[@]}" --package "$package" -- --exact "$name" --nocapture
    done
done
