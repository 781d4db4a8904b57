//! Everything the gateway can be told, as plain data with its defaults and their sources.

mod access;
mod doors;
mod limits;
mod share;

pub use access::{AccessEnd, AccessEntry, AccessList, AccessPorts};
pub use doors::{DoorPorts, PROTECTED, is_of_a_host};
pub use limits::{Bound, Limits, Resource};
pub use share::Share;

use crate::addr::{Ends, Ipv4Addr, Protocol, SocketAddrV4};
use alloc::vec::Vec;
use core::time::Duration;

/// The configuration of one [`Alg`](crate::Alg).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `ip nat inside source` rules, in the order in which they are tried.
    pub sources: Vec<SourceRule>,
    /// Whether messages are fixed up. Off, every byte passes unchanged and no message opens a door
    /// (the lab uses it to show that its checks can fail).
    pub fixup: bool,
    /// Inside hosts that may open doors to other inside hosts: PBXs. Without it every host opens
    /// doors to itself alone.
    pub trusted: Option<AccessList>,
    /// To which ports of inside hosts doors may lead.
    pub doors: DoorPorts,
    /// Bounds on what peers can make us hold. What exceeds one passes unchanged and is counted.
    pub limits: Limits,
    /// Bounds on mappings that the operator has set.
    pub entries: MaxEntries,
    /// Which inside hosts, and which ports of shared addresses, are this machine's.
    pub share: Share,
    /// Lifetimes.
    pub timers: Timers,
    /// How long an address of a pool without overload stays with its host after its last new flow
    /// and mapping: [`FlowTimeouts::address`]. `None`: for ever.
    pub address_idle: Option<Duration>,
    /// How long nothing may be sent on a flow that a registration lives on before it is pinged
    /// (RFC 5626 section 4.4.1). `None`: no pings.
    pub keepalive: Option<Duration>,
    /// How many of the last messages are kept to be shown with their edits. 0: none.
    pub history: usize,
}

/// How many messages are kept unless told otherwise.
pub const HISTORY: usize = 64;

impl Default for Config {
    fn default() -> Self {
        Config {
            sources: Vec::new(),
            fixup: true,
            trusted: None,
            doors: DoorPorts::default(),
            limits: Limits::default(),
            entries: MaxEntries::default(),
            share: Share::ALL,
            timers: Timers::default(),
            address_idle: FlowTimeouts::default().address,
            keepalive: None,
            history: HISTORY,
        }
    }
}

impl Config {
    /// The first rule that translates the inside host `address` as a whole, with its index. A host
    /// of which only some ports are translated has none.
    pub fn source_for(&self, address: Ipv4Addr) -> Option<(usize, &SourceRule)> {
        self.find(|rule| rule.is_of_hosts() && rule.speaks_of(address))
    }

    /// The first rule that translates traffic between these two, with its index.
    pub fn source_for_flow(
        &self,
        protocol: Protocol,
        inside: SocketAddrV4,
        outside: SocketAddrV4,
    ) -> Option<(usize, &SourceRule)> {
        self.find(|rule| match &rule.source {
            Source::List { list, .. } => list.permits_flow(protocol, inside, outside),
            Source::Static { .. } => rule.speaks_of(*inside.ip()),
            Source::StaticPort { .. } => rule.fixed_global(protocol, inside).is_some(),
        })
    }

    /// The inside global that a static rule gives an inside local, with the rule's index.
    pub fn fixed_global(
        &self,
        protocol: Protocol,
        local: SocketAddrV4,
    ) -> Option<(usize, SocketAddrV4)> {
        let mut rules = self.sources.iter().enumerate();
        rules.find_map(|(index, rule)| Some((index, rule.fixed_global(protocol, local)?)))
    }

    /// The inside local that a static rule gives an inside global, with the rule's index.
    pub fn fixed_local(
        &self,
        protocol: Protocol,
        global: SocketAddrV4,
    ) -> Option<(usize, SocketAddrV4)> {
        let mut rules = self.sources.iter().enumerate();
        rules.find_map(|(index, rule)| Some((index, rule.fixed_local(protocol, global)?)))
    }

    /// Whether `address` is a static host's, with all its ports.
    pub fn is_fixed(&self, address: Ipv4Addr) -> bool {
        let fixed = |rule: &SourceRule| matches!(rule.source, Source::Static { .. });
        self.sources
            .iter()
            .any(|rule| fixed(rule) && rule.gives(address))
    }

    /// Whether `address`, or a port of it, belongs to a static rule.
    pub fn is_static_global(&self, address: Ipv4Addr) -> bool {
        let dynamic = |rule: &SourceRule| matches!(rule.source, Source::List { .. });
        self.sources
            .iter()
            .any(|rule| !dynamic(rule) && rule.gives(address))
    }

