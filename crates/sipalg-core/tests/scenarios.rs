//! Whole conversations through the machine: what goes in, what comes out, which doors move.

mod world;

use sipalg_core::Leg::{Inside, Outside};
use sipalg_core::config::Timers;
use sipalg_core::{DoorKind, DoorOp, Refusal};
use std::time::Duration;
use world::{PHONE, SERVER, World, at, sdp};

const REGISTER: &str = "REGISTER sip:example.com SIP/2.0\r\n\
    Via: SIP/2.0/TCP 192.168.122.3:5060;branch=z9hG4bK1;rport\r\n\
    From: <sip:1001@example.com>;tag=1\r\n\
    To: <sip:1001@example.com>\r\n\
    Call-ID: r1@192.168.122.3\r\n\
    CSeq: 1 REGISTER\r\n\
    Contact: <sip:1001@192.168.122.3:5060;transport=tcp>;expires=600\r\n\
    Content-Length: 0\r\n\r\n";

fn invite(body: &str) -> String {
    format!(
        "INVITE sip:2002@10.1.1.2 SIP/2.0\r\n\
         Via: SIP/2.0/TCP 192.168.122.3:5060;branch=z9hG4bK2\r\n\
         From: <sip:1001@192.168.122.3>;tag=1\r\n\
         To: <sip:2002@10.1.1.2>\r\n\
         Call-ID: c1@192.168.122.3\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:1001@192.168.122.3:5060;transport=tcp>\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn request(method: &str, cseq: &str, more: &str) -> String {
    format!(
        "{method} sip:2002@10.1.1.2 SIP/2.0\r\nCall-ID: c1@192.168.122.3\r\nCSeq: {cseq}\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

fn response(status: u16, cseq: &str) -> String {
    format!("SIP/2.0 {status} x\r\nCall-ID: c1@192.168.122.3\r\nCSeq: {cseq}\r\nl: 0\r\n\r\n")
}

fn answer(status: u16, cseq: &str, body: &str) -> String {
    format!(
        "SIP/2.0 {status} x\r\nCall-ID: c1@192.168.122.3\r\nCSeq: {cseq}\r\nc: application/sdp\r\nl: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_registered_contact_is_reachable_after_the_2xx_and_no_longer_than_granted() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let sent = world.say(flow, Inside, REGISTER);
    assert_eq!(
        sent,
        REGISTER.replace("192.168.122.3:5060", "10.1.1.1:5060")
    );
    let contact = at("10.1.1.1:5060");
    assert_eq!(world.alg.signalling_target(contact), None, "before the 2xx");
    assert_eq!(
        world
            .alg
            .open(world.now, at(SERVER), contact, &mut world.out),
        Err(Refusal::NoDoor)
    );

    let ok = "SIP/2.0 200 OK\r\n\
        Via: SIP/2.0/TCP 10.1.1.1:5060;branch=z9hG4bK1;rport=40001;received=10.1.1.1\r\n\
        Call-ID: r1@192.168.122.3\r\nCSeq: 1 REGISTER\r\n\
        Contact: <sip:1001@10.9.9.9:5060>;expires=9, <sip:1001@10.1.1.1:5060;transport=tcp>;expires=60\r\n\
        Content-Length: 0\r\n\r\n";
    let seen = world.say(flow, Outside, ok);
    let expected = ok
        .replace("10.1.1.1:5060", "192.168.122.3:5060")
        .replace("received=10.1.1.1", "received=192.168.122.3");
    assert_eq!(seen, expected);
    assert_eq!(
        world.alg.signalling_target(contact),
        Some(at("192.168.122.3:5060"))
    );
    let opened = world
        .alg
        .open(world.now, at("10.1.1.77:1234"), contact, &mut world.out)
        .unwrap();
    assert_eq!(
        (opened.source, opened.target),
        (at("10.1.1.77:1234"), at("192.168.122.3:5060"))
    );

    world.wait(Duration::from_secs(59));
    assert!(world.alg.signalling_target(contact).is_some());
    world.wait(Duration::from_secs(7));
    assert_eq!(
        world.alg.signalling_target(contact),
        None,
        "after what was granted"
    );
}

#[test]
fn expires_zero_takes_the_door_away_once_the_registrar_agrees() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    for (expires, open) in [("600", true), ("0", false)] {
        world.say(
            flow,
            Inside,
            &REGISTER.replace("=600", &format!("={expires}")),
        );
        let contacts = if open {
            "Contact: <sip:1001@10.1.1.1:5060>\r\n"
        } else {
            ""
        };
        let ok = format!(
            "SIP/2.0 200 OK\r\ni: r1@192.168.122.3\r\nCSeq: 1 REGISTER\r\n{contacts}l: 0\r\n\r\n"
        );
        world.say(flow, Outside, &ok);
        assert_eq!(
            world.alg.signalling_target(at("10.1.1.1:5060")).is_some(),
            open
        );
    }
}

#[test]
fn a_star_takes_all_contacts_of_the_address_of_record_away() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(flow, Inside, REGISTER);
    world.say(flow, Outside, "SIP/2.0 200 OK\r\ni: r1@192.168.122.3\r\nCSeq: 1 REGISTER\r\nm: <sip:1001@10.1.1.1>\r\nl: 0\r\n\r\n");
    assert_eq!(world.doors(DoorKind::Signalling).len(), 1);
    let star = "REGISTER sip:example.com SIP/2.0\r\nTo: <sip:1001@example.com>\r\ni: r1@192.168.122.3\r\nCSeq: 2 REGISTER\r\nContact: *\r\nExpires: 0\r\nl: 0\r\n\r\n";
    assert_eq!(world.say(flow, Inside, star), star);
    world.say(
        flow,
        Outside,
        "SIP/2.0 200 OK\r\ni: r1@192.168.122.3\r\nCSeq: 2 REGISTER\r\nl: 0\r\n\r\n",
    );
    assert!(world.doors(DoorKind::Signalling).is_empty());
}

#[test]
fn an_answer_to_no_register_opens_nothing() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(flow, Inside, REGISTER);
    for (call_id, cseq, status) in [
        ("other", 1, 200),
        ("r1@192.168.122.3", 2, 200),
        ("r1@192.168.122.3", 1, 403),
    ] {
        let ok = format!(
            "SIP/2.0 {status} x\r\ni: {call_id}\r\nCSeq: {cseq} REGISTER\r\nm: <sip:1001@10.1.1.1>;expires=60\r\nl: 0\r\n\r\n"
        );
        world.say(flow, Outside, &ok);
        assert!(world.doors(DoorKind::Signalling).is_empty(), "{ok}");
    }
}

#[test]
fn an_outgoing_call_opens_a_pair_of_doors_before_its_bytes_and_closes_them_on_bye() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let offer = sdp("192.168.122.3", 6000);
    let sent = world.say(flow, Inside, &invite(&offer));
    let expected = invite(&sdp("10.1.1.1", 6000))
        .replace("TCP 192.168.122.3", "TCP 10.1.1.1")
        .replace("1001@192.168.122.3", "1001@10.1.1.1");
    assert_eq!(sent, expected);
    assert_eq!(
        world.doors(DoorKind::Media),
        ["192.168.122.3:6000", "192.168.122.3:6001"]
    );
    assert_eq!(world.last_ops.len(), 3, "and the contact's");
    assert!(
        world
            .last_ops
            .iter()
            .all(|op| matches!(op, DoorOp::Open(_)))
    );

    let ok = answer(200, "1 INVITE", &sdp("10.1.1.2", 8000));
    assert_eq!(world.say(flow, Outside, &ok), ok, "nothing in it is ours");
    assert_eq!(world.doors(DoorKind::Signalling), ["192.168.122.3:5060"]);
    world.say(flow, Inside, &request("BYE", "2 BYE", ""));
    assert_eq!(
        world.doors(DoorKind::Media).len(),
        2,
        "until it is answered"
    );
    world.say(flow, Outside, &response(200, "2 BYE"));
    assert!(
        world.doors(DoorKind::Media).is_empty() && world.doors(DoorKind::Signalling).is_empty()
    );
}

