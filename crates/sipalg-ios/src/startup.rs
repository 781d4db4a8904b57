//! The configuration as it is written: what the operator said, before anything is looked up.

mod check;

pub use check::{Conflict, Statement};

use crate::access::{List, ListKind};
use crate::commands::{protected_ports, ranges};
use core::fmt;
use sipalg_core::Leg;
use sipalg_core::addr::{Ipv4Addr, Protocol};
use sipalg_core::config::{
    AccessList, Bound, DoorPorts, FlowTimeouts, HISTORY, Limits, Resource, Timers,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The TCP port on which SIP is on without being told: RFC 3261 section 19.1.2.
pub const DEFAULT_SIP_PORT: u16 = 5060;

/// A whole configuration. [`Startup::parse`](crate::parse) reads it, [`crate::running`] writes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Startup {
    /// `hostname`.
    pub hostname: Option<String>,
    /// `enable secret`: its hash, as in crypt(3).
    pub enable_secret: Option<String>,
    /// The interfaces that were named, in the order of configuration.
    pub interfaces: Vec<Interface>,
    /// Access lists by number or name.
    pub lists: BTreeMap<String, List>,
    /// `ip nat inside source` rules, in the order of configuration.
    pub sources: Vec<InsideSource>,
    /// `ip nat pool`, by name.
    pub pools: BTreeMap<String, AddressPool>,
    /// `ip nat l4f`: whether SIP over TCP is intercepted.
    pub l4f: bool,
    /// TCP ports on which SIP is looked into.
    pub sip_tcp_ports: BTreeSet<u16>,
    /// UDP ports on which SIP is looked into.
    pub sip_udp_ports: BTreeSet<u16>,
    /// `ip nat service sip access-group`: the list that says whose signalling may come in.
    pub sip_access_group: Option<String>,
    /// `ip nat service sip media access-group`: the list that says whose media may come in.
    pub sip_media_access_group: Option<String>,
    /// `ip nat service sip trusted`: the list of inside hosts that may open doors to others.
    pub sip_trusted: Option<String>,
    /// `ip nat service sip bypass`: the list of traffic that is left alone.
    pub sip_bypass: Option<String>,
    /// `ip nat service sip timeout`: SIP's own lifetimes.
    pub sip_timers: Timers,
    /// `ip nat service sip keepalive`: how often a registered host's connection outside is pinged.
    pub sip_keepalive: Option<Duration>,
    /// `ip nat service sip history`: how many messages are kept to be shown.
    pub sip_history: usize,
    /// `ip nat translation ...-timeout`.
    pub timeouts: FlowTimeouts,
    /// `ip nat translation max-entries`.
    pub max_entries: EntryBounds,
    /// Start line and headers of a message that are looked into, bytes.
    pub sip_header_limit: usize,
    /// Body of a message that is looked into, bytes.
    pub sip_body_limit: usize,
    /// `ip nat service sip limit`, in the order of [`Resource::ALL`].
    pub sip_limits: [Bound; Resource::ALL.len()],
    /// `ip nat service sip protected port`: TCP ports of inside hosts that no door leads to.
    pub sip_protected_ports: BTreeSet<u16>,
}

impl Default for Startup {
    fn default() -> Self {
        Startup {
            hostname: None,
            enable_secret: None,
            interfaces: Vec::new(),
            lists: BTreeMap::new(),
            sources: Vec::new(),
            pools: BTreeMap::new(),
            l4f: true,
            sip_tcp_ports: BTreeSet::from([DEFAULT_SIP_PORT]),
            sip_udp_ports: BTreeSet::from([DEFAULT_SIP_PORT]),
            sip_access_group: None,
            sip_media_access_group: None,
            sip_trusted: None,
            sip_bypass: None,
            sip_timers: Timers::default(),
            sip_keepalive: None,
            sip_history: HISTORY,
            timeouts: FlowTimeouts::default(),
            max_entries: EntryBounds::default(),
            sip_header_limit: Limits::default().header_bytes,
            sip_body_limit: Limits::default().body_bytes,
            sip_limits: Limits::default().bounds,
            sip_protected_ports: protected_ports(),
        }
    }
}

/// An interface and its part in NAT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Linux's name for it.
    pub name: String,
    /// `ip nat inside` or `ip nat outside`, if either.
    pub nat: Option<Leg>,
}

/// `ip nat pool NAME START END {netmask MASK | prefix-length LENGTH}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressPool {
    /// The first address.
    pub start: Ipv4Addr,
    /// The last address.
    pub end: Ipv4Addr,
    /// The length of their network's prefix.
    pub prefix: u8,
}

/// An `ip nat inside source` rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InsideSource {
    /// Who becomes what.
    pub kind: SourceKind,
    /// `no-payload`: translated, but not fixed up.
    pub no_payload: bool,
    /// `no-alias`: the gateway does not answer ARP requests for the global address.
    pub no_alias: bool,
}

