//! How full every table is, against its bound.

use super::Alg;
use crate::config::Resource;
use crate::nat::Peak;
use alloc::vec::Vec;

/// A table, or another thing that peers can make us hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// What it holds.
    pub name: &'static str,
    /// How many there are.
    pub used: u64,
    /// How many there may be.
    pub limit: Option<u64>,
    /// How many there were at most.
    pub peak: Option<u64>,
    /// How often there was no room.
    pub refused: Option<u64>,
}

impl Alg {
    /// Every table of the machine.
    pub fn usage(&self) -> Vec<Usage> {
        let (limits, counters) = (&self.config.limits, &self.counters);
        let entries = self.config.entries.all.map(|most| most as usize);
        let mappings = self.nat.size();
        let (doors, peak) = self.admission.in_all(Resource::Door);
        let doors = (doors as usize, peak as usize);
        let all = |of| Some(limits.bound(of).all as usize);
        let calls = (self.calls.len(), self.calls.peak());
        let registrations = (self.registrations.len(), self.registrations.peak());
        let spellings = (self.spellings.len(), self.spellings.peak());
        let flows = (self.flows.len(), self.flows.peak());
        let row = |name, (used, peak), limit: Option<usize>, refused| Usage {
            name,
            used: used as u64,
            limit: limit.map(|limit| limit as u64),
            peak: Some(peak as u64),
            refused,
        };
        let most = Usage {
            name: "doors of one host",
            used: self.admission.most(Resource::Door),
            limit: Some(limits.share(Resource::Door, false)),
            peak: None,
            refused: Some(counters.doors_refused),
        };
        let bounded = Usage {
            name: "dynamic mappings (max-entries)",
            used: self.nat.dynamic().into(),
            limit: entries.map(|most| most as u64),
            peak: None,
            refused: Some(counters.entries_refused),
        };
        Vec::from([
            row(
                "mappings",
                mappings,
                all(Resource::Mapping),
                Some(counters.mappings_full),
            ),
            bounded,
            row("doors", doors, all(Resource::Door), None),
            most,
            row(
                "calls",
                calls,
                all(Resource::Call),
                Some(counters.calls_full),
            ),
            row(
                "registrations",
                registrations,
                all(Resource::Registration),
                Some(counters.registrations_full),
            ),
            row("kept spellings", spellings, all(Resource::Call), None),
            row("flows", flows, None, None),
        ])
    }

    /// The most translations that there were at once; static hosts are not among them.
    pub fn peak(&self) -> Peak {
        self.nat.peak()
    }
}