#[test]
fn an_incoming_call_is_turned_to_the_phone_and_its_answer_opens_the_doors() {
    let mut world = World::new();
    let register = world.connect(PHONE, SERVER);
    world.say(register, Inside, REGISTER);
    world.say(register, Outside, "SIP/2.0 200 OK\r\ni: r1@192.168.122.3\r\nCSeq: 1 REGISTER\r\nm: <sip:1001@10.1.1.1>\r\nl: 0\r\n\r\n");
    let flow = world.connect("10.1.1.2:40000", "10.1.1.1:5060");
    let body = sdp("10.1.1.2", 8000);
    let incoming = format!(
        "INVITE sip:1001@10.1.1.1:5060;transport=tcp SIP/2.0\r\nVia: SIP/2.0/TCP 10.1.1.2:5060;branch=z9hG4bK9\r\n\
         To: <sip:1001@10.1.1.1>\r\ni: c1@192.168.122.3\r\nCSeq: 1 INVITE\r\nc: application/sdp\r\nl: {}\r\n\r\n{body}",
        body.len()
    );
    let seen = world.say(flow, Outside, &incoming);
    let expected = incoming
        .replace("10.1.1.1:5060", "192.168.122.3:5060")
        .replace("@10.1.1.1>", "@192.168.122.3>");
    assert_eq!(seen, expected);
    assert!(
        world.doors(DoorKind::Media).is_empty(),
        "the outside opens nothing"
    );
    let sent = world.say(
        flow,
        Inside,
        &answer(200, "1 INVITE", &sdp("192.168.122.3", 6000)),
    );
    assert_eq!(sent, answer(200, "1 INVITE", &sdp("10.1.1.1", 6000)));
    assert_eq!(world.doors(DoorKind::Media).len(), 2);
    world.say(flow, Outside, &request("BYE", "2 BYE", ""));
    world.say(flow, Inside, &response(200, "2 BYE"));
    assert!(world.doors(DoorKind::Media).is_empty());
}

