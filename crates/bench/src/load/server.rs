//! The outside: answers what is to be answered, and checks all that arrives.

mod answer;
mod connection;
mod media;

use self::connection::Connection;
pub use self::connection::DISTINCT;
use self::media::Media;
use clap::{Args, ValueEnum};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

/// The command line of the server.
#[derive(Args, Debug)]
pub struct Server {
    /// Where it listens; each connection's own address is what its answers name
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:5060")]
    listen: SocketAddrV4,
    /// Where media come from; its answers name it
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "10.1.1.2:40000")]
    media: SocketAddrV4,
    /// Send media to this address instead of the one that a session description names
    #[arg(long, value_name = "ADDRESS")]
    media_to: Option<Ipv4Addr>,
    /// How inside addresses begin; where none may be seen, each one is counted
    #[arg(long, value_name = "TEXT", default_value = "192.168.122.")]
    hidden: String,
    /// Where no inside address may be seen
    #[arg(long, value_name = "WHERE", default_value = "none")]
    clean: Clean,
}

/// What a gateway promises to have rewritten.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clean {
    /// Nothing.
    None,
    /// Session descriptions.
    Body,
    /// All of each message.
    All,
}

impl Clean {
    /// How the command line spells it.
    pub fn word(self) -> &'static str {
        match self {
            Clean::None => "none",
            Clean::Body => "body",
            Clean::All => "all",
        }
    }
}

/// What the server saw since it was asked before.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Seen {
    /// Messages.
    pub messages: u64,
    /// Messages with an inside address where none may be.
    pub leaks: u64,
    /// Messages of a stream that did not follow the one before.
    pub disorder: u64,
    /// Connections whose stream could not be cut into messages any more.
    pub damaged: u64,
    /// Connections.
    pub connections: u64,
    /// Datagrams and packets sent to media ports.
    pub sent: u64,
    /// How long that took, seconds.
    pub seconds: f64,
    /// The lines of the first message with an inside address.
    pub example: Option<String>,
}

/// What all connections share.
struct Shared {
    hidden: Vec<u8>,
    clean: Clean,
    seen: Seen,
    media: Media,
}

/// Keys of what is watched that is no connection.
const LISTENER: u64 = u64::MAX;
const COMMANDS: u64 = u64::MAX - 1;

/// Serves until standard input says `end`. A line `report` there is answered with what was seen,
/// `rtp RATE MILLISECONDS` sends packets to the ports of all held calls, `probe` a datagram to each.
///
/// # Errors
/// It cannot listen.
pub fn run(options: &Server) -> io::Result<()> {
    super::allow_files();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&options.listen.into())?;
    socket.listen(4096)?;
    let listener: TcpListener = socket.into();
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    // A file or /dev/null cannot be watched, and has no commands.
    _ = epoll.add(io::stdin(), EpollEvent::new(EpollFlags::EPOLLIN, COMMANDS));
    let mut shared = Shared {
        hidden: options.hidden.clone().into_bytes(),
        clean: options.clean,
        seen: Seen::default(),
        media: Media::open(options.media, options.media_to)?,
    };
    say("listening")?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut events = vec![EpollEvent::empty(); 512];
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            count => count?,
        };
        for event in &events[..count] {
            match event.data() {
                LISTENER => accept(&listener, &epoll, &mut connections, &mut free, &mut shared)?,
                COMMANDS => {
                    if !command(&epoll, &mut shared, &mut connections)? {
                        return Ok(());
                    }
                }
                key => {
                    let at = key as usize;
                    let over = connections[at]
                        .as_mut()
                        .is_some_and(|connection| !serve(connection, &mut buffer, &mut shared));
                    if over {
                        connections[at] = None;
                        free.push(at);
                    }
                }
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    connections: &mut Vec<Option<Connection>>,
    free: &mut Vec<usize>,
    shared: &mut Shared,
) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // It went away again before it was accepted.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        shared.seen.connections += 1;
        let at = free.pop().unwrap_or_else(|| {
            connections.push(None);
            connections.len() - 1
        });
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, at as u64))?;
        connections[at] = Some(Connection::new(stream)?);
    }
}

/// Reads what is there, once; whether the connection goes on.
fn serve(connection: &mut Connection, buffer: &mut [u8], shared: &mut Shared) -> bool {
    match connection.stream.read(buffer) {
        Ok(0) => false,
        Ok(count) => connection.feed(&buffer[..count], shared).is_ok(),
        Err(error) => error.kind() == ErrorKind::Interrupted,
    }
}

/// Does what standard input says; whether the server goes on.
fn command(
    epoll: &Epoll,
    shared: &mut Shared,
    connections: &mut [Option<Connection>],
) -> io::Result<bool> {
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        epoll.delete(io::stdin())?;
        return Ok(true);
    }
    let mut words = line.split_whitespace();
    match words.next() {
        Some("end") => return Ok(false),
        Some("rtp") => {
            let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
            let (rate, milliseconds) = (number(), number());
            shared.media.talk(rate, milliseconds, &mut shared.seen);
        }
        Some("probe") => shared.media.probe_held(&mut shared.seen),
        _ => {}
    }
    for connection in connections.iter_mut().flatten() {
        connection.count(&mut shared.seen);
    }
    say(&serde_json::to_string(&std::mem::take(&mut shared.seen))?)?;
    Ok(true)
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
