//! THE allocation policy: which address of a pool an inside host gets, and which inside global ports
//! are tried for an inside local, best first.

use crate::addr::{Ipv4Addr, Protocol};
use crate::config::{Pool, Share};

/// The lowest port given to an inside host: below are the gateway's services (RFC 4787 REQ-5).
pub const LOWEST_PORT: u16 = 1024;

/// How often a random port is tried before the whole range is searched.
const RANDOM_TRIES: u32 = 64;

/// The candidates for the first of `count` adjacent ports, all of them of `share`.
///
/// 1. The inside host's own port, if it is 1024 or above (RFC 4787 section 4.2.1, port preservation).
/// 2. Random ports of the same parity (RFC 4787 REQ-4; random: RFC 6056 section 3.3).
/// 3. All ports of that parity, upward from a random one.
///
/// `random` gives a number for each of the random tries.
pub fn candidates(
    protocol: Protocol,
    inside_port: u16,
    count: u16,
    share: Share,
    mut random: impl FnMut() -> u64,
) -> impl Iterator<Item = u16> {
    // Parity matters to RTP only, but keeping it costs nothing for TCP.
    let step = match protocol {
        Protocol::Udp => 2,
        Protocol::Tcp => 1,
    };
    // Places in the line of all ports of the share: blocks are even, so that parity is the same.
    let machines = u32::from(share.of());
    let lowest = u32::from(LOWEST_PORT) / machines + u32::from(inside_port) % step;
    let steps = (65536 / machines).saturating_sub(u32::from(count) + lowest) / step + 1;
    let at = move |index: u32| share.port_at(lowest + index % steps * step);
    let start = (random() % u64::from(steps)) as u32;
    let own = (inside_port >= LOWEST_PORT).then_some(inside_port);
    let tries = core::iter::repeat_with(move || at((random() % u64::from(steps)) as u32))
        .take(RANDOM_TRIES as usize);
    own.into_iter()
        .chain(tries)
        .chain((0..steps).map(move |index| at(start + index)))
        .filter(move |port| share.has_ports(*port, count))
}

/// The one address of a pool with overload that `host` has for everything (RFC 4787 REQ-2, paired).
///
/// It is the one that Linux chooses for `snat to START-END persistent`, so that the kernel's mappings
/// and ours agree without a word: `find_best_ips_proto` in `net/netfilter/nf_nat_core.c` hashes the
/// source address, as a union with IPv6 of 16 bytes, and scales the hash to the range.
pub fn pool_address(host: Ipv4Addr, pool: Pool) -> Ipv4Addr {
    let (first, last) = (u32::from(pool.start), u32::from(pool.end));
    let size = u64::from(last.saturating_sub(first)) + 1;
    // The kernel hashes the bytes of the packet as words of the machine.
    let hash = jhash2([u32::from_ne_bytes(host.octets()), 0, 0, 0]);
    let index = (u64::from(hash) * size) >> 32;
    Ipv4Addr::from(first.saturating_add(u32::try_from(index).unwrap_or(0)))
}

