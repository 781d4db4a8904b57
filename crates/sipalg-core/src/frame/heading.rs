//! What was found in a header section, for those that are like it.

use super::reading::Reading;
use super::{Lengths, Message};
use crate::alike::{Alike, Like, Seen};
use crate::sip::uri::is_of_a_word;
use crate::sip::{Index, Name};
use core::ops::Range;

/// The header sections that were met.
pub(super) type Headings = Alike<Heading>;

/// What was found in one.
#[derive(Debug, Default)]
pub(super) struct Heading {
    index: Index,
    header: usize,
    total: usize,
    length: Range<usize>,
    length_missing: bool,
}

impl Heading {
    /// The whole message, like that one, that `bytes` begin with, if it is there and within the limits.
    pub fn message<'a>(
        &'a self,
        like: Like,
        bytes: &'a [u8],
        limits: Lengths,
    ) -> Option<Message<'a>> {
        let fits = self.header <= limits.header && self.total - self.header <= limits.body;
        Some(Message {
            bytes: bytes.get(..self.total).filter(|_| fits)?,
            header: self.header,
            index: &self.index,
            length: self.length.clone(),
            length_missing: self.length_missing,
            like: Some(like),
        })
    }
}

/// Remembers the header section of a whole message, if that may be worth it.
pub(super) fn remember(headings: &mut Headings, message: &[u8], reading: &Reading) -> Option<Like> {
    let text = message.get(..reading.header)?;
    let (like, seen) = headings.remember(text)?;
    allow(seen, text, &reading.index);
    seen.found.index.copy(&reading.index);
    seen.found.header = reading.header;
    seen.found.total = reading.total;
    seen.found.length = reading.length.clone();
    seen.found.length_missing = reading.length_missing;
    Some(like)
}

/// Fields of the same names are at the same places, and in their values all but the following is the
/// same to the byte. Letters and digits may be others in Call-ID and CSeq, in the parameters `tag` and
/// `branch`, in the user of a URI, and in fields that are not recognised: who wants to know reads them
/// in the message itself, and they are no part of how it is built.
fn allow(seen: &mut Seen<Heading>, text: &[u8], index: &Index) {
    for name in [Name::CallId, Name::CSeq] {
        index
            .all(name)
            .for_each(|field| seen.allow(field.value.clone()));
    }
    for place in memchr::memchr2_iter(b':', b'=', text) {
        let (before, behind) = text.split_at(place + 1);
        let word = behind.iter().position(|byte| !is_of_a_word(*byte));
        let word = word.unwrap_or(behind.len());
        let is_free = match before {
            [.., b's', b'i', b'p', b':'] | [.., b's', b'i', b'p', b's', b':'] => {
                behind.get(word) == Some(&b'@')
            }
            _ => before.ends_with(b";tag=") || before.ends_with(b";branch="),
        };
        if is_free {
            seen.allow(place + 1..place + 1 + word);
        }
    }
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', text) {
        let line = start..end;
        start = end + 1;
        if line.start == 0 {
            continue;
        }
        // A line that begins with white space belongs to the field before.
        let own = text
            .get(line.start)
            .is_some_and(|byte| !byte.is_ascii_whitespace());
        if own && Name::of_line(text, line.clone()).is_none() {
            let value = memchr::memchr(b':', text.get(line.clone()).unwrap_or_default());
            value
                .into_iter()
                .for_each(|colon| seen.allow(line.start + colon..line.end));
        }
    }
}
