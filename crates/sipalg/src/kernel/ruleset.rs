//! THE ruleset: which packets the gateway takes, translates, counts and drops.
//!
//! ```text
//!   packet in --> divert_udp            TPROXY: SIP over UDP from inside, before connection tracking
//!                 divert -------------> TPROXY: SIP over TCP; doors and static rules from outside
//!                   |
//!                 nat_pre               media doors and static rules, from anywhere: global -> local
//!                   |  \
//!                   |   closed          drops what would reach this host by an address of a pool
//!                 guard                 counts media by door; drops what has lost it; bounds
//!                   |
//!   packet out <- nat_post              media doors and source rules: local -> global
//!                 kept                  drops what would take a door's port nevertheless; counts
//!
//!   our own legs with a foreign source --> dialled --> their answers come to divert as taken
//!   our own datagrams                  --> dialled_udp: no connection, so never translated
//! ```
//!
//! `nft list table ip sipalg` shows it as it is in force. Names that are nft keywords must not be
//! used, or nft could not read its own listing.
//!
//! ```text
//!   steering       what goes to the proxy
//!   translation    who becomes what
//!   guarding       what passes, how much of it, and for how long
//!   lists          access lists as rules, with their counters
//!   contents       what the configuration puts into sets
//!   adjust         how a table that is there becomes one of these rules
//! ```

use super::{Plan, ranges::Range};
use crate::netlink::Message;
use crate::netlink::nft::{self, Hook, HookPoint, KeyType, Known, Lifetimes, Rule, Set, SetKind};
use sipalg_core::config::AccessList;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

mod adjust;
mod contents;
mod guarding;
pub(super) mod lists;
mod steering;
mod translation;

pub(super) use adjust::Found;
pub use guarding::OVER_BOUND;
pub(super) use guarding::{loose_for, seconds};
pub use translation::{HITS, MISSES};

/// Whether a rule may ask a map for a key alone, as a transaction that leaves nothing.
pub(super) fn key_on_trial() -> Vec<Message> {
    let map = Set {
        name: "trial",
        id: SETS.len() as u32 + 100,
        ..MEDIA_DN
    };
    let rule = Rule::new().end_in(nft::End::Destination, &map);
    vec![
        nft::add_set(TABLE, &map),
        nft::add_chain(TABLE, map.name, None),
        nft::add_rule(TABLE, map.name, rule, &[]),
        nft::flush_chain(TABLE, map.name),
        nft::delete_chain(TABLE, map.name),
        nft::delete_set(TABLE, map.name),
    ]
}

/// The name of our table of the family `ip`.
pub const TABLE: &str = "sipalg";

/// Media doors from outside: inside global to inside local.
pub const MEDIA_DN: Set = map("media_dn", 1, KeyType::AddressPort, SetKind::Expiring);
/// The same doors from inside: inside local to inside global.
pub const MEDIA_SN: Set = map("media_sn", 2, KeyType::AddressPort, SetKind::Expiring);
/// Inside local ends of media doors that something came in for, with how much.
pub const MEDIA_IN: Set = set("media_in", 4, KeyType::AddressPort, SetKind::Counting);
/// Inside local ends of media doors that something went out from, with how much.
pub const MEDIA_OUT: Set = set("media_out", 5, KeyType::AddressPort, SetKind::Counting);
/// Ports of inside global ends of UDP doors, so that no other flow takes them. RTP and RTCP are one.
pub const DOOR_PORTS: Set = set("door_ports", 6, KeyType::PortPair, SetKind::Expiring);
/// Inside global ends of signalling doors, TCP.
pub const SIGNAL_DOORS: Set = set("signal_doors", 7, KeyType::AddressPort, SetKind::Expiring);
/// Inside global ends of media doors over TCP.
pub const MEDIA_TCP: Set = set("media_tcp", 8, KeyType::AddressPort, SetKind::Expiring);
/// Inside global ends of signalling doors, UDP.
pub const SIGNAL_UDP: Set = set("signal_udp", 9, KeyType::AddressPort, SetKind::Expiring);
/// Their inside local ends.
pub const SIGNAL_UDP_LOCALS: Set = set(
    "signal_udp_locals",
    10,
    KeyType::AddressPort,
    SetKind::Expiring,
);

