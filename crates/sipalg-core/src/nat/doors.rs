//! Doors on mappings: who wants them open, and what the kernel is told.

use super::{Context, MappingId, Nat, Standing, Wanted};
use crate::addr::{Protocol, SocketAddrV4};
use crate::config::{Config, Resource, is_of_a_host};
use crate::door::{Door, DoorKind, DoorOp};
use crate::event::Event;
use crate::outbox::Outbox;
use alloc::vec::Vec;
use core::time::Duration;

impl Nat {
    /// The door of a mapping, if it is open.
    pub fn door(&self, id: MappingId) -> Option<Door> {
        let mapping = self.get(id)?;
        let door = mapping.door.as_ref().filter(|door| door.open)?;
        Some(Door {
            kind: door.kind,
            protocol: mapping.protocol,
            inside_local: mapping.local,
            inside_global: mapping.global,
            lifetime: door.lifetime(),
        })
    }

    /// Whether the door of a mapping is open.
    pub fn is_open(&self, id: MappingId) -> bool {
        let door = self.get(id).and_then(|mapping| mapping.door.as_ref());
        door.is_some_and(|door| door.open)
    }

    /// Their owner wants these doors once more, for no longer than they are open anyway: true if that
    /// changes nothing, since all of them are.
    pub fn keep_open(
        &mut self,
        cx: &Context<'_>,
        doors: &[(u16, MappingId)],
        lifetime: Duration,
    ) -> bool {
        let mut all = true;
        for (_, id) in doors {
            let door = self.get(*id).and_then(|mapping| mapping.door.as_ref());
            if door.is_some_and(|door| door.open && door.lifetime() >= lifetime) {
                self.touch(cx, *id);
            } else {
                all = false;
            }
        }
        all
    }

    /// Opens the door of a mapping for one more owner; the kernel keeps it for `lifetime` unless
    /// refreshed. True if it was closed before; it stays so if its host has too many, or no rule
    /// gives the mapping any more.
    pub fn open_door(
        &mut self,
        cx: &mut Context<'_>,
        id: MappingId,
        kind: DoorKind,
        lifetime: Duration,
        out: &mut Outbox,
    ) -> bool {
        self.hold(cx, id);
        let Some(mapping) = self.mappings.get_mut(id.0) else {
            return false;
        };
        let (protocol, local) = (mapping.protocol, mapping.local);
        let ended = mapping.standing == Standing::Ended;
        let door = mapping
            .door
            .get_or_insert_with(|| Wanted::new(kind, lifetime));
        door.owners += 1;
        if door.open {
            if lifetime > door.lifetime() {
                self.refresh_door(id, lifetime, out);
            }
            return false;
        }
        if ended {
            return false;
        }
        // Whoever asks has asked himself that before; what opens doors asks it of everyone.
        let leads = may_lead(cx.config, kind, protocol, local);
        let (at, host) = ((cx.now, cx.config), *local.ip());
        if !leads || !cx.admission.admits(at, Resource::Door, host, 1, out) {
            cx.counters.doors_refused += 1;
            out.event(|| Event::DoorRefused {
                inside_local: local,
            });
            return false;
        }
        cx.admission.take(cx.config, Resource::Door, host, 1);
        (door.kind, door.open) = (kind, true);
        door.set_lifetime(lifetime);
        if let Some(door) = self.door(id) {
            cx.counters.doors_opened += 1;
            out.doors.push(DoorOp::Open(door));
            out.detail(|| Event::DoorOpened(door));
        }
        true
    }

    /// Starts the door's lifetime in the kernel anew; with other owners, it gets no shorter.
    pub fn refresh_door(&mut self, id: MappingId, lifetime: Duration, out: &mut Outbox) {
        if let Some(door) = self.mappings.get_mut(id.0).and_then(|m| m.door.as_mut()) {
            door.set_lifetime(match door.owners {
                0 | 1 => lifetime,
                _ => lifetime.max(door.lifetime()),
            });
            if let Some(door) = self.door(id) {
                out.doors.push(DoorOp::Refresh(door));
                out.detail(|| Event::DoorRefreshed(door));
            }
        }
    }

    /// One owner less; the last closes the door and bars its port for other hosts.
    pub fn close_door(&mut self, cx: &mut Context<'_>, id: MappingId, out: &mut Outbox) {
        let Some(door) = self.mappings.get_mut(id.0).and_then(|m| m.door.as_mut()) else {
            return;
        };
        door.owners -= 1;
        if door.owners == 0 {
            self.shut(cx, id, out);
            if let Some(mapping) = self.mappings.get_mut(id.0) {
                mapping.door = None;
            }
        }
        self.release(cx, id);
    }

    /// The kernel does not have this door, whatever its owners think.
    pub fn door_failed(&mut self, cx: &mut Context<'_>, door: &Door) {
        cx.counters.doors_failed += 1;
        if let Some(id) = self.find_local(door.protocol, door.inside_local) {
            self.shut(cx, id, &mut Outbox::default());
        }
    }

    /// Opens the doors anew that failed or were refused and that are still wanted, where there is
    /// room; how many that are.
    pub fn retry_doors(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> usize {
        let failed = self.list().into_iter();
        let failed = failed.filter(|(_, mapping)| {
            let closed = mapping.door.as_ref().filter(|door| !door.open);
            let leads =
                |door: &Wanted| may_lead(cx.config, door.kind, mapping.protocol, mapping.local);
            closed.is_some_and(leads) && mapping.standing != Standing::Ended
        });
        let failed: Vec<_> = failed
            .map(|(id, mapping)| (id, *mapping.local.ip()))
            .collect();
        let mut opened = 0;
        for (id, host) in failed {
            let at = (cx.now, cx.config);
            if cx.admission.admits(at, Resource::Door, host, 1, out) {
                self.reopen(cx, id, out);
                opened += 1;
            }
        }
        opened
    }

    /// Opens the door of a mapping that was closed for a moment.
    pub(super) fn reopen(&mut self, cx: &mut Context<'_>, id: MappingId, out: &mut Outbox) {
        let Some(mapping) = self.mappings.get_mut(id.0) else {
            return;
        };
        let Some(wanted) = &mut mapping.door else {
            return;
        };
        wanted.open = true;
        cx.admission
            .take(cx.config, Resource::Door, *mapping.local.ip(), 1);
        if let Some(door) = self.door(id) {
            cx.counters.doors_opened += 1;
            out.doors.push(DoorOp::Open(door));
            out.detail(|| Event::DoorOpened(door));
        }
    }

    /// Closes a door, whatever its owners think.
    pub(super) fn shut(&mut self, cx: &mut Context<'_>, id: MappingId, out: &mut Outbox) {
        let Some(door) = self.door(id) else {
            return;
        };
        if let Some(wanted) = self.mappings.get_mut(id.0).and_then(|m| m.door.as_mut()) {
            wanted.open = false;
        }
        let host = *door.inside_local.ip();
        cx.admission.give(Resource::Door, host, 1);
        cx.counters.doors_closed += 1;
        self.bar(cx, door.protocol, door.inside_global, host);
        out.doors.push(DoorOp::Close(door));
        out.detail(|| Event::DoorClosed(door));
    }
}

/// Whether a door of that kind may lead to an inside local. What a static rule gives is open already.
#[inline]
pub fn may_lead(config: &Config, kind: DoorKind, protocol: Protocol, local: SocketAddrV4) -> bool {
    let allowed = config.doors.allow(kind, protocol, local.port());
    let is_open = || config.fixed_global(protocol, local).is_some();
    is_of_a_host(*local.ip()) && (allowed || is_open())
}
