//! Many calls at once: none is lost, and each is heard at both ears.

use crate::harness::capture::Capture;
use crate::harness::gateway::Gateway;
use crate::harness::media::Ear;
use crate::harness::net::{Host, Net, inside_address, outside_address};
use crate::harness::registration::Registration;
use crate::harness::sip::messages_without_the_inside;
use crate::harness::sipp::{CALLS, Media, Sipp, media};
use crate::harness::until;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

/// How many packets each side says in each call.
const PACKETS: u16 = 10;

#[test]
fn without_a_gateway_in_the_way_two_hundred_calls_are_heard() {
    let net = Net::new();
    let (caller, callee) = (net.outside(3), net.outside(2));
    let to = SocketAddrV4::new(outside_address(2), 5060);
    call(
        (&caller, outside_address(3)),
        (&callee, outside_address(2)),
        to,
    );
}

#[test]
fn two_hundred_calls_out_at_once_are_all_heard() {
    let net = Net::new();
    let (caller, callee) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let outside = Capture::start(&net.gateway, "gout");
    let to = SocketAddrV4::new(outside_address(2), 5060);
    call(
        (&caller, inside_address(3)),
        (&callee, outside_address(2)),
        to,
    );
    assert_doors_gone(&gateway);
    // INVITE, ACK, BYE.
    assert_eq!(messages_without_the_inside(&outside.stop()), 3 * CALLS);
}

#[test]
fn two_hundred_calls_in_at_once_are_all_heard() {
    let net = Net::new();
    let (callee, caller, registrar) = (net.inside(3), net.outside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let outside = Capture::start(&net.gateway, "gout");
    let contact = SocketAddrV4::new(inside_address(3), 5060);
    let at = SocketAddrV4::new(outside_address(2), 5060);
    let registration = Registration::make((&callee, contact), (&registrar, at), 600);
    call(
        (&caller, outside_address(3)),
        (&callee, inside_address(3)),
        registration.global,
    );
    assert_doors_gone(&gateway);
    // REGISTER, and 200 for INVITE and BYE.
    assert_eq!(messages_without_the_inside(&outside.stop()), 1 + 2 * CALLS);
}

/// Makes all calls from one host to the other at `to`, and lets both talk and listen in each.
fn call(caller: (&Host, Ipv4Addr), callee: (&Host, Ipv4Addr), to: SocketAddrV4) {
    call_while(caller, callee, to, || {});
}

/// The same; once all calls are answered, something else happens before they talk.
pub fn call_while(
    caller: (&Host, Ipv4Addr),
    callee: (&Host, Ipv4Addr),
    to: SocketAddrV4,
    meanwhile: impl FnOnce(),
) {
    let answer: Start = |host, at, _| Sipp::answer(host, at);
    call_by([Sipp::call, answer], caller, callee, to, meanwhile);
}

/// The same with SIP over UDP.
pub fn call_over_udp(caller: (&Host, Ipv4Addr), callee: (&Host, Ipv4Addr), to: SocketAddrV4) {
    let answer: Start = |host, at, _| Sipp::answer_over_udp(host, at);
    call_by([Sipp::call_over_udp, answer], caller, callee, to, || {});
}

/// Starts one side, at its address.
type Start = fn(&Host, Ipv4Addr, SocketAddrV4) -> Sipp;

fn call_by(
    [make, take]: [Start; 2],
    caller: (&Host, Ipv4Addr),
    callee: (&Host, Ipv4Addr),
    to: SocketAddrV4,
    meanwhile: impl FnOnce(),
) {
    let at_caller = Capture::start(caller.0, "eth0");
    let at_callee = Capture::start(callee.0, "eth0");
    let taking = take(callee.0, callee.1, to);
    let making = make(caller.0, caller.1, to);
    let calls = [media(&at_caller, caller.1), media(&at_callee, callee.1)];
    meanwhile();
    let mut ears = [open(caller.0, &calls[0]), open(callee.0, &calls[1])];
    for (media, ear) in ears.iter_mut().flatten() {
        ear.say(media.far, PACKETS);
    }
    // In each call, each hears all that the other said, from where it was told to answer.
    for (media, ear) in ears.iter().flatten() {
        let heard = ear.hear(PACKETS.into());
        let sequence: Vec<_> = heard.iter().map(|heard| heard.sequence).collect();
        assert_eq!(sequence, Vec::from_iter(0..PACKETS));
        assert!(
            heard.iter().all(|heard| heard.from == media.far),
            "{heard:?}"
        );
    }
    making.finish();
    taking.finish();
}

/// An ear for each call of a host.
fn open(host: &Host, calls: &BTreeMap<String, Media>) -> Vec<(Media, Ear)> {
    assert_eq!(calls.len(), CALLS);
    let at: Vec<_> = calls.values().map(|media| media.own).collect();
    let ears = Ear::open_all(host, &at);
    calls.values().copied().zip(ears).collect()
}

fn assert_doors_gone(gateway: &Gateway) {
    until("the media doors to be gone", || {
        gateway.media_doors().is_empty().then_some(())
    });
}
