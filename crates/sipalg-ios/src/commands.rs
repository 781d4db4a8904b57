//! THE command table: every command once, with its tokens and their help, its `no` form, what it
//! does, how the running configuration prints it, and an example.
//!
//! A configuration command works on what its mode configures: the whole [`Startup`], an
//! [`Interface`] or a [`StandardList`]. To add a command, add an entry; parsing, `^`, help and
//! `show running-config` follow.

mod apply;
mod exec;

pub use exec::{EXEC, PRIVILEGED};

use crate::access::{MAX_SEQUENCE, StandardList};
use crate::exec::Exec;
use crate::grammar::Part::{NoEnds, OneOf, Optional};
use crate::grammar::{Args, Command, Kind, Part, keyword, value};
use crate::running;
use crate::startup::{DEFAULT_SIP_PORT, GlobalSet, InsideSource, Interface, SourceKind, Startup};
use sipalg_core::Leg;
use sipalg_core::config::Limits;

/// The meaning of a configuration command in the mode that configures a `C`.
pub struct Setting<C> {
    /// Carries it out, or its `no` form if [`Args::no`] says so.
    pub apply: fn(&mut C, &Args) -> Result<Goto, Refusal>,
    /// The lines that give a `C` its present state; none where that is the default.
    pub running: fn(&C) -> Vec<String>,
}

/// The meaning of a command of exec mode: what was asked, from what was typed.
pub type Question = fn(&Args) -> Exec;

/// Where a command leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Goto {
    /// The mode stays.
    Stay,
    /// Into this interface's mode.
    Interface(String),
    /// Into this access list's mode.
    List(String),
    /// Out of this mode.
    Up,
    /// Out of configuration.
    End,
}

/// A command that is understood but not carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The token at fault.
    pub argument: &'static str,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// Global configuration mode.
