//! The listener that TPROXY delivers intercepted connections to.

use crate::conn::Socket;
use crate::tcp::{SaveSyn, acknowledge_later, set_keepalive, set_leg_options, set_tos, syn_tos};
use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use nix::sys::socket::setsockopt;
use socket2::{Domain, Protocol, SockRef, Type};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// A transparent listener: the local address of what it accepts is where the peer wanted to go.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddrV4,
}

/// An intercepted connection.
#[derive(Debug)]
pub struct Accepted {
    /// Its leg.
    pub stream: TcpStream,
    /// Who opened it.
    pub peer: SocketAddrV4,
    /// Where to.
    pub destination: SocketAddrV4,
    /// The ToS byte of its SYN.
    pub tos: u8,
}

impl Listener {
    /// Listens at `address`, which the kernel's rules name.
    ///
    /// # Errors
    /// `PermissionDenied`: not allowed to be transparent. `AddrInUse`: somebody else listens there.
    pub fn bind(address: SocketAddrV4) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            Domain::IPV4,
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )?;
        // Accepted legs inherit these.
        set_leg_options(SockRef::from(&socket))?;
        set_keepalive(SockRef::from(&socket))?;
        socket.set_ip_transparent_v4(true)?;
        socket.set_reuse_address(true)?;
        setsockopt(&socket, SaveSyn, &true)?;
        socket.bind(&address.into())?;
        // The kernel cuts it to net.core.somaxconn.
        socket.listen(i32::from(u16::MAX))?;
        Ok(Listener {
            listener: TcpListener::from_std(socket.into()),
            address,
        })
    }

    /// Goes on with the listener of a former process, which listens at `address`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn inherited(listener: OwnedFd, address: SocketAddrV4) -> io::Result<Self> {
        let listener = std::net::TcpListener::from(listener);
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener);
        Ok(Listener { listener, address })
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> RawFd {
        self.listener.as_raw_fd()
    }

    /// Takes the next intercepted connection, if there is one.
    ///
    /// # Errors
    /// No connection can be taken now, for want of descriptors or memory.
    pub fn accept(&self) -> io::Result<Option<Accepted>> {
        loop {
            let (stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if passes(&error) => continue,
                Err(error) => return Err(error),
            };
            if let Some(accepted) = self.admit(stream, peer) {
                return Ok(Some(accepted));
            }
        }
    }

    /// What was accepted by a process that did not live to do anything with it, if it is still there.
    pub fn adopt(&self, stream: OwnedFd) -> Option<Accepted> {
        let stream = std::net::TcpStream::from(stream);
        let peer = stream.peer_addr().ok()?;
        stream.set_nonblocking(true).ok()?;
        self.admit(TcpStream::from_std(stream), peer)
    }

    fn admit(&self, mut stream: TcpStream, peer: SocketAddr) -> Option<Accepted> {
        let (SocketAddr::V4(peer), Ok(SocketAddr::V4(destination))) = (peer, stream.local_addr())
        else {
            return None;
        };
        if destination == self.address {
            // Nobody's destination: it was opened to the listener itself.
            stream.abort();
            return None;
        }
        let tos = syn_tos(&stream);
        // A leg without its mark is better than none.
        let _ = set_tos(SockRef::from(&stream), tos);
        acknowledge_later(SockRef::from(&stream));
        Some(Accepted {
            stream,
            peer,
            destination,
            tos,
        })
    }
}

/// Whether an error of accept concerns only the connection that would have been next (accept(2)).
fn passes(error: &io::Error) -> bool {
    use libc::{
        ECONNABORTED, EHOSTDOWN, EHOSTUNREACH, EINTR, ENETDOWN, ENETUNREACH, ENONET, ENOPROTOOPT,
        EOPNOTSUPP, EPROTO,
    };
    matches!(
        error.raw_os_error(),
        Some(
            ECONNABORTED
                | EHOSTDOWN
                | EHOSTUNREACH
                | EINTR
                | ENETDOWN
                | ENETUNREACH
                | ENONET
                | ENOPROTOOPT
                | EOPNOTSUPP
                | EPROTO
        )
    )
}

impl Source for Listener {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.listener.register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.listener.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.listener.deregister(registry)
    }
}
