//! What passes, how much of it, and for how long.

use super::contents::number;
use super::lists::{self, Outcome};
use super::*;
use crate::kernel::{CT_DOOR, CT_FROM_DOOR, MARK_DIVERT, NEWCOMERS};
use crate::netlink::nft::{Direction, End, network_mask};
use sipalg_core::config::{FlowTimeouts, MaxEntries, Source};
use std::net::Ipv4Addr;

/// The counter of flows that were refused because of `max-entries`.
pub const OVER_BOUND: &str = "over_bound";

/// How many newcomers are told of each second; the others come again.
const NEWCOMERS_EACH_SECOND: u32 = 500;
/// As much of a newcomer's packet as tells who it is: an IPv4 header.
const NEWCOMER_BYTES: u32 = 20;
/// `never`, in seconds. The kernel counts ticks, up to 1000 a second, in 31 bits.
const NEVER: u32 = (i32::MAX / 1000) as u32;
/// How long the kernel keeps a UDP flow if nobody says otherwise (nf_conntrack_udp_timeout_stream),
/// and some more.
const UDP_FLOW: Duration = Duration::from_secs(180);
/// An end that was not used for so long is forgotten, even if flows never time out.
const LOOSE_AT_MOST: Duration = Duration::from_secs(24 * 3600);
/// What was counted on a door goes with it, and not by itself while anyone could miss it.
const COUNTED: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long [`LOOSE_ENDS`] must remember: as long as a flow may live without a packet.
pub(in crate::kernel) fn loose_for(timeouts: &FlowTimeouts) -> Duration {
    let udp = |(protocol, _, idle): &(_, _, Option<Duration>)| {
        (*protocol == sipalg_core::Protocol::Udp).then_some(*idle)
    };
    let all = timeouts.ports.iter().filter_map(udp);
    let all = all.chain([timeouts.udp, timeouts.dns, Some(UDP_FLOW)]);
    let longest = all.map(|idle| idle.unwrap_or(LOOSE_AT_MOST)).max();
    longest.unwrap_or(LOOSE_AT_MOST).min(LOOSE_AT_MOST)
}

/// The idle times of ordinary connections: their objects by name. The name tells the values, so
/// that a rule changes with them. ICMP's is a setting of the host (`host.rs`): nft could not read an
/// object for it back.
pub(super) fn timeouts(timeouts: &FlowTimeouts) -> Vec<(String, Lifetimes)> {
    let named = |name: String, protocol, seconds: Vec<(u16, u32)>| {
        let values = seconds.iter().map(|(_, seconds)| *seconds);
        let mut values: Vec<_> = values.collect();
        values.dedup();
        let values = values.iter().map(|seconds| format!("_{seconds}"));
        let name = name + &values.collect::<String>();
        (name, Lifetimes { protocol, seconds })
    };
    let [tcp, syn, finrst] = [timeouts.tcp, timeouts.syn, timeouts.finrst].map(seconds);
    let of_tcp = |name: String, tcp| named(name, libc::IPPROTO_TCP, tcp_states(tcp, syn, finrst));
    let of_udp = |name: String, udp| named(name, libc::IPPROTO_UDP, udp_states(udp));
    let mut objects: Vec<_> = timeouts
        .ports
        .iter()
        .map(|(protocol, port, idle)| match protocol {
            sipalg_core::Protocol::Tcp => of_tcp(format!("tcp_port_{port}"), seconds(*idle)),
            sipalg_core::Protocol::Udp => of_udp(format!("udp_port_{port}"), seconds(*idle)),
        })
        .collect();
    objects.push(of_udp("dns".into(), seconds(timeouts.dns)));
    objects.push(of_tcp("tcp".into(), tcp));
    objects.push(of_udp("udp".into(), seconds(timeouts.udp)));
    objects
}

pub(super) fn chains(plan: &Plan, timeouts: &[(String, Lifetimes)]) -> Vec<Chain> {
    let mut chains = vec![
        Chain::base("guard", PASSING, guard()),
        Chain::base("closed", RECEIVING, closed(plan)),
        Chain::inner("ordinary_out", ordinary_out(plan)),
        Chain::inner("ordinary_in", ordinary_in()),
        Chain::inner("lifetimes", lifetimes(&plan.timeouts, timeouts)),
        Chain::inner("newcomers", newcomers(plan)),
    ];
    chains.extend(through_doors());
    chains.extend(bounds(&plan.max_entries));
    for (index, source) in plan.sources.iter().enumerate() {
        let Source::List { list, pool } = &source.rule.source else {
            continue;
        };
        let permitted: Outcome = if pool.overload {
            &Rule::accept
        } else {
            &|rule| rule.goto("newcomer")
        };
        let rules = lists::rules(list, End::Source, false, permitted, &Rule::back);
        chains.push(Chain::inner(source_chain(index, "new"), rules));
    }
    chains.push(Chain::inner("newcomer", newcomer()));
    chains
}

