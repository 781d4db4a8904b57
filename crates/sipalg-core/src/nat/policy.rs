//! THE allocation policy: which inside global ports are tried for an inside local, best first.

use crate::addr::Protocol;

/// The lowest port given to an inside host: below are the gateway's services (RFC 4787 REQ-5).
pub const LOWEST_PORT: u16 = 1024;

/// How often a random port is tried before the whole range is searched.
const RANDOM_TRIES: u32 = 64;

/// The candidates for the first of `count` adjacent ports.
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
    mut random: impl FnMut() -> u64,
) -> impl Iterator<Item = u16> {
    // Parity matters to RTP only, but keeping it costs nothing for TCP.
    let step = match protocol {
        Protocol::Udp => 2,
        Protocol::Tcp => 1,
    };
    let lowest = u32::from(LOWEST_PORT) + u32::from(inside_port) % step;
    let steps = (65536 - u32::from(count) - lowest) / step + 1;
    let at = move |index: u32| u16::try_from(lowest + index % steps * step).unwrap_or(u16::MAX);
    let start = (random() % u64::from(steps)) as u32;
    let own = (inside_port >= LOWEST_PORT && u32::from(inside_port) + u32::from(count) <= 65536)
        .then_some(inside_port);
    let tries = core::iter::repeat_with(move || at((random() % u64::from(steps)) as u32))
        .take(RANDOM_TRIES as usize);
    own.into_iter()
        .chain(tries)
        .chain((0..steps).map(move |index| at(start + index)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(protocol: Protocol, port: u16, count: u16) -> Vec<u16> {
        let mut state = 1u64;
        candidates(protocol, port, count, move || {
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
}
