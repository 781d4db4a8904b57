//! The thread that writes the store.

use super::Status;
use super::changes;
use super::clock::Moment;
use super::file::{Changes, Kept, Meta, Problem};
use super::inbox::{Fed, Inbox};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often things are done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pace {
    /// How long changes are gathered before they are written, at least.
    pub(super) gather: Duration,
    /// And at most, where to write takes long.
    pub(super) gather_most: Duration,
    /// How often a better place is tried than the one that is written to.
    pub(super) again: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            gather: Duration::from_millis(200),
            gather_most: Duration::from_secs(1),
            again: Duration::from_secs(10),
        }
    }
}

/// How many times as long as it took to write changes the next are gathered, so that many of them
/// take no more than a hundredth of the time: what changes often is written once then.
const REST: u32 = 100;

/// How much a disk must have room for, to be tried again.
const ROOM: usize = 1024 * 1024;

/// What the thread and the worker both see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// How many of the bytes that it was fed need not wait any more.
    done: AtomicU64,
    wants_all: AtomicBool,
    status: Mutex<Status>,
}

impl Shared {
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    pub(super) fn set_done(&self, upto: u64) {
        self.done.store(upto, Ordering::Release);
    }

    pub(super) fn all_wanted(&self) -> bool {
        self.wants_all.load(Ordering::Acquire)
    }

    pub(super) fn wants_all(&self, wanted: bool) {
        self.wants_all.store(wanted, Ordering::Release);
    }

