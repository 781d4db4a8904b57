//! What keeper and worker tell each other: the header of the region, in words.

use super::layout::{Areas, Header, MAGIC, Name};
use super::memory::Memory;
use crate::store::clock::{Epoch, Moment};
use nix::sys::stat::Mode;
use sipalg_core::FlowId;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The region's file in memory.
#[derive(Debug)]
pub struct Shared {
    /// All of it.
    pub memory: Memory,
    path: PathBuf,
}

impl Shared {
    /// Opens the region at `path`, or makes a new one with `seed`. Says whether it was there: left by
    /// a run of this host that was killed with all its processes.
    ///
    /// # Errors
    /// `WouldBlock`: another gateway works with it. Otherwise it cannot be made.
    pub fn open(path: &Path, seed: u64) -> io::Result<(Self, bool)> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options
            .mode((Mode::S_IRUSR | Mode::S_IWUSR).bits())
            .open(path)?;
        // It goes with the descriptor, which the mapping keeps.
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        let length = Areas::new().end();
        let fits = file.metadata()?.len() == length as u64;
        if !fits {
            file.set_len(0)?;
        }
        let memory = Memory::map(file, length)?;
        memory.reserve(0..4096)?;
        let shared = Shared {
            memory,
            path: path.into(),
        };
        let now = Moment::now();
        let boot = digest(&now.boot);
        let is_whole = shared.get(Header::Magic) == MAGIC && shared.get(Header::Based) != 0;
        let is_ours = fits && is_whole && shared.get(Header::Boot) == boot;
        if !is_ours {
            shared.forget(seed);
            shared.set(Header::Boot, boot);
            shared.set(Header::Magic, MAGIC);
        }
        Ok((shared, is_ours))
    }

    /// The region of a gateway that has given it away.
    ///
    /// # Errors
    /// `InvalidData`: it is laid out otherwise, or has nothing to go on with.
    pub fn taken(file: File) -> io::Result<Self> {
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let length = Areas::new().end();
        let mut magic = [0; 8];
        file.read_exact_at(&mut magic, Header::Magic as u64)?;
        let fits = file.metadata()?.len() == length as u64;
        if !fits || u64::from_ne_bytes(magic) != MAGIC {
            return Err(ErrorKind::InvalidData.into());
        }
        let memory = Memory::map(file, length)?;
        let shared = Shared { memory, path };
        match shared.is_based() {
            true => Ok(shared),
            false => Err(ErrorKind::InvalidData.into()),
        }
    }

    /// The region in a file of a test, as it is.
    #[cfg(test)]
    pub fn of_test(file: File) -> Self {
        let memory = Memory::map(file, Areas::new().end()).unwrap();
        memory.reserve(0..4096).unwrap();
        let path = PathBuf::new();
        Shared { memory, path }
    }

    /// Forgets everything: a region without connections and records.
    pub fn forget(&self, seed: u64) {
        let others = (8..4096).step_by(8);
        for at in others.filter(|at| *at != Header::Boot as usize) {
            self.memory.word(at).store(0, Relaxed);
        }
        self.set(Header::Seed, seed);
        self.set_epoch(Epoch::begin(&Moment::now()));
    }

    /// Whether there is something to take over: the machine's records.
    pub fn is_based(&self) -> bool {
        self.get(Header::Based) != 0
    }

    /// Removes the file: all has ended in order, and nothing is to be taken over.
    pub fn remove(&self) {
        self.set(Header::Magic, 0);
        // Nothing can be done about a file that somebody else has removed.
        let _ = fs::remove_file(&self.path);
    }

    /// The seed of the machine.
    pub fn seed(&self) -> u64 {
        self.get(Header::Seed)
    }

    /// It is this.
    pub fn set_seed(&self, seed: u64) {
        self.set(Header::Seed, seed);
    }

    /// What the machine's instants count from. It is the same for every worker.
    pub fn epoch(&self) -> Epoch {
        Epoch::from_origin(self.get(Header::Epoch).cast_signed())
    }

    /// They count from here from now on.
    pub fn set_epoch(&self, epoch: Epoch) {
        self.set(Header::Epoch, epoch.origin().cast_unsigned());
    }

    /// The worker turns.
    pub fn beat(&self) {
        let beats = self.get(Header::Heartbeat);
        self.set(Header::Heartbeat, beats.wrapping_add(1));
    }

    /// How often it has turned.
    pub fn beats(&self) -> u64 {
        self.get(Header::Heartbeat)
    }

    /// The machine is busy with this flow now, or with none.
    pub fn set_busy(&self, flow: Option<FlowId>) {
        let busy = flow.map_or(0, |flow| u64::from(flow.0) + 1);
        self.memory.word(Header::Busy as usize).store(busy, Relaxed);
    }

    /// The worker has died by itself: notes what it was busy with, and how often in a row it died of
    /// that.
    pub fn died(&self) {
        let busy = self.get(Header::Busy);
        let again = busy != 0 && busy == self.get(Header::Suspect);
        let deaths = if again { self.get(Header::Deaths) } else { 0 };
        self.set(Header::Suspect, busy);
        self.set(Header::Deaths, deaths + 1);
    }

    /// The flow that workers have died of, and how often in a row.
    pub fn suspect(&self) -> Option<(FlowId, u64)> {
        let flow = self.get(Header::Suspect).checked_sub(1)?;
        let flow = u32::try_from(flow).ok()?;
        Some((FlowId(flow), self.get(Header::Deaths)))
    }

    /// Whatever they died of is over.
    pub fn clear_suspect(&self) {
        self.set(Header::Suspect, 0);
        self.set(Header::Deaths, 0);
    }

    /// A descriptor has this name from now on, or none has.
    pub fn set_name(&self, name: Name, descriptor: Option<RawFd>) {
        let at = Header::Names as usize + name as usize * 8;
        let value = descriptor.map_or(0, |fd| u64::from(fd.cast_unsigned()) + 1);
        self.memory.word(at).store(value, Release);
    }

    /// The descriptor of this name.
    pub fn named(&self, name: Name) -> Option<RawFd> {
        let at = Header::Names as usize + name as usize * 8;
        let value = self.memory.word(at).load(Acquire).checked_sub(1)?;
        Some(u32::try_from(value).ok()?.cast_signed())
    }

    /// A word of the header.
    pub fn get(&self, word: Header) -> u64 {
        self.memory.word(word as usize).load(Acquire)
    }

    /// Sets a word of the header; all that was written before is there before.
    pub fn set(&self, word: Header, value: u64) {
        self.memory.word(word as usize).store(value, Release);
    }
}

/// A digest of the name that the kernel has given to this run of the host.
fn digest(boot: &str) -> u64 {
    let digits: String = boot.chars().filter(char::is_ascii_hexdigit).collect();
    let first = digits.get(..16).unwrap_or_default();
    u64::from_str_radix(first, 16).unwrap_or(0)
}
