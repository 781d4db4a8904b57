//! Access lists: `access-list`, `ip access-list`, and the lines of their modes.

use super::{EXTENDED_LIST, Goto, IP, LIST, Refusal, Setting, refuse, silent};
use crate::access::{self, Line, List, ListKind, MAX_SEQUENCE};
use crate::grammar::Part::{NoEnds, OneOf, Optional};
use crate::grammar::{Args, Command, Kind, Part, keyword, value};
use crate::ports;
use crate::running;
use crate::startup::Startup;
use core::iter::Peekable;
use sipalg_core::addr::Ipv4Addr;
use sipalg_core::config::{AccessEnd, AccessEntry, AccessPorts};

pub(super) const NAMED_STANDARD: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        ACCESS_LIST,
        keyword("standard", "Standard Access List"),
        OneOf(&[&[STANDARD_NUMBER], &[NAME]]),
    ],
    no: true,
    example: "ip access-list standard LAN",
    meaning: Setting {
        apply: |s, args| mode(s, args, ListKind::Standard),
        running: |s| blocks(s, ListKind::Standard, LIST),
    },
};

pub(super) const NAMED_EXTENDED: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        ACCESS_LIST,
        keyword("extended", "Extended Access List"),
        OneOf(&[&[EXTENDED_NUMBER], &[NAME]]),
    ],
    no: true,
    example: "ip access-list extended PROVIDERS",
    meaning: Setting {
        apply: |s, args| mode(s, args, ListKind::Extended),
        running: |s| blocks(s, ListKind::Extended, EXTENDED_LIST),
    },
};

pub(super) const NUMBERED_STANDARD: Command<Setting<Startup>> = Command {
    pattern: &[
        NUMBERED,
        STANDARD_NUMBER,
        NoEnds,
        PERMIT_OR_DENY,
        STANDARD_SOURCE,
        LOG,
    ],
    no: true,
    example: "access-list 1 permit 192.168.122.0 0.0.0.255",
    meaning: Setting {
        apply: |s, args| numbered(s, args, standard(args)?),
        running: |s| flat(s, ListKind::Standard),
    },
};

pub(super) const NUMBERED_EXTENDED: Command<Setting<Startup>> = Command {
    pattern: &[
        NUMBERED,
        EXTENDED_NUMBER,
        NoEnds,
        PERMIT_OR_DENY,
        MATCH,
        LOG,
    ],
    no: true,
    example: "access-list 100 permit tcp any 203.0.113.0 0.0.0.255 eq 5060",
    meaning: Setting {
        apply: |s, args| numbered(s, args, extended(args)?),
        running: |s| flat(s, ListKind::Extended),
    },
};

pub(super) const NUMBERED_REMARK: Command<Setting<Startup>> = Command {
    pattern: &[
        NUMBERED,
        OneOf(&[&[STANDARD_NUMBER], &[EXTENDED_NUMBER]]),
        REMARK,
        TEXT,
    ],
    no: true,
    example: "access-list 1 remark the phones",
    meaning: Setting {
        apply: |s, args| numbered(s, args, remark(args)),
        running: silent,
    },
};

pub(super) const STANDARD_ENTRY: Command<Setting<List>> = Command {
    pattern: &[
        Optional(&[SEQUENCE, NoEnds]),
        PERMIT_OR_DENY,
        STANDARD_SOURCE,
        LOG,
    ],
    no: true,
    example: "permit 192.168.122.0 0.0.0.255",
    meaning: Setting {
        apply: |list, args| entry(list, args, standard(args)?),
        running: |list| list.lines().collect(),
    },
};

pub(super) const EXTENDED_ENTRY: Command<Setting<List>> = Command {
    pattern: &[Optional(&[SEQUENCE, NoEnds]), PERMIT_OR_DENY, MATCH, LOG],
    no: true,
    example: "permit udp host 203.0.113.9 eq 5060 any range 5060 5070",
    meaning: Setting {
        apply: |list, args| entry(list, args, extended(args)?),
        running: |list| list.lines().collect(),
    },
};

