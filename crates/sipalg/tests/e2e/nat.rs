//! Everything else that the inside network does: translated by the kernel, undisturbed by us.

use crate::harness::call::{Call, office};
use crate::harness::gateway::Gateway;
use crate::harness::media::Ear;
use crate::harness::net::{GOUT, Host, Net, inside_address, outside_address};
use crate::harness::registration::Registration;
use crate::harness::sip::{Peer, Server};
use std::net::SocketAddrV4;

#[test]
fn ordinary_connections_are_translated_by_the_kernel() {
    let net = Net::new();
    let (one, two, far) = (net.inside(3), net.inside(4), net.outside(2));
    let _gateway = Gateway::start(&net);
    for (host, number) in [(&one, 3), (&two, 4)] {
        assert_ordinary((host, number), &far, 20_000);
    }
}

#[test]
fn an_ordinary_connection_may_share_its_number_with_what_is_mapped() {
    let net = Net::new();
    let (phone, other, far) = (net.inside(3), net.inside(4), net.outside(2));
    let _gateway = Gateway::start(&net);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    let mapped = call.near.local().port();
    // From another host and from the same one, TCP's number for UDP and the other way around.
    for number in [4000, mapped] {
        assert_ordinary((&other, 4), &far, number);
    }
    call.talk();
    assert_ordinary_tcp((&phone, 3), &far, 4000);
    call.talk();
    call.request_and_agree("BYE", 2);
    assert_ordinary((&phone, 3), &far, 4010);
}

#[test]
fn where_the_operator_masquerades_already_calls_work_all_the_same() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let masquerade = [
        "-t",
        "nat",
        "-A",
        "POSTROUTING",
        "-o",
        "gout",
        "-j",
        "MASQUERADE",
    ];
    net.gateway.output("iptables", &masquerade, "");
    let _gateway = Gateway::start(&net);
    let contact = SocketAddrV4::new(inside_address(3), 5060);
    let at_home = Server::listen(&phone, contact);
    let line = Registration::make((&phone, contact), (&far, office()), 600);
    let any = SocketAddrV4::new(outside_address(2), 0);
    let caller = Peer::connect(&far, any, line.global).expect("an open door");
    assert_eq!(at_home.accept().remote(), caller.local());
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    call.talk();
    assert_ordinary((&phone, 3), &far, 20_000);
}

/// A host's ordinary TCP connection and UDP flow from this port get out translated, and their
/// answers back.
fn assert_ordinary(host: (&Host, u8), far: &Host, port: u16) {
    assert_ordinary_tcp(host, far, port);
    let mut near = Ear::open(host.0, SocketAddrV4::new(inside_address(host.1), port));
    let mut there = Ear::open(far, SocketAddrV4::new(outside_address(2), 9000));
    near.say(there.at(), 3);
    let heard = there.hear(3);
    assert!(
        heard.iter().all(|heard| *heard.from.ip() == GOUT),
        "{heard:?}"
    );
    there.say(heard[0].from, 3);
    let heard = near.hear(3);
    assert!(
        heard.iter().all(|heard| heard.from == there.at()),
        "{heard:?}"
    );
}

fn assert_ordinary_tcp(host: (&Host, u8), far: &Host, port: u16) {
    let to = SocketAddrV4::new(outside_address(2), 9000);
    let listener = Server::listen(far, to);
    let from = SocketAddrV4::new(inside_address(host.1), port);
    let mut near = Peer::connect(host.0, from, to).expect("a connection");
    let mut there = listener.accept();
    assert_eq!(*there.remote().ip(), GOUT);
    near.send("Contact: <sip:a@192.168.122.3>\r\n\r\n");
    assert_eq!(there.bytes(34), b"Contact: <sip:a@192.168.122.3>\r\n\r\n");
    there.send("yes");
    assert_eq!(near.bytes(3), b"yes");
}
