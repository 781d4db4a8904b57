//! Who becomes what by each kind of rule.

use crate::gateway::{
    GLOBAL, Gateway, accepted, global, hear, heard, listener, plan_with, pool, say, unheard,
};
use crate::net::Host;
use sipalg::kernel::Kernel;
use sipalg::netlink::route::Route;
use sipalg_core::Protocol;
use sipalg_core::config::Source;
use sipalg_core::door::AddressOp;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::Command;
use std::time::Duration;

laws![
    a_pool_with_overload_gives_a_host_one_address_for_everything,
    hosts_share_the_addresses_of_a_pool_with_overload,
    a_host_without_address_is_named_and_waits_for_one,
    a_host_with_an_address_of_its_own_is_reached_by_it,
    an_address_that_is_released_is_nobodys_at_once,
    only_hosts_that_have_an_address_are_seen,
    a_static_host_is_translated_both_ways,
    a_static_network_keeps_the_host_part,
    a_static_port_is_one_service_and_no_more,
    a_static_port_is_kept_toward_everyone,
    inside_hosts_reach_static_hosts_by_their_global_address,
    two_static_hosts_see_each_other_by_their_global_addresses,
    no_service_of_the_gateway_is_reached_by_a_borrowed_address,
    the_gateways_own_address_in_a_pool_stays_its_own,
    borrowed_addresses_are_given_back,
    who_asks_for_no_alias_sends_the_address_here_by_itself,
];

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 1, last)
}

fn at(last: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(ip(last), port)
}

/// Where `ear` hears `mouth` from.
fn seen_from(mouth: &UdpSocket, to: SocketAddrV4, ear: &UdpSocket) -> SocketAddrV4 {
    say(mouth, "hello", to);
    match hear(ear).1 {
        std::net::SocketAddr::V4(from) => from,
        other => panic!("{other}"),
    }
}

fn a_pool_with_overload_gives_a_host_one_address_for_everything() {
    let (gateway, _kernel) = Gateway::with(&plan_with(vec![pool(16, 31, true)], false));
    let ears = [7000, 7001].map(|port| gateway.outside.udp(port));
    let web = gateway.outside.listen(80);
    for host in [&gateway.phone, &gateway.second] {
        let mouth = host.udp(4000);
        let first = seen_from(&mouth, gateway.outside.at(7000), &ears[0]);
        assert!((ip(16)..=ip(31)).contains(first.ip()), "{first}");
        assert_eq!(first.port(), 4000);
        // To another destination, and back.
        assert_eq!(seen_from(&mouth, gateway.outside.at(7001), &ears[1]), first);
        heard(&ears[1], first, &mouth, gateway.outside.at(7001));
        // From another port, by another protocol.
        let other = host.udp(4001);
        let other = seen_from(&other, gateway.outside.at(7000), &ears[0]);
        assert_eq!(other.ip(), first.ip());
        let _client = host.connect(4000, gateway.outside.at(80)).unwrap();
        assert_eq!(accepted(&web).1, first.into());
    }
}

fn hosts_share_the_addresses_of_a_pool_with_overload() {
    let (gateway, _kernel) = Gateway::with(&plan_with(vec![pool(16, 18, true)], false));
    let ear = gateway.outside.udp(7000);
    let mut used = HashSet::new();
    for last in (10..40).step_by(2) {
        let host = gateway
            .phone
            .with_address(Ipv4Addr::new(192, 168, 122, last));
        let mouth = host.udp(4000);
        let from = seen_from(&mouth, gateway.outside.at(7000), &ear);
        // The core knows it without asking.
        let Source::List { pool, .. } = pool(16, 18, true) else {
            unreachable!()
        };
        assert_eq!(*from.ip(), sipalg_core::pool_address(host.address, pool));
        used.insert(*from.ip());
        heard(&ear, from, &mouth, gateway.outside.at(7000));
    }
    assert_eq!(used, HashSet::from([16, 17, 18].map(ip)));
}

fn assign(kernel: &mut Kernel, host: &Host, last: u8) -> AddressOp {
    let (local, global) = (host.address, ip(last));
    kernel
        .apply(&[AddressOp::Assign { local, global }], &[])
        .unwrap();
    AddressOp::Release { local, global }
}

/// The newcomers, once there are any.
fn newcomers(kernel: &mut Kernel) -> Vec<Ipv4Addr> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let fd = kernel.newcomers_fd();
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    let patience = PollTimeout::try_from(Duration::from_secs(5)).unwrap();
    assert_eq!(poll(&mut fds, patience).unwrap(), 1, "nobody came");
    kernel.newcomers()
}