pub(super) const REMARK_ENTRY: Command<Setting<List>> = Command {
    pattern: &[Optional(&[SEQUENCE]), REMARK, TEXT],
    no: true,
    example: "remark the phones",
    meaning: Setting {
        apply: |list, args| entry(list, args, remark(args)),
        running: silent,
    },
};

/// The number of a standard list.
pub(super) const STANDARD_NUMBER: Part = OneOf(&[
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

/// The number of an extended list.
pub(super) const EXTENDED_NUMBER: Part = OneOf(&[
    &[value(
        "LIST",
        Kind::Number(100, 199),
        "IP extended access list",
    )],
    &[value(
        "LIST",
        Kind::Number(2000, 2699),
        "IP extended access list (expanded range)",
    )],
]);

const NUMBERED: Part = keyword("access-list", "Add an access list entry");
const ACCESS_LIST: Part = keyword("access-list", "Named access-list");
const NAME: Part = value("LIST", Kind::Name, "Access-list name");
const REMARK: Part = keyword("remark", "Access list entry comment");
const TEXT: Part = value("TEXT", Kind::Line, "Comment up to the end of the line");
const SEQUENCE: Part = value("SEQUENCE", Kind::Number(1, MAX_SEQUENCE), "Sequence number");
const LOG: Part = Optional(&[keyword("log", "Log matches against this entry")]);

const PERMIT_OR_DENY: Part = OneOf(&[
    &[keyword("permit", "Specify packets to forward")],
    &[keyword("deny", "Specify packets to reject")],
]);

const STANDARD_SOURCE: Part = OneOf(&[
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

/// Protocol, source and destination of an extended entry.
const MATCH: Part = OneOf(&[
    &[keyword("ip", "Any Internet Protocol"), FROM, TO],
    &[
        keyword("tcp", "Transmission Control Protocol"),
        FROM,
        TCP_PORTS,
        TO,
        TCP_PORTS,
        Optional(&[keyword("established", "Match established connections")]),
    ],
    &[
        keyword("udp", "User Datagram Protocol"),
        FROM,
        UDP_PORTS,
        TO,
        UDP_PORTS,
    ],
    &[OTHER_PROTOCOL, FROM, TO],
]);

const OTHER_PROTOCOL: Part = OneOf(&[
    &[keyword("ahp", "Authentication Header Protocol")],
    &[keyword("eigrp", "Cisco's EIGRP routing protocol")],
    &[keyword("esp", "Encapsulation Security Payload")],
    &[keyword("gre", "Cisco's GRE tunneling")],
    &[keyword("icmp", "Internet Control Message Protocol")],
    &[keyword("igmp", "Internet Gateway Message Protocol")],
    &[keyword("ipinip", "IP in IP tunneling")],
    &[keyword("nos", "KA9Q NOS compatible IP over IP tunneling")],
    &[keyword("ospf", "OSPF routing protocol")],
    &[keyword("pcp", "Payload Compression Protocol")],
    &[keyword("pim", "Protocol Independent Multicast")],
    &[value(
        "PROTOCOL",
        Kind::Number(0, 255),
        "An IP protocol number",
    )],
]);

const FROM: Part = OneOf(&[
    &[keyword("any", "Any source host")],
    &[
        keyword("host", "A single source host"),
        value("ADDRESS", Kind::Address, "Source address"),
    ],
    &[
        value("ADDRESS", Kind::Address, "Source address"),
        value("WILDCARD", Kind::Address, "Source wildcard bits"),
    ],
]);

const TO: Part = OneOf(&[
    &[keyword("any", "Any destination host")],
    &[
        keyword("host", "A single destination host"),
        value("DESTINATION", Kind::Address, "Destination address"),
    ],
    &[
        value("DESTINATION", Kind::Address, "Destination address"),
        value(
            "DESTINATION-WILDCARD",
            Kind::Address,
            "Destination wildcard bits",
        ),
    ],
]);

const TCP_PORTS: Part = Optional(&[OneOf(&[
    &[EQ, ports::TCP_PORT],
    &[GT, ports::TCP_PORT],
    &[LT, ports::TCP_PORT],
    &[NEQ, ports::TCP_PORT],
    &[RANGE, ports::TCP_PORT, ports::TCP_PORT],
])]);

const UDP_PORTS: Part = Optional(&[OneOf(&[
    &[EQ, ports::UDP_PORT],
    &[GT, ports::UDP_PORT],
    &[LT, ports::UDP_PORT],
    &[NEQ, ports::UDP_PORT],
    &[RANGE, ports::UDP_PORT, ports::UDP_PORT],
])]);

const EQ: Part = keyword("eq", "Match only packets on a given port number");
const GT: Part = keyword("gt", "Match only packets with a greater port number");
const LT: Part = keyword("lt", "Match only packets with a lower port number");
const NEQ: Part = keyword("neq", "Match only packets not on a given port number");
const RANGE: Part = keyword("range", "Match only packets in the range of port numbers");

// How the running configuration prints them.

/// Whether the running configuration prints the list as `access-list N ...` lines.
fn is_flat(name: &str, list: &List) -> bool {
    name.starts_with(|c: char| c.is_ascii_digit()) && list.is_plain() && !list.is_empty()
}

fn flat(startup: &Startup, kind: ListKind) -> Vec<String> {
    let lists = startup.lists_of(kind).into_iter();
    lists
        .filter(|(name, list)| is_flat(name, list))
        .flat_map(|(name, list)| {
            list.lines()
                .map(move |line| format!("access-list {name} {line}"))
        })
        .collect()
}

fn blocks(startup: &Startup, kind: ListKind, table: &[Command<Setting<List>>]) -> Vec<String> {
    let lists = startup.lists_of(kind).into_iter();
    lists
        .filter(|(name, list)| !is_flat(name, list))
        .flat_map(|(name, list)| {
            let header = format!("ip access-list {} {name}", kind.name());
            running::block(header, table, list)
        })
        .collect()
}

// What they do.

fn mode(startup: &mut Startup, args: &Args, kind: ListKind) -> Result<Goto, Refusal> {
    let name = args.text("LIST").unwrap_or_default();
    match startup.lists.get(name).map(List::kind) {
        Some(present) if present != kind => {
            let present = present.name();
            return refuse(
                "LIST",
                format!("A named {present} IP access list with this name already exists"),
            );
        }
        _ if args.no => drop(startup.lists.remove(name)),
        Some(_) => {}
        None => drop(startup.lists.insert(name.into(), List::new(kind))),
    }
    Ok(match args.no {
        true => Goto::Stay,
        false => Goto::List(name.into(), kind),
    })
}

/// `access-list N ...`: a line of the list, which comes and goes with its lines.
fn numbered(startup: &mut Startup, args: &Args, line: Option<Line>) -> Result<Goto, Refusal> {
    let name = args.text("LIST").unwrap_or_default();
    let standard = matches!(args.number("LIST"), Some(1..=99_u32 | 1300..=1999));
    let kind = match standard {
        true => ListKind::Standard,
        false => ListKind::Extended,
    };
    let empty = || List::new(kind);
    let mut list = startup.lists.remove(name).unwrap_or_else(empty);
    let result = entry(&mut list, args, line);
    if !list.is_empty() {
        startup.lists.insert(name.into(), list);
    }
    result
}

fn entry(list: &mut List, args: &Args, line: Option<Line>) -> Result<Goto, Refusal> {
    let sequence = args.number("SEQUENCE");
    match line {
        line if args.no => list.remove(sequence, line.as_ref()),
        Some(line) => list
            .add(sequence, line)
            .or_else(|reason| refuse("SEQUENCE", reason))?,
        None => {}
    }
    Ok(Goto::Stay)
}

fn remark(args: &Args) -> Option<Line> {
    args.text("TEXT").map(|text| Line::Remark(text.into()))
}

/// The entry of a standard list that was typed, if more than its number was.
fn standard(args: &Args) -> Result<Option<Line>, Refusal> {
    let mut words = Words::after_permit(args);
    if words.is_done() {
        return Ok(None);
    }
    let entry = AccessEntry {
        permit: args.has("permit"),
        protocol: None,
        source: words.end("WILDCARD")?,
        destination: AccessEnd::ANY,
        established: false,
    };
    let log = args.has("log");
    Ok(Some(Line::Entry { entry, log }))
}

/// The entry of an extended list that was typed, if more than its number was.
fn extended(args: &Args) -> Result<Option<Line>, Refusal> {
    let mut words = Words::after_permit(args);
    let Some(protocol) = words.protocol() else {
        return Ok(None);
    };
    let mut source = words.end("WILDCARD")?;
    source.ports = words.ports(protocol)?;
    let mut destination = words.end("DESTINATION-WILDCARD")?;
    destination.ports = words.ports(protocol)?;
    let entry = AccessEntry {
        permit: args.has("permit"),
        protocol: (protocol != 0).then_some(protocol),
        source,
        destination,
        established: args.has("established"),
    };
    let log = args.has("log");
    Ok(Some(Line::Entry { entry, log }))
}

/// The words of an entry, read one after the other: both ends are said alike.
struct Words<'a>(Peekable<std::vec::IntoIter<(&'static str, &'a str)>>);

impl<'a> Words<'a> {
    fn after_permit(args: &'a Args) -> Words<'a> {
        let before = |(name, _): &(&str, &str)| !matches!(*name, "permit" | "deny");
        let words: Vec<_> = args.tokens().skip_while(before).skip(1).collect();
        Words(words.into_iter().peekable())
    }

    fn is_done(&mut self) -> bool {
        self.0.peek().is_none()
    }

    fn protocol(&mut self) -> Option<u8> {
        let (name, text) = self.0.next()?;
        ports::protocol(name).or_else(|| text.parse().ok())
    }

    /// `any`, `host A`, or an address and the wildcard of this name.
    fn end(&mut self, wildcard: &'static str) -> Result<AccessEnd, Refusal> {
        let (address, mask) = match self.0.next() {
            Some(("host", _)) => (self.address(), Ipv4Addr::UNSPECIFIED),
            Some(("any", _)) | None => return Ok(AccessEnd::ANY),
            Some((_, address)) => {
                let given = self.0.next_if(|(name, _)| *name == wildcard);
                let mask = given.and_then(|(_, mask)| mask.parse().ok());
                (address.parse().ok(), mask.unwrap_or(Ipv4Addr::UNSPECIFIED))
            }
        };
        let address = address.unwrap_or(Ipv4Addr::UNSPECIFIED);
        access::end(address, mask).or_else(|reason| refuse(wildcard, reason))
    }

    fn address(&mut self) -> Option<Ipv4Addr> {
        self.0.next()?.1.parse().ok()
    }

    /// An operator and its ports, if there is one.
    fn ports(&mut self, protocol: u8) -> Result<AccessPorts, Refusal> {
        let is_operator = |name| matches!(name, "eq" | "neq" | "lt" | "gt" | "range");
        let Some((operator, _)) = self.0.next_if(|(name, _)| is_operator(*name)) else {
            return Ok(AccessPorts::ANY);
        };
        let port = self.port(protocol);
        let (first, last) = match operator {
            "lt" => match port.checked_sub(1) {
                Some(last) => (0, last),
                None => return refuse("lt", "no port is less than 0"),
            },
            "gt" => match port.checked_add(1) {
                Some(first) => (first, u16::MAX),
                None => return refuse("gt", "no port is greater than 65535"),
            },
            "range" => {
                let other = self.port(protocol);
                (port.min(other), port.max(other))
            }
            _ => (port, port),
        };
        Ok(AccessPorts {
            first,
            last,
            inverted: operator == "neq",
        })
    }

    fn port(&mut self, protocol: u8) -> u16 {
        let port = self.0.next().and_then(|(name, text)| match name {
            "PORT" => text.parse().ok(),
            name => ports::port(protocol, name),
        });
        port.unwrap_or_default()
    }
}
