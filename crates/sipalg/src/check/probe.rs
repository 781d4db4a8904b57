//! Whether this kernel does all that a configuration asks for: everything is really put in place, in a
//! network namespace that exists only for that, by a child process. Nothing of the host is touched.

use super::{Finding, Weight, known};
use crate::configuration::interfaces;
use crate::kernel::{Kernel, KernelError};
use crate::listen::Listener;
use crate::netlink::route::Route;
use crate::plan;
use crate::udp::Udp;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use sipalg_core::addr::{Ipv4Addr, SocketAddrV4};
use sipalg_core::{Door, DoorKind, DoorOp, Protocol};
use sipalg_ios::Startup;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use std::{env, fs, io, process};

/// The child's exit status when it may not make a network namespace.
const NO_NAMESPACE: u8 = 3;

/// What the kernel lacks for the configuration in `file`.
pub(super) fn findings(file: &Path) -> Vec<Finding> {
    let unseen = |why: String| {
        let what = format!("whether this kernel has all that is needed is not known: {why}");
        vec![Finding::new(
            Weight::Unseen,
            what,
            "run `sipalg check` as root",
        )]
    };
    let child = env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.arg("probe").arg(file).stdin(Stdio::null());
        command.output()
    });
    let output = match child {
        Ok(output) => output,
        Err(error) => return unseen(format!("cannot start the probe: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    // What it sets, it sets in its own namespace.
    let lines = said
        .lines()
        .filter(|line| !line.starts_with("sipalg: set "));
    let lines = lines.map(|line| line.strip_prefix("sipalg: ").unwrap_or(line));
    let weight = match output.status.code() {
        Some(0) => Weight::Note,
        Some(code) if code == i32::from(NO_NAMESPACE) => {
            return unseen(lines.collect::<Vec<_>>().join("; "));
        }
        _ => Weight::Stops,
    };
    let found = |line: &str| {
        let (what, remedy) = line.split_once("; ").unwrap_or((line, ""));
        Finding::new(weight, what, remedy)
    };
    lines.map(found).collect()
}

/// The child: puts the configuration in `file` in force in a network namespace of its own, and says on
/// standard error what goes wrong. To be called while the process has one thread only.
pub fn run(file: &Path) -> ExitCode {
    let (startup, found) = match read(file) {
        Ok(read) => read,
        Err(reason) => {
            eprintln!("sipalg: {reason}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = leave() {
        eprintln!("sipalg: cannot make a network namespace: {error}");
        return ExitCode::from(NO_NAMESPACE);
    }
    let folder = Folder::new();
    match try_out(&startup, &found, &folder.0) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("sipalg: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn read(file: &Path) -> Result<(Startup, plan::Interfaces), String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let startup = Startup::parse(&text).map_err(|error| error.to_string())?;
    let mut interfaces = interfaces().map_err(|error| error.to_string())?;
    // Rules of interfaces that are not there yet are tried, too.
    for interface in &startup.interfaces {
        interfaces.entry(interface.name.clone()).or_default();
    }
    Ok((startup, known(&interfaces)))
}

/// Enters a network namespace of its own; who is not root becomes that of a user namespace.
fn leave() -> io::Result<()> {
    if geteuid().is_root() && unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        return Ok(());
    }
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    // Without this a group map is refused (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// Does all that the gateway does to the kernel.
fn try_out(startup: &Startup, found: &plan::Interfaces, state: &Path) -> Result<(), String> {
    let listener = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
    let plan = plan::plan(startup, found, listener).map_err(|error| error.to_string())?;
    Route::open()
        .and_then(|mut route| route.set_up("lo"))
        .map_err(|error| format!("cannot bring up the loopback interface: {error}"))?;
    let sockets = |error: io::Error| {
        format!("cannot make sockets that intercept: {error}; CONFIG_NETFILTER_TPROXY would help")
    };
    let _tcp = Listener::bind(listener).map_err(sockets)?;
    let _udp = Udp::bind(listener).map_err(sockets)?;
    let mut kernel = Kernel::install(&plan, state).map_err(|error| error.to_string())?;
    let worked = exercise(&mut kernel);
    let removed = kernel.remove();
    worked.and(removed).map_err(|error| error.to_string())
}

fn exercise(kernel: &mut Kernel) -> Result<(), KernelError> {
    for (kind, protocol) in [
        (DoorKind::Media, Protocol::Udp),
        (DoorKind::Signalling, Protocol::Tcp),
    ] {
        let door = Door {
            kind,
            protocol,
            inside_local: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 2), 6000),
            inside_global: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 6000),
            lifetime: Duration::from_secs(60),
        };
        kernel.apply(&[], &[DoorOp::Open(door), DoorOp::Close(door)])?;
    }
    kernel.media_counts()?;
    kernel.access_hits()?;
    kernel.translated()?;
    kernel.hosts_seen()?;
    kernel.tidy()
}

/// A folder for the probe's records.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Folder(env::temp_dir().join(format!("sipalg-check-{}", process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that cannot be removed does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
