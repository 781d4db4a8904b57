//! Addresses of pools without overload: which inside host has which, and for how long.

use super::{Context, MapError, Nat};
use crate::addr::Ipv4Addr;
use crate::config::{Pool, Resource, Source};
use crate::door::AddressOp;
use crate::event::Event;
use crate::kept::{Changes, Note};
use crate::outbox::Outbox;
use crate::time::Instant;
use crate::timer::{Armed, Key};
use alloc::collections::BTreeMap;

/// The addresses that are given out.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    by_local: BTreeMap<Ipv4Addr, Assigned>,
    by_global: BTreeMap<Ipv4Addr, Ipv4Addr>,
    pub(super) changes: Changes<Ipv4Addr>,
}

/// An inside host's address.
#[derive(Clone, Copy, Debug)]
pub struct Assigned {
    /// What the outside sees.
    pub global: Ipv4Addr,
    /// When it was given out.
    pub created: Instant,
    /// The host's last new flow or mapping.
    pub used: Instant,
    armed: Armed,
    pub(super) note: Note,
}

impl Assigned {
    /// An address that was given out, without a deadline.
    pub(super) fn new(global: Ipv4Addr, created: Instant, used: Instant) -> Self {
        Assigned {
            global,
            created,
            used,
            armed: Armed::default(),
            note: Note::default(),
        }
    }

    /// The deadline at which it comes back, if the host stays idle.
    pub fn idle_until(&self) -> Armed {
        self.armed
    }
}

impl Addresses {
    pub fn len(&self) -> usize {
        self.by_local.len()
    }

    pub fn of(&self, host: Ipv4Addr) -> Option<Ipv4Addr> {
        Some(self.by_local.get(&host)?.global)
    }

    pub fn host_of(&self, global: Ipv4Addr) -> Option<Ipv4Addr> {
        self.by_global.get(&global).copied()
    }

    /// The host has that address from now on.
    pub fn give(&mut self, host: Ipv4Addr, mut assigned: Assigned) {
        self.changes.mark(&mut assigned.note, host);
        self.by_global.insert(assigned.global, host);
        self.by_local.insert(host, assigned);
    }

    /// The host uses its address.
    fn touch(&mut self, cx: &Context<'_>, host: Ipv4Addr) {
        if let Some(assigned) = self.by_local.get_mut(&host) {
            if cx.is_another_use(assigned.used) {
                self.changes.mark(&mut assigned.note, host);
            }
            assigned.used = cx.now;
        }
    }

    /// From now on changes are noted; everything counts as changed.
    pub fn begin(&mut self) {
        self.changes.begin();
        for (host, assigned) in &mut self.by_local {
            assigned.note = Note::default();
            self.changes.mark(&mut assigned.note, *host);
        }
    }

    /// The address of a host with its note.
    pub fn noted(&mut self, host: Ipv4Addr) -> Option<&mut Assigned> {
        self.by_local.get_mut(&host)
    }
}

impl Nat {
    /// The hosts that have an address of their own, in order.
    pub fn assigned(&self) -> impl Iterator<Item = (Ipv4Addr, &Assigned)> {
        let list = self.addresses.by_local.iter();
        list.map(|(host, assigned)| (*host, assigned))
    }

    /// The address of `pool` that `host` has, given now if need be: the first that is free, of those
    /// that are this machine's.
    ///
    /// # Errors
    /// None is.
    pub fn assign(
        &mut self,
        cx: &mut Context<'_>,
        host: Ipv4Addr,
        pool: Pool,
        out: &mut Outbox,
    ) -> Result<Ipv4Addr, MapError> {
        if let Some(global) = self.addresses.of(host) {
            self.host_seen(cx, host);
            return Ok(global);
        }
        let mut all = (u32::from(pool.start)..=u32::from(pool.end)).map(Ipv4Addr::from);
        let free = all.find(|address| {
            cx.config.share.has_address(*address)
                && self.addresses.host_of(*address).is_none()
                && !cx.config.is_static_global(*address)
        });
        let Some(global) = free else {
            cx.counters.pool_exhausted += 1;
            out.alarm(Event::PoolExhausted { host });
            return Err(MapError::NoAddress);
        };
        let assigned = Assigned::new(global, cx.now, cx.now);
        self.addresses.give(host, assigned);
        self.note_peak(cx.now);
        self.watch_address(cx, host);
        let local = host;
        out.addresses.push(AddressOp::Assign { local, global });
        Ok(global)
    }

    /// The host has a new flow.
    pub fn host_seen(&mut self, cx: &mut Context<'_>, host: Ipv4Addr) {
        self.addresses.touch(cx, host);
    }

    /// A deadline of a host's address came: it comes back, if the host was idle for all that time.
    pub fn address_expired(&mut self, cx: &mut Context<'_>, host: Ipv4Addr, out: &mut Outbox) {
        let needed = cx.admission.of_host(Resource::Mapping, host) > 0;
        if needed {
            self.addresses.touch(cx, host);
        }
        let Some(assigned) = self.addresses.by_local.get_mut(&host) else {
            return;
        };
        assigned.armed.came();
        let idle = cx.config.address_idle;
        if idle.is_some_and(|idle| assigned.used + idle <= cx.now) {
            cx.counters.mappings_expired += 1;
            self.take_back(cx, host, out);
        } else {
            self.watch_address(cx, host);
        }
    }

    /// New rules: takes back what they do not give, and follows the new idle time with the rest.
    pub(super) fn review_addresses(&mut self, cx: &mut Context<'_>, out: &mut Outbox) {
        let list = self.addresses.by_local.iter();
        let list: alloc::vec::Vec<_> = list.map(|(host, a)| (*host, a.global)).collect();
        for (host, global) in list {
            let given = cx.config.sources.iter().any(|rule| {
                let own = matches!(&rule.source, Source::List { pool, .. } if !pool.overload);
                own && rule.speaks_of(host) && rule.gives(global)
            });
            if given && !cx.config.is_static_global(global) {
                self.watch_address(cx, host);
            } else {
                self.take_back(cx, host, out);
            }
        }
    }

    /// The host's address is free again.
    pub(super) fn take_back(&mut self, cx: &mut Context<'_>, host: Ipv4Addr, out: &mut Outbox) {
        if let Some(mut assigned) = self.addresses.by_local.remove(&host) {
            let (local, global) = (host, assigned.global);
            self.addresses.by_global.remove(&global);
            self.addresses.changes.gone(host);
            cx.timers.disarm(&mut assigned.armed, Key::Address(host));
            out.addresses.push(AddressOp::Release { local, global });
        }
    }

    pub(super) fn watch_address(&mut self, cx: &mut Context<'_>, host: Ipv4Addr) {
        let Some(assigned) = self.addresses.by_local.get_mut(&host) else {
            return;
        };
        let key = Key::Address(host);
        match cx.config.address_idle {
            Some(idle) => cx
                .timers
                .arm(&mut assigned.armed, key, assigned.used + idle),
            None => cx.timers.disarm(&mut assigned.armed, key),
        }
    }
}
