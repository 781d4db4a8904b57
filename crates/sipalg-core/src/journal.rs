//! The last messages, with every byte that was changed in them and by what.
//!
//! A ring whose memory is used again: once it is full, and its messages have the usual length,
//! nothing is allocated. What is kept of a message is how it came and the replacements; that this is
//! all that happened to it is proven as it passes, so that no second copy is needed.

use crate::addr::{Ends, Leg};
use crate::door::{Door, DoorOp};
use crate::event::By;
use crate::fixup::edit::Edit;
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// How much is kept of one message, bytes.
const MOST_BYTES: usize = 64 * 1024;

/// A message that passed.
#[derive(Clone, Debug)]
pub struct MessageView<'a> {
    /// Its number since the start, from 1.
    pub id: u64,
    /// When it passed.
    pub at: Instant,
    /// Who spoke with whom.
    pub ends: Ends,
    /// The leg that it came from.
    pub from: Leg,
    /// The length of its start line and headers, bytes.
    pub header: usize,
    /// Its whole length as it came, bytes.
    pub length: usize,
    /// Its bytes as they came; of a very long one only the first.
    pub bytes: &'a [u8],
    /// What was replaced, in the order of the places.
    pub edits: Vec<EditView<'a>>,
    /// The doors that it opened.
    pub doors: &'a [Door],
    /// Whether it left as it came but for the edits, to the byte.
    pub proven: bool,
    /// Whether it passed unchanged, and the edits are those that would have been.
    pub dry_run: bool,
}

/// A text that was replaced.
#[derive(Clone, Copy, Debug)]
pub struct EditView<'a> {
    /// Where it began, in the message as it came.
    pub place: usize,
    /// The field, as [`field_at`] names it.
    pub field: &'a [u8],
    /// As it was.
    pub old: &'a [u8],
    /// As it is now.
    pub new: &'a [u8],
    /// By what.
    pub by: By,
}

/// What is to be kept of a message.
#[derive(Debug)]
pub struct Record<'a> {
    /// When it passed.
    pub at: Instant,
    /// Who spoke with whom.
    pub ends: Ends,
    /// The leg that it came from.
    pub from: Leg,
    /// The length of its start line and headers, bytes.
    pub header: usize,
    /// Its bytes as they came.
    pub message: &'a [u8],
    /// Its bytes as they left.
    pub sent: &'a [u8],
    /// What was replaced.
    pub edits: &'a [Edit],
    /// What the kernel was told.
    pub doors: &'a [DoorOp],
    /// Whether nothing was really replaced.
    pub dry_run: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Journal {
    ring: VecDeque<Entry>,
    passed: u64,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    at: Instant,
    ends: Ends,
    from: Leg,
    header: usize,
    length: usize,
    bytes: Vec<u8>,
    edits: Vec<Edit>,
    doors: Vec<Door>,
    proven: bool,
    dry_run: bool,
}

impl Journal {
    /// Keeps a message among the last `most`. False if what left is not what came with its edits,
    /// which never happens.
    pub fn record(&mut self, most: usize, record: &Record<'_>) -> bool {
        while self.ring.len() > most {
            self.ring.pop_front();
        }
        if most == 0 {
            return true;
        }
        self.passed += 1;
        let reused = if self.ring.len() == most {
            self.ring.pop_front()
        } else {
            None
        };
        let (mut bytes, mut edits, mut doors) = match reused {
            Some(entry) => (entry.bytes, entry.edits, entry.doors),
            None => Default::default(),
        };
        let kept = record.message.get(..MOST_BYTES).unwrap_or(record.message);
        bytes.clear();
        bytes.extend_from_slice(kept);
        edits.clear();
        edits.extend_from_slice(record.edits);
        doors.clear();
        let opened = record.doors.iter().filter_map(|op| match op {
            DoorOp::Open(door) => Some(*door),
            _ => None,
        });
        doors.extend(opened);
        let applied = if record.dry_run { &[] } else { record.edits };
        let proven = is_all(record.message, applied, record.sent);
        self.ring.push_back(Entry {
            id: self.passed,
            at: record.at,
            ends: record.ends,
            from: record.from,
            header: record.header,
            length: record.message.len(),
            bytes,
            edits,
            doors,
            proven,
            dry_run: record.dry_run,
        });
        proven
    }