#[test]
fn a_refused_or_cancelled_call_closes_its_doors() {
    for (cancel, status) in [(false, 486), (true, 487), (false, 401)] {
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        world.say(flow, Inside, &invite(&sdp("192.168.122.3", 6000)));
        world.say(flow, Outside, &response(180, "1 INVITE"));
        if cancel {
            world.say(flow, Inside, &request("CANCEL", "1 CANCEL", ""));
            world.say(flow, Outside, &response(200, "1 CANCEL"));
        }
        assert_eq!(world.doors(DoorKind::Media).len(), 2);
        world.say(flow, Outside, &response(status, "1 INVITE"));
        assert!(world.doors(DoorKind::Media).is_empty(), "{status}");
    }
}

#[test]
fn a_call_that_nobody_answers_or_ends_properly_closes_by_itself() {
    let timers = Timers::default();
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(flow, Inside, &invite(&sdp("192.168.122.3", 6000)));
    world.wait(timers.call_setup + Duration::from_secs(1));
    assert!(world.doors(DoorKind::Media).is_empty(), "never answered");

    world.say(flow, Inside, &invite(&sdp("192.168.122.3", 6000)));
    world.say(flow, Outside, &response(200, "1 INVITE"));
    world.say(flow, Inside, &request("BYE", "2 BYE", ""));
    world.wait(timers.transaction + Duration::from_secs(1));
    assert!(
        world.doors(DoorKind::Media).is_empty(),
        "BYE never answered"
    );
}

#[test]
fn inactivity_ends_an_answered_call_but_not_while_media_flows_or_is_held() {
    let idle = Timers::default().media_inactivity;
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(flow, Inside, &invite(&sdp("192.168.122.3", 6000)));
    world.say(flow, Outside, &response(200, "1 INVITE"));
    for _ in 0..20 {
        world.wait(idle / 4);
        world.alg.media_seen(world.now, at("192.168.122.3:6000"));
    }
    assert_eq!(world.doors(DoorKind::Media).len(), 2, "media flows");
    let hold = invite(&format!("{}a=sendonly\r\n", sdp("192.168.122.3", 6000)))
        .replace("1 INVITE", "2 INVITE");
    world.say(flow, Inside, &hold);
    let held = format!("{}a=recvonly\r\n", sdp("10.1.1.2", 8000));
    world.say(flow, Outside, &answer(200, "2 INVITE", &held));
    world.wait(idle * 5);
    assert_eq!(world.doors(DoorKind::Media).len(), 2, "held");
    world.say(
        flow,
        Inside,
        &invite(&sdp("192.168.122.3", 6000)).replace("1 INVITE", "3 INVITE"),
    );
    world.say(flow, Outside, &response(200, "3 INVITE"));
    world.wait(idle * 2);
    assert!(world.doors(DoorKind::Media).is_empty(), "silent");
}

