//! One end of a TCP connection that carries SIP: writes messages, cut as wanted, and reads whole
//! ones. It shares no code with the gateway, so that the two cannot be wrong alike.

use super::net::Host;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long anything in the lab may take to arrive.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Listens in a host.
///
/// # Errors
/// The address is taken or not the host's.
pub fn listen(host: &Host, address: SocketAddrV4) -> io::Result<TcpListener> {
    host.run(move || TcpListener::bind(address))
        .map_err(|error| about(error, &format!("{}: listening on {address}", host.name)))
}

/// One end of a connection.
#[derive(Debug)]
pub struct Endpoint {
    /// The host's name.
    pub name: &'static str,
    stream: TcpStream,
    /// Bytes that arrived and were not yet taken.
    inbox: Vec<u8>,
}

impl Endpoint {
    /// Connects from a host.
    ///
    /// # Errors
    /// As the far side answers; `ConnectionRefused` is kept as kind.
    pub fn connect(host: &Host, to: SocketAddrV4) -> io::Result<Self> {
        Endpoint::connect_within(host, to, PATIENCE)
    }

    /// The same with less patience.
    ///
    /// # Errors
    /// As the far side answers; `ConnectionRefused` and `TimedOut` are kept as kinds.
    pub fn connect_within(host: &Host, to: SocketAddrV4, patience: Duration) -> io::Result<Self> {
        let stream = host
            .run(move || TcpStream::connect_timeout(&SocketAddr::V4(to), patience))
            .map_err(|error| about(error, &format!("{}: connecting to {to}", host.name)))?;
        Endpoint::new(host.name, stream)
    }

    /// Waits for a connection on a listener of [`listen`].
    ///
    /// # Errors
    /// None came in time.
    pub fn accept(host: &Host, listener: &TcpListener) -> io::Result<Self> {
        let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::NONE);
        if poll(&mut waiting, patience)? == 0 {
            let late = io::ErrorKind::TimedOut.into();
            return Err(about(
                late,
                &format!("{}: waiting for a connection", host.name),
            ));
        }
        let (stream, _) = listener.accept()?;
        Endpoint::new(host.name, stream)
    }

    fn new(name: &'static str, stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Endpoint {
            name,
            stream,
            inbox: Vec::new(),
        })
    }

    /// Its own address.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn local(&self) -> io::Result<SocketAddrV4> {
        v4(self.stream.local_addr()?)
    }

    /// The far side's address, as this side sees it.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn peer(&self) -> io::Result<SocketAddrV4> {
        v4(self.stream.peer_addr()?)
    }

    /// Sends bytes in one segment.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream
            .write_all(bytes)
            .map_err(|error| about(error, &format!("{}: sending", self.name)))
    }

    /// Sends bytes in segments that end at `cuts`: each is acknowledged by the gateway before the
    /// next is written, so the kernel cannot join them.
    ///
    /// # Errors
    /// The connection is gone, or a segment is not acknowledged in time.
    pub fn send_cut(&mut self, host: &Host, bytes: &[u8], cuts: &[usize]) -> io::Result<()> {
        let mut from = 0;
        for &to in cuts.iter().chain([&bytes.len()]) {
            self.send(&bytes[from..to])?;
            self.acknowledged(host)?;
            from = to;
        }
        Ok(())
    }

    /// Waits until the far side's kernel has acknowledged everything.
    fn acknowledged(&self, host: &Host) -> io::Result<()> {
        let (local, peer) = (self.local()?, self.peer()?);
        let deadline = Instant::now() + PATIENCE;
        while unacknowledged(
            &host.run(|| fs::read_to_string("/proc/thread-self/net/tcp"))?,
            local,
            peer,
        ) != Some(0)
        {
            pause(
                deadline,
                &format!("{}: a segment was not acknowledged", self.name),
            )?;
        }
        Ok(())
    }

    /// Reads one SIP message: head and as much body as its Content-Length says (RFC 3261 18.3).
    ///
    /// # Errors
    /// None came whole in time, or its length is no number.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(length) = message_length(&self.inbox)
                && self.inbox.len() >= length
            {
                return Ok(self.inbox.drain(..length).collect());
            }
            self.read_more("a whole SIP message")?;
        }
    }

    /// How many bytes have arrived and were not taken.
    pub fn pending(&self) -> usize {
        self.inbox.len()
    }

    /// Reads exactly `count` bytes.
    ///
    /// # Errors
    /// They did not come in time.
    pub fn receive_bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.inbox.len() < count {
            self.read_more(&format!("{count} bytes"))?;
        }
        Ok(self.inbox.drain(..count).collect())
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Waits for the far side to end, and returns what came before that and was not yet taken.
    ///
    /// # Errors
    /// The far side did not end in time.
    pub fn receive_end(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.read_more("the end of the connection") {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.inbox));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn read_more(&mut self, wanted: &str) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let context = |error| about(error, &format!("{}: waiting for {wanted}", self.name));
        let count = self.stream.read(&mut buffer).map_err(context)?;
        if count == 0 {
            return Err(context(io::ErrorKind::UnexpectedEof.into()));
        }
        self.inbox.extend_from_slice(&buffer[..count]);
        Ok(())
    }
}

