//! The region as the worker uses it: what must not be lost when the worker is.
//!
//! Everything that one wake-up brings is a *batch*. Nothing of it is seen outside before its commit,
//! which is one store; and all of it can be carried out again after.
//!
//! ```text
//!   note      {slot, leg, position, place} of a leg, then recv straight into the region
//!   record    what is to be sent, and the machine's changed records
//!   commit    one store
//!             doors, sends
//!   carry     for each leg: what is left over into chains, positions into its slot
//!   applied   one store
//! ```
//!
//! A worker that finds a batch that was not committed feeds its inputs again: how much was read tells
//! the socket. One that was committed but not applied is carried out to the end: how much was sent
//! tells the socket, too.

use super::chains::{Blocks, Chain};
use super::layout::{Area, Areas, ENTRY, Header, INPUTS, OUTPUTS};
use super::log::{End, Log};
use super::shared::Shared;
use super::slots::{Connection, Side, Slots, index};
use legs::{LegState, Legs};
use nix::sys::signal::{Signal, raise};
use sipalg_core::Leg;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{Ordering, compiler_fence};

/// How much is read from one leg before the next one has its turn.
pub const READ_SIZE: usize = 64 * 1024;

/// A moment at which a test may have the worker die.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Step {
    /// A read is noted.
    Noted = 1,
    /// It is done.
    Read,
    /// The machine has it.
    Fed,
    /// Outputs are there, the commit is next.
    Recorded,
    /// It is committed.
    Committed,
    /// The kernel has the doors.
    Doors,
    /// Something was sent.
    Sent,
    /// What is left of it is in its chain.
    Carried,
    /// All is carried out.
    Applied,
    /// A connection was accepted.
    Accepted,
    /// It is in its slot.
    Slotted,
    /// Its other leg is being dialled.
    Dialled,
    /// All was taken from another gateway, which has not let go yet.
    Taken,
    /// The same; here it does not die but hangs.
    Stuck,
}

/// The region of one worker.
#[derive(Debug)]
pub struct Region {
    shared: Shared,
    slots: Slots,
    blocks: Blocks,
    log: Log,
    parts: Parts,
    batch: Batch,
    legs: Legs,
    /// How many connections could not be kept, for want of memory.
    unkept: u64,
}

#[derive(Debug)]
struct Parts {
    inputs: Area,
    outputs: Area,
    read: Area,
    sent: Area,
}

/// The batch that is being gathered.
#[derive(Debug)]
struct Batch {
    number: u64,
    inputs: usize,
    /// How many bytes were read.
    read: usize,
    outputs: usize,
    /// How many bytes are to be sent.
    sent: usize,
}

/// A read that was noted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Input {
    /// Whose.
    pub slot: u32,
    /// The leg that was read.
    pub leg: Leg,
    /// Where its stream was before.
    pub position: u64,
    entry: usize,
    place: usize,
}

/// Something to send that is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Output(usize);

impl Region {
    /// Takes over the region from the worker before, if there was one.
    pub fn take_over(shared: Shared) -> Self {
        let areas = Areas::new();
        let used = |word| u32::try_from(shared.get(word)).unwrap_or(0);
        let slots = Slots::new(areas.slots, used(Header::Slots), &shared.memory);
        let blocks = Blocks::new(areas.blocks, used(Header::Blocks));
        let parts = Parts {
            inputs: areas.inputs,
            outputs: areas.outputs,
            read: areas.read,
            sent: areas.sent,
        };
        let mut region = Region {
            legs: Legs::default(),
            slots,
            blocks,
            log: Log::new(areas.logs),
            parts,
            batch: Batch {
                number: shared.get(Header::Applied) + 1,
                inputs: 0,
                read: 0,
                outputs: 0,
                sent: 0,
            },
            shared,
            unkept: 0,
        };
        region.find_chains();
        region
    }

    /// The header.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// All records, as changes in order.
    pub fn records(&self) -> &[u8] {
        let word = match self.is_committed() {
            true => Header::NextLog,
            false => Header::Log,
        };
        let end = End::from_word(self.shared.get(word));
        self.log.changes(&self.shared.memory, end)
    }

    /// Where a test may have the worker die.
    pub fn step(&self, step: Step) {
        // What was written before stays before.
        compiler_fence(Ordering::SeqCst);
        if cfg!(debug_assertions) {
            die_if_told(&self.shared, step);
        }
    }

    /// How many connections could not be kept.
    pub fn unkept(&self) -> u64 {
        self.unkept
    }
}

/// Connections.
impl Region {
    /// Keeps a connection from now on, if there is room.
    pub fn add(&mut self, connection: &Connection) -> Option<u32> {
        let slot = self.slots.add(&self.shared.memory, connection);
        self.unkept += u64::from(slot.is_none());
        slot
    }

