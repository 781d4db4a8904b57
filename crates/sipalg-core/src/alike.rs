//! Texts like one that was read before: as long, and the same but for letters and digits at places
//! where they say nothing of what was found in it. So what was found in the one holds for the other,
//! and is not looked for again.
//!
//! Who reads says which places those are ([`Seen::allow`]). Everything that gives a text its form is
//! compared to the byte: what separates, what is a name, an address, a length.

use crate::bytes::{alphanumeric, different};
use alloc::vec::Vec;
use core::ops::Range;

/// How many texts are remembered: a host sends and is sent a few kinds of messages.
const MOST: usize = 8;

/// The longest text that is remembered, and the shortest, bytes.
const LONGEST: usize = BLOCKS * BLOCK;
const SHORTEST: usize = BLOCK;

/// A text is compared in blocks of so many bytes.
const BLOCK: usize = 16;
const BLOCKS: usize = 64;

/// Names a remembered text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Like {
    /// Its place among the others.
    pub place: usize,
    /// The how manieth it was of all that ever were remembered.
    nth: u64,
}

/// The texts remembered, each with what was found in it.
#[derive(Debug, Default)]
pub struct Alike<T> {
    list: Vec<Seen<T>>,
    /// The one that a text was like last.
    latest: usize,
    /// How many were ever remembered.
    passed: u64,
    /// The lengths of the last texts that were like none.
    missed: [usize; MOST],
}

/// A text, and what was found in it.
#[derive(Debug, Default)]
pub struct Seen<T> {
    like: Like,
    text: Vec<u8>,
    /// The places that may differ: a bit for each byte of a block. Behind the last whole block comes one
    /// that ends where the text does.
    free: Vec<u32>,
    /// What was found in it.
    pub found: T,
}

impl<T: Default> Alike<T> {
    /// The one that `text` begins like, and what was found in it.
    #[inline]
    pub fn find(&mut self, text: &[u8]) -> Option<(Like, &T)> {
        if !is_used() {
            return None;
        }
        let latest = self.list.get(self.latest)?;
        if !latest.is_like(text) {
            let mut list = self.list.iter();
            self.latest = list.position(|seen| seen.is_like(text))?;
        }
        let seen = self.list.get(self.latest)?;
        Some((seen.like, &seen.found))
    }

    /// A text was like none. Gives a place to remember it at if one as long was met before: it may be
    /// worth it.
    pub fn remember(&mut self, text: &[u8]) -> Option<(Like, &mut Seen<T>)> {
        if !(SHORTEST..=LONGEST).contains(&text.len()) {
            return None;
        }
        let Some(missed) = self.missed.iter_mut().find(|length| **length == text.len()) else {
            self.missed.rotate_right(1);
            self.missed[0] = text.len();
            return None;
        };
        *missed = 0;
        self.passed += 1;
        let like = Like {
            place: (self.passed % MOST as u64) as usize,
            nth: self.passed,
        };
        if self.list.len() <= like.place {
            self.list.resize_with(like.place + 1, Seen::default);
        }
        let seen = self.list.get_mut(like.place)?;
        seen.like = like;
        seen.text.clear();
        seen.text.extend_from_slice(text);
        seen.free.clear();
        seen.free.resize(text.len() / BLOCK + 1, 0);
        Some((like, seen))
    }
}

impl<T> Seen<T> {
    /// Letters and digits at these places may be others.
    pub fn allow(&mut self, places: Range<usize>) {
        let (blocks, _) = self.text.as_chunks();
        let starts = (0..blocks.len()).map(|block| BLOCK * block);
        let whole = blocks.iter().zip(starts).zip(&mut self.free);
        let (first, among) = (places.start / BLOCK, places.end.div_ceil(BLOCK));
        for ((block, start), free) in whole.take(among).skip(first) {
            *free |= within(&places, start) & alphanumeric(block);
        }
        if let (Some(block), Some(free)) = (self.text.last_chunk(), self.free.last_mut()) {
            *free |= within(&places, self.text.len() - BLOCK) & alphanumeric(block);
        }
    }

