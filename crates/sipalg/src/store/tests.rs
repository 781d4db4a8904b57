use super::file::VERSION;
use super::*;
use nix::time::{ClockId, clock_gettime};
use redb::{Database, TableDefinition};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const QUICK: Pace = Pace {
    gather: Duration::from_millis(1),
    gather_most: Duration::from_millis(1),
    again: Duration::from_millis(20),
};

/// A directory that is gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("sipalg-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a directory");
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn file(&self) -> PathBuf {
        self.path(NAME)
    }

    fn open(&self) -> (Store, Loaded) {
        open(&[&self.0])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(directories: &[&Path]) -> (Store, Loaded) {
    Store::open_at(directories, 7, Moment::now(), QUICK)
}

/// Changes that give each key this value.
fn changes<'a>(records: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Vec<u8> {
    let mut changes = Vec::new();
    for (key, value) in records {
        changes::append(&mut changes, key.as_bytes(), value.map(str::as_bytes));
    }
    changes
}

fn text(records: &Records) -> Vec<(String, String)> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    records.iter().map(|(k, v)| (text(k), text(v))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(k, v): &(&str, &str)| (k.to_string(), v.to_string());
    pairs.iter().map(owned).collect()
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited for {what} in vain");
        std::thread::yield_now();
    }
}

/// Waits until nothing waits any more.
fn written(store: &Store) {
    wait_for("the store to be written", || {
        (store.status().waiting == 0).then_some(())
    });
}

/// A store that was fed these records and closed.
fn filled(folder: &Folder, records: &[(&str, &str)]) {
    let (mut store, _) = folder.open();
    store.replace(changes(records.iter().map(|(k, v)| (*k, Some(*v)))));
}

#[test]
fn what_was_fed_is_there_again_the_newest_of_each_key() {
    let folder = Folder::new();
    let (mut store, loaded) = folder.open();
    assert_eq!((loaded.records.len(), loaded.seed), (0, 7));
    assert_eq!(loaded.notes, Vec::<String>::new());
    store.replace(changes([("a", Some("1")), ("b", Some("2"))]));
    store.feed(&changes([("b", None), ("c", Some("3"))]));
    store.feed(&changes([("a", Some("4")), ("a", Some("5"))]));
    written(&store);
    assert_eq!(store.status().records, 2);
    store.feed(&changes([("d", Some("6"))]));
    drop(store);
    let (_, loaded) = Store::open(&[&folder.0], 99);
    assert_eq!(
        text(&loaded.records),
        pairs(&[("a", "5"), ("c", "3"), ("d", "6")])
    );
    assert_eq!(loaded.seed, 7);
}

#[test]
fn what_replaces_all_leaves_nothing_of_before() {
    let folder = Folder::new();
    filled(&folder, &[("a", "1"), ("b", "2")]);
    filled(&folder, &[("b", "3")]);
    assert_eq!(text(&folder.open().1.records), pairs(&[("b", "3")]));
}

#[test]
fn a_store_that_is_only_read_stays_as_it_was() {
    let folder = Folder::new();
    filled(&folder, &[("a", "1")]);
    let before = fs::read(folder.file()).expect("the file");
    for _ in 0..3 {
        assert_eq!(folder.open().1.records.len(), 1);
    }
    assert!(fs::read(folder.file()).expect("the file") == before);
}

#[test]
fn a_file_that_was_cut_anywhere_is_set_aside_and_a_new_store_begins() {
    let (folder, cut) = (Folder::new(), Folder::new());
    let many: Vec<_> = (0..3000)
        .map(|n| (format!("key {n}"), "x".repeat(100)))
        .collect();
    let many = many.iter().map(|(k, v)| (k.as_str(), Some(v.as_str())));
    let (mut store, _) = folder.open();
    store.replace(changes(many));
    drop(store);
    let whole = fs::read(folder.file()).expect("the file");
    let first = whole.len().saturating_sub(64 * 1024);
    // Every page, and some odd places in each; all of them by hand.
    let step = if std::env::var_os("SIPALG_EVERY_BYTE").is_some() {
        1
    } else {
        509
    };
    for length in (first..whole.len())
        .step_by(step)
        .chain([0, 1, 511, 4096, 4097])
    {
        fs::write(cut.file(), &whole[..length]).expect("a file");
        let (mut store, loaded) = cut.open();
        // What is only free space at the end may be missing.
        match loaded.records.len() {
            0 => assert!(
                loaded.notes[0].contains("store.redb.bad"),
                "{length}: {:?}",
                loaded.notes
            ),
            all => assert_eq!((all, loaded.notes.len()), (3000, 0), "{length}"),
        }
        store.replace(changes([("a", Some("1"))]));
        drop(store);
        let (_, loaded) = cut.open();
        assert_eq!(
            (loaded.records.len(), loaded.notes.len()),
            (1, 0),
            "{length}"
        );
    }
}

#[test]
fn a_file_with_flipped_bytes_is_whole_or_nothing() {
    let (folder, flipped) = (Folder::new(), Folder::new());
    filled(&folder, &[("a", "1"), ("b", "2")]);
    let whole = fs::read(folder.file()).expect("the file");
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    for at in (0..used).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(flipped.file(), bytes).expect("a file");
        let (_, loaded) = flipped.open();
        match loaded.records.len() {
            0 => assert_eq!(loaded.notes.len(), 1, "{at}"),
            _ => assert_eq!(
                text(&loaded.records),
                pairs(&[("a", "1"), ("b", "2")]),
                "{at}"
            ),
        }
    }
}