/// Addresses of pools without overload that hosts have: inside global to inside local.
pub const POOL_DN: Set = map("pool_dn", 11, KeyType::Address, SetKind::Plain);
/// The same from inside: inside local to inside global.
pub const POOL_SN: Set = map("pool_sn", 12, KeyType::Address, SetKind::Plain);
/// Inside hosts that have such an address.
pub const POOL_LOCALS: Set = set("pool_locals", 13, KeyType::Address, SetKind::Plain);
/// Those of them that began or got a flow of late.
pub const HOSTS_SEEN: Set = set("hosts_seen", 14, KeyType::Address, SetKind::Noting);
/// Ends of UDP flows that no door translates: inside hosts that sent, own addresses that were sent
/// to. A door with such an end, or next to one, may find older flows in its way.
pub const LOOSE_ENDS: Set = set("loose_ends", 15, KeyType::AddressPortPair, SetKind::Noting);
/// Connections of each inside host.
pub const HOST_ENTRIES: Set = set("host_entries", 16, KeyType::Address, SetKind::Limiting);

/// TCP ports that are SIP.
pub const SIP_PORTS: Set = set("sip_ports", 17, KeyType::Port, SetKind::Plain);
/// UDP ports that are SIP.
pub const SIP_UDP_PORTS: Set = set("sip_udp_ports", 18, KeyType::Port, SetKind::Plain);
/// `ip nat inside`.
pub const INSIDE_IF: Set = set("inside_if", 19, KeyType::Interface, SetKind::Plain);
/// `ip nat outside`.
pub const OUTSIDE_IF: Set = set("outside_if", 20, KeyType::Interface, SetKind::Plain);
/// All inside global addresses.
pub const GLOBALS: Set = set("globals", 21, KeyType::Address, SetKind::Ranges);
/// Those that are no addresses of the gateway itself.
pub const BORROWED: Set = set("borrowed", 22, KeyType::Address, SetKind::Ranges);
/// `static {tcp|udp}`: inside global to inside local.
pub const STATIC_DN: Set = Set {
    value: Some(KeyType::AddressPort),
    ..set(
        "static_dn",
        23,
        KeyType::ProtocolAddressPort,
        SetKind::Plain,
    )
};
/// The same from inside.
pub const STATIC_SN: Set = Set {
    value: Some(KeyType::AddressPort),
    ..set(
        "static_sn",
        24,
        KeyType::ProtocolAddressPort,
        SetKind::Plain,
    )
};
/// `static LOCAL GLOBAL`: inside global to inside local.
pub const STATIC_HOST_DN: Set = map("static_host_dn", 25, KeyType::Address, SetKind::Plain);
/// The same from inside.
pub const STATIC_HOST_SN: Set = map("static_host_sn", 26, KeyType::Address, SetKind::Plain);
/// Inside global ends of static rules where SIP is served.
pub const STATIC_SIGNALS: Set = set(
    "static_signals",
    27,
    KeyType::ProtocolAddressPort,
    SetKind::Plain,
);
/// Their inside local ends.
pub const STATIC_SIGNAL_LOCALS: Set = set(
    "static_signal_locals",
    28,
    KeyType::ProtocolAddressPort,
    SetKind::Plain,
);

/// Inside globals of which a registrar has not said yet whether they are signalling doors.
pub const AWAITED: Set = set("awaited", 29, KeyType::AddressPort, SetKind::Expiring);

const SETS: [&Set; 28] = [
    &MEDIA_DN,
    &MEDIA_SN,
    &MEDIA_IN,
    &MEDIA_OUT,
    &DOOR_PORTS,
    &SIGNAL_DOORS,
    &MEDIA_TCP,
    &SIGNAL_UDP,
    &SIGNAL_UDP_LOCALS,
    &POOL_DN,
    &POOL_SN,
    &POOL_LOCALS,
    &HOSTS_SEEN,
    &LOOSE_ENDS,
    &HOST_ENTRIES,
    &SIP_PORTS,
    &SIP_UDP_PORTS,
    &INSIDE_IF,
    &OUTSIDE_IF,
    &GLOBALS,
    &BORROWED,
    &STATIC_DN,
    &STATIC_SN,
    &STATIC_HOST_DN,
    &STATIC_HOST_SN,
    &STATIC_SIGNALS,
    &STATIC_SIGNAL_LOCALS,
    &AWAITED,
];

/// Before connection tracking (-200), after fragments have been put together (-400).
const UNTRACKED: Hook = hook("filter", HookPoint::Prerouting, -300);
/// The same for what we send ourselves.
const SENDING_UNTRACKED: Hook = hook("filter", HookPoint::Output, -300);
/// After connection tracking, before any address translation.
const STEERING: Hook = hook("filter", HookPoint::Prerouting, -150);
/// The same for what we send ourselves.
const SENDING: Hook = hook("filter", HookPoint::Output, -150);
/// Before -100, where operators and Docker translate destinations: the first translation counts.
const DESTINATIONS: Hook = hook("nat", HookPoint::Prerouting, -110);
/// Before 100, where operators and Docker masquerade.
const SOURCES: Hook = hook("nat", HookPoint::Postrouting, 90);
/// Where firewalls filter what is for this host.
const RECEIVING: Hook = hook("filter", HookPoint::Input, 0);
/// Where firewalls filter what passes through.
const PASSING: Hook = hook("filter", HookPoint::Forward, 0);
/// After sources have been translated (100).
const LEAVING: Hook = hook("filter", HookPoint::Postrouting, 150);

