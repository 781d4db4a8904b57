//! `ip nat pool` and `ip nat inside source`: who becomes what.

use super::{Goto, IP, LIST_NAME, NAT, Refusal, Setting, refuse, silent};
use crate::grammar::Part::{NoEnds, OneOf, Optional};
use crate::grammar::{Args, Command, Kind, Part, keyword, value};
use crate::startup::{AddressPool, GlobalAddress, GlobalSet, InsideSource, SourceKind, Startup};
use sipalg_core::Protocol;
use sipalg_core::addr::Ipv4Addr;

pub(super) const POOL: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        keyword("pool", "Define pool of addresses"),
        value("POOL", Kind::Word, "Pool name"),
        NoEnds,
        value("START", Kind::Address, "Start IP address"),
        value("END", Kind::Address, "End IP address"),
        OneOf(&[
            &[
                keyword("netmask", "Specify the network mask"),
                value("MASK", Kind::Address, "Network mask"),
            ],
            &[
                keyword("prefix-length", "Specify the prefix length"),
                value("LENGTH", Kind::Number(1, 32), "Prefix length"),
            ],
        ]),
    ],
    no: true,
    example: "ip nat pool OFFICE 203.0.113.16 203.0.113.23 netmask 255.255.255.0",
    meaning: Setting {
        apply: pool,
        running: |s| {
            let line = |(name, pool): (&String, &AddressPool)| {
                let AddressPool { start, end, .. } = pool;
                format!(
                    "ip nat pool {name} {start} {end} netmask {}",
                    pool.netmask()
                )
            };
            s.pools.iter().map(line).collect()
        },
    },
};

/// Prints the static rules too, so that all of them keep their order.
pub(super) const DYNAMIC: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        INSIDE,
        SOURCE,
        keyword("list", "Specify access list describing local addresses"),
        LIST_NAME,
        NoEnds,
        OneOf(&[
            &[
                keyword("interface", "Specify interface for global address"),
                INTERFACE,
                OVERLOAD,
            ],
            &[
                keyword("pool", "Name pool of global addresses"),
                value("POOL", Kind::Word, "Pool name for global addresses"),
                Optional(&[OVERLOAD]),
            ],
        ]),
        Optional(&[NO_PAYLOAD]),
    ],
    no: true,
    example: "ip nat inside source list 1 interface gout overload",
    meaning: Setting {
        apply: dynamic,
        running: |s| s.sources.iter().map(line).collect(),
    },
};

pub(super) const STATIC: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        INSIDE,
        SOURCE,
        STATIC_KEYWORD,
        value("LOCAL", Kind::Address, "Inside local IP address"),
        NoEnds,
        GLOBAL,
        EXTENDABLE,
        NO_ALIAS,
        Optional(&[NO_PAYLOAD]),
    ],
    no: true,
    example: "ip nat inside source static 10.0.0.5 203.0.113.5",
    meaning: Setting {
        apply: host,
        running: silent,
    },
};

pub(super) const STATIC_NETWORK: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        INSIDE,
        SOURCE,
        STATIC_KEYWORD,
        keyword("network", "Subnet translation"),
        value("LOCAL", Kind::Address, "Inside local network address"),
        value("GLOBAL", Kind::Address, "Inside global network address"),
        OneOf(&[
            &[value(
                "MASK",
                Kind::Address,
                "Network mask for the translation",
            )],
            &[value(
                "LENGTH",
                Kind::PrefixLength,
                "Prefix length of the translation",
            )],
        ]),
        EXTENDABLE,
        NO_ALIAS,
        Optional(&[NO_PAYLOAD]),
    ],
    no: true,
    example: "ip nat inside source static network 10.0.1.0 198.51.100.0 /24",
    meaning: Setting {
        apply: network,
        running: silent,
    },
};

pub(super) const STATIC_PORT: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        INSIDE,
        SOURCE,
        STATIC_KEYWORD,
        OneOf(&[
            &[keyword("tcp", "Transmission Control Protocol")],
            &[keyword("udp", "User Datagram Protocol")],
        ]),
        value("LOCAL", Kind::Address, "Inside local IP address"),
        value("LOCAL-PORT", Kind::Number(1, 65535), "Local UDP/TCP port"),
        NoEnds,
        GLOBAL,
        value("GLOBAL-PORT", Kind::Number(1, 65535), "Global UDP/TCP port"),
        EXTENDABLE,
        NO_ALIAS,
        Optional(&[NO_PAYLOAD]),
    ],
    no: true,
    example: "ip nat inside source static tcp 10.0.0.6 5060 interface gout 5060",
    meaning: Setting {
        apply: port,
        running: silent,
    },
};

