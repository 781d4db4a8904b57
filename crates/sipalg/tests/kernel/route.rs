//! rtnetlink.

use crate::net::{Host, enter_new_net};
use sipalg::netlink::route::{PolicyRule, Route};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

laws![
    a_veth_pair_carries_packets_between_two_namespaces,
    primary_addresses_are_listed_before_secondary_ones,
    rules_and_the_local_route_come_and_go_without_complaint_about_repetition,
];

fn a_veth_pair_carries_packets_between_two_namespaces() {
    enter_new_net();
    let here = Ipv4Addr::new(10, 9, 0, 1);
    let host = Host::on_wire("wire", here, Ipv4Addr::new(10, 9, 0, 2));
    let ear = UdpSocket::bind((here, 7)).unwrap();
    ear.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mouth = host.run(|| UdpSocket::bind("0.0.0.0:9").unwrap());
    mouth.send_to(b"hello", (here, 7)).unwrap();
    let mut buffer = [0; 8];
    let (length, from) = ear.recv_from(&mut buffer).unwrap();
    assert_eq!(
        (&buffer[..length], from.ip(), from.port()),
        (&b"hello"[..], host.address.into(), 9)
    );
}

fn primary_addresses_are_listed_before_secondary_ones() {
    enter_new_net();
    let first = Ipv4Addr::new(10, 9, 0, 1);
    let _host = Host::on_wire("wire", first, Ipv4Addr::new(10, 9, 0, 2));
    let mut route = Route::open().unwrap();
    route
        .add_address("wire", Ipv4Addr::new(10, 9, 0, 3), 24)
        .unwrap();
    route
        .add_address("wire", Ipv4Addr::new(10, 8, 0, 1), 16)
        .unwrap();
    let found = route.addresses("wire").unwrap();
    assert_eq!(
        found
            .iter()
            .map(|(a, p)| format!("{a}/{p}"))
            .collect::<Vec<_>>(),
        ["10.9.0.1/24", "10.8.0.1/16", "10.9.0.3/24"],
    );
}

fn rules_and_the_local_route_come_and_go_without_complaint_about_repetition() {
    enter_new_net();
    let mut route = Route::open().unwrap();
    let before = (route.rules().unwrap(), route.routes().unwrap());
    let rule = |interface: &str| PolicyRule {
        priority: 5060,
        mark: 0x100,
        mask: 0x100,
        interface: Some(interface.into()),
        table: 5060,
    };
    for _ in 0..2 {
        route.add_rule(&rule("a")).unwrap();
        route.add_rule(&rule("b")).unwrap();
        route.add_local_default(5060).unwrap();
    }
    assert_eq!(route.rules().unwrap(), [rule("a"), rule("b")]);
    let routes = route.routes().unwrap();
    let ours: Vec<_> = routes.iter().filter(|r| r.table == 5060).collect();
    assert_eq!(ours.len(), 1);
    assert_eq!(
        (ours[0].destination.1, ours[0].kind, ours[0].interface),
        (0, 2, Some(1))
    );
    for _ in 0..2 {
        route.delete_rule(&rule("a")).unwrap();
        route.delete_rule(&rule("b")).unwrap();
        route.delete_local_default(5060).unwrap();
    }
    assert_eq!((route.rules().unwrap(), route.routes().unwrap()), before);
}
