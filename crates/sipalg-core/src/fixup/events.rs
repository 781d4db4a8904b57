//! What is told of a message while it is fixed up, and what is noted of addresses that lead nowhere.

use super::{Fixup, Named};
use crate::addr::{Leg, Protocol, SocketAddrV4};
use crate::event::Event;
use crate::health::{Leak, LeakPlace, LeakReason, is_private};
use crate::nat::MappingId;
use crate::spelling::Family;

impl Fixup<'_> {
    /// The same as [`leaks`](Self::leaks), in a header field.
    pub(super) fn field_leaks(
        &mut self,
        family: Family,
        protocol: Protocol,
        address: SocketAddrV4,
    ) {
        let place = match family {
            Family::Contact => LeakPlace::Contact,
            _ => LeakPlace::Route,
        };
        self.leaks(place, protocol, address);
    }

    /// An address at which its sender wants to be reached stays as it is: takes note of it, if it
    /// leads nowhere on the other side.
    pub(super) fn leaks(&mut self, place: LeakPlace, protocol: Protocol, address: SocketAddrV4) {
        let (config, host) = (self.cx.config, *address.ip());
        let is_route = place == LeakPlace::Route;
        let reason = match self.from {
            Leg::Inside if !is_private(host) || config.is_global(host) => return,
            // A route may be one of the outside that an answer repeats.
            Leg::Inside if !config.permits(host) && is_route => return,
            Leg::Inside if !config.permits(host) => LeakReason::NoRule,
            Leg::Inside if !config.fixes_up(protocol, address) => LeakReason::NoPayload,
            Leg::Inside if !self.may_open_for(host) => LeakReason::Foreign,
            Leg::Inside => LeakReason::Refused,
            Leg::Outside if is_route => return,
            Leg::Outside if config.is_global(host) => LeakReason::NoMapping,
            Leg::Outside if is_private(host) && !is_private(self.peer) => LeakReason::Private,
            Leg::Outside => return,
        };
        self.work.leak.get_or_insert(Leak {
            place,
            from: self.from,
            address,
            reason,
        });
    }

    /// A field names a mapping whose door may open with it.
    pub(super) fn named(&mut self, mapping: MappingId) {
        if self.out.watch {
            self.work.named.push(Named {
                after: self.out.events.len(),
                mapping,
                media: false,
            });
        }
    }

    pub(super) fn refused(&mut self, inside_local: SocketAddrV4) {
        self.cx.counters.doors_refused += 1;
        self.out.event(|| Event::DoorRefused { inside_local });
    }

    pub(super) fn address_event(&mut self, from: SocketAddrV4, to: SocketAddrV4) {
        let session = self.session();
        self.out
            .event(|| Event::TranslatedAddress { session, from, to });
    }

    pub(super) fn translated_events(&mut self, from: SocketAddrV4, to: SocketAddrV4) {
        self.address_event(from, to);
        if from.port() != to.port() {
            self.port_event(from.port(), to.port());
        }
    }

    pub(super) fn port_event(&mut self, from: u16, to: u16) {
        let session = self.session();
        self.out
            .event(|| Event::TranslatedPort { session, from, to });
    }
}
