//! Who may know whom inside the core, and that it can do no IO: ARCHITECTURE.md, kept true.
#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What a module and those below it may use. `alg` may use all.
const MAY_USE: &[(&str, &str)] = &[
    ("time", ""),
    ("addr", ""),
    ("kept", "addr config door health spelling time timer"),
    ("slab", "kept"),
    ("bytes", ""),
    ("alike", "bytes"),
    ("counters", ""),
    ("config", "addr door"),
    ("admission", "addr config event kept outbox slab time"),
    ("health", "addr door time"),
    ("journal", "addr door event fixup time"),
    ("door", "addr"),
    ("event", "addr config door"),
    ("outbox", "addr door event"),
    ("timer", "addr time"),
    ("sip", "addr bytes"),
    ("body", "bytes sip"),
    ("sdp", "addr alike bytes sip"),
    ("frame", "alike bytes config event sip"),
    (
        "nat",
        "addr admission config counters door event kept outbox slab time timer",
    ),
    ("model", "addr config door nat time"),
    ("spelling", "addr config fixup kept nat sip timer"),
    (
        "fixup",
        "addr alike body bytes config door event frame health nat outbox sdp sip spelling",
    ),
    (
        "call",
        "addr config door fixup health kept nat outbox sip slab time timer",
    ),
    (
        "registration",
        "addr config door event fixup health kept nat outbox sip time timer",
    ),
];

#[test]
fn modules_use_only_what_they_may_know() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = BTreeSet::new();
    for (module, text) in modules(&source) {
        if module == "lib" || module == "alg" {
            continue;
        }
        let (name, allowed) = MAY_USE
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{module} has no row here"));
        seen.insert(*name);
        let allowed: BTreeSet<_> = allowed.split(' ').chain([*name]).collect();
        for used in text.split("crate::").skip(1) {
            let used = used
                .split(|c: char| !c.is_ascii_lowercase())
                .next()
                .unwrap();
            assert!(
                used.is_empty() || allowed.contains(used),
                "{module} uses {used}"
            );
        }
    }
    assert_eq!(seen.len(), MAY_USE.len(), "a row without a module");
}

#[test]
fn the_core_can_do_no_io() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let root = fs::read_to_string(source.join("lib.rs")).unwrap();
    assert!(root.contains("no_std") && root.contains("#![forbid(unsafe_code)]"));
    for (module, text) in modules(&source) {
        assert!(
            !text.contains("std::") || module == "lib",
            "{module} uses std"
        );
    }
}

/// Each file's text without its tests, by the module at the top that it is part of.
fn modules(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let below = modules(&path).into_iter();
            found.extend(below.map(|(_, text)| (name.clone(), text)));
        } else if name != "tests" {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            found.push((name, code.to_string()));
        }
    }
    found
}
