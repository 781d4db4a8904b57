//! Finds the places of addresses in field values: URIs, lists of name-addr, Via.
//!
//! Everything is a range into the message; nothing is decoded or printed anew.

pub mod usual;

use super::parse_decimal;
use crate::addr::Ipv4Addr;
use crate::bytes;
use core::ops::Range;

/// An IPv4 literal with the port behind it, if there is one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// The bytes of host and port together.
    pub span: Range<usize>,
    /// The bytes of the host alone.
    pub host_span: Range<usize>,
    /// The address.
    pub address: Ipv4Addr,
    /// The port, if it is written.
    pub port: Option<u16>,
}

/// Reads `host[:port]` at the start of `span`. `None` for names, IPv6 and anything that is not
/// exactly an IPv4 literal there.
pub fn host_port(message: &[u8], span: Range<usize>) -> Option<HostPort> {
    let text = message.get(span.clone())?;
    let (address, length) = ipv4(text)?;
    let rest = text.get(length..)?;
    let (port, port_length) = port(rest)?;
    Some(HostPort {
        span: span.start..span.start + length + port_length,
        host_span: span.start..span.start + length,
        address,
        port,
    })
}

/// An IPv4 literal at the start of `text`, and its length. A longer word (`1.2.3.4.example`) is a
/// name, not a literal.
pub fn ipv4(text: &[u8]) -> Option<(Ipv4Addr, usize)> {
    // The longest literal and the byte behind it.
    let block = bytes::block(text);
    let byte = |at: usize| block[at % block.len()];
    let digit =
        |at: usize| Some(u32::from(byte(at).wrapping_sub(b'0'))).filter(|digit| *digit < 10);
    let (mut address, mut at) = (0, 0);
    for index in 0..4 {
        if index > 0 {
            if byte(at) != b'.' {
                return None;
            }
            at += 1;
        }
        let mut octet = digit(at)?;
        at += 1;
        for _ in 0..2 {
            let Some(next) = digit(at) else {
                break;
            };
            octet = octet * 10 + next;
            at += 1;
        }
        if octet > 255 {
            return None;
        }
        address = address << 8 | octet;
    }
    (!is_of_a_word(byte(at))).then_some((Ipv4Addr::from(address), at))
}

/// Whether a number that this byte follows is part of a longer word.
#[inline]
pub(crate) fn is_of_a_word(byte: u8) -> bool {
    OF_A_WORD[usize::from(byte)]
}

const OF_A_WORD: [bool; 256] = {
    let mut of_a_word = [false; 256];
    let mut byte = 0;
    while byte < of_a_word.len() {
        let character = byte as u8;
        of_a_word[byte] =
            character.is_ascii_alphanumeric() || matches!(character, b'.' | b'-' | b'_');
        byte += 1;
    }
    of_a_word
};

/// `[LWS] ":" [LWS] digits` at the start of `text`: the port and how many bytes it takes. No colon
/// is no port; a colon without a valid port, or with a longer word, makes the whole literal doubtful.
#[inline]
fn port(text: &[u8]) -> Option<(Option<u16>, usize)> {
    let blank = blanks(text);
    if text.get(blank) != Some(&b':') {
        return Some((None, 0));
    }
    let start = blank + 1 + blanks(text.get(blank + 1..)?);
    let (mut number, mut end) = (0u32, start);
    for byte in text.get(start..)? {
        match byte {
            b'0'..=b'9' => number = (number * 10 + u32::from(byte - b'0')).min(NO_PORT),
            _ if is_of_a_word(*byte) => return None,
            _ => break,
        }
        end += 1;
    }
    (end > start).then_some((Some(u16::try_from(number).ok()?), end))
}

/// More than any port.
const NO_PORT: u32 = 1 << 16;

/// How many bytes of white space (folds included) `text` begins with.
fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|byte| is_blank(**byte)).count()
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// What a URI or Via says about the transport (RFC 3261 section 19.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// `udp`.
    Udp,
    /// `tcp`.
    Tcp,
    /// `tls`, or a `sips:` URI.
    Tls,
    /// Nothing, or another one.
    Unsaid,
}

impl Transport {
    fn parse(name: &[u8]) -> Transport {
        if name.eq_ignore_ascii_case(b"udp") {
            Transport::Udp
        } else if name.eq_ignore_ascii_case(b"tcp") {
            Transport::Tcp
        } else if name.eq_ignore_ascii_case(b"tls") {
            Transport::Tls
        } else {
            Transport::Unsaid
        }
    }
}

/// A place where SIP is spoken to: an IPv4 literal, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The literal.
    pub host: HostPort,
    /// The transport.
    pub transport: Transport,
}

