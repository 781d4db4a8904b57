//! The short way through a field and the long one come to the same.

use crate::addr::{Ipv4Addr, Leg, SocketAddrV4};
use crate::alike::tests as alike;
use crate::config::{AccessEntry, AccessList, Config, SourceRule, is_of_a_host};
use crate::samples::{self, Sample};
use crate::sip::{Index, Name, uri};
use crate::{Alg, Event, Instant, Outbox};
use std::cell::Cell;
use std::ops::Range;

std::thread_local! {
    static SHORT: Cell<bool> = const { Cell::new(true) };
}

pub fn short_way() -> bool {
    SHORT.get()
}

/// All that comes of messages on one leg of a connection, in a form that can be compared.
struct Outcome {
    bytes: Vec<u8>,
    rest: String,
}

impl Outcome {
    /// Where the texts of both first differ.
    fn difference(&self, other: &Outcome) -> Option<String> {
        let bytes = |of: &Outcome| of.bytes.escape_ascii().to_string();
        let pairs = [
            (bytes(self), bytes(other)),
            (self.rest.clone(), other.rest.clone()),
        ];
        let (one, other) = pairs.into_iter().find(|(one, other)| one != other)?;
        let mut places = one.bytes().zip(other.bytes()).enumerate();
        let place = places.find(|(_, (one, other))| one != other);
        let start = place.map_or(0, |(at, _)| at).saturating_sub(60);
        let part = |text: &str| text.chars().skip(start).take(200).collect::<String>();
        Some(format!("{}\n and {}", part(&one), part(&other)))
    }
}

/// A gateway with one inside host, and the inside global address that this becomes.
fn gateway((host, global): (Ipv4Addr, Ipv4Addr)) -> Alg {
    let entry = AccessEntry::standard(true, host, Ipv4Addr::BROADCAST);
    let list = AccessList {
        name: "1".into(),
        entries: vec![entry],
    };
    let config = Config {
        sources: vec![SourceRule::overload(list, global)],
        ..Config::default()
    };
    Alg::new(config, 1)
}

fn outcome(short: bool, hosts: (Ipv4Addr, Ipv4Addr), from: Leg, messages: &[&[u8]]) -> Outcome {
    SHORT.set(short);
    let (mut alg, host) = (gateway(hosts), hosts.0);
    let now = Instant::from_micros(1);
    let end = |host| SocketAddrV4::new(host, 5060);
    let mut out = Outbox {
        watch: true,
        detailed: true,
        ..Outbox::default()
    };
    let server = Ipv4Addr::new(100, 127, 1, 1);
    let opened = alg.open_datagrams(now, end(host), end(server), &mut out);
    let opened = opened.expect("a flow");
    for message in messages {
        alg.datagram(now, opened.flow, from, message, &mut out);
    }
    SHORT.set(true);
    let kept: Vec<_> = alg.messages().collect();
    Outcome {
        rest: format!(
            "{:?} {:?} {:?} {:?} {kept:?}",
            out.doors,
            out.events,
            alg.counters(),
            alg.mappings(now)
        ),
        bytes: out.bytes,
    }
}

/// The same of a stream, whose messages nobody watches.
fn outcome_of_stream(
    remembering: bool,
    hosts: (Ipv4Addr, Ipv4Addr),
    from: Leg,
    messages: &[Vec<u8>],
) -> Outcome {
    alike::set_used(remembering);
    let (mut alg, host) = (gateway(hosts), hosts.0);
    let now = Instant::from_micros(1);
    let end = |host| SocketAddrV4::new(host, 5060);
    let mut out = Outbox::default();
    let server = Ipv4Addr::new(100, 127, 1, 1);
    let opened = alg.open(now, end(host), end(server), &mut out);
    let opened = opened.expect("a flow");
    for message in messages {
        alg.stream(now, opened.flow, from, message, &mut out);
    }
    alike::set_used(true);
    let kept: Vec<_> = alg.messages().collect();
    Outcome {
        rest: format!(
            "{:?} {:?} {:?} {:?} {kept:?}",
            out.doors,
            alg.counters(),
            alg.mappings(now),
            alg.calls(),
        ),
        bytes: out.bytes,
    }
}

/// The text with other letters and digits in the place of some.
fn reworded(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut text = bytes.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(text.len());
        for byte in text.iter_mut().skip(at).take(1 + random.below(8)) {
            if byte.is_ascii_alphanumeric() {
                *byte = b"0123456789abcxyzAZ"[random.below(18)];
            }
        }
    }
    text
}

/// The address in a text that comes first or last, if it can be a host's.
fn hosts(bytes: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let digits = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit());
    let starts = digits.filter(|at| *at == 0 || !bytes[at - 1].is_ascii_digit());
    let found = starts.filter_map(|at| Some(uri::ipv4(&bytes[at..])?.0));
    let found: Vec<_> = found.filter(|address| is_of_a_host(*address)).collect();
    let some = Ipv4Addr::new(192, 168, 122, 3);
    (
        found.first().copied().unwrap_or(some),
        found.last().copied().unwrap_or(some),
    )
}

