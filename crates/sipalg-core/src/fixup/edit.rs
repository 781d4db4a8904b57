//! Ordered splices into a message: the only way its bytes ever change.

use crate::addr::{Ipv4Addr, Leg, Protocol, SocketAddrV4};
use crate::bytes::equal_with;
use crate::event::By;
use alloc::vec::Vec;
use core::ops::Range;

/// A short text made without allocating: at most an address with a port.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    bytes: [u8; SIZE],
    length: u8,
}

/// Room for an address with a port, and some white space around its colon.
const LONGEST: usize = 30;

/// With the length it is as much as is copied at once.
const SIZE: usize = 31;

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl Text {
    /// Nothing.
    pub const EMPTY: Text = Text {
        bytes: [0; SIZE],
        length: 0,
    };

    /// `a.b.c.d`.
    pub fn address(address: Ipv4Addr) -> Text {
        let mut text = Text::EMPTY;
        for (index, octet) in address.octets().into_iter().enumerate() {
            if index > 0 {
                text.push(b'.');
            }
            text.push_octet(octet);
        }
        text
    }

    /// `a.b.c.d:port`.
    pub fn endpoint(endpoint: SocketAddrV4) -> Text {
        let mut text = Text::address(*endpoint.ip());
        text.push(b':');
        text.push_port(endpoint.port());
        text
    }

    /// A decimal number.
    pub fn number(number: u64) -> Text {
        let mut text = Text::EMPTY;
        text.push_number(number);
        text
    }

    /// Any text that is short enough.
    pub fn of(bytes: &[u8]) -> Option<Text> {
        Text::EMPTY.and(bytes)
    }

    /// This text with another behind it, if there is room.
    pub fn and(mut self, bytes: &[u8]) -> Option<Text> {
        if usize::from(self.length) + bytes.len() > LONGEST {
            return None;
        }
        for byte in bytes {
            self.push(*byte);
        }
        Some(self)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }

    /// Whether `bytes` begin with it.
    #[inline]
    pub fn begins(&self, bytes: &[u8]) -> bool {
        match (self.bytes.first_chunk(), bytes.first_chunk()) {
            (Some(ours), Some(theirs)) if self.length <= 16 => {
                equal_with(theirs, &[0; 16], ours).trailing_ones() >= u32::from(self.length)
            }
            _ => bytes.starts_with(self.as_bytes()),
        }
    }

    /// Appends the bytes to `out`: as many as fit, which is one copy of known length, and what is too
    /// much is taken away again.
    fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + usize::from(self.length);
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.length)) {
            *place = byte;
            self.length += 1;
        }
    }

    fn push_octet(&mut self, octet: u8) {
        let [digits @ .., count] = OCTETS[usize::from(octet)];
        let at = usize::from(self.length);
        if let Some(place) = self.bytes.get_mut(at..at + 3) {
            place.copy_from_slice(&digits);
            self.length += count;
        }
    }

    fn push_port(&mut self, port: u16) {
        let digits = u64::from(port / 10_000) | u64::from(four_digits(port % 10_000)) << 8;
        // Zeros before the first other digit are not written, but for the last.
        let zeros = (digits | 1 << 32).trailing_zeros() / 8;
        let digits = (digits | 0x30_3030_3030) >> (8 * zeros);
        let at = usize::from(self.length);
        if let Some(place) = self.bytes.get_mut(at..at + 8) {
            place.copy_from_slice(&digits.to_le_bytes());
            self.length += 5 - zeros as u8;
        }
    }

    fn push_number(&mut self, number: u64) {
        if let Ok(number) = u16::try_from(number) {
            return self.push_port(number);
        }
        let mut digits = [0u8; 20];
        let (mut rest, mut count) = (number, 0);
        for place in digits.iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        for digit in digits.iter().skip(digits.len() - count) {
            self.push(*digit);
        }
    }
}

