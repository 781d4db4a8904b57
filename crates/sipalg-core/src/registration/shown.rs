//! Registrations as they are shown. Nothing here decides anything.

use super::Registration;
use crate::addr::{Ipv4Addr, SocketAddrV4};
use crate::health::{Leak, RegistrationView, Unreachable};
use crate::nat::{MappingId, Nat};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
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

/// What is shown of a registration that lives, besides what it lives by. Small: there are very many.
#[derive(Debug)]
pub(super) struct About {
    /// Its address-of-record.
    pub aor: Box<[u8]>,
    /// Who has accepted it.
    pub registrar: SocketAddrV4,
    /// For how many seconds.
    granted: u32,
    /// How long it had been gone, if it had.
    gap: Option<Box<Duration>>,
}

impl About {
    /// What the registrar granted, to the second.
    pub fn granted(&self) -> Duration {
        Duration::from_secs(self.granted.into())
    }

    /// It was accepted anew, for so long.
    pub fn renewed(&mut self, registrar: SocketAddrV4, granted: Duration) {
        self.registrar = registrar;
        self.granted = seconds(granted);
    }
}

/// The last that were there, and who was not reached. See the module.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// The last that expired, and were not registered anew.
    gone: VecDeque<RegistrationView>,
    /// The last that could not be reached.
    unreachable: VecDeque<Unreachable>,
}

impl Shown {
    /// What is shown of one that the registrar has accepted for so long, and that was not there.
    pub fn begins(
        &mut self,
        now: Instant,
        inside_local: SocketAddrV4,
        of: &Of<'_>,
        granted: Duration,
    ) -> About {
        let is_it =
            |gone: &RegistrationView| gone.aor == of.aor && gone.inside_local == inside_local;
        let before = self.gone.iter().position(is_it);
        let before = before.and_then(|place| self.gone.remove(place)?.gone);
        About {
            aor: of.aor.into(),
            registrar: of.registrar,
            granted: seconds(granted),
            gap: before.map(|at| Box::new(now.since(at))),
        }
    }

    /// The time of one is over.
    pub fn expired(&mut self, now: Instant, mut view: RegistrationView) {
        view.gone = Some(now);
        keep(&mut self.gone, view);
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

    /// The last that have expired.
    pub fn gone(&self) -> impl Iterator<Item = &RegistrationView> {
        self.gone.iter()
    }

    /// The last contacts that registrars were told and that lead nowhere.
    pub fn unreachables(&self) -> impl Iterator<Item = &Unreachable> {
        self.unreachable.iter()
    }
}

impl Registration {
    /// As it is shown, with what its mapping is now.
    pub fn view(&self, nat: &Nat, mapping: MappingId) -> RegistrationView {
        let global = nat.get(mapping).map(|mapping| mapping.global);
        RegistrationView {
            aor: self.about.aor.to_vec(),
            host: self.host,
            registrar: self.about.registrar,
            inside_local: self.at.1,
            inside_global: global.unwrap_or(self.at.1),
            granted: self.about.granted(),
            until: self.until,
            gap: self.about.gap.as_deref().copied(),
            gone: None,
        }
    }
}

fn seconds(granted: Duration) -> u32 {
    u32::try_from(granted.as_secs()).unwrap_or(u32::MAX)
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
