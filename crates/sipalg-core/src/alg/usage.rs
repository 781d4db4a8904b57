//! How full every table is, against its bound.

use super::Alg;
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
        let (mappings, doors) = (self.nat.size(), self.nat.doors_open());
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
            used: self.nat.most_doors() as u64,
            limit: Some(limits.doors_per_host as u64),
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
                Some(limits.mappings),
                Some(counters.mappings_full),
            ),
            bounded,
            row("doors", doors, None, None),
            most,
            row(
                "calls",
                calls,
                Some(limits.calls),
                Some(counters.calls_full),
            ),
            row(
                "registrations",
                registrations,
                Some(limits.registrations),
                Some(counters.registrations_full),
            ),
            row("kept spellings", spellings, Some(limits.calls), None),
            row("flows", flows, None, None),
        ])
    }

    /// The most translations that there were at once; static hosts are not among them.
    pub fn peak(&self) -> Peak {
        self.nat.peak()
    }
}
