//! The outside address changes while calls are up.

use crate::harness::call::{Call, office};
use crate::harness::gateway::Gateway;
use crate::harness::media::Ear;
use crate::harness::net::{Net, inside_address};
use crate::harness::post::Post;
use crate::harness::registration::Registration;
use crate::harness::sip::{Dialogue, Peer, Server, answer, header, session, uri_target};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// The gateway's next address outside.
const NEXT: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 50);

/// Within a second, and what a busy machine adds to that.
const SOON: Duration = Duration::from_secs(2);

#[test]
fn a_call_goes_on_at_the_new_address_after_a_reinvite() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let mut gateway = Gateway::start(&net);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    call.talk();

    move_away(&net, &mut gateway, 1);
    // The phone is told. The office is not: nobody may speak by the old address any more.
    let rest = call.near.rest().map_err(|error| error.kind());
    assert_eq!(rest, Err(ErrorKind::ConnectionReset), "on the old address");
    let translations = gateway.console("show ip nat translations");
    assert!(translations.contains("10.1.1.50:4000"), "{translations}");
    assert!(!translations.contains("10.1.1.1:"), "{translations}");
    // The door is where it was, at the other address, and the phone's media leaves by it.
    let door = SocketAddrV4::new(NEXT, 4000);
    call.far_ear.say(door, 1);
    call.near_ear.hear(1);
    call.near_ear.say(call.far_ear.at(), 1);
    assert_eq!(call.far_ear.hear(1)[0].from, door);

    call.reconnect(&phone, &far);
    assert_eq!(*call.far.remote().ip(), NEXT);
    let offer = call.offer_again(2, &session(call.near_ear.at()));
    assert_eq!(call.door, door);
    assert!(!offer.contains("10.1.1.1:"), "{offer}");
    call.take_again(2);
    call.talk();
    call.request_and_agree("BYE", 3);
}

#[test]
fn phones_register_again_and_are_reached_at_the_new_address() {
    let net = Net::new();
    let (phone, other, registrar) = (net.inside(3), net.inside(4), net.outside(2));
    let mut gateway = Gateway::start(&net);
    let contact = SocketAddrV4::new(inside_address(3), 5060);
    let at_home = Server::listen(&phone, contact);
    let mut line = Registration::make((&phone, contact), (&registrar, office()), 600);
    // The other one has SIP over UDP: no connection tells it.
    let there = Post::open(&registrar, office());
    let own = SocketAddrV4::new(inside_address(4), 5060);
    let here = Post::open(&other, own);
    let register = Dialogue::new("post", own, office()).over_udp();
    here.send(office(), register.register(1, 600));
    let (from, _) = there.message();
    assert_eq!(*from.ip(), Ipv4Addr::new(10, 1, 1, 1));

    move_away(&net, &mut gateway, 1);
    assert!(
        line.phone.rest().is_err(),
        "a connection on the old address"
    );
    drop(line);
    let line = Registration::make((&phone, contact), (&registrar, office()), 600);
    assert_eq!(*line.global.ip(), NEXT);
    let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    let caller = Peer::connect(&registrar, any, line.global).expect("an open door");
    assert_eq!(at_home.accept().remote(), caller.local());

    here.send(office(), register.register(2, 600));
    let (from, got) = there.message();
    assert_eq!(*from.ip(), NEXT);
    let global = uri_target(header(&got, "Contact").expect("a Contact"));
    assert_eq!(*global.ip(), NEXT);
    let contact = format!("Contact: <sip:alice@{global}>;expires=600\r\n");
    there.send(from, answer(&got, "200 OK", &contact, ""));
    let (_, got) = here.message();
    assert!(got.contains("<sip:alice@192.168.122.4:5060>"), "{got}");
    let options = Dialogue::new("knock", office(), global).over_udp();
    there.send(global, options.request("OPTIONS", 1, ""));
    assert_eq!(here.message().0, office());
}

#[test]
fn ordinary_traffic_has_the_new_address_at_once() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let mut gateway = Gateway::start(&net);
    let at = SocketAddrV4::new(*office().ip(), 9000);
    let there = Ear::open(&far, at);
    let mut here = Ear::open(&phone, SocketAddrV4::new(inside_address(3), 9000));
    here.say(at, 1);
    there.hear(1);
    move_away(&net, &mut gateway, 0);
    let from = here.say_until_heard(&there, at);
    assert_eq!(*from.ip(), NEXT);
}

/// The interface gets its next address; the gateway has followed, and says so.
fn move_away(net: &Net, gateway: &mut Gateway, connections: usize) {
    let began = Instant::now();
    net.gateway.ip(&format!(
        "addr del 10.1.1.1/24 dev gout\naddr add {NEXT}/24 dev gout"
    ));
    let said = gateway.wait_for_log("gout has the address 10.1.1.50 instead of 10.1.1.1: ");
    assert!(began.elapsed() < SOON, "after {:?}", began.elapsed());
    assert!(said.contains(" mappings moved, "), "{said}");
    assert!(
        said.ends_with(&format!(", {connections} connections ended")),
        "{said}"
    );
}
