//! The lines of `debug ip nat sip`.

use core::time::Duration;
use sipalg_core::Protocol;
use sipalg_core::door::{Door, DoorKind};
use sipalg_core::event::{Demotion, Event, MessageKind};
use sipalg_ios::debug;
use std::net::SocketAddrV4;

fn at(address: &str) -> SocketAddrV4 {
    address.parse().expect("an address and port")
}

fn lines(event: &Event) -> Vec<String> {
    let mut lines = Vec::new();
    debug::lines(event, &mut |line| lines.push(line.to_string()));
    lines
}

#[test]
fn the_sample_of_the_reference_comes_out_of_its_events() {
    let visited = Event::FieldVisited {
        session: 0,
        register: false,
        door_created: false,
    };
    let translated = Event::TranslatedAddress {
        session: 0,
        from: at("192.168.122.3:5060"),
        to: at("10.1.1.1:5060"),
    };
    let events = [
        Event::AlgNeeded,
        Event::Received { bytes: 509 },
        Event::HeaderComplete {
            header: 376,
            body: 133,
        },
        Event::FramerState {
            received: 509,
            header_left: 0,
            body_left: 0,
            state: 0,
            message: 509,
        },
        Event::MessagesReceived(1),
        Event::Processing {
            session: 0,
            kind: MessageKind::Request("INVITE".into()),
        },
        // Request-URI, Via, From, To.
        visited.clone(),
        translated.clone(),
        visited.clone(),
        translated.clone(),
        visited.clone(),
        visited.clone(),
        Event::ContactFound,
        translated,
        visited,
        Event::BodyFound { session: 0 },
        Event::MediaLines(1),
        Event::MediaTranslated {
            from: at("192.168.122.3:6000"),
            to: at("10.1.1.1:6000"),
        },
        Event::SdpLength { old: 133, new: 130 },
        Event::Sent(497),
    ];
    let stamped = |line: String| format!("May 23 14:11:17.243 IST: {line}\n");
    let screen: String = events.iter().flat_map(lines).map(stamped).collect();
    assert_eq!(screen, include_str!("transcripts/debug.txt"));
}

#[test]
fn what_the_reference_has_no_line_for_follows_its_manner() {
    let door = Door {
        kind: DoorKind::Media,
        protocol: Protocol::Udp,
        inside_local: at("192.168.122.3:6000"),
        inside_global: at("10.1.1.1:6002"),
        lifetime: Duration::from_secs(300),
    };
    let signalling = Door {
        kind: DoorKind::Signalling,
        protocol: Protocol::Tcp,
        ..door
    };
    let inside_local = at("192.168.122.3:6000");
    let cases = [
        (
            Event::Processing {
                session: 1,
                kind: MessageKind::Response(180),
            },
            "NAT: SIP: [1] processing 180 message",
        ),
        (
            Event::FieldVisited {
                session: 1,
                register: true,
                door_created: true,
            },
            "NAT: SIP: [1] register:1 door_created:1",
        ),
        (
            Event::TranslatedPort {
                session: 1,
                from: 1029,
                to: 5060,
            },
            "NAT: SIP: [1] translate embedded port 1029->5060",
        ),
        (
            Event::DoorOpened(door),
            "NAT: SIP: opened media door udp 10.1.1.1:6002->192.168.122.3:6000, lifetime 300 s",
        ),
        (
            Event::DoorClosed(signalling),
            "NAT: SIP: closed signalling door tcp 10.1.1.1:6002->192.168.122.3:6000",
        ),
        (
            Event::Demoted(Demotion::NotSip),
            "NAT: SIP: connection is passed unchanged: no SIP start line",
        ),
        (
            Event::OutOfPorts {
                protocol: Protocol::Udp,
                inside_local,
            },
            "NAT: SIP: no udp port left for 192.168.122.3:6000, message passed unchanged",
        ),
        (
            Event::DoorRefused { inside_local },
            "NAT: SIP: door refused for 192.168.122.3:6000, address passed unchanged",
        ),
    ];
    for (event, line) in cases {
        assert_eq!(lines(&event), [line]);
    }
}

#[test]
fn a_partial_message_shows_what_is_missing() {
    let event = Event::FramerState {
        received: 400,
        header_left: 0,
        body_left: 109,
        state: 2,
        message: 509,
    };
    let expected = [
        "NAT-ALG: after state machine:",
        "NAT-ALG: l7_bytes_recd=400",
        "NAT-ALG: remaining_hdr_sz=0",
        "NAT-ALG: remaining_payl_sz=109",
        "NAT-ALG: tcp_alg_state=2",
        "NAT-ALG: complete_msg_len=509",
    ];
    assert_eq!(lines(&event), expected);
}

#[test]
fn no_method_can_forge_a_line_or_a_terminal_code() {
    let method = "A\r\nNAT: \u{1b}[2J\\é\u{202e}";
    let event = Event::Processing {
        session: 0,
        kind: MessageKind::Request(method.into()),
    };
    let expected = r"NAT: SIP: [0] processing A\r\nNAT: \x1b[2J\\\xc3\xa9\xe2\x80\xae message";
    assert_eq!(lines(&event), [expected]);
}
