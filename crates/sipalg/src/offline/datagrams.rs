//! The UDP flows of a capture: each lives until it has been idle for a while.

use super::signalling::Pair;
use sipalg_core::alg::Opened;
use sipalg_core::{FlowId, Instant};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// RFC 4787 REQ-5.
const IDLE: Duration = Duration::from_secs(300);

/// Flows by their ends.
#[derive(Debug, Default)]
pub struct Datagrams {
    flows: HashMap<Pair, (Instant, Opened)>,
    /// The same, the longest idle first.
    ends: BTreeSet<(Instant, Pair)>,
}

impl Datagrams {
    /// The flow between two ends, if it lives. That is a use of it.
    pub fn get(&mut self, now: Instant, pair: Pair) -> Option<Opened> {
        let (end, opened) = self.flows.get_mut(&pair)?;
        self.ends.remove(&(*end, pair));
        *end = now + IDLE;
        self.ends.insert((*end, pair));
        Some(*opened)
    }

    /// A flow begins.
    pub fn add(&mut self, now: Instant, pair: Pair, opened: Opened) {
        let end = now + IDLE;
        self.flows.insert(pair, (end, opened));
        self.ends.insert((end, pair));
    }

    /// When the next flow ends.
    pub fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// Takes out a flow that has ended.
    pub fn pop_ended(&mut self, now: Instant) -> Option<FlowId> {
        self.next_end().filter(|end| *end <= now)?;
        let (_, pair) = self.ends.pop_first()?;
        let (_, opened) = self.flows.remove(&pair)?;
        Some(opened.flow)
    }
}
