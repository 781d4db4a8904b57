//! What survives a machine: the state as records, and the machine that comes of them.
#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

#[path = "survivor/rich.rs"]
mod rich;
mod survivor;
mod world;

use rich::{CONTACT, GRANTED, PHONE, Rich, answer, ask, config, rich, rich_under};
use sipalg_core::Leg::{Inside, Outside};
use sipalg_core::config::{Resource, Timers};
use sipalg_core::{Config, DoorKind, FlowId, Protocol};
use std::time::Duration;
use survivor::{Memory, restore};
use world::{SERVER, World, at, fixed, fixed_port, overload, sdp, under};

/// The machine dies and comes back.
fn die(world: &mut World) {
    Memory::of(&mut world.alg).restart(&mut world.alg, world.now);
}

/// Nobody was there for so long.
fn be_gone(world: &mut World, time: Duration) {
    let memory = Memory::of(&mut world.alg);
    world.now = world.now + time;
    let (alg, restored, _) = restore(world.alg.config().clone(), world.now, &memory.records);
    assert_eq!(restored.left_out, 0);
    world.alg = alg;
    let now = world.now;
    world.alg.handle_timeout(now, &mut world.out);
    world.obey();
    world.out.clear();
}

fn doors(world: &World, kind: DoorKind) -> Vec<String> {
    let doors = world.alg.doors().into_iter();
    let doors = doors.filter(|door| door.kind == kind);
    doors.map(|door| door.inside_local.to_string()).collect()
}

#[test]
fn something_of_every_kind_comes_back_as_it_was() {
    let mut rich = rich();
    let memory = Memory::of(&mut rich.world.alg);
    let mut kinds: Vec<_> = memory.records.keys().map(|name| name[0]).collect();
    kinds.dedup();
    assert_eq!(
        kinds,
        [1, 2, 3, 4, 5, 6, 7, 8, 9],
        "one of each kind at least"
    );
    die(&mut rich.world);
    let (_, restored, _) = restore(config(), rich.world.now, &memory.records);
    assert_eq!((restored.flows, restored.calls, restored.bars), (3, 2, 2));
    assert_eq!((restored.registrations, restored.pending), (1, 1));
    assert_eq!((restored.addresses, restored.spellings), (1, 1));
    assert_eq!(restored.doors, rich.world.alg.doors().len());
}

#[test]
fn half_a_message_and_the_rest_of_a_body_that_is_too_long_go_on_where_they_were() {
    let Rich {
        mut world,
        flow,
        long,
        ..
    } = rich();
    die(&mut world);
    let heard = world.say(
        flow,
        Inside,
        "192.168.122.3:5060\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(
        heard.ends_with("TCP 10.1.1.1:5080\r\nContent-Length: 0\r\n\r\n"),
        "{heard}"
    );
    let next = ask("OPTIONS", "opt", 2, "", "").replace(PHONE, "192.168.5.7");
    let heard = world.say(long, Inside, &("x".repeat(400)));
    assert_eq!(heard, "x".repeat(400));
    die(&mut world);
    let heard = world.say(long, Inside, &("x".repeat(600) + &next));
    assert!(
        heard.starts_with(&"x".repeat(600)) && heard.contains("Via: SIP/2.0/TCP 10.1.1.10"),
        "{heard}"
    );
}

#[test]
fn a_stream_cut_anywhere_with_a_crash_at_each_cut_gives_the_same_bytes() {
    let mut config = config();
    config.limits.body_bytes = 300;
    let texts = [
        ask("REGISTER", "reg", 1, CONTACT, ""),
        "\r\n\r\n".into(),
        ask("INVITE", "call", 1, CONTACT, &sdp(PHONE, 6000)),
        ask("MESSAGE", "long", 1, "", &"x".repeat(400)),
        ask("OPTIONS", "opt", 1, CONTACT, ""),
        "GET / HTTP/1.1\r\n\r\n".into(),
        ask("OPTIONS", "opt", 2, CONTACT, ""),
    ];
    let stream = texts.concat();
    let mut whole = World::with(config.clone());
    let flow = whole.connect("192.168.122.3:40001", SERVER);
    let expected = whole.say(flow, Inside, &stream);
    for step in [1, 7, 50] {
        let mut world = World::with(config.clone());
        let flow = world.connect("192.168.122.3:40001", SERVER);
        let mut memory = Memory::of(&mut world.alg);
        let (mut heard, mut at) = (String::new(), 0);
        while at < stream.len() {
            let end = (at + step).min(stream.len());
            heard += &world.say(flow, Inside, &stream[at..end]);
            memory.restart(&mut world.alg, world.now);
            at = end;
        }
        assert_eq!(heard, expected, "cut every {step} bytes");
        assert_eq!(world.alg.doors(), whole.alg.doors());
    }
    assert!(
        expected.contains(
            " sip:peer@10.1.1.2 SIP/2.0\r\nVia: SIP/2.0/TCP 192.168.122.3:5060;branch=z9hG4bKopt"
        ),
        "the last passes unchanged"
    );
}