const INSIDE: Part = keyword("inside", "Inside address translation");
const SOURCE: Part = keyword("source", "Source address translation");
const STATIC_KEYWORD: Part = keyword("static", "Specify static local->global mapping");
const INTERFACE: Part = value("INTERFACE", Kind::Word, "Name of the interface in Linux");
const OVERLOAD: Part = keyword("overload", "Overload an address translation");
const NO_PAYLOAD: Part = keyword(
    "no-payload",
    "No translation of embedded address/port in the payload",
);
const NO_ALIAS: Part = Optional(&[keyword(
    "no-alias",
    "Do not create an alias for the global address",
)]);
/// Every mapping of the gateway can be extended, so that it changes nothing and is not kept.
const EXTENDABLE: Part = Optional(&[keyword("extendable", "Extend this translation when used")]);
const GLOBAL: Part = OneOf(&[
    &[value("GLOBAL", Kind::Address, "Inside global IP address")],
    &[
        keyword("interface", "Specify interface for global address"),
        INTERFACE,
    ],
]);

fn pool(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let name = args.text("POOL").unwrap_or_default();
    if args.no {
        return remove_pool(startup, name);
    }
    let address = |name| args.address(name).unwrap_or(Ipv4Addr::UNSPECIFIED);
    let pool = AddressPool {
        start: address("START"),
        end: address("END"),
        prefix: prefix(args)?,
    };
    startup
        .pool_contradiction(name, &pool)
        .or_else(|(argument, reason)| refuse(argument, reason))?;
    startup.pools.insert(name.into(), pool);
    Ok(Goto::Stay)
}

fn remove_pool(startup: &mut Startup, name: &str) -> Result<Goto, Refusal> {
    let of_pool = |rule: &InsideSource| match &rule.kind {
        SourceKind::List { to, .. } => *to == GlobalSet::Pool(name.into()),
        _ => false,
    };
    if startup.sources.iter().any(of_pool) {
        return refuse("POOL", format!("Pool {name} in use, cannot destroy"));
    }
    match startup.pools.remove(name) {
        Some(_) => Ok(Goto::Stay),
        None => refuse("POOL", format!("Pool {name} not found")),
    }
}

fn dynamic(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let list = args.text("LIST").unwrap_or_default();
    let of_list = |rule: &&InsideSource| match &rule.kind {
        SourceKind::List { list: of, .. } => of == list,
        _ => false,
    };
    let present = startup.sources.iter().find(of_list);
    let to = match (args.text("INTERFACE"), args.text("POOL")) {
        (Some(interface), _) => Some(GlobalSet::Interface(interface.into())),
        (_, Some(pool)) => Some(GlobalSet::Pool(pool.into())),
        _ => None,
    };
    let Some(to) = to else {
        // Only `no` may end before it is said.
        return remove(startup, "Dynamic mapping not found", "LIST", of_list);
    };
    let rule = InsideSource {
        kind: SourceKind::List {
            list: list.into(),
            to,
            overload: args.has("overload"),
        },
        no_payload: args.has("no-payload"),
        no_alias: false,
    };
    if args.no {
        let same = |other: &&InsideSource| other.replaces(&rule);
        return remove(startup, "Dynamic mapping not found", "LIST", same);
    }
    if let Some(present) = present.filter(|present| !present.replaces(&rule))
        && let SourceKind::List { to, .. } = &present.kind
    {
        let to = target(to);
        let argument = match args.has("pool") {
            true => "POOL",
            false => "INTERFACE",
        };
        return refuse(
            argument,
            format!("access list {list} is already translated to {to}"),
        );
    }
    add(startup, rule)
}

fn host(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let local = args.address("LOCAL").unwrap_or(Ipv4Addr::UNSPECIFIED);
    let Some(global) = global(args) else {
        let of_local = |rule: &&InsideSource| match rule.kind {
            SourceKind::Static {
                local: of, prefix, ..
            } => of == local && prefix == 32,
            _ => false,
        };
        return remove(startup, "Translation not found", "LOCAL", of_local);
    };
    let kind = SourceKind::Static {
        local,
        global,
        prefix: 32,
    };
    fixed(startup, args, kind)
}

fn network(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let address = |name| args.address(name).unwrap_or(Ipv4Addr::UNSPECIFIED);
    let (local, global) = (address("LOCAL"), address("GLOBAL"));
    let prefix = prefix(args)?;
    for (argument, address) in [("LOCAL", local), ("GLOBAL", global)] {
        let bits = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
        let network = Ipv4Addr::from(u32::from(address) & !bits);
        if network != address {
            return refuse(
                argument,
                format!("{address} is a host of the network {network}/{prefix}"),
            );
        }
    }
    let kind = SourceKind::Static {
        local,
        global: GlobalAddress::Address(global),
        prefix,
    };
    fixed(startup, args, kind)
}