#[test]
fn what_is_no_store_at_all_is_kept_under_another_name() {
    let folder = Folder::new();
    for (number, garbage) in ["not a database", "", "again"].into_iter().enumerate() {
        fs::write(folder.file(), garbage).expect("a file");
        let (_, loaded) = folder.open();
        let aside = folder.path(&format!("store.redb.bad{}", number + 1));
        assert!(
            loaded.notes[0].contains(&aside.display().to_string()),
            "{:?}",
            loaded.notes
        );
        assert!(loaded.notes[0].contains("phones have to register again"));
        assert_eq!(fs::read_to_string(aside).expect("the file"), garbage);
    }
}

#[test]
fn a_store_of_another_version_is_set_aside_and_both_versions_are_told() {
    let folder = Folder::new();
    let database = Database::create(folder.file()).expect("a database");
    let transaction = database.begin_write().expect("a transaction");
    transaction
        .open_table(TableDefinition::<(), u64>::new("version"))
        .and_then(|mut table| Ok(table.insert((), VERSION + 1).map(|_| ())?))
        .expect("a row");
    transaction.commit().expect("a commit");
    drop(database);
    let (_, loaded) = folder.open();
    let told = format!(
        "of version {}, and this program knows version {VERSION}",
        VERSION + 1
    );
    assert!(loaded.notes[0].contains(&told), "{:?}", loaded.notes);
}

#[test]
fn where_the_best_place_does_not_work_the_next_is_taken_until_it_does() {
    let folder = Folder::new();
    let (best, next) = (folder.path("state"), folder.path("run"));
    fs::write(&best, "no directory").expect("a file");
    let (mut store, _) = open(&[&best, &next]);
    store.replace(changes([("a", Some("1"))]));
    let trouble = wait_for("trouble", || store.trouble());
    assert!(trouble.starts_with(&format!("cannot write {}/store.redb: ", best.display())));
    assert!(
        trouble.contains(&format!("are kept in {}/store.redb", next.display())),
        "{trouble}"
    );
    store.feed(&changes([("b", Some("2"))]));
    written(&store);
    assert_eq!(store.status().path, Some(next.join(NAME)));
    assert!(store.status().trouble.is_some());
    // What is there after a crash now.
    assert_eq!(open(&[&best, &next]).1.records.len(), 2);

    fs::remove_file(&best).expect("no file");
    fs::create_dir(&best).expect("a directory");
    wait_for("the question for all", || store.wants_all().then_some(()));
    store.replace(changes([("a", Some("1")), ("c", Some("3"))]));
    let healed = wait_for("healing", || store.trouble());
    assert_eq!(
        healed,
        format!("{}/store.redb can be written again", best.display())
    );
    assert_eq!(store.status().trouble, None);
    drop(store);
    assert!(!next.join(NAME).exists());
    let (_, loaded) = open(&[&best, &next]);
    assert_eq!(text(&loaded.records), pairs(&[("a", "1"), ("c", "3")]));
}

#[test]
fn with_no_place_at_all_the_gateway_is_told_once_and_never_waits() {
    let folder = Folder::new();
    let place = folder.path("state");
    symlink("/dev/null/no", &place).expect("a link that leads nowhere");
    let (mut store, loaded) = open(&[&place]);
    assert_eq!(loaded.notes.len(), 1);
    store.replace(changes([("a", Some("1"))]));
    let trouble = wait_for("trouble", || store.trouble());
    assert!(
        trouble.contains("kept nowhere: after a restart"),
        "{trouble}"
    );
    store.feed(&changes([("b", Some("2"))]));
    written(&store);
    assert_eq!(store.trouble(), None);
    assert_eq!((store.status().failures, store.status().path), (1, None));
}

#[test]
fn the_newest_of_two_files_counts() {
    let folder = Folder::new();
    let (best, next) = (folder.path("state"), folder.path("run"));
    let fill = |directory: &Path, value: &str| {
        let (mut store, _) = open(&[directory]);
        store.replace(changes([("a", Some(value))]));
    };
    fill(&best, "older");
    fill(&next, "newer");
    assert_eq!(
        text(&open(&[&best, &next]).1.records),
        pairs(&[("a", "newer")])
    );
    fill(&best, "newest");
    assert_eq!(
        text(&open(&[&best, &next]).1.records),
        pairs(&[("a", "newest")])
    );
}

#[test]
fn after_a_reboot_the_time_that_went_by_has_gone_by_for_the_records() {
    let folder = Folder::new();
    filled(&folder, &[("a", "1")]);
    let now = Moment::now();
    let later = |seconds: i64| Moment {
        boot: "another".into(),
        since_boot: 5_000_000,
        wall: now.wall + seconds * 1_000_000,
    };
    let age = |seconds| {
        let (_, loaded) = Store::open_at(&[&folder.0], 7, later(seconds), QUICK);
        (
            (5_000_000 - loaded.epoch.origin()) / 1_000_000,
            loaded.notes.len(),
        )
    };
    assert_eq!(age(3600).1, 0);
    assert!((3599..3610).contains(&age(3600).0));
    assert!((0..10).contains(&age(-3600).0));
    assert_eq!(age(-3600).1, 1);
}

#[test]
fn the_records_of_ten_thousand_phones_are_read_in_a_second_of_work() {
    let folder = Folder::new();
    let keys: Vec<_> = (0..60_000)
        .map(|n| format!("key of some length {n:06}"))
        .collect();
    let value = "v".repeat(120);
    let all = changes(keys.iter().map(|key| (key.as_str(), Some(value.as_str()))));
    let (mut store, _) = folder.open();
    store.replace(all);
    drop(store);
    // Of the processor: others may keep that busy.
    let spent =
        || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::MAX, Duration::from);
    let before = spent();
    let (_, loaded) = folder.open();
    let took = spent() - before;
    assert_eq!(loaded.records.len(), 60_000);
    eprintln!("read in {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}
