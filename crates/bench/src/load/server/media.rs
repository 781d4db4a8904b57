//! What the server sends to media ports: probes, and packets in the shape of RTP.

use super::Seen;
use crate::load::ear::{self, When};
use crate::load::frame;
use memchr::memmem;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

/// Media ports that the inside has named.
pub struct Media {
    socket: UdpSocket,
    own: SocketAddrV4,
    instead: Option<Ipv4Addr>,
    probed: BTreeMap<u32, SocketAddrV4>,
    held: BTreeMap<u32, SocketAddrV4>,
}

/// How many probes are sent at once; then those who hear them get a little time.
const BURST: usize = 20;

impl Media {
    /// Media come from `own`; they go to the address `instead`, if there is one.
    ///
    /// # Errors
    /// The port cannot be had.
    pub fn open(own: SocketAddrV4, instead: Option<Ipv4Addr>) -> io::Result<Self> {
        let socket = UdpSocket::bind(own)?;
        let (probed, held) = (BTreeMap::new(), BTreeMap::new());
        Ok(Media {
            socket,
            own,
            instead,
            probed,
            held,
        })
    }

    /// Where media come from.
    pub fn own(&self) -> SocketAddrV4 {
        self.own
    }

    /// Remembers the media of a call that stays.
    pub fn hold(&mut self, call: u32, body: &[u8]) {
        if let Some(at) = self.named(body) {
            self.held.insert(call, at);
        }
    }

    /// Tries the ports of a call that is not answered yet.
    pub fn probe(&mut self, call: u32, body: &[u8], seen: &mut Seen) {
        if let Some(at) = self.named(body) {
            self.probed.insert(call, at);
            self.knock(When::Before, call, at, seen);
        }
    }

    /// Whether the call's ports have been tried.
    pub fn knows(&self, call: u32) -> bool {
        self.probed.contains_key(&call)
    }

    /// Tries the ports of a call that is over.
    pub fn probe_again(&mut self, call: u32, seen: &mut Seen) {
        if let Some(at) = self.probed.remove(&call) {
            self.knock(When::After, call, at, seen);
        }
    }

    /// Tries the ports of all calls that stay.
    pub fn probe_held(&mut self, seen: &mut Seen) {
        for (number, (&call, &at)) in self.held.iter().enumerate() {
            self.knock(When::Before, call, at, seen);
            if number % BURST == BURST - 1 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    fn knock(&self, when: When, call: u32, at: SocketAddrV4, seen: &mut Seen) {
        for port in [at.port(), at.port() + 1] {
            // A refusal of an earlier datagram is told by the next one's sending.
            _ = self
                .socket
                .send_to(&ear::probe(when, call), (*at.ip(), port));
            seen.sent += 1;
        }
    }

    /// Sends `rate` packets a second for so long, in turn to the held calls.
    pub fn talk(&self, rate: u64, milliseconds: u64, seen: &mut Seen) {
        let streams: Vec<_> = self.held.iter().collect();
        if streams.is_empty() || rate == 0 {
            return;
        }
        let (began, length) = (Instant::now(), Duration::from_millis(milliseconds));
        let total = rate * milliseconds / 1000;
        let mut sent = 0;
        // A rate that cannot be sent is seen by what was sent until then.
        while sent < total && began.elapsed() < length * 2 {
            let due = (began.elapsed().as_nanos() as u64 * rate / 1_000_000_000).min(total);
            while sent < due {
                let turn = sent / streams.len() as u64;
                let (&call, at) = streams[(sent % streams.len() as u64) as usize];
                _ = self.socket.send_to(&ear::packet(call, turn), at);
                sent += 1;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        seen.sent += sent;
        seen.seconds = began.elapsed().as_secs_f64();
    }

    /// Where a session description wants its first medium.
    fn named(&self, body: &[u8]) -> Option<SocketAddrV4> {
        let after = |mark: &[u8]| Some(&body[memmem::find(body, mark)? + mark.len()..]);
        let port = frame::number(after(b"\nm=audio ")?)?;
        let address = after(b"\nc=IN IP4 ")?;
        let end = memchr::memchr(b'\r', address)?;
        let address = std::str::from_utf8(&address[..end]).ok()?.parse().ok()?;
        Some(SocketAddrV4::new(self.instead.unwrap_or(address), port))
    }
}
