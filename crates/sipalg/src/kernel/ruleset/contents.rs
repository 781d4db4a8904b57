//! What the configuration puts into sets.

use super::*;
use crate::kernel::ranges::merged;
use crate::netlink::nft::{add_key, add_range, address_port, protocol_address_port};
use sipalg_core::Protocol;
use sipalg_core::config::{Source, SourceRule};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Each set that the configuration fills, with what fills it, always in the same order.
pub(super) fn contents(plan: &Plan, borrowed: &[Range]) -> Vec<(&'static Set, Vec<Message>)> {
    let rules = || plan.sources.iter().map(|source| &source.rule);
    let globals = merged(rules().map(SourceRule::globals));
    let statics: Vec<_> = rules().filter_map(port_pair).collect();
    let hosts: Vec<_> = rules().filter_map(host_pair).collect();
    let signals: Vec<_> = rules()
        .filter(|rule| rule.payload)
        .flat_map(|rule| signals(plan, rule))
        .collect();
    let key = |(protocol, end): (Protocol, SocketAddrV4)| {
        protocol_address_port(number(protocol), end).to_vec()
    };
    let port_map = |from: fn(&Ports) -> (SocketAddrV4, SocketAddrV4)| -> Pairs {
        let pair = |ports: &Ports| {
            let (from, to) = from(ports);
            (key((ports.0, from)), address_port(to).to_vec())
        };
        statics.iter().map(pair).collect()
    };
    let host_map = |from: usize| -> Pairs {
        let pair = |ends: &[Ipv4Addr; 2]| {
            let [from, to] = [ends[from], ends[1 - from]].map(|end| end.octets().to_vec());
            (from, to)
        };
        hosts.iter().map(pair).collect()
    };
    vec![
        filled(&SIP_PORTS, ports(&plan.sip_tcp_ports)),
        filled(&SIP_UDP_PORTS, ports(&plan.sip_udp_ports)),
        filled(&INSIDE_IF, interfaces(&plan.inside)),
        filled(&OUTSIDE_IF, interfaces(&plan.outside)),
        ranged(&GLOBALS, &globals),
        ranged(&BORROWED, borrowed),
        mapped(&STATIC_DN, port_map(|ports| (ports.2, ports.1))),
        mapped(&STATIC_SN, port_map(|ports| (ports.1, ports.2))),
        mapped(&STATIC_HOST_DN, host_map(1)),
        mapped(&STATIC_HOST_SN, host_map(0)),
        filled(&STATIC_SIGNALS, signals.iter().map(|s| key((s.0, s.2)))),
        filled(
            &STATIC_SIGNAL_LOCALS,
            signals.iter().map(|s| key((s.0, s.1))),
        ),
    ]
}

/// A protocol with the inside local and the inside global end.
type Ports = (Protocol, SocketAddrV4, SocketAddrV4);
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn port_pair(rule: &SourceRule) -> Option<Ports> {
    match rule.source {
        Source::StaticPort {
            protocol,
            local,
            global,
        } => Some((protocol, local, global)),
        _ => None,
    }
}

fn host_pair(rule: &SourceRule) -> Option<[Ipv4Addr; 2]> {
    match rule.source {
        Source::Static {
            local,
            global,
            prefix: 32..,
        } => Some([local, global]),
        _ => None,
    }
}

/// Where a static rule serves SIP. Networks have too many ends for a set; rules of their own do it.
fn signals(plan: &Plan, rule: &SourceRule) -> Vec<Ports> {
    let of = |protocol| match protocol {
        Protocol::Tcp => &plan.sip_tcp_ports,
        Protocol::Udp => &plan.sip_udp_ports,
    };
    if let Some(ports) = port_pair(rule) {
        let sip = of(ports.0).contains(&ports.1.port());
        return sip.then_some(ports).into_iter().collect();
    }
    let Some([local, global]) = host_pair(rule) else {
        return Vec::new();
    };
    let all = [Protocol::Tcp, Protocol::Udp].into_iter();
    all.flat_map(|protocol| of(protocol).iter().map(move |port| (protocol, *port)))
        .map(|(protocol, port)| {
            let [local, global] = [local, global].map(|end| SocketAddrV4::new(end, port));
            (protocol, local, global)
        })
        .collect()
}

fn ports(ports: &[u16]) -> impl Iterator<Item = Vec<u8>> {
    ports.iter().map(|port| port.to_be_bytes().to_vec())
}

fn interfaces(names: &[String]) -> impl Iterator<Item = Vec<u8>> {
    names.iter().map(|name| nft::interface(name).to_vec())
}

fn filled(set: &'static Set, keys: impl Iterator<Item = Vec<u8>>) -> (&'static Set, Vec<Message>) {
    let messages = keys.map(|key| add_key(TABLE, set, &key, None)).collect();
    (set, messages)
}

fn mapped(set: &'static Set, pairs: Pairs) -> (&'static Set, Vec<Message>) {
    let add = |(key, value): (Vec<u8>, Vec<u8>)| add_key(TABLE, set, &key, Some(&value));
    (set, pairs.into_iter().map(add).collect())
}

fn ranged(set: &'static Set, ranges: &[Range]) -> (&'static Set, Vec<Message>) {
    let add = |[first, last]: &Range| add_range(TABLE, set, *first, *last);
    (set, ranges.iter().map(add).collect())
}

/// The protocol's number in IP.
pub(super) fn number(protocol: Protocol) -> i32 {
    match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP,
        Protocol::Udp => libc::IPPROTO_UDP,
    }
}
