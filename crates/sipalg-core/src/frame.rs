//! Cuts a byte stream into whole SIP messages, however TCP segmented it.
//!
//! Segment borders mean nothing here: any cutting gives the same pieces. Bytes already scanned are
//! not scanned again. The first bytes of a stream decide whether it is SIP; what is not, or can no
//! longer be framed beyond doubt, is passed unchanged for the rest of the connection's life
//! (*demoted*), so that a stream cannot be steered into looking like SIP later.

mod heading;
mod reading;
mod start;
mod unread;

use crate::alike::Like;
use crate::config::Limits;
use crate::event::Demotion;
use crate::sip::Index;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;
use heading::Headings;
use reading::{Reading, Step};
use unread::Unread;

/// A whole message and the index of its header section.
#[derive(Debug)]
pub struct Message<'a> {
    /// All its bytes.
    pub bytes: &'a [u8],
    /// Length of start line, headers and empty line.
    pub header: usize,
    /// Where the header fields are.
    pub index: &'a Index,
    /// Where the digits of Content-Length are, which give the length of the body; empty without it.
    pub length: Range<usize>,
    /// Whether Content-Length was absent, and taken as 0.
    pub length_missing: bool,
    /// Which others its header section is like, if that is known.
    pub(crate) like: Option<Like>,
}

/// What the stream was cut into, in order; the pieces' bytes together are the stream.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A CRLF between messages (RFC 5626 section 3.5.1).
    KeepAlive(&'a [u8]),
    /// A whole message.
    Message(Message<'a>),
    /// Part of a message whose body is over the limit: passes unchanged.
    Oversize {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether the message begins here.
        first: bool,
    },
    /// From here on everything is [`Piece::Raw`].
    Demoted(Demotion),
    /// Bytes that are not looked into.
    Raw(&'a [u8]),
    /// The stream ends in the middle of a message, of which this is known.
    Partial {
        /// Bytes at hand.
        received: usize,
        /// The header's length once it is whole, else 0.
        header: usize,
        /// The message's length once known, else 0.
        total: usize,
    },
}

/// The most that header section and body of a message may have, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    header: usize,
    body: usize,
}

impl From<&Limits> for Lengths {
    fn from(limits: &Limits) -> Self {
        Lengths {
            header: limits.header_bytes,
            body: limits.body_bytes,
        }
    }
}

/// The state of one direction of a connection. Small while no message is incomplete.
#[derive(Debug, Default)]
pub struct Framer {
    /// The message that is incomplete.
    partial: Option<Box<Reading>>,
    unread: Unread,
}

/// Memory to read messages in, of any number of streams one after the other.
#[derive(Debug, Default)]
pub struct Scan {
    reading: Option<Box<Reading>>,
    headings: Headings,
}

/// A datagram as a message (RFC 3261 section 18.3): the body is what Content-Length says, or else all
/// the rest. `None` if it is no SIP message, or not whole.
pub fn datagram<'a>(
    bytes: &'a [u8],
    limits: impl Into<Lengths>,
    scan: &'a mut Scan,
) -> Option<Message<'a>> {
    let limits = limits.into();
    let reading = scan.reading.get_or_insert_default();
    reading.clear();
    if reading.header_section(bytes, limits) != Ok(true) {
        return None;
    }
    let rest = (bytes.len() - reading.header) as u64;
    let said = reading.content_length(bytes).ok()?;
    let body = if reading.length_missing { rest } else { said };
    if body > rest || body > limits.body as u64 {
        return None;
    }
    let total = reading.header + usize::try_from(body).ok()?;
    Some(Message {
        bytes: bytes.get(..total)?,
        header: reading.header,
        index: &reading.index,
        length: reading.length.clone(),
        length_missing: false,
        like: None,
    })
}

