//! How many ordinary translations there may be, and for how long.

use crate::gateway::{
    Gateway, accepted, eventually, global, heard, list, plan, plan_with, unheard,
};
use crate::net::Host;
use sipalg::kernel::Plan;
use sipalg_core::Protocol;
use sipalg_core::config::Source;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::time::Duration;

laws![
    there_are_no_more_flows_than_the_bound_in_all,
    each_host_has_its_own_bound,
    what_is_said_of_a_host_replaces_the_bound_of_each,
    the_hosts_of_a_list_share_a_bound,
    flows_from_outside_count_for_the_host_that_they_reach,
    a_flow_within_the_bound_is_never_cut_off,
    a_flow_that_ends_makes_room,
    ordinary_flows_live_as_long_as_configured,
    never_is_as_long_as_the_kernel_can,
];

/// Whether a new UDP flow of `host` from `port` gets out.
fn passes(gateway: &Gateway, host: &Host, port: u16) -> bool {
    let ear = gateway.outside.udp(7000);
    let mouth = host.udp(port);
    crate::gateway::say(&mouth, "hello", gateway.outside.at(7000));
    let marker = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    crate::gateway::say(&marker, "marker", gateway.outside.at(7000));
    crate::gateway::hear(&ear).0 == "hello"
}

fn there_are_no_more_flows_than_the_bound_in_all() {
    let mut plan = plan();
    plan.max_entries.all = Some(3);
    let (gateway, mut kernel) = Gateway::with(&plan);
    assert!(passes(&gateway, &gateway.phone, 4000));
    assert!(passes(&gateway, &gateway.second, 4000));
    assert!(passes(&gateway, &gateway.phone, 4001));
    assert_eq!(kernel.over_bound().unwrap(), 0);
    assert!(!passes(&gateway, &gateway.phone, 4002));
    assert!(!passes(&gateway, &gateway.second, 4002));
    // TCP counts with UDP.
    let _web = gateway.outside.listen(80);
    let to = std::net::SocketAddr::from(gateway.outside.at(80));
    let tried = gateway
        .phone
        .run(|| std::net::TcpStream::connect_timeout(&to, Duration::from_millis(100)));
    assert!(tried.is_err());
    assert_eq!(kernel.over_bound().unwrap(), 3);
}

fn each_host_has_its_own_bound() {
    let mut plan = plan();
    plan.max_entries.each_host = Some(2);
    let (gateway, mut kernel) = Gateway::with(&plan);
    for host in [&gateway.phone, &gateway.second] {
        assert!(passes(&gateway, host, 4000));
        assert!(passes(&gateway, host, 4001));
        assert!(!passes(&gateway, host, 4002));
    }
    assert_eq!(kernel.over_bound().unwrap(), 2);
}

fn what_is_said_of_a_host_replaces_the_bound_of_each() {
    let mut plan = plan();
    plan.max_entries.each_host = Some(1);
    plan.max_entries.hosts = vec![(Ipv4Addr::new(192, 168, 122, 2), 3)];
    let (gateway, _kernel) = Gateway::with(&plan);
    for port in 4000..4003 {
        assert!(passes(&gateway, &gateway.phone, port));
    }
    assert!(!passes(&gateway, &gateway.phone, 4003));
    assert!(passes(&gateway, &gateway.second, 4000));
    assert!(!passes(&gateway, &gateway.second, 4001));
}

fn the_hosts_of_a_list_share_a_bound() {
    let mut plan = plan();
    plan.max_entries.lists = vec![(list(), 2)];
    let (gateway, _kernel) = Gateway::with(&plan);
    assert!(passes(&gateway, &gateway.phone, 4000));
    assert!(passes(&gateway, &gateway.second, 4000));
    assert!(!passes(&gateway, &gateway.phone, 4001));
    for port in 4001..4005 {
        assert!(passes(&gateway, &gateway.denied, port));
    }
}

fn static_host() -> Source {
    Source::Static {
        local: Ipv4Addr::new(192, 168, 122, 2),
        global: Ipv4Addr::new(10, 1, 1, 40),
        prefix: 32,
    }
}

fn flows_from_outside_count_for_the_host_that_they_reach() {
    let mut plan = plan_with(vec![static_host()], true);
    plan.max_entries.each_host = Some(1);
    let (gateway, mut kernel) = Gateway::with(&plan);
    let to = |port| SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, 40), port);
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    heard(&outside, to(4000), &phone, gateway.outside.at(7000));
    unheard(&gateway.outside.udp(7001), to(4000), &phone);
    assert_eq!(kernel.over_bound().unwrap(), 1);
}