/// What passes. Connections outlive the door that they came through; their packets do not.
fn guard() -> Vec<Rule> {
    let udp = || Rule::new().protocol(libc::IPPROTO_UDP);
    let from = |from, to| {
        let rule = Rule::new().interface(Direction::In, from);
        rule.interface(Direction::Out, to)
    };
    let ordinary = from(&INSIDE_IF, &OUTSIDE_IF).original_direction();
    let to_door = || {
        let marked = Rule::new().connection_marked_as(CT_DOOR, CT_DOOR | CT_FROM_DOOR);
        marked.protocol(libc::IPPROTO_UDP)
    };
    vec![
        to_door().original_direction().goto("heard"),
        to_door().goto("spoken"),
        udp().connection_marked(CT_DOOR).goto("from_door"),
        udp()
            .interface(Direction::Out, &OUTSIDE_IF)
            .original_direction()
            .end_in(End::Source, &MEDIA_SN)
            .mark_connection(CT_DOOR | CT_FROM_DOOR)
            .goto("from_door"),
        ordinary.jump("ordinary_out"),
        from(&OUTSIDE_IF, &INSIDE_IF)
            .unconfirmed()
            .jump("ordinary_in"),
    ]
}

/// Flows through a door: which way, and that it is open. To each packet one set is asked whether it
/// is, and another counts it.
fn through_doors() -> Vec<Chain> {
    let open = |end| Rule::new().end_in(end, &MEDIA_SN);
    let counted = |end, set| open(end).note(end, set, COUNTED);
    let back = || Rule::new().reply_direction();
    let chain = |name, rules: [Rule; 3]| Chain::inner(name, rules.into());
    vec![
        Chain::inner(
            "from_door",
            vec![
                Rule::new().destination_translated().goto("between"),
                back().goto("heard"),
                to("spoken"),
            ],
        ),
        // Where there is no room for a counter it passes uncounted.
        chain(
            "heard",
            [
                counted(End::Destination, &MEDIA_IN).accept(),
                open(End::Destination).accept(),
                Rule::new().drop(),
            ],
        ),
        chain(
            "spoken",
            [
                counted(End::Source, &MEDIA_OUT).accept(),
                open(End::Source).accept(),
                Rule::new().drop(),
            ],
        ),
        chain(
            "between",
            [
                counted(End::Source, &MEDIA_OUT).goto("heard"),
                open(End::Source).goto("heard"),
                Rule::new().drop(),
            ],
        ),
    ]
}

fn to(chain: &str) -> Rule {
    Rule::new().goto(chain)
}

/// What is for this host: nothing by an address that it has for others only, but for answers to
/// what we began.
fn closed(plan: &Plan) -> Vec<Rule> {
    let loose = loose_for(&plan.timeouts);
    let udp = Rule::new().protocol(libc::IPPROTO_UDP).new_connection();
    vec![
        udp.note(End::Destination, &LOOSE_ENDS, loose),
        Rule::new().packet_marked(MARK_DIVERT).accept(),
        Rule::new()
            .end_in(End::Destination, &BORROWED)
            .unasked()
            .drop(),
        // Whoever knocks too early is let in when he knocks again.
        Rule::new()
            .protocol(libc::IPPROTO_TCP)
            .syn()
            .end_in(End::Destination, &AWAITED)
            .drop(),
    ]
}

/// From inside, and not through a door.
fn ordinary_out(plan: &Plan) -> Vec<Rule> {
    let loose = loose_for(&plan.timeouts);
    let udp = Rule::new().protocol(libc::IPPROTO_UDP);
    // Not `ct state new`, which a flow is until it is answered: once it is within the bounds, it is
    // not to be counted again.
    let first = || Rule::new().unconfirmed();
    vec![
        udp.note(End::Source, &LOOSE_ENDS, loose),
        first().jump("lifetimes"),
        first().jump("bounds_out"),
        first().jump("newcomers"),
    ]
}

/// New from outside, and not through a door.
fn ordinary_in() -> Vec<Rule> {
    let jump = |chain| Rule::new().jump(chain);
    let known = Rule::new().end_in(End::Destination, &POOL_LOCALS);
    vec![
        jump("lifetimes"),
        jump("bounds_in"),
        known.note(End::Destination, &HOSTS_SEEN, SEEN),
    ]
}

/// Who begins a flow and gets an address of a pool without overload, must have it.
fn newcomers(plan: &Plan) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (index, source) in plan.sources.iter().enumerate() {
        let leaving = match &source.interface {
            Some(name) => Rule::new().leaves_by(name),
            None => Rule::new(),
        };
        rules.push(match &source.rule.source {
            Source::List { .. } => leaving.jump(&source_chain(index, "new")),
            Source::Static { local, prefix, .. } => {
                let mask = Ipv4Addr::from(network_mask(*prefix));
                Rule::new().address(End::Source, *local, mask).accept()
            }
            Source::StaticPort {
                protocol, local, ..
            } => Rule::new()
                .protocol(number(*protocol))
                .address(End::Source, *local.ip(), Ipv4Addr::BROADCAST)
                .ports(End::Source, local.port(), local.port(), false)
                .accept(),
        });
    }
    // The rules are needed only where a host may be without address.
    let lacks = |source: &crate::kernel::SourcePlan| match &source.rule.source {
        Source::List { pool, .. } => !pool.overload,
        _ => false,
    };
    if plan.sources.iter().any(lacks) {
        rules
    } else {
        Vec::new()
    }
}

