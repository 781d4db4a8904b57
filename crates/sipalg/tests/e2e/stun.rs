//! What a STUN client finds on the ports that the gateway opens: they are the same toward everyone,
//! and everyone reaches them, unless an access list says who (RFC 4787, by the tests of RFC 5780).

use crate::harness::gateway::{CONFIGURATION, Gateway};
use crate::harness::net::{GOUT, Host, Net, inside_address, outside_address};
use crate::harness::sip::{Dialogue, Peer, Server, media_target};
use crate::harness::stun::{Question, Stun};
use std::net::SocketAddrV4;

#[test]
fn a_signalling_port_is_endpoint_independent() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), two_addresses(&net));
    let _gateway = Gateway::start(&net);
    let stun = Stun::start(&far, at(5060), outside_address(9));
    assert_independent(&stun, &phone, 5060);
}

#[test]
fn a_signalling_port_is_filtered_by_the_access_group() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), two_addresses(&net));
    let _gateway = Gateway::start_with(&net, &limited("access-group"));
    let stun = Stun::start(&far, at(5060), outside_address(9));
    assert_filtered(&stun, &phone, 5060);
}

#[test]
fn a_media_door_is_endpoint_independent() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), two_addresses(&net));
    let _gateway = Gateway::start(&net);
    let (_call, door) = offered(&phone, &far);
    let stun = Stun::start(&far, at(3478), outside_address(9));
    assert_eq!(assert_independent(&stun, &phone, 4000), door);
}

#[test]
fn a_media_door_is_filtered_by_the_media_access_group() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), two_addresses(&net));
    let _gateway = Gateway::start_with(&net, &limited("media access-group"));
    let (_call, _) = offered(&phone, &far);
    let stun = Stun::start(&far, at(3478), outside_address(9));
    assert_filtered(&stun, &phone, 4000);
}

/// The office, with a second address.
fn two_addresses(net: &Net) -> Host {
    let far = net.outside(2);
    far.ip(&format!("addr add {}/24 dev eth0", outside_address(9)));
    far
}

/// A configuration that lets only the office's first address in.
fn limited(what: &str) -> String {
    let (list, office) = ("access-list 10 permit host", outside_address(2));
    format!("{CONFIGURATION}{list} {office}\nip nat service sip {what} 10\n")
}

/// A call that offers the phone's port 4000, and the door that it opened.
fn offered(phone: &Host, far: &Host) -> ([Peer; 2], SocketAddrV4) {
    let server = Server::listen(far, at(5060));
    let own = SocketAddrV4::new(inside_address(3), 5060);
    let mut near = Peer::connect(phone, own, at(5060)).expect("to reach the office");
    let mut there = server.accept();
    let media = SocketAddrV4::new(*own.ip(), 4000);
    near.send(Dialogue::new("stun", own, at(5060)).invite(1, media));
    let door = media_target(&there.message());
    ([near, there], door)
}

fn assert_independent(stun: &Stun, phone: &Host, port: u16) -> SocketAddrV4 {
    let from = SocketAddrV4::new(inside_address(3), port);
    let (said, told) = stun.ask(phone, from, Question::Mapping);
    assert_eq!(told, SocketAddrV4::new(GOUT, port));
    assert!(
        said.contains("NAT with Endpoint Independent Mapping!"),
        "{said}"
    );
    let (said, _) = stun.ask(phone, from, Question::Filtering);
    assert!(
        said.contains("NAT with Endpoint Independent Filtering!"),
        "{said}"
    );
    told
}

fn assert_filtered(stun: &Stun, phone: &Host, port: u16) {
    let from = SocketAddrV4::new(inside_address(3), port);
    let (said, told) = stun.ask(phone, from, Question::Filtering);
    assert_eq!(told, SocketAddrV4::new(GOUT, port));
    assert!(!said.contains("Endpoint Independent Filtering!"), "{said}");
    assert!(said.contains("Filtering!"), "{said}");
}

fn at(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(outside_address(2), port)
}