#[test]
fn a_port_of_zero_closes_the_doors_of_that_line() {
    for by_phone in [true, false] {
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        let two = format!("{}m=video 6002 RTP/AVP 31\r\n", sdp("192.168.122.3", 6000));
        world.say(flow, Inside, &invite(&two));
        assert_eq!(world.doors(DoorKind::Media).len(), 4);
        let zero = |host: &str| format!("{}m=video 0 RTP/AVP 31\r\n", sdp(host, 6000));
        if by_phone {
            world.say(flow, Outside, &response(200, "1 INVITE"));
            world.say(
                flow,
                Inside,
                &invite(&zero("192.168.122.3")).replace("1 INVITE", "2 INVITE"),
            );
            assert_eq!(world.doors(DoorKind::Media).len(), 4, "until it is agreed");
            world.say(flow, Outside, &response(200, "2 INVITE"));
        } else {
            world.say(flow, Outside, &answer(200, "1 INVITE", &zero("10.1.1.2")));
        }
        assert_eq!(
            world.doors(DoorKind::Media),
            ["192.168.122.3:6000", "192.168.122.3:6001"]
        );
    }
}

#[test]
fn a_refused_change_of_a_call_leaves_its_doors_as_they_were() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(flow, Inside, &invite(&sdp("192.168.122.3", 6000)));
    world.say(flow, Outside, &response(200, "1 INVITE"));
    world.say(
        flow,
        Inside,
        &invite(&sdp("192.168.122.3", 7000)).replace("1 INVITE", "2 INVITE"),
    );
    assert_eq!(world.doors(DoorKind::Media).len(), 4);
    world.say(flow, Outside, &response(488, "2 INVITE"));
    assert_eq!(
        world.doors(DoorKind::Media),
        ["192.168.122.3:6000", "192.168.122.3:6001"]
    );
}

#[test]
fn media_below_1024_and_for_other_hosts_is_refused_and_passes_unchanged() {
    for (host, port) in [
        ("192.168.122.3", 53),
        ("192.168.122.4", 6000),
        ("8.8.8.8", 6000),
    ] {
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        let sent = world.say(flow, Inside, &invite(&sdp(host, port)));
        assert!(world.doors(DoorKind::Media).is_empty(), "{host} {port}");
        assert!(sent.ends_with(&sdp(host, port)) && sent.contains(&format!("c=IN IP4 {host}\r\n")));
    }
}

#[test]
fn a_contact_may_name_its_own_host_alone() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let register = REGISTER.replace("1001@192.168.122.3", "1001@192.168.122.4");
    let sent = world.say(flow, Inside, &register);
    assert!(sent.contains("1001@192.168.122.4:5060"));
    world.say(flow, Outside, "SIP/2.0 200 OK\r\ni: r1@192.168.122.3\r\nCSeq: 1 REGISTER\r\nm: <sip:1001@192.168.122.4>;expires=60\r\nl: 0\r\n\r\n");
    assert!(world.doors(DoorKind::Signalling).is_empty());
}

#[test]
fn media_between_two_inside_phones_stays_inside() {
    let mut world = World::new();
    let first = world.connect(PHONE, SERVER);
    let sent = world.say(first, Inside, &invite(&sdp("192.168.122.3", 6000)));
    let second = world.connect("192.168.122.4:5070", SERVER);
    let seen = world.say(second, Outside, &sent.replace("c1@", "c2@"));
    assert!(seen.ends_with(&sdp("192.168.122.3", 6000)), "{seen}");
}

#[test]
fn rtcp_of_its_own_port_gets_a_door_of_its_own() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let body = format!(
        "{}a=rtcp:6010 IN IP4 192.168.122.3\r\n",
        sdp("192.168.122.3", 6000)
    );
    let sent = world.say(flow, Inside, &invite(&body));
    assert!(sent.ends_with("a=rtcp:6010 IN IP4 10.1.1.1\r\n"));
    assert_eq!(world.doors(DoorKind::Media).len(), 3);
}

