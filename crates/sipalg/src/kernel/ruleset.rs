//! THE ruleset: which packets the gateway takes, translates, counts and drops.
//!
//! ```text
//!   packet in --> divert ------------> TPROXY listener     SIP over TCP; signalling doors
//!                   |
//!                 nat_pre               media doors, from anywhere: global -> local
//!                   |
//!                 guard                 counts media; drops what has lost its door
//!                   |
//!   packet out <- nat_post              media doors: local -> global; then masquerade for the rest
//!
//!   our own legs with a foreign source --> dialled --> their answers come to divert as taken
//! ```
//!
//! `nft list table ip sipalg` shows it as it is in force. Names that are nft keywords must not be
//! used for chains and sets: nft could not read the table back.

use super::{CT_DOOR, CT_TAKEN, MARK_DIAL, MARK_DIVERT, Plan, SourcePlan};
use crate::netlink::Message;
use crate::netlink::nft::{self, Direction, End, Hook, HookPoint, KeyType, Rule, Set, SetKind};
use sipalg_core::config::AccessList;
use std::net::Ipv4Addr;

/// The name of our table of the family `ip`.
pub const TABLE: &str = "sipalg";

/// Media doors from outside: inside global to inside local.
pub const MEDIA_DN: Set = set("media_dn", 1, KeyType::AddressPort, SetKind::Map);
/// The same doors from inside: inside local to inside global.
pub const MEDIA_SN: Set = set("media_sn", 2, KeyType::AddressPort, SetKind::Map);
/// Inside local ends of media doors, with what came in for them.
pub const MEDIA_IN: Set = set("media_in", 3, KeyType::AddressPort, SetKind::Counting);
/// Inside local ends of media doors, with what went out from them.
pub const MEDIA_OUT: Set = set("media_out", 4, KeyType::AddressPort, SetKind::Counting);
/// Inside global ends of signalling doors.
pub const SIGNAL_DOORS: Set = set("signal_doors", 5, KeyType::AddressPort, SetKind::Expiring);
/// TCP ports that are SIP.
pub const SIP_PORTS: Set = set("sip_ports", 6, KeyType::Port, SetKind::Plain);
/// `ip nat inside`.
pub const INSIDE_IF: Set = set("inside_if", 7, KeyType::Interface, SetKind::Plain);
/// `ip nat outside`.
pub const OUTSIDE_IF: Set = set("outside_if", 8, KeyType::Interface, SetKind::Plain);

const SETS: [Set; 8] = [
    MEDIA_DN,
    MEDIA_SN,
    MEDIA_IN,
    MEDIA_OUT,
    SIGNAL_DOORS,
    SIP_PORTS,
    INSIDE_IF,
    OUTSIDE_IF,
];

/// Before `dstnat` (-100), where operators and Docker translate.
const BEFORE_DSTNAT: i32 = -110;
/// Before `srcnat` (100), where operators and Docker masquerade: the first translation counts.
const BEFORE_SRCNAT: i32 = 90;
/// After connection tracking, before address translation.
const MANGLE: i32 = -150;

/// One transaction that takes away what an earlier run left and puts the ruleset of `plan` in
/// place, without doors.
pub fn install(plan: &Plan) -> Vec<Message> {
    let mut messages = remove_after_crash();
    messages.push(nft::add_table(TABLE));
    messages.extend(SETS.iter().map(|set| nft::add_set(TABLE, set)));
    messages.extend(
        plan.sip_tcp_ports
            .iter()
            .map(|p| nft::add_port(TABLE, &SIP_PORTS, *p)),
    );
    messages.extend(
        plan.inside
            .iter()
            .map(|i| nft::add_interface(TABLE, &INSIDE_IF, i)),
    );
    messages.extend(
        plan.outside
            .iter()
            .map(|i| nft::add_interface(TABLE, &OUTSIDE_IF, i)),
    );
    let chains = chains(plan);
    // All chains before any rule, so that each may jump to any.
    messages.extend(
        chains
            .iter()
            .map(|c| nft::add_chain(TABLE, &c.name, c.hook)),
    );
    for chain in chains {
        let rules = chain.rules.into_iter();
        messages.extend(rules.map(|rule| nft::add_rule(TABLE, &chain.name, rule)));
    }
    messages
}

