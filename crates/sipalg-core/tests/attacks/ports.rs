//! Every port of every kind of address: which of them a message can have a door for.

use super::world::{World, at, overload, under};
use super::{request, response};
use sipalg_core::config::{AccessEntry, AccessList, SourceRule};
use sipalg_core::{Config, DoorKind, DoorOp, FlowId, Leg, Protocol};
use std::time::Duration;

/// The host that asks.
const OWN: &str = "192.168.122.3";

/// Addresses that are not its own, and no door leads to.
const OTHERS: [(&str, &str); 6] = [
    ("neighbour", "192.168.122.4"),
    ("outside", "10.1.1.9"),
    ("multicast", "224.0.1.75"),
    ("loopback", "127.0.0.1"),
    ("broadcast", "255.255.255.255"),
    ("unspecified", "0.0.0.0"),
];

/// As the manual has it.
const PROTECTED: &str = "1080 1433 1521 1719-1723 1900 2049 2375-2376 3128 3306 3389 5000 5432 5555 \
    5900-5910 5985-5986 6379 6566 8000 8008-8009 8080-8081 8443 8888 9100 9200 11211 27017";

/// SIP is spoken on these by TCP, on 5060 by UDP.
const SIP_OVER_TCP: [u16; 3] = [443, 5060, 8080];

fn is_protected(port: u16) -> bool {
    PROTECTED.split_whitespace().any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        (first.parse().unwrap()..=last.parse().unwrap()).contains(&port)
    })
}

/// The documented set.
fn allowed(kind: DoorKind, protocol: Protocol, port: u16) -> bool {
    match (kind, protocol) {
        (DoorKind::Signalling, Protocol::Tcp) => {
            SIP_OVER_TCP.contains(&port) || (port >= 1024 && !is_protected(port))
        }
        (DoorKind::Media, Protocol::Tcp) => port >= 1024 && !is_protected(port),
        (_, Protocol::Udp) => port >= 1024,
    }
}

/// Everyone is translated, and one host is trusted if `trusted`.
fn gateway(trusted: bool) -> World {
    let any = AccessEntry::standard(
        true,
        "0.0.0.0".parse().unwrap(),
        "255.255.255.255".parse().unwrap(),
    );
    let everyone = AccessList {
        name: "1".into(),
        entries: vec![any],
    };
    let mut config = match trusted {
        true => under(vec![SourceRule::overload(
            everyone.clone(),
            "10.1.1.1".parse().unwrap(),
        )]),
        false => under(vec![overload("192.168.122.0", "10.1.1.1")]),
    };
    config.trusted = trusted.then_some(everyone);
    with_sip_ports(&mut config);
    World::with(config)
}

fn with_sip_ports(config: &mut Config) {
    config.doors.sip = SIP_OVER_TCP.map(|port| (Protocol::Tcp, port)).into();
    config.doors.sip.push((Protocol::Udp, 5060));
}

/// Media at a port of an address, by UDP and by TCP.
fn description(address: &str, port: u16) -> String {
    // The discard port stands for none in TCP media.
    let over_tcp = match port {
        9 => String::new(),
        _ => format!("m=message {port} TCP/MSRP *\r\n"),
    };
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0\r\n{over_tcp}"
    )
}

/// Asks for all doors that one message can ask for at a port of an address, names those that open,
/// and ends the call.
fn ask(
    world: &mut World,
    flow: FlowId,
    address: &str,
    port: u16,
) -> Vec<(DoorKind, Protocol, u16)> {
    let contact = format!("<sip:a@{address}:{port};transport=tcp>");
    let body = description(address, port);
    world.say(flow, Leg::Inside, &request("INVITE", "c", &contact, &body));
    let ops = world.last_ops.clone();
    world.say(flow, Leg::Outside, &response(486, "INVITE", "c", ""));
    let contact = format!("<sip:a@{address}:{port};transport=udp>");
    world.say(flow, Leg::Inside, &request("SUBSCRIBE", "d", &contact, ""));
    let more = world.last_ops.clone();
    world.say(flow, Leg::Outside, &response(486, "SUBSCRIBE", "d", ""));
    let opens = ops.iter().chain(&more).filter_map(|op| match op {
        DoorOp::Open(door) => Some((door.kind, door.protocol, door.inside_local.port())),
        _ => None,
    });
    opens.collect()
}

#[test]
fn of_all_ports_a_message_has_doors_for_those_that_are_documented() {
    let mut world = gateway(false);
    let flow = world.connect("192.168.122.3:49999", "10.1.1.2:5060");
    for port in 1..=u16::MAX {
        let found = ask(&mut world, flow, OWN, port);
        let mut wanted = vec![
            (DoorKind::Signalling, Protocol::Tcp),
            (DoorKind::Signalling, Protocol::Udp),
            (DoorKind::Media, Protocol::Udp),
        ];
        wanted.extend((port != 9).then_some((DoorKind::Media, Protocol::Tcp)));
        for (kind, protocol) in wanted {
            assert_eq!(
                found.contains(&(kind, protocol, port)),
                // Signalling by TCP has the port already.
                allowed(kind, protocol, port)
                    && !((kind, protocol) == (DoorKind::Media, Protocol::Tcp)
                        && allowed(DoorKind::Signalling, protocol, port)
                        && !found.contains(&(kind, protocol, port)))
                    && !(kind == DoorKind::Signalling
                        && protocol == Protocol::Tcp
                        && found.contains(&(DoorKind::Media, protocol, port))),
                "{kind:?} {protocol:?} {port}: {found:?}"
            );
        }
        // And no other port than that and the one for RTCP.
        let others = found.iter().filter(|(_, _, p)| *p != port);
        assert!(others.clone().all(|(kind, protocol, p)| {
            (*kind, *protocol, *p) == (DoorKind::Media, Protocol::Udp, port.wrapping_add(1))
        }));
        rest(&mut world, port);
    }
}