    /// Whether `text` begins like this one.
    #[inline]
    fn is_like(&self, text: &[u8]) -> bool {
        let Some(text) = text.get(..self.text.len()).filter(|text| !text.is_empty()) else {
            return false;
        };
        let ((ours, _), (theirs, _)) = (self.text.as_chunks(), text.as_chunks());
        for ((ours, theirs), free) in ours.iter().zip(theirs).zip(&self.free) {
            if !are_alike(ours, theirs, *free) {
                return false;
            }
        }
        let ends = self.text.last_chunk().zip(text.last_chunk());
        let free = self.free.last();
        ends.zip(free)
            .is_some_and(|((ours, theirs), free)| are_alike(ours, theirs, *free))
    }
}

/// Whether two blocks differ only in letters and digits that may be others.
#[inline(always)] // in registers
fn are_alike(ours: &[u8; BLOCK], theirs: &[u8; BLOCK], free: u32) -> bool {
    let different = different(ours, theirs);
    different == 0 || (different & !free == 0 && different & !alphanumeric(theirs) == 0)
}

/// The bits of those places that are in the block at `start`.
fn within(places: &Range<usize>, start: usize) -> u32 {
    let below = |place: usize| (1 << place.saturating_sub(start).min(BLOCK)) - 1;
    below(places.end) & !below(places.start)
}

/// Whether anything is remembered: always, but where a test compares it with reading anew.
#[cfg(not(test))]
const fn is_used() -> bool {
    true
}

#[cfg(test)]
pub use tests::is_used;

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::cell::Cell;

    std::thread_local! {
        static USED: Cell<bool> = const { Cell::new(true) };
    }

    pub fn is_used() -> bool {
        USED.get()
    }

    /// Whether texts are remembered from now on, in this thread.
    pub fn set_used(used: bool) {
        USED.set(used);
    }

    fn remembered(text: &[u8], free: Range<usize>) -> Alike<usize> {
        let mut alike = Alike::default();
        assert!(alike.find(text).is_none() && alike.remember(text).is_none());
        let (_, seen) = alike.remember(text).expect("a place");
        seen.allow(free);
        seen.found = text.len();
        alike
    }

    #[test]
    fn only_letters_and_digits_at_allowed_places_may_be_others() {
        let text: Vec<u8> = (0..150u8)
            .map(|at| b"a-0:Z "[usize::from(at % 6)])
            .collect();
        for length in [16, 17, 31, 32, 33, 64, 129, 150] {
            let text = &text[..length];
            for free in [0..length, 0..1, length - 1..length, 60..64, 40..70, 10..10] {
                let mut alike = remembered(text, free.clone());
                assert_eq!(alike.find(text).map(|(_, found)| *found), Some(length));
                assert!(alike.find(&text[..length - 1]).is_none());
                for place in 0..length {
                    for byte in *b"b7Y.@\n \x00\xffGz[`{/" {
                        let mut other = text.to_vec();
                        other[place] = byte;
                        let both = [byte, text[place]].iter().all(u8::is_ascii_alphanumeric);
                        let like = byte == text[place] || (free.contains(&place) && both);
                        other.extend_from_slice(b"more");
                        let found = alike.find(&other);
                        assert_eq!(found.is_some(), like, "{length} {free:?} {place} {byte}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_found_is_that_of_the_text_that_it_is_like_and_the_oldest_is_forgotten() {
        let mut alike = Alike::default();
        let text = |number: usize| vec![b'a' + number as u8; 70 + number];
        for number in 0..MOST + 2 {
            assert!(alike.remember(&text(number)).is_none());
            let (_, seen) = alike.remember(&text(number)).expect("a place");
            seen.found = number;
        }
        for number in (0..MOST + 2).rev() {
            let found = alike.find(&text(number)).map(|(_, found)| *found);
            assert_eq!(found, (number >= 2).then_some(number));
        }
        for length in [0, SHORTEST - 1, LONGEST + 1] {
            assert!((0..3).all(|_| alike.remember(&vec![b'x'; length]).is_none()));
        }
    }
}
