//! The TCP sockets of legs: how they are made, and the options that they carry.

use crate::conn::Socket;
use crate::kernel::MARK_DIAL;
use mio::net::TcpStream;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetOsString;
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4};
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
///
/// # Errors
/// `AddrInUse` or `AddrNotAvailable`: another port may do. Otherwise the target cannot be reached.
pub fn dial(
    source: SocketAddrV4,
    target: SocketAddrV4,
    way: Way<'_>,
    tos: u8,
) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(
        Domain::IPV4,
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    set_leg_options(SockRef::from(&socket))?;
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
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// What every leg has: no Nagle delay, and a peer that vanished is noticed after two minutes.
///
/// # Errors
/// The socket does not take an option.
pub fn set_leg_options(socket: SockRef<'_>) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_nodelay(true)
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

    fn abort(&mut self) {
        // It fails only for what is no socket.
        let _ = SockRef::from(&*self).set_linger(Some(Duration::ZERO));
    }
}
