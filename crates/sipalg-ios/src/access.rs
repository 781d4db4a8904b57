//! Access lists as they are written: entries and remarks under sequence numbers.

use crate::ports;
use core::fmt;
use core::net::Ipv4Addr;
use sipalg_core::config::{AccessEnd, AccessEntry, AccessList, AccessPorts};

/// The distance that IOS leaves between the sequence numbers it gives.
const STEP: u32 = 10;

/// The largest sequence number of IOS.
pub const MAX_SEQUENCE: u32 = i32::MAX as u32;

/// An access list: its lines by sequence number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List {
    kind: ListKind,
    lines: Vec<(u32, Line)>,
}

/// What the lines of a list can speak of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ListKind {
    /// Of the source's address alone.
    Standard,
    /// Of protocol, both addresses and ports.
    Extended,
}

/// A line of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// `permit` or `deny`.
    Entry {
        /// What it speaks of.
        entry: AccessEntry,
        /// `log`, which is kept, but logs nothing.
        log: bool,
    },
    /// A remark, which decides nothing.
    Remark(String),
}

impl List {
    /// A list without lines.
    pub const fn new(kind: ListKind) -> List {
        List {
            kind,
            lines: Vec::new(),
        }
    }

    /// What its lines can speak of.
    pub fn kind(&self) -> ListKind {
        self.kind
    }

    /// Adds a line, by default at the end. An entry that is there already is not added again.
    ///
    /// # Errors
    /// The sequence number is taken by another line, or none is left; says so.
    pub fn add(&mut self, sequence: Option<u32>, line: Line) -> Result<(), String> {
        if matches!(line, Line::Entry { .. }) && self.lines.iter().any(|(_, l)| *l == line) {
            return Ok(());
        }
        let last = self.lines.last().map_or(0, |(sequence, _)| *sequence);
        let sequence = sequence.unwrap_or(last.saturating_add(STEP));
        if sequence > MAX_SEQUENCE {
            return Err("no sequence number is left at the end of the list".into());
        }
        match self
            .lines
            .binary_search_by_key(&sequence, |(sequence, _)| *sequence)
        {
            Ok(at) if self.lines[at].1 == line => Ok(()),
            Ok(_) => Err(format!("sequence number {sequence} is taken")),
            Err(at) => {
                self.lines.insert(at, (sequence, line));
                Ok(())
            }
        }
    }

    /// Removes what has this sequence number and this text; what is not given may be anything.
    pub fn remove(&mut self, sequence: Option<u32>, line: Option<&Line>) {
        self.lines.retain(|(s, l)| {
            sequence.is_some_and(|sequence| sequence != *s) || line.is_some_and(|line| line != l)
        });
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The list as the core reads it.
    pub fn compile(&self, name: &str) -> AccessList {
        AccessList {
            name: name.into(),
            entries: self.entries().map(|(_, entry, _)| *entry).collect(),
        }
    }

    /// The entries that decide, with their sequence numbers and whether they say `log`.
    pub fn entries(&self) -> impl Iterator<Item = (u32, &AccessEntry, bool)> {
        self.lines.iter().filter_map(|(sequence, line)| match line {
            Line::Entry { entry, log } => Some((*sequence, entry, *log)),
            Line::Remark(_) => None,
        })
    }

    /// Whether typing the lines one after the other gives them the same sequence numbers.
    pub fn is_plain(&self) -> bool {
        let numbers = (1..).map(|n| n * STEP);
        self.lines
            .iter()
            .zip(numbers)
            .all(|((sequence, _), number)| *sequence == number)
    }

    /// The lines as they are typed, with sequence numbers only where typing needs them.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let plain = self.is_plain();
        self.lines.iter().map(move |(sequence, line)| {
            let text = match line {
                Line::Remark(text) => format!("remark {text}"),
                Line::Entry { entry, log } => {
                    let log = if *log { " log" } else { "" };
                    format!("{}{log}", self.kind.typed(entry))
                }
            };
            match plain {
                true => text,
                false => format!("{sequence} {text}"),
            }
        })
    }
}

impl ListKind {
    /// Its name in commands.
    pub const fn name(self) -> &'static str {
        match self {
            ListKind::Standard => "standard",
            ListKind::Extended => "extended",
        }
    }

    /// An entry as it is typed in such a list.
    pub fn typed(self, entry: &AccessEntry) -> String {
        let permit = if entry.permit { "permit" } else { "deny" };
        match self {
            ListKind::Standard => match entry.source.wildcard {
                Ipv4Addr::BROADCAST => format!("{permit} any"),
                Ipv4Addr::UNSPECIFIED => format!("{permit} {}", entry.source.address),
                wildcard => format!("{permit} {} {wildcard}", entry.source.address),
            },
            ListKind::Extended => {
                let number = entry.protocol.unwrap_or(0);
                let numeric = number.to_string();
                let protocol = ports::protocol_name(number).unwrap_or(&numeric);
                let source = End(&entry.source, number);
                let destination = End(&entry.destination, number);
                let established = if entry.established {
                    " established"
                } else {
                    ""
                };
                format!("{permit} {protocol} {source} {destination}{established}")
            }
        }
    }
}

/// One end of an extended entry, and the number of the protocol, which names its ports.
struct End<'a>(&'a AccessEnd, u8);

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let End(end, protocol) = self;
        match end.wildcard {
            Ipv4Addr::BROADCAST => f.write_str("any")?,
            Ipv4Addr::UNSPECIFIED => write!(f, "host {}", end.address)?,
            wildcard => write!(f, "{} {wildcard}", end.address)?,
        }
        let name = |port: u16| {
            let name = ports::port_name(*protocol, port);
            name.map_or_else(|| port.to_string(), String::from)
        };
        let AccessPorts {
            first,
            last,
            inverted,
        } = end.ports;
        match (first, last) {
            _ if end.ports == AccessPorts::ANY => Ok(()),
            _ if inverted => write!(f, " neq {}", name(first)),
            (port, same) if port == same => write!(f, " eq {}", name(port)),
            (0, last) => write!(f, " lt {}", name(last + 1)),
            (first, u16::MAX) => write!(f, " gt {}", name(first - 1)),
            (first, last) => write!(f, " range {} {}", name(first), name(last)),
        }
    }
}

/// `address` and an IOS wildcard mask, in which set bits are not compared.
///
/// # Errors
/// The wildcard is a subnet mask, which would compare the wrong bits; says the right one.
pub fn end(address: Ipv4Addr, wildcard: Ipv4Addr) -> Result<AccessEnd, String> {
    let bits = u32::from(wildcard);
    let is_subnet_mask = bits.leading_ones() + bits.trailing_zeros() == u32::BITS;
    if is_subnet_mask && bits != 0 && wildcard != Ipv4Addr::BROADCAST {
        let right = Ipv4Addr::from(!bits);
        return Err(format!(
            "{wildcard} is a subnet mask; the wildcard mask is {right}"
        ));
    }
    // IOS clears the bits that it does not compare.
    Ok(AccessEnd {
        address: Ipv4Addr::from(u32::from(address) & !bits),
        wildcard,
        ports: AccessPorts::ANY,
    })
}
