//! The pump of one connection: two legs, and between them what a plain NAT would have done.
//!
//! A [`Conn`] decides what to read, where bytes wait, when a leg is finished and when both are
//! reset. It knows sockets only by the [`Socket`] trait and never waits, so that its tests play
//! the socket. What is read goes through the [`Alg`](sipalg_core::Alg), by the worker:
//!
//! ```text
//!   ready() -> read() -> Alg::stream -> write()      bytes
//!                    `-> Alg::end_of_stream -> write(), finish()      FIN
//!   fate()  -> Closed, or Reset: abort() and drop
//! ```

use sipalg_core::Leg;
use std::io::{self, ErrorKind};

/// How many bytes may wait for a leg that does not take them; above it the other leg is not read,
/// so that its sender sees its window close.
pub const WAITING_LIMIT: usize = 256 * 1024;

/// What the pump asks of a TCP socket that does not block.
pub trait Socket {
    /// Whether a connect that is under way has succeeded by now.
    ///
    /// # Errors
    /// It failed.
    fn connected(&mut self) -> io::Result<bool>;

    /// Reads as [`io::Read::read`].
    ///
    /// # Errors
    /// `WouldBlock`, or the connection is gone.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes as [`io::Write::write`].
    ///
    /// # Errors
    /// `WouldBlock`, or the connection is gone.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends FIN.
    ///
    /// # Errors
    /// The connection is gone.
    fn finish(&mut self) -> io::Result<()>;

    /// Lets the coming close end in order what has ended, instead of by RST.
    fn part(&mut self);

    /// Lets the coming close send RST.
    fn abort(&mut self);
}

/// What one report of the poll says about a leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Readiness {
    /// There is something to read.
    pub readable: bool,
    /// There is room to write, or a connect has ended.
    pub writable: bool,
    /// The peer has sent FIN or RST.
    pub hangup: bool,
    /// The connection is gone by RST, time-out or an ICMP error.
    pub broken: bool,
}

/// What [`Conn::read`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// So many bytes.
    Bytes(usize),
    /// FIN: the leg will send no more.
    End,
    /// Nothing now.
    Nothing,
}

impl Input {
    /// How many bytes were read.
    pub fn length(self) -> usize {
        match self {
            Input::Bytes(read) => read,
            Input::End | Input::Nothing => 0,
        }
    }
}

/// What becomes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It goes on.
    Alive,
    /// Both directions have ended in order.
    Closed,
    /// One leg is gone; the other must be told so by RST.
    Reset,
}

/// What another process has left of a leg.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resumed {
    /// What is to be sent on it.
    pub waiting: Vec<u8>,
    /// Its FIN was read.
    pub ended: bool,
    /// It is to be sent FIN.
    pub finish: bool,
    /// And was.
    pub finished: bool,
}

/// One proxied connection.
#[derive(Debug)]
pub struct Conn<S> {
    sides: [Side<S>; 2],
    accepted: Leg,
    dialling: bool,
    reset: bool,
}

#[derive(Debug)]
struct Side<S> {
    socket: S,
    /// Bytes that the socket did not take yet; exists only while there are any.
    waiting: Option<Box<Waiting>>,
    is: State,
}

/// What is so of a leg, a bit each: there are very many legs.
#[derive(Clone, Copy, Debug, Default)]
struct State(u8);

impl State {
    /// The poll reported something to read that was not drained: it reports edges only.
    const READABLE: u8 = 1;
    /// FIN or RST is behind what can be read: a short read is not the end of it.
    const HANGUP: u8 = 2;
    /// The poll reported an error.
    const BROKEN: u8 = 4;
    /// FIN was read.
    const ENDED: u8 = 8;
    /// FIN is to be sent once nothing waits.
    const FINISH: u8 = 16;
    /// Writing failed: what the peer sent before that can still be read, then both are reset.
    const DEAD: u8 = 32;

    fn has(self, what: u8) -> bool {
        self.0 & what != 0
    }

    fn set(&mut self, what: u8, is: bool) {
        self.0 = if is { self.0 | what } else { self.0 & !what };
    }
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    sent: usize,
}