    /// A connection is no more.
    pub fn remove(&mut self, slot: u32) {
        self.slots.remove(&self.shared.memory, slot);
        for leg in self.legs.forget(slot) {
            self.blocks.free(&self.shared.memory, leg.held.head, 0);
            self.blocks.free(&self.shared.memory, leg.unsent.head, 0);
        }
    }

    /// The descriptors of a connection are these now.
    pub fn set_descriptors(&mut self, slot: u32, descriptors: [Option<RawFd>; 2]) {
        let memory = &self.shared.memory;
        self.slots.set_descriptors(memory, slot, descriptors);
    }

    /// A connection must be reset, whatever happens.
    pub fn set_reset(&mut self, slot: u32) {
        self.slots.set_reset(&self.shared.memory, slot);
    }

    /// The connections that are kept.
    pub fn live(&self) -> Vec<u32> {
        self.slots.live(&self.shared.memory)
    }

    /// What is known of a connection; whether it must be reset.
    pub fn connection(&self, slot: u32) -> (Connection, bool) {
        let memory = &self.shared.memory;
        let connection = self.slots.connection(memory, slot);
        (connection, self.slots.is_reset(memory, slot))
    }

    /// What is known of a leg.
    pub fn side(&self, slot: u32, leg: Leg) -> Side {
        self.slots.side(&self.shared.memory, slot, leg)
    }

    /// What is held back of what a leg sent.
    pub fn held(&self, slot: u32, leg: Leg) -> Vec<u8> {
        let side = self.side(slot, leg);
        let positions = side.read.saturating_sub(u64::from(side.held))..side.read;
        let chain = self.leg(slot, leg).held;
        self.blocks.read(&self.shared.memory, chain, positions)
    }

    /// What is to be sent on a leg that has `written` bytes already.
    pub fn unsent(&self, slot: u32, leg: Leg, written: u64) -> Vec<u8> {
        let made = self.side(slot, leg).made;
        let chain = self.leg(slot, leg).unsent;
        self.blocks.read(&self.shared.memory, chain, written..made)
    }

    /// Of what is to be sent on a leg only the last `waiting` bytes are left.
    pub fn sent_later(&mut self, slot: u32, leg: Leg, waiting: usize) {
        let mut state = self.leg(slot, leg);
        let before = state.unsent;
        if before.head == 0 {
            return;
        }
        let memory = &self.shared.memory;
        let position = state.made.saturating_sub(waiting as u64);
        let (chain, until) = match waiting {
            0 => (Chain::default(), 0),
            _ => self.blocks.trimmed(memory, before, position),
        };
        if chain.head != before.head {
            self.slots.set_unsent(memory, slot, leg, chain);
            self.blocks.free(memory, before.head, until);
            state.unsent = chain;
            self.set_leg(slot, leg, state);
        }
    }
}

/// A batch, until its commit.
impl Region {
    /// Whether there is room to read both legs of a connection.
    pub fn has_room(&self) -> bool {
        self.batch.inputs + 2 <= INPUTS
            && self.batch.read + 2 * READ_SIZE <= self.parts.read.at.len()
    }

    /// Notes that a leg is going to be read. `None` if there is no room for that.
    pub fn note(&mut self, slot: u32, leg: Leg) -> Option<Input> {
        let memory = &self.shared.memory;
        let entry = self.batch.inputs;
        let place = self.batch.read;
        let room = entry < INPUTS
            && place + READ_SIZE <= self.parts.read.at.len()
            && self.parts.inputs.grow(memory, (entry + 1) * ENTRY)
            && self.parts.read.grow(memory, place + READ_SIZE);
        if !room {
            return None;
        }
        let position = self.slots.position(memory, slot, leg);
        let at = self.parts.inputs.at.start + entry * ENTRY;
        let words = [who(slot, leg, false), position, place as u64, 0];
        self.write(at, words);
        self.batch.inputs += 1;
        let noted = self.batch.number << 32 | self.batch.inputs as u64;
        self.shared.set(Header::Inputs, noted);
        self.step(Step::Noted);
        Some(Input {
            slot,
            leg,
            position,
            entry,
            place,
        })
    }

    /// Where it is read to.
    pub fn buffer(&mut self, input: Input) -> &mut [u8] {
        let at = self.parts.read.at.start + input.place;
        self.shared.memory.bytes_mut(at..at + READ_SIZE)
    }

    /// So much was read, or FIN.
    pub fn read(&mut self, input: Input, length: usize, end: bool) {
        let at = self.parts.inputs.at.start + input.entry * ENTRY;
        let place = (length as u64) << 32 | input.place as u64;
        let who = who(input.slot, input.leg, end);
        self.write(at, [who, input.position, place, 0]);
        // To the word, so that copies are fast.
        self.batch.read = input.place + length.next_multiple_of(8);
        self.step(Step::Read);
    }