pub static GLOBAL: &[Command<Setting<Startup>>] = &[
    Command {
        pattern: &[
            keyword("hostname", "Set system's network name"),
            NoEnds,
            value("NAME", Kind::Word, "This system's network name"),
        ],
        no: true,
        example: "hostname gw",
        meaning: Setting {
            apply: apply::hostname,
            running: |s| one(s.hostname.as_ref().map(|name| format!("hostname {name}"))),
        },
    },
    Command {
        pattern: &[
            keyword("enable", "Modify enable password parameters"),
            keyword("secret", "Assign the privileged level secret"),
            NoEnds,
            OneOf(&[
                &[
                    value(
                        "TYPE",
                        Kind::Number(5, 5),
                        "Specifies a HASHED secret will follow",
                    ),
                    value("HASH", Kind::Word, "The HASHED 'enable' secret string"),
                ],
                &[value(
                    "SECRET",
                    Kind::Line,
                    "The UNENCRYPTED (cleartext) 'enable' secret",
                )],
            ]),
        ],
        no: true,
        example: "enable secret kame",
        meaning: Setting {
            apply: apply::enable_secret,
            running: |s| {
                let line = |hash: &String| format!("enable secret 5 {hash}");
                one(s.enable_secret.as_ref().map(line))
            },
        },
    },
    Command {
        pattern: &[
            keyword("interface", "Select an interface to configure"),
            value("INTERFACE", Kind::Word, "Name of the interface in Linux"),
        ],
        no: true,
        example: "interface gin",
        meaning: Setting {
            apply: apply::interface,
            running: |s| {
                let block =
                    |i: &Interface| running::block(format!("interface {}", i.name), INTERFACE, i);
                s.interfaces.iter().flat_map(block).collect()
            },
        },
    },
    Command {
        pattern: &[
            IP,
            NAT,
            SERVICE,
            SIP,
            keyword("tcp", "TCP protocol"),
            keyword("port", "Special SIP port"),
            value("PORT", Kind::Number(1, 65535), "Port number"),
        ],
        no: true,
        example: "ip nat service sip tcp port 8000",
        meaning: Setting {
            apply: apply::sip_port,
            running: sip_ports,
        },
    },
    Command {
        pattern: &[
            IP,
            NAT,
            SERVICE,
            SIP,
            MAXIMUM,
            keyword("header", "Start line and headers of a message"),
            NoEnds,
            value("BYTES", Kind::Number(1024, 1_048_576), "Bytes"),
        ],
        no: true,
        example: "ip nat service sip maximum header 32768",
        meaning: Setting {
            apply: apply::header_limit,
            running: |s| {
                let limit = s.sip_header_limit;
                let changed = limit != Limits::default().header_bytes;
                one(changed.then(|| format!("ip nat service sip maximum header {limit}")))
            },
        },
    },
    Command {
        pattern: &[
            IP,
            NAT,
            SERVICE,
            SIP,
            MAXIMUM,
            keyword("body", "Body of a message"),
            NoEnds,
            value("BYTES", Kind::Number(0, 16_777_216), "Bytes"),
        ],
        no: true,
        example: "ip nat service sip maximum body 65536",
        meaning: Setting {
            apply: apply::body_limit,
            running: |s| {
                let limit = s.sip_body_limit;
                let changed = limit != Limits::default().body_bytes;
                one(changed.then(|| format!("ip nat service sip maximum body {limit}")))
            },
        },
    },
    Command {
        pattern: &[
            IP,
            NAT,
            keyword("inside", "Inside address translation"),
            keyword("source", "Source address translation"),
            keyword("list", "Specify access list describing local addresses"),
            LIST_NAME,
            NoEnds,
            keyword("interface", "Specify interface for global address"),
            value("INTERFACE", Kind::Word, "Name of the interface in Linux"),
            keyword("overload", "Overload an address translation"),
        ],
        no: true,
        example: "ip nat inside source list 1 interface gout overload",
        meaning: Setting {
            apply: apply::source,
            running: |s| {
                let line = |r: &InsideSource| match &r.kind {
                    SourceKind::List {
                        list,
                        to: GlobalSet::Interface(interface),
                        ..
                    } => Some(format!(
                        "ip nat inside source list {list} interface {interface} overload"
                    )),
                    _ => None,
                };
                s.sources.iter().filter_map(line).collect()
            },
        },
    },
    Command {
        pattern: &[
            IP,
            keyword("access-list", "Named access-list"),
            keyword("standard", "Standard access list"),
            LIST_NAME,
        ],
        no: true,
        example: "ip access-list standard LAN",
        meaning: Setting {
            apply: apply::list_mode,
            running: |s| {
                let named = s.lists.iter().filter(|(name, list)| !is_flat(name, list));
                let block = |(name, list): (&String, &StandardList)| {
                    running::block(format!("ip access-list standard {name}"), LIST, list)
                };
                named.flat_map(block).collect()
            },
        },
    },
    Command {
        pattern: &[
            keyword("access-list", "Add an access list entry"),
            LIST_NUMBER,
            NoEnds,
            PERMIT_OR_DENY,
            SOURCE,
        ],
        no: true,
        example: "access-list 1 permit 192.168.122.0 0.0.0.255",
        meaning: Setting {
            apply: apply::flat_list,
            running: |s| {
                let flat = s.lists.iter().filter(|(name, list)| is_flat(name, list));
                let lines = |(name, list): (&String, &StandardList)| {
                    list.lines()
                        .map(|line| format!("access-list {name} {line}"))
                        .collect::<Vec<_>>()
                };
                flat.flat_map(lines).collect()
            },
        },
    },
    Command {
        pattern: &[
            keyword("access-list", "Add an access list entry"),
            LIST_NUMBER,
            REMARK,
            value("TEXT", Kind::Line, "Comment up to the end of the line"),
        ],
        no: true,
        example: "access-list 1 remark the phones",
        meaning: Setting {
            apply: apply::flat_list,
            running: silent,
        },
    },
    leave(EXIT, "exit", apply::up),
    leave(END, "end", apply::end),
];

/// Interface configuration mode.
pub static INTERFACE: &[Command<Setting<Interface>>] = &[
    Command {
        pattern: &[
            IP,
            NAT,
            OneOf(&[
                &[keyword(
                    "inside",
                    "Inside interface for address translation",
                )],
                &[keyword(
                    "outside",
                    "Outside interface for address translation",
                )],
            ]),
        ],
        no: true,
        example: "ip nat inside",
        meaning: Setting {
            apply: apply::nat_role,
            running: |i| one(i.nat.map(|leg| format!("ip nat {}", side(leg)))),
        },
    },
    leave(EXIT, "exit", apply::up),
    leave(END, "end", apply::end),
];

