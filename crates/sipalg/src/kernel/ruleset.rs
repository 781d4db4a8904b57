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
use sipalg_core::config::{AccessList, Source};
use std::net::Ipv4Addr;

/// The name of our table of the family `ip`.
pub const TABLE: &str = "sipalg";

/// Media doors from outside: inside global to inside local.
pub const MEDIA_DN: Set = set("media_dn", 1, KeyType::AddressPort, SetKind::Map);
/// The same doors from inside: inside local to inside global.
pub const MEDIA_SN: Set = set("media_sn", 2, KeyType::AddressPort, SetKind::Map);
/// Inside global ends of media doors. A map would do, but before Linux 6.9 a map cannot be asked
/// whether it has a key without taking the value, and a rule must know before it marks.
pub const MEDIA_GLOBAL: Set = set("media_global", 10, KeyType::AddressPort, SetKind::Expiring);
/// Inside local ends of media doors, with what came in for them.
pub const MEDIA_IN: Set = set("media_in", 3, KeyType::AddressPort, SetKind::Counting);
/// Inside local ends of media doors, with what went out from them.
pub const MEDIA_OUT: Set = set("media_out", 4, KeyType::AddressPort, SetKind::Counting);
/// Inside global ends of media doors by their interface, so that no other flow takes their port.
pub const MEDIA_PORTS: Set = set("media_ports", 5, KeyType::InterfacePort, SetKind::Expiring);
/// Inside global ends of signalling doors.
pub const SIGNAL_DOORS: Set = set("signal_doors", 6, KeyType::AddressPort, SetKind::Expiring);
/// TCP ports that are SIP.
pub const SIP_PORTS: Set = set("sip_ports", 7, KeyType::Port, SetKind::Plain);
/// `ip nat inside`.
pub const INSIDE_IF: Set = set("inside_if", 8, KeyType::Interface, SetKind::Plain);
/// `ip nat outside`.
pub const OUTSIDE_IF: Set = set("outside_if", 9, KeyType::Interface, SetKind::Plain);

const SETS: [Set; 10] = [
    MEDIA_DN,
    MEDIA_GLOBAL,
    MEDIA_SN,
    MEDIA_IN,
    MEDIA_OUT,
    MEDIA_PORTS,
    SIGNAL_DOORS,
    SIP_PORTS,
    INSIDE_IF,
    OUTSIDE_IF,
];

/// After connection tracking (-200), before any address translation.
const STEERING: Hook = hook("filter", HookPoint::Prerouting, -150);
/// The same for what we send ourselves.
const SENDING: Hook = hook("filter", HookPoint::Output, -150);
/// Before -100, where operators and Docker translate destinations: the first translation counts.
const DESTINATIONS: Hook = hook("nat", HookPoint::Prerouting, -110);
/// Before 100, where operators and Docker masquerade.
const SOURCES: Hook = hook("nat", HookPoint::Postrouting, 90);
/// Where firewalls filter what passes through.
const PASSING: Hook = hook("filter", HookPoint::Forward, 0);

/// One transaction that takes away what an earlier run left and puts the ruleset of `plan` in
/// place, without doors.
pub fn install(plan: &Plan) -> Vec<Message> {
    // Adding what may be there makes deleting it no error.
    let add = || nft::add_table(TABLE);
    let mut messages = vec![add(), nft::delete_table(TABLE), add()];
    messages.extend(SETS.iter().map(|set| nft::add_set(TABLE, set)));
    for port in &plan.sip_tcp_ports {
        messages.push(nft::add_key(TABLE, &SIP_PORTS, &port.to_be_bytes()));
    }
    for (set, names) in [(&INSIDE_IF, &plan.inside), (&OUTSIDE_IF, &plan.outside)] {
        let keys = names.iter().map(|name| nft::interface(name));
        messages.extend(keys.map(|key| nft::add_key(TABLE, set, &key)));
    }
    let chains = chains(plan);
    // All chains before any rule, so that each may jump to any.
    for chain in &chains {
        messages.push(nft::add_chain(TABLE, &chain.name, chain.hook));
    }
    for chain in chains {
        let rules = chain.rules.into_iter();
        messages.extend(rules.map(|rule| nft::add_rule(TABLE, &chain.name, rule)));
    }
    messages
}

/// A chain with its rules in order.
struct Chain {
    name: String,
    hook: Option<Hook>,
    rules: Vec<Rule>,
}

fn chains(plan: &Plan) -> Vec<Chain> {
    let mut chains = vec![
        chain("divert", Some(STEERING), divert(plan)),
        chain("dialled", Some(SENDING), dialled()),
        chain("nat_pre", Some(DESTINATIONS), nat_pre()),
        chain("nat_post", Some(SOURCES), nat_post(plan)),
        chain("guard", Some(PASSING), guard()),
        chain("from_inside", None, crossing(plan, &plan.outside, "out")),
        // An inside host that is addressed directly, as where a route leads to it.
        chain("from_outside", None, crossing(plan, &plan.inside, "in")),
        chain("take", None, take(plan)),
    ];
    for (number, source) in plan.sources.iter().enumerate() {
        chains.extend(source_chains(number, source));
    }
    chains
}