impl Target {
    /// The port a missing one stands for (RFC 3261 section 19.1.2).
    pub fn default_port(&self) -> u16 {
        if self.transport == Transport::Tls {
            5061
        } else {
            5060
        }
    }
}

/// A place where a host is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spot {
    /// Where the host begins.
    pub start: usize,
    /// Where the URI or the sent-by that it is of ends.
    pub end: usize,
    /// What is said of the transport before it; else a parameter behind it may say it.
    pub transport: Option<Transport>,
}

impl Spot {
    /// That of a `sip:` or `sips:` URI that fills `span`.
    pub fn of_uri(message: &[u8], span: Range<usize>) -> Option<Spot> {
        let text = message.get(span.clone())?;
        let (scheme, transport) = match text.first_chunk()? {
            start if is_sip(start) => (4, None),
            [b's' | b'S', b'i' | b'I', b'p' | b'P', b's' | b'S'] if text.get(4) == Some(&b':') => {
                (5, Some(Transport::Tls))
            }
            _ => return None,
        };
        // RFC 3261 section 25.1: an "@" that is not escaped ends the userinfo, and occurs nowhere else.
        let scheme = span.start + scheme;
        let start = bytes::find(message, scheme..span.end, [b'@']).map_or(scheme, |at| at + 1);
        Some(Spot {
            start,
            end: span.end,
            transport,
        })
    }

    /// What stands there, if it is an IPv4 literal.
    pub fn target(&self, message: &[u8]) -> Option<Target> {
        let host = host_port(message, self.start..self.end)?;
        let transport = self.transport(message, host.span.end);
        Some(Target { host, transport })
    }

    /// The transport that is meant, where the literal ends at `behind`.
    #[inline]
    pub fn transport(&self, message: &[u8], behind: usize) -> Transport {
        match self.transport {
            Some(transport) => transport,
            None if behind == self.end => Transport::Unsaid,
            None => transport_in(message, behind..self.end),
        }
    }
}

/// The transport that a parameter of a URI says.
fn transport_in(message: &[u8], span: Range<usize>) -> Transport {
    let text = message.get(span.clone()).unwrap_or_default();
    // Nearly always it is the only parameter.
    let alone = text.split_first_chunk::<11>();
    let alone = alone.filter(|(name, _)| name.eq_ignore_ascii_case(b";transport="));
    match alone.map_or(Transport::Unsaid, |(_, value)| Transport::parse(value)) {
        Transport::Unsaid => transport_among(message, span),
        said => said,
    }
}

fn transport_among(message: &[u8], span: Range<usize>) -> Transport {
    parameters(message, span)
        .find(|parameter| parameter.is(message, b"transport"))
        .and_then(|parameter| message.get(parameter.value))
        .map_or(Transport::Unsaid, Transport::parse)
}

/// Whether a URI that begins so has the scheme `sip:`.
#[inline]
fn is_sip(start: &[u8; 4]) -> bool {
    u32::from_le_bytes(*start) | LOWER_CASE == u32::from_le_bytes(*b"sip:")
}

/// What letters in lower case have and those in upper case have not.
const LOWER_CASE: u32 = 0x0020_2020;

/// The host of a `sip:` or `sips:` URI that fills `span`, if it is an IPv4 literal.
pub fn uri_host(message: &[u8], span: Range<usize>) -> Option<Target> {
    Spot::of_uri(message, span)?.target(message)
}

/// One value of a list of addresses (RFC 3261 section 20.10: name-addr or addr-spec).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The URI, without its angle brackets.
    pub uri: Range<usize>,
    /// The header parameters behind it, from the first `;`.
    pub parameters: Range<usize>,
}

/// The comma-separated values of a field; commas in quotes and angle brackets do not count.
pub fn values(message: &[u8], span: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut rest = span;
    core::iter::from_fn(move || {
        if rest.start >= rest.end {
            return None;
        }
        let end = find_outside(message, rest.clone(), b',').unwrap_or(rest.end);
        let value = rest.start..end;
        rest.start = end + 1;
        Some(value)
    })
}

/// Reads one value of a list as an address; `None` for `*` and anything without a URI.
pub fn address(message: &[u8], value: Range<usize>) -> Option<Address> {
    let value = trim(message, value);
    if let Some(open) = find_outside_quotes(message, value.clone(), b'<') {
        let close = bytes::find(message, open..value.end, [b'>'])?;
        return Some(Address {
            uri: trim(message, open + 1..close),
            parameters: close + 1..value.end,
        });
    }
    // RFC 3261 section 20: in an addr-spec without brackets, parameters belong to the header.
    let end = bytes::find(message, value.clone(), [b';']).unwrap_or(value.end);
    Some(Address {
        uri: trim(message, value.start..end),
        parameters: end..value.end,
    })
}

