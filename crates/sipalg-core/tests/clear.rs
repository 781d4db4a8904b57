//! What the operator clears: what nobody needs goes, what is needed goes if it is forced, what is
//! static stays; and how full the tables are.
#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

mod world;

use sipalg_core::Leg::{Inside, Outside};
use sipalg_core::alg::{Clear, Cleared, Usage};
use sipalg_core::config::{Resource, SourceRule};
use sipalg_core::door::AddressOp;
use sipalg_core::{DoorKind, FlowId, Protocol};
use std::time::Duration;
use world::{World, at, fixed_port, overload, pool, sdp, under};

const PHONE: &str = "192.168.1.3:5060";
const SERVER: &str = "198.51.100.2:5060";
const GLOBAL: &str = "203.0.113.1";

fn rules() -> Vec<SourceRule> {
    vec![
        fixed_port(Protocol::Tcp, "192.168.1.9:5060", "203.0.113.1:5080"),
        overload("192.168.1.0", GLOBAL),
    ]
}

fn invite() -> String {
    let body = sdp("192.168.1.3", 6000);
    format!(
        "INVITE sip:b@198.51.100.2 SIP/2.0\r\nVia: SIP/2.0/TCP {PHONE};branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:b@b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:a@{PHONE};transport=tcp>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A phone in a call, and another one whose connection has ended.
fn calling() -> (World, FlowId) {
    let mut world = World::with(under(rules()));
    let ended = world.connect("192.168.1.4:40004", SERVER);
    world.close(ended);
    let flow = world.connect("192.168.1.3:40003", SERVER);
    world.say(flow, Inside, &invite());
    (world, flow)
}

fn clear(world: &mut World, which: Clear, forced: bool) -> Cleared {
    let cleared = world.alg.clear(world.now, which, forced, &mut world.out);
    world.obey();
    world.out.clear();
    cleared
}

const STATIC: &str = "tcp 203.0.113.1:5080 192.168.1.9:5060";

#[test]
fn what_flows_and_calls_need_stays_unless_it_is_forced_and_what_is_static_stays_always() {
    let (mut world, flow) = calling();
    let before = world.translations();
    let cleared = clear(&mut world, Clear::All, false);
    assert_eq!(
        (cleared.gone, cleared.in_use, cleared.flows),
        (1, 4, vec![])
    );
    let idle = |line: &String| line.contains("192.168.1.4:40004");
    assert_eq!(before.iter().filter(|line| idle(line)).count(), 1);
    let rest: Vec<_> = before.into_iter().filter(|line| !idle(line)).collect();
    assert_eq!(world.translations(), rest);
    assert!(world.last_ops.is_empty(), "{:?}", world.last_ops);

    let cleared = clear(&mut world, Clear::All, true);
    assert_eq!(
        (cleared.gone, cleared.in_use, cleared.flows),
        (4, 0, vec![flow])
    );
    assert_eq!(world.translations(), [STATIC]);
    let kinds = [DoorKind::Signalling, DoorKind::Media];
    assert!(kinds.iter().all(|kind| world.doors(*kind).is_empty()));
    // The phone comes again.
    world.close(flow);
    let flow = world.connect("192.168.1.3:40003", SERVER);
    let sent = world.say(flow, Inside, &invite());
    assert!(sent.contains(&format!("m=audio {} ", 6000)), "{sent}");
    assert_eq!(world.doors(DoorKind::Media).len(), 2);
    world.say(flow, Outside, "\r\n");
    world.close(flow);
    world.wait(Duration::from_secs(24 * 3600));
    assert_eq!(world.translations(), [STATIC]);
    assert_eq!(world.alg.sizes(), (0, 0, 0));
}

#[test]
fn one_translation_or_those_of_one_host_are_cleared_alone() {
    let (mut world, flow) = calling();
    let one = Clear::One {
        protocol: Protocol::Udp,
        global: at("203.0.113.1:6000"),
        local: at("192.168.1.3:6000"),
    };
    let cleared = clear(&mut world, one, false);
    assert_eq!((cleared.gone, cleared.in_use), (0, 1));
    let cleared = clear(&mut world, one, true);
    assert_eq!((cleared.gone, cleared.flows), (1, vec![]));
    assert_eq!(world.doors(DoorKind::Media), ["192.168.1.3:6001"]);
    assert_eq!(clear(&mut world, one, true), Cleared::default());
    let host = |local: &str| Clear::Host {
        global: GLOBAL.parse().unwrap(),
        local: local.parse().unwrap(),
    };
    assert_eq!(clear(&mut world, host("192.168.1.4"), false).gone, 1);
    assert_eq!(clear(&mut world, host("192.168.1.3"), true).flows, [flow]);
    assert_eq!(clear(&mut world, host("192.168.1.9"), true).gone, 0);
}

#[test]
fn an_address_of_a_pool_comes_back_with_the_last_mapping_of_its_host() {
    let mut world = World::with(under(vec![pool(
        "192.168.1.0",
        "203.0.113.16",
        "203.0.113.17",
        false,
    )]));
    let flow = world.connect("192.168.1.3:40003", SERVER);
    world.obey();
    let cleared = clear(&mut world, Clear::All, false);
    assert_eq!((cleared.gone, cleared.in_use), (0, 2));
    let cleared = clear(&mut world, Clear::All, true);
    assert_eq!(
        (cleared.gone, cleared.in_use, cleared.flows),
        (2, 0, vec![flow])
    );
    let released = AddressOp::Release {
        local: "192.168.1.3".parse().unwrap(),
        global: "203.0.113.16".parse().unwrap(),
    };
    assert_eq!(world.addresses.last(), Some(&released));
}

#[test]
fn what_nobody_used_is_counted_when_it_expires_and_not_when_it_is_cleared() {
    let (mut world, flow) = calling();
    clear(&mut world, Clear::All, false);
    assert_eq!(world.alg.counters().mappings_expired, 0);
    world.close(flow);
    world.wait(Duration::from_secs(24 * 3600));
    assert_eq!(world.alg.counters().mappings_expired, 4);
}

#[test]
fn every_table_tells_how_full_it_is_and_was() {
    let (mut world, _) = calling();
    let find = |world: &World, name| -> Usage {
        let all = world.alg.usage();
        *all.iter().find(|usage| usage.name == name).unwrap()
    };
    let row = |usage: Usage| (usage.used, usage.peak, usage.limit);
    assert_eq!(row(find(&world, "mappings")), (6, Some(6), Some(262_144)));
    assert_eq!(row(find(&world, "calls")), (1, Some(1), Some(65_536)));
    assert_eq!(row(find(&world, "doors")), (3, Some(3), Some(262_144)));
    assert_eq!(
        row(find(&world, "doors of one host")),
        (3, None, Some(16_128))
    );
    assert_eq!(row(find(&world, "flows")), (1, Some(1), None));
    let peak = world.alg.peak();
    assert_eq!((peak.count, peak.at), (6, world.now));
    clear(&mut world, Clear::All, true);
    assert_eq!(row(find(&world, "doors")), (0, Some(3), Some(262_144)));
    assert_eq!(world.alg.peak().count, 6);
    world.alg.forget_peak(world.now);
    // What calls and flows still name.
    assert!(world.alg.peak().count < 6);

    let mut config = under(rules());
    config.limits = config.limits.with(Resource::Call, 1);
    world.reconfigure(config);
    let flow = world.connect("192.168.1.5:40003", SERVER);
    world.say(flow, Inside, &invite().replace("Call-ID: c", "Call-ID: d"));
    assert_eq!(find(&world, "calls").refused, Some(1));
}
