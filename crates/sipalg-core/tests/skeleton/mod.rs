//! What of a message must be the same before and after, told without the parsers of the crate: all
//! but IPv4 literals with their ports, and the few numbers that go with them.
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses its own part; helpers of tests may unwrap

use sipalg_core::addr::Ipv4Addr;
use std::ops::Range;

/// Whether two texts differ only in IPv4 literals with their ports and in the numbers of
/// Content-Length, `m=`, `a=rtcp:` and `rport=`; the error is the first line that does otherwise.
pub fn same(before: &[u8], after: &[u8]) -> Result<(), String> {
    let lines = |text: &[u8]| -> Vec<Vec<u8>> {
        text.split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect()
    };
    let (old, new) = (lines(before), lines(after));
    for (old, new) in old.iter().zip(&new) {
        if old != new && skeleton(old) != skeleton(new) {
            return Err(format!("{} => {}", old.escape_ascii(), new.escape_ascii()));
        }
    }
    if old.len() != new.len() {
        return Err(format!("{} lines => {}", old.len(), new.len()));
    }
    Ok(())
}

/// A literal that differs, in the field that it stands in.
#[derive(Debug)]
pub struct Change {
    /// The field or line with those that continue it, before.
    pub field: Vec<u8>,
    /// Where the literal is there, with its port.
    pub place: Range<usize>,
    pub old: Ipv4Addr,
    pub new: Ipv4Addr,
}

impl Change {
    /// Whether a host stands there by the grammars of RFC 3261 section 25.1 and RFC 8866 section 9, told
    /// by what is written around it.
    pub fn is_of_a_host(&self) -> bool {
        let before = String::from_utf8_lossy(&self.field[..self.place.start]).to_ascii_lowercase();
        let after = String::from_utf8_lossy(&self.field[self.place.end..]).into_owned();
        let (before, after) = (unfolded(&before), after.as_str());
        let ends = |with: &[char]| after.is_empty() || after.starts_with(with);
        if ["o=", "c=", "a=rtcp:"]
            .iter()
            .any(|name| before.starts_with(name))
        {
            return before.ends_with("in ip4 ") && ends(&[' ', '\r', '\n', '/']);
        }
        if before.starts_with("a=") {
            let names = [
                "a=candidate:",
                "a=remote-candidates:",
                "a=path:msrp",
                "a=altc:",
            ];
            return names.iter().any(|name| before.starts_with(name))
                && ends(&[' ', '\r', '\n', '/']);
        }
        let (name, value) = before.split_once(':').unwrap_or_default();
        let request_line = name.trim().contains(' ');
        let (name, value) = if request_line {
            ("", &*before)
        } else {
            (name, value)
        };
        let blank = &[' ', '\t', '\r', '\n'];
        match name.trim() {
            "via" | "v" => {
                let value = value.rsplit(',').next().unwrap_or_default();
                // The protocol's parts are not judged.
                let slashes = value.matches('/').count();
                let sent_by = slashes >= 2 && value.ends_with(' ') && !value.contains(';');
                let named = ["received=", "maddr="]
                    .iter()
                    .any(|name| value.ends_with(name));
                (sent_by || named) && (ends(&[';', ',']) || ends(blank))
            }
            "warning" => value.ends_with(' ') && ends(blank),
            _ => {
                let start = value.rfind("sip:").max(value.rfind("sips:"));
                let uri = start.map(|start| &value[start..]).unwrap_or_default();
                let user = uri.split_once(':').map_or("?", |(_, user)| user);
                (user.is_empty() || user.ends_with('@'))
                    && (ends(&['>', ';', '?', ',']) || ends(blank))
            }
        }
    }
}

/// With a blank for all white space in a row.
fn unfolded(text: &str) -> String {
    let mut one = String::new();
    for character in text.chars() {
        match character {
            ' ' | '\t' | '\r' | '\n' if one.ends_with(' ') => {}
            ' ' | '\t' | '\r' | '\n' => one.push(' '),
            other => one.push(other),
        }
    }
    one
}

