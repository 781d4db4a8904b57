//! What goes to the proxy.
//!
//! TCP is decided once, on the first segment, and the connection is marked. Datagrams are decided
//! each for itself. From inside they are taken before connection tracking, so that nothing of them
//! stays there which would be in the way of ordinary translation when we are gone. From outside
//! they are taken after it, because a flow of another inside host may have the same port.

use super::contents::number;
use super::lists::{self, Outcome};
use super::*;
use crate::kernel::{CT_DOOR, CT_TAKEN, MARK_DIAL, MARK_DIVERT, SourcePlan};
use crate::netlink::nft::{Direction, End, network_mask};
use sipalg_core::config::Source;
use std::net::Ipv4Addr;

mod workers;

pub(super) fn chains(plan: &Plan) -> Vec<Chain> {
    let mut chains = vec![
        Chain::base("divert_udp", UNTRACKED, divert_udp()),
        Chain::base("divert", STEERING, divert(plan)),
        Chain::base("dialled", SENDING, dialled()),
        Chain::base("dialled_udp", SENDING_UNTRACKED, dialled_udp()),
        Chain::inner("said_inside", said_inside(plan)),
        Chain::inner("new_inside", new_tcp(plan, &INSIDE_IF)),
        Chain::inner("new_outside", new_tcp(plan, &OUTSIDE_IF)),
        Chain::inner("from_inside", crossing(plan, End::Source)),
        // An inside host that is addressed directly, as where a route leads to it.
        Chain::inner("from_outside", crossing(plan, End::Destination)),
        Chain::inner("knock", [bypass(plan), vec![to("admit")]].concat()),
        Chain::inner("knock_media", knock_media(plan)),
        Chain::inner("knock_inside", [bypass(plan), vec![to("take")]].concat()),
        Chain::inner("admit", admit(plan)),
    ];
    chains.extend(workers::chains(plan));
    if let Some(list) = &plan.bypass {
        // Whoever is accepted here has passed all chains at this point.
        let rules = lists::rules(list, End::Source, true, &Rule::accept, &Rule::back);
        chains.push(Chain::inner("bypass", rules));
    }
    let groups = [
        ("access_group", &plan.access_group),
        ("media_access_group", &plan.media_access_group),
    ];
    for (name, list) in groups {
        if let Some(list) = list {
            let mut rules = lists::rules(list, End::Source, true, &Rule::back, &Rule::drop);
            rules.push(Rule::new().drop());
            chains.push(Chain::inner(name, rules));
        }
    }
    for (index, source) in plan.sources.iter().enumerate() {
        let Source::List { list, .. } = &source.rule.source else {
            continue;
        };
        let payload = source.rule.payload;
        for (used_for, end) in [("out", End::Source), ("in", End::Destination)] {
            let permitted: Outcome = match (payload, end) {
                (false, _) => &Rule::accept,
                (true, End::Source) => &|rule| rule.goto("take"),
                (true, End::Destination) => &|rule| rule.goto("admit"),
            };
            let rules = lists::rules(list, end, true, permitted, &Rule::back);
            chains.push(Chain::inner(source_chain(index, used_for), rules));
        }
    }
    chains
}

/// The highest port that is a service's, as [`DoorPorts`](sipalg_core::config::DoorPorts) has it.
const HIGHEST_SERVICE: u16 = 1023;

/// Datagrams from inside; all others are through at once.
fn divert_udp() -> Vec<Rule> {
    let udp = Rule::new().protocol(libc::IPPROTO_UDP);
    vec![udp.interface(Direction::In, &INSIDE_IF).goto("said_inside")]
}

fn said_inside(plan: &Plan) -> Vec<Rule> {
    // What has a mapping keeps it toward everyone (RFC 4787 REQ-1), not only to SIP ports.
    let outward = |set| {
        let from = move || Rule::new().end_in(End::Source, set);
        let reached = plan.outside.iter().map(move |name| from().reached_by(name));
        reached.map(|rule| rule.goto("knock_inside"))
    };
    let to_door = |set| Rule::new().end_in(End::Destination, set);
    let mut rules = vec![
        to_door(&SIGNAL_UDP).goto("knock_inside"),
        to_door(&STATIC_SIGNALS).goto("knock_inside"),
    ];
    rules.extend(to_static_networks(
        plan,
        &SIP_UDP_PORTS,
        Rule::new,
        "knock_inside",
    ));
    rules.extend(outward(&SIGNAL_UDP_LOCALS));
    rules.extend(outward(&STATIC_SIGNAL_LOCALS));
    let to_sip = || Rule::new().end_in(End::Destination, &SIP_UDP_PORTS);
    // No door leads to a service of an inside host, so that what it sends is ordinary traffic.
    let of_service = to_sip().ports(End::Source, 0, HIGHEST_SERVICE, false);
    rules.push(of_service.end_not_in(End::Source, &SIP_UDP_PORTS).accept());
    rules.push(to_sip().goto("from_inside"));
    rules
}

