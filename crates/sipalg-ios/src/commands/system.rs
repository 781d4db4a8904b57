//! The gateway itself and its interfaces.

use super::{Goto, INTERFACE, IP, NAT, Refusal, Setting, one, refuse};
use crate::grammar::Part::{NoEnds, OneOf};
use crate::grammar::{Args, Command, Kind, keyword, value};
use crate::running;
use crate::secret;
use crate::startup::{Interface, Startup};
use sipalg_core::Leg;

pub(super) const HOSTNAME: Command<Setting<Startup>> = Command {
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
};

pub(super) const ENABLE_SECRET: Command<Setting<Startup>> = Command {
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
    example: "enable secret 5 $5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
    meaning: Setting {
        apply: enable_secret,
        running: |s| {
            let line = |hash: &String| format!("enable secret 5 {hash}");
            one(s.enable_secret.as_ref().map(line))
        },
    },
};

pub(super) const INTERFACES: Command<Setting<Startup>> = Command {
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
};

pub(super) const ROLE: Command<Setting<Interface>> = Command {
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
        apply: role,
        running: |i| one(i.nat.map(|leg| format!("ip nat {}", side(leg)))),
    },
};

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

fn enable_secret(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    startup.enable_secret = match (args.text("HASH"), args.text("SECRET")) {
        _ if args.no => None,
        (Some(hash), _) if secret::is_hash(hash) => Some(hash.into()),
        (Some(_), _) => {
            let reason = "it is no SHA-crypt hash; type the secret itself, without the 5";
            return refuse("HASH", reason);
        }
        (None, typed) => match secret::hash(typed.unwrap_or_default()) {
            Ok(hash) => Some(hash),
            Err(reason) => return refuse("SECRET", reason),
        },
    };
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

fn role(interface: &mut Interface, args: &Args) -> Result<Goto, Refusal> {
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

fn side(leg: Leg) -> &'static str {
    match leg {
        Leg::Inside => "inside",
        Leg::Outside => "outside",
    }
}
