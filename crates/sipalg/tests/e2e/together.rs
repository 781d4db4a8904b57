//! Several real phones on the inside network: with the same ports, and in calls with each other.

use crate::calls::{AUDIO, assert_both_heard, talk};
use crate::harness::baresip::{Baresip, Line};
use crate::harness::capture::{Capture, Packet};
use crate::harness::gateway::Gateway;
use crate::harness::kamailio::Kamailio;
use crate::harness::net::{GOUT, Net, inside_address, outside_address};
use crate::harness::sip::messages_without_the_inside;

#[test]
fn two_phones_with_the_same_ports_both_register_call_and_are_heard_over_udp() {
    talk_with_the_same_ports("udp");
}

#[test]
fn two_phones_with_the_same_ports_both_register_call_and_are_heard_over_tcp() {
    talk_with_the_same_ports("tcp");
}

/// Two phones inside that have SIP at port 5060 and RTP at 6000, and two others outside: both pairs
/// talk at once, in either direction.
fn talk_with_the_same_ports(transport: &str) {
    let net = Net::new();
    let homes = [net.inside(3), net.inside(4)];
    let (proxy, fars) = (net.outside(2), [net.outside(3), net.outside(4)]);
    let gateway = Gateway::start(&net);
    let outside = Capture::start(&net.gateway, "gout");
    let registrar = outside_address(2);
    let _kamailio = Kamailio::start(&proxy, registrar);
    let line = |user| Line {
        user,
        registrar,
        transport,
        media: (6000, 6001),
    };
    let mut near = [(0, "alice"), (1, "carol")].map(|(at, user)| {
        Baresip::start_line(&homes[at], inside_address(3 + at as u8), line(user))
    });
    let mut far = [(0, "bob"), (1, "dave")].map(|(at, user)| {
        Baresip::start_line(&fars[at], outside_address(3 + at as u8), line(user))
    });
    talk_in_pairs(
        &mut near,
        &mut far,
        ["sip:bob@10.1.1.2", "sip:dave@10.1.1.2"],
    );
    let inside = ["sip:alice@10.1.1.2", "sip:carol@10.1.1.2"];
    talk_in_pairs(&mut far, &mut near, inside);

    let packets = outside.stop();
    // Who has the number first keeps it; nobody shares it.
    let rtp = packets.filter(|p| is_rtp(p) && *p.source().ip() == GOUT);
    let mut ports: Vec<_> = rtp.iter().map(|packet| packet.source().port()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert!(ports.len() >= 2 && ports.contains(&6000), "{ports:?}");
    messages_without_the_inside(&packets);
    drop(gateway);
}

/// Each caller calls one callee, and all talk at once; the callers hang up.
fn talk_in_pairs(callers: &mut [Baresip; 2], callees: &mut [Baresip; 2], uris: [&str; 2]) {
    for ((caller, callee), uri) in callers.iter_mut().zip(&mut *callees).zip(uris) {
        caller.call(uri);
        callee.wait_for_call();
    }
    for phone in callers.iter_mut().chain(&mut *callees) {
        phone.wait_for_audio(AUDIO);
    }
    for (caller, callee) in callers.iter_mut().zip(callees) {
        assert_both_heard(caller.hang_up(), callee.wait_for_end());
    }
}

#[test]
fn inside_phones_that_call_each_other_by_the_registrar_outside_talk_inside_over_udp() {
    talk_inside("udp");
}

#[test]
fn inside_phones_that_call_each_other_by_the_registrar_outside_talk_inside_over_tcp() {
    talk_inside("tcp");
}

fn talk_inside(transport: &str) {
    let net = Net::new();
    let (one, two, proxy) = (net.inside(3), net.inside(4), net.outside(2));
    let gateway = Gateway::start(&net);
    let outside = Capture::start(&net.gateway, "gout");
    let at_carol = Capture::start(&two, "eth0");
    let registrar = outside_address(2);
    let _kamailio = Kamailio::start(&proxy, registrar);
    let mut alice = Baresip::start_over(transport, &one, inside_address(3), "alice", registrar);
    let mut carol = Baresip::start_over(transport, &two, inside_address(4), "carol", registrar);
    let (said, heard) = talk(&mut alice, &mut carol, "sip:carol@10.1.1.2");
    assert_both_heard(said, heard);

    let outside = outside.stop();
    assert!(outside.filter(is_rtp).is_empty(), "media went outside");
    // Two REGISTERs, INVITE there and its answer, ACK, BYE and its answer, at least.
    assert!(messages_without_the_inside(&outside) >= 7);
    let heard = at_carol.stop();
    let heard = heard.filter(|p| is_rtp(p) && *p.destination().ip() == inside_address(4));
    assert!(heard.len() >= AUDIO as usize);
    // From the other phone itself, and not by the gateway.
    let straight = |packet: &&Packet| *packet.source().ip() == inside_address(3);
    assert!(heard.iter().all(straight), "not from the other phone");
    drop(gateway);
}

/// A datagram with RTP's version and a payload type of audio.
fn is_rtp(packet: &Packet) -> bool {
    packet.is_udp()
        && matches!(packet.payload(), [0x80, kind, ..] if kind & 0x7f < 64)
        && packet.source().port() != 5060
}
