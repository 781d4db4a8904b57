//! What is told in detail, kept of messages, and would have happened in a dry run.

mod world;

use sipalg_core::config::{HISTORY, Selection};
use sipalg_core::event::By;
use sipalg_core::{DoorKind, Event, Leg, Outbox, Protocol};
use std::time::Duration;
use world::{PHONE, SERVER, World, at, sdp};

fn invite(body: &str) -> String {
    let length = body.len();
    format!(
        "INVITE sip:b@10.1.1.2 SIP/2.0\r\nVia: SIP/2.0/TCP 192.168.122.3:5060;branch=z9hG4bK1\r\n\
         From: <sip:a@192.168.122.3>;tag=1\r\nTo: <sip:b@10.1.1.2>\r\ni: call\x1b[2J\r\nCSeq: 1 INVITE\r\n\
         m: <sip:a@192.168.122.3:5060>\r\nc: application/sdp\r\nl: {length}\r\n\r\n{body}"
    )
}

fn register(expires: u32) -> String {
    format!(
        "REGISTER sip:10.1.1.2 SIP/2.0\r\nTo: <sip:a@x>\r\ni: r\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:a@192.168.122.3:5060>;expires={expires}\r\nl: 0\r\n\r\n"
    )
}

fn watching(detailed: bool) -> Outbox {
    Outbox {
        watch: true,
        detailed,
        ..Outbox::default()
    }
}

#[test]
fn each_edit_is_told_with_its_field_its_mapping_and_its_rule() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let mut out = watching(true);
    let text = invite(&sdp("192.168.122.3", 6000));
    world
        .alg
        .stream(world.now, flow, Leg::Inside, text.as_bytes(), &mut out);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let edits: Vec<_> = out
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Edited {
                field,
                old,
                new,
                rule,
                dry_run: false,
                ..
            } => Some((text(field), text(old), text(new), *rule)),
            _ => None,
        })
        .collect();
    let edit = |field: &str, old: &str, new: &str, rule| {
        let [field, old, new] = [field, old, new].map(String::from);
        (field, old, new, rule)
    };
    let (own, global) = ("192.168.122.3", "10.1.1.1");
    let contact = ("192.168.122.3:5060", "10.1.1.1:5060");
    assert_eq!(
        edits,
        [
            edit("Via", contact.0, contact.1, Some(0)),
            edit("From", own, global, Some(0)),
            edit("m", contact.0, contact.1, Some(0)),
            edit("l", "115", "105", None),
            edit("o=", own, global, Some(0)),
            edit("c=", own, global, Some(0)),
        ]
    );
    let dialogs = out.events.iter().filter_map(|event| match event {
        Event::Dialog { call_id, .. } => Some(call_id.as_slice()),
        _ => None,
    });
    assert_eq!(dialogs.collect::<Vec<_>>(), [b"call\x1b[2J"]);
    assert!(out.events.iter().any(|e| matches!(e, Event::Timer { .. })));
    let opened = out
        .events
        .iter()
        .filter(|e| matches!(e, Event::DoorOpened(_)));
    assert_eq!(opened.count(), 3, "contact, RTP and RTCP");
}

#[test]
fn without_detail_only_the_lines_of_the_reference_are_told_and_unwatched_nothing_is() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let text = invite(&sdp("192.168.122.3", 6000));
    let mut out = watching(false);
    world
        .alg
        .stream(world.now, flow, Leg::Inside, text.as_bytes(), &mut out);
    assert!(!out.events.is_empty());
    assert!(out.events.iter().all(|event| !event.is_detail()));
    let mut out = Outbox::default();
    world
        .alg
        .stream(world.now, flow, Leg::Inside, text.as_bytes(), &mut out);
    assert_eq!(out.events, []);
}

#[test]
fn the_registrars_answer_tells_of_the_contact_that_its_door_opened() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(flow, Leg::Inside, &register(60));
    let answer = |round: u32| {
        format!(
            "SIP/2.0 200 OK\r\ni: r\r\nCSeq: {round} REGISTER\r\nTo: <sip:a@x>\r\n\
             Contact: <sip:other@10.9.9.9>, <sip:a@10.1.1.1:5060>;expires=60\r\nl: 0\r\n\r\n"
        )
    };
    let created = |world: &mut World, text: String| -> Vec<bool> {
        let mut out = watching(false);
        world
            .alg
            .stream(world.now, flow, Leg::Outside, text.as_bytes(), &mut out);
        let visited = out.events.iter().filter_map(|event| match event {
            Event::FieldVisited {
                register: true,
                door_created,
                ..
            } => Some(*door_created),
            _ => None,
        });
        visited.collect()
    };
    assert_eq!(created(&mut world, answer(1)), [false, true], "To, Contact");
    // Refreshed, it is open already.
    let again = register(60).replace("CSeq: 1", "CSeq: 2");
    world.say(flow, Leg::Inside, &again);
    assert_eq!(created(&mut world, answer(2)), [false, false]);
}

