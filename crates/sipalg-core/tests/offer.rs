//! The exact edges of offers and answers: which lines get doors, which are refused, and which of the
//! addresses around them follow.

mod world;

use sipalg_core::Leg::{Inside, Outside};
use sipalg_core::config::{Limits, Resource};
use sipalg_core::{Alg, Config, DoorKind};
use world::{PHONE, SERVER, World, config};

const OWN: &str = "192.168.122.3";
const OURS: &str = "10.1.1.1";
const OTHER: &str = "192.168.122.4";

fn limited(limits: Limits) -> World {
    let mut world = World::new();
    let config = Config { limits, ..config() };
    world.alg = Alg::new(config, 1);
    world
}

/// An INVITE with that session description; `lines` come after an `o=` and `c=` of `host`.
fn offer_of(cseq: u32, host: &str, lines: &str) -> String {
    let body =
        format!("v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n{lines}");
    format!(
        "INVITE sip:b@x SIP/2.0\r\ni: c1\r\nCSeq: {cseq} INVITE\r\nc: application/sdp\r\nl: {}\r\n\r\n{body}",
        body.len()
    )
}

fn session(message: &str) -> &str {
    &message[message.find("v=0").expect("a session description")..]
}

/// What the session description becomes.
fn sent(world: &mut World, host: &str, lines: &str) -> String {
    let flow = world.connect(PHONE, SERVER);
    let message = world.say(flow, Inside, &offer_of(1, host, lines));
    session(&message).to_string()
}

/// The same with addresses changed by hand: of `o=`, of the session's `c=`, and of the rest.
fn expected(origin: &str, connection: &str, lines: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 {origin}\r\ns=-\r\nc=IN IP4 {connection}\r\nt=0 0\r\n{lines}")
}

#[test]
fn what_is_refused_as_a_whole_stays_as_a_whole_and_what_is_shared_follows_the_translated() {
    let cases = [
        // Refused: below 1024, or another host's.
        (
            OWN,
            "m=audio 1023 RTP/AVP 0\r\n",
            None,
            None,
            "m=audio 1023 RTP/AVP 0\r\n",
        ),
        (
            OWN,
            "m=audio 9 RTP/AVP 0\r\n",
            None,
            None,
            "m=audio 9 RTP/AVP 0\r\n",
        ),
        (
            OTHER,
            "m=audio 6000 RTP/AVP 0\r\n",
            None,
            None,
            "m=audio 6000 RTP/AVP 0\r\n",
        ),
        // The lowest port is allowed; the active side of TCP names none; no line refuses nothing.
        (
            OWN,
            "m=audio 1024 RTP/AVP 0\r\n",
            Some(()),
            Some(()),
            "m=audio 1024 RTP/AVP 0\r\n",
        ),
        (
            OWN,
            "m=x 9 TCP x\r\n",
            Some(()),
            Some(()),
            "m=x 9 TCP x\r\n",
        ),
        (
            OWN,
            "m=audio 0 RTP/AVP 0\r\n",
            Some(()),
            Some(()),
            "m=audio 0 RTP/AVP 0\r\n",
        ),
        (OWN, "", Some(()), Some(()), ""),
        // One of two is refused, and goes by the session's `c=` as the other does.
        (
            OWN,
            "m=audio 6000 RTP/AVP 0\r\nm=video 80 RTP/AVP 31\r\n",
            Some(()),
            Some(()),
            "m=audio 6000 RTP/AVP 0\r\nm=video 80 RTP/AVP 31\r\n",
        ),
        // One of two is refused by the session's `c=`; the other has its own.
        (
            OWN,
            "m=video 80 RTP/AVP 31\r\nm=audio 6000 RTP/AVP 0\r\nc=IN IP4 192.168.122.3\r\n",
            Some(()),
            None,
            "m=video 80 RTP/AVP 31\r\nm=audio 6000 RTP/AVP 0\r\nc=IN IP4 10.1.1.1\r\n",
        ),
    ];
    for (host, lines, origin, connection, after) in cases {
        let became = |ours: Option<()>| if ours.is_some() { OURS } else { host };
        assert_eq!(
            sent(&mut World::new(), host, lines),
            expected(became(origin), became(connection), after),
            "{host} {lines}"
        );
    }
}

