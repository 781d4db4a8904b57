//! The event loop: one thread, one poll, everything that is ready handled in one wake-up.

use crate::carrier::Carrier;
use crate::commands::{self, Gateway, Typed};
use crate::conn::Readiness;
use crate::console::Console;
use crate::kernel::Kernel;
use crate::kernel::ports::Ports;
use crate::listen::Listener;
use crate::wake::Wake;
use crate::{daemon, log, plan};
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use sipalg_core::Instant;
use sipalg_ios::Startup;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the packet counts of media doors are read.
const MEDIA_EVERY: Duration = Duration::from_secs(10);

/// How often the gateway's own ports are looked up.
const PORTS_EVERY: Duration = Duration::from_secs(5);

/// When it is tried again after the kernel refused.
const PORTS_REFUSED: Duration = Duration::from_secs(3600);

/// How many connections are accepted before those that are open have their turn.
const ACCEPTS: usize = 256;

/// How long accepting pauses when descriptors or memory have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Everything that one event loop drives.
#[derive(Debug)]
pub struct Worker {
    poll: Poll,
    clock: Clock,
    carrier: Carrier,
    listener: Listener,
    console: Console,
    signals: SignalFd,
    /// The configuration in force.
    startup: Startup,
    /// The configuration as it was typed.
    typed: Typed,
    file: PathBuf,
    /// The listener has connections that were not accepted yet.
    accepting: bool,
    /// Accepting pauses until then.
    accept_at: Option<Instant>,
    media_at: Instant,
    media_seen: HashMap<SocketAddrV4, u64>,
    ports: Ports,
    ports_at: Instant,
}

/// The parts that a [`Worker`] is put together from.
#[derive(Debug)]
pub struct Parts {
    /// The data path.
    pub carrier: Carrier,
    /// Where intercepted connections arrive.
    pub listener: Listener,
    /// Where operators ask.
    pub console: Console,
    /// Any signal that arrives here ends the loop.
    pub signals: SignalFd,
    /// Where the gateway's own ports are looked up.
    pub ports: Ports,
    /// The configuration in force.
    pub startup: Startup,
    /// The file that it came from.
    pub file: PathBuf,
    /// The poll that nothing is registered with yet.
    pub poll: Poll,
}

impl Worker {
    /// Registers everything with the poll.
    ///
    /// # Errors
    /// The kernel refuses to watch something, with the parts to undo what they did.
    pub fn new(mut parts: Parts) -> Result<Self, (io::Error, Box<Parts>)> {
        if let Err(error) = register(&mut parts) {
            return Err((error, Box::new(parts)));
        }
        let mut worker = Worker {
            poll: parts.poll,
            clock: Clock::start(),
            carrier: parts.carrier,
            listener: parts.listener,
            console: parts.console,
            signals: parts.signals,
            typed: parts.startup.clone().into(),
            startup: parts.startup,
            file: parts.file,
            accepting: false,
            accept_at: None,
            media_at: Instant::ZERO + MEDIA_EVERY,
            media_seen: HashMap::new(),
            ports: parts.ports,
            ports_at: Instant::ZERO,
        };
        // Before anything is carried, so that no door is given a port of ours.
        worker.look_up_ports(Instant::ZERO);
        Ok(worker)
    }