#[test]
fn after_everything_ended_nothing_is_left() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(flow, Inside, REGISTER);
    world.say(flow, Outside, "SIP/2.0 200 OK\r\ni: r1@192.168.122.3\r\nCSeq: 1 REGISTER\r\nm: <sip:1001@10.1.1.1>\r\nl: 0\r\n\r\n");
    world.say(flow, Inside, &invite(&sdp("192.168.122.3", 6000)));
    world.say(flow, Outside, &response(200, "1 INVITE"));
    world.alg.close(world.now, flow, &mut world.out);
    world.wait(Duration::from_secs(7200));
    assert!(world.alg.mappings(world.now).is_empty());
    assert_eq!(world.alg.sizes(), (0, 0, 0));
    assert_eq!(world.alg.next_timeout(), None);
    let counters = world.alg.counters();
    assert_eq!(counters.doors_opened, counters.doors_closed);
}

#[test]
fn an_inside_phone_reaches_another_by_its_door_under_its_own_inside_global() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(flow, Inside, REGISTER);
    world.say(flow, Outside, "SIP/2.0 200 OK\r\ni: r1@192.168.122.3\r\nCSeq: 1 REGISTER\r\nm: <sip:1001@10.1.1.1>\r\nl: 0\r\n\r\n");
    let opened = world
        .alg
        .open(
            world.now,
            at("192.168.122.4:5070"),
            at("10.1.1.1:5060"),
            &mut world.out,
        )
        .unwrap();
    assert_eq!(
        (opened.source, opened.target),
        (at("10.1.1.1:5070"), at("192.168.122.3:5060"))
    );
    let options = "OPTIONS sip:1001@10.1.1.1:5060 SIP/2.0\r\nVia: SIP/2.0/TCP 192.168.122.4:5070\r\nTo: <sip:1001@10.1.1.1:5060>\r\nl: 0\r\n\r\n";
    let seen = world.say(opened.flow, Outside, options);
    assert_eq!(seen, options.replacen("10.1.1.1", "192.168.122.3", 1));
    let back = options.replace("OPTIONS sip:1001@10.1.1.1:5060 SIP/2.0", "SIP/2.0 200 OK");
    assert_eq!(world.say(opened.flow, Inside, &back), back);
}

#[test]
fn what_the_mappings_cannot_turn_back_is_kept_for_the_call_id() {
    let mut world = World::new();
    let other = world.connect("192.168.122.4:40001", SERVER);
    let options = |host: &str, text: &str| {
        format!(
            "{text}\r\nVia: SIP/2.0/TCP {host};branch=z9hG4bK1\r\nFrom: <sip:a@192.168.122.3 : 5060>\r\nTo: <sip:b@10.1.1.1>\r\ni: x\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n"
        )
    };
    let (request, answer) = ("OPTIONS sip:b@example.com SIP/2.0", "SIP/2.0 200 OK");
    // The other phone has port 5060 already, so that this one's Via needs a port.
    world.say(other, Inside, &options("192.168.122.4", request));
    let flow = world.connect(PHONE, SERVER);
    let sent = world.say(flow, Inside, &options("192.168.122.3", request));
    assert!(
        sent.contains("TCP 10.1.1.1:") && !sent.contains("192.168."),
        "{sent}"
    );
    let echo = sent.replace(request, answer);
    assert_eq!(
        world.say(flow, Outside, &echo),
        options("192.168.122.3", answer)
    );
    world.wait(Duration::from_secs(3600));
    assert_eq!(world.alg.sizes(), (0, 0, 0));
}

#[test]
fn every_identity_field_hides_the_inside_and_comes_back() {
    for field in [
        "Route",
        "Path",
        "Service-Route",
        "Refer-To",
        "r",
        "Referred-By",
        "b",
        "P-Asserted-Identity",
        "P-Preferred-Identity",
        "Remote-Party-ID",
        "P-Associated-URI",
        "Diversion",
        "History-Info",
        "Reply-To",
        "Alert-Info",
        "Call-Info",
        "Error-Info",
    ] {
        let text = format!(
            "INFO sip:x SIP/2.0\r\n{field}: \"a, b\" <sip:a@192.168.122.3;x=y?Replaces=1>;p=q,<sip:b@8.8.8.8>\r\nl: 0\r\n\r\n"
        );
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        let expected = text.replace("192.168.122.3", "10.1.1.1");
        assert_eq!(world.say(flow, Inside, &text), expected);
        assert_eq!(world.say(flow, Outside, &expected), text);
    }
}

