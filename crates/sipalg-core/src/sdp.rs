//! A lossless view of a session description (RFC 8866): where its addresses and ports are.
//!
//! Knows nothing of NAT. All places are byte offsets into the bytes given to [`Session::parse`].

mod known;

pub use known::Descriptions;

use crate::addr::{Ipv4Addr, Protocol};
use crate::bytes::Block;
use crate::sip::uri;
use alloc::vec::Vec;
use core::ops::Range;

/// A place in the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// Its first byte.
    pub start: u32,
    /// The byte behind it.
    pub end: u32,
}

impl Span {
    /// As a range of indexes.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Nothing longer than a [`Span`] tells is read: see [`Session::parse`].
    fn new(start: usize, end: usize) -> Span {
        Span {
            start: start as u32,
            end: end as u32,
        }
    }
}

/// An IPv4 literal and its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Literal {
    /// Its bytes.
    pub span: Span,
    /// The address.
    pub address: Ipv4Addr,
}

/// What may flow in which direction (RFC 8866 section 6.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    /// Both ways, also where nothing is said.
    #[default]
    SendReceive,
    /// `sendonly`, `recvonly` or `inactive`: held by one side.
    Held,
}

/// One `m=` section.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Media {
    /// The place of the port.
    pub port_span: Span,
    /// The port; 0 is a rejected or ended stream.
    pub port: u16,
    /// How many ports follow each other (`m=audio 6000/2`).
    pub count: u16,
    /// Whether the transport is over UDP.
    pub udp: bool,
    /// Whether it has a `c=` that is no IPv4 literal.
    pub foreign_connection: bool,
    /// Its own direction.
    pub direction: Option<Direction>,
    /// Its own `c=`, if it has one with an IPv4 literal.
    pub connection: Option<Literal>,
    /// `a=rtcp:` (RFC 3605).
    pub rtcp: Option<Rtcp>,
    /// The host and port of `a=path:msrp://host:port/` (RFC 4975).
    pub path: Option<Path>,
    /// Which candidates of the session are its own.
    candidates: Span,
}

impl Media {
    /// The protocol of its port.
    pub fn protocol(&self) -> Protocol {
        if self.udp {
            Protocol::Udp
        } else {
            Protocol::Tcp
        }
    }
}

/// An `a=rtcp:port [IN IP4 address]` attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rtcp {
    /// The place of the port.
    pub port_span: Span,
    /// The port.
    pub port: u16,
    /// The address, if one is given.
    pub address: Option<Literal>,
}

/// An address and port of ICE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The address.
    pub address: Literal,
    /// The place of the port.
    pub port_span: Span,
    /// The port.
    pub port: u16,
}

/// Where MSRP is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// The place of the host and port together.
    pub span: Span,
    /// The address.
    pub address: Ipv4Addr,
    /// The port.
    pub port: u16,
}

/// A session description's places of addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Session {
    /// The address of `o=`.
    pub origin: Option<Literal>,
    /// The session's `c=`.
    pub connection: Option<Literal>,
    /// The session's direction.
    pub direction: Direction,
    /// The `m=` sections, in order.
    pub media: Vec<Media>,
    /// The candidates of all sections, in order.
    candidates: Vec<Candidate>,
}

