//! SIP over UDP: real phones, alone and with others that speak SIP over TCP, and many calls.

use crate::calls::{assert_both_heard, talk};
use crate::harness::baresip::Baresip;
use crate::harness::capture::Capture;
use crate::harness::gateway::Gateway;
use crate::harness::kamailio::Kamailio;
use crate::harness::net::{Host, Net, inside_address, outside_address};
use crate::harness::post::Post;
use crate::harness::sip::{Dialogue, answer, header, messages_without_the_inside, uri_target};
use crate::harness::sipp::CALLS;
use crate::harness::until;
use crate::load::call_over_udp;
use std::net::SocketAddrV4;

#[test]
fn real_phones_register_and_call_over_udp_and_hear_each_other() {
    talk_both_ways("udp", "udp");
}

#[test]
fn a_phone_on_udp_and_one_on_tcp_call_and_hear_each_other() {
    talk_both_ways("udp", "tcp");
    talk_both_ways("tcp", "udp");
}

#[test]
fn without_a_gateway_in_the_way_two_hundred_calls_over_udp_are_heard() {
    let net = Net::new();
    let (caller, callee) = (net.outside(3), net.outside(2));
    let to = SocketAddrV4::new(outside_address(2), 5060);
    call_over_udp(
        (&caller, outside_address(3)),
        (&callee, outside_address(2)),
        to,
    );
}

#[test]
fn two_hundred_calls_out_over_udp_at_once_are_all_heard() {
    let net = Net::new();
    let (caller, callee) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let outside = Capture::start(&net.gateway, "gout");
    let to = SocketAddrV4::new(outside_address(2), 5060);
    call_over_udp(
        (&caller, inside_address(3)),
        (&callee, outside_address(2)),
        to,
    );
    until("the media doors to be gone", || {
        gateway.media_doors().is_empty().then_some(())
    });
    // INVITE, ACK, BYE, and what was said again.
    assert!(messages_without_the_inside(&outside.stop()) >= 3 * CALLS);
}

#[test]
fn two_hundred_calls_in_over_udp_at_once_are_all_heard() {
    let net = Net::new();
    let (callee, caller, registrar) = (net.inside(3), net.outside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let outside = Capture::start(&net.gateway, "gout");
    let global = register(&callee, &registrar);
    call_over_udp(
        (&caller, outside_address(3)),
        (&callee, inside_address(3)),
        global,
    );
    until("the media doors to be gone", || {
        gateway.media_doors().is_empty().then_some(())
    });
    // REGISTER, 200 for INVITE and BYE, and what was said again.
    assert!(messages_without_the_inside(&outside.stop()) > 2 * CALLS);
}

/// Registers the phone's port 5060 over UDP; where it is reached.
fn register(phone: &Host, registrar: &Host) -> SocketAddrV4 {
    let at = SocketAddrV4::new(outside_address(2), 5060);
    let own = SocketAddrV4::new(inside_address(3), 5060);
    let (here, there) = (Post::open(phone, own), Post::open(registrar, at));
    here.send(
        at,
        Dialogue::new("reg", own, at).over_udp().register(1, 600),
    );
    let (from, request) = there.message();
    let contact = header(&request, "Contact").expect("a Contact");
    let granted = format!("Contact: {contact};expires=600\r\n");
    there.send(from, answer(&request, "200 OK", &granted, ""));
    assert!(here.message().1.starts_with("SIP/2.0 200"));
    uri_target(contact)
}

/// A phone inside and one outside, each with its transport, call each other by a registrar.
fn talk_both_ways(inside: &str, outside: &str) {
    let net = Net::new();
    let (home, proxy, far) = (net.inside(3), net.outside(2), net.outside(3));
    let _gateway = Gateway::start(&net);
    let capture = Capture::start(&net.gateway, "gout");
    let registrar = outside_address(2);
    let _kamailio = Kamailio::start(&proxy, registrar);
    let mut alice = Baresip::start_over(inside, &home, inside_address(3), "alice", registrar);
    let mut bob = Baresip::start_over(outside, &far, outside_address(3), "bob", registrar);
    let (said, heard) = talk(&mut alice, &mut bob, "sip:bob@10.1.1.2");
    assert_both_heard(said, heard);
    let (said, heard) = talk(&mut bob, &mut alice, "sip:alice@10.1.1.2");
    assert_both_heard(said, heard);
    // REGISTER; INVITE, ACK, BYE; 180, 200 for INVITE, 200 for BYE, at least.
    assert!(messages_without_the_inside(&capture.stop()) >= 7);
}