impl<S: Socket> Conn<S> {
    /// A connection whose `accepted` leg is open and whose other leg is being dialled.
    pub fn new(accepted: Leg, inside: S, outside: S) -> Self {
        Conn {
            sides: [Side::new(inside), Side::new(outside)],
            accepted,
            dialling: true,
            reset: false,
        }
    }

    /// A connection that goes on as another process has left it.
    pub fn resumed(accepted: Leg, dialling: bool, sides: [(S, Resumed); 2]) -> Self {
        let sides = sides.map(|(socket, resumed)| {
            let mut side = Side::new(socket);
            if !resumed.waiting.is_empty() {
                side.waiting = Some(Box::new(Waiting {
                    bytes: resumed.waiting,
                    sent: 0,
                }));
            }
            side.is.set(State::ENDED, resumed.ended);
            side.is.set(State::FINISH, resumed.finish);
            if resumed.finish && !resumed.finished && side.waiting.is_none() {
                side.send_finish();
            }
            side
        });
        Conn {
            sides,
            accepted,
            dialling,
            reset: false,
        }
    }

    /// It cannot go on.
    pub fn give_up(&mut self) {
        self.reset = true;
    }

    /// Takes note of what the poll reported, and sends what waited for it.
    pub fn ready(&mut self, leg: Leg, is: Readiness) {
        let side = self.side_mut(leg);
        if is.readable || is.hangup || is.broken {
            side.is.set(State::READABLE, true);
        }
        if is.hangup || is.broken {
            side.is.set(State::HANGUP, true);
        }
        if is.broken {
            side.is.set(State::BROKEN, true);
        }
        if self.dialling {
            self.dial(leg, is);
        } else if is.writable {
            self.side_mut(leg).flush();
        }
    }

    /// Whether [`read`](Self::read) makes sense: something is there, and the other leg takes it.
    pub fn wants_read(&self, leg: Leg) -> bool {
        let from = self.side(leg);
        let to = self.side(leg.other());
        !self.dialling
            && !self.reset
            && from.has(State::READABLE)
            && !from.has(State::ENDED)
            && to.takes()
    }

    /// Reads from a leg once.
    pub fn read(&mut self, leg: Leg, buffer: &mut [u8]) -> Input {
        let from = self.side_mut(leg);
        let input = loop {
            match from.socket.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match input {
            Ok(0) => {
                from.is.set(State::READABLE, false);
                from.is.set(State::ENDED, true);
                self.reset |= from.has(State::DEAD);
                Input::End
            }
            Ok(read) => {
                // A short read has drained the socket (epoll(7)) unless FIN or RST follows, which
                // may have been reported together with these bytes.
                let more = from.has(State::HANGUP) || read == buffer.len();
                from.is.set(State::READABLE, more);
                Input::Bytes(read)
            }
            Err(error) => {
                from.is.set(State::READABLE, false);
                self.reset |= error.kind() != ErrorKind::WouldBlock;
                Input::Nothing
            }
        }
    }

    /// Sends bytes on a leg; what it does not take waits.
    pub fn write(&mut self, leg: Leg, bytes: &[u8]) {
        self.side_mut(leg).write(bytes);
    }

    /// Sends FIN on a leg, after what waits for it. The last of a connection is left to its close.
    pub fn finish(&mut self, leg: Leg) {
        self.side_mut(leg).is.set(State::FINISH, true);
        if self.side(leg).waiting.is_none() && self.fate() != Fate::Closed {
            self.side_mut(leg).send_finish();
        }
    }

    /// What becomes of the connection. To be asked when all that was read is written.
    pub fn fate(&self) -> Fate {
        let ended = |side: &Side<S>| side.has(State::ENDED) && side.has(State::FINISH);
        let done = |side: &Side<S>| ended(side) && side.waiting.is_none();
        if self.sides.iter().all(done) {
            Fate::Closed
        } else if self.reset || self.lost(Leg::Inside) || self.lost(Leg::Outside) {
            Fate::Reset
        } else {
            Fate::Alive
        }
    }

    /// Lets both legs end in order when this is dropped: both directions have ended.
    pub fn part(&mut self) {
        for side in &mut self.sides {
            side.socket.part();
        }
    }

    /// Lets both legs end by RST when this is dropped.
    pub fn abort(&mut self) {
        for side in &mut self.sides {
            side.socket.abort();
        }
    }

    /// How many bytes wait for a leg.
    pub fn waiting(&self, leg: Leg) -> usize {
        self.side(leg).waiting()
    }

    /// How many bytes wait for either leg.
    pub fn all_waiting(&self) -> usize {
        self.waiting(Leg::Inside) + self.waiting(Leg::Outside)
    }

    /// The leg that was accepted.
    pub fn accepted(&self) -> Leg {
        self.accepted
    }

    /// Whether the other leg is not connected yet.
    pub fn dialling(&self) -> bool {
        self.dialling
    }

    /// The socket of a leg.
    pub fn socket_mut(&mut self, leg: Leg) -> &mut S {
        &mut self.side_mut(leg).socket
    }

    fn dial(&mut self, leg: Leg, is: Readiness) {
        if leg == self.accepted {
            self.reset |= is.broken;
        } else if is.writable && !is.broken && !is.hangup {
            // There is room only in a connection.
            self.dialling = false;
        } else if is.broken || is.hangup {
            match self.side_mut(leg).socket.connected() {
                Ok(connected) => self.dialling = !connected,
                Err(_) => self.reset = true,
            }
        }
    }

    /// Whether a leg is gone and nothing that it sent can still be delivered.
    fn lost(&self, leg: Leg) -> bool {
        let side = self.side(leg);
        side.has(State::BROKEN) && (side.has(State::ENDED) || !self.side(leg.other()).takes())
    }

    fn side(&self, leg: Leg) -> &Side<S> {
        match leg {
            Leg::Inside => &self.sides[0],
            Leg::Outside => &self.sides[1],
        }
    }

    fn side_mut(&mut self, leg: Leg) -> &mut Side<S> {
        match leg {
            Leg::Inside => &mut self.sides[0],
            Leg::Outside => &mut self.sides[1],
        }
    }
}

impl<S: Socket> Side<S> {
    fn new(socket: S) -> Self {
        Side {
            socket,
            waiting: None,
            is: State::default(),
        }
    }

