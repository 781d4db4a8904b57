//! `show access-lists`.

use super::View;
use crate::access::{List, ListKind};
use crate::startup::Startup;
use serde::Serialize;
use sipalg_core::addr::Ipv4Addr;
use sipalg_core::config::AccessEntry;

/// How many packets the entries of a list have matched, in their order; by the list's name.
pub type Hits = [(String, Vec<u64>)];

/// `show access-lists`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AccessLists {
    access_lists: Vec<AccessList>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct AccessList {
    kind: &'static str,
    name: String,
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Entry {
    sequence: u32,
    /// As it is typed.
    entry: String,
    /// As it is shown.
    #[serde(skip)]
    shown: String,
    log: bool,
    /// None if nobody counts.
    matches: Option<u64>,
}

/// `show access-lists [NAME]`, `show ip access-lists [NAME]`: all lists, or the one of this name.
/// Remarks are not shown.
pub fn access_lists(startup: &Startup, hits: &Hits, only: Option<&str>) -> AccessLists {
    let kinds = [ListKind::Standard, ListKind::Extended].into_iter();
    let lists = kinds.flat_map(|kind| startup.lists_of(kind));
    let wanted = lists.filter(|(name, _)| only.is_none_or(|only| only == *name));
    AccessLists {
        access_lists: wanted
            .map(|(name, list)| access_list(name, list, hits))
            .collect(),
    }
}

fn access_list(name: &str, list: &List, hits: &Hits) -> AccessList {
    let counted = hits.iter().find(|(of, _)| of == name);
    let counts = counted.map_or(&[][..], |(_, counts)| counts);
    let entries = list.entries().enumerate();
    let entries = entries.map(|(index, (sequence, entry, log))| Entry {
        sequence,
        entry: list.kind().typed(entry),
        shown: shown(list.kind(), entry),
        log,
        matches: counts.get(index).copied(),
    });
    AccessList {
        kind: match list.kind() {
            ListKind::Standard => "standard",
            ListKind::Extended => "extended",
        },
        name: name.into(),
        entries: entries.collect(),
    }
}

impl View for AccessLists {
    /// Entries that nothing matched, or that nobody counts, have no matches.
    fn text(&self) -> String {
        self.access_lists.iter().map(AccessList::lines).collect()
    }
}

impl AccessList {
    fn lines(&self) -> String {
        let kind = match self.kind {
            "standard" => "Standard",
            _ => "Extended",
        };
        let mut text = format!("{kind} IP access list {}\n", self.name);
        for entry in &self.entries {
            let log = if entry.log { " log" } else { "" };
            let matches = match entry.matches {
                None | Some(0) => String::new(),
                Some(1) => " (1 match)".into(),
                Some(count) => format!(" ({count} matches)"),
            };
            text += &format!("    {} {}{log}{matches}\n", entry.sequence, entry.shown);
        }
        text
    }
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