/// The literals whose text differs, of texts that are [`same`] otherwise.
pub fn changes(before: &[u8], after: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    for (field, now) in fields(before).into_iter().zip(fields(after)) {
        for ((old, place), (new, other)) in literals(&field).into_iter().zip(literals(&now)) {
            if field[place.clone()] != now[other] {
                let field = field.clone();
                changes.push(Change {
                    field,
                    place,
                    old,
                    new,
                });
            }
        }
    }
    changes
}

/// The lines of a text, those that begin with white space with the one above.
fn fields(text: &[u8]) -> Vec<Vec<u8>> {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match fields.last_mut() {
            Some(field) if line.starts_with(b" ") || line.starts_with(b"\t") => field.extend(line),
            _ => fields.push(line.to_vec()),
        }
    }
    fields
}

fn literals(line: &[u8]) -> Vec<(Ipv4Addr, Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(byte) = line.get(at) {
        let begins = byte.is_ascii_digit() && begins_a_word(line, at);
        let literal = begins.then(|| literal(&line[at..])).flatten();
        let length = literal.map_or(1, |(_, length)| length);
        found.extend(literal.map(|(address, length)| (address, at..at + length)));
        at += length;
    }
    found
}

/// A line with `A` for each address and port, and `N` for each number that may follow it.
fn skeleton(line: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut at = 0;
    while let Some(byte) = line.get(at) {
        let begins = byte.is_ascii_digit() && begins_a_word(line, at);
        match begins.then(|| literal(&line[at..])).flatten() {
            Some((_, length)) => {
                text.push(b'A');
                at += length;
            }
            None => {
                text.push(*byte);
                at += 1;
            }
        }
    }
    for number in [&b"m="[..], b"a=rtcp:", b"rport=", b"ength", b"l"] {
        text = without_number(&text, number);
    }
    text
}

/// The text with the first number behind `mark` replaced, if only a word and blanks lie between.
fn without_number(text: &[u8], mark: &[u8]) -> Vec<u8> {
    let lower = text.to_ascii_lowercase();
    let at_start = mark != b"rport=" && mark != b"ength";
    let found = if at_start {
        lower.starts_with(mark).then_some(0)
    } else {
        lower.windows(mark.len()).position(|window| window == mark)
    };
    let Some(start) = found.map(|at| at + mark.len()) else {
        return text.to_vec();
    };
    let Some(digit) = text[start..].iter().position(u8::is_ascii_digit) else {
        return text.to_vec();
    };
    let digits = text[start + digit..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let end = start + digit + digits.count();
    [&text[..start + digit], b"N", &text[end..]].concat()
}

/// An IPv4 literal at the start of a text, with `:port` if that follows, and its length.
fn literal(text: &[u8]) -> Option<(Ipv4Addr, usize)> {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit() && *byte != b'.')
        .unwrap_or(text.len());
    let word = std::str::from_utf8(&text[..end]).ok()?;
    let octets: Vec<u8> = word
        .split('.')
        .map(|octet| octet.parse().ok())
        .collect::<Option<_>>()?;
    let octets: [u8; 4] = octets.try_into().ok()?;
    let blank = |at: usize| {
        text[at..]
            .iter()
            .take_while(|b| b" \t\r\n".contains(b))
            .count()
    };
    let colon = end + blank(end);
    let mut length = end;
    if text.get(colon) == Some(&b':') {
        let digits = colon + 1 + blank(colon + 1);
        let count = text[digits..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
        if count > 0 && !text.get(digits + count).is_some_and(word) {
            length = digits + count;
        }
    }
    Some((Ipv4Addr::from(octets), length))
}

/// The IPv4 literals of a text, in order.
pub fn addresses(text: &[u8]) -> impl DoubleEndedIterator<Item = Ipv4Addr> {
    (0..text.len())
        .filter(|at| text[*at].is_ascii_digit() && begins_a_word(text, *at))
        .filter_map(|at| literal(&text[at..]))
        .map(|(address, _)| address)
}

fn begins_a_word(text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| text[before]);
    before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'.')
}
