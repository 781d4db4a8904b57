#!/bin/bash
# Installs, upgrades, removes and purges a Debian package in a fresh Debian: without systemd, and under a real one,
# where the service has to be what its unit promises.
#
# Needs root, debootstrap, systemd-nspawn, ip and nft. Leaves nothing behind.
#
#   packaging/test.sh PACKAGE UPGRADE
set -euo pipefail

old=$1
new=$2
work=$(mktemp -d)
root=$work/root
machine=
leader=

main() {
    trap clean_up EXIT
    step "a fresh Debian"
    fresh_debian
    cp "$old" "$root/old.deb"
    cp "$new" "$root/new.deb"

    step "without systemd"
    is_installed_upgraded_removed_and_purged

    step "under systemd"
    boot
    is_not_started_before_it_is_configured
    runs_with_the_privileges_of_its_unit
    saves_and_reloads_its_configuration
    is_restarted_when_it_hangs_or_dies
    goes_on_over_an_upgrade
    leaves_nothing_when_it_stops
    is_removed_while_it_runs
    echo "packaging: all is well"
}

is_installed_upgraded_removed_and_purged() {
    quietly in_root dpkg -i /old.deb
    same "root:sipalg 660" "$(in_root stat -c '%U:%G %a' /etc/sipalg/sipalg.conf)"
    # Nothing is wrong with the example; what it names is missing on this host (1, not 2).
    local status=0
    in_root sipalg check /etc/sipalg/sipalg.conf >/dev/null || status=$?
    same 1 $status
    local file
    for file in man/man8/sipalg.8.gz man/man8/sipalg-run.8.gz man/man5/sipalg.conf.5.gz doc/sipalg/copyright \
        bash-completion/completions/sipalg zsh/vendor-completions/_sipalg fish/vendor_completions.d/sipalg.fish; do
        [ -s "$root/usr/share/$file" ] || fail "$file is missing"
    done
    # What the operator has written stays.
    echo "! mine" >>"$root/etc/sipalg/sipalg.conf"
    quietly in_root dpkg -i /new.deb
    grep -q "! mine" "$root/etc/sipalg/sipalg.conf"
    quietly in_root dpkg -r sipalg
    grep -q "! mine" "$root/etc/sipalg/sipalg.conf"
    purge in_root
}

is_not_started_before_it_is_configured() {
    quietly inside dpkg -i /old.deb
    same disabled "$(inside systemctl is-enabled sipalg || true)"
    same inactive "$(inside systemctl is-active sipalg || true)"
    inside systemd-analyze verify --man=no sipalg.service
    # Tenths; what is left is what a gateway is for.
    inside systemd-analyze security --no-pager --threshold=22 sipalg.service >"$work/security" ||
        fail "systemd-analyze security: $(tail -1 "$work/security")"
}

runs_with_the_privileges_of_its_unit() {
    local interface
    for interface in lan wan; do
        in_net ip link add ${interface}0 type veth peer name ${interface}1
        in_net ip link set ${interface}0 up
        in_net ip link set ${interface}1 up
    done
    in_net ip address add 192.168.0.1/24 dev lan0
    in_net ip address add 203.0.113.1/24 dev wan0
    quietly inside sipalg check /etc/sipalg/sipalg.conf
    inside systemctl enable --quiet --now sipalg
    same 1 "$(in_net cat /proc/sys/net/ipv4/ip_forward)"
    same "sipalg:sipalg 660" "$(inside stat -c '%U:%G %a' /run/sipalg/console.sock)"
    local process user
    user=$(inside id -u sipalg)
    for process in $(processes); do
        same "$user" "$(status "$process" Uid)"
        same 1 "$(status "$process" NoNewPrivs)"
        same 2 "$(status "$process" Seccomp)"
        # No more than CAP_NET_BIND_SERVICE, CAP_NET_ADMIN and CAP_NET_RAW (10, 12, 13).
        same 0 $((0x$(status "$process" CapBnd) & ~0x3400))
    done
}

saves_and_reloads_its_configuration() {
    quietly inside sipalg console -c "configure terminal" -c "hostname saved" -c "do write memory"
    inside grep -q "hostname saved" /etc/sipalg/sipalg.conf
    same 660 "$(inside stat -c %a /etc/sipalg/sipalg.conf)"
    inside sed -i "s/hostname saved/hostname loaded/" /etc/sipalg/sipalg.conf
    inside systemctl reload sipalg
    eventually inside sh -c "sipalg console -c 'show running-config' | grep -q 'hostname loaded'"
}

is_restarted_when_it_hangs_or_dies() {
    local signal before
    for signal in STOP KILL; do
        before=$(main_process)
        inside systemctl kill --kill-whom=main --signal=$signal sipalg
        eventually another_serves "$before"
    done
}

