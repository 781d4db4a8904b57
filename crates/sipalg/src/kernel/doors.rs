//! Which UDP door leads where, and what an operation on a door means for the kernel's sets.

use super::ruleset::{
    DOOR_PORTS, MEDIA_DN, MEDIA_GLOBAL, MEDIA_IN, MEDIA_OUT, MEDIA_SN, MEDIA_TCP, SIGNAL_DOORS,
    SIGNAL_UDP, SIGNAL_UDP_LOCALS, TABLE,
};
use crate::netlink::Message;
use crate::netlink::nft::{
    Set, SetKind, add_element, add_key, address_port, delete_element, destroy_element,
};
use sipalg_core::addr::SocketAddrV4;
use sipalg_core::door::{DoorKind, DoorOp};
use sipalg_core::{Door, Protocol};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// The two ends of a UDP door.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(super) struct Pair {
    pub(super) kind: DoorKind,
    pub(super) local: SocketAddrV4,
    pub(super) global: SocketAddrV4,
}

/// How the kernel lets elements of sets live longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Elements {
    /// Adding one again prolongs its life, and one that is gone may be destroyed (Linux 6.12).
    #[default]
    Prolonged,
    /// One must be deleted and added, which would also lose what it has counted: elements that
    /// count live until they are deleted.
    Replaced,
}

mod reconcile;

pub(super) use reconcile::DOOR_SETS;

/// The open UDP doors. Each inside local has one inside global of a kind and the other way round,
/// so that the kernel's two maps never contradict each other.
#[derive(Debug, Default)]
pub(super) struct Doors {
    by_local: HashMap<(DoorKind, SocketAddrV4), SocketAddrV4>,
    by_global: HashMap<(DoorKind, SocketAddrV4), SocketAddrV4>,
    /// How many doors have this port, at whichever global address.
    ports: HashMap<u16, u32>,
    elements: Elements,
}

/// What operations come down to.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// For the kernel, in order.
    pub(super) messages: Vec<Message>,
    /// UDP doors that are open now and were not, or led elsewhere.
    pub(super) opened: HashSet<Pair>,
    /// UDP doors that were open and are not.
    pub(super) closed: HashSet<Pair>,
    /// For [`Doors::undo`].
    pub(super) undo: Vec<Step>,
}

/// A step of ours in the two maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
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
        let mut change = Change::default();
        for op in ops {
            match op.door().protocol {
                Protocol::Tcp => self.proxied(op, &mut change),
                Protocol::Udp => self.translated(op, &mut change),
            }
        }
        change
    }

    /// Takes back what [`Doors::change`] did here, because the kernel refused.
    pub(super) fn undo(&mut self, steps: Vec<Step>) {
        for step in steps.into_iter().rev() {
            match step {
                Step::Linked(pair) => self.forget(pair),
                Step::Unlinked(pair) => self.remember(pair),
            }
        }
    }

    fn translated(&mut self, op: &DoorOp, change: &mut Change) {
        let door = op.door();
        let pair = Pair::of(door);
        let open = self.global_of(pair) == Some(pair.global);
        match op {
            DoorOp::Close(_) if open => self.close(pair, change),
            // Another door may have an end of it by now.
            DoorOp::Close(_) => {}
            DoorOp::Open(_) | DoorOp::Refresh(_) => {
                if !open {
                    self.clear_way(pair, change);
                    self.remember(pair);
                    change.undo.push(Step::Linked(pair));
                    if !change.closed.remove(&pair) {
                        change.opened.insert(pair);
                    }
                }
                for element in elements_of(pair) {
                    self.put(&element, door.lifetime, change);
                }
            }
        }
    }

    /// Closes the doors that have an end of `pair`.
    fn clear_way(&mut self, pair: Pair, change: &mut Change) {
        if let Some(global) = self.global_of(pair) {
            self.close(Pair { global, ..pair }, change);
        }
        if let Some(&local) = self.by_global.get(&(pair.kind, pair.global)) {
            self.close(Pair { local, ..pair }, change);
        }
    }

    fn close(&mut self, pair: Pair, change: &mut Change) {
        self.forget(pair);
        change.undo.push(Step::Unlinked(pair));
        if !change.opened.remove(&pair) {
            change.closed.insert(pair);
        }
        let port_is_free = !self.ports.contains_key(&pair.global.port());
        for element in elements_of(pair) {
            if element.set != &DOOR_PORTS || port_is_free {
                self.take(&element, change);
            }
        }
    }

    /// Puts an element in for `lifetime` from now, whether it is there or not.
    fn put(&self, element: &Element, lifetime: Duration, change: &mut Change) {
        match self.elements {
            Elements::Prolonged => change.messages.push(element.add(lifetime)),
            Elements::Replaced if element.set.kind == SetKind::Counting => {
                change
                    .messages
                    .push(add_key(TABLE, element.set, &element.key, None));
            }
            Elements::Replaced => {
                self.take(element, change);
                change.messages.push(element.add(lifetime));
            }
        }
    }

    /// Takes an element out, whether it is there or not.
    fn take(&self, element: &Element, change: &mut Change) {
        let value = element.value.as_ref().map(|value| &value[..]);
        let messages = taken_out(self.elements, element.set, &element.key, value);
        change.messages.extend(messages);
    }

    fn proxied(&self, op: &DoorOp, change: &mut Change) {
        let door = op.door();
        let element = element_of(door);
        match op {
            DoorOp::Open(_) | DoorOp::Refresh(_) => self.put(&element, door.lifetime, change),
            DoorOp::Close(_) => self.take(&element, change),
        }
    }

    /// Whether a UDP door of this kind leads from one end to the other.
    pub(super) fn is_open(&self, pair: &Pair) -> bool {
        self.global_of(*pair) == Some(pair.global)
    }

    fn global_of(&self, pair: Pair) -> Option<SocketAddrV4> {
        self.by_local.get(&(pair.kind, pair.local)).copied()
    }

    fn remember(&mut self, pair: Pair) {
        self.by_local.insert((pair.kind, pair.local), pair.global);
        self.by_global.insert((pair.kind, pair.global), pair.local);
        *self.ports.entry(pair.global.port()).or_default() += 1;
    }

    fn forget(&mut self, pair: Pair) {
        self.by_local.remove(&(pair.kind, pair.local));
        self.by_global.remove(&(pair.kind, pair.global));
        if let Some(doors) = self.ports.get_mut(&pair.global.port()) {
            *doors -= 1;
            if *doors == 0 {
                self.ports.remove(&pair.global.port());
            }
        }
    }
}

