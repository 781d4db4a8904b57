//! Access lists: whom they let in, what they leave alone, and how they count.

use crate::gateway::{
    Gateway, accepted, close, global, heard, media, open, plan, proxy, say, unheard,
};
use sipalg::kernel::Kernel;
use sipalg_core::config::{AccessEnd, AccessEntry, AccessList, AccessPorts};
use sipalg_core::{Door, DoorKind, Protocol};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

laws![
    signalling_from_outside_meets_the_access_group,
    media_from_outside_meets_its_own_access_group,
    a_group_without_list_lets_everyone_in,
    every_field_of_an_entry_decides,
    a_wildcard_mask_may_have_holes,
    established_means_ack_or_rst,
    connections_that_the_bypass_list_permits_pass_as_any_other,
    each_flow_counts_once_on_the_list_that_translates_it,
];

const UDP: Option<u8> = Some(libc::IPPROTO_UDP as u8);
const TCP: Option<u8> = Some(libc::IPPROTO_TCP as u8);

/// 10.1.1.`last` at any port.
fn host(last: u8) -> AccessEnd {
    AccessEnd {
        address: Ipv4Addr::new(10, 1, 1, last),
        wildcard: Ipv4Addr::UNSPECIFIED,
        ports: AccessPorts::ANY,
    }
}

fn ports(end: AccessEnd, first: u16, last: u16, inverted: bool) -> AccessEnd {
    let ports = AccessPorts {
        first,
        last,
        inverted,
    };
    AccessEnd { ports, ..end }
}

fn entry(
    permit: bool,
    protocol: Option<u8>,
    source: AccessEnd,
    destination: AccessEnd,
) -> AccessEntry {
    AccessEntry {
        permit,
        protocol,
        source,
        destination,
        established: false,
    }
}

fn list(name: &str, entries: Vec<AccessEntry>) -> AccessList {
    AccessList {
        name: name.into(),
        entries,
    }
}

fn hits(kernel: &mut Kernel, name: &str) -> Vec<u64> {
    let hits = kernel.access_hits().unwrap();
    hits.into_iter().find(|(list, _)| list == name).unwrap().1
}

fn door(gateway: &Gateway, kind: DoorKind, protocol: Protocol, port: u16) -> Door {
    Door {
        kind,
        protocol,
        ..media(gateway.phone.at(port), port)
    }
}

fn signalling_from_outside_meets_the_access_group() {
    let mut plan = plan();
    let only = list("wan in", vec![entry(true, None, host(3), AccessEnd::ANY)]);
    plan.access_group = Some(only);
    let (gateway, mut kernel) = Gateway::with(&plan);
    let proxy = proxy();
    open(
        &mut kernel,
        door(&gateway, DoorKind::Signalling, Protocol::Tcp, 5070),
    );
    let friend = gateway.outside.alias(Ipv4Addr::new(10, 1, 1, 3));
    let _client = friend.connect(0, global(5070)).unwrap();
    accepted(&proxy);
    assert_eq!(silent(&gateway, global(5070)), ErrorKind::TimedOut);
    assert!(proxy.accept().is_err());
    assert_eq!(hits(&mut kernel, "wan in"), [1]);
    // Datagrams, too: nothing of ours hears them, and no socket of the gateway.
    open(
        &mut kernel,
        door(&gateway, DoorKind::Signalling, Protocol::Udp, 5072),
    );
    let own = std::net::UdpSocket::bind("10.1.1.1:5072").unwrap();
    own.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    say(&gateway.outside.udp(7000), "stranger", global(5072));
    say(&friend.udp(7000), "friend", global(5072));
    assert_eq!(crate::gateway::hear(&own).0, "friend");
    // Who is inside is not asked, nor is media.
    let _inside = gateway.second.connect(0, global(5070)).unwrap();
    accepted(&proxy);
    let media = door(&gateway, DoorKind::Media, Protocol::Tcp, 5074);
    open(&mut kernel, media);
    let _media = gateway.outside.connect(0, global(5074)).unwrap();
    accepted(&proxy);
    assert_eq!(hits(&mut kernel, "wan in"), [2]);
}

