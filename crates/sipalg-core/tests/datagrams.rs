//! SIP over UDP: doors of flows, answers to the right place, pings.
#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

mod world;

use sipalg_core::Leg::{Inside, Outside};
use sipalg_core::{Config, DoorKind, DoorOp, FlowId};
use std::time::Duration;
use world::{World, at, config, sdp};

const SERVER: &str = "10.1.1.2:5060";
const PHONE: &str = "192.168.122.3:5060";

fn request(method: &str, via: &str, contact: &str) -> String {
    format!(
        "{method} sip:10.1.1.2 SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nFrom: <sip:a@10.1.1.2>;tag=1\r\nTo: <sip:a@10.1.1.2>\r\n\
         Call-ID: c\r\nCSeq: 1 {method}\r\nContact: {contact}\r\nContent-Length: 0\r\n\r\n"
    )
}

fn answer(request: &str) -> String {
    let (_, fields) = request.split_once("\r\n").unwrap();
    format!(
        "SIP/2.0 200 OK\r\n{}",
        fields.replace("Content-Length", "Expires: 60\r\nContent-Length")
    )
}

fn signalling(world: &World) -> Vec<String> {
    world.globals(DoorKind::Signalling)
}

/// RFC 4787 REQ-8.
#[test]
fn a_flow_has_a_door_while_it_lives_and_two_flows_share_it() {
    let mut world = World::new();
    let (first, source) = world.converse(PHONE, SERVER);
    assert_eq!(source, "10.1.1.1:5060");
    assert_eq!(signalling(&world), ["udp 10.1.1.1:5060"]);
    let (second, source) = world.converse(PHONE, "10.9.9.9:5060");
    assert_eq!(source, "10.1.1.1:5060");
    world.close(first);
    assert_eq!(signalling(&world), ["udp 10.1.1.1:5060"]);
    world.close(second);
    assert_eq!(signalling(&world), [""; 0]);
}

#[test]
fn a_flows_door_is_refreshed_before_the_kernel_forgets_it() {
    let mut world = World::new();
    world.converse(PHONE, SERVER);
    let DoorOp::Open(door) = world.last_ops[0] else {
        panic!("a door opens");
    };
    let mut refreshed = world.now;
    for _ in 0..20 {
        let next = world.alg.next_timeout().unwrap();
        assert!(next.since(refreshed) < door.lifetime);
        world.now = next;
        world.alg.handle_timeout(next, &mut world.out);
        if world.out.doors.contains(&DoorOp::Refresh(door)) {
            refreshed = next;
        }
        world.out.clear();
    }
    assert!(refreshed > door_opened());
}

fn door_opened() -> sipalg_core::Instant {
    World::new().now
}

#[test]
fn a_registration_keeps_the_door_of_a_flow_that_ends() {
    let mut world = World::new();
    let (flow, _) = world.converse(PHONE, SERVER);
    let text = request(
        "REGISTER",
        "192.168.122.3:5060;rport;branch=z9hG4bK1",
        "<sip:a@192.168.122.3>",
    );
    let sent = world.datagram(flow, Inside, &text);
    assert_eq!(sent, text.replace("192.168.122.3", "10.1.1.1"));
    world.datagram(flow, Outside, &answer(&sent));
    world.close(flow);
    assert_eq!(signalling(&world), ["udp 10.1.1.1:5060"]);
    // Anyone may send to it, and the phone's answers keep it open beyond the registration.
    let (incoming, _) = world.converse("10.7.7.7:9", "10.1.1.1:5060");
    world.datagram(
        incoming,
        Inside,
        "SIP/2.0 100 Trying\r\nContent-Length: 0\r\n\r\n",
    );
    world.wait(Duration::from_secs(3600));
    assert_eq!(signalling(&world), ["udp 10.1.1.1:5060"]);
    world.close(incoming);
    assert_eq!(signalling(&world), [""; 0]);
}

#[test]
fn who_only_listens_is_not_kept_open_by_the_outside() {
    let mut world = World::new();
    let (flow, _) = world.converse(PHONE, SERVER);
    let (incoming, _) = world.converse("10.7.7.7:9", "10.1.1.1:5060");
    world.datagram(
        incoming,
        Outside,
        &request("OPTIONS", "10.7.7.7:9", "<sip:b@10.7.7.7>"),
    );
    world.close(flow);
    assert_eq!(signalling(&world), [""; 0]);
    let refused = world.alg.open_datagrams(
        world.now,
        at("10.7.7.8:9"),
        at("10.1.1.1:5060"),
        &mut world.out,
    );
    assert!(refused.is_err());
}

