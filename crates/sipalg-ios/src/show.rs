//! The tables of `show ...`, in the layouts of IOS. Every text ends with a line end.

mod lists;
mod nat;

pub use lists::{Hits, access_lists};
pub use nat::{statistics, translations};

use crate::exec::DebugWhat;
use core::time::Duration;
use sipalg_core::Leg;
use sipalg_core::addr::SocketAddrV4;
use sipalg_core::counters::Counters;
use sipalg_core::door::{Door, DoorKind, MediaCount};

/// What `no debug ip nat sip` answers.
pub const DEBUG_OFF: &str = "IP NAT SIP debugging is off\n";
/// What `no debug ip nat sip dry-run` answers.
pub const DRY_RUN_OFF: &str = "IP NAT SIP dry run is off\n";
/// What `undebug all` answers.
pub const UNDEBUG_ALL: &str = "All possible debugging has been turned off\n";

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
pub fn debugging(debug: Option<&DebugWhat>, dry_run: Option<&DebugWhat>) -> String {
    let on = |what, dry_run| format!("  {}", debug_on(what, dry_run));
    let lines = debug.map(|what| on(what, false));
    let lines: String = lines
        .into_iter()
        .chain(dry_run.map(|what| on(what, true)))
        .collect();
    if lines.is_empty() {
        return lines;
    }
    format!("Generic IP:\n{lines}")
}

/// What `debug ip nat sip` answers, and `show debugging` says while it is on.
pub fn debug_on(what: &DebugWhat, dry_run: bool) -> String {
    let DebugWhat {
        list,
        detailed,
        json,
    } = what;
    let mut text = String::from("IP NAT SIP ");
    text += if dry_run { "dry run" } else { "debugging" };
    text += " is on";
    if let Some(list) = list {
        text += &format!(" for access list {list}");
    }
    let manner: Vec<&str> = [(*detailed, "detailed"), (*json, "json")]
        .into_iter()
        .filter_map(|(is, name)| is.then_some(name))
        .collect();
    if !manner.is_empty() {
        text += &format!(" ({})", manner.join(", "));
    }
    text + "\n"
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

fn door_row([kind, protocol, global, local, packets_in, packets_out]: [&str; 6]) -> String {
    format!("{kind:<5} {protocol:<3} {global:<21} {local:<21} {packets_in:>10} {packets_out:>10}\n")
}

fn connection_row([from, global, local, outside, age]: [&str; 5]) -> String {
    format!("{from:<4} {global:<21} {local:<21} {outside:<21} {age}\n")
}
