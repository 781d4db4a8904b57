//! The event loop: one thread, one poll, everything that is ready handled in one wake-up.

use crate::carrier::{Carrier, Configuration, Recovered};
use crate::commands::{self, Baseline, Gateway, Typed};
use crate::configuration::{self, Source};
use crate::conn::Readiness;
use crate::console::Console;
use crate::keeper::herald::Herald;
use crate::kernel::ports::Ports;
use crate::kernel::{Kernel, Plan, firewall};
use crate::listen::Listener;
use crate::netlink::watch::Watch;
use crate::plan::Interfaces;
use crate::store::Status;
use crate::store::clock::Epoch;
use crate::wake::Wake;
use crate::{log, plan};
use change::Surroundings;
use kernel_watch::KernelWatch;
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use sipalg_core::alg::{Clear, Cleared};
use sipalg_core::health::MediaHeard;
use sipalg_core::{Instant, Leg, Outbox};
use sipalg_ios::{Startup, running};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddrV4;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

mod change;
mod kernel_watch;

/// How often the packet counts of media doors are read.
const MEDIA_EVERY: Duration = Duration::from_secs(10);

/// How often the keeper hears that the worker turns, at least.
const BEAT_EVERY: Duration = Duration::from_millis(500);

/// How often the gateway's own ports are looked up.
const PORTS_EVERY: Duration = Duration::from_secs(5);

