//! Media ports of the inside that count what they hear.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When a port is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// While the call is there: it must be heard.
    Before,
    /// When the call is over: it must not.
    After,
}

/// How long the packet of a telephone is, in bytes: 20 ms of G.711 and the header of RTP.
pub const PACKET: usize = 172;

/// A probe's first bytes.
const PROBE: [[u8; 4]; 2] = [*b"bfor", *b"aftr"];

/// The datagram that tries a port of a call.
pub fn probe(when: When, call: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&PROBE[usize::from(when == When::After)]);
    bytes[4..].copy_from_slice(&call.to_be_bytes());
    bytes
}

/// What a probe says.
pub fn probed(bytes: &[u8]) -> Option<(When, u32)> {
    let (mark, call) = bytes.split_first_chunk::<4>()?;
    let when = match PROBE.iter().position(|known| known == mark)? {
        0 => When::Before,
        _ => When::After,
    };
    Some((when, u32::from_be_bytes(call.try_into().ok()?)))
}

/// A packet in the shape of RTP (RFC 3550 section 5.1): the call is its source, its turn is in it.
pub fn packet(call: u32, turn: u64) -> [u8; PACKET] {
    let mut bytes = [0; PACKET];
    bytes[0] = 0x80;
    bytes[2..4].copy_from_slice(&(turn as u16).to_be_bytes());
    bytes[4..8].copy_from_slice(&((turn * 160) as u32).to_be_bytes());
    bytes[8..12].copy_from_slice(&call.to_be_bytes());
    bytes[12..20].copy_from_slice(&turn.to_be_bytes());
    bytes
}

/// What the ports heard since they were asked before.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Heard {
    /// Packets of RTP.
    pub packets: u64,
    /// Packets that came twice, not in their turn, or to another call's port.
    pub disorder: u64,
    /// Ports that a probe came to.
    pub reached: u64,
}

/// A media port.
struct Port {
    socket: UdpSocket,
    call: u32,
    /// The turn that the next packet has at least.
    next: u64,
    reached: bool,
}

/// Ports with somebody who listens.
#[derive(Debug)]
pub struct Ears {
    heard: Arc<Mutex<Heard>>,
}

impl Ears {
    /// Listens at all ports of the calls by a socket that is given a copy of every datagram: for
    /// more ports than a process may have files.
    ///
    /// # Errors
    /// It takes root.
    pub fn open_many(own: Ipv4Addr, calls: &[(u32, u16)]) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))?;
        socket.bind(&SocketAddrV4::new(own, 0).into())?;
        socket.set_recv_buffer_size(4 << 20)?;
        let ports: BTreeMap<u16, u32> = calls
            .iter()
            .flat_map(|&(call, first)| [(first, call), (first + 1, call)])
            .collect();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = Arc::clone(&heard);
        std::thread::spawn(move || listen_to_all(socket, ports, &shared));
        Ok(Ears { heard })
    }

    /// Listens at the two ports of each call, from `(call, first port)`.
    ///
    /// # Errors
    /// A port cannot be had.
    pub fn open(own: Ipv4Addr, calls: &[(u32, u16)]) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut ports = Vec::new();
        for &(call, first) in calls {
            for port in [first, first + 1] {
                let socket = UdpSocket::bind((own, port))?;
                socket.set_nonblocking(true)?;
                let event = EpollEvent::new(EpollFlags::EPOLLIN, ports.len() as u64);
                epoll.add(&socket, event)?;
                socket2::SockRef::from(&socket).set_recv_buffer_size(1 << 20)?;
                ports.push(Port {
                    socket,
                    call,
                    next: 0,
                    reached: false,
                });
            }
        }
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = Arc::clone(&heard);
        std::thread::spawn(move || listen(&epoll, &mut ports, &shared));
        Ok(Ears { heard })
    }

    /// What was heard, once that is so many packets and ports, or nothing comes any more.
    pub fn heard(&self, expected: u64) -> Heard {
        let (mut before, mut since) = (0, Instant::now());
        loop {
            {
                let mut heard = lock(&self.heard);
                let now = heard.packets + heard.reached;
                if now >= expected || (now == before && since.elapsed() > QUIET) {
                    return std::mem::take(&mut heard);
                }
                if now != before {
                    (before, since) = (now, Instant::now());
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// How long nothing must have come for nothing more to be expected.
const QUIET: Duration = Duration::from_millis(500);

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens as long as the process lives.
fn listen(epoll: &Epoll, ports: &mut [Port], shared: &Mutex<Heard>) {
    let mut events = vec![EpollEvent::empty(); 256];
    let mut bytes = [0; 2 * PACKET];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
        for event in &events[..count] {
            let port = &mut ports[event.data() as usize];
            while let Ok(length) = port.socket.recv(&mut bytes) {
                port.hear(&bytes[..length], &mut lock(shared));
            }
        }
    }
}

/// Listens to copies of all datagrams as long as the process lives.
fn listen_to_all(mut socket: Socket, mut ports: BTreeMap<u16, u32>, shared: &Mutex<Heard>) {
    let mut bytes = [0; 2048];
    while let Ok(length) = socket.read(&mut bytes) {
        // After the header of IPv4, whose length is in its first byte, that of UDP.
        let datagram = bytes[..length]
            .get(usize::from(bytes[0] & 15) * 4..)
            .unwrap_or(&[]);
        let port = datagram
            .get(2..4)
            .map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
        if let Some((_, call)) = datagram.get(8..).and_then(probed) {
            let mut heard = lock(shared);
            // Each port counts once.
            match ports.remove(&port) {
                Some(own) if own == call => heard.reached += 1,
                _ => heard.disorder += 1,
            }
        }
    }
}

impl Port {
    fn hear(&mut self, bytes: &[u8], heard: &mut Heard) {
        if let Some((_, call)) = probed(bytes) {
            heard.reached += u64::from(call == self.call && !self.reached);
            heard.disorder += u64::from(call != self.call);
            self.reached = true;
            return;
        }
        let (Some(call), Some(turn)) = (
            bytes
                .get(8..12)
                .and_then(|call| Some(u32::from_be_bytes(call.try_into().ok()?))),
            bytes
                .get(12..20)
                .and_then(|turn| Some(u64::from_be_bytes(turn.try_into().ok()?))),
        ) else {
            return;
        };
        // Each sending begins at turn 0 again.
        let again = turn == 0 && self.next > 0;
        heard.disorder += u64::from(call != self.call || (turn < self.next && !again));
        heard.packets += 1;
        self.next = turn + 1;
    }
}