#[test]
fn an_answer_to_a_register_that_comes_after_the_crash_opens_the_door() {
    let mut world = World::new();
    let flow = world.connect("192.168.122.3:40001", SERVER);
    world.say(flow, Inside, &ask("REGISTER", "reg", 1, CONTACT, ""));
    die(&mut world);
    assert_eq!(doors(&world, DoorKind::Signalling), [""; 0]);
    let granted = GRANTED.replace("5080", "5060");
    world.say(
        flow,
        Outside,
        &answer(200, "REGISTER", "reg", 1, &granted, ""),
    );
    assert_eq!(doors(&world, DoorKind::Signalling), ["192.168.122.3:5060"]);
}

#[test]
fn a_bye_after_the_crash_closes_the_doors_of_the_call_and_their_ports_stay_barred() {
    let Rich {
        mut world, flow, ..
    } = rich();
    // What was begun there is given up.
    world.say(flow, Inside, "x\r\n\r\n");
    die(&mut world);
    let media = doors(&world, DoorKind::Media);
    assert!(media.contains(&"192.168.122.3:6000".into()), "{media:?}");
    world.say(flow, Inside, &ask("BYE", "call", 2, "", ""));
    die(&mut world);
    world.say(flow, Outside, &answer(200, "BYE", "call", 2, "", ""));
    let media = doors(&world, DoorKind::Media);
    assert!(!media.contains(&"192.168.122.3:6000".into()), "{media:?}");
    die(&mut world);
    // Another phone wants the same port.
    let other = world.connect("192.168.122.4:40001", SERVER);
    let invite = ask("INVITE", "new", 1, "", &sdp("192.168.122.4", 6000));
    let heard = world.say(other, Inside, &invite);
    assert!(
        heard.contains("m=audio ") && !heard.contains("m=audio 6000 "),
        "{heard}"
    );
}

#[test]
fn a_reinvite_after_the_crash_goes_on_with_the_call() {
    let Rich {
        mut world, flow, ..
    } = rich();
    world.say(flow, Inside, "x\r\n\r\n");
    die(&mut world);
    world.say(
        flow,
        Inside,
        &ask("INVITE", "call", 2, CONTACT, &sdp(PHONE, 6100)),
    );
    die(&mut world);
    let media = doors(&world, DoorKind::Media);
    for port in [6000, 6100] {
        assert!(
            media.contains(&format!("{PHONE}:{port}")),
            "both: {media:?}"
        );
    }
    world.say(
        flow,
        Outside,
        &answer(200, "INVITE", "call", 2, "", &sdp("10.1.1.2", 8000)),
    );
    let media = doors(&world, DoorKind::Media);
    assert!(!media.contains(&format!("{PHONE}:6000")), "{media:?}");
    assert_eq!(
        world
            .alg
            .calls()
            .iter()
            .filter(|call| call.call_id == b"call")
            .count(),
        1
    );
}

#[test]
fn what_was_spelled_oddly_comes_back_to_the_byte_after_the_crash() {
    let Rich {
        mut world, flow, ..
    } = rich();
    world.say(flow, Inside, "x\r\n\r\n");
    die(&mut world);
    let ringing = answer(183, "INVITE", "odd", 1, "", "");
    let ringing = ringing.replace("TCP 10.1.1.1:5060", "TCP 10.1.1.1:5080");
    let heard = world.say(flow, Outside, &ringing);
    assert!(
        heard.contains("Via: SIP/2.0/TCP 192.168.122.3 : 5060;"),
        "{heard}"
    );
}

