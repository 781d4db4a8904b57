//! Every packet that a host sees at an interface, from the moment that the capture is made.

use super::net::Host;
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A capture that runs.
#[derive(Debug)]
pub struct Capture {
    end: Arc<AtomicBool>,
    packets: Arc<Mutex<Vec<Packet>>>,
    reader: JoinHandle<()>,
}

/// An IPv4 packet.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The header's and what it carries, as they were on the wire.
    pub bytes: Vec<u8>,
}

/// One direction of a TCP connection: from, to.
pub type Direction = (SocketAddrV4, SocketAddrV4);

impl Capture {
    /// Captures at an interface of a host. The kernel keeps packets for us when this returns.
    pub fn start(host: &Host, interface: &str) -> Self {
        let (socket, index) = host.run(|| {
            let every = i32::from((libc::ETH_P_ALL as u16).to_be());
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(every)));
            let index = nix::net::if_::if_nametoindex(interface);
            (socket.expect("a packet socket"), index.expect(interface))
        });
        nix::sys::socket::setsockopt(
            &socket,
            nix::sys::socket::sockopt::RcvBufForce,
            &(256 << 20),
        )
        .expect("room for packets");
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a timeout");
        let end = Arc::new(AtomicBool::new(false));
        let packets = Arc::<Mutex<Vec<Packet>>>::default();
        let (ended, kept) = (end.clone(), packets.clone());
        let reader = std::thread::spawn(move || read(&socket, index, &ended, &kept));
        Capture {
            end,
            packets,
            reader,
        }
    }

    /// The packets up to now or a little earlier.
    pub fn so_far(&self) -> Packets {
        Packets(self.packets.lock().expect("the packets").clone())
    }

    /// How many of the packets up to now or a little earlier have a certain property.
    pub fn count(&self, property: impl Fn(&Packet) -> bool) -> usize {
        let packets = self.packets.lock().expect("the packets");
        packets.iter().filter(|packet| property(packet)).count()
    }

    /// Ends it, and gives all packets up to now.
    pub fn stop(self) -> Packets {
        self.end.store(true, Ordering::Release);
        self.reader.join().expect("the capture");
        Packets(std::mem::take(
            &mut *self.packets.lock().expect("the packets"),
        ))
    }
}

/// What was captured, in order.
#[derive(Clone, Debug)]
pub struct Packets(pub Vec<Packet>);

impl Packets {
    /// The packets with a certain property.
    pub fn filter(&self, property: impl Fn(&Packet) -> bool) -> Vec<&Packet> {
        self.0.iter().filter(|packet| property(packet)).collect()
    }

    /// How many UDP packets went to each address and port.
    pub fn datagrams_to(&self) -> BTreeMap<SocketAddrV4, usize> {
        let mut counts = BTreeMap::new();
        for packet in self.filter(Packet::is_udp) {
            *counts.entry(packet.destination()).or_default() += 1;
        }
        counts
    }

    /// What each direction of each TCP connection carried, put together from its segments.
    ///
    /// # Panics
    /// A segment is missing: the capture lost a packet.
    pub fn streams(&self) -> BTreeMap<Direction, Vec<u8>> {
        let mut segments: BTreeMap<Direction, Vec<&Packet>> = BTreeMap::new();
        for packet in self.filter(Packet::is_tcp) {
            let direction = (packet.source(), packet.destination());
            segments.entry(direction).or_default().push(packet);
        }
        let put_together = segments.into_iter().map(|(direction, packets)| {
            let stream = assemble(&packets);
            (direction, stream)
        });
        put_together.collect()
    }
}

impl Packet {
    /// TCP?
    pub fn is_tcp(&self) -> bool {
        self.bytes[9] == 6
    }

    /// UDP?
    pub fn is_udp(&self) -> bool {
        self.bytes[9] == 17
    }

    /// A SIP message in a datagram?
    pub fn is_sip_over_udp(&self) -> bool {
        let starts = |start: &&[u8]| self.payload().starts_with(start);
        let starts_of_messages: [&[u8]; 5] = [b"SIP/2.0", b"INVITE", b"ACK", b"BYE", b"REGISTER"];
        self.is_udp() && starts_of_messages.iter().any(starts)
    }

