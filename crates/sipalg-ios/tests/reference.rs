//! The manual's command reference is that of the command tables.
//!
//! `SIPALG_BLESS=1` writes it anew.
#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

use sipalg_ios::reference::reference;
use std::fs;
use std::path::Path;

#[test]
fn the_manual_has_the_commands_of_the_tables() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manual/commands.md");
    if std::env::var_os("SIPALG_BLESS").is_some() {
        fs::write(&manual, reference()).unwrap();
    }
    let written = fs::read_to_string(&manual).unwrap();
    assert!(
        written == reference(),
        "docs/manual/commands.md is not that of the command tables; write it with \
         `SIPALG_BLESS=1 cargo test -p sipalg-ios --test reference`"
    );
}

#[test]
fn every_command_is_in_the_reference_with_all_its_forms() {
    let text = reference();
    for line in [
        "show ip nat translations [tcp | udp] [inside HOST] [verbose | total] [json]",
        "clear ip nat translation {* [forced] | forced | {tcp | udp} inside GLOBAL GLOBAL-PORT LOCAL \
         LOCAL-PORT [forced] | inside GLOBAL LOCAL [forced]}",
        "terminal monitor\nno terminal monitor",
        "| `LOCAL-PORT` | `<1-65535>` | Inside local port |",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "no {line}");
    }
}
