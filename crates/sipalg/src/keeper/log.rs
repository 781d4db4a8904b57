//! The log of records in the region: base and changes since, in one of two halves. When a half is
//! full, all records are written to the other, which counts from then on.

use super::layout::Area;
use super::memory::Memory;
use std::time::{Duration, Instant};

/// Below this length nothing is written anew.
const SHORT: usize = 512 * 1024;

/// How many times as long as its base a half may become.
const LONG: usize = 4;

/// The same, once it has been in use [for a while](WHILE): who is idle needs no more, and who is busy does not
/// write all that is there many times a second.
const ENOUGH: usize = 2;

/// See [`ENOUGH`].
const WHILE: Duration = Duration::from_secs(1);

/// Where a log ends: its half, and how much of that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct End(u64);

impl End {
    /// From the word that [`word`](Self::word) gave.
    pub fn from_word(word: u64) -> Self {
        End(word)
    }

    /// As a word.
    pub fn word(self) -> u64 {
        self.0
    }

    fn new(half: usize, length: usize) -> Self {
        End((half as u64) << 63 | length as u64)
    }

    fn half(self) -> usize {
        (self.0 >> 63) as usize
    }

    fn length(self) -> usize {
        (self.0 & !(1 << 63)) as usize
    }
}

/// The log of a region.
#[derive(Debug)]
pub struct Log {
    halves: [Area; 2],
    /// How long the base of the half in use is.
    base: usize,
    /// Since when that is in use.
    begun: Instant,
}

impl Log {
    /// A log in these two areas.
    pub fn new(halves: [Area; 2]) -> Self {
        Log {
            halves,
            base: 0,
            begun: Instant::now(),
        }
    }

    /// Writes changes after `end`. `None`: there is no room for them, or enough were written that it
    /// is worth while to [begin anew](Self::begin).
    pub fn write(&mut self, memory: &mut Memory, end: End, changes: &[u8]) -> Option<End> {
        let (half, length) = (end.half(), end.length());
        let new = length + changes.len();
        if self.is_long(new) {
            return None;
        }
        self.put(memory, half, length, changes)
    }

    /// Writes all records as changes to the half that is not in use. `None`: there is no room.
    pub fn begin(&mut self, memory: &mut Memory, end: End, all: &[u8]) -> Option<End> {
        let end = self.put(memory, 1 - end.half(), 0, all)?;
        (self.base, self.begun) = (all.len(), Instant::now());
        Some(end)
    }

    /// All up to `end` counts from now on, and nothing else. If `before` is in the other half, that
    /// gives its memory back, but for as much as is soon written anew.
    pub fn ends(&mut self, memory: &Memory, before: End, end: End) {
        if before.half() != end.half() {
            self.halves[before.half()].shrink(memory, SHORT);
        }
    }

    /// The changes up to `end`; none if that is no end.
    pub fn changes<'a>(&self, memory: &'a Memory, end: End) -> &'a [u8] {
        let at = &self.halves[end.half()].at;
        if end.length() > at.len() {
            return &[];
        }
        memory.bytes(at.start..at.start + end.length())
    }

    fn is_long(&self, length: usize) -> bool {
        let is = |times| length > SHORT.max(self.base.saturating_mul(times));
        is(LONG) || (is(ENOUGH) && self.begun.elapsed() >= WHILE)
    }

    fn put(
        &mut self,
        memory: &mut Memory,
        half: usize,
        length: usize,
        changes: &[u8],
    ) -> Option<End> {
        let new = length + changes.len();
        let area = &mut self.halves[half];
        if new > area.at.len() || !area.grow(memory, new) {
            return None;
        }
        let at = area.at.start + length;
        memory
            .bytes_mut(at..at + changes.len())
            .copy_from_slice(changes);
        Some(End::new(half, new))
    }
}
