//! Hosts that take all that they may: no other host notices.

use super::world::{PHONE, SERVER, World, at, sdp};
use super::{request, response};
use sipalg_core::config::{AccessEntry, AccessList, Bound, Resource};
use sipalg_core::{DoorKind, Event, FlowId, Leg, Outbox, Refusal};
use std::time::Duration;

/// One host may have ten of something, all together twenty-five.
fn bounded(of: Resource) -> World {
    let mut world = World::new();
    let mut config = world.alg.config().clone();
    let bound = Bound {
        all: 25,
        host: Some(10),
        trusted: Some(15),
    };
    config.limits.set(of, bound);
    world.reconfigure(config);
    world
}

/// A good host makes a call; says whether all of it is as it should be.
fn calls(world: &mut World, last: u8) -> bool {
    let peer = format!("192.168.122.{last}:40000");
    let Ok(opened) = (world.alg).open(world.now, at(&peer), at(SERVER), &mut world.out) else {
        return false;
    };
    let host = format!("192.168.122.{last}");
    let contact = format!("<sip:a@{host}:5060;transport=tcp>");
    let text = request(
        "INVITE",
        &format!("good{last}"),
        &contact,
        &sdp(&host, 6000),
    );
    let sent = world.say(opened.flow, Leg::Inside, &text);
    !sent.contains(&host) && super::opened(world) == 3
}

fn view(world: &mut World, of: Resource) -> (u64, u64, u64) {
    let views = world.alg.limits(world.now);
    let view = views.into_iter().find(|v| v.resource == of).unwrap();
    (view.used, view.peak, view.refused)
}

/// A hostile host asks for `count` of something.
fn flood(world: &mut World, of: Resource, last: u8, count: u16) -> Vec<FlowId> {
    let host = format!("192.168.122.{last}");
    let open = |world: &mut World, port: u16| {
        let peer = at(&format!("{host}:{port}"));
        match of {
            Resource::DatagramFlow => {
                world
                    .alg
                    .open_datagrams(world.now, peer, at(SERVER), &mut world.out)
            }
            _ => world.alg.open(world.now, peer, at(SERVER), &mut world.out),
        }
    };
    if matches!(
        of,
        Resource::Connection | Resource::HalfOpen | Resource::DatagramFlow
    ) {
        let opened = (0..count).map(|nth| open(world, 42_000 + nth));
        let flows: Vec<_> = opened.filter_map(Result::ok).map(|o| o.flow).collect();
        world.obey();
        world.out.clear();
        return flows;
    }
    let flow = open(world, 41_999).unwrap().flow;
    for nth in 0..count {
        let (id, port) = (format!("bad{nth}"), 20_000 + 4 * nth);
        let contact = format!("<sip:a@{host}:{port};transport=tcp>");
        let (method, body) = match of {
            Resource::Registration => ("REGISTER", String::new()),
            _ => ("INVITE", sdp(&host, port)),
        };
        world.say(flow, Leg::Inside, &request(method, &id, &contact, &body));
    }
    vec![flow]
}

#[test]
fn a_host_at_its_limit_costs_no_other_host_a_call() {
    for of in [
        Resource::Connection,
        Resource::HalfOpen,
        Resource::DatagramFlow,
        Resource::Mapping,
        Resource::Door,
        Resource::Call,
        Resource::Registration,
    ] {
        let mut world = bounded(of);
        flood(&mut world, of, 66, 200);
        let (used, _, refused) = view(&mut world, of);
        assert!((8..=10).contains(&used), "{of:?}: {used}");
        assert!(refused > 20, "{of:?}: {refused}");
        for last in 3..=5 {
            assert!(calls(&mut world, last), "{of:?}: host {last}");
        }
    }
}