goes_on_over_an_upgrade() {
    local before
    before=$(main_process)
    quietly inside dpkg -i /new.deb
    eventually another_serves "$before"
    # It took over, as a child of systemd, which waits for the end of its own children only.
    inside journalctl --unit sipalg >"$work/journal"
    grep -q "has taken over" "$work/journal"
    if grep -q "not our child" "$work/journal"; then
        fail "$(grep "not our child" "$work/journal")"
    fi
    inside grep -q "hostname loaded" /etc/sipalg/sipalg.conf
}

leaves_nothing_when_it_stops() {
    inside systemctl stop sipalg
    same "" "$(inside systemctl list-units --no-legend --failed)"
    nothing_is_in_the_kernel
    [ ! -e "$root/run/sipalg" ] || fail "/run/sipalg is left"
    inside systemctl start sipalg
}

is_removed_while_it_runs() {
    quietly inside dpkg -r sipalg
    nothing_is_in_the_kernel
    purge inside
}

# Purges by `in_root` or `inside`, and looks whether anything is left.
purge() {
    quietly "$1" dpkg -P sipalg
    local left
    left=$(find "$root" -xdev -name '*sipalg*' -not -path "*/var/log/*" -not -path "*/proc/*")
    same "" "$left"
    if grep -q sipalg "$root/etc/passwd" "$root/etc/group"; then
        fail "the user is left"
    fi
}

nothing_is_in_the_kernel() {
    same "" "$(in_net nft list ruleset)"
    same 3 "$(in_net ip -4 rule | wc -l)"
    same 0 "$(in_net cat /proc/sys/net/ipv4/ip_forward)"
}

# Its main process is not that one, and the console answers.
another_serves() {
    local now
    now=$(main_process)
    [ "$now" != 0 ] && [ "$now" != "$1" ] && inside systemctl --quiet is-active sipalg &&
        inside sipalg console -c "show version" >/dev/null
}

main_process() {
    inside systemctl show --property MainPID --value sipalg
}

# The main process and its children.
processes() {
    local main
    main=$(main_process)
    echo "$main"
    inside cat "/proc/$main/task/$main/children"
}

# A field of /proc/PROCESS/status.
status() {
    inside awk -v field="$2:" '$1 == field { print $2 }' "/proc/$1/status"
}

# The release and the mirror of this host, on a file system in memory: it is all files that are read once.
fresh_debian() {
    local release mirror
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # shellcheck disable=SC2016 # apt's own variables.
    mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(SITE)' 'Created-By: Packages' |
        awk -v release="$release" '$1 == release && $2 == "main" { print $3; exit }')
    mkdir "$root"
    mount -t tmpfs -o mode=755 sipalg-packaging "$root"
    debootstrap --variant=minbase --include=systemd "$release" "$root" "$mirror" >"$work/debootstrap" ||
        fail "debootstrap: $(tail -3 "$work/debootstrap")"
}

# Starts the fresh Debian in namespaces of its own.
boot() {
    systemd-nspawn --quiet --register=no --keep-unit --private-network --console=pipe --boot --directory "$root" \
        </dev/null >"$work/console" 2>&1 &
    machine=$!
    eventually has_begun
    leader=$(cat "/proc/$machine/task/$machine/children")
    leader=${leader%% *}
    eventually inside systemctl --quiet is-active multi-user.target
}

has_begun() {
    [ -n "$(cat "/proc/$machine/task/$machine/children")" ]
}

in_root() {
    chroot "$root" "$@"
}

# Runs a command in the booted Debian.
inside() {
    nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup --root --wd "$@"
}

# Runs a command of this host in the network of the booted Debian.
in_net() {
    nsenter --target "$leader" --net "$@"
}

# Waits until a command succeeds.
eventually() {
    local deadline=$((SECONDS + 30))
    until "$@" 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || fail "not in 30 s: $*"
        sleep 0.1
    done
}

# Says what a command has said only if it failed.
quietly() {
    "$@" >"$work/said" 2>&1 || fail "$* failed: $(cat "$work/said")"
}

same() {
    [ "$1" = "$2" ] || fail "expected '$1', not '$2'"
}

fail() {
    echo "packaging: ${BASH_LINENO[*]}: $*" >&2
    if [ -n "$leader" ]; then
        inside journalctl --no-pager --lines 40 >&2 || true
    fi
    exit 1
}

step() {
    echo "==> packaging: $*"
}

clean_up() {
    if [ -n "$machine" ]; then
        # Its first process outlives the one that started it.
        kill -KILL $leader $machine 2>/dev/null || true
        wait $machine 2>/dev/null || true
    fi
    umount "$root" 2>/dev/null || true
    rm -rf "$work"
}

main
