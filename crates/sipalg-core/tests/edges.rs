//! Edges of the rules that mutation testing found untested.

mod world;

use sipalg_core::Leg::{Inside, Outside};
use sipalg_core::{DoorKind, Protocol};
use world::{PHONE, SERVER, World, at, config, sdp};

fn message(start: &str, fields: &str, body: &str) -> String {
    format!(
        "{start} SIP/2.0\r\ni: c1\r\nCSeq: 1 {}\r\n{fields}l: {}\r\n\r\n{body}",
        start.split(' ').next().unwrap_or_default(),
        body.len()
    )
}

fn invite(fields: &str) -> String {
    message("INVITE sip:b@x", fields, "")
}

fn offer(body: &str) -> String {
    message("INVITE sip:b@x", "c: application/sdp\r\n", body)
}

/// A world in which another phone is known at 192.168.122.4:5060.
fn with_neighbour() -> World {
    let mut world = World::new();
    let flow = world.connect("192.168.122.4:40001", SERVER);
    let text = message(
        "OPTIONS sip:x",
        "Contact: <sip:d@192.168.122.4:5060>\r\n",
        "",
    );
    world.say(flow, Inside, &text);
    world
}

#[test]
fn a_contact_of_a_known_neighbour_is_translated_but_gets_no_door() {
    let mut world = with_neighbour();
    let flow = world.connect(PHONE, SERVER);
    let text = invite("m: <sip:d@192.168.122.4:5060>\r\n");
    let sent = world.say(flow, Inside, &text);
    assert_eq!(sent, text.replace("192.168.122.4", "10.1.1.1"));
    assert!(world.doors(DoorKind::Signalling).is_empty());
}

#[test]
fn a_contact_in_a_fragment_gets_no_door() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let text = message(
        "INVITE sip:b@x",
        "c: message/sipfrag\r\n",
        "INVITE sip:x SIP/2.0\r\nContact: <sip:a@192.168.122.3:40001>\r\n",
    );
    let sent = world.say(flow, Inside, &text);
    assert!(sent.contains("Contact: <sip:a@10.1.1.1:40001>"), "{sent}");
    assert!(world.doors(DoorKind::Signalling).is_empty());
}

#[test]
fn contacts_and_routes_together_are_bounded() {
    for (contacts, routes) in [(30, 0), (0, 30), (12, 12)] {
        let list = |name: &str, count: u16, base: u16| -> String {
            let values =
                (0..count).map(|n| format!("{name}: <sip:a@192.168.122.3:{};lr>\r\n", base + n));
            values.collect()
        };
        let fields = list("Contact", contacts, 5060) + &list("Record-Route", routes, 7000);
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        world.say(flow, Inside, &invite(&fields));
        let most = config().limits.contacts;
        let opened = world.doors(DoorKind::Signalling).len();
        assert!(
            opened <= most && opened > 0,
            "{contacts} {routes}: {opened}"
        );
        let refused = world.alg.counters().doors_refused;
        assert_eq!(refused, u64::from(contacts + routes) - most as u64);
    }
}

#[test]
fn the_inside_of_another_protocol_is_another_mapping() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(flow, Inside, &offer(&sdp("192.168.122.3", 6000)));
    // The media port 6000 is UDP; a contact there over TCP has a mapping of its own.
    world.say(flow, Inside, &invite("m: <sip:a@192.168.122.3:6000>\r\n"));
    let mappings = world.alg.mappings(world.now);
    let of = |protocol| {
        let local = at("192.168.122.3:6000");
        mappings
            .iter()
            .any(|m| (m.protocol, m.inside_local) == (protocol, local))
    };
    assert!(of(Some(Protocol::Tcp)) && of(Some(Protocol::Udp)));
}

/// RFC 3420 section 2: a fragment may begin with a start line; further down that is none.
#[test]
fn only_the_first_line_of_a_fragment_is_a_start_line() {
    let fragment = |lines: &str| {
        message(
            "NOTIFY sip:b@x",
            "c: message/sipfrag\r\n",
            &lines.replace('\n', "\r\n"),
        )
    };
    for (lines, expected) in [
        (
            "INVITE sip:192.168.122.3 SIP/2.0\nFrom: <sip:192.168.122.3>\n",
            "INVITE sip:10.1.1.1 SIP/2.0\nFrom: <sip:10.1.1.1>\n",
        ),
        (
            "SIP/2.0 200 OK\nFrom: <sip:192.168.122.3>\n",
            "SIP/2.0 200 OK\nFrom: <sip:10.1.1.1>\n",
        ),
        (
            "From: <sip:192.168.122.3>\nINVITE sip:192.168.122.3 SIP/2.0\n",
            "From: <sip:10.1.1.1>\nINVITE sip:192.168.122.3 SIP/2.0\n",
        ),
        (
            "From: <sip:192.168.122.3>\n\nFrom: <sip:192.168.122.3>\n",
            "From: <sip:10.1.1.1>\n\nFrom: <sip:192.168.122.3>\n",
        ),
    ] {
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        assert_eq!(
            world.say(flow, Inside, &fragment(lines)),
            fragment(expected)
        );
    }
}

/// The inside locals that have a mapping.
fn mapped(world: &World) -> Vec<String> {
    let mappings = world.alg.mappings(world.now);
    let locals = mappings.iter().map(|m| m.inside_local.to_string());
    locals.collect()
}

