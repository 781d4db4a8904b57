//! THE command table: every command once, with its tokens and their help, its `no` form, what it
//! does, how the running configuration prints it, and an example.
//!
//! A configuration command works on what its mode configures: the whole [`Startup`], an
//! [`Interface`] or a [`StandardList`]. To add a command, add an entry; parsing, `^`, help and
//! `show running-config` follow.

use crate::access::{self, Line, MAX_SEQUENCE, StandardList};
use crate::exec::Exec;
use crate::grammar::Part::{NoEnds, OneOf, Optional};
use crate::grammar::{Args, Command, Kind, Part, keyword, value};
use crate::running;
use crate::startup::{DEFAULT_SIP_PORT, InsideSource, Interface, Startup};
use core::net::Ipv4Addr;
use sipalg_core::Leg;

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
            apply: hostname,
            running: |s| one(s.hostname.as_ref().map(|name| format!("hostname {name}"))),
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
            apply: interface,
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
            keyword(
                "service",
                "Special translation for application using non-standard port",
            ),
            keyword("sip", "SIP protocol"),
            keyword("tcp", "TCP protocol"),
            keyword("port", "Special SIP port"),
            value("PORT", Kind::Number(1, 65535), "Port number"),
        ],
        no: true,
        example: "ip nat service sip tcp port 8000",
        meaning: Setting {
            apply: sip_port,
            running: sip_ports,
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
            apply: source,
            running: |s| {
                let line = |r: &InsideSource| {
                    format!(
                        "ip nat inside source list {} interface {} overload",
                        r.list, r.interface
                    )
                };
                s.sources.iter().map(line).collect()
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
            apply: list_mode,
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
            apply: flat_list,
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
            apply: flat_list,
            running: silent,
        },
    },
    leave(EXIT, "exit", up),
    leave(END, "end", end),
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
            apply: nat_role,
            running: |i| one(i.nat.map(|leg| format!("ip nat {}", side(leg)))),
        },
    },
    leave(EXIT, "exit", up),
    leave(END, "end", end),
];

/// Mode of a standard access list.
pub static LIST: &[Command<Setting<StandardList>>] = &[
    Command {
        pattern: &[Optional(&[SEQUENCE, NoEnds]), PERMIT_OR_DENY, SOURCE],
        no: true,
        example: "permit 192.168.122.0 0.0.0.255",
        meaning: Setting {
            apply: list_line,
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
            apply: list_line,
            running: silent,
        },
    },
    leave(EXIT, "exit", up),
    leave(END, "end", end),
];

