//! Whole calls back to back on some connections: INVITE, 200, ACK and BYE, 200; each call has
//! media ports that the connection did not have for long. Of some calls the ports are watched.

use super::client::{Answers, Common, Done, PATIENCE, is_200};
use super::ear::{self, When};
use super::message::{Template, Wish};
use clap::Args;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// The command line of this load.
#[derive(Args, Debug)]
pub struct Calls {
    /// How long
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// Make so many calls on each connection, however long it takes
    #[arg(long, value_name = "COUNT")]
    count: Option<u32>,
    /// How many connections
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    connections: usize,
    /// Let the server try the media ports of one call in so many: they must lead here before it
    /// is answered, and nowhere after its BYE
    #[arg(long, value_name = "COUNT")]
    probe: Option<u32>,
}

/// The first media port of calls that are made and ended.
pub const FIRST_PORT: u16 = 40_000;
/// How many pairs of media ports there are: fewer ports than the 16,128 that one inside host may have
/// of mappings, which outlive their calls by minutes.
const PAIRS: usize = 7_500;
/// What all calls of one connection have in front of their number.
const CALLS: u32 = 1_000_000;

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Inviting,
    Ending,
}

/// The media ports of a call that is watched.
struct Watch {
    call: u32,
    ports: [UdpSocket; 2],
}

/// A connection, with its call.
struct Line {
    stream: TcpStream,
    answers: Answers,
    own: Ipv4Addr,
    invite: Template,
    ack: Template,
    bye: Template,
    /// The first call's number, and how many have been made.
    calls: (u32, u32),
    pairs: std::ops::Range<usize>,
    pair: usize,
    at: At,
    watch: Option<Watch>,
    /// One that is over: nothing may be heard there.
    over: Option<Watch>,
}

impl Calls {
    /// Makes the load.
    ///
    /// # Errors
    /// It cannot connect.
    pub fn run(&self, common: &Common) -> io::Result<()> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut lines = Vec::new();
        for number in 0..self.connections {
            let line = Line::open(common, number, PAIRS / self.connections)?;
            epoll.add(
                &line.stream,
                EpollEvent::new(EpollFlags::EPOLLIN, number as u64),
            )?;
            lines.push(line);
        }
        common.each(|| {
            let mut done = Done::default();
            let result = self.calls(common, &epoll, &mut lines, &mut done);
            done.trouble = result.err().map(|error| error.to_string());
            done
        })
    }

    fn calls(
        &self,
        common: &Common,
        epoll: &Epoll,
        lines: &mut [Line],
        done: &mut Done,
    ) -> io::Result<()> {
        let began = Instant::now();
        let length = Duration::from_secs_f64(self.seconds);
        let last = |line: &Line| match self.count {
            Some(count) => line.calls.1.is_multiple_of(count),
            None => began.elapsed() >= length,
        };
        for line in lines.iter_mut() {
            line.invite(self.probe, done)?;
        }
        let mut open = lines.len();
        let mut events = vec![EpollEvent::empty(); 256];
        let patience = EpollTimeout::try_from(PATIENCE).unwrap_or(EpollTimeout::NONE);
        while open > 0 {
            let count = epoll.wait(&mut events, patience)?;
            if count == 0 {
                return Err(io::Error::other(format!("{open} calls got no answer")));
            }
            for event in &events[..count] {
                let line = &mut lines[event.data() as usize];
                if line.hear(common, done)? {
                    if last(line) {
                        open -= 1;
                    } else {
                        line.invite(self.probe, done)?;
                    }
                }
            }
        }
        done.seconds = began.elapsed().as_secs_f64();
        Ok(())
    }
}

impl Line {
    fn open(common: &Common, number: usize, pairs: usize) -> io::Result<Self> {
        let (stream, ends) = common.connect()?;
        Ok(Line {
            stream,
            answers: Answers::default(),
            own: *ends.own.ip(),
            invite: Template::invite(ends),
            ack: Template::within("ACK", ends),
            bye: Template::within("BYE", ends),
            calls: ((number as u32 + 1) % 100 * CALLS, 0),
            pairs: number * pairs..(number + 1) * pairs,
            pair: 0,
            at: At::Inviting,
            watch: None,
            over: None,
        })
    }

    /// Begins the next call.
    fn invite(&mut self, probe: Option<u32>, done: &mut Done) -> io::Result<()> {
        self.calls.1 += 1;
        let call = self.calls.0 + self.calls.1 % CALLS;
        let port = FIRST_PORT + 2 * (self.pairs.start + self.pair) as u16;
        self.pair = (self.pair + 1) % self.pairs.len();
        let wish = if probe.is_some_and(|probe| self.calls.1.is_multiple_of(probe)) {
            done.probes += 2;
            self.watch = Some(Watch::open(call, self.own, port)?);
            Wish::Probe
        } else {
            Wish::Answer
        };
        self.at = At::Inviting;
        let invite = self.invite.call(call).request(1).media(port).wish(wish);
        self.stream.write_all(invite.bytes())?;
        self.ack.call(call).request(1);
        self.bye.call(call).request(2);
        Ok(())
    }

    /// Reads; true when the call is over.
    fn hear(&mut self, common: &Common, done: &mut Done) -> io::Result<bool> {
        self.answers.read(&mut self.stream)?;
        let mut over = false;
        while let Some(answer) = self
            .answers
            .next()
            .map_err(|_| io::Error::other("the answers' stream is damaged"))?
        {
            done.failed += u64::from(!is_200(answer));
            done.leaks += u64::from(common.leaks(answer));
            match self.at {
                At::Inviting => {
                    if let Some(watch) = &self.watch {
                        done.unheard += watch.unheard()?;
                    }
                    let end = [self.ack.bytes(), self.bye.bytes()].concat();
                    self.stream.write_all(&end)?;
                    self.at = At::Ending;
                    // The call before has been tried once more by now.
                    if let Some(watch) = self.over.take() {
                        done.late += watch.late();
                    }
                }
                At::Ending => {
                    self.over = self.watch.take();
                    done.units += 1;
                    over = true;
                }
            }
        }
        Ok(over)
    }
}

impl Watch {
    fn open(call: u32, own: Ipv4Addr, port: u16) -> io::Result<Self> {
        let open = |port| -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind((own, port))?;
            socket.set_read_timeout(Some(Duration::from_millis(500)))?;
            Ok(socket)
        };
        Ok(Watch {
            call,
            ports: [open(port)?, open(port + 1)?],
        })
    }

    /// At how many of its ports the probe has not been heard. It was sent before the answer.
    fn unheard(&self) -> io::Result<u64> {
        let mut unheard = 0;
        for port in &self.ports {
            let mut bytes = [0; 64];
            let heard = match port.recv(&mut bytes) {
                Ok(count) => ear::probed(&bytes[..count]) == Some((When::Before, self.call)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(error) => return Err(error),
            };
            unheard += u64::from(!heard);
        }
        Ok(unheard)
    }

    /// At how many it has been heard after the call.
    fn late(&self) -> u64 {
        let late = |port: &&UdpSocket| {
            let mut bytes = [0; 64];
            port.set_nonblocking(true).is_ok()
                && port.recv(&mut bytes).is_ok_and(|count| {
                    ear::probed(&bytes[..count]) == Some((When::After, self.call))
                })
        };
        self.ports.iter().filter(late).count() as u64
    }
}