fn port(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let protocol = match args.has("tcp") {
        true => Protocol::Tcp,
        false => Protocol::Udp,
    };
    let local = args.address("LOCAL").unwrap_or(Ipv4Addr::UNSPECIFIED);
    let local_port = args.number("LOCAL-PORT").unwrap_or_default();
    let Some(global) = global(args) else {
        let of_port = |rule: &&InsideSource| match &rule.kind {
            SourceKind::StaticPort {
                protocol: of_protocol,
                local: of_local,
                local_port: of_port,
                ..
            } => (*of_protocol, *of_local, *of_port) == (protocol, local, local_port),
            _ => false,
        };
        return remove(startup, "Translation not found", "LOCAL", of_port);
    };
    let kind = SourceKind::StaticPort {
        protocol,
        local,
        local_port,
        global,
        global_port: args.number("GLOBAL-PORT").unwrap_or_default(),
    };
    fixed(startup, args, kind)
}

/// Adds or removes a static rule.
fn fixed(startup: &mut Startup, args: &Args, kind: SourceKind) -> Result<Goto, Refusal> {
    let rule = InsideSource {
        kind,
        no_payload: args.has("no-payload"),
        no_alias: args.has("no-alias"),
    };
    match args.no {
        true => {
            let same = |other: &&InsideSource| other.replaces(&rule);
            remove(startup, "Translation not found", "LOCAL", same)
        }
        false => add(startup, rule),
    }
}

/// Adds a rule, or gives the one that is there its new options.
fn add(startup: &mut Startup, rule: InsideSource) -> Result<Goto, Refusal> {
    startup
        .contradiction(&rule)
        .or_else(|(argument, reason)| refuse(argument, reason))?;
    match startup.sources.iter_mut().find(|r| r.replaces(&rule)) {
        Some(present) => *present = rule,
        None => startup.sources.push(rule),
    }
    Ok(Goto::Stay)
}

fn remove(
    startup: &mut Startup,
    missing: &str,
    argument: &'static str,
    which: impl Fn(&&InsideSource) -> bool,
) -> Result<Goto, Refusal> {
    match startup.sources.iter().position(|rule| which(&rule)) {
        Some(at) => drop(startup.sources.remove(at)),
        None => return refuse(argument, missing),
    }
    Ok(Goto::Stay)
}

fn global(args: &Args) -> Option<GlobalAddress> {
    let interface = args.text("INTERFACE");
    let interface = interface.map(|name| GlobalAddress::Interface(name.into()));
    interface.or(args.address("GLOBAL").map(GlobalAddress::Address))
}

/// The length of the prefix, however it was typed.
fn prefix(args: &Args) -> Result<u8, Refusal> {
    if let Some(mask) = args.address("MASK") {
        let bits = u32::from(mask);
        let length = bits.leading_ones();
        return match length + bits.trailing_zeros() == u32::BITS && length > 0 || length == 32 {
            true => Ok(length as u8),
            false => refuse("MASK", format!("{mask} is no network mask")),
        };
    }
    let length = args.text("LENGTH").unwrap_or_default();
    let length = length.trim_start_matches('/').parse();
    length.or_else(|_| refuse("LENGTH", "no length of a prefix"))
}

/// A rule as it is typed.
fn line(rule: &InsideSource) -> String {
    let mut text = String::from("ip nat inside source ");
    text += &match &rule.kind {
        SourceKind::List { list, to, overload } => {
            let to = target(to);
            let overload = if *overload { " overload" } else { "" };
            format!("list {list} {to}{overload}")
        }
        SourceKind::Static {
            local,
            global,
            prefix: 32,
        } => format!("static {local} {global}"),
        SourceKind::Static {
            local,
            global,
            prefix,
        } => format!("static network {local} {global} /{prefix}"),
        SourceKind::StaticPort {
            protocol,
            local,
            local_port,
            global,
            global_port,
        } => {
            let protocol = protocol.name();
            format!("static {protocol} {local} {local_port} {global} {global_port}")
        }
    };
    for (said, option) in [
        (rule.no_alias, " no-alias"),
        (rule.no_payload, " no-payload"),
    ] {
        if said {
            text += option;
        }
    }
    text
}

fn target(to: &GlobalSet) -> String {
    match to {
        GlobalSet::Interface(name) => format!("interface {name}"),
        GlobalSet::Pool(name) => format!("pool {name}"),
    }
}