impl Framer {
    /// Takes in the next bytes of the stream and hands on the pieces. `scan` is memory to work in.
    pub fn feed(
        &mut self,
        input: &[u8],
        limits: impl Into<Lengths>,
        scan: &mut Scan,
        each: &mut dyn FnMut(Piece<'_>),
    ) {
        self.feed_within(input, limits.into(), scan, each);
    }

    fn feed_within(
        &mut self,
        input: &[u8],
        limits: Lengths,
        scan: &mut Scan,
        each: &mut dyn FnMut(Piece<'_>),
    ) {
        let (mut reading, taken) = match self.partial.take() {
            None => (scan.take(), 0),
            Some(mut reading) => {
                let taken = self.complete(input, limits, &mut reading, &mut scan.headings, each);
                (reading, taken)
            }
        };
        if reading.held.is_empty() {
            let rest = input.get(taken..).unwrap_or_default();
            let cut = self.cut(
                rest,
                rest.len(),
                limits,
                &mut reading,
                &mut scan.headings,
                each,
            );
            let rest = rest.get(cut..).unwrap_or_default();
            reading.held.extend_from_slice(rest);
        }
        if reading.held.is_empty() {
            return scan.give_back(reading);
        }
        each(Piece::Partial {
            received: reading.held.len(),
            header: reading.header,
            total: reading.total,
        });
        self.partial = Some(reading);
    }

    /// Joins what is held of a message with as much of the input as it needs, so that the rest can be
    /// cut without a copy; returns how much of the input was taken. Nothing is held any more, or all
    /// of the input was taken.
    fn complete(
        &mut self,
        input: &[u8],
        limits: Lengths,
        reading: &mut Reading,
        headings: &mut Headings,
        each: &mut dyn FnMut(Piece<'_>),
    ) -> usize {
        let mut data = core::mem::take(&mut reading.held);
        let mut taken = 0;
        loop {
            // Whose bytes stand before these is held from before.
            let joined = data.len();
            let needed = match reading.total.checked_sub(joined) {
                Some(needed @ 1..) => needed,
                _ => JOINED_AT_ONCE,
            };
            let rest = input.get(taken..).unwrap_or_default();
            let next = rest.get(..needed).unwrap_or(rest);
            data.extend_from_slice(next);
            let cut = self.cut(&data, joined, limits, reading, headings, each);
            if cut >= joined {
                data.clear();
                reading.held = data;
                return taken + (cut - joined);
            }
            data.drain(..cut);
            taken += next.len();
            if taken >= input.len() {
                reading.held = data;
                return taken;
            }
        }
    }

    /// The stream ended: what was held back, to be passed unchanged.
    pub fn end(&mut self) -> Vec<u8> {
        self.partial
            .take()
            .map_or_else(Vec::new, |reading| reading.held)
    }

    /// Passes everything unchanged from now on; what was held back comes with the next
    /// [`feed`](Self::feed) or [`end`](Self::end).
    pub fn demote(&mut self) {
        self.unread = Unread::ALL;
    }

    /// Whether a message is not whole.
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Whether its header is.
    pub fn has_header(&self) -> bool {
        let partial = self.partial.as_ref();
        partial.is_some_and(|reading| reading.header > 0)
    }

    /// How many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        let partial = self.partial.as_ref();
        partial.map_or(0, |reading| reading.memory())
    }

    /// The bytes of an incomplete message that are held back.
    pub fn held(&self) -> &[u8] {
        self.partial.as_ref().map_or(&[], |reading| &reading.held)
    }

    /// Holds back what [`held`](Self::held) gave of another framer of this stream, as if it had been
    /// fed.
    pub fn hold(&mut self, bytes: &[u8]) {
        // Read again from its start with what comes next: any cutting gives the same.
        let mut reading = Box::<Reading>::default();
        reading.held.extend_from_slice(bytes);
        self.partial = (!bytes.is_empty()).then_some(reading);
    }

    /// What is still to pass of a message that is over the limit, and whether none of it has passed.
    pub fn rest(&self) -> Option<(u64, bool)> {
        self.unread.of_message()
    }

    /// So much is still to pass of a message that is over the limit.
    pub fn set_rest(&mut self, bytes: u64, begins: bool) {
        if self.unread != Unread::ALL {
            self.unread = Unread::rest(bytes, begins);
        }
    }

    /// Whether all that was handed on so far ends where a message ends.
    pub fn is_between(&self) -> bool {
        self.unread == Unread::default()
    }

    /// Cuts `data`, of which the first message has been read as far as `reading` says, until what was
    /// handed on reaches `until`; returns how many bytes that were.
    fn cut(
        &mut self,
        data: &[u8],
        until: usize,
        limits: Lengths,
        reading: &mut Reading,
        headings: &mut Headings,
        each: &mut dyn FnMut(Piece<'_>),
    ) -> usize {
        let mut at = 0;
        while at < until {
            let rest = data.get(at..).unwrap_or_default();
            if self.unread == Unread::ALL {
                each(Piece::Raw(rest));
                return data.len();
            }
            if let Some((left, first)) = self.unread.of_message() {
                let length = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                each(Piece::Oversize {
                    bytes: rest.get(..length).unwrap_or_default(),
                    first,
                });
                self.unread = Unread::rest(left - length as u64, false);
                at += length;
                continue;
            }
            // What is like a message before needs not be read; it is whole, or else is read as it comes.
            let begins = reading.is_at_start();
            if begins
                && let Some((like, heading)) = headings.find(rest)
                && let Some(message) = heading.message(like, rest, limits)
            {
                at += message.bytes.len();
                reading.clear();
                each(Piece::Message(message));
                continue;
            }
            match reading.advance(rest, limits) {
                Step::NeedMore => break,
                Step::KeepAlive(length) => {
                    each(Piece::KeepAlive(rest.get(..length).unwrap_or_default()));
                    at += length;
                }
                Step::Whole => {
                    each(Piece::Message(Message {
                        bytes: rest.get(..reading.total).unwrap_or_default(),
                        header: reading.header,
                        index: &reading.index,
                        length: reading.length.clone(),
                        length_missing: reading.length_missing,
                        // One that came in parts may be like another for all that is known.
                        like: begins
                            .then(|| heading::remember(headings, rest, reading))
                            .flatten(),
                    }));
                    at += reading.total;
                    reading.clear();
                }
                Step::Oversize(total) => {
                    self.unread = Unread::rest(total, true);
                    reading.clear();
                }
                Step::Demote(reason) => {
                    self.unread = Unread::ALL;
                    reading.clear();
                    each(Piece::Demoted(reason));
                }
            }
        }
        at
    }
}

impl Scan {
    fn take(&mut self) -> Box<Reading> {
        let mut reading = self.reading.take().unwrap_or_default();
        reading.clear();
        reading
    }

    /// Keeps the memory for the next message, unless it was an unusually long one that needed it.
    fn give_back(&mut self, reading: Box<Reading>) {
        if self.reading.is_none() && reading.memory() <= MOST_KEPT {
            self.reading = Some(reading);
        }
    }
}

/// As much of the input is joined with what is held of a message whose length is not known yet.
const JOINED_AT_ONCE: usize = 1024;

/// The most memory that is kept between messages, in bytes: few need more.
const MOST_KEPT: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a stream, fed in the given parts, as text.
    fn pieces(parts: &[&[u8]], limits: &Limits) -> Vec<String> {
        let mut framer = Framer::default();
        let mut scan = Scan::default();
        let mut found = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut raw = String::new();
        for part in parts {
            framer.feed(part, limits, &mut scan, &mut |piece| match piece {
                Piece::KeepAlive(bytes) => found.push(format!("keep-alive {}", bytes.len())),
                Piece::Message(m) => found.push(format!("message {}", text(m.bytes))),
                Piece::Demoted(reason) => found.push(format!("{reason:?}")),
                Piece::Oversize { bytes, .. } | Piece::Raw(bytes) => raw.push_str(&text(bytes)),
                Piece::Partial { .. } => {}
            });
        }
        raw.push_str(&text(&framer.end()));
        found.push(format!("raw {raw}"));
        found
    }

    fn whole(stream: &[u8]) -> Vec<String> {
        pieces(&[stream], &Limits::default())
    }

    const OPTIONS: &str = "OPTIONS sip:a@b SIP/2.0\r\nl: 4\r\nCSeq: 1 OPTIONS\r\n\r\nbody";

    #[test]
    fn any_cut_gives_the_same_pieces() {
        let stream =
            format!("\r\n\r\n{OPTIONS}{OPTIONS}\r\nSIP/2.0 200 OK\r\n\r\nGET / HTTP/1.1\r\n");
        let expected = whole(stream.as_bytes());
        assert_eq!(
            expected.iter().filter(|p| p.starts_with("message")).count(),
            3
        );
        assert!(expected.contains(&"raw GET / HTTP/1.1\r\n".to_string()));
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let bytes = stream.as_bytes();
                let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(
                    pieces(&parts, &Limits::default()),
                    expected,
                    "{first} {second}"
                );
            }
        }
        let single: Vec<_> = stream.as_bytes().chunks(1).collect();
        assert_eq!(pieces(&single, &Limits::default()), expected);
    }

