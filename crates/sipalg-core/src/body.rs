//! Which parts of a body are looked into: session descriptions and SIP fragments, alone or in a
//! multipart. Everything else is opaque.
//!
//! Knows nothing of NAT. All ranges are byte offsets from the start of the message.

use crate::sip::{Index, Name, uri};
use alloc::vec::Vec;
use core::ops::Range;

/// A part that is looked into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// `application/sdp` (RFC 8866).
    Session(Range<usize>),
    /// `message/sipfrag` (RFC 3420).
    Fragment(Range<usize>),
}

/// What was found in a body.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Parts {
    /// The parts, in order.
    pub list: Vec<Part>,
    /// The Content-Length of each part of a multipart that has one: the place of its value, and the
    /// bytes that it counts.
    pub lengths: Vec<(Range<usize>, Range<usize>)>,
    /// Whether something was left alone because it is encoded or signed.
    pub opaque: bool,
}

/// How deep multiparts may lie in each other, and how many parts one may have.
const DEEPEST: usize = 4;
const MOST_PARTS: usize = 32;

impl Parts {
    /// Looks at the body of a message whose header section has the length `header`.
    pub fn find(&mut self, message: &[u8], index: &Index, header: usize) {
        self.list.clear();
        self.lengths.clear();
        self.opaque = false;
        if header < message.len() {
            self.part(message, index, header..message.len(), 0);
        }
    }

    /// Whether the body is a session description and nothing else, by what the header section says.
    pub fn is_description(&self, message: &[u8], header: usize) -> bool {
        matches!(self.list.as_slice(), [Part::Session(span)] if *span == (header..message.len()))
    }

    /// It is one.
    pub fn set_description(&mut self, message: &[u8], header: usize) {
        self.list.clear();
        self.lengths.clear();
        self.opaque = false;
        self.list.push(Part::Session(header..message.len()));
    }

    /// Whether there is a session description.
    pub fn describe(&self) -> bool {
        self.list
            .iter()
            .any(|part| matches!(part, Part::Session(_)))
    }

    fn part(&mut self, message: &[u8], index: &Index, body: Range<usize>, depth: usize) {
        let first = |name| index.first(message, name);
        let Some(whole_type) = first(Name::ContentType) else {
            return;
        };
        let plain = index.field(Name::ContentEncoding).is_none()
            && index.field(Name::ContentTransferEncoding).is_none();
        if plain && whole_type == b"application/sdp" {
            return self.list.push(Part::Session(body));
        }
        let encoded = first(Name::ContentEncoding)
            .is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity"))
            || first(Name::ContentTransferEncoding).is_some_and(|encoding| {
                encoding.eq_ignore_ascii_case(b"base64")
                    || encoding.eq_ignore_ascii_case(b"quoted-printable")
            });
        let kind = whole_type.split(|byte| *byte == b';').next();
        let kind = kind.unwrap_or_default().trim_ascii();
        let is = |name: &str| kind.eq_ignore_ascii_case(name.as_bytes());
        // What is signed or encrypted is broken by any change: RFC 3261 section 23.
        if encoded || is("multipart/signed") || is("multipart/encrypted") {
            self.opaque = true;
        } else if is("application/sdp") {
            self.list.push(Part::Session(body));
        } else if is("message/sipfrag") {
            self.list.push(Part::Fragment(body));
        } else if kind
            .get(..10)
            .is_some_and(|head| head.eq_ignore_ascii_case(b"multipart/"))
            && let Some(boundary) = boundary(whole_type)
            && depth < DEEPEST
        {
            self.multipart(message, boundary, body, depth);
        }
    }

    /// RFC 2046 section 5.1.1: parts begin behind a line `--boundary`; the line end before the next
    /// such line belongs to it.
    fn multipart(&mut self, message: &[u8], boundary: &[u8], body: Range<usize>, depth: usize) {
        let mut part_start = None;
        let mut parts = 0;
        let mut at = body.start;
        while at < body.end {
            let line = line_at(message, at, body.end);
            let text = message.get(line.clone()).unwrap_or_default();
            if is_delimiter(text, boundary) {
                if let Some(start) = part_start {
                    let end = before_line_end(message, start, at);
                    self.entity(message, start..end, depth + 1);
                    parts += 1;
                }
                let last = text
                    .get(2 + boundary.len()..)
                    .unwrap_or_default()
                    .starts_with(b"--");
                if last || parts >= MOST_PARTS {
                    return;
                }
                part_start = Some(line.end);
            }
            at = line.end;
        }
        // Cut off before its last boundary: what is there is read all the same.
        if let Some(start) = part_start {
            self.entity(message, start..body.end, depth + 1);
        }
    }

