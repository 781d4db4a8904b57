//! Which media door leads where, and what an operation on a door means for the kernel's sets.

use super::Plan;
use super::ruleset::{
    MEDIA_DN, MEDIA_GLOBAL, MEDIA_IN, MEDIA_OUT, MEDIA_PORTS, MEDIA_SN, SIGNAL_DOORS, TABLE,
};
use crate::netlink::Message;
use crate::netlink::nft::{
    Set, SetKind, add_element, add_key, address_port, delete_element, destroy_element,
    interface_port,
};
use sipalg_core::Protocol;
use sipalg_core::addr::{Ipv4Addr, SocketAddrV4};
use sipalg_core::config::Source;
use sipalg_core::door::DoorOp;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// The two ends of a media door.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(super) struct Pair {
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

/// The open media doors. Each inside local has one inside global and the other way round, so
/// that the kernel's two maps never contradict each other.
#[derive(Debug, Default)]
pub(super) struct Doors {
    by_local: HashMap<SocketAddrV4, SocketAddrV4>,
    by_global: HashMap<SocketAddrV4, SocketAddrV4>,
    elements: Elements,
    /// The outside interface that has the inside global address.
    interfaces: HashMap<Ipv4Addr, String>,
}

/// What operations come down to.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// For the kernel, in order.
    pub(super) messages: Vec<Message>,
    /// Media doors that are open now and were not, or led elsewhere.
    pub(super) opened: HashSet<Pair>,
    /// Media doors that were open and are not.
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
    pub(super) fn new(plan: &Plan, elements: Elements) -> Self {
        let sources = plan.sources.iter();
        Doors {
            elements,
            interfaces: sources
                .filter_map(|source| match (&source.rule.source, &source.interface) {
                    (Source::List { pool, .. }, Some(name)) => Some((pool.start, name.clone())),
                    _ => None,
                })
                .collect(),
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
                Protocol::Udp => self.media(op, &mut change),
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

    fn media(&mut self, op: &DoorOp, change: &mut Change) {
        let door = op.door();
        let pair = Pair {
            local: door.inside_local,
            global: door.inside_global,
        };
        let open = self.by_local.get(&pair.local) == Some(&pair.global);
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
                for element in self.media_elements(pair) {
                    self.put(&element, door.lifetime, change);
                }
            }
        }
    }

    /// Closes the doors that have an end of `pair`.
    fn clear_way(&mut self, pair: Pair, change: &mut Change) {
        if let Some(&global) = self.by_local.get(&pair.local) {
            self.close(Pair { global, ..pair }, change);
        }
        if let Some(&local) = self.by_global.get(&pair.global) {
            self.close(Pair { local, ..pair }, change);
        }
    }

    fn close(&mut self, pair: Pair, change: &mut Change) {
        self.forget(pair);
        change.undo.push(Step::Unlinked(pair));
        if !change.opened.remove(&pair) {
            change.closed.insert(pair);
        }
        for element in self.media_elements(pair) {
            self.take(&element, change);
        }
    }

    /// Puts an element in for `lifetime` from now, whether it is there or not.
    fn put(&self, element: &Element, lifetime: Duration, change: &mut Change) {
        match self.elements {
            Elements::Prolonged => change.messages.push(element.add(lifetime)),
            Elements::Replaced if element.set.kind == SetKind::Counting => {
                change
                    .messages
                    .push(add_key(TABLE, element.set, &element.key));
            }
            Elements::Replaced => {
                self.take(element, change);
                change.messages.push(element.add(lifetime));
            }
        }
    }

    /// Takes an element out, whether it is there or not.
    fn take(&self, element: &Element, change: &mut Change) {
        let (set, key) = (element.set, &element.key);
        match self.elements {
            Elements::Prolonged => change.messages.push(destroy_element(TABLE, set, key)),
            Elements::Replaced => change.messages.extend([
                // It may have expired, and to delete what is not there would fail.
                element.add(Duration::from_secs(1)),
                delete_element(TABLE, set, key),
            ]),
        }
    }

    /// What the kernel holds of a media door.
    fn media_elements(&self, pair: Pair) -> Vec<Element> {
        let (local, global) = (address_port(pair.local), address_port(pair.global));
        let element = |set, key: &[u8], value| Element {
            set,
            key: key.into(),
            value,
        };
        let mut elements = vec![
            element(&MEDIA_DN, &global, Some(local)),
            element(&MEDIA_GLOBAL, &global, None),
            element(&MEDIA_SN, &local, Some(global)),
            element(&MEDIA_IN, &local, None),
            element(&MEDIA_OUT, &local, None),
        ];
        if let Some(interface) = self.interfaces.get(pair.global.ip()) {
            let key = interface_port(interface, pair.global.port());
            elements.push(element(&MEDIA_PORTS, &key, None));
        }
        elements
    }

    fn proxied(&self, op: &DoorOp, change: &mut Change) {
        let door = op.door();
        let element = Element {
            set: &SIGNAL_DOORS,
            key: address_port(door.inside_global).into(),
            value: None,
        };
        match op {
            DoorOp::Open(_) | DoorOp::Refresh(_) => self.put(&element, door.lifetime, change),
            DoorOp::Close(_) => self.take(&element, change),
        }
    }

    fn remember(&mut self, pair: Pair) {
        self.by_local.insert(pair.local, pair.global);
        self.by_global.insert(pair.global, pair.local);
    }

    fn forget(&mut self, pair: Pair) {
        self.by_local.remove(&pair.local);
        self.by_global.remove(&pair.global);
    }
}

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
    use sipalg_core::Door;
    use sipalg_core::door::DoorKind;

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
        let Door {
            inside_local: local,
            inside_global: global,
            ..
        } = door(local, global);
        Pair { local, global }
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
    }
}
