//! A gateway with three inside hosts and one outside, and what they say to each other.
//!
//! ```text
//!   phone   192.168.122.2 -- gin   \
//!   second  192.168.123.2 -- gin2   gateway  gout 10.1.1.1 -- 10.1.1.2 outside
//!   denied  192.168.124.2 -- gin3  /                           10.1.1.3
//! ```
//!
//! The access list permits the first two: even addresses, except 192.168.123.4.

use crate::net::{Host, enter_new_net};
use nix::sys::socket::{setsockopt, sockopt};
use sipalg::kernel::{Elements, Kernel, Plan, SourcePlan};
use sipalg::netlink::route::Route;
use sipalg_core::config::{
    AccessEntry, AccessList, FlowTimeouts, MaxEntries, Pool, Source, SourceRule,
};
use sipalg_core::{Door, DoorKind, DoorOp, Protocol};
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The inside global address.
pub(crate) const GLOBAL: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 1);
/// Where TPROXY delivers.
pub(crate) const LISTENER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 15060);
/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Gateway {
    pub(crate) phone: Host,
    pub(crate) second: Host,
    pub(crate) denied: Host,
    pub(crate) outside: Host,
    pub(crate) state: StateDir,
}

/// A directory that goes with the test.
pub(crate) struct StateDir(PathBuf);

impl StateDir {
    pub(crate) fn new() -> Self {
        let thread = nix::unistd::gettid();
        StateDir(std::env::temp_dir().join(format!("sipalg-kernel-test-{thread}")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Gateway {
    /// The network, without sipalg.
    pub(crate) fn bare() -> Self {
        enter_new_net();
        let inside = |name, net| {
            Host::on_wire(
                name,
                Ipv4Addr::new(192, 168, net, 1),
                Ipv4Addr::new(192, 168, net, 2),
            )
        };
        let gateway = Gateway {
            phone: inside("gin", 122),
            second: inside("gin2", 123),
            denied: inside("gin3", 124),
            outside: Host::on_wire("gout", GLOBAL, Ipv4Addr::new(10, 1, 1, 2)),
            state: StateDir::new(),
        };
        gateway.outside.run(|| {
            let mut route = Route::open().unwrap();
            route
                .add_address("eth0", Ipv4Addr::new(10, 1, 1, 3), 24)
                .unwrap();
        });
        gateway
    }

    /// The network with sipalg's kernel half in place.
    pub(crate) fn installed() -> (Self, Kernel) {
        Self::with(&plan())
    }

    /// The network with `plan` in place.
    pub(crate) fn with(plan: &Plan) -> (Self, Kernel) {
        let gateway = Self::bare();
        let kernel = gateway.carry_out(plan);
        (gateway, kernel)
    }

    pub(crate) fn install(&self) -> Kernel {
        self.carry_out(&plan())
    }

    pub(crate) fn carry_out(&self, plan: &Plan) -> Kernel {
        let kernel = Kernel::install(plan, self.state.path()).unwrap();
        match ELEMENTS.with(std::cell::Cell::get) {
            Some(elements) => kernel.with_elements(elements).unwrap(),
            None => kernel,
        }
    }
}

thread_local! {
    /// What kind of kernel the gateways of this thread shall take theirs for.
    pub(crate) static ELEMENTS: std::cell::Cell<Option<Elements>> = const { std::cell::Cell::new(None) };
}

/// The access list.
pub(crate) fn list() -> AccessList {
    let entry = |permit, third, fourth, wildcard| {
        AccessEntry::standard(
            permit,
            Ipv4Addr::new(192, 168, third, fourth),
            Ipv4Addr::from(wildcard),
        )
    };
    let entries = vec![
        entry(false, 123, 4, [0, 0, 0, 0]),
        // A mask with holes: the even hosts of 192.168.122.0/24 and 192.168.123.0/24.
        entry(true, 122, 0, [0, 0, 1, 254]),
    ];
    AccessList {
        name: "1".into(),
        entries,
    }
}

pub(crate) fn plan() -> Plan {
    Plan {
        inside: ["gin", "gin2", "gin3"].map(String::from).into(),
        outside: vec!["gout".into()],
        sources: vec![SourcePlan {
            rule: SourceRule::overload(list(), GLOBAL),
            interface: Some("gout".into()),
            alias: true,
        }],
        l4f: true,
        sip_tcp_ports: vec![5060, 8000],
        sip_udp_ports: vec![5060],
        access_group: None,
        media_access_group: None,
        bypass: None,
        timeouts: FlowTimeouts::default(),
        max_entries: MaxEntries::default(),
        listener: LISTENER,
        workers: 1,
    }
}

/// The plan with these rules before, and the list's own only if `list_too`.
pub(crate) fn plan_with(sources: Vec<Source>, list_too: bool) -> Plan {
    let mut plan = plan();
    let own = if list_too { plan.sources } else { Vec::new() };
    let source = |source| SourcePlan {
        rule: SourceRule {
            source,
            payload: true,
        },
        interface: None,
        alias: true,
    };
    plan.sources = sources.into_iter().map(source).chain(own).collect();
    plan
}

/// The list with the addresses 10.1.1.`first` to 10.1.1.`last`.
pub(crate) fn pool(first: u8, last: u8, overload: bool) -> Source {
    let [start, end] = [first, last].map(|last| Ipv4Addr::new(10, 1, 1, last));
    Source::List {
        list: list(),
        pool: Pool {
            start,
            end,
            overload,
        },
    }
}

pub(crate) fn media(local: SocketAddrV4, global_port: u16) -> Door {
    Door {
        kind: DoorKind::Media,
        protocol: Protocol::Udp,
        inside_local: local,
        inside_global: global(global_port),
        lifetime: Duration::from_secs(100),
    }
}

pub(crate) fn global(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(GLOBAL, port)
}

pub(crate) fn open(kernel: &mut Kernel, door: Door) {
    kernel.apply(&[], &[DoorOp::Open(door)]).unwrap();
}

pub(crate) fn close(kernel: &mut Kernel, door: Door) {
    kernel.apply(&[], &[DoorOp::Close(door)]).unwrap();
}

impl Host {
    pub(crate) fn at(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, port)
    }

    pub(crate) fn udp(&self, port: u16) -> UdpSocket {
        let socket = self.run(|| UdpSocket::bind(self.at(port)).unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// The host under a further address.
    pub(crate) fn with_address(&self, address: Ipv4Addr) -> Self {
        self.run(|| {
            Route::open()
                .unwrap()
                .add_address("eth0", address, 24)
                .unwrap()
        });
        self.alias(address)
    }

    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        self.run(|| listener(self.at(port)))
    }

    /// Connects from `port` (zero: any) to `to`.
    pub(crate) fn connect(&self, port: u16, to: SocketAddrV4) -> std::io::Result<TcpStream> {
        self.run(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from(self.at(port)).into())?;
            socket.connect_timeout(&SocketAddr::from(to).into(), PATIENCE)?;
            let stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        })
    }
}

pub(crate) fn listener(at: SocketAddrV4) -> TcpListener {
    let listener = TcpListener::bind(at).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// What sipalg listens with.
pub(crate) fn proxy() -> TcpListener {
    worker(0)
}

/// What a worker of several listens with.
pub(crate) fn worker(number: u16) -> TcpListener {
    let at = SocketAddrV4::new(*LISTENER.ip(), LISTENER.port() + number);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_ip_transparent_v4(true).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(at).into()).unwrap();
    socket.listen(16).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

/// A leg as sipalg dials it toward the inside: from an outside host's address.
pub(crate) fn dial(from: SocketAddrV4, to: SocketAddrV4) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_ip_transparent_v4(true).unwrap();
    socket.set_reuse_address(true).unwrap();
    setsockopt(&socket, sockopt::Mark, &sipalg::kernel::MARK_DIAL).unwrap();
    socket.bind(&SocketAddr::from(from).into()).unwrap();
    socket
        .connect_timeout(&SocketAddr::from(to).into(), PATIENCE)
        .unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The connection that came to `listener`: its socket, who it is from, and whom it is for.
pub(crate) fn accepted(listener: &TcpListener) -> (TcpStream, SocketAddr, SocketAddr) {
    let (stream, peer) = eventually(|| listener.accept().ok());
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let local = stream.local_addr().unwrap();
    (stream, peer, local)
}

/// What `look` finds at last.
pub(crate) fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "it never happened");
        std::thread::yield_now();
    }
}

