//! Which datagrams go to the proxy, and what becomes of those that it sends.

use crate::gateway::{
    GLOBAL, Gateway, LISTENER, PATIENCE, close, global, heard, media, open, plan, plan_with, say,
    unheard,
};
use crate::net::Host;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use sipalg::kernel::MARK_DIAL;
use sipalg_core::config::{AccessEntry, AccessList, Source};
use sipalg_core::{Door, DoorKind, Protocol};
use socket2::{Domain, Socket, Type};
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

laws![
    a_datagram_to_a_sip_port_goes_to_the_proxy,
    a_mapped_endpoint_goes_to_the_proxy_whomever_it_talks_to,
    a_signalling_door_takes_datagrams_from_anyone,
    another_hosts_ordinary_flow_with_the_same_port_is_undisturbed,
    an_older_flow_of_a_mapped_endpoint_does_not_bypass_the_proxy,
    a_media_flow_whose_ends_become_signalling_does_not_bypass_the_proxy,
    what_the_proxy_sends_is_not_translated,
    without_a_proxy_datagrams_pass_as_any_other,
    the_gateways_own_sip_service_stays_its_own,
    fragments_reach_the_proxy_whole,
    a_later_ordinary_flow_does_not_take_a_signalling_doors_port,
    static_rules_on_sip_ports_go_to_the_proxy,
    a_rule_without_payload_leaves_datagrams_to_the_kernel,
    datagrams_that_the_bypass_list_permits_pass_as_any_other,
    l4f_off_does_not_concern_datagrams,
];

/// The socket to which datagrams are diverted.
struct Proxy(UdpSocket);

/// Made with the addresses that it shall have, as the proxy does.
fn spoof(from: SocketAddrV4) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_ip_transparent_v4(true).unwrap();
    socket.set_reuse_address(true).unwrap();
    setsockopt(&socket, sockopt::Mark, &MARK_DIAL).unwrap();
    socket.bind(&SocketAddr::from(from).into()).unwrap();
    socket.into()
}

impl Proxy {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_ip_transparent_v4(true).unwrap();
        setsockopt(&socket, sockopt::Ipv4OrigDstAddr, &true).unwrap();
        socket.bind(&SocketAddr::from(LISTENER).into()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Proxy(socket.into())
    }

    /// The next datagram: its length, from whom, and for whom.
    fn next(&self) -> (usize, SocketAddrV4, SocketAddrV4) {
        let mut buffer = [0; 8192];
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let mut control = nix::cmsg_space!(libc::sockaddr_in);
        let got = recvmsg::<SockaddrIn>(
            self.0.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        )
        .expect("a datagram arrives");
        let to = got.cmsgs().unwrap().find_map(|message| match message {
            ControlMessageOwned::Ipv4OrigDstAddr(to) => Some(SockaddrIn::from(to)),
            _ => None,
        });
        let (from, to) = (got.address.unwrap(), to.unwrap());
        (got.bytes, SocketAddrV4::from(from), SocketAddrV4::from(to))
    }

    /// `mouth` says something to `to`, and it comes here.
    fn gets(&self, mouth: &UdpSocket, to: SocketAddrV4) {
        say(mouth, "hello", to);
        let SocketAddr::V4(from) = mouth.local_addr().unwrap() else {
            panic!("IPv4 only");
        };
        assert_eq!(self.next(), (5, from, to));
    }

    /// Nothing is waiting.
    fn idle(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let idle = self.0.peek(&mut [0; 1]).is_err();
        self.0.set_nonblocking(false).unwrap();
        idle
    }
}

fn signalling(host: &Host, local: u16, port: u16) -> Door {
    Door {
        kind: DoorKind::Signalling,
        protocol: Protocol::Udp,
        inside_local: host.at(local),
        inside_global: global(port),
        lifetime: Duration::from_secs(100),
    }
}