/// One transaction that takes the table away, whether it is there or not.
pub fn remove_after_crash() -> Vec<Message> {
    vec![nft::add_table(TABLE), nft::delete_table(TABLE)]
}

/// A chain with its rules in order.
struct Chain {
    name: String,
    hook: Option<Hook>,
    rules: Vec<Rule>,
}

fn chains(plan: &Plan) -> Vec<Chain> {
    let mut chains = vec![
        base(
            "divert",
            "filter",
            HookPoint::Prerouting,
            MANGLE,
            divert(plan),
        ),
        base("dialled", "filter", HookPoint::Output, MANGLE, dialled()),
        base(
            "nat_pre",
            "nat",
            HookPoint::Prerouting,
            BEFORE_DSTNAT,
            nat_pre(),
        ),
        base(
            "nat_post",
            "nat",
            HookPoint::Postrouting,
            BEFORE_SRCNAT,
            nat_post(plan),
        ),
        base("guard", "filter", HookPoint::Forward, 0, guard()),
        Chain {
            name: "take".into(),
            hook: None,
            rules: take(plan),
        },
    ];
    for (number, source) in plan.sources.iter().enumerate() {
        chains.extend(source_chains(number, source));
    }
    chains
}

/// Which TCP connections go to the proxy.
fn divert(plan: &Plan) -> Vec<Rule> {
    let taken = Rule::new().connection_marked(CT_TAKEN);
    let new = || {
        Rule::new()
            .protocol(libc::IPPROTO_TCP)
            .new_connection()
            .syn()
    };
    let crossing = |from, to| new().interface(Direction::In, from).reached_by(to);
    let mut rules = vec![
        // tproxy finds the socket of an established connection first and the listener second, so
        // this covers SYN cookies too, where the last segment of the handshake makes the socket.
        taken
            .clone()
            .protocol(libc::IPPROTO_TCP)
            .tproxy(plan.listener)
            .mark_packet(MARK_DIVERT)
            .accept(),
        // What belongs to a taken connection is ours even if we are gone (no segment may leave
        // untranslated), and so are the ICMP errors about it.
        taken.mark_packet(MARK_DIVERT).accept(),
        new()
            .interface(Direction::In, &INSIDE_IF)
            .address_port(End::Destination, &SIGNAL_DOORS)
            .goto("take"),
        new()
            .interface(Direction::In, &OUTSIDE_IF)
            .address_port(End::Destination, &SIGNAL_DOORS)
            .goto("take"),
    ];
    for number in 0..plan.sources.len() {
        for end in [End::Destination, End::Source] {
            // The gateway's own addresses are reached by no interface, so its services stay its.
            rules.push(
                crossing(&INSIDE_IF, &OUTSIDE_IF)
                    .port(end, &SIP_PORTS)
                    .jump(&name(number, "out")),
            );
            // An inside host that is addressed directly, as where a route leads to it.
            rules.push(
                crossing(&OUTSIDE_IF, &INSIDE_IF)
                    .port(end, &SIP_PORTS)
                    .jump(&name(number, "in")),
            );
        }
    }
    rules
}

/// To the proxy. Without a listener the rule ends at tproxy, and the connection passes as any other.
fn take(plan: &Plan) -> Vec<Rule> {
    vec![
        Rule::new()
            .protocol(libc::IPPROTO_TCP)
            .tproxy(plan.listener)
            .mark_connection(CT_TAKEN)
            .mark_packet(MARK_DIVERT)
            .accept(),
    ]
}

/// Legs that we dial in the name of an outside host: what answers them must come to us.
fn dialled() -> Vec<Rule> {
    vec![
        Rule::new()
            .packet_marked(MARK_DIAL)
            .mark_connection(CT_TAKEN),
    ]
}

