//! Everything the gateway can be told, as plain data with its defaults and their sources.

use crate::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// The configuration of one [`Alg`](crate::Alg).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `ip nat inside source` rules, in the order in which they are tried.
    pub sources: Vec<SourceRule>,
    /// Whether messages are fixed up. Off, every byte passes unchanged and no door opens (the lab
    /// uses it to show that its checks can fail).
    pub fixup: bool,
    /// Inside hosts that may open doors to other inside hosts: PBXs. Without it every host opens
    /// doors to itself alone.
    pub trusted: Option<AccessList>,
    /// Bounds on what peers can make us hold.
    pub limits: Limits,
    /// Bounds on mappings that the operator has set.
    pub entries: MaxEntries,
    /// Lifetimes.
    pub timers: Timers,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            sources: Vec::new(),
            fixup: true,
            trusted: None,
            limits: Limits::default(),
            entries: MaxEntries::default(),
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
            .find(|(_, rule)| rule.speaks_of(address))
    }

    /// Whether `address` is one that inside hosts may become.
    pub fn is_global(&self, address: Ipv4Addr) -> bool {
        self.sources.iter().any(|rule| rule.gives(address))
    }

    /// Whether a rule translates the inside host `address`.
    pub fn permits(&self, address: Ipv4Addr) -> bool {
        self.source_for(address).is_some()
    }
}

/// An `ip nat inside source` rule, with the addresses of interfaces looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceRule {
    /// Who becomes what.
    pub source: Source,
    /// False for `no-payload`: the kernel translates these hosts, and nothing is fixed up.
    pub payload: bool,
}

impl SourceRule {
    /// `ip nat inside source list LIST interface IF overload`, where the interface has the address
    /// `global`.
    pub fn overload(list: AccessList, global: Ipv4Addr) -> Self {
        let pool = Pool {
            start: global,
            end: global,
            overload: true,
        };
        SourceRule {
            source: Source::List { list, pool },
            payload: true,
        }
    }

    /// What the inside host `address` becomes by this rule alone.
    pub fn global_of(&self, address: Ipv4Addr) -> Ipv4Addr {
        match &self.source {
            Source::List { pool, .. } => pool.start,
            Source::Static { global, prefix, .. } => {
                let mask = network_mask(*prefix);
                Ipv4Addr::from(u32::from(*global) & mask | u32::from(address) & !mask)
            }
            Source::StaticPort { global, .. } => *global.ip(),
        }
    }

    /// The first and the last address that inside hosts may become by this rule.
    pub fn globals(&self) -> [Ipv4Addr; 2] {
        match &self.source {
            Source::List { pool, .. } => [pool.start, pool.end],
            Source::Static { global, prefix, .. } => {
                let (mask, global) = (network_mask(*prefix), u32::from(*global));
                [global & mask, global | !mask].map(Ipv4Addr::from)
            }
            Source::StaticPort { global, .. } => [*global.ip(); 2],
        }
    }

    /// Whether `address` is one that inside hosts may become by this rule.
    pub fn gives(&self, address: Ipv4Addr) -> bool {
        let [first, last] = self.globals();
        (first..=last).contains(&address)
    }

    /// Whether the rule translates anything of the inside host `address`.
    pub fn speaks_of(&self, address: Ipv4Addr) -> bool {
        match &self.source {
            Source::List { list, .. } => list.permits(address),
            Source::Static { local, prefix, .. } => {
                let mask = network_mask(*prefix);
                u32::from(address) & mask == u32::from(*local) & mask
            }
            Source::StaticPort { local, .. } => *local.ip() == address,
        }
    }
}

fn network_mask(prefix: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0)
}

/// Who becomes what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// `list LIST {interface IF | pool POOL} [overload]`: dynamic.
    List {
        /// Which inside hosts.
        list: AccessList,
        /// Addresses that they share, or of which each gets one.
        pool: Pool,
    },
    /// `static LOCAL GLOBAL` and `static network LOCAL GLOBAL /PREFIX`: every port stays.
    Static {
        /// The inside host, or the network that it is in.
        local: Ipv4Addr,
        /// What the outside sees, or the network of the same size.
        global: Ipv4Addr,
        /// 32 for a host.
        prefix: u8,
    },
    /// `static {tcp|udp} LOCAL LPORT {GLOBAL | interface IF} GPORT`: one service of an inside host.
    StaticPort {
        /// Its transport protocol.
        protocol: Protocol,
        /// Where the inside host serves.
        local: SocketAddrV4,
        /// Where the outside finds it.
        global: SocketAddrV4,
    },
}

/// `ip nat pool`, or the address of an interface: the inside global addresses from `start` to `end`,
/// both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pool {
    /// The first.
    pub start: Ipv4Addr,
    /// The last; not below the first.
    pub end: Ipv4Addr,
    /// Whether hosts share an address; else each has one of its own, with all ports.
    pub overload: bool,
}

/// An access list: the first matching entry decides, and the end denies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccessList {
    /// Its number or name.
    pub name: String,
    /// Its entries in order.
    pub entries: Vec<AccessEntry>,
}