    /// The messages that are kept, the oldest first.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = MessageView<'_>> {
        self.ring.iter().map(Entry::view)
    }
}

impl Entry {
    fn view(&self) -> MessageView<'_> {
        let bytes = self.bytes.as_slice();
        let edit = |edit: &'_ Edit| -> Option<(usize, &[u8], &[u8])> {
            let old = bytes.get(edit.range.clone())?;
            Some((
                edit.range.start,
                field_at(bytes, self.header, edit.range.start),
                old,
            ))
        };
        let edits = self.edits.iter().filter_map(|found| {
            let (place, field, old) = edit(found)?;
            Some(EditView {
                place,
                field,
                old,
                new: found.text.as_bytes(),
                by: found.by,
            })
        });
        MessageView {
            id: self.id,
            at: self.at,
            ends: self.ends,
            from: self.from,
            header: self.header,
            length: self.length,
            bytes,
            edits: edits.collect(),
            doors: &self.doors,
            proven: self.proven,
            dry_run: self.dry_run,
        }
    }
}

/// Names the field of a message that a place is in: `Request-URI`, a header field's name as it is
/// written, or what a line of a session description begins with (`c=`, `m=audio`, `a=rtcp`).
/// `header` is the length of the header section.
pub fn field_at(message: &[u8], header: usize, place: usize) -> &[u8] {
    let mut begin = place.min(message.len());
    loop {
        let before = message.get(..begin).unwrap_or_default();
        begin = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
        // A folded line goes on with what the line before began.
        let folded = matches!(message.get(begin), Some(b' ' | b'\t')) && begin < header;
        if begin == 0 || !folded {
            break;
        }
        begin -= 1;
    }
    let line = message.get(begin..).unwrap_or_default();
    let line = line
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    let until = |ends: &[u8]| {
        let end = line.iter().position(|byte| ends.contains(byte));
        line.get(..end.unwrap_or(line.len())).unwrap_or_default()
    };
    match line {
        _ if begin == 0 => REQUEST_URI,
        [b'm' | b'a', b'=', ..] if begin >= header => until(b" :"),
        [_, b'=', ..] if begin >= header => line.get(..2).unwrap_or_default(),
        _ if line.contains(&b':') && !line.ends_with(b"SIP/2.0") => until(b":").trim_ascii_end(),
        _ => REQUEST_URI,
    }
}

const REQUEST_URI: &[u8] = b"Request-URI";