fn a_host_without_address_is_named_and_waits_for_one() {
    let (gateway, mut kernel) = Gateway::with(&plan_with(vec![pool(16, 17, false)], false));
    let ear = gateway.outside.udp(7000);
    let (phone, second) = (gateway.phone.udp(4000), gateway.second.udp(4000));
    unheard(&phone, gateway.outside.at(7000), &ear);
    unheard(&phone, gateway.outside.at(7000), &ear);
    assert_eq!(newcomers(&mut kernel), [gateway.phone.address]);
    assert!(kernel.newcomers().is_empty());
    unheard(&second, gateway.outside.at(7000), &ear);
    assert_eq!(newcomers(&mut kernel), [gateway.second.address]);
    assign(&mut kernel, &gateway.phone, 16);
    heard(&phone, gateway.outside.at(7000), &ear, at(16, 4000));
    heard(&ear, at(16, 4000), &phone, gateway.outside.at(7000));
    assert!(kernel.newcomers().is_empty());
    // Whom the list does not permit is nobody's newcomer.
    let denied = gateway.denied.udp(4001);
    heard(
        &denied,
        gateway.outside.at(7000),
        &ear,
        gateway.denied.at(4001),
    );
    assert!(kernel.newcomers().is_empty());
}

fn a_host_with_an_address_of_its_own_is_reached_by_it() {
    let (gateway, mut kernel) = Gateway::with(&plan_with(vec![pool(16, 17, false)], false));
    assign(&mut kernel, &gateway.phone, 16);
    assign(&mut kernel, &gateway.second, 17);
    // Any port of it, by any protocol, without a flow from inside.
    let outside = gateway.outside.udp(7000);
    heard(
        &outside,
        at(16, 999),
        &gateway.phone.udp(999),
        gateway.outside.at(7000),
    );
    let web = gateway.phone.listen(80);
    let _client = gateway.outside.connect(9000, at(16, 80)).unwrap();
    assert_eq!(accepted(&web).1, gateway.outside.at(9000).into());
    // Both keep the same port.
    for (host, last) in [(&gateway.phone, 16), (&gateway.second, 17)] {
        let mouth = host.udp(4000);
        heard(&mouth, gateway.outside.at(7000), &outside, at(last, 4000));
    }
    // And an inside host reaches the other by its address.
    let (one, other) = (gateway.phone.udp(4002), gateway.second.udp(4002));
    heard(&one, at(17, 4002), &other, at(16, 4002));
    heard(&other, at(16, 4002), &one, at(17, 4002));
}

fn an_address_that_is_released_is_nobodys_at_once() {
    let (gateway, mut kernel) = Gateway::with(&plan_with(vec![pool(16, 17, false)], false));
    let release = assign(&mut kernel, &gateway.phone, 16);
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    heard(&phone, gateway.outside.at(7000), &outside, at(16, 4000));
    heard(
        &outside,
        at(16, 999),
        &gateway.phone.udp(999),
        gateway.outside.at(7000),
    );
    kernel.apply(&[release], &[]).unwrap();
    unheard(&outside, at(16, 4000), &phone);
    unheard(&phone, gateway.outside.at(7000), &outside);
    // Another host has it, and none of the former one's flows.
    assign(&mut kernel, &gateway.second, 16);
    let second = gateway.second.udp(4000);
    heard(&outside, at(16, 4000), &second, gateway.outside.at(7000));
    heard(&second, gateway.outside.at(7000), &outside, at(16, 4000));
}

fn only_hosts_that_have_an_address_are_seen() {
    let (gateway, mut kernel) = Gateway::with(&plan_with(vec![pool(16, 17, false)], false));
    let outside = gateway.outside.udp(7000);
    say(&gateway.second.udp(4000), "hello", gateway.outside.at(7000));
    assert_eq!(newcomers(&mut kernel), [gateway.second.address]);
    assert!(kernel.hosts_seen().unwrap().is_empty());
    assign(&mut kernel, &gateway.phone, 16);
    assert!(kernel.hosts_seen().unwrap().is_empty());
    let phone = gateway.phone.udp(4000);
    heard(&phone, gateway.outside.at(7000), &outside, at(16, 4000));
    assert_eq!(kernel.hosts_seen().unwrap(), [gateway.phone.address]);
    // Being called counts too.
    assign(&mut kernel, &gateway.second, 17);
    let second = gateway.second.udp(4000);
    heard(&outside, at(17, 4000), &second, gateway.outside.at(7000));
    let mut seen = kernel.hosts_seen().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, [gateway.phone.address, gateway.second.address]);
}