impl AccessList {
    /// Whether the list permits traffic of the source `address`, to whatever destination: entries
    /// that deny only some of it are passed over.
    pub fn permits(&self, address: Ipv4Addr) -> bool {
        self.entries
            .iter()
            .filter(|entry| entry.source.has(address))
            .find(|entry| entry.permit || entry.is_standard())
            .is_some_and(|entry| entry.permit)
    }
}

/// One line of an access list. A standard list's has `protocol` none and `destination` any.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AccessEntry {
    /// Permit, or else deny.
    pub permit: bool,
    /// The IP protocol number; none stands for `ip`, which is any.
    pub protocol: Option<u8>,
    /// Where the packet comes from.
    pub source: AccessEnd,
    /// Where it goes.
    pub destination: AccessEnd,
    /// Only TCP segments with ACK or RST.
    pub established: bool,
}

impl AccessEntry {
    /// A line of a standard list: `wildcard` as IOS writes it, set bits are not compared.
    pub const fn standard(permit: bool, address: Ipv4Addr, wildcard: Ipv4Addr) -> Self {
        AccessEntry {
            permit,
            protocol: None,
            source: AccessEnd {
                address,
                wildcard,
                ports: AccessPorts::ANY,
            },
            destination: AccessEnd::ANY,
            established: false,
        }
    }

    /// Whether it compares nothing but the source's address.
    pub fn is_standard(&self) -> bool {
        self.protocol.is_none()
            && !self.established
            && self.destination == AccessEnd::ANY
            && self.source.ports == AccessPorts::ANY
    }
}

/// One end of the traffic that an access list entry speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AccessEnd {
    /// The address to compare with.
    pub address: Ipv4Addr,
    /// IOS wildcard mask: bits that are set are not compared.
    pub wildcard: Ipv4Addr,
    /// TCP or UDP ports.
    pub ports: AccessPorts,
}

impl AccessEnd {
    /// `any`.
    pub const ANY: AccessEnd = AccessEnd {
        address: Ipv4Addr::UNSPECIFIED,
        wildcard: Ipv4Addr::BROADCAST,
        ports: AccessPorts::ANY,
    };

    /// Whether it speaks of `address`.
    pub fn has(&self, address: Ipv4Addr) -> bool {
        let ignore = u32::from(self.wildcard);
        (u32::from(address) | ignore) == (u32::from(self.address) | ignore)
    }
}

/// `eq`, `lt`, `gt`, `range`; and `neq`, which is a range turned around.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AccessPorts {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
    /// Whether ports outside of the range are meant.
    pub inverted: bool,
}

impl AccessPorts {
    /// Without a port operator.
    pub const ANY: AccessPorts = AccessPorts {
        first: 0,
        last: u16::MAX,
        inverted: false,
    };

    /// Whether it speaks of `port`.
    pub fn has(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port) != self.inverted
    }
}

/// `ip nat translation max-entries`: how many translations there may be at once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MaxEntries {
    /// In all.
    pub all: Option<u32>,
    /// `all-host`: of each inside host for which nothing else is said.
    pub each_host: Option<u32>,
    /// `host ADDRESS`: of these.
    pub hosts: Vec<(Ipv4Addr, u32)>,
    /// `list LIST`: of all hosts together that a list permits.
    pub lists: Vec<(AccessList, u32)>,
}

/// `ip nat translation ...-timeout`: idle times of the translations that the kernel makes by itself,
/// for ordinary traffic. `None` is IOS's `never`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowTimeouts {
    /// `timeout`: an address of a pool without overload after its host's last new flow. IOS: a day.
    pub address: Option<Duration>,
    /// `tcp-timeout`: established. IOS: a day; RFC 5382 REQ-5 asks for 2 h 4 min at least.
    pub tcp: Option<Duration>,
    /// `syn-timeout`: not yet established. IOS: 60 s; RFC 5382 REQ-5: 4 min at least.
    pub syn: Option<Duration>,
    /// `finrst-timeout`: closing. IOS: 60 s; RFC 5382 REQ-5: 4 min at least.
    pub finrst: Option<Duration>,
    /// `udp-timeout`: IOS and RFC 4787 REQ-5: 5 min.
    pub udp: Option<Duration>,
    /// `dns-timeout`: UDP port 53. IOS: 60 s.
    pub dns: Option<Duration>,
    /// `icmp-timeout`. IOS and RFC 5508 REQ-2: 60 s.
    pub icmp: Option<Duration>,
    /// `port-timeout {tcp|udp} PORT`.
    pub ports: Vec<(Protocol, u16, Option<Duration>)>,
}

impl Default for FlowTimeouts {
    fn default() -> Self {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        FlowTimeouts {
            address: seconds(86_400),
            tcp: seconds(86_400),
            syn: seconds(240),
            finrst: seconds(240),
            udp: seconds(300),
            dns: seconds(60),
            icmp: seconds(60),
            ports: Vec::new(),
        }
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
