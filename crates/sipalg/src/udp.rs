//! The UDP sockets: one hears every datagram that TPROXY delivers, one speaks in anybody's name.
//!
//! The one that speaks is a raw socket that writes UDP headers by itself. A UDP socket for each
//! address that a NAT shows could not be bound where a service of the gateway waits at the same
//! port, and would have to be made, kept and counted for every outside host.

use crate::kernel::MARK_DIAL;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use nix::{cmsg_space, setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// The longest payload of a UDP datagram over IPv4, bytes (RFC 768, RFC 791).
pub const LONGEST: usize = 65_535 - 20 - HEADER;

/// Length of a UDP header.
const HEADER: usize = 8;

/// What the kernel may keep of datagrams, bytes: of those that were not read yet, since a registrar
/// that restarts hears from everyone at once; of those that wait for hosts to answer ARP, since all
/// share the socket.
const BACKLOG: usize = 4 * 1024 * 1024;

/// Nobody's address: a socket that is bound to it hears nothing.
const NOBODY: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);

/// The two sockets.
#[derive(Debug)]
pub struct Udp {
    ear: socket2::Socket,
    mouth: socket2::Socket,
    address: SocketAddrV4,
    control: Vec<u8>,
}

/// A datagram, without its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// Who sends it.
    pub from: SocketAddrV4,
    /// Whom it is for.
    pub to: SocketAddrV4,
    /// The ToS byte of its IP header.
    pub tos: u8,
}

impl Udp {
    /// Hears at `address`, which the kernel's rules name.
    ///
    /// # Errors
    /// `PermissionDenied`: not allowed to be transparent. `AddrInUse`: somebody else hears there.
    pub fn bind(address: SocketAddrV4) -> io::Result<Self> {
        let ear = socket(Type::DGRAM)?;
        setsockopt(&ear, sockopt::Ipv4OrigDstAddr, &true)?;
        setsockopt(&ear, sockopt::IpRecvTos, &true)?;
        // Privileged first: beyond net.core.rmem_max, which user namespaces may not exceed. It is
        // fine with what it gets.
        if setsockopt(&ear, sockopt::RcvBufForce, &BACKLOG).is_err() {
            let _ = setsockopt(&ear, sockopt::RcvBuf, &BACKLOG);
        }
        ear.bind(&address.into())?;
        Self::with(ear, address)
    }

    /// Goes on with the ear of a former process, which hears at `address`.
    ///
    /// # Errors
    /// `PermissionDenied`: not allowed to be transparent.
    pub fn inherited(ear: OwnedFd, address: SocketAddrV4) -> io::Result<Self> {
        Self::with(ear.into(), address)
    }

    fn with(ear: socket2::Socket, address: SocketAddrV4) -> io::Result<Self> {
        let mouth = socket(Type::RAW)?;
        if setsockopt(&mouth, sockopt::SndBufForce, &BACKLOG).is_err() {
            let _ = setsockopt(&mouth, sockopt::SndBuf, &BACKLOG);
        }
        // A message that has grown past the MTU leaves in fragments, whatever the path is like.
        setsockopt(&mouth, MtuDiscovery, &libc::IP_PMTUDISC_DONT)?;
        mouth.set_mark(MARK_DIAL)?;
        mouth.bind(&SocketAddr::from((NOBODY, 0)).into())?;
        Ok(Udp {
            ear,
            mouth,
            address,
            control: cmsg_space!(libc::sockaddr_in, u8),
        })
    }

    /// What the poll watches: it is readable when a datagram waits.
    pub fn ear(&self) -> RawFd {
        self.ear.as_raw_fd()
    }

