//! To which ports of inside hosts a door may lead.

use crate::addr::{Ipv4Addr, Protocol};
use crate::door::DoorKind;
use alloc::vec::Vec;

/// Below are the services of a host (RFC 6335 section 6, system ports).
const LOWEST_PORT: u16 = 1024;

/// Which inside ports a message may have a door for.
///
/// A port below 1024 gets none, but for signalling at a SIP port. TCP gets none at a port of a
/// service that is no business of SIP either, so that nobody who makes a host say SIP (a browser:
/// NAT slipstreaming) reaches it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DoorPorts {
    /// Where SIP is spoken, sorted.
    pub sip: Vec<(Protocol, u16)>,
    /// Ports that no door for TCP leads to, unless SIP is spoken there: first and last of each range,
    /// in ascending order.
    pub protected: Vec<(u16, u16)>,
}

/// Services of inside hosts that listen above 1023.
pub const PROTECTED: &[(u16, u16)] = &[
    (1080, 1080),   // SOCKS
    (1433, 1433),   // Microsoft SQL Server
    (1521, 1521),   // Oracle
    (1719, 1723),   // H.323 (slipstreaming version 2), PPTP
    (1900, 1900),   // SSDP
    (2049, 2049),   // NFS
    (2375, 2376),   // Docker
    (3128, 3128),   // proxies
    (3306, 3306),   // MySQL
    (3389, 3389),   // Remote Desktop
    (5000, 5000),   // UPnP control
    (5432, 5432),   // PostgreSQL
    (5555, 5555),   // Android Debug Bridge
    (5900, 5910),   // VNC
    (5985, 5986),   // Windows Remote Management
    (6379, 6379),   // Redis
    (6566, 6566),   // SANE
    (8000, 8000),   // web servers
    (8008, 8009),   // Google Cast
    (8080, 8081),   // web servers and proxies
    (8443, 8443),   // web servers
    (8888, 8888),   // web servers
    (9100, 9100),   // printers
    (9200, 9200),   // Elasticsearch
    (11211, 11211), // memcached
    (27017, 27017), // MongoDB
];

impl Default for DoorPorts {
    fn default() -> Self {
        DoorPorts {
            sip: Vec::from([(Protocol::Tcp, 5060), (Protocol::Udp, 5060)]),
            protected: PROTECTED.to_vec(),
        }
    }
}

impl DoorPorts {
    /// Whether a door of that kind may lead to that port.
    #[inline]
    pub fn allow(&self, kind: DoorKind, protocol: Protocol, port: u16) -> bool {
        let is_sip = || self.sip.binary_search(&(protocol, port)).is_ok();
        match kind {
            DoorKind::Signalling if is_sip() => true,
            _ if port < LOWEST_PORT => false,
            _ => protocol == Protocol::Udp || !self.is_protected(port),
        }
    }

    fn is_protected(&self, port: u16) -> bool {
        let after = self.protected.partition_point(|(first, _)| *first <= port);
        let range = after.checked_sub(1).and_then(|at| self.protected.get(at));
        range.is_some_and(|(_, last)| port <= *last)
    }
}

/// Whether it can be the address of one host: no door leads to any other.
#[inline]
pub fn is_of_a_host(address: Ipv4Addr) -> bool {
    !(address.octets()[0] == 0
        || address.is_loopback()
        || address.is_multicast()
        || address.octets()[0] >= 240)
}
