//! Where everything is in the region. Another layout is another [`MAGIC`].

use super::memory::Memory;
use std::ops::Range;

/// `sipalg` and the number of the layout.
pub const MAGIC: u64 = u64::from_le_bytes(*b"sipalg\0\x02");

/// What a word of the header says, by its place in bytes.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub enum Header {
    /// [`MAGIC`], once all else is there.
    Magic = 0,
    /// A digest of the name that the host's run has.
    Boot = 8,
    /// The machine's seed.
    Seed = 16,
    /// The time since the host started at which the machine's clock began, microseconds, signed.
    Epoch = 24,
    /// Counts up as long as the worker turns.
    Heartbeat = 32,
    /// Whether all records of a machine are there.
    Based = 40,
    /// The flow that the machine is busy with, plus one; none: zero.
    Busy = 48,
    /// The flow that it was busy with when it last died, and how often in a row.
    Suspect = 56,
    /// See [`Suspect`](Self::Suspect).
    Deaths = 64,
    /// The descriptors that have names, plus one.
    Names = 72,
    /// The batch that was committed last.
    Committed = 104,
    /// The batch that was carried out last.
    Applied = 112,
    /// The batch that reads, and how many inputs it has noted.
    Inputs = 120,
    /// How many outputs the committed batch has.
    Outputs = 128,
    /// Where the log ends when the batch is carried out.
    NextLog = 136,
    /// Where the log ends.
    Log = 144,
    /// How many slots were ever used.
    Slots = 152,
    /// How many blocks were ever used.
    Blocks = 160,
    /// Test builds: at which step the worker is to die, and after how many of them.
    Die = 168,
}

/// A descriptor that every worker takes over from the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Name {
    /// Where intercepted connections arrive.
    Listener = 0,
    /// Where intercepted datagrams arrive.
    Ear = 1,
    /// The console's socket.
    Console = 2,
}

/// Everything that has a name.
pub const NAMES: [Name; 3] = [Name::Listener, Name::Ear, Name::Console];

/// Length of an entry of a batch.
pub const ENTRY: usize = 32;

/// How many inputs a batch has at most.
pub const INPUTS: usize = 2048;

/// How many outputs a batch has at most: one for each input and ping.
pub const OUTPUTS: usize = 8192;

/// Length of a slot.
pub const SLOT: usize = 96;

/// Length of a block, with its head.
pub const BLOCK: usize = 4096;

/// A part of the region, which grows as it is used.
#[derive(Debug)]
pub struct Area {
    /// Where it is.
    pub at: Range<usize>,
    reserved: usize,
}

/// In what steps areas grow.
const STEP: usize = 256 * 1024;

impl Area {
    /// Sees to it that the first `length` bytes can be used. False if they cannot.
    pub fn grow(&mut self, memory: &Memory, length: usize) -> bool {
        if length <= self.reserved {
            return true;
        }
        let wanted = length.next_multiple_of(STEP).min(self.at.len());
        let more = self.at.start + self.reserved..self.at.start + wanted;
        let grown = length <= wanted && memory.reserve(more).is_ok();
        if grown {
            self.reserved = wanted;
        }
        grown
    }

    /// Gives all memory back but the first `length` bytes, a multiple of pages.
    pub fn shrink(&mut self, memory: &Memory, length: usize) {
        if length < self.reserved {
            // Whatever is not given back is used again.
            let _ = memory.release(self.at.start + length..self.at.start + self.reserved);
            self.reserved = length;
        }
    }
}

/// The parts of the region.
#[derive(Debug)]
pub struct Areas {
    /// Entries of inputs.
    pub inputs: Area,
    /// Entries of outputs.
    pub outputs: Area,
    /// Bytes that were read.
    pub read: Area,
    /// Bytes that are to be sent.
    pub sent: Area,
    /// Connections.
    pub slots: Area,
    /// The two halves of the log.
    pub logs: [Area; 2],
    /// Blocks.
    pub blocks: Area,
}

const MIB: usize = 1024 * 1024;

impl Default for Areas {
    fn default() -> Self {
        Self::new()
    }
}

impl Areas {
    /// All of them, of which nothing is used yet.
    pub fn new() -> Self {
        let mut end = 4096;
        let mut next = |length: usize| {
            let at = end..end + length;
            end = at.end;
            Area { at, reserved: 0 }
        };
        Areas {
            inputs: next(INPUTS * ENTRY),
            outputs: next(OUTPUTS * ENTRY),
            read: next(MIB + MIB / 4),
            sent: next(16 * MIB),
            slots: next(16 * MIB),
            logs: [next(64 * MIB), next(64 * MIB)],
            blocks: next(512 * MIB),
        }
    }

    /// Length of the region.
    pub fn end(&self) -> usize {
        self.blocks.at.end
    }
}
