//! Ports that the gateway itself uses, so that no door shadows them.

use sipalg_core::Protocol;
use std::fs;

/// The ports of listening TCP sockets and of UDP sockets that hear anyone, in the network
/// namespace of the calling thread, whichever address they are bound to; IPv6 sockets too, since
/// they may hear IPv4. A file that cannot be read counts as empty.
pub fn in_use() -> Vec<(Protocol, u16)> {
    let mut found = Vec::new();
    for (protocol, file) in [
        (Protocol::Tcp, "tcp"),
        (Protocol::Tcp, "tcp6"),
        (Protocol::Udp, "udp"),
        (Protocol::Udp, "udp6"),
    ] {
        let table = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        found.extend(
            table
                .lines()
                .filter_map(|line| waiting(protocol, line))
                .map(|p| (protocol, p)),
        );
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The local port of the socket in a line of `/proc/net/tcp` or `udp` (proc_net_tcp(5)), if it
/// waits for whoever comes.
fn waiting(protocol: Protocol, line: &str) -> Option<u16> {
    // sl, local address:port, remote address:port, state, in hexadecimal.
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, port) = fields.next()?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    let wanted = match protocol {
        Protocol::Tcp => "0A", // TCP_LISTEN
        Protocol::Udp => "07", // TCP_CLOSE: not connected
    };
    (state == wanted)
        .then(|| u16::from_str_radix(port, 16).ok())
        .flatten()
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
        let found = in_use();
        let port = |address: std::net::SocketAddr| address.port();
        assert!(found.contains(&(Protocol::Tcp, port(listener.local_addr().unwrap()))));
        assert!(found.contains(&(Protocol::Udp, port(hears_all.local_addr().unwrap()))));
        assert!(!found.contains(&(Protocol::Udp, port(hears_one.local_addr().unwrap()))));
    }
}
