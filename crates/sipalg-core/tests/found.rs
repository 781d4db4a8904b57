//! What fuzzing and simulation found, as small described cases.

mod world;

use sipalg_core::Leg::{Inside, Outside};
use sipalg_core::config::{Limits, Resource, Timers};
use sipalg_core::{Alg, DoorKind, DoorOp, Event, Leg, Outbox};
use std::time::Duration;
use world::{PHONE, SERVER, World, at, config, sdp};

/// A gateway with other limits.
fn limited(limits: Limits) -> World {
    let mut world = World::new();
    let config = sipalg_core::Config { limits, ..config() };
    world.alg = Alg::new(config, 1);
    world
}

fn request(method: &str, call: &str, cseq: u32, fields: &str, body: &str) -> String {
    format!(
        "{method} sip:b@10.1.1.2 SIP/2.0\r\nTo: <sip:b@10.1.1.2>;tag=b\r\ni: {call}\r\nCSeq: {cseq} {method}\r\n{fields}c: application/sdp\r\nl: {}\r\n\r\n{body}",
        body.len()
    )
}

fn answer(status: u16, call: &str, cseq: &str, body: &str) -> String {
    format!(
        "SIP/2.0 {status} x\r\nTo: <sip:b@10.1.1.2>;tag=b\r\ni: {call}\r\nCSeq: {cseq}\r\nc: application/sdp\r\nl: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn the_reason_of_a_demotion_does_not_depend_on_the_cuts() {
    let limits = Limits {
        header_bytes: 100,
        ..Limits::default()
    };
    // No start line, but that shows only behind the limit.
    let stream = format!("SIP/2.0 {}\r\n", "?".repeat(150));
    let reason = |parts: &mut dyn Iterator<Item = &[u8]>| {
        let mut world = limited(limits);
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
        out.events
            .into_iter()
            .find(|event| matches!(event, Event::Demoted(_)))
    };
    let whole = reason(&mut [stream.as_bytes()].into_iter());
    assert!(whole.is_some());
    assert_eq!(reason(&mut stream.as_bytes().chunks(1)), whole);
}

#[test]
fn the_length_of_a_part_is_rewritten_only_if_it_was_true() {
    let session = sdp("192.168.122.3", 6000);
    for told in ["lication/sdp", "5", "999", ""] {
        let body = format!(
            "--b\r\nContent-Type: application/sdp\r\nContent-Length: {told}\r\n\r\n{session}\r\n--b--\r\n"
        );
        let text = request("INVITE", "c1", 1, "", &body)
            .replace("c: application/sdp", "c: multipart/mixed;boundary=b");
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        let sent = world.say(flow, Inside, &text);
        assert!(
            sent.contains(&format!("Content-Length: {told}\r\n\r\nv=0")),
            "{sent}"
        );
        assert!(sent.contains("c=IN IP4 10.1.1.1"));
    }
}

#[test]
fn our_address_in_the_origin_of_the_outside_becomes_the_inside_hosts_whatever_its_media_is() {
    let body = sdp("10.1.1.77", 8000).replacen("10.1.1.77", "10.1.1.1", 1);
    let text = answer(200, "c1", "1 INVITE", &body);
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let seen = world.say(flow, Outside, &text);
    assert!(seen.contains("2353687637 IN IP4 192.168.122.3"), "{seen}");
    assert!(seen.contains("c=IN IP4 10.1.1.77"));
}

#[test]
fn an_address_of_the_outside_stays_as_it_is_spelled() {
    for spelled in ["10.001.001.077", "192.168.022.3", "192.168.122.003"] {
        let text = answer(200, "c1", "1 INVITE", &sdp(spelled, 8000));
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        assert_eq!(world.say(flow, Outside, &text), text);
    }
}

#[test]
fn the_doors_of_a_host_are_bounded_whatever_asks_for_them() {
    let limits = Limits::default().with(Resource::Door, 4);
    let mut world = limited(limits);
    let flow = world.connect(PHONE, SERVER);
    for call in 0..6 {
        let contact = format!("m: <sip:a@192.168.122.3:{}>\r\n", 5070 + call);
        let body = format!(
            "{}a=rtcp:{}\r\n",
            sdp("192.168.122.3", 6000 + 2 * call),
            7000 + call
        );
        let text = request("INVITE", &format!("c{call}"), 1, &contact, &body);
        world.say(flow, Inside, &text);
        assert!(world.alg.doors().len() <= 4);
    }
    assert_eq!(world.alg.doors().len(), 4);
    assert!(world.alg.counters().doors_refused > 0);
    world.wait(Duration::from_secs(3600));
    world.alg.close(world.now, flow, &mut world.out);
    world.wait(Duration::from_secs(3600));
    assert!(world.alg.mappings(world.now).is_empty());
}

#[test]
fn an_offer_sent_again_is_the_same_when_the_host_has_all_the_doors_it_may() {
    let limits = Limits::default().with(Resource::Door, 2);
    let mut world = limited(limits);
    let flow = world.connect(PHONE, SERVER);
    let text = request("INVITE", "c1", 1, "", &sdp("192.168.122.3", 6000));
    let sent = world.say(flow, Inside, &text);
    assert!(sent.contains("c=IN IP4 10.1.1.1"));
    assert_eq!(world.say(flow, Inside, &text), sent);
    assert_eq!(world.doors(DoorKind::Media).len(), 2);
}

#[test]
fn a_door_that_failed_opens_for_the_next_who_asks_and_stays_as_long_as_anybody_does() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let text = request("INVITE", "c1", 1, "", &sdp("192.168.122.3", 6000));
    world.say(flow, Inside, &text);
    for door in world.alg.doors() {
        world.alg.door_failed(world.now, &door);
    }
    assert!(world.alg.doors().is_empty());
    let mut out = Outbox::default();
    world
        .alg
        .stream(world.now, flow, Inside, text.as_bytes(), &mut out);
    assert!(
        out.doors.iter().all(|op| matches!(op, DoorOp::Open(_))),
        "{:?}",
        out.doors
    );
    assert_eq!(world.alg.doors().len(), 2);
}

