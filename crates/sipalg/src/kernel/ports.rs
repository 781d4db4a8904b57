//! Ports that the gateway itself uses, so that no door shadows them.

use super::KernelError;
use crate::netlink::diag::Diag;
use sipalg_core::Protocol;

/// The ports of listening TCP sockets and of UDP sockets that hear anyone, in the network
/// namespace of the calling thread, whichever address they are bound to.
///
/// # Errors
/// The kernel cannot diagnose sockets, or refuses to.
pub fn in_use() -> Result<Vec<(Protocol, u16)>, KernelError> {
    let refused = |error| KernelError::refused("to list this host's sockets", error);
    let mut diag = Diag::open().map_err(refused)?;
    let tcp = diag.tcp_listeners().map_err(refused)?;
    let udp = diag.udp_unconnected().map_err(refused)?;
    let mut found: Vec<_> = tcp.into_iter().map(|port| (Protocol::Tcp, port)).collect();
    found.extend(udp.into_iter().map(|port| (Protocol::Udp, port)));
    found.sort_unstable();
    found.dedup();
    Ok(found)
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
        let found = in_use().unwrap();
        let port = |address: std::net::SocketAddr| address.port();
        assert!(found.contains(&(Protocol::Tcp, port(listener.local_addr().unwrap()))));
        assert!(found.contains(&(Protocol::Udp, port(hears_all.local_addr().unwrap()))));
        assert!(!found.contains(&(Protocol::Udp, port(hears_one.local_addr().unwrap()))));
    }
}