    /// What was read.
    pub fn bytes(&self, input: Input, length: usize) -> &[u8] {
        let at = self.parts.read.at.start + input.place;
        self.shared.memory.bytes(at..at + length)
    }

    /// The machine has taken it, and holds so many bytes back of what this leg sent.
    pub fn fed(&mut self, input: Input, held: usize) {
        let at = self.parts.inputs.at.start + input.entry * ENTRY;
        self.shared.memory.word(at + 24).store(held as u64, Relaxed);
        self.step(Step::Fed);
    }

    /// Records what is to be sent on a leg, and whether FIN follows. `None`: there is no room, and the
    /// connection is not kept any more.
    pub fn record(&mut self, slot: u32, leg: Leg, bytes: &[u8], finish: bool) -> Option<Output> {
        let memory = &self.shared.memory;
        let (entry, place) = (self.batch.outputs, self.batch.sent);
        let room = entry < OUTPUTS
            && self.parts.outputs.grow(memory, (entry + 1) * ENTRY)
            && self.parts.sent.grow(memory, place + bytes.len());
        if !room {
            self.give_up(slot);
            return None;
        }
        let to = self.parts.sent.at.start + place;
        self.shared
            .memory
            .bytes_mut(to..to + bytes.len())
            .copy_from_slice(bytes);
        let mut state = self.leg(slot, leg);
        let position = state.made;
        state.made += bytes.len() as u64;
        self.set_leg(slot, leg, state);
        let at = self.parts.outputs.at.start + entry * ENTRY;
        let placed = (bytes.len() as u64) << 32 | place as u64;
        self.write(at, [who(slot, leg, finish), position, placed, 0]);
        self.batch.outputs += 1;
        self.batch.sent += bytes.len().next_multiple_of(8);
        Some(Output(entry))
    }

    /// Forgets the connections of a run that was killed with all its processes: their sockets are gone.
    pub fn bury(&mut self) {
        self.redone();
        self.batch.inputs = 0;
        for slot in self.live() {
            self.remove(slot);
        }
        let begun = self.batch.number << 32;
        self.shared.set(Header::Inputs, begun);
    }

    /// Whether nothing was noted or recorded since the last commit.
    pub fn is_idle(&self) -> bool {
        self.batch.inputs == 0 && self.batch.outputs == 0
    }

    /// Commits all that was recorded, with these changes of records. `all` gives all records as
    /// changes, for a log that begins anew. False if they have no room: a worker after this one will
    /// know nothing.
    pub fn commit(&mut self, changes: &[u8], all: impl FnOnce() -> Vec<u8>) -> bool {
        let end = End::from_word(self.shared.get(Header::Log));
        let memory = &mut self.shared.memory;
        let next = match self.log.write(memory, end, changes) {
            None => self.log.begin(memory, end, &all()),
            next => next,
        };
        let outputs = self.batch.outputs as u64;
        self.shared.set(Header::Outputs, outputs);
        self.shared
            .set(Header::NextLog, next.unwrap_or_default().word());
        self.step(Step::Recorded);
        self.shared.set(Header::Committed, self.batch.number);
        self.shared.set(Header::Based, u64::from(next.is_some()));
        self.step(Step::Committed);
        next.is_some()
    }

    /// What was recorded was written to its socket as far as it takes it; `waiting` bytes are left.
    pub fn carry(&mut self, output: Output, waiting: usize) {
        self.step(Step::Sent);
        let (slot, leg, finish, position, bytes) = self.entry(&self.parts.outputs, output.0);
        let bytes = self.parts.sent.at.start + bytes.start..self.parts.sent.at.start + bytes.end;
        self.carry_output(slot, leg, finish, position, bytes, waiting);
        self.step(Step::Carried);
    }

    /// All that was committed is carried out.
    pub fn applied(&mut self) {
        for entry in 0..self.batch.inputs {
            self.carry_input(entry);
        }
        self.finish_batch();
    }
}

impl Region {
    /// Nothing of a connection can be relied on any more: a worker after this one will reset it.
    fn give_up(&mut self, slot: u32) {
        self.set_reset(slot);
        self.unkept += 1;
    }

    fn finish_batch(&mut self) {
        let before = End::from_word(self.shared.get(Header::Log));
        let next = self.shared.get(Header::NextLog);
        self.shared.set(Header::Log, next);
        self.shared.set(Header::Applied, self.batch.number);
        self.step(Step::Applied);
        let memory = &self.shared.memory;
        self.log.ends(memory, before, End::from_word(next));
        self.batch = Batch {
            number: self.batch.number + 1,
            inputs: 0,
            read: 0,
            outputs: 0,
            sent: 0,
        };
    }