    /// The next datagram that waits, if there is one, and how many bytes of `buffer` it fills.
    ///
    /// # Errors
    /// None can be read now, for want of memory.
    pub fn hear(&mut self, buffer: &mut [u8]) -> io::Result<Option<(Datagram, usize)>> {
        loop {
            match self.hear_once(buffer) {
                Ok(Some(heard)) => return Ok(Some(heard)),
                // Sent to the socket itself: nobody's destination.
                Ok(None) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Sends `bytes` as `datagram` says, by the interface of that number, or for zero by the route.
    ///
    /// # Errors
    /// The network's word, or the operator's firewall's (`PermissionDenied`). `WouldBlock`: the
    /// interface is busy.
    pub fn say(&self, datagram: &Datagram, interface: u32, bytes: &[u8]) -> io::Result<()> {
        let Some(header) = header(datagram.from, datagram.to, bytes) else {
            return Err(Errno::EMSGSIZE.into());
        };
        let source = libc::in_pktinfo {
            ipi_ifindex: interface.try_into().unwrap_or_default(),
            ipi_spec_dst: libc::in_addr {
                s_addr: u32::from_ne_bytes(datagram.from.ip().octets()),
            },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        // The two low bits are ECN and belong to the hop that marked them (RFC 3168).
        let tos = datagram.tos & 0xfc;
        let control = [
            ControlMessage::Ipv4PacketInfo(&source),
            ControlMessage::Ipv4Tos(&tos),
        ];
        let parts = [IoSlice::new(&header), IoSlice::new(bytes)];
        let to = SockaddrIn::from(SocketAddrV4::new(*datagram.to.ip(), 0));
        let fd = self.mouth.as_raw_fd();
        loop {
            match sendmsg(fd, &parts, &control, MsgFlags::empty(), Some(&to)) {
                Err(Errno::EINTR) => {}
                other => return Ok(other.map(drop)?),
            }
        }
    }

    fn hear_once(&mut self, buffer: &mut [u8]) -> nix::Result<Option<(Datagram, usize)>> {
        let (fd, flags) = (self.ear.as_raw_fd(), MsgFlags::empty());
        let mut parts = [IoSliceMut::new(buffer)];
        let message = recvmsg::<SockaddrIn>(fd, &mut parts, Some(&mut self.control), flags)?;
        let (mut to, mut tos) = (None, 0);
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::Ipv4OrigDstAddr(address) => {
                    to = Some(SocketAddrV4::from(SockaddrIn::from(address)));
                }
                ControlMessageOwned::Ipv4Tos(byte) => tos = byte,
                _ => {}
            }
        }
        let ends = message.address.zip(to.filter(|to| *to != self.address));
        let heard = ends.map(|(from, to)| {
            let from = SocketAddrV4::from(from);
            (Datagram { from, to, tos }, message.bytes)
        });
        Ok(heard)
    }
}

fn socket(kind: Type) -> io::Result<socket2::Socket> {
    let kind = kind.nonblocking().cloexec();
    let socket = socket2::Socket::new(Domain::IPV4, kind, Some(Protocol::UDP))?;
    socket.set_ip_transparent_v4(true)?;
    Ok(socket)
}

/// The UDP header of `bytes`, unless they are too long for one.
fn header(from: SocketAddrV4, to: SocketAddrV4, bytes: &[u8]) -> Option<[u8; HEADER]> {
    let length = u16::try_from(HEADER + bytes.len()).ok();
    let length = length.filter(|_| bytes.len() <= LONGEST)?;
    let mut header = [0; HEADER];
    header[0..2].copy_from_slice(&from.port().to_be_bytes());
    header[2..4].copy_from_slice(&to.port().to_be_bytes());
    header[4..6].copy_from_slice(&length.to_be_bytes());
    let mut sum = u64::from(libc::IPPROTO_UDP as u16) + u64::from(length);
    for part in [
        &from.ip().octets()[..],
        &to.ip().octets(),
        &header[..],
        bytes,
    ] {
        sum += words(part);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = match !(sum as u16) {
        // Zero would say that there is no checksum (RFC 768).
        0 => u16::MAX,
        checksum => checksum,
    };
    header[6..8].copy_from_slice(&checksum.to_be_bytes());
    Some(header)
}

/// The sum of the 16-bit words of an even place, the last filled up with zero (RFC 1071).
fn words(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let sum: u64 = pairs
        .iter()
        .map(|pair| u64::from(u16::from_be_bytes(*pair)))
        .sum();
    sum + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

sockopt_impl!(
    /// Whether packets may be fragmented (ip(7)).
    MtuDiscovery,
    SetOnly,
    libc::IPPROTO_IP,
    libc::IP_MTU_DISCOVER,
    libc::c_int
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_makes_the_sum_of_all_words_vanish() {
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, 1), 5060);
        let to = SocketAddrV4::new(Ipv4Addr::new(192, 168, 122, 3), 40_001);
        for bytes in [&b""[..], b"\0", b"OPTIONS sip:a SIP/2.0", &[0xff; 5000]] {
            let header = header(from, to, bytes).unwrap();
            let length = (HEADER + bytes.len()) as u64;
            assert_eq!(
                u64::from(u16::from_be_bytes([header[4], header[5]])),
                length
            );
            let sum = words(&from.ip().octets())
                + words(&to.ip().octets())
                + 17
                + length
                + words(&header)
                + words(bytes);
            // In ones' complement all ones are zero.
            assert_eq!(sum % 0xffff, 0);
            assert_ne!(header[6..], [0, 0]);
        }
    }

    #[test]
    fn what_is_too_long_for_a_datagram_has_no_header() {
        let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        assert!(header(any, any, &vec![0; LONGEST]).is_some());
        assert_eq!(header(any, any, &vec![0; LONGEST + 1]), None);
    }
}