fn newcomer() -> Vec<Rule> {
    let known = Rule::new().end_in(End::Source, &POOL_LOCALS);
    vec![
        known.note(End::Source, &HOSTS_SEEN, SEEN).accept(),
        Rule::new()
            .at_most_each_second(NEWCOMERS_EACH_SECOND)
            .log(NEWCOMERS, NEWCOMER_BYTES),
        Rule::new().drop(),
    ]
}

/// `max-entries`. A count is kept by its rule, so both directions go through one.
fn bounds(most: &MaxEntries) -> Vec<Chain> {
    let over = |rule: Rule| rule.count(OVER_BOUND).drop();
    let bound = |name: String, most: u32| {
        Chain::inner(name, vec![over(Rule::new().connections_over(most))])
    };
    let list = |index: usize| format!("bound_list_{}", index + 1);
    let host = |index: usize| format!("bound_host_{}", index + 1);
    let mut chains = Vec::new();
    chains.extend(most.all.map(|most| bound("bound_all".into(), most)));
    for (index, (_, most)) in most.lists.iter().enumerate() {
        chains.push(bound(list(index), *most));
    }
    for (index, (_, most)) in most.hosts.iter().enumerate() {
        chains.push(bound(host(index), *most));
    }
    for (name, end) in [("bounds_out", End::Source), ("bounds_in", End::Destination)] {
        let mut rules = Vec::new();
        rules.extend(most.all.map(|_| Rule::new().jump("bound_all")));
        for (index, (members, _)) in most.lists.iter().enumerate() {
            let chain = format!("{name}_list_{}", index + 1);
            rules.push(Rule::new().jump(&chain));
            let permitted = |rule: Rule| rule.goto(&list(index));
            let members = lists::rules(members, end, false, &permitted, &Rule::back);
            chains.push(Chain::inner(chain, members));
        }
        // What is said of a host replaces what is said of each.
        for (index, (address, _)) in most.hosts.iter().enumerate() {
            let of = Rule::new().address(end, *address, Ipv4Addr::BROADCAST);
            rules.push(of.goto(&host(index)));
        }
        rules.extend(
            most.each_host
                .map(|most| over(Rule::new().each_connections_over(end, &HOST_ENTRIES, most))),
        );
        chains.push(Chain::inner(name, rules));
    }
    chains
}

/// Each new connection gets the idle times of the first rule that speaks of it.
fn lifetimes(configured: &FlowTimeouts, timeouts: &[(String, Lifetimes)]) -> Vec<Rule> {
    let ports = configured.ports.iter().map(|(_, port, _)| Some(*port));
    // In the order in which `timeouts` makes the objects.
    let ports = ports.chain([Some(DNS), None, None]);
    let rule = |((name, lifetimes), port): (&(String, Lifetimes), Option<u16>)| {
        let of = Rule::new().protocol(lifetimes.protocol);
        let of = match port {
            Some(port) => of.ports(End::Destination, port, port, false),
            None => of,
        };
        of.timeout(name).back()
    };
    timeouts.iter().zip(ports).map(rule).collect()
}

/// An idle time as the kernel takes it.
pub(in crate::kernel) fn seconds(idle: Option<Duration>) -> u32 {
    let seconds = idle.and_then(|idle| u32::try_from(idle.as_secs()).ok());
    seconds.map_or(NEVER, |seconds| seconds.clamp(1, NEVER))
}

fn tcp_states(established: u32, syn: u32, finrst: u32) -> Vec<(u16, u32)> {
    let opening = [TCP_SYN_SENT, TCP_SYN_RECV, TCP_SYN_SENT2];
    let closing = [
        TCP_FIN_WAIT,
        TCP_CLOSE_WAIT,
        TCP_LAST_ACK,
        TCP_TIME_WAIT,
        TCP_CLOSE,
    ];
    let mut states = vec![(TCP_ESTABLISHED, established)];
    states.extend(opening.map(|state| (state, syn)));
    states.extend(closing.map(|state| (state, finrst)));
    states
}

fn udp_states(idle: u32) -> Vec<(u16, u32)> {
    vec![(UDP_UNREPLIED, idle), (UDP_REPLIED, idle)]
}

const DNS: u16 = 53;
const TCP_SYN_SENT: u16 = 1;
const TCP_SYN_RECV: u16 = 2;
const TCP_ESTABLISHED: u16 = 3;
const TCP_FIN_WAIT: u16 = 4;
const TCP_CLOSE_WAIT: u16 = 5;
const TCP_LAST_ACK: u16 = 6;
const TCP_TIME_WAIT: u16 = 7;
const TCP_CLOSE: u16 = 8;
const TCP_SYN_SENT2: u16 = 9;
const UDP_UNREPLIED: u16 = 1;
const UDP_REPLIED: u16 = 2;
