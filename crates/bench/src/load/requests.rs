//! An INVITE and its answer in turn on many connections: each is a dialog that is refreshed.

use super::client::{Answers, Common, Done, PATIENCE, is_200, request_of};
use super::message::Template;
use clap::Args;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The command line of this load.
#[derive(Args, Debug)]
pub struct Requests {
    /// How long
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// How many connections
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    connections: usize,
    /// So many requests a second, instead of one after the other's answer
    #[arg(long, value_name = "COUNT")]
    rate: Option<u32>,
}

/// The first media port of the connections' calls.
const FIRST_PORT: u16 = 20_000;
/// The key of the clock among the connections.
const CLOCK: u64 = u64::MAX;

/// A connection, with its dialog.
struct Line {
    stream: TcpStream,
    invite: Template,
    answers: Answers,
    /// The number of the last request.
    number: u32,
    /// When it was sent, if it is not answered.
    asked: Option<Instant>,
}

impl Line {
    fn open(common: &Common, call: usize) -> io::Result<Self> {
        let (stream, ends) = common.connect()?;
        let mut invite = Template::invite(ends);
        invite
            .call(call as u32)
            .media(FIRST_PORT + 2 * (call as u16 % 20_000));
        let answers = Answers::default();
        Ok(Line {
            stream,
            invite,
            answers,
            number: 0,
            asked: None,
        })
    }

    fn ask(&mut self, now: Instant) -> io::Result<()> {
        self.number += 1;
        self.asked = Some(now);
        self.stream
            .write_all(self.invite.request(self.number).bytes())
    }

    /// Reads; when the answer is there, how long it took, and whether it is right.
    fn hear(&mut self, common: &Common, done: &mut Done) -> io::Result<Option<Instant>> {
        self.answers.read(&mut self.stream)?;
        let number = self.number;
        let mut asked = None;
        while let Some(answer) = self
            .answers
            .next()
            .map_err(|_| io::Error::other("the answers' stream is damaged"))?
        {
            let right = is_200(answer) && request_of(answer) == Some(number);
            done.failed += u64::from(!right);
            done.leaks += u64::from(common.leaks(answer));
            done.units += 1;
            asked = self.asked.take().or(asked);
        }
        Ok(asked)
    }
}

impl Requests {
    /// Makes the load.
    ///
    /// # Errors
    /// It cannot connect.
    pub fn run(&self, common: &Common) -> io::Result<()> {
        super::allow_files();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut lines = Vec::new();
        for call in 0..self.connections {
            let mut line = Line::open(common, call)?;
            // One request each before it counts.
            line.ask(Instant::now())?;
            line.answers
                .wait(&mut line.stream, common, &mut Done::default())?;
            line.asked = None;
            epoll.add(
                &line.stream,
                EpollEvent::new(EpollFlags::EPOLLIN, call as u64),
            )?;
            lines.push(line);
        }
        common.each(|| {
            let mut done = Done::default();
            let result = match self.rate {
                None => self.in_turn(common, &epoll, &mut lines, &mut done),
                Some(rate) => self.paced(common, &epoll, &mut lines, rate, &mut done),
            };
            done.trouble = result.err().map(|error| error.to_string());
            done
        })
    }

    fn in_turn(
        &self,
        common: &Common,
        epoll: &Epoll,
        lines: &mut [Line],
        done: &mut Done,
    ) -> io::Result<()> {
        let began = Instant::now();
        let length = Duration::from_secs_f64(self.seconds);
        for line in lines.iter_mut() {
            line.ask(began)?;
        }
        let mut events = vec![EpollEvent::empty(); 256];
        let mut open = lines.len();
        while open > 0 {
            let count = epoll.wait(&mut events, patience())?;
            if count == 0 {
                done.failed += open as u64;
                return Err(io::Error::other(format!("{open} requests got no answer")));
            }
            let goes_on = began.elapsed() < length;
            for event in &events[..count] {
                let line = &mut lines[event.data() as usize];
                if line.hear(common, done)?.is_some() {
                    if goes_on {
                        line.ask(began)?;
                    } else {
                        open -= 1;
                    }
                }
            }
        }
        done.seconds = began.elapsed().as_secs_f64();
        Ok(())
    }

    fn paced(
        &self,
        common: &Common,
        epoll: &Epoll,
        lines: &mut [Line],
        rate: u32,
        done: &mut Done,
    ) -> io::Result<()> {
        let clock = clock(rate)?;
        epoll.add(&clock, EpollEvent::new(EpollFlags::EPOLLIN, CLOCK))?;
        let began = Instant::now();
        let length = Duration::from_secs_f64(self.seconds);
        let mut times = Vec::with_capacity((f64::from(rate) * self.seconds) as usize + 1);
        let mut events = vec![EpollEvent::empty(); 64];
        let (mut turn, mut open, mut asking) = (0, 0_usize, true);
        while asking || open > 0 {
            let count = epoll.wait(&mut events, patience())?;
            if count == 0 {
                done.failed += open as u64;
                break;
            }
            for event in &events[..count] {
                if event.data() == CLOCK {
                    asking = began.elapsed() < length;
                    for _ in 0..ticks(&clock)? {
                        // One that still waits for its answer is passed over.
                        let line = &mut lines[turn % self.connections];
                        turn += 1;
                        if asking && line.asked.is_none() {
                            line.ask(Instant::now())?;
                            open += 1;
                        }
                    }
                } else if let Some(asked) = lines[event.data() as usize].hear(common, done)? {
                    times.push(asked.elapsed());
                    open -= 1;
                }
            }
        }
        epoll.delete(&clock)?;
        done.seconds = began.elapsed().as_secs_f64();
        times.sort_unstable();
        let within = |share: usize| times.get(times.len() * share / 100);
        done.p50 = within(50).map(|time| time.as_secs_f64() * 1e6);
        done.p99 = within(99).map(|time| time.as_secs_f64() * 1e6);
        Ok(())
    }
}

fn patience() -> EpollTimeout {
    EpollTimeout::try_from(PATIENCE).unwrap_or(EpollTimeout::NONE)
}

/// A clock that ticks so many times a second.
fn clock(rate: u32) -> io::Result<TimerFd> {
    let clock = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
    let tick = TimeSpec::nanoseconds(1_000_000_000 / i64::from(rate.max(1)));
    clock.set(Expiration::Interval(tick), TimerSetTimeFlags::empty())?;
    Ok(clock)
}

/// How often it ticked since it was asked before.
fn ticks(clock: &TimerFd) -> io::Result<u64> {
    let mut count = [0; 8];
    nix::unistd::read(clock.as_fd(), &mut count)?;
    Ok(u64::from_ne_bytes(count))
}
