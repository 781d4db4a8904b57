//! The last messages, with every byte that was changed in them and by what.
//!
//! A ring whose entries stay where they are, and whose memory is used again: once it is full, and its
//! messages have the usual length, nothing is allocated. What is kept of a message is how it came and
//! the replacements, which change hands. That this is all that happened to it is proven as it
//! passes, so that no second copy is needed: what left is read beside what came, from end to end, and
//! is the same text at each place and in each gap between two. Who wrote it is not asked.

use crate::addr::{Ends, Leg};
use crate::door::{Door, DoorOp};
use crate::event::By;
use crate::fixup::edit::{Edit, Edits};
use crate::time::Instant;
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
    /// What was replaced. Comes back with the memory of other edits in it.
    pub edits: &'a mut Edits,
    /// What the kernel was told.
    pub doors: &'a [DoorOp],
    /// Whether nothing was really replaced.
    pub dry_run: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Journal {
    ring: Vec<Entry>,
    /// Where the oldest is, once the ring is full.
    oldest: usize,
    passed: u64,
}

#[derive(Debug)]
struct Entry {
    head: Head,
    bytes: Vec<u8>,
    edits: Edits,
    doors: Vec<Door>,
}

/// What an entry is about.
#[derive(Clone, Copy, Debug)]
struct Head {
    id: u64,
    at: Instant,
    ends: Ends,
    from: Leg,
    header: usize,
    length: usize,
    proven: bool,
    dry_run: bool,
}

impl Journal {
    /// Keeps a message among the last `most`. False if what left is not what came with its edits,
    /// which never happens.
    pub fn record(&mut self, most: usize, record: Record<'_>) -> bool {
        if most == 0 {
            self.resize(0);
            return true;
        }
        let applied = match record.dry_run {
            true => &[],
            false => record.edits.list(),
        };
        let head = Head {
            id: self.passed + 1,
            at: record.at,
            ends: record.ends,
            from: record.from,
            header: record.header,
            length: record.message.len(),
            proven: is_all(record.message, applied, record.sent),
            dry_run: record.dry_run,
        };
        let Some(entry) = self.entry(most, head) else {
            return head.proven;
        };
        let kept = record.message.get(..MOST_BYTES).unwrap_or(record.message);
        entry.bytes.clear();
        entry.bytes.extend_from_slice(kept);
        core::mem::swap(&mut entry.edits, record.edits);
        entry.doors.clear();
        for op in record.doors {
            if let DoorOp::Open(door) = op {
                entry.doors.push(*door);
            }
        }
        self.passed += 1;
        head.proven
    }

    /// The place for one more among the last `most`, with that head; `None` if none are kept.
    fn entry(&mut self, most: usize, head: Head) -> Option<&mut Entry> {
        if self.ring.len() != most {
            self.resize(most);
        }
        if self.ring.len() < most {
            self.ring.push(Entry::new(head));
            return self.ring.last_mut();
        }
        let place = self.oldest;
        self.oldest = if place + 1 < most { place + 1 } else { 0 };
        let entry = self.ring.get_mut(place)?;
        entry.head = head;
        Some(entry)
    }

    /// Forgets the oldest of more than `most`, and leaves the others where a ring that is not full
    /// has them: in their order from the start.
    fn resize(&mut self, most: usize) {
        self.ring.rotate_left(self.oldest);
        self.oldest = 0;
        let surplus = self.ring.len().saturating_sub(most);
        self.ring.drain(..surplus);
    }

    /// The messages that are kept, the oldest first.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = MessageView<'_>> {
        let (newer, older) = self.ring.split_at_checked(self.oldest).unwrap_or_default();
        older.iter().chain(newer).map(Entry::view)
    }
}

impl Entry {
    fn new(head: Head) -> Self {
        Entry {
            head,
            bytes: Vec::new(),
            edits: Edits::default(),
            doors: Vec::new(),
        }
    }

