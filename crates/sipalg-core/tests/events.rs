//! What is told to whoever watches: the numbers behind the debug lines.

mod world;

use sipalg_core::event::MessageKind;
use sipalg_core::{Alg, Event, FlowId, Leg, Outbox, Protocol};
use world::{PHONE, SERVER, World, at, config, sdp};

/// What is told of bytes that came in.
fn told(world: &mut World, flow: FlowId, from: Leg, text: &str) -> Vec<Event> {
    let mut out = Outbox {
        watch: true,
        ..Outbox::default()
    };
    world
        .alg
        .stream(world.now, flow, from, text.as_bytes(), &mut out);
    out.events
}

const fn visited(session: u8) -> Event {
    Event::FieldVisited {
        session,
        register: false,
        door_created: false,
    }
}

/// The same of a field that opened a door.
const fn opened(session: u8) -> Event {
    Event::FieldVisited {
        session,
        register: false,
        door_created: true,
    }
}

/// The global of an inside local.
fn global(world: &World, protocol: Protocol, local: &str) -> sipalg_core::addr::SocketAddrV4 {
    let mappings = world.alg.mappings(world.now);
    let found = mappings
        .iter()
        .find(|m| (m.protocol, m.inside_local) == (Some(protocol), at(local)));
    found.expect("a mapping").inside_global
}

#[test]
fn a_call_is_told_with_the_address_and_port_of_each_literal_before_and_after() {
    let body = sdp("192.168.122.3", 6000);
    let head = |start: &str, host: &str| {
        format!(
            "{start}\r\nVia: SIP/2.0/TCP {host};branch=z9hG4bK1\r\nContact: <sip:a@{host}>\r\ni: c\r\nCSeq: 1 INVITE\r\nc: application/sdp\r\n"
        )
    };
    let text = |head: &str, body: &str| format!("{head}l: {}\r\n\r\n{body}", body.len());
    let mut world = World::new();
    // Another phone has the numbers already, so that this one's ports change too.
    let other = world.connect("192.168.122.4:40001", SERVER);
    let invite = head("INVITE sip:b@10.1.1.2 SIP/2.0", "192.168.122.4:5060");
    world.say(
        other,
        Leg::Inside,
        &text(&invite, &sdp("192.168.122.4", 6000)),
    );

    let flow = world.connect(PHONE, SERVER);
    let invite = text(
        &head("INVITE sip:b@10.1.1.2 SIP/2.0", "192.168.122.3:5060"),
        &body,
    );
    let (header, total) = (invite.len() - body.len(), invite.len());
    let events = told(&mut world, flow, Leg::Inside, &invite);
    let contact = global(&world, Protocol::Tcp, "192.168.122.3:5060");
    let media = global(&world, Protocol::Udp, "192.168.122.3:6000");
    assert_ne!((contact.port(), media.port()), (5060, 6000));
    let translated = [
        Event::TranslatedAddress {
            session: 0,
            from: at("192.168.122.3:5060"),
            to: contact,
        },
        Event::TranslatedPort {
            session: 0,
            from: 5060,
            to: contact.port(),
        },
    ];
    let (own, foreign) = ("192.168.122.3", "10.1.1.1");
    let new = body
        .replace(own, foreign)
        .replace("6000", &media.port().to_string());
    let mut expected = vec![
        Event::AlgNeeded,
        Event::Received { bytes: total },
        Event::HeaderComplete {
            header,
            body: body.len(),
        },
        Event::FramerState {
            received: total,
            header_left: 0,
            body_left: 0,
            state: 0,
            message: total,
        },
        Event::MessagesReceived(1),
        Event::Processing {
            session: 0,
            kind: MessageKind::Request("INVITE".into()),
        },
        visited(0),
    ];
    expected.extend(translated.clone());
    expected.extend([visited(0), Event::ContactFound]);
    expected.extend(translated);
    expected.extend([
        // The door of the dialog's contact, and those of RTP and RTCP.
        opened(0),
        Event::BodyFound { session: 0 },
        Event::MediaLines(1),
        Event::MediaTranslated {
            from: at("192.168.122.3:6000"),
            to: media,
        },
        opened(0),
        Event::SdpLength {
            old: body.len(),
            new: new.len(),
        },
    ]);
    assert_eq!(events, expected);

    // The answer names the peer's own media: only the echo of the Via is ours.
    let answer = text(
        &format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP {contact};branch=z9hG4bK1\r\ni: c\r\nCSeq: 1 INVITE\r\nc: application/sdp\r\n"
        ),
        &sdp("10.1.1.2", 8000),
    );
    let events = told(&mut world, flow, Leg::Outside, &answer);
    assert_eq!(
        events[5..],
        [
            Event::Processing {
                session: 1,
                kind: MessageKind::Response(200)
            },
            Event::TranslatedAddress {
                session: 1,
                from: contact,
                to: at("192.168.122.3:5060")
            },
            Event::TranslatedPort {
                session: 1,
                from: contact.port(),
                to: 5060
            },
            visited(1),
            Event::BodyFound { session: 1 },
            Event::MediaLines(1),
            Event::SdpLength { old: 105, new: 105 },
        ]
    );
}

