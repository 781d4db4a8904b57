//! Which TCP connections the gateway takes, which it leaves alone, and how hosts see each other.

use crate::harness::capture::Capture;
use crate::harness::gateway::{CONFIGURATION, Gateway};
use crate::harness::net::{GIN, GOUT, GOUT2, Host, Net, inside_address, outside_address};
use crate::harness::sip::{Dialogue, Peer, Server, header, uri_target};
use socket2::SockRef;
use std::net::{Ipv4Addr, SocketAddrV4};

#[test]
fn a_connection_to_or_from_a_sip_port_is_taken_and_no_other() {
    let net = Net::new();
    let hosts = (net.inside(3), net.outside(2));
    let _gateway = Gateway::start(&net);
    for (from, to, taken) in [
        (0, 5060, true),
        (0, 8000, true),
        (5060, 7000, true),
        (8000, 7000, true),
        (0, 7000, false),
    ] {
        let is = is_fixed_up(&hosts, from, to);
        assert_eq!(is, taken, "from port {from} to port {to}");
    }
}

#[test]
fn a_port_that_is_no_longer_sip_is_not_taken() {
    let net = Net::new();
    let hosts = (net.inside(3), net.outside(2));
    let more = "no ip nat service sip tcp port 5060\nip nat service sip tcp port 5070\n";
    let _gateway = Gateway::start_with(&net, &format!("{CONFIGURATION}{more}"));
    assert!(!is_fixed_up(&hosts, 0, 5060));
    assert!(is_fixed_up(&hosts, 0, 5070));
}

#[test]
fn a_host_that_the_list_denies_is_neither_taken_nor_translated() {
    let net = Net::new();
    let (denied, permitted) = (net.inside(4), net.inside(3));
    let far = net.outside(2);
    far.ip(&format!("route add 192.168.122.0/24 via {GOUT}"));
    let deny = "access-list 1 deny host 192.168.122.4\naccess-list 1 permit";
    let configuration = CONFIGURATION.replace("access-list 1 permit", deny);
    let _gateway = Gateway::start_with(&net, &configuration);
    let hosts = (permitted, far);
    assert!(is_fixed_up(&hosts, 0, 5060));
    let (_, far) = hosts;
    let from = SocketAddrV4::new(inside_address(4), 40_000);
    let to = SocketAddrV4::new(outside_address(2), 5060);
    let listener = Server::listen(&far, to);
    let mut near = Peer::connect(&denied, from, to).expect("a connection");
    let mut taken = listener.accept();
    assert_eq!(taken.remote(), from);
    let message = Dialogue::new("denied", from, to).request("OPTIONS", 1, "");
    near.send(&message);
    assert_eq!(taken.message(), message);
}

#[test]
fn the_gateways_own_services_on_sip_ports_stay_its_own() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let _gateway = Gateway::start(&net);
    for (host, own, at) in [
        (&phone, inside_address(3), GIN),
        (&far, outside_address(2), GOUT),
    ] {
        let at = SocketAddrV4::new(at, 5060);
        let service = Server::listen(&net.gateway, at);
        let from = SocketAddrV4::new(own, 41_000);
        let mut client = Peer::connect(host, from, at).expect("the gateway's own service");
        let mut served = service.accept();
        assert_eq!(served.remote(), from, "straight from the client");
        let message = Dialogue::new("own", from, at).request("OPTIONS", 1, "");
        client.send(&message);
        assert_eq!(served.message(), message);
    }
}

#[test]
fn a_phone_never_gets_a_port_that_the_gateway_itself_uses() {
    let net = Net::new();
    let hosts = (net.inside(3), net.outside(2));
    let own = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 40_123);
    let service = Server::listen(&net.gateway, own);
    let _gateway = Gateway::start(&net);
    let from = SocketAddrV4::new(inside_address(3), 40_123);
    let (mut near, mut taken) = connect(&hosts, from, 5060);
    assert_ne!(taken.remote().port(), 40_123);
    let to = SocketAddrV4::new(outside_address(2), 5060);
    near.send(Dialogue::new("own", from, to).request("OPTIONS", 1, ""));
    let contact = contact(&taken.message());
    assert_eq!(*contact.ip(), GOUT);
    assert_ne!(contact.port(), 40_123, "the gateway's own");
    // The service is still reached.
    let from = SocketAddrV4::new(outside_address(2), 0);
    let at = SocketAddrV4::new(GOUT, 40_123);
    let _client = Peer::connect(&hosts.1, from, at).expect("the service");
    assert_eq!(*service.accept().remote().ip(), outside_address(2));
}

#[test]
fn both_ends_see_what_a_plain_nat_would_show_them() {
    let net = Net::new();
    let hosts = (net.inside(3), net.outside(2));
    let _gateway = Gateway::start(&net);
    let from = SocketAddrV4::new(inside_address(3), 40_000);
    let (near, taken) = connect(&hosts, from, 5060);
    assert_eq!(near.local(), from);
    assert_eq!(near.remote(), SocketAddrV4::new(outside_address(2), 5060));
    assert_eq!(taken.remote(), SocketAddrV4::new(GOUT, 40_000));
}

