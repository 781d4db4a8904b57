//! Laws of what changes while calls go on: the configuration, and the addresses of the host.

use crate::gateway::{Gateway, accepted, eventually, global};
use crate::running::{CONFIGURATION, Running};
use crate::tcp::{connected, hears, hears_message, is_reset, says};
use crate::udp;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::Command;

laws![
    a_port_is_added_while_connections_go_on,
    a_wrong_configuration_changes_nothing,
    a_connection_whose_rule_is_gone_is_reset,
    without_l4f_new_connections_pass_unchanged_and_old_ones_go_on,
    mappings_move_with_the_address_of_the_interface,
    an_interface_without_an_address_is_waited_for,
    an_interface_that_comes_later_is_waited_for,
    what_the_firewall_would_stop_is_said_once,
];

const PHONE: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 9);

fn a_port_is_added_while_connections_go_on() {
    let (gateway, mut running) = Running::start();
    let (mut phone, mut outside) = connected(&gateway);
    let request = options("TCP", gateway.phone.at(40_001));
    let sent = |gateway: &Gateway| {
        let server = gateway.outside.listen(7000);
        let mut phone = gateway
            .phone
            .connect(40_001, gateway.outside.at(7000))
            .unwrap();
        let (mut outside, ..) = accepted(&server);
        says(&mut phone, request.as_bytes());
        hears_message(&mut outside)
    };
    assert!(sent(&gateway).contains(&format!("TCP {PHONE}:40001;")));
    running.reload(&format!(
        "{CONFIGURATION}ip nat service sip tcp port 7000\n"
    ));
    running.wait_for("sipalg: configuration loaded again");
    assert!(sent(&gateway).contains(&format!("TCP {};", global(40_001))));
    says(&mut phone, b"\0still here");
    hears(&mut outside, b"\0still here");
    assert!(running.ask("show running-config").contains("tcp port 7000"));
}

fn a_wrong_configuration_changes_nothing() {
    let (gateway, mut running) = Running::start();
    let (mut phone, mut outside) = connected(&gateway);
    let (before, shown) = (rules(), running.ask("show running-config"));
    for wrong in [
        "ip nat insight",
        "ip nat inside source list 7 interface gout overload",
    ] {
        running.reload(&format!("{CONFIGURATION}{wrong}\n"));
        let line = running.wait_for("sipalg: ");
        assert!(line.contains("startup-config, line 13:"), "{line}");
        running.wait_for("sipalg: nothing was changed");
    }
    let unlisted = CONFIGURATION.replace("ip nat inside\n", "no ip nat inside\n");
    running.reload(&unlisted);
    running.wait_for("sipalg: nothing was changed");
    assert_eq!(rules(), before);
    assert_eq!(running.ask("show running-config"), shown);
    says(&mut phone, b"\0still here");
    hears(&mut outside, b"\0still here");
}

fn a_connection_whose_rule_is_gone_is_reset() {
    let (gateway, mut running) = Running::start();
    let (mut phone, mut outside) = connected(&gateway);
    let narrower = CONFIGURATION.replace("192.168.122.0 0.0.1.255", "192.168.123.0 0.0.0.255");
    running.reload(&narrower);
    running.wait_for("sipalg: configuration loaded again");
    is_reset(&mut phone);
    is_reset(&mut outside);
}

fn without_l4f_new_connections_pass_unchanged_and_old_ones_go_on() {
    let (gateway, mut running) = Running::start();
    let (mut old, mut old_outside) = connected(&gateway);
    running.reload(&format!("{CONFIGURATION}no ip nat l4f\n"));
    running.wait_for("sipalg: configuration loaded again");
    let server = gateway.outside.listen(5060);
    let sockets = running.sockets();
    let mut phone = gateway
        .phone
        .connect(40_001, gateway.outside.at(5060))
        .unwrap();
    let (mut outside, peer, _) = accepted(&server);
    assert_eq!(peer.ip(), global(0).ip().to_owned());
    let request = options("TCP", gateway.phone.at(40_001));
    says(&mut phone, request.as_bytes());
    assert_eq!(hears_message(&mut outside), request);
    assert_eq!(running.sockets(), sockets);
    // The connection that was taken is still looked into.
    let request = options("TCP", old.local_addr().map(v4).unwrap());
    says(&mut old, request.as_bytes());
    let heard = hears_message(&mut old_outside);
    assert!(!heard.contains(&PHONE.to_string()), "{heard}");
    running.reload(CONFIGURATION);
    running.wait_for("sipalg: configuration loaded again");
    says(&mut phone, request.as_bytes());
    assert_eq!(hears_message(&mut outside), request);
}

