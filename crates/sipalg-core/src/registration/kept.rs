//! What is recorded of registrations, and how they come back.

use super::shown::{MOST_OF_AOR, Of};
use super::{LONGEST, Mappings, Pending, Registration, Registrations};
use crate::addr::Ipv4Addr;
use crate::config::Resource;
use crate::door::DoorKind;
use crate::kept::{self, At, Name, Named, Recorder};
use crate::nat::{Context, MappingId, Nat};
use crate::outbox::Outbox;
use crate::timer::{Armed, Key};
use core::time::Duration;

impl Named<u64> for Pending {
    type Name = u64;
    fn name(&self, key: &u64) -> u64 {
        *key
    }
}

impl Named<(MappingId, u64)> for Registration {
    type Name = (At, u64);
    fn name(&self, (_, aor): &(MappingId, u64)) -> (At, u64) {
        (self.at, *aor)
    }
}

impl Pending {
    fn record(&self, nat: &Nat, recorder: &Recorder<'_>) -> kept::Pending<'_> {
        let at = |ids: &[MappingId]| ids.iter().filter_map(|id| nat.at(*id)).collect();
        kept::Pending {
            host: self.host,
            cseq: self.cseq,
            aor: self.aor,
            contacts: at(&self.contacts),
            paths: at(&self.paths),
            all: self.all,
            until: recorder.due(self.armed),
            text: &self.text,
            registrar: self.registrar,
        }
    }
}

/// What is told.
impl Registrations {
    /// From now on changes are noted; everything counts as changed.
    pub fn keep(&mut self) {
        self.pending.begin();
        self.confirmed.begin();
    }

    /// Everything may have changed.
    pub fn mark_all(&mut self) {
        self.pending.mark_all();
        self.confirmed.mark_all();
    }

    /// A record of that name was there before the machine was.
    pub fn found(&mut self, name: Name) {
        match name {
            Name::Pending(key) => self.pending.changes().found(key),
            Name::Registration(at, aor) => self.confirmed.changes().found((at, aor)),
            _ => {}
        }
    }

    /// Tells what has changed.
    pub fn kept(&mut self, nat: &Nat, recorder: &mut Recorder<'_>) {
        let changed = self.pending.changes().take();
        for key in &changed {
            match self.pending.noted(key) {
                Some((note, pending)) => {
                    recorder.is(Name::Pending(*key), note, &pending.record(nat, recorder));
                }
                None => recorder.gone(Name::Pending(*key)),
            }
        }
        self.pending.changes().done(changed);
        let changed = self.confirmed.changes().take();
        for ((protocol, local), aor) in &changed {
            let name = Name::Registration((*protocol, *local), *aor);
            let id = nat.find_local(*protocol, *local).map(|id| (id, *aor));
            let found = id.and_then(|id| self.confirmed.noted(&id));
            let Some((note, confirmed)) = found else {
                recorder.gone(name);
                continue;
            };
            let record = kept::Registration {
                host: confirmed.host,
                until: confirmed.until,
                flow: confirmed.flow,
                text: &confirmed.about.aor,
                registrar: confirmed.about.registrar,
                granted: confirmed.about.granted(),
            };
            recorder.is(name, note, &record);
        }
        self.confirmed.changes().done(changed);
    }
}

/// What comes back. Each says whether it does.
impl Registrations {
    /// A REGISTER waits again for its answer.
    pub fn restore_pending(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        key: u64,
        record: &kept::Pending<'_>,
    ) -> bool {
        let host = record.host;
        let long = record.text.len() > MOST_OF_AOR;
        if self.pending.has(&key) || long || !charge(cx, host) {
            return false;
        }
        let mut again = |list: &[At]| -> Mappings {
            let own = |at: &&At| *at.1.ip() == host || cx.config.trusts(host);
            let found = list.iter().filter(own);
            let found = found.filter_map(|(protocol, at)| nat.find_local(*protocol, *at));
            let ids: Mappings = found.collect();
            ids.iter().for_each(|id| nat.hold_again(cx, *id));
            ids
        };
        let (contacts, paths) = (again(&record.contacts), again(&record.paths));
        let latest = cx.now + cx.config.timers.transaction;
        let until = record.until.map_or(latest, |until| until.min(latest));
        let pending = self.pending.get_or_insert(key, || Pending {
            host,
            cseq: record.cseq,
            aor: record.aor,
            contacts,
            paths,
            all: record.all,
            armed: Armed::default(),
            text: record.text.into(),
            registrar: record.registrar,
        });
        cx.timers.arm(&mut pending.armed, Key::Pending(key), until);
        true
    }

    /// A contact is registered again.
    pub fn restore(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        (at, aor): (At, u64),
        record: &kept::Registration<'_>,
    ) -> bool {
        let (protocol, local) = at;
        let host = record.host;
        let allowed = *local.ip() == host || cx.config.trusts(host);
        let found = nat.find_local(protocol, local).filter(|_| allowed);
        let Some(mapping) = found else {
            return false;
        };
        let name = (mapping, aor);
        let long = record.text.len() > MOST_OF_AOR;
        if self.confirmed.has(&name) || long || !charge(cx, host) {
            return false;
        }
        nat.own_again(cx, mapping, DoorKind::Signalling);
        let longest = Duration::from_secs(LONGEST);
        let until = record
            .until
            .min(cx.now + longest + cx.config.timers.registration_grace);
        let of = Of {
            host,
            flow: record.flow,
            registrar: record.registrar,
            aor: record.text,
        };
        let granted = record.granted.min(longest);
        let (shown, now) = (&mut self.shown, cx.now);
        let entry = self.confirmed.get_or_insert(name, || Registration {
            host,
            at,
            until,
            flow: record.flow,
            // The kernel is told of all doors anew, but not of this one in particular.
            forgotten: now,
            armed: Armed::default(),
            about: shown.begins(now, local, &of, granted),
        });
        cx.timers
            .arm(&mut entry.armed, Key::Registration(mapping.0, aor), until);
        *self.on_flow.entry(record.flow).or_insert(0) += 1;
        self.peak = self.peak.max(self.confirmed.len());
        true
    }

    /// How many wait for their answer.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }
}

/// Takes one to its host's account, if there is room.
fn charge(cx: &mut Context<'_>, host: Ipv4Addr) -> bool {
    let (at, mut untold) = ((cx.now, cx.config), Outbox::default());
    let room = (cx.admission).admits(at, Resource::Registration, host, 1, &mut untold);
    if room {
        cx.admission
            .take(cx.config, Resource::Registration, host, 1);
    }
    room
}