/// The next datagram that `socket` hears: text and sender.
pub(crate) fn hear(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 256];
    let (length, from) = socket.recv_from(&mut buffer).expect("a datagram arrives");
    (
        String::from_utf8_lossy(&buffer[..length]).into_owned(),
        from,
    )
}

pub(crate) fn say(socket: &UdpSocket, text: &str, to: SocketAddrV4) {
    socket.send_to(text.as_bytes(), to).unwrap();
}

/// Sends `text`, and sees it arrive at `ear` from `seen_from`.
pub(crate) fn heard(mouth: &UdpSocket, to: SocketAddrV4, ear: &UdpSocket, seen_from: SocketAddrV4) {
    say(mouth, "hello", to);
    assert_eq!(hear(ear), ("hello".into(), seen_from.into()));
}

/// Sends `text`, and sees that `ear`, which the gateway then tells something itself, hears only
/// that: the wire keeps the order.
pub(crate) fn unheard(mouth: &UdpSocket, to: SocketAddrV4, ear: &UdpSocket) {
    say(mouth, "into the void", to);
    let SocketAddr::V4(ear_address) = ear.local_addr().unwrap() else {
        panic!("IPv4 only");
    };
    let marker = UdpSocket::bind("0.0.0.0:0").unwrap();
    say(&marker, "marker", ear_address);
    assert_eq!(hear(ear).0, "marker");
}