    /// One part: header fields, an empty line, content.
    fn entity(&mut self, message: &[u8], entity: Range<usize>, depth: usize) {
        let mut index = Index::default();
        let mut at = entity.start;
        while at < entity.end {
            let line = line_at(message, at, entity.end);
            let text = message.get(line.clone()).unwrap_or_default();
            at = line.end;
            let length = text.trim_ascii_end().len();
            if length == 0 {
                break;
            }
            index.add_line(message, line.start..line.start + length);
        }
        let content = at..entity.end;
        if let Some(field) = index.all(Name::ContentLength).next() {
            let place = uri::trim(message, field.value.clone());
            self.lengths.push((place, content.clone()));
        }
        self.part(message, &index, content, depth);
    }
}

/// The lines of a SIP fragment: its place in the message, without line ends; up to the empty line.
pub fn fragment_lines(
    message: &[u8],
    fragment: Range<usize>,
) -> impl Iterator<Item = Range<usize>> {
    let mut at = fragment.start;
    core::iter::from_fn(move || {
        if at >= fragment.end {
            return None;
        }
        let line = line_at(message, at, fragment.end);
        at = line.end;
        let text = message.get(line.clone())?.trim_ascii_end();
        (!text.is_empty()).then(|| line.start..line.start + text.len())
    })
}

/// The line that begins at `start`, with its line end.
fn line_at(message: &[u8], start: usize, end: usize) -> Range<usize> {
    let rest = message.get(start..end).unwrap_or_default();
    start..memchr::memchr(b'\n', rest).map_or(end, |feed| start + feed + 1)
}

fn is_delimiter(line: &[u8], boundary: &[u8]) -> bool {
    let rest = line
        .strip_prefix(b"--")
        .and_then(|rest| rest.strip_prefix(boundary));
    let rest = rest.map(|rest| rest.strip_prefix(b"--").unwrap_or(rest));
    rest.is_some_and(|rest| rest.trim_ascii().is_empty())
}

fn before_line_end(message: &[u8], start: usize, end: usize) -> usize {
    let text = message.get(start..end).unwrap_or_default();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    start + text.strip_suffix(b"\r").unwrap_or(text).len()
}

fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let mut parameters = uri::parameters(content_type, 0..content_type.len());
    let found = parameters.find(|parameter| parameter.is(content_type, b"boundary"))?;
    let text = content_type.get(found.value)?;
    let text = text
        .strip_prefix(b"\"")
        .and_then(|text| text.strip_suffix(b"\""))
        .unwrap_or(text);
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a body of that type, as text.
    fn parts(content_type: &str, body: &str) -> Vec<String> {
        let head = format!("Content-Type: {content_type}\r\n\r\n");
        let message = format!("{head}{body}");
        let mut index = Index::default();
        index.add_line(message.as_bytes(), 0..head.len() - 4);
        let mut parts = Parts::default();
        parts.find(message.as_bytes(), &index, head.len());
        let text = |range: &Range<usize>| message[range.clone()].to_string();
        let list = parts.list.iter().map(|part| match part {
            Part::Session(range) => format!("sdp {}", text(range)),
            Part::Fragment(range) => format!("frag {}", text(range)),
        });
        let lengths = parts
            .lengths
            .iter()
            .map(|(place, counted)| format!("{} counts {}", text(place), text(counted)));
        list.chain(lengths).collect()
    }

    #[test]
    fn a_session_description_is_found_alone_and_in_nested_multiparts() {
        assert_eq!(parts("Application/SDP;x=y", "v=0"), ["sdp v=0"]);
        let inner =
            "--in\r\nContent-Type: application/sdp\r\nContent-Length: 3\r\n\r\nv=0\r\n--in--\r\n";
        let outer = format!(
            "preamble\r\n--a b\r\nContent-Type: multipart/alternative;boundary=in\r\n\r\n{inner}\r\n--a b  \r\nc: message/sipfrag\r\n\r\nSIP/2.0 200 OK\r\n--a b--\r\nepilogue"
        );
        assert_eq!(
            parts("multipart/mixed; boundary=\"a b\"", &outer),
            ["sdp v=0", "frag SIP/2.0 200 OK", "3 counts v=0"]
        );
    }

    #[test]
    fn what_is_signed_encoded_or_unknown_is_left_alone() {
        let signed = "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--\r\n";
        assert!(parts("multipart/signed;boundary=b", signed).is_empty());
        let encoded = signed.replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n");
        assert!(parts("multipart/mixed;boundary=b", &encoded).is_empty());
        assert!(parts("text/plain", "v=0").is_empty());
        assert!(parts("multipart/mixed", signed).is_empty());
    }

    #[test]
    fn a_multipart_without_end_is_read_and_one_of_many_layers_ends() {
        let cut_off = "--b\r\nContent-Type: application/sdp\r\n\r\nv=0";
        assert_eq!(parts("multipart/mixed;boundary=b", cut_off), ["sdp v=0"]);
        let mut body = "--b\r\nc: application/sdp\r\n\r\nv=0\r\n--b--".to_string();
        for _ in 0..100 {
            body = format!("--b\r\nc: multipart/mixed;boundary=b\r\n\r\n{body}\r\n--b--");
        }
        assert!(parts("multipart/mixed;boundary=b", &body).is_empty());
    }
}
