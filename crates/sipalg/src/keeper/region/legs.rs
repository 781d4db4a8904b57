//! What can be found again about a leg. It is in mind only while bytes wait, on the leg or of it, or
//! are recorded for it: an idle connection has its slot alone.

use crate::keeper::chains::Chain;
use crate::keeper::memory::Memory;
use crate::keeper::slots::{Slots, index};
use foldhash::HashMap;
use sipalg_core::Leg;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct LegState {
    /// What is held back of what it sent.
    pub held: Chain,
    /// What is to be sent on it.
    pub unsent: Chain,
    /// Up to where there is something for it, with what the batch has.
    pub made: u64,
}

/// Those of all legs that are not as their slots say.
#[derive(Debug, Default)]
pub(super) struct Legs(HashMap<(u32, usize), LegState>);

impl Legs {
    /// That of a leg.
    pub fn get(&self, slots: &Slots, memory: &Memory, slot: u32, leg: Leg) -> LegState {
        let state = self.0.get(&(slot, index(leg))).copied();
        state.unwrap_or_else(|| idle(slots, memory, slot, leg))
    }

    /// A leg's is this now.
    pub fn set(&mut self, slots: &Slots, memory: &Memory, (slot, leg): (u32, Leg), is: LegState) {
        if is == idle(slots, memory, slot, leg) {
            self.0.remove(&(slot, index(leg)));
        } else {
            self.0.insert((slot, index(leg)), is);
        }
    }

    /// The connection is no more: what its legs had.
    pub fn forget(&mut self, slot: u32) -> impl Iterator<Item = LegState> {
        [0, 1]
            .into_iter()
            .filter_map(move |leg| self.0.remove(&(slot, leg)))
    }
}

/// That of a leg for which nothing waits.
fn idle(slots: &Slots, memory: &Memory, slot: u32, leg: Leg) -> LegState {
    LegState {
        made: slots.made(memory, slot, leg),
        ..LegState::default()
    }
}
