//! sock_diag: the sockets of this host that wait for whoever comes (linux/inet_diag.h).

use super::{Error, Message, Socket};
use nix::sys::socket::SockProtocol;

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

    fn ports(&mut self, protocol: i32, state: u32) -> Result<Vec<u16>, Error> {
        let mut ports = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            // struct inet_diag_req_v2: family, protocol, ext, pad, states, and the socket's identity,
            // which a dump ignores.
            let mut request = [0; 56];
            request[0] = family as u8;
            request[1] = protocol as u8;
            request[4..8].copy_from_slice(&(1u32 << state).to_ne_bytes());
            let question = Message::new(SOCK_DIAG_BY_FAMILY, 0, &request);
            ports.extend(self.0.dump(&question, |socket, found| {
                // struct inet_diag_msg: four bytes, then the identity, which begins with the port.
                if let Some(port) = socket.get(4..6).and_then(|port| port.try_into().ok()) {
                    found.push(u16::from_be_bytes(port));
                }
            })?);
        }
        Ok(ports)
    }
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// States by their numbers in the kernel's net/tcp_states.h; UDP uses TCP_CLOSE for what is bound
/// and not connected.
const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;
