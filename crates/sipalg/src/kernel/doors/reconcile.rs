//! The doors that the kernel has against those that it should have.

use super::*;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The sets that doors are made of, and those that their packets are counted in.
pub(in crate::kernel) const DOOR_SETS: [&Set; 9] = [
    &MEDIA_DN,
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

/// What the kernel should have of an element, and for which of the doors.
struct Wanted {
    element: Element,
    lifetime: Duration,
    door: usize,
    there: bool,
}

/// By set and key.
type Table = BTreeMap<(u32, [u8; KEY]), Wanted>;

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
        let counting: HashSet<_> = self.media().collect();
        let mut lacking = BTreeSet::new();
        for (set, elements) in there {
            for there in elements {
                let element = Element::found(set, there);
                if set.kind == SetKind::Counting {
                    let is_counted = counting.contains(&there.address_port());
                    found.change.taken.extend((!is_counted).then_some(element));
                    continue;
                }
                match wanted.get_mut(&(set.id, element.key)) {
                    Some(wanted) => {
                        if !renew(element, there.expires, wanted, &mut found.change) {
                            lacking.insert(wanted.door);
                        }
                    }
                    None => unwanted(element, &mut found),
                }
            }
        }
        for missing in wanted.values().filter(|wanted| !wanted.there) {
            lacking.insert(missing.door);
            let put = (missing.element, missing.lifetime);
            found.change.put.push(put);
        }
        found.change.opened = lacking.iter().map(|door| Pair::of(&doors[*door])).collect();
        found.extra += found.change.closed.len();
        found.made = lacking.len();
        found.kept = doors.len() - found.made;
        found
    }

    /// Remembers the doors, and says what the kernel should have of them. Of two that want the same
    /// end, the later one has it, as if they had been opened in this order.
    fn wanted(&mut self, doors: &[Door]) -> Table {
        for door in doors {
            self.link(Pair::of(door));
        }
        let mut table = Table::new();
        for (index, door) in doors.iter().enumerate() {
            let pair = Pair::of(door);
            if !self.is_open(&pair) {
                continue;
            }
            let port = pair.has_port().then(|| Element::of_port(even_port(&pair)));
            for element in elements_of(&pair).into_iter().flatten().chain(port) {
                let key = (element.set.id, element.key);
                let entry = table.entry(key).or_insert(Wanted {
                    element,
                    lifetime: door.lifetime,
                    door: index,
                    there: false,
                });
                entry.lifetime = entry.lifetime.max(door.lifetime);
            }
        }
        table
    }
}

impl Element {
    /// One that the kernel has.
    fn found(set: &'static Set, there: &nft::Element) -> Self {
        let eight = |bytes: &[u8]| {
            let mut eight = [0; KEY];
            eight
                .iter_mut()
                .zip(bytes)
                .for_each(|(to, from)| *to = *from);
            eight
        };
        Element {
            set,
            key: eight(&there.key),
            value: there.value.as_deref().map(eight),
        }
    }
}

/// Makes what is there what is wanted; true if it was.
fn renew(there: Element, expires: Duration, wanted: &mut Wanted, change: &mut Change) -> bool {
    if there != wanted.element {
        change.taken.push(there);
        return false;
    }
    wanted.there = true;
    if expires < wanted.lifetime / 2 {
        change.put.push((wanted.element, wanted.lifetime));
    }
    true
}

/// Takes out what belongs to no door.
fn unwanted(there: Element, found: &mut Reconciled) {
    found.change.taken.push(there);
    let end = nft::address_port_of(&there.key);
    let other_end = there.value.map(|value| nft::address_port_of(&value));
    let (kind, protocol) = (DoorKind::Media, Protocol::Udp);
    let pair = |local, global| Pair {
        kind,
        protocol,
        local,
        global,
    };
    let closed = match (there.set, other_end) {
        (&MEDIA_DN, Some(local)) => Some(pair(local, end)),
        (&MEDIA_SN, Some(global)) => Some(pair(end, global)),
        _ => None,
    };
    found
        .change
        .closed
        .extend(closed.filter(|pair| !found.change.closed.contains(pair)));
    let signals = [&SIGNAL_DOORS, &SIGNAL_UDP, &MEDIA_TCP];
    found.extra += usize::from(signals.contains(&there.set));
}
