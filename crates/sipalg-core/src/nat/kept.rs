//! What is recorded of mappings, barred ports and addresses, and how they come back.

use super::addresses::Assigned;
use super::policy::LOWEST_PORT;
use super::{Bar, Context, End, Mapping, MappingId, Nat, Standing, Wanted, may_lead};
use crate::addr::{Ipv4Addr, SocketAddrV4};
use crate::config::{Config, Resource};
use crate::door::{AddressOp, DoorKind, DoorOp};
use crate::kept::{self, At, Name, Named, Note, Recorder, untick};
use crate::outbox::Outbox;
use crate::slab::Entry;
use crate::timer::Key;
use core::time::Duration;

/// Longer than any door is asked for: keeps sums of time in bounds.
const LONGEST_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

impl Named<u32> for Mapping {
    type Name = At;
    fn name(&self, _: &u32) -> At {
        (self.protocol, self.local)
    }
}

impl Entry for Mapping {
    fn note(&mut self) -> &mut Note {
        &mut self.note
    }
}

impl Named<At> for Bar {
    type Name = At;
    fn name(&self, global: &At) -> At {
        *global
    }
}

impl Mapping {
    fn record(&self, recorder: &Recorder<'_>) -> kept::Mapping {
        kept::Mapping {
            global: self.global,
            created: self.created,
            used: recorder.tick(self.used),
            idle_until: recorder.due(self.armed),
            door: self.door.as_ref().map(|door| kept::Door {
                kind: door.kind,
                lifetime: door.lifetime(),
                open: door.open,
            }),
        }
    }
}

/// What is told.
impl Nat {
    /// From now on changes are noted; everything counts as changed.
    pub fn keep(&mut self) {
        self.addresses.begin();
        self.barred.begin();
        self.mappings.begin();
    }

    /// A record of that name was there before the machine was.
    pub fn found(&mut self, name: Name) {
        match name {
            Name::Address(host) => self.addresses.changes.found(host),
            Name::Bar(global) => self.barred.changes().found(global),
            Name::Mapping(at) => self.mappings.changes().found(at),
            _ => {}
        }
    }

    /// Tells what has changed.
    pub fn kept(&mut self, recorder: &mut Recorder<'_>) {
        let hosts = self.addresses.changes.take();
        for host in &hosts {
            let name = Name::Address(*host);
            let Some(assigned) = self.addresses.noted(*host) else {
                recorder.gone(name);
                continue;
            };
            let record = kept::Address {
                global: assigned.global,
                created: assigned.created,
                used: recorder.tick(assigned.used),
            };
            recorder.is(name, &mut assigned.note, &record);
        }
        self.addresses.changes.done(hosts);
        let globals = self.barred.changes().take();
        for global in &globals {
            match self.barred.noted(global) {
                Some((note, bar)) => {
                    let until = recorder.due(bar.armed).unwrap_or_default();
                    let record = kept::Bar {
                        host: bar.host,
                        until,
                    };
                    recorder.is(Name::Bar(*global), note, &record);
                }
                None => recorder.gone(Name::Bar(*global)),
            }
        }
        self.barred.changes().done(globals);
        let locals = self.mappings.changes().take();
        for at in &locals {
            let id = self.by_local.find(&self.mappings, End::new(at.0, at.1));
            let told = id.is_some_and(|id| {
                self.mappings.tell(id.0, |note, mapping| {
                    recorder.is(Name::Mapping(*at), note, &mapping.record(recorder));
                })
            });
            if !told {
                recorder.gone(Name::Mapping(*at));
            }
        }
        self.mappings.changes().done(locals);
    }

    /// How the records of others name a mapping: not, if it has ended.
    pub fn at(&self, id: MappingId) -> Option<At> {
        let mapping = self.get(id)?;
        let lives = mapping.standing != Standing::Ended;
        lives.then_some((mapping.protocol, mapping.local))
    }

    /// Where the choice of ports is.
    pub fn random(&self) -> u64 {
        self.random
    }
}

/// What comes back. Each says whether it does.
impl Nat {
    /// The choice of ports goes on from there.
    pub fn set_random(&mut self, random: u64) {
        self.random = random;
    }

    /// A host has its address again.
    pub fn restore_address(
        &mut self,
        cx: &mut Context<'_>,
        host: Ipv4Addr,
        record: &kept::Address,
    ) -> bool {
        let known = self.addresses.of(host).is_some();
        let taken = self.addresses.host_of(record.global).is_some();
        if known || taken {
            return false;
        }
        let assigned = Assigned::new(
            record.global,
            record.created.min(cx.now),
            untick(record.used, cx.config.timers.use_tick, cx.now),
        );
        self.addresses.give(host, assigned);
        self.watch_address(cx, host);
        true
    }

    /// A port is barred again.
    pub fn restore_bar(&mut self, cx: &mut Context<'_>, at: At, record: &kept::Bar) -> bool {
        let (protocol, global) = at;
        self.bar(cx, protocol, global, record.host);
        if let Some(bar) = self.barred.get_mut(&at) {
            let until = record.until.min(cx.now + cx.config.timers.quarantine);
            cx.timers
                .arm(&mut bar.armed, Key::Bar(protocol, global), until);
        }
        true
    }

