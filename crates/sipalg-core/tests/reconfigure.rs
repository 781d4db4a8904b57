//! Other rules while calls go on: what they leave alone stays, what they move moves, the rest ends.
#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

mod world;

use sipalg_core::Leg::{Inside, Outside};
use sipalg_core::config::{MaxEntries, Source, SourceRule};
use sipalg_core::door::AddressOp;
use sipalg_core::{Config, DoorKind, FlowId, Protocol, pool_address};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;
use world::{World, fixed, fixed_port, overload, pool, sdp, under};

const SERVER: &str = "198.51.100.2:5060";

/// What a host says, with its own addresses, in dialog `id`; `INVITE` describes its media.
fn request(method: &str, host: &str, id: usize) -> String {
    let body = match method {
        "INVITE" => sdp(host, 6000 + 10 * id as u16),
        _ => String::new(),
    };
    format!(
        "{method} sip:b@198.51.100.2 SIP/2.0\r\nVia: SIP/2.0/TCP {host}:5060;branch=z9hG4bK{id}\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:b@b>\r\nCall-ID: c{id}\r\nCSeq: 1 {method}\r\nContact: <sip:a@{host}:5060;transport=tcp>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A 200 to what went out.
fn accepted(sent: &str) -> String {
    let (head, _) = sent.split_once("\r\n\r\n").unwrap();
    let (_, fields) = head.split_once("\r\n").unwrap();
    let fields = fields.replace("Content-Length", "Expires: 3600\r\nX-Length");
    format!("SIP/2.0 200 OK\r\n{fields}\r\nContent-Length: 0\r\n\r\n")
        .replace("<sip:b@b>", "<sip:b@b>;tag=2")
}

/// A registered phone in a call, under these rules.
fn phone(rules: Vec<SourceRule>) -> (World, FlowId) {
    let mut world = World::with(under(rules));
    let flow = world.connect("192.168.1.3:40001", SERVER);
    for method in ["REGISTER", "INVITE"] {
        let sent = world.say(flow, Inside, &request(method, "192.168.1.3", 0));
        world.say(flow, Outside, &accepted(&sent));
    }
    (world, flow)
}

fn doors(world: &World) -> Vec<String> {
    let kinds = [DoorKind::Signalling, DoorKind::Media];
    kinds.iter().flat_map(|kind| world.globals(*kind)).collect()
}

fn on(address: &str) -> Vec<String> {
    ["tcp", "udp", "udp"]
        .iter()
        .zip([5060, 6000, 6001])
        .map(|(protocol, port)| format!("{protocol} {address}:{port}"))
        .collect()
}

#[test]
fn what_new_rules_leave_alone_goes_on() {
    let (mut world, flow) = phone(vec![overload("192.168.1.0", "203.0.113.1")]);
    let before = (world.translations(), doors(&world));
    let mut config = under(vec![
        fixed_port(Protocol::Tcp, "192.168.1.10:5060", "203.0.113.1:5080"),
        overload("192.168.1.0", "203.0.113.1"),
        overload("192.168.2.0", "203.0.113.9"),
    ]);
    config.limits.body_bytes = 5;
    assert_eq!(world.reconfigure(config), []);
    assert!(world.last_ops.is_empty(), "{:?}", world.last_ops);
    let mut after = world.translations();
    after.retain(|line| !line.contains("192.168.1.10"));
    assert_eq!((after, doors(&world)), before);
    assert_eq!(world.alg.config().limits.body_bytes, 5);
    world.say(flow, Inside, &request("OPTIONS", "192.168.1.3", 0));
    assert!(world.leads("192.168.2.3:5060", SERVER).is_ok());
}

/// The address of the outside interface changes in a call.
#[test]
fn mappings_move_to_a_new_address_with_their_doors_and_the_flow_is_named() {
    let (mut world, flow) = phone(vec![overload("192.168.1.0", "203.0.113.1")]);
    assert_eq!(doors(&world), on("203.0.113.1"));
    let new = under(vec![overload("192.168.1.0", "203.0.113.77")]);
    assert_eq!(world.reconfigure(new), [flow]);
    assert_eq!(doors(&world), on("203.0.113.77"));
    world.close(flow);
    // The phone comes again and registers; the call ends as usual.
    let flow = world.connect("192.168.1.3:40002", SERVER);
    let sent = world.say(flow, Inside, &request("REGISTER", "192.168.1.3", 0));
    assert!(
        sent.contains("Contact: <sip:a@203.0.113.77:5060;"),
        "{sent}"
    );
    world.say(flow, Outside, &accepted(&sent));
    world.close(flow);
    world.wait(Duration::from_secs(9 * 24 * 3600));
    assert_eq!(doors(&world), [""; 0]);
    assert_eq!(world.translations(), [""; 0]);
}

#[test]
fn mappings_whose_rule_is_gone_end_with_their_doors_and_their_names_are_not_used_again() {
    let both = || {
        vec![
            overload("192.168.1.0", "203.0.113.1"),
            overload("192.168.2.0", "203.0.113.2"),
        ]
    };
    let (mut world, flow) = phone(both());
    let other = world.connect("192.168.2.3:40001", SERVER);
    let sent = world.say(other, Inside, &request("INVITE", "192.168.2.3", 1));
    world.say(other, Outside, &accepted(&sent));
    let lost = world.reconfigure(under(vec![overload("192.168.2.0", "203.0.113.2")]));
    assert_eq!(lost, [flow]);
    let left = [
        "tcp 203.0.113.2:5060",
        "udp 203.0.113.2:6010",
        "udp 203.0.113.2:6011",
    ];
    assert_eq!(doors(&world), left);
    // Others take what has become free, while the call and the registration still name it.
    for port in 7000..7020 {
        world.leads(&format!("192.168.2.4:{port}"), SERVER).unwrap();
    }
    world.close(flow);
    world.wait(Duration::from_secs(9 * 24 * 3600));
    world.close(other);
    world.wait(Duration::from_secs(3600));
    let kept: Vec<_> = (7000..7020)
        .map(|port| format!("tcp 203.0.113.2:{port} 192.168.2.4:{port}"))
        .collect();
    assert_eq!(world.translations(), kept);
}

#[test]
fn a_rule_that_comes_back_serves_the_same_call_again() {
    let rules = || vec![overload("192.168.1.0", "203.0.113.1")];
    let (mut world, flow) = phone(rules());
    world.reconfigure(under(vec![]));
    assert_eq!(doors(&world), [""; 0]);
    world.reconfigure(under(rules()));
    world.close(flow);
    let flow = world.connect("192.168.1.3:40002", SERVER);
    let sent = world.say(flow, Inside, &request("INVITE", "192.168.1.3", 0));
    assert!(!sent.contains("192.168"), "{sent}");
    assert_eq!(doors(&world), on("203.0.113.1"));
    world.wait(Duration::from_secs(9 * 24 * 3600));
    assert_eq!(doors(&world), [""; 0]);
}

#[test]
fn a_held_stream_whose_rule_is_gone_gets_no_door_back() {
    let (mut world, flow) = phone(vec![overload("192.168.1.0", "203.0.113.1")]);
    world.reconfigure(under(vec![]));
    let held = sdp("0.0.0.0", 6000);
    let again = format!(
        "INVITE sip:b@198.51.100.2 SIP/2.0\r\nCall-ID: c0\r\nCSeq: 2 INVITE\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{held}",
        held.len()
    );
    assert_eq!(world.say(flow, Inside, &again), again);
    assert_eq!(doors(&world), [""; 0]);
}

#[test]
fn who_has_a_port_that_becomes_static_makes_way() {
    let (mut world, _) = phone(vec![overload("192.168.1.0", "203.0.113.1")]);
    let new = under(vec![
        fixed_port(Protocol::Tcp, "192.168.1.10:5060", "203.0.113.1:5060"),
        overload("192.168.1.0", "203.0.113.1"),
    ]);
    let lost = world.reconfigure(new);
    assert_eq!(lost, [], "its flow comes from another port");
    let (_, target) = world.leads("198.51.100.9:7", "203.0.113.1:5060").unwrap();
    assert_eq!(target, "192.168.1.10:5060");
    let moved = &world.globals(DoorKind::Signalling)[0];
    assert_ne!(moved, "tcp 203.0.113.1:5060");
    assert_eq!(world.doors(DoorKind::Signalling), ["192.168.1.3:5060"]);
}

#[test]
fn a_static_port_that_is_taken_away_is_dynamic_and_ends_when_idle() {
    let port = fixed_port(Protocol::Tcp, "192.168.1.10:5060", "203.0.113.1:5060");
    let list = || overload("192.168.1.0", "203.0.113.1");
    let mut world = World::with(under(vec![port.clone(), list()]));
    let from_outside = world.connect("198.51.100.9:7", "203.0.113.1:5060");
    assert_eq!(world.reconfigure(under(vec![list()])), []);
    assert!(world.leads("198.51.100.9:8", "203.0.113.1:5060").is_err());
    world.close(from_outside);
    world.wait(Duration::from_secs(3600));
    assert_eq!(world.translations(), [""; 0]);
    world.reconfigure(under(vec![port, list()]));
    assert!(world.leads("198.51.100.9:8", "203.0.113.1:5060").is_ok());
}

#[test]
fn who_came_in_by_an_address_that_is_gone_is_named() {
    let mut world = World::with(under(vec![fixed("192.168.1.20", "203.0.113.20", 32)]));
    let flow = world.connect("198.51.100.9:7", "203.0.113.20:5060");
    let stays = under(vec![
        fixed("192.168.1.20", "203.0.113.20", 32),
        overload("192.168.1.0", "203.0.113.1"),
    ]);
    assert_eq!(world.reconfigure(stays), []);
    let moves = under(vec![fixed("192.168.1.20", "203.0.113.21", 32)]);
    assert_eq!(world.reconfigure(moves), [flow]);
}

#[test]
fn addresses_of_a_pool_follow_it() {
    let mut world = World::with(under(vec![pool(
        "192.168.1.0",
        "203.0.113.1",
        "203.0.113.3",
        false,
    )]));
    let flows: Vec<_> = (1..4)
        .map(|last| world.connect(&format!("192.168.1.{last}:5060"), SERVER))
        .collect();
    world.obey();
    world.addresses.clear();
    let new = under(vec![pool(
        "192.168.1.0",
        "203.0.113.3",
        "203.0.113.4",
        false,
    )]);
    assert_eq!(world.reconfigure(new), flows[..2]);
    let [one, two] = [1, 2].map(|last| Ipv4Addr::new(192, 168, 1, last));
    let release = |local, last| AddressOp::Release {
        local,
        global: Ipv4Addr::new(203, 0, 113, last),
    };
    let assign = AddressOp::Assign {
        local: one,
        global: Ipv4Addr::new(203, 0, 113, 4),
    };
    assert_eq!(world.addresses, [release(one, 1), release(two, 2), assign]);
    assert_eq!(
        world.alg.counters().pool_exhausted,
        1,
        "there is none for the second"
    );
    assert_eq!(
        world.translations(),
        [
            "--- 203.0.113.4 192.168.1.1",
            "tcp 203.0.113.4:5060 192.168.1.1:5060",
            "--- 203.0.113.3 192.168.1.3",
            "tcp 203.0.113.3:5060 192.168.1.3:5060",
        ]
    );
}

#[test]
fn bounds_count_what_there_is_when_they_come() {
    let (mut world, _) = phone(vec![overload("192.168.1.0", "203.0.113.1")]);
    let bound = |most| Config {
        entries: MaxEntries {
            lists: vec![(world::list("192.168.1.0"), most)],
            ..MaxEntries::default()
        },
        ..under(vec![overload("192.168.1.0", "203.0.113.1")])
    };
    world.reconfigure(bound(4));
    assert!(world.leads("192.168.1.4:5060", SERVER).is_err());
    world.reconfigure(bound(5));
    assert!(world.leads("192.168.1.4:5060", SERVER).is_ok());
    assert!(world.leads("192.168.1.4:5061", SERVER).is_err());
}

#[test]
fn pings_begin_and_end_with_their_interval() {
    let (mut world, flow) = phone(vec![overload("192.168.1.0", "203.0.113.1")]);
    let every = |seconds: Option<u64>| Config {
        keepalive: seconds.map(Duration::from_secs),
        ..under(vec![overload("192.168.1.0", "203.0.113.1")])
    };
    let pinged = |world: &mut World, seconds| {
        world.reconfigure(every(seconds));
        world.now = world.now + Duration::from_secs(100);
        world.alg.handle_timeout(world.now, &mut world.out);
        world.out.doors.clear();
        std::mem::take(&mut world.out.pings)
    };
    assert_eq!(pinged(&mut world, None), []);
    assert_eq!(pinged(&mut world, Some(30)), [flow]);
    assert_eq!(pinged(&mut world, None), []);
}

/// The same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % sides
    }
}

