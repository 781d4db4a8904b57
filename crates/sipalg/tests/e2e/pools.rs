//! Pools: which address a host gets, for all that it does, and what happens when none is left.

use crate::harness::call::{Call, office};
use crate::harness::gateway::Gateway;
use crate::harness::media::Ear;
use crate::harness::net::{GOUT, Host, Net, inside_address, outside_address};
use crate::harness::post::Post;
use crate::harness::sip::{Dialogue, Peer, Server, header, media_target, session, uri_target};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Two addresses.
const POOL: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 1, 1, 100), Ipv4Addr::new(10, 1, 1, 101)];

#[test]
fn without_overload_a_host_has_an_address_of_its_own_for_all_that_it_does() {
    let net = Net::new();
    let (one, two, far) = (net.inside(3), net.inside(4), net.outside(2));
    let gateway = Gateway::start_with(&net, &pool(""));
    // The one begins with ordinary traffic, the other with SIP.
    let mut first = ordinary((&one, 3), &far);
    first.extend(signalled((&one, 3), &far));
    let mut second = signalled((&two, 4), &far);
    second.extend(ordinary((&two, 4), &far));
    assert_eq!(first, BTreeSet::from([POOL[0]]));
    assert_eq!(second, BTreeSet::from([POOL[1]]));
    // All of its ports are the host's.
    let mut there = Ear::open(&far, SocketAddrV4::new(outside_address(2), 9001));
    let here = Ear::open(&one, SocketAddrV4::new(inside_address(3), 12_345));
    there.say(SocketAddrV4::new(POOL[0], 12_345), 1);
    assert_eq!(here.hear(1)[0].from, there.at());
    let statistics = gateway.console("show ip nat statistics");
    assert!(statistics.contains("allocated 2 (100%)"), "{statistics}");
}

#[test]
fn when_a_pool_is_exhausted_the_operator_is_told_and_nobody_else_is_disturbed() {
    let net = Net::new();
    let (one, two, third) = (net.inside(3), net.inside(4), net.inside(5));
    let far = net.outside(2);
    let mut gateway = Gateway::start_with(&net, &pool(""));
    let mut calls = [(&one, 3), (&two, 4)].map(|phone| Call::make(phone, &far, 4000));
    for call in &mut calls {
        call.take();
        call.talk();
    }
    // By SIP over TCP and UDP, and by an ordinary flow.
    let any = SocketAddrV4::new(inside_address(5), 0);
    let _office = Server::listen(&far, office());
    let refused = Peer::connect(&third, any, office()).and_then(|mut peer| peer.rest());
    assert!(refused.is_err(), "{refused:?}");
    gateway.wait_for_log("no inside global address is free for 192.168.122.5; enlarge its pool");
    let post = Post::open(&far, office());
    let own = SocketAddrV4::new(inside_address(5), 5060);
    let options = Dialogue::new("third", own, office()).over_udp();
    Post::open(&third, own).send(office(), options.request("OPTIONS", 1, ""));
    let there = Ear::open(&far, SocketAddrV4::new(outside_address(2), 9001));
    Ear::open(&third, any).say(there.at(), 3);
    assert!(post.is_left_alone() && there.hears_nothing());
    assert!(gateway.counter("pool exhausted") >= 3);
    let misses = gateway.console("show ip nat statistics");
    assert!(misses.contains("allocated 2 (100%), misses "), "{misses}");
    for call in &mut calls {
        call.talk();
        call.request_and_agree("INFO", 2);
    }
}

#[test]
fn an_address_for_which_the_pool_has_none_left_passes_unchanged() {
    let net = Net::new();
    let (pbx, two, far) = (net.inside(3), net.inside(4), net.outside(2));
    let trusted = "access-list 20 permit host 192.168.122.3\nip nat service sip trusted 20\n";
    let mut gateway = Gateway::start_with(&net, &pool(trusted));
    let mut call = Call::make((&pbx, 3), &far, 4000);
    call.take();
    let _second = Call::make((&two, 4), &far, 4000);
    // The PBX names a phone that has no address.
    let media = SocketAddrV4::new(inside_address(5), 4000);
    let offer = call.offer_again(2, &session(media));
    assert_eq!(media_target(&offer), media);
    assert!(offer.ends_with(&session(media)), "{offer}");
    let contact = uri_target(header(&offer, "Contact").expect("a Contact"));
    assert_eq!(*contact.ip(), POOL[0]);
    gateway.wait_for_log("no inside global address is free for 192.168.122.5; enlarge its pool");
    let before = call.near_ear.at();
    call.offer_again(3, &session(before));
    call.talk();
}

