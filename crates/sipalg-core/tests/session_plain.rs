//! The view of a session description is the one that a plain reading gives, line by line and word by
//! word: over the corpora, and over what becomes of their bodies by accidents.
#![allow(clippy::unwrap_used)] // a test may unwrap

mod samples;
mod script;
mod world;

use sipalg_core::addr::Ipv4Addr;
use sipalg_core::sdp::{Direction, Literal, Session, Span};
use sipalg_core::sip::{parse_decimal, uri};

/// A literal and where it stands.
type Place = (Span, Ipv4Addr);

/// A port and where it stands.
type Port = (Span, u16);

#[derive(PartialEq, Eq, Debug, Default)]
struct View {
    origin: Option<Place>,
    connection: Option<Place>,
    direction: Direction,
    sections: Vec<Section>,
}

#[derive(PartialEq, Eq, Debug, Default)]
struct Section {
    port: Port,
    count: u16,
    udp: bool,
    connection: Option<Place>,
    foreign: bool,
    rtcp: Option<(Port, Option<Place>)>,
    path: Option<(Span, Ipv4Addr, u16)>,
    candidates: Vec<(Place, Port)>,
    direction: Option<Direction>,
}

/// As it is read by the core.
fn view(session: &Session) -> View {
    let place = |literal: Literal| (literal.span, literal.address);
    let sections = session.media.iter().map(|media| Section {
        port: (media.port_span, media.port),
        count: media.count,
        udp: media.udp,
        connection: media.connection.map(place),
        foreign: media.foreign_connection,
        rtcp: media
            .rtcp
            .map(|rtcp| ((rtcp.port_span, rtcp.port), rtcp.address.map(place))),
        path: media.path.map(|path| (path.span, path.address, path.port)),
        candidates: session
            .candidates_of(media)
            .iter()
            .map(|of| (place(of.address), (of.port_span, of.port)))
            .collect(),
        direction: media.direction,
    });
    View {
        origin: session.origin.map(place),
        connection: session.connection.map(place),
        direction: session.direction,
        sections: sections.collect(),
    }
}

/// As RFC 8866 and the attributes' own documents write it down.
fn plain(body: &[u8]) -> View {
    let mut view = View::default();
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii_end();
        let Some((kind, value)) = line.split_at_checked(2) else {
            continue;
        };
        let words = words(value);
        let section = view.sections.last_mut();
        match (kind, section) {
            (b"o=", None) if view.origin.is_none() => view.origin = net_address(body, &words, 3),
            (b"c=", None) => view.connection = view.connection.or(net_address(body, &words, 0)),
            (b"c=", Some(section)) => {
                let literal = net_address(body, &words, 0);
                section.foreign |= literal.is_none();
                section.connection = section.connection.or(literal);
            }
            (b"m=", _) => {
                let section = section_of(body, &words);
                view.sections.push(section.unwrap_or_default());
            }
            (b"a=", None) => view.direction = direction(value).unwrap_or(view.direction),
            (b"a=", Some(section)) => attribute(section, body, value, &words),
            _ => {}
        }
    }
    view
}

fn section_of(body: &[u8], words: &[&[u8]]) -> Option<Section> {
    let mut numbers = words.get(1)?.splitn(2, |byte| *byte == b'/');
    let port = port(body, numbers.next()?)?;
    let count = match numbers.next() {
        None | Some(b"") => 1,
        Some(count) => u16::try_from(parse_decimal(count)?).ok()?,
    };
    let proto = words.get(2).copied().unwrap_or_default();
    Some(Section {
        port,
        count: count.max(1),
        udp: !proto.to_ascii_uppercase().starts_with(b"TCP"),
        ..Section::default()
    })
}

fn attribute(section: &mut Section, body: &[u8], value: &[u8], words: &[&[u8]]) {
    if let Some(direction) = direction(value) {
        section.direction = Some(direction);
    } else if let Some(rest) = value.strip_prefix(b"rtcp:") {
        let words = self::words(rest);
        let port = words.first().and_then(|word| port(body, word));
        section.rtcp = port.map(|port| (port, net_address(body, &words, 1)));
    } else if value.starts_with(b"path:") {
        let start = offset(body, value);
        let text = String::from_utf8_lossy(value);
        let scheme = text.find("://").filter(|_| text.is_ascii());
        let scheme = scheme.or_else(|| value.windows(3).position(|three| three == b"://"));
        section.path = scheme.and_then(|at| {
            let host = uri::host_port(body, start + at + 3..start + value.len())?;
            Some((
                span(host.span.start, host.span.len()),
                host.address,
                host.port?,
            ))
        });
    } else if value.starts_with(b"candidate:") {
        section.candidates.extend(candidate(body, words, 4));
    } else if value.starts_with(b"altc:") {
        section.candidates.extend(candidate(body, words, 2));
    } else if value.starts_with(b"remote-candidates:") {
        let triples = (1..words.len().max(1)).step_by(3);
        let found = triples.filter_map(|at| candidate(body, words, at));
        section.candidates.extend(found);
    }
}

