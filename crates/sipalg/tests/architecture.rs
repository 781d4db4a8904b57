//! Where `unsafe` may be: ARCHITECTURE.md, kept true. The compiler denies it where nothing allows it.
#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

use std::fs;
use std::path::{Path, PathBuf};

/// The module that may have it: shared memory and `clone`.
const MODULE: &str = "sipalg/src/keeper/memory.rs";

#[test]
fn unsafe_code_is_in_one_module() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for entry in fs::read_dir(&crates).unwrap() {
        let manifest = fs::read_to_string(entry.unwrap().path().join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true\n"),
            "{manifest}"
        );
    }
    let mut files = Vec::new();
    sources(&crates, &mut files);
    let lint = "unsafe_code";
    let allowances = [format!("allow({lint}"), format!("expect({lint}")];
    let allowing = files.into_iter().filter(|file| {
        let text = fs::read_to_string(file).unwrap();
        allowances
            .iter()
            .any(|allowance| text.contains(allowance.as_str()))
    });
    assert_eq!(allowing.collect::<Vec<_>>(), [crates.join(MODULE)]);
}

#[test]
fn each_use_of_unsafe_has_its_reason() {
    let module = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(MODULE);
    let text = fs::read_to_string(module).unwrap();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let uses = (0..lines.len()).filter(|line| lines[*line].contains("unsafe {"));
    let mut seen = 0;
    for line in uses {
        let mut above = lines[..line].iter().rev();
        let reason = above
            .by_ref()
            .take_while(|line| line.starts_with("//"))
            .any(|line| line.starts_with("// SAFETY:"));
        assert!(reason, "no reason above line {}", line + 1);
        seen += 1;
    }
    assert!(seen > 0);
}

/// All Rust files of a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