/// The digits of a number below 10,000, the first in the lowest byte.
fn four_digits(number: u16) -> u32 {
    let halves = u32::from(number / 100) | u32::from(number % 100) << 16;
    // A tenth of each half, which is below 100.
    let tens = ((halves * 103) >> 10) & 0x000f_000f;
    tens | (halves - tens * 10) << 8
}

/// How many digits an octet is written with.
#[inline]
pub fn digits_of_octet(octet: u8) -> usize {
    let [.., count] = OCTETS[usize::from(octet)];
    usize::from(count)
}

/// How many digits a port is written with.
#[inline]
pub fn digits_of_port(port: u16) -> usize {
    let more = [10, 100, 1000, 10_000].map(|power| usize::from(port >= power));
    1 + more.iter().sum::<usize>()
}

/// The digits of each number up to 255, and how many there are.
const OCTETS: [[u8; 4]; 256] = {
    let mut octets = [[0; 4]; 256];
    let mut number = 0u8;
    loop {
        let [hundreds, tens, ones] = [number / 100, number / 10 % 10, number % 10];
        let (hundreds, tens, ones) = (b'0' + hundreds, b'0' + tens, b'0' + ones);
        octets[number as usize] = match number {
            0..10 => [ones, 0, 0, 1],
            10..100 => [tens, ones, 0, 2],
            _ => [hundreds, tens, ones, 3],
        };
        if number == u8::MAX {
            break octets;
        }
        number += 1;
    }
};

/// One replacement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// Where in the message as it came.
    pub range: Range<usize>,
    /// What stands there now.
    pub text: Text,
    /// By what.
    pub by: By,
}

impl By {
    /// By a mapping that turns `old` into `new` in a message from that leg.
    pub fn mapping(from: Leg, protocol: Protocol, old: SocketAddrV4, new: SocketAddrV4) -> By {
        let (inside_local, inside_global) = match from {
            Leg::Inside => (old, new),
            Leg::Outside => (new, old),
        };
        By::Mapping {
            protocol,
            inside_local,
            inside_global,
        }
    }

    /// By the address of an inside host, which turns `old` into `new` in a message from that leg.
    pub fn address(from: Leg, old: Ipv4Addr, new: Ipv4Addr) -> By {
        let (inside_local, inside_global) = match from {
            Leg::Inside => (old, new),
            Leg::Outside => (new, old),
        };
        By::Address {
            inside_local,
            inside_global,
        }
    }
}

/// The replacements in one message, kept in order and apart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edits {
    list: Vec<Edit>,
}

impl Edits {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// Whether nothing is replaced.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Replaces `range` of the message by `text`; false if an earlier edit overlaps it, or the bytes
    /// are the same already.
    pub fn replace(&mut self, message: &[u8], range: Range<usize>, text: Text, by: By) -> bool {
        if message
            .get(range.clone())
            .is_none_or(|old| old == text.as_bytes())
        {
            return false;
        }
        self.insert(range, &text, by)
    }

    /// The same, where the bytes are known to be others.
    #[inline(always)] // nearly always it is one push
    pub fn insert(&mut self, range: Range<usize>, text: &Text, by: By) -> bool {
        // Fields are walked in order, so that nearly every edit is the last.
        let last = self.list.last();
        if last.is_none_or(|last| last.range.end <= range.start && last.range.start < range.start) {
            let text = *text;
            self.list.push(Edit { range, text, by });
            return true;
        }
        self.insert_before(range, text, by)
    }

    fn insert_before(&mut self, range: Range<usize>, text: &Text, by: By) -> bool {
        let text = *text;
        let place = self
            .list
            .partition_point(|edit| edit.range.start < range.start);
        let before = place.checked_sub(1).and_then(|index| self.list.get(index));
        let after = self.list.get(place);
        if before.is_some_and(|edit| edit.range.end > range.start)
            || after.is_some_and(|edit| edit.range.start < range.end)
        {
            return false;
        }
        self.list.insert(place, Edit { range, text, by });
        true
    }

