//! Who is where: protocols, legs, and the IOS names of the address roles.
//!
//! An *inside local* is the address:port an inside host uses; its *inside global* is how the
//! outside knows it (RFC 2663, and the column order of `show ip nat translations`).

pub use core::net::{Ipv4Addr, SocketAddrV4};
use serde::{Deserialize, Serialize};

/// The transport protocol of a mapping, door or flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP: signalling.
    Tcp,
    /// UDP: media.
    Udp,
}

impl Protocol {
    /// The name as IOS prints it in the `Pro` column.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    /// Its number in the IP header.
    pub const fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

/// The side of the gateway that something came from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub enum Leg {
    /// The private side.
    Inside,
    /// The public side.
    Outside,
}

impl Leg {
    /// The leg that bytes from this one leave by.
    pub const fn other(self) -> Leg {
        match self {
            Leg::Inside => Leg::Outside,
            Leg::Outside => Leg::Inside,
        }
    }
}

/// Who speaks with whom on a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub struct Ends {
    /// What carries it.
    pub protocol: Protocol,
    /// The inside host's end.
    pub inside_local: SocketAddrV4,
    /// How the outside sees that end.
    pub inside_global: SocketAddrV4,
    /// The outside host's end.
    pub outside: SocketAddrV4,
}

/// Names a flow for its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct FlowId(pub u32);