/// RFC 3261 section 18.2.2: without `rport`, answers go to the port in the Via.
#[test]
fn answers_find_a_phone_that_sends_from_another_port_than_it_listens_at() {
    let via = "192.168.122.3:5060;branch=z9hG4bK1";
    for (via, port) in [(via.to_string(), true), (format!("{via};rport"), false)] {
        let mut world = World::new();
        let (flow, source) = world.converse("192.168.122.3:49000", SERVER);
        assert_eq!(source, "10.1.1.1:49000");
        let sent = world.datagram(
            flow,
            Inside,
            &request("OPTIONS", &via, "<sip:a@example.com>"),
        );
        assert!(sent.contains("SIP/2.0/UDP 10.1.1.1:5060"), "{sent}");
        let open = signalling(&world).contains(&"udp 10.1.1.1:5060".to_string());
        assert_eq!(open, port);
        world.wait(Duration::from_secs(3600));
        assert_eq!(signalling(&world).len(), 1 + usize::from(port));
        world.close(flow);
        assert_eq!(signalling(&world), [""; 0]);
    }
}

/// RFC 3581 section 4: what the server saw is the phone's own address again.
#[test]
fn received_and_rport_are_turned_back() {
    let mut world = World::new();
    let other = world.converse("192.168.122.4:5060", SERVER);
    assert_eq!(other.1, "10.1.1.1:5060");
    let (flow, source) = world.converse(PHONE, SERVER);
    let port = source.rsplit(':').next().unwrap();
    assert_ne!(port, "5060");
    let text = request(
        "OPTIONS",
        "192.168.122.3:5060;rport;branch=z9hG4bK1",
        "<sip:a@192.168.122.3>",
    );
    let sent = world.datagram(flow, Inside, &text);
    assert!(
        sent.contains(&format!("SIP/2.0/UDP 10.1.1.1:{port};rport;")),
        "{sent}"
    );
    assert!(
        sent.contains(&format!("Contact: <sip:a@10.1.1.1:{port}>")),
        "{sent}"
    );
    let seen = answer(&sent).replace(";rport;", &format!(";rport={port};received=10.1.1.1;"));
    let back = world.datagram(flow, Outside, &seen);
    assert!(
        back.contains("UDP 192.168.122.3:5060;rport=5060;received=192.168.122.3;"),
        "{back}"
    );
}

/// RFC 3261 section 19.1.1: a `transport` says which of the two a contact is reached by.
#[test]
fn a_contact_is_reached_by_its_transport_or_that_of_its_flow() {
    for (contact, door) in [
        ("<sip:a@192.168.122.3:5070>", "udp 10.1.1.1:5070"),
        (
            "<sip:a@192.168.122.3:5070;transport=udp>",
            "udp 10.1.1.1:5070",
        ),
        (
            "<sip:a@192.168.122.3:5070;transport=tcp>",
            "tcp 10.1.1.1:5070",
        ),
        ("<sips:a@192.168.122.3:5070>", "tcp 10.1.1.1:5070"),
    ] {
        let mut world = World::new();
        let (flow, _) = world.converse(PHONE, SERVER);
        let sent = world.datagram(
            flow,
            Inside,
            &request("REGISTER", "192.168.122.3;rport", contact),
        );
        world.datagram(flow, Outside, &answer(&sent));
        let doors = signalling(&world);
        assert_eq!(doors.len(), 2, "{contact}: {doors:?}");
        assert!(doors.contains(&door.to_string()), "{contact}: {doors:?}");
    }
}

