//! `sipalg run`: from a configuration file to a running gateway, and back to the host as it was.
//!
//! All that can fail without a trace comes first; the kernel is changed last, and changed back
//! whatever happens after that.

use crate::carrier::Carrier;
use crate::configuration::{self, Source, interfaces};
use crate::console::Console;
use crate::keeper::memory::return_large_blocks;
use crate::keeper::shared::Shared;
use crate::keeper::supervise::{Keeper, Side, Start};
use crate::kernel::ports::Ports;
use crate::kernel::{self, KernelError};
use crate::listen::Listener;
use crate::log;
use crate::netlink::watch::Watch;
use crate::plan::{self, Lack};
use crate::privileges;
use crate::takeover::{Line, Taken};
use crate::udp::Udp;
use crate::worker::{Parts, Worker};
use before::Before;
use mio::Poll;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::Group;
use sipalg_core::Leg;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::mem::ManuallyDrop;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

mod before;

/// What `sipalg run` is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The startup configuration.
    pub config: PathBuf,
    /// The console's Unix socket.
    pub socket: PathBuf,
    /// The group that may use it, besides the owner of the process.
    pub socket_group: Option<String>,
    /// Where the host's original settings are kept.
    pub state_dir: PathBuf,
    /// The port at 127.0.0.1 that intercepted connections arrive at.
    pub tproxy_port: u16,
    /// Whether messages are fixed up.
    pub fixup: bool,
    /// Whether the log is JSON.
    pub json: bool,
    /// Whether it takes over from the gateway that runs.
    pub takeover: bool,
    /// Whether there is a keeper, so that a crash loses nothing.
    pub keeper: bool,
}

/// Runs the gateway until SIGTERM or SIGINT. Exit status 2 for a wrong configuration, 1 for
/// anything else that keeps it from running. Returns in the keeper and in every worker.
pub fn run(options: &Options) -> ExitCode {
    return_large_blocks();
    if options.json {
        log::use_json();
    }
    match keep(options) {
        Ok(status) => ExitCode::from(status),
        Err(problem) => {
            log::line(format_args!("{problem}"));
            ExitCode::from(problem.status())
        }
    }
}

/// Why the gateway does not run.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Configuration(#[from] configuration::Problem),
    #[error("{}: {lack}; name one that `ip addr` shows", path.display())]
    Lack { path: PathBuf, lack: Lack },
    #[error("already running in this network namespace{}; stop that one first", match pid {
        Some(pid) => format!(" as process {pid}"),
        None => String::new(),
    })]
    Running { pid: Option<i32> },
    #[error("not permitted to intercept connections; run as root or with CAP_NET_ADMIN")]
    NotPermitted,
    #[error("{address} is in use by another program; choose another port with --tproxy-port")]
    PortInUse { address: SocketAddrV4 },
    #[error("cannot listen at {address}: {error}")]
    Listen {
        address: SocketAddrV4,
        error: io::Error,
    },
    #[error(
        "another gateway's console answers at {}; choose another path with --socket",
        path.display()
    )]
    ConsoleInUse { path: PathBuf },
    #[error("cannot make the console socket {}: {error}", path.display())]
    Console { path: PathBuf, error: io::Error },
    #[error(
        "cannot make {}, which keeps connections if this program crashes: {error}; choose another \
         folder with --socket",
        path.display()
    )]
    Region { path: PathBuf, error: io::Error },
    #[error(
        "there is no gateway in this network namespace to take over from ({0}); start without \
         --takeover"
    )]
    Nobody(io::Error),
    #[error("the gateway that runs does not hand over ({0}), and goes on; see what it says itself")]
    NotGiven(io::Error),
    #[error(
        "the gateway that runs keeps its connections in another way ({0}), and goes on; stop it and \
         start this one without --takeover"
    )]
    Otherwise(io::Error),
    #[error("the gateway that runs has not let go ({0}), and goes on; see what it says itself")]
    NotLet(io::Error),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("there is no group {0} on this host; make it, or choose another with --socket-group")]
    NoGroup(String),
    #[error("cannot {doing}: {error}")]
    Host {
        doing: &'static str,
        error: io::Error,
    },
}

impl Problem {
    fn status(&self) -> u8 {
        match self {
            Problem::Configuration(_) => 2,
            _ => 1,
        }
    }
}

/// Becomes the keeper, or without one, the worker. Gives the exit status.
fn keep(options: &Options) -> Result<u8, Problem> {
    if options.takeover {
        return succeed(options);
    }
    let lock = lock()?;
    raise_descriptor_limit();
    if !options.keeper {
        serve(options, None, None)?;
        return Ok(0);
    }
    let seed = seed().map_err(|error| host("read /dev/urandom", error))?;
    let path = options.socket.with_extension("region");
    let (shared, resumed) = Shared::open(&path, seed).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => Problem::ConsoleInUse {
            path: options.socket.clone(),
        },
        _ => Problem::Region { path, error },
    })?;
    supervise(options, keeper(shared, resumed, lock)?)
}

