//! Which of several workers gets what goes to the proxy.

use crate::gateway::{Gateway, LISTENER, PATIENCE, accepted, global, open, plan, plan_with, pool};
use crate::gateway::{say, worker};
use sipalg::kernel::Plan;
use sipalg_core::config::Source;
use sipalg_core::door::AddressOp;
use sipalg_core::{Door, DoorKind, Protocol};
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

laws![
    all_that_an_inside_host_says_goes_to_one_worker,
    a_handshake_with_syn_cookies_ends_at_the_worker_where_it_began,
    a_host_addressed_directly_is_reached_through_its_worker,
    a_door_is_served_by_the_worker_that_gives_its_port,
    a_static_rule_is_served_by_the_worker_of_its_host,
    a_host_with_an_address_of_its_own_is_reached_by_the_worker_that_gives_it,
    after_a_change_of_their_number_each_host_has_a_worker_still,
];

/// The phone of the gateway, 192.168.122.2, and that one: the third of four workers has it.
const PHONES: u16 = 2;
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 4);

fn of_four(mut plan: Plan) -> Plan {
    plan.workers = 4;
    plan
}

/// The sockets of four workers.
struct Workers(Vec<(TcpListener, UdpSocket)>);

impl Workers {
    fn new() -> Self {
        let ear = |number| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            socket.set_ip_transparent_v4(true).unwrap();
            let at = SocketAddrV4::new(*LISTENER.ip(), LISTENER.port() + number);
            socket.bind(&SocketAddr::from(at).into()).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            UdpSocket::from(socket)
        };
        Workers((0..4).map(|number| (worker(number), ear(number))).collect())
    }

    /// That worker gets this connection, and no other any.
    fn connected(&self, number: u16, client: &TcpStream) {
        let (_, peer, local) = accepted(&self.0[usize::from(number)].0);
        let ends = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        assert_eq!((peer, local), ends);
        let more = self.0.iter().filter(|(ear, _)| ear.accept().is_ok());
        assert_eq!(more.count(), 0);
    }

    /// That worker hears what `mouth` says to `to`.
    fn told(&self, number: u16, mouth: &UdpSocket, to: SocketAddrV4) {
        say(mouth, "hello", to);
        let mut buffer = [0; 16];
        let (length, from) = self.0[usize::from(number)]
            .1
            .recv_from(&mut buffer)
            .unwrap();
        assert_eq!(
            (&buffer[..length], from),
            (&b"hello"[..], mouth.local_addr().unwrap())
        );
    }
}

fn signalling(protocol: Protocol, local: SocketAddrV4, inside_global: SocketAddrV4) -> Door {
    Door {
        kind: DoorKind::Signalling,
        protocol,
        inside_local: local,
        inside_global,
        lifetime: Duration::from_secs(100),
    }
}

fn all_that_an_inside_host_says_goes_to_one_worker() {
    let (gateway, mut kernel) = Gateway::with(&of_four(plan()));
    let workers = Workers::new();
    let other = gateway.phone.with_address(OTHER);
    let door = signalling(Protocol::Tcp, gateway.second.at(5060), global(5070));
    open(&mut kernel, door);
    for (host, number) in [(&gateway.phone, PHONES), (&other, 0)] {
        for (port, to) in [
            (0, gateway.outside.at(5060)),
            (0, gateway.outside.at(8000)),
            (5060, gateway.outside.at(7777)),
            (0, global(5070)),
        ] {
            workers.connected(number, &host.connect(port, to).unwrap());
        }
        workers.told(number, &host.udp(4000), gateway.outside.at(5060));
    }
}

fn a_handshake_with_syn_cookies_ends_at_the_worker_where_it_began() {
    let (gateway, mut kernel) = Gateway::with(&of_four(plan()));
    std::fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2").unwrap();
    let workers = Workers::new();
    let to = gateway.outside.at(5060);
    workers.connected(PHONES, &gateway.phone.connect(0, to).unwrap());
    let door = signalling(Protocol::Tcp, gateway.phone.at(5060), global(5070));
    open(&mut kernel, door);
    workers.connected(3, &gateway.outside.connect(0, global(5070)).unwrap());
}

