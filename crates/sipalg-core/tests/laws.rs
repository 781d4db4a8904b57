//! Laws that hold for any conversation, tried on many made from a fixed seed.

mod world;

use sipalg_core::{Alg, DoorOp, Event, Leg, Outbox};
use world::{PHONE, SERVER, World, at, config, sdp};

/// A small generator, the same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

/// A message that an inside phone might send, in all kinds of spelling.
fn message(dice: &mut Dice) -> String {
    let host = dice.pick(&[
        "192.168.122.3",
        "192.168.122.3:5060",
        "192.168.122.4:5080",
        "example.com",
        "8.8.8.8:5060",
        "[::1]:5060",
    ]);
    let via = dice.pick(&["Via", "v", "VIA ", "Via\t"]);
    let contact = dice.pick(&["Contact", "m", "CONTACT"]);
    let fold = dice.pick(&["", "\r\n ", "\r\n\t", "  "]);
    let length = dice.pick(&["Content-Length", "l", "content-length"]);
    let body = match dice.roll(4) {
        0 => String::new(),
        1 => sdp("192.168.122.3", 6000 + 2 * dice.roll(50) as u16),
        2 => sdp("8.8.8.8", 4000),
        _ => format!(
            "{}m=video {} RTP/AVP 31\r\n",
            sdp("192.168.122.3", 7000),
            8000 + dice.roll(9)
        ),
    };
    let start = match dice.roll(3) {
        0 => format!("SIP/2.0 {} x", 180 + 20 * dice.roll(3)),
        1 => format!("INVITE sip:bob@{host} SIP/2.0"),
        _ => format!("UPDATE sip:bob@{host};transport=tcp SIP/2.0"),
    };
    let kind = if body.is_empty() {
        ""
    } else {
        "c: application/sdp\r\n"
    };
    format!(
        "{start}\r\n{via}:{fold}SIP/2.0/TCP {host};branch=z9hG4bK{};rport\r\nf: \"a, b\" <sip:a@{host}>;tag=1\r\n\
         To:{fold}<sip:b@{host}>\r\n{contact}: <sip:a@{host}>;expires=9,{fold}\"q;\" <sip:c@{host}>\r\n\
         X-Unknown: 192.168.122.3\r\ni: call{}\r\nCSeq: {} INVITE\r\n{kind}{length}:{fold}{}\r\n\r\n{body}",
        dice.roll(1000),
        dice.roll(5),
        dice.roll(3),
        body.len(),
    )
}

fn stream(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + dice.roll(6) {
        if dice.roll(4) == 0 {
            bytes.extend_from_slice(b"\r\n\r\n");
        }
        bytes.extend_from_slice(message(dice).as_bytes());
    }
    bytes
}

/// Feeds the parts; what came out in bytes, doors and events (without those that tell of the
/// cutting itself).
fn run(parts: &[&[u8]]) -> (Vec<u8>, Vec<DoorOp>, Vec<Event>) {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let mut out = Outbox {
        watch: true,
        ..Outbox::default()
    };
    for part in parts {
        world
            .alg
            .stream(world.now, flow, Leg::Inside, part, &mut out);
    }
    world
        .alg
        .end_of_stream(world.now, flow, Leg::Inside, &mut out);
    let events = out.events.into_iter().filter(|event| {
        !matches!(
            event,
            Event::AlgNeeded
                | Event::Received { .. }
                | Event::HeaderComplete { .. }
                | Event::FramerState { .. }
                | Event::MessagesReceived(_)
        )
    });
    (out.bytes, out.doors, events.collect())
}

#[test]
fn any_cutting_of_the_stream_gives_the_same_bytes_doors_and_events() {
    let mut dice = Dice(1);
    for _ in 0..300 {
        let bytes = stream(&mut dice);
        let whole = run(&[&bytes]);
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(run(&single), whole);
        for _ in 0..20 {
            let (a, b) = (dice.roll(bytes.len()), dice.roll(bytes.len()));
            let (a, b) = (a.min(b), a.max(b));
            assert_eq!(run(&[&bytes[..a], &bytes[a..b], &bytes[b..]]), whole);
        }
    }
}

#[test]
fn content_length_is_true_and_the_number_of_messages_stays() {
    let mut dice = Dice(2);
    for _ in 0..2000 {
        let bytes = stream(&mut dice);
        let count = |bytes: &[u8]| {
            let mut alg = Alg::new(config(), 1);
            let flow = alg
                .open(Default::default(), at(PHONE), at(SERVER))
                .unwrap()
                .flow;
            let mut out = Outbox::default();
            alg.stream(Default::default(), flow, Leg::Outside, bytes, &mut out);
            (
                alg.counters().messages,
                alg.counters().demoted,
                out.bytes.len() >= bytes.len() / 2,
            )
        };
        let (sent, _, _) = run(&[&bytes]);
        assert_eq!(count(&sent), count(&bytes));
        assert_eq!(count(&sent).1, 0);
    }
}

#[test]
fn what_went_out_translated_comes_back_as_it_was() {
    let mut dice = Dice(3);
    for _ in 0..2000 {
        let host = dice.pick(&[
            "192.168.122.3",
            "192.168.122.3:5060",
            "192.168.122.3:40001",
            "example.com",
            "8.8.8.8:5060",
        ]);
        let text = format!(
            "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TCP {host};branch=z9hG4bK1\r\nFrom: <sip:a@{host}>\r\n\
             Contact: <sip:a@{host};transport=tcp>\r\nRecord-Route: <sip:{host};lr>\r\ni: x\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n"
        );
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        let sent = world.say(flow, Leg::Inside, &text);
        assert!(!sent.contains("192.168."), "{sent}");
        assert_eq!(world.say(flow, Leg::Inside, &text), sent, "the same again");
        let echo = sent.replacen("OPTIONS sip:bob@example.com SIP/2.0", "SIP/2.0 200 OK", 1);
        let expected = text.replacen("OPTIONS sip:bob@example.com SIP/2.0", "SIP/2.0 200 OK", 1);
        assert_eq!(world.say(flow, Leg::Outside, &echo), expected);
    }
}

#[test]
fn bytes_of_any_kind_are_never_lost_and_never_panic() {
    let mut dice = Dice(4);
    for _ in 0..3000 {
        let mut bytes = stream(&mut dice);
        for _ in 0..1 + dice.roll(8) {
            let place = dice.roll(bytes.len());
            match dice.roll(3) {
                0 => bytes[place] = dice.roll(256) as u8,
                1 => bytes.truncate(place.max(1)),
                _ => bytes.insert(place, dice.roll(256) as u8),
            }
        }
        for from in [Leg::Inside, Leg::Outside] {
            let mut world = World::new();
            let flow = world.connect(PHONE, SERVER);
            let mut out = Outbox {
                watch: true,
                ..Outbox::default()
            };
            for part in bytes.chunks(1 + dice.roll(400)) {
                world.alg.stream(world.now, flow, from, part, &mut out);
            }
            world.alg.end_of_stream(world.now, flow, from, &mut out);
            // Addresses may change their length; nothing else may come or go.
            let letters = |bytes: &[u8]| {
                bytes
                    .iter()
                    .filter(|b| !b.is_ascii_digit() && !matches!(b, b'.' | b':' | b' '))
                    .copied()
                    .collect::<Vec<_>>()
            };
            assert_eq!(letters(&out.bytes), letters(&bytes));
        }
    }
}
