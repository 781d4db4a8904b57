//! Many calls at once: none is lost, and each is heard at both ears.

use crate::harness::capture::Capture;
use crate::harness::media::Ear;
use crate::harness::net::{Host, Net, outside_address};
use crate::harness::sipp::{CALLS, Media, Sipp, media};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

/// How many packets each side says in each call.
const PACKETS: u16 = 10;

#[test]
fn without_a_gateway_in_the_way_two_hundred_calls_are_heard() {
    let net = Net::new();
    let (caller, callee) = (net.outside(3), net.outside(2));
    calls((&caller, outside_address(3)), (&callee, outside_address(2)), SocketAddrV4::new(outside_address(2), 5060));
}

/// Makes all calls from one host to the other at `to`, and lets both talk and listen in each.
fn calls(caller: (&Host, Ipv4Addr), callee: (&Host, Ipv4Addr), to: SocketAddrV4) {
    let (at_caller, at_callee) = (Capture::start(caller.0, "eth0"), Capture::start(callee.0, "eth0"));
    let taking = Sipp::answer(callee.0, callee.1);
    let making = Sipp::call(caller.0, caller.1, to);
    let (near, far) = (media(&at_caller, caller.1), media(&at_callee, callee.1));
    let mut ears = [open(caller.0, &near), open(callee.0, &far)];
    for (sides, ears) in [&near, &far].into_iter().zip(&mut ears) {
        for (call, ear) in ears {
            ear.say(sides[call].far, PACKETS);
        }
    }
    // In each call, each heard all that the other said, from where it was told to answer.
    for (sides, ears) in [&near, &far].into_iter().zip(&ears) {
        assert_eq!(ears.len(), CALLS);
        for (call, ear) in ears {
            let heard = ear.hear(PACKETS.into());
            let all: Vec<_> = (0..PACKETS).collect();
            assert_eq!(heard.iter().map(|h| h.sequence).collect::<Vec<_>>(), all);
            assert!(heard.iter().all(|h| h.from == sides[call].far), "{heard:?}");
        }
    }
    making.finish();
    taking.finish();
}

fn open<'call>(host: &Host, sides: &'call BTreeMap<String, Media>) -> BTreeMap<&'call String, Ear> {
    let ears = sides.iter().map(|(call, media)| (call, Ear::open(host, media.own)));
    ears.collect()
}
