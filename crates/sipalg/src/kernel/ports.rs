//! Ports that the gateway itself uses, so that no door shadows them.

use super::KernelError;
use crate::netlink::diag::Diag;
use sipalg_core::Protocol;

/// The gateway's own ports, asked for again and again.
#[derive(Debug)]
pub struct Ports(Diag);

impl Ports {
    /// For the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel cannot diagnose sockets, or refuses to.
    pub fn open() -> Result<Self, KernelError> {
        Diag::open().map(Ports).map_err(refused)
    }

    /// The ports of listening TCP sockets and of UDP sockets that hear anyone, whichever address
    /// they are bound to.
    ///
    /// # Errors
    /// The kernel cannot diagnose sockets, or refuses to.
    pub fn in_use(&mut self) -> Result<Vec<(Protocol, u16)>, KernelError> {
        let tcp = self.0.tcp_listeners().map_err(refused)?;
        let udp = self.0.udp_unconnected().map_err(refused)?;
        let mut found: Vec<_> = tcp.into_iter().map(|port| (Protocol::Tcp, port)).collect();
        found.extend(udp.into_iter().map(|port| (Protocol::Udp, port)));
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

fn refused(error: crate::netlink::Error) -> KernelError {
    KernelError::refused("to list this host's sockets", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, UdpSocket};

    #[test]
    fn waiting_sockets_are_found_and_connected_ones_are_not() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let hears_all = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let hears_one = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        hears_one.connect(hears_all.local_addr().unwrap()).unwrap();
        let found = Ports::open().unwrap().in_use().unwrap();
        let port = |address: std::net::SocketAddr| address.port();
        assert!(found.contains(&(Protocol::Tcp, port(listener.local_addr().unwrap()))));
        assert!(found.contains(&(Protocol::Udp, port(hears_all.local_addr().unwrap()))));
        assert!(!found.contains(&(Protocol::Udp, port(hears_one.local_addr().unwrap()))));
    }
}