impl Session {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.origin = None;
        self.connection = None;
        self.direction = Direction::default();
        self.media.clear();
        self.candidates.clear();
    }

    /// Reads `body`; false (and nothing of use) if it does not begin as a session description, or is
    /// longer than any message.
    pub fn parse(&mut self, body: &[u8]) -> bool {
        self.clear();
        if !body.starts_with(b"v=") || u32::try_from(body.len()).is_err() {
            return false;
        }
        let (mut start, mut at) = (0, 0);
        while at < body.len() {
            let mut feeds = Block::at(body, at).of(b'\n');
            while feeds != 0 {
                let feed = at + feeds.trailing_zeros() as usize;
                self.line(body, start, feed);
                start = feed + 1;
                feeds &= feeds - 1;
            }
            at += Block::SIZE;
        }
        self.line(body, start, body.len());
        true
    }

    /// The connection address that governs a section: its own, or else the session's.
    pub fn connection_of(&self, media: &Media) -> Option<Literal> {
        if media.foreign_connection {
            return None;
        }
        media.connection.or(self.connection)
    }

    /// The addresses of a section's `a=candidate` and `a=remote-candidates` (RFC 8839), and of its
    /// `a=altc`.
    pub fn candidates_of(&self, media: &Media) -> &[Candidate] {
        let own = self.candidates.get(media.candidates.range());
        own.unwrap_or_default()
    }

    /// Whether every section with a port is held.
    pub fn held(&self) -> bool {
        let mut live = self.media.iter().filter(|media| media.port != 0).peekable();
        live.peek().is_some()
            && live.all(|media| {
                media.direction.unwrap_or(self.direction) == Direction::Held
                    || self
                        .connection_of(media)
                        .is_some_and(|literal| literal.address.is_unspecified())
            })
    }

    /// The line from `start` to `end`, where its line feed is, or the end of the body.
    #[inline(always)] // most lines are of no interest
    fn line(&mut self, body: &[u8], start: usize, end: usize) {
        let value = start + 2..end;
        match body.get(start..).and_then(|text| text.first_chunk()) {
            Some(b"o=") => self.origin(body, value),
            Some(b"c=") => self.connection(body, value),
            Some(b"m=") => self.section(body, value),
            Some(b"a=") => self.attribute(body, trim_end(body, value)),
            _ => {}
        }
    }

    fn origin(&mut self, body: &[u8], value: Range<usize>) {
        // username sess-id sess-version nettype addrtype unicast-address
        if self.origin.is_none() && self.media.is_empty() {
            let words = Words::behind(body, trim_end(body, value), 3);
            let usual = usual_address(body, words.start(), None);
            self.origin = usual.or_else(|| net_address(words));
        }
    }

    fn connection(&mut self, body: &[u8], value: Range<usize>) {
        let usual = usual_address(body, value.start, self.origin);
        let words = || Words::of(body, trim_end(body, value));
        let literal = usual.or_else(|| net_address(words()));
        match self.media.last_mut() {
            Some(media) => {
                media.foreign_connection |= literal.is_none();
                media.connection = media.connection.or(literal);
            }
            None => self.connection = self.connection.or(literal),
        }
    }

    /// A line that cannot be read still begins a section, so that what follows is not taken for the
    /// section before.
    fn section(&mut self, body: &[u8], value: Range<usize>) {
        let candidates = self.candidates.len();
        self.media.push(Media {
            candidates: Span::new(candidates, candidates),
            ..media_line(body, trim_end(body, value)).unwrap_or_default()
        });
    }

    fn attribute(&mut self, body: &[u8], value: Range<usize>) {
        let text = body.get(value.clone()).unwrap_or_default();
        let direction = match text {
            b"sendrecv" => Some(Direction::SendReceive),
            b"sendonly" | b"recvonly" | b"inactive" => Some(Direction::Held),
            _ => None,
        };
        let Some(media) = self.media.last_mut() else {
            self.direction = direction.unwrap_or(self.direction);
            return;
        };
        if direction.is_some() {
            media.direction = direction;
        } else if text.starts_with(b"rtcp:") {
            media.rtcp = rtcp(body, value.start + 5..value.end);
        } else if text.starts_with(b"path:") {
            media.path = path(body, value);
        } else if text.starts_with(b"candidate:") {
            // foundation component transport priority address port
            let mut rest = Words::behind(body, value, 4);
            self.candidates.extend(candidate(&mut rest));
        } else if text.starts_with(b"altc:") {
            // RFC 6947 section 4: number, address type, address, port.
            let mut rest = Words::behind(body, value, 2);
            self.candidates.extend(candidate(&mut rest));
        } else if text.starts_with(b"remote-candidates:") {
            // Triples of component, address and port.
            let mut rest = Words::of(body, value);
            while !rest.next().is_empty() {
                self.candidates.extend(candidate(&mut rest));
            }
        }
        media.candidates.end = self.candidates.len() as u32;
    }
}

