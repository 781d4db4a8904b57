#!/bin/sh
# Explores fuzz targets with libFuzzer, on stable Rust: ./run.sh [TARGET [SECONDS]]
# New inputs are kept in target/fuzz/TARGET, a crash in target/fuzz/TARGET-crash-*.
set -eu
cd "$(dirname "$0")/.."
seconds=${2:-60}
host=$(rustc -vV | sed -n 's/^host: //p')

export CARGO_TARGET_DIR=target/fuzz/build
export RUSTFLAGS="--cfg fuzzing -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1 \
 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
 -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# The workspace's thin LTO would run the coverage pass a second time.
export CARGO_PROFILE_RELEASE_LTO=off
cargo build --release --quiet -p sipalg-fuzz --features explore --bins --target "$host"

for target in ${1:-frame headers kept sdp translate}; do
    mkdir -p "target/fuzz/$target"
    "target/fuzz/build/$host/release/$target" -max_total_time="$seconds" -max_len=8192 -timeout=10 \
        -rss_limit_mb=1024 -artifact_prefix="target/fuzz/$target-" "target/fuzz/$target" "fuzz/corpus/$target"
done