/// Becomes the keeper of what the gateway that runs has.
fn succeed(options: &Options) -> Result<u8, Problem> {
    // The other one is not disturbed by what can be known before.
    let source = source(options);
    let startup = source.read()?;
    let interfaces = interfaces().map_err(|error| host("list this host's interfaces", error))?;
    source.plan(&startup, &interfaces)?;
    raise_descriptor_limit();
    let name = SocketAddr::from_abstract_name(LOCK).map_err(Problem::Nobody)?;
    let stream = UnixStream::connect_addr(&name).map_err(Problem::Nobody)?;
    let Taken { lock, region, line } = Line::take(stream).map_err(Problem::NotGiven)?;
    let taken = Shared::taken(region.into())
        .map_err(Problem::Otherwise)
        .and_then(|shared| keeper(shared, false, lock));
    match taken {
        Ok(keeper) => supervise(options, keeper.take_over(line)),
        Err(problem) => {
            line.refuse(&problem.to_string());
            Err(problem)
        }
    }
}

fn keeper(shared: Shared, resumed: bool, lock: UnixListener) -> Result<Keeper, Problem> {
    // Blocked in the workers, too.
    let mask = [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGUSR2,
        Signal::SIGCHLD,
    ];
    let signals = signals(&mask).map_err(|errno| host("watch for signals", errno.into()))?;
    Keeper::new(shared, resumed, signals, lock).map_err(|error| host("start a process", error))
}

/// Keeps a worker running, or is one.
fn supervise(options: &Options, keeper: Keeper) -> Result<u8, Problem> {
    let side = keeper.run();
    match side.map_err(|error| host("start a process", error))? {
        Side::Worker(mut start) => {
            // The table of descriptors is one: it is the keeper's to close.
            let line = start.line.take().map(ManuallyDrop::new);
            let line = line.as_deref();
            let served = serve(options, Some(*start), line);
            if let (Err(problem), Some(line)) = (&served, line) {
                line.refuse(&problem.to_string());
            }
            served.map(|()| 0)
        }
        Side::Ended { status, clean } => {
            if clean {
                kernel::clean(&before::state_dir(options, false))?;
            }
            Ok(status)
        }
    }
}

fn source(options: &Options) -> Source {
    Source {
        path: options.config.clone(),
        listener: SocketAddrV4::new(Ipv4Addr::LOCALHOST, options.tproxy_port),
        fixup: options.fixup,
    }
}

/// Carries connections until a signal says that it is enough. Where another gateway still has them,
/// it must let go first.
fn serve(options: &Options, start: Option<Start>, other: Option<&Line>) -> Result<(), Problem> {
    let source = source(options);
    let listener_at = source.listener;
    let seed = seed().map_err(|error| host("read /dev/urandom", error))?;
    let mut before = Before::of(options, start, seed)
        .map_err(|error| host("list this process's open files", error))?;
    let (typed, startup) = match before.configuration() {
        Some(configuration) => configuration,
        None => {
            let startup = source.read()?;
            (startup.clone(), startup)
        }
    };
    // From here on, whatever happens to an address is followed.
    let watch = Watch::open().map_err(|error| host("watch addresses", error.errno.into()))?;
    let interfaces = interfaces().map_err(|error| host("list this host's interfaces", error))?;
    let plan = source.plan(&startup, &interfaces)?;
    // An outside interface may come later, by DHCP or PPP.
    if let Some(lack) = plan::lacks(&startup, &interfaces, Leg::Inside).pop()
        && !before.is_warm()
    {
        let path = options.config.clone();
        return Err(Problem::Lack { path, lack });
    }
    let signals = signals(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])
        .map_err(|errno| host("watch for signals", errno.into()))?;
    let inherited = before.inherited();
    let listener = match inherited.listener {
        Some(listener) => listen(listener_at, |at| Listener::inherited(listener, at))?,
        None => listen(listener_at, Listener::bind)?,
    };
    let udp = match inherited.ear {
        Some(ear) => listen(listener_at, |at| Udp::inherited(ear, at))?,
        None => listen(listener_at, Udp::bind)?,
    };
    // One that is inherited is the other gateway's until that lets go.
    let console = match inherited.console {
        Some(inherited) => Err(inherited),
        None => Ok(bind_console(options)?),
    };
    let poll = Poll::new().map_err(|error| host("poll", error))?;

    let ports = Ports::open()?;

    let config = plan::machine(&plan, &startup, options.fixup);
    let (alg, mut restored) = before.machine(config);
    let state_dir = before::state_dir(options, !before.is_warm());
    let kernel = before.kernel(&plan, &state_dir, &mut restored)?;
    if let Some(other) = other {
        before.taken();
        other.ready().map_err(Problem::NotLet)?;
    }
    let console = console.or_else(|inherited| {
        Console::inherited(inherited, &options.socket).map_err(|error| {
            let path = options.socket.clone();
            Problem::Console { path, error }
        })
    })?;
    before.name(&listener, &udp, &console);
    let is_warm = before.is_warm();
    let (kept, epoch, mut herald) = before.into_parts(options);
    let carrier = Carrier::new(alg, kernel, udp, &plan, kept);
    let parts = Parts {
        carrier,
        listener,
        console,
        signals,
        watch,
        ports,
        source,
        typed,
        startup,
        interfaces,
        plan,
        poll,
        epoch,
        is_warm,
    };
    let (ended, kernel) = match Worker::new(parts) {
        Ok(mut worker) => {
            worker.recover(restored, inherited.accepted);
            if let Err(error) = privileges::drop_all_but(&privileges::RUNNING) {
                log::line(format_args!("{error}"));
            }
            herald.ready();
            worker.set_herald(herald);
            let ended = worker.run();
            worker.herald().stopping();
            (ended, worker.into_kernel())
        }
        Err((error, parts)) => (Err(error), parts.carrier.into_kernel()),
    };
    let removed = kernel.remove();
    ended.map_err(|error| host("wait for connections", error))?;
    Ok(removed?)
}

