//! Which door leads where, and what an operation on one means for the kernel's sets.

use super::ruleset::{
    DOOR_PORTS, MEDIA_DN, MEDIA_IN, MEDIA_OUT, MEDIA_SN, MEDIA_TCP, SIGNAL_DOORS, SIGNAL_UDP,
    SIGNAL_UDP_LOCALS, TABLE,
};
use crate::netlink::Message;
use crate::netlink::nft::{
    self, Set, SetKind, add_elements, address_port, delete_elements, destroy_elements,
};
use foldhash::HashMap;
use sipalg_core::addr::SocketAddrV4;
use sipalg_core::door::{DoorKind, DoorOp};
use sipalg_core::{Door, Protocol};
use std::time::Duration;

/// The two ends of a door.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Pair {
    pub(super) kind: DoorKind,
    pub(super) protocol: Protocol,
    pub(super) local: SocketAddrV4,
    pub(super) global: SocketAddrV4,
}

/// How the kernel lets elements of sets live longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Elements {
    /// Adding one again prolongs its life, and one that is gone may be destroyed (Linux 6.12).
    #[default]
    Prolonged,
    /// One must be deleted and added.
    Replaced,
}

mod reconcile;

pub(super) use reconcile::DOOR_SETS;

/// The open doors. Each inside local has one inside global of a kind and the other way round, so that
/// the kernel's two maps never contradict each other.
#[derive(Debug, Default)]
pub(super) struct Doors {
    by_local: HashMap<End, SocketAddrV4>,
    by_global: HashMap<End, SocketAddrV4>,
    /// How many UDP doors have this pair of ports, at whichever global address.
    ports: HashMap<u16, u32>,
    /// What the last change has done here, in order.
    steps: Vec<Step>,
    elements: Elements,
}

/// An end of a door: of which kind, and where.
type End = (DoorKind, Protocol, SocketAddrV4);

/// What operations come down to.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// What the kernel must have no more.
    taken: Vec<Element>,
    /// What it must have for how long from now, after the others are taken out.
    put: Vec<(Element, Duration)>,
    /// The same of [`DOOR_PORTS`], which doors share.
    taken_ports: Vec<u16>,
    put_ports: Vec<(u16, Duration)>,
    /// Doors that are open now and were not, or led elsewhere.
    pub(super) opened: Vec<Pair>,
    /// Doors that were open and are not.
    pub(super) closed: Vec<Pair>,
}

/// A step of ours in the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Linked(Pair),
    Unlinked(Pair),
}

impl Doors {
    /// No door yet.
    pub(super) fn new(elements: Elements) -> Self {
        Doors {
            elements,
            ..Doors::default()
        }
    }

    /// How elements live longer.
    pub(super) fn elements(&self) -> Elements {
        self.elements
    }

    /// Carries out `ops` here and says what the kernel must do.
    pub(super) fn change(&mut self, ops: &[DoorOp]) -> Change {
        self.steps.clear();
        let mut wishes = Vec::with_capacity(ops.len());
        for op in ops {
            let pair = Pair::of(op.door());
            match op {
                DoorOp::Close(_) if self.is_open(&pair) => self.unlink(pair),
                // Another door may have an end of it by now.
                DoorOp::Close(_) => {}
                DoorOp::Open(_) | DoorOp::Refresh(_) => {
                    self.link(pair);
                    wishes.push((pair, op.door().lifetime));
                }
            }
        }
        let mut change = Change::default();
        self.sum_up(&mut change);
        // The last word on a door counts.
        wishes.reverse();
        wishes.sort_by_key(|(pair, _)| *pair);
        wishes.dedup_by_key(|(pair, _)| *pair);
        for (pair, lifetime) in wishes {
            if self.is_open(&pair) {
                change.put(&pair, lifetime);
            }
        }
        change
    }

    /// Takes back what the last [`Doors::change`] did here, because the kernel refused.
    pub(super) fn undo(&mut self) {
        for step in std::mem::take(&mut self.steps).into_iter().rev() {
            match step {
                Step::Linked(pair) => self.forget(pair),
                Step::Unlinked(pair) => self.remember(pair),
            }
        }
    }

