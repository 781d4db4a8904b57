//! Addresses of pools without overload: which inside host has which.

use super::ruleset::{POOL_DN, POOL_LOCALS, POOL_SN, TABLE};
use crate::netlink::Message;
use crate::netlink::nft::{Element, Set, add_key, address_port_of, delete_element};
use sipalg_core::addr::Ipv4Addr;
use sipalg_core::door::AddressOp;
use std::collections::{HashMap, HashSet};

/// The sets that addresses of hosts are in.
pub(super) const POOL_SETS: [&Set; 3] = [&POOL_DN, &POOL_SN, &POOL_LOCALS];

/// The address that each host has. Each has one, and each is of one host.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    by_local: HashMap<Ipv4Addr, Ipv4Addr>,
    by_global: HashMap<Ipv4Addr, Ipv4Addr>,
}

/// A host and an address that it has or had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(super) struct Held {
    pub(super) local: Ipv4Addr,
    pub(super) global: Ipv4Addr,
}

/// What operations come down to.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// For the kernel, in order.
    pub(super) messages: Vec<Message>,
    /// Whose flows must end.
    pub(super) released: Vec<Held>,
    /// Who has one now.
    pub(super) assigned: Vec<Held>,
}

impl Addresses {
    /// Carries out `ops` here and says what the kernel must do.
    pub(super) fn change(&mut self, ops: &[AddressOp]) -> Change {
        let mut change = Change::default();
        for op in ops {
            match *op {
                AddressOp::Assign { local, global } => {
                    if self.by_local.get(&local) == Some(&global) {
                        continue;
                    }
                    if let Some(&held) = self.by_local.get(&local) {
                        self.release(local, held, &mut change);
                    }
                    if let Some(&holder) = self.by_global.get(&global) {
                        self.release(holder, global, &mut change);
                    }
                    self.assign(local, global, &mut change);
                }
                AddressOp::Release { local, global } => {
                    if self.by_local.get(&local) == Some(&global) {
                        self.release(local, global, &mut change);
                    }
                }
            }
        }
        change
    }

    /// Hosts have these addresses from now on, and no others, where the sets of [`POOL_SETS`] hold
    /// what `there` says. What is as it should be is left alone.
    pub(super) fn reconcile(
        &mut self,
        there: &[(&'static Set, Vec<Element>)],
        wanted: &[(Ipv4Addr, Ipv4Addr)],
    ) -> Change {
        *self = Addresses::default();
        let assign = |&(local, global): &_| AddressOp::Assign { local, global };
        self.change(&wanted.iter().map(assign).collect::<Vec<_>>());
        let mut change = Change::default();
        let mut kept = HashSet::new();
        for (set, element) in there
            .iter()
            .flat_map(|(set, all)| all.iter().map(move |e| (*set, e)))
        {
            let held = held_by(set, element);
            let right = match held {
                Some(held) => self.by_local.get(&held.local) == Some(&held.global),
                None => self.by_local.contains_key(&element.address()),
            };
            if right {
                kept.insert((set.name, element.address()));
                continue;
            }
            change
                .messages
                .push(delete_element(TABLE, set, &element.key));
            change
                .released
                .extend(held.filter(|held| !change.released.contains(held)));
        }
        for (&local, &global) in &self.by_local {
            let missing = elements_of(Held { local, global });
            let mut missing = missing
                .into_iter()
                .filter(|(set, key, _)| !kept.contains(&(set.name, *key)))
                .peekable();
            if missing.peek().is_some() {
                change.assigned.push(Held { local, global });
            }
            change
                .messages
                .extend(missing.map(|(set, key, value)| add(set, key, value)));
        }
        change
    }

    fn assign(&mut self, local: Ipv4Addr, global: Ipv4Addr, change: &mut Change) {
        self.by_local.insert(local, global);
        self.by_global.insert(global, local);
        change.assigned.push(Held { local, global });
        let elements = elements_of(Held { local, global }).into_iter();
        let elements = elements.map(|(set, key, value)| add(set, key, value));
        change.messages.extend(elements);
    }

    fn release(&mut self, local: Ipv4Addr, global: Ipv4Addr, change: &mut Change) {
        self.by_local.remove(&local);
        self.by_global.remove(&global);
        change.released.push(Held { local, global });
        change.messages.extend([
            delete_element(TABLE, &POOL_DN, &global.octets()),
            delete_element(TABLE, &POOL_SN, &local.octets()),
            delete_element(TABLE, &POOL_LOCALS, &local.octets()),
        ]);
    }

    /// Takes back `ops`, which the kernel refused.
    pub(super) fn undo(&mut self, change: &Change) {
        for Held { local, global } in &change.assigned {
            self.by_local.remove(local);
            self.by_global.remove(global);
        }
        for Held { local, global } in &change.released {
            self.by_local.insert(*local, *global);
            self.by_global.insert(*global, *local);
        }
    }
}

/// What the kernel holds of a host's address: sets, keys and values.
fn elements_of(held: Held) -> [(&'static Set, Ipv4Addr, Option<Ipv4Addr>); 3] {
    let Held { local, global } = held;
    [
        (&POOL_DN, global, Some(local)),
        (&POOL_SN, local, Some(global)),
        (&POOL_LOCALS, local, None),
    ]
}

fn add(set: &Set, key: Ipv4Addr, value: Option<Ipv4Addr>) -> Message {
    let value = value.map(|value| value.octets());
    add_key(
        TABLE,
        set,
        &key.octets(),
        value.as_ref().map(|value| &value[..]),
    )
}

/// Whose address an element of the two maps says what is.
fn held_by(set: &'static Set, element: &Element) -> Option<Held> {
    let value = element.value.as_deref()?;
    let (key, value) = (element.address(), *address_port_of(value).ip());
    let (local, global) = match *set {
        POOL_DN => (value, key),
        _ => (key, value),
    };
    Some(Held { local, global })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn assign(local: u8, global: u8) -> AddressOp {
        AddressOp::Assign {
            local: ip(local),
            global: ip(global),
        }
    }

    fn release(local: u8, global: u8) -> AddressOp {
        AddressOp::Release {
            local: ip(local),
            global: ip(global),
        }
    }

    #[test]
    fn an_address_is_never_of_two_hosts_nor_a_host_of_two_addresses() {
        let mut addresses = Addresses::default();
        addresses.change(&[assign(1, 11), assign(2, 12)]);
        let change = addresses.change(&[assign(1, 12)]);
        let released = |local, global| Held {
            local: ip(local),
            global: ip(global),
        };
        assert_eq!(change.released, [released(1, 11), released(2, 12)]);
        assert_eq!(addresses.by_local, [(ip(1), ip(12))].into());
        assert_eq!(addresses.by_global, [(ip(12), ip(1))].into());
    }

    #[test]
    fn what_the_kernel_refused_is_forgotten() {
        let mut addresses = Addresses::default();
        addresses.change(&[assign(1, 11)]);
        let change = addresses.change(&[release(1, 11), assign(2, 11)]);
        addresses.undo(&change);
        assert_eq!(addresses.by_local, [(ip(1), ip(11))].into());
        assert_eq!(addresses.by_global, [(ip(11), ip(1))].into());
    }

    #[test]
    fn what_is_said_twice_or_late_changes_nothing() {
        let mut addresses = Addresses::default();
        addresses.change(&[assign(1, 11)]);
        for op in [assign(1, 11), release(1, 12), release(2, 11)] {
            assert!(addresses.change(&[op]).messages.is_empty());
        }
    }
}
