//! Games with Content-Length: what another parser may take for a message of its own asks us for
//! nothing.

use super::request;
use super::world::{PHONE, SERVER, World, sdp};
use sipalg_core::{Leg, Outbox};

/// Headers that say how long a body of `length` bytes is, in ways that parsers read differently.
fn games(length: usize) -> Vec<String> {
    let big = (1u128 << 32) + length as u128;
    let huge = (1u128 << 64) + length as u128;
    vec![
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n"),
        format!("Content-Length: 0\r\nl: {length}\r\n"),
        format!("l: {length}\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}, {length}\r\n"),
        format!("Content-Length: -{length}\r\n"),
        format!("Content-Length: +{length}\r\n"),
        format!("Content-Length: {length};x\r\n"),
        format!("Content-Length: {length} 0\r\n"),
        format!("Content-Length: 0x{length:x}\r\n"),
        format!("Content-Length: \"{length}\"\r\n"),
        // CVE-2026-23457: sip_help_tcp of Linux kept 32 bits.
        format!("Content-Length: {big}\r\n"),
        format!("Content-Length: {huge}\r\n"),
        format!("Content-Length: 4294967328\r\n"),
        "Content-Length: 99999999999999999999999999\r\n".into(),
        format!("Content-Length:\r\n {length}\r\n"),
        format!("Content-Length: {length}\n"),
        format!("Content-Length: {length}\rX: y\r\n"),
        format!("Content-Length: {length}\0\r\n"),
        "Content-Length: \r\n".into(),
        "Content-Length: ten\r\n".into(),
        format!("Content-Length\u{a0}: {length}\r\n"),
        String::new(),
    ]
}

#[test]
fn what_another_parser_may_take_for_a_message_opens_nothing() {
    let hidden = request(
        "INVITE",
        "hidden",
        "<sip:a@192.168.122.3:7000;transport=tcp>",
        &sdp("192.168.122.3", 7002),
    );
    let mut demoted = 0;
    for (nth, game) in games(hidden.len()).iter().enumerate() {
        let head = "OPTIONS sip:a@x SIP/2.0\r\nCall-ID: shown\r\nCSeq: 1 OPTIONS\r\n";
        let stream = format!("{head}{game}\r\n{hidden}");
        // What is not doubtful is framed as everyone does, and the hidden message is one.
        let plain = game.is_empty() || game.starts_with("Content-Length\u{a0}");
        let mut outcomes = Vec::new();
        for cut in [stream.len(), 1, 7] {
            let mut world = World::new();
            let flow = world.connect(PHONE, SERVER);
            world.obey();
            let mut out = Outbox::default();
            for part in stream.as_bytes().chunks(cut) {
                world
                    .alg
                    .stream(world.now, flow, Leg::Inside, part, &mut out);
            }
            world
                .alg
                .end_of_stream(world.now, flow, Leg::Inside, &mut out);
            if !plain {
                assert!(out.doors.is_empty(), "{nth} {game:?}: {:?}", out.doors);
                assert_eq!(out.bytes, stream.as_bytes(), "{nth} {game:?}");
            }
            demoted += world.alg.counters().demoted;
            outcomes.push((out.bytes, out.doors));
        }
        outcomes.dedup();
        assert_eq!(outcomes.len(), 1, "any cut gives the same: {game:?}");
    }
    assert!(demoted >= 3 * 15, "only {demoted} streams were let go");
}

#[test]
fn whoever_frames_what_leaves_finds_no_message_that_we_did_not() {
    // One length, true, and everything within it is a body.
    let hidden = request("INVITE", "hidden", "<sip:a@192.168.122.3:7000>", "");
    let stream = format!(
        "MESSAGE sip:a@x SIP/2.0\r\nCall-ID: s\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0{}\r\n\r\n{hidden}",
        hidden.len()
    );
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    assert_eq!(world.say(flow, Leg::Inside, &stream), stream);
    assert_eq!(world.alg.counters().messages, 1);
    assert_eq!(super::opened(&world), 0);
}
