//! The configuration is changed while calls are up: none is lost.

use crate::harness::call::Call;
use crate::harness::gateway::Gateway;
use crate::harness::net::{Net, inside_address, outside_address};
use crate::load::call_while;
use std::net::SocketAddrV4;

/// Lines, and what takes each back.
const CHANGES: [(&str, &str); 16] = [
    ("hostname other", "hostname gw"),
    (
        "ip nat service sip tcp port 5070",
        "no ip nat service sip tcp port 5070",
    ),
    (
        "ip nat service sip udp port 5071",
        "no ip nat service sip udp port 5071",
    ),
    (
        "access-list 50 permit 10.1.1.0 0.0.0.255",
        "no access-list 50",
    ),
    (
        "access-list 51 permit host 192.168.122.77",
        "no access-list 51",
    ),
    (
        "ip nat service sip access-group 50",
        "no ip nat service sip access-group",
    ),
    (
        "ip nat service sip media access-group 50",
        "no ip nat service sip media access-group",
    ),
    (
        "ip nat service sip trusted 51",
        "no ip nat service sip trusted",
    ),
    (
        "ip nat service sip bypass 51",
        "no ip nat service sip bypass",
    ),
    (
        "ip nat pool Q 10.1.1.210 10.1.1.211 prefix-length 24",
        "no ip nat pool Q",
    ),
    (
        "ip nat inside source list 51 pool Q",
        "no ip nat inside source list 51",
    ),
    (
        "ip nat inside source static 192.168.122.200 10.1.1.200",
        "no ip nat inside source static 192.168.122.200 10.1.1.200",
    ),
    (
        "ip nat inside source static tcp 192.168.122.201 80 interface gout 8080",
        "no ip nat inside source static tcp 192.168.122.201 80 interface gout 8080",
    ),
    (
        "ip nat translation udp-timeout 200",
        "no ip nat translation udp-timeout",
    ),
    (
        "ip nat service sip timeout media 200",
        "no ip nat service sip timeout media",
    ),
    // The list of the rule that all calls have is typed anew.
    (
        "no access-list 1",
        "access-list 1 permit 192.168.122.0 0.0.0.255",
    ),
];

/// How many changes at least.
const COUNT: usize = 100;

#[test]
fn a_hundred_changes_on_the_console_under_a_load_of_calls_lose_none() {
    let net = Net::new();
    let (caller, callee) = (net.inside(3), net.outside(2));
    let (phone, far) = (net.inside(4), net.outside(3));
    let gateway = Gateway::start(&net);
    let before = gateway.console("show running-config");
    let elsewhere = SocketAddrV4::new(outside_address(3), 5060);
    let mut own = Call::make_to((&phone, 4), (&far, elsewhere), 4000);
    own.take();
    let to = SocketAddrV4::new(outside_address(2), 5060);
    let (from, at) = ((&caller, inside_address(3)), (&callee, outside_address(2)));
    call_while(from, at, to, || {
        let mut console = gateway.open_console();
        console.say("configure terminal");
        for line in changes() {
            console.say(line);
            own.talk();
        }
        console.say("end");
        console.close();
    });
    own.talk();
    own.request_and_agree("BYE", 2);
    assert_eq!(gateway.console("show running-config"), before);
}

/// Whole rounds of all changes and what takes them back, as many as it takes.
fn changes() -> impl Iterator<Item = &'static str> {
    let forth = CHANGES.iter().map(|(forth, _)| *forth);
    // What was named last is let go of first.
    let back = CHANGES.iter().rev().map(|(_, back)| *back);
    let round: Vec<_> = forth.chain(back).collect();
    let rounds = COUNT.div_ceil(round.len());
    (0..rounds).flat_map(move |_| round.clone())
}
