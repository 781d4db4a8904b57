//! A lossless view of a session description (RFC 8866): where its addresses and ports are.
//!
//! Knows nothing of NAT. All ranges are byte offsets into the bytes given to [`Session::parse`].

use crate::addr::{Ipv4Addr, Protocol};
use crate::bytes;
use crate::sip::parse_decimal;
use crate::sip::uri::{self, HostPort};
use alloc::vec::Vec;
use core::ops::Range;

/// An IPv4 literal and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Literal {
    /// Its bytes.
    pub span: Range<usize>,
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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Media {
    /// The place of the port.
    pub port_span: Range<usize>,
    /// The port; 0 is a rejected or ended stream.
    pub port: u16,
    /// How many ports follow each other (`m=audio 6000/2`).
    pub count: u16,
    /// Whether the transport is over UDP.
    pub udp: bool,
    /// Its own `c=`, if it has one with an IPv4 literal.
    pub connection: Option<Literal>,
    /// Whether it has a `c=` that is no IPv4 literal.
    pub foreign_connection: bool,
    /// `a=rtcp:` (RFC 3605).
    pub rtcp: Option<Rtcp>,
    /// The addresses of `a=candidate` and `a=remote-candidates` (RFC 8839), and of `a=altc`.
    pub candidates: Vec<Candidate>,
    /// The host and port of `a=path:msrp://host:port/` (RFC 4975).
    pub path: Option<HostPort>,
    /// Its own direction.
    pub direction: Option<Direction>,
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rtcp {
    /// The place of the port.
    pub port_span: Range<usize>,
    /// The port.
    pub port: u16,
    /// The address, if one is given.
    pub address: Option<Literal>,
}

/// An address and port of ICE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The address.
    pub address: Literal,
    /// The place of the port.
    pub port_span: Range<usize>,
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
}