/// The range without white space behind it.
#[inline]
fn trim_end(body: &[u8], value: Range<usize>) -> Range<usize> {
    let text = match body.get(value.clone()).unwrap_or_default() {
        // As nearly every line ends.
        [text @ .., b'\r'] => text,
        text => text,
    };
    let length = match text {
        [.., last] if last.is_ascii_whitespace() => text.trim_ascii_end().len(),
        text => text.len(),
    };
    value.start..value.start + length
}

/// `<media> <port>[/<count>] <proto> ...` (RFC 8866 section 5.14).
fn media_line(body: &[u8], value: Range<usize>) -> Option<Media> {
    let mut words = Words::behind(body, value, 1);
    let (port_word, proto_word) = (words.next(), words.next());
    let (port, digits) = number(body, port_word.start)?;
    let count = match body.get(port_word.start + digits..port_word.end)? {
        [] | [b'/'] => 1,
        [b'/', ..] => whole_number(body, port_word.start + digits + 1..port_word.end)?,
        _ => return None,
    };
    let proto = body.get(proto_word)?;
    let over_tcp = matches!(proto, [b'T' | b't', b'C' | b'c', b'P' | b'p', ..]);
    Some(Media {
        port_span: Span::new(port_word.start, port_word.start + digits),
        port,
        count: count.max(1),
        udp: !over_tcp,
        ..Media::default()
    })
}

/// `<port> [<nettype> <addrtype> <address>]` (RFC 3605 section 2.1).
fn rtcp(body: &[u8], value: Range<usize>) -> Option<Rtcp> {
    let mut words = Words::of(body, value);
    let port = words.next();
    Some(Rtcp {
        port_span: Span::new(port.start, port.end),
        port: whole_number(body, port)?,
        address: net_address(words),
    })
}

/// `<address> <port>`.
fn candidate(words: &mut Words<'_>) -> Option<Candidate> {
    let (at, port) = (words.next(), words.next());
    let address = literal(words.body, at.start)?;
    let candidate = Candidate {
        address,
        port_span: Span::new(port.start, port.end),
        port: whole_number(words.body, port)?,
    };
    (address.span.range() == at).then_some(candidate)
}

/// The host and port of the first URI of `path:msrp://host:port/...`: that is the sender itself.
fn path(body: &[u8], value: Range<usize>) -> Option<Path> {
    let text = body.get(value.clone())?;
    let scheme = memchr::memmem::find(text, b"://")?;
    let host = uri::host_port(body, value.start + scheme + 3..value.end)?;
    Some(Path {
        span: Span::new(host.span.start, host.span.end),
        address: host.address,
        port: host.port?,
    })
}

/// `IN IP4 <address>`: the address, if it is an IPv4 literal. A multicast address with `/ttl` is one
/// too; no NAT rule permits it.
fn net_address(mut words: Words<'_>) -> Option<Literal> {
    let (nettype, addrtype, address) = (words.next(), words.next(), words.next());
    let body = words.body;
    if body.get(nettype)? != b"IN" || body.get(addrtype)? != b"IP4" {
        return None;
    }
    literal(body, address.start)
}

/// The same at `at`, as it is nearly always written; perhaps with a literal that was read before.
#[inline]
fn usual_address(body: &[u8], at: usize, before: Option<Literal>) -> Option<Literal> {
    if !body.get(at..)?.starts_with(b"IN IP4 ") {
        return None;
    }
    let again = before.and_then(|before| same_literal(body, before, at + 7));
    again.or_else(|| literal(body, at + 7))
}