/// Any rules for two inside networks that do not contradict each other.
fn any_rules(dice: &mut Dice) -> Vec<SourceRule> {
    let mut rules = Vec::new();
    if dice.roll(2) == 0 {
        let protocol = [Protocol::Tcp, Protocol::Udp][dice.roll(2)];
        let ports = [5060, 6000, 5080];
        let (local, global) = (ports[dice.roll(3)], ports[dice.roll(3)]);
        let host = 2 + dice.roll(3);
        let local = format!("192.168.1.{host}:{local}");
        let address = 1 + dice.roll(3);
        rules.push(fixed_port(
            protocol,
            &local,
            &format!("203.0.113.{address}:{global}"),
        ));
    }
    if dice.roll(2) == 0 {
        let host = format!("192.168.{}.{}", 1 + dice.roll(2), 2 + dice.roll(3));
        rules.push(fixed(
            &host,
            &format!("203.0.113.{}", 20 + dice.roll(3)),
            32,
        ));
    }
    for net in ["192.168.1.0", "192.168.2.0"] {
        match dice.roll(5) {
            0 => {}
            1 => rules.push(overload(net, &format!("203.0.113.{}", 1 + dice.roll(3)))),
            2 => rules.push(pool(
                net,
                "203.0.113.1",
                &format!("203.0.113.{}", 1 + dice.roll(4)),
                true,
            )),
            _ => {
                let first = 20 + dice.roll(3);
                let last = first + dice.roll(3);
                rules.push(pool(
                    net,
                    &format!("203.0.113.{first}"),
                    &format!("203.0.113.{last}"),
                    false,
                ));
            }
        }
    }
    rules
}

