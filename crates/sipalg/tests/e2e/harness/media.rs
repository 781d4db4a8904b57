//! RTP peers of our own: a mouth and an ear that counts.

use super::PATIENCE;
use super::net::Host;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

/// One end of a medium: a UDP socket with RTP on it.
#[derive(Debug)]
pub struct Ear {
    socket: UdpSocket,
    sequence: u16,
}

/// An RTP packet of ours that somebody heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// Where it came from.
    pub from: SocketAddrV4,
    /// Its place in the stream.
    pub sequence: u16,
}

impl Ear {
    /// Opens one.
    pub fn open(host: &Host, at: SocketAddrV4) -> Self {
        Ear::open_all(host, &[at]).remove(0)
    }

    /// Opens many: to become a host for each of them would take seconds on a busy machine.
    pub fn open_all(host: &Host, at: &[SocketAddrV4]) -> Vec<Self> {
        let open = |at: &SocketAddrV4| {
            let socket = UdpSocket::bind(at);
            let socket = socket.unwrap_or_else(|error| panic!("cannot bind {at}: {error}"));
            Ear {
                socket,
                sequence: 0,
            }
        };
        host.run(|| at.iter().map(open).collect())
    }

    /// Where it is.
    pub fn at(&self) -> SocketAddrV4 {
        match self.socket.local_addr() {
            Ok(SocketAddr::V4(address)) => address,
            other => panic!("no IPv4 address: {other:?}"),
        }
    }

    /// Says that many packets of 20 ms each, at once.
    pub fn say(&mut self, to: SocketAddrV4, count: u16) {
        for _ in 0..count {
            let mut packet = vec![0x80, 0];
            packet.extend(self.sequence.to_be_bytes());
            packet.extend((u32::from(self.sequence) * 160).to_be_bytes());
            packet.extend(0x5150_u32.to_be_bytes());
            packet.extend([0xd5; 160]);
            self.socket.send_to(&packet, to).expect("room to send");
            self.sequence += 1;
        }
    }

    /// Listens until it has heard that many packets.
    ///
    /// # Panics
    /// It did not in time.
    pub fn hear(&self, count: usize) -> Vec<Heard> {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        while heard.len() < count {
            assert!(
                Instant::now() < deadline,
                "heard {} of {count} packets at {:?}",
                heard.len(),
                self.socket.local_addr()
            );
            heard.extend(self.next(Duration::from_millis(100)));
        }
        heard
    }

    /// Says something again and again until the other ear hears it, and tells where it came from.
    pub fn say_until_heard(&mut self, by: &Ear, at: SocketAddrV4) -> SocketAddrV4 {
        super::until("an ear to hear it", || {
            self.say(at, 1);
            by.next(Duration::from_millis(100)).map(|heard| heard.from)
        })
    }

    /// How many packets have come that nobody listened to yet.
    pub fn heard(&self) -> usize {
        let next = || self.next(Duration::from_millis(1));
        std::iter::from_fn(next).count()
    }

    /// Listens for a while; what does not come in that time would not come at all.
    pub fn hears_nothing(&self) -> bool {
        self.next(Duration::from_millis(300)).is_none()
    }

    fn next(&self, patience: Duration) -> Option<Heard> {
        self.socket
            .set_read_timeout(Some(patience))
            .expect("a timeout");
        let mut packet = [0; 2048];
        // An error is the silence of the timeout, or an ICMP answer to what was said before.
        let (length, from) = self.socket.recv_from(&mut packet).ok()?;
        let SocketAddr::V4(from) = from else {
            panic!("IPv6 in an IPv4 network")
        };
        assert_eq!(length, 172, "not our RTP");
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        Some(Heard { from, sequence })
    }
}