/// How long [`HOSTS_SEEN`] remembers.
pub const SEEN: Duration = Duration::from_secs(120);

/// What this kernel's nftables can do, as tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Abilities {
    /// Connections may have idle times of their own.
    pub(super) lifetimes: bool,
    /// A rule may ask a map for a key and leave the value (Linux 6.9).
    pub(super) keys: bool,
}

/// The rules of one plan, as data.
#[derive(Debug)]
pub(super) struct Ruleset {
    /// What each set that the configuration fills holds.
    contents: Vec<(&'static Set, Vec<Message>)>,
    /// The access lists whose entries count.
    pub(super) lists: Vec<AccessList>,
    timeouts: Vec<(String, Lifetimes)>,
    chains: Vec<Chain>,
    /// What connections are counted against.
    each_host: Option<u32>,
}

/// A chain with its rules in order.
#[derive(Debug)]
struct Chain {
    name: String,
    hook: Option<Hook>,
    rules: Vec<Rule>,
}

impl Ruleset {
    /// The rules for `plan`. `borrowed` are the inside global addresses that the gateway has only
    /// by them. Where connections cannot have idle times, they keep the kernel's.
    pub(super) fn new(plan: &Plan, borrowed: &[Range], abilities: Abilities) -> Self {
        let timeouts = if abilities.lifetimes {
            guarding::timeouts(&plan.timeouts)
        } else {
            Vec::new()
        };
        let mut chains = steering::chains(plan);
        chains.extend(translation::chains(plan));
        chains.extend(guarding::chains(plan, &timeouts));
        let contents = contents::contents(plan, borrowed);
        for chain in &mut chains {
            chain.know(&contents);
            if !abilities.keys {
                chain.take_values();
            }
        }
        Ruleset {
            contents,
            lists: lists::counted(plan),
            timeouts,
            chains,
            each_host: plan.max_entries.each_host,
        }
    }

    /// One transaction that takes away what an earlier run left and puts the rules in place,
    /// without doors.
    pub(super) fn install(&self) -> Vec<Message> {
        // Adding what may be there makes deleting it no error.
        let add = || nft::add_table(TABLE);
        let mut messages = vec![add(), nft::delete_table(TABLE), add()];
        messages.extend(SETS.iter().map(|set| nft::add_set(TABLE, set)));
        messages.extend(self.contents.iter().flat_map(|(_, filled)| filled.clone()));
        let counters = [OVER_BOUND, HITS, MISSES];
        messages.extend(counters.map(|name| nft::add_counter(TABLE, name)));
        messages.extend(lists::add_counters(&self.lists));
        messages.extend(self.add_timeouts(|_| true));
        // All chains before any rule, so that each may jump to any.
        messages.extend(self.chains.iter().map(Chain::add));
        messages.extend(self.chains.iter().flat_map(Chain::add_rules));
        messages
    }

    /// One transaction that turns the rules `old` into these. What is the same in both is not
    /// touched, so that it keeps its counts; so are doors and all that rules have noted.
    pub(super) fn replace(&self, old: &Ruleset) -> Vec<Message> {
        let find = |name: &str, set: &Ruleset| set.chains.iter().position(|c| c.name == name);
        let same = |chain: &Chain, other: &Ruleset| {
            find(&chain.name, other).is_some_and(|at| other.chains[at].rules == chain.rules)
        };
        let changed = |chain: &&Chain| !same(chain, old);
        let stale = || old.chains.iter().filter(|chain| !same(chain, self));
        let mut messages: Vec<_> = stale().map(Chain::flush).collect();
        let gone = old.chains.iter();
        let gone = gone.filter(|chain| find(&chain.name, self).is_none());
        messages.extend(gone.map(|chain| nft::delete_chain(TABLE, &chain.name)));
        let (stale, fresh) = lists::changed(&old.lists, &self.lists);
        messages.extend(lists::delete_counters(&stale));
        messages.extend(old.delete_timeouts(|name| !self.has_timeout(name)));
        for ((set, filled), (_, before)) in self.contents.iter().zip(&old.contents) {
            if filled != before {
                messages.push(nft::flush_set(TABLE, set));
                messages.extend(filled.iter().cloned());
            }
        }
        if self.each_host != old.each_host {
            messages.push(nft::flush_set(TABLE, &HOST_ENTRIES));
        }
        messages.extend(lists::add_counters(&fresh));
        messages.extend(self.add_timeouts(|name| !old.has_timeout(name)));
        let added = self.chains.iter();
        let added = added.filter(|chain| find(&chain.name, old).is_none());
        messages.extend(added.map(Chain::add));
        let rules = self.chains.iter().filter(changed);
        messages.extend(rules.flat_map(Chain::add_rules));
        messages
    }