    /// Carries connections until a signal comes.
    ///
    /// # Errors
    /// The poll fails.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let patience = self.patience();
            match self.poll.poll(&mut events, patience) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            let now = self.clock.now();
            for event in &events {
                match Wake::from(event.token()) {
                    Wake::Signal => {
                        if let Ok(Some(signal)) = self.signals.read_signal() {
                            log::line(format_args!("stopped by {}", name_of(signal.ssi_signo)));
                        }
                        return Ok(());
                    }
                    Wake::Listener => self.accepting = true,
                    Wake::Console => self.console.accept(self.poll.registry()),
                    Wake::Client(key) => self.console.ready(key),
                    Wake::Leg(key, leg) => self.carrier.ready(key, leg, readiness(event)),
                }
            }
            self.handle_timeouts(now);
            self.accept(now);
            self.carrier.turn(now, &mut self.console);
            self.answer(now);
            self.console.flush();
        }
    }

    /// Lets go of everything and gives the kernel back.
    pub fn into_kernel(self) -> Kernel {
        self.carrier.into_kernel()
    }

    /// How long the poll may wait.
    fn patience(&mut self) -> Option<Duration> {
        if self.carrier.has_work() || (self.accepting && self.accept_at.is_none()) {
            return Some(Duration::ZERO);
        }
        let due = [
            self.carrier.alg().next_timeout(),
            Some(self.media_at),
            Some(self.ports_at),
            self.accept_at,
        ];
        let now = self.clock.now();
        due.into_iter().flatten().min().map(|at| at.since(now))
    }

    fn handle_timeouts(&mut self, now: Instant) {
        if self
            .carrier
            .alg()
            .next_timeout()
            .is_some_and(|at| at <= now)
        {
            self.carrier.handle_timeout(now);
        }
        if self.ports_at <= now {
            self.look_up_ports(now);
        }
        if self.media_at <= now {
            self.media_at = now + MEDIA_EVERY;
            self.look_for_media(now);
        }
    }

    /// Tells the machine which ports the gateway itself uses.
    fn look_up_ports(&mut self, now: Instant) {
        match self.ports.in_use() {
            Ok(ports) => {
                self.carrier.alg().reserve(&ports);
                self.ports_at = now + PORTS_EVERY;
            }
            // What was known stays known; it will hardly be allowed the next time.
            Err(error) => {
                log::line(format_args!("{error}"));
                self.ports_at = now + PORTS_REFUSED;
            }
        }
    }

    /// Tells the machine which media doors have carried packets since the last look.
    fn look_for_media(&mut self, now: Instant) {
        let counts = match self.carrier.kernel().media_counts() {
            Ok(counts) => counts,
            Err(error) => return log::line(format_args!("cannot read media counts: {error}")),
        };
        let before = std::mem::take(&mut self.media_seen);
        for (inside_local, count) in counts {
            let packets = count.in_packets + count.out_packets;
            // A count that fell belongs to a new door of the same address.
            if packets != before.get(&inside_local).copied().unwrap_or(0) {
                self.carrier.alg().media_seen(now, inside_local);
            }
            self.media_seen.insert(inside_local, packets);
        }
    }

    fn accept(&mut self, now: Instant) {
        if self.accept_at.is_some_and(|at| at > now) {
            return;
        }
        let paused = self.accept_at.take().is_some();
        for _ in 0..ACCEPTS {
            if !self.accepting {
                return;
            }
            match self.listener.accept() {
                Ok(Some(accepted)) => self.carrier.open(self.poll.registry(), now, accepted),
                Ok(None) => self.accepting = false,
                Err(error) => {
                    if !paused {
                        let open = self.carrier.len();
                        log::line(format_args!(
                            "cannot accept more connections than {open} now: {error}"
                        ));
                    }
                    self.accept_at = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn answer(&mut self, now: Instant) {
        while let Some((key, line)) = self.console.next_command() {
            let Some((mut session, mut watch)) = self.console.session(key) else {
                continue;
            };
            match commands::answer(self, &mut session, &mut watch, now, &line) {
                Some(text) => {
                    let ask = session.ask(&self.typed.startup);
                    self.console.answer(key, &text, (session, watch), &ask);
                }
                None => self.console.dismiss(key),
            }
        }
    }
}

impl Gateway for Worker {
    fn startup(&self) -> &Startup {
        &self.startup
    }

    fn typed(&mut self) -> &mut Typed {
        &mut self.typed
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn carrier(&mut self) -> &mut Carrier {
        &mut self.carrier
    }

    fn lacks(&self, startup: &Startup) -> Option<String> {
        let interfaces = match daemon::interfaces() {
            Ok(interfaces) => interfaces,
            Err(error) => return Some(error.to_string()),
        };
        let listener = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        plan::plan(startup, &interfaces, listener)
            .err()
            .map(|error| error.to_string())
    }

    fn apply(&mut self, startup: Startup) -> Result<(), String> {
        self.startup = startup;
        Ok(())
    }
}

fn register(parts: &mut Parts) -> io::Result<()> {
    let registry = parts.poll.registry();
    let signals = parts.signals.as_raw_fd();
    registry.register(
        &mut SourceFd(&signals),
        Wake::Signal.into(),
        Interest::READABLE,
    )?;
    registry.register(
        &mut parts.listener,
        Wake::Listener.into(),
        Interest::READABLE,
    )?;
    parts.console.register(registry)
}

fn name_of(signal: u32) -> &'static str {
    let number = i32::try_from(signal).unwrap_or_default();
    Signal::try_from(number).map_or("a signal", Signal::as_str)
}

fn readiness(event: &Event) -> Readiness {
    Readiness {
        readable: event.is_readable(),
        writable: event.is_writable(),
        hangup: event.is_read_closed(),
        broken: event.is_error(),
    }
}

/// The monotonic clock, with the origin that the machine's instants count from.
#[derive(Debug)]
struct Clock(std::time::Instant);

impl Clock {
    fn start() -> Self {
        Clock(std::time::Instant::now())
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }
}