#[test]
fn a_warning_names_its_agent_by_the_inside_global() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let text = "SIP/2.0 488 x\r\nWarning: 304 192.168.122.3 \"no 192.168.122.3\", 399 192.168.122.3:5060 \"x\"\r\nl: 0\r\n\r\n";
    let expected = text
        .replace("304 192.168.122.3", "304 10.1.1.1")
        .replace("399 192.168.122.3", "399 10.1.1.1");
    assert_eq!(world.say(flow, Inside, text), expected);
}

#[test]
fn call_id_credentials_and_free_text_are_never_touched() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let text = "OPTIONS sip:x SIP/2.0\r\nCall-ID: 1@192.168.122.3\r\nAuthorization: Digest uri=\"sip:192.168.122.3\"\r\n\
                User-Agent: x (192.168.122.3)\r\nSubject: sip:192.168.122.3\r\nReplaces: 1@192.168.122.3;to-tag=1\r\nl: 13\r\n\r\n192.168.122.3";
    assert_eq!(world.say(flow, Inside, text), text);
    assert_eq!(world.alg.counters().messages_changed, 0);
}

/// A dialog's contact is reachable from when it is named, and as long as the dialog lasts.
#[test]
fn the_contact_of_a_dialog_is_reachable_while_it_is_asked_for_and_lasts() {
    let subscribe = |expires: u32| {
        format!(
            "SUBSCRIBE sip:x SIP/2.0\r\ni: s1\r\nCSeq: 1 SUBSCRIBE\r\nm: <sip:1001@192.168.122.3:5060>\r\nExpires: {expires}\r\nl: 0\r\n\r\n"
        )
    };
    let answer = |status: u16| {
        format!("SIP/2.0 {status} x\r\ni: s1\r\nCSeq: 1 SUBSCRIBE\r\nExpires: 60\r\nl: 0\r\n\r\n")
    };
    for (status, seconds, open) in [
        (0, 31, true),
        (0, 33, false),
        (100, 179, true),
        (100, 181, false),
        (403, 0, false),
        (202, 64, true),
        (202, 66, false),
    ] {
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        world.say(flow, Inside, &subscribe(600));
        assert_eq!(world.doors(DoorKind::Signalling).len(), 1);
        if status > 0 {
            world.say(flow, Outside, &answer(status));
        }
        world.wait(Duration::from_secs(seconds));
        assert_eq!(
            world.doors(DoorKind::Signalling).len(),
            usize::from(open),
            "{status} {seconds}"
        );
    }
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(flow, Inside, &subscribe(600));
    world.say(flow, Outside, &answer(200));
    let notify = |state: &str| {
        format!(
            "NOTIFY sip:x SIP/2.0\r\ni: s1\r\nCSeq: 1 NOTIFY\r\nSubscription-State: {state}\r\nl: 0\r\n\r\n"
        )
    };
    world.say(flow, Outside, &notify("active;expires=300"));
    world.wait(Duration::from_secs(299));
    assert_eq!(world.doors(DoorKind::Signalling).len(), 1);
    world.say(flow, Outside, &notify("terminated;reason=timeout"));
    assert!(world.doors(DoorKind::Signalling).is_empty());
}

#[test]
fn a_forked_call_lasts_until_its_last_dialog_ends() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(flow, Inside, &invite(&sdp("192.168.122.3", 6000)));
    let with = |text: String, tag: &str| {
        text.replacen(
            "Call-ID",
            &format!("To: <sip:2002@10.1.1.2>;tag={tag}\r\nCall-ID"),
            1,
        )
    };
    for tag in ["a", "b"] {
        world.say(flow, Outside, &with(response(200, "1 INVITE"), tag));
    }
    for (tag, doors) in [("x", 2), ("a", 2), ("b", 0)] {
        world.say(flow, Inside, &with(request("BYE", "2 BYE", ""), tag));
        world.say(flow, Outside, &with(response(200, "2 BYE"), tag));
        assert_eq!(world.doors(DoorKind::Media).len(), doors, "{tag}");
    }
}

