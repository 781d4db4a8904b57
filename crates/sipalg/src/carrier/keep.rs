//! What must not be lost when this process is: into the region before it counts, and to the store.
//! See [`region`](crate::keeper::region) for the order of things.

use super::{Carried, Carrier};
use crate::keeper::region::{Input, Output, Region, Step};
use crate::keeper::slots::Connection;
use crate::listen::Accepted;
use crate::log;
use crate::store::{Store, changes};
use sipalg_core::alg::Opened;
use sipalg_core::{Alg, FlowId, Instant, Leg};
use std::mem;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, RawFd};

/// Keys of the program's own records begin with this, which the machine passes over.
const OWN: u8 = 0;

/// The configuration as it was typed.
const TYPED: &[u8] = &[OWN, b't'];

/// The configuration in force.
const IN_FORCE: &[u8] = &[OWN, b'f'];

/// The configuration, as the lines that give it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Configuration {
    /// As it was typed.
    pub typed: String,
    /// What of it is in force.
    pub in_force: String,
}

impl Configuration {
    /// That of the process before, if there is any among its records.
    pub fn of<'a>(record: impl Fn(&[u8]) -> Option<&'a [u8]>) -> Option<Self> {
        let text = |key| Some(String::from_utf8_lossy(record(key)?).into_owned());
        Some(Configuration {
            typed: text(TYPED)?,
            in_force: text(IN_FORCE)?,
        })
    }

    fn write(&self, changes: &mut Vec<u8>) {
        changes::append(changes, TYPED, Some(self.typed.as_bytes()));
        changes::append(changes, IN_FORCE, Some(self.in_force.as_bytes()));
    }
}

/// Where things are kept, if anywhere.
#[derive(Debug, Default)]
pub struct Kept {
    /// The region, if there is a keeper.
    pub region: Option<Region>,
    store: Option<Store>,
    /// It knows all that there was.
    stored: bool,
    configuration: Configuration,
    /// It is to be written.
    configured: bool,
    /// Memory to work in.
    changes: Vec<u8>,
    /// It was said that records have no room.
    told: bool,
}

impl Kept {
    /// Keeps in this region.
    pub fn new(region: Option<Region>) -> Self {
        Kept {
            region,
            ..Kept::default()
        }
    }

    /// Whether the legs of one more connection can be read in this batch.
    pub fn has_room(&self) -> bool {
        self.region.as_ref().is_none_or(Region::has_room)
    }

    /// Notes that a leg is going to be read.
    pub fn note(&mut self, slot: u32, leg: Leg) -> Option<Input> {
        let region = self.region.as_mut()?;
        let noted = region.note(slot, leg);
        if noted.is_none() {
            // What is read now is not kept.
            region.set_reset(slot);
        }
        noted
    }

    /// What was recorded was written; so much of all that was ever written waits.
    pub fn carry(&mut self, output: Output, waiting: usize) {
        if let Some(region) = &mut self.region {
            region.carry(output, waiting);
        }
    }

    /// All is carried out.
    pub fn applied(&mut self) {
        if let Some(region) = &mut self.region {
            region.applied();
        }
    }

    /// Only so much is left of what waited for a leg.
    pub fn sent_later(&mut self, slot: u32, leg: Leg, waiting: usize) {
        if let Some(region) = &mut self.region {
            region.sent_later(slot, leg, waiting);
        }
    }

    /// Another process would have to reset this connection, too.
    pub fn must_reset(&mut self, slot: Option<u32>) {
        if let (Some(slot), Some(region)) = (slot, &mut self.region) {
            region.set_reset(slot);
        }
    }

    /// A leg is going to be dialled by this socket.
    pub fn dialling(&mut self, slot: Option<u32>, accepted: Leg, dialled: RawFd) {
        if let (Some(slot), Some(region)) = (slot, &mut self.region) {
            let [inside, outside] = region.connection(slot).0.descriptors;
            let descriptors = match accepted {
                Leg::Inside => [inside, Some(dialled)],
                Leg::Outside => [Some(dialled), outside],
            };
            region.set_descriptors(slot, descriptors);
            region.step(Step::Dialled);
        }
    }

    /// A test may have the process die here.
    pub fn step(&self, step: Step) {
        if let Some(region) = &self.region {
            region.step(step);
        }
    }

    /// The worker turns.
    pub fn beat(&self) {
        if let Some(region) = &self.region {
            region.shared().beat();
        }
    }

    /// Whether somebody wants to hear that the worker turns.
    pub fn is_watched(&self) -> bool {
        self.region.is_some()
    }

    /// Goes on with this store, which learns all from the next commit.
    pub fn set_store(&mut self, store: Store) {
        self.store = Some(store);
    }

    /// The store.
    pub fn store(&mut self) -> Option<&mut Store> {
        self.store.as_mut()
    }

    /// Says what ails the store. Whether it asks for all records, which it gets by a commit.
    fn tend_store(&mut self) -> bool {
        let Some(store) = &mut self.store else {
            return false;
        };
        while let Some(trouble) = store.trouble() {
            log::line(format_args!("{trouble}"));
        }
        store.wants_all()
    }

    /// The configuration is this now.
    fn configure(&mut self, configuration: Configuration) {
        if self.configuration != configuration {
            self.configuration = configuration;
            self.configured = true;
        }
    }

    fn is_on(&self) -> bool {
        self.region.is_some() || self.store.is_some()
    }

