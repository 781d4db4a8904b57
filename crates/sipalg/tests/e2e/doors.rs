//! Doors: whom they let in, to whom, and for how long.

use crate::harness::call::{Call, office};
use crate::harness::gateway::Gateway;
use crate::harness::media::Ear;
use crate::harness::net::{GOUT, Host, Net, inside_address, outside_address};
use crate::harness::registration::Registration;
use crate::harness::sip::{Peer, Server, answer, session};
use crate::harness::until;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::Duration;

#[test]
fn a_registered_phone_is_reached_once_the_registrar_agreed_until_it_leaves() {
    let net = Net::new();
    let (phone, registrar, stranger) = (net.inside(3), net.outside(2), net.outside(9));
    let gateway = Gateway::start(&net);
    let at_home = Server::listen(&phone, contact(3));
    let mut line = Registration::ask((&phone, contact(3)), (&registrar, office()), 600);
    assert!(
        !is_reached(&stranger, &line, &at_home),
        "before the registrar agreed"
    );
    line.answer(
        "401 Unauthorized",
        "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n",
    );
    assert!(
        !is_reached(&stranger, &line, &at_home),
        "though the registrar refused"
    );
    line.again(2, 600);
    line.grant(600);
    assert!(
        is_reached(&stranger, &line, &at_home),
        "once the registrar agreed"
    );
    // By the registrar itself as well, and again.
    assert!(is_reached(&registrar, &line, &at_home));
    assert!(is_reached(&stranger, &line, &at_home));
    // A connection to the door outlives it, as any connection does.
    let mut caller = knock(&stranger, &line).expect("an open door");
    let mut called = at_home.accept();
    line.again(3, 0);
    line.grant(0);
    assert!(!is_reached(&stranger, &line, &at_home), "after it left");
    assert_eq!(gateway.signalling_doors(), []);
    caller.send("\r\n\r\n");
    assert_eq!(called.bytes(4), b"\r\n\r\n");
}

#[test]
fn who_knocks_before_the_registrar_agreed_is_let_in_when_it_has() {
    let net = Net::new();
    let (phone, registrar, stranger) = (net.inside(3), net.outside(2), net.outside(9));
    let gateway = Gateway::start(&net);
    let at_home = Server::listen(&phone, contact(3));
    let mut line = Registration::ask((&phone, contact(3)), (&registrar, office()), 600);
    let (any, global) = (SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), line.global);
    assert_eq!(gateway.signalling_doors(), []);
    let early = thread::scope(|scope| {
        let knocking = scope.spawn(|| Peer::connect(&stranger, any, global));
        until("the first knock", || stranger.is_connecting().then_some(()));
        assert!(at_home.is_left_alone());
        line.grant(600);
        knocking.join().expect("no panic")
    });
    early.expect("a door that opened").send("\r\n\r\n");
    assert_eq!(at_home.accept().bytes(4), b"\r\n\r\n");
}

#[test]
fn a_registration_that_is_not_refreshed_ends() {
    let net = Net::new();
    let (phone, registrar) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let at_home = Server::listen(&phone, contact(3));
    let mut line = Registration::ask((&phone, contact(3)), (&registrar, office()), 600);
    // Asked for ten minutes; got two seconds.
    line.grant(2);
    assert!(is_reached(&registrar, &line, &at_home));
    until("the door to close", || {
        gateway.signalling_doors().is_empty().then_some(())
    });
    assert!(!is_reached(&registrar, &line, &at_home));
}

#[test]
fn an_inside_host_reaches_another_by_its_door() {
    let net = Net::new();
    let (phone, neighbour, registrar) = (net.inside(3), net.inside(4), net.outside(2));
    let _gateway = Gateway::start(&net);
    let at_home = Server::listen(&phone, contact(3));
    let line = Registration::make((&phone, contact(3)), (&registrar, office()), 600);
    let from = SocketAddrV4::new(inside_address(4), 0);
    let mut caller = Peer::connect(&neighbour, from, line.global).expect("an open door");
    let mut called = at_home.accept();
    caller.send("\r\n\r\n");
    assert_eq!(called.bytes(4), b"\r\n\r\n");
}

#[test]
fn a_media_door_is_open_to_all_when_the_offer_arrives() {
    let net = Net::new();
    let (phone, far, stranger) = (net.inside(3), net.outside(2), net.outside(9));
    let _gateway = Gateway::start(&net);
    let mut call = Call::make((&phone, 3), &far, 4000);
    assert_eq!(
        call.door,
        SocketAddrV4::new(GOUT, 4000),
        "the phone's own port is free"
    );
    // Early media, from anybody, and what the phone says leaves by the door's port to anybody.
    let mut somebody = Ear::open(&stranger, SocketAddrV4::new(outside_address(9), 7000));
    for ear in [&mut call.far_ear, &mut somebody] {
        ear.say(call.door, 1);
        assert_eq!(call.near_ear.hear(1)[0].from, ear.at());
        call.near_ear.say(ear.at(), 1);
        assert_eq!(ear.hear(1)[0].from, call.door);
    }
    // RTCP is next to it.
    let mut control = Ear::open(&phone, SocketAddrV4::new(inside_address(3), 4001));
    somebody.say(SocketAddrV4::new(GOUT, 4001), 1);
    assert_eq!(control.hear(1)[0].from, somebody.at());
    control.say(somebody.at(), 1);
    assert_eq!(somebody.hear(1)[0].from, SocketAddrV4::new(GOUT, 4001));
}