    /// Whether `address` is one that inside hosts may become.
    pub fn is_global(&self, address: Ipv4Addr) -> bool {
        self.sources.iter().any(|rule| rule.gives(address))
    }

    /// Whether a rule translates anything of the inside host `address`.
    pub fn permits(&self, address: Ipv4Addr) -> bool {
        self.sources.iter().any(|rule| rule.speaks_of(address))
    }

    /// Whether addresses in messages are translated as this inside local is: its rule does not say
    /// `no-payload`.
    pub fn fixes_up(&self, protocol: Protocol, local: SocketAddrV4) -> bool {
        let fixed = self.fixed_global(protocol, local);
        let rule = fixed.and_then(|(index, _)| self.sources.get(index));
        let rule = rule.or_else(|| Some(self.source_for(*local.ip())?.1));
        rule.is_some_and(|rule| rule.payload)
    }

    /// Whether the inside host `address` may open doors for other inside hosts.
    pub fn trusts(&self, address: Ipv4Addr) -> bool {
        let trusted = self.trusted.as_ref();
        trusted.is_some_and(|list| list.permits(address))
    }

    fn find(&self, is_it: impl Fn(&SourceRule) -> bool) -> Option<(usize, &SourceRule)> {
        let mut rules = self.sources.iter().enumerate();
        rules.find(|(_, rule)| is_it(rule))
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

    /// The inside global of an inside local, if the rule is static and speaks of it.
    pub fn fixed_global(&self, protocol: Protocol, local: SocketAddrV4) -> Option<SocketAddrV4> {
        match &self.source {
            Source::Static { global, prefix, .. } if self.speaks_of(*local.ip()) => {
                let address = with_prefix(*global, *prefix, *local.ip());
                Some(SocketAddrV4::new(address, local.port()))
            }
            Source::StaticPort {
                protocol: of,
                local: inside,
                global,
            } if (*of, *inside) == (protocol, local) => Some(*global),
            _ => None,
        }
    }

    /// The inside local of an inside global, if the rule is static and speaks of it.
    pub fn fixed_local(&self, protocol: Protocol, global: SocketAddrV4) -> Option<SocketAddrV4> {
        match &self.source {
            Source::Static { local, prefix, .. } if self.gives(*global.ip()) => {
                let address = with_prefix(*local, *prefix, *global.ip());
                Some(SocketAddrV4::new(address, global.port()))
            }
            Source::StaticPort {
                protocol: of,
                local,
                global: outside,
            } if (*of, *outside) == (protocol, global) => Some(*local),
            _ => None,
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

    /// Whether it translates hosts with all their ports.
    pub fn is_of_hosts(&self) -> bool {
        !matches!(self.source, Source::StaticPort { .. })
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

/// `address` moved to another network of the same size.
fn with_prefix(network: Ipv4Addr, prefix: u8, address: Ipv4Addr) -> Ipv4Addr {
    let mask = network_mask(prefix);
    Ipv4Addr::from(u32::from(network) & mask | u32::from(address) & !mask)
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

/// Which flows an operator means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// All.
    All,
    /// Those of which the list permits the inside host or the outside host.
    List(AccessList),
}

impl Selection {
    /// Whether it means a flow between these two.
    pub fn has(&self, ends: &Ends) -> bool {
        match self {
            Selection::All => true,
            Selection::List(list) => {
                list.permits(*ends.inside_local.ip()) || list.permits(*ends.outside.ip())
            }
        }
    }

    /// Whether it means what is about this inside host, whoever it speaks with.
    pub fn has_host(&self, inside: Ipv4Addr) -> bool {
        match self {
            Selection::All => true,
            Selection::List(list) => list.permits(inside),
        }
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
    /// How long a message may take whose header is not whole; its connection is reset then. Its body
    /// may take four times as long.
    pub header: Duration,
    /// Mere use is recorded to 2^n microseconds, so that it is recorded no more often. 26 is about a
    /// minute, well below the times above.
    pub use_tick: u8,
}

impl Timers {
    /// How long the kernel keeps the door of a call or flow by itself: longer than any time between
    /// two refreshes.
    pub fn door_lifetime(&self) -> Duration {
        self.media_inactivity * 2 + self.call_setup
    }

    /// How often an answered call, or a flow with a door, is looked at.
    pub fn check_interval(&self) -> Duration {
        self.media_inactivity / 2
    }
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
            header: Duration::from_secs(32),
            use_tick: 26,
        }
    }
}