#[test]
fn doors_that_failed_are_opened_when_it_is_tried_again_as_far_as_there_is_room() {
    let limits = Limits::default().with(Resource::Door, 2);
    let mut world = limited(limits);
    let flow = world.connect(PHONE, SERVER);
    let call = |name, port| request("INVITE", name, 1, "", &sdp("192.168.122.3", port));
    world.say(flow, Inside, &call("c1", 6000));
    let failed = world.alg.doors();
    for door in &failed {
        world.alg.door_failed(world.now, door);
    }
    let mut out = Outbox::default();
    assert_eq!(world.alg.retry_doors(world.now, &mut out), failed.len());
    let opened: Vec<_> = failed.iter().copied().map(DoorOp::Open).collect();
    assert_eq!(out.doors, opened);
    assert_eq!(world.alg.doors(), failed);
    // There is nothing more to try.
    out.clear();
    assert_eq!(world.alg.retry_doors(world.now, &mut out), 0);
    // The host may have no more.
    world.say(flow, Inside, &call("c2", 7000));
    assert_eq!(world.alg.retry_doors(world.now, &mut out), 0);
    assert_eq!(world.alg.doors(), failed);
}

#[test]
fn a_door_that_failed_is_not_tried_again_when_its_port_is_protected_now() {
    let mut world = limited(Limits::default());
    let flow = world.connect(PHONE, SERVER);
    let contact = "Contact: <sip:a@192.168.122.3:7777>\r\n";
    world.say(flow, Inside, &request("INVITE", "c1", 1, contact, ""));
    let failed = world.alg.doors();
    assert_eq!(failed.len(), 1);
    world.alg.door_failed(world.now, &failed[0]);
    let mut out = Outbox::default();
    let mut rules = world.alg.config().clone();
    rules.doors.protected = vec![(7777, 7777)];
    world.alg.reconfigure(world.now, rules, &mut out);
    out.clear();
    assert_eq!(world.alg.retry_doors(world.now, &mut out), 0);
    assert_eq!((out.doors, world.alg.doors()), (Vec::new(), Vec::new()));
}