#[test]
fn a_line_asks_for_its_ports_and_those_of_rtcp_and_no_more_than_four_pairs() {
    for (line, doors) in [
        ("m=audio 6000 RTP/AVP 0\r\n", 2),
        ("m=audio 6000/2 RTP/AVP 0\r\n", 4),
        ("m=audio 6000/4 RTP/AVP 0\r\n", 8),
        ("m=audio 6000/60000 RTP/AVP 0\r\n", 8),
        ("m=audio 65534 RTP/AVP 0\r\n", 2),
        ("m=audio 65535 RTP/AVP 0\r\n", 1),
        ("m=audio 65532/4 RTP/AVP 0\r\n", 4),
        ("m=audio 0 RTP/AVP 0\r\n", 0),
        ("m=audio 6000 RTP/AVP 0\r\na=rtcp:6001\r\n", 2),
        ("m=audio 6000 RTP/AVP 0\r\na=rtcp:1024\r\n", 3),
        ("m=audio 6000 RTP/AVP 0\r\na=rtcp:1023\r\n", 2),
        (
            "m=audio 6000 RTP/AVP 0\r\na=rtcp:7000 IN IP4 192.168.122.4\r\n",
            2,
        ),
        (
            "m=audio 6000 RTP/AVP 0\r\na=rtcp:7000 IN IP4 192.168.122.3\r\n",
            3,
        ),
    ] {
        let mut world = World::new();
        let after = sent(&mut world, OWN, line);
        assert_eq!(world.alg.doors().len(), doors, "{line}");
        let kept = line.contains("rtcp:1023") || line.contains("122.4");
        let own = if kept {
            line.into()
        } else {
            line.replace(OWN, OURS)
        };
        assert_eq!(after, expected(OURS, OURS, &own), "{line}");
    }
}

#[test]
fn lines_and_doors_are_allowed_up_to_their_limits() {
    let lines = "m=audio 6000 RTP/AVP 0\r\nm=video 6002 RTP/AVP 31\r\n";
    for (media_lines, doors_per_host, doors) in [
        (2, 4, 4),
        (1, 4, 2),
        (0, 4, 0),
        (2, 3, 2),
        (2, 2, 2),
        (2, 1, 0),
    ] {
        let mut world = limited(Limits {
            media_lines,
            ..Limits::default().with(Resource::Door, doors_per_host)
        });
        sent(&mut world, OWN, lines);
        assert_eq!(
            world.alg.doors().len(),
            doors,
            "{media_lines} {doors_per_host}"
        );
        let refused = world.alg.counters().doors_refused;
        assert_eq!(refused, 2 - doors as u64 / 2);
    }
}

#[test]
fn ports_that_are_open_already_leave_room_for_others() {
    let mut world = limited(Limits::default().with(Resource::Door, 4));
    let flow = world.connect(PHONE, SERVER);
    let one = "m=audio 6000 RTP/AVP 0\r\n";
    let two = "m=audio 6000 RTP/AVP 0\r\nm=video 6002 RTP/AVP 31\r\n";
    world.say(flow, Inside, &offer_of(1, OWN, one));
    let after = world.say(flow, Inside, &offer_of(2, OWN, two));
    assert_eq!(session(&after), expected(OURS, OURS, two));
    assert_eq!(world.doors(DoorKind::Media).len(), 4);
    assert_eq!(world.alg.counters().doors_refused, 0);
}