/// The kernel carries the media while nobody is there.
#[test]
fn the_media_of_a_call_survive_a_time_without_a_machine() {
    for (minutes, lives) in [(1, true), (10, true)] {
        let Rich { mut world, .. } = rich();
        be_gone(&mut world, Duration::from_secs(minutes * 60));
        let media = doors(&world, DoorKind::Media);
        assert_eq!(
            media.contains(&"192.168.122.3:6000".into()),
            lives,
            "{media:?}"
        );
        // Nobody speaks any more.
        world.wait(Timers::default().media_inactivity * 2);
        assert_eq!(doors(&world, DoorKind::Media), [""; 0]);
    }
}

#[test]
fn what_was_due_while_nobody_was_there_is_due_at_once() {
    let Rich {
        mut world, flow, ..
    } = rich();
    world.close(flow);
    be_gone(&mut world, Duration::from_secs(601));
    let signalling = doors(&world, DoorKind::Signalling);
    // Five seconds of grace: the phone has registered for 600.
    assert!(signalling.contains(&"192.168.122.3:5060".into()));
    be_gone(&mut world, Duration::from_secs(10));
    assert_eq!(
        world
            .alg
            .registrations()
            .iter()
            .filter(|r| r.gone.is_none())
            .count(),
        0
    );
    assert!(
        world
            .alg
            .calls()
            .iter()
            .all(|call| call.call_id != b"odd" || call.ended.is_some())
    );
}

#[test]
fn all_ends_as_it_would_have_without_the_crash() {
    let mut world = rich().world;
    die(&mut world);
    let flows: Vec<FlowId> = world.alg.flows().map(|view| view.flow).collect();
    for flow in flows {
        world.close(flow);
    }
    world.wait(Duration::from_secs(15 * 24 * 3600));
    assert_eq!((world.alg.doors(), world.alg.sizes()), (vec![], (0, 0, 0)));
    assert!(
        world
            .alg
            .mappings(world.now)
            .iter()
            .all(|mapping| mapping.is_static)
    );
    let mut memory = Memory::of(&mut world.alg);
    memory.note(&mut world.alg);
    let kinds: Vec<_> = memory.records.keys().map(|name| name[0]).collect();
    assert_eq!(kinds, [1, 4], "the counts, and the port of a static rule");
}

#[test]
fn a_flow_that_is_demoted_passes_unchanged_for_ever() {
    let Rich {
        mut world,
        flow,
        datagrams,
        ..
    } = rich();
    die(&mut world);
    for flow in [flow, datagrams] {
        world.alg.demote(flow);
    }
    let options = ask("OPTIONS", "opt", 2, "", "");
    let heard = world.say(flow, Inside, &options);
    assert!(
        heard.ends_with(&options)
            && heard.starts_with("OPTIONS sip:peer@10.1.1.2 SIP/2.0\r\nVia: SIP/2.0/TCP OPTIONS"),
        "what waited comes first: {heard}"
    );
    assert_eq!(world.datagram(datagrams, Inside, &options), options);
    die(&mut world);
    assert_eq!(world.say(flow, Inside, &options), options);
    assert_eq!(world.datagram(datagrams, Inside, &options), options);
    assert_eq!(world.say(flow, Outside, &options), options);
}

#[test]
fn a_ping_is_not_answered_to_a_phone_that_never_asked_also_after_a_crash() {
    let mut world = World::with(config());
    let flow = world.connect("192.168.122.3:40001", SERVER);
    world.say(flow, Inside, &ask("REGISTER", "reg", 1, CONTACT, ""));
    world.say(
        flow,
        Outside,
        &answer(200, "REGISTER", "reg", 1, GRANTED, ""),
    );
    world.now = world.now + Duration::from_secs(25);
    let now = world.now;
    world.alg.handle_timeout(now, &mut world.out);
    assert_eq!(world.out.pings, [flow]);
    world.out.clear();
    die(&mut world);
    assert_eq!(world.say(flow, Outside, "\r\n"), "", "the answer to ours");
    assert_eq!(world.say(flow, Outside, "\r\n"), "\r\n");
}