/// What the rules alone say of a mapping, told again without the machine.
fn is_given(
    rules: &[SourceRule],
    protocol: Protocol,
    local: (Ipv4Addr, u16),
    global: (Ipv4Addr, u16),
    own: &BTreeMap<Ipv4Addr, Ipv4Addr>,
) -> bool {
    let ports = |rule: &&SourceRule| matches!(rule.source, Source::StaticPort { .. });
    for rule in rules.iter().filter(ports) {
        let Source::StaticPort {
            protocol: of,
            local: inside,
            global: outside,
        } = &rule.source
        else {
            continue;
        };
        if (*of, *inside.ip(), inside.port()) == (protocol, local.0, local.1) {
            return (*outside.ip(), outside.port()) == global;
        }
        if (*of, *outside.ip(), outside.port()) == (protocol, global.0, global.1) {
            return false;
        }
    }
    let others = rules.iter().filter(|rule| !ports(rule));
    let hosts: Vec<_> = others.filter(|rule| rule.speaks_of(local.0)).collect();
    match hosts.first().map(|rule| &rule.source) {
        Some(Source::Static {
            global: address, ..
        }) => global == (*address, local.1),
        Some(Source::List { pool, .. }) if pool.overload => {
            global.0 == pool_address(local.0, *pool)
        }
        Some(Source::List { .. }) => own.get(&local.0) == Some(&global.0) && global.1 == local.1,
        _ => false,
    }
}

