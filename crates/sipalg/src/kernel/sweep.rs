//! Connections that contradict the doors.
//!
//! Address translation is decided by the first packet of a connection (for UDP: of a flow), so a
//! flow that began before a door opened would never see it, and one that came through a door would
//! outlive it.

use super::doors::Pair;
use super::{CT_DOOR, KernelError};
use crate::netlink::Error;
use crate::netlink::conntrack::{Conntrack, Entry, Tuple};
use sipalg_core::addr::{Ipv4Addr, SocketAddrV4};
use std::collections::{HashMap, HashSet};

/// Deletes the flows that stand in the way of `opened` doors and those that went through `closed`
/// ones. Ordinary flows of other hosts that merely share a port number stay.
pub(super) fn sweep(
    conntrack: &mut Conntrack,
    opened: &HashSet<Pair>,
    closed: &HashSet<Pair>,
) -> Result<(), Error> {
    if opened.is_empty() && closed.is_empty() {
        return Ok(());
    }
    let global_of: HashMap<_, _> = opened.iter().map(|p| (p.local, p.global)).collect();
    let local_of: HashMap<_, _> = opened.iter().map(|p| (p.global, p.local)).collect();
    for entry in conntrack.udp()? {
        if in_the_way(&entry, &global_of, &local_of) || went_through(&entry, closed) {
            conntrack.delete_udp(&entry.original)?;
        }
    }
    Ok(())
}

/// Whether the kernel has ctnetlink at all, by asking for something harmless.
pub(super) fn check(conntrack: &mut Conntrack) -> Result<(), KernelError> {
    let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    let nothing = Tuple {
        source: nobody,
        destination: nobody,
    };
    conntrack
        .delete_udp(&nothing)
        .map_err(|error| match error.errno {
            nix::errno::Errno::EINVAL => KernelError::Missing {
                what: "access to connection tracking".into(),
                option: "CONFIG_NF_CT_NETLINK",
            },
            _ => KernelError::refused("to delete connections", error),
        })
}

type Ends = HashMap<SocketAddrV4, SocketAddrV4>;

/// A flow that an opened door would translate otherwise than the kernel does, or that began before
/// it: such a one lacks the mark by which the door's packets are counted and guarded.
fn in_the_way(entry: &Entry, global_of: &Ends, local_of: &Ends) -> bool {
    let unmarked = entry.mark & CT_DOOR == 0;
    let outward = global_of.get(&entry.original.source);
    let inward = local_of.get(&entry.original.destination);
    outward.is_some_and(|global| unmarked || entry.reply.destination != *global)
        || inward.is_some_and(|local| unmarked || entry.reply.source != *local)
}

/// A flow that one of the `closed` doors translated.
fn went_through(entry: &Entry, closed: &HashSet<Pair>) -> bool {
    let outward = Pair {
        local: entry.original.source,
        global: entry.reply.destination,
    };
    let inward = Pair {
        local: entry.reply.source,
        global: entry.original.destination,
    };
    closed.contains(&outward) || closed.contains(&inward)
}