#[test]
fn who_is_trusted_has_a_share_of_its_own() {
    let mut world = bounded(Resource::Call);
    let mut config = world.alg.config().clone();
    let pbx = AccessEntry::standard(
        true,
        "192.168.122.66".parse().unwrap(),
        "0.0.0.0".parse().unwrap(),
    );
    config.trusted = Some(AccessList {
        name: "PBX".into(),
        entries: vec![pbx],
    });
    world.reconfigure(config.clone());
    let flow = flood(&mut world, Resource::Call, 66, 200)[0];
    assert_eq!(view(&mut world, Resource::Call).0, 15);
    // It is trusted no more: what it has stays, and more it does not get.
    config.trusted = None;
    world.reconfigure(config);
    world.say(
        flow,
        Leg::Inside,
        &request("INVITE", "more", "<sip:a@x>", ""),
    );
    assert_eq!(view(&mut world, Resource::Call).0, 15);
    assert!(calls(&mut world, 3));
}

#[test]
fn without_being_told_a_host_has_a_quarter() {
    let mut world = World::new();
    for view in world.alg.limits(world.now) {
        let whole = match view.resource {
            Resource::Mapping | Resource::Door => 64_512,
            _ => view.limit,
        };
        assert_eq!(
            (view.host, view.trusted),
            (whole / 4, whole / 4 * 3),
            "{view:?}"
        );
    }
}

#[test]
fn one_host_cannot_have_all_ports_of_an_address() {
    let mut world = World::new();
    let flow = world.connect("192.168.122.66:41000", SERVER);
    for nth in 0..17_000u32 {
        let text = format!(
            "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP 192.168.122.66:{}\r\nl: 0\r\n\r\n",
            1024 + nth
        );
        world.say(flow, Leg::Inside, &text);
    }
    assert_eq!(view(&mut world, Resource::Mapping).0, 64_512 / 4);
    for last in 3..=60 {
        assert!(calls(&mut world, last), "host {last}");
    }
}

#[test]
fn outside_hosts_have_half_of_what_an_inside_host_may_have() {
    let mut world = bounded(Resource::Connection);
    let flow = world.connect(PHONE, SERVER);
    let contact = "<sip:a@192.168.122.3:5060;transport=tcp>;expires=3600";
    world.say(flow, Leg::Inside, &request("REGISTER", "r", contact, ""));
    let granted = "Contact: <sip:a@10.1.1.1:5060;transport=tcp>;expires=3600\r\n";
    world.say(flow, Leg::Outside, &response(200, "REGISTER", "r", granted));
    let knock = |world: &mut World, port: u16| {
        let from = at(&format!("10.1.1.99:{port}"));
        world
            .alg
            .open(world.now, from, at("10.1.1.1:5060"), &mut world.out)
    };
    let opened: Vec<_> = (0..50).map(|nth| knock(&mut world, 30_000 + nth)).collect();
    let through: Vec<_> = opened.iter().flatten().collect();
    assert_eq!(through.len(), 5);
    assert_eq!(opened.last(), Some(&Err(Refusal::Limited)));
    // The phone itself still has room.
    assert!(
        world
            .alg
            .open(
                world.now,
                at("192.168.122.3:40009"),
                at(SERVER),
                &mut world.out
            )
            .is_ok()
    );
    // And when they have gone, others may come.
    for opened in through {
        world.alg.close(world.now, opened.flow, &mut world.out);
    }
    assert!(knock(&mut world, 31_000).is_ok());
}

