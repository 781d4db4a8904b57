//! RTP and RTCP ears: what a phone's audio sockets do in a call, packet by packet.

use super::endpoint::{PATIENCE, about, v4};
use super::net::Host;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

/// RTP header (RFC 3550 5.1) and 20 ms of G.711 at 8 kHz.
const RTP_BYTES: usize = 12 + 160;

/// An RTP socket and the RTCP socket beside it.
#[derive(Debug)]
pub struct Ear {
    name: &'static str,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// Tells this ear's stream from the others (SSRC).
    source: u32,
}

impl Ear {
    /// Opens RTP on `port` and RTCP on the next.
    ///
    /// # Errors
    /// A port is taken.
    pub fn open(host: &Host, address: Ipv4Addr, port: u16) -> io::Result<Self> {
        let (rtp, rtcp) = (udp(host, address, port)?, udp(host, address, port + 1)?);
        Ok(Ear {
            name: host.name,
            rtp,
            rtcp,
            source: u32::from(address) ^ u32::from(port),
        })
    }

    /// Where it listens for RTP.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn rtp(&self) -> io::Result<SocketAddrV4> {
        v4(self.rtp.local_addr()?)
    }

    /// Where it listens for RTCP.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn rtcp(&self) -> io::Result<SocketAddrV4> {
        v4(self.rtcp.local_addr()?)
    }

    /// Speaks the RTP packet number `number`.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn speak(&self, number: u16, to: SocketAddrV4) -> io::Result<()> {
        self.rtp.send_to(&rtp(number, self.source), to).map(drop)
    }

    /// Sends an RTCP report.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn report(&self, to: SocketAddrV4) -> io::Result<()> {
        self.rtcp.send_to(&rtcp(self.source), to).map(drop)
    }

    /// Waits for RTP packet `number` of `other` and returns where it came from.
    ///
    /// # Errors
    /// Another packet or none came.
    pub fn hear(&self, number: u16, other: &Ear) -> io::Result<SocketAddrV4> {
        receive(&self.rtp, &rtp(number, other.source))
            .map_err(|error| about(error, &format!("{}: RTP packet {number}", self.name)))
    }

    /// Waits for the RTCP report of `other` and returns where it came from.
    ///
    /// # Errors
    /// Another packet or none came.
    pub fn hear_report(&self, other: &Ear) -> io::Result<SocketAddrV4> {
        receive(&self.rtcp, &rtcp(other.source))
            .map_err(|error| about(error, &format!("{}: RTCP report", self.name)))
    }

    /// Whether a packet waits that nobody asked for.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn anything_left(&self) -> io::Result<bool> {
        Ok(waiting(&self.rtp)? || waiting(&self.rtcp)?)
    }
}

/// What came of a conversation.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Conversation {
    /// RTP packets that arrived at either ear.
    pub packets: u16,
    /// Every source that the phone saw, RTP before RTCP.
    pub seen_by_phone: Vec<SocketAddrV4>,
    /// Every source that the outside saw, RTP before RTCP.
    pub seen_by_outside: Vec<SocketAddrV4>,
}

/// Where an ear listens as the other side knows it: RTP and RTCP.
#[derive(Debug, Clone, Copy)]
pub struct Address {
    /// RTP.
    pub rtp: SocketAddrV4,
    /// RTCP.
    pub rtcp: SocketAddrV4,
}

/// Both speak `packets` packets at the same time, and report once. `phone_at` is where the outside
/// was told to send, `outside_at` where the phone was.
///
/// # Errors
/// A packet did not arrive.
pub fn talk(
    (phone, phone_at): (&Ear, Address),
    (outside, outside_at): (&Ear, Address),
    packets: u16,
) -> io::Result<Conversation> {
    let mut heard = Conversation::default();
    for number in 0..packets {
        // Both before either is read: the first two cross in the gateway, as in real calls.
        phone.speak(number, outside_at.rtp)?;
        outside.speak(number, phone_at.rtp)?;
        let sources = (phone.hear(number, outside)?, outside.hear(number, phone)?);
        heard.note(sources);
        heard.packets += 1;
    }
    phone.report(outside_at.rtcp)?;
    outside.report(phone_at.rtcp)?;
    heard.note((phone.hear_report(outside)?, outside.hear_report(phone)?));
    Ok(heard)
}

impl Conversation {
    fn note(&mut self, (by_phone, by_outside): (SocketAddrV4, SocketAddrV4)) {
        for (list, source) in [
            (&mut self.seen_by_phone, by_phone),
            (&mut self.seen_by_outside, by_outside),
        ] {
            if list.last() != Some(&source) {
                list.push(source);
            }
        }
    }
}

/// Opens a UDP socket in a host.
///
/// # Errors
/// The port is taken.
pub fn udp(host: &Host, address: Ipv4Addr, port: u16) -> io::Result<UdpSocket> {
    host.run(move || {
        let socket = UdpSocket::bind((address, port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    })
    .map_err(|error| about(error, &format!("{}: UDP {address}:{port}", host.name)))
}

/// Waits for this datagram and returns its source.
///
/// # Errors
/// Another or none came.
pub fn receive(socket: &UdpSocket, expected: &[u8]) -> io::Result<SocketAddrV4> {
    let mut buffer = [0; 2048];
    let (count, source) = socket.recv_from(&mut buffer)?;
    if &buffer[..count] != expected {
        return Err(io::Error::other(format!(
            "other bytes arrived from {source}"
        )));
    }
    v4(source)
}

fn waiting(socket: &UdpSocket) -> io::Result<bool> {
    socket.set_nonblocking(true)?;
    let waiting = socket.peek_from(&mut [0; 1]).is_ok();
    socket.set_nonblocking(false)?;
    Ok(waiting)
}

fn rtp(number: u16, source: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(RTP_BYTES);
    packet.extend([0x80, 0]);
    packet.extend(number.to_be_bytes());
    packet.extend((u32::from(number) * 160).to_be_bytes());
    packet.extend(source.to_be_bytes());
    // The samples differ from packet to packet, so that none passes for another.
    packet.resize(RTP_BYTES, number.to_be_bytes()[1] ^ 0xd5);
    packet
}

/// A sender report without blocks (RFC 3550 6.4.1): 28 bytes, length in words less one.
fn rtcp(source: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend(source.to_be_bytes());
    packet.resize(28, 0);
    packet
}
