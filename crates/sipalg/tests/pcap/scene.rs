//! Captures that the tests make: packets, TCP connections with everything that happens to segments,
//! and a call.

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, TcpHeader, UdpHeader};
use std::net::SocketAddrV4;

/// The link headers that a capture may have.
pub const LINK_TYPES: [(u16, &str); 6] = [
    (1, "Ethernet"),
    (0x8001, "Ethernet with a VLAN tag"),
    (113, "Linux cooked"),
    (276, "Linux cooked, version 2"),
    (101, "raw IP"),
    (0, "BSD loopback"),
];

pub const PHONE: &str = "192.168.122.3";
pub const OTHER_PHONE: &str = "192.168.122.4";
pub const PROXY: &str = "203.0.113.9:5060";
pub const FAR_MEDIA: &str = "203.0.113.20:7000";

pub fn at(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

/// IPv4 packets with their times in microseconds.
#[derive(Default)]
pub struct Scene {
    pub packets: Vec<(u64, Vec<u8>)>,
    /// Frames that are not IPv4, for Ethernet.
    pub others: Vec<(u64, Vec<u8>)>,
    pub clock: u64,
    identification: u16,
}

impl Scene {
    /// The packet, a millisecond after the one before.
    pub fn packet(&mut self, packet: Vec<u8>) {
        self.clock += 1000;
        self.packets.push((self.clock, packet));
    }

    fn ip(
        &mut self,
        protocol: IpNumber,
        from: SocketAddrV4,
        to: SocketAddrV4,
        size: usize,
    ) -> Ipv4Header {
        let (from, to) = (from.ip().octets(), to.ip().octets());
        let mut header = Ipv4Header::new(size as u16, 64, protocol, from, to).unwrap();
        self.identification += 1;
        header.identification = self.identification;
        header
    }

    fn udp_parts(
        &mut self,
        from: SocketAddrV4,
        to: SocketAddrV4,
        data: &[u8],
    ) -> (Ipv4Header, Vec<u8>) {
        let ip = self.ip(IpNumber::UDP, from, to, data.len() + 8);
        let udp = UdpHeader::with_ipv4_checksum(from.port(), to.port(), &ip, data).unwrap();
        (ip, [&udp.to_bytes()[..], data].concat())
    }

    pub fn udp(&mut self, from: &str, to: &str, data: &[u8]) {
        let (ip, payload) = self.udp_parts(at(from), at(to), data);
        self.packet(finish(ip, &payload));
    }

    /// A datagram in fragments of `size` bytes, the last one first.
    pub fn fragmented(&mut self, from: &str, to: &str, data: &[u8], size: usize) {
        let (ip, payload) = self.udp_parts(at(from), at(to), data);
        let count = payload.len().div_ceil(size);
        for (index, piece) in payload.chunks(size).enumerate().rev() {
            let mut ip = ip.clone();
            ip.more_fragments = index + 1 < count;
            ip.fragment_offset = IpFragOffset::try_new((index * size / 8) as u16).unwrap();
            self.packet(finish(ip, piece));
        }
    }

    pub fn tcp(
        &mut self,
        from: SocketAddrV4,
        to: SocketAddrV4,
        mut header: TcpHeader,
        data: &[u8],
    ) {
        (header.source_port, header.destination_port) = (from.port(), to.port());
        let size = header.header_len() + data.len();
        let ip = self.ip(IpNumber::TCP, from, to, size);
        header.checksum = header.calc_checksum_ipv4(&ip, data).unwrap();
        self.packet(finish(ip, &[&header.to_bytes()[..], data].concat()));
    }

    pub fn echo(&mut self, from: &str, to: &str) {
        let (from, to) = (at(&format!("{from}:0")), at(&format!("{to}:0")));
        let icmp = [8, 0, 0xF7, 0xFF, 0, 0, 0, 0];
        let ip = self.ip(IpNumber::ICMP, from, to, icmp.len());
        self.packet(finish(ip, &icmp));
    }

    /// What RTP looks like.
    pub fn rtp(&mut self, from: &str, to: &str, number: u16) {
        let mut packet = vec![0x80, 0];
        packet.extend(number.to_be_bytes());
        packet.extend([0, 0, 0, 1, 0, 0, 0, 2]);
        packet.extend([0x55; 160]);
        self.udp(from, to, &packet);
    }

    /// The file, as tcpdump writes it, with this link header.
    pub fn pcap(&self, link_type: u16) -> Vec<u8> {
        let mut packets: Vec<(u64, Vec<u8>)> = Vec::new();
        for (time, packet) in &self.packets {
            packets.push((*time, [link_header(link_type), packet.clone()].concat()));
        }
        if link_type == 1 {
            packets.extend(self.others.iter().cloned());
        }
        packets.sort_by_key(|(time, _)| *time);
        let mut file = Vec::new();
        file.extend(0xA1B2_C3D4_u32.to_le_bytes());
        file.extend([2, 0, 4, 0]);
        file.extend([0; 8]);
        file.extend(65535_u32.to_le_bytes());
        file.extend(u32::from(link_type & 0x7FFF).to_le_bytes());
        for (time, data) in packets {
            file.extend((1_700_000_000 + (time / 1_000_000) as u32).to_le_bytes());
            file.extend(((time % 1_000_000) as u32).to_le_bytes());
            file.extend((data.len() as u32).to_le_bytes());
            file.extend((data.len() as u32).to_le_bytes());
            file.extend(data);
        }
        file
    }
}

fn finish(mut ip: Ipv4Header, payload: &[u8]) -> Vec<u8> {
    ip.set_payload_len(payload.len()).unwrap();
    ip.header_checksum = ip.calc_header_checksum();
    [&ip.to_bytes()[..], payload].concat()
}

fn link_header(link_type: u16) -> Vec<u8> {
    let macs = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    match link_type {
        1 => [&macs[..], &[8, 0]].concat(),
        0x8001 => [&macs[..], &[0x81, 0, 0, 7, 8, 0]].concat(),
        113 => [&[0, 0, 0, 1, 0, 6][..], &[2, 0, 0, 0, 0, 1, 0, 0, 8, 0]].concat(),
        276 => [
            &[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6][..],
            &[2, 0, 0, 0, 0, 1, 0, 0],
        ]
        .concat(),
        0 => vec![2, 0, 0, 0],
        _ => Vec::new(),
    }
}

/// Who speaks on a connection.
#[derive(Clone, Copy, PartialEq)]
pub enum Side {
    Client = 0,
    Server = 1,
}

/// A TCP connection.
pub struct Talk {
    ends: [SocketAddrV4; 2],
    next: [u32; 2],
}

impl Talk {
    pub fn open(scene: &mut Scene, client: &str, server: &str) -> Self {
        let mut talk = Talk {
            ends: [at(client), at(server)],
            next: [u32::MAX - 100, 77_000],
        };
        talk.control(scene, Side::Client, |header| {
            (header.syn, header.ack) = (true, false)
        });
        talk.control(scene, Side::Server, |header| header.syn = true);
        talk.control(scene, Side::Client, |_| {});
        talk
    }

    /// Sends text in one segment, and acknowledges it.
    pub fn say(&mut self, scene: &mut Scene, side: Side, text: &str) {
        self.send(scene, side, text, &[(0, text.len())]);
    }

    /// Sends text in these pieces, in this order; they may repeat and overlap, but must cover it.
    pub fn send(&mut self, scene: &mut Scene, side: Side, text: &str, pieces: &[(usize, usize)]) {
        let start = self.next[side as usize];
        for (from, to) in pieces {
            let mut header = self.header(side);
            header.sequence_number = start.wrapping_add(*from as u32);
            header.psh = true;
            let (source, destination) = self.way(side);
            scene.tcp(source, destination, header, &text.as_bytes()[*from..*to]);
        }
        self.next[side as usize] = start.wrapping_add(text.len() as u32);
        let other = match side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        self.control(scene, other, |_| {});
    }

    pub fn close(&mut self, scene: &mut Scene) {
        self.control(scene, Side::Client, |header| header.fin = true);
        self.control(scene, Side::Server, |header| header.fin = true);
        self.control(scene, Side::Client, |_| {});
    }

    pub fn reset(&mut self, scene: &mut Scene, side: Side) {
        self.control(scene, side, |header| header.rst = true);
    }

    fn control(&mut self, scene: &mut Scene, side: Side, mark: impl FnOnce(&mut TcpHeader)) {
        let mut header = self.header(side);
        mark(&mut header);
        let takes = header.syn || header.fin;
        let (source, destination) = self.way(side);
        scene.tcp(source, destination, header, b"");
        self.next[side as usize] = self.next[side as usize].wrapping_add(takes.into());
    }

    fn header(&self, side: Side) -> TcpHeader {
        let mut header = TcpHeader::new(0, 0, self.next[side as usize], 64240);
        header.ack = true;
        header.acknowledgment_number = self.next[1 - side as usize];
        header
    }

    fn way(&self, side: Side) -> (SocketAddrV4, SocketAddrV4) {
        match side {
            Side::Client => (self.ends[0], self.ends[1]),
            Side::Server => (self.ends[1], self.ends[0]),
        }
    }
}

pub fn sdp(host: &str, port: u16) -> String {
    format!(
        "v=0\r\no=u 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    )
}

/// A message of these lines, its length made right.
pub fn message(start: &str, lines: &[&str], body: &str) -> String {
    let mut text = format!("{start}\r\n");
    for line in lines {
        text += &format!("{line}\r\n");
    }
    if !body.is_empty() {
        text += "Content-Type: application/sdp\r\n";
    }
    text + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
}
