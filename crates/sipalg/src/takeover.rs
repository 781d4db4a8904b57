//! `sipalg run --takeover`: a new gateway takes over from the one that runs, with every connection.
//!
//! The old keeper ends its worker as a crash would, and hands its memory and descriptors to the new
//! one, which recovers from them as a new worker would. Both then have all of it; whoever serves is
//! decided by three words on the connection between them:
//!
//! ```text
//!   new                                old
//!   HELLO ---------------------------->      at the lock, an abstract Unix socket
//!                                            its worker is no more
//!   <------------------- header, batches     descriptors, with the numbers that they had
//!   READY ---------------------------->      it could go on, and has touched no connection yet
//!   <-------------------------------- GO     the old one ends, and touches nothing
//! ```
//!
//! Without READY in time, or with a reason instead, the old one starts another worker and goes on.

use crate::keeper::memory::{inherit, place};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, getsockopt, recv, recvmsg, sendmsg,
};
use nix::unistd::{Pid, geteuid};
use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

/// What the new one says first. Another way to hand over is another number.
const HELLO: &[u8] = b"sipalg takeover 1\n";

const READY: u8 = b'r';
const GO: u8 = b'g';

/// What comes before the reason why the new one does not go on.
const NO: u8 = b'n';

/// How many descriptors the kernel lets one message have (SCM_MAX_FD).
const BATCH: usize = 253;

/// How long the old one waits for the new one to say that it is ready.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long either waits for a word that the other has only to say.
const MANNERS: Duration = Duration::from_secs(1);

/// The longest reason that is listened to.
const REASON: usize = 1000;

/// Who asks to take over.
#[derive(Debug)]
pub struct Asker {
    stream: UnixStream,
    pid: Pid,
}

/// What is handed over. All numbers are of descriptors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Estate<'a> {
    /// The lock of the network namespace.
    pub lock: RawFd,
    /// The region.
    pub region: RawFd,
    /// All, in ascending order, those two among them.
    pub all: &'a [RawFd],
}

