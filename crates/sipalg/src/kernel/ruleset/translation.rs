//! Who becomes what.

use super::lists;
use super::*;
use crate::kernel::{CT_DOOR, CT_FROM_DOOR, MARK_DIVERT, SourcePlan};
use crate::netlink::nft::{Direction, End, network_mask};
use sipalg_core::config::{Pool, Source};
use std::net::Ipv4Addr;

/// The counter of packets whose flow had a translation already.
pub const HITS: &str = "hits";
/// The counter of packets that began a flow and were translated.
pub const MISSES: &str = "misses";

pub(super) fn chains(plan: &Plan) -> Vec<Chain> {
    let mut chains = vec![
        Chain::base("nat_pre", DESTINATIONS, nat_pre(plan)),
        Chain::base("nat_post", SOURCES, nat_post()),
        Chain::inner("outward", sources(plan, Toward::Outside)),
        Chain::inner("hairpin", sources(plan, Toward::Inside)),
        Chain::base("kept", LEAVING, kept()),
        Chain::inner("kept_outward", kept_outward()),
        Chain::inner("counted", counted()),
    ];
    for (index, source) in plan.sources.iter().enumerate() {
        if let Source::List { list, pool } = &source.rule.source {
            let by_interface = source.interface.is_some();
            for (used_for, permitted) in uses(*pool, by_interface) {
                let rules = lists::rules(list, End::Source, true, &*permitted, &Rule::back);
                chains.push(Chain::inner(source_chain(index, used_for), rules));
            }
        }
    }
    chains
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Toward {
    Outside,
    Inside,
}

/// What translates a packet.
type Translation = Box<dyn Fn(Rule) -> Rule>;

/// The uses of a list, each with what becomes of those whom it permits.
fn uses(pool: Pool, by_interface: bool) -> Vec<(&'static str, Translation)> {
    let Pool {
        start,
        end,
        overload,
    } = pool;
    if !overload {
        return vec![("nat", Box::new(|rule: Rule| rule.snat(&POOL_SN)))];
    }
    let hairpin = move |rule: Rule| rule.snat_to(start, end, false);
    // Masquerade ends connections when the interface loses its address.
    let nat: Translation = if by_interface {
        Box::new(Rule::masquerade)
    } else {
        Box::new(hairpin)
    };
    let renumber: Translation = if by_interface {
        Box::new(Rule::masquerade_random)
    } else {
        Box::new(move |rule: Rule| rule.snat_to(start, end, true))
    };
    vec![
        ("nat", nat),
        ("renumber", renumber),
        ("hairpin", Box::new(hairpin)),
    ]
}

fn nat_pre(plan: &Plan) -> Vec<Rule> {
    let door = || {
        Rule::new()
            .protocol(libc::IPPROTO_UDP)
            .end_in(End::Destination, &MEDIA_DN)
    };
    let from_door = || {
        let inside = door().interface(Direction::In, &INSIDE_IF);
        inside.end_in(End::Source, &MEDIA_SN)
    };
    let mut rules = vec![
        // The proxy wants to see whom it is for.
        Rule::new().packet_marked(MARK_DIVERT).accept(),
        // A service of the gateway that began after the door is not shadowed by it.
        door().local_socket(false).accept(),
        door().local_socket(true).accept(),
        from_door()
            .mark_connection(CT_DOOR | CT_FROM_DOOR)
            .dnat(&MEDIA_DN),
        door().mark_connection(CT_DOOR).dnat(&MEDIA_DN),
        Rule::new().dnat(&STATIC_DN),
        Rule::new().dnat(&STATIC_HOST_DN),
    ];
    rules.extend(networks(plan).map(|(local, global, prefix)| {
        Rule::new()
            .address(End::Destination, global, mask(prefix))
            .dnat_prefix(local, prefix)
    }));
    rules.push(Rule::new().dnat(&POOL_DN));
    rules
}

fn nat_post() -> Vec<Rule> {
    let udp = || Rule::new().protocol(libc::IPPROTO_UDP);
    let inside = || Rule::new().interface(Direction::In, &INSIDE_IF);
    vec![
        udp().interface(Direction::Out, &OUTSIDE_IF).snat(&MEDIA_SN),
        // From inside to another inside host's door: each sees the other as the outside would.
        udp().destination_translated().snat(&MEDIA_SN),
        inside()
            .interface(Direction::Out, &OUTSIDE_IF)
            .jump("outward"),
        // From inside to what another inside host is outside; else the answer would not pass the
        // gateway (RFC 4787 REQ-9).
        inside()
            .interface(Direction::Out, &INSIDE_IF)
            .destination_translated()
            .originally_to(&GLOBALS)
            .jump("hairpin"),
    ]
}

/// The source rules in order.
fn sources(plan: &Plan, toward: Toward) -> Vec<Rule> {
    let mut rules = vec![
        Rule::new().snat(&STATIC_SN),
        Rule::new().snat(&STATIC_HOST_SN),
    ];
    rules.extend(networks(plan).map(|(local, global, prefix)| {
        Rule::new()
            .address(End::Source, local, mask(prefix))
            .snat_prefix(global, prefix)
    }));
    for (index, source) in plan.sources.iter().enumerate() {
        if let Source::List { pool, .. } = &source.rule.source {
            rules.extend(list(index, source, pool.overload, toward));
        }
    }
    rules
}

fn list(index: usize, source: &SourcePlan, overload: bool, toward: Toward) -> Vec<Rule> {
    let chain = |used_for| source_chain(index, used_for);
    if !overload {
        return vec![Rule::new().jump(&chain("nat"))];
    }
    if toward == Toward::Inside {
        return vec![Rule::new().jump(&chain("hairpin"))];
    }
    let leaving = || match &source.interface {
        Some(name) => Rule::new().leaves_by(name),
        None => Rule::new(),
    };
    // Another host's flow must not take a door's port toward anyone: the number would be kept, and
    // that one's media would come to the wrong host.
    let as_door = leaving()
        .protocol(libc::IPPROTO_UDP)
        .end_in(End::Source, &DOOR_PORTS);
    vec![
        as_door.jump(&chain("renumber")),
        leaving().jump(&chain("nat")),
    ]
}

/// What leaves, whichever way.
fn kept() -> Vec<Rule> {
    let crossing = |from, to| {
        let rule = Rule::new().interface(Direction::Out, to);
        rule.interface(Direction::In, from)
    };
    let media = Rule::new().connection_marked(CT_DOOR);
    vec![
        media.confirmed().count(HITS).accept(),
        // What the gateway sends itself, like all of the connections that it carries.
        Rule::new().of_this_host().accept(),
        crossing(&OUTSIDE_IF, &INSIDE_IF).goto("counted"),
        crossing(&INSIDE_IF, &OUTSIDE_IF).goto("kept_outward"),
    ]
}

/// New flows whose random port is a door's after all are dropped. Their next packet gets another.
fn kept_outward() -> Vec<Rule> {
    let taken_by_chance = |set| {
        Rule::new()
            .connection_unmarked(CT_DOOR)
            .unconfirmed()
            .protocol(libc::IPPROTO_UDP)
            .end_in(End::Source, set)
            .drop()
    };
    vec![
        taken_by_chance(&MEDIA_DN),
        taken_by_chance(&SIGNAL_UDP),
        Rule::new().goto("counted"),
    ]
}

/// What has been translated: packets of flows that were translated before, and those that begin one.
fn counted() -> Vec<Rule> {
    let translated = || Rule::new().translated();
    vec![
        translated().confirmed().count(HITS),
        translated().unconfirmed().count(MISSES),
    ]
}

/// `static network`: local, global, prefix.
fn networks(plan: &Plan) -> impl Iterator<Item = (Ipv4Addr, Ipv4Addr, u8)> {
    plan.sources
        .iter()
        .filter_map(|source| match source.rule.source {
            Source::Static {
                local,
                global,
                prefix,
            } if prefix < 32 => Some((local, global, prefix)),
            _ => None,
        })
}

fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(network_mask(prefix))
}