fn a_flow_within_the_bound_is_never_cut_off() {
    let mut plan = plan();
    plan.max_entries.each_host = Some(1);
    plan.max_entries.all = Some(1);
    let (gateway, _kernel) = Gateway::with(&plan);
    let (phone, ear) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    // Before anyone has answered, too.
    for _ in 0..5 {
        heard(&phone, gateway.outside.at(7000), &ear, global(4000));
    }
    for _ in 0..5 {
        heard(&ear, global(4000), &phone, gateway.outside.at(7000));
        heard(&phone, gateway.outside.at(7000), &ear, global(4000));
    }
}

fn a_flow_that_ends_makes_room() {
    let mut plan = plan();
    plan.max_entries.each_host = Some(1);
    let (gateway, _kernel) = Gateway::with(&plan);
    assert!(passes(&gateway, &gateway.phone, 4000));
    assert!(!passes(&gateway, &gateway.phone, 4001));
    let flushed = Command::new("conntrack").arg("-F").output().unwrap();
    assert!(flushed.status.success());
    // The kernel counts what has ended for some clock ticks more.
    eventually(|| passes(&gateway, &gateway.phone, 4001).then_some(()));
}

/// The seconds that the kernel gives the flow whose listing has all of these words.
fn seconds(words: &[&str]) -> u64 {
    find(words).unwrap_or_else(|| panic!("no flow is {words:?}"))
}

fn find(words: &[&str]) -> Option<u64> {
    let listed = Command::new("conntrack").arg("-L").output().unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| words.iter().all(|word| line.split(' ').any(|w| w == *word)))?;
    line.split_whitespace().nth(2)?.parse().ok()
}

fn timed() -> Plan {
    let mut plan = plan();
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    plan.timeouts.tcp = seconds(7777);
    plan.timeouts.syn = seconds(555);
    plan.timeouts.finrst = seconds(444);
    plan.timeouts.udp = seconds(333);
    plan.timeouts.dns = seconds(222);
    plan.timeouts.icmp = seconds(111);
    plan.timeouts.ports = vec![
        (Protocol::Udp, 7001, seconds(1111)),
        (Protocol::Tcp, 81, seconds(2222)),
    ];
    plan
}

/// `left` seconds of `all`: a moment has passed.
fn about(left: u64, all: u64) {
    assert!((all - 5..=all).contains(&left), "{left} of {all}");
}

fn ordinary_flows_live_as_long_as_configured() {
    let (gateway, _kernel) = Gateway::with(&timed());
    let phone = gateway.phone.udp(4000);
    for (port, lives) in [(7000, 333), (53, 222), (7001, 1111)] {
        let ear = gateway.outside.udp(port);
        heard(&phone, gateway.outside.at(port), &ear, global(4000));
        about(seconds(&["udp", &format!("dport={port}")]), lives);
        heard(&ear, global(4000), &phone, gateway.outside.at(port));
        about(seconds(&["udp", &format!("dport={port}")]), lives);
    }
    for (port, lives) in [(80, 7777), (81, 2222)] {
        let ear = gateway.outside.listen(port);
        let client = gateway.phone.connect(0, gateway.outside.at(port)).unwrap();
        let (server, _, _) = accepted(&ear);
        let port = format!("dport={port}");
        about(seconds(&["tcp", "ESTABLISHED", &port]), lives);
        drop(server);
        // Whichever side the kernel takes for closing by now; until the end is acknowledged, it gives
        // it 300 seconds.
        let closing = || {
            let mut states = ["FIN_WAIT", "CLOSE_WAIT", "LAST_ACK"].into_iter();
            let left = states.find_map(|state| find(&["tcp", state, &port]));
            left.filter(|left| *left > 300)
        };
        about(eventually(closing), 444);
        drop(client);
        // The next one must not find this one's.
        assert!(
            Command::new("conntrack")
                .arg("-F")
                .output()
                .unwrap()
                .status
                .success()
        );
    }
    let icmp = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_icmp_timeout");
    assert_eq!(icmp.unwrap().trim(), "111");
}

fn never_is_as_long_as_the_kernel_can() {
    let mut plan = timed();
    plan.timeouts.udp = None;
    let (gateway, _kernel) = Gateway::with(&plan);
    let (phone, ear) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    heard(&phone, gateway.outside.at(7000), &ear, global(4000));
    about(seconds(&["udp", "dport=7000"]), 2_147_483);
}
