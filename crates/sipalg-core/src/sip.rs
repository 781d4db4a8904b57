//! A lossless view of a SIP message: where its lines and fields are, not what they say anew.
//!
//! Knows nothing of NAT. All ranges are byte offsets from the start of the message.

pub mod name;
pub mod uri;

pub use name::Name;

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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Index {
    /// The start line, without its line end.
    pub start_line: Range<usize>,
    /// The recognised fields, in order.
    pub fields: Vec<Field>,
    /// Whether the line before was a recognised field, so that a folded line continues it.
    open: bool,
}

impl Index {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.start_line = 0..0;
        self.fields.clear();
        self.open = false;
    }

    /// How many bytes of memory it has.
    pub fn memory(&self) -> usize {
        self.fields.capacity() * size_of::<Field>()
    }

    /// Takes in the next header line, `line` being its place without its line end.
    pub fn add_line(&mut self, message: &[u8], line: Range<usize>) {
        let text = message.get(line.clone()).unwrap_or_default();
        if matches!(text.first(), Some(b' ' | b'\t')) {
            if let (true, Some(last)) = (self.open, self.fields.last_mut()) {
                last.value.end = line.end;
            }
            return;
        }
        let Some(colon) = memchr::memchr(b':', text) else {
            self.open = false;
            return;
        };
        let name = Name::parse(text.get(..colon).unwrap_or_default().trim_ascii_end());
        self.open = name != Name::Other;
        if self.open {
            self.fields.push(Field {
                name,
                value: line.start + colon + 1..line.end,
            });
        }
    }

    /// The fields of that name, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(move |field| field.name == name)
    }

    /// The value of the first field of that name, trimmed.
    pub fn first<'a>(&self, message: &'a [u8], name: Name) -> Option<&'a [u8]> {
        let field = self.all(name).next()?;
        Some(message.get(field.value.clone())?.trim_ascii())
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

impl<'a> StartLine<'a> {
    /// Reads the start line at `line` of `message`; `None` if it is neither form.
    pub fn parse(message: &'a [u8], line: Range<usize>) -> Option<Self> {
        let text = message.get(line.clone())?.trim_ascii_end();
        let space = text.iter().position(|byte| matches!(byte, b' ' | b'\t'))?;
        let (word, rest) = text.split_at(space);
        if is_version(word) {
            let digits = rest.trim_ascii_start();
            let end = digits
                .iter()
                .position(|byte| !byte.is_ascii_digit())
                .unwrap_or(digits.len());
            let status = parse_decimal(digits.get(..end)?)?;
            return Some(StartLine::Response {
                status: u16::try_from(status).ok()?,
            });
        }
        let last = rest.iter().rposition(|byte| matches!(byte, b' ' | b'\t'))?;
        if !is_version(rest.get(last + 1..)?) {
            return None;
        }
        let uri = rest.get(..last)?;
        let leading = uri.len() - uri.trim_ascii_start().len();
        let start = line.start + space + leading;
        Some(StartLine::Request {
            method: word,
            uri: start..start + uri.trim_ascii().len(),
        })
    }
}

/// `SIP/` and something: the version is not judged here.
fn is_version(word: &[u8]) -> bool {
    word.get(..4)
        .is_some_and(|head| head.eq_ignore_ascii_case(b"SIP/"))
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