/// The length of the SIP message that `bytes` begin with, once its head is whole. A message
/// without a length ends with its head.
pub fn message_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]);
    let body = text.lines().skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim().to_ascii_lowercase();
        (name == "content-length" || name == "l").then(|| value.trim().parse::<usize>().ok())?
    });
    Some(head + body.unwrap_or(0))
}

/// Bytes that were sent and not acknowledged, from the table `/proc/net/tcp` (proc(5): addresses
/// in hexadecimal, in the byte order of the machine).
fn unacknowledged(table: &str, local: SocketAddrV4, peer: SocketAddrV4) -> Option<usize> {
    let written = |address: SocketAddrV4| {
        let ip = u32::from_ne_bytes(address.ip().octets());
        format!("{ip:08X}:{:04X}", address.port())
    };
    let (local, peer) = (written(local), written(peer));
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        (fields.next()? == local && fields.next()? == peer).then_some(())?;
        let queues = fields.nth(1)?;
        usize::from_str_radix(queues.split(':').next()?, 16).ok()
    })
}

/// Says what was being done when an error came, and keeps the error's kind.
pub fn about(error: io::Error, doing: &str) -> io::Error {
    let late = matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    );
    let seen = if late {
        format!("nothing in {} s", PATIENCE.as_secs())
    } else {
        error.to_string()
    };
    io::Error::new(error.kind(), format!("{doing}: {seen}"))
}

/// Sleeps a moment between two looks at something that gives no event, until a deadline.
///
/// # Errors
/// The deadline has passed: `failure`.
fn pause(deadline: Instant, failure: &str) -> io::Result<()> {
    if Instant::now() >= deadline {
        let text = format!("{failure} in {} s", PATIENCE.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, text));
    }
    std::thread::sleep(Duration::from_millis(1));
    Ok(())
}

/// An address as the lab knows them, which is IPv4.
///
/// # Errors
/// It is another.
pub fn v4(address: SocketAddr) -> io::Result<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_length_says_in_either_form() {
        assert_eq!(
            message_length(b"A\r\nContent-Length : 3\r\n\r\nabcB"),
            Some(28)
        );
        assert_eq!(message_length(b"A\r\nl:3\r\n\r\nabcB"), Some(13));
        assert_eq!(message_length(b"A\r\nX: 1\r\n\r\nB"), Some(11));
        assert_eq!(message_length(b"A\r\nl:3\r\n"), None);
    }

    #[test]
    fn unacknowledged_bytes_are_read_from_the_kernels_table() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let table = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        let (local, peer) = (
            v4(stream.local_addr().unwrap()).unwrap(),
            v4(stream.peer_addr().unwrap()).unwrap(),
        );
        assert_eq!(unacknowledged(&table, local, peer), Some(0));
        assert_eq!(
            unacknowledged(&table, local, "9.9.9.9:9".parse().unwrap()),
            None
        );
    }
}
