//! Connections that contradict the doors.
//!
//! Address translation is decided by the first packet of a connection (for UDP: of a flow), so a
//! flow that began before a door opened would never see it, and one that came through a door would
//! outlive it.
//!
//! To list connections takes the longer the more there are, and doors open and close all the time.
//! So rules note who sends and is sent to outside of doors, and only for a door that has such an end
//! is anything listed. The transaction that opens a door takes these notes away, and the kernel
//! echoes those that were there, so that a door without such an end costs no question. In the same
//! way it tells of doors that close whether they have carried anything. Flows of closed doors are
//! stopped by the rules at once; they are deleted later, many in one go, or when a door wants one of
//! their ends for another.

use super::addresses::Held;
use super::doors::{Change, Doors, Elements, Pair, taken_out};
use super::ruleset::{LOOSE_ENDS, TABLE};
use super::tracking::Tracking;
use super::{CT_DOOR, CT_FROM_DOOR, CT_TAKEN, KernelError};
use crate::netlink::conntrack::{Conntrack, Entry, Which};
use crate::netlink::nft::{self, Nft, address_port, destroy_elements};
use crate::netlink::{Error, Message};
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use sipalg_core::Protocol;
use sipalg_core::addr::{Ipv4Addr, SocketAddrV4};
use sipalg_core::door::DoorKind;
use std::time::{Duration, Instant};

/// With more closed doors than this, their flows are deleted without being asked.
const MOST_ENDED: usize = 16_384;

/// How long doors may have closed without a word of the kernel until it is asked what they have left.
const SILENT: Duration = Duration::from_secs(10);