/// The IPv4 literal at `at`. It cannot go on behind the line, since white space ends both.
fn literal(body: &[u8], at: usize) -> Option<Literal> {
    let (address, length) = uri::ipv4(body.get(at..)?)?;
    Some(Literal {
        span: Span::new(at, at + length),
        address,
    })
}

/// The same, if it is written as one that was read before, with the same byte behind it.
fn same_literal(body: &[u8], before: Literal, at: usize) -> Option<Literal> {
    let old = body.get(before.span.start as usize..)?.first_chunk()?;
    let new = body.get(at..)?.first_chunk()?;
    let length = before.span.end - before.span.start;
    // The longest literal and the byte behind it are 16 bytes.
    let behind = 8 * (15 - length.min(15));
    let differ = (u128::from_le_bytes(*old) ^ u128::from_le_bytes(*new)) << behind;
    (differ == 0).then_some(Literal {
        span: Span::new(at, at + length as usize),
        address: before.address,
    })
}

/// The port or number of ports at `at`, and how many digits it has. They cannot go on behind the line,
/// since white space ends both.
fn number(body: &[u8], at: usize) -> Option<(u16, usize)> {
    let (mut number, mut digits) = (0u32, 0);
    for byte in body.get(at..)? {
        let digit = u32::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            break;
        }
        number = number * 10 + digit;
        digits += 1;
        if number > u32::from(u16::MAX) {
            return None;
        }
    }
    (digits > 0).then_some((number as u16, digits))
}

fn whole_number(body: &[u8], word: Range<usize>) -> Option<u16> {
    let (number, digits) = number(body, word.start)?;
    (digits == word.len()).then_some(number)
}

/// The words of a line, with white space between them.
struct Words<'a> {
    body: &'a [u8],
    /// The end of the line.
    end: usize,
    /// Where the bits begin.
    base: usize,
    /// Where a word begins, the first white space behind it, where the next word begins, and so on.
    edges: u64,
    /// From where on there are no bits.
    rest: usize,
}

impl<'a> Words<'a> {
    #[inline]
    fn of(body: &'a [u8], line: Range<usize>) -> Self {
        // Line feeds are in no line.
        let words = !Block::at(body, line.start).any([b' ', b'\t', b'\r']);
        Words {
            body,
            end: line.end,
            base: line.start,
            edges: words ^ words << 1,
            rest: line.start + Block::SIZE,
        }
    }

    /// Those behind the first `n`.
    #[inline(always)]
    fn behind(body: &'a [u8], line: Range<usize>, n: usize) -> Self {
        let mut words = Words::of(body, line);
        for _ in 0..n {
            words.next();
        }
        words
    }

    /// Where the next one begins, if that is known without looking; else the end.
    #[inline(always)]
    fn start(&self) -> usize {
        match self.edges {
            0 => self.end,
            edges => (self.base + edges.trailing_zeros() as usize).min(self.end),
        }
    }

    /// The next one; an empty place at the end.
    #[inline(always)]
    fn next(&mut self) -> Range<usize> {
        self.edge(false)..self.edge(true)
    }

    /// The next edge: the end of a word, or the start of one.
    #[inline(always)]
    fn edge(&mut self, of_word: bool) -> usize {
        if self.edges == 0 {
            self.rest = find(self.body, self.rest..self.end, of_word);
            return self.rest;
        }
        let edge = self.base + self.edges.trailing_zeros() as usize;
        self.edges &= self.edges - 1;
        edge.min(self.end)
    }
}