#[test]
fn a_message_is_kept_with_its_edits_and_doors_and_proven() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let text = invite(&sdp("192.168.122.3", 6000));
    let sent = world.say(flow, Leg::Inside, &text);
    let kept: Vec<_> = world.alg.messages().collect();
    let message = &kept[0];
    assert_eq!((kept.len(), message.id), (1, 1));
    assert_eq!(message.bytes, text.as_bytes());
    assert_eq!(
        (message.ends.inside_local, message.ends.outside),
        (at(PHONE), at(SERVER))
    );
    assert!(message.proven && !message.dry_run);
    assert_eq!(message.doors.len(), 3);
    // The edits are all that happened.
    let (mut again, mut place) = (Vec::new(), 0);
    for edit in &message.edits {
        again.extend_from_slice(&message.bytes[place..edit.place]);
        again.extend_from_slice(edit.new);
        place = edit.place + edit.old.len();
    }
    again.extend_from_slice(&message.bytes[place..]);
    assert_eq!(again, sent.as_bytes());
    assert_eq!(
        message.edits[0].by,
        By::Mapping {
            protocol: Protocol::Tcp,
            inside_local: at("192.168.122.3:5060"),
            inside_global: at("10.1.1.1:5060"),
        }
    );
    assert_eq!(world.alg.rule_behind(message.edits[0].by), Some(0));
    assert_eq!(world.alg.counters().unproven, 0);
}

#[test]
fn only_the_last_messages_are_kept() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    for _ in 0..HISTORY + 7 {
        world.say(flow, Leg::Inside, &register(0));
    }
    let ids: Vec<u64> = world.alg.messages().map(|message| message.id).collect();
    assert_eq!(ids, (8..=HISTORY as u64 + 7).collect::<Vec<_>>());
}

#[test]
fn a_dry_run_changes_nothing_and_tells_what_it_would() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let before = (world.alg.mappings(world.now), world.alg.counters());
    world.alg.dry_run(vec![Selection::All]);
    let text = invite(&sdp("192.168.122.3", 6000));
    let mut out = watching(false);
    world
        .alg
        .stream(world.now, flow, Leg::Inside, text.as_bytes(), &mut out);
    assert_eq!(out.bytes, text.as_bytes());
    assert_eq!(out.doors, []);
    let edits = out
        .events
        .iter()
        .filter(|event| matches!(event, Event::Edited { dry_run: true, .. }));
    assert_eq!(edits.count(), 6);
    let wanted: Vec<_> = out
        .events
        .iter()
        .filter_map(|event| match event {
            Event::DoorWanted {
                kind, inside_local, ..
            } => Some((*kind, *inside_local)),
            _ => None,
        })
        .collect();
    let expected = [
        (DoorKind::Signalling, at("192.168.122.3:5060")),
        (DoorKind::Media, at("192.168.122.3:6000")),
        (DoorKind::Media, at("192.168.122.3:6001")),
    ];
    assert_eq!(wanted, expected);
    assert_eq!(
        out.events.last(),
        Some(&Event::DryRun {
            session: 0,
            edits: 6
        })
    );
    assert!(
        !out.events
            .iter()
            .any(|event| matches!(event, Event::TranslatedAddress { .. }))
    );
    // Nothing is left of it.
    assert_eq!(world.alg.mappings(world.now), before.0);
    assert_eq!(world.alg.sizes(), (0, 0, 0));
    let mut counters = world.alg.counters();
    assert_eq!(counters.messages, 1);
    counters.messages = 0;
    (counters.bytes_in, counters.bytes_out) = (before.1.bytes_in, before.1.bytes_out);
    assert_eq!(counters, before.1);
    let kept = world.alg.messages().next().unwrap();
    assert!(kept.dry_run && kept.proven && kept.edits.len() == 6);
    // And then it is fixed up as if nothing had been.
    world.alg.dry_run(Vec::new());
    let sent = world.say(flow, Leg::Inside, &text);
    assert_eq!(sent.matches("10.1.1.1").count(), 5);
    assert_eq!(world.doors(DoorKind::Media).len(), 2);
}

#[test]
fn a_dry_run_spares_the_flows_that_it_does_not_mean() {
    let mut world = World::new();
    let phone = world.connect(PHONE, SERVER);
    let other = world.connect("192.168.122.4:40001", SERVER);
    let entry = sipalg_core::config::AccessEntry::standard(
        true,
        "192.168.122.4".parse().unwrap(),
        "0.0.0.0".parse().unwrap(),
    );
    let list = sipalg_core::config::AccessList {
        name: "10".into(),
        entries: vec![entry],
    };
    world.alg.dry_run(vec![Selection::List(list)]);
    let text = register(60);
    assert_ne!(world.say(phone, Leg::Inside, &text), text);
    let text = text.replace("192.168.122.3", "192.168.122.4");
    assert_eq!(world.say(other, Leg::Inside, &text), text);
    // No registration waits for an answer.
    world.wait(Duration::from_secs(1));
    let answer = "SIP/2.0 200 OK\r\ni: r\r\nCSeq: 1 REGISTER\r\nl: 0\r\n\r\n";
    world.say(other, Leg::Outside, answer);
    assert_eq!(world.doors(DoorKind::Signalling), [] as [&str; 0]);
}
