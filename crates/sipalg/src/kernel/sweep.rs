//! Connections that contradict the doors.
//!
//! Address translation is decided by the first packet of a connection (for UDP: of a flow), so a
//! flow that began before a door opened would never see it, and one that came through a door would
//! outlive it.
//!
//! To list connections takes the longer the more there are, and doors open and close all the time.
//! So rules note who sends and is sent to outside of doors, and only for a door that has such an end
//! is anything listed. Flows of closed doors are stopped by the rules at once; they are deleted
//! later, many in one go, or when a door wants one of their ends for another.

use super::addresses::Held;
use super::doors::{Doors, Elements, Pair, without};
use super::ruleset::{LOOSE_ENDS, TABLE};
use super::tracking::Tracking;
use super::{CT_DOOR, CT_TAKEN, KernelError};
use crate::netlink::Error;
use crate::netlink::conntrack::{Conntrack, Entry, Which};
use crate::netlink::nft::{self, Nft};
use sipalg_core::addr::{Ipv4Addr, SocketAddrV4};
use sipalg_core::door::DoorKind;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// With more closed doors than this, their flows are deleted without being asked.
const MOST_ENDED: usize = 16_384;

/// What is known of connections without listing them.
#[derive(Debug)]
pub(super) struct Sweep {
    conntrack: Conntrack,
    elements: Elements,
    /// Media doors that have closed, whose flows may still be there.
    ended: HashSet<Pair>,
    ended_locals: HashMap<SocketAddrV4, SocketAddrV4>,
    ended_globals: HashMap<SocketAddrV4, SocketAddrV4>,
    /// Ends of flows that are older than our rules, which did not note them.
    older: HashSet<SocketAddrV4>,
    /// When the last of those has either sent again, and been noted, or ended.
    older_until: Instant,
    /// How long a flow may live without a packet.
    idle: Duration,
    /// There may be flows of doors that nobody knows to have closed, and flows that nobody noted.
    unlisted: bool,
}

impl Sweep {
    /// `idle` is how long a flow may live without a packet. Which flows there are is asked when it
    /// first matters.
    pub(super) fn new(elements: Elements, idle: Duration) -> Result<Self, KernelError> {
        let refused = |error| KernelError::refused("to list connections", error);
        Ok(Sweep {
            conntrack: Conntrack::open().map_err(refused)?,
            elements,
            ended: HashSet::new(),
            ended_locals: HashMap::new(),
            ended_globals: HashMap::new(),
            older: HashSet::new(),
            older_until: Instant::now(),
            idle,
            unlisted: true,
        })
    }

    /// Rules and doors were not ours to see for a while: whatever flows there are is asked anew.
    pub(super) fn begin_anew(&mut self) {
        self.unlisted = true;
    }

    /// Lists the flows that are there now: those of doors that are not open are deleted, the others
    /// are remembered as older than our rules.
    pub(super) fn list(&mut self, doors: &Doors) -> Result<(), Error> {
        if !self.unlisted {
            return Ok(());
        }
        self.conntrack
            .delete_where(Which::UdpMarked(CT_DOOR), |entry| {
                let pairs = translations(entry);
                pairs
                    .into_iter()
                    .flatten()
                    .any(|pair| !doors.is_open(&pair))
            })?;
        let flows = self.conntrack.udp()?.into_iter();
        let flows = flows.filter(|flow| flow.mark & CT_DOOR == 0);
        let ends = flows.flat_map(|flow| [flow.original.source, flow.original.destination]);
        self.older = ends.collect();
        self.older_until = Instant::now() + self.idle;
        self.unlisted = false;
        Ok(())
    }

    /// Works as on a kernel of the given kind.
    pub(super) fn set_elements(&mut self, elements: Elements) {
        self.elements = elements;
    }

    /// Deletes what stands in the way of the `opened` doors, and remembers the `closed` ones.
    pub(super) fn follow(
        &mut self,
        nft: &mut Nft,
        doors: &Doors,
        opened: &HashSet<Pair>,
        closed: &HashSet<Pair>,
    ) -> Result<(), Error> {
        if !opened.is_empty() {
            self.list(doors)?;
        }
        for pair in closed.iter().filter(|pair| pair.kind == DoorKind::Media) {
            self.ended.insert(*pair);
            self.ended_locals.insert(pair.local, pair.global);
            self.ended_globals.insert(pair.global, pair.local);
        }
        if opened.iter().any(|pair| self.has_ended_elsewhere(pair)) || self.ended.len() > MOST_ENDED
        {
            self.tidy(doors)?;
        }
        for pair in opened {
            if self.ended.remove(pair) {
                self.ended_locals.remove(&pair.local);
                self.ended_globals.remove(&pair.global);
            }
        }
        let suspects = self.in_whose_way(nft, opened)?;
        self.clear_way(nft, &suspects)
    }

    /// Deletes the flows of doors that have closed.
    pub(super) fn tidy(&mut self, doors: &Doors) -> Result<(), Error> {
        self.list(doors)?;
        if Instant::now() > self.older_until {
            self.older = HashSet::new();
        }
        if self.ended.is_empty() {
            return Ok(());
        }
        let ended = std::mem::take(&mut self.ended);
        self.ended_locals.clear();
        self.ended_globals.clear();
        self.conntrack
            .delete_where(Which::UdpMarked(CT_DOOR), |entry| {
                went_through(entry, &ended)
            })
    }