/// A parameter `;name[=value]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: Range<usize>,
    /// Its value, empty if it has none.
    pub value: Range<usize>,
}

impl Parameter {
    /// Whether the name is `name`, in any case.
    pub fn is(&self, message: &[u8], name: &[u8]) -> bool {
        message
            .get(self.name.clone())
            .is_some_and(|text| text.eq_ignore_ascii_case(name))
    }

    /// Whether the value is `value`, in any case.
    pub fn value_is(&self, message: &[u8], value: &[u8]) -> bool {
        message
            .get(self.value.clone())
            .is_some_and(|text| text.eq_ignore_ascii_case(value))
    }

    /// The value as a number.
    pub fn number(&self, message: &[u8]) -> Option<u64> {
        parse_decimal(message.get(self.value.clone())?)
    }
}

/// The parameters in `span`; semicolons in quotes do not count, and a `?` ends them (URI headers).
pub fn parameters(message: &[u8], span: Range<usize>) -> impl Iterator<Item = Parameter> {
    let end = find_outside_quotes(message, span.clone(), b'?').unwrap_or(span.end);
    let mut next = find_outside_quotes(message, span.start..end, b';');
    core::iter::from_fn(move || {
        let start = next? + 1;
        next = find_outside_quotes(message, start..end, b';');
        let whole = start..next.unwrap_or(end);
        let equals = bytes::find(message, whole.clone(), [b'=']);
        let (name, value) = match equals {
            Some(at) => (whole.start..at, at + 1..whole.end),
            None => (whole.clone(), whole.end..whole.end),
        };
        Some(Parameter {
            name: trim(message, name),
            value: trim(message, value),
        })
    })
}

/// One Via value (RFC 3261 section 20.42).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Via {
    /// The sent-by, where it is an IPv4 literal.
    pub sent_by: Option<HostPort>,
    /// The transport it was sent by.
    pub transport: Transport,
    /// The parameters, from the first `;`.
    pub parameters: Range<usize>,
}

/// Reads one Via value; `None` if it is not of that form.
pub fn via(message: &[u8], value: Range<usize>) -> Option<Via> {
    let value = trim(message, value);
    let parameters = bytes::find(message, value.clone(), [b';']).unwrap_or(value.end);
    let head = value.start..parameters;
    // The protocol is name "/" version "/" transport, with white space allowed at the slashes.
    let first = bytes::find(message, head.clone(), [b'/'])? + 1;
    let second = bytes::find(message, first..head.end, [b'/'])? + 1;
    let transport = skip_blanks(message, second..head.end);
    let end = find_blank(message, transport.clone())?;
    let sent_by = trim(message, end..head.end);
    let transport = Transport::parse(message.get(transport.start..end)?);
    Some(Via {
        sent_by: host_port(message, sent_by),
        transport,
        parameters: parameters..value.end,
    })
}

/// The range without white space (that of SIP: blanks, tabs and line ends) at both ends.
pub fn trim(message: &[u8], span: Range<usize>) -> Range<usize> {
    let span = skip_blanks(message, span);
    span.start..trim_end(message, span)
}

/// The end of the range without white space behind it.
pub fn trim_end(message: &[u8], span: Range<usize>) -> usize {
    let mut text = message.get(span.clone()).unwrap_or_default();
    while let [rest @ .., last] = text
        && is_blank(*last)
    {
        text = rest;
    }
    span.start + text.len()
}

/// The first white space.
pub fn find_blank(message: &[u8], span: Range<usize>) -> Option<usize> {
    bytes::find(message, span, [b' ', b'\t', b'\r', b'\n'])
}

/// The range without white space before it.
pub fn skip_blanks(message: &[u8], span: Range<usize>) -> Range<usize> {
    let text = message.get(span.clone()).unwrap_or_default();
    span.start + blanks(text)..span.end
}

/// The first `wanted` outside double quotes and angle brackets.
fn find_outside(message: &[u8], span: Range<usize>, wanted: u8) -> Option<usize> {
    let mut at = span.start;
    loop {
        let found = bytes::find(message, at..span.end, [wanted, b'"', b'<'])?;
        at = match message.get(found)? {
            byte if *byte == wanted => return Some(found),
            b'"' => behind_quoted(message, found + 1..span.end)?,
            _ => behind_bracketed(message, found + 1..span.end)?,
        };
    }
}