impl Pair {
    fn of(door: &Door) -> Self {
        Pair {
            kind: door.kind,
            local: door.inside_local,
            global: door.inside_global,
        }
    }
}

/// What the kernel holds of a TCP door.
fn element_of(door: &Door) -> Element {
    let set = match door.kind {
        DoorKind::Signalling => &SIGNAL_DOORS,
        DoorKind::Media => &MEDIA_TCP,
    };
    Element {
        set,
        key: address_port(door.inside_global).into(),
        value: None,
    }
}

/// What the kernel holds of a UDP door.
fn elements_of(pair: Pair) -> Vec<Element> {
    let (local, global) = (address_port(pair.local), address_port(pair.global));
    let element = |set, key: &[u8], value| Element {
        set,
        key: key.into(),
        value,
    };
    let port = pair.global.port().to_be_bytes();
    let port = element(&DOOR_PORTS, &port, None);
    match pair.kind {
        DoorKind::Media => vec![
            element(&MEDIA_DN, &global, Some(local)),
            element(&MEDIA_GLOBAL, &global, None),
            element(&MEDIA_SN, &local, Some(global)),
            element(&MEDIA_IN, &local, None),
            element(&MEDIA_OUT, &local, None),
            port,
        ],
        DoorKind::Signalling => vec![
            element(&SIGNAL_UDP, &global, None),
            element(&SIGNAL_UDP_LOCALS, &local, None),
            port,
        ],
    }
}

/// Takes `key` out of a set, whether it is there or not.
pub(super) fn without(elements: Elements, set: &Set, key: &[u8]) -> Vec<Message> {
    taken_out(elements, set, key, None)
}

fn taken_out(elements: Elements, set: &Set, key: &[u8], value: Option<&[u8]>) -> Vec<Message> {
    match elements {
        Elements::Prolonged => vec![destroy_element(TABLE, set, key)],
        Elements::Replaced => vec![
            // It may have expired, and to delete what is not there would fail. It must outlive the rest
            // of the transaction, which may be long.
            add_element(TABLE, set, key, value, Duration::from_secs(60)),
            delete_element(TABLE, set, key),
        ],
    }
}

/// One element of what a door is in the kernel.
struct Element {
    set: &'static Set,
    key: Vec<u8>,
    value: Option<[u8; 8]>,
}

impl Element {
    fn add(&self, lifetime: Duration) -> Message {
        let value = self.value.as_ref().map(|value| &value[..]);
        add_element(TABLE, self.set, &self.key, value, lifetime)
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
        assert_eq!(change.opened, [pair(1, 12)].into());
        assert_eq!(change.closed, [pair(1, 11), pair(2, 12)].into());
        // A late close of the old door leaves the new one alone.
        let late = doors.change(&[DoorOp::Close(door(2, 12))]);
        assert!(late.messages.is_empty() && late.closed.is_empty());
    }

    #[test]
    fn a_door_closed_and_opened_in_one_go_is_neither() {
        let mut doors = Doors::default();
        doors.change(&[DoorOp::Open(door(1, 11))]);
        let change = doors.change(&[DoorOp::Close(door(1, 11)), DoorOp::Open(door(1, 11))]);
        assert!(change.opened.is_empty() && change.closed.is_empty());
        let change = doors.change(&[DoorOp::Open(door(3, 13)), DoorOp::Close(door(3, 13))]);
        assert!(change.opened.is_empty() && change.closed.is_empty());
    }

    #[test]
    fn what_the_kernel_refused_is_forgotten() {
        let mut doors = Doors::default();
        doors.change(&[DoorOp::Open(door(1, 11))]);
        let change = doors.change(&[DoorOp::Open(door(2, 11)), DoorOp::Close(door(2, 11))]);
        doors.undo(change.undo);
        let change = doors.change(&[DoorOp::Close(door(1, 11))]);
        assert_eq!(change.closed, [pair(1, 11)].into());
        assert!(doors.by_local.is_empty() && doors.by_global.is_empty());
        assert!(doors.ports.is_empty());
    }

    #[test]
    fn a_port_is_kept_as_long_as_any_door_has_it() {
        let mut doors = Doors::default();
        let mut other = door(2, 11);
        other.inside_global = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 11);
        doors.change(&[DoorOp::Open(door(1, 11)), DoorOp::Open(other)]);
        let port = destroy_element(TABLE, &DOOR_PORTS, &11u16.to_be_bytes());
        let first = doors.change(&[DoorOp::Close(door(1, 11))]);
        assert!(!first.messages.contains(&port));
        let last = doors.change(&[DoorOp::Close(other)]);
        assert!(last.messages.contains(&port));
    }
}