/// Exec mode.
pub static EXEC: &[Command<Question>] = &[
    Command {
        pattern: &[
            SHOW,
            SHOW_IP,
            SHOW_NAT,
            keyword("translations", "Translation entries"),
            Optional(&[keyword("verbose", "Show extra information")]),
        ],
        no: false,
        example: "show ip nat translations verbose",
        meaning: |args| Exec::ShowTranslations {
            verbose: args.has("verbose"),
        },
    },
    Command {
        pattern: &[
            SHOW,
            SHOW_IP,
            SHOW_NAT,
            keyword("statistics", "Translation statistics"),
        ],
        no: false,
        example: "show ip nat statistics",
        meaning: |_| Exec::ShowStatistics,
    },
    Command {
        pattern: &[
            SHOW,
            SHOW_IP,
            SHOW_NAT,
            SHOW_SIP,
            keyword("doors", "Doors that SIP has opened"),
        ],
        no: false,
        example: "show ip nat sip doors",
        meaning: |_| Exec::ShowSipDoors,
    },
    Command {
        pattern: &[
            SHOW,
            SHOW_IP,
            SHOW_NAT,
            SHOW_SIP,
            keyword("counters", "What has been counted since the start"),
        ],
        no: false,
        example: "show ip nat sip counters",
        meaning: |_| Exec::ShowSipCounters,
    },
    Command {
        pattern: &[
            SHOW,
            SHOW_IP,
            SHOW_NAT,
            SHOW_SIP,
            keyword("connections", "TCP connections that are carried"),
        ],
        no: false,
        example: "show ip nat sip connections",
        meaning: |_| Exec::ShowSipConnections,
    },
    Command {
        pattern: &[
            SHOW,
            keyword("running-config", "Current operating configuration"),
        ],
        no: false,
        example: "show running-config",
        meaning: |_| Exec::ShowRunningConfig,
    },
    Command {
        pattern: &[SHOW, keyword("version", "System software status")],
        no: false,
        example: "show version",
        meaning: |_| Exec::ShowVersion,
    },
    Command {
        pattern: &[SHOW, keyword("debugging", "State of each debugging option")],
        no: false,
        example: "show debugging",
        meaning: |_| Exec::ShowDebugging,
    },
    Command {
        pattern: &[
            keyword("debug", "Debugging functions (see also 'undebug')"),
            DEBUG_IP,
            DEBUG_NAT,
            DEBUG_SIP,
        ],
        no: true,
        example: "debug ip nat sip",
        meaning: |args| Exec::DebugSip { on: !args.no },
    },
    Command {
        pattern: &[
            keyword("undebug", "Disable debugging functions (see also 'debug')"),
            OneOf(&[
                &[keyword("all", "Disable all debugging")],
                &[DEBUG_IP, DEBUG_NAT, DEBUG_SIP],
            ]),
        ],
        no: false,
        example: "undebug all",
        meaning: |args| match args.has("all") {
            true => Exec::UndebugAll,
            false => Exec::DebugSip { on: false },
        },
    },
    Command {
        pattern: &[keyword("exit", "Exit from the EXEC")],
        no: false,
        example: "exit",
        meaning: |_| Exec::Exit,
    },
];

// Pieces that several patterns share.

const IP: Part = keyword("ip", "Global IP configuration subcommands");
const NAT: Part = keyword("nat", "NAT configuration commands");
const SHOW: Part = keyword("show", "Show running system information");
const SHOW_IP: Part = keyword("ip", "IP information");
const SHOW_NAT: Part = keyword("nat", "IP NAT information");
const SHOW_SIP: Part = keyword("sip", "SIP application layer gateway");
const DEBUG_IP: Part = keyword("ip", "IP information");
const DEBUG_NAT: Part = keyword("nat", "NAT events");
const DEBUG_SIP: Part = keyword("sip", "NAT SIP events");
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

// What the commands do.

fn up<C>(_: &mut C, _: &Args) -> Result<Goto, Refusal> {
    Ok(Goto::Up)
}

fn end<C>(_: &mut C, _: &Args) -> Result<Goto, Refusal> {
    Ok(Goto::End)
}

fn hostname(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let name = args.text("NAME").unwrap_or_default();
    let legal = name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !legal && !args.no {
        return refuse("NAME", "Hostname contains one or more illegal characters.");
    }
    startup.hostname = (!args.no).then(|| name.into());
    Ok(Goto::Stay)
}

fn interface(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let name = args.text("INTERFACE").unwrap_or_default();
    // What Linux accepts: dev_valid_name() and IFNAMSIZ.
    if name.len() > 15 || name.contains(['/', ':']) || name == "." || name == ".." {
        return refuse(
            "INTERFACE",
            "an interface name has at most 15 characters, and no '/' or ':'",
        );
    }
    if args.no {
        startup
            .interfaces
            .retain(|interface| interface.name != name);
        return Ok(Goto::Stay);
    }
    if startup.interface(name).is_none() {
        startup.interfaces.push(Interface {
            name: name.into(),
            nat: None,
        });
    }
    Ok(Goto::Interface(name.into()))
}