#[test]
fn registrations_are_bounded_also_by_one_request_with_many_contacts() {
    let limits = Limits::default().with(Resource::Registration, 3);
    let mut world = limited(limits);
    let flow = world.connect(PHONE, SERVER);
    let contacts: Vec<_> = (0..8)
        .map(|n| format!("<sip:a@192.168.122.3:{}>", 5060 + n))
        .collect();
    let text = request(
        "REGISTER",
        "r",
        1,
        &format!("m: {}\r\n", contacts.join(",")),
        "",
    );
    let sent = world.say(flow, Inside, &text);
    let granted = sent
        .split("m: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_string();
    world.say(flow, Outside, &format!("SIP/2.0 200 OK\r\ni: r\r\nCSeq: 1 REGISTER\r\nExpires: 60\r\nm: {granted}\r\nl: 0\r\n\r\n"));
    assert_eq!(world.alg.sizes().1, 3);
    assert_eq!(world.doors(DoorKind::Signalling).len(), 3);
}

#[test]
fn a_contact_of_two_lines_stays_reachable_for_as_long_as_either_is_registered() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    for (line, wait) in [("one", 40), ("two", 0)] {
        let fields = format!(
            "REGISTER sip:x SIP/2.0\r\nTo: <sip:{line}@x>\r\ni: {line}\r\nCSeq: 1 REGISTER\r\n\
             m: <sip:a@192.168.122.3:5060>\r\nl: 0\r\n\r\n"
        );
        let sent = world.say(flow, Inside, &fields);
        let contact = sent.lines().find(|line| line.starts_with("m: "));
        let contact = contact.unwrap_or_else(|| panic!("{sent:?}"));
        let granted = format!(
            "SIP/2.0 200 OK\r\nTo: <sip:{line}@x>\r\ni: {line}\r\nCSeq: 1 REGISTER\r\n\
             Expires: 60\r\n{contact}\r\nl: 0\r\n\r\n"
        );
        world.say(flow, Outside, &granted);
        world.wait(Duration::from_secs(wait));
    }
    // The kernel counts from the second line's answer, not from the first one's.
    let [DoorOp::Refresh(door)] = world.last_ops.as_slice() else {
        panic!("{:?}", world.last_ops);
    };
    assert!(door.lifetime >= Duration::from_secs(60), "{door:?}");
    world.wait(Duration::from_secs(50));
    assert_eq!(world.doors(DoorKind::Signalling).len(), 1);
}

#[test]
fn media_at_a_shared_port_keeps_both_calls() {
    let idle = Timers::default().media_inactivity;
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    for call in ["c1", "c2"] {
        let text = request("INVITE", call, 1, "", &sdp("192.168.122.3", 6000));
        world.say(flow, Inside, &text);
        world.say(
            flow,
            Outside,
            &answer(200, call, "1 INVITE", &sdp("10.1.1.2", 8000)),
        );
    }
    for _ in 0..8 {
        world.wait(idle / 4);
        world.alg.media_seen(world.now, at("192.168.122.3:6000"));
    }
    assert_eq!(world.alg.sizes().0, 2, "both are there");
}

#[test]
fn a_candidate_may_name_the_port_of_a_later_line() {
    let body = |host: &str| {
        format!(
            "{}a=candidate:1 1 UDP 1 {host} 6010 typ host\r\nm=video 6010 RTP/AVP 31\r\n",
            sdp(host, 6000)
        )
    };
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let sent = world.say(
        flow,
        Inside,
        &request("INVITE", "c1", 1, "", &body("192.168.122.3")),
    );
    assert!(sent.ends_with(&body("10.1.1.1")), "{sent}");
}

#[test]
fn a_refused_resume_leaves_the_call_held() {
    let idle = Timers::default().media_inactivity;
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let session = |more: &str| format!("{}{more}", sdp("192.168.122.3", 6000));
    for (cseq, direction, status) in [
        (1, "", 200),
        (2, "a=sendonly\r\n", 200),
        (3, "a=sendrecv\r\n", 504),
    ] {
        world.say(
            flow,
            Inside,
            &request("INVITE", "c1", cseq, "", &session(direction)),
        );
        let body = match (status, cseq) {
            (200, 2) => format!("{}a=recvonly\r\n", sdp("10.1.1.2", 8000)),
            (200, _) => sdp("10.1.1.2", 8000),
            _ => String::new(),
        };
        world.say(
            flow,
            Outside,
            &answer(status, "c1", &format!("{cseq} INVITE"), &body),
        );
    }
    world.wait(idle * 4);
    assert_eq!(
        world.doors(DoorKind::Media).len(),
        2,
        "held, so it is silent"
    );
}