    /// What all steps together have opened and closed.
    fn sum_up(&self, change: &mut Change) {
        let mut steps: Vec<_> = self.steps.iter().collect();
        // What happened to one door is together, in order.
        steps.sort_by_key(|step| step.pair());
        for of_one in steps.chunk_by(|one, next| one.pair() == next.pair()) {
            match (of_one.first(), of_one.last()) {
                (Some(Step::Linked(_)), Some(Step::Linked(pair))) => change.opened.push(*pair),
                (Some(Step::Unlinked(_)), Some(Step::Unlinked(pair))) => {
                    change.closed.push(*pair);
                    let is_last = pair.has_port() && !self.ports.contains_key(&even_port(pair));
                    change.take(pair, is_last);
                }
                // It is as it was.
                _ => {}
            }
        }
    }

    /// Opens a door, and closes those that have an end of it.
    fn link(&mut self, pair: Pair) {
        if self.is_open(&pair) {
            return;
        }
        if let Some(&global) = self.by_local.get(&pair.local_end()) {
            self.unlink(Pair { global, ..pair });
        }
        if let Some(&local) = self.by_global.get(&pair.global_end()) {
            self.unlink(Pair { local, ..pair });
        }
        self.remember(pair);
        self.steps.push(Step::Linked(pair));
    }

    fn unlink(&mut self, pair: Pair) {
        self.forget(pair);
        self.steps.push(Step::Unlinked(pair));
    }

    /// Whether a door leads from one end to the other.
    pub(super) fn is_open(&self, pair: &Pair) -> bool {
        self.by_local.get(&pair.local_end()) == Some(&pair.global)
    }

    /// Whether an open media door has an end of this one.
    pub(super) fn has_media_at(&self, pair: &Pair) -> bool {
        let media = Pair {
            kind: DoorKind::Media,
            ..*pair
        };
        self.by_local.contains_key(&media.local_end())
            || self.by_global.contains_key(&media.global_end())
    }

    /// The inside locals of media doors that lead through the kernel alone.
    pub(super) fn media(&self) -> impl Iterator<Item = SocketAddrV4> {
        let ends = self.by_local.keys();
        ends.filter_map(|(kind, protocol, local)| match (kind, protocol) {
            (DoorKind::Media, Protocol::Udp) => Some(*local),
            _ => None,
        })
    }

    fn remember(&mut self, pair: Pair) {
        self.by_local.insert(pair.local_end(), pair.global);
        self.by_global.insert(pair.global_end(), pair.local);
        if pair.has_port() {
            *self.ports.entry(even_port(&pair)).or_default() += 1;
        }
    }

    fn forget(&mut self, pair: Pair) {
        self.by_local.remove(&pair.local_end());
        self.by_global.remove(&pair.global_end());
        let port = even_port(&pair);
        let doors = self.ports.get_mut(&port);
        if let Some(doors) = doors.filter(|_| pair.has_port()) {
            *doors -= 1;
            if *doors == 0 {
                self.ports.remove(&port);
            }
        }
    }
}

impl Pair {
    fn of(door: &Door) -> Self {
        Pair {
            kind: door.kind,
            protocol: door.protocol,
            local: door.inside_local,
            global: door.inside_global,
        }
    }

    fn local_end(&self) -> End {
        (self.kind, self.protocol, self.local)
    }

    fn global_end(&self) -> End {
        (self.kind, self.protocol, self.global)
    }

    /// Whether no other flow may take its port.
    fn has_port(&self) -> bool {
        self.protocol == Protocol::Udp
    }

    /// Whether its packets go through the kernel alone.
    pub(super) fn is_media(&self) -> bool {
        (self.kind, self.protocol) == (DoorKind::Media, Protocol::Udp)
    }
}

impl Step {
    fn pair(&self) -> Pair {
        match self {
            Step::Linked(pair) | Step::Unlinked(pair) => *pair,
        }
    }
}

impl Change {
    fn take(&mut self, pair: &Pair, with_port: bool) {
        self.taken.extend(elements_of(pair).into_iter().flatten());
        self.taken.extend(counts_of(pair));
        self.taken_ports.extend(with_port.then(|| even_port(pair)));
    }

    fn put(&mut self, pair: &Pair, lifetime: Duration) {
        let elements = elements_of(pair).into_iter().flatten();
        self.put.extend(elements.map(|element| (element, lifetime)));
        if pair.has_port() {
            self.put_ports.push((even_port(pair), lifetime));
        }
    }

