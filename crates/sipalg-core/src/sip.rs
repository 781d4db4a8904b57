//! A lossless view of a SIP message: where its lines and fields are, not what they say anew.
//!
//! Knows nothing of NAT. All ranges are byte offsets from the start of the message.

pub mod method;
pub mod name;
pub mod uri;

pub use method::Method;
pub use name::Name;

use crate::bytes;
use alloc::vec::Vec;
use core::ops::Range;

/// A header field that was recognised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Which field.
    pub name: Name,
    /// Its value with folded lines (RFC 3261 section 7.3.1), without the final line end.
    pub value: Range<usize>,
}

/// Where the parts of a header section are; filled line by line as they arrive.
#[derive(Clone, Debug)]
pub struct Index {
    /// The start line, without its line end.
    pub start_line: Range<usize>,
    /// What it says, if it is of either form.
    pub start: Option<Start>,
    /// The recognised fields, in order.
    pub fields: Vec<Field>,
    /// The names that there are fields of, and those of more than one.
    present: u64,
    repeated: u64,
    /// Of each of them, the place of its first field.
    firsts: [usize; Name::COUNT],
    /// Whether the line before was a recognised field, so that a folded line continues it.
    open: bool,
}

impl Default for Index {
    fn default() -> Self {
        Index {
            start_line: 0..0,
            start: None,
            fields: Vec::new(),
            present: 0,
            repeated: 0,
            firsts: [0; Name::COUNT],
            open: false,
        }
    }
}

impl Index {
    /// Begins that of another message, whose start line is known, in the same memory.
    pub fn begin(&mut self, start_line: Range<usize>, start: Start) {
        self.start_line = start_line;
        self.start = Some(start);
        self.fields.clear();
        self.present = 0;
        self.repeated = 0;
        self.open = false;
    }

    /// Becomes a copy of another, in the same memory.
    pub fn copy(&mut self, other: &Index) {
        let fields = core::mem::take(&mut self.fields);
        *self = Index {
            fields,
            start_line: other.start_line.clone(),
            start: other.start.clone(),
            ..*other
        };
        self.fields.clone_from(&other.fields);
    }

    /// How many bytes of memory it has.
    pub fn memory(&self) -> usize {
        self.fields.capacity() * size_of::<Field>()
    }

    /// Takes in the next header line, `line` being its place without its line end.
    #[inline(always)] // most of what framing costs
    pub fn add_line(&mut self, message: &[u8], line: Range<usize>) {
        match Name::of_line(message, line.clone()) {
            None => self.other_line(message, line),
            Some((name, colon)) => {
                let place = self.fields.len();
                if self.present & name.bit() != 0 {
                    self.repeated |= name.bit();
                } else if let Some(first) = self.firsts.get_mut(name as usize) {
                    *first = place;
                    self.present |= name.bit();
                }
                let value = colon + 1..line.end;
                self.fields.push(Field { name, value });
                self.open = true;
            }
        }
    }

    /// A line that begins no recognised field may continue one.
    fn other_line(&mut self, message: &[u8], line: Range<usize>) {
        if matches!(message.get(line.clone()), Some([b' ' | b'\t', ..])) {
            if let (true, Some(last)) = (self.open, self.fields.last_mut()) {
                last.value.end = line.end;
            }
        } else {
            self.open = false;
        }
    }

    /// The fields of that name, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &Field> {
        let fields = self.place_of(name).and_then(|at| self.fields.get(at..));
        let fields = fields.unwrap_or_default().iter();
        fields.filter(move |field| field.name == name)
    }

    /// Whether there is more than one field of that name.
    pub fn is_repeated(&self, name: Name) -> bool {
        self.repeated & name.bit() != 0
    }

    /// The first field of that name.
    pub fn field(&self, name: Name) -> Option<&Field> {
        self.fields.get(self.place_of(name)?)
    }

    /// The value of the first field of that name, trimmed.
    pub fn first<'a>(&self, message: &'a [u8], name: Name) -> Option<&'a [u8]> {
        Some(message.get(self.field(name)?.value.clone())?.trim_ascii())
    }

    fn place_of(&self, name: Name) -> Option<usize> {
        let first = self.firsts.get(name as usize)?;
        (self.present & name.bit() != 0).then_some(*first)
    }
}

/// The start line of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartLine<'a> {
    /// RFC 3261 section 7.1; `uri` is where the Request-URI is.
    Request {
        /// The method.
        method: &'a [u8],
        /// The place of the Request-URI.
        uri: Range<usize>,
    },
    /// RFC 3261 section 7.2.
    Response {
        /// The status code.
        status: u16,
    },
}

