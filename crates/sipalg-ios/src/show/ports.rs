//! `show ip nat sip ports`: what becomes of each SIP port, and why.

use super::View;
use crate::startup::{InsideSource, SourceKind, Startup};
use serde::Serialize;
use sipalg_core::Leg;
use sipalg_core::addr::Protocol;
use sipalg_core::config::{AccessEnd, AccessList};

/// `show ip nat sip ports`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Ports {
    ports: Vec<Port>,
    /// What else on this host gets in the way, a sentence each.
    conflicts: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Port {
    protocol: &'static str,
    port: u16,
    state: State,
    remarks: Vec<String>,
}

/// What becomes of SIP at a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Intercepting,
    /// Addresses of packets are translated, not those in messages.
    L3L4Only,
    /// Intercepted where it passes, but something else uses the port, too.
    Conflict,
    NoInsideInterface,
    NoOutsideInterface,
    NoRule,
}

/// A program on the gateway itself that waits at a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Service {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where it waits, whichever address it is bound to.
    pub port: u16,
    /// Its name and process id, as far as known.
    pub owner: Option<String>,
}

/// `show ip nat sip ports`, on a host with these `services` of its own and these `conflicts`.
pub fn ports(startup: &Startup, services: &[Service], conflicts: Vec<String>) -> Ports {
    let port = |(protocol, port)| {
        let (state, remarks) = judge(startup, services, protocol, port);
        Port {
            protocol: protocol.name(),
            port,
            state,
            remarks,
        }
    };
    Ports {
        ports: startup.sip_ports().map(port).collect(),
        conflicts,
    }
}

fn judge(
    startup: &Startup,
    services: &[Service],
    protocol: Protocol,
    port: u16,
) -> (State, Vec<String>) {
    let lacks = |leg| startup.interfaces_on(leg).next().is_none();
    if lacks(Leg::Inside) {
        let remark = "no interface is `ip nat inside`";
        return (State::NoInsideInterface, vec![remark.into()]);
    }
    if lacks(Leg::Outside) {
        let remark = "no interface is `ip nat outside`";
        return (State::NoOutsideInterface, vec![remark.into()]);
    }
    if startup.sources.is_empty() {
        let remark = "there is no `ip nat inside source`";
        return (State::NoRule, vec![remark.into()]);
    }
    if protocol == Protocol::Tcp && !startup.l4f {
        return (State::L3L4Only, vec!["`no ip nat l4f`".into()]);
    }
    if startup.sources.iter().all(|rule| rule.no_payload) {
        return (State::L3L4Only, vec!["every rule says `no-payload`".into()]);
    }
    let bypass = startup.sip_bypass.as_ref();
    let listed = bypass.and_then(|name| startup.access_list(name));
    if listed.as_ref().is_some_and(permits_all) {
        let remark = "`ip nat service sip bypass` permits everything";
        return (State::L3L4Only, vec![remark.into()]);
    }
    let of = |service: &&Service| (service.protocol, service.port) == (protocol, port);
    let owners: Vec<String> = services
        .iter()
        .filter(of)
        .map(|service| {
            let owner = service.owner.as_deref().unwrap_or("a program");
            format!(
                "{owner} of this gateway waits there, and gets what is sent to the gateway itself"
            )
        })
        .collect();
    let state = match owners.is_empty() {
        true => State::Intercepting,
        false => State::Conflict,
    };
    let plain = startup.sources.iter().filter(|rule| rule.no_payload);
    let plain = plain.map(|rule| format!("not {} (no-payload)", subject(rule)));
    let bypassed = bypass.map(|name| format!("not what list {name} permits (bypass)"));
    (
        state,
        owners.into_iter().chain(plain).chain(bypassed).collect(),
    )
}

fn subject(rule: &InsideSource) -> String {
    match &rule.kind {
        SourceKind::List { list, .. } => format!("hosts of list {list}"),
        _ => format!("{rule}"),
    }
}

/// Whether the first entry, which decides, is `permit ip any any`.
fn permits_all(list: &AccessList) -> bool {
    let any =
        |end: &AccessEnd| u32::from(end.wildcard) == u32::MAX && end.ports == AccessEnd::ANY.ports;
    list.entries.first().is_some_and(|entry| {
        entry.permit
            && entry.protocol.is_none()
            && !entry.established
            && any(&entry.source)
            && any(&entry.destination)
    })
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Intercepting => "intercepting",
            State::L3L4Only => "L3/L4 only",
            State::Conflict => "conflict",
            State::NoInsideInterface => "no inside interface",
            State::NoOutsideInterface => "no outside interface",
            State::NoRule => "no rule",
        }
    }
}

impl View for Ports {
    fn text(&self) -> String {
        let mut text = row("Pro", "Port", "State", "Remarks");
        for port in &self.ports {
            text += &row(
                port.protocol,
                &port.port.to_string(),
                port.state.name(),
                &port.remarks.join("; "),
            );
        }
        for conflict in &self.conflicts {
            text += &format!("Conflict: {conflict}\n");
        }
        text
    }
}

fn row(protocol: &str, port: &str, state: &str, remarks: &str) -> String {
    let line = format!("{protocol:<3} {port:<5} {state:<20} {remarks}");
    line.trim_end().to_owned() + "\n"
}
