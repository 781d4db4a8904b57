//! What of a message must be the same before and after, told without the parsers of the crate: all
//! but IPv4 literals with their ports, and the few numbers that go with them.
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses its own part; helpers of tests may unwrap

use sipalg_core::addr::Ipv4Addr;

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
        if count > 0 {
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
