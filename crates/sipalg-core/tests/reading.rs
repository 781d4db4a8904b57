//! What is read of a message many bytes at once is what is read line by line and byte by byte: of the
//! corpora, and of many mutations of them.
#![allow(clippy::unwrap_used)]

mod samples;
mod script;
mod world;

use sipalg_core::config::Limits;
use sipalg_core::frame::{Framer, Message, Piece, Scan};
use sipalg_core::sip::{Field, Name, Start};
use std::ops::Range;

/// A header section, read in the plainest way.
#[derive(Debug, Default, PartialEq)]
struct Plain {
    start_line: Range<usize>,
    start: Option<Start>,
    fields: Vec<Field>,
}

fn plainly(header: &[u8]) -> Plain {
    let mut plain = Plain::default();
    let (mut at, mut open) = (0, false);
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap();
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let span = at..at + text.len();
        at += line.len();
        if span.start == 0 {
            plain.start = Start::parse(header, 0..line.len());
            plain.start_line = span;
        } else if matches!(text, [b' ' | b'\t', ..]) {
            if let (true, Some(last)) = (open, plain.fields.last_mut()) {
                last.value.end = span.end;
            }
        } else {
            let colon = text.iter().position(|byte| *byte == b':');
            let name = colon.map_or(Name::Other, |colon| {
                Name::parse(text[..colon].trim_ascii_end())
            });
            open = name != Name::Other;
            if let (true, Some(colon)) = (open, colon) {
                let value = span.start + colon + 1..span.end;
                plain.fields.push(Field { name, value });
            }
        }
    }
    plain
}

/// Holds the index of a message against its header section read plainly.
fn holds(message: &Message<'_>) {
    let (header, index) = (&message.bytes[..message.header], message.index);
    let found = Plain {
        start_line: index.start_line.clone(),
        start: index.start.clone(),
        fields: index.fields.clone(),
    };
    let text = String::from_utf8_lossy(header);
    assert_eq!(found, plainly(header), "{text}");
    let absent = Name::Diversion;
    for name in found.fields.iter().map(|field| field.name).chain([absent]) {
        let of_it: Vec<_> = found.fields.iter().filter(|f| f.name == name).collect();
        assert_eq!(index.field(name), of_it.first().copied(), "{text}");
        assert_eq!(index.is_repeated(name), of_it.len() > 1, "{text}");
        assert_eq!(index.all(name).collect::<Vec<_>>(), of_it, "{text}");
    }
    let body = (message.bytes.len() - message.header).to_string();
    let digits = str::from_utf8(&message.bytes[message.length.clone()]).unwrap();
    match index.field(Name::ContentLength) {
        Some(_) => assert_eq!(digits.trim_start_matches('0'), body.trim_start_matches('0')),
        None => assert_eq!(digits, ""),
    }
}

/// The pieces of a stream that comes in parts of that length.
fn pieces(stream: &[u8], part: usize) -> Vec<String> {
    let (mut framer, mut scan) = (Framer::default(), Scan::default());
    let mut found = Vec::new();
    for part in stream.chunks(part) {
        framer.feed(part, &Limits::default(), &mut scan, &mut |piece| {
            match piece {
                Piece::Message(message) => {
                    holds(&message);
                    // Which others it is like is known only of what came whole.
                    let Message {
                        bytes,
                        header,
                        index,
                        length,
                        length_missing,
                        ..
                    } = message;
                    let said = (bytes, header, index, length, length_missing);
                    found.push(format!("Message {said:?}"));
                }
                Piece::KeepAlive(bytes) => found.push(format!("keep-alive {}", bytes.len())),
                Piece::Demoted(reason) => found.push(format!("{reason:?}")),
                Piece::Oversize { .. } | Piece::Raw(_) | Piece::Partial { .. } => {}
            };
        });
    }
    found
}

/// A generator, the same on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// Changes a few bytes, mostly where they matter: in the first lines, and to what separates.
fn mutated(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..dice.below(4) {
        let reach = if dice.below(2) == 0 { 64 } else { bytes.len() };
        let at = dice.below(reach.min(bytes.len()));
        let special = b" \t:\r\n\0-aZ;/\xe9";
        match dice.below(4) {
            0 => bytes[at] ^= 0x20,
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, special[dice.below(special.len())]),
            _ => bytes[at] = special[dice.below(special.len())],
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[test]
fn a_message_is_read_at_once_as_it_is_read_plainly_and_byte_by_byte() {
    let mut dice = Dice(5);
    let (mut messages, mut demoted) = (0, 0);
    for sample in samples::all() {
        // Whole streams are long; their first messages tell enough.
        let bytes = &sample.bytes[..sample.bytes.len().min(4096)];
        for round in 0..20 {
            let stream = match round {
                0 => bytes.to_vec(),
                1 => bytes.to_ascii_uppercase(),
                _ => mutated(bytes, &mut dice),
            };
            let whole = pieces(&stream, usize::MAX);
            assert_eq!(pieces(&stream, 1), whole, "{}", sample.name);
            let part = 1 + dice.below(100);
            assert_eq!(pieces(&stream, part), whole, "{} {part}", sample.name);
            messages += whole.iter().filter(|p| p.starts_with("Message")).count();
            demoted += whole.iter().filter(|p| p.contains("NotSip")).count();
        }
    }
    assert!(messages > 5000 && demoted > 500, "{messages} {demoted}");
}
