//! The tables of `show ...`, in the layouts of IOS. Every text ends with a line end.

use crate::startup::{GlobalSet, SourceKind, Startup};
use core::fmt::Write;
use core::time::Duration;
use sipalg_core::addr::SocketAddrV4;
use sipalg_core::alg::MappingView;
use sipalg_core::counters::Counters;
use sipalg_core::door::{Door, DoorKind, MediaCount};
use sipalg_core::{Instant, Leg};

/// What `debug ip nat sip` answers, and `show debugging` while it is on.
pub const DEBUG_ON: &str = "IP NAT SIP debugging is on\n";
/// What `no debug ip nat sip` answers.
pub const DEBUG_OFF: &str = "IP NAT SIP debugging is off\n";
/// What `undebug all` answers.
pub const UNDEBUG_ALL: &str = "All possible debugging has been turned off\n";

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
/// known, so their lines are left out.
pub fn statistics(mappings: &[MappingView], doors: &[Door], startup: &Startup) -> String {
    let total = mappings.len();
    let mut text =
        format!("Total active translations: {total} (0 static, {total} dynamic; 0 extended)\n");
    for (title, leg) in [("Outside", Leg::Outside), ("Inside", Leg::Inside)] {
        let names: Vec<&str> = startup.interfaces_on(leg).collect();
        text += &format!("{title} interfaces:\n");
        if !names.is_empty() {
            text += &format!("  {}\n", names.join(", "));
        }
    }
    text += "Dynamic mappings:\n-- Inside Source\n";
    // The first rule that permits a host has its mappings.
    let lists: Vec<_> = startup
        .sources
        .iter()
        .map(|rule| match &rule.kind {
            SourceKind::List { list, .. } => startup.access_list(list),
            _ => None,
        })
        .collect();
    let permits = |rule: usize, mapping: &MappingView| {
        lists[rule]
            .as_ref()
            .is_some_and(|list| list.permits(*mapping.inside_local.ip()))
    };
    let rule_of = |mapping: &MappingView| (0..lists.len()).find(|rule| permits(*rule, mapping));
    for (index, rule) in startup.sources.iter().enumerate() {
        let count = mappings
            .iter()
            .filter(|mapping| rule_of(mapping) == Some(index))
            .count();
        let id = index + 1;
        if let SourceKind::List {
            list,
            to: GlobalSet::Interface(interface),
            ..
        } = &rule.kind
        {
            text +=
                &format!("[Id: {id}] access-list {list} interface {interface} refcount {count}\n");
        }
    }
    let doors = doors.len();
    text + &format!("Total doors: {doors}\nAppl doors: {doors}\nNormal doors: 0\n")
}

/// `show ip nat sip doors`. `counts` are the packets of media doors by inside local address; a
/// door without a count shows `-`.
pub fn sip_doors(doors: &[Door], counts: &[(SocketAddrV4, MediaCount)]) -> String {
    let mut text = door_row([
        "Type",
        "Pro",
        "Inside global",
        "Inside local",
        "Pkts in",
        "Pkts out",
    ]);
    for door in doors {
        let kind = match door.kind {
            DoorKind::Signalling => "sig",
            DoorKind::Media => "media",
        };
        let count = counts
            .iter()
            .find(|(local, _)| *local == door.inside_local && door.kind == DoorKind::Media);
        let packets =
            |of: fn(&MediaCount) -> u64| count.map_or("-".into(), |(_, c)| of(c).to_string());
        text += &door_row([
            kind,
            door.protocol.name(),
            &door.inside_global.to_string(),
            &door.inside_local.to_string(),
            &packets(|c| c.in_packets),
            &packets(|c| c.out_packets),
        ]);
    }
    text + &format!("Total doors: {}\n", doors.len())
}

/// A connection that the gateway carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// The side that opened it.
    pub opened_from: Leg,
    /// The inside host.
    pub inside_local: SocketAddrV4,
    /// How the outside sees it.
    pub inside_global: SocketAddrV4,
    /// The outside host.
    pub outside: SocketAddrV4,
    /// Age.
    pub age: Duration,
}

/// `show ip nat sip connections`.
pub fn sip_connections(connections: &[Connection]) -> String {
    let mut text = connection_row([
        "From",
        "Inside global",
        "Inside local",
        "Outside global",
        "Age",
    ]);
    for connection in connections {
        let from = match connection.opened_from {
            Leg::Inside => "in",
            Leg::Outside => "out",
        };
        text += &connection_row([
            from,
            &connection.inside_global.to_string(),
            &connection.inside_local.to_string(),
            &connection.outside.to_string(),
            &duration(connection.age),
        ]);
    }
    text + &format!("Total connections: {}\n", connections.len())
}

/// `show ip nat sip counters`.
pub fn counters(counters: &Counters) -> String {
    let mut text = String::new();
    for (name, value) in counters.iter() {
        let name = name.replace('_', " ");
        text += &format!("{name:<22} {value}\n");
    }
    text
}

/// `show version`.
pub fn version(version: &str) -> String {
    format!("sipalg Software, Version {version}\n")
}

/// `show debugging`.
pub fn debugging(on: bool) -> String {
    if on {
        format!("Generic IP:\n  {DEBUG_ON}")
    } else {
        String::new()
    }
}

/// `show running-config`, around the text of [`crate::running`].
pub fn running_config(text: &str) -> String {
    let bytes = text.len();
    format!("Building configuration...\n\nCurrent configuration : {bytes} bytes\n{text}")
}

/// A time span as IOS prints it: `hh:mm:ss`, from a day on `1d02h`, from a week on `1w2d`.
pub fn duration(span: Duration) -> String {
    let seconds = span.as_secs();
    let (hours, days) = (seconds / 3600, seconds / 86_400);
    match days {
        0 => format!("{hours:02}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
        1..7 => format!("{days}d{:02}h", hours % 24),
        _ => format!("{}w{}d", days / 7, days % 7),
    }
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
    let flags = match mapping.door.map(|door| door.kind) {
        Some(DoorKind::Signalling) => "appl-door, signalling",
        Some(DoorKind::Media) => "appl-door, media",
        None => "none",
    };
    text + &format!("\n    flags:\n{flags}\n")
}

/// Columns as wide as IOS's; an address that is wider still keeps a space after it.
fn row(protocol: &str, columns: [&str; 4]) -> String {
    let [global, local, outside_local, outside_global] = columns;
    format!("{protocol:<3} {global:<18} {local:<18} {outside_local:<18} {outside_global}\n")
}

fn door_row([kind, protocol, global, local, packets_in, packets_out]: [&str; 6]) -> String {
    format!("{kind:<5} {protocol:<3} {global:<21} {local:<21} {packets_in:>10} {packets_out:>10}\n")
}

fn connection_row([from, global, local, outside, age]: [&str; 5]) -> String {
    format!("{from:<4} {global:<21} {local:<21} {outside:<21} {age}\n")
}