#[test]
fn a_host_that_says_too_much_waits_for_the_next_second_and_nobody_else() {
    let mut world = bounded(Resource::Message);
    let (bad, good) = (
        world.connect("192.168.122.66:40000", SERVER),
        world.connect(PHONE, SERVER),
    );
    let options = "OPTIONS sip:a SIP/2.0\r\nl: 0\r\n\r\n";
    let held =
        |world: &mut World, flow, leg| world.alg.held_back(world.now, flow, leg, &mut world.out);
    for nth in 0..20 {
        if held(&mut world, bad, Leg::Inside).is_none() {
            world.say(bad, Leg::Inside, options);
        } else {
            assert!(nth >= 10, "{nth}: {:?}", world.alg.limits(world.now).last());
        }
    }
    assert_eq!(view(&mut world, Resource::Message).1, 10);
    assert!(held(&mut world, bad, Leg::Inside).is_some());
    assert_eq!(
        held(&mut world, bad, Leg::Outside),
        None,
        "what it is answered"
    );
    assert_eq!(held(&mut world, good, Leg::Inside), None);
    let until = held(&mut world, bad, Leg::Inside).unwrap();
    assert!(until > world.now && until <= world.now + Duration::from_secs(1));
    world.now = until;
    assert_eq!(held(&mut world, bad, Leg::Inside), None);
}

#[test]
fn by_default_one_host_may_say_as_much_as_a_fast_machine_passes() {
    let limits = sipalg_core::config::Limits::default();
    assert_eq!(limits.share(Resource::Message, false), 2_000_000);
    assert_eq!(limits.share(Resource::Message, true), 6_000_000);
}

#[test]
fn when_all_say_too_much_those_wait_that_say_more_than_an_equal_share() {
    let mut world = bounded(Resource::Message);
    let hosts: Vec<FlowId> = (10..14)
        .map(|last| world.connect(&format!("192.168.122.{last}:40000"), SERVER))
        .collect();
    let options = "OPTIONS sip:a SIP/2.0\r\nl: 0\r\n\r\n";
    // Three say nine each, below what one may: 27 of 25. The fourth says one.
    for flow in &hosts[..3] {
        for _ in 0..9 {
            world.say(*flow, Leg::Inside, options);
        }
    }
    world.say(hosts[3], Leg::Inside, options);
    for (nth, flow) in hosts.iter().enumerate() {
        let held = world
            .alg
            .held_back(world.now, *flow, Leg::Inside, &mut world.out);
        assert_eq!(held.is_some(), nth < 3, "host {nth}");
    }
}

#[test]
fn the_operator_is_told_of_a_host_now_and_then() {
    let mut world = bounded(Resource::Connection);
    let mut out = Outbox::default();
    let mut told = |world: &mut World, count: u16| {
        out.clear();
        for nth in 0..count {
            let peer = at(&format!("192.168.122.66:{}", 42_000 + nth));
            let _ = world.alg.open(world.now, peer, at(SERVER), &mut out);
        }
        out.events.clone()
    };
    let host = "192.168.122.66".parse().unwrap();
    let event = Event::LimitReached {
        resource: Resource::Connection,
        host,
        share: Some(10),
    };
    assert_eq!(told(&mut world, 1000), std::slice::from_ref(&event));
    assert_eq!(told(&mut world, 1000), []);
    world.now = world.now + Duration::from_secs(11);
    assert_eq!(told(&mut world, 1000), [event]);
    let views = world.alg.limits(world.now);
    let nearest = views[0].hosts[0];
    assert_eq!((nearest.host, nearest.used, nearest.limit), (host, 10, 10));
    assert_eq!(nearest.refused, 2990);
    assert_eq!(world.alg.counters().flows_refused, 2990);
}

#[test]
fn when_all_is_over_nobody_has_anything() {
    let mut world = World::new();
    let mut flows = Vec::new();
    for of in [
        Resource::Call,
        Resource::Registration,
        Resource::Connection,
        Resource::DatagramFlow,
    ] {
        for last in 60..64 {
            flows.extend(flood(&mut world, of, last, 30));
        }
    }
    for flow in flows {
        world.close(flow);
    }
    world.wait(Duration::from_secs(24 * 3600));
    for view in world.alg.limits(world.now) {
        assert_eq!((view.used, view.hosts.len()), (0, 0), "{view:?}");
    }
    assert_eq!(world.doors(DoorKind::Media).len(), 0);
}
