//! "Untouched bytes identical": what may differ between a message before and after, and nothing else.
//!
//! Compares byte by byte and knows nothing of SIP fields: only IPv4 literals, the numbers that go
//! with them, and lengths.

use sipalg_core::addr::Ipv4Addr;
use sipalg_core::sip::uri::{HostPort, host_port, ipv4};

/// What a literal may have become.
pub struct Exchange<'a> {
    /// Whether a literal with this address may change at all.
    pub from: &'a dyn Fn(Ipv4Addr) -> bool,
    /// Whether it may have become this one.
    pub to: &'a dyn Fn(Ipv4Addr) -> bool,
}

/// Whether `after` is `before` with nothing exchanged but such literals and the numbers that follow
/// them; `None` if so, else where in `before` it is not.
pub fn differs(before: &[u8], after: &[u8], exchange: &Exchange<'_>) -> Option<usize> {
    let (mut i, mut o) = (0, 0);
    while i < before.len() {
        let fresh = i == 0 || !is_word(before[i - 1]);
        if fresh && before[i].is_ascii_digit() {
            if let Some(((i2, o2), true)) = literal(before, i, after, o, exchange) {
                (i, o) = (i2, o2);
                continue;
            }
            if may_count(before, i) {
                let (old, new) = (digits(before, i), digits(after, o));
                if old > 0 && new > 0 {
                    (i, o) = (i + old, o + new);
                    continue;
                }
            }
        }
        if before.get(i) != after.get(o) {
            return Some(i);
        }
        (i, o) = (i + 1, o + 1);
    }
    (o != after.len()).then_some(i)
}

/// Steps over a literal and what it became; false if it may not have changed to that.
fn literal(
    before: &[u8],
    i: usize,
    after: &[u8],
    o: usize,
    exchange: &Exchange<'_>,
) -> Option<((usize, usize), bool)> {
    let (old, length) = ipv4(&before[i..])?;
    let (new, new_length) = ipv4(after.get(o..)?)?;
    let allowed = (exchange.from)(old) && ((exchange.to)(new) || new == old);
    let port = |bytes: &[u8], at: usize, length: usize| match host_port(bytes, at..bytes.len()) {
        Some(HostPort { span, .. }) => span.end,
        None => at + length,
    };
    Some((
        (port(before, i, length), port(after, o, new_length)),
        allowed,
    ))
}

/// Whether the number at `i` goes with an address or counts bytes: in a line of a session description
/// that holds ports, in `rport`, or in a Content-Length.
fn may_count(text: &[u8], i: usize) -> bool {
    let start = text[..i]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |feed| feed + 1);
    let line = text[start..i].to_ascii_lowercase();
    let folded = line
        .first()
        .is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    let named = |name: &[u8]| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.trim_ascii_start().starts_with(b":"))
    };
    let ports: [&[u8]; 4] = [b"m=", b"a=rtcp:", b"a=candidate:", b"a=remote-candidates:"];
    ports.iter().any(|name| line.starts_with(name))
        || line.trim_ascii_end().ends_with(b"=") && contains(&line, b"rport")
        || named(b"content-length")
        || named(b"l")
        || folded && continues_a_length(text, start)
}

fn continues_a_length(text: &[u8], start: usize) -> bool {
    let field = text[..start]
        .split(|byte| *byte == b'\n')
        .rev()
        .skip(1)
        .find(|line| !matches!(line.first(), Some(b' ' | b'\t')));
    let field = field.unwrap_or_default().to_ascii_lowercase();
    field.starts_with(b"content-length") || field.starts_with(b"l:") || field.starts_with(b"l ")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_digit()
}

fn digits(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(before: &str, after: &str) -> bool {
        let exchange = Exchange {
            from: &|address| address.octets()[0] == 192,
            to: &|address| address.octets()[0] == 10,
        };
        differs(before.as_bytes(), after.as_bytes(), &exchange).is_none()
    }

    #[test]
    fn only_literals_ports_and_lengths_may_differ() {
        assert!(same("a@192.168.1.2 : 5 x", "a@10.1.1.1:77 x"));
        assert!(same(
            "Content-Length: 9\r\nm=audio 6 RTP",
            "Content-Length: 10\r\nm=audio 8 RTP"
        ));
        for (before, after) in [
            ("a@192.168.1.2", "b@10.1.1.1"),
            ("a@192.168.1.2", "a@8.1.1.1"),
            ("a@8.8.8.8", "a@10.1.1.1"),
            ("CSeq: 1", "CSeq: 2"),
            ("a@192.168.1.2", "a@10.1.1.1 "),
            ("a@192.168.1.2 ", "a@10.1.1.1"),
        ] {
            assert!(!same(before, after), "{before} {after}");
        }
    }
}
