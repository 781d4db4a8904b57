//! Access lists as rules. The first entry that speaks of the packet decides, and the end denies.
//! Each entry has a named counter, shared by all uses of its list.

use super::{Plan, TABLE};
use crate::netlink::Message;
use crate::netlink::nft::{self, End, Rule};
use sipalg_core::config::{AccessEnd, AccessEntry, AccessList, AccessPorts, Source};
use std::net::Ipv4Addr;

/// What becomes of a rule that matches a permitted or denied packet.
pub(super) type Outcome<'a> = &'a dyn Fn(Rule) -> Rule;

/// The rules of `list` for packets of which the list's source is the end `source`: the packet's
/// source; or, for packets in the other direction, its destination.
pub(super) fn rules(
    list: &AccessList,
    source: End,
    counted: bool,
    permitted: Outcome,
    denied: Outcome,
) -> Vec<Rule> {
    let rule = |(number, entry): (usize, &AccessEntry)| {
        let matching = matching(entry, source);
        let matching = if counted {
            matching.count(&counter(&list.name, number))
        } else {
            matching
        };
        if entry.permit {
            permitted(matching)
        } else {
            denied(matching)
        }
    };
    list.entries.iter().enumerate().map(rule).collect()
}

/// The lists whose entries count, each once.
pub(super) fn counted(plan: &Plan) -> Vec<AccessList> {
    let sources = plan.sources.iter().map(|source| match &source.rule.source {
        Source::List { list, .. } => Some(list),
        _ => None,
    });
    let groups = [&plan.access_group, &plan.media_access_group, &plan.bypass];
    let groups = groups.into_iter().map(Option::as_ref);
    let mut lists: Vec<AccessList> = Vec::new();
    for list in sources.chain(groups).flatten() {
        if lists.iter().all(|known| known.name != list.name) {
            lists.push(list.clone());
        }
    }
    lists
}

/// Of the lists `old` those that are not in `new` as they were, and of `new` those that were not in
/// `old`.
pub(super) fn changed(
    old: &[AccessList],
    new: &[AccessList],
) -> (Vec<AccessList>, Vec<AccessList>) {
    let but = |of: &[AccessList], not: &[AccessList]| {
        let of = of.iter().filter(|list| !not.contains(list));
        of.cloned().collect()
    };
    (but(old, new), but(new, old))
}

pub(super) fn add_counters(lists: &[AccessList]) -> Vec<Message> {
    counters(lists, |name| nft::add_counter(TABLE, name))
}

pub(super) fn delete_counters(lists: &[AccessList]) -> Vec<Message> {
    counters(lists, |name| nft::delete_counter(TABLE, name))
}

/// The name of the counter of an entry, counted from zero; people count from one. nft takes fewer
/// characters for a name than an access list may have.
pub(in crate::kernel) fn counter(list: &str, entry: usize) -> String {
    let mut name = String::from("list_");
    for byte in list.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            name.push(char::from(byte));
        } else {
            name += &format!(".{byte:02x}");
        }
    }
    name + &format!("_{}", entry + 1)
}

/// The names of the counters of all entries.
pub(super) fn names(lists: &[AccessList]) -> impl Iterator<Item = String> {
    lists.iter().flat_map(|list| {
        let entries = 0..list.entries.len();
        entries.map(|entry| counter(&list.name, entry))
    })
}

fn counters(lists: &[AccessList], message: impl Fn(&str) -> Message) -> Vec<Message> {
    names(lists).map(|name| message(&name)).collect()
}

fn matching(entry: &AccessEntry, source: End) -> Rule {
    let mut rule = Rule::new();
    if let Some(protocol) = entry.protocol {
        rule = rule.protocol(i32::from(protocol));
    }
    for (end, which) in [
        (&entry.source, source),
        (&entry.destination, source.other()),
    ] {
        rule = compare(rule, end, which);
    }
    if entry.established {
        rule = rule.rst_or_ack();
    }
    rule
}

fn compare(rule: Rule, end: &AccessEnd, which: End) -> Rule {
    let compared = Ipv4Addr::from(!u32::from(end.wildcard));
    let rule = match compared {
        Ipv4Addr::UNSPECIFIED => rule,
        mask => rule.address(which, end.address, mask),
    };
    match end.ports {
        AccessPorts::ANY => rule,
        ports => rule.ports(which, ports.first, ports.last, ports.inverted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_different_lists_never_have_one_name() {
        assert_eq!(counter("1", 0), "list_1_1");
        assert_eq!(counter("WAN in", 9), "list_WAN.20in_10");
        assert_ne!(counter("a_1", 0), counter("a", 0));
        assert_ne!(counter("a.5f", 0), counter("a_", 0));
    }
}