    fn has(&self, what: u8) -> bool {
        self.is.has(what)
    }

    fn waiting(&self) -> usize {
        self.waiting
            .as_ref()
            .map_or(0, |waiting| waiting.bytes.len() - waiting.sent)
    }

    fn takes(&self) -> bool {
        !self.has(State::DEAD) && self.waiting() < WAITING_LIMIT
    }

    fn write(&mut self, mut bytes: &[u8]) {
        if self.has(State::DEAD) || bytes.is_empty() {
            return;
        }
        if self.waiting.is_none() {
            let sent = self.send(bytes);
            bytes = &bytes[sent..];
            if self.has(State::DEAD) || bytes.is_empty() {
                return;
            }
        }
        let waiting = self.waiting.get_or_insert_default();
        waiting.bytes.drain(..waiting.sent);
        waiting.sent = 0;
        waiting.bytes.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        if let Some(mut waiting) = self.waiting.take() {
            waiting.sent += self.send(&waiting.bytes[waiting.sent..]);
            if self.has(State::DEAD) {
                return;
            }
            if waiting.sent < waiting.bytes.len() {
                self.waiting = Some(waiting);
            } else if self.has(State::FINISH) {
                self.send_finish();
            }
        }
    }

    /// Writes once; a short write has filled the socket (epoll(7)), and the poll will report room.
    fn send(&mut self, bytes: &[u8]) -> usize {
        loop {
            match self.socket.write(bytes) {
                Ok(sent) => return sent,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return 0,
                Err(_) => {
                    self.die();
                    return 0;
                }
            }
        }
    }

    fn send_finish(&mut self) {
        if !self.has(State::DEAD) && self.socket.finish().is_err() {
            self.die();
        }
    }

    fn die(&mut self) {
        self.is.set(State::DEAD, true);
        self.is.set(State::BROKEN, true);
        self.waiting = None;
        // The failed write has consumed the socket's error; the end of reading stands for it.
        self.is.set(State::READABLE, true);
        self.is.set(State::HANGUP, true);
    }
}

#[cfg(test)]
mod tests;