    /// What the kernel must be told: few messages, however many elements.
    pub(super) fn messages(&mut self, elements: Elements) -> Vec<Message> {
        self.settle_ports();
        let mut messages = Vec::new();
        for set in DOOR_SETS {
            let taken = || self.taken.iter().filter(|element| element.set.id == set.id);
            let taken = taken_out(elements, set, || taken().map(Element::taken));
            // What has counted tells that there were flows.
            let echoes = set.kind == SetKind::Counting && elements == Elements::Prolonged;
            messages.extend(taken.into_iter().map(|message| match echoes {
                true => message.echoed(),
                false => message,
            }));
        }
        for set in DOOR_SETS {
            let put = self.put.iter();
            let put = || put.clone().filter(|(element, _)| element.set.id == set.id);
            if elements == Elements::Replaced {
                let replaced = || put().map(|(element, _)| element.taken());
                messages.extend(taken_out(elements, set, replaced));
            }
            let added = put().map(|(element, lifetime)| element.put(*lifetime));
            messages.extend(add_elements(TABLE, set, added));
        }
        messages
    }

    /// Each port becomes an element once: as RTP and RTCP are open together, most are named twice.
    fn settle_ports(&mut self) {
        self.taken_ports.sort_unstable();
        self.taken_ports.dedup();
        // The longest life first.
        self.put_ports.sort_unstable_by(|one, other| other.cmp(one));
        self.put_ports.dedup_by_key(|(port, _)| *port);
        let taken = self.taken_ports.iter();
        self.taken.extend(taken.map(|port| Element::of_port(*port)));
        let put = self.put_ports.iter();
        self.put
            .extend(put.map(|(port, lifetime)| (Element::of_port(*port), *lifetime)));
    }
}

/// Takes elements out of a set, whether they are there or not.
pub(super) fn taken_out<'a, I: Iterator<Item = nft::Change<'a>>>(
    elements: Elements,
    set: &Set,
    which: impl Fn() -> I,
) -> Vec<Message> {
    match elements {
        Elements::Prolonged => destroy_elements(TABLE, set, which()),
        // To delete what is not there would fail.
        Elements::Replaced => {
            let mut messages = add_elements(TABLE, set, which());
            messages.extend(delete_elements(TABLE, set, which()));
            messages
        }
    }
}

/// How long an element that is about to be deleted lives: longer than a transaction may take.
const DELETED: Duration = Duration::from_secs(60);

/// What the kernel holds of a door, besides its port.
fn elements_of(pair: &Pair) -> [Option<Element>; 2] {
    let (local, global) = (address_port(pair.local), address_port(pair.global));
    let element = |set, key, value| Some(Element { set, key, value });
    match (pair.kind, pair.protocol) {
        (DoorKind::Media, Protocol::Udp) => [
            element(&MEDIA_DN, global, Some(local)),
            element(&MEDIA_SN, local, Some(global)),
        ],
        (DoorKind::Signalling, Protocol::Udp) => [
            element(&SIGNAL_UDP, global, None),
            element(&SIGNAL_UDP_LOCALS, local, None),
        ],
        (DoorKind::Signalling, Protocol::Tcp) => [element(&SIGNAL_DOORS, global, None), None],
        (DoorKind::Media, Protocol::Tcp) => [element(&MEDIA_TCP, global, None), None],
    }
}

/// What rules have put in for a door as it was used.
fn counts_of(pair: &Pair) -> impl Iterator<Item = Element> + use<> {
    let key = address_port(pair.local);
    let sets = pair.is_media().then_some([&MEDIA_IN, &MEDIA_OUT]);
    let element = move |set| Element {
        set,
        key,
        value: None,
    };
    sets.into_iter().flatten().map(element)
}

fn even_port(pair: &Pair) -> u16 {
    nft::even(pair.global).port()
}

/// The most bytes that a key of these sets has.
const KEY: usize = 8;

/// One element of what a door is in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Element {
    set: &'static Set,
    /// As much of it as the set's keys have.
    key: [u8; KEY],
    value: Option<[u8; KEY]>,
}