/// The first white space, or what is none; else the end.
#[cold] // so long are few lines
fn find(body: &[u8], line: Range<usize>, blank: bool) -> usize {
    let mut text = body.get(line.clone()).unwrap_or_default().iter();
    let found = text.position(|byte| matches!(byte, b' ' | b'\t' | b'\r') == blank);
    found.map_or(line.end, |found| line.start + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Session {
        let mut session = Session::default();
        assert!(session.parse(text.as_bytes()));
        session
    }

    #[test]
    fn the_places_of_addresses_and_ports_are_found() {
        let text = "v=0\r\no=a 1 2 IN IP4 192.168.1.2\r\ns=-\r\nc=IN IP4 192.168.1.3\r\nt=0 0\r\n\
                    m=audio 6000/2 RTP/AVP 0\r\na=rtcp:6007 IN IP4 192.168.1.4\r\na=sendonly\r\n\
                    m=video 0 RTP/AVP 31\r\nc=IN IP6 ::1\r\nm=x 9 TCP/MSRP *\r\n";
        let session = parse(text);
        let at = |span: &Span| &text[span.range()];
        assert_eq!(at(&session.origin.as_ref().unwrap().span), "192.168.1.2");
        assert_eq!(
            at(&session.connection.as_ref().unwrap().span),
            "192.168.1.3"
        );
        let [audio, video, tcp] = &session.media[..] else {
            panic!("{session:?}")
        };
        assert_eq!(
            (at(&audio.port_span), audio.port, audio.count),
            ("6000", 6000, 2)
        );
        let rtcp = audio.rtcp.as_ref().unwrap();
        assert_eq!((at(&rtcp.port_span), rtcp.port), ("6007", 6007));
        assert_eq!(at(&rtcp.address.as_ref().unwrap().span), "192.168.1.4");
        assert_eq!(audio.direction, Some(Direction::Held));
        assert!(
            video.port == 0 && video.foreign_connection && session.connection_of(video).is_none()
        );
        assert!(audio.udp && !tcp.udp);
    }

    #[test]
    fn ice_candidates_and_msrp_paths_are_found() {
        let text = "v=0\r\nm=audio 6000 RTP/AVP 0\r\n\
                    a=candidate:1 1 UDP 2130706431 192.168.1.2 6000 typ host\r\n\
                    a=candidate:2 1 UDP 2130706431 fe80::1 6000 typ host\r\n\
                    a=candidate:3 1 UDP 1694498815 8.8.8.8 4000 typ srflx raddr 192.168.1.2 rport 6000\r\n\
                    a=remote-candidates:1 10.1.1.1 7000 2 10.1.1.1 7001\r\n\
                    m=message 2855 TCP/MSRP *\r\na=path:msrp://192.168.1.2:2855/s;tcp\r\n";
        let session = parse(text);
        let ports = |media: &Media| {
            let candidates = session.candidates_of(media).iter();
            candidates.map(|c| c.port).collect::<Vec<_>>()
        };
        assert_eq!(ports(&session.media[0]), [6000, 4000, 7000, 7001]);
        let path = session.media[1].path.as_ref().unwrap();
        assert_eq!(&text[path.span.range()], "192.168.1.2:2855");
    }

    #[test]
    fn hold_is_seen_in_either_form() {
        let head = "v=0\no=a 1 2 IN IP4 1.1.1.1\n";
        assert!(parse(&format!("{head}c=IN IP4 0.0.0.0\nm=audio 5 RTP/AVP 0\n")).held());
        assert!(
            parse(&format!(
                "{head}c=IN IP4 1.1.1.1\na=inactive\nm=audio 5 RTP/AVP 0\n"
            ))
            .held()
        );
        assert!(!parse(&format!("{head}c=IN IP4 1.1.1.1\nm=audio 5 RTP/AVP 0\n")).held());
        assert!(!parse(&format!("{head}c=IN IP4 1.1.1.1\n")).held());
    }

    #[test]
    fn broken_lines_are_passed_over() {
        for line in [
            "m=",
            "m=audio",
            "m=audio x RTP/AVP",
            "m=audio 70000 RTP/AVP 0",
            "o=",
            "c=IN IP4",
            "a=rtcp:",
        ] {
            let session = parse(&format!("v=0\r\n{line}\r\n"));
            assert!(session.origin.is_none(), "{line}");
            assert!(session.media.iter().all(|media| media.port == 0), "{line}");
        }
        assert!(!Session::default().parse(b"x=0"));
    }
}