/// Why the outside host cannot connect to `to`.
fn silent(gateway: &Gateway, to: SocketAddrV4) -> ErrorKind {
    gateway.outside.run(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let to = std::net::SocketAddr::from(to).into();
        let tried = socket
            .unwrap()
            .connect_timeout(&to, Duration::from_millis(100));
        tried.unwrap_err().kind()
    })
}

fn media_from_outside_meets_its_own_access_group() {
    let mut plan = plan();
    let but = vec![
        entry(false, None, host(3), AccessEnd::ANY),
        entry(true, None, AccessEnd::ANY, AccessEnd::ANY),
    ];
    plan.media_access_group = Some(list("media", but));
    let (gateway, mut kernel) = Gateway::with(&plan);
    let phone = gateway.phone.udp(4000);
    open(&mut kernel, media(gateway.phone.at(4000), 30000));
    let barred = gateway.outside.alias(Ipv4Addr::new(10, 1, 1, 3));
    let (friend, stranger) = (gateway.outside.udp(7000), barred.udp(7001));
    heard(&friend, global(30000), &phone, gateway.outside.at(7000));
    unheard(&stranger, global(30000), &phone);
    // Even if the phone speaks first.
    heard(&phone, barred.at(7001), &stranger, global(30000));
    unheard(&stranger, global(30000), &phone);
    assert_eq!(hits(&mut kernel, "media"), [2, 1]);
    let counts = kernel.media_counts().unwrap();
    assert_eq!(counts[0].1.in_packets, 1);
    // Media over TCP, but not signalling.
    let proxy = proxy();
    let tcp = |kind, port| door(&gateway, kind, Protocol::Tcp, port);
    open(&mut kernel, tcp(DoorKind::Media, 5074));
    open(&mut kernel, tcp(DoorKind::Signalling, 5070));
    assert!(
        barred
            .run(|| std::net::TcpStream::connect_timeout(
                &global(5074).into(),
                Duration::from_millis(100)
            ))
            .is_ok(),
        "an unbound socket has the address that is not barred"
    );
    accepted(&proxy);
    let _signalling = barred.connect(0, global(5070)).unwrap();
    accepted(&proxy);
    let before = hits(&mut kernel, "media")[0];
    let refused = barred.run(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        let from = std::net::SocketAddr::from(barred.at(0)).into();
        socket.bind(&from).unwrap();
        let to = std::net::SocketAddr::from(global(5074)).into();
        socket.connect_timeout(&to, Duration::from_millis(100))
    });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(hits(&mut kernel, "media")[0] > before);
}

fn a_group_without_list_lets_everyone_in() {
    let (gateway, mut kernel) = Gateway::installed();
    let proxy = proxy();
    let door = door(&gateway, DoorKind::Signalling, Protocol::Tcp, 5070);
    open(&mut kernel, door);
    let _client = gateway.outside.connect(0, global(5070)).unwrap();
    accepted(&proxy);
    close(&mut kernel, door);
    assert_eq!(silent(&gateway, global(5070)), ErrorKind::ConnectionRefused);
}

/// Which of these datagrams from 10.1.1.2:7000 to the door at 30000 get through a media access
/// group of `entries`?
fn permits(entries: Vec<AccessEntry>) -> bool {
    let mut plan = plan();
    plan.media_access_group = Some(list("media", entries));
    let (gateway, mut kernel) = Gateway::with(&plan);
    let phone = gateway.phone.udp(4000);
    open(&mut kernel, media(gateway.phone.at(4000), 30000));
    say(&gateway.outside.udp(7000), "through", global(30000));
    say(
        &std::net::UdpSocket::bind("0.0.0.0:0").unwrap(),
        "marker",
        gateway.phone.at(4000),
    );
    let permitted = crate::gateway::hear(&phone).0 == "through";
    drop(kernel);
    permitted
}

