//! Which part of the inside one of several machines serves that share nothing.
//!
//! Whose a packet is can be told from its addresses and ports alone, by a mask and a comparison, so
//! that rules of the kernel can do so: a host by the last bits of its address, a port of an
//! address that hosts share by the block of [`BLOCK`] ports that it is in.

use crate::addr::Ipv4Addr;

/// How many adjacent ports are one machine's: as many as a media line with several ports may want
/// beside each other (RFC 8866 section 5.14).
pub const BLOCK: u16 = 64;

/// The part of one machine of several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    number: u8,
    of: u8,
}

impl Share {
    /// The only machine there is: everything.
    pub const ALL: Share = Share { number: 0, of: 1 };
    /// The most machines that may share: the lowest ports would not divide evenly among more.
    pub const MOST: u8 = 8;

    /// The part of machine `number`, from 0, of `of`: a power of two, at most [`Share::MOST`]. None
    /// if there is no such part.
    pub fn new(number: u8, of: u8) -> Option<Share> {
        let valid = of.is_power_of_two() && of <= Self::MOST && number < of;
        valid.then_some(Share { number, of })
    }

    /// The parts of all of `of` machines, in order; none if they cannot share so.
    pub fn all_of(of: u8) -> impl Iterator<Item = Share> {
        (0..of).filter_map(move |number| Share::new(number, of))
    }

    /// Which machine it is, from 0.
    pub fn number(self) -> u8 {
        self.number
    }

    /// How many machines there are.
    pub fn of(self) -> u8 {
        self.of
    }

    /// The bits of an address that tell whose it is, and what they are in those of this machine.
    pub fn of_addresses(self) -> (u32, u32) {
        (u32::from(self.of - 1), u32::from(self.number))
    }

    /// The bits of a port that tell whose it is, and what they are in those of this machine.
    pub fn of_ports(self) -> (u16, u16) {
        (
            u16::from(self.of - 1) * BLOCK,
            u16::from(self.number) * BLOCK,
        )
    }

    /// Whether an inside host is served by this machine, or a pool address given out by it.
    pub fn has_address(self, address: Ipv4Addr) -> bool {
        let (mask, mine) = self.of_addresses();
        u32::from(address) & mask == mine
    }

    /// Whether this machine may give out that port of an address that hosts share.
    pub fn has_port(self, port: u16) -> bool {
        let (mask, mine) = self.of_ports();
        port & mask == mine
    }

    /// Whether it has all of `count` ports from `port` on. No run passes the last port.
    pub fn has_ports(self, port: u16, count: u16) -> bool {
        let Some(last) = port.checked_add(count.saturating_sub(1)) else {
            return false;
        };
        // One block, if they are not all its own anyway.
        self.of == 1 || (port / BLOCK == last / BLOCK && self.has_port(port))
    }

    /// The port at a place of the line of all own ports, upward; places past the end lead to the
    /// last port.
    pub fn port_at(self, place: u32) -> u16 {
        let block = u32::from(BLOCK);
        let blocks = place / block * u32::from(self.of) + u32::from(self.number);
        u16::try_from(blocks * block + place % block).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Share> {
        [1, 2, 4, 8].into_iter().flat_map(Share::all_of)
    }

    #[test]
    fn every_port_and_every_host_has_exactly_one_machine() {
        for of in [1, 2, 4, 8] {
            let shares: Vec<_> = Share::all_of(of).collect();
            assert_eq!(shares.len(), usize::from(of));
            for port in 0..=u16::MAX {
                let owners = shares.iter().filter(|share| share.has_port(port));
                assert_eq!(owners.count(), 1, "port {port} of {of}");
                let host = Ipv4Addr::from(0x0a01_0000 | u32::from(port));
                let owners = shares.iter().filter(|share| share.has_address(host));
                assert_eq!(owners.count(), 1, "{host} of {of}");
            }
        }
    }

    #[test]
    fn the_line_of_own_ports_is_all_own_ports_upward() {
        for share in all() {
            let own: Vec<u16> = (0..=u16::MAX)
                .filter(|port| share.has_port(*port))
                .collect();
            let count = 65536 / u32::from(share.of);
            let line: Vec<u16> = (0..count).map(|place| share.port_at(place)).collect();
            assert_eq!(line, own, "{share:?}");
        }
    }

    #[test]
    fn a_run_of_ports_is_one_machines_or_nobodys() {
        let second = Share::new(1, 2).unwrap();
        assert!(second.has_ports(64, 64));
        assert!(!second.has_ports(64, 65));
        assert!(!second.has_ports(126, 4));
        assert!(!second.has_ports(0, 2));
        assert!(Share::ALL.has_ports(126, 4));
        assert!(!Share::ALL.has_ports(65534, 4));
    }

    #[test]
    fn there_is_no_part_that_could_not_be_told_by_bits() {
        for (number, of) in [(0, 0), (0, 3), (2, 2), (0, 16)] {
            assert_eq!(Share::new(number, of), None);
        }
    }
}
