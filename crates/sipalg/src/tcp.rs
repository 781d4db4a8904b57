//! The TCP sockets of legs: how they are made, and the options that they carry.

use crate::conn::Socket;
use crate::keeper::memory::queued;
use crate::kernel::MARK_DIAL;
use mio::net::TcpStream;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetOsString;
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// How a leg leaves the gateway.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// Toward the outside, by this interface, from its address.
    By(&'a str),
    /// By the route, from an inside global address, which no interface needs to have.
    Global,
    /// Toward the inside, from the address of an outside host.
    Foreign,
}

/// Starts a connect from `source` to `target` with the ToS byte `tos`; the poll will report its end.
/// `bound` is told the descriptor before anything leaves.
///
/// # Errors
/// `AddrInUse` or `AddrNotAvailable`: another port may do. Otherwise the target cannot be reached.
pub fn dial(
    source: SocketAddrV4,
    target: SocketAddrV4,
    way: Way<'_>,
    tos: u8,
    bound: impl FnOnce(RawFd),
) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(
        Domain::IPV4,
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    set_leg_options(SockRef::from(&socket))?;
    acknowledge_later(SockRef::from(&socket));
    socket.set_reuse_address(true)?;
    match way {
        Way::By(interface) => socket.bind_device(Some(interface.as_bytes()))?,
        // Answers to an address that only the outside network knows to be here come by the mark.
        Way::Global | Way::Foreign => {
            socket.set_ip_transparent_v4(true)?;
            socket.set_mark(MARK_DIAL)?;
        }
    }
    set_tos(SockRef::from(&socket), tos)?;
    socket.bind(&source.into())?;
    bound(socket.as_raw_fd());
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// What every leg has: no Nagle delay, and if the gateway ends before the connection does, its peer is
/// told by RST.
///
/// # Errors
/// The socket does not take an option.
pub fn set_leg_options(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)
}

/// A peer that vanished is noticed after two minutes.
///
/// # Errors
/// The socket does not take an option.
pub fn set_keepalive(socket: SockRef<'_>) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    socket.set_tcp_keepalive(&keepalive)
}

/// What is received is acknowledged with what is sent, as long as that does not take too long; so is the
/// answer to a connect. A request and its answer do without segments that say nothing else.
pub fn acknowledge_later(socket: SockRef<'_>) {
    // Without it there are only more segments.
    let _ = socket.set_tcp_quickack(false);
}

/// Whatever waits to be acknowledged is so now, and from now on the kernel decides.
pub fn acknowledge(socket: SockRef<'_>) {
    let _ = socket.set_tcp_quickack(true);
}

/// Marks what a leg sends with the DSCP of this ToS byte.
///
/// # Errors
/// The socket does not take it.
pub fn set_tos(socket: SockRef<'_>, tos: u8) -> io::Result<()> {
    // The two low bits are ECN and belong to the kernel (RFC 3168).
    match tos & 0xfc {
        0 => Ok(()),
        dscp => socket.set_tos_v4(dscp.into()),
    }
}

sockopt_impl!(
    /// Lets a listener keep the IP and TCP headers of each SYN (tcp(7)).
    SaveSyn,
    SetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_SAVE_SYN,
    bool
);

sockopt_impl!(
    /// The kept headers; they are text to nix, which ends it at the first zero byte.
    SavedSyn,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_SAVED_SYN,
    OsString,
    GetOsString<[u8; 256]>
);

/// The ToS byte of the SYN that opened an accepted connection.
pub fn syn_tos(stream: &TcpStream) -> u8 {
    // It is the second byte: if the headers end before it, it is the zero that ended them. There
    // are none for a connection that came by a SYN cookie.
    getsockopt(stream, SavedSyn)
        .ok()
        .and_then(|headers| headers.as_bytes().get(1).copied())
        .unwrap_or(0)
}

sockopt_impl!(
    /// The head of `struct tcp_info` (tcp(7)), as bytes.
    Info,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    [u8; 136]
);

/// How far a TCP socket is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// How many bytes were read from it.
    pub read: u64,
    /// How many bytes were written to it.
    pub written: u64,
    /// Its connect is under way, or has not begun, or has failed.
    pub dialling: bool,
    /// Its connect has begun.
    pub begun: bool,
    /// FIN was sent on it.
    pub finished: bool,
    /// Both directions have ended, by FIN or RST.
    pub closed: bool,
    /// It was reset, and nobody was told yet; the numbers mean nothing.
    pub gone: bool,
}

/// How far a socket is; `dialled` if it has connected, and was not accepted.
///
/// # Errors
/// It is no TCP socket.
pub fn progress(socket: BorrowedFd<'_>, dialled: bool) -> io::Result<Progress> {
    let mut info = getsockopt(&socket, Info)?;
    let (unread, unacked) = loop {
        let queued = queued(socket)?;
        let again = getsockopt(&socket, Info)?;
        // What comes in between would be counted by one and not by the other.
        if counters(&again) == counters(&info) && again[0] == info[0] {
            break queued;
        }
        info = again;
    };
    let (acked, received) = counters(&info);
    let state = info[0];
    let mut events = [PollFd::new(socket, PollFlags::empty())];
    poll(&mut events, PollTimeout::ZERO)?;
    let broken = events[0]
        .revents()
        .is_some_and(|events| events.contains(PollFlags::POLLERR));
    let dialling = state == SYN_SENT || (state == CLOSE && acked + received == 0);
    let closed = state == CLOSE && !dialling;
    // FIN counts as a byte, and so does the SYN of who has dialled.
    let fin_read = closed || [CLOSE_WAIT, LAST_ACK, CLOSING].contains(&state);
    let finished = closed || [FIN_WAIT1, FIN_WAIT2, CLOSING, LAST_ACK].contains(&state);
    let syn = u64::from(dialled && !dialling);
    Ok(Progress {
        read: received.saturating_sub(u64::from(fin_read) + unread),
        written: (acked + unacked).saturating_sub(syn + u64::from(finished)),
        dialling,
        begun: state != CLOSE || broken,
        finished,
        closed,
        gone: broken && !dialling,
    })
}

