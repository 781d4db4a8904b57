//! Ranges of addresses.

use std::net::Ipv4Addr;

/// The first and the last address, both included.
pub(super) type Range = [Ipv4Addr; 2];

/// The same addresses in ascending ranges that neither overlap nor touch.
pub(super) fn merged(ranges: impl IntoIterator<Item = Range>) -> Vec<Range> {
    let mut sorted: Vec<_> = ranges.into_iter().collect();
    sorted.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for [first, last] in sorted {
        match merged.last_mut() {
            Some(before) if u32::from(first) <= u32::from(before[1]).saturating_add(1) => {
                before[1] = before[1].max(last);
            }
            _ => merged.push([first, last]),
        }
    }
    merged
}

/// The merged `ranges` but for single addresses.
pub(super) fn without(ranges: Vec<Range>, addresses: &[Ipv4Addr]) -> Vec<Range> {
    let mut left = ranges;
    for address in addresses {
        let cut = |[first, last]: Range| -> Vec<Range> {
            if !(first..=last).contains(address) {
                return vec![[first, last]];
            }
            let number = u32::from(*address);
            let before = (first < *address).then(|| [first, Ipv4Addr::from(number - 1)]);
            let after = (*address < last).then(|| [Ipv4Addr::from(number + 1), last]);
            before.into_iter().chain(after).collect()
        };
        left = left.into_iter().flat_map(cut).collect();
    }
    left
}

/// The networks that a range consists of: address and prefix length.
pub(super) fn networks([first, last]: Range) -> Vec<(Ipv4Addr, u8)> {
    let (mut next, last) = (u64::from(u32::from(first)), u64::from(u32::from(last)));
    let mut networks = Vec::new();
    while next <= last {
        let mut host_bits = next.trailing_zeros().min(32);
        while next + (1 << host_bits) - 1 > last {
            host_bits -= 1;
        }
        // Both fit: `next` is an address, and a network has at most 32 host bits.
        networks.push((Ipv4Addr::from(next as u32), (32 - host_bits) as u8));
        next += 1 << host_bits;
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, last: u32) -> Range {
        [first, last].map(Ipv4Addr::from)
    }

    #[test]
    fn ranges_that_overlap_or_touch_become_one() {
        let all = [range(9, 12), range(1, 4), range(5, 6), range(10, 11)];
        assert_eq!(merged(all), [range(1, 6), range(9, 12)]);
        let top = [range(u32::MAX - 1, u32::MAX), range(u32::MAX, u32::MAX)];
        assert_eq!(merged(top), [range(u32::MAX - 1, u32::MAX)]);
    }

    #[test]
    fn an_address_is_cut_out_wherever_it_is() {
        let cut = |at: u32| without(vec![range(4, 8)], &[Ipv4Addr::from(at)]);
        assert_eq!(cut(4), [range(5, 8)]);
        assert_eq!(cut(6), [range(4, 5), range(7, 8)]);
        assert_eq!(cut(8), [range(4, 7)]);
        assert_eq!(cut(9), [range(4, 8)]);
        assert!(without(vec![range(3, 3)], &[Ipv4Addr::from(3)]).is_empty());
    }

    #[test]
    fn networks_cover_a_range_and_nothing_else() {
        for (first, last) in [
            (0, 0),
            (1, 6),
            (8, 15),
            (5, 1000),
            (0, u32::MAX),
            (7, u32::MAX),
        ] {
            let mut next = u64::from(first);
            for (address, prefix) in networks(range(first, last)) {
                assert_eq!(u64::from(u32::from(address)), next);
                let size = 1u64 << (32 - prefix);
                assert_eq!(next % size, 0);
                next += size;
            }
            assert_eq!(next, u64::from(last) + 1);
        }
    }
}
