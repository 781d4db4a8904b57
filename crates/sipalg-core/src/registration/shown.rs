//! Registrations as they are shown. Nothing here decides anything.

use crate::addr::{Ipv4Addr, SocketAddrV4};
use crate::health::{Leak, RegistrationView, Unreachable};
use crate::nat::{MappingId, Nat};
use crate::time::Instant;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

/// How many are kept of what is over.
const MOST_KEPT: usize = 64;

/// How much of an address-of-record is kept, bytes.
pub(super) const MOST_OF_AOR: usize = 128;

/// Whose registration it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    /// The inside host.
    pub host: Ipv4Addr,
    /// The flow that it came by.
    pub flow: u64,
    /// Who has accepted it.
    pub registrar: SocketAddrV4,
    /// Its address-of-record.
    pub aor: &'a [u8],
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Shown {
    views: BTreeMap<(MappingId, u64), RegistrationView>,
    /// The last that expired, and were not registered anew.
    gone: VecDeque<RegistrationView>,
    /// The last that could not be reached.
    unreachable: VecDeque<Unreachable>,
}

impl Shown {
    /// The registrar has granted it until then, or for longer.
    pub fn confirmed(
        &mut self,
        now: Instant,
        name: (MappingId, u64),
        inside_local: SocketAddrV4,
        of: &Of<'_>,
        granted: (Duration, Instant),
    ) {
        let (granted, until) = granted;
        if let Some(view) = self.views.get_mut(&name) {
            (view.granted, view.until, view.registrar) = (granted, until, of.registrar);
            return;
        }
        let is_it =
            |gone: &RegistrationView| gone.aor == of.aor && gone.inside_local == inside_local;
        let before = self.gone.iter().position(is_it);
        let before = before.and_then(|place| self.gone.remove(place)?.gone);
        let view = RegistrationView {
            aor: of.aor.to_vec(),
            host: of.host,
            registrar: of.registrar,
            inside_local,
            inside_global: inside_local,
            granted,
            until,
            gap: before.map(|at| now.since(at)),
            gone: None,
        };
        self.views.insert(name, view);
    }

    /// One of those that live.
    pub fn view(&self, name: (MappingId, u64)) -> Option<&RegistrationView> {
        self.views.get(&name)
    }

    /// It was taken back.
    pub fn removed(&mut self, name: (MappingId, u64)) {
        self.views.remove(&name);
    }

    /// Its time is over.
    pub fn expired(&mut self, now: Instant, name: (MappingId, u64)) {
        if let Some(mut view) = self.views.remove(&name) {
            view.gone = Some(now);
            keep(&mut self.gone, view);
        }
    }

    /// A registrar is told an address that leads nowhere.
    pub fn unreachable(&mut self, now: Instant, host: Ipv4Addr, aor: &[u8], leak: Leak) {
        let aor = cut(aor).to_vec();
        self.unreachable
            .retain(|old| (&old.aor, old.host) != (&aor, host));
        let unreachable = Unreachable {
            aor,
            host,
            leak,
            at: now,
        };
        keep(&mut self.unreachable, unreachable);
    }

    /// Those that live, in the order of inside local addresses, and then the last that have expired.
    pub fn views(&self, nat: &Nat) -> Vec<RegistrationView> {
        let mut views: Vec<_> = self
            .views
            .iter()
            .map(|((mapping, _), view)| {
                let mut view = view.clone();
                if let Some(mapping) = nat.get(*mapping) {
                    view.inside_global = mapping.global;
                }
                view
            })
            .collect();
        views.sort_by(|one, other| {
            (one.inside_local, &one.aor).cmp(&(other.inside_local, &other.aor))
        });
        views.extend(self.gone.iter().cloned());
        views
    }

    /// The last contacts that registrars were told and that lead nowhere.
    pub fn unreachables(&self) -> impl Iterator<Item = &Unreachable> {
        self.unreachable.iter()
    }
}

/// The bytes of an address-of-record that are kept.
pub(super) fn cut(aor: &[u8]) -> &[u8] {
    aor.get(..MOST_OF_AOR).unwrap_or(aor)
}

fn keep<T>(list: &mut VecDeque<T>, entry: T) {
    if list.len() == MOST_KEPT {
        list.pop_front();
    }
    list.push_back(entry);
}