/// Makes this the only gateway of the network namespace while the result lives.
fn lock() -> Result<UnixListener, Problem> {
    let cannot = |error| host("make the lock that keeps a second gateway away", error);
    // Abstract names belong to a network namespace, as the kernel's rules do, and end with us.
    let name = SocketAddr::from_abstract_name(LOCK).map_err(cannot)?;
    let deadline = Instant::now() + LAST_BREATH;
    loop {
        match UnixListener::bind_addr(&name) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            other => return other.map_err(cannot),
        }
        let pid = UnixStream::connect_addr(&name)
            .ok()
            .and_then(|stream| getsockopt(&stream, PeerCredentials).ok())
            .map(|owner| owner.pid())
            .filter(|pid| *pid > 0);
        // A keeper that was killed takes its worker with it, which may take a moment.
        let is_gone = |pid| fs::read_link(format!("/proc/{pid}/exe")).is_err_and(gone);
        if !pid.is_none_or(is_gone) || Instant::now() >= deadline {
            return Err(Problem::Running { pid });
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The name of the lock.
const LOCK: &str = "sipalg";

/// How long the last process of a gateway that was killed may take to go.
const LAST_BREATH: Duration = Duration::from_secs(1);

fn gone(error: io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// Signals as something to poll, instead of what ends the process.
fn signals(which: &[Signal]) -> nix::Result<SignalFd> {
    let set: SigSet = which.iter().copied().collect();
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// Every connection takes two descriptors: allows as many as the host allows us.
fn raise_descriptor_limit() {
    let most = fs::read_to_string("/proc/sys/fs/nr_open")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let raised = most.is_some_and(|most| {
            setrlimit(Resource::RLIMIT_NOFILE, hard.max(most), hard.max(most)).is_ok()
        });
        // Without the privilege to go beyond the hard limit, it is what there is.
        if !raised && let Err(errno) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            log::line(format_args!(
                "cannot raise the number of open files to {hard}: {errno}"
            ));
        }
    }
}

fn listen<T>(
    address: SocketAddrV4,
    bind: impl FnOnce(SocketAddrV4) -> io::Result<T>,
) -> Result<T, Problem> {
    bind(address).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Problem::NotPermitted,
        ErrorKind::AddrInUse => Problem::PortInUse { address },
        _ => Problem::Listen { address, error },
    })
}

fn bind_console(options: &Options) -> Result<Console, Problem> {
    let path = options.socket.clone();
    let group = match &options.socket_group {
        Some(name) => match Group::from_name(name) {
            Ok(Some(group)) => Some(group.gid),
            Ok(None) => return Err(Problem::NoGroup(name.clone())),
            Err(errno) => return Err(host("look up the console's group", errno.into())),
        },
        None => None,
    };
    Console::bind(&path, group).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Problem::ConsoleInUse { path },
        _ => Problem::Console { path, error },
    })
}

fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn host(doing: &'static str, error: io::Error) -> Problem {
    Problem::Host { doing, error }
}