    /// How full the connection table is.
    pub(super) fn tracking(&mut self) -> Result<Tracking, Error> {
        let (used, most) = self.conntrack.fill()?;
        let without_room = self.conntrack.without_room()?;
        Ok(Tracking {
            used,
            most,
            without_room,
        })
    }

    /// Ends the flows of hosts that have lost their address.
    pub(super) fn release(&mut self, released: &[Held]) -> Result<(), Error> {
        if released.is_empty() {
            return Ok(());
        }
        let global_of: HashMap<_, _> = released.iter().map(|h| (h.local, h.global)).collect();
        let uses = |local: &Ipv4Addr, global: &Ipv4Addr| global_of.get(local) == Some(global);
        self.conntrack.delete_where(Which::All, |entry| {
            uses(entry.original.source.ip(), entry.reply.destination.ip())
                || uses(entry.reply.source.ip(), entry.original.destination.ip())
        })
    }

    /// Ends ordinary flows, by who they are inside and outside.
    pub(super) fn forget(
        &mut self,
        doomed: impl Fn(Ipv4Addr, Ipv4Addr) -> bool,
    ) -> Result<(), Error> {
        self.conntrack.delete_where(Which::All, |entry| {
            let translated = |(local, global): (&SocketAddrV4, &SocketAddrV4)| {
                local != global && doomed(*local.ip(), *global.ip())
            };
            let (original, reply) = (&entry.original, &entry.reply);
            entry.mark & (CT_DOOR | CT_TAKEN) == 0
                && [
                    (&original.source, &reply.destination),
                    (&reply.source, &original.destination),
                ]
                .into_iter()
                .any(translated)
        })
    }

    /// Whether an end of the door belonged to another one whose flows may still be there.
    fn has_ended_elsewhere(&self, pair: &Pair) -> bool {
        let other = |of: Option<&SocketAddrV4>, end| of.is_some_and(|other| *other != end);
        other(self.ended_locals.get(&pair.local), pair.global)
            || other(self.ended_globals.get(&pair.global), pair.local)
    }

    /// The doors of which a flow that is older may have an end.
    fn in_whose_way(&self, nft: &mut Nft, doors: &HashSet<Pair>) -> Result<Vec<Pair>, Error> {
        let ends = doors.iter().flat_map(|pair| [pair.local, pair.global]);
        let keys: Vec<_> = ends.map(nft::address_port).collect();
        let loose = nft.have(TABLE, &LOOSE_ENDS, keys.iter().map(AsRef::as_ref))?;
        let is_older =
            |pair: &Pair| self.older.contains(&pair.local) || self.older.contains(&pair.global);
        let suspects = doors.iter().zip(loose.chunks(2));
        let suspects = suspects.filter(|(pair, loose)| loose.contains(&true) || is_older(pair));
        Ok(suspects.map(|(pair, _)| *pair).collect())
    }

    /// Deletes the flows that stand in the way of these doors. Ordinary flows of other hosts that
    /// merely share a port number stay.
    fn clear_way(&mut self, nft: &mut Nft, doors: &[Pair]) -> Result<(), Error> {
        if doors.is_empty() {
            return Ok(());
        }
        let by_local: Ends = doors.iter().map(|p| (p.local, *p)).collect();
        let by_global: Ends = doors.iter().map(|p| (p.global, *p)).collect();
        self.conntrack
            .delete_where(Which::Udp, |entry| in_the_way(entry, &by_local, &by_global))?;
        let ends = doors.iter().flat_map(|pair| [pair.local, pair.global]);
        let mut forget = Vec::new();
        for end in ends {
            self.older.remove(&end);
            forget.extend(without(self.elements, &LOOSE_ENDS, &nft::address_port(end)));
        }
        nft.commit(forget)
    }
}

type Ends = HashMap<SocketAddrV4, Pair>;

/// A flow that an opened door would translate otherwise than the kernel does, or that began before
/// it: such a one lacks the mark by which the door's packets are counted and guarded. What has an
/// end of a signalling door is the proxy's.
fn in_the_way(entry: &Entry, by_local: &Ends, by_global: &Ends) -> bool {
    let unmarked = entry.mark & CT_DOOR == 0;
    let outward = by_local.get(&entry.original.source);
    let inward = by_global.get(&entry.original.destination);
    outward.is_some_and(|door| unmarked || entry.reply.destination != door.global)
        || inward.is_some_and(|door| unmarked || entry.reply.source != door.local)
}

/// A flow that one of the `closed` doors translated.
fn went_through(entry: &Entry, closed: &HashSet<Pair>) -> bool {
    let pairs = translations(entry);
    pairs.iter().flatten().any(|pair| closed.contains(pair))
}

/// The media doors that translated a flow, at the end where it began and at the other.
fn translations(entry: &Entry) -> [Option<Pair>; 2] {
    let pair = |local, global| {
        let kind = DoorKind::Media;
        (local != global).then_some(Pair {
            kind,
            local,
            global,
        })
    };
    [
        pair(entry.original.source, entry.reply.destination),
        pair(entry.reply.source, entry.original.destination),
    ]
}