    fn carry_output(
        &mut self,
        slot: u32,
        leg: Leg,
        finish: bool,
        position: u64,
        bytes: Range<usize>,
        waiting: usize,
    ) {
        let made = position + bytes.len() as u64;
        let mut state = self.leg(slot, leg);
        let before = state.unsent;
        let memory = &mut self.shared.memory;
        let waiting = waiting.min(bytes.len());
        let mut chain = before;
        // Unless all of it waits behind what waited before, nothing did.
        if waiting < bytes.len()
            || chain.head == 0
            || self.blocks.start(memory, chain.head) > position
        {
            chain = Chain::default();
        }
        let from = made - waiting as u64;
        let last = bytes.end - waiting..bytes.end;
        if waiting > 0 && !self.blocks.append(memory, &mut chain, from, last) {
            self.give_up(slot);
            chain = Chain::default();
        }
        let memory = &self.shared.memory;
        if finish {
            self.slots.set_finish(memory, slot, leg);
        }
        self.slots.set_made(memory, slot, leg, made, chain);
        if chain.head != before.head {
            self.blocks.free(memory, before.head, 0);
        }
        state.unsent = chain;
        state.made = state.made.max(made);
        self.set_leg(slot, leg, state);
    }

    fn carry_input(&mut self, entry: usize) {
        let (slot, leg, end, position, bytes) = self.entry(&self.parts.inputs, entry);
        let at = self.parts.inputs.at.start + entry * ENTRY;
        let held = self.shared.memory.word(at + 24).load(Relaxed);
        let now = position + bytes.len() as u64;
        if !self.slots.is_live(&self.shared.memory, slot) {
            return;
        }
        if end {
            self.slots.set_ended(&self.shared.memory, slot, leg);
        }
        let mut state = self.leg(slot, leg);
        let side = self.side(slot, leg);
        if side.read > position || (bytes.is_empty() && held == u64::from(side.held)) {
            return;
        }
        let start = now.saturating_sub(held);
        let (mut chain, mut until) = (Chain::default(), 0);
        let memory = &mut self.shared.memory;
        if held > 0 {
            let mut from = start;
            if start < position {
                // What was held before goes on.
                (chain, until) = self.blocks.trimmed(memory, state.held, start);
                from = position;
            }
            let offset = usize::try_from(from - position).unwrap_or(0);
            let base = self.parts.read.at.start;
            let source = base + bytes.start + offset..base + bytes.end;
            if !self.blocks.append(memory, &mut chain, from, source) {
                self.give_up(slot);
            }
        }
        let held = u32::try_from(held).unwrap_or(0);
        let memory = &self.shared.memory;
        self.slots.set_read(memory, slot, leg, (now, held, chain));
        if chain.head != state.held.head {
            self.blocks.free(memory, state.held.head, until);
        }
        state.held = chain;
        self.set_leg(slot, leg, state);
        self.step(Step::Carried);
    }

    fn leg(&self, slot: u32, leg: Leg) -> LegState {
        let memory = &self.shared.memory;
        self.legs.get(&self.slots, memory, slot, leg)
    }

    fn set_leg(&mut self, slot: u32, leg: Leg, state: LegState) {
        let memory = &self.shared.memory;
        self.legs.set(&self.slots, memory, (slot, leg), state);
    }

    /// An entry: whose it is, which leg, whether FIN is with it, its position, and its bytes.
    fn entry(&self, area: &Area, entry: usize) -> (u32, Leg, bool, u64, Range<usize>) {
        let at = area.at.start + entry * ENTRY;
        let word = |n: usize| self.shared.memory.word(at + n * 8).load(Relaxed);
        let who = word(0);
        let leg = if who & 1 == 0 {
            Leg::Inside
        } else {
            Leg::Outside
        };
        let slot = (who >> 8) as u32;
        let place = (word(2) & 0xffff_ffff) as usize;
        let length = (word(2) >> 32) as usize;
        (slot, leg, who & 2 != 0, word(1), place..place + length)
    }

    fn write(&self, at: usize, words: [u64; 4]) {
        for (n, word) in words.into_iter().enumerate() {
            self.shared.memory.word(at + n * 8).store(word, Relaxed);
        }
    }
}

fn who(slot: u32, leg: Leg, fin: bool) -> u64 {
    u64::from(slot) << 8 | u64::from(fin) << 1 | index(leg) as u64
}

/// Test builds: dies as by `kill -9` if the header says that it is time.
fn die_if_told(shared: &Shared, step: Step) {
    let told = shared.get(Header::Die);
    if told >> 32 != step as u64 {
        return;
    }
    match told & 0xffff_ffff {
        0 | 1 => {
            shared.set(Header::Die, 0);
            let signal = match step {
                Step::Stuck => Signal::SIGSTOP,
                _ => Signal::SIGKILL,
            };
            // It does not come back from this.
            let _ = raise(signal);
        }
        _ => shared.set(Header::Die, told - 1),
    }
}

mod found;
mod legs;
#[cfg(test)]
mod tests;