/// Whether `sent` is `message` with nothing but these edits: taking them away again gives the
/// message.
fn is_all(message: &[u8], edits: &[Edit], sent: &[u8]) -> bool {
    let (mut came, mut left) = (message, sent);
    let mut at = 0;
    for edit in edits {
        let same = edit.range.start.checked_sub(at);
        let parts = same.and_then(|same| {
            let ((before, here), (copy, there)) =
                (came.split_at_checked(same)?, left.split_at_checked(same)?);
            let here = here.get(edit.range.len()..)?;
            let there = there.strip_prefix(edit.text.as_bytes())?;
            (before == copy).then_some((here, there))
        });
        let Some(rest) = parts else {
            return false;
        };
        (came, left) = rest;
        at = edit.range.end;
    }
    came == left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Protocol, SocketAddrV4};
    use crate::fixup::edit::{Edits, Text};

    const MESSAGE: &[u8] = b"INVITE sip:b@10.1.1.1 SIP/2.0\r\nv : x;\r\n y\r\nl: 30\r\n\r\n\
        c=IN IP4 1.1.1.1\r\nm=audio 6 RTP/AVP 0\r\na=rtcp:7\r\nVia: z\r\nBYE sip:c SIP/2.0\r\n";

    fn record<'a>(message: &'a [u8], sent: &'a [u8], edits: &'a Edits) -> Record<'a> {
        let any = SocketAddrV4::new([0; 4].into(), 0);
        Record {
            at: Instant::ZERO,
            ends: Ends {
                protocol: Protocol::Tcp,
                inside_local: any,
                inside_global: any,
                outside: any,
            },
            from: Leg::Inside,
            header: memchr::memmem::find(MESSAGE, b"c=").unwrap_or(0),
            message,
            sent,
            edits: edits.list(),
            doors: &[],
            dry_run: false,
        }
    }

    #[test]
    fn every_place_has_the_name_of_its_field() {
        let header = memchr::memmem::find(MESSAGE, b"c=").unwrap_or(0);
        for (text, name) in [
            ("10.1.1.1", "Request-URI"),
            ("x;", "v"),
            ("y\r", "v"),
            ("30", "l"),
            ("1.1.1.1\r\nm", "c="),
            ("6 RTP", "m=audio"),
            ("7\r", "a=rtcp"),
            ("z\r", "Via"),
            ("c SIP", "Request-URI"),
        ] {
            let place = memchr::memmem::find(MESSAGE, text.as_bytes()).expect(text);
            assert_eq!(field_at(MESSAGE, header, place), name.as_bytes(), "{text}");
        }
        for place in 0..MESSAGE.len() + 2 {
            field_at(MESSAGE, header, place);
        }
    }

    #[test]
    fn one_byte_more_or_other_than_the_edits_say_is_seen() {
        let mut edits = Edits::default();
        assert!(edits.replace(MESSAGE, 13..21, Text::number(5), By::Length));
        assert!(edits.replace(MESSAGE, 46..48, Text::number(123), By::Length));
        let mut sent = Vec::new();
        edits.apply(MESSAGE, &mut sent);
        let mut journal = Journal::default();
        assert!(journal.record(2, &record(MESSAGE, &sent, &edits)));
        for place in 0..sent.len() {
            let mut other = sent.clone();
            other[place] ^= 1;
            assert!(!journal.record(2, &record(MESSAGE, &other, &edits)));
            let shorter = &sent[..place];
            assert!(!journal.record(2, &record(MESSAGE, shorter, &edits)));
        }
        sent.push(b'x');
        assert!(!journal.record(2, &record(MESSAGE, &sent, &edits)));
    }

    #[test]
    fn the_last_messages_are_kept_and_a_smaller_ring_forgets_the_oldest() {
        let mut journal = Journal::default();
        let edits = Edits::default();
        let ids = |journal: &Journal| journal.messages().map(|m| m.id).collect::<Vec<_>>();
        for _ in 0..5 {
            journal.record(3, &record(MESSAGE, MESSAGE, &edits));
        }
        assert_eq!(ids(&journal), [3, 4, 5]);
        journal.record(2, &record(MESSAGE, MESSAGE, &edits));
        assert_eq!(ids(&journal), [5, 6]);
        journal.record(0, &record(MESSAGE, MESSAGE, &edits));
        assert!(ids(&journal).is_empty());
    }

    #[test]
    fn a_full_ring_uses_its_memory_again() {
        let mut journal = Journal::default();
        let mut edits = Edits::default();
        assert!(edits.replace(MESSAGE, 13..21, Text::number(5), By::Length));
        let mut sent = Vec::new();
        edits.apply(MESSAGE, &mut sent);
        let memory = |journal: &Journal| {
            let of = |entry: &Entry| (entry.bytes.as_ptr(), entry.edits.as_ptr());
            let mut list: Vec<_> = journal.ring.iter().map(of).collect();
            list.sort_unstable();
            (list, journal.ring.capacity())
        };
        for _ in 0..8 {
            journal.record(8, &record(MESSAGE, &sent, &edits));
        }
        let warm = memory(&journal);
        for _ in 0..100 {
            journal.record(8, &record(MESSAGE, &sent, &edits));
            assert_eq!(memory(&journal), warm);
        }
    }
}
