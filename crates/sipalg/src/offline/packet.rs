//! Packets: finding IPv4 under the link header, reading it, and giving it other ends.

use etherparse::checksum::Sum16BitWords;
use etherparse::{IpFragOffset, IpNumber, Ipv4Header};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Where a packet comes from and goes to. Protocols without ports have 0 there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Ends {
    /// The sender.
    pub source: SocketAddrV4,
    /// The receiver.
    pub destination: SocketAddrV4,
}

impl Ends {
    /// Both addresses with their ports.
    pub fn new(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16)) -> Self {
        Ends {
            source: SocketAddrV4::new(source.0, source.1),
            destination: SocketAddrV4::new(destination.0, destination.1),
        }
    }
}

/// An IPv4 packet, as much of it as there is.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Its header, of the length and with the options that it has.
    pub header: Ipv4Header,
    /// What follows the header.
    pub payload: Vec<u8>,
    /// How many bytes of the payload were not captured.
    pub missing: usize,
}

/// Why a packet is not looked into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotRead {
    /// The link type is not known here.
    LinkType,
    /// It carries something else.
    NotIpv4,
    /// Its lengths make no sense.
    Malformed,
}

impl Packet {
    /// Reads what follows a link header. What lies beyond the packet's own length is padding.
    ///
    /// # Errors
    /// It is no IPv4 packet.
    pub fn read(bytes: &[u8]) -> Result<Self, NotRead> {
        if bytes.first().is_none_or(|first| first >> 4 != 4) {
            return Err(NotRead::NotIpv4);
        }
        let (header, rest) = Ipv4Header::from_slice(bytes).map_err(|_| NotRead::Malformed)?;
        let claimed = match header.total_len {
            // A network card that segments by itself leaves it to be filled in.
            0 => rest.len(),
            total => usize::from(total)
                .checked_sub(header.header_len())
                .ok_or(NotRead::Malformed)?,
        };
        let payload = rest.get(..claimed).unwrap_or(rest).to_vec();
        let missing = claimed - payload.len();
        Ok(Packet {
            header,
            payload,
            missing,
        })
    }