#[test]
fn a_refused_change_before_the_answer_leaves_what_the_early_answer_settled() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(
        flow,
        Inside,
        &request("INVITE", "c1", 1, "", &sdp("192.168.122.3", 6000)),
    );
    world.say(
        flow,
        Outside,
        &answer(183, "c1", "1 INVITE", &sdp("10.1.1.2", 8000)),
    );
    world.say(
        flow,
        Inside,
        &request("UPDATE", "c1", 2, "", &sdp("192.168.122.3", 7000)),
    );
    assert_eq!(world.doors(DoorKind::Media).len(), 4);
    world.say(flow, Outside, &answer(504, "c1", "2 UPDATE", ""));
    assert_eq!(
        world.doors(DoorKind::Media),
        ["192.168.122.3:6000", "192.168.122.3:6001"]
    );
}

/// RFC 5057 section 4.2: a blind transfer hangs up before it has heard how it went.
#[test]
fn the_contact_of_a_transfer_is_reachable_until_its_outcome_is_told() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let contact = "m: <sip:a@192.168.122.3:5060>\r\n";
    let offer = sdp("192.168.122.3", 6000);
    world.say(flow, Inside, &request("INVITE", "c1", 1, contact, &offer));
    world.say(
        flow,
        Outside,
        &answer(200, "c1", "1 INVITE", &sdp("10.1.1.2", 8000)),
    );
    world.say(flow, Inside, &request("REFER", "c1", 2, contact, ""));
    world.say(flow, Outside, &answer(202, "c1", "2 REFER", ""));
    world.say(flow, Inside, &request("BYE", "c1", 3, "", ""));
    world.say(flow, Outside, &answer(200, "c1", "3 BYE", ""));
    assert!(world.doors(DoorKind::Media).is_empty());
    assert_eq!(world.doors(DoorKind::Signalling), ["192.168.122.3:5060"]);
    let notify = "NOTIFY sip:a@10.1.1.1:5060 SIP/2.0\r\ni: c1\r\nCSeq: 1 NOTIFY\r\nSubscription-State: terminated\r\nl: 0\r\n\r\n";
    world.say(flow, Outside, notify);
    assert!(world.doors(DoorKind::Signalling).is_empty());
}

/// A port is a number, not the beginning of a longer word.
#[test]
fn an_address_behind_the_colon_of_an_address_is_no_port() {
    for sent_by in [
        "192.168.122.3:\t192.168.122.3:\t168.122.3",
        "192.168.122.3:5060x",
    ] {
        let text =
            format!("OPTIONS sip:b@10.1.1.2 SIP/2.0\r\nVia: SIP/2.0/TCP {sent_by}\r\nl: 0\r\n\r\n");
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        assert_eq!(world.say(flow, Inside, &text), text);
    }
}

/// The memory that a datagram was read in was handed on as if a message had begun there.
#[test]
fn a_stream_is_read_from_its_beginning_after_a_datagram() {
    let mut world = World::new();
    let phone = at("192.168.122.3:5060");
    let opened = world
        .alg
        .open_datagrams(world.now, phone, at(SERVER), &mut world.out);
    let flow = opened.unwrap().flow;
    let text =
        "OPTIONS sip:b@10.1.1.2 SIP/2.0\r\nVia: SIP/2.0/TCP 192.168.122.3:40001\r\nl: 0\r\n\r\n";
    world
        .alg
        .datagram(world.now, flow, Inside, text.as_bytes(), &mut world.out);
    world.out.clear();
    let flow = world.connect(PHONE, SERVER);
    let sent = world.say(flow, Inside, text);
    assert_eq!(sent, text.replace("192.168.122.3", "10.1.1.1"));
}
