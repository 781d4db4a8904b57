//! The wall clock may jump by years: nothing may wait for it.

#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

use std::fs;
use std::path::Path;

/// Where it is looked at, and why that does no harm.
const ALLOWED: [(&str, &str); 4] = [
    ("src/log.rs", "stamps of log lines"),
    ("src/observe.rs", "stamps of debug lines and events"),
    (
        "src/store/clock.rs",
        "how long the machine was off: no other clock runs then",
    ),
    ("src/offline", "stamps of captures"),
];

/// What looks at it.
const LOOKS: [&str; 6] = [
    "SystemTime",
    "ZonedDateTime::now",
    "Timestamp::now",
    "CLOCK_REALTIME",
    "UNIX_EPOCH",
    "TFD_TIMER_CANCEL",
];

#[test]
fn only_stamps_come_from_the_wall_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for crate_root in [
        root.into(),
        root.join("../sipalg-core"),
        root.join("../sipalg-ios"),
    ] {
        sources(&crate_root.join("src"), &mut files);
    }
    assert!(files.len() > 100, "{} files", files.len());
    let mut found = Vec::new();
    for file in &files {
        let path = file
            .strip_prefix(root)
            .unwrap_or(file)
            .display()
            .to_string();
        let text = fs::read_to_string(file).unwrap();
        let looks = LOOKS.iter().filter(|look| text.contains(**look));
        if !ALLOWED.iter().any(|(allowed, _)| path.starts_with(allowed)) {
            found.extend(looks.map(|look| format!("{path}: {look}")));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

fn sources(folder: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}
