//! `sipalg run`: from a configuration file to a running gateway, and back to the host as it was.
//!
//! All that can fail without a trace comes first; the kernel is changed last, and changed back
//! whatever happens after that.

use crate::carrier::Carrier;
use crate::configuration::{self, Source, interfaces};
use crate::console::Console;
use crate::kernel::ports::Ports;
use crate::kernel::{Kernel, KernelError};
use crate::listen::Listener;
use crate::log;
use crate::netlink::watch::Watch;
use crate::plan::{self, Lack};
use crate::privileges;
use crate::store::Store;
use crate::udp::Udp;
use crate::worker::{Parts, Worker};
use mio::Poll;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::Group;
use sd_notify::NotifyState;
use sipalg_core::{Alg, Leg};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
}

/// Runs the gateway until SIGTERM or SIGINT. Exit status 2 for a wrong configuration, 1 for
/// anything else that keeps it from running.
pub fn run(options: &Options) -> ExitCode {
    if options.json {
        log::use_json();
    }
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
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

fn serve(options: &Options) -> Result<(), Problem> {
    let listener_at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, options.tproxy_port);
    let source = Source {
        path: options.config.clone(),
        listener: listener_at,
        fixup: options.fixup,
    };
    let startup = source.read()?;
    // From here on, whatever happens to an address is followed.
    let watch = Watch::open().map_err(|error| host("watch addresses", error.errno.into()))?;
    let interfaces = interfaces().map_err(|error| host("list this host's interfaces", error))?;
    let plan = source.plan(&startup, &interfaces)?;
    // An outside interface may come later, by DHCP or PPP.
    if let Some(lack) = plan::lacks(&startup, &interfaces, Leg::Inside).pop() {
        let path = options.config.clone();
        return Err(Problem::Lack { path, lack });
    }
    let _lock = lock()?;
    let signals = signals().map_err(|errno| host("watch for signals", errno.into()))?;
    raise_descriptor_limit();
    let listener = listen(listener_at, Listener::bind)?;
    let udp = listen(listener_at, Udp::bind)?;
    let console = bind_console(options)?;
    let poll = Poll::new().map_err(|error| host("poll", error))?;
    let seed = seed().map_err(|error| host("read /dev/urandom", error))?;

    let ports = Ports::open()?;

    let runtime = options.socket.parent().unwrap_or(Path::new("."));
    let (store, loaded) = Store::open(&[&options.state_dir, runtime], seed);
    for note in &loaded.notes {
        log::line(format_args!("{note}"));
    }

    let kernel = Kernel::install(&plan, &options.state_dir)?;
    let alg = Alg::new(plan::machine(&plan, &startup, options.fixup), seed);
    let carrier = Carrier::new(alg, kernel, udp, &plan);
    let parts = Parts {
        carrier,
        listener,
        console,
        signals,
        watch,
        ports,
        source,
        startup,
        interfaces,
        plan,
        store,
        poll,
    };
    let (ended, kernel) = match Worker::new(parts) {
        Ok(mut worker) => {
            if let Err(error) = privileges::drop_all_but(&privileges::RUNNING) {
                log::line(format_args!("{error}"));
            }
            say_ready();
            let ended = worker.run();
            // It tells systemd only; without systemd there is nobody to tell.
            let _ = sd_notify::notify(&[NotifyState::Stopping]);
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
    let name = SocketAddr::from_abstract_name("sipalg").map_err(cannot)?;
    match UnixListener::bind_addr(&name) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let pid = UnixStream::connect_addr(&name)
                .ok()
                .and_then(|stream| getsockopt(&stream, PeerCredentials).ok())
                .map(|owner| owner.pid())
                .filter(|pid| *pid > 0);
            Err(Problem::Running { pid })
        }
        other => other.map_err(cannot),
    }
}

/// SIGTERM, SIGINT and SIGHUP as something to poll, instead of what ends the process.
fn signals() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set.add(Signal::SIGHUP);
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

fn say_ready() {
    log::line(format_args!("ready"));
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        log::line(format_args!(
            "cannot tell systemd that we are ready: {error}"
        ));
    }
}

fn host(doing: &'static str, error: io::Error) -> Problem {
    Problem::Host { doing, error }
}