/// How often connections of closed doors are cleared away.
const TIDY_EVERY: Duration = Duration::from_secs(3);

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
    /// What instants count from.
    epoch: Epoch,
    /// Whom it tells how it goes.
    herald: Herald,
    carrier: Carrier,
    listener: Listener,
    console: Console,
    signals: SignalFd,
    watch: Watch,
    source: Source,
    /// The configuration in force.
    startup: Startup,
    /// The configuration as it was typed.
    typed: Typed,
    /// What was counted when statistics were last cleared.
    baseline: Baseline,
    around: Surroundings,
    /// The listener has connections that were not accepted yet.
    accepting: bool,
    /// Accepting pauses until then.
    accept_at: Option<Instant>,
    media_at: Instant,
    media_heard: HashMap<SocketAddrV4, MediaHeard>,
    ports: Ports,
    ports_at: Instant,
    tidy_at: Instant,
    kernel_watch: KernelWatch,
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
    /// SIGHUP reads the configuration again, any other signal ends the loop.
    pub signals: SignalFd,
    /// Hears of changes of addresses.
    pub watch: Watch,
    /// Where the gateway's own ports are looked up.
    pub ports: Ports,
    /// Where the configuration comes from.
    pub source: Source,
    /// The configuration as it was typed.
    pub typed: Startup,
    /// The configuration in force.
    pub startup: Startup,
    /// The interfaces that the plan was made for.
    pub interfaces: Interfaces,
    /// What the kernel does.
    pub plan: Plan,
    /// The poll that nothing is registered with yet.
    pub poll: Poll,
    /// What instants count from.
    pub epoch: Epoch,
    /// A worker before this one has left its connections.
    pub is_warm: bool,
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
        let now = parts.epoch.now();
        let mut worker = Worker {
            poll: parts.poll,
            epoch: parts.epoch,
            herald: Herald::Alone,
            carrier: parts.carrier,
            listener: parts.listener,
            console: parts.console,
            signals: parts.signals,
            watch: parts.watch,
            source: parts.source,
            typed: parts.typed.into(),
            startup: parts.startup,
            baseline: Baseline::default(),
            around: Surroundings::new(now, parts.interfaces),
            accepting: false,
            accept_at: None,
            media_at: now + MEDIA_EVERY,
            media_heard: HashMap::new(),
            ports: parts.ports,
            ports_at: now,
            tidy_at: now + TIDY_EVERY,
            kernel_watch: KernelWatch::new(now),
        };
        // Before anything is carried, so that no door is given a port of ours.
        worker.look_up_ports(now);
        // The operator was told by the worker before, and it takes a while.
        if !parts.is_warm {
            worker.tell(&parts.plan);
        }
        Ok(worker)
    }

    /// Goes on with what the process before has left: what its machine has put out when it was
    /// restored, and connections that were accepted and nothing more.
    pub fn recover(&mut self, restored: Outbox, accepted: Vec<OwnedFd>) {
        // Nothing is committed before what there was is taken over.
        let configuration = self.configuration();
        self.carrier.set_configuration(configuration);
        let now = self.epoch.now();
        let registry = self.poll.registry();
        let adopt = |stream| self.listener.adopt(stream);
        let recovered =
            self.carrier
                .recover(registry, now, &mut self.console, restored, accepted, adopt);
        let Recovered { connections, lost } = recovered;
        if connections + lost > 0 {
            log::line(format_args!(
                "{connections} connections go on, {lost} were reset"
            ));
        }
    }

    /// Whom it tells how it goes, from now on.
    pub fn set_herald(&mut self, herald: Herald) {
        self.herald = herald;
    }

    /// Whom it tells how it goes.
    pub fn herald(&mut self) -> &mut Herald {
        &mut self.herald
    }

    /// The configuration survives a crash as it was typed.
    fn keep_configuration(&mut self) {
        let configuration = self.configuration();
        self.carrier.keep_configuration(configuration);
    }

    fn configuration(&self) -> Configuration {
        Configuration {
            typed: running::config(&self.typed.startup),
            in_force: running::config(&self.startup),
        }
    }

    /// Carries connections until a signal ends it.
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
            let now = self.epoch.now();
            self.carrier.kept().beat();
            self.carrier.tend_store();
            let mut signalled = false;
            for event in &events {
                match Wake::from(event.token()) {
                    Wake::Signal => signalled = true,
                    Wake::Listener => self.accepting = true,
                    Wake::Datagrams => self.carrier.datagrams_ready(),
                    Wake::Addresses => self.addresses_changed(now),
                    Wake::Newcomers => self.newcomers(now),
                    Wake::Console => self.console.accept(self.poll.registry()),
                    Wake::Client(key) => self.console.ready(key),
                    Wake::Leg(key, leg) => self.carrier.ready(key, leg, readiness(event)),
                }
            }
            if signalled && self.handle_signals().is_break() {
                return Ok(());
            }
            // Before anything is put out that waits to be carried out.
            self.accept(now);
            self.handle_timeouts(now);
            self.carrier.turn(now, &mut self.console);
            self.answer(now);
            self.console.flush();
        }
    }

    /// Lets go of everything and gives the kernel back.
    pub fn into_kernel(self) -> Kernel {
        self.carrier.into_kernel()
    }

    /// Reads the configuration again for each SIGHUP, and breaks at any other signal.
    fn handle_signals(&mut self) -> ControlFlow<()> {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
            match Signal::try_from(number) {
                Ok(Signal::SIGHUP) => self.reload(),
                signal => {
                    let name = signal.map_or("a signal", Signal::as_str);
                    log::line(format_args!("stopped by {name}"));
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// How long the poll may wait.
    fn patience(&mut self) -> Option<Duration> {
        if self.carrier.has_work() || (self.accepting && self.accept_at.is_none()) {
            return Some(Duration::ZERO);
        }
        let now = self.epoch.now();
        let due = [
            self.carrier.next_timeout(),
            self.carrier.kept().is_watched().then(|| now + BEAT_EVERY),
            Some(self.media_at),
            Some(self.ports_at),
            Some(self.tidy_at),
            Some(self.kernel_watch.due()),
            Some(self.around.due()),
            self.accept_at,
        ];
        due.into_iter().flatten().min().map(|at| at.since(now))
    }

    fn handle_timeouts(&mut self, now: Instant) {
        if self.carrier.next_timeout().is_some_and(|at| at <= now) {
            self.carrier.handle_timeout(now);
        }
        self.handle_changes(now);
        if self.ports_at <= now {
            self.look_up_ports(now);
        }
        if self.tidy_at <= now {
            self.tidy(now);
        }
        self.kernel_watch.look(now, &mut self.carrier);
        if self.media_at <= now {
            self.media_at = now + MEDIA_EVERY;
            self.look_for_media(now);
        }
    }

    fn tidy(&mut self, now: Instant) {
        self.tidy_at = now + TIDY_EVERY;
        let tidied = self.carrier.kernel().tidy();
        self.kernel_watch.tell(now, tidied.err());
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
        let before = std::mem::take(&mut self.media_heard);
        for (inside_local, count) in counts {
            let mut heard = before.get(&inside_local).copied().unwrap_or_default();
            let was = heard.count;
            heard.note(now, count);
            if heard.count != was {
                self.carrier.alg().media_seen(now, inside_local);
            }
            self.media_heard.insert(inside_local, heard);
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
            self.keep_configuration();
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
        &self.source.path
    }

    fn carrier(&mut self) -> &mut Carrier {
        &mut self.carrier
    }

    fn media_heard(&mut self, now: Instant) -> &HashMap<SocketAddrV4, MediaHeard> {
        self.look_for_media(now);
        &self.media_heard
    }

    fn lacks(&self, startup: &Startup) -> Option<String> {
        let plan = plan::plan(startup, &Interfaces::new(), self.source.listener);
        plan.err().map(|error| error.to_string())
    }

    fn host_lacks(&self, startup: &Startup, side: Leg) -> Vec<String> {
        match configuration::interfaces() {
            Ok(interfaces) => {
                let lacks = plan::lacks(startup, &interfaces, side);
                lacks.iter().map(plan::Lack::to_string).collect()
            }
            Err(error) => vec![format!("cannot list this host's interfaces: {error}")],
        }
    }

    fn apply(&mut self, startup: Startup) -> Result<(), String> {
        self.reconfigure(startup)
    }

    fn store(&mut self) -> Status {
        let store = self.carrier.kept().store();
        store.map(|store| store.status()).unwrap_or_default()
    }

    fn baseline(&mut self) -> &mut Baseline {
        &mut self.baseline
    }

    fn clear(&mut self, which: Clear, forced: bool) -> Result<Cleared, String> {
        let now = self.epoch.now();
        let cleared = self.carrier.clear(now, which, forced, &mut self.console);
        cleared.map_err(|error| error.to_string())
    }

    fn conflicts(&self) -> Vec<String> {
        match self.source.plan(&self.startup, self.around.interfaces()) {
            Ok(plan) => firewall::findings(&plan),
            // It is shown for each port what is missing.
            Err(_) => Vec::new(),
        }
    }
}

fn register(parts: &mut Parts) -> io::Result<()> {
    let registry = parts.poll.registry();
    let watched = [
        (parts.signals.as_raw_fd(), Wake::Signal),
        (parts.watch.fd(), Wake::Addresses),
        (parts.carrier.udp().ear(), Wake::Datagrams),
        (
            parts.carrier.kernel().newcomers_fd().as_raw_fd(),
            Wake::Newcomers,
        ),
    ];
    for (fd, wake) in watched {
        registry.register(&mut SourceFd(&fd), wake.into(), Interest::READABLE)?;
    }
    registry.register(
        &mut parts.listener,
        Wake::Listener.into(),
        Interest::READABLE,
    )?;
    parts.console.register(registry)
}

fn readiness(event: &Event) -> Readiness {
    Readiness {
        readable: event.is_readable(),
        writable: event.is_writable(),
        hangup: event.is_read_closed(),
        broken: event.is_error(),
    }
}