impl Element {
    fn put(&self, lifetime: Duration) -> nft::Change<'_> {
        nft::Change {
            key: &self.key[..self.set.key.length()],
            value: self.value.as_ref().map(|value| &value[..]),
            lifetime: Some(lifetime),
        }
    }

    fn taken(&self) -> nft::Change<'_> {
        self.put(DELETED)
    }

    fn of_port(port: u16) -> Self {
        let mut key = [0; KEY];
        key[..2].copy_from_slice(&port.to_be_bytes());
        Element {
            set: &DOOR_PORTS,
            key,
            value: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipalg_core::addr::Ipv4Addr;

    fn door(local: u16, global: u16) -> Door {
        Door {
            kind: DoorKind::Media,
            protocol: Protocol::Udp,
            inside_local: SocketAddrV4::new(Ipv4Addr::new(192, 168, 0, 2), local),
            inside_global: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), global),
            lifetime: Duration::from_secs(60),
        }
    }

    fn pair(local: u16, global: u16) -> Pair {
        Pair::of(&door(local, global))
    }

    #[test]
    fn a_door_that_takes_an_end_of_another_closes_it() {
        let mut doors = Doors::default();
        doors.change(&[DoorOp::Open(door(1, 11)), DoorOp::Open(door(2, 12))]);
        let change = doors.change(&[DoorOp::Open(door(1, 12))]);
        assert_eq!(change.opened, [pair(1, 12)]);
        assert_eq!(change.closed, [pair(1, 11), pair(2, 12)]);
        // A late close of the old door leaves the new one alone.
        let mut late = doors.change(&[DoorOp::Close(door(2, 12))]);
        assert!(late.closed.is_empty() && late.messages(Elements::Prolonged).is_empty());
    }

    #[test]
    fn a_door_closed_and_opened_in_one_go_is_neither() {
        let mut doors = Doors::default();
        doors.change(&[DoorOp::Open(door(1, 11))]);
        let change = doors.change(&[DoorOp::Close(door(1, 11)), DoorOp::Open(door(1, 11))]);
        assert!(change.opened.is_empty() && change.closed.is_empty());
        assert!(change.taken.is_empty() && change.put.len() == 2);
        let mut change = doors.change(&[DoorOp::Open(door(3, 13)), DoorOp::Close(door(3, 13))]);
        assert!(change.opened.is_empty() && change.closed.is_empty());
        assert!(change.messages(Elements::Prolonged).is_empty());
    }

    #[test]
    fn the_last_word_on_a_door_counts() {
        let mut doors = Doors::default();
        let longer = Door {
            lifetime: Duration::from_secs(600),
            ..door(1, 11)
        };
        let change = doors.change(&[DoorOp::Open(door(1, 11)), DoorOp::Refresh(longer)]);
        let lifetimes = change.put.iter().map(|(_, lifetime)| *lifetime);
        assert!(lifetimes.eq([longer.lifetime; 2]));
    }

    #[test]
    fn what_the_kernel_refused_is_forgotten() {
        let mut doors = Doors::default();
        doors.change(&[DoorOp::Open(door(1, 11))]);
        doors.change(&[DoorOp::Open(door(2, 11)), DoorOp::Close(door(2, 11))]);
        doors.undo();
        let change = doors.change(&[DoorOp::Close(door(1, 11))]);
        assert_eq!(change.closed, [pair(1, 11)]);
        assert!(doors.by_local.is_empty() && doors.by_global.is_empty());
        assert!(doors.ports.is_empty());
    }

    #[test]
    fn a_port_is_kept_as_long_as_any_door_has_it_or_its_neighbour() {
        let mut doors = Doors::default();
        let mut elsewhere = door(2, 11);
        elsewhere.inside_global = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 11);
        let neighbour = door(3, 10);
        let all = [door(1, 11), elsewhere, neighbour];
        let mut opened = doors.change(&all.map(DoorOp::Open));
        opened.settle_ports();
        let ports = |element: &Element| element.set == &DOOR_PORTS;
        assert_eq!(opened.put.iter().filter(|(put, _)| ports(put)).count(), 1);
        for (count, door) in all.into_iter().enumerate() {
            let mut closed = doors.change(&[DoorOp::Close(door)]);
            closed.settle_ports();
            let taken: Vec<_> = closed.taken.into_iter().filter(ports).collect();
            let last = (count == 2).then(|| Element::of_port(10));
            assert_eq!(taken, last.into_iter().collect::<Vec<_>>());
        }
    }
}
