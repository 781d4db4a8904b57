//! sock_diag: the sockets of this host that wait for whoever comes (linux/inet_diag.h).

use super::{Error, Message, Socket, u32_of};
use nix::sys::socket::SockProtocol;
use sipalg_core::Protocol;
use std::net::{IpAddr, SocketAddr};

/// A conversation about sockets.
#[derive(Debug)]
pub struct Diag(Socket);

impl Diag {
    /// Opens a conversation in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> Result<Self, Error> {
        Socket::open(SockProtocol::NetlinkSockDiag).map(Diag)
    }

    /// The local ports of listening TCP sockets, IPv6 ones too, since they may hear IPv4. The kernel
    /// walks only those, however many connections there are.
    ///
    /// # Errors
    /// `ENOENT` where the kernel has no diagnosis for TCP.
    pub fn tcp_listeners(&mut self) -> Result<Vec<u16>, Error> {
        self.ports(libc::IPPROTO_TCP, TCP_LISTEN)
    }

    /// The local ports of UDP sockets that are not connected.
    ///
    /// # Errors
    /// `ENOENT` where the kernel has no diagnosis for UDP.
    pub fn udp_unconnected(&mut self) -> Result<Vec<u16>, Error> {
        self.ports(libc::IPPROTO_UDP, TCP_CLOSE)
    }

    /// The sockets of both kinds, with what tells whose they are.
    ///
    /// # Errors
    /// `ENOENT` where the kernel has no diagnosis for one of them.
    pub fn waiting(&mut self, protocol: Protocol) -> Result<Vec<Waiting>, Error> {
        match protocol {
            Protocol::Tcp => self.sockets(libc::IPPROTO_TCP, TCP_LISTEN),
            Protocol::Udp => self.sockets(libc::IPPROTO_UDP, TCP_CLOSE),
        }
    }

    fn ports(&mut self, protocol: i32, state: u32) -> Result<Vec<u16>, Error> {
        let sockets = self.sockets(protocol, state)?;
        Ok(sockets.iter().map(|socket| socket.at.port()).collect())
    }

    fn sockets(&mut self, protocol: i32, state: u32) -> Result<Vec<Waiting>, Error> {
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            // struct inet_diag_req_v2: family, protocol, ext, pad, states, and the socket's identity,
            // which a dump ignores.
            let mut request = [0; 56];
            request[0] = family as u8;
            request[1] = protocol as u8;
            request[4..8].copy_from_slice(&(1u32 << state).to_ne_bytes());
            let question = Message::new(SOCK_DIAG_BY_FAMILY, 0, &request);
            found.extend(
                self.0
                    .dump(&question, |socket, found| found.extend(waiting(socket)))?,
            );
        }
        Ok(found)
    }
}

/// A socket that waits for whoever comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Where it is bound.
    pub at: SocketAddr,
    /// Its number in the file system of sockets, as in `/proc/PID/fd`.
    pub inode: u32,
}

/// struct inet_diag_msg: four bytes, of which the first is the family; the identity, which begins with
/// the port, its own address behind both ports; and at the end the inode.
fn waiting(socket: &[u8]) -> Option<Waiting> {
    let port = u16::from_be_bytes(socket.get(4..6)?.try_into().ok()?);
    let address = match i32::from(*socket.first()?) {
        libc::AF_INET => {
            let bytes: [u8; 4] = socket.get(8..12)?.try_into().ok()?;
            IpAddr::from(bytes)
        }
        _ => {
            let bytes: [u8; 16] = socket.get(8..24)?.try_into().ok()?;
            IpAddr::from(bytes)
        }
    };
    Some(Waiting {
        at: SocketAddr::new(address, port),
        inode: u32_of(socket.get(68..)?)?,
    })
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// States by their numbers in the kernel's net/tcp_states.h; UDP uses TCP_CLOSE for what is bound
/// and not connected.
const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;