/// TCP connections, and datagrams from outside.
fn divert(plan: &Plan) -> Vec<Rule> {
    let taken = || Rule::new().connection_marked(CT_TAKEN);
    let from = |interfaces| Rule::new().interface(Direction::In, interfaces);
    let udp = || from(&OUTSIDE_IF).protocol(libc::IPPROTO_UDP);
    let mut rules = Vec::new();
    if plan.media_access_group.is_some() {
        let media = udp().end_in(End::Destination, &MEDIA_DN);
        rules.push(media.jump("media_access_group"));
    }
    // Media that flows is nothing to look into.
    rules.push(Rule::new().connection_marked(CT_DOOR).accept());
    rules.extend(workers::of_taken(plan));
    rules.extend([
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
    ]);
    if plan.l4f {
        let new = |from| {
            let tcp = Rule::new().protocol(libc::IPPROTO_TCP);
            tcp.new_connection().syn().interface(Direction::In, from)
        };
        rules.push(new(&INSIDE_IF).goto("new_inside"));
        rules.push(new(&OUTSIDE_IF).goto("new_outside"));
    }
    // Answers to an ordinary flow of another inside host, which has the port by chance, are its own.
    let unasked = || udp().original_direction();
    for set in [&SIGNAL_UDP, &STATIC_SIGNALS] {
        rules.push(unasked().end_in(End::Destination, set).goto("knock"));
    }
    rules.extend(to_static_networks(plan, &SIP_UDP_PORTS, unasked, "knock"));
    rules
}

/// New TCP connections from one side.
fn new_tcp(plan: &Plan, from: &Set) -> Vec<Rule> {
    if !plan.l4f {
        return Vec::new();
    }
    let (knock, knock_media, crossing) = match from == &INSIDE_IF {
        true => ("knock_inside", "knock_inside", "from_inside"),
        false => ("knock", "knock_media", "from_outside"),
    };
    let to = |set| Rule::new().end_in(End::Destination, set);
    let mut rules = vec![
        to(&SIGNAL_DOORS).goto(knock),
        to(&STATIC_SIGNALS).goto(knock),
        to(&MEDIA_TCP).goto(knock_media),
    ];
    rules.extend(to_static_networks(plan, &SIP_PORTS, Rule::new, knock));
    rules.push(to(&SIP_PORTS).goto(crossing));
    let back = Rule::new().end_in(End::Source, &SIP_PORTS);
    rules.push(back.goto(crossing));
    rules
}

/// To SIP ports of networks that have static translation.
fn to_static_networks(plan: &Plan, sip: &Set, packet: impl Fn() -> Rule, chain: &str) -> Vec<Rule> {
    let rule = |source: &SourcePlan| match source.rule.source {
        Source::Static { global, prefix, .. } if prefix < 32 && source.rule.payload => {
            let to = packet().address(End::Destination, global, mask(prefix));
            Some(to.end_in(End::Destination, sip).goto(chain))
        }
        _ => None,
    };
    plan.sources.iter().filter_map(rule).collect()
}

/// New SIP traffic of which the inside host is the end `inside`: if it leaves on the other side, it
/// is for the source rules to judge. The gateway's own addresses are reached by no interface, so
/// its services stay its own.
fn crossing(plan: &Plan, inside: End) -> Vec<Rule> {
    let mut rules = bypass(plan);
    let taken = match inside {
        End::Source => "take",
        End::Destination => "admit",
    };
    for (index, source) in plan.sources.iter().enumerate() {
        let by: &[String] = match (inside, &source.interface) {
            (End::Source, Some(name)) => std::slice::from_ref(name),
            (End::Source, None) => &plan.outside,
            (End::Destination, _) => &plan.inside,
        };
        for name in by {
            let crosses = Rule::new().reached_by(name);
            rules.push(judged(index, source, inside, taken, crosses));
        }
    }
    rules
}

/// A packet that crosses, by one source rule.
fn judged(index: usize, source: &SourcePlan, inside: End, taken: &str, crosses: Rule) -> Rule {
    let decided = |rule: Rule| match source.rule.payload {
        true => rule.goto(taken),
        false => rule.accept(),
    };
    match &source.rule.source {
        Source::List { .. } => {
            let used_for = match inside {
                End::Source => "out",
                End::Destination => "in",
            };
            crosses.jump(&source_chain(index, used_for))
        }
        Source::Static { local, prefix, .. } => {
            decided(crosses.address(inside, *local, mask(*prefix)))
        }
        Source::StaticPort {
            protocol, local, ..
        } => decided(
            crosses
                .protocol(number(*protocol))
                .address(inside, *local.ip(), Ipv4Addr::BROADCAST)
                .ports(inside, local.port(), local.port(), false),
        ),
    }
}

fn knock_media(plan: &Plan) -> Vec<Rule> {
    let mut rules = bypass(plan);
    if plan.media_access_group.is_some() {
        rules.push(Rule::new().jump("media_access_group"));
    }
    rules.push(to(workers::inward(plan)));
    rules
}

/// Signalling from outside.
fn admit(plan: &Plan) -> Vec<Rule> {
    let group = plan.access_group.as_ref();
    let mut rules: Vec<_> = group
        .map(|_| Rule::new().jump("access_group"))
        .into_iter()
        .collect();
    rules.push(to(workers::inward(plan)));
    rules
}

/// Legs that we dial in the name of an outside host: what answers them must come to us.
fn dialled() -> Vec<Rule> {
    vec![
        Rule::new()
            .packet_marked(MARK_DIAL)
            .mark_connection(CT_TAKEN),
    ]
}

/// Datagrams that we send have the addresses that they shall have.
fn dialled_udp() -> Vec<Rule> {
    let udp = Rule::new().protocol(libc::IPPROTO_UDP);
    vec![udp.packet_marked(MARK_DIAL).notrack()]
}

fn bypass(plan: &Plan) -> Vec<Rule> {
    let list = plan.bypass.as_ref();
    list.map(|_| Rule::new().jump("bypass"))
        .into_iter()
        .collect()
}

fn to(chain: &str) -> Rule {
    Rule::new().goto(chain)
}

fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(network_mask(prefix))
}
