//! What ails calls and registrations, as far as the gateway can know.

mod world;

use sipalg_core::FlowId;
use sipalg_core::Leg::{self, Inside, Outside};
use sipalg_core::addr::SocketAddrV4;
use sipalg_core::door::MediaCount;
use sipalg_core::health::{
    Ailment, CallState, CallView, Ending, LeakPlace, LeakReason, MediaHeard,
};
use std::time::Duration;
use world::{PHONE, SERVER, World, at, sdp};

fn message(start: &str, method: &str, contact: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{start}\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@y>;tag=2\r\ni: c\r\nCSeq: 1 {method}\r\n\
         m: <sip:a@{contact}>\r\nc: application/sdp\r\nl: {length}\r\n\r\n{body}"
    )
}

fn invite(contact: &str, media: &str) -> String {
    message(
        "INVITE sip:b@y SIP/2.0",
        "INVITE",
        contact,
        &sdp(media, 6000),
    )
}

fn ok(contact: &str) -> String {
    message("SIP/2.0 200 OK", "INVITE", contact, &sdp("10.1.1.2", 8000))
}

fn bare(start: &str, method: &str) -> String {
    format!(
        "{start}\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@y>;tag=2\r\ni: c\r\nCSeq: 1 {method}\r\n\
         l: 0\r\n\r\n"
    )
}

/// The same of the other party.
fn theirs(start: &str, method: &str) -> String {
    bare(start, method)
        .replace("tag=1", "tag=3")
        .replace("tag=2", "tag=1")
        .replace("tag=3", "tag=2")
}

/// A call that was answered and acknowledged.
fn talk() -> (World, FlowId) {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(flow, Inside, &invite("192.168.122.3:5060", "192.168.122.3"));
    world.say(flow, Outside, &ok("10.1.1.2"));
    world.say(flow, Inside, &bare("ACK sip:b@y SIP/2.0", "ACK"));
    (world, flow)
}

fn call(world: &World) -> CallView {
    world.alg.calls().pop().expect("a call")
}

fn ailments(world: &World, heard: impl Fn(SocketAddrV4) -> Option<MediaHeard>) -> Vec<Ailment> {
    call(world).ailments(world.now, heard)
}

/// So many packets in and out until now.
fn heard(world: &World, packets_in: u64, packets_out: u64) -> MediaHeard {
    let mut heard = MediaHeard::default();
    let count = MediaCount {
        in_packets: packets_in,
        out_packets: packets_out,
        ..MediaCount::default()
    };
    heard.note(world.now, count);
    heard
}

#[test]
fn a_call_is_followed_from_its_invite_to_its_bye() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(flow, Inside, &invite("192.168.122.3:5060", "192.168.122.3"));
    assert_eq!(
        (call(&world).state, call(&world).began),
        (CallState::Calling, Inside)
    );
    world.say(flow, Outside, &ok("10.1.1.2"));
    assert_eq!(call(&world).state, CallState::Answered);
    world.say(flow, Inside, &bare("ACK sip:b@y SIP/2.0", "ACK"));
    let up = call(&world);
    assert_eq!((up.state, up.peer), (CallState::Up, Some(at(SERVER))));
    assert_eq!(up.streams, [at("192.168.122.3:6000")]);
    assert_eq!(up.doors.len(), 3);
    world.say(flow, Outside, &theirs("BYE sip:a@x SIP/2.0", "BYE"));
    assert_eq!(call(&world).state, CallState::Ending);
    world.say(flow, Inside, &theirs("SIP/2.0 200 OK", "BYE"));
    let over = call(&world);
    assert_eq!(over.ended, Some((world.now, Ending::Bye(Outside))));
    assert_eq!(over.state, CallState::Ended);
    assert_eq!(over.ailments(world.now, |_| None), []);
}

#[test]
fn why_a_call_ended_is_known() {
    for (method, status, ending) in [
        (
            "INVITE",
            Some("SIP/2.0 486 Busy Here"),
            Ending::Refused(486),
        ),
        ("CANCEL", None, Ending::Cancelled(Inside)),
        ("", None, Ending::NoAnswer),
    ] {
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        world.say(flow, Inside, &invite("192.168.122.3:5060", "192.168.122.3"));
        match status {
            Some(status) => world.say(flow, Outside, &bare(status, method)),
            None if method.is_empty() => String::new(),
            None => world.say(flow, Inside, &bare("CANCEL sip:b@y SIP/2.0", method)),
        };
        world.wait(Duration::from_secs(600));
        assert_eq!(call(&world).ended.map(|(_, why)| why), Some(ending));
    }
    // A challenge ends nothing.
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.say(flow, Inside, &invite("192.168.122.3:5060", "192.168.122.3"));
    world.say(flow, Outside, &bare("SIP/2.0 401 Unauthorized", "INVITE"));
    assert_eq!(world.alg.calls(), []);
    // Nobody talks any more.
    let (mut world, _) = talk();
    world.wait(Duration::from_secs(3600));
    assert_eq!(
        ailments(&world, |_| None),
        [Ailment::TimedOut(Ending::Silence)]
    );
}

