//! Real phones by a real registrar and proxy: they register, call each other, and hear each other.

use crate::harness::baresip::{Audio, Baresip};
use crate::harness::capture::{Capture, Packets};
use crate::harness::gateway::Gateway;
use crate::harness::kamailio::Kamailio;
use crate::harness::net::{Net, inside_address, outside_address};
use crate::harness::sip::messages_without_the_inside;
use crate::harness::until;

/// How much both shall hear before somebody hangs up: a second.
pub const AUDIO: u64 = 50;

#[test]
fn without_a_gateway_in_the_way_the_peers_understand_each_other() {
    let net = Net::new();
    let (home, proxy, far) = (net.outside(4), net.outside(2), net.outside(3));
    let _kamailio = Kamailio::start(&proxy, outside_address(2));
    let mut alice = Baresip::start(&home, outside_address(4), "alice", outside_address(2));
    let mut bob = Baresip::start(&far, outside_address(3), "bob", outside_address(2));
    let (said, heard) = talk(&mut alice, &mut bob, "sip:bob@10.1.1.2");
    assert_both_heard(said, heard);
}

#[test]
fn real_phones_register_call_in_call_out_and_hear_each_other() {
    let net = Net::new();
    let (home, proxy, far) = (net.inside(3), net.outside(2), net.outside(3));
    let gateway = Gateway::start(&net);
    let outside = Capture::start(&net.gateway, "gout");
    let (near_ear, far_ear) = (Capture::start(&home, "eth0"), Capture::start(&far, "eth0"));
    let _kamailio = Kamailio::start(&proxy, outside_address(2));
    let mut alice = Baresip::start(&home, inside_address(3), "alice", outside_address(2));
    let mut bob = Baresip::start(&far, outside_address(3), "bob", outside_address(2));
    assert_eq!(
        gateway.signalling_doors().len(),
        1,
        "the registered phone's"
    );

    // Out, and the caller hangs up; in, and the phone inside is called and hangs up.
    let (said, heard) = talk(&mut alice, &mut bob, "sip:bob@10.1.1.2");
    assert_both_heard(said, heard);
    let (said, heard) = talk(&mut bob, &mut alice, "sip:alice@10.1.1.2");
    assert_both_heard(said, heard);

    until("the media doors to be gone", || {
        gateway.media_doors().is_empty().then_some(())
    });
    assert_at_ears(&near_ear.stop(), inside_address(3));
    assert_at_ears(&far_ear.stop(), outside_address(3));
    // REGISTER; INVITE, ACK, BYE; 180, 200 for INVITE, 200 for BYE, at least.
    let told = messages_without_the_inside(&outside.stop());
    assert!(told >= 7, "only {told} messages went out");
}

/// One calls the other, both hear something, and the caller hangs up. What each said and heard.
pub fn talk(caller: &mut Baresip, callee: &mut Baresip, uri: &str) -> (Audio, Audio) {
    caller.call(uri);
    callee.wait_for_call();
    caller.wait_for_audio(AUDIO);
    callee.wait_for_audio(AUDIO);
    (caller.hang_up(), callee.wait_for_end())
}

/// Each heard what the other said, but for the last few packets: they fly while both hang up.
pub fn assert_both_heard(one: Audio, other: Audio) {
    for (mouth, ear) in [(one, other), (other, one)] {
        assert!(ear.received >= AUDIO, "{ear:?}");
        assert!(ear.received + 10 >= mouth.sent, "{mouth:?} {ear:?}");
        assert_eq!(ear.errors, 0, "{ear:?}");
    }
}

/// RTP of two calls came to the host; a phone may take the same port for both.
fn assert_at_ears(packets: &Packets, host: std::net::Ipv4Addr) {
    let mut counts = packets.datagrams_to();
    // RTP has even ports, RTCP odd ones.
    counts.retain(|to, _| *to.ip() == host && to.port() % 2 == 0);
    let heard: usize = counts.values().sum();
    assert!(
        heard >= 2 * AUDIO as usize,
        "two calls at {host}: {counts:?}"
    );
}