#[test]
fn a_syns_dscp_is_that_of_both_legs() {
    let net = Net::new();
    let hosts = (net.inside(3), net.outside(2));
    let _gateway = Gateway::start(&net);
    let captures = ["gin", "gout"].map(|interface| Capture::start(&net.gateway, interface));
    let listener = Server::listen(&hosts.1, SocketAddrV4::new(outside_address(2), 5060));
    let socket = hosts
        .0
        .run(|| socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None));
    let socket = socket.expect("a socket");
    // CS3, as telephones mark signalling.
    SockRef::from(&socket).set_tos_v4(24 << 2).expect("a mark");
    socket
        .connect(&SocketAddrV4::new(outside_address(2), 5060).into())
        .expect("a connection");
    let _taken = listener.accept();
    for (packets, sender) in captures
        .map(Capture::stop)
        .iter()
        .zip([inside_address(3), GOUT])
    {
        let syns = packets.filter(|packet| packet.is_syn());
        let marks: Vec<_> = syns
            .iter()
            .map(|syn| (*syn.source().ip(), syn.dscp()))
            .collect();
        assert_eq!(marks, [(sender, 24)]);
    }
}

#[test]
fn syn_cookies_are_no_hindrance() {
    let net = Net::new();
    let hosts = (net.inside(3), net.outside(2));
    for host in [&net.gateway, &hosts.0, &hosts.1] {
        host.sysctl("net.ipv4.tcp_syncookies", "2");
    }
    let _gateway = Gateway::start(&net);
    assert!(is_fixed_up(&hosts, 0, 5060));
}

#[test]
fn a_connection_opened_while_the_gateway_was_away_lives_on() {
    let net = Net::new();
    let hosts = (net.inside(3), net.outside(2));
    // What the operator has without us.
    net.gateway.sysctl("net.ipv4.ip_forward", "1");
    let masquerade = [
        "-t",
        "nat",
        "-A",
        "POSTROUTING",
        "-o",
        "gout",
        "-j",
        "MASQUERADE",
    ];
    net.gateway.output("iptables", &masquerade, "");
    let from = SocketAddrV4::new(inside_address(3), 40_000);
    let (mut near, mut far) = connect(&hosts, from, 5060);
    let gateway = Gateway::start(&net);
    for run in ["started", "stopped"] {
        near.send(run);
        assert_eq!(far.bytes(run.len()), run.as_bytes());
        far.send(run);
        assert_eq!(near.bytes(run.len()), run.as_bytes());
        if run == "started" {
            // It is as it was: plain, also for SIP. New ones are taken.
            let message = Dialogue::new("old", from, from).request("OPTIONS", 1, "");
            near.send(&message);
            assert_eq!(far.message(), message);
        }
    }
    drop(far);
    assert!(near.rest().expect("an end").is_empty());
    assert!(is_fixed_up(&hosts, 0, 5060));
    gateway.stop();
}

/// Inside and outside.
type Hosts = (Host, Host);

/// Connects from inside to a port outside, and gives both ends.
fn connect(hosts: &Hosts, from: SocketAddrV4, port: u16) -> (Peer, Peer) {
    let to = SocketAddrV4::new(outside_address(2), port);
    let listener = Server::listen(&hosts.1, to);
    let near = Peer::connect(&hosts.0, from, to).expect("a connection");
    (near, listener.accept())
}

/// Whether a connection between these ports has its messages fixed up. It works in any case, and
/// the outside never sees an inside address as its peer.
fn is_fixed_up(hosts: &Hosts, from: u16, to: u16) -> bool {
    let from = SocketAddrV4::new(inside_address(3), from);
    let (mut near, mut far) = connect(hosts, from, to);
    assert_eq!(*far.remote().ip(), GOUT);
    let target = SocketAddrV4::new(outside_address(2), to);
    near.send(Dialogue::new("take", near.local(), target).request("OPTIONS", 1, ""));
    let local = near.local();
    near.finish();
    match contact(&far.message()) {
        contact if *contact.ip() == GOUT => true,
        contact => {
            assert_eq!(contact, local);
            false
        }
    }
}

fn contact(message: &str) -> SocketAddrV4 {
    uri_target(header(message, "Contact").expect("a Contact"))
}

/// Two ways out reach the same host; the operator routes one inside host by one, the other by the
/// other, and each has the rule of the interface that it leaves by.
#[test]
fn a_leg_leaves_by_the_interface_that_its_global_address_belongs_to() {
    const ANYWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
    let net = Net::new();
    let (one, two, first) = (net.inside(3), net.inside(4), net.outside(2));
    let [_wire, second] = net.second_outside();
    for far in [&first, &second] {
        far.ip(&format!("addr add {ANYWHERE}/32 dev lo"));
    }
    net.gateway.ip(&format!(
        "route add {ANYWHERE} via 10.1.1.2 dev gout\n\
         route add {ANYWHERE} via 10.2.2.2 dev gout2 table 100\n\
         rule add from 192.168.122.4 table 100"
    ));
    let _gateway = Gateway::start_with(
        &net,
        "interface gin\n ip nat inside\ninterface gout\n ip nat outside\ninterface gout2\n ip nat outside\n\
         access-list 1 permit host 192.168.122.3\naccess-list 2 permit host 192.168.122.4\n\
         ip nat inside source list 1 interface gout overload\n\
         ip nat inside source list 2 interface gout2 overload\n",
    );
    let at = SocketAddrV4::new(ANYWHERE, 5060);
    let servers = [Server::listen(&first, at), Server::listen(&second, at)];
    for (phone, number, server, global) in
        [(&one, 3, &servers[0], GOUT), (&two, 4, &servers[1], GOUT2)]
    {
        let from = SocketAddrV4::new(inside_address(number), 0);
        let _phone = Peer::connect(phone, from, at).expect("a connection");
        assert_eq!(*server.accept().remote().ip(), global);
    }
}