#[test]
fn no_port_of_any_other_address_has_a_door() {
    for (what, address) in OTHERS {
        let mut world = gateway(false);
        let flow = world.connect("192.168.122.3:49999", "10.1.1.2:5060");
        for port in 1..=u16::MAX {
            let body = description(address, port);
            for transport in ["tcp", "udp"] {
                let contact = format!("<sip:a@{address}:{port};transport={transport}>");
                let text = request("INVITE", "c", &contact, &body);
                world.say(flow, Leg::Inside, &text);
                assert_eq!(super::opened(&world), 0, "{what} {port}");
            }
            rest(&mut world, port);
        }
    }
}

#[test]
fn who_is_trusted_opens_doors_to_hosts_only_and_to_no_other_ports() {
    for (what, address) in OTHERS {
        let mut world = gateway(true);
        let flow = world.connect("192.168.122.3:49999", "172.16.1.2:5060");
        for port in
            (1..=u16::MAX).filter(|port| *port < 1100 || port % 97 == 0 || is_protected(*port))
        {
            let found = ask(&mut world, flow, address, port);
            let is_host = matches!(what, "neighbour" | "outside");
            assert!(is_host || found.is_empty(), "{what} {port}: {found:?}");
            for (kind, protocol, of) in &found {
                let rtcp = (*kind, *protocol, *of) == (DoorKind::Media, Protocol::Udp, port + 1);
                assert!(
                    rtcp || allowed(*kind, *protocol, *of),
                    "{what} {port}: {found:?}"
                );
            }
            assert!(
                !is_host || port < 1024 || !found.is_empty(),
                "{what} {port}"
            );
            rest(&mut world, port);
        }
    }
}

#[test]
fn what_the_operator_exposes_may_be_named_and_what_he_protects_may_not() {
    let rule = super::world::fixed_port(Protocol::Tcp, "192.168.122.3:22", "10.1.1.1:2222");
    let mut config = under(vec![rule, overload("192.168.122.0", "10.1.1.1")]);
    config.doors.protected = vec![(6000, 6010)];
    let mut world = World::with(config);
    let flow = world.connect("192.168.122.3:49999", "10.1.1.2:5060");
    for (port, sent) in [
        (22, "10.1.1.1:2222"),
        (23, "192.168.122.3:23"),
        (6005, "192.168.122.3:6005"),
        (8080, "10.1.1.1:8080"),
    ] {
        let contact = format!("<sip:a@{OWN}:{port};transport=tcp>");
        let text = request("INVITE", &format!("c{port}"), &contact, "");
        let got = world.say(flow, Leg::Inside, &text);
        assert!(got.contains(sent), "{port}: {got}");
    }
    assert_eq!(world.alg.counters().doors_refused, 2);
    // A refused door is no mapping either.
    assert_eq!(world.alg.signalling_target(at("10.1.1.1:23")), None);
}

#[test]
fn a_contact_at_a_port_of_a_service_passes_unchanged_whatever_else_names_that_port() {
    let mut world = World::new();
    let flow = world.connect("192.168.122.3:49999", "10.1.1.2:5060");
    let contact = "Contact: <sip:a@192.168.122.3:22;transport=tcp>\r\n";
    for via in [
        format!("Via: SIP/2.0/TCP {OWN}:22;branch=z9hG4bK1\r\n{contact}"),
        format!("{contact}Via: SIP/2.0/TCP {OWN}:22;branch=z9hG4bK1\r\n"),
    ] {
        let text = format!(
            "INVITE sip:b@x SIP/2.0\r\n{via}Call-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
        );
        let sent = world.say(flow, Leg::Inside, &text);
        assert!(sent.contains(contact), "{sent}");
        assert_eq!(world.say(flow, Leg::Inside, &text), sent);
        assert_eq!(world.alg.doors(), []);
    }
}

#[test]
fn a_via_or_a_flow_of_datagrams_has_no_door_at_a_port_of_a_service() {
    let mut world = World::new();
    let flow = world.connect_datagrams("192.168.122.3:40000", "10.1.1.2:5060");
    let text = "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.122.3:53;branch=z9hG4bK1\r\nl: 0\r\n\r\n";
    world.datagram(flow, Leg::Inside, text);
    assert_eq!(super::opened(&world), 0);
    let other = text.replace(":53", ":5353");
    world.datagram(flow, Leg::Inside, &other);
    assert_eq!(super::opened(&world), 1, "a port that may be");
    let mut out = sipalg_core::Outbox::default();
    let opened = world.alg.open_datagrams(
        world.now,
        at("192.168.122.3:53"),
        at("10.1.1.2:5060"),
        &mut out,
    );
    assert!(opened.is_err() && out.doors.is_empty());
}

/// Now and then all that is left is forgotten.
fn rest(world: &mut World, port: u16) {
    if port.is_multiple_of(512) {
        world.wait(Duration::from_secs(300));
    }
}