fn a_datagram_to_a_sip_port_goes_to_the_proxy() {
    let (gateway, _kernel) = Gateway::installed();
    let proxy = Proxy::new();
    let (phone, ear) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    proxy.gets(&phone, gateway.outside.at(5060));
    proxy.gets(&phone, gateway.outside.at(5060));
    // Other ports, other hosts, and what comes from outside to no door, pass.
    heard(&phone, gateway.outside.at(7000), &ear, global(4000));
    let denied = gateway.denied.udp(4000);
    let sip = gateway.outside.udp(5060);
    heard(
        &denied,
        gateway.outside.at(5060),
        &sip,
        gateway.denied.at(4000),
    );
    let second = gateway.second.udp(5060);
    heard(
        &phone,
        gateway.second.at(5060),
        &second,
        gateway.phone.at(4000),
    );
    let own = UdpSocket::bind((GLOBAL, 5062)).unwrap();
    own.set_read_timeout(Some(PATIENCE)).unwrap();
    heard(&sip, global(5062), &own, gateway.outside.at(5060));
    assert!(proxy.idle());
}

fn a_mapped_endpoint_goes_to_the_proxy_whomever_it_talks_to() {
    let (gateway, mut kernel) = Gateway::installed();
    let proxy = Proxy::new();
    let door = signalling(&gateway.phone, 4000, 4000);
    open(&mut kernel, door);
    let phone = gateway.phone.udp(4000);
    proxy.gets(&phone, gateway.outside.at(7000));
    // Toward other inside hosts there is nothing to translate.
    let second = gateway.second.udp(7000);
    heard(
        &phone,
        gateway.second.at(7000),
        &second,
        gateway.phone.at(4000),
    );
    close(&mut kernel, door);
    let ear = gateway.outside.udp(7000);
    heard(&phone, gateway.outside.at(7000), &ear, global(4000));
    assert!(proxy.idle());
}

fn a_signalling_door_takes_datagrams_from_anyone() {
    let (gateway, mut kernel) = Gateway::installed();
    let proxy = Proxy::new();
    let door = signalling(&gateway.phone, 5060, 5062);
    open(&mut kernel, door);
    let (outside, second) = (gateway.outside.udp(7000), gateway.second.udp(7000));
    for mouth in [&outside, &second, &outside] {
        proxy.gets(mouth, global(5062));
    }
    close(&mut kernel, door);
    let own = UdpSocket::bind((GLOBAL, 5062)).unwrap();
    own.set_read_timeout(Some(PATIENCE)).unwrap();
    heard(&outside, global(5062), &own, gateway.outside.at(7000));
    assert!(proxy.idle());
}

fn another_hosts_ordinary_flow_with_the_same_port_is_undisturbed() {
    let (gateway, mut kernel) = Gateway::installed();
    let proxy = Proxy::new();
    let (second, peer) = (gateway.second.udp(5062), gateway.outside.udp(7000));
    heard(&second, gateway.outside.at(7000), &peer, global(5062));
    open(&mut kernel, signalling(&gateway.phone, 5060, 5062));
    for _ in 0..2 {
        heard(&peer, global(5062), &second, gateway.outside.at(7000));
        heard(&second, gateway.outside.at(7000), &peer, global(5062));
    }
    proxy.gets(&gateway.outside.udp(7001), global(5062));
}

fn an_older_flow_of_a_mapped_endpoint_does_not_bypass_the_proxy() {
    let (gateway, mut kernel) = Gateway::installed();
    let proxy = Proxy::new();
    let (phone, peer) = (gateway.phone.udp(5062), gateway.outside.udp(7000));
    // As where the gateway was away for a while.
    heard(&phone, gateway.outside.at(7000), &peer, global(5062));
    heard(&peer, global(5062), &phone, gateway.outside.at(7000));
    open(&mut kernel, signalling(&gateway.phone, 5062, 5062));
    proxy.gets(&peer, global(5062));
    proxy.gets(&phone, gateway.outside.at(7000));
}

fn a_media_flow_whose_ends_become_signalling_does_not_bypass_the_proxy() {
    for closes_first in [false, true] {
        let (gateway, mut kernel) = Gateway::installed();
        let proxy = Proxy::new();
        let (phone, peer) = (gateway.phone.udp(5062), gateway.outside.udp(7000));
        let door = media(gateway.phone.at(5062), 5062);
        open(&mut kernel, door);
        heard(&peer, global(5062), &phone, gateway.outside.at(7000));
        heard(&phone, gateway.outside.at(7000), &peer, global(5062));
        if closes_first {
            close(&mut kernel, door);
        }
        open(&mut kernel, signalling(&gateway.phone, 5062, 5062));
        proxy.gets(&peer, global(5062));
        proxy.gets(&phone, gateway.outside.at(7000));
    }
}