impl Session {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.origin = None;
        self.connection = None;
        self.direction = Direction::default();
        self.media.clear();
    }

    /// Reads `body`; false (and nothing of use) if it does not begin as a session description.
    pub fn parse(&mut self, body: &[u8]) -> bool {
        self.clear();
        if !body.starts_with(b"v=") {
            return false;
        }
        let mut start = 0;
        while start < body.len() {
            let feed = bytes::find(body, start..body.len(), [b'\n']);
            let end = feed.map_or(body.len(), |feed| feed + 1);
            let line = body.get(start..end).unwrap_or_default().trim_ascii_end();
            self.line(body, start..start + line.len());
            start = end;
        }
        true
    }

    /// The connection address that governs a section: its own, or else the session's.
    pub fn connection_of<'a>(&'a self, media: &'a Media) -> Option<&'a Literal> {
        if media.foreign_connection {
            return None;
        }
        media.connection.as_ref().or(self.connection.as_ref())
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

    fn line(&mut self, body: &[u8], line: Range<usize>) {
        let text = body.get(line.clone()).unwrap_or_default();
        let value = (line.start + 2).min(line.end)..line.end;
        match text {
            [b'o', b'=', ..]
                // username sess-id sess-version nettype addrtype unicast-address
                if self.origin.is_none() && self.media.is_empty() => {
                    self.origin = net_address(&mut Words::behind(body, value, 3));
                }
            [b'c', b'=', ..] => {
                let literal = net_address(&mut Words::of(body, value));
                match self.media.last_mut() {
                    Some(media) => {
                        media.foreign_connection |= literal.is_none();
                        media.connection = media.connection.take().or(literal);
                    }
                    None => self.connection = self.connection.take().or(literal),
                }
            }
            // A line that cannot be read still begins a section, so that what follows is not
            // taken for the section before.
            [b'm', b'=', ..] => self.media.push(media_line(body, value).unwrap_or_default()),
            [b'a', b'=', ..] => self.attribute(body, value),
            _ => {}
        }
    }

    fn attribute(&mut self, body: &[u8], value: Range<usize>) {
        let text = body.get(value.clone()).unwrap_or_default();
        let direction = match text {
            b"sendrecv" => Some(Direction::SendReceive),
            b"sendonly" | b"recvonly" | b"inactive" => Some(Direction::Held),
            _ => None,
        };
        match (self.media.last_mut(), direction) {
            (Some(media), Some(_)) => media.direction = direction,
            (None, Some(direction)) => self.direction = direction,
            (Some(media), None) => match text {
                [b'r', b't', b'c', b'p', b':', ..] => {
                    media.rtcp = rtcp(body, value.start + 5..value.end);
                }
                [
                    b'c',
                    b'a',
                    b'n',
                    b'd',
                    b'i',
                    b'd',
                    b'a',
                    b't',
                    b'e',
                    b':',
                    ..,
                ] => {
                    // foundation component transport priority address port
                    let mut rest = Words::behind(body, value, 4);
                    media.candidates.extend(candidate(&mut rest));
                }
                [b'p', b'a', b't', b'h', b':', ..] => media.path = path(body, value),
                _ if text.starts_with(b"altc:") => {
                    // RFC 6947 section 4: number, address type, address, port.
                    let mut rest = Words::behind(body, value, 2);
                    media.candidates.extend(candidate(&mut rest));
                }
                _ if text.starts_with(b"remote-candidates:") => {
                    // Triples of component, address and port.
                    let mut rest = Words::of(body, value);
                    while !rest.next().is_empty() {
                        media.candidates.extend(candidate(&mut rest));
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// `<media> <port>[/<count>] <proto> ...` (RFC 8866 section 5.14).
fn media_line(body: &[u8], value: Range<usize>) -> Option<Media> {
    let mut words = Words::behind(body, value, 1);
    let (port_word, proto_word) = (words.next(), words.next());
    let text = body.get(port_word.clone())?;
    let slash = memchr::memchr(b'/', text).unwrap_or(text.len());
    let port = u16::try_from(parse_decimal(text.get(..slash)?)?).ok()?;
    let count = match text.get(slash + 1..) {
        Some(count) if !count.is_empty() => u16::try_from(parse_decimal(count)?).ok()?,
        _ => 1,
    };
    let proto = body.get(proto_word)?;
    let over_tcp = proto
        .get(..3)
        .is_some_and(|head| head.eq_ignore_ascii_case(b"TCP"));
    Some(Media {
        port_span: port_word.start..port_word.start + slash,
        port,
        count: count.max(1),
        udp: !over_tcp,
        connection: None,
        foreign_connection: false,
        rtcp: None,
        candidates: Vec::new(),
        path: None,
        direction: None,
    })
}

/// `<port> [<nettype> <addrtype> <address>]` (RFC 3605 section 2.1).
fn rtcp(body: &[u8], value: Range<usize>) -> Option<Rtcp> {
    let mut words = Words::of(body, value);
    let port_span = words.next();
    let port = u16::try_from(parse_decimal(body.get(port_span.clone())?)?).ok()?;
    Some(Rtcp {
        port_span,
        port,
        address: net_address(&mut words),
    })
}

/// `<address> <port>`.
fn candidate(words: &mut Words<'_>) -> Option<Candidate> {
    let (at, port_span) = (words.next(), words.next());
    let (address, length) = uri::ipv4(words.body.get(at.clone())?)?;
    let port = parse_decimal(words.body.get(port_span.clone())?)?;
    let port = u16::try_from(port).ok()?;
    (length == at.len()).then_some(Candidate {
        address: Literal { span: at, address },
        port_span,
        port,
    })
}

/// The host and port of the first URI of `path:msrp://host:port/...`: that is the sender itself.
fn path(body: &[u8], value: Range<usize>) -> Option<HostPort> {
    let text = body.get(value.clone())?;
    let scheme = memchr::memmem::find(text, b"://")?;
    let host = value.start + scheme + 3;
    uri::host_port(body, host..value.end).filter(|host| host.port.is_some())
}

/// `IN IP4 <address>`: the address, if it is an IPv4 literal. A multicast address with `/ttl` is one
/// too; no NAT rule permits it.
fn net_address(words: &mut Words<'_>) -> Option<Literal> {
    // As it is nearly always written.
    let rest = words.body.get(words.rest.clone())?;
    if let Some((address, length)) = rest.strip_prefix(b"IN IP4 ").and_then(uri::ipv4) {
        let start = words.rest.end - rest.len() + 7;
        let span = start..start + length;
        return Some(Literal { span, address });
    }
    let (nettype, addrtype, address) = (words.next(), words.next(), words.next());
    let body = words.body;
    if body.get(nettype)? != b"IN" || body.get(addrtype)? != b"IP4" {
        return None;
    }
    let (literal, length) = uri::ipv4(body.get(address.clone())?)?;
    Some(Literal {
        span: address.start..address.start + length,
        address: literal,
    })
}

/// The places of words with white space between them.
struct Words<'a> {
    body: &'a [u8],
    /// From the next word on.
    rest: Range<usize>,
}

impl<'a> Words<'a> {
    fn of(body: &'a [u8], rest: Range<usize>) -> Self {
        let rest = uri::skip_blanks(body, rest);
        Words { body, rest }
    }

    /// Those behind the first `n`.
    fn behind(body: &'a [u8], rest: Range<usize>, n: usize) -> Self {
        let mut words = Words::of(body, rest);
        for _ in 0..n {
            words.next();
        }
        words
    }

    /// The next one; an empty place at the end.
    fn next(&mut self) -> Range<usize> {
        let word = self.rest.start;
        let end = uri::find_blank(self.body, self.rest.clone()).unwrap_or(self.rest.end);
        self.rest = uri::skip_blanks(self.body, end..self.rest.end);
        word..end
    }
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
        let at = |span: &Range<usize>| &text[span.clone()];
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
        let ports = |media: &Media| media.candidates.iter().map(|c| c.port).collect::<Vec<_>>();
        assert_eq!(ports(&session.media[0]), [6000, 4000, 7000, 7001]);
        let path = session.media[1].path.as_ref().unwrap();
        assert_eq!(&text[path.span.clone()], "192.168.1.2:2855");
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