/// Numbers that look random, and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

/// What a value may have that is not usual.
const ODD: &[&str] = &[
    "\r\n ",
    "\"",
    "\\",
    ",",
    ";",
    "<",
    ">",
    "@",
    "?",
    ":",
    " ",
    "\t",
    ".",
    "0",
    "9",
    "a",
    "*",
    ", <sip:1.2.3.4>",
    ";transport=udp",
    ";TRANSPORT = tls",
    ";rport",
    ";received=192.168.122.3",
    ";maddr=1.2.3.4",
    " ;rport=5060",
    "\"a, <b>\\\" c\" ",
    "sips:",
    "tel:",
    "[::1]",
];

/// The text with something odd in that part: put in, in the place of a byte, or a byte left out.
fn mutated(bytes: &[u8], part: Range<usize>, random: &mut Random) -> Vec<u8> {
    let at = part.start + random.below(part.len() + 1);
    let odd = match random.below(8) {
        0 => "",
        _ => ODD[random.below(ODD.len())],
    };
    let left_out = (at < part.end && (odd.is_empty() || random.below(2) == 0)) as usize;
    let mut text = bytes[..at].to_vec();
    text.extend_from_slice(odd.as_bytes());
    text.extend_from_slice(&bytes[at + left_out..]);
    text
}

/// All samples, but of the thousands that differ in one field only some.
fn some_samples() -> Vec<Sample> {
    let samples = samples::all().into_iter().enumerate();
    let some = samples.filter(|(nth, sample)| {
        sample.bytes.len() < 4096
            && (!sample.source.starts_with("protos") || nth.is_multiple_of(16))
    });
    some.map(|(_, sample)| sample).collect()
}

#[test]
fn the_short_way_and_the_long_one_come_to_the_same_in_every_message() {
    let mut random = Random(7);
    let mut changed = 0;
    for sample in some_samples() {
        let (first, last) = hosts(&sample.bytes);
        let foreign = Ipv4Addr::new(100, 127, 253, 1);
        let header = memchr::memmem::find(&sample.bytes, b"\r\n\r\n");
        let header = header.unwrap_or(sample.bytes.len());
        let mut texts = vec![sample.bytes.clone()];
        texts.extend((0..3).map(|_| mutated(&sample.bytes, 0..header, &mut random)));
        for text in &texts {
            for (hosts, from) in [
                ((last, foreign), Leg::Inside),
                ((first, foreign), Leg::Inside),
                ((Ipv4Addr::new(100, 127, 254, 3), first), Leg::Outside),
            ] {
                // Ends are known from the message before.
                let messages = [&sample.bytes[..], text, text];
                let short = outcome(true, hosts, from, &messages);
                let long = outcome(false, hosts, from, &messages);
                changed += usize::from(short.bytes != messages.concat());
                if let Some(difference) = short.difference(&long) {
                    let text = text.escape_ascii();
                    panic!("{} {hosts:?} {from:?} {text}: {difference}", sample.name);
                }
            }
        }
    }
    assert!(changed > 1000, "{changed}");
}

#[test]
fn what_is_found_as_in_a_message_before_is_what_reading_finds() {
    let mut random = Random(11);
    let mut changed = 0;
    for sample in some_samples() {
        let (first, last) = hosts(&sample.bytes);
        let foreign = Ipv4Addr::new(100, 127, 253, 1);
        let body = memchr::memmem::find(&sample.bytes, b"\r\n\r\n");
        let body = body.map_or(sample.bytes.len(), |at| at + 4);
        // A stream needs the length.
        let said = memchr::memmem::find(&sample.bytes, b"Content-Length").is_some();
        let length = format!("Content-Length: {}\r\n", sample.bytes.len() - body);
        let mut bytes = sample.bytes.clone();
        if !said && body >= 4 {
            bytes.splice(body - 2..body - 2, length.bytes());
        }
        let mut messages = vec![bytes.clone(), bytes.clone()];
        for _ in 0..12 {
            messages.push(reworded(&bytes, &mut random));
            if random.below(4) == 0 {
                messages.push(mutated(&bytes, 0..bytes.len(), &mut random));
            }
            messages.push(bytes.clone());
        }
        for (hosts, from) in [
            ((last, foreign), Leg::Inside),
            ((first, foreign), Leg::Inside),
            ((Ipv4Addr::new(100, 127, 254, 3), first), Leg::Outside),
        ] {
            let short = outcome_of_stream(true, hosts, from, &messages);
            let long = outcome_of_stream(false, hosts, from, &messages);
            changed += usize::from(short.bytes != messages.concat());
            if let Some(difference) = short.difference(&long) {
                let text = bytes.escape_ascii();
                panic!("{} {hosts:?} {from:?} {text}: {difference}", sample.name);
            }
        }
    }
    assert!(changed > 500, "{changed}");
}

