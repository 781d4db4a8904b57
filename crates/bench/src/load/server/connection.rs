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
            seen.example
                .get_or_insert_with(|| leaking(message, &shared.hidden));
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

/// The lines with an inside address.
fn leaking(message: Message<'_>, hidden: &[u8]) -> String {
    let whole = [message.head, message.body].concat();
    let lines = whole.split(|&byte| byte == b'\n');
    let leaking = lines.filter(|line| memmem::find(line, hidden).is_some());
    let told: Vec<_> = leaking
        .map(|line| String::from_utf8_lossy(line.trim_ascii()))
        .collect();
    told.join(" / ")
}

/// What an INVITE wishes: the user part of its URI says it.
fn wish(head: &[u8]) -> Wish {
    let user = head.get(b"INVITE sip:".len()..).unwrap_or(head);
    let known = Wish::ALL
        .iter()
        .find(|(_, word)| user.starts_with(word.as_bytes()));
    known.map_or(Wish::Answer, |(wish, _)| *wish)
}

#[cfg(test)]
mod tests {
    use super::super::Media;
    use super::*;
    use crate::load::message::{Ends, Template};
    use std::net::{Ipv4Addr, TcpListener};

    /// The stream of so many messages, each with its number.
    fn stream(numbers: impl Iterator<Item = u32>) -> Vec<u8> {
        let at = |host, port| SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, host), port);
        let mut invite = Template::invite(Ends {
            own: at(1, 40_000),
            server: at(2, 5060),
        });
        invite.wish(Wish::Sink);
        let mut bytes = Vec::new();
        for number in numbers {
            bytes.extend_from_slice(invite.call(number).request(number).bytes());
        }
        bytes
    }

    /// What the server sees of a stream that comes in pieces of this length.
    fn seen(bytes: &[u8], piece: usize) -> Seen {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = listener.local_addr().expect("its address");
        let stream = TcpStream::connect(own).expect("a connection");
        let mut connection = Connection::new(stream).expect("its end");
        let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        let mut shared = Shared {
            hidden: b"10.9.9.".to_vec(),
            clean: Clean::All,
            seen: Seen::default(),
            media: Media::open(any, None).expect("a port"),
        };
        for piece in bytes.chunks(piece) {
            connection.feed(piece, &mut shared).expect("a stream");
        }
        connection.count(&mut shared.seen);
        shared.seen
    }

    /// The numbers of three periods.
    fn periods() -> impl Iterator<Item = u32> {
        (0..3 * DISTINCT).map(|number| number % DISTINCT)
    }

    #[test]
    fn a_whole_stream_is_counted_however_it_is_cut() {
        let bytes = stream(periods());
        for piece in [100, 700, 64 * 1024, bytes.len()] {
            let seen = seen(&bytes, piece);
            assert_eq!(
                (seen.messages, seen.disorder, seen.leaks),
                (3 * u64::from(DISTINCT), 0, 0),
                "{piece}"
            );
        }
    }

    #[test]
    fn a_message_that_is_lost_doubled_or_in_another_place_is_seen() {
        let whole: Vec<_> = periods().collect();
        for place in [10, 1500, 2500] {
            let (mut lost, mut doubled, mut swapped) =
                (whole.clone(), whole.clone(), whole.clone());
            lost.remove(place);
            doubled.insert(place, whole[place]);
            swapped.swap(place, place + 1);
            for numbers in [lost, doubled, swapped] {
                let seen = seen(&stream(numbers.into_iter()), 10_000);
                assert!(seen.disorder > 0, "at {place}");
            }
        }
    }

    #[test]
    fn an_inside_address_is_seen_wherever_in_the_stream_it_is() {
        let bytes = stream(periods());
        for place in [300, bytes.len() / 2 + 300, bytes.len() - 600] {
            let mut bytes = bytes.clone();
            let from = place + memmem::find(&bytes[place..], b"10.1.1.1").unwrap_or(0);
            bytes.splice(from..from + 8, *b"10.9.9.9");
            let seen = seen(&bytes, 64 * 1024);
            assert_eq!(seen.leaks, 1, "at {place}");
        }
    }
}