/// RFC 2543 section B.5: 0.0.0.0 holds; what is held keeps its own doors and no others.
#[test]
fn a_line_held_by_its_address_keeps_its_own_doors() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let answer = |cseq: u32| {
        format!(
            "SIP/2.0 200 OK\r\nTo: <sip:b@x>;tag=b\r\ni: c1\r\nCSeq: {cseq} INVITE\r\nl: 0\r\n\r\n"
        )
    };
    let two = "m=audio 6000 RTP/AVP 0\r\nm=video 6002 RTP/AVP 31\r\n";
    world.say(flow, Inside, &offer_of(1, OWN, two));
    world.say(flow, Outside, &answer(1));
    let held = "m=audio 6000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\nm=video 0 RTP/AVP 31\r\n";
    let after = world.say(flow, Inside, &offer_of(2, OWN, held));
    assert_eq!(session(&after), expected(OURS, OURS, held));
    world.say(flow, Outside, &answer(2));
    assert_eq!(
        world.doors(DoorKind::Media),
        ["192.168.122.3:6000", "192.168.122.3:6001"]
    );
}

/// What comes in is turned back by what it names.
#[test]
fn only_lines_of_ours_come_in_as_the_inside_and_only_if_their_shared_address_can() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let lines = "m=audio 6000 RTP/AVP 0\r\nm=video 6002 RTP/AVP 31\r\n";
    world.say(flow, Inside, &offer_of(1, OWN, lines));
    let mut comes = |host: &str, lines: &str| {
        let message = world.say(flow, Outside, &offer_of(7, host, lines));
        session(&message).to_string()
    };
    assert_eq!(comes(OURS, lines), expected(OWN, OWN, lines));
    // One line is ours, the other at our address is nobody's.
    let mixed = "m=audio 6000 RTP/AVP 0\r\nm=video 7000 RTP/AVP 31\r\n";
    assert_eq!(comes(OURS, mixed), expected(OURS, OURS, mixed));
    // The same, but the other has ended.
    let ended = "m=audio 6000 RTP/AVP 0\r\nm=video 0 RTP/AVP 31\r\n";
    assert_eq!(comes(OURS, ended), expected(OWN, OWN, ended));
    // None is ours; the origin still names us.
    let foreign = "m=audio 7000 RTP/AVP 0\r\n";
    assert_eq!(comes(OURS, foreign), expected(OWN, OURS, foreign));
    assert_eq!(
        comes("10.1.1.2", foreign),
        expected("10.1.1.2", "10.1.1.2", foreign)
    );
    // Each with an address of its own.
    let own = |host: &str| {
        format!(
            "m=audio 6000 RTP/AVP 0\r\nc=IN IP4 {host}\r\na=rtcp:6001 IN IP4 {host}\r\nm=video 7000 RTP/AVP 31\r\nc=IN IP4 10.1.1.2\r\n"
        )
    };
    assert_eq!(
        comes("10.1.1.2", &own(OURS)),
        expected("10.1.1.2", "10.1.1.2", &own(OWN))
    );
}

#[test]
fn a_quoted_session_uses_the_ports_that_are_there_and_asks_for_none() {
    let mut world = World::new();
    let neighbour = world.connect("192.168.122.4:40001", SERVER);
    let line = "m=audio 6000 RTP/AVP 0\r\n";
    world.say(
        neighbour,
        Inside,
        &offer_of(1, OTHER, line).replace("c1", "c2"),
    );
    let flow = world.connect(PHONE, SERVER);
    let known = world.say(flow, Inside, &offer_of(1, OWN, line));
    assert!(
        !known.contains("m=audio 6000 "),
        "the neighbour has that number"
    );
    let lines = "m=audio 6000 RTP/AVP 0\r\na=candidate:1 1 UDP 1 192.168.122.3 6000 typ host\r\nm=video 7000 RTP/AVP 31\r\n";
    let quoted = offer_of(1, OWN, lines).replace("INVITE", "MESSAGE");
    let after = world.say(flow, Inside, &quoted);
    let port = session(&known)
        .split("m=audio ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert_eq!(
        session(&after),
        expected(OURS, OURS, &lines.replace("6000", port).replace(OWN, OURS))
    );
    assert_eq!(world.doors(DoorKind::Media).len(), 4);
}