/// What is known of connections without listing them.
#[derive(Debug)]
pub(super) struct Sweep {
    conntrack: Conntrack,
    elements: Elements,
    /// Media doors that have closed, whose flows may still be there: inside local to inside global,
    /// and the other way round.
    ended_locals: HashMap<SocketAddrV4, SocketAddrV4>,
    ended_globals: HashMap<SocketAddrV4, SocketAddrV4>,
    /// Ends of flows that no rule notes, or not until they send again: they are older than our rules,
    /// or their notes have been taken away.
    older: HashSet<SocketAddrV4>,
    /// When the last of those has either sent again, and been noted, or ended.
    older_until: Instant,
    /// Since when doors have closed of which the kernel did not tell that they had flows.
    closed_silent: Option<Instant>,
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
            ended_locals: HashMap::new(),
            ended_globals: HashMap::new(),
            older: HashSet::new(),
            older_until: Instant::now(),
            closed_silent: None,
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
        self.delete_closed(doors)?;
        let flows = self.conntrack.udp()?.into_iter();
        let flows = flows.filter(|flow| flow.mark & CT_DOOR == 0);
        let ends = flows.flat_map(|flow| [flow.original.source, flow.original.destination]);
        self.older = ends.collect();
        self.older_until = Instant::now() + self.idle;
        self.unlisted = false;
        Ok(())
    }

    /// Deletes the flows of all doors that are not open.
    fn delete_closed(&mut self, doors: &Doors) -> Result<(), Error> {
        self.closed_silent = None;
        self.conntrack
            .delete_where(Which::UdpMarked(CT_DOOR), |entry| {
                let pairs = translations(entry);
                let mut pairs = pairs.into_iter().flatten();
                pairs.any(|pair| !doors.is_open(&pair))
            })
    }

    /// Works as on a kernel of the given kind.
    pub(super) fn set_elements(&mut self, elements: Elements) {
        self.elements = elements;
    }

    /// What takes away the notes at the ends of the doors that open; for their transaction.
    pub(super) fn questions(&self, change: &Change) -> Vec<Message> {
        if self.elements == Elements::Replaced {
            return Vec::new();
        }
        let ends = ends_of(&change.opened);
        let keys: Vec<_> = ends.iter().map(|end| address_port(*end)).collect();
        let messages = destroy_elements(TABLE, &LOOSE_ENDS, keys.iter().map(note));
        messages.into_iter().map(Message::echoed).collect()
    }

    /// Deletes what stands in the way of doors that have opened, and remembers those that have
    /// closed. `told` is what their transaction has taken out of sets: notes of the
    /// [`questions`](Self::questions), and counters.
    pub(super) fn follow(
        &mut self,
        nft: &mut Nft,
        doors: &Doors,
        change: &Change,
        told: &[(String, nft::Element)],
    ) -> Result<(), Error> {
        let udp = |pair: &&Pair| pair.protocol == Protocol::Udp;
        let opened = || change.opened.iter().filter(udp);
        if opened().next().is_some() {
            self.list(doors)?;
        }
        self.end(change, told);
        let mut elsewhere = self.ended_locals.len() > MOST_ENDED;
        for pair in opened() {
            match self.ended_locals.get(&pair.local) {
                // The same door again.
                Some(global) if *global == pair.global && pair.is_media() => {
                    self.ended_locals.remove(&pair.local);
                    self.ended_globals.remove(&pair.global);
                }
                Some(_) => elsewhere = true,
                None => elsewhere |= self.ended_globals.contains_key(&pair.global),
            }
        }
        // An end of one belonged to another whose flows may still be there.
        if elsewhere {
            self.tidy(doors)?;
        }
        let notes = told.iter().filter(|(set, _)| set == LOOSE_ENDS.name);
        self.remember(notes.map(|(_, note)| note.address_port()));
        if self.elements == Elements::Replaced {
            self.ask(nft, change)?;
        }
        let is_older =
            |pair: &Pair| self.older.contains(&pair.local) || self.older.contains(&pair.global);
        // The flows of a door for media pass the proxy by.
        let is_media = |pair: &Pair| !pair.is_media() && doors.has_media_at(pair);
        let suspects = opened().filter(|pair| is_older(pair) || is_media(pair));
        let suspects: Vec<_> = suspects.copied().collect();
        self.clear_way(&suspects)
    }

    /// Deletes the flows of doors that have closed.
    pub(super) fn tidy(&mut self, doors: &Doors) -> Result<(), Error> {
        self.list(doors)?;
        if Instant::now() > self.older_until {
            self.older = HashSet::new();
        }
        // A packet may have slipped through while its door closed, or found no room for a counter.
        let silent = self.closed_silent;
        if silent.is_some_and(|since| since.elapsed() > SILENT) {
            self.delete_closed(doors)?;
        }
        if self.ended_locals.is_empty() {
            return Ok(());
        }
        let ended = std::mem::take(&mut self.ended_locals);
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

    /// Remembers which of the closed doors may have had flows: those of which packets were counted.
    fn end(&mut self, change: &Change, told: &[(String, nft::Element)]) {
        let counted = told.iter().filter(|(set, _)| set != LOOSE_ENDS.name);
        let counted: HashSet<_> = counted.map(|(_, count)| count.address_port()).collect();
        for pair in change.closed.iter().filter(|pair| pair.is_media()) {
            if self.elements == Elements::Replaced || counted.contains(&pair.local) {
                self.ended_locals.insert(pair.local, pair.global);
                self.ended_globals.insert(pair.global, pair.local);
            } else {
                self.closed_silent.get_or_insert_with(Instant::now);
            }
        }
    }

    /// There may be flows at these ends or at their neighbours.
    fn remember(&mut self, ends: impl Iterator<Item = SocketAddrV4>) {
        for end in ends {
            let odd = SocketAddrV4::new(*end.ip(), end.port() | 1);
            self.older.extend([nft::even(end), odd]);
            self.older_until = Instant::now() + self.idle;
        }
    }

    /// The [`questions`](Self::questions) where the kernel cannot answer them within a transaction.
    fn ask(&mut self, nft: &mut Nft, change: &Change) -> Result<(), Error> {
        let ends = ends_of(&change.opened);
        let keys: Vec<_> = ends.iter().map(|end| address_port(*end)).collect();
        let there = nft.have(TABLE, &LOOSE_ENDS, keys.iter().map(AsRef::as_ref))?;
        let noted: Vec<_> = (0..ends.len()).filter(|at| there[*at]).collect();
        let taken = || noted.iter().map(|at| note(&keys[*at]));
        nft.commit(taken_out(self.elements, &LOOSE_ENDS, taken))?;
        self.remember(noted.iter().map(|at| ends[*at]));
        Ok(())
    }

    /// Deletes the flows that stand in the way of these doors. Ordinary flows of other hosts that
    /// merely share a port number stay.
    fn clear_way(&mut self, doors: &[Pair]) -> Result<(), Error> {
        if doors.is_empty() {
            return Ok(());
        }
        let by_local: Ends = doors.iter().map(|p| (p.local, *p)).collect();
        let by_global: Ends = doors.iter().map(|p| (p.global, *p)).collect();
        self.conntrack
            .delete_where(Which::Udp, |entry| in_the_way(entry, &by_local, &by_global))?;
        for end in doors.iter().flat_map(|pair| [pair.local, pair.global]) {
            self.older.remove(&end);
        }
        Ok(())
    }
}