    /// Commits what was recorded, with what has changed in the machine. False: there was nothing.
    fn commit(&mut self, alg: &mut Alg) -> bool {
        let mut changes = mem::take(&mut self.changes);
        changes.clear();
        alg.kept(&mut |key, value| changes::append(&mut changes, key, value));
        if mem::take(&mut self.configured) {
            self.configuration.write(&mut changes);
        }
        let idle = self.region.as_ref().is_none_or(Region::is_idle)
            && !self.store.as_ref().is_some_and(Store::wants_all);
        if changes.is_empty() && idle {
            self.changes = changes;
            return false;
        }
        let configuration = &self.configuration;
        let kept = self.region.as_mut().is_none_or(|region| {
            region.commit(&changes, || {
                let mut all = all(alg);
                configuration.write(&mut all);
                all
            })
        });
        if !kept && !mem::replace(&mut self.told, true) {
            log::line(format_args!(
                "calls, registrations and connections are too many to be kept: a crash would lose \
                 them; lower the limits"
            ));
        }
        self.feed_store(alg, &changes);
        self.changes = changes;
        true
    }

    fn feed_store(&mut self, alg: &mut Alg, changes: &[u8]) {
        let Some(store) = &mut self.store else {
            return;
        };
        if store.wants_all() || !mem::replace(&mut self.stored, true) {
            let mut all = all(alg);
            self.configuration.write(&mut all);
            store.replace(all);
        } else if !changes.is_empty() {
            store.feed(changes);
        }
    }
}

impl Carrier {
    /// Where things are kept.
    pub fn kept(&mut self) -> &mut Kept {
        &mut self.kept
    }

    /// Keeps the configuration, as it is now, as soon as anything is kept.
    pub fn set_configuration(&mut self, configuration: Configuration) {
        self.kept.configure(configuration);
    }

    /// Keeps the configuration, as it is now.
    pub fn keep_configuration(&mut self, configuration: Configuration) {
        self.kept.configure(configuration);
        if self.commit() {
            self.kept.applied();
        }
    }

    /// Says what ails the store, and gives it what it asks for. Nothing may wait to be carried out.
    pub fn tend_store(&mut self) {
        if self.kept.tend_store() && self.commit() {
            self.kept.applied();
        }
    }

    /// Records all that is to be sent on connections, and commits it. False: there was nothing.
    pub(super) fn commit(&mut self) -> bool {
        if !self.kept.is_on() {
            return false;
        }
        if let Some(region) = &mut self.kept.region {
            for send in &mut self.sends {
                let (key, finish) = match send.by {
                    Carried::Link { key, finish } => (key, finish),
                    Carried::Ping { key } => (key, false),
                    _ => continue,
                };
                let slot = self.links.get(key).and_then(|link| link.slot);
                let bytes = &self.out.bytes[send.bytes.clone()];
                if let Some(slot) = slot.filter(|_| finish || !bytes.is_empty()) {
                    send.output = region.record(slot, send.to, bytes, finish);
                }
            }
        }
        self.kept.commit(&mut self.alg)
    }

    /// Keeps a connection that was accepted, before its other leg is dialled. What the machine knows
    /// of it is committed.
    pub(super) fn keep_link(
        &mut self,
        now: Instant,
        opened: &Opened,
        accepted: &Accepted,
    ) -> Option<u32> {
        self.kept.step(Step::Accepted);
        if self.commit() {
            self.kept.applied();
        }
        let region = self.kept.region.as_mut()?;
        let Accepted {
            stream,
            peer,
            destination,
            ..
        } = accepted;
        let ends = match opened.accepted {
            Leg::Inside => (*peer, *destination),
            Leg::Outside => (opened.target, *peer),
        };
        let fd = stream.as_raw_fd();
        let connection = connection(now, opened, fd, ends);
        let slot = region.add(&connection);
        if slot.is_none() && !mem::replace(&mut self.kept.told, true) {
            log::line(format_args!(
                "there are too many connections for all to be kept: a crash would reset the newest"
            ));
        }
        self.kept.step(Step::Slotted);
        slot
    }

    /// A connection ends: it is not kept any more.
    pub(super) fn forget_link(&mut self, slot: Option<u32>) {
        if let (Some(slot), Some(region)) = (slot, &mut self.kept.region) {
            region.remove(slot);
        }
    }
}

fn connection(
    now: Instant,
    opened: &Opened,
    accepted: RawFd,
    (inside_local, outside): (SocketAddrV4, SocketAddrV4),
) -> Connection {
    Connection {
        accepted: opened.accepted,
        descriptors: match opened.accepted {
            Leg::Inside => [Some(accepted), None],
            Leg::Outside => [None, Some(accepted)],
        },
        flow: opened.flow.0,
        opened: now,
        inside_local,
        outside,
    }
}

/// All records of a machine, as changes.
fn all(alg: &mut Alg) -> Vec<u8> {
    let mut all = Vec::new();
    alg.keep();
    alg.kept(&mut |key, value| changes::append(&mut all, key, value));
    all
}

/// Test builds: a message that no machine survives.
pub(super) fn poison(alg: &Alg, flow: FlowId, bytes: &[u8]) {
    const POISON: &[u8] = b"X-Sipalg-Test: panic";
    if cfg!(debug_assertions) && !alg.is_demoted(flow) {
        // By lines: a test build that looks everywhere does not turn in time under a flood.
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let poisoned = lines.any(|line| line.starts_with(POISON));
        assert!(!poisoned, "a test asks for it");
    }
}