    /// The ports of TCP and UDP, if they were captured.
    pub fn ports(&self) -> Option<(u16, u16)> {
        let field = |at: usize| {
            let bytes = self.payload.get(at..at + 2)?;
            Some(u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        Some((field(0)?, field(2)?))
    }

    /// The addresses, with the ports that the payload begins with.
    pub fn ends(&self) -> Option<Ends> {
        let (source, destination) = self.ports()?;
        Some(Ends::new(
            (self.header.source.into(), source),
            (self.header.destination.into(), destination),
        ))
    }

    /// Gives a TCP or UDP packet other ends and right checksums. Of a packet that was not captured
    /// as a whole, the transport's checksum is as right as it was before.
    pub fn set_ends(&mut self, ends: Ends) {
        let checksum_at = match self.header.protocol {
            IpNumber::TCP => 16,
            _ => 6,
        };
        let before = self.ends();
        self.header.source = ends.source.ip().octets();
        self.header.destination = ends.destination.ip().octets();
        for (at, port) in [(0, ends.source.port()), (2, ends.destination.port())] {
            if let Some(field) = self.payload.get_mut(at..at + 2) {
                field.copy_from_slice(&port.to_be_bytes());
            }
        }
        let Some(field) = self.payload.get(checksum_at..checksum_at + 2) else {
            return;
        };
        let old = u16::from_be_bytes([field[0], field[1]]);
        if self.header.protocol == IpNumber::UDP && old == 0 {
            // The sender made none: RFC 768.
            return;
        }
        let new = match before {
            Some(before) if self.missing > 0 => updated(old, before, ends),
            _ => {
                self.payload[checksum_at..checksum_at + 2].fill(0);
                transport_checksum(&self.header, &self.payload)
            }
        };
        self.payload[checksum_at..checksum_at + 2].copy_from_slice(&new.to_be_bytes());
    }

    /// The bytes on the wire, with the header's length and checksum right.
    pub fn write(&self) -> Vec<u8> {
        let mut header = self.header.clone();
        let total = header.header_len() + self.payload.len() + self.missing;
        header.total_len = u16::try_from(total).unwrap_or(u16::MAX);
        header.header_checksum = header.calc_header_checksum();
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The most that this packet's payload can be.
    pub fn room(&self) -> usize {
        usize::from(u16::MAX) - self.header.header_len()
    }

    /// Takes the marks of a fragment away.
    pub fn make_whole(&mut self) {
        self.header.more_fragments = false;
        self.header.fragment_offset = IpFragOffset::ZERO;
    }
}

/// The checksum of a TCP or UDP packet whose checksum field is 0.
pub fn transport_checksum(header: &Ipv4Header, payload: &[u8]) -> u16 {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    Sum16BitWords::new()
        .add_4bytes(header.source)
        .add_4bytes(header.destination)
        .add_2bytes([0, header.protocol.0])
        .add_2bytes(length.to_be_bytes())
        .add_slice(payload)
        .to_ones_complement_with_no_zero()
        .to_be()
}

/// RFC 1624 section 3: the checksum follows the fields that changed.
fn updated(old: u16, before: Ends, after: Ends) -> u16 {
    let fields = |ends: Ends, invert: bool| {
        let mask = if invert { !0 } else { 0 };
        let mut sum = 0_u32;
        for end in [ends.source, ends.destination] {
            let address = u32::from(*end.ip());
            for field in [(address >> 16) as u16, address as u16, end.port()] {
                sum += u32::from(field ^ mask);
            }
        }
        sum
    };
    let mut sum = u32::from(!old) + fields(before, true) + fields(after, false);
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    match !(sum as u16) {
        0 => 0xFFFF,
        checksum => checksum,
    }
}

/// Where the network header begins under a link header of this type, if an IPv4 packet is to be
/// expected there. VLAN tags are link header.
///
/// # Errors
/// It carries something else, or the link type is not known.
pub fn link_header(link_type: u16, data: &[u8]) -> Result<usize, NotRead> {
    const IPV4: u16 = 0x0800;
    let field = |at: usize| -> Option<u16> {
        let bytes = data.get(at..at + 2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    let tagged = |mut at: usize| {
        // IEEE 802.1Q, 802.1ad and what came before it.
        while matches!(field(at), Some(0x8100 | 0x88A8 | 0x9100)) {
            at += 4;
        }
        (field(at) == Some(IPV4)).then_some(at + 2)
    };
    let found = match link_type {
        // Ethernet
        1 => tagged(12),
        // Linux cooked, where a tag may follow the 16 bytes
        113 => match field(14) {
            Some(IPV4) => Some(16),
            Some(0x8100 | 0x88A8) => tagged(18),
            _ => None,
        },
        // Linux cooked, version 2
        276 => (field(0) == Some(IPV4)).then_some(20),
        // Raw IP, by its various numbers
        12 | 14 | 101 | 228 => Some(0),
        // BSD loopback: the address family, in the byte order of some host
        0 | 108 => match data.first_chunk::<4>() {
            Some([2, 0, 0, 0] | [0, 0, 0, 2]) => Some(4),
            _ => None,
        },
        _ => return Err(NotRead::LinkType),
    };
    found.ok_or(NotRead::NotIpv4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::UdpHeader;

    fn udp(payload: &[u8]) -> Packet {
        let header = Ipv4Header::new(
            u16::try_from(8 + payload.len()).unwrap(),
            64,
            IpNumber::UDP,
            [192, 168, 122, 3],
            [203, 0, 113, 9],
        )
        .unwrap();
        let udp = UdpHeader::with_ipv4_checksum(6000, 7000, &header, payload).unwrap();
        let mut bytes = udp.to_bytes().to_vec();
        bytes.extend_from_slice(payload);
        Packet {
            header,
            payload: bytes,
            missing: 0,
        }
    }

    fn translated() -> Ends {
        Ends::new(
            (Ipv4Addr::new(10, 1, 1, 1), 7078),
            (Ipv4Addr::new(203, 0, 113, 9), 7000),
        )
    }

    fn checksum(packet: &Packet) -> u16 {
        u16::from_be_bytes([packet.payload[6], packet.payload[7]])
    }

    #[test]
    fn new_ends_have_right_checksums() {
        let mut packet = udp(b"hello world");
        packet.set_ends(translated());
        let header = UdpHeader::from_slice(&packet.payload).unwrap().0;
        let right = header
            .calc_checksum_ipv4(&packet.header, b"hello world")
            .unwrap();
        assert_eq!(checksum(&packet), right);
        let read = Packet::read(&packet.write()).unwrap();
        assert_eq!(read.ends(), Some(translated()));
        assert_eq!(
            read.header.header_checksum,
            read.header.calc_header_checksum()
        );
    }

    #[test]
    fn the_checksum_of_a_packet_that_was_cut_off_follows_its_ends() {
        let mut whole = udp(b"hello world");
        let mut cut = whole.clone();
        cut.payload.truncate(12);
        cut.missing = 7;
        cut.set_ends(translated());
        whole.set_ends(translated());
        assert_eq!(checksum(&cut), checksum(&whole));
        assert_eq!(cut.write().len(), 20 + 12);
        let read = Packet::read(&cut.write()).unwrap();
        assert_eq!((read.header.total_len, read.missing), (39, 7));
    }

    #[test]
    fn a_datagram_without_checksum_stays_without() {
        let mut packet = udp(b"hello");
        packet.payload[6..8].fill(0);
        packet.set_ends(translated());
        assert_eq!(checksum(&packet), 0);
    }

    #[test]
    fn ipv4_is_found_under_every_link_header() {
        let ethernet = [&[0; 12][..], &[8, 0]].concat();
        let tagged = [&[0; 12][..], &[0x88, 0xA8, 0, 1, 0x81, 0, 0, 2, 8, 0]].concat();
        let cooked = [&[0; 14][..], &[8, 0]].concat();
        let cooked2 = [&[8, 0][..], &[0; 18]].concat();
        assert_eq!(link_header(1, &ethernet), Ok(14));
        assert_eq!(link_header(1, &tagged), Ok(22));
        assert_eq!(link_header(113, &cooked), Ok(16));
        assert_eq!(link_header(276, &cooked2), Ok(20));
        assert_eq!(link_header(101, &[]), Ok(0));
        assert_eq!(link_header(0, &[2, 0, 0, 0]), Ok(4));
        let arp = [&[0; 12][..], &[8, 6]].concat();
        assert_eq!(link_header(1, &arp), Err(NotRead::NotIpv4));
        assert_eq!(link_header(1, &[1]), Err(NotRead::NotIpv4));
        assert_eq!(link_header(105, &ethernet), Err(NotRead::LinkType));
    }

    #[test]
    fn lengths_that_make_no_sense_are_not_read() {
        let mut short = udp(b"hello").write();
        short[2..4].copy_from_slice(&19_u16.to_be_bytes());
        assert_eq!(Packet::read(&short).unwrap_err(), NotRead::Malformed);
        assert_eq!(Packet::read(&[0x4F; 20]).unwrap_err(), NotRead::Malformed);
        assert_eq!(Packet::read(&[0x60; 40]).unwrap_err(), NotRead::NotIpv4);
        assert_eq!(Packet::read(&[]).unwrap_err(), NotRead::NotIpv4);
    }
}
