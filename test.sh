#!/bin/bash
# All that CI runs: format, lints, documentation, all tests. On a Debian 12 it installs what the end-to-end tests need.
# Needs Rust, and root or sudo: the tests make network namespaces of their own and leave nothing behind.
set -euo pipefail
cd "$(dirname "$0")"

# A program that is needed, and the packages that bring it.
needs="
baresip   baresip-core
cc        gcc libc6-dev
conntrack conntrack
debootstrap debootstrap
dpkg-shlibdeps dpkg-dev
faketime  faketime
ip        iproute2
iperf3    iperf3
iptables  iptables
kamailio  kamailio
kill      procps
nft       nftables
setpriv   util-linux
sipp      sip-tester
strip     binutils
sysctl    procps
systemd-nspawn systemd-container
tmux      tmux
tshark    tshark
turnserver coturn
unshare   util-linux
valgrind  valgrind
"

main() {
    export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
    local root=()
    if [ "$(id -u)" != 0 ]; then
        root=(sudo)
        # What cargo builds as the user who is there, it runs as root.
        local triple
        triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
        export "CARGO_TARGET_${triple}_RUNNER=sudo env PATH=$PATH"
    fi
    install_missing
    install_tools

    step cargo fmt --all --check
    step cargo clippy --workspace --all-targets --quiet -- -D warnings
    RUSTDOCFLAGS="-D warnings" step cargo doc --workspace --no-deps --document-private-items --quiet
    step cargo deny check bans licenses sources
    step cargo test --workspace
    # What the translator costs, against crates/microbench/baseline.txt.
    step cargo run --quiet --release -p sipalg-microbench instructions
    # The first command of README.md, as it stands there but for the optimiser.
    step cargo run --quiet -- lab
    try_packages
}

# The package as Debian has it, but for the optimiser, and another that is an upgrade of it.
try_packages() {
    local folder=target/packages program=target/debug/sipalg
    step packaging/build.sh $program --strip --fast --output $folder/old.deb
    step packaging/build.sh $program --strip --fast --output $folder/new.deb --deb-revision 2
    step "${root[@]}" packaging/test.sh $folder/old.deb $folder/new.deb
}

install_missing() {
    local program packages missing=()
    while read -r program packages; do
        if [ -n "$program" ] && ! command -v "$program" >/dev/null; then
            # shellcheck disable=SC2206 # Words are packages.
            missing+=($packages)
        fi
    done <<<"$needs"
    if [ ${#missing[@]} = 0 ]; then
        return
    fi
    echo "==> installing ${missing[*]}"
    "${root[@]}" apt-get update -qq
    without_services "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Cargo's own tools, where `cargo` finds them. Built without optimisation: they run for a second.
install_tools() {
    export PATH="$PWD/target/tools/bin:$PATH"
    install_tool cargo-deb 3.8.0 --features gzip
    install_tool cargo-deny 0.20.2
}

install_tool() {
    local tool=$1 version=$2
    shift 2
    if [ "$("$tool" --version 2>/dev/null)" != "$tool $version" ]; then
        step cargo install --quiet --locked --debug --root target/tools --no-default-features "$@" "$tool@$version"
    fi
}

# Debian starts the services that it installs, unless this file says no; kamailio would take port 5060.
without_services() (
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap '"${root[@]}" rm $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee $policy >/dev/null
        "${root[@]}" chmod 755 $policy
    fi
    "$@"
)

step() {
    echo "==> $*"
    "$@"
}

main
