//! The doors that the kernel has against those that it should have.

use super::*;
use crate::netlink::nft;
use std::collections::BTreeMap;

/// The sets that doors are made of.
pub(in crate::kernel) const DOOR_SETS: [&Set; 10] = [
    &MEDIA_DN,
    &MEDIA_GLOBAL,
    &MEDIA_SN,
    &MEDIA_IN,
    &MEDIA_OUT,
    &DOOR_PORTS,
    &SIGNAL_DOORS,
    &MEDIA_TCP,
    &SIGNAL_UDP,
    &SIGNAL_UDP_LOCALS,
];

/// What a comparison comes down to.
#[derive(Debug, Default)]
pub(in crate::kernel) struct Reconciled {
    /// What is to be done, and for which UDP doors.
    pub(in crate::kernel) change: Change,
    /// Doors that are there as they should be.
    pub(in crate::kernel) kept: usize,
    /// Doors that lack something in the kernel or lead elsewhere.
    pub(in crate::kernel) made: usize,
    /// Doors that should not be there.
    pub(in crate::kernel) extra: usize,
}

/// What the kernel should have under a key, and for which of the doors.
struct Wanted {
    value: Option<[u8; 8]>,
    lifetime: Duration,
    door: usize,
    there: bool,
}

type Table = BTreeMap<(&'static str, Vec<u8>), Wanted>;

impl Doors {
    /// These doors are open from now on, and no others, where the kernel has what `there` says. What
    /// is as it should be is left alone; only what would soon expire lives longer.
    pub(in crate::kernel) fn reconcile(
        &mut self,
        there: &[(&'static Set, Vec<nft::Element>)],
        doors: &[Door],
    ) -> Reconciled {
        *self = Doors::new(self.elements);
        let mut found = Reconciled::default();
        let mut wanted = self.wanted(doors);
        let mut lacking = HashSet::new();
        for (set, elements) in there {
            for element in elements {
                match wanted.get_mut(&(set.name, element.key.clone())) {
                    Some(wanted) => {
                        if !self.renew(set, element, wanted, &mut found.change) {
                            lacking.insert(wanted.door);
                        }
                    }
                    None => self.unwanted(set, element, &mut found),
                }
            }
        }
        for set in DOOR_SETS {
            let missing = wanted.iter();
            for ((_, key), wanted) in missing.filter(|((of, _), w)| *of == set.name && !w.there) {
                let (key, value) = (key.clone(), wanted.value);
                lacking.insert(wanted.door);
                self.put(
                    &Element { set, key, value },
                    wanted.lifetime,
                    &mut found.change,
                );
            }
        }
        let udp = |door: &&usize| doors[**door].protocol == Protocol::Udp;
        let opened = lacking.iter().filter(udp);
        found.change.opened = opened.map(|door| Pair::of(&doors[*door])).collect();
        found.extra += found.change.closed.len();
        found.made = lacking.len();
        found.kept = doors.len() - found.made;
        found
    }

    /// Remembers the doors, and says what the kernel should have of them. Of two that want the same
    /// end, the later one has it, as if they had been opened in this order.
    fn wanted(&mut self, doors: &[Door]) -> Table {
        for door in doors.iter().filter(|door| door.protocol == Protocol::Udp) {
            let pair = Pair::of(door);
            if !self.is_open(&pair) {
                self.clear_way(pair, &mut Change::default());
                self.remember(pair);
            }
        }
        let mut table = Table::new();
        for (index, door) in doors.iter().enumerate() {
            let elements = match door.protocol {
                Protocol::Tcp => vec![element_of(door)],
                Protocol::Udp if self.is_open(&Pair::of(door)) => elements_of(Pair::of(door)),
                Protocol::Udp => continue,
            };
            for Element { set, key, value } in elements {
                let entry = table.entry((set.name, key)).or_insert(Wanted {
                    value,
                    lifetime: door.lifetime,
                    door: index,
                    there: false,
                });
                entry.lifetime = entry.lifetime.max(door.lifetime);
            }
        }
        table
    }

    /// Makes what is there what is wanted; true if it was.
    fn renew(
        &self,
        set: &'static Set,
        there: &nft::Element,
        wanted: &mut Wanted,
        change: &mut Change,
    ) -> bool {
        let key = there.key.clone();
        let value = wanted.value;
        if there.value.as_deref() != value.as_ref().map(|value| &value[..]) {
            self.take_found(set, there, change);
            return false;
        }
        wanted.there = true;
        let counts_for_ever = set.kind == SetKind::Counting && self.elements == Elements::Replaced;
        if !counts_for_ever && there.expires < wanted.lifetime / 2 {
            self.put(&Element { set, key, value }, wanted.lifetime, change);
        }
        true
    }

    /// Takes out what belongs to no door.
    fn unwanted(&self, set: &'static Set, there: &nft::Element, found: &mut Reconciled) {
        self.take_found(set, there, &mut found.change);
        let other_end = there.value.as_deref().map(nft::address_port_of);
        let (kind, end) = (DoorKind::Media, there.address_port());
        let pair = match (set, other_end) {
            (&MEDIA_DN, Some(local)) => Some(Pair {
                kind,
                local,
                global: end,
            }),
            (&MEDIA_SN, Some(global)) => Some(Pair {
                kind,
                local: end,
                global,
            }),
            _ => None,
        };
        found.change.closed.extend(pair);
        let signals = [&SIGNAL_DOORS, &SIGNAL_UDP, &MEDIA_TCP];
        found.extra += usize::from(signals.contains(&set));
    }

    fn take_found(&self, set: &Set, there: &nft::Element, change: &mut Change) {
        let messages = taken_out(self.elements, set, &there.key, there.value.as_deref());
        change.messages.extend(messages);
    }
}