/// The ends of UDP doors as the rules note them, each once.
fn ends_of(doors: &[Pair]) -> Vec<SocketAddrV4> {
    let udp = doors.iter().filter(|pair| pair.protocol == Protocol::Udp);
    let ends = udp.flat_map(|pair| [pair.local, pair.global]);
    let mut ends: Vec<_> = ends.map(nft::even).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}

/// A note that is taken away.
fn note(key: &[u8; 8]) -> nft::Change<'_> {
    nft::Change {
        key,
        value: None,
        lifetime: Some(NOTED),
    }
}

/// How long a note lives that is put in to be taken out: longer than a transaction may take.
const NOTED: Duration = Duration::from_secs(60);

type Ends = HashMap<SocketAddrV4, Pair>;

/// A flow that an opened door would translate otherwise than the kernel does, or that began before
/// it: such a one lacks the marks by which the door's packets are counted and guarded. What has an
/// end of a signalling door is the proxy's.
fn in_the_way(entry: &Entry, by_local: &Ends, by_global: &Ends) -> bool {
    let lacks = |mark| entry.mark & mark == 0;
    let outward = by_local.get(&entry.original.source);
    let inward = by_global.get(&entry.original.destination);
    let signals = |door: &Pair| door.kind == DoorKind::Signalling;
    let out = |door: &Pair| lacks(CT_FROM_DOOR) || entry.reply.destination != door.global;
    let into = |door: &Pair| lacks(CT_DOOR) || entry.reply.source != door.local;
    outward.is_some_and(|door| signals(door) || out(door))
        || inward.is_some_and(|door| signals(door) || into(door))
}

/// A flow that one of the `closed` doors translated, which are by inside local.
fn went_through(entry: &Entry, closed: &HashMap<SocketAddrV4, SocketAddrV4>) -> bool {
    let pairs = translations(entry);
    let mut pairs = pairs.iter().flatten();
    pairs.any(|pair| closed.get(&pair.local) == Some(&pair.global))
}

/// The media doors that translated a flow, at the end where it began and at the other.
fn translations(entry: &Entry) -> [Option<Pair>; 2] {
    let (kind, protocol) = (DoorKind::Media, Protocol::Udp);
    let pair = |local, global| {
        (local != global).then_some(Pair {
            kind,
            protocol,
            local,
            global,
        })
    };
    // Who has no door is translated, too, on the way to another inside host's.
    let began = (entry.mark & CT_FROM_DOOR != 0)
        .then(|| pair(entry.original.source, entry.reply.destination));
    [
        began.flatten(),
        pair(entry.reply.source, entry.original.destination),
    ]
}
