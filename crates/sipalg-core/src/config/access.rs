//! Access lists, standard and extended.

use crate::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use alloc::string::String;
use alloc::vec::Vec;

/// An access list: the first matching entry decides, and the end denies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccessList {
    /// Its number or name.
    pub name: String,
    /// Its entries in order.
    pub entries: Vec<AccessEntry>,
}

impl AccessList {
    /// Whether the list permits traffic of the source `address`, to whatever destination: entries
    /// that deny only some of it are passed over.
    pub fn permits(&self, address: Ipv4Addr) -> bool {
        self.entries
            .iter()
            .filter(|entry| entry.source.has(address))
            .find(|entry| entry.permit || entry.is_standard())
            .is_some_and(|entry| entry.permit)
    }

    /// Whether the list permits the packet from `source` to `destination` that opens a flow: such a
    /// one has no ACK, so that `established` does not match it.
    pub fn permits_flow(
        &self,
        protocol: Protocol,
        source: SocketAddrV4,
        destination: SocketAddrV4,
    ) -> bool {
        let of = |entry: &&AccessEntry| {
            !entry.established
                && entry.protocol.is_none_or(|of| of == protocol.number())
                && entry.source.has_endpoint(source)
                && entry.destination.has_endpoint(destination)
        };
        self.entries.iter().find(of).is_some_and(|e| e.permit)
    }
}

/// One line of an access list. A standard list's has `protocol` none and `destination` any.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AccessEntry {
    /// Permit, or else deny.
    pub permit: bool,
    /// The IP protocol number; none stands for `ip`, which is any.
    pub protocol: Option<u8>,
    /// Where the packet comes from.
    pub source: AccessEnd,
    /// Where it goes.
    pub destination: AccessEnd,
    /// Only TCP segments with ACK or RST.
    pub established: bool,
}

impl AccessEntry {
    /// A line of a standard list: `wildcard` as IOS writes it, set bits are not compared.
    pub const fn standard(permit: bool, address: Ipv4Addr, wildcard: Ipv4Addr) -> Self {
        AccessEntry {
            permit,
            protocol: None,
            source: AccessEnd {
                address,
                wildcard,
                ports: AccessPorts::ANY,
            },
            destination: AccessEnd::ANY,
            established: false,
        }
    }

    /// Whether it compares nothing but the source's address.
    pub fn is_standard(&self) -> bool {
        self.protocol.is_none()
            && !self.established
            && self.destination == AccessEnd::ANY
            && self.source.ports == AccessPorts::ANY
    }
}

/// One end of the traffic that an access list entry speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AccessEnd {
    /// The address to compare with.
    pub address: Ipv4Addr,
    /// IOS wildcard mask: bits that are set are not compared.
    pub wildcard: Ipv4Addr,
    /// TCP or UDP ports.
    pub ports: AccessPorts,
}

impl AccessEnd {
    /// `any`.
    pub const ANY: AccessEnd = AccessEnd {
        address: Ipv4Addr::UNSPECIFIED,
        wildcard: Ipv4Addr::BROADCAST,
        ports: AccessPorts::ANY,
    };

    /// Whether it speaks of `address`.
    pub fn has(&self, address: Ipv4Addr) -> bool {
        let ignore = u32::from(self.wildcard);
        (u32::from(address) | ignore) == (u32::from(self.address) | ignore)
    }

    /// Whether it speaks of that address and port.
    pub fn has_endpoint(&self, endpoint: SocketAddrV4) -> bool {
        self.has(*endpoint.ip()) && self.ports.has(endpoint.port())
    }
}

/// `eq`, `lt`, `gt`, `range`; and `neq`, which is a range turned around.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AccessPorts {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
    /// Whether ports outside of the range are meant.
    pub inverted: bool,
}

impl AccessPorts {
    /// Without a port operator.
    pub const ANY: AccessPorts = AccessPorts {
        first: 0,
        last: u16::MAX,
        inverted: false,
    };

    /// Whether it speaks of `port`.
    pub fn has(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port) != self.inverted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddrV4 {
        text.parse().unwrap()
    }

    fn net(address: [u8; 4], wildcard: [u8; 4]) -> AccessEnd {
        AccessEnd {
            address: address.into(),
            wildcard: wildcard.into(),
            ports: AccessPorts::ANY,
        }
    }

    /// Permits from 192.168.0.0/16 what this changes, and denies the rest.
    fn list(change: impl FnOnce(&mut AccessEntry)) -> AccessList {
        let mut entry = AccessEntry {
            permit: true,
            protocol: None,
            source: net([192, 168, 0, 0], [0, 0, 255, 255]),
            destination: AccessEnd::ANY,
            established: false,
        };
        change(&mut entry);
        AccessList {
            name: "101".into(),
            entries: alloc::vec![entry],
        }
    }

    fn permits(list: &AccessList, protocol: Protocol) -> bool {
        list.permits_flow(protocol, at("192.168.1.2:4000"), at("10.0.0.9:5060"))
    }

    #[test]
    fn an_entry_compares_protocol_ports_and_both_ends() {
        let any = list(|_| {});
        assert!(permits(&any, Protocol::Tcp) && permits(&any, Protocol::Udp));
        let udp = list(|entry| entry.protocol = Some(17));
        assert!(!permits(&udp, Protocol::Tcp) && permits(&udp, Protocol::Udp));
        let ports = |first, last, inverted| AccessPorts {
            first,
            last,
            inverted,
        };
        for (of, permitted) in [
            (ports(5060, 5061, false), true),
            (ports(5061, 5062, false), false),
            (ports(5060, 5060, true), false),
            (ports(1, 2, true), true),
        ] {
            let of_destination = list(|entry| entry.destination.ports = of);
            assert_eq!(permits(&of_destination, Protocol::Tcp), permitted, "{of:?}");
        }
        let of_source = list(|entry| entry.source.ports = ports(5060, 5060, false));
        assert!(!permits(&of_source, Protocol::Tcp));
        let elsewhere = list(|entry| entry.destination = net([10, 1, 0, 0], [0, 0, 255, 255]));
        assert!(!permits(&elsewhere, Protocol::Tcp));
    }

    /// A flow begins without ACK.
    #[test]
    fn what_is_established_begins_nothing() {
        assert!(!permits(
            &list(|entry| entry.established = true),
            Protocol::Tcp
        ));
    }

    #[test]
    fn the_first_entry_that_matches_decides_and_the_end_denies() {
        let mut exempt = list(|_| {});
        let mut deny = exempt.entries[0];
        deny.permit = false;
        deny.destination = net([10, 0, 0, 0], [0, 255, 255, 255]);
        exempt.entries.insert(0, deny);
        let source = at("192.168.1.2:4000");
        let to = |destination| exempt.permits_flow(Protocol::Tcp, source, at(destination));
        assert!(!to("10.0.0.9:5060") && to("11.0.0.9:5060"));
        assert!(!exempt.permits_flow(Protocol::Tcp, at("172.16.0.1:1"), at("11.0.0.9:1")));
        // As to the host alone, only what denies all of its traffic denies.
        assert!(exempt.permits(*source.ip()));
        assert!(!exempt.permits(Ipv4Addr::new(172, 16, 0, 1)));
    }
}
