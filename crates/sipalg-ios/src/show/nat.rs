//! `show ip nat translations` and `show ip nat statistics`.

use super::duration;
use crate::startup::{AddressPool, GlobalSet, InsideSource, SourceKind, Startup};
use core::fmt::Write;
use sipalg_core::alg::MappingView;
use sipalg_core::config::{Source, SourceRule};
use sipalg_core::counters::Counters;
use sipalg_core::door::{Door, DoorKind};
use sipalg_core::{Instant, Leg};
use std::collections::{BTreeMap, BTreeSet};

/// `show ip nat translations [verbose]`. The mappings are endpoint-independent: they have no
/// outside address, for which IOS prints `---`.
pub fn translations(mappings: &[MappingView], verbose: bool, now: Instant) -> String {
    let mut text = row(
        "Pro",
        [
            "Inside global",
            "Inside local",
            "Outside local",
            "Outside global",
        ],
    );
    for mapping in mappings {
        let (global, local) = (mapping.inside_global, mapping.inside_local);
        let (protocol, global, local) = match mapping.protocol {
            Some(protocol) => (protocol.name(), global.to_string(), local.to_string()),
            None => ("---", global.ip().to_string(), local.ip().to_string()),
        };
        text += &row(protocol, [&global, &local, "---", "---"]);
        if verbose {
            text += &details(mapping, now);
        }
    }
    text
}

/// `show ip nat statistics`. IOS's hits, misses and peak are the kernel's business here and not
/// known, so their lines are left out. `rules` are the machine's, to which the mappings refer: those
/// of interfaces without an address are not among them.
pub fn statistics(
    mappings: &[MappingView],
    doors: &[Door],
    counters: &Counters,
    rules: &[SourceRule],
    startup: &Startup,
) -> String {
    let total = mappings.len();
    let fixed = mappings.iter().filter(|m| m.is_static).count();
    let extended = mappings.iter().filter(|m| m.protocol.is_some()).count();
    let dynamic = total - fixed;
    let mut text = format!(
        "Total active translations: {total} ({fixed} static, {dynamic} dynamic; {extended} extended)\n"
    );
    for (title, leg) in [("Outside", Leg::Outside), ("Inside", Leg::Inside)] {
        let names: Vec<&str> = startup.interfaces_on(leg).collect();
        text += &format!("{title} interfaces:\n");
        if !names.is_empty() {
            text += &format!("  {}\n", names.join(", "));
        }
    }
    text += "Dynamic mappings:\n-- Inside Source\n";
    // A list has one rule.
    let mut by_list: BTreeMap<&str, Vec<&MappingView>> = BTreeMap::new();
    for mapping in mappings.iter().filter(|mapping| !mapping.is_static) {
        let rule = mapping.rule.and_then(|rule| rules.get(rule));
        if let Some(Source::List { list, .. }) = rule.map(|rule| &rule.source) {
            by_list.entry(&list.name).or_default().push(mapping);
        }
    }
    for (id, rule) in (1..).zip(&startup.sources) {
        if let SourceKind::List { list, .. } = &rule.kind {
            let mappings = by_list.get(list.as_str()).map_or(&[][..], Vec::as_slice);
            text += &dynamic_rule(id, rule, mappings, counters, startup);
        }
    }
    let doors = doors.len();
    text + &format!("Total doors: {doors}\nAppl doors: {doors}\nNormal doors: 0\n")
}

/// A rule with a list, and the translations that it has made.
fn dynamic_rule(
    id: usize,
    rule: &InsideSource,
    mappings: &[&MappingView],
    counters: &Counters,
    startup: &Startup,
) -> String {
    let SourceKind::List { list, to, overload } = &rule.kind else {
        return String::new();
    };
    let count = mappings.len();
    match to {
        GlobalSet::Interface(interface) => {
            format!("[Id: {id}] access-list {list} interface {interface} refcount {count}\n")
        }
        GlobalSet::Pool(name) => {
            let mut text = format!("[Id: {id}] access-list {list} pool {name} refcount {count}\n");
            if let Some(pool) = startup.pools.get(name) {
                let addresses = mappings.iter().map(|mapping| mapping.inside_global.ip());
                let taken = addresses.collect::<BTreeSet<_>>().len();
                text += &pool_lines(name, pool, taken, misses(*overload, startup, counters));
            }
            text
        }
    }
}

fn pool_lines(name: &str, pool: &AddressPool, taken: usize, misses: Option<u64>) -> String {
    let AddressPool { start, end, .. } = pool;
    let (netmask, total) = (pool.netmask(), pool.size());
    let percent = taken as u64 * 100 / u64::from(total);
    let misses = misses.map_or(String::new(), |misses| format!(", misses {misses}"));
    format!(
        " pool {name}: netmask {netmask}\n        start {start} end {end}\n        \
         type generic, total addresses {total}, allocated {taken} ({percent}%){misses}\n"
    )
}

/// How often a rule had no address or port left. The core counts that for all rules of a kind
/// together, so it is known only where there is but one.
fn misses(overload: bool, startup: &Startup, counters: &Counters) -> Option<u64> {
    let of_kind = |rule: &&InsideSource| match &rule.kind {
        SourceKind::List { overload: of, .. } => *of == overload,
        _ => false,
    };
    let is_only = startup.sources.iter().filter(of_kind).count() == 1;
    is_only.then_some(match overload {
        true => counters.out_of_ports,
        false => counters.pool_exhausted,
    })
}

/// The lines that `verbose` adds to an entry. IOS counts the timeout in milliseconds.
fn details(mapping: &MappingView, now: Instant) -> String {
    let idle = now.since(mapping.used);
    let age = duration(now.since(mapping.created));
    let mut text = format!("    create {age}, use {} timeout:", duration(idle));
    // A String takes everything.
    let _ = match mapping.left {
        Some(left) => write!(
            text,
            "{}, left {},",
            (idle + left).as_millis(),
            duration(left)
        ),
        None => write!(text, "0,"),
    };
    let flags = [
        mapping.is_static.then_some("static"),
        mapping.protocol.map(|_| "extended"),
        mapping.door.map(|door| match door.kind {
            DoorKind::Signalling => "appl-door, signalling",
            DoorKind::Media => "appl-door, media",
        }),
    ];
    let flags: Vec<_> = flags.into_iter().flatten().collect();
    let flags = match flags.is_empty() {
        true => "none".into(),
        false => flags.join(", "),
    };
    text + &format!("\n    flags:\n{flags}\n")
}

/// Columns as wide as IOS's; an address that is wider still keeps a space after it.
fn row(protocol: &str, columns: [&str; 4]) -> String {
    let [global, local, outside_local, outside_global] = columns;
    format!("{protocol:<3} {global:<18} {local:<18} {outside_local:<18} {outside_global}\n")
}