fn nat_pre() -> Vec<Rule> {
    vec![
        Rule::new()
            .protocol(libc::IPPROTO_UDP)
            .address_port(End::Destination, &MEDIA_DN)
            .mark_connection(CT_DOOR)
            .dnat(),
    ]
}

fn nat_post(plan: &Plan) -> Vec<Rule> {
    let door = |rule: Rule| {
        rule.address_port(End::Source, &MEDIA_SN)
            .mark_connection(CT_DOOR)
            .snat()
    };
    let udp = || Rule::new().protocol(libc::IPPROTO_UDP);
    let mut rules = vec![
        door(udp().interface(Direction::Out, &OUTSIDE_IF)),
        // From inside to another inside host's door: each sees the other as the outside would.
        door(udp().destination_translated()),
    ];
    for (number, source) in plan.sources.iter().enumerate() {
        let inside = || Rule::new().interface(Direction::In, &INSIDE_IF);
        rules.push(
            inside()
                .leaves_by(&source.interface)
                .jump(&name(number, "nat")),
        );
        // The same for a host without a door; else the answer would not pass the gateway.
        let hairpin = inside()
            .protocol(libc::IPPROTO_UDP)
            .interface(Direction::Out, &INSIDE_IF);
        rules.push(
            hairpin
                .connection_marked(CT_DOOR)
                .jump(&name(number, "hairpin")),
        );
    }
    rules
}

/// The element counters of a set count when a lookup finds the element.
fn guard() -> Vec<Rule> {
    let udp = || Rule::new().protocol(libc::IPPROTO_UDP);
    let door = || udp().connection_marked(CT_DOOR);
    vec![
        door().address_port(End::Destination, &MEDIA_IN),
        udp()
            .interface(Direction::Out, &OUTSIDE_IF)
            .address_port(End::Source, &MEDIA_OUT)
            .accept(),
        // To another door: the first packet leaves by an inside interface.
        door().address_port(End::Source, &MEDIA_OUT).accept(),
        // Connections outlive the door that they came through; their packets do not.
        door().address_port_not(End::Destination, &MEDIA_IN).drop(),
    ]
}

/// The access list of one `ip nat inside source`, once for each of its four uses.
fn source_chains(number: usize, source: &SourcePlan) -> [Chain; 4] {
    let list = &source.list;
    let chain = |used_for, end, permitted: &dyn Fn(Rule) -> Rule| Chain {
        name: name(number, used_for),
        hook: None,
        rules: permit(list, end, permitted),
    };
    [
        chain("out", End::Source, &|rule| rule.goto("take")),
        chain("in", End::Destination, &|rule| rule.goto("take")),
        chain("nat", End::Source, &Rule::masquerade),
        chain("hairpin", End::Source, &|rule| rule.snat_to(source.global)),
    ]
}

/// An access list: the first entry that speaks of the address decides, and the end denies, which
/// leaves the packet to the next source rule.
fn permit(list: &AccessList, end: End, permitted: &dyn Fn(Rule) -> Rule) -> Vec<Rule> {
    let rule = |entry: &sipalg_core::config::AccessEntry| {
        let compared = Ipv4Addr::from(!u32::from(entry.wildcard));
        let matching = match compared {
            Ipv4Addr::UNSPECIFIED => Rule::new(),
            mask => Rule::new().address(end, entry.address, mask),
        };
        if entry.permit {
            permitted(matching)
        } else {
            matching.back()
        }
    };
    list.entries.iter().map(rule).collect()
}

fn base(name: &str, kind: &'static str, at: HookPoint, priority: i32, rules: Vec<Rule>) -> Chain {
    let hook = Some(Hook { kind, at, priority });
    Chain {
        name: name.into(),
        hook,
        rules,
    }
}

/// The chain of the source rule `number`, counted from zero; people count from one.
fn name(number: usize, used_for: &str) -> String {
    format!("source_{}_{used_for}", number + 1)
}

const fn set(name: &'static str, id: u32, key: KeyType, kind: SetKind) -> Set {
    Set {
        name,
        id,
        key,
        kind,
    }
}
