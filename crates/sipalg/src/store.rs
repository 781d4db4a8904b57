//! What must survive a restart, in an embedded database.
//!
//! The machine says which of its records have changed ([`sipalg_core::kept`]); a thread of its own
//! writes them, so that nobody waits for a disk. It writes into the first of some directories that
//! works: the state directory; else the runtime directory, which a reboot empties; else nowhere. The
//! gateway runs in any case.
//!
//! ```text
//!   file      one database file
//!   writer    the thread that writes, and looks for a place that works
//!   inbox     how it is handed what has changed
//!   clock     what instants count from, across reboots
//!   changes   how changed records are written one after another
//! ```

pub mod changes;
pub mod clock;
mod file;
mod inbox;
mod writer;

use crate::privileges;
use clock::{Epoch, Moment};
use file::{Meta, Problem, Records};
use inbox::Inbox;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{Builder, JoinHandle};
use writer::{Pace, Shared, Writer};

/// The name of the database in its directory.
const NAME: &str = "store.redb";

/// How many files that made no sense are kept in a directory.
const SET_ASIDE: u32 = 9;

/// What was in the store when it was opened.
#[derive(Debug)]
pub struct Loaded {
    /// The records by their keys.
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The seed of the machine that they are of.
    pub seed: u64,
    /// What their instants count from.
    pub epoch: Epoch,
    /// What the operator has to know, a sentence each.
    pub notes: Vec<String>,
}

/// Where things stand with the store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The file; none if none can be written.
    pub path: Option<PathBuf>,
    /// How many records are in it.
    pub records: u64,
    /// How often it was written.
    pub commits: u64,
    /// When it was written last.
    pub last_commit: Option<Moment>,
    /// How many bytes of changes wait to be written.
    pub waiting: u64,
    /// How often it could not be written.
    pub failures: u64,
    /// What is wrong now.
    pub trouble: Option<String>,
}

/// The store. What it was fed is written when it is dropped.
#[derive(Debug)]
pub struct Store {
    inbox: Arc<Inbox>,
    said: Receiver<String>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// How many bytes it was fed.
    fed: u64,
}

impl Store {
    /// Reads the newest store in any of these directories, and begins to write in the first one that
    /// works, after the first [`replace`](Self::replace). A machine without records has this seed.
    pub fn open(directories: &[&Path], seed: u64) -> (Store, Loaded) {
        Self::open_at(directories, seed, Moment::now(), Pace::default())
    }

    /// A store for records that are known already, under this seed and epoch: what is there is not
    /// read.
    pub fn begin(directories: &[&Path], seed: u64, epoch: Epoch) -> Store {
        let meta = Meta {
            seed,
            epoch,
            written: Moment::now(),
        };
        Self::write(paths(directories), meta, Pace::default())
    }

    fn open_at(directories: &[&Path], seed: u64, now: Moment, pace: Pace) -> (Store, Loaded) {
        let paths = paths(directories);
        let loaded = load(&paths, seed, &now);
        let meta = Meta {
            seed: loaded.seed,
            epoch: loaded.epoch,
            written: now,
        };
        (Self::write(paths, meta, pace), loaded)
    }

    fn write(paths: Vec<PathBuf>, meta: Meta, pace: Pace) -> Store {
        let inbox = Arc::new(Inbox::default());
        let (say, said) = channel();
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(paths, meta, pace, inbox.clone(), say, shared.clone());
        // To have no thread is as good as no place to write.
        let thread = Builder::new()
            .name("store".into())
            .spawn(move || {
                // To write files takes no privilege. Where they cannot be given up, there are none.
                let _ = privileges::drop_all_but(&[]);
                writer.run();
            })
            .ok();
        Store {
            inbox,
            said,
            shared,
            thread,
            fed: 0,
        }
    }

    /// Takes over what has changed, as [`changes::append`] wrote it. It is written within a fifth of a
    /// second; within one where much changes, or the disk is slow.
    pub fn feed(&mut self, changes: &[u8]) {
        if let Some(upto) = self.count(changes) {
            self.inbox.feed(changes, upto);
        }
    }

    /// Takes over all records that there are, instead of all that were.
    pub fn replace(&mut self, changes: Vec<u8>) {
        self.shared.wants_all(false);
        if let Some(upto) = self.count(&changes) {
            self.inbox.replace(changes, upto);
        }
    }

    /// Whether it needs all records, because it has to begin a new file: the caller has to
    /// [`replace`](Self::replace) soon. What it is fed before that does not count.
    pub fn wants_all(&self) -> bool {
        self.shared.all_wanted()
    }

    /// What the operator has to know now: that it cannot be written, or can be again.
    pub fn trouble(&mut self) -> Option<String> {
        self.said.try_recv().ok()
    }

    /// Where things stand.
    pub fn status(&self) -> Status {
        Status {
            waiting: self.fed.saturating_sub(self.shared.done()),
            ..self.shared.status()
        }
    }

    /// How many bytes it was fed with these; `None` if nobody is there to write them.
    fn count(&mut self, changes: &[u8]) -> Option<u64> {
        self.fed += changes.len() as u64;
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            // Nothing is ever done.
            self.shared.set_done(self.fed);
            return None;
        }
        Some(self.fed)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(thread) = self.thread.take() {
            // A writer that has panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

/// The files, best first.
fn paths(directories: &[&Path]) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for directory in directories {
        let path = directory.join(NAME);
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

/// The newest of what can be read, with what is wrong with the others.
fn load(paths: &[PathBuf], seed: u64, now: &Moment) -> Loaded {
    let mut notes = Vec::new();
    let mut newest: Option<(Meta, Records)> = None;
    for path in paths {
        match file::read(path) {
            Ok(Some(found)) => {
                let age = |meta: &Meta| (meta.written.boot == now.boot, meta.written.since_boot);
                if newest.as_ref().is_none_or(|(meta, _)| age(meta) < age(&found.0)) {
                    newest = Some(found);
                }
            }
            Ok(None) => {}
            Err(Problem::Io(error)) => notes.push(format!(
                "cannot read {}: {error}; it is not known which calls and registrations there were; \
                 make it readable for the gateway",
                path.display()
            )),
            Err(problem) => notes.push(set_aside(path, &problem)),
        }
    }
    let Some((meta, records)) = newest else {
        return Loaded {
            records: Records::new(),
            seed,
            epoch: Epoch::begin(now),
            notes,
        };
    };
    let (epoch, doubt) = meta.epoch.resume(&meta.written, now);
    notes.extend(doubt);
    Loaded {
        records,
        seed: meta.seed,
        epoch,
        notes,
    }
}

/// Keeps a file of no use under another name, for whoever wants to look into it.
fn set_aside(path: &Path, problem: &Problem) -> String {
    let name = |number: u32| path.with_extension(format!("redb.bad{number}"));
    let free = (1..SET_ASIDE).find(|number| !name(*number).exists());
    let aside = name(free.unwrap_or(SET_ASIDE));
    let what_now: &dyn fmt::Display = match fs::rename(path, &aside) {
        Ok(()) => &format_args!("it is now {}", aside.display()).to_string(),
        Err(error) => &format_args!("it cannot be renamed: {error}").to_string(),
    };
    format!(
        "cannot use {}: {problem}; {what_now}, and a new store begins: calls and registrations of \
         before are not known, phones have to register again",
        path.display()
    )
}

#[cfg(test)]
mod tests;