impl Asker {
    /// Who has come to the lock, if it is somebody who asks and may: root, or who runs this gateway.
    pub fn accept(lock: &UnixListener) -> Option<Self> {
        let (stream, _) = lock.accept().ok()?;
        let peer = getsockopt(&stream, PeerCredentials).ok()?;
        if peer.uid() != 0 && peer.uid() != geteuid().as_raw() {
            return None;
        }
        stream.set_nonblocking(false).ok()?;
        stream.set_read_timeout(Some(MANNERS)).ok()?;
        stream.set_write_timeout(Some(MANNERS)).ok()?;
        let mut hello = [0; HELLO.len()];
        (&stream).read_exact(&mut hello).ok()?;
        (hello == HELLO).then_some(Asker {
            stream,
            pid: Pid::from_raw(peer.pid()),
        })
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The descriptor by which it is spoken to.
    pub fn descriptor(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Hands everything over and waits until the new one could go on. Nobody may use any of it in the
    /// meantime.
    ///
    /// # Errors
    /// Why it does not go on: the old one has to.
    pub fn give(&mut self, estate: &Estate<'_>) -> Result<(), String> {
        self.send(estate)
            .map_err(|error| format!("it did not take what it was given: {error}"))?;
        self.hear(PATIENCE)
    }

    /// The new one serves from here on.
    ///
    /// # Errors
    /// It is gone: the old one has to go on.
    pub fn let_go(&mut self) -> Result<(), String> {
        self.stream
            .write_all(&[GO])
            .map_err(|error| format!("it is gone: {error}"))
    }

    /// Waits until the new one is no more, and sees to it: it may be about to change the rules.
    pub fn end(self) {
        if !self.hangs_up(MANNERS / 4) {
            // Who holds the other end is that process, or a worker that dies with it.
            let _ = kill(self.pid, Signal::SIGKILL);
            self.hangs_up(MANNERS);
        }
    }

    fn hangs_up(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let mut line = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
            let polled = poll(&mut line, timeout);
            let is = line[0].revents().unwrap_or(PollFlags::empty());
            if is.contains(PollFlags::POLLHUP) {
                return true;
            }
            if left.is_zero() || polled.is_err_and(|errno| errno != Errno::EINTR) {
                return false;
            }
        }
    }

    fn send(&mut self, estate: &Estate<'_>) -> io::Result<()> {
        let count = estate.all.len();
        let numbers = [
            count as u64,
            estate.lock.cast_unsigned().into(),
            estate.region.cast_unsigned().into(),
            estate
                .all
                .last()
                .copied()
                .unwrap_or(0)
                .cast_unsigned()
                .into(),
        ];
        self.stream
            .write_all(&numbers.map(u64::to_ne_bytes).concat())?;
        for batch in estate.all.chunks(BATCH) {
            let bytes: Vec<u8> = batch.iter().flat_map(|fd| fd.to_ne_bytes()).collect();
            let sent = sendmsg::<()>(
                self.stream.as_raw_fd(),
                &[IoSlice::new(&bytes)],
                &[ControlMessage::ScmRights(batch)],
                MsgFlags::MSG_NOSIGNAL,
                None,
            )?;
            if sent != bytes.len() {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    fn hear(&mut self, patience: Duration) -> Result<(), String> {
        let until = Instant::now() + patience;
        let silent = || format!("it was silent for {} s", patience.as_secs());
        let mut said = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(silent());
            }
            let mut word = [0];
            // It is not zero.
            let read = self
                .stream
                .set_read_timeout(Some(left))
                .and_then(|()| self.stream.read(&mut word));
            match read {
                Ok(1) if said.is_empty() && word[0] == READY => return Ok(()),
                Ok(1) if said.len() < REASON => said.push(word[0]),
                Ok(_) => return Err(reason(&said)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(silent()),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

fn reason(said: &[u8]) -> String {
    match said.split_first() {
        Some((&NO, reason)) => String::from_utf8_lossy(reason).into_owned(),
        _ => "it ended".into(),
    }
}

/// What was taken.
#[derive(Debug)]
pub struct Taken {
    /// The lock of the network namespace.
    pub lock: UnixListener,
    /// The region.
    pub region: OwnedFd,
    /// The connection to the old one.
    pub line: Line,
}

/// The new one's end of the connection.
#[derive(Debug)]
pub struct Line(UnixStream);

impl Line {
    /// Asks the gateway behind this connection, which gives all that it has: it is open under the
    /// numbers that it had there. This process has to have one thread.
    ///
    /// # Errors
    /// The other one does not give it, or the kernel refuses.
    pub fn take(stream: UnixStream) -> io::Result<Taken> {
        stream.set_write_timeout(Some(MANNERS))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        (&stream).write_all(HELLO)?;
        let mut header = [[0; 8]; 4];
        (&stream).read_exact(header.as_flattened_mut())?;
        let [count, lock, region, last] = header.map(u64::from_ne_bytes);
        let number = |word: u64| {
            let number = RawFd::try_from(word).ok();
            // What every process has is not for others to place.
            number
                .filter(|number| *number > libc::STDERR_FILENO)
                .ok_or_else(nonsense)
        };
        let (lock, region, last) = (number(lock)?, number(region)?, number(last)?);
        // Out of the way of all that comes.
        let line = Line(above(stream, last)?);
        close_strays(line.descriptor())?;
        let mut left = usize::try_from(count).map_err(|_| nonsense())?;
        let mut placed = Vec::new();
        while left > 0 {
            let batch = left.min(BATCH);
            placed.extend(line.receive(batch)?);
            left -= batch;
        }
        let ascend = placed.is_sorted_by(|a, b| a < b) && placed.last() <= Some(&last);
        if !ascend || lock == region {
            return Err(nonsense());
        }
        let find = |number| {
            let found = placed
                .binary_search(&number)
                .ok()
                .and_then(|_| inherit(number));
            found.ok_or_else(nonsense)
        };
        Ok(Taken {
            lock: find(lock)?.into(),
            region: find(region)?,
            line,
        })
    }

    /// Says that all is there, and waits to be let. From then on connections are this process's.
    ///
    /// # Errors
    /// The old one goes on itself: nothing that was taken may be touched.
    pub fn ready(&self) -> io::Result<()> {
        (&self.0).write_all(&[READY])?;
        match self.peek(MsgFlags::empty())? {
            true => Ok(()),
            false => Err(nonsense()),
        }
    }

    /// Whether the old one has let go.
    pub fn was_let(&self) -> bool {
        self.peek(MsgFlags::MSG_DONTWAIT).unwrap_or(false)
    }

    /// The word stays there, for the keeper to see what was said to its worker.
    fn peek(&self, flags: MsgFlags) -> io::Result<bool> {
        let mut word = [0];
        let read = recv(self.0.as_raw_fd(), &mut word, MsgFlags::MSG_PEEK | flags)?;
        Ok(read == 1 && word[0] == GO)
    }

    /// Says why this process does not go on.
    pub fn refuse(&self, reason: &str) {
        let mut words = vec![NO];
        words.extend(reason.bytes().take(REASON - 1));
        // If it is not heard, it is a failure all the same.
        let _ = (&self.0).write_all(&words);
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// One batch of descriptors, each under its number.
    fn receive(&self, count: usize) -> io::Result<Vec<RawFd>> {
        let mut bytes = vec![0; count * size_of::<RawFd>()];
        let mut space = cmsg_space!([RawFd; BATCH]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_WAITALL;
        let message = recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        let whole = message.bytes == count * size_of::<RawFd>();
        let mut came = Vec::new();
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(descriptors) = part {
                came.extend(descriptors);
            }
        }
        // They are this process's now, whatever comes of them.
        let came: Vec<OwnedFd> = came.into_iter().filter_map(inherit).collect();
        if !whole || came.len() != count {
            return Err(match came.len() < count {
                // The kernel leaves out those that there is no room for.
                true => Errno::EMFILE.into(),
                false => nonsense(),
            });
        }
        let numbers = bytes.chunks_exact(size_of::<RawFd>());
        let numbers = numbers.map(|b| RawFd::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        let numbers: Vec<RawFd> = numbers.collect();
        // Each came at the lowest number that was free, which is none above its own, since they come
        // in order. So the last can be placed first without another's being in its place.
        for (descriptor, number) in came.into_iter().zip(&numbers).rev() {
            place(descriptor, *number)?;
        }
        Ok(numbers)
    }
}

/// The same socket under a number above this one.
fn above(stream: UnixStream, number: RawFd) -> io::Result<UnixStream> {
    use nix::fcntl::{FcntlArg, fcntl};
    let moved = fcntl(stream.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(number + 1))?;
    Ok(inherit(moved).ok_or_else(nonsense)?.into())
}

/// Closes what whoever started this process has left open in it, which nobody here knows of: all
/// numbers are free then but those of the standard streams and of the line.
fn close_strays(line: RawFd) -> io::Result<()> {
    let listed = fs::read_dir("/proc/self/fd")?;
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let open: Vec<RawFd> = listed.filter_map(number).collect();
    for descriptor in open {
        if descriptor > libc::STDERR_FILENO && descriptor != line {
            drop(inherit(descriptor));
        }
    }
    Ok(())
}

fn nonsense() -> io::Error {
    ErrorKind::InvalidData.into()
}