#[test]
fn a_call_may_begin_over_udp_and_go_on_over_tcp() {
    let mut world = World::new();
    let (datagrams, _) = world.converse(PHONE, SERVER);
    let stream = world.connect("192.168.122.3:40001", SERVER);
    let body = sdp("192.168.122.3", 6000);
    let invite = request(
        "INVITE",
        "192.168.122.3:5060;rport",
        "<sip:a@192.168.122.3>",
    )
    .replace(
        "Content-Length: 0\r\n\r\n",
        &format!(
            "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    let sent = world.datagram(datagrams, Inside, &invite);
    assert!(!sent.contains("192.168"), "{sent}");
    let ok = "SIP/2.0 200 OK\r\nFrom: <sip:a@10.1.1.2>;tag=1\r\nTo: <sip:a@10.1.1.2>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    world.datagram(datagrams, Outside, ok);
    world.close(datagrams);
    assert_eq!(world.doors(DoorKind::Media).len(), 2);
    let bye = "BYE sip:a@10.1.1.2 SIP/2.0\r\nFrom: <sip:a@10.1.1.2>;tag=1\r\nTo: <sip:a@10.1.1.2>;tag=2\r\nCall-ID: c\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n";
    world.say(stream, Inside, bye);
    world.say(
        stream,
        Outside,
        &bye.replacen("BYE sip:a@10.1.1.2 SIP/2.0", "SIP/2.0 200 OK", 1),
    );
    assert_eq!(world.doors(DoorKind::Media), [""; 0]);
    assert_eq!(signalling(&world), [""; 0]);
}

/// A gateway that pings after 25 s, with a phone that has registered through it over TCP.
fn pinging() -> (World, FlowId) {
    let mut world = World::with(Config {
        keepalive: Some(Duration::from_secs(25)),
        ..config()
    });
    let flow = world.connect("192.168.122.3:40001", SERVER);
    assert_eq!(pings(&mut world, 1000), 0, "nobody is registered");
    let sent = world.say(
        flow,
        Inside,
        &request("REGISTER", "192.168.122.3", "<sip:a@192.168.122.3>"),
    );
    world.say(flow, Outside, &answer(&sent));
    (world, flow)
}

/// How many pings are asked for in so many seconds.
fn pings(world: &mut World, seconds: u64) -> usize {
    let until = world.now + Duration::from_secs(seconds);
    while let Some(next) = world.alg.next_timeout().filter(|next| *next <= until) {
        world.now = next.max(world.now);
        world.alg.handle_timeout(world.now, &mut world.out);
    }
    world.now = until;
    let count = world.out.pings.len();
    world.out.clear();
    count
}

/// RFC 5626 section 4.4.1: the gateway hides the NAT, so that nobody else keeps the flow alive.
#[test]
fn a_silent_flow_is_pinged_as_long_as_a_registration_lives_on_it() {
    let (mut world, flow) = pinging();
    assert_eq!(pings(&mut world, 24), 0);
    assert_eq!(pings(&mut world, 1), 1);
    assert_eq!(pings(&mut world, 20), 0);
    world.say(flow, Inside, "\r\n\r\n");
    assert_eq!(pings(&mut world, 24), 0, "the phone sent something");
    // Granted were 60 s and 5 s of grace, and 69 s have passed.
    assert_eq!(pings(&mut world, 1000), 0);
}

#[test]
fn a_registration_that_is_renewed_elsewhere_or_taken_back_leaves_its_flow_in_silence() {
    let (mut world, _) = pinging();
    let register = request("REGISTER", "192.168.122.3", "<sip:a@192.168.122.3>");
    let other = world.connect("192.168.122.3:40002", SERVER);
    let sent = world.say(other, Inside, &register);
    world.say(other, Outside, &answer(&sent));
    assert_eq!(pings(&mut world, 49), 1, "on one of the two");
    let sent = world.say(other, Inside, &register);
    world.say(
        other,
        Outside,
        &answer(&sent).replace("Expires: 60", "Expires: 0"),
    );
    assert_eq!(pings(&mut world, 49), 0);
}

#[test]
fn a_flow_that_is_not_between_messages_is_not_pinged() {
    let (mut world, flow) = pinging();
    let limit = world.alg.config().limits.body_bytes;
    let begun = format!(
        "OPTIONS sip:b@c SIP/2.0\r\nContent-Length: {}\r\n\r\nbody",
        limit + 1
    );
    world.say(flow, Inside, &begun);
    assert_eq!(pings(&mut world, 60), 0);
}

#[test]
fn the_answer_to_a_ping_of_ours_is_swallowed_and_that_to_the_phones_is_not() {
    let (mut world, flow) = pinging();
    assert_eq!(world.say(flow, Inside, "\r\n\r\n"), "\r\n\r\n");
    assert_eq!(pings(&mut world, 25), 1);
    assert_eq!(world.say(flow, Inside, "\r\n\r\n"), "\r\n\r\n");
    let back: Vec<_> = (0..4).map(|_| world.say(flow, Outside, "\r\n")).collect();
    assert_eq!(back, ["\r\n", "", "\r\n", "\r\n"]);
}

#[test]
fn over_udp_a_pong_is_swallowed_as_well() {
    let mut world = World::with(Config {
        keepalive: Some(Duration::from_secs(25)),
        ..config()
    });
    let (flow, _) = world.converse(PHONE, SERVER);
    let sent = world.datagram(
        flow,
        Inside,
        &request("REGISTER", "192.168.122.3;rport", "<sip:a@192.168.122.3>"),
    );
    world.datagram(flow, Outside, &answer(&sent));
    assert_eq!(pings(&mut world, 25), 1);
    assert_eq!(world.datagram(flow, Inside, "\r\n\r\n"), "\r\n\r\n");
    let back: Vec<_> = (0..2)
        .map(|_| world.datagram(flow, Outside, "\r\n"))
        .collect();
    assert_eq!(back, ["", "\r\n"]);
}
