//! `ip nat service sip limit` and `protected`: what peers may take, and where no door leads.

use super::{Goto, IP, NAT, Refusal, SERVICE, SIP, Setting};
use crate::grammar::Part::{NoEnds, OneOf, Optional};
use crate::grammar::{Args, Command, Kind, keyword, value};
use crate::startup::Startup;
use sipalg_core::config::{Bound, Limits, PROTECTED as PROTECTED_PORTS, Resource};
use std::collections::BTreeSet;

pub(super) const LIMIT: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        SERVICE,
        SIP,
        keyword("limit", "How much there may be at once"),
        OneOf(&[
            &[keyword("calls", "Calls and subscriptions")],
            &[keyword("connections", "TCP connections")],
            &[keyword(
                "datagram-flows",
                "Pairs of addresses that speak SIP over UDP",
            )],
            &[keyword("doors", "Open doors")],
            &[keyword(
                "half-open",
                "TCP connections whose other side has not answered",
            )],
            &[keyword("mappings", "Dynamic translations")],
            &[keyword(
                "memory",
                "Megabytes of messages that are not whole or not sent",
            )],
            &[keyword("messages", "Messages each second")],
            &[keyword("registrations", "Registrations")],
        ]),
        OneOf(&[
            &[keyword("all", "In all")],
            &[keyword("all-host", "Of each inside host")],
            &[keyword(
                "trusted-host",
                "Of each inside host that is trusted",
            )],
        ]),
        NoEnds,
        value("NUMBER", Kind::Number(1, 16_777_216), "How many"),
    ],
    no: true,
    example: "ip nat service sip limit connections all-host 200",
    meaning: Setting {
        apply: limit,
        running: |s| {
            let of = |of: &Resource| lines(*of, s.sip_limits[*of as usize]);
            Resource::ALL.iter().flat_map(of).collect()
        },
    },
};

pub(super) const PROTECTED: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        SERVICE,
        SIP,
        keyword("protected", "Services of inside hosts"),
        keyword("port", "TCP ports that no door leads to"),
        value("PORT", Kind::Number(1, 65535), "Port number"),
        Optional(&[value("LAST", Kind::Number(1, 65535), "Last port number")]),
    ],
    no: true,
    example: "ip nat service sip protected port 9000 9010",
    meaning: Setting {
        apply: protected,
        running: |s| {
            let defaults = protected_ports();
            let off = defaults.difference(&s.sip_protected_ports);
            let on = s.sip_protected_ports.difference(&defaults);
            let line = |no| {
                move |(first, last): (u16, u16)| match first == last {
                    true => format!("{no}ip nat service sip protected port {first}"),
                    false => format!("{no}ip nat service sip protected port {first} {last}"),
                }
            };
            let off = ranges(off.copied()).into_iter().map(line("no "));
            off.chain(ranges(on.copied()).into_iter().map(line("")))
                .collect()
        },
    },
};

/// The ports that are protected unless told otherwise.
pub fn protected_ports() -> BTreeSet<u16> {
    let ranges = PROTECTED_PORTS.iter();
    ranges.flat_map(|(first, last)| *first..=*last).collect()
}

/// Ascending numbers as ranges.
pub fn ranges(ports: impl Iterator<Item = u16>) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(port) => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    ranges
}

fn limit(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let typed: Option<u64> = args.number("NUMBER").filter(|_| !args.no);
    for of in Resource::ALL.into_iter().filter(|of| args.has(of.name())) {
        let number = typed.map(|number| number * unit(of));
        let bound = &mut startup.sip_limits[of as usize];
        if args.has("all-host") {
            bound.host = number;
        } else if args.has("trusted-host") {
            bound.trusted = number;
        } else {
            bound.all = number.unwrap_or(Limits::default().bound(of).all);
        }
    }
    Ok(Goto::Stay)
}

fn lines(of: Resource, bound: Bound) -> Vec<String> {
    let all = (bound.all != Limits::default().bound(of).all).then_some(bound.all);
    let said = [
        ("all", all),
        ("all-host", bound.host),
        ("trusted-host", bound.trusted),
    ];
    let line = |(whose, number): (&str, Option<u64>)| {
        let number = number? / unit(of);
        let name = of.name();
        Some(format!("ip nat service sip limit {name} {whose} {number}"))
    };
    said.into_iter().filter_map(line).collect()
}

/// What a number that is typed counts.
fn unit(of: Resource) -> u64 {
    match of {
        Resource::Memory => 1 << 20,
        _ => 1,
    }
}

fn protected(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let first: u16 = args.number("PORT").unwrap_or_default();
    let last = args.number("LAST").unwrap_or(first);
    if last < first {
        return Err(Refusal {
            argument: "LAST",
            reason: format!("{last} is below {first}; give the lower port first"),
        });
    }
    let defaults = protected_ports();
    for port in first..=last {
        let on = match args.default {
            true => defaults.contains(&port),
            false => !args.no,
        };
        match on {
            true => startup.sip_protected_ports.insert(port),
            false => startup.sip_protected_ports.remove(&port),
        };
    }
    Ok(Goto::Stay)
}