#[test]
fn media_doors_close_with_bye_and_take_their_connections_along() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    call.talk();
    assert!(tracked(&net.gateway, 4000) > 0);
    call.request_and_agree("BYE", 2);
    assert_closed(&gateway, &mut call);
    until("its connections to be gone", || {
        (tracked(&net.gateway, 4000) == 0).then_some(())
    });
}

#[test]
fn media_doors_close_when_the_call_is_cancelled_or_fails() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    for (number, cancelled) in [(1, true), (2, false)] {
        let mut call = Call::make((&phone, 3), &far, 4000 + 10 * number);
        assert_eq!(gateway.media_doors().len(), 2, "RTP and RTCP");
        if cancelled {
            call.request_and_agree("CANCEL", 1);
            call.reply("487 Request Terminated", "");
        } else {
            call.reply("486 Busy Here", "");
        }
        call.request("ACK", 1);
        assert_closed(&gateway, &mut call);
    }
}

#[test]
fn a_medium_that_is_given_up_closes_its_doors_and_no_others() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    let audio = session(call.near_ear.at());
    let other = session(call.far_ear.at());
    for (number, port, doors) in [(2, 4010, 4), (3, 0, 2)] {
        let video = format!("m=video {port} RTP/AVP 31\r\n");
        let offer = call.offer_again(number, &format!("{audio}{video}"));
        assert!(offer.contains(&video), "{offer}");
        call.reply("200 OK", &format!("{other}{video}"));
        call.request("ACK", number);
        until("the doors of what is left", || {
            (gateway.media_doors().len() == doors).then_some(())
        });
        call.talk();
    }
}

#[test]
fn a_closed_doors_port_is_for_the_same_host_only_for_a_while() {
    let net = Net::new();
    let (phone, other, far) = (net.inside(3), net.inside(4), net.outside(2));
    let gateway = Gateway::start(&net);
    let mut call = Call::make((&phone, 3), &far, 4000);
    let door = call.door;
    call.reply("486 Busy Here", "");
    call.request("ACK", 1);
    assert_closed(&gateway, &mut call);
    drop(call);
    let stranger = Call::make((&other, 4), &far, 4000);
    assert_ne!(
        stranger.door, door,
        "late packets for the one would reach the other"
    );
    drop(stranger);
    let call = Call::make((&phone, 3), &far, 4000);
    assert_eq!(call.door, door);
}

#[test]
fn phones_with_the_same_port_get_pairs_of_their_own() {
    let net = Net::new();
    let (one, two, far) = (net.inside(3), net.inside(4), net.outside(2));
    let _gateway = Gateway::start(&net);
    let mut first = Call::make((&one, 3), &far, 4000);
    let mut second = Call::make((&two, 4), &far, 4000);
    assert_eq!(first.door.port(), 4000);
    assert_ne!(second.door, first.door);
    assert_ne!(second.door.port(), 4001, "the first one's RTCP");
    assert_eq!(second.door.port() % 2, 0, "RTP's ports are even");
    for call in [&mut first, &mut second] {
        call.take();
        call.talk();
    }
}

#[test]
fn a_media_door_never_takes_a_port_of_the_gateway() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let own = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 4001);
    let service = Ear::open(&net.gateway, own);
    let _gateway = Gateway::start(&net);
    let mut call = Call::make((&phone, 3), &far, 4000);
    assert_ne!(
        call.door.port(),
        4000,
        "its RTCP would take the gateway's own"
    );
    call.take();
    call.talk();
    call.far_ear.say(SocketAddrV4::new(GOUT, 4001), 1);
    service.hear(1);
}

#[test]
fn a_service_that_starts_later_is_not_shadowed_either() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let _gateway = Gateway::start(&net);
    let own = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 4000);
    let service = Ear::open(&net.gateway, own);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.far_ear.say(SocketAddrV4::new(GOUT, 4000), 1);
    service.hear(1);
}

#[test]
fn a_media_port_below_1024_gets_no_door() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let mut call = Call::make((&phone, 3), &far, 53);
    assert_eq!(gateway.media_doors(), []);
    call.far_ear.say(SocketAddrV4::new(GOUT, 53), 1);
    assert!(call.near_ear.hears_nothing());
}

/// Where a phone takes calls.
fn contact(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new(inside_address(number), 5060)
}

fn knock(host: &Host, line: &Registration) -> std::io::Result<Peer> {
    let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    // Nobody answers at a door to come.
    Peer::connect_within(host, any, line.global, Duration::from_secs(2))
}

/// Whether a new connection to the phone's Contact from an outside host gets there. The phone sees
/// who it is.
fn is_reached(host: &Host, line: &Registration, at_home: &Server) -> bool {
    let Ok(mut caller) = knock(host, line) else {
        assert!(at_home.is_left_alone());
        return false;
    };
    let mut called = at_home.accept();
    assert_eq!(called.remote(), caller.local());
    caller.send("\r\n\r\n");
    assert_eq!(called.bytes(4), b"\r\n\r\n");
    called.send(answer("", "200 OK", "", ""));
    assert!(caller.message().starts_with("SIP/2.0 200"));
    true
}

/// The doors are gone, and nothing passes any more, in either direction.
fn assert_closed(gateway: &Gateway, call: &mut Call) {
    until("the media doors to be gone", || {
        gateway.media_doors().is_empty().then_some(())
    });
    call.far_ear.say(call.door, 1);
    assert!(call.near_ear.hears_nothing(), "through a closed door");
}

/// How many connections the kernel tracks from an inside port.
fn tracked(gateway: &Host, port: u16) -> usize {
    let listing = gateway.output("conntrack", &["-L", "-p", "udp"], "");
    let mark = format!("port={port} ");
    let ours = listing
        .lines()
        .filter(|line| line.contains("192.168.122.") && line.contains(&mark));
    ours.count()
}
