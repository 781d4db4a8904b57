//! To which worker what goes to the proxy goes: all of one inside host to one worker.
//!
//! Which host a packet is about is told by its source where it comes from inside. What comes in is
//! for an address that says it: the host's own, one that only this host has, one that a static rule
//! gives it; or else for a port that only the worker of this host gives out.

use super::*;
use crate::kernel::CT_WORKER;
use sipalg_core::config::Share;
use std::net::SocketAddrV4;

/// `take` is for what comes from inside; with several workers `take_in` is for what comes in.
pub(super) fn chains(plan: &Plan) -> Vec<Chain> {
    if plan.workers == 1 {
        return vec![Chain::inner("take", taken_by(plan, Share::ALL, Rule::new))];
    }
    let by_source = |share| by_address(End::Source, share);
    let by_destination = |share| by_address(End::Destination, share);
    let mut inward = statics(plan);
    inward.extend([
        Rule::new()
            .end_in(End::Destination, &POOL_DN)
            .goto("take_by_address"),
        Rule::new()
            .end_in(End::Destination, &GLOBALS)
            .goto("take_by_port"),
        to("take_by_address"),
    ]);
    vec![
        Chain::inner("take", shared(plan, by_source)),
        Chain::inner("take_by_address", shared(plan, by_destination)),
        Chain::inner("take_by_port", shared(plan, by_port)),
        Chain::inner("take_in", inward),
    ]
}

/// The chain that takes what comes in.
pub(super) fn inward(plan: &Plan) -> &'static str {
    match plan.workers {
        1 => "take",
        _ => "take_in",
    }
}

/// Segments of taken connections of other workers than the first. The listener matters to the
/// last segment of a handshake with SYN cookies alone.
pub(super) fn of_taken(plan: &Plan) -> Vec<Rule> {
    let rule = |share: Share| {
        let taken = CT_TAKEN | number_of(share);
        Rule::new()
            .connection_marked_as(taken, CT_TAKEN | CT_WORKER)
            .protocol(libc::IPPROTO_TCP)
            .tproxy(listener(plan, share))
            .mark_packet(MARK_DIVERT)
            .accept()
    };
    Share::all_of(plan.workers).skip(1).map(rule).collect()
}

/// To the proxy. Without a listener the rules end at tproxy, and the packet passes as any other.
fn taken_by(plan: &Plan, share: Share, which: impl Fn() -> Rule) -> Vec<Rule> {
    let to_proxy = |protocol| which().protocol(protocol).tproxy(listener(plan, share));
    vec![
        to_proxy(libc::IPPROTO_TCP)
            .mark_connection(CT_TAKEN | number_of(share))
            .mark_packet(MARK_DIVERT)
            .accept(),
        to_proxy(libc::IPPROTO_UDP)
            .notrack()
            .mark_packet(MARK_DIVERT)
            .accept(),
    ]
}

fn shared(plan: &Plan, which: impl Fn(Share) -> Rule) -> Vec<Rule> {
    let workers = Share::all_of(plan.workers);
    workers
        .flat_map(|share| taken_by(plan, share, || which(share)))
        .collect()
}

fn by_address(end: End, share: Share) -> Rule {
    let (mask, bits) = share.of_addresses();
    Rule::new().address(end, bits.into(), mask.into())
}

fn by_port(share: Share) -> Rule {
    let (mask, bits) = share.of_ports();
    Rule::new().port_bits(End::Destination, mask, bits)
}

/// What static rules give has the worker of the inside host that it is given to.
fn statics(plan: &Plan) -> Vec<Rule> {
    let rules = |share: Share| {
        let of_source = move |source: &SourcePlan| static_by(&source.rule.source, share);
        plan.sources
            .iter()
            .filter_map(of_source)
            .flat_map(move |which| taken_by(plan, share, || which.clone()))
    };
    Share::all_of(plan.workers).flat_map(rules).collect()
}

/// Packets for what `source` gives to hosts of `share`.
fn static_by(source: &Source, share: Share) -> Option<Rule> {
    match source {
        Source::List { .. } => None,
        Source::StaticPort {
            protocol,
            local,
            global,
        } => share.has_address(*local.ip()).then(|| {
            Rule::new()
                .protocol(number(*protocol))
                .address(End::Destination, *global.ip(), Ipv4Addr::BROADCAST)
                .ports(End::Destination, global.port(), global.port(), false)
        }),
        Source::Static {
            local,
            global,
            prefix,
        } => {
            let (bits, mine) = share.of_addresses();
            let network = network_mask(*prefix);
            // Of the bits that count, those of the network are given, and those of the host stay.
            let is_there = (u32::from(*local) ^ mine) & network & bits == 0;
            let address = u32::from(*global) & network | mine & !network;
            let which = || {
                let mask = Ipv4Addr::from(network | bits);
                Rule::new().address(End::Destination, address.into(), mask)
            };
            is_there.then(which)
        }
    }
}

fn listener(plan: &Plan, share: Share) -> SocketAddrV4 {
    let port = plan.listener.port() + u16::from(share.number());
    SocketAddrV4::new(*plan.listener.ip(), port)
}

/// The number of a worker as bits of a connection mark.
fn number_of(share: Share) -> u32 {
    u32::from(share.number()) << CT_WORKER.trailing_zeros()
}