    pub(super) fn status(&self) -> Status {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread has.
#[derive(Debug)]
pub(super) struct Writer {
    /// Where the file may be, best first.
    paths: Vec<PathBuf>,
    /// The file that is written, and which of the paths it is at.
    kept: Option<(usize, Kept)>,
    meta: Meta,
    /// How many bytes it was fed.
    fed: u64,
    /// How long it took to write the last changes.
    wrote_for: Duration,
    /// When a better place is tried.
    again_at: Option<Instant>,
    /// The operator knows that the best place does not work.
    told: bool,
    pace: Pace,
    inbox: Arc<Inbox>,
    say: Sender<String>,
    shared: Arc<Shared>,
}

impl Writer {
    /// Nothing is written before all records have come.
    pub(super) fn new(
        paths: Vec<PathBuf>,
        meta: Meta,
        pace: Pace,
        inbox: Arc<Inbox>,
        say: Sender<String>,
        shared: Arc<Shared>,
    ) -> Self {
        shared.wants_all(true);
        Writer {
            paths,
            kept: None,
            meta,
            fed: 0,
            wrote_for: Duration::ZERO,
            again_at: None,
            told: false,
            pace,
            inbox,
            say,
            shared,
        }
    }

    /// Writes until it is told to close.
    pub(super) fn run(mut self) {
        loop {
            let fed = self.inbox.take(self.again_at, self.gather());
            if let Some(fed) = fed {
                let began = Instant::now();
                self.take(&fed);
                self.wrote_for = began.elapsed();
                if fed.closed {
                    return;
                }
            }
            if self.again_at.is_some_and(|at| at <= Instant::now()) {
                self.look_again();
            }
        }
    }

    /// How long the next changes are gathered.
    fn gather(&self) -> Duration {
        let Pace {
            gather,
            gather_most,
            ..
        } = self.pace;
        (self.wrote_for * REST).clamp(gather, gather_most)
    }

    fn take(&mut self, fed: &Fed) {
        self.fed = fed.upto;
        if fed.all {
            self.meta.written = Moment::now();
            self.begin(&changes::newest(&fed.changes));
        } else if let Some((place, mut kept)) = self.kept.take() {
            if fed.changes.is_empty() {
                return;
            }
            self.meta.written = Moment::now();
            match kept.write(&self.meta, &changes::newest(&fed.changes)) {
                Ok(()) => {
                    self.kept = Some((place, kept));
                    self.committed();
                }
                Err(problem) => {
                    self.failed(kept.path(), &problem);
                    self.shared.wants_all(true);
                }
            }
        } else if !self.shared.all_wanted() {
            // Without a place for them, this is as safe as it gets. Where all are wanted, these come
            // again among them.
            self.shared.set_done(self.fed);
        }
    }

    /// Begins a new file with all records, in the first place that works.
    fn begin(&mut self, records: &Changes<'_>) {
        self.kept = None;
        let mut trouble = None;
        for (place, path) in self.paths.iter().enumerate() {
            match Kept::begin(path, &self.meta, records) {
                Ok(kept) => {
                    self.kept = Some((place, kept));
                    break;
                }
                Err(problem) => {
                    let sentence = self.failed(path, &problem);
                    trouble.get_or_insert(sentence);
                }
            }
        }
        self.again_at = trouble.as_ref().map(|_| Instant::now() + self.pace.again);
        self.shared.lock().trouble.clone_from(&trouble);
        match &self.kept {
            Some((place, _)) => {
                for older in &self.paths[place + 1..] {
                    // Most often there is none.
                    let _ = fs::remove_file(older);
                }
                self.committed();
            }
            None => {
                self.shared.lock().path = None;
                self.shared.set_done(self.fed);
            }
        }
        self.tell(trouble);
    }

    fn committed(&mut self) {
        let Some((_, kept)) = &self.kept else {
            return;
        };
        let mut status = self.shared.lock();
        status.path = Some(kept.path().into());
        status.records = kept.records();
        status.commits += 1;
        status.last_commit = Some(self.meta.written.clone());
        drop(status);
        self.shared.set_done(self.fed);
    }

    /// Counts that a file could not be written, and returns a sentence about it.
    fn failed(&self, path: &Path, problem: &Problem) -> String {
        self.shared.lock().failures += 1;
        format!(
            "cannot write {}: {problem}; {}",
            path.display(),
            remedy(problem)
        )
    }

    /// Says that the best place does not work, or works again, once.
    fn tell(&mut self, trouble: Option<String>) {
        let told = std::mem::replace(&mut self.told, trouble.is_some());
        let sentence = match (trouble, &self.kept) {
            (Some(trouble), Some((_, kept))) if !told => format!(
                "{trouble}. Until then calls and registrations are kept in {}, where a reboot of the \
                 machine loses them",
                kept.path().display()
            ),
            (Some(trouble), None) if !told => format!(
                "{trouble}. Until then calls and registrations are kept nowhere: after a restart of \
                 the gateway phones have to register again"
            ),
            (None, Some((_, kept))) if told => {
                format!("{} can be written again", kept.path().display())
            }
            _ => return,
        };
        // Who does not listen any more ends.
        let _ = self.say.send(sentence);
    }

    /// Asks for all records if a better place has room now.
    fn look_again(&mut self) {
        self.again_at = Some(Instant::now() + self.pace.again);
        let better = self
            .kept
            .as_ref()
            .map_or(self.paths.len(), |(place, _)| *place);
        if self.paths[..better]
            .iter()
            .any(|path| has_room(path).is_ok())
        {
            self.shared.wants_all(true);
        }
    }
}

fn remedy(problem: &Problem) -> &'static str {
    let kind = match problem {
        Problem::Io(error) => error.kind(),
        _ => ErrorKind::Other,
    };
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room there",
        ErrorKind::ReadOnlyFilesystem => "mount it for writing, or choose another --state-dir",
        ErrorKind::PermissionDenied => "let the gateway write there, or choose another --state-dir",
        _ => "look after that disk, or choose another --state-dir",
    }
}

/// Whether a file of some size can be made beside this one.
fn has_room(path: &Path) -> io::Result<()> {
    let trial = path.with_extension("trial");
    let written = File::create(&trial).and_then(|mut file| {
        file.write_all(&vec![0; ROOM])?;
        file.sync_all()
    });
    match fs::remove_file(&trial) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => written,
    }
}