fn mappings_move_with_the_address_of_the_interface() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.udp(5060);
    let phone = gateway.phone.udp(5060);
    udp::says(&phone, "hello", gateway.outside.at(5060));
    assert_eq!(udp::hears(&server), ("hello".into(), global(5060)));
    let (mut line, _outside) = connected(&gateway);

    ip(&format!("address add {OTHER}/25 dev gout"));
    ip("address delete 10.1.1.1/24 dev gout");
    let text = running.wait_for("sipalg: gout has the address 10.1.1.9 instead of 10.1.1.1: ");
    assert!(text.contains(" 1 connections ended"), "{text}");
    is_reset(&mut line);
    udp::says(&phone, "again", gateway.outside.at(5060));
    let moved = SocketAddrV4::new(OTHER, 5060);
    assert_eq!(udp::hears(&server), ("again".into(), moved));
    let server = gateway.outside.listen(5060);
    let line = gateway
        .phone
        .connect(40_002, gateway.outside.at(5060))
        .unwrap();
    let (_outside, peer, _) = accepted(&server);
    assert_eq!(peer, SocketAddr::from((OTHER, 40_002)));
    drop(line);
}

fn an_interface_without_an_address_is_waited_for() {
    let (gateway, mut running) = Running::start();
    let (mut line, _outside) = connected(&gateway);
    ip("address flush dev gout");
    running.wait_for("sipalg: gout has lost its address 10.1.1.1: ");
    is_reset(&mut line);
    ip("address add 10.1.1.1/24 dev gout");
    running.wait_for("sipalg: gout has the address 10.1.1.1: ");
    connected(&gateway);
}

fn an_interface_that_comes_later_is_waited_for() {
    let gateway = Gateway::bare();
    let configuration = CONFIGURATION.replace("gout", "later");
    ip("link set gout down");
    let mut running = Running::start_with(&gateway, &configuration);
    ip("link set gout name later up");
    running.wait_for("sipalg: later has the address 10.1.1.1: ");
    eventually(|| {
        gateway
            .phone
            .connect(0, gateway.outside.at(1))
            .is_err()
            .then_some(())
    });
    connected(&gateway);
}

fn what_the_firewall_would_stop_is_said_once() {
    let (_gateway, mut running) = Running::start();
    nft("add table ip fw");
    for (name, hook) in [("inbound", "input"), ("onward", "forward")] {
        let chain = format!("{{ type filter hook {hook} priority 0; policy drop; }}");
        nft(&format!("add chain ip fw {name} {chain}"));
        running.reload(CONFIGURATION);
        // The first sentence is the new one: the other was said before.
        let line = running.wait_for("sipalg: table ip fw, chain ");
        assert!(line.contains(name), "{line}");
    }
}

pub(crate) fn options(transport: &str, me: SocketAddrV4) -> String {
    udp::options(me, "").replace("/UDP ", &format!("/{transport} "))
}

pub(crate) fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => panic!("IPv4 only"),
    }
}

/// Runs `ip` on the gateway.
fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip {words}");
}

/// Runs `nft` on the gateway.
fn nft(words: &str) {
    let status = Command::new("nft").arg(words).status().unwrap();
    assert!(status.success(), "nft {words}");
}

pub(crate) fn rules() -> String {
    let output = Command::new("nft")
        .args(["list", "table", "ip", "sipalg"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