fn direction(value: &[u8]) -> Option<Direction> {
    match value {
        b"sendrecv" => Some(Direction::SendReceive),
        b"sendonly" | b"recvonly" | b"inactive" => Some(Direction::Held),
        _ => None,
    }
}

fn words(text: &[u8]) -> Vec<&[u8]> {
    let words = text.split(|byte| b" \t\r".contains(byte));
    words.filter(|word| !word.is_empty()).collect()
}

fn net_address(body: &[u8], words: &[&[u8]], first: usize) -> Option<Place> {
    let [b"IN", b"IP4", address] = words.get(first..first + 3)? else {
        return None;
    };
    let (literal, length) = uri::ipv4(address)?;
    Some((span(offset(body, address), length), literal))
}

fn candidate(body: &[u8], words: &[&[u8]], first: usize) -> Option<(Place, Port)> {
    let word = words.get(first)?;
    let (literal, length) = uri::ipv4(word)?;
    let port = port(body, words.get(first + 1)?)?;
    let place = (span(offset(body, word), length), literal);
    (length == word.len()).then_some((place, port))
}

fn port(body: &[u8], word: &[u8]) -> Option<Port> {
    let port = u16::try_from(parse_decimal(word)?).ok()?;
    Some((span(offset(body, word), word.len()), port))
}

fn span(start: usize, length: usize) -> Span {
    let (start, end) = (start as u32, (start + length) as u32);
    Span { start, end }
}

/// Where a part of the body is.
fn offset(body: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - body.as_ptr() as usize
}

fn same(session: &mut Session, body: &[u8]) {
    let begins = body.starts_with(b"v=");
    assert_eq!(session.parse(body), begins);
    let expected = if begins { plain(body) } else { View::default() };
    let text = String::from_utf8_lossy(body);
    assert_eq!(view(session), expected, "{text}");
}

/// All session descriptions of the samples, with what follows them.
fn bodies() -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for sample in samples::all() {
        let starts = sample.bytes.windows(4).enumerate();
        let starts = starts.filter(|(_, four)| *four == b"\nv=0");
        bodies.extend(starts.map(|(at, _)| sample.bytes[at + 1..].to_vec()));
    }
    bodies.sort();
    bodies.dedup();
    bodies
}

#[test]
fn every_description_is_read_as_it_is_written() {
    let (bodies, mut session) = (bodies(), Session::default());
    assert!(bodies.len() > 100, "{}", bodies.len());
    for body in &bodies {
        same(&mut session, body);
        // Wherever it is cut off.
        for end in 0..body.len().min(600) {
            same(&mut session, &body[..end]);
        }
    }
}

#[test]
fn long_words_and_much_white_space_are_read_as_they_are_written() {
    let mut session = Session::default();
    let lines = [
        "o=- 1 2 IN IP4 1.2.3.4",
        "c=IN IP4 1.2.3.4",
        "m=audio 6000/2 RTP/AVP 0",
        "a=rtcp:6001 IN IP4 1.2.3.4",
        "a=candidate:1 1 UDP 2130706431 1.2.3.4 6000 typ host",
        "a=remote-candidates:1 1.2.3.4 7000 2 1.2.3.4 7001",
    ];
    for (line, length) in lines
        .iter()
        .flat_map(|line| (0..140).map(move |n| (line, n)))
    {
        for (at, filling) in (2..=line.len()).flat_map(|at| [(at, "x"), (at, " "), (at, "0")]) {
            let line = [&line[..at], &filling.repeat(length), &line[at..]].concat();
            for (before, behind) in [("", "\r\n"), ("m=x 1 y\r\n", "\x0c\r\nt=0 0\r\n"), ("", "")] {
                let body = format!("v=0\r\n{before}{line}{behind}");
                same(&mut session, body.as_bytes());
            }
        }
    }
}

#[test]
fn every_description_with_accidents_is_read_as_it_is_written() {
    let (bodies, mut session) = (bodies(), Session::default());
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below.max(1)
    };
    let special = b" \t\r\n\x0b\x0c/=.:-09aocmIN\0\xff";
    let lines: [&[u8]; 4] = [
        b"IN IP4 1.2.3.4",
        b"\r\na=rtcp:6001 IN IP4 1.2.3.4\r\n",
        b"\r\na=remote-candidates:1 1.2.3.4 5 2 1.2.3.4 6\r\n",
        b"                                                                      ",
    ];
    for round in 0..200_000 {
        let mut body = bodies[random(bodies.len())].clone();
        body.truncate(2000);
        for _ in 0..1 + round % 4 {
            let at = 2 + random(body.len() - 2);
            match random(5) {
                0 => drop(body.drain(at..(at + random(20)).min(body.len()))),
                1 => body.insert(at.min(body.len()), special[random(special.len())]),
                2 => drop(body.splice(at..at, lines[random(lines.len())].iter().copied())),
                _ => {
                    if let Some(byte) = body.get_mut(at) {
                        *byte = special[random(special.len())];
                    }
                }
            }
            if body.len() < 3 {
                break;
            }
        }
        same(&mut session, &body);
    }
}