#[test]
fn ice_keeps_its_default_candidate_and_leaves_the_others() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let ice = |host: &str| {
        format!(
            "{}a=candidate:1 1 UDP 9 {host} 6000 typ host\r\na=candidate:1 2 UDP 9 {host} 6001 typ host\r\n\
                 a=candidate:2 1 UDP 8 192.168.122.3 9999 typ host\r\n\
                 a=candidate:3 1 UDP 7 8.8.8.8 7000 typ srflx raddr 192.168.122.3 rport 6000\r\n",
            sdp(host, 6000)
        )
    };
    let sent = world.say(flow, Inside, &invite(&ice("192.168.122.3")));
    assert!(sent.ends_with(&ice("10.1.1.1")), "{sent}");
}

#[test]
fn tcp_media_gets_a_door_that_takes_connections() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let msrp = |host: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 {host}\r\nc=IN IP4 {host}\r\nm=message 2855 TCP/MSRP *\r\na=setup:passive\r\na=path:msrp://{host}:2855/s;tcp\r\nm=x 9 TCP/TLS *\r\na=setup:active\r\n"
        )
    };
    let sent = world.say(flow, Inside, &invite(&msrp("192.168.122.3")));
    assert!(sent.ends_with(&msrp("10.1.1.1")), "{sent}");
    assert_eq!(
        world.alg.signalling_target(at("10.1.1.1:2855")),
        Some(at("192.168.122.3:2855"))
    );
}

#[test]
fn a_session_description_outside_of_offer_and_answer_opens_nothing_and_hides_the_inside() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let body = sdp("192.168.122.3", 6000);
    let text = format!(
        "SIP/2.0 200 OK\r\ni: o\r\nCSeq: 1 OPTIONS\r\nc: application/sdp\r\nl: {}\r\n\r\n{body}",
        body.len()
    );
    let sent = world.say(flow, Inside, &text);
    assert!(sent.ends_with(&sdp("10.1.1.1", 6000)), "{sent}");
    assert!(world.doors(DoorKind::Media).is_empty());
}

#[test]
fn a_multipart_body_is_fixed_up_in_its_parts_with_true_lengths() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let body = |host: &str, session: &str| {
        format!(
            "--b\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{session}\r\n--b\r\nContent-Type: message/sipfrag\r\n\r\n\
                 INVITE sip:x SIP/2.0\r\nFrom: <sip:a@{host}>\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n192.168.122.3\r\n--b--\r\n",
            session.len()
        )
    };
    let (inside, outside) = (
        body("192.168.122.3", &sdp("192.168.122.3", 6000)),
        body("10.1.1.1", &sdp("10.1.1.1", 6000)),
    );
    let mut request = invite(&inside);
    let head = request.len() - inside.len();
    let fields = request[..head].replace("application/sdp", "multipart/mixed;boundary=b");
    request.replace_range(..head, &fields);
    let sent = world.say(flow, Inside, &request);
    assert!(
        sent.ends_with(&format!(
            "Content-Length: {}\r\n\r\n{outside}",
            outside.len()
        )),
        "{sent}"
    );
    assert_eq!(world.doors(DoorKind::Media).len(), 2);
}

#[test]
fn datagrams_go_through_the_same_translator_with_mappings_of_their_own() {
    let mut world = World::new();
    let tcp = world.connect(PHONE, SERVER);
    world.say(tcp, Inside, REGISTER);
    let opened = world
        .alg
        .open_datagrams(
            world.now,
            at("192.168.122.4:5060"),
            at(SERVER),
            &mut world.out,
        )
        .unwrap();
    assert_eq!(
        opened.source,
        at("10.1.1.1:5060"),
        "the TCP mapping of that port is another's"
    );
    let register = REGISTER
        .replace("192.168.122.3", "192.168.122.4")
        .replace("TCP", "UDP")
        .replace(";transport=tcp", "");
    world.alg.datagram(
        world.now,
        opened.flow,
        Inside,
        register.as_bytes(),
        &mut world.out,
    );
    let sent = String::from_utf8(std::mem::take(&mut world.out.bytes)).unwrap();
    assert_eq!(
        sent,
        register.replace("192.168.122.4:5060", "10.1.1.1:5060")
    );
    world.alg.datagram(
        world.now,
        opened.flow,
        Inside,
        b"\0 not SIP 192.168.122.4",
        &mut world.out,
    );
    assert_eq!(world.out.bytes, b"\0 not SIP 192.168.122.4");
}
