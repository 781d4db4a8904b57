//! Messages that never end, connections that never speak, and peers that never listen.

use super::world::{PHONE, SERVER, World};
use super::{request, response};
use sipalg_core::config::{Bound, Resource};
use sipalg_core::{FlowId, Leg, Outbox};
use std::time::Duration;

/// The flows that must be reset after so much time.
fn condemned(world: &mut World, time: Duration) -> Vec<FlowId> {
    let until = world.now + time;
    let mut out = Outbox::default();
    while let Some(next) = world.alg.next_timeout().filter(|next| *next <= until) {
        world.now = next.max(world.now);
        world.alg.handle_timeout(world.now, &mut out);
    }
    world.now = until;
    out.resets
}

fn memory(world: &mut World) -> u64 {
    let views = world.alg.limits(world.now);
    let memory = views.iter().find(|v| v.resource == Resource::Memory);
    memory.unwrap().used
}

const HALF: &str = "OPTIONS sip:a@x SIP/2.0\r\nX: ";

#[test]
fn a_header_that_is_not_whole_in_time_ends_its_connection_however_it_drips() {
    let mut world = World::new();
    let (slow, good) = (
        world.connect(PHONE, SERVER),
        world.connect("192.168.122.3:40002", SERVER),
    );
    world.say(slow, Leg::Inside, HALF);
    for _ in 0..3 {
        assert_eq!(condemned(&mut world, Duration::from_secs(10)), []);
        world.say(slow, Leg::Inside, "x");
        world.say(good, Leg::Inside, "OPTIONS sip:a@x SIP/2.0\r\nl: 0\r\n\r\n");
    }
    assert_eq!(condemned(&mut world, Duration::from_secs(2)), [slow]);
    assert_eq!(world.alg.counters().slow_resets, 1);
    assert_eq!(memory(&mut world), 0);
    assert_eq!(
        world.say(slow, Leg::Inside, "\r\n\r\n"),
        "",
        "nothing of it passes"
    );
    world.close(slow);
    assert_eq!(
        condemned(&mut world, Duration::from_secs(3600)),
        [],
        "nobody else"
    );
}

#[test]
fn a_body_may_take_longer_than_a_header_but_not_for_ever() {
    for from in [Leg::Inside, Leg::Outside] {
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        world.say(flow, from, "OPTIONS sip:a@x SIP/2.0\r\nl: 100\r\n\r\n");
        assert_eq!(condemned(&mut world, Duration::from_secs(159)), []);
        assert_eq!(condemned(&mut world, Duration::from_secs(1)), [flow]);
    }
}

#[test]
fn messages_that_are_cut_but_whole_in_time_cost_no_connection() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let text = "OPTIONS sip:a@x SIP/2.0\r\nl: 0\r\n\r\n";
    // Each read ends in the middle of a message, for an hour.
    world.say(flow, Leg::Inside, &text[..9]);
    for _ in 0..360 {
        assert_eq!(condemned(&mut world, Duration::from_secs(10)), []);
        let next = format!("{}{}", &text[9..], &text[..9]);
        world.say(flow, Leg::Inside, &next);
    }
}

#[test]
fn a_million_keep_alives_leave_nothing() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let block = "\r\n\r\n".repeat(16_384);
    for round in 0..62 {
        world.say(flow, Leg::Inside, &block);
        world.wait(Duration::from_millis(10));
        assert_eq!(memory(&mut world), 0, "round {round}");
    }
    assert!(world.alg.counters().keepalives > 1_000_000);
}

#[test]
fn memory_has_an_end_and_who_holds_most_loses_it_first() {
    let mut world = World::new();
    let mut config = world.alg.config().clone();
    let bound = Bound {
        all: 400_000,
        host: Some(300_000),
        trusted: None,
    };
    config.limits.set(Resource::Memory, bound);
    world.reconfigure(config);
    // One host holds much on many connections, others little.
    let little = world.connect("192.168.122.9:40000", SERVER);
    world.say(little, Leg::Inside, HALF);
    let mut out = Outbox::default();
    for nth in 0..100 {
        let host = 3 + nth % 5;
        let peer = format!("192.168.122.{host}:{}", 41_000 + nth);
        let flow = world.connect(&peer, SERVER);
        let text = HALF.to_string() + &"x".repeat(20_000);
        (world.alg).stream(world.now, flow, Leg::Inside, text.as_bytes(), &mut out);
        let held = memory(&mut world);
        assert!(held <= 400_000, "{held}");
    }
    assert!(!out.resets.is_empty() && !out.resets.contains(&little));
    assert_eq!(world.alg.counters().memory_resets, out.resets.len() as u64);
    let rest = "\r\nl: 0\r\n\r\n";
    assert!(world.say(little, Leg::Inside, rest).ends_with(rest));
}

#[test]
fn short_header_fields_are_counted_for_what_they_cost() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let fields = "v:\r\n".repeat(10_000);
    world.say(
        flow,
        Leg::Inside,
        &format!("OPTIONS sip:a@x SIP/2.0\r\n{fields}"),
    );
    let held = memory(&mut world);
    assert!(
        held > 200_000,
        "the index of 10,000 fields is in it: {held}"
    );
}

#[test]
fn bytes_that_a_leg_does_not_take_are_counted_too() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let now = world.now;
    world.alg.waiting(now, flow, 5000, &mut world.out);
    assert_eq!(memory(&mut world), 5000);
    world.alg.waiting(now, flow, 0, &mut world.out);
    assert_eq!(memory(&mut world), 0);
}

#[test]
fn when_there_is_no_room_the_longest_idle_go_and_no_registered_phone() {
    let mut world = World::new();
    let mut config = world.alg.config().clone();
    config.limits = config.limits.with(Resource::Connection, 4);
    world.reconfigure(config);
    let registered = world.connect("192.168.122.3:40000", SERVER);
    let contact = "<sip:a@192.168.122.3:5060;transport=tcp>;expires=3600";
    let text = request("REGISTER", "r", contact, "");
    world.say(registered, Leg::Inside, &text);
    let granted = "Contact: <sip:a@10.1.1.1:5060;transport=tcp>;expires=3600\r\n";
    world.say(
        registered,
        Leg::Outside,
        &response(200, "REGISTER", "r", granted),
    );
    let mut idle = Vec::new();
    for last in 4..=6 {
        world.wait(Duration::from_secs(10));
        idle.push(world.connect(&format!("192.168.122.{last}:40000"), SERVER));
    }
    // Nobody is idle for long enough yet.
    let open = |world: &mut World, last: u8| {
        let (peer, server) = (
            format!("192.168.122.{last}:40001"),
            super::world::at(SERVER),
        );
        let peer = super::world::at(&peer);
        let opened = world.alg.open(world.now, peer, server, &mut world.out);
        (opened.is_ok(), std::mem::take(&mut world.out.resets))
    };
    assert_eq!(open(&mut world, 7), (false, vec![]));
    world.wait(Duration::from_secs(55));
    assert_eq!(open(&mut world, 7), (true, vec![idle[0]]));
    world.wait(Duration::from_secs(120));
    assert_eq!(open(&mut world, 8), (true, vec![idle[1]]));
    assert_eq!(world.alg.counters().idle_closed, 2);
    assert_eq!(world.alg.counters().flows_refused, 1);
}