    /// A mapping is there again, with its door; nobody holds them yet.
    pub fn restore_mapping(
        &mut self,
        cx: &mut Context<'_>,
        at: At,
        record: &kept::Mapping,
    ) -> bool {
        let ((protocol, local), global) = (at, record.global);
        let host = *local.ip();
        let standing = self.standing_by_rules(cx.config, protocol, local, global);
        let dynamic = standing == Standing::Dynamic;
        let known = self.find_local(protocol, local).is_some();
        let taken = self.find_global(protocol, global).is_some();
        let barred = self.barred.get(&(protocol, global));
        // As when it was made: where the rules leave no choice, no bar is asked.
        let barred = barred.is_some_and(|bar| bar.host != host)
            && !self.is_exact(cx.config, protocol, local);
        if known || taken || barred || !self.may_have(cx.config, at, global) {
            return false;
        }
        let (when, mut untold) = ((cx.now, cx.config), Outbox::default());
        if dynamic && !(cx.admission).admits(when, Resource::Mapping, host, 1, &mut untold) {
            return false;
        }
        let id = self.insert_as(cx.now, standing, protocol, local, global);
        if dynamic {
            self.loads.add(cx, host);
        }
        let door = record.door.as_ref().map(|door| {
            let mut wanted = Wanted::new(door.kind, door.lifetime.min(LONGEST_LIFETIME));
            wanted.open = door.open
                && may_lead(cx.config, door.kind, protocol, local)
                && (cx.admission).admits(when, Resource::Door, host, 1, &mut untold);
            wanted
        });
        if door.as_ref().is_some_and(|door| door.open) {
            cx.admission.take(cx.config, Resource::Door, host, 1);
        }
        if let Some(mapping) = self.mappings.get_mut(id.0) {
            mapping.created = record.created.min(cx.now);
            mapping.used = untick(record.used, cx.config.timers.use_tick, cx.now);
            mapping.door = door;
            if let Some(at) = record.idle_until.filter(|_| dynamic) {
                let at = at.min(cx.now + cx.config.timers.mapping_idle);
                cx.timers.arm(&mut mapping.armed, Key::Mapping(id.0), at);
            }
        }
        true
    }

    /// A mapping is held again by one who held it.
    pub fn hold_again(&mut self, cx: &mut Context<'_>, id: MappingId) {
        if let Some(mapping) = self.mappings.get_mut(id.0) {
            mapping.holders += 1;
            cx.timers.disarm(&mut mapping.armed, Key::Mapping(id.0));
        }
    }

    /// A door is wanted again by one who wanted it. It is not opened by that.
    pub fn own_again(&mut self, cx: &mut Context<'_>, id: MappingId, kind: DoorKind) {
        self.hold_again(cx, id);
        let lifetime = cx.config.timers.door_lifetime();
        if let Some(mapping) = self.mappings.get_mut(id.0) {
            let door = mapping
                .door
                .get_or_insert_with(|| Wanted::new(kind, lifetime));
            door.owners += 1;
        }
    }

    /// All who hold mappings are back, and the rules are in force: closes the doors that nobody wants,
    /// and tells those that are open.
    pub fn restored(&mut self, cx: &mut Context<'_>, out: &mut Outbox) {
        let list: alloc::vec::Vec<_> = self.list().iter().map(|(id, _)| *id).collect();
        for id in list {
            let Some(mapping) = self.mappings.get_mut(id.0) else {
                continue;
            };
            if mapping.holders == 0
                && mapping.standing == Standing::Dynamic
                && mapping.armed.is_none()
            {
                let at = cx.now + cx.config.timers.mapping_idle;
                cx.timers.arm(&mut mapping.armed, Key::Mapping(id.0), at);
            }
            if mapping.door.as_ref().is_some_and(|door| door.owners == 0) {
                // It was not told yet that it is open.
                self.shut(cx, id, &mut Outbox::default());
                if let Some(mapping) = self.mappings.get_mut(id.0) {
                    mapping.door = None;
                }
            }
            if let Some(door) = self.door(id) {
                out.doors.push(DoorOp::Open(door));
            }
        }
        for (local, assigned) in self.assigned() {
            let global = assigned.global;
            out.addresses.push(AddressOp::Assign { local, global });
        }
    }

    /// How many ports are barred.
    pub fn bars(&self) -> usize {
        self.barred.len()
    }

    /// Whether an inside local can have that inside global by any rule, as far as ports go; whether it
    /// has it by those in force is for [`renew`](Self::renew).
    fn may_have(&self, config: &Config, at: At, global: SocketAddrV4) -> bool {
        let (protocol, local) = at;
        let own_port = global.port() == local.port();
        config.permits(*local.ip())
            && match config.fixed_global(protocol, local) {
                Some((_, fixed)) if fixed == global => true,
                _ if self.addresses.of(*local.ip()) == Some(*global.ip()) => own_port,
                _ => global.port() >= LOWEST_PORT && config.is_global(*global.ip()),
            }
    }
}
