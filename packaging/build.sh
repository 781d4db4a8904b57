#!/bin/bash
# Makes the Debian package in target/package/debian: of PROGRAM, or of what a release build makes. Needs cargo-deb and
# dpkg-dev.
#
#   packaging/build.sh [PROGRAM [WORDS FOR cargo deb]]
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# = 0 ]; then
    cargo build --quiet --release --package sipalg
fi
program=${1:-target/release/sipalg}
shift || true

made=target/package
rm -rf $made
mkdir -p $made/release
cp "$program" $made/release/sipalg
"$program" man $made/man
"$program" completions bash >$made/sipalg.bash
"$program" completions zsh >$made/_sipalg
"$program" completions fish >$made/sipalg.fish
CARGO_TARGET_DIR=$made cargo deb --quiet --no-build --package sipalg "$@"