#[test]
fn a_200_without_ack_is_named_with_the_contact_that_leaked() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let called = invite("10.1.1.2", "10.1.1.2").replace("INVITE sip:b@y", "INVITE sip:a@x");
    world.say(flow, Outside, &called);
    // The phone has another address, which no rule knows.
    for _ in 0..3 {
        let answer = message(
            "SIP/2.0 200 OK",
            "INVITE",
            "172.17.0.1:5060",
            &sdp("192.168.122.3", 6000),
        );
        world.say(flow, Inside, &answer);
        world.wait(Duration::from_secs(1));
    }
    let found = ailments(&world, |_| None);
    let [
        Ailment::Leaked(leak),
        Ailment::NotAcknowledged { from, times, .. },
        ..,
    ] = found[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!(
        (leak.place, leak.reason),
        (LeakPlace::Contact, LeakReason::NoRule)
    );
    assert_eq!(leak.address, at("172.17.0.1:5060"));
    assert_eq!((from, times), (Inside, 3));
    // With the ACK, the leak is left.
    world.say(flow, Outside, &bare("ACK sip:a@x SIP/2.0", "ACK"));
    assert_eq!(
        ailments(&world, |at| Some(heard(&world, 1, 1))
            .filter(|_| at.port() == 6000))
        .len(),
        1
    );
}

#[test]
fn why_an_address_leads_nowhere_is_known() {
    for (contact, media, place, reason) in [
        (
            "192.168.122.4:5070",
            "192.168.122.3",
            LeakPlace::Contact,
            LeakReason::Foreign,
        ),
        (
            "192.168.122.3:5060",
            "172.17.0.1",
            LeakPlace::Media,
            LeakReason::NoRule,
        ),
        (
            "192.168.122.3:5060",
            "192.168.122.4",
            LeakPlace::Media,
            LeakReason::Foreign,
        ),
    ] {
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        world.say(flow, Inside, &invite(contact, media));
        let leak = call(&world).leak.expect("a leak");
        assert_eq!(
            (leak.place, leak.reason, leak.from),
            (place, reason, Inside)
        );
    }
    // What the outside names: a port of ours that nobody has, or an address behind another NAT.
    for (server, contact, reason) in [
        (SERVER, "10.1.1.1:9999", LeakReason::NoMapping),
        ("203.0.113.9:5060", "192.168.1.7:5060", LeakReason::Private),
    ] {
        let mut world = World::new();
        let flow = world.connect(PHONE, server);
        world.say(flow, Inside, &invite("192.168.122.3:5060", "192.168.122.3"));
        world.say(flow, Outside, &ok(contact));
        let leak = call(&world).foreign_leak.expect("a leak");
        assert_eq!((leak.place, leak.reason), (LeakPlace::Contact, reason));
    }
    let (world, _) = talk();
    assert_eq!((call(&world).leak, call(&world).foreign_leak), (None, None));
}

#[test]
fn one_way_audio_is_told_from_none_and_from_both() {
    let (mut world, _) = talk();
    world.wait(Duration::from_secs(20));
    let local = at("192.168.122.3:6000");
    let of = |heard: Option<MediaHeard>| ailments(&world, move |_| heard);
    let one_way = |from: Leg, other| Ailment::OneWay {
        from,
        inside_local: local,
        since: Duration::from_secs(20),
        other,
    };
    let silent = Ailment::Silent {
        inside_local: local,
        since: Duration::from_secs(20),
    };
    assert_eq!(of(None), [silent]);
    assert_eq!(of(Some(heard(&world, 0, 812))), [one_way(Outside, 812)]);
    assert_eq!(of(Some(heard(&world, 5, 0))), [one_way(Inside, 5)]);
    assert_eq!(of(Some(heard(&world, 5, 5))), []);
}

#[test]
fn a_count_that_fell_is_another_doors() {
    let world = World::new();
    let mut found = heard(&world, 100, 100);
    let later = world.now + Duration::from_secs(5);
    let count = MediaCount {
        in_packets: 1,
        ..MediaCount::default()
    };
    found.note(later, count);
    assert_eq!((found.in_at, found.out_at), (Some(later), None));
}

#[test]
fn a_registration_that_was_gone_before_it_was_renewed_says_for_how_long() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let register = |contact: &str| {
        format!(
            "REGISTER sip:y SIP/2.0\r\nTo: <sip:a@y>\r\ni: r\r\nCSeq: 1 REGISTER\r\n\
             Contact: <sip:a@{contact}>\r\nl: 0\r\n\r\n"
        )
    };
    let answer = "SIP/2.0 200 OK\r\ni: r\r\nCSeq: 1 REGISTER\r\n\
                  Contact: <sip:a@10.1.1.1:5060>;expires=60\r\nl: 0\r\n\r\n";
    let renew = |world: &mut World| {
        world.say(flow, Inside, &register("192.168.122.3:5060"));
        world.say(flow, Outside, answer);
        world.alg.registrations()
    };
    let views = renew(&mut world);
    assert_eq!(views.len(), 1);
    assert_eq!(views[0].aor, b"sip:a@y");
    assert_eq!((views[0].registrar, views[0].gap), (at(SERVER), None));
    assert_eq!(views[0].inside_global, at("10.1.1.1:5060"));
    assert_eq!(views[0].until, world.now + Duration::from_secs(65));
    world.wait(Duration::from_secs(65 + 40));
    let gone = world.alg.registrations();
    assert_eq!((gone.len(), gone[0].gone.is_some()), (1, true));
    let views = renew(&mut world);
    assert_eq!(
        (views.len(), views[0].gap),
        (1, Some(Duration::from_secs(40)))
    );
    // A contact that names nobody.
    world.say(flow, Inside, &register("172.17.0.1"));
    let unreachable: Vec<_> = world.alg.unreachable().collect();
    assert_eq!(unreachable[0].leak.reason, LeakReason::NoRule);
}