/// The first `wanted` outside double quotes.
fn find_outside_quotes(message: &[u8], span: Range<usize>, wanted: u8) -> Option<usize> {
    let mut at = span.start;
    loop {
        let found = bytes::find(message, at..span.end, [wanted, b'"'])?;
        if *message.get(found)? == wanted {
            return Some(found);
        }
        at = behind_quoted(message, found + 1..span.end)?;
    }
}

/// What follows the double quote that ends what began before `span`.
fn behind_quoted(message: &[u8], span: Range<usize>) -> Option<usize> {
    let mut at = span.start;
    loop {
        let found = bytes::find(message, at..span.end, [b'"', b'\\'])?;
        match message.get(found)? {
            b'"' => return Some(found + 1),
            _ => at = found + 2,
        }
    }
}

/// What follows the angle bracket that ends what began before `span`; one in double quotes ends
/// nothing.
fn behind_bracketed(message: &[u8], span: Range<usize>) -> Option<usize> {
    find_outside_quotes(message, span, b'>').map(|close| close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Option<(String, Option<u16>)> {
        let found = uri_host(text.as_bytes(), 0..text.len())?;
        Some((found.host.address.to_string(), found.host.port))
    }

    #[test]
    fn a_literal_host_is_found_in_a_uri() {
        let host = |port| Some(("192.168.1.2".to_string(), port));
        assert_eq!(uri("sip:192.168.1.2"), host(None));
        assert_eq!(
            uri("SIP:bob@192.168.1.2:5062;transport=tcp"),
            host(Some(5062))
        );
        assert_eq!(uri("sips:a;b?c@192.168.1.2?x=y"), host(None));
        assert_eq!(uri("sip:bob@192.168.1.2 : 5070"), host(Some(5070)));
    }

    #[test]
    fn a_transport_alone_is_the_one_among_other_parameters() {
        for (text, transport) in [
            (";transport=tcp", Transport::Tcp),
            (";TRANSPORT=Udp", Transport::Udp),
            (";transport=tls", Transport::Tls),
            (";transport=tcp ", Transport::Tcp),
            (";transport=tcp;lr", Transport::Tcp),
            (";lr;transport=udp", Transport::Udp),
            (";transport=sctp", Transport::Unsaid),
            (";transport=?tcp", Transport::Unsaid),
            (";transport=\"tcp", Transport::Unsaid),
            (";transport", Transport::Unsaid),
            ("", Transport::Unsaid),
        ] {
            let whole = || 0..text.len();
            assert_eq!(transport_in(text.as_bytes(), whole()), transport, "{text}");
            assert_eq!(
                transport_among(text.as_bytes(), whole()),
                transport,
                "{text}"
            );
        }
    }

    #[test]
    fn names_ipv6_and_nonsense_are_no_literals() {
        for text in [
            "sip:bob@example.com",
            "sip:bob@192.168.1.2.example.com",
            "sip:bob@192.168.1.2x",
            "sip:bob@192.168.1.256",
            "sip:bob@192.168.1.2:99999",
            "sip:bob@192.168.1.2:x",
            "sip:bob@192.168.1.2:5060x",
            "sip:bob@192.168.1.2:192.168.1.2",
            "sip:bob@[::ffff:192.168.1.2]",
            "sip:bob@1921.168.1.2",
            "tel:192.168.1.2",
            "sip:",
            "",
        ] {
            assert_eq!(uri(text), None, "{text}");
        }
    }

    #[test]
    fn commas_in_quotes_and_brackets_separate_nothing() {
        let text = br#""a, \"b" <sip:a,b@1.2.3.4>;q=1, sip:c@1.2.3.4;expires=5 , *"#;
        let uris: Vec<_> = values(text, 0..text.len())
            .filter_map(|value| address(text, value))
            .map(|address| String::from_utf8_lossy(&text[address.uri]).into_owned())
            .collect();
        assert_eq!(uris, ["sip:a,b@1.2.3.4", "sip:c@1.2.3.4", "*"]);
    }

    #[test]
    fn a_via_is_read_with_odd_white_space() {
        let text = b" SIP / 2.0 / TCP  1.2.3.4 : 5066 ;branch=z9hG4bK1;rport=7;received=5.6.7.8";
        let via = via(text, 0..text.len()).unwrap();
        let sent_by = via.sent_by.unwrap();
        assert_eq!(
            (sent_by.address.to_string(), sent_by.port),
            ("1.2.3.4".into(), Some(5066))
        );
        let rport = parameters(text, via.parameters.clone())
            .find(|p| p.is(text, b"RPORT"))
            .unwrap();
        assert_eq!(rport.number(text), Some(7));
    }
}