fn a_host_addressed_directly_is_reached_through_its_worker() {
    let (gateway, _kernel) = Gateway::with(&of_four(plan()));
    let workers = Workers::new();
    let phone = gateway.phone.at(5060);
    workers.connected(PHONES, &gateway.outside.connect(0, phone).unwrap());
    let other = SocketAddrV4::new(OTHER, 5060);
    let _there = gateway.phone.with_address(OTHER);
    workers.connected(0, &gateway.outside.connect(0, other).unwrap());
}

fn a_door_is_served_by_the_worker_that_gives_its_port() {
    let (gateway, mut kernel) = Gateway::with(&of_four(plan()));
    let workers = Workers::new();
    let outside = gateway.outside.udp(4000);
    for (number, port) in [
        (0, 1024),
        (1, 1024 + 64),
        (2, 1024 + 2 * 64 + 63),
        (3, 5070),
    ] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let local = gateway.phone.at(port);
            open(&mut kernel, signalling(protocol, local, global(port)));
        }
        workers.connected(number, &gateway.outside.connect(0, global(port)).unwrap());
        workers.told(number, &outside, global(port));
    }
}

fn a_static_rule_is_served_by_the_worker_of_its_host() {
    let local = Ipv4Addr::new(192, 168, 122, 2);
    // Neither this address nor this port says which worker it is.
    let host = Source::Static {
        local,
        global: Ipv4Addr::new(10, 1, 1, 9),
        prefix: 32,
    };
    let port = Source::StaticPort {
        protocol: Protocol::Tcp,
        local: SocketAddrV4::new(local, 8000),
        global: global(5060),
    };
    let network = Source::Static {
        local: Ipv4Addr::new(192, 168, 122, 0),
        global: Ipv4Addr::new(10, 1, 1, 17),
        prefix: 31,
    };
    let plan = of_four(plan_with(vec![port, host, network], true));
    let (gateway, _kernel) = Gateway::with(&plan);
    let workers = Workers::new();
    for to in [
        global(5060),
        SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, 9), 5060),
    ] {
        workers.connected(PHONES, &gateway.outside.connect(0, to).unwrap());
    }
    for last in [0, 1] {
        let to = SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, 16 + last), 5060);
        let client = gateway.outside.connect(0, to).unwrap();
        workers.connected(last.into(), &client);
    }
}

fn a_host_with_an_address_of_its_own_is_reached_by_the_worker_that_gives_it() {
    let plan = of_four(plan_with(vec![pool(20, 27, false)], false));
    let (gateway, mut kernel) = Gateway::with(&plan);
    let workers = Workers::new();
    let (local, address) = (gateway.phone.address, Ipv4Addr::new(10, 1, 1, 22));
    let assign = AddressOp::Assign {
        local,
        global: address,
    };
    // A port that would be another worker's on an address that hosts share.
    let at = SocketAddrV4::new(address, 5070);
    let door = sipalg_core::DoorOp::Open(signalling(Protocol::Tcp, gateway.phone.at(5070), at));
    kernel.apply(&[assign], &[door]).unwrap();
    workers.connected(PHONES, &gateway.outside.connect(0, at).unwrap());
}

fn after_a_change_of_their_number_each_host_has_a_worker_still() {
    let (gateway, mut kernel) = Gateway::with(&plan());
    let workers = Workers::new();
    let to = gateway.outside.at(5060);
    for (number, of) in [(0, 1), (PHONES, 4), (0, 2), (PHONES, 8), (0, 1)] {
        let mut next = plan();
        next.workers = of;
        kernel.replan(&next).unwrap();
        workers.connected(number, &gateway.phone.connect(0, to).unwrap());
    }
}