#[test]
fn an_identity_without_a_port_of_its_own_host_changes_its_address_alone() {
    let mut world = with_neighbour();
    let flow = world.connect(PHONE, SERVER);
    // Before and after the phone has a mapping at the usual port, which has another number.
    for contact in ["", "Contact: <sip:a@192.168.122.3:5060>\r\n"] {
        let sent = world.say(flow, Inside, &message("OPTIONS sip:x", contact, ""));
        assert!(!sent.contains("10.1.1.1:5060"));
        let text = message(
            "OPTIONS sip:x",
            "From: <sip:a@192.168.122.3>\r\nReply-To: <sip:d@192.168.122.9:5070>\r\n",
            "",
        );
        let expected = text
            .replace("192.168.122.3", "10.1.1.1")
            .replace("192.168.122.9", "10.1.1.1");
        assert_eq!(world.say(flow, Inside, &text), expected);
        assert!(!mapped(&world).contains(&"192.168.122.9:5070".to_string()));
        assert_eq!(
            mapped(&world).contains(&"192.168.122.3:5060".to_string()),
            !contact.is_empty()
        );
    }
}

#[test]
fn an_identity_with_a_port_of_its_own_host_is_mapped_but_not_in_a_fragment() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let fragment = message(
        "NOTIFY sip:b@x",
        "c: message/sipfrag\r\n",
        "From: <sip:a@192.168.122.3:5070>\r\n",
    );
    let sent = world.say(flow, Inside, &fragment);
    assert!(sent.contains("10.1.1.1:5070"));
    assert_eq!(mapped(&world), [PHONE]);
    let text = message("OPTIONS sip:x", "From: <sip:a@192.168.122.3:5070>\r\n", "");
    world.say(flow, Inside, &text);
    assert_eq!(mapped(&world), ["192.168.122.3:5070", PHONE]);
}

/// Only what the mappings cannot tell is remembered.
#[test]
fn what_the_rule_itself_brings_back_is_not_kept() {
    let mut world = with_neighbour();
    let flow = world.connect(PHONE, SERVER);
    let text = message(
        "OPTIONS sip:x",
        "Via: SIP/2.0/TCP 192.168.122.3:5060\r\nFrom: <sip:a@192.168.122.3>\r\nContact: <sip:a@192.168.122.3:5060>\r\n\
         Reply-To: <sip:a@192.168.122.3:5060>\r\n",
        "",
    );
    let sent = world.say(flow, Inside, &text);
    assert_eq!(world.alg.sizes().2, 0);
    let contact = sent.split("Contact: <sip:a@").nth(1).unwrap();
    let global = contact.split('>').next().unwrap();
    assert_ne!(global, "10.1.1.1:5060");
    let incoming = message(
        &format!("INFO sip:a@{global}"),
        &format!(
            "Via: SIP/2.0/TCP 10.1.1.2\r\nTo: <sip:a@10.1.1.1>\r\nReply-To: <sip:a@10.1.1.1:9999>\r\n\
             Route: <sip:{global};lr>\r\nRecord-Route: <sip:{global};lr>, <sip:10.1.1.1;lr>\r\n"
        ),
        "",
    );
    let seen = world.say(flow, Outside, &incoming);
    assert!(
        seen.starts_with("INFO sip:a@192.168.122.3:5060 SIP/2.0"),
        "{seen}"
    );
    // 10.1.1.1:5060 is the neighbour's: that is how it comes in, and goes back.
    assert!(seen.contains("<sip:192.168.122.4;lr>"), "{seen}");
    assert_eq!(world.alg.sizes().2, 0, "{seen}");
}

/// Room is kept for an address with a port and some white space, 30 bytes; a longer spelling comes
/// back in the usual one.
#[test]
fn white_space_around_a_colon_comes_back_up_to_a_length() {
    for (blanks, back) in [(12, 12), (13, 0), (40, 0)] {
        let text = |host: &str, start: &str| {
            format!("{start}\r\nVia: SIP/2.0/TCP {host}\r\ni: x\r\nCSeq: 1 INFO\r\nl: 0\r\n\r\n")
        };
        let spelled = |blanks: usize| format!("192.168.122.3{}:5060", " ".repeat(blanks));
        let (request, answer) = ("INFO sip:b@x SIP/2.0", "SIP/2.0 200 OK");
        // The neighbour has the number, so that the port is written anew.
        let mut world = with_neighbour();
        let flow = world.connect(PHONE, SERVER);
        let sent = world.say(flow, Inside, &text(&spelled(blanks), request));
        assert!(sent.contains("Via: SIP/2.0/TCP 10.1.1.1:"), "{sent}");
        let seen = world.say(flow, Outside, &sent.replace(request, answer));
        assert_eq!(seen, text(&spelled(back), answer), "{blanks}");
    }
}

#[test]
fn messages_are_counted_as_changed_if_a_byte_was_rewritten() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    for (via, changed) in [("8.8.8.8", 0), ("192.168.122.3", 1), ("example.com", 1)] {
        let text = message("INFO sip:b@x", &format!("Via: SIP/2.0/TCP {via}\r\n"), "");
        world.say(flow, Inside, &text);
        assert_eq!(world.alg.counters().messages_changed, changed);
    }
    assert_eq!(world.alg.counters().messages, 3);
}