    fn has_timeout(&self, name: &str) -> bool {
        self.timeouts.iter().any(|(known, _)| known == name)
    }

    fn add_timeouts(&self, which: impl Fn(&str) -> bool) -> Vec<Message> {
        let timeouts = self.timeouts.iter().filter(|(name, _)| which(name));
        timeouts
            .map(|(name, lifetimes)| nft::add_timeout(TABLE, name, lifetimes))
            .collect()
    }

    fn delete_timeouts(&self, which: impl Fn(&str) -> bool) -> Vec<Message> {
        let timeouts = self.timeouts.iter().filter(|(name, _)| which(name));
        timeouts
            .map(|(name, _)| nft::delete_timeout(TABLE, name))
            .collect()
    }
}

impl Chain {
    /// A chain that packets enter by themselves.
    fn base(name: &str, hook: Hook, rules: Vec<Rule>) -> Self {
        let name = name.to_owned();
        Chain {
            name,
            hook: Some(hook),
            rules,
        }
    }

    /// A chain that others lead to.
    fn inner(name: impl Into<String>, rules: Vec<Rule>) -> Self {
        let name = name.into();
        Chain {
            name,
            hook: None,
            rules,
        }
    }

    /// Works without asking sets that the configuration leaves empty, or gives one key: packets pass
    /// here one by one, and most plans have one interface on each side and no static rules.
    fn know(&mut self, contents: &[(&'static Set, Vec<Message>)]) {
        let known = |name: &str| {
            let (set, filled) = contents.iter().find(|(set, _)| set.name == name)?;
            let mut elements = filled.iter().flat_map(nft::added);
            match (elements.next(), elements.next()) {
                (None, _) => Some(Known::Nothing),
                (Some(only), None) if set.kind == SetKind::Plain => Some(Known::One(only.key)),
                _ => None,
            }
        };
        let rules = std::mem::take(&mut self.rules).into_iter();
        self.rules = rules.filter_map(|rule| rule.knowing(known)).collect();
    }

    /// Works without asking maps for keys alone.
    fn take_values(&mut self) {
        let is_map = |name: &str| {
            let set = SETS.iter().find(|set| set.name == name);
            set.is_some_and(|set| set.value.is_some())
        };
        for rule in &mut self.rules {
            rule.take_values(is_map);
        }
    }

    fn add(&self) -> Message {
        nft::add_chain(TABLE, &self.name, self.hook)
    }

    fn flush(&self) -> Message {
        nft::flush_chain(TABLE, &self.name)
    }

    fn add_rules(&self) -> Vec<Message> {
        let rules = self.rules.iter().cloned().zip(self.notes());
        rules
            .map(|(rule, note)| nft::add_rule(TABLE, &self.name, rule, &note))
            .collect()
    }

    /// What is noted on each rule, in order, so that a chain can be known again: who finds these
    /// notes and no others finds these rules.
    fn notes(&self) -> Vec<Vec<u8>> {
        let mut hasher = DefaultHasher::new();
        for rule in &self.rules {
            rule.bytes().for_each(|bytes| bytes.hash(&mut hasher));
            hasher.write_u8(0);
        }
        let all = hasher.finish().to_be_bytes();
        let places = 0..self.rules.len() as u32;
        places
            .map(|place| [&all[..], &place.to_be_bytes()].concat())
            .collect()
    }
}

/// The chain of the source rule `number`, counted from zero; people count from one.
fn source_chain(number: usize, used_for: &str) -> String {
    format!("source_{}_{used_for}", number + 1)
}

const fn set(name: &'static str, id: u32, key: KeyType, kind: SetKind) -> Set {
    Set {
        name,
        id,
        key,
        value: None,
        kind,
    }
}

/// A map from keys to values of the same type.
const fn map(name: &'static str, id: u32, key: KeyType, kind: SetKind) -> Set {
    Set {
        value: Some(key),
        ..set(name, id, key, kind)
    }
}

const fn hook(kind: &'static str, at: HookPoint, priority: i32) -> Hook {
    Hook { kind, at, priority }
}
