//! Whether there is room for more mappings, and how a host that has its share makes some: its oldest
//! that nobody needs any more go first.

use super::{Context, MapError, MappingId, Nat, Standing, no_port};
use crate::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use crate::config::Resource;
use crate::event::Event;
use crate::outbox::Outbox;
use alloc::vec::Vec;
use core::time::Duration;

/// Of a host's mappings, which part ends at once: all are gone through for it, so it must not be few.
const PART: usize = 8;

/// Where fewer than so many could end, there is a pause before anyone's are gone through again.
const HARDLY_ANY: usize = 64;

/// Its length: whoever asks for mappings all the time, and holds all that he has, costs no more.
const PAUSE: Duration = Duration::from_millis(100);

impl Nat {
    /// Whether there is room for so many new mappings.
    pub(super) fn admit(
        &mut self,
        cx: &mut Context<'_>,
        protocol: Protocol,
        local: SocketAddrV4,
        count: u16,
        out: &mut Outbox,
    ) -> Result<(), MapError> {
        let ports = (0..count).filter_map(|offset| local.port().checked_add(offset));
        let new = ports.filter(|port| {
            let local = SocketAddrV4::new(*local.ip(), *port);
            self.find_local(protocol, local).is_none()
        });
        let new = u32::try_from(new.count()).unwrap_or(u32::MAX);
        if new == 0 {
            return Ok(());
        }
        let (at, host) = ((cx.now, cx.config), *local.ip());
        if !(cx.admission).has_room(cx.config, Resource::Mapping, host, new.into()) {
            self.make_room(cx, host, new);
            if !(cx.admission).admits(at, Resource::Mapping, host, new.into(), out) {
                cx.counters.mappings_full += 1;
                no_port(protocol, local, out);
                return Err(MapError::Full);
            }
        }
        if !self.loads.admits(cx, host, new) {
            cx.counters.entries_refused += 1;
            out.alarm(Event::TooManyEntries {
                protocol,
                inside_local: local,
            });
            return Err(MapError::TooMany);
        }
        Ok(())
    }

    /// Ends the host's longest unused mappings that nobody holds, at least so many `new` ones as are
    /// wanted. Not those of this instant, which are about to be held, and none for a trial.
    ///
    /// A host with a new port for each call would else fill its share with what its past calls have
    /// left, since a mapping is kept for its idle time after its last holder.
    fn make_room(&mut self, cx: &mut Context<'_>, host: Ipv4Addr, new: u32) {
        if self.trial.is_some() || cx.now < self.room_at {
            return;
        }
        let own = self.mappings.iter().filter(|(_, mapping)| {
            *mapping.local.ip() == host && mapping.standing == Standing::Dynamic
        });
        let (mut count, mut unused) = (0, Vec::new());
        for (id, mapping) in own {
            count += 1;
            if mapping.holders == 0 && mapping.used < cx.now {
                unused.push((mapping.used, id));
            }
        }
        if unused.len() < HARDLY_ANY {
            self.room_at = cx.now + PAUSE;
        }
        let wanted = (count / PART).max(usize::try_from(new).unwrap_or(usize::MAX));
        unused.sort_unstable();
        for (_, id) in unused.into_iter().take(wanted) {
            cx.counters.mappings_expired += 1;
            self.end(cx, MappingId(id));
        }
    }
}
