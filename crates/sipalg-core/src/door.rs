//! Doors: mappings that accept traffic from outside.

use crate::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// What a door is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub enum DoorKind {
    /// New TCP connections to a registered contact or to the contact of a dialog.
    Signalling,
    /// RTP or RTCP; or new TCP connections to media over TCP, which go through the proxy as
    /// signalling does.
    Media,
}

/// A mapping that accepts traffic from any outside host (RFC 4787 endpoint-independent mapping and
/// filtering), in the direction outside to inside; the way out uses the same pair of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Door {
    /// What it is for.
    pub kind: DoorKind,
    /// UDP goes through the kernel alone, TCP through the proxy.
    pub protocol: Protocol,
    /// Where it leads.
    pub inside_local: SocketAddrV4,
    /// Where the outside knocks.
    pub inside_global: SocketAddrV4,
    /// After how long without a [`DoorOp::Refresh`] the kernel forgets it by itself, so that a
    /// crash leaves nothing behind.
    pub lifetime: Duration,
}

/// What the kernel must do, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DoorOp {
    /// Make the door, and end older kernel state in its way.
    Open(Door),
    /// Start its lifetime anew.
    Refresh(Door),
    /// Take it away, with the kernel state that came through it.
    Close(Door),
}

impl DoorOp {
    /// The door that the operation is about.
    pub const fn door(&self) -> &Door {
        match self {
            DoorOp::Open(door) | DoorOp::Refresh(door) | DoorOp::Close(door) => door,
        }
    }
}

/// An address of a pool without overload goes to an inside host, or comes back: the kernel
/// translates all of the host's traffic to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressOp {
    /// The host has it from now on.
    Assign {
        /// The inside host.
        local: Ipv4Addr,
        /// Its inside global address.
        global: Ipv4Addr,
    },
    /// The host has it no more; flows that use it end.
    Release {
        /// The inside host.
        local: Ipv4Addr,
        /// What was its inside global address.
        global: Ipv4Addr,
    },
}

/// What the kernel has counted on a media door since it opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MediaCount {
    /// Packets from outside to inside.
    pub in_packets: u64,
    /// Bytes of those, IP headers included.
    pub in_bytes: u64,
    /// Packets from inside to outside.
    pub out_packets: u64,
    /// Bytes of those, IP headers included.
    pub out_bytes: u64,
}
