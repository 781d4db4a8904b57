//! `ip nat translation`: how long translations of ordinary traffic live, and how many there may be.

use super::{Goto, IP, LIST_NAME, NAT, Refusal, Setting};
use crate::grammar::Part::{NoEnds, OneOf};
use crate::grammar::{Args, Command, Kind, Part, keyword, value};
use crate::startup::Startup;
use core::time::Duration;
use sipalg_core::Protocol;
use sipalg_core::config::FlowTimeouts;

pub(super) const TIMEOUT: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        TRANSLATION,
        OneOf(&[
            &[keyword("dns-timeout", "Specify timeout for NAT DNS flows")],
            &[keyword(
                "finrst-timeout",
                "Specify timeout for NAT TCP flows after a FIN or RST",
            )],
            &[keyword(
                "icmp-timeout",
                "Specify timeout for NAT ICMP flows",
            )],
            &[keyword(
                "syn-timeout",
                "Specify timeout for NAT TCP flows after a SYN and no further data",
            )],
            &[keyword("tcp-timeout", "Specify timeout for NAT TCP flows")],
            &[keyword(
                "timeout",
                "Specify timeout for dynamic NAT translations",
            )],
            &[keyword("udp-timeout", "Specify timeout for NAT UDP flows")],
        ]),
        NoEnds,
        TIME,
    ],
    no: true,
    example: "ip nat translation tcp-timeout 7440",
    meaning: Setting {
        apply: timeout,
        running: |s| {
            let (mut now, mut defaults) = (s.timeouts.clone(), FlowTimeouts::default());
            let mut lines = Vec::new();
            for (name, field) in TIMEOUTS {
                let value = *field(&mut now);
                if value != *field(&mut defaults) {
                    lines.push(format!("ip nat translation {name} {}", time(value)));
                }
            }
            lines
        },
    },
};

pub(super) const PORT_TIMEOUT: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        TRANSLATION,
        keyword(
            "port-timeout",
            "Specify timeout for NAT TCP/UDP port specific flows",
        ),
        OneOf(&[
            &[keyword("tcp", "Transmission Control Protocol")],
            &[keyword("udp", "User Datagram Protocol")],
        ]),
        value("PORT", Kind::Number(1, 65535), "Port number"),
        NoEnds,
        TIME,
    ],
    no: true,
    example: "ip nat translation port-timeout udp 1194 never",
    meaning: Setting {
        apply: port_timeout,
        running: |s| {
            let line = |(protocol, port, value): &(Protocol, u16, Option<Duration>)| {
                let (protocol, value) = (protocol.name(), time(*value));
                format!("ip nat translation port-timeout {protocol} {port} {value}")
            };
            s.timeouts.ports.iter().map(line).collect()
        },
    },
};

pub(super) const MAX_ENTRIES: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        TRANSLATION,
        keyword("max-entries", "Specify maximum number of NAT entries"),
        OneOf(&[
            &[NoEnds, ENTRIES],
            &[
                keyword(
                    "all-host",
                    "Specify maximum number of NAT entries for each host",
                ),
                NoEnds,
                ENTRIES,
            ],
            &[
                keyword("host", "Specify per-host NAT entry limit"),
                value("ADDRESS", Kind::Address, "IP address of the host"),
                NoEnds,
                ENTRIES,
            ],
            &[
                keyword("list", "Specify access list based NAT entry limit"),
                LIST_NAME,
                NoEnds,
                ENTRIES,
            ],
        ]),
    ],
    no: true,
    example: "ip nat translation max-entries all-host 2000",
    meaning: Setting {
        apply: max_entries,
        running: |s| {
            let bounds = &s.max_entries;
            let line = |of: String, most: u32| format!("ip nat translation max-entries {of}{most}");
            let mut lines: Vec<String> = bounds
                .all
                .map(|n| line(String::new(), n))
                .into_iter()
                .collect();
            lines.extend(bounds.each_host.map(|n| line("all-host ".into(), n)));
            let hosts = bounds.hosts.iter();
            lines.extend(hosts.map(|(host, n)| line(format!("host {host} "), *n)));
            let lists = bounds.lists.iter();
            lines.extend(lists.map(|(list, n)| line(format!("list {list} "), *n)));
            lines
        },
    },
};

const TRANSLATION: Part = keyword("translation", "NAT translation entry configuration");
const ENTRIES: Part = value(
    "ENTRIES",
    Kind::Number(1, i32::MAX as u32),
    "Number of entries",
);
const TIME: Part = OneOf(&[
    &[value(
        "SECONDS",
        Kind::Number(1, 536_870),
        "Timeout in seconds",
    )],
    &[keyword("never", "Never timeout")],
]);

type TimeoutField = fn(&mut FlowTimeouts) -> &mut Option<Duration>;

/// The idle times by keyword.
static TIMEOUTS: [(&str, TimeoutField); 7] = [
    ("timeout", |t| &mut t.address),
    ("tcp-timeout", |t| &mut t.tcp),
    ("syn-timeout", |t| &mut t.syn),
    ("finrst-timeout", |t| &mut t.finrst),
    ("udp-timeout", |t| &mut t.udp),
    ("dns-timeout", |t| &mut t.dns),
    ("icmp-timeout", |t| &mut t.icmp),
];

fn timeout(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let mut defaults = FlowTimeouts::default();
    for (_, field) in TIMEOUTS.iter().filter(|(name, _)| args.has(name)) {
        *field(&mut startup.timeouts) = match args.no {
            true => *field(&mut defaults),
            false => typed_time(args),
        };
    }
    Ok(Goto::Stay)
}

fn port_timeout(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let protocol = match args.has("tcp") {
        true => Protocol::Tcp,
        false => Protocol::Udp,
    };
    let port = args.number("PORT").unwrap_or_default();
    let ports = &mut startup.timeouts.ports;
    let found =
        ports.binary_search_by_key(&(protocol, port), |(protocol, port, _)| (*protocol, *port));
    let entry = (protocol, port, typed_time(args));
    match (found, args.no) {
        (Ok(at), true) => drop(ports.remove(at)),
        (Ok(at), false) => ports[at] = entry,
        (Err(at), false) => ports.insert(at, entry),
        (Err(_), true) => {}
    }
    Ok(Goto::Stay)
}

fn max_entries(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let bounds = &mut startup.max_entries;
    let most = args.number("ENTRIES").filter(|_| !args.no);
    match (args.address("ADDRESS"), args.text("LIST")) {
        (Some(host), _) => match most {
            Some(most) => drop(bounds.hosts.insert(host, most)),
            None => drop(bounds.hosts.remove(&host)),
        },
        (_, Some(list)) => match most {
            Some(most) => drop(bounds.lists.insert(list.into(), most)),
            None => drop(bounds.lists.remove(list)),
        },
        _ if args.has("all-host") => bounds.each_host = most,
        _ => bounds.all = most,
    }
    Ok(Goto::Stay)
}

/// What was typed: seconds, or `never`.
fn typed_time(args: &Args) -> Option<Duration> {
    args.number("SECONDS").map(Duration::from_secs)
}

fn time(value: Option<Duration>) -> String {
    value.map_or("never".into(), |value| value.as_secs().to_string())
}