fn nat_role(interface: &mut Interface, args: &Args) -> Result<Goto, Refusal> {
    let leg = if args.has("inside") {
        Leg::Inside
    } else {
        Leg::Outside
    };
    match interface.nat {
        Some(present) if present != leg && !args.no => {
            let Interface { name, .. } = interface;
            let reason = format!("interface {name} is already `ip nat {}`", side(present));
            refuse(side(leg), reason)
        }
        present => {
            interface.nat = if args.no {
                present.filter(|present| *present != leg)
            } else {
                Some(leg)
            };
            Ok(Goto::Stay)
        }
    }
}

fn sip_port(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let ports = &mut startup.sip_tcp_ports;
    let port = args.number("PORT");
    match args.no {
        true => ports.retain(|present| Some(*present) != port),
        false => ports.extend(port),
    }
    Ok(Goto::Stay)
}

fn sip_ports(startup: &Startup) -> Vec<String> {
    let ports = &startup.sip_tcp_ports;
    let off = (!ports.contains(&DEFAULT_SIP_PORT))
        .then(|| format!("no ip nat service sip tcp port {DEFAULT_SIP_PORT}"));
    let more = ports.iter().filter(|port| **port != DEFAULT_SIP_PORT);
    off.into_iter()
        .chain(more.map(|port| format!("ip nat service sip tcp port {port}")))
        .collect()
}

fn source(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let list = args.text("LIST").unwrap_or_default();
    let interface = args.text("INTERFACE");
    let at = startup.sources.iter().position(|rule| rule.list == list);
    let present = at.map(|at| startup.sources[at].interface.as_str());
    let same = interface.is_none() || interface == present;
    match (at, args.no) {
        (Some(at), true) if same => drop(startup.sources.remove(at)),
        (_, true) => return refuse("LIST", "Dynamic mapping not found"),
        (Some(_), false) if same => {}
        (Some(at), false) => {
            let present = &startup.sources[at].interface;
            return refuse(
                "INTERFACE",
                format!("access list {list} is already translated to interface {present}"),
            );
        }
        (None, false) => startup.sources.push(InsideSource {
            list: list.into(),
            interface: interface.unwrap_or_default().into(),
        }),
    }
    Ok(Goto::Stay)
}

fn list_mode(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let name = args.text("LIST").unwrap_or_default();
    if args.no {
        startup.lists.remove(name);
        return Ok(Goto::Stay);
    }
    startup.lists.entry(name.into()).or_default();
    Ok(Goto::List(name.into()))
}

/// `access-list N ...`: a line of the list, which comes and goes with its lines.
fn flat_list(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let name = args.text("LIST").unwrap_or_default();
    let mut list = startup.lists.remove(name).unwrap_or_default();
    let result = list_line(&mut list, args);
    if !list.is_empty() {
        startup.lists.insert(name.into(), list);
    }
    result
}

fn list_line(list: &mut StandardList, args: &Args) -> Result<Goto, Refusal> {
    let sequence = args.number("SEQUENCE");
    let line = written(args)?;
    match line {
        line if args.no => list.remove(sequence, line.as_ref()),
        Some(line) => list
            .add(sequence, line)
            .or_else(|reason| refuse("SEQUENCE", reason))?,
        None => {}
    }
    Ok(Goto::Stay)
}

/// The line of a list that was typed, if more than its number was.
fn written(args: &Args) -> Result<Option<Line>, Refusal> {
    if let Some(text) = args.text("TEXT") {
        return Ok(Some(Line::Remark(text.into())));
    }
    let (address, wildcard) = match args.address("ADDRESS") {
        Some(address) => (
            address,
            args.address("WILDCARD").unwrap_or(Ipv4Addr::UNSPECIFIED),
        ),
        None if args.has("any") => (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST),
        None => return Ok(None),
    };
    let entry = access::entry(args.has("permit"), address, wildcard);
    entry
        .map(|entry| Some(Line::Entry(entry)))
        .or_else(|reason| refuse("WILDCARD", reason))
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

fn refuse<T>(argument: &'static str, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        argument,
        reason: reason.into(),
    })
}