    #[test]
    fn a_stream_that_cannot_be_sip_is_let_go_at_once() {
        for stream in [
            "GET /",
            "POST /sip HTTP/1.1",
            "\x16\x03\x01\x02",
            "HTTP/",
            "SSH-2.0-x\r\n",
            "EHLO me\r\n",
            "\0",
        ] {
            let found = whole(stream.as_bytes());
            assert_eq!(found, ["NotSip".to_string(), format!("raw {stream}")]);
        }
    }

    #[test]
    fn sip_inside_another_protocol_is_never_looked_into() {
        let stream = format!("POST http://x/ HTTP/1.1\r\nContent-Length: 900\r\n\r\n{OPTIONS}");
        let (head, tail) = stream.as_bytes().split_at(stream.len() - OPTIONS.len());
        let found = pieces(&[head, tail], &Limits::default());
        assert_eq!(found, ["NotSip".to_string(), format!("raw {stream}")]);
    }

    #[test]
    fn doubtful_lengths_demote_and_lose_nothing() {
        for (length, reason) in [
            ("l: 4\r\nContent-Length: 4\r\n", "DuplicateLength"),
            ("l: -4\r\n", "BadLength"),
            ("l: +4\r\n", "BadLength"),
            ("l: 4294967328\r\n", "BadLength"),
            ("l: 99999999999999999999\r\n", "BadLength"),
            ("l: 4;x\r\n", "BadLength"),
            ("l: 4\n", "MixedLineEnds"),
        ] {
            let stream = format!("OPTIONS sip:a@b SIP/2.0\r\n{length}\r\nbody");
            assert_eq!(
                whole(stream.as_bytes()),
                [reason.to_string(), format!("raw {stream}")]
            );
        }
    }