fn every_field_of_an_entry_decides() {
    let from = |first, last, inverted| ports(host(2), first, last, inverted);
    let to = |first, last, inverted| ports(host(1), first, last, inverted);
    let any = AccessEnd::ANY;
    for (permitted, protocol, source, destination) in [
        (true, None, any, any),
        (true, UDP, host(2), host(1)),
        (false, TCP, any, any),
        (false, UDP, host(3), any),
        (false, UDP, any, host(3)),
        // eq, neq, range, lt, gt
        (true, UDP, from(7000, 7000, false), any),
        (false, UDP, from(7001, 7001, false), any),
        (false, UDP, from(7000, 7000, true), any),
        (true, UDP, from(7001, 7001, true), any),
        (true, UDP, any, to(20000, 30000, false)),
        (true, UDP, any, to(30000, 40000, false)),
        (false, UDP, any, to(30001, 40000, false)),
        (false, UDP, any, to(20000, 40000, true)),
        (true, UDP, any, to(0, 30000, false)),
        (false, UDP, any, to(0, 29999, false)),
        (false, UDP, any, to(30001, u16::MAX, false)),
    ] {
        let only = entry(true, protocol, source, destination);
        assert_eq!(permits(vec![only]), permitted, "{only:?}");
        // The same as a refusal before a permission.
        let refusal = AccessEntry {
            permit: false,
            ..only
        };
        let all = entry(true, None, any, any);
        assert_eq!(permits(vec![refusal, all]), !permitted, "{refusal:?}");
    }
}

fn a_wildcard_mask_may_have_holes() {
    for (address, permitted) in [([10, 9, 1, 0], true), ([10, 9, 1, 1], false)] {
        let holes = AccessEnd {
            address: address.into(),
            wildcard: [0, 255, 0, 254].into(),
            ports: AccessPorts::ANY,
        };
        let only = entry(true, None, holes, AccessEnd::ANY);
        assert_eq!(permits(vec![only]), permitted, "{only:?}");
    }
}

fn established_means_ack_or_rst() {
    let mut plan = plan();
    let mut late = entry(true, TCP, AccessEnd::ANY, AccessEnd::ANY);
    late.established = true;
    plan.access_group = Some(list("late", vec![late]));
    let (gateway, mut kernel) = Gateway::with(&plan);
    let _proxy = proxy();
    open(
        &mut kernel,
        door(&gateway, DoorKind::Signalling, Protocol::Tcp, 5070),
    );
    // A first segment is not established.
    assert_eq!(silent(&gateway, global(5070)), ErrorKind::TimedOut);
    assert_eq!(hits(&mut kernel, "late"), [0]);
}

fn connections_that_the_bypass_list_permits_pass_as_any_other() {
    let mut plan = plan();
    plan.bypass = Some(list(
        "bypass",
        vec![
            entry(true, TCP, AccessEnd::ANY, host(3)),
            entry(true, TCP, host(3), AccessEnd::ANY),
        ],
    ));
    let (gateway, mut kernel) = Gateway::with(&plan);
    let proxy = proxy();
    let provider = gateway.outside.alias(Ipv4Addr::new(10, 1, 1, 3));
    let ear = provider.listen(5060);
    let _out = gateway.phone.connect(4000, provider.at(5060)).unwrap();
    assert_eq!(accepted(&ear).1, global(4000).into());
    // Toward an inside host that is addressed directly.
    let phone = gateway.phone.listen(5060);
    let _in = provider.connect(4000, gateway.phone.at(5060)).unwrap();
    assert_eq!(accepted(&phone).1, provider.at(4000).into());
    let _other = gateway.phone.connect(0, gateway.outside.at(5060)).unwrap();
    accepted(&proxy);
    assert_eq!(hits(&mut kernel, "bypass"), [1, 1]);
}

fn each_flow_counts_once_on_the_list_that_translates_it() {
    let (gateway, mut kernel) = Gateway::installed();
    let ear = gateway.outside.udp(7000);
    assert_eq!(hits(&mut kernel, "1"), [0, 0]);
    let phone = gateway.phone.udp(4000);
    for _ in 0..3 {
        heard(&phone, gateway.outside.at(7000), &ear, global(4000));
    }
    heard(&ear, global(4000), &phone, gateway.outside.at(7000));
    assert_eq!(hits(&mut kernel, "1"), [0, 1]);
    let excepted = gateway.second.with_address([192, 168, 123, 4].into());
    let mouth = excepted.udp(4000);
    heard(&mouth, gateway.outside.at(7000), &ear, excepted.at(4000));
    assert_eq!(hits(&mut kernel, "1"), [1, 1]);
    // A connection to the proxy is one.
    let proxy = proxy();
    let _client = gateway.phone.connect(0, gateway.outside.at(5060)).unwrap();
    accepted(&proxy);
    assert_eq!(hits(&mut kernel, "1"), [1, 2]);
}
