//! A real PBX inside, which the outside reaches by static rules.

use crate::calls::{assert_both_heard, talk};
use crate::harness::baresip::Baresip;
use crate::harness::capture::Capture;
use crate::harness::gateway::{CONFIGURATION, Gateway};
use crate::harness::kamailio::Kamailio;
use crate::harness::net::{GOUT, Host, Net, inside_address, outside_address};
use crate::harness::sip::messages_without_the_inside;
use crate::harness::until;

/// The PBX's number inside.
const PBX: u8 = 10;

#[test]
fn outside_phones_register_at_a_pbx_inside_and_call_each_other_over_udp() {
    call_by_the_pbx("udp");
}

#[test]
fn outside_phones_register_at_a_pbx_inside_and_call_each_other_over_tcp() {
    call_by_the_pbx("tcp");
}

fn call_by_the_pbx(transport: &str) {
    let net = Net::new();
    let (host, fars) = (net.inside(PBX), [net.outside(3), net.outside(4)]);
    let _gateway = Gateway::start_with(&net, &serving(""));
    let outside = Capture::start(&net.gateway, "gout");
    let _kamailio = Kamailio::start(&host, inside_address(PBX));
    let phone = |host: &Host, number, user| {
        Baresip::start_over(transport, host, outside_address(number), user, GOUT)
    };
    let mut bob = phone(&fars[0], 3, "bob");
    let mut dave = phone(&fars[1], 4, "dave");
    let (said, heard) = talk(&mut bob, &mut dave, "sip:dave@10.1.1.1");
    assert_both_heard(said, heard);
    let (said, heard) = talk(&mut dave, &mut bob, "sip:bob@10.1.1.1");
    assert_both_heard(said, heard);
    // The answers to two REGISTERs, INVITE, 200, ACK, BYE, 200 of two calls, at least.
    assert!(messages_without_the_inside(&outside.stop()) >= 12);
}

#[test]
fn a_trusted_pbx_opens_the_doors_of_its_phones_over_udp() {
    call_a_phone_of_the_pbx("udp");
}

#[test]
fn a_trusted_pbx_opens_the_doors_of_its_phones_over_tcp() {
    call_a_phone_of_the_pbx("tcp");
}

fn call_a_phone_of_the_pbx(transport: &str) {
    let net = Net::new();
    let (host, home, far) = (net.inside(PBX), net.inside(3), net.outside(3));
    let trusted = "access-list 20 permit host 192.168.122.10\nip nat service sip trusted 20\n";
    let gateway = Gateway::start_with(&net, &serving(trusted));
    let outside = Capture::start(&net.gateway, "gout");
    let pbx = inside_address(PBX);
    let _kamailio = Kamailio::start(&host, pbx);
    let mut alice = Baresip::start_over(transport, &home, inside_address(3), "alice", pbx);
    let mut bob = Baresip::start_over(transport, &far, outside_address(3), "bob", GOUT);
    let (said, heard) = talk(&mut bob, &mut alice, "sip:alice@10.1.1.1");
    assert_both_heard(said, heard);
    let (said, heard) = talk(&mut alice, &mut bob, "sip:bob@192.168.122.10");
    assert_both_heard(said, heard);
    until("the media doors to be gone", || {
        gateway.media_doors().is_empty().then_some(())
    });
    messages_without_the_inside(&outside.stop());
}

#[test]
fn a_pbx_that_is_not_trusted_opens_no_doors_for_others() {
    let net = Net::new();
    let (host, home, far) = (net.inside(PBX), net.inside(3), net.outside(3));
    let gateway = Gateway::start_with(&net, &serving(""));
    let pbx = inside_address(PBX);
    let _kamailio = Kamailio::start(&host, pbx);
    let mut alice = Baresip::start_over("udp", &home, inside_address(3), "alice", pbx);
    let mut bob = Baresip::start_over("udp", &far, outside_address(3), "bob", GOUT);
    bob.call("sip:alice@10.1.1.1");
    alice.wait_for_call();
    assert_eq!(gateway.media_doors(), []);
    let (said, heard) = (bob.hang_up(), alice.wait_for_end());
    assert!(said.sent > 0 || heard.sent > 0, "nobody said anything");
    assert_eq!(heard.received, 0, "through no door");
}

/// The PBX is reached at the gateway's port 5060.
fn serving(more: &str) -> String {
    let fixed = |protocol: &str| {
        format!("ip nat inside source static {protocol} 192.168.122.10 5060 interface gout 5060\n")
    };
    format!("{CONFIGURATION}{}{}{more}", fixed("tcp"), fixed("udp"))
}
