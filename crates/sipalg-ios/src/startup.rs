//! The configuration as it is written: what the operator said, before anything is looked up.

use crate::access::StandardList;
use sipalg_core::Leg;
use sipalg_core::config::{AccessList, Limits};
use std::collections::{BTreeMap, BTreeSet};

/// The TCP port on which SIP is on without being told: RFC 3261 section 19.1.2.
pub const DEFAULT_SIP_PORT: u16 = 5060;

/// A whole configuration. [`Startup::parse`](crate::parse) reads it, [`crate::running`] writes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Startup {
    /// `hostname`.
    pub hostname: Option<String>,
    /// The interfaces that were named, in the order of configuration.
    pub interfaces: Vec<Interface>,
    /// Standard access lists by number or name.
    pub lists: BTreeMap<String, StandardList>,
    /// `ip nat inside source` rules, in the order of configuration.
    pub sources: Vec<InsideSource>,
    /// TCP ports on which SIP is looked into.
    pub sip_tcp_ports: BTreeSet<u16>,
    /// Start line and headers of a message that are looked into, bytes.
    pub sip_header_limit: usize,
    /// Body of a message that is looked into, bytes.
    pub sip_body_limit: usize,
}

impl Default for Startup {
    fn default() -> Self {
        Startup {
            hostname: None,
            interfaces: Vec::new(),
            lists: BTreeMap::new(),
            sources: Vec::new(),
            sip_tcp_ports: BTreeSet::from([DEFAULT_SIP_PORT]),
            sip_header_limit: Limits::default().header_bytes,
            sip_body_limit: Limits::default().body_bytes,
        }
    }
}

/// An interface and its part in NAT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Linux's name for it.
    pub name: String,
    /// `ip nat inside` or `ip nat outside`, if either.
    pub nat: Option<Leg>,
}

/// `ip nat inside source list LIST interface INTERFACE overload`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InsideSource {
    /// The number or name of the access list that says which inside hosts are translated.
    pub list: String,
    /// The outside interface whose address they share.
    pub interface: String,
}

/// Why a configuration cannot work as a whole, although each line is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The rule at fault, by its list.
    pub list: String,
    /// The token of the rule at fault.
    pub argument: &'static str,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl Startup {
    /// The machine's bounds.
    pub fn limits(&self) -> Limits {
        Limits {
            header_bytes: self.sip_header_limit,
            body_bytes: self.sip_body_limit,
            ..Limits::default()
        }
    }

    /// The interface of this name.
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.name == name)
    }

    /// The names of the interfaces on this side, in the order of configuration.
    pub fn interfaces_on(&self, leg: Leg) -> impl Iterator<Item = &str> {
        let on = move |interface: &&Interface| interface.nat == Some(leg);
        self.interfaces
            .iter()
            .filter(on)
            .map(|interface| interface.name.as_str())
    }

    /// The access list of this number or name, as the core reads it.
    pub fn access_list(&self, name: &str) -> Option<AccessList> {
        self.lists.get(name).map(|list| list.compile(name))
    }

    /// Whether the configuration can work as a whole.
    ///
    /// # Errors
    /// The first rule that cannot.
    pub fn check(&self) -> Result<(), Conflict> {
        self.sources
            .iter()
            .try_for_each(|rule| self.check_source(rule))
    }

    fn check_source(&self, rule: &InsideSource) -> Result<(), Conflict> {
        let InsideSource { list, interface } = rule;
        let conflict = |argument, reason| {
            Err(Conflict {
                list: list.clone(),
                argument,
                reason,
            })
        };
        // IOS takes a list that is missing or empty for "permit any" in some places; for NAT that
        // would translate more than anyone asked for.
        match self.access_list(list) {
            None => return conflict("LIST", format!("access list {list} does not exist")),
            Some(compiled) if compiled.entries.is_empty() => {
                return conflict(
                    "LIST",
                    format!("access list {list} has no permit or deny line"),
                );
            }
            Some(_) => {}
        }
        if self
            .interface(interface)
            .and_then(|interface| interface.nat)
            != Some(Leg::Outside)
        {
            let reason = format!("interface {interface} is not configured as `ip nat outside`");
            return conflict("INTERFACE", reason);
        }
        if self.interfaces_on(Leg::Inside).next().is_none() {
            return conflict(
                "inside",
                "no interface is configured as `ip nat inside`".into(),
            );
        }
        Ok(())
    }
}
