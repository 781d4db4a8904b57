//! Standard access lists as they are written: entries and remarks under sequence numbers.

use core::fmt;
use core::net::Ipv4Addr;
use sipalg_core::config::{AccessEntry, AccessList};

/// The distance that IOS leaves between the sequence numbers it gives.
const STEP: u32 = 10;

/// The largest sequence number of IOS.
pub const MAX_SEQUENCE: u32 = i32::MAX as u32;

/// A standard access list: its lines by sequence number.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StandardList {
    lines: Vec<(u32, Line)>,
}

/// A line of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// `permit` or `deny`.
    Entry(AccessEntry),
    /// A remark, which decides nothing.
    Remark(String),
}

impl StandardList {
    /// Adds a line, by default at the end. An entry that is there already is not added again.
    ///
    /// # Errors
    /// The sequence number is taken by another line, or none is left; says so.
    pub fn add(&mut self, sequence: Option<u32>, line: Line) -> Result<(), String> {
        if matches!(line, Line::Entry(_)) && self.lines.iter().any(|(_, l)| *l == line) {
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
        let entry = |(_, line): &(u32, Line)| match line {
            Line::Entry(entry) => Some(*entry),
            Line::Remark(_) => None,
        };
        AccessList {
            name: name.into(),
            entries: self.lines.iter().filter_map(entry).collect(),
        }
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
        self.lines.iter().map(move |(sequence, line)| match plain {
            true => line.to_string(),
            false => format!("{sequence} {line}"),
        })
    }
}

impl fmt::Display for Line {
    /// As IOS writes it in a standard list.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = match self {
            Line::Remark(text) => return write!(f, "remark {text}"),
            Line::Entry(entry) => entry,
        };
        f.write_str(if entry.permit { "permit" } else { "deny" })?;
        match entry.source.wildcard {
            Ipv4Addr::BROADCAST => f.write_str(" any"),
            Ipv4Addr::UNSPECIFIED => write!(f, " {}", entry.source.address),
            wildcard => write!(f, " {} {wildcard}", entry.source.address),
        }
    }
}

/// The entry for `address` and an IOS wildcard mask, in which set bits are not compared.
///
/// # Errors
/// The wildcard is a subnet mask, which would compare the wrong bits; says the right one.
pub fn entry(permit: bool, address: Ipv4Addr, wildcard: Ipv4Addr) -> Result<AccessEntry, String> {
    let bits = u32::from(wildcard);
    let is_subnet_mask = bits.leading_ones() + bits.trailing_zeros() == u32::BITS;
    if is_subnet_mask && bits != 0 && wildcard != Ipv4Addr::BROADCAST {
        let right = Ipv4Addr::from(!bits);
        return Err(format!(
            "{wildcard} is a subnet mask; the wildcard mask is {right}"
        ));
    }
    // IOS clears the bits that it does not compare.
    let address = Ipv4Addr::from(u32::from(address) & !bits);
    Ok(AccessEntry::standard(permit, address, wildcard))
}