fn what_the_proxy_sends_is_not_translated() {
    let (gateway, mut kernel) =
        Gateway::with(&plan_with(vec![crate::gateway::pool(16, 17, true)], false));
    let proxy = Proxy::new();
    let (phone, outside) = (gateway.phone.udp(5060), gateway.outside.udp(5060));
    let pooled = SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, 16), 5060);
    let door = Door {
        inside_global: pooled,
        ..signalling(&gateway.phone, 5060, 5060)
    };
    open(&mut kernel, door);
    // A media door of the same number, and whatever connection tracking thinks.
    open(&mut kernel, media(gateway.outside.at(5060), 30000));
    for _ in 0..2 {
        proxy.gets(&phone, gateway.outside.at(5060));
        heard(&spoof(pooled), gateway.outside.at(5060), &outside, pooled);
        proxy.gets(&outside, pooled);
        let back = spoof(gateway.outside.at(5060));
        heard(
            &back,
            gateway.phone.at(5060),
            &phone,
            gateway.outside.at(5060),
        );
    }
}

fn without_a_proxy_datagrams_pass_as_any_other() {
    let (gateway, _kernel) = Gateway::installed();
    let (phone, outside) = (gateway.phone.udp(5060), gateway.outside.udp(5060));
    {
        let proxy = Proxy::new();
        proxy.gets(&phone, gateway.outside.at(5060));
    }
    // Also where the proxy was there before.
    heard(&phone, gateway.outside.at(5060), &outside, global(5060));
    heard(&outside, global(5060), &phone, gateway.outside.at(5060));
}

fn the_gateways_own_sip_service_stays_its_own() {
    let (gateway, _kernel) = Gateway::installed();
    let proxy = Proxy::new();
    let own = UdpSocket::bind("0.0.0.0:5060").unwrap();
    own.set_read_timeout(Some(PATIENCE)).unwrap();
    let phone = gateway.phone.udp(5060);
    for address in ["192.168.122.1:5060", "10.1.1.1:5060"] {
        heard(
            &phone,
            address.parse().unwrap(),
            &own,
            gateway.phone.at(5060),
        );
    }
    let outside = gateway.outside.udp(5060);
    heard(&outside, global(5060), &own, gateway.outside.at(5060));
    assert!(proxy.idle());
}

fn fragments_reach_the_proxy_whole() {
    let (gateway, mut kernel) = Gateway::installed();
    let proxy = Proxy::new();
    open(&mut kernel, signalling(&gateway.phone, 5060, 5062));
    let long = "x".repeat(5000);
    say(&gateway.phone.udp(4000), &long, gateway.outside.at(5060));
    assert_eq!(proxy.next().0, 5000);
    say(&gateway.outside.udp(4000), &long, global(5062));
    assert_eq!(proxy.next().0, 5000);
}

fn a_later_ordinary_flow_does_not_take_a_signalling_doors_port() {
    let (gateway, mut kernel) = Gateway::installed();
    let proxy = Proxy::new();
    open(&mut kernel, signalling(&gateway.phone, 5060, 5062));
    let (second, peer) = (gateway.second.udp(5062), gateway.outside.udp(7000));
    say(&second, "hello", gateway.outside.at(7000));
    let SocketAddr::V4(seen) = crate::gateway::hear(&peer).1 else {
        panic!("IPv4 only");
    };
    assert_ne!(seen, global(5062));
    heard(&peer, seen, &second, gateway.outside.at(7000));
    proxy.gets(&peer, global(5062));
}

/// A static host, a static network and a static port.
fn statics() -> Vec<Source> {
    let host = |net, last| Ipv4Addr::new(192, 168, net, last);
    let global = |last| Ipv4Addr::new(10, 1, 1, last);
    vec![
        Source::StaticPort {
            protocol: Protocol::Udp,
            local: SocketAddrV4::new(host(123, 2), 5060),
            global: SocketAddrV4::new(global(1), 5080),
        },
        Source::Static {
            local: host(122, 2),
            global: global(40),
            prefix: 32,
        },
        Source::Static {
            local: host(124, 0),
            global: global(64),
            prefix: 30,
        },
    ]
}

