//! What the program does for the machine to survive: writes down what it tells, and starts another one
//! from that. What comes back is compared with what there was.
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses its own part; helpers of tests may unwrap

use sipalg_core::alg::{FlowView, MappingView};
use sipalg_core::door::AddressOp;
use sipalg_core::health::{CallState, CallView, RegistrationView};
use sipalg_core::kept::Restored;
use sipalg_core::{Alg, Config, Door, DoorOp, FlowId, Instant, Leg, Outbox};
use std::collections::{BTreeMap, BTreeSet};

/// The seed of the machines of `world`.
pub const SEED: u64 = 1;

pub type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// The records as they are now.
#[derive(Default, Clone, Debug)]
pub struct Memory {
    pub records: Records,
    /// How many were told.
    pub told: usize,
    /// The names of the last of them.
    pub last: BTreeSet<Vec<u8>>,
}

impl Memory {
    /// A machine tells from now on.
    pub fn of(alg: &mut Alg) -> Memory {
        alg.keep();
        let mut memory = Memory::default();
        memory.note(alg);
        memory
    }

    /// Writes down what has changed; says how many records that is.
    pub fn note(&mut self, alg: &mut Alg) -> usize {
        let before = self.told;
        let mut names = BTreeSet::new();
        alg.kept(&mut |name, record| {
            assert!(names.insert(name.to_vec()), "told twice: {name:?}");
            self.told += 1;
            match record {
                Some(record) => {
                    let old = self.records.insert(name.to_vec(), record.to_vec());
                    assert_ne!(old.as_deref(), Some(record), "no news: {name:?}");
                }
                None => drop(self.records.remove(name)),
            }
        });
        self.last = names;
        self.told - before
    }

    /// Another machine in the place of this one. It must know, do and tell the same.
    pub fn restart(&mut self, alg: &mut Alg, now: Instant) {
        self.note(alg);
        let held = held(alg);
        let before = Known::by(alg, now);
        let config = alg.config().clone();
        let (mut other, restored, out) = restore(config, now, &self.records);
        assert_eq!(
            (restored.left_out, restored.lost.len()),
            (0, 0),
            "{restored:?}\n{:#?}\n{:#?}",
            readable(&self.records),
            alg.mappings(now)
        );
        for (flow, from, bytes) in held {
            other.hold(flow, from, &bytes);
            assert_eq!(other.held(flow, from), bytes);
        }
        assert_eq!(Known::by(&other, now), before);
        let opened: Vec<_> = out.doors.iter().map(|op| *op.door()).collect();
        assert_eq!(opened, before.doors, "the kernel hears of every door");
        assert!(out.doors.iter().all(|op| matches!(op, DoorOp::Open(_))));
        let assigns = |op: &AddressOp| matches!(op, AddressOp::Assign { .. });
        assert!(out.addresses.iter().all(assigns));
        assert!(out.bytes.is_empty() && out.pings.is_empty());

        let again = Memory::of(&mut other);
        assert_eq!(
            readable(&again.records),
            readable(&self.records),
            "tells the same"
        );
        *alg = other;
    }
}

/// A machine from records, and what it wants of the kernel.
pub fn restore(config: Config, now: Instant, records: &Records) -> (Alg, Restored, Outbox) {
    let mut out = Outbox::default();
    let mut list = records
        .iter()
        .map(|(name, record)| (&name[..], &record[..]));
    let (alg, restored) = Alg::restore(config, SEED, now, &mut list, &mut out);
    (alg, restored, out)
}

/// The bytes that wait in the framers.
pub fn held(alg: &Alg) -> Vec<(FlowId, Leg, Vec<u8>)> {
    let flows = alg.flows().map(|view| view.flow);
    let legs = flows.flat_map(|flow| [(flow, Leg::Inside), (flow, Leg::Outside)]);
    legs.map(|(flow, leg)| (flow, leg, alg.held(flow, leg).to_vec()))
        .filter(|(_, _, bytes)| !bytes.is_empty())
        .collect()
}

/// What a machine knows, as far as it survives.
#[derive(PartialEq, Debug)]
struct Known {
    doors: Vec<Door>,
    mappings: Vec<MappingView>,
    calls: Vec<CallView>,
    registrations: Vec<RegistrationView>,
    flows: Vec<FlowView>,
    sizes: (usize, usize, usize),
}

impl Known {
    fn by(alg: &Alg, now: Instant) -> Known {
        let mut calls = alg.calls();
        calls.retain(|call| call.state != CallState::Ended);
        for call in &mut calls {
            // Observations.
            (call.leak, call.foreign_leak) = (None, None);
            if let Some(waits) = &mut call.unacknowledged {
                waits.times = 1;
            }
        }
        let mut registrations = alg.registrations();
        registrations.retain(|registration| registration.gone.is_none());
        for registration in &mut registrations {
            registration.gap = None;
        }
        let mut mappings = alg.mappings(now);
        for mapping in &mut mappings {
            mapping.used = mapping.created;
        }
        Known {
            doors: alg.doors(),
            mappings,
            calls,
            registrations,
            flows: alg.flows().collect(),
            sizes: alg.sizes(),
        }
    }
}

/// For the one who looks into a failure.
fn readable(records: &Records) -> Vec<String> {
    let lines = records.iter();
    lines
        .map(|(name, record)| format!("{name:?}: {record:?}"))
        .collect()
}
