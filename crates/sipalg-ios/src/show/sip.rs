//! `show ip nat sip doors`, `connections` and `counters`.

use super::{View, duration, known};
use core::time::Duration;
use serde::{Serialize, Serializer};
use sipalg_core::Leg;
use sipalg_core::addr::SocketAddrV4;
use sipalg_core::counters::Counters;
use sipalg_core::door::{Door, DoorKind, MediaCount};

/// `show ip nat sip doors`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Doors {
    doors: Vec<DoorRow>,
    total: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct DoorRow {
    kind: &'static str,
    protocol: &'static str,
    inside_global: SocketAddrV4,
    inside_local: SocketAddrV4,
    packets_in: Option<u64>,
    packets_out: Option<u64>,
    bytes_in: Option<u64>,
    bytes_out: Option<u64>,
}

/// `show ip nat sip doors`. `counts` are the packets of media doors by inside local address; a
/// door without a count shows `-`.
pub fn sip_doors(doors: &[Door], counts: &[(SocketAddrV4, MediaCount)]) -> Doors {
    let row = |door: &Door| {
        let mut counts = counts.iter();
        let count = counts
            .find(|(local, _)| *local == door.inside_local && door.kind == DoorKind::Media)
            .map(|(_, count)| count);
        DoorRow {
            kind: kind(door.kind),
            protocol: door.protocol.name(),
            inside_global: door.inside_global,
            inside_local: door.inside_local,
            packets_in: count.map(|count| count.in_packets),
            packets_out: count.map(|count| count.out_packets),
            bytes_in: count.map(|count| count.in_bytes),
            bytes_out: count.map(|count| count.out_bytes),
        }
    };
    Doors {
        doors: doors.iter().map(row).collect(),
        total: doors.len(),
    }
}

/// What a door is for, in a word.
pub(super) fn kind(kind: DoorKind) -> &'static str {
    match kind {
        DoorKind::Signalling => "signalling",
        DoorKind::Media => "media",
    }
}

impl View for Doors {
    fn text(&self) -> String {
        let mut text = door_row([
            "Type",
            "Pro",
            "Inside global",
            "Inside local",
            "Pkts in",
            "Pkts out",
        ]);
        for door in &self.doors {
            text += &door_row([
                if door.kind == "media" { "media" } else { "sig" },
                door.protocol,
                &door.inside_global.to_string(),
                &door.inside_local.to_string(),
                &known(door.packets_in),
                &known(door.packets_out),
            ]);
        }
        text + &format!("Total doors: {}\n", self.total)
    }
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Connections {
    connections: Vec<ConnectionRow>,
    total: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct ConnectionRow {
    opened_from: &'static str,
    inside_global: SocketAddrV4,
    inside_local: SocketAddrV4,
    outside_global: SocketAddrV4,
    age_seconds: u64,
}

/// `show ip nat sip connections`.
pub fn sip_connections(connections: &[Connection]) -> Connections {
    let row = |connection: &Connection| ConnectionRow {
        opened_from: match connection.opened_from {
            Leg::Inside => "inside",
            Leg::Outside => "outside",
        },
        inside_global: connection.inside_global,
        inside_local: connection.inside_local,
        outside_global: connection.outside,
        age_seconds: connection.age.as_secs(),
    };
    Connections {
        connections: connections.iter().map(row).collect(),
        total: connections.len(),
    }
}

impl View for Connections {
    fn text(&self) -> String {
        let mut text = connection_row([
            "From",
            "Inside global",
            "Inside local",
            "Outside global",
            "Age",
        ]);
        for connection in &self.connections {
            text += &connection_row([
                connection.opened_from.trim_end_matches("side"),
                &connection.inside_global.to_string(),
                &connection.inside_local.to_string(),
                &connection.outside_global.to_string(),
                &duration(Duration::from_secs(connection.age_seconds)),
            ]);
        }
        text + &format!("Total connections: {}\n", self.total)
    }
}

/// `show ip nat sip counters`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts(Counters);

/// `show ip nat sip counters`.
pub fn counters(counters: &Counters) -> Counts {
    Counts(*counters)
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

impl View for Counts {
    fn text(&self) -> String {
        let line = |(name, value): (&str, u64)| {
            let name = name.replace('_', " ");
            format!("{name:<22} {value}\n")
        };
        self.0.iter().map(line).collect()
    }
}

fn door_row([kind, protocol, global, local, packets_in, packets_out]: [&str; 6]) -> String {
    format!("{kind:<5} {protocol:<3} {global:<21} {local:<21} {packets_in:>10} {packets_out:>10}\n")
}

fn connection_row([from, global, local, outside, age]: [&str; 5]) -> String {
    format!("{from:<4} {global:<21} {local:<21} {outside:<21} {age}\n")
}
