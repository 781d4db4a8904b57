//! Chains of blocks: the bytes of a stream that wait, by their positions in it. A chain only grows at
//! its end and shrinks at its start, so that its cost is that of its bytes, however small the pieces.
//!
//! A chain says nothing about its end; whoever holds it knows up to which position it is good. What
//! is beyond may be half written, and is written again.

use super::layout::{Area, BLOCK, Header};
use super::memory::Memory;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

/// The next block and the position of the first byte.
const HEAD: usize = 16;

/// How many bytes a block holds.
pub const ROOM: usize = BLOCK - HEAD;

/// A chain: its first and its last block. They count from one; zero: there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Chain {
    /// What is kept in the slot.
    pub head: u32,
    /// What is found again.
    pub tail: u32,
}

/// Which blocks are free.
#[derive(Debug)]
pub struct Blocks {
    area: Area,
    free: Vec<u32>,
    /// How many were ever used.
    used: u32,
    /// While chains are found again: which blocks belong to one.
    taken: Vec<bool>,
}

impl Blocks {
    /// The blocks of an area, of which `used` were ever used.
    pub fn new(area: Area, used: u32) -> Self {
        let most = u32::try_from(area.at.len() / BLOCK).unwrap_or(u32::MAX);
        let used = used.min(most);
        Blocks {
            area,
            free: Vec::new(),
            used,
            taken: vec![false; used as usize],
        }
    }

    /// Puts bytes of the region into a chain, the first at `position` of the stream, which is where
    /// the chain ends if it is not empty. False if no block is free: then the chain is as it was.
    pub fn append(
        &mut self,
        memory: &mut Memory,
        chain: &mut Chain,
        position: u64,
        bytes: Range<usize>,
    ) -> bool {
        let mut grown = *chain;
        let (mut position, mut from) = (position, bytes.start);
        let mut added = Vec::new();
        while from < bytes.end {
            let filled = match grown.tail {
                0 => ROOM,
                tail => usize::try_from(position.wrapping_sub(self.start(memory, tail)))
                    .map_or(ROOM, |filled| filled.min(ROOM)),
            };
            if filled == ROOM {
                let Some(block) = self.take(memory, position) else {
                    // What is linked must not lead to blocks that others get.
                    if chain.tail != 0 {
                        self.next(memory, chain.tail, None);
                    }
                    self.free.append(&mut added);
                    return false;
                };
                added.push(block);
                match grown.tail {
                    0 => grown.head = block,
                    tail => self.next(memory, tail, Some(block)),
                }
                grown.tail = block;
                continue;
            }
            let length = (ROOM - filled).min(bytes.end - from);
            let to = self.at(grown.tail) + HEAD + filled;
            memory.copy(from..from + length, to);
            from += length;
            position += length as u64;
        }
        *chain = grown;
        true
    }

    /// Drops the blocks that end before `position`: gives the chain without them, and the first of
    /// them, to be [freed](Self::free) once nobody holds it any more.
    pub fn trimmed(&self, memory: &Memory, chain: Chain, position: u64) -> (Chain, u32) {
        let mut head = chain.head;
        while head != 0 && head != chain.tail && self.start(memory, head) + ROOM as u64 <= position
        {
            head = self.after(memory, head);
        }
        let chain = Chain { head, ..chain };
        (chain, head)
    }

    /// Frees the blocks from `from` up to, and without, `to`.
    pub fn free(&mut self, memory: &Memory, mut from: u32, to: u32) {
        while from != to && self.is_block(from) {
            let next = self.after(memory, from);
            self.free.push(from);
            from = next;
        }
    }

    /// Finds the end of a chain again that is good up to `end`, and cuts off what is beyond. A chain
    /// that is not one is none.
    pub fn find(&mut self, memory: &Memory, head: u32, end: u64) -> Chain {
        let mut chain = Chain::default();
        let mut block = head;
        while self.is_block(block) && !self.taken[block as usize - 1] {
            if chain.head != 0 && self.start(memory, block) >= end {
                break;
            }
            self.taken[block as usize - 1] = true;
            if chain.head == 0 {
                chain.head = block;
            }
            chain.tail = block;
            block = self.after(memory, block);
        }
        if chain.tail != 0 {
            self.next(memory, chain.tail, None);
        }
        chain
    }

    /// All chains have been found: the other blocks are free.
    pub fn found(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        let free = (1..=self.used).filter(|block| !taken[*block as usize - 1]);
        self.free = free.collect();
    }

    /// The bytes at these positions, or as many of them as there are, from the first on.
    pub fn read(&self, memory: &Memory, chain: Chain, positions: Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (mut position, mut block) = (positions.start, chain.head);
        while position < positions.end && self.is_block(block) {
            let start = self.start(memory, block);
            if position < start {
                break;
            }
            let offset = usize::try_from(position - start).unwrap_or(ROOM);
            if offset < ROOM {
                let wanted = usize::try_from(positions.end - position).unwrap_or(ROOM);
                let length = (ROOM - offset).min(wanted);
                let at = self.at(block) + HEAD + offset;
                bytes.extend_from_slice(memory.bytes(at..at + length));
                position += length as u64;
            }
            if block == chain.tail {
                break;
            }
            block = self.after(memory, block);
        }
        bytes
    }

    /// The position of a chain's first byte.
    pub fn start(&self, memory: &Memory, block: u32) -> u64 {
        match self.is_block(block) {
            true => memory.word(self.at(block) + 8).load(Relaxed),
            false => 0,
        }
    }

    /// How many are free of those that were ever used.
    #[cfg(test)]
    pub fn free_count(&self) -> usize {
        self.free.len()
    }

    fn take(&mut self, memory: &Memory, start: u64) -> Option<u32> {
        let block = match self.free.pop() {
            Some(block) => block,
            None => {
                let length = (self.used as usize + 1) * BLOCK;
                if length > self.area.at.len() || !self.area.grow(memory, length) {
                    return None;
                }
                self.used += 1;
                // Before anything leads to it.
                let used = u64::from(self.used);
                memory.word(Header::Blocks as usize).store(used, Relaxed);
                self.used
            }
        };
        self.next(memory, block, None);
        memory.word(self.at(block) + 8).store(start, Relaxed);
        Some(block)
    }

    fn after(&self, memory: &Memory, block: u32) -> u32 {
        let next = memory.word(self.at(block)).load(Relaxed);
        u32::try_from(next).unwrap_or(0)
    }

    fn next(&self, memory: &Memory, block: u32, next: Option<u32>) {
        let next = u64::from(next.unwrap_or(0));
        memory.word(self.at(block)).store(next, Relaxed);
    }

    fn is_block(&self, block: u32) -> bool {
        (1..=self.used).contains(&block)
    }

    fn at(&self, block: u32) -> usize {
        self.area.at.start + (block as usize - 1) * BLOCK
    }
}