/// Whether a message's event is among those that were told: the comparison sees them.
#[test]
fn what_is_compared_has_edits_and_events() {
    let message = b"OPTIONS sip:1.2.3.4:5060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.168.122.3:5060;branch=z9hG4bK1\r\n\
        From: <sip:a@192.168.122.3:5060>;tag=1\r\nTo: <sip:1.2.3.4:5060>\r\nCall-ID: 1\r\n\
        CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    let ours = (
        Ipv4Addr::new(192, 168, 122, 3),
        Ipv4Addr::new(100, 127, 253, 1),
    );
    let outcome = outcome(true, ours, Leg::Inside, &[message]);
    let text = String::from_utf8_lossy(&outcome.bytes).into_owned();
    assert!(text.contains("sip:a@100.127.253.1:5060>;tag"), "{text}");
    let from = SocketAddrV4::new(ours.0, 5060);
    let to = SocketAddrV4::new(ours.1, 5060);
    let session = 0;
    let told = format!("{:?}", Event::TranslatedAddress { session, from, to });
    assert!(outcome.rest.contains(&told), "{}", outcome.rest);
    assert!(outcome.rest.contains("EditView"), "{}", outcome.rest);
}

#[test]
fn what_the_rules_said_of_an_end_is_forgotten_when_they_change() {
    use crate::world::{World, config};
    let message = "OPTIONS sip:1.2.3.4:5060 SIP/2.0\r\nVia: SIP/2.0/TCP 192.168.122.3:5060\r\n\
        Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    let mut world = World::new();
    let flow = world.connect("192.168.122.3:5060", "1.2.3.4:5060");
    assert_ne!(world.say(flow, Leg::Inside, message), message);
    let mut other = config();
    other
        .sources
        .iter_mut()
        .for_each(|rule| rule.payload = false);
    world.reconfigure(other);
    assert_eq!(world.say(flow, Leg::Inside, message), message);
    world.reconfigure(config());
    assert_ne!(world.say(flow, Leg::Inside, message), message);
}

#[test]
fn values_of_the_usual_form_are_read_as_the_general_rule_reads_them() {
    let mut random = Random(3);
    let (mut usual, mut all) = (0, 0);
    for sample in some_samples() {
        let mut index = Index::default();
        for line in sample.bytes.split_inclusive(|byte| *byte == b'\n') {
            let start = line.as_ptr() as usize - sample.bytes.as_ptr() as usize;
            index.add_line(&sample.bytes, start..start + line.trim_ascii_end().len());
        }
        for field in &index.fields {
            let via = field.name == Name::Via;
            if via || super::table::row_of(field.name).is_some() {
                usual += usize::from(is_read_alike(&sample.bytes, field.value.clone(), via));
                all += 1;
            }
            for _ in 0..20 {
                let text = mutated(&sample.bytes, field.value.clone(), &mut random);
                let longer = text.len() as isize - sample.bytes.len() as isize;
                let end = field.value.end.saturating_add_signed(longer);
                is_read_alike(&text, field.value.start..end, via);
            }
        }
    }
    assert!(usual * 10 > all * 7, "{usual} of {all} go the short way");
}

/// Compares the two ways where the short one says something; whether it does.
fn is_read_alike(message: &[u8], value: Range<usize>, via: bool) -> bool {
    let text = message[value.clone()].escape_ascii();
    let mut values = uri::values(message, value.clone());
    let (first, more) = (values.next(), values.next());
    if via {
        let Some(short) = uri::usual::via(message, value) else {
            return false;
        };
        let long = uri::via(message, first.expect("a value")).expect("a Via");
        assert_eq!((more, short.transport), (None, long.transport), "{text}");
        let sent_by = short.sent_by.target(message).map(|target| target.host);
        assert_eq!(sent_by, long.sent_by, "{text}");
        let told = |span| -> Vec<(Range<usize>, Option<Range<usize>>)> {
            let names: [&[u8]; 3] = [b"maddr", b"received", b"rport"];
            let told =
                |parameter: &uri::Parameter| names.iter().any(|name| parameter.is(message, name));
            let told = uri::parameters(message, span).filter(told);
            // Where an empty value stands is all the same.
            told.map(|parameter| {
                (
                    parameter.name,
                    Some(parameter.value).filter(|value| !value.is_empty()),
                )
            })
            .collect()
        };
        assert_eq!(told(short.parameters), told(long.parameters), "{text}");
        return true;
    }
    let Some(short) = uri::usual::address(message, value) else {
        return false;
    };
    let long = uri::address(message, first.expect("a value")).expect("an address");
    assert_eq!(more, None, "{text}");
    assert_eq!(uri::Spot::of_uri(message, long.uri), Some(short), "{text}");
    true
}
