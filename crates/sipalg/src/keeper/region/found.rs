//! What a worker finds in the region that takes it over.

use super::legs::LegState;
use super::{INPUTS, Input, OUTPUTS, Region};
use crate::keeper::layout::Header;
use crate::keeper::slots::index;
use sipalg_core::Leg;

impl Region {
    /// Whether a batch was committed and not carried out to the end.
    pub fn is_committed(&self) -> bool {
        self.shared.get(Header::Committed) != self.shared.get(Header::Applied)
    }

    /// Carries the committed batch out for one connection, whose legs have sent so many bytes.
    pub fn redo(&mut self, slot: u32, written: [u64; 2]) {
        if !self.is_committed() {
            return;
        }
        let outputs = usize::try_from(self.shared.get(Header::Outputs)).unwrap_or(0);
        for entry in 0..outputs.min(OUTPUTS) {
            let (whose, leg, finish, position, bytes) = self.entry(&self.parts.outputs, entry);
            if whose != slot || self.side(slot, leg).made >= position + bytes.len() as u64 {
                if whose == slot && finish {
                    self.slots.set_finish(&self.shared.memory, slot, leg);
                }
                continue;
            }
            let end = position + bytes.len() as u64;
            let waiting = end - written[index(leg)].clamp(position, end);
            let waiting = usize::try_from(waiting).unwrap_or(0);
            let start = self.parts.sent.at.start;
            let bytes = start + bytes.start..start + bytes.end;
            self.carry_output(slot, leg, finish, position, bytes, waiting);
        }
        for entry in 0..self.noted() {
            if self.entry(&self.parts.inputs, entry).0 == slot {
                self.carry_input(entry);
            }
        }
    }

    /// The committed batch is carried out for all connections. What is left is a batch that was not
    /// committed, if any.
    pub fn redone(&mut self) {
        if self.is_committed() {
            self.batch.number = self.shared.get(Header::Committed);
            self.finish_batch();
        } else {
            self.batch.inputs = self.noted();
        }
    }

    /// The reads of a batch that was not committed, which are to be fed again.
    pub fn unfed(&self) -> Vec<Input> {
        let inputs = (0..self.batch.inputs).map(|entry| {
            let (slot, leg, _, position, bytes) = self.entry(&self.parts.inputs, entry);
            Input {
                slot,
                leg,
                position,
                entry,
                place: bytes.start,
            }
        });
        inputs.collect()
    }

    /// How many reads the batch has noted that was begun last.
    fn noted(&self) -> usize {
        let word = self.shared.get(Header::Inputs);
        let number = match self.is_committed() {
            true => self.shared.get(Header::Committed),
            false => self.shared.get(Header::Applied) + 1,
        };
        let is_its = word >> 32 == number & 0xffff_ffff;
        if is_its {
            (word as u32 as usize).min(INPUTS)
        } else {
            0
        }
    }

    /// Finds the chains of all connections, and which blocks are free.
    pub(super) fn find_chains(&mut self) {
        let memory = &self.shared.memory;
        for slot in self.slots.live(memory) {
            for leg in [Leg::Inside, Leg::Outside] {
                let side = self.slots.side(memory, slot, leg);
                let (held, unsent) = self.slots.heads(memory, slot, leg);
                let state = LegState {
                    held: self.blocks.find(memory, held, side.read),
                    unsent: self.blocks.find(memory, unsent, side.made),
                    made: side.made,
                };
                self.legs.set(&self.slots, memory, (slot, leg), state);
            }
        }
        self.blocks.found();
    }
}
