//! One database file: opened, read, written.

use super::clock::{Epoch, Moment};
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend,
    TableDefinition, WriteTransaction,
};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// What is written at present. A file of another version is not read.
pub(super) const VERSION: u64 = 1;

/// How much of a file is kept in memory for being read or written again.
const CACHE: usize = 512 * 1024;

const VERSIONS: TableDefinition<'_, (), u64> = TableDefinition::new("version");
const METAS: TableDefinition<'_, (), Row> = TableDefinition::new("meta");
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// Seed and origin of the epoch; boot id, time since boot and wall clock when it was written.
type Row = (u64, i64, &'static str, i64, i64);

/// All records, or what has changed of them.
pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;
pub(super) type Changes<'a> = [(&'a [u8], Option<&'a [u8]>)];

/// What is known of the records as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Meta {
    /// The machine's.
    pub(super) seed: u64,
    /// What the instants in the records count from.
    pub(super) epoch: Epoch,
    /// When it was written.
    pub(super) written: Moment,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("it is of version {0}, and this program knows version {VERSION}")]
    Version(u64),
}

impl Problem {
    fn damaged(error: impl ToString) -> Self {
        Problem::Damaged(error.to_string())
    }
}

/// Everything in a file; nothing if there is no file. The file is not touched, so it may be one
/// that cannot be written, or that another process writes.
pub(super) fn read(path: &Path) -> Result<Option<(Meta, Records)>, Problem> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // A writer that was killed left it unfinished; that is repaired in the copy.
    let copy = InMemoryBackend::new();
    copy.set_len(bytes.len() as u64)?;
    copy.write(0, &bytes)?;
    drop(bytes);
    match unpanicked(|| read_all(&open(copy)?)) {
        Ok(all) => Ok(Some(all)),
        // Memory fails only if it is asked for what is not there.
        Err(Problem::Io(error)) => Err(Problem::damaged(error)),
        Err(problem) => Err(problem),
    }
}

/// A database file of ours.
#[derive(Debug)]
pub(super) struct Kept {
    database: Database,
    path: PathBuf,
    records: u64,
}

impl Kept {
    /// A new file with these records, in the place of any that is there. After an error that one is
    /// there as it was.
    pub(super) fn begin(path: &Path, meta: &Meta, records: &Changes<'_>) -> Result<Self, Problem> {
        let draft = path.with_extension("new");
        let kept = Self::draft(&draft, path, meta, records);
        if kept.is_err() {
            // It may have failed before there was any.
            let _ = fs::remove_file(&draft);
        }
        kept
    }

    fn draft(
        draft: &Path,
        path: &Path,
        meta: &Meta,
        records: &Changes<'_>,
    ) -> Result<Self, Problem> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        // It tells who calls whom.
        let file = options.mode(0o600).open(draft)?;
        let backend = FileBackend::new(file).map_err(storage)?;
        let database = unpanicked(|| open(backend))?;
        let mut kept = Kept {
            database,
            path: path.into(),
            records: 0,
        };
        kept.write(meta, records)?;
        fs::rename(draft, &kept.path)?;
        Ok(kept)
    }

    /// Writes all changes or none. After an error nothing more can be written.
    pub(super) fn write(&mut self, meta: &Meta, changes: &Changes<'_>) -> Result<(), Problem> {
        self.records = unpanicked(|| {
            let transaction = self.database.begin_write().map_err(storage)?;
            let records = put(&transaction, meta, changes)?;
            transaction.commit().map_err(storage)?;
            Ok(records)
        })?;
        Ok(())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many records are in it.
    pub(super) fn records(&self) -> u64 {
        self.records
    }
}

fn open(backend: impl StorageBackend) -> Result<Database, Problem> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    // Nothing is taken from a file that anybody else has changed.
    builder.set_check_integrity_on_open(true);
    builder.create_with_backend(backend).map_err(storage)
}

fn read_all(database: &Database) -> Result<(Meta, Records), Problem> {
    let transaction = database.begin_read().map_err(storage)?;
    let versions = transaction.open_table(VERSIONS).map_err(storage)?;
    match versions.get(()).map_err(storage)?.map(|row| row.value()) {
        Some(VERSION) => {}
        Some(other) => return Err(Problem::Version(other)),
        None => return Err(Problem::damaged("it says no version")),
    }
    let metas = transaction.open_table(METAS).map_err(storage)?;
    let Some(row) = metas.get(()).map_err(storage)? else {
        return Err(Problem::damaged("it does not say when it was written"));
    };
    let (seed, origin, boot, since_boot, wall) = row.value();
    let meta = Meta {
        seed,
        epoch: Epoch::from_origin(origin),
        written: Moment {
            boot: boot.into(),
            since_boot,
            wall,
        },
    };
    let mut records = Records::new();
    let stored = transaction.open_table(RECORDS).map_err(storage)?;
    for entry in stored.iter().map_err(storage)? {
        let (key, value) = entry.map_err(storage)?;
        records.insert(key.value().into(), value.value().into());
    }
    Ok((meta, records))
}

fn put(transaction: &WriteTransaction, meta: &Meta, changes: &Changes<'_>) -> Result<u64, Problem> {
    let mut versions = transaction.open_table(VERSIONS).map_err(storage)?;
    versions.insert((), VERSION).map_err(storage)?;
    let Moment {
        boot,
        since_boot,
        wall,
    } = &meta.written;
    let row = (
        meta.seed,
        meta.epoch.origin(),
        boot.as_str(),
        *since_boot,
        *wall,
    );
    let mut metas = transaction.open_table(METAS).map_err(storage)?;
    metas.insert((), row).map_err(storage)?;
    let mut records = transaction.open_table(RECORDS).map_err(storage)?;
    for (key, value) in changes {
        match value {
            Some(value) => records.insert(*key, *value),
            None => records.remove(*key),
        }
        .map_err(storage)?;
    }
    records.len().map_err(storage)
}

/// A damaged file may make the database panic rather than say so.
fn unpanicked<T>(work: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Problem::damaged("it makes no sense")))
}

fn storage(error: impl Into<redb::Error>) -> Problem {
    match error.into() {
        // What is no database at all, or ends too early.
        redb::Error::Io(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof
            ) =>
        {
            Problem::damaged(error)
        }
        redb::Error::Io(error) => Problem::Io(error),
        other => Problem::damaged(other),
    }
}