    #[test]
    fn a_missing_length_is_zero_and_the_next_byte_must_begin_a_message() {
        let stream = "OPTIONS sip:a@b SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n\0ody";
        let found = whole(stream.as_bytes());
        assert_eq!(found[1..], ["NotSip".to_string(), "raw \0ody".to_string()]);
    }

    #[test]
    fn bare_line_feeds_throughout_are_accepted() {
        let stream = "OPTIONS sip:a@b SIP/2.0\nl: 2\n\nhi";
        assert_eq!(
            whole(stream.as_bytes()),
            [format!("message {stream}"), "raw ".into()]
        );
    }

    #[test]
    fn an_oversize_body_passes_and_framing_goes_on() {
        let limits = Limits {
            body_bytes: 3,
            ..Limits::default()
        };
        let small = "OPTIONS sip:a@b SIP/2.0\r\nl: 2\r\n\r\nhi";
        let stream = format!("{OPTIONS}{small}");
        let found = pieces(&[stream.as_bytes()], &limits);
        assert_eq!(
            found,
            [format!("message {small}"), format!("raw {OPTIONS}")]
        );
    }

    #[test]
    fn a_datagram_is_one_message_or_none() {
        let whole = |text: &str| {
            let mut scan = Scan::default();
            let message = datagram(text.as_bytes(), &Limits::default(), &mut scan);
            message.map(|message| (message.bytes.len(), message.header))
        };
        let head = "OPTIONS sip:a@b SIP/2.0\r\nCSeq: 1 OPTIONS\r\n";
        assert_eq!(
            whole(&format!("{head}\r\nbody")),
            Some((head.len() + 6, head.len() + 2))
        );
        assert_eq!(
            whole(&format!("{head}l: 2\r\n\r\nbody")),
            Some((head.len() + 10, head.len() + 8))
        );
        for text in [
            format!("{head}l: 9\r\n\r\nbody"),
            format!("{head}l: x\r\n\r\n"),
            head.to_string(),
            "\r\n".into(),
            "x".into(),
        ] {
            assert_eq!(whole(&text), None, "{text}");
        }
    }

    #[test]
    fn the_memory_to_read_in_is_kept_from_message_to_message_unless_it_is_much() {
        let (mut framer, mut scan) = (Framer::default(), Scan::default());
        let kept = |scan: &Scan| scan.reading.as_ref().map(|reading| reading.memory());
        for (body, keeps) in [(100, true), (MOST_KEPT, false), (100, true)] {
            let message = format!("OPTIONS sip:a@b SIP/2.0\r\nl: {body}\r\n\r\n{:body$}", "");
            let mut whole = 0;
            for part in message.as_bytes().chunks(30) {
                framer.feed(part, &Limits::default(), &mut scan, &mut |piece| {
                    whole += usize::from(matches!(piece, Piece::Message(_)));
                });
            }
            assert_eq!((whole, framer.memory()), (1, 0));
            assert_eq!(kept(&scan).is_some(), keeps);
            assert!(kept(&scan).unwrap_or_default() <= MOST_KEPT);
        }
    }

    #[test]
    fn a_stream_is_read_anew_behind_a_datagram() {
        let (mut framer, mut scan) = (Framer::default(), Scan::default());
        let limits = Limits::default();
        assert!(datagram(OPTIONS.as_bytes(), &limits, &mut scan).is_some());
        let mut found = Vec::new();
        let stream = OPTIONS.replace("a@b", "longer@than-that");
        framer.feed(stream.as_bytes(), &limits, &mut scan, &mut |piece| {
            if let Piece::Message(message) = piece {
                found.push((message.bytes.len(), message.header));
            }
        });
        assert_eq!(found, [(stream.len(), stream.len() - "body".len())]);
    }

    #[test]
    fn a_header_section_without_end_is_bounded() {
        let limits = Limits {
            header_bytes: 100,
            ..Limits::default()
        };
        let stream = format!("OPTIONS sip:a@b SIP/2.0\r\nX: {}", "x".repeat(200));
        let parts: Vec<_> = stream.as_bytes().chunks(7).collect();
        assert_eq!(
            pieces(&parts, &limits),
            ["HeaderTooLong".to_string(), format!("raw {stream}")]
        );
    }
}