    /// The first segment of a connection that somebody opens?
    pub fn is_syn(&self) -> bool {
        self.is_tcp() && self.tcp_flags() & 0x12 == 0x02
    }

    /// The differentiated services code point.
    pub fn dscp(&self) -> u8 {
        self.bytes[1] >> 2
    }

    /// From which address, and port if it has ports.
    pub fn source(&self) -> SocketAddrV4 {
        self.end(12, 0)
    }

    /// To which address, and port if it has ports.
    pub fn destination(&self) -> SocketAddrV4 {
        self.end(16, 2)
    }

    /// What TCP or UDP carries.
    pub fn payload(&self) -> &[u8] {
        let header = match self.bytes[9] {
            6 => usize::from(self.transport()[12] >> 4) * 4,
            _ => 8,
        };
        &self.transport()[header..]
    }

    fn end(&self, address: usize, port: usize) -> SocketAddrV4 {
        let port = match self.is_tcp() || self.is_udp() {
            true => (number(self.transport(), port) >> 16) as u16,
            false => 0,
        };
        SocketAddrV4::new(Ipv4Addr::from(number(&self.bytes, address)), port)
    }

    fn transport(&self) -> &[u8] {
        // Without the padding that short frames carry.
        let total = usize::from(u16::from_be_bytes([self.bytes[2], self.bytes[3]]));
        &self.bytes[usize::from(self.bytes[0] & 15) * 4..total.min(self.bytes.len())]
    }

    fn tcp_flags(&self) -> u8 {
        self.transport()[13]
    }

    fn sequence(&self) -> u32 {
        number(self.transport(), 4)
    }
}

/// Four bytes as the network writes a number.
fn number(bytes: &[u8], at: usize) -> u32 {
    let digits = bytes[at..at + 4].iter();
    digits.fold(0, |number, digit| number << 8 | u32::from(*digit))
}

fn read(socket: &Socket, interface: u32, end: &AtomicBool, packets: &Mutex<Vec<Packet>>) {
    let mut buffer = vec![0; 128 << 10];
    loop {
        // Looked at first: all that is there when the end is asked for is still taken.
        let last = end.load(Ordering::Acquire);
        match receive(socket, &mut buffer) {
            Some((length, from)) => {
                let ours = from.ifindex() == interface as usize && length >= 20;
                if ours && buffer[0] >> 4 == 4 && from.protocol() == (libc::ETH_P_IP as u16).to_be()
                {
                    let bytes = buffer[..length].to_vec();
                    let packet = Packet { bytes };
                    packets.lock().expect("the packets").push(packet);
                }
            }
            None if last => return,
            None => {}
        }
    }
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> Option<(usize, LinkAddr)> {
    let (length, from) = recvfrom::<LinkAddr>(socket.as_raw_fd(), buffer).ok()?;
    Some((length, from?))
}

/// Puts the payloads of one direction in order. Segments that came twice count once.
fn assemble(packets: &[&Packet]) -> Vec<u8> {
    let first = packets.iter().find(|packet| packet.tcp_flags() & 0x02 != 0);
    // Without a SYN, the connection is older than the capture.
    let start = match first {
        Some(syn) => syn.sequence().wrapping_add(1),
        None => packets.iter().map(|p| p.sequence()).min().unwrap_or(0),
    };
    let mut parts: Vec<_> = packets
        .iter()
        .filter(|packet| !packet.payload().is_empty())
        .map(|packet| (packet.sequence().wrapping_sub(start), packet.payload()))
        // A keepalive repeats the byte before the next one.
        .filter(|(at, _)| *at < 1 << 31)
        .collect();
    parts.sort();
    let mut stream: Vec<u8> = Vec::new();
    for (at, payload) in parts {
        let at = at as usize;
        assert!(at <= stream.len(), "a segment is missing in the capture");
        let known = stream.len() - at;
        stream.extend(payload.iter().skip(known));
    }
    stream
}
