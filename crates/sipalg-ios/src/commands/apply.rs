//! What the configuration commands do to a configuration.

use super::{Goto, Refusal, side};
use crate::access::{self, Line, StandardList};
use crate::grammar::Args;
use crate::secret;
use crate::startup::{GlobalSet, InsideSource, Interface, SourceKind, Startup};
use core::net::Ipv4Addr;
use sipalg_core::Leg;
use sipalg_core::config::Limits;

pub(super) fn up<C>(_: &mut C, _: &Args) -> Result<Goto, Refusal> {
    Ok(Goto::Up)
}

pub(super) fn end<C>(_: &mut C, _: &Args) -> Result<Goto, Refusal> {
    Ok(Goto::End)
}

pub(super) fn hostname(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
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

pub(super) fn enable_secret(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
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

pub(super) fn interface(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
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

pub(super) fn nat_role(interface: &mut Interface, args: &Args) -> Result<Goto, Refusal> {
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

pub(super) fn sip_port(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let ports = &mut startup.sip_tcp_ports;
    let port = args.number("PORT");
    match args.no {
        true => ports.retain(|present| Some(*present) != port),
        false => ports.extend(port),
    }
    Ok(Goto::Stay)
}

pub(super) fn header_limit(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let default = Limits::default().header_bytes;
    startup.sip_header_limit = args.number("BYTES").filter(|_| !args.no).unwrap_or(default);
    Ok(Goto::Stay)
}

pub(super) fn body_limit(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let default = Limits::default().body_bytes;
    startup.sip_body_limit = args.number("BYTES").filter(|_| !args.no).unwrap_or(default);
    Ok(Goto::Stay)
}

pub(super) fn source(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let list = args.text("LIST").unwrap_or_default();
    let interface = args.text("INTERFACE");
    let of_list = |rule: &InsideSource| match &rule.kind {
        SourceKind::List {
            list: of,
            to: GlobalSet::Interface(interface),
            ..
        } => (of == list).then(|| interface.clone()),
        _ => None,
    };
    let at = startup
        .sources
        .iter()
        .position(|rule| of_list(rule).is_some());
    let present = at.and_then(|at| of_list(&startup.sources[at]));
    let same = interface.is_none() || interface == present.as_deref();
    match (at, args.no) {
        (Some(at), true) if same => drop(startup.sources.remove(at)),
        (_, true) => return refuse("LIST", "Dynamic mapping not found"),
        (Some(_), false) if same => {}
        (Some(_), false) => {
            let present = present.unwrap_or_default();
            return refuse(
                "INTERFACE",
                format!("access list {list} is already translated to interface {present}"),
            );
        }
        (None, false) => startup
            .sources
            .push(InsideSource::overload(list, interface.unwrap_or_default())),
    }
    Ok(Goto::Stay)
}

pub(super) fn list_mode(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let name = args.text("LIST").unwrap_or_default();
    if args.no {
        startup.lists.remove(name);
        return Ok(Goto::Stay);
    }
    startup.lists.entry(name.into()).or_default();
    Ok(Goto::List(name.into()))
}

/// `access-list N ...`: a line of the list, which comes and goes with its lines.
pub(super) fn flat_list(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let name = args.text("LIST").unwrap_or_default();
    let mut list = startup.lists.remove(name).unwrap_or_default();
    let result = list_line(&mut list, args);
    if !list.is_empty() {
        startup.lists.insert(name.into(), list);
    }
    result
}

pub(super) fn list_line(list: &mut StandardList, args: &Args) -> Result<Goto, Refusal> {
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

fn refuse<T>(argument: &'static str, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        argument,
        reason: reason.into(),
    })
}