    /// By how many bytes a part of the message grows.
    pub fn growth(&self, part: Range<usize>) -> i64 {
        let later = self.list.iter().rev();
        let from_there = later.take_while(|edit| edit.range.start >= part.start);
        from_there
            .filter(|edit| edit.range.start < part.end)
            .map(|edit| i64::from(edit.text.length) - edit.range.len() as i64)
            .sum()
    }

    /// The replacements, in the order of their places.
    pub fn list(&self) -> &[Edit] {
        &self.list
    }

    /// Appends the message with its replacements to `out`.
    pub fn apply(&self, message: &[u8], out: &mut Vec<u8>) {
        let mut at = 0;
        for edit in &self.list {
            append(message, at..edit.range.start, out);
            edit.text.append_to(out);
            at = edit.range.end;
        }
        append(message, at..message.len(), out);
    }
}

/// Appends a part of the message. A short one is copied with what follows it, which is a copy of known
/// length, and what is too much is taken away again.
#[inline(always)] // nearly always it is a copy of known length
fn append(message: &[u8], part: Range<usize>, out: &mut Vec<u8>) {
    let chunk = message.get(part.start..).and_then(<[u8]>::first_chunk);
    match chunk {
        Some(chunk) if part.len() <= SHORT => {
            let end = out.len() + part.len();
            out.extend_from_slice(chunk as &[u8; SHORT]);
            out.truncate(end);
        }
        _ => out.extend_from_slice(message.get(part).unwrap_or_default()),
    }
}

/// How long a part may be to be copied so: what is between two addresses nearly always is no longer.
const SHORT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_apply_in_the_order_of_their_places() {
        let mut edits = Edits::default();
        let message = b"one two three";
        assert!(edits.replace(message, 8..13, Text::number(3), By::Length));
        assert!(edits.replace(
            message,
            0..3,
            Text::endpoint(SocketAddrV4::new([1, 20, 255, 0].into(), 65535)),
            By::Length
        ));
        assert!(
            !edits.replace(message, 2..5, Text::number(1), By::Length),
            "overlap"
        );
        assert!(
            !edits.replace(message, 9..13, Text::number(1), By::Length),
            "overlap"
        );
        let mut out = Vec::new();
        edits.apply(message, &mut out);
        assert_eq!(out, b"1.20.255.0:65535 two 3");
        assert_eq!(edits.growth(0..13), out.len() as i64 - message.len() as i64);
        assert_eq!(edits.growth(4..13), -4);
    }

    #[test]
    fn every_number_is_written_with_its_digits() {
        for number in (0..=u64::from(u16::MAX) + 100).chain([10_000_000, u64::MAX]) {
            let text = number.to_string();
            assert_eq!(Text::number(number).as_bytes(), text.as_bytes());
            if let Ok(port) = u16::try_from(number) {
                assert_eq!(digits_of_port(port), text.len());
            }
        }
        for octet in 0..=255u8 {
            let end = SocketAddrV4::new([octet, 0, octet, 255].into(), 9 * u16::from(octet));
            assert_eq!(Text::endpoint(end).as_bytes(), end.to_string().as_bytes());
            assert_eq!(digits_of_octet(octet), octet.to_string().len());
        }
    }

    #[test]
    fn edits_may_touch_but_not_overlap() {
        let message = b"abcdefgh";
        let mut edits = Edits::default();
        for (range, fits) in [
            (4..6, true),
            (3..5, false),
            (5..7, false),
            (4..5, false),
            (2..4, true),
            (6..8, true),
            (4..4, true),
        ] {
            let text = Text::number(range.end as u64);
            assert_eq!(
                edits.replace(message, range.clone(), text, By::Length),
                fits,
                "{range:?}"
            );
        }
        let mut out = Vec::new();
        edits.apply(message, &mut out);
        assert_eq!(out, b"ab4468");
    }
}
