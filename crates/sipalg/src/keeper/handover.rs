//! The keeper's part of a [takeover](crate::takeover): it starts who takes over, if it is asked to,
//! and gives everything away.

use super::layout::NAMES;
use super::memory::{clone_process, inherit};
use super::shared::Shared;
use crate::takeover::{Asker, Estate};
use crate::tcp::is_tcp;
use nix::errno::Errno;
use nix::sys::socket::{Backlog, listen};
use nix::sys::wait::{WaitStatus, waitpid};
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::process::{Command, exit};

/// What `sipalg run` is told in order to take over.
const TAKEOVER: &str = "--takeover";

/// Who may take over, and how.
#[derive(Debug)]
pub struct Handover {
    /// The lock of the network namespace, where one asks.
    pub lock: UnixListener,
}

impl Handover {
    /// By this lock.
    pub fn new(lock: UnixListener) -> Self {
        // Who is gone again is no reason to wait.
        let _ = lock.set_nonblocking(true);
        Handover { lock }
    }

    /// Whoever comes to the lock is told this process's number from now on.
    pub fn sign(&self) {
        // At worst it is the old one's.
        let _ = listen(&self.lock, Backlog::MAXCONN);
    }

    /// Starts the program that is now where this one was started from, which is to take over.
    ///
    /// It is no child of this process: what becomes the main process must be systemd's own child, or
    /// systemd does not wait for its end.
    ///
    /// # Errors
    /// Why not, a sentence.
    pub fn start_successor(&self) -> Result<(), String> {
        let mut arguments = env::args_os();
        let program = arguments.next().unwrap_or_else(|| "sipalg".into());
        let cannot = |why: &dyn Display| format!("cannot start {}: {why}", program.display());
        let arguments = arguments.filter(|argument| argument != OsStr::new(TAKEOVER));
        let mut command = Command::new(&program);
        command.args(arguments).arg(TAKEOVER);
        // The watchdog is for whom systemd takes for the main process.
        command.env_remove("WATCHDOG_PID");
        let Some(parent) = clone_process().map_err(|errno| cannot(&errno))? else {
            let errno = command.spawn().err().map(|error| error.raw_os_error());
            exit(errno.map_or(0, |errno| errno.unwrap_or(libc::EIO)));
        };
        loop {
            return match waitpid(parent, None) {
                Ok(WaitStatus::Exited(_, 0)) => Ok(()),
                Ok(WaitStatus::Exited(_, errno)) => Err(cannot(&Errno::from_raw(errno))),
                Ok(_) => Err(cannot(&Errno::EINTR)),
                Err(Errno::EINTR) => continue,
                Err(errno) => Err(cannot(&errno)),
            };
        }
    }

    /// Who has come to the lock in order to take over.
    pub fn asker(&self) -> Option<Asker> {
        Asker::accept(&self.lock)
    }

    /// Gives away all that the worker has left, which must be no more. `own` are the descriptors of
    /// the keeper. When this is done, everything is the other's.
    ///
    /// # Errors
    /// Why the other does not take over, a sentence: all is as it was.
    pub fn give(&self, asker: &mut Asker, shared: &Shared, own: &[RawFd]) -> Result<(), String> {
        let (lock, region) = (self.lock.as_raw_fd(), shared.memory.descriptor());
        let all = estate(shared, own, asker.descriptor())
            .map_err(|error| format!("cannot list this process's open files: {error}"))?;
        let all: Vec<_> = all.into_iter().chain([lock, region]).collect();
        let all: Vec<_> = BTreeSet::from_iter(all).into_iter().collect();
        asker.give(&Estate {
            lock,
            region,
            all: &all,
        })?;
        asker.let_go()
    }
}

/// The connections and named sockets that a worker has left. What else it has left is closed: it
/// would be in the other's way.
fn estate(shared: &Shared, own: &[RawFd], asker: RawFd) -> io::Result<Vec<RawFd>> {
    let standard = [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO];
    let named: Vec<_> = NAMES
        .iter()
        .filter_map(|name| shared.named(*name))
        .collect();
    let listed: Vec<_> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let mut left = Vec::new();
    for descriptor in listed {
        if standard.contains(&descriptor) || own.contains(&descriptor) || descriptor == asker {
            continue;
        }
        // To drop it is to close it.
        if let Some(open) = inherit(descriptor)
            && (named.contains(&descriptor) || is_tcp(open.as_fd()))
        {
            left.push(open.into_raw_fd());
        }
    }
    Ok(left)
}