/// How many bytes the peer has acknowledged, and how many came from it.
fn counters(info: &[u8; 136]) -> (u64, u64) {
    let counter = |at: usize| {
        let bytes = info.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        u64::from_ne_bytes(bytes.unwrap_or_default())
    };
    (counter(120), counter(128))
}

const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const SYN_SENT: u8 = 2;
const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const CLOSING: u8 = 11;

/// Whether a socket is a connection that the listener has accepted, and on which nothing has
/// happened yet.
pub fn is_new(socket: BorrowedFd<'_>) -> bool {
    let options = SockRef::from(&socket);
    // Legs that we dial have one or the other.
    let dialled = options.mark().unwrap_or(0) != 0 || !matches!(options.device(), Ok(None));
    let connected = options.peer_addr().is_ok();
    if !is_tcp(socket) || dialled || !connected {
        return false;
    }
    progress(socket, false).is_ok_and(|is| !is.gone && (is.read, is.written) == (0, 0))
}

/// Whether a descriptor is a TCP socket.
pub fn is_tcp(descriptor: BorrowedFd<'_>) -> bool {
    let options = SockRef::from(&descriptor);
    options.protocol().ok().flatten() == Some(Protocol::TCP)
}

impl Socket for TcpStream {
    fn connected(&mut self) -> io::Result<bool> {
        if let Some(error) = self.take_error()? {
            return Err(error);
        }
        match self.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(self, buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn part(&mut self) {
        // It fails only for what is no socket.
        let _ = SockRef::from(&*self).set_linger(None);
    }

    fn abort(&mut self) {
        // It fails only for what is no socket.
        let _ = SockRef::from(&*self).set_linger(Some(Duration::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::fd::AsFd;

    /// Two ends of a connection: the one that dialled, and the one that was accepted.
    fn pair() -> (std::net::TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let dialled = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (dialled, listener.accept().unwrap().0)
    }

    fn positions(socket: &std::net::TcpStream, dialled: bool) -> (u64, u64) {
        let is = progress(socket.as_fd(), dialled).unwrap();
        assert!(!is.gone && !is.dialling, "{is:?}");
        (is.read, is.written)
    }

    #[test]
    fn positions_are_those_of_the_application_whatever_waits_and_whoever_has_said_fin() {
        for turned in [false, true] {
            let (dialled, accepted) = pair();
            let (mut one, mut other) = match turned {
                false => (dialled, accepted),
                true => (accepted, dialled),
            };
            let [one_dialled, other_dialled] = [!turned, turned];
            assert_eq!(positions(&one, one_dialled), (0, 0));
            one.write_all(&[1; 1000]).unwrap();
            assert_eq!(positions(&one, one_dialled), (0, 1000));
            assert_eq!(positions(&other, other_dialled), (0, 0));
            other.read_exact(&mut [0; 300]).unwrap();
            assert_eq!(positions(&other, other_dialled), (300, 0));
            // FIN behind bytes that were not read, of which all are then read, and it.
            one.shutdown(Shutdown::Write).unwrap();
            assert_eq!(positions(&one, one_dialled), (0, 1000));
            assert!(progress(one.as_fd(), one_dialled).unwrap().finished);
            assert_eq!(positions(&other, other_dialled), (300, 0));
            other.read_exact(&mut [0; 700]).unwrap();
            assert_eq!(positions(&other, other_dialled), (1000, 0));
            assert_eq!(other.read(&mut [0; 1]).unwrap(), 0);
            assert_eq!(positions(&other, other_dialled), (1000, 0));
            // The other direction goes on, and then both have ended.
            other.write_all(&[2; 500]).unwrap();
            other.shutdown(Shutdown::Write).unwrap();
            assert_eq!(positions(&other, other_dialled), (1000, 500));
            one.read_exact(&mut [0; 200]).unwrap();
            assert_eq!(positions(&one, one_dialled), (200, 1000));
            one.read_exact(&mut [0; 300]).unwrap();
            assert_eq!(one.read(&mut [0; 1]).unwrap(), 0);
            assert_eq!(positions(&one, one_dialled), (500, 1000));
            assert_eq!(positions(&other, other_dialled), (1000, 500));
        }
    }

    #[test]
    fn a_connection_that_was_reset_is_gone_and_one_in_use_is_not_new() {
        let (dialled, mut accepted) = pair();
        assert!(is_new(accepted.as_fd()));
        accepted.write_all(b"x").unwrap();
        assert!(!is_new(accepted.as_fd()));
        // What was not read makes it a reset.
        drop(dialled);
        assert!(progress(accepted.as_fd(), false).unwrap().gone);
    }
}