fn static_host(host: Ipv4Addr, last: u8) -> Source {
    Source::Static {
        local: host,
        global: ip(last),
        prefix: 32,
    }
}

fn a_static_host_is_translated_both_ways() {
    let phone = Ipv4Addr::new(192, 168, 122, 2);
    let (gateway, _kernel) = Gateway::with(&plan_with(vec![static_host(phone, 40)], true));
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    heard(&outside, at(40, 4000), &phone, gateway.outside.at(7000));
    heard(&phone, gateway.outside.at(7000), &outside, at(40, 4000));
    let other = gateway.outside.udp(7001);
    heard(&phone, gateway.outside.at(7001), &other, at(40, 4000));
    let web = gateway.phone.listen(80);
    let _client = gateway.outside.connect(9000, at(40, 80)).unwrap();
    assert_eq!(accepted(&web).1, gateway.outside.at(9000).into());
    // The list goes on for the others.
    let second = gateway.second.udp(4000);
    heard(&second, gateway.outside.at(7001), &other, global(4000));
}

fn a_static_network_keeps_the_host_part() {
    let network = Source::Static {
        local: Ipv4Addr::new(192, 168, 123, 0),
        global: Ipv4Addr::new(10, 1, 1, 64),
        prefix: 28,
    };
    let (gateway, _kernel) = Gateway::with(&plan_with(vec![network], false));
    let outside = gateway.outside.udp(7000);
    for last in [2, 14] {
        let host = Ipv4Addr::new(192, 168, 123, last);
        let host = match host == gateway.second.address {
            true => gateway.second.alias(host),
            false => gateway.second.with_address(host),
        };
        let socket = host.udp(4000);
        heard(
            &outside,
            at(64 + last, 4000),
            &socket,
            gateway.outside.at(7000),
        );
        heard(
            &socket,
            gateway.outside.at(7000),
            &outside,
            at(64 + last, 4000),
        );
    }
    // Beyond the network's end.
    let beyond = gateway.second.with_address([192, 168, 123, 16].into());
    heard(
        &beyond.udp(4000),
        gateway.outside.at(7000),
        &outside,
        beyond.at(4000),
    );
}

fn static_port(protocol: Protocol, local: SocketAddrV4, global: SocketAddrV4) -> Source {
    Source::StaticPort {
        protocol,
        local,
        global,
    }
}

fn a_static_port_is_one_service_and_no_more() {
    let phone = |port| SocketAddrV4::new(Ipv4Addr::new(192, 168, 122, 2), port);
    let sources = vec![
        static_port(Protocol::Tcp, phone(80), global(8080)),
        static_port(Protocol::Udp, phone(4000), at(40, 4444)),
    ];
    let (gateway, _kernel) = Gateway::with(&plan_with(sources, true));
    let web = gateway.phone.listen(80);
    let _client = gateway.outside.connect(9000, global(8080)).unwrap();
    assert_eq!(accepted(&web).1, gateway.outside.at(9000).into());
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    heard(&outside, at(40, 4444), &phone, gateway.outside.at(7000));
    heard(&phone, gateway.outside.at(7000), &outside, at(40, 4444));
    // Neither another port nor the other protocol.
    unheard(&outside, at(40, 4000), &phone);
    unheard(&outside, global(8080), &gateway.phone.udp(80));
    assert!(gateway.outside.connect(0, global(80)).is_err());
    // Other ports of the host are the list's.
    let other = gateway.phone.udp(4002);
    heard(&other, gateway.outside.at(7000), &outside, global(4002));
}

fn a_static_port_is_kept_toward_everyone() {
    let phone = SocketAddrV4::new(Ipv4Addr::new(192, 168, 122, 2), 4000);
    let rule = static_port(Protocol::Udp, phone, global(4444));
    let (gateway, _kernel) = Gateway::with(&plan_with(vec![rule], true));
    let phone = gateway.phone.udp(4000);
    for port in [7000, 7001] {
        let ear = gateway.outside.udp(port);
        heard(&phone, gateway.outside.at(port), &ear, global(4444));
    }
}

fn inside_hosts_reach_static_hosts_by_their_global_address() {
    let phone = Ipv4Addr::new(192, 168, 122, 2);
    let port = static_port(Protocol::Udp, SocketAddrV4::new(phone, 4002), global(4444));
    let (gateway, _kernel) = Gateway::with(&plan_with(vec![port, static_host(phone, 40)], true));
    let (one, two) = (gateway.phone.udp(4000), gateway.phone.udp(4002));
    let second = gateway.second.udp(4004);
    // REQ-9: and sees them come from where the outside would (RFC 4787).
    heard(&second, at(40, 4000), &one, global(4004));
    heard(&one, global(4004), &second, at(40, 4000));
    heard(&second, global(4444), &two, global(4004));
    heard(&two, global(4004), &second, global(4444));
    // A host calling itself.
    heard(&one, global(4444), &two, at(40, 4000));
    heard(&two, at(40, 4000), &one, global(4444));
}

