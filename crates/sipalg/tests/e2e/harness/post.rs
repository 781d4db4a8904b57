//! SIP over UDP: peers of our own.

use super::PATIENCE;
use super::net::Host;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

/// A host's port for SIP messages in datagrams.
#[derive(Debug)]
pub struct Post(UdpSocket);

impl Post {
    /// Opens it.
    pub fn open(host: &Host, at: SocketAddrV4) -> Self {
        let socket = host.run(|| UdpSocket::bind(at));
        Post(socket.unwrap_or_else(|error| panic!("cannot bind {at}: {error}")))
    }

    /// Sends a message.
    pub fn send(&self, to: SocketAddrV4, message: impl AsRef<[u8]>) {
        self.0.send_to(message.as_ref(), to).expect("room to send");
    }

    /// Receives a message, and says from whom.
    ///
    /// # Panics
    /// None came in time.
    pub fn message(&self) -> (SocketAddrV4, String) {
        self.next(PATIENCE).expect("a message in time")
    }

    /// Sends the message again and again, as one does who gets no answer, until the other end hears
    /// it. Gives what that heard, and from whom.
    pub fn send_until_heard(
        &self,
        to: &Post,
        at: SocketAddrV4,
        message: &str,
    ) -> (SocketAddrV4, String) {
        super::until("a message to arrive", || {
            self.send(at, message);
            to.next(Duration::from_millis(100))
        })
    }

    /// Whether nothing comes for a while; what does not come in that time would not come at all.
    pub fn is_left_alone(&self) -> bool {
        self.next(Duration::from_millis(300)).is_none()
    }

    fn next(&self, patience: Duration) -> Option<(SocketAddrV4, String)> {
        self.0.set_read_timeout(Some(patience)).expect("a timeout");
        let mut message = vec![0; 65536];
        // An error is the silence of the timeout, or an ICMP answer to what was sent before.
        let (length, from) = self.0.recv_from(&mut message).ok()?;
        let SocketAddr::V4(from) = from else {
            panic!("IPv6 in an IPv4 network")
        };
        message.truncate(length);
        Some((from, String::from_utf8(message).expect("text")))
    }
}