/// What the rules give is all there is, whatever they were before; the kernel was told of each change,
/// in an order that it can follow; and at last nothing is left.
#[test]
fn after_any_change_of_the_rules_no_mapping_has_a_global_that_its_rule_does_not_give() {
    let mut moved = 0;
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let mut world = World::with(under(any_rules(&mut dice)));
        let mut own = BTreeMap::new();
        let mut flows = Vec::new();
        let mut calls = 0;
        for _ in 0..30 {
            let host = format!("192.168.{}.{}", 1 + dice.roll(2), 2 + dice.roll(3));
            match dice.roll(6) {
                0 => {
                    let lost = world.reconfigure(under(any_rules(&mut dice)));
                    moved += lost.len();
                    flows.retain(|(flow, _, _)| !lost.contains(flow));
                    for flow in lost {
                        world.close(flow);
                    }
                }
                1 => {
                    let local = world::at(&format!("{host}:{}", [5060, 5080, 40000][dice.roll(3)]));
                    let server = world::at(SERVER);
                    let opened = match dice.roll(2) {
                        0 => world.alg.open(world.now, local, server, &mut world.out),
                        _ => world
                            .alg
                            .open_datagrams(world.now, local, server, &mut world.out),
                    };
                    world.obey();
                    flows.extend(opened.map(|opened| (opened.flow, host, false)));
                }
                2 if !flows.is_empty() => {
                    let (flow, _, _) = flows.swap_remove(dice.roll(flows.len()));
                    world.close(flow);
                }
                3 => world.wait(Duration::from_secs(dice.roll(400) as u64)),
                _ if !flows.is_empty() => {
                    let (flow, host, _) = flows[dice.roll(flows.len())].clone();
                    calls += 1;
                    let method = ["INVITE", "REGISTER"][dice.roll(2)];
                    let sent = world.say(flow, Inside, &request(method, &host, calls));
                    if dice.roll(3) > 0 {
                        world.say(flow, Outside, &accepted(&sent));
                    }
                }
                _ => {}
            }
            for op in std::mem::take(&mut world.addresses) {
                match op {
                    AddressOp::Assign { local, global } => {
                        assert_eq!(own.insert(local, global), None)
                    }
                    AddressOp::Release { local, global } => {
                        assert_eq!(own.remove(&local), Some(global))
                    }
                }
            }
            world.out.clear();
            check(&world, &own, seed);
        }
        for (flow, _, _) in flows {
            world.close(flow);
        }
        world.wait(Duration::from_secs(9 * 24 * 3600));
        assert_eq!(doors(&world), [""; 0], "seed {seed}");
        let left = world.alg.mappings(world.now);
        assert!(
            left.iter().all(|view| view.is_static),
            "seed {seed}: {left:?}"
        );
    }
    assert!(moved > 300, "{moved}");
}

fn check(world: &World, own: &BTreeMap<Ipv4Addr, Ipv4Addr>, seed: u64) {
    let rules = &world.alg.config().sources;
    let mut globals = std::collections::BTreeSet::new();
    for view in world.alg.mappings(world.now) {
        let Some(protocol) = view.protocol else {
            continue;
        };
        let (local, global) = (view.inside_local, view.inside_global);
        assert!(globals.insert((protocol, global)), "seed {seed}: {view:?}");
        let ends = ((*local.ip(), local.port()), (*global.ip(), global.port()));
        let given = is_given(rules, protocol, ends.0, ends.1, own);
        assert!(given, "seed {seed}: {view:?} by {rules:?}");
    }
    let mut told = doors(world);
    let kept = world.alg.doors().into_iter();
    let mut kept: Vec<_> = kept
        .map(|door| format!("{} {}", door.protocol.name(), door.inside_global))
        .collect();
    told.sort_unstable();
    kept.sort_unstable();
    assert_eq!(told, kept, "seed {seed}");
}