fn two_static_hosts_see_each_other_by_their_global_addresses() {
    let [phone, second] = [122, 123].map(|net| Ipv4Addr::new(192, 168, net, 2));
    let sources = vec![static_host(phone, 40), static_host(second, 41)];
    let (gateway, _kernel) = Gateway::with(&plan_with(sources, false));
    let (phone, second) = (gateway.phone.udp(4000), gateway.second.udp(4000));
    heard(&phone, at(41, 4000), &second, at(40, 4000));
    heard(&second, at(40, 4000), &phone, at(41, 4000));
}

fn no_service_of_the_gateway_is_reached_by_a_borrowed_address() {
    let phone = SocketAddrV4::new(Ipv4Addr::new(192, 168, 122, 2), 80);
    let sources = vec![
        static_port(Protocol::Tcp, phone, at(40, 80)),
        pool(16, 17, false),
        pool(24, 31, true),
    ];
    let (gateway, mut kernel) = Gateway::with(&plan_with(sources, true));
    assign(&mut kernel, &gateway.phone, 16);
    let ssh = listener("0.0.0.0:22".parse().unwrap());
    let resolver = UdpSocket::bind("0.0.0.0:53").unwrap();
    resolver
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let outside = gateway.outside.udp(7000);
    for last in [17, 24, 31, 40] {
        for host in [&gateway.outside, &gateway.second] {
            // Silence, where a closed port of this host would refuse.
            let to = at(last, 22);
            let refused = host.run(|| {
                let any = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
                let to = std::net::SocketAddr::from(to).into();
                any.unwrap()
                    .connect_timeout(&to, Duration::from_millis(100))
                    .unwrap_err()
            });
            assert_eq!(refused.kind(), ErrorKind::TimedOut, "{last}");
        }
        say(&outside, "who is it?", at(last, 53));
    }
    assert!(ssh.accept().is_err());
    // But by its own address it is.
    heard(&outside, global(53), &resolver, gateway.outside.at(7000));
    let _client = gateway.outside.connect(9000, global(22)).unwrap();
    accepted(&ssh);
}

fn the_gateways_own_address_in_a_pool_stays_its_own() {
    let (gateway, _kernel) = Gateway::with(&plan_with(vec![pool(1, 1, true)], false));
    let ssh = listener("0.0.0.0:22".parse().unwrap());
    let _client = gateway.outside.connect(9000, global(22)).unwrap();
    accepted(&ssh);
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    heard(&phone, gateway.outside.at(7000), &outside, global(4000));
    assert_eq!(GLOBAL, ip(1));
}

fn borrowed_addresses_are_given_back() {
    let gateway = Gateway::bare();
    let routes = || Route::open().unwrap().routes().unwrap();
    let before = routes();
    let plan = plan_with(vec![pool(17, 30, true)], true);
    let kernel = Kernel::install(&plan, gateway.state.path()).unwrap();
    assert_ne!(routes(), before);
    kernel.remove().unwrap();
    assert_eq!(routes(), before);
    // Also after a crash: the next run does not want them.
    drop(Kernel::install(&plan, gateway.state.path()).unwrap());
    let kernel = gateway.install();
    assert!(
        routes()
            .iter()
            .all(|route| route.protocol != sipalg::kernel::ROUTE_PROTOCOL)
    );
    kernel.remove().unwrap();
    assert_eq!(routes(), before);
}

fn who_asks_for_no_alias_sends_the_address_here_by_itself() {
    let mut plan = plan_with(
        vec![static_host(Ipv4Addr::new(192, 168, 122, 2), 40)],
        false,
    );
    plan.sources[0].alias = false;
    let (gateway, _kernel) = Gateway::with(&plan);
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    heard(&phone, gateway.outside.at(7000), &outside, at(40, 4000));
    // Nobody answers the outside host's ARP request.
    unheard(&outside, at(40, 4000), &phone);
    let routed = gateway.outside.run(|| {
        let to = [ip(40).to_string(), GLOBAL.to_string()];
        Command::new("ip")
            .args(["route", "add", &to[0], "via", &to[1]])
            .status()
    });
    assert!(routed.unwrap().success());
    heard(&outside, at(40, 4000), &phone, gateway.outside.at(7000));
}
