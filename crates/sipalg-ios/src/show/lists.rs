//! `show access-lists`.

use crate::access::{List, ListKind};
use crate::startup::Startup;
use sipalg_core::addr::Ipv4Addr;
use sipalg_core::config::AccessEntry;

/// How many packets the entries of a list have matched, in their order; by the list's name.
pub type Hits = [(String, Vec<u64>)];

/// `show access-lists [NAME]`, `show ip access-lists [NAME]`: all lists, or the one of this name.
/// Remarks are not shown; entries that nothing matched, or that nobody counts, have no matches.
pub fn access_lists(startup: &Startup, hits: &Hits, only: Option<&str>) -> String {
    let mut text = String::new();
    for kind in [ListKind::Standard, ListKind::Extended] {
        for (name, list) in startup.lists_of(kind) {
            if only.is_none_or(|only| only == name) {
                text += &access_list(name, list, hits);
            }
        }
    }
    text
}

fn access_list(name: &str, list: &List, hits: &Hits) -> String {
    let kind = match list.kind() {
        ListKind::Standard => "Standard",
        ListKind::Extended => "Extended",
    };
    let mut text = format!("{kind} IP access list {name}\n");
    let counted = hits.iter().find(|(of, _)| of == name);
    let counts = counted.map_or(&[][..], |(_, counts)| counts);
    for (index, (sequence, entry, log)) in list.entries().enumerate() {
        let log = if log { " log" } else { "" };
        let matches = match counts.get(index) {
            None | Some(0) => String::new(),
            Some(1) => " (1 match)".into(),
            Some(count) => format!(" ({count} matches)"),
        };
        let entry = shown(list.kind(), entry);
        text += &format!("    {sequence} {entry}{log}{matches}\n");
    }
    text
}

/// An entry as it is shown: that of a standard list says what the mask is.
fn shown(kind: ListKind, entry: &AccessEntry) -> String {
    match (kind, entry.source.wildcard) {
        (ListKind::Extended, _) | (_, Ipv4Addr::BROADCAST | Ipv4Addr::UNSPECIFIED) => {
            kind.typed(entry)
        }
        (ListKind::Standard, wildcard) => {
            let permit = if entry.permit { "permit" } else { "deny" };
            let address = entry.source.address;
            format!("{permit} {address}, wildcard bits {wildcard}")
        }
    }
}