/// Which TCP connections go to the proxy.
fn divert(plan: &Plan) -> Vec<Rule> {
    let taken = || Rule::new().connection_marked(CT_TAKEN);
    let new = |from| {
        let tcp = Rule::new().protocol(libc::IPPROTO_TCP);
        tcp.new_connection().syn().interface(Direction::In, from)
    };
    let mut rules = vec![
        // tproxy finds the socket of an established connection first and the listener second, so
        // this covers SYN cookies too, where the last segment of the handshake makes the socket.
        taken()
            .protocol(libc::IPPROTO_TCP)
            .tproxy(plan.listener)
            .mark_packet(MARK_DIVERT)
            .accept(),
        // What belongs to a taken connection is ours even if we are gone (no segment may leave
        // untranslated), and so are the ICMP errors about it.
        taken().mark_packet(MARK_DIVERT).accept(),
    ];
    for (from, chain) in [(&INSIDE_IF, "from_inside"), (&OUTSIDE_IF, "from_outside")] {
        rules.push(
            new(from)
                .address_port(End::Destination, &SIGNAL_DOORS)
                .goto("take"),
        );
        rules.push(new(from).port(End::Destination, &SIP_PORTS).jump(chain));
        rules.push(new(from).port(End::Source, &SIP_PORTS).jump(chain));
    }
    rules
}

/// New SIP connections that came in on one side: those that leave on the other, through `towards`,
/// are for the access lists to judge. The gateway's own addresses are reached by no interface, so
/// its services stay its own.
fn crossing(plan: &Plan, towards: &[String], used_for: &str) -> Vec<Rule> {
    let mut rules = Vec::new();
    for interface in towards {
        for (number, _) in lists(plan) {
            rules.push(
                Rule::new()
                    .reached_by(interface)
                    .jump(&name(number, used_for)),
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
    let door = || {
        Rule::new()
            .protocol(libc::IPPROTO_UDP)
            .address_port(End::Destination, &MEDIA_GLOBAL)
    };
    vec![
        // A service of the gateway that began after the door is not shadowed by it.
        door().local_socket(false).accept(),
        door().local_socket(true).accept(),
        door().mark_connection(CT_DOOR).dnat(&MEDIA_DN),
    ]
}

fn nat_post(plan: &Plan) -> Vec<Rule> {
    let udp = || Rule::new().protocol(libc::IPPROTO_UDP);
    let mut rules = vec![
        udp().interface(Direction::Out, &OUTSIDE_IF).snat(&MEDIA_SN),
        // From inside to another inside host's door: each sees the other as the outside would.
        udp().destination_translated().snat(&MEDIA_SN),
    ];
    for (number, interface) in lists(plan) {
        let inside = || Rule::new().interface(Direction::In, &INSIDE_IF);
        let leaving = || inside().leaves_by(interface);
        // Another host's flow must not take a door's port toward anyone: masquerade would keep the
        // number, and that one's media would come to the wrong host.
        let as_door = leaving()
            .protocol(libc::IPPROTO_UDP)
            .leaves_by_with_port(End::Source, &MEDIA_PORTS);
        rules.push(as_door.jump(&name(number, "renumber")));
        rules.push(leaving().jump(&name(number, "nat")));
        // To a door from a host without one; else the answer would not pass the gateway.
        let hairpin = inside()
            .protocol(libc::IPPROTO_UDP)
            .interface(Direction::Out, &INSIDE_IF)
            .connection_marked(CT_DOOR);
        rules.push(hairpin.jump(&name(number, "hairpin")));
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
            .mark_connection(CT_DOOR)
            .accept(),
        // To another door: the first packet leaves by an inside interface.
        door().address_port(End::Source, &MEDIA_OUT).accept(),
        // Connections outlive the door that they came through; their packets do not.
        door().address_port_not(End::Destination, &MEDIA_IN).drop(),
    ]
}

/// The rules that translate a list to an interface, each by its number and interface.
fn lists(plan: &Plan) -> impl Iterator<Item = (usize, &str)> {
    let numbered = plan.sources.iter().enumerate();
    numbered.filter_map(|(number, source)| match source.rule.source {
        Source::List { .. } => Some((number, source.interface.as_deref()?)),
        _ => None,
    })
}

/// What becomes of a rule that matches a permitted host.
type Permitted<'a> = &'a dyn Fn(Rule) -> Rule;

/// The access list of one `ip nat inside source`, once for each of its uses.
fn source_chains(number: usize, source: &SourcePlan) -> Vec<Chain> {
    let Source::List { list, pool } = &source.rule.source else {
        return Vec::new();
    };
    let uses: [(&str, End, Permitted); 5] = [
        ("out", End::Source, &|rule| rule.goto("take")),
        ("in", End::Destination, &|rule| rule.goto("take")),
        ("nat", End::Source, &Rule::masquerade),
        ("renumber", End::Source, &Rule::masquerade_random),
        ("hairpin", End::Source, &|rule| rule.snat_to(pool.start)),
    ];
    let uses = uses.map(|(used_for, end, permitted)| {
        let rules = permit(list, end, permitted);
        chain(&name(number, used_for), None, rules)
    });
    uses.into()
}

/// An access list: the first entry that speaks of the address decides, and the end denies, which
/// leaves the packet to the next source rule.
fn permit(list: &AccessList, end: End, permitted: Permitted) -> Vec<Rule> {
    let rule = |entry: &sipalg_core::config::AccessEntry| {
        let compared = Ipv4Addr::from(!u32::from(entry.source.wildcard));
        let matching = match compared {
            Ipv4Addr::UNSPECIFIED => Rule::new(),
            mask => Rule::new().address(end, entry.source.address, mask),
        };
        if entry.permit {
            permitted(matching)
        } else {
            matching.back()
        }
    };
    list.entries.iter().map(rule).collect()
}

fn chain(name: &str, hook: Option<Hook>, rules: Vec<Rule>) -> Chain {
    let name = name.to_owned();
    Chain { name, hook, rules }
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

const fn hook(kind: &'static str, at: HookPoint, priority: i32) -> Hook {
    Hook { kind, at, priority }
}