/// `jhash2` of `include/linux/jhash.h` (Bob Jenkins's lookup3) over four words, `initval` 0.
fn jhash2(key: [u32; 4]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(4 << 2);
    let [k0, k1, k2, k3] = key;
    let (mut a, mut b, mut c) = (
        start.wrapping_add(k0),
        start.wrapping_add(k1),
        start.wrapping_add(k2),
    );
    // __jhash_mix
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    a = a.wrapping_add(k3);
    // __jhash_final
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(protocol: Protocol, port: u16, count: u16) -> Vec<u16> {
        list_of(Share::ALL, protocol, port, count)
    }

    fn list_of(share: Share, protocol: Protocol, port: u16, count: u16) -> Vec<u16> {
        let mut state = 1u64;
        candidates(protocol, port, count, share, move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            state >> 33
        })
        .collect()
    }

    #[test]
    fn the_own_port_is_tried_first_and_parity_is_kept() {
        let even = list(Protocol::Udp, 6000, 2);
        assert_eq!(even.first(), Some(&6000));
        assert!(
            even.iter()
                .all(|port| port % 2 == 0 && *port >= LOWEST_PORT)
        );
        assert!(
            list(Protocol::Udp, 6001, 1)
                .iter()
                .all(|port| port % 2 == 1)
        );
    }

    #[test]
    fn every_usable_port_is_tried_and_none_below_1024() {
        let mut all = list(Protocol::Tcp, 80, 1);
        all.sort_unstable();
        all.dedup();
        assert_eq!(
            (all.len(), all[0], all[all.len() - 1]),
            (65536 - 1024, 1024, 65535)
        );
    }

    #[test]
    fn a_run_of_ports_does_not_pass_the_end() {
        for port in [65534, 65535] {
            assert!(
                list(Protocol::Udp, port, 4)
                    .iter()
                    .all(|p| u32::from(*p) + 4 <= 65536)
            );
        }
    }

    #[test]
    fn machines_that_share_an_address_give_every_usable_port_and_none_twice() {
        for (protocol, port, usable) in [(Protocol::Tcp, 80, 64512), (Protocol::Udp, 81, 32256)] {
            for of in [1, 2, 4, 8] {
                let mut all = Vec::new();
                for number in 0..of {
                    let share = Share::new(number, of).unwrap();
                    let mut ports = list_of(share, protocol, port, 1);
                    ports.sort_unstable();
                    ports.dedup();
                    all.extend(ports);
                }
                all.sort_unstable();
                assert_eq!(
                    (all.len(), all[0]),
                    (usable, if usable == 64512 { 1024 } else { 1025 })
                );
                all.dedup();
                assert_eq!(all.len(), usable, "{of}");
            }
        }
    }

    #[test]
    fn a_host_keeps_its_port_where_it_is_its_machines() {
        // 6000 is in block 93.
        let [even, odd] = [0, 1].map(|number| Share::new(number, 2).unwrap());
        assert_eq!(list_of(odd, Protocol::Udp, 6000, 2).first(), Some(&6000));
        let others = list_of(even, Protocol::Udp, 6000, 2);
        assert!(
            others
                .iter()
                .all(|port| even.has_ports(*port, 2) && port % 2 == 0)
        );
        assert!(!others.is_empty());
    }

    /// Measured on Linux 6.18: what conntrack shows after a packet of each host went through a rule
    /// `snat to START-END persistent`.
    #[cfg(target_endian = "little")]
    #[test]
    fn a_host_has_the_address_of_its_pool_that_the_kernel_gives_it() {
        let measured = [
            ([192, 168, 0, 254], [(1, 4, 1), (10, 254, 59), (1, 3, 1)]),
            ([192, 168, 1, 2], [(1, 4, 4), (10, 254, 210), (1, 3, 3)]),
            ([192, 168, 1, 3], [(1, 4, 2), (10, 254, 118), (1, 3, 2)]),
            ([192, 168, 122, 3], [(1, 4, 1), (10, 254, 50), (1, 3, 1)]),
            ([192, 168, 200, 77], [(1, 4, 1), (10, 254, 24), (1, 3, 1)]),
        ];
        for (host, addresses) in measured {
            for (start, end, chosen) in addresses {
                let [start, end, chosen] =
                    [start, end, chosen].map(|last| Ipv4Addr::new(10, 1, 1, last));
                let pool = Pool {
                    start,
                    end,
                    overload: true,
                };
                assert_eq!(pool_address(host.into(), pool), chosen, "{host:?}");
            }
        }
    }

    #[test]
    fn a_pool_gives_none_but_its_own_addresses_and_all_of_them() {
        let (start, end) = (Ipv4Addr::new(10, 1, 1, 7), Ipv4Addr::new(10, 1, 1, 9));
        let pool = Pool {
            start,
            end,
            overload: true,
        };
        let hosts = (0..100).map(|last| Ipv4Addr::new(192, 168, 1, last));
        let mut given: Vec<_> = hosts.map(|host| pool_address(host, pool)).collect();
        given.sort_unstable();
        given.dedup();
        assert_eq!(given, [start, Ipv4Addr::new(10, 1, 1, 8), end]);
    }
}
