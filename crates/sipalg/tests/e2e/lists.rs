//! Whom rules and lists except: `no-payload`, the bypass list, access groups and their counts.

use crate::harness::call::{Call, office};
use crate::harness::gateway::{CONFIGURATION, Gateway};
use crate::harness::media::Ear;
use crate::harness::net::{GOUT, Host, Net, inside_address, outside_address};
use crate::harness::post::Post;
use crate::harness::registration::Registration;
use crate::harness::sip::{Dialogue, Peer, Server};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

#[test]
fn a_host_of_a_rule_without_payload_is_translated_and_its_messages_are_not() {
    let net = Net::new();
    let (fixed, plain, far) = (net.inside(3), net.inside(4), net.outside(2));
    let gateway = Gateway::start_with(
        &net,
        "interface gin\n ip nat inside\ninterface gout\n ip nat outside\n\
         access-list 1 permit host 192.168.122.3\naccess-list 2 permit host 192.168.122.4\n\
         ip nat inside source list 1 interface gout overload\n\
         ip nat inside source list 2 interface gout overload no-payload\n",
    );
    assert_eq!(are_fixed_up((&fixed, 3), (&far, office())), [true, true]);
    assert_eq!(are_fixed_up((&plain, 4), (&far, office())), [false, false]);
    // Nobody else's messages change its address either.
    let mut call = Call::make((&fixed, 3), &far, 4000);
    call.take();
    let media = SocketAddrV4::new(inside_address(4), 4000);
    let offer = call.offer_again(2, &crate::harness::sip::session(media));
    assert!(offer.contains("c=IN IP4 192.168.122.4\r\n"), "{offer}");
    drop(gateway);
}

#[test]
fn who_is_on_the_bypass_list_is_translated_and_left_alone() {
    let net = Net::new();
    let (phone, other, far) = (net.inside(3), net.inside(4), net.outside(2));
    let provider = net.outside(9);
    let list = "access-list 110 permit ip any host 10.1.1.9\naccess-list 110 permit ip host 192.168.122.4 any\n";
    let bypass = "ip nat service sip bypass 110\n";
    let gateway = Gateway::start_with(&net, &format!("{CONFIGURATION}{list}{bypass}"));
    let at_provider = SocketAddrV4::new(outside_address(9), 5060);
    assert_eq!(are_fixed_up((&phone, 3), (&far, office())), [true, true]);
    assert_eq!(
        are_fixed_up((&phone, 3), (&provider, at_provider)),
        [false, false]
    );
    assert_eq!(are_fixed_up((&other, 4), (&far, office())), [false, false]);
    // As the two are told from each other on the console, each was a TCP connection and a datagram.
    let shown = gateway.console("show access-lists 110");
    assert_eq!(
        shown,
        "Extended IP access list 110\n    10 permit ip any host 10.1.1.9 (2 matches)\n    \
         20 permit ip host 192.168.122.4 any (2 matches)\n"
    );
}

#[test]
fn signalling_from_outside_is_limited_to_the_access_group_and_counted() {
    let net = Net::new();
    let (phone, registrar, stranger) = (net.inside(3), net.outside(2), net.outside(9));
    let gateway = Gateway::start_with(&net, &limited("access-group"));
    let contact = SocketAddrV4::new(inside_address(3), 5060);
    let at_home = Server::listen(&phone, contact);
    let line = Registration::make((&phone, contact), (&registrar, office()), 600);
    // Over TCP: a third host gets no answer, the registrar is let in.
    let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    let patience = Duration::from_millis(300);
    let knocked = Peer::connect_within(&stranger, any, line.global, patience);
    assert!(
        knocked.is_err() && at_home.is_left_alone(),
        "a third host came in"
    );
    let caller = Peer::connect(&registrar, any, line.global).expect("an open door");
    assert_eq!(at_home.accept().remote(), caller.local());
    // Over UDP: what the phone has opened.
    let here = Post::open(&phone, contact);
    let there = Post::open(&registrar, office());
    let third = Post::open(&stranger, SocketAddrV4::new(outside_address(9), 5060));
    let options = Dialogue::new("udp", contact, office()).over_udp();
    here.send(office(), options.request("OPTIONS", 1, ""));
    let (global, _) = there.message();
    let knock = Dialogue::new("knock", office(), global).over_udp();
    third.send(global, knock.request("OPTIONS", 1, ""));
    assert!(here.is_left_alone(), "a third host's datagram came in");
    there.send(global, knock.request("OPTIONS", 1, ""));
    assert_eq!(here.message().0, office());

    let shown = gateway.console("show access-lists 10");
    let counts = matches(&shown);
    // A connection and a datagram; a datagram and a segment, which is sent again.
    assert_eq!(counts[0], 2, "{shown}");
    assert!(counts[1] >= 2, "{shown}");
}

#[test]
fn media_from_outside_is_limited_to_the_media_access_group_and_counted() {
    let net = Net::new();
    let (phone, far, stranger) = (net.inside(3), net.outside(2), net.outside(9));
    let gateway = Gateway::start_with(&net, &limited("media access-group"));
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    let mut third = Ear::open(&stranger, SocketAddrV4::new(outside_address(9), 7000));
    third.say(call.door, 7);
    assert!(
        call.near_ear.hears_nothing(),
        "a third host's media came in"
    );
    call.far_ear.say(call.door, 5);
    call.near_ear.hear(5);
    let shown = gateway.console("show access-lists 10");
    assert_eq!(
        shown,
        "Standard IP access list 10\n    10 permit 10.1.1.2 (5 matches)\n    20 deny any (7 matches)\n"
    );
    // What goes out is not limited.
    call.near_ear.say(third.at(), 1);
    assert_eq!(third.hear(1)[0].from, call.door);
}

/// A configuration that lets only the office in.
fn limited(what: &str) -> String {
    format!(
        "{CONFIGURATION}access-list 10 permit host 10.1.1.2\naccess-list 10 deny any\n\
         ip nat service sip {what} 10\n"
    )
}

/// The numbers of matches of each entry in what `show access-lists` shows.
fn matches(shown: &str) -> Vec<u64> {
    let entries = shown.lines().skip(1).map(|line| {
        let count = line.split('(').nth(1)?;
        count.split(' ').next()?.parse().ok()
    });
    entries.map(Option::unwrap_or_default).collect()
}

/// Whether messages from a host to another are fixed up: over TCP, over UDP. They get there from
/// the gateway's address in any case.
fn are_fixed_up(host: (&Host, u8), far: (&Host, SocketAddrV4)) -> [bool; 2] {
    let ((host, number), (far, at)) = (host, far);
    let own = SocketAddrV4::new(inside_address(number), 5060);
    let server = Server::listen(far, at);
    let any = SocketAddrV4::new(*own.ip(), 0);
    let mut near = Peer::connect(host, any, at).expect("a connection");
    let mut there = server.accept();
    assert_eq!(*there.remote().ip(), GOUT);
    let by_tcp = Dialogue::new("tcp", own, at).request("OPTIONS", 1, "");
    near.send(&by_tcp);
    let heard_by_tcp = there.message();
    let by_udp = Dialogue::new("udp", own, at)
        .over_udp()
        .request("OPTIONS", 1, "");
    let there = Post::open(far, at);
    Post::open(host, own).send(at, &by_udp);
    let (from, heard_by_udp) = there.message();
    assert_eq!(*from.ip(), GOUT);
    [heard_by_tcp != by_tcp, heard_by_udp != by_udp]
}