    fn view(&self) -> MessageView<'_> {
        let (head, bytes) = (&self.head, self.bytes.as_slice());
        let edit = |edit: &'_ Edit| -> Option<(usize, &[u8], &[u8])> {
            let old = bytes.get(edit.range.clone())?;
            Some((
                edit.range.start,
                field_at(bytes, head.header, edit.range.start),
                old,
            ))
        };
        let edits = self.edits.list().iter().filter_map(|found| {
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
            id: head.id,
            at: head.at,
            ends: head.ends,
            from: head.from,
            header: head.header,
            length: head.length,
            bytes,
            edits: edits.collect(),
            doors: &self.doors,
            proven: head.proven,
            dry_run: head.dry_run,
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

/// Whether `sent` is `message` with nothing but these edits: each gap between them left as it came,
/// and each text stands where the edit says, up to the last byte of both.
fn is_all(message: &[u8], edits: &[Edit], sent: &[u8]) -> bool {
    let (mut came, mut left) = (0, 0);
    for edit in edits {
        let Some(gap) = message.get(came..edit.range.start) else {
            return false;
        };
        let place = left + gap.len();
        let text = sent.get(place..).unwrap_or_default();
        if sent.get(left..place) != Some(gap) || !edit.text.begins(text) {
            return false;
        }
        (came, left) = (edit.range.end, place + edit.text.as_bytes().len());
    }
    let rest = message.get(came..);
    rest.is_some() && rest == sent.get(left..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Protocol, SocketAddrV4};
    use crate::fixup::edit::{Edits, Text};

    const MESSAGE: &[u8] = b"INVITE sip:b@10.1.1.1 SIP/2.0\r\nv : x;\r\n y\r\nl: 30\r\n\r\n\
        c=IN IP4 1.1.1.1\r\nm=audio 6 RTP/AVP 0\r\na=rtcp:7\r\nVia: z\r\nBYE sip:c SIP/2.0\r\n";

    /// Passes a message, and gives back its edits.
    fn record(journal: &mut Journal, most: usize, sent: &[u8], edits: &Edits) -> bool {
        journal.record(most, of(MESSAGE, sent, &mut edits.clone()))
    }

    fn of<'a>(message: &'a [u8], sent: &'a [u8], edits: &'a mut Edits) -> Record<'a> {
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
            edits,
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
        assert!(record(&mut journal, 2, &sent, &edits));
        for place in 0..sent.len() {
            let mut other = sent.clone();
            other[place] ^= 1;
            assert!(!record(&mut journal, 2, &other, &edits));
            let shorter = &sent[..place];
            assert!(!record(&mut journal, 2, shorter, &edits));
        }
        sent.push(b'x');
        assert!(!record(&mut journal, 2, &sent, &edits));
    }

    #[test]
    fn the_last_messages_are_kept_and_a_smaller_ring_forgets_the_oldest() {
        let mut journal = Journal::default();
        let edits = Edits::default();
        let ids = |journal: &Journal| journal.messages().map(|m| m.id).collect::<Vec<_>>();
        for _ in 0..5 {
            record(&mut journal, 3, MESSAGE, &edits);
        }
        assert_eq!(ids(&journal), [3, 4, 5]);
        record(&mut journal, 2, MESSAGE, &edits);
        assert_eq!(ids(&journal), [5, 6]);
        record(&mut journal, 0, MESSAGE, &edits);
        assert!(ids(&journal).is_empty());
    }

    #[test]
    fn a_full_ring_uses_its_memory_again() {
        let mut journal = Journal::default();
        let mut edits = Edits::default();
        let mut sent = Vec::new();
        let memory = |journal: &Journal| {
            let of = |entry: &Entry| entry.bytes.as_ptr();
            let mut list: Vec<_> = journal.ring.iter().map(of).collect();
            list.sort_unstable();
            (list, journal.ring.as_ptr(), journal.ring.capacity())
        };
        let mut lists = Vec::new();
        let mut warm = None;
        for round in 0..100 {
            edits.clear();
            assert!(edits.replace(MESSAGE, 13..21, Text::number(5), By::Length));
            sent.clear();
            edits.apply(MESSAGE, &mut sent);
            if round >= 9 {
                lists.push(edits.list().as_ptr());
            }
            assert!(journal.record(8, of(MESSAGE, &sent, &mut edits)));
            if round >= 8 {
                let now = memory(&journal);
                assert_eq!(*warm.get_or_insert(now.clone()), now);
            }
        }
        lists.sort_unstable();
        lists.dedup();
        assert_eq!(lists.len(), 9, "the edits of eight messages, and the next");
    }
}