/// The kinds of `ip nat inside source`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceKind {
    /// `list LIST ...`.
    List {
        /// The number or name of the access list that says which inside hosts are translated.
        list: String,
        /// To what.
        to: GlobalSet,
        /// Whether they share addresses. An interface is always shared.
        overload: bool,
    },
    /// `static LOCAL {GLOBAL | interface IF}`; `static network LOCAL GLOBAL {MASK | /LENGTH}`.
    Static {
        /// The inside host or network.
        local: Ipv4Addr,
        /// The inside global address or network. Only a host has an interface's.
        global: GlobalAddress,
        /// 32 for a host.
        prefix: u8,
    },
    /// `static {tcp|udp} LOCAL LPORT {GLOBAL | interface IF} GPORT`.
    StaticPort {
        /// Its transport protocol.
        protocol: Protocol,
        /// The inside host.
        local: Ipv4Addr,
        /// Its port.
        local_port: u16,
        /// Where the outside finds it.
        global: GlobalAddress,
        /// At which port.
        global_port: u16,
    },
}

/// What a list is translated to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GlobalSet {
    /// The address of an outside interface.
    Interface(String),
    /// The pool of this name.
    Pool(String),
}

/// An address, or the interface that has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GlobalAddress {
    /// As written.
    Address(Ipv4Addr),
    /// Of an outside interface.
    Interface(String),
}

/// `ip nat translation max-entries`, with lists by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EntryBounds {
    /// In all.
    pub all: Option<u32>,
    /// `all-host`.
    pub each_host: Option<u32>,
    /// `host ADDRESS`.
    pub hosts: BTreeMap<Ipv4Addr, u32>,
    /// `list LIST`.
    pub lists: BTreeMap<String, u32>,
}

/// The rules in the order in which they are tried, as in IOS: static before dynamic, and of those the
/// narrower first.
pub fn ordered(sources: &[InsideSource]) -> Vec<&InsideSource> {
    let mut ordered: Vec<_> = sources.iter().collect();
    ordered.sort_by_key(|rule| match rule.kind {
        SourceKind::StaticPort { .. } => 0,
        SourceKind::Static { prefix, .. } => 33 - u32::from(prefix.min(32)),
        SourceKind::List { .. } => 34,
    });
    ordered
}

impl InsideSource {
    /// `list LIST interface INTERFACE overload`.
    pub fn overload(list: impl Into<String>, interface: impl Into<String>) -> Self {
        InsideSource {
            kind: SourceKind::List {
                list: list.into(),
                to: GlobalSet::Interface(interface.into()),
                overload: true,
            },
            no_payload: false,
            no_alias: false,
        }
    }
}

impl fmt::Display for GlobalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GlobalAddress::Address(address) => address.fmt(f),
            GlobalAddress::Interface(name) => write!(f, "interface {name}"),
        }
    }
}

impl AddressPool {
    /// The mask of its network.
    pub fn netmask(&self) -> Ipv4Addr {
        let bits = u32::BITS - u32::from(self.prefix.min(32));
        Ipv4Addr::from(u32::MAX.checked_shl(bits).unwrap_or(0))
    }

    /// How many addresses it has.
    pub fn size(&self) -> u32 {
        let span = u32::from(self.end).saturating_sub(u32::from(self.start));
        span.saturating_add(1)
    }
}

impl Startup {
    /// The machine's bounds.
    pub fn limits(&self) -> Limits {
        Limits {
            header_bytes: self.sip_header_limit,
            body_bytes: self.sip_body_limit,
            bounds: self.sip_limits,
            ..Limits::default()
        }
    }

    /// To which ports of inside hosts doors may lead.
    pub fn door_ports(&self) -> DoorPorts {
        DoorPorts {
            sip: self.sip_ports().collect(),
            protected: ranges(self.sip_protected_ports.iter().copied()),
        }
    }

    /// The interface of this name.
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.name == name)
    }

    /// Every port on which SIP is looked into: those of TCP, then those of UDP.
    pub fn sip_ports(&self) -> impl Iterator<Item = (Protocol, u16)> {
        let on = |protocol| move |port: &u16| (protocol, *port);
        let tcp = self.sip_tcp_ports.iter().map(on(Protocol::Tcp));
        tcp.chain(self.sip_udp_ports.iter().map(on(Protocol::Udp)))
    }

    /// The names of the interfaces on this side, in the order of configuration.
    pub fn interfaces_on(&self, leg: Leg) -> impl Iterator<Item = &str> {
        let on = move |interface: &&Interface| interface.nat == Some(leg);
        self.interfaces
            .iter()
            .filter(on)
            .map(|interface| interface.name.as_str())
    }

    /// The access list of this number or name, as the core reads it.
    pub fn access_list(&self, name: &str) -> Option<AccessList> {
        self.lists.get(name).map(|list| list.compile(name))
    }

    /// The access lists of one kind: those with numbers in their order, then those with names.
    pub fn lists_of(&self, kind: ListKind) -> Vec<(&str, &List)> {
        let of_kind = self.lists.iter().filter(|(_, list)| list.kind() == kind);
        let mut lists: Vec<_> = of_kind.map(|(name, list)| (name.as_str(), list)).collect();
        lists.sort_by_key(|(name, _)| name.parse().unwrap_or(u32::MAX));
        lists
    }
}