fn static_rules_on_sip_ports_go_to_the_proxy() {
    let (gateway, _kernel) = Gateway::with(&plan_with(statics(), true));
    let proxy = Proxy::new();
    let outside = gateway.outside.udp(7000);
    let at = |last, port| SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, last), port);
    for to in [at(1, 5080), at(40, 5060), at(66, 5060)] {
        proxy.gets(&outside, to);
        proxy.gets(&gateway.second.udp(7000), to);
    }
    // What they send from there goes by it, whomever it is for.
    for host in [&gateway.second, &gateway.phone] {
        proxy.gets(&host.udp(5060), gateway.outside.at(7000));
    }
    proxy.gets(&gateway.denied.udp(4000), gateway.outside.at(5060));
    // Other ports are the kernel's.
    heard(
        &outside,
        at(40, 4000),
        &gateway.phone.udp(4000),
        gateway.outside.at(7000),
    );
    assert!(proxy.idle());
}

fn a_rule_without_payload_leaves_datagrams_to_the_kernel() {
    let mut plan = plan_with(statics(), true);
    for source in &mut plan.sources {
        source.rule.payload = false;
    }
    let (gateway, _kernel) = Gateway::with(&plan);
    let proxy = Proxy::new();
    let outside = gateway.outside.udp(5060);
    let at = |last, port| SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, last), port);
    for (host, to) in [
        (&gateway.second, at(1, 5080)),
        (&gateway.phone, at(40, 5060)),
        (&gateway.denied, at(66, 5060)),
    ] {
        let socket = host.udp(5060);
        heard(&outside, to, &socket, gateway.outside.at(5060));
        heard(&socket, gateway.outside.at(5060), &outside, to);
    }
    let listed = gateway.second.udp(4002);
    heard(&listed, gateway.outside.at(5060), &outside, global(4002));
    assert!(proxy.idle());
}

fn datagrams_that_the_bypass_list_permits_pass_as_any_other() {
    let mut plan = plan();
    // To 10.1.1.3, which is a provider that wants no help.
    let mut entry = AccessEntry::standard(true, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    entry.protocol = Some(libc::IPPROTO_UDP as u8);
    entry.destination.address = Ipv4Addr::new(10, 1, 1, 3);
    entry.destination.wildcard = Ipv4Addr::UNSPECIFIED;
    plan.bypass = Some(AccessList {
        name: "bypass".into(),
        entries: vec![entry],
    });
    let (gateway, mut kernel) = Gateway::with(&plan);
    let proxy = Proxy::new();
    let provider = gateway.outside.alias(Ipv4Addr::new(10, 1, 1, 3));
    let (phone, sip) = (gateway.phone.udp(5060), provider.udp(5060));
    heard(&phone, provider.at(5060), &sip, global(5060));
    heard(&sip, global(5060), &phone, provider.at(5060));
    proxy.gets(&phone, gateway.outside.at(5060));
    // Even from an endpoint that has a mapping: then by another port, so that answers come back.
    open(&mut kernel, signalling(&gateway.phone, 4000, 4000));
    let mapped = gateway.phone.udp(4000);
    say(&mapped, "hello", provider.at(5060));
    let SocketAddr::V4(seen) = crate::gateway::hear(&sip).1 else {
        panic!("IPv4 only");
    };
    heard(&sip, seen, &mapped, provider.at(5060));
    assert!(proxy.idle());
    assert_eq!(kernel.access_hits().unwrap()[1], ("bypass".into(), vec![2]));
}

fn l4f_off_does_not_concern_datagrams() {
    let mut plan = plan();
    plan.l4f = false;
    let (gateway, mut kernel) = Gateway::with(&plan);
    let proxy = Proxy::new();
    open(&mut kernel, signalling(&gateway.phone, 5060, 5062));
    proxy.gets(&gateway.phone.udp(4000), gateway.outside.at(5060));
    proxy.gets(&gateway.outside.udp(4000), global(5062));
    // Of TCP, everything passes.
    let _listener = crate::gateway::proxy();
    let ear = gateway.outside.listen(5060);
    let _client = gateway
        .phone
        .connect(4000, gateway.outside.at(5060))
        .unwrap();
    assert_eq!(crate::gateway::accepted(&ear).1, global(4000).into());
    unheard(&gateway.outside.udp(4001), global(9), &gateway.phone.udp(9));
}