#[test]
fn flows_keep_their_names_and_new_ones_get_the_lowest_that_is_free() {
    let mut world = World::new();
    let flows: Vec<_> = (0..5)
        .map(|port| world.connect(&format!("192.168.122.3:4000{port}"), SERVER))
        .collect();
    world.close(flows[3]);
    world.close(flows[1]);
    die(&mut world);
    let left: Vec<_> = world.alg.flows().map(|view| view.flow).collect();
    assert_eq!(left, [flows[0], flows[2], flows[4]]);
    assert_eq!(world.connect("192.168.122.4:40001", SERVER), flows[1]);
    assert_eq!(world.connect("192.168.122.4:40002", SERVER), flows[3]);
    assert_eq!(world.connect("192.168.122.4:40003", SERVER), FlowId(5));
}

#[test]
fn a_message_that_changes_nothing_makes_no_record() {
    let Rich {
        mut world,
        flow,
        datagrams,
        ..
    } = rich();
    world.say(flow, Inside, "x\r\n\r\n");
    let mut memory = Memory::of(&mut world.alg);
    let options = ask("OPTIONS", "opt", 2, CONTACT, "");
    let invite = ask("INVITE", "call", 1, CONTACT, &sdp(PHONE, 6000));
    let ok = answer(200, "INVITE", "call", 1, "", &sdp("10.1.1.2", 8000));
    let info = ask("INFO", "call", 2, "", "");
    // The answer to what is under way waits no longer for being sent again.
    world.say(flow, Inside, &invite);
    world.say(flow, Outside, &ok);
    world.say(flow, Inside, &ask("ACK", "call", 1, "", ""));
    world.say(flow, Inside, &options);
    memory.note(&mut world.alg);
    for second in 0..20 {
        world.now = world.now + Duration::from_secs(1);
        for (from, text) in [
            (Inside, &options),
            (Inside, &info),
            (Outside, &answer(200, "INFO", "call", 2, "", "")),
        ] {
            world.say(flow, from, text);
            assert_eq!(memory.note(&mut world.alg), 0, "second {second}: {text}");
        }
        let (half, rest) = options.split_at(100);
        for part in [half, rest] {
            world.say(flow, Inside, part);
            let told = memory.note(&mut world.alg);
            assert_eq!(told, 0, "second {second}: {part} {:?}", memory.last);
        }
        let over_udp = ask("OPTIONS", "opt", 2, "", "").replace(PHONE, "192.168.122.5");
        world.datagram(datagrams, Inside, &over_udp.replace("TCP", "UDP"));
        world.say(flow, Inside, "\r\n\r\n");
        world.say(flow, Outside, "\r\n");
        world.alg.media_seen(world.now, at("192.168.122.3:6000"));
        assert_eq!(memory.note(&mut world.alg), 0, "second {second}");
    }
}

#[test]
fn what_comes_and_goes_between_two_looks_leaves_nothing() {
    let Rich {
        mut world, flow, ..
    } = rich();
    world.say(flow, Inside, "x\r\n\r\n");
    let mut memory = Memory::of(&mut world.alg);
    let other = world.connect("192.168.122.4:41000", SERVER);
    world.close(other);
    let before = memory.records.len();
    memory.note(&mut world.alg);
    assert_eq!(
        memory.records.len(),
        before + 1,
        "the mapping lives on for its time"
    );
    memory.restart(&mut world.alg, world.now);
}

#[test]
fn a_machine_that_keeps_nothing_tells_nothing() {
    let mut world = rich().world;
    world.alg.kept(&mut |name, _| panic!("{name:?}"));
}

#[test]
fn under_other_rules_only_what_they_give_comes_back() {
    let Rich {
        mut world, flow, ..
    } = rich();
    let memory = Memory::of(&mut world.alg);
    let now = world.now;
    // The phone has another address for itself, and the net 192.168.5.0 is nobody's.
    let rules = under(vec![
        fixed("192.168.122.3", "10.1.1.30", 32),
        overload("192.168.122.0", "10.1.1.1"),
    ]);
    let (alg, restored, out) = restore(rules.clone(), now, &memory.records);
    assert!(
        restored.lost.contains(&flow),
        "its own end is another: {restored:?}"
    );
    assert_eq!(restored.addresses, 0);
    for view in alg.mappings(now) {
        assert!(view.rule.is_some(), "{view:?}");
    }
    assert_eq!(out.doors.len(), alg.doors().len());
    let known: Vec<_> = alg.flows().map(|view| view.flow).collect();
    assert!(restored.lost.iter().all(|lost| !known.contains(lost)));
    // No rule at all.
    let (alg, restored, out) = restore(Config::default(), now, &memory.records);
    assert_eq!(
        (alg.doors(), out.doors.len(), out.addresses.len()),
        (vec![], 0, 0)
    );
    assert_eq!(
        (restored.mappings, restored.flows, restored.lost.len()),
        (0, 0, 3)
    );
}