#[test]
fn with_overload_a_hosts_signalling_media_and_ordinary_traffic_share_an_address() {
    let net = Net::new();
    let far = net.outside(2);
    let config = pool("").replace("list 1 pool P", "list 1 pool P overload");
    let _gateway = Gateway::start_with(&net, &config);
    let mut used = BTreeSet::new();
    for number in 3..9 {
        let host = net.inside(number);
        let mut seen = ordinary((&host, number), &far);
        seen.extend(signalled((&host, number), &far));
        assert_eq!(seen.len(), 1, "host {number}: {seen:?}");
        used.extend(seen);
    }
    // Six hosts by chance on one of two addresses: the hash is the kernel's, so this is certain.
    assert_eq!(used, BTreeSet::from(POOL));
}

#[test]
fn no_service_of_the_gateway_is_exposed_by_an_address_of_a_pool() {
    let net = Net::new();
    let far = net.outside(2);
    let config = pool("").replace("list 1 pool P", "list 1 pool P overload");
    let _gateway = Gateway::start_with(&net, &config);
    let service = Ear::open(&net.gateway, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 7000));
    let mut there = Ear::open(&far, SocketAddrV4::new(outside_address(2), 9001));
    for address in POOL {
        there.say(SocketAddrV4::new(address, 7000), 1);
    }
    assert!(service.hears_nothing());
    there.say(SocketAddrV4::new(GOUT, 7000), 1);
    service.hear(1);
}

/// A configuration with the pool.
fn pool(more: &str) -> String {
    let [start, end] = POOL;
    format!(
        "interface gin\n ip nat inside\ninterface gout\n ip nat outside\n\
         access-list 1 permit 192.168.122.0 0.0.0.255\n\
         ip nat pool P {start} {end} prefix-length 24\n\
         ip nat inside source list 1 pool P\n{more}"
    )
}

/// The addresses by which the outside knows a host from its ordinary traffic.
fn ordinary(host: (&Host, u8), far: &Host) -> BTreeSet<Ipv4Addr> {
    let there = Ear::open(far, SocketAddrV4::new(outside_address(2), 9000));
    let any = SocketAddrV4::new(inside_address(host.1), 0);
    let by_udp = Ear::open(host.0, any).say_until_heard(&there, there.at());
    let server = Server::listen(far, there.at());
    let _near = Peer::connect(host.0, any, there.at()).expect("a connection");
    let by_tcp = server.accept().remote();
    BTreeSet::from([*by_udp.ip(), *by_tcp.ip()])
}

/// The addresses by which the outside knows a host from its signalling, over TCP and UDP, and its
/// media.
fn signalled(host: (&Host, u8), far: &Host) -> BTreeSet<Ipv4Addr> {
    let mut call = Call::make(host, far, 4000);
    call.take();
    call.talk();
    let of_contact = |message: &str| uri_target(header(message, "Contact").expect("a Contact"));
    let mut seen = BTreeSet::from([
        *call.far.remote().ip(),
        *of_contact(&call.invite).ip(),
        *call.door.ip(),
    ]);
    let own = SocketAddrV4::new(inside_address(host.1), 5060);
    let invite = Dialogue::new("post", own, office()).over_udp();
    let invite = invite.invite(1, SocketAddrV4::new(*own.ip(), 4010));
    let there = Post::open(far, office());
    let here = Post::open(host.0, own);
    let (from, got) = here.send_until_heard(&there, office(), &invite);
    seen.extend([*from.ip(), *of_contact(&got).ip(), *media_target(&got).ip()]);
    seen
}
