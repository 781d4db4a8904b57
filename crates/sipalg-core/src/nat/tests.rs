//! The table by itself, without messages.
#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

use super::*;
use crate::config::{AccessEntry, AccessList, Limits, Resource, Share, SourceRule};
use crate::door::DoorOp;
use core::time::Duration;

struct World {
    nat: Nat,
    timers: Timers,
    counters: Counters,
    admission: Admission,
    config: Config,
    out: Outbox,
}

impl World {
    fn new() -> Self {
        let everyone = AccessEntry::standard(true, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        let list = AccessList {
            name: "1".into(),
            entries: alloc::vec![everyone],
        };
        let config = Config {
            sources: alloc::vec![SourceRule::overload(list, GLOBAL)],
            limits: Limits::default().with(Resource::Mapping, 65_536),
            ..Config::default()
        };
        World {
            nat: Nat::new(7),
            timers: Timers::default(),
            counters: Counters::default(),
            admission: Admission::new(7),
            config,
            out: Outbox::default(),
        }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Nat, &mut Context<'_>, &mut Outbox) -> T) -> T {
        let mut cx = Context {
            now: Instant::ZERO,
            timers: &mut self.timers,
            counters: &mut self.counters,
            admission: &mut self.admission,
            config: &self.config,
        };
        act(&mut self.nat, &mut cx, &mut self.out)
    }

    fn map(&mut self, local: &str, count: u16) -> SocketAddrV4 {
        let id =
            self.with(|nat, cx, out| nat.map_run(cx, Protocol::Udp, at(local), count, None, out));
        self.nat.get(id.unwrap()).unwrap().global
    }
}

const GLOBAL: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 1);

fn at(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

#[test]
fn a_port_is_kept_when_free_and_a_pair_stays_adjacent_when_not() {
    let mut world = World::new();
    assert_eq!(world.map("192.168.1.2:6000", 2), at("10.1.1.1:6000"));
    let second = world.map("192.168.1.3:6000", 2);
    assert!(second.port() != 6000 && second.port().is_multiple_of(2));
    let rtcp = world
        .nat
        .find_local(Protocol::Udp, at("192.168.1.3:6001"))
        .unwrap();
    assert_eq!(
        world.nat.get(rtcp).unwrap().global.port(),
        second.port() + 1
    );
    assert_eq!(world.map("192.168.1.2:6000", 2), at("10.1.1.1:6000"));
}

#[test]
fn ports_of_the_gateway_and_below_1024_are_not_given() {
    let mut world = World::new();
    world.nat.reserve(&[(Protocol::Udp, 6001)]);
    assert_ne!(world.map("192.168.1.2:6000", 2), at("10.1.1.1:6000"));
    assert!(world.map("192.168.1.2:53", 1).port() >= 1024);
}

#[test]
fn the_port_of_a_closed_door_is_barred_for_others_only() {
    let mut world = World::new();
    world.map("192.168.1.2:6000", 1);
    let id = world
        .nat
        .find_local(Protocol::Udp, at("192.168.1.2:6000"))
        .unwrap();
    world.with(|nat, cx, out| {
        assert!(nat.open_door(cx, id, DoorKind::Media, Duration::from_secs(9), out));
        assert!(!nat.open_door(cx, id, DoorKind::Media, Duration::from_secs(9), out));
        nat.close_door(cx, id, out);
        assert!(nat.door(id).is_some());
        nat.close_door(cx, id, out);
        cx.now = cx.now + Duration::from_secs(3600);
        nat.mapping_expired(cx, id);
    });
    assert!(matches!(
        world.out.doors[..],
        [DoorOp::Open(_), DoorOp::Close(_)]
    ));
    assert_eq!(
        (world.admission).of_host(Resource::Door, "192.168.1.2".parse().unwrap()),
        0
    );
    assert_ne!(world.map("192.168.1.3:6000", 1), at("10.1.1.1:6000"));
    assert_eq!(world.map("192.168.1.2:6000", 1), at("10.1.1.1:6000"));
}

#[test]
fn a_mapping_lives_while_it_is_held() {
    let mut world = World::new();
    world.map("192.168.1.2:6000", 1);
    let id = world
        .nat
        .find_local(Protocol::Udp, at("192.168.1.2:6000"))
        .unwrap();
    world.with(|nat, cx, _| nat.hold(cx, id));
    assert_eq!(world.timers.next(), None);
    world.with(|nat, cx, _| nat.release(cx, id));
    assert!(world.timers.next().is_some());
}

#[test]
fn every_port_can_be_given_and_then_none() {
    let mut world = World::new();
    for port in 0..32256u16 {
        let local = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 1024 + port * 2);
        let global = world.map(&local.to_string(), 1);
        assert_eq!(global.port() % 2, 0);
    }
    let refused =
        world.with(|nat, cx, out| nat.map(cx, Protocol::Udp, at("192.168.1.3:6000"), None, out));
    assert_eq!(refused, Err(MapError::NoPort));
    assert_eq!(world.counters.out_of_ports, 1);
}