#[test]
fn a_port_that_a_new_rule_fixes_is_given_to_nobody_else() {
    let Rich { mut world, .. } = rich();
    let memory = Memory::of(&mut world.alg);
    let mut config = config();
    let rule = fixed_port(Protocol::Udp, "192.168.122.9:6000", "10.1.1.1:6000");
    config.sources.insert(0, rule);
    let (alg, _, _) = restore(config, world.now, &memory.records);
    let mut globals: Vec<_> = alg
        .mappings(world.now)
        .iter()
        .filter(|view| view.protocol.is_some())
        .map(|view| (view.protocol, view.inside_global))
        .collect();
    let count = globals.len();
    globals.sort();
    globals.dedup();
    assert_eq!(globals.len(), count);
    let target = alg.mappings(world.now).into_iter().find(|view| {
        view.inside_global == at("10.1.1.1:6000") && view.protocol == Some(Protocol::Udp)
    });
    assert_eq!(target.unwrap().inside_local, at("192.168.122.9:6000"));
}

#[test]
fn smaller_limits_leave_out_what_is_too_much() {
    let Rich { mut world, .. } = rich();
    let memory = Memory::of(&mut world.alg);
    let mut few = config();
    few.limits = few
        .limits
        .with(Resource::Call, 1)
        .with(Resource::Registration, 0)
        .with(Resource::Mapping, 3)
        .with(Resource::Door, 2);
    let (alg, restored, _) = restore(few, world.now, &memory.records);
    assert_eq!((restored.calls, restored.registrations), (1, 0));
    let dynamic = alg.mappings(world.now).into_iter();
    let dynamic = dynamic.filter(|view| !view.is_static && view.protocol.is_some());
    assert_eq!(dynamic.count(), 3);
    assert!(alg.doors().len() <= 2);
    assert!(restored.left_out > 0);
}

#[test]
fn records_under_another_seed_name_nothing_and_are_said_to_be_gone() {
    let Rich { mut world, .. } = rich();
    let memory = Memory::of(&mut world.alg);
    let mut list = memory
        .records
        .iter()
        .map(|(name, record)| (&name[..], &record[..]));
    let mut out = sipalg_core::Outbox::default();
    let (mut alg, restored) =
        sipalg_core::Alg::restore(config(), 2, world.now, &mut list, &mut out);
    assert_eq!(restored.calls, 0);
    alg.keep();
    let mut gone = Vec::new();
    alg.kept(&mut |name, record| gone.extend(record.is_none().then(|| name.to_vec())));
    let calls = memory.records.keys().filter(|name| name[0] == 5);
    assert!(calls.into_iter().all(|name| gone.contains(name)));
}

#[test]
fn a_call_whose_mappings_the_rules_have_ended_gets_none_of_those_that_come_after() {
    let mut world = rich_under(config()).world;
    let mut memory = Memory::of(&mut world.alg);
    // Nobody is translated but the other net, and then everybody is again.
    for rules in [vec![overload("192.168.5.0", "10.1.1.2")], config().sources] {
        let lost = world.reconfigure(under(rules));
        lost.into_iter().for_each(|flow| world.close(flow));
        memory.note(&mut world.alg);
        let whole = Memory::of(&mut world.alg);
        assert_eq!(memory.records, whole.records, "what was told bit by bit");
    }
    let flow = world.connect("192.168.122.3:5060", SERVER);
    memory = Memory::of(&mut world.alg);
    let (mut alg, restored, _) = restore(under(config().sources), world.now, &memory.records);
    assert_eq!((alg.doors(), restored.calls), (vec![], 2));
    alg.close(world.now, flow, &mut world.out);
    assert_eq!(world.out.doors, [], "it was held by the flow alone");
}
