//! One message as it is read: its start line, its lines, its length.

use super::Lengths;
use super::start::StartCheck;
use crate::bytes::Block;
use crate::event::Demotion;
use crate::sip::{Index, Name, Start, parse_decimal, uri};
use alloc::vec::Vec;
use core::ops::Range;

/// How far the message at hand has been read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Its bytes, if it did not come whole.
    pub held: Vec<u8>,
    pub index: Index,
    start: StartCheck,
    /// Bytes of the message in which line ends have been looked for; none before the start line is
    /// whole.
    scanned: usize,
    /// Where the line being read began.
    line: usize,
    /// Whether lines end in CRLF, as the first does.
    crlf: bool,
    /// Length of the header section, once whole; else 0.
    pub header: usize,
    /// Length of the message, once known; else 0.
    pub total: usize,
    /// Where Content-Length says so.
    pub length: Range<usize>,
    pub length_missing: bool,
}

/// What the bytes at hand are.
pub(super) enum Step {
    NeedMore,
    KeepAlive(usize),
    Whole,
    Oversize(u64),
    Demote(Demotion),
}

impl Reading {
    /// Forgets how far that was, and keeps the memory.
    pub fn clear(&mut self) {
        self.start = StartCheck::default();
        self.scanned = 0;
        self.line = 0;
        self.header = 0;
        self.total = 0;
        self.length = 0..0;
        self.length_missing = false;
    }

    /// Whether not even the start line is known.
    pub fn is_at_start(&self) -> bool {
        self.line == 0
    }

    /// How many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        size_of::<Reading>() + self.held.capacity() + self.index.memory()
    }

    /// Reads on in `message`, the bytes at hand from the start of the message.
    #[inline(always)] // in one place
    pub fn advance(&mut self, message: &[u8], limits: Lengths) -> Step {
        if let (0, [b'\r' | b'\n', ..]) = (self.line, message) {
            match message {
                [b'\n', ..] => return Step::KeepAlive(1),
                [b'\r', b'\n', ..] => return Step::KeepAlive(2),
                [b'\r'] => return Step::NeedMore,
                _ => {}
            }
        }
        if self.header == 0 {
            match self.header_section(message, limits) {
                Ok(true) => {}
                Ok(false) => return Step::NeedMore,
                Err(reason) => return Step::Demote(reason),
            }
            let body = match self.content_length(message) {
                Ok(body) => body,
                Err(reason) => return Step::Demote(reason),
            };
            let total = self.header as u64 + body;
            if body > limits.body as u64 {
                return Step::Oversize(total);
            }
            self.total = usize::try_from(total).unwrap_or(usize::MAX);
        }
        if message.len() >= self.total {
            Step::Whole
        } else {
            Step::NeedMore
        }
    }

    /// Indexes line after line; true once the empty line was found.
    #[inline(never)] // its loops need all registers
    pub fn header_section(&mut self, message: &[u8], limits: Lengths) -> Result<bool, Demotion> {
        // Nothing is looked at beyond the limit: that it is passed is known at the same byte, however
        // the stream was cut.
        let judged = message.get(..limits.header).unwrap_or(message);
        let whole = match (self.line > 0 || self.start_line(judged)?, self.crlf) {
            (false, _) => false,
            (true, true) => self.lines::<true>(judged)?,
            (true, false) => self.lines::<false>(judged)?,
        };
        if whole {
            return Ok(true);
        }
        if judged.len() < message.len() {
            return Err(Demotion::HeaderTooLong);
        }
        Ok(false)
    }

    /// Whether the start line is whole.
    #[inline(always)] // in one place
    fn start_line(&mut self, message: &[u8]) -> Result<bool, Demotion> {
        let Some(length) = self.start.check(message)? else {
            return Ok(false);
        };
        self.crlf = ends_in_crlf(message, length - 1);
        let line = 0..length - 1 - usize::from(self.crlf);
        match self.start.usual_request(message, length) {
            Some(start) => self.index.begin(line, start),
            None => {
                let start = Start::parse(message, 0..length);
                self.index.begin(line, start.ok_or(Demotion::NotSip)?);
            }
        }
        (self.line, self.scanned) = (length, length);
        Ok(true)
    }

    /// Indexes the lines behind it, all of which must end in CRLF, or none; whether they are whole.
    #[inline(always)] // in one place for each
    fn lines<const CRLF: bool>(&mut self, message: &[u8]) -> Result<bool, Demotion> {
        let (mut start, mut block) = (self.line, self.scanned);
        while block < message.len() {
            let mut feeds = Block::places(message, block, b'\n');
            while feeds != 0 {
                let feed = block + feeds.trailing_zeros() as usize;
                feeds &= feeds - 1;
                if ends_in_crlf(message, feed) != CRLF {
                    return Err(Demotion::MixedLineEnds);
                }
                let line = start..feed - usize::from(CRLF);
                start = feed + 1;
                if line.is_empty() {
                    self.header = start;
                    return Ok(true);
                }
                self.index.add_line(message, line);
            }
            block += Block::SIZE;
        }
        (self.line, self.scanned) = (start, message.len());
        Ok(false)
    }

    /// The body's length by Content-Length (RFC 3261 sections 18.3 and 20.14). More than one, even
    /// if equal, and anything but digits is doubt: another parser may frame differently.
    pub fn content_length(&mut self, message: &[u8]) -> Result<u64, Demotion> {
        let Some(field) = self.index.field(Name::ContentLength) else {
            self.length_missing = true;
            return Ok(0);
        };
        if self.index.is_repeated(Name::ContentLength) {
            return Err(Demotion::DuplicateLength);
        }
        // Nearly always there is one blank before the digits, and nothing behind them.
        let usual = match message.get(field.value.clone()) {
            Some([b' ', digits @ ..]) => parse_decimal(digits),
            _ => None,
        };
        self.length = match usual {
            Some(_) => field.value.start + 1..field.value.end,
            None => uri::trim(message, field.value.clone()),
        };
        let trimmed = || parse_decimal(message.get(self.length.clone())?);
        usual
            .or_else(trimmed)
            .filter(|length| *length <= u64::from(u32::MAX))
            .ok_or(Demotion::BadLength)
    }
}

/// Whether there is a carriage return before that line feed.
#[inline(always)]
fn ends_in_crlf(message: &[u8], feed: usize) -> bool {
    message.get(feed.wrapping_sub(1)) == Some(&b'\r')
}
