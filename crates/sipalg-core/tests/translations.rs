//! Every kind of `ip nat inside source` rule: who becomes what, and what stays as it is.
#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

mod world;

use sipalg_core::Leg::{Inside, Outside};
use sipalg_core::config::{AccessEnd, AccessEntry, AccessPorts, MaxEntries, SourceRule};
use sipalg_core::door::AddressOp;
use sipalg_core::{Config, DoorKind, Event, Protocol, Refusal};
use std::time::Duration;
use world::{World, at, fixed, fixed_port, list, overload, pool, sdp, under};

const SERVER: &str = "203.0.113.2:5060";

/// An INVITE of a phone that is to be called back at its SIP port, with its media.
fn invite(host: &str, sip: u16, media: &str, port: u16) -> String {
    let body = sdp(media, port);
    format!(
        "INVITE sip:bob@203.0.113.2 SIP/2.0\r\nVia: SIP/2.0/TCP {host}:{sip};branch=z9hG4bK1\r\nFrom: <sip:a@{host}>;tag=1\r\n\
         To: <sip:bob@203.0.113.2>\r\nCall-ID: c-{sip}-{port}\r\nCSeq: 1 INVITE\r\nContact: <sip:a@{host}:{sip}>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_static_host_keeps_its_ports_and_is_reached_at_each_of_them() {
    let rules = vec![
        fixed("192.168.1.20", "203.0.113.20", 32),
        overload("192.168.1.0", "203.0.113.1"),
    ];
    let mut world = World::with(under(rules));
    assert_eq!(world.translations(), ["--- 203.0.113.20 192.168.1.20"]);
    let (source, _) = world.leads("192.168.1.20:80", SERVER).unwrap();
    assert_eq!(source, "203.0.113.20:80", "also below 1024");
    let (source, target) = world.leads("203.0.113.9:7", "203.0.113.20:5060").unwrap();
    assert_eq!(
        [source.as_str(), &target],
        ["203.0.113.9:7", "192.168.1.20:5060"]
    );
    let flow = world.connect("192.168.1.20:40000", SERVER);
    let sent = world.say(
        flow,
        Inside,
        &invite("192.168.1.20", 5060, "192.168.1.20", 6000),
    );
    assert!(!sent.contains("192.168"), "{sent}");
    assert!(
        sent.contains("Contact: <sip:a@203.0.113.20:5060>"),
        "{sent}"
    );
    assert!(sent.contains("m=audio 6000 "), "{sent}");
    assert_eq!(world.doors(DoorKind::Media).len(), 2);
}

#[test]
fn a_static_network_is_moved_as_a_whole_and_back() {
    let mut world = World::with(under(vec![fixed("10.8.0.0", "203.0.112.0", 22)]));
    assert_eq!(world.translations(), ["--- 203.0.112.0 10.8.0.0"]);
    let (source, _) = world.leads("10.8.3.7:5060", "198.51.100.1:5060").unwrap();
    assert_eq!(source, "203.0.115.7:5060");
    let (_, target) = world.leads("198.51.100.1:7", "203.0.114.255:5060").unwrap();
    assert_eq!(target, "10.8.2.255:5060");
    assert_eq!(
        world.leads("10.8.4.0:5060", "198.51.100.1:5060"),
        Err(Refusal::NotTranslated)
    );
}

#[test]
fn a_static_port_is_reached_for_ever_and_other_ports_go_by_other_rules() {
    let rules = vec![
        fixed_port(Protocol::Tcp, "192.168.1.10:5060", "203.0.113.1:5080"),
        overload("192.168.1.0", "203.0.113.1"),
    ];
    let mut world = World::with(under(rules));
    let all = ["tcp 203.0.113.1:5080 192.168.1.10:5060"];
    assert_eq!(world.translations(), all);
    world.wait(Duration::from_secs(100_000));
    assert_eq!(world.translations(), all);
    let view = world.alg.mappings(world.now)[0];
    assert_eq!(
        (view.is_static, view.rule, view.left),
        (true, Some(0), None)
    );

    let (_, target) = world.leads("198.51.100.1:7", "203.0.113.1:5080").unwrap();
    assert_eq!(target, "192.168.1.10:5060");
    let unlike = world.leads("198.51.100.1:7", "203.0.113.1:5060");
    assert_eq!(unlike, Err(Refusal::NoDoor));
    let (source, _) = world.leads("192.168.1.10:5061", SERVER).unwrap();
    assert_eq!(source, "203.0.113.1:5061");
    let (source, _) = world.leads("192.168.1.10:5060", SERVER).unwrap();
    assert_eq!(source, "203.0.113.1:5080");
}

#[test]
fn a_phone_outside_registers_to_a_pbx_behind_a_static_port() {
    let rules = vec![
        fixed_port(Protocol::Tcp, "192.168.1.10:5060", "203.0.113.5:5060"),
        overload("192.168.1.0", "203.0.113.1"),
    ];
    let mut world = World::with(under(rules));
    let flow = world.connect("198.51.100.7:4000", "203.0.113.5:5060");
    let register = "REGISTER sip:203.0.113.5 SIP/2.0\r\nVia: SIP/2.0/TCP 198.51.100.7:4000;branch=z9hG4bK2\r\n\
        From: <sip:p@203.0.113.5>;tag=2\r\nTo: <sip:p@203.0.113.5>\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\n\
        Contact: <sip:p@198.51.100.7:4000>\r\nContent-Length: 0\r\n\r\n";
    let got = world.say(flow, Outside, register);
    assert_eq!(got, register.replace("203.0.113.5", "192.168.1.10"));
    let answer = |text: &str| text.replacen("REGISTER sip:", "SIP/2.0 200 OK\r\nX: ", 1);
    let back = world.say(flow, Inside, &answer(&got));
    assert!(!back.contains("<sip:p@192.168"), "{back}");
    // The PBX calls: its media goes by the list, to the list's address.
    let sent = world.say(
        flow,
        Inside,
        &invite("192.168.1.10", 5060, "192.168.1.10", 6000),
    );
    assert!(sent.contains("Contact: <sip:a@203.0.113.5:5060>"), "{sent}");
    assert!(sent.contains("c=IN IP4 203.0.113.1\r\n"), "{sent}");
    assert_eq!(
        world.globals(DoorKind::Media),
        ["udp 203.0.113.1:6000", "udp 203.0.113.1:6001"]
    );
}

#[test]
fn no_host_is_given_a_port_or_address_of_a_static_rule() {
    let rules = vec![
        fixed_port(Protocol::Udp, "192.168.1.10:6000", "203.0.113.1:6000"),
        fixed("192.168.1.20", "203.0.113.7", 32),
        overload("192.168.1.0", "203.0.113.1"),
        pool("192.168.2.0", "203.0.113.6", "203.0.113.8", false),
    ];
    let mut world = World::with(under(rules));
    let flow = world.connect("192.168.1.3:40000", SERVER);
    world.say(
        flow,
        Inside,
        &invite("192.168.1.3", 5060, "192.168.1.3", 6000),
    );
    let media = world.globals(DoorKind::Media);
    assert!(!media.contains(&"udp 203.0.113.1:6000".into()), "{media:?}");
    let sources = [1, 2].map(|last| {
        let host = format!("192.168.2.{last}:5060");
        world.leads(&host, SERVER).unwrap().0
    });
    assert_eq!(sources, ["203.0.113.6:5060", "203.0.113.8:5060"]);
}

#[test]
fn a_pool_with_overload_gives_a_host_one_address_for_everything() {
    let rules = vec![pool("192.168.1.0", "203.0.113.10", "203.0.113.13", true)];
    let mut world = World::with(under(rules));
    for last in 1..30 {
        let host = format!("192.168.1.{last}");
        let (source, _) = world
            .leads(&format!("{host}:4000{}", last % 10), SERVER)
            .unwrap();
        let flow = world.connect(&format!("{host}:5061"), SERVER);
        let sent = world.say(flow, Inside, &invite(&host, 5060, &host, 6000));
        let address = source.split(':').next().unwrap();
        assert!(sent.contains(&format!("c=IN IP4 {address}\r\n")), "{sent}");
        assert!(
            sent.contains(&format!("Contact: <sip:a@{address}:")),
            "{sent}"
        );
        assert!(!sent.contains("192.168"), "{sent}");
    }
}

#[test]
fn a_pool_without_overload_gives_the_first_free_address_with_all_ports() {
    let rules = vec![pool("192.168.1.0", "203.0.113.10", "203.0.113.11", false)];
    let mut world = World::with(under(rules));
    let assign = |world: &mut World, host: &str| {
        let done = world
            .alg
            .assign(world.now, host.parse().unwrap(), &mut world.out);
        world.obey();
        (done, std::mem::take(&mut world.addresses))
    };
    let given = |local: &str, global: &str| AddressOp::Assign {
        local: local.parse().unwrap(),
        global: global.parse().unwrap(),
    };
    let first = assign(&mut world, "192.168.1.9");
    assert_eq!(first, (true, vec![given("192.168.1.9", "203.0.113.10")]));
    assert_eq!(assign(&mut world, "192.168.1.9"), (true, vec![]));
    // SIP that comes before anything else gives the address, too.
    let flow = world.connect("192.168.1.3:40000", SERVER);
    assert_eq!(world.out.addresses, [given("192.168.1.3", "203.0.113.11")]);
    world.out.clear();
    let sent = world.say(
        flow,
        Inside,
        &invite("192.168.1.3", 5060, "192.168.1.3", 6001),
    );
    assert!(
        sent.contains("m=audio 6001 ") && !sent.contains("192.168"),
        "{sent}"
    );
    assert_eq!(
        world.translations()[..2],
        [
            "--- 203.0.113.11 192.168.1.3",
            "tcp 203.0.113.11:5060 192.168.1.3:5060"
        ]
    );
    assert_eq!(assign(&mut world, "10.0.0.1"), (false, vec![]), "no rule");
    let (_, target) = world.leads("198.51.100.1:7", "203.0.113.10:5060").unwrap();
    assert_eq!(target, "192.168.1.9:5060");
}

#[test]
fn an_exhausted_pool_is_told_with_the_host_and_disturbs_nothing() {
    let rules = vec![pool("192.168.1.0", "203.0.113.10", "203.0.113.10", false)];
    let mut world = World::with(under(rules));
    let flow = world.connect("192.168.1.2:5060", SERVER);
    let before = world.translations();
    world.out.clear();
    let refused = world.leads("192.168.1.3:5060", SERVER);
    assert_eq!(refused, Err(Refusal::Exhausted));
    let host = "192.168.1.3".parse().unwrap();
    assert_eq!(
        world.out.events,
        [Event::PoolExhausted { host }],
        "unwatched"
    );
    assert_eq!(world.alg.counters().pool_exhausted, 1);
    assert_eq!(world.translations(), before);
    let sent = world.say(
        flow,
        Inside,
        &invite("192.168.1.2", 5060, "192.168.1.2", 6000),
    );
    assert!(!sent.contains("192.168"), "{sent}");
}

#[test]
fn an_address_of_a_pool_comes_back_when_its_host_was_idle_for_long() {
    let mut config = under(vec![pool(
        "192.168.1.0",
        "203.0.113.10",
        "203.0.113.10",
        false,
    )]);
    config.address_idle = Some(Duration::from_secs(1000));
    let mut world = World::with(config);
    let flow = world.connect("192.168.1.2:5060", SERVER);
    let second = |world: &mut World| world.leads("192.168.1.3:5060", SERVER).is_ok();
    world.wait(Duration::from_secs(5000));
    assert!(!second(&mut world), "a flow keeps it");
    world.close(flow);
    world.wait(Duration::from_secs(1100));
    assert!(!second(&mut world), "a mapping kept it for a while");
    world
        .alg
        .host_seen(world.now, "192.168.1.2".parse().unwrap());
    world.wait(Duration::from_secs(900));
    assert!(!second(&mut world), "the kernel saw a flow");
    world.wait(Duration::from_secs(1000));
    assert!(second(&mut world));
}

#[test]
fn hosts_of_a_no_payload_rule_are_carried_unchanged() {
    let mut without = overload("192.168.2.0", "203.0.113.1");
    without.payload = false;
    let rules = vec![without, overload("192.168.1.0", "203.0.113.1")];
    let mut world = World::with(under(rules));
    let flow = world.connect("192.168.2.3:40000", SERVER);
    let text = invite("192.168.2.3", 5060, "192.168.2.3", 6000);
    assert_eq!(world.say(flow, Inside, &text), text);
    assert_eq!(world.doors(DoorKind::Media), [""; 0]);
    // Named by a host of the other rule they stay as well.
    let flow = world.connect("192.168.1.3:40000", SERVER);
    let text = invite("192.168.1.3", 5060, "192.168.1.3", 6000)
        .replace("To: <sip:bob@203.0.113.2>", "To: <sip:bob@192.168.2.3>");
    let sent = world.say(flow, Inside, &text);
    assert!(sent.contains("To: <sip:bob@192.168.2.3>"), "{sent}");
    assert!(!sent.contains("192.168.1.3"), "{sent}");
}

#[test]
fn traffic_that_an_extended_list_exempts_is_not_translated() {
    let end = |address: &str, wildcard: &str| AccessEnd {
        address: address.parse().unwrap(),
        wildcard: wildcard.parse().unwrap(),
        ports: AccessPorts::ANY,
    };
    let mut list = list("192.168.1.0");
    let deny = AccessEntry {
        permit: false,
        protocol: None,
        source: AccessEnd::ANY,
        destination: end("10.0.0.0", "0.255.255.255"),
        established: false,
    };
    list.entries.insert(0, deny);
    let rule = SourceRule::overload(list, "203.0.113.1".parse().unwrap());
    let mut world = World::with(under(vec![rule]));
    let (source, _) = world.leads("192.168.1.3:5060", SERVER).unwrap();
    assert_eq!(source, "203.0.113.1:5060");
    let exempt = world.leads("192.168.1.3:5060", "10.2.3.4:5060");
    assert_eq!(exempt, Err(Refusal::NotTranslated));
    // Who comes from there speaks with the inside host's own address.
    let flow = world.connect("10.2.3.4:5060", "192.168.1.3:5060");
    let text = invite("192.168.1.3", 5060, "192.168.1.3", 6000);
    assert_eq!(world.say(flow, Inside, &text), text);
}

#[test]
fn a_host_opens_doors_for_others_only_if_it_is_trusted() {
    let mut config = under(vec![overload("192.168.1.0", "203.0.113.1")]);
    let text = invite("192.168.1.10", 5060, "192.168.1.3", 6000).replace(
        "Contact:",
        "Record-Route: <sip:192.168.1.4:5061;lr>\r\nContact:",
    );
    let mut world = World::with(config.clone());
    let flow = world.connect("192.168.1.10:40000", SERVER);
    let sent = world.say(flow, Inside, &text);
    assert!(sent.contains("c=IN IP4 192.168.1.3"), "{sent}");
    assert_eq!(world.doors(DoorKind::Media), [""; 0]);
    assert_eq!(world.doors(DoorKind::Signalling), ["192.168.1.10:5060"]);

    let mut trusted = list("192.168.1.0");
    trusted.entries[0] = AccessEntry::standard(
        true,
        "192.168.1.10".parse().unwrap(),
        "0.0.0.0".parse().unwrap(),
    );
    config.trusted = Some(trusted);
    let mut world = World::with(config);
    let flow = world.connect("192.168.1.10:40000", SERVER);
    let sent = world.say(flow, Inside, &text);
    assert!(!sent.contains("192.168"), "{sent}");
    assert_eq!(
        world.doors(DoorKind::Media),
        ["192.168.1.3:6000", "192.168.1.3:6001"]
    );
    assert_eq!(
        world.doors(DoorKind::Signalling),
        ["192.168.1.4:5061", "192.168.1.10:5060"]
    );
    // Whom it opened doors for is not trusted for that.
    let flow = world.connect("192.168.1.3:40000", SERVER);
    let sent = world.say(
        flow,
        Inside,
        &invite("192.168.1.3", 5060, "192.168.1.9", 6000),
    );
    assert!(sent.contains("c=IN IP4 192.168.1.9"), "{sent}");
}

/// A phone with one flow and one contact has room for so many translations.
fn bounded(entries: MaxEntries) -> (World, String) {
    let config = Config {
        entries,
        ..under(vec![overload("192.168.1.0", "203.0.113.1")])
    };
    let mut world = World::with(config);
    world.connect("192.168.1.4:40001", SERVER);
    let flow = world.connect("192.168.1.3:40001", SERVER);
    world.out.clear();
    let sent = world.say(
        flow,
        Inside,
        &invite("192.168.1.3", 5060, "192.168.1.3", 6000),
    );
    (world, sent)
}

#[test]
fn more_translations_than_the_operator_allows_are_refused_and_told() {
    let host = "192.168.1.3".parse().unwrap();
    let bounds = |all, each_host, own: Option<u32>, of_list: Option<u32>| MaxEntries {
        all,
        each_host,
        hosts: own.map(|most| (host, most)).into_iter().collect(),
        lists: of_list
            .map(|most| (list("192.168.1.0"), most))
            .into_iter()
            .collect(),
    };
    for tight in [
        bounds(Some(4), None, None, None),
        bounds(None, Some(3), None, None),
        bounds(None, Some(100), Some(3), None),
        bounds(None, None, None, Some(4)),
    ] {
        let (mut world, sent) = bounded(tight.clone());
        assert!(sent.contains("Contact: <sip:a@203.0.113.1:5060>"), "{sent}");
        assert!(
            sent.contains("c=IN IP4 192.168.1.3\r\n"),
            "{tight:?} {sent}"
        );
        assert!(sent.contains("m=audio 6000 "), "{sent}");
        assert_eq!(world.alg.counters().entries_refused, 1);
        assert_eq!(world.doors(DoorKind::Media), [""; 0]);
        // What there is already is not disturbed, and what ends makes room.
        let flow = world.connect("192.168.1.3:40001", "203.0.113.9:5060");
        world.close(flow);
        world.wait(Duration::from_secs(1000));
        assert_eq!(world.doors(DoorKind::Signalling), [""; 0]);
        let flow = world.connect("192.168.1.3:40001", SERVER);
        let text =
            invite("192.168.1.3", 40001, "192.168.1.3", 6000).replace("Call-ID: c", "Call-ID: d");
        let sent = world.say(flow, Inside, &text);
        assert!(!sent.contains("192.168"), "{sent}");
    }
    for wide in [
        bounds(Some(5), None, None, None),
        bounds(None, Some(4), None, None),
        bounds(None, Some(1), Some(4), None),
        bounds(None, None, None, Some(5)),
        MaxEntries::default(),
    ] {
        let (_, sent) = bounded(wide);
        assert!(!sent.contains("192.168"), "{sent}");
    }
}

#[test]
fn a_refusal_by_the_operators_bound_names_the_host_whoever_watches() {
    let config = Config {
        entries: MaxEntries {
            all: Some(0),
            ..MaxEntries::default()
        },
        ..under(vec![overload("192.168.1.0", "203.0.113.1")])
    };
    let mut world = World::with(config);
    let refused = world.leads("192.168.1.3:5060", SERVER);
    assert_eq!(refused, Err(Refusal::Exhausted));
    let told = Event::TooManyEntries {
        protocol: Protocol::Tcp,
        inside_local: at("192.168.1.3:5060"),
    };
    assert_eq!(world.out.events, [told]);
}

/// RFC 4787 REQ-1 and RFC 5382 REQ-1: by any kind of rule, toward everyone; TCP and UDP apart.
#[test]
fn one_inside_local_is_one_inside_global_toward_everyone_by_any_rule() {
    let kinds = [
        overload("192.168.1.0", "203.0.113.1"),
        pool("192.168.1.0", "203.0.113.10", "203.0.113.20", true),
        pool("192.168.1.0", "203.0.113.10", "203.0.113.20", false),
        fixed("192.168.1.0", "203.0.112.0", 24),
    ];
    for kind in kinds {
        let mut world = World::with(under(vec![kind]));
        let mut sources = Vec::new();
        for server in [SERVER, "198.51.100.1:5060", "198.51.100.2:5061"] {
            sources.push(world.leads("192.168.1.3:5060", server).unwrap().0);
        }
        sources.dedup();
        assert_eq!(sources.len(), 1);
        let (_, source) = world.converse("192.168.1.4:5060", SERVER);
        assert!(
            source.ends_with(":5060"),
            "UDP has not met that port: {source}"
        );
    }
}