/// The same by its places.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// RFC 3261 section 7.1.
    Request {
        /// The place of the method.
        method: Range<usize>,
        /// The place of the Request-URI.
        uri: Range<usize>,
    },
    /// RFC 3261 section 7.2.
    Response {
        /// The status code.
        status: u16,
    },
}

impl Start {
    /// Reads the start line at `line` of `message`; `None` if it is neither form.
    pub fn parse(message: &[u8], line: Range<usize>) -> Option<Self> {
        let line = line.start..uri::trim_end(message, line);
        let space = bytes::find(message, line.clone(), [b' ', b'\t'])?;
        let method = line.start..space;
        if is_version(message.get(method.clone())?) {
            let digits = uri::skip_blanks(message, space..line.end);
            let digits = message.get(digits)?;
            let end = digits.iter().position(|byte| !byte.is_ascii_digit());
            let status = parse_decimal(digits.get(..end.unwrap_or(digits.len()))?)?;
            let status = u16::try_from(status).ok()?;
            return Some(Start::Response { status });
        }
        let rest = message.get(space..line.end)?;
        let last = match rest {
            [before @ .., b' ', b'S', b'I', b'P', b'/', b'2', b'.', b'0'] => before.len(),
            _ => rest.iter().rposition(|byte| matches!(byte, b' ' | b'\t'))?,
        };
        is_version(rest.get(last + 1..)?).then(|| Start::Request {
            method,
            uri: uri::trim(message, space..space + last),
        })
    }
}

impl<'a> StartLine<'a> {
    /// Reads the start line at `line` of `message`; `None` if it is neither form.
    pub fn parse(message: &'a [u8], line: Range<usize>) -> Option<Self> {
        StartLine::of(message, Start::parse(message, line)?)
    }

    /// The start line of `message` that was read already.
    pub fn of(message: &'a [u8], start: Start) -> Option<Self> {
        Some(match start {
            Start::Request { method, uri } => StartLine::Request {
                method: message.get(method)?,
                uri,
            },
            Start::Response { status } => StartLine::Response { status },
        })
    }
}

/// `SIP/` and something: the version is not judged here.
fn is_version(word: &[u8]) -> bool {
    matches!(word, [b'S' | b's', b'I' | b'i', b'P' | b'p', b'/', ..])
}

/// The number and method of a CSeq value (RFC 3261 section 20.16).
pub fn parse_cseq(value: &[u8]) -> Option<(u32, &[u8])> {
    let digits = value
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(value.len());
    let (number, method) = value.split_at(digits);
    Some((
        u32::try_from(parse_decimal(number)?).ok()?,
        method.trim_ascii(),
    ))
}

/// A number of one or more digits and nothing else; `None` also on overflow.
pub fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => u64::from(digit - b'0'),
            _ => return None,
        };
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<StartLine<'_>> {
        StartLine::parse(line.as_bytes(), 0..line.len())
    }

    #[test]
    fn start_lines_are_read_liberally() {
        assert_eq!(
            parse("INVITE sip:a@b SIP/2.0"),
            Some(StartLine::Request {
                method: b"INVITE",
                uri: 7..14
            })
        );
        assert_eq!(
            parse("INVITE  sip:a@b; lws  SIP/2.0 "),
            Some(StartLine::Request {
                method: b"INVITE",
                uri: 8..20
            })
        );
        assert_eq!(
            parse("SIP/2.0 200"),
            Some(StartLine::Response { status: 200 })
        );
        assert_eq!(
            parse("sip/2.0 180 Ringing"),
            Some(StartLine::Response { status: 180 })
        );
        assert_eq!(parse("GET / HTTP/1.1"), None);
        assert_eq!(parse("SIP/2.0 99999999 x"), None);
    }

    #[test]
    fn a_folded_line_belongs_to_the_field_before_it() {
        let message = b"Contact: <sip:a@1.2.3.4>,\r\n <sip:b@1.2.3.4>\r\nX: y\r\n z\r\n";
        let mut index = Index::default();
        let mut start = 0;
        for line in message.split_inclusive(|byte| *byte == b'\n') {
            index.add_line(message, start..start + line.len() - 2);
            start += line.len();
        }
        assert_eq!(index.fields.len(), 1);
        assert_eq!(
            index.first(message, Name::Contact),
            Some(&b"<sip:a@1.2.3.4>,\r\n <sip:b@1.2.3.4>"[..])
        );
    }

    #[test]
    fn numbers_do_not_overflow() {
        assert_eq!(parse_decimal(b"4294967328"), Some(4_294_967_328));
        assert_eq!(parse_decimal(b"99999999999999999999"), None);
        assert_eq!(parse_decimal(b"+5"), None);
        assert_eq!(parse_decimal(b""), None);
    }
}