#[test]
fn a_host_that_has_its_share_loses_its_oldest_unheld_mappings_and_no_others() {
    let mut world = World::new();
    world.config.limits = Limits::default().with(Resource::Mapping, 100);
    let id = |world: &mut World, port: u16, seconds: u64| {
        let local = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), port);
        world.with(|nat, cx, out| {
            cx.now = cx.now + Duration::from_secs(seconds);
            nat.map(cx, Protocol::Udp, local, None, out)
        })
    };
    for port in 0..100 {
        let id = id(&mut world, 6000 + port, port.into()).unwrap();
        if port % 10 == 0 {
            world.with(|nat, cx, _| nat.hold(cx, id));
        }
    }
    let kept = |world: &World| {
        let list = world.nat.list();
        let ports: Vec<u16> = list.iter().map(|(_, m)| m.local.port() - 6000).collect();
        ports
    };
    id(&mut world, 7000, 100).unwrap();
    let gone: Vec<u16> = (0..100)
        .filter(|port| !kept(&world).contains(port))
        .collect();
    assert_eq!(gone, [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13]);
    assert!(kept(&world).contains(&1000));
    assert_eq!(world.counters.mappings_full, 0);
}

#[test]
fn where_all_is_held_or_of_this_instant_nothing_ends_and_it_is_refused() {
    let mut world = World::new();
    world.config.limits = Limits::default().with(Resource::Mapping, 4);
    for port in [6000, 6001, 6002] {
        world.map(&alloc::format!("192.168.1.2:{port}"), 1);
    }
    let held = world.nat.find_local(Protocol::Udp, at("192.168.1.2:6000"));
    world.with(|nat, cx, out| {
        nat.hold(cx, held.unwrap());
        cx.now = cx.now + Duration::from_secs(9);
        let fresh = [6001, 6002, 6003].map(|port| {
            let local = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), port);
            nat.map(cx, Protocol::Udp, local, None, out).unwrap()
        });
        let refused = nat.map(cx, Protocol::Udp, at("192.168.1.2:6004"), None, out);
        assert_eq!(refused, Err(MapError::Full));
        assert!(fresh.iter().all(|id| nat.get(*id).is_some()));
    });
    assert_eq!(world.counters.mappings_full, 1);
}

/// Two gateways that have the same rules, and a half each.
fn halves() -> [World; 2] {
    [0, 1].map(|number| {
        let mut world = World::new();
        world.config.share = Share::new(number, 2).unwrap();
        world
    })
}

#[test]
fn two_gateways_with_a_half_each_never_give_the_same_port_even_until_all_are_gone() {
    let mut given: Vec<_> = halves()
        .iter_mut()
        .flat_map(|world| {
            let pairs = (0..32_256).map(|n| format!("192.168.{}.{}:7000", n / 250, n % 250 + 1));
            let mut got = Vec::new();
            for local in pairs {
                let mapped = world.with(|nat, cx, out| {
                    let id = nat.map_run(cx, Protocol::Udp, at(&local), 2, None, out);
                    id.map(|id| nat.get(id).unwrap().global)
                });
                let Ok(global) = mapped else { break };
                got.push(global);
            }
            got
        })
        .collect();
    assert_eq!(given.len(), 32_256, "all even ports of 1024 and above");
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), 32_256);
}

#[test]
fn a_half_gives_only_addresses_of_a_pool_that_are_its_own() {
    let [mut even, mut odd] = halves();
    let pool = crate::config::Pool {
        start: Ipv4Addr::new(10, 1, 1, 20),
        end: Ipv4Addr::new(10, 1, 1, 23),
        overload: false,
    };
    for (world, own) in [(&mut even, [20, 22]), (&mut odd, [21, 23])] {
        let mut assign = |last| {
            let host = Ipv4Addr::new(192, 168, 1, last);
            world.with(|nat, cx, out| nat.assign(cx, host, pool, out))
        };
        let got = [assign(1), assign(2)].map(|address| address.unwrap().octets()[3]);
        assert_eq!(got, own);
        assert!(assign(3).is_err());
    }
}

#[test]
fn a_record_of_a_port_that_is_anothers_now_is_refused() {
    let record = crate::kept::Mapping {
        global: SocketAddrV4::new(GLOBAL, 1024 + 64),
        created: Instant::ZERO,
        used: 0,
        idle_until: None,
        door: None,
    };
    let taken = halves().map(|mut world| {
        let key = (Protocol::Udp, at("192.168.1.3:5004"));
        world.with(|nat, cx, _| nat.restore_mapping(cx, key, &record))
    });
    assert_eq!(taken, [false, true]);
}
