//! Everything the gateway can be told, as plain data with its defaults and their sources.

use crate::addr::Ipv4Addr;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// The configuration of one [`Alg`](crate::Alg).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `ip nat inside source` rules, in the order of configuration; the first that permits a host
    /// translates it.
    pub sources: Vec<SourceRule>,
    /// Whether messages are fixed up. Off, every byte passes unchanged and no door opens (the lab
    /// uses it to show that its checks can fail).
    pub fixup: bool,
    /// Bounds on what peers can make us hold.
    pub limits: Limits,
    /// Lifetimes.
    pub timers: Timers,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            sources: Vec::new(),
            fixup: true,
            limits: Limits::default(),
            timers: Timers::default(),
        }
    }
}

impl Config {
    /// The first rule that translates the inside host `address`, with its index.
    pub fn source_for(&self, address: Ipv4Addr) -> Option<(usize, &SourceRule)> {
        self.sources
            .iter()
            .enumerate()
            .find(|(_, rule)| rule.list.permits(address))
    }

    /// Whether a rule translates the inside host `address`.
    pub fn permits(&self, address: Ipv4Addr) -> bool {
        self.source_for(address).is_some()
    }
}

/// `ip nat inside source list LIST interface IF overload`, with the interface's address looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceRule {
    /// Which inside hosts it translates.
    pub list: AccessList,
    /// The inside global address they share.
    pub global: Ipv4Addr,
}

/// A standard access list: the first matching entry decides, and the end denies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccessList {
    /// Its number or name.
    pub name: String,
    /// Its entries in order.
    pub entries: Vec<AccessEntry>,
}

impl AccessList {
    /// Whether the list permits `address`.
    pub fn permits(&self, address: Ipv4Addr) -> bool {
        self.entries
            .iter()
            .find(|entry| entry.matches(address))
            .is_some_and(|entry| entry.permit)
    }
}

/// One line of a standard access list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccessEntry {
    /// Permit, or else deny.
    pub permit: bool,
    /// The address to compare with.
    pub address: Ipv4Addr,
    /// IOS wildcard mask: bits that are set are not compared.
    pub wildcard: Ipv4Addr,
}

impl AccessEntry {
    /// Whether the entry speaks of `address`.
    pub fn matches(&self, address: Ipv4Addr) -> bool {
        let ignore = u32::from(self.wildcard);
        (u32::from(address) | ignore) == (u32::from(self.address) | ignore)
    }
}

/// Bounds on what peers can make us hold. What exceeds one passes unchanged and is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Start line and headers of a message, bytes.
    pub header_bytes: usize,
    /// Body that is looked into, bytes; a longer one passes unchanged.
    pub body_bytes: usize,
    /// `m=` lines mapped in one session description.
    pub media_lines: usize,
    /// Contact values mapped in one message.
    pub contacts: usize,
    /// Mappings in all.
    pub mappings: usize,
    /// Doors of one inside host.
    pub doors_per_host: usize,
    /// Calls in all.
    pub calls: usize,
    /// Registrations in all.
    pub registrations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            header_bytes: 64 * 1024,
            body_bytes: 1024 * 1024,
            media_lines: 16,
            contacts: 16,
            mappings: 262_144,
            doors_per_host: 65_536,
            calls: 65_536,
            registrations: 65_536,
        }
    }
}

/// Lifetimes of what the gateway remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timers {
    /// A call of which a provisional response has been seen, but no final one: RFC 3261 section 16.6
    /// timer C.
    pub call_setup: Duration,
    /// A transaction without any response: 64*T1, RFC 3261 section 17.1.1.2.
    pub transaction: Duration,
    /// An answered call without media on any of its doors, while not held.
    pub media_inactivity: Duration,
    /// An answered call that is held, or has no media, and of which nothing is heard.
    pub call_silence: Duration,
    /// A subscription whose notifier names no lifetime: RFC 6665 section 4.1.2.1 leaves it to the
    /// package, RFC 3515 to the REFER; both end by NOTIFY.
    pub subscription: Duration,
    /// A registration whose registrar names no lifetime: RFC 3261 section 10.2.1.1.
    pub registration: Duration,
    /// How much longer than granted a registration's door stays, for clocks and slow networks.
    pub registration_grace: Duration,
    /// How long a mapping without door or flow is kept: RFC 5382 REQ-5, transitory connections.
    pub mapping_idle: Duration,
    /// How long the port of a closed door is barred for any other inside host.
    pub quarantine: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            call_setup: Duration::from_secs(180),
            transaction: Duration::from_secs(32),
            media_inactivity: Duration::from_secs(300),
            call_silence: Duration::from_secs(12 * 3600),
            subscription: Duration::from_secs(180),
            registration: Duration::from_secs(3600),
            registration_grace: Duration::from_secs(5),
            mapping_idle: Duration::from_secs(240),
            quarantine: Duration::from_secs(120),
        }
    }
}