#[test]
fn an_offer_of_another_inside_host_is_told_as_it_is_turned_back() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let body = sdp("192.168.122.3", 6000);
    let offer = format!(
        "INVITE sip:b@x SIP/2.0\r\ni: c\r\nCSeq: 1 INVITE\r\nc: application/sdp\r\nl: {}\r\n\r\n{body}",
        body.len()
    );
    let sent = world.say(flow, Leg::Inside, &offer);
    let second = world.connect("192.168.122.4:40001", SERVER);
    let events = told(&mut world, second, Leg::Outside, &sent);
    let turned = Event::MediaTranslated {
        from: at("10.1.1.1:6000"),
        to: at("192.168.122.3:6000"),
    };
    assert!(events.contains(&turned), "{events:?}");
    assert!(events.contains(&Event::SdpLength {
        old: sdp("10.1.1.1", 6000).len(),
        new: body.len()
    }));
}

#[test]
fn what_a_server_saw_of_us_is_told_as_it_is_turned_back() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let source = global(&world, Protocol::Tcp, PHONE);
    world.alg.mappings(world.now);
    let text = |rport: &str| {
        format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP example.com;received=10.1.1.1{rport}\r\ni: c\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n"
        )
    };
    let address = |from: &str, to: &str| Event::TranslatedAddress {
        session: 1,
        from: at(from),
        to: at(to),
    };
    // Without a port, or with numbers that are none, the address alone is turned back.
    for other in ["", ";rport", ";ttl=16;branch=7"] {
        let events = told(&mut world, flow, Leg::Outside, &text(other));
        assert_eq!(
            events[6..],
            [address("10.1.1.1:0", "192.168.122.3:0"), visited(1)]
        );
    }
    let rport = format!(";rport={}", source.port());
    let events = told(&mut world, flow, Leg::Outside, &text(&rport));
    let mut expected = vec![address("10.1.1.1:0", "192.168.122.3:0")];
    if source.port() != 40001 {
        expected.push(Event::TranslatedPort {
            session: 1,
            from: source.port(),
            to: 40001,
        });
    }
    expected.push(visited(1));
    assert_eq!(events[6..], expected);
}

#[test]
fn a_message_in_parts_is_told_as_it_grows() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let (head, body) = ("OPTIONS sip:x SIP/2.0\r\nl: 4\r\n\r\n", "body");
    let (first, second) = head.split_at(10);
    let state = |received, header_left, body_left, state, message| Event::FramerState {
        received,
        header_left,
        body_left,
        state,
        message,
    };
    assert_eq!(
        told(&mut world, flow, Leg::Inside, first),
        [
            Event::AlgNeeded,
            Event::Received { bytes: 10 },
            state(10, 1, 0, 1, 0)
        ]
    );
    let at_hand = head.len() + 1;
    let events = told(
        &mut world,
        flow,
        Leg::Inside,
        &format!("{second}{}", &body[..1]),
    );
    assert_eq!(
        events,
        [
            Event::AlgNeeded,
            Event::Received { bytes: at_hand },
            Event::HeaderComplete {
                header: head.len(),
                body: 4
            },
            state(at_hand, 0, 3, 2, head.len() + 4),
        ]
    );
    let rest = format!("{}{head}{body}", &body[1..]);
    let events = told(&mut world, flow, Leg::Inside, &rest);
    let counts: Vec<_> = events
        .iter()
        .filter(|event| matches!(event, Event::MessagesReceived(_)))
        .collect();
    assert_eq!(
        counts,
        [&Event::MessagesReceived(1), &Event::MessagesReceived(2)]
    );
}

#[test]
fn who_runs_out_of_ports_is_told_and_the_message_passes_unchanged() {
    let mut world = World::new();
    let mut config = config();
    // One mapping in all: the connection's own.
    config.limits = config
        .limits
        .with(sipalg_core::config::Resource::Mapping, 1);
    world.alg = Alg::new(config, 1);
    let flow = world.connect(PHONE, SERVER);
    let body = sdp("192.168.122.3", 6000);
    let text = format!(
        "INVITE sip:b@x SIP/2.0\r\nm: <sip:a@192.168.122.3:5060>\r\ni: c\r\nCSeq: 1 INVITE\r\nc: application/sdp\r\nl: {}\r\n\r\n{body}",
        body.len()
    );
    let events = told(&mut world, flow, Leg::Inside, &text);
    for (protocol, local) in [
        (Protocol::Tcp, "192.168.122.3:5060"),
        (Protocol::Udp, "192.168.122.3:6000"),
    ] {
        let expected = Event::OutOfPorts {
            protocol,
            inside_local: at(local),
        };
        assert!(events.contains(&expected), "{events:?}");
    }
    assert_eq!(world.say(flow, Leg::Inside, &text), text);
}

#[test]
fn a_door_for_another_host_or_a_service_is_told_as_refused() {
    for (contact, media) in [
        ("192.168.122.4:5060", "192.168.122.3:80"),
        ("192.168.122.4:5062", "192.168.122.4:6000"),
    ] {
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        let body = sdp(&at(media).ip().to_string(), at(media).port());
        let text = format!(
            "INVITE sip:b@x SIP/2.0\r\nm: <sip:a@{contact}>\r\ni: c\r\nCSeq: 1 INVITE\r\nc: application/sdp\r\nl: {}\r\n\r\n{body}",
            body.len()
        );
        let events = told(&mut world, flow, Leg::Inside, &text);
        for refused in [contact, media] {
            let expected = Event::DoorRefused {
                inside_local: at(refused),
            };
            assert!(events.contains(&expected), "{events:?}");
        }
    }
}
