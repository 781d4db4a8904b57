//! `no ip nat l4f`, live: SIP over TCP is ordinary TCP then, and what was carried goes on.

use crate::harness::gateway::Gateway;
use crate::harness::net::{GOUT, Host, Net, inside_address, outside_address};
use crate::harness::post::Post;
use crate::harness::sip::{Dialogue, Peer, Server};
use std::net::SocketAddrV4;

#[test]
fn switching_interception_off_and_on_leaves_connections_as_they_were() {
    let net = Net::new();
    let hosts = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let mut first = connect(&hosts);
    assert!(is_fixed_up(&mut first));
    assert!(!gateway.console("show running-config").contains("l4f"));

    gateway.configure("no ip nat l4f");
    let shown = gateway.console("show running-config");
    assert!(shown.contains("\nno ip nat l4f\n"), "{shown}");
    assert!(is_fixed_up(&mut first), "what was carried goes on");
    let mut second = connect(&hosts);
    assert!(!is_fixed_up(&mut second));
    assert_identical(&mut second);

    gateway.configure("ip nat l4f");
    assert!(!gateway.console("show running-config").contains("l4f"));
    let mut third = connect(&hosts);
    assert!(is_fixed_up(&mut third));
    assert!(!is_fixed_up(&mut second), "what was ordinary stays so");
    assert_identical(&mut second);
    assert!(is_fixed_up(&mut first));
}

#[test]
fn sip_over_udp_is_not_concerned() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    gateway.configure("no ip nat l4f");
    let own = SocketAddrV4::new(inside_address(3), 5060);
    let (here, there) = (Post::open(&phone, own), Post::open(&far, office()));
    let options = Dialogue::new("udp", own, office()).over_udp();
    here.send(office(), options.request("OPTIONS", 1, ""));
    let (from, got) = there.message();
    assert_eq!(from, SocketAddrV4::new(GOUT, 5060));
    assert!(got.contains("Contact: <sip:alice@10.1.1.1:5060>"), "{got}");
}

/// Both ends of a connection from a phone to the office. It has an outside address in any case.
fn connect(hosts: &(Host, Host)) -> (Peer, Peer) {
    let server = Server::listen(&hosts.1, office());
    let any = SocketAddrV4::new(inside_address(3), 0);
    let near = Peer::connect(&hosts.0, any, office()).expect("a connection");
    let far = server.accept();
    assert_eq!(*far.remote().ip(), GOUT);
    (near, far)
}

/// Whether a request that goes out is changed.
fn is_fixed_up((near, far): &mut (Peer, Peer)) -> bool {
    let said = Dialogue::new("l4f", near.local(), office());
    let sent = said.invite(1, SocketAddrV4::new(inside_address(3), 4000));
    near.send(&sent);
    let got = far.message();
    assert!(got == sent || !got.contains("192.168.122."), "{got}");
    got != sent
}

/// What is no message, and what is one, passes to the byte in either direction.
fn assert_identical((near, far): &mut (Peer, Peer)) {
    let texts: [&[u8]; 2] = [
        b"INVITE sip:10.1.1.1 SIP/2.0\r\nl: 20\r\nContent-Length: 3\r\n\r\n192.168.122.3 10.1.1.1",
        b"SIP/2.0 200 OK\r\nContact: <sip:10.1.1.1>\r\n\r\n\xff\x00",
    ];
    for text in texts {
        near.send(text);
        assert_eq!(far.bytes(text.len()), text);
        far.send(text);
        assert_eq!(near.bytes(text.len()), text);
    }
}

fn office() -> SocketAddrV4 {
    SocketAddrV4::new(outside_address(2), 5060)
}