/// Mode of a standard access list.
pub static LIST: &[Command<Setting<StandardList>>] = &[
    Command {
        pattern: &[Optional(&[SEQUENCE, NoEnds]), PERMIT_OR_DENY, SOURCE],
        no: true,
        example: "permit 192.168.122.0 0.0.0.255",
        meaning: Setting {
            apply: apply::list_line,
            running: |list| list.lines().collect(),
        },
    },
    Command {
        pattern: &[
            Optional(&[SEQUENCE]),
            REMARK,
            value("TEXT", Kind::Line, "Comment up to the end of the line"),
        ],
        no: true,
        example: "remark the phones",
        meaning: Setting {
            apply: apply::list_line,
            running: silent,
        },
    },
    leave(EXIT, "exit", apply::up),
    leave(END, "end", apply::end),
];

// Pieces that several patterns share.

const IP: Part = keyword("ip", "Global IP configuration subcommands");
const NAT: Part = keyword("nat", "NAT configuration commands");
const SERVICE: Part = keyword(
    "service",
    "Special translation for application using non-standard port",
);
const SIP: Part = keyword("sip", "SIP protocol");
const MAXIMUM: Part = keyword("maximum", "What is longer passes unchanged");
const REMARK: Part = keyword("remark", "Access list entry comment");
const SEQUENCE: Part = value("SEQUENCE", Kind::Number(1, MAX_SEQUENCE), "Sequence number");

const LIST_NUMBER: Part = OneOf(&[
    &[value(
        "LIST",
        Kind::Number(1, 99),
        "IP standard access list",
    )],
    &[value(
        "LIST",
        Kind::Number(1300, 1999),
        "IP standard access list (expanded range)",
    )],
]);

const LIST_NAME: Part = OneOf(&[
    &[LIST_NUMBER],
    &[value("LIST", Kind::Name, "Access-list name")],
]);

const PERMIT_OR_DENY: Part = OneOf(&[
    &[keyword("permit", "Specify packets to forward")],
    &[keyword("deny", "Specify packets to reject")],
]);

const SOURCE: Part = OneOf(&[
    &[keyword("any", "Any source host")],
    &[
        keyword("host", "A single host address"),
        value("ADDRESS", Kind::Address, "Host address"),
    ],
    &[
        value("ADDRESS", Kind::Address, "Address to match"),
        Optional(&[value("WILDCARD", Kind::Address, "Wildcard bits")]),
    ],
]);

const EXIT: &[Part] = &[keyword("exit", "Exit from this configuration mode")];
const END: &[Part] = &[keyword("end", "Exit from configure mode")];

/// `exit` or `end`.
const fn leave<C>(
    pattern: &'static [Part],
    example: &'static str,
    apply: fn(&mut C, &Args) -> Result<Goto, Refusal>,
) -> Command<Setting<C>> {
    Command {
        pattern,
        no: false,
        example,
        meaning: Setting {
            apply,
            running: silent,
        },
    }
}

// How the running configuration prints them.

fn sip_ports(startup: &Startup) -> Vec<String> {
    let ports = &startup.sip_tcp_ports;
    let off = (!ports.contains(&DEFAULT_SIP_PORT))
        .then(|| format!("no ip nat service sip tcp port {DEFAULT_SIP_PORT}"));
    let more = ports.iter().filter(|port| **port != DEFAULT_SIP_PORT);
    off.into_iter()
        .chain(more.map(|port| format!("ip nat service sip tcp port {port}")))
        .collect()
}

/// Whether the running configuration prints the list as `access-list N ...` lines.
fn is_flat(name: &str, list: &StandardList) -> bool {
    name.starts_with(|c: char| c.is_ascii_digit()) && list.is_plain() && !list.is_empty()
}

fn side(leg: Leg) -> &'static str {
    match leg {
        Leg::Inside => "inside",
        Leg::Outside => "outside",
    }
}

fn one(line: Option<String>) -> Vec<String> {
    line.into_iter().collect()
}

/// For commands whose state another entry prints, or that leave none.
fn silent<C>(_: &C) -> Vec<String> {
    Vec::new()
}
