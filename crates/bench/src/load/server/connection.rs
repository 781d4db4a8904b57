//! One connection of the server.

use super::{Clean, Seen, Shared, answer};
use crate::load::frame::{self, Message};
use crate::load::message::Wish;
use crate::load::period::Period;
use memchr::memmem;
use std::io::{self, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};

/// How many distinct messages a stream has; then it begins again.
pub const DISTINCT: u32 = 1000;

/// A connection.
pub struct Connection {
    /// Its socket.
    pub stream: TcpStream,
    own: SocketAddrV4,
    /// A message that is not whole yet.
    partial: Vec<u8>,
    /// Whether the stream is compared with its period.
    repeats: bool,
    period: Period,
    /// The number of the stream's message that must come next.
    next: u32,
    /// The call whose media ports are tried once more.
    closed: Option<u32>,
    out: Vec<u8>,
}

impl Connection {
    /// A connection that was accepted.
    ///
    /// # Errors
    /// It is gone already.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        let own = match stream.local_addr()? {
            SocketAddr::V4(own) => own,
            SocketAddr::V6(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Connection {
            stream,
            own,
            partial: Vec::new(),
            repeats: false,
            period: Period::default(),
            next: 0,
            closed: None,
            out: Vec::new(),
        })
    }

    /// Takes what was read: checks it, and answers.
    ///
    /// # Errors
    /// The stream is damaged, or the answer cannot be sent: the connection is over.
    pub fn feed(&mut self, bytes: &[u8], shared: &mut Shared) -> io::Result<()> {
        let mut rest = bytes;
        if self.repeats {
            rest = &rest[self.period.same(rest)..];
            if rest.is_empty() {
                return Ok(());
            }
            self.stop_comparing(&mut shared.seen);
        }
        let mut held = std::mem::take(&mut self.partial);
        let mut stream = if held.is_empty() {
            rest
        } else {
            held.extend_from_slice(rest);
            &held
        };
        while !stream.is_empty() {
            let Ok(first) = frame::first(stream) else {
                shared.seen.damaged += 1;
                return Err(io::ErrorKind::InvalidData.into());
            };
            let Some((message, length)) = first else {
                self.partial = stream.to_vec();
                break;
            };
            self.check(message, shared);
            self.take(message, &stream[..length], shared)?;
            stream = &stream[length..];
            if self.next == 0 && self.period.learned() == DISTINCT as usize {
                self.repeats = true;
                stream = &stream[self.period.same(stream)..];
                if !stream.is_empty() {
                    self.stop_comparing(&mut shared.seen);
                    // What differs is looked at together with the beginning of its message.
                    let again = [&std::mem::take(&mut self.partial), stream].concat();
                    if again.len() > stream.len() {
                        self.flush()?;
                        return self.feed(&again, shared);
                    }
                }
            }
        }
        self.flush()
    }

    /// Adds what the comparison passed to what was seen.
    pub fn count(&mut self, seen: &mut Seen) {
        if self.repeats {
            self.stop_comparing(seen);
            if self.partial.is_empty() && self.next == 0 {
                self.repeats = true;
            }
        }
    }

    fn stop_comparing(&mut self, seen: &mut Seen) {
        let (messages, partial) = self.period.leave();
        self.partial = partial.to_vec();
        self.repeats = false;
        seen.messages += messages;
        self.next = ((u64::from(self.next) + messages) % u64::from(DISTINCT)) as u32;
    }

    fn check(&self, message: Message<'_>, shared: &mut Shared) {
        let seen = &mut shared.seen;
        seen.messages += 1;
        let has = |text: &[u8]| memmem::find(text, &shared.hidden).is_some();
        let leaks = match shared.clean {
            Clean::None => false,
            Clean::Body => has(message.body),
            Clean::All => has(message.head) || has(message.body),
        };
        if leaks {
            seen.leaks += 1;
            seen.example.get_or_insert_with(|| {
                let whole = [message.head, message.body].concat();
                String::from_utf8_lossy(&whole).into_owned()
            });
        }
    }

    /// Does what the message asks for.
    fn take(&mut self, message: Message<'_>, bytes: &[u8], shared: &mut Shared) -> io::Result<()> {
        let head = message.head;
        if let Some(call) = self.closed.take() {
            shared.media.probe_again(call, &mut shared.seen);
        }
        if head.starts_with(b"INVITE ") {
            let call = frame::field(head, "Call-ID")
                .and_then(frame::number)
                .unwrap_or(0);
            match wish(head) {
                Wish::Sink => {
                    self.follow(call, bytes, &mut shared.seen);
                    return Ok(());
                }
                Wish::Answer => {}
                Wish::Probe => shared.media.probe(call, message.body, &mut shared.seen),
                Wish::Hold => shared.media.hold(call, message.body),
            }
            answer::accept(head, self.own, shared.media.own(), &mut self.out);
        } else if head.starts_with(b"BYE ") {
            let call = frame::field(head, "Call-ID")
                .and_then(frame::number)
                .unwrap_or(0);
            self.closed = shared.media.knows(call).then_some(call);
            answer::ok(head, &mut self.out);
        } else if !head.starts_with(b"ACK ") {
            answer::ok(head, &mut self.out);
        }
        Ok(())
    }

    /// A message of a stream: it has its place.
    fn follow(&mut self, number: u32, bytes: &[u8], seen: &mut Seen) {
        if number != self.next {
            seen.disorder += 1;
        } else if self.period.learned() == number as usize {
            self.period.learn(bytes);
        }
        self.next = (number + 1) % DISTINCT;
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

/// What an INVITE wishes: the user part of its URI says it.
fn wish(head: &[u8]) -> Wish {
    let user = head.get(b"INVITE sip:".len()..).unwrap_or(head);
    let known = Wish::ALL
        .iter()
        .find(|(_, word)| user.starts_with(word.as_bytes()));
    known.map_or(Wish::Answer, |(wish, _)| *wish)
}
