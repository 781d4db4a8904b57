//! From what the configuration says and what the host has to what the kernel and the machine do.

use crate::kernel::{Plan, SourcePlan};
use sipalg_core::Leg;
use sipalg_core::config::{Config, MaxEntries, Pool, Share, Source, SourceRule};
use sipalg_ios::Startup;
use sipalg_ios::startup::{GlobalAddress, GlobalSet, InsideSource, SourceKind};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

pub use sipalg_ios::startup::ordered;

/// The interfaces of the host by name, each with its IPv4 address if it has one.
pub type Interfaces = BTreeMap<String, Option<Ipv4Addr>>;

/// Why a configuration cannot be carried out on this host.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// No interface has this role.
    #[error("no interface is `ip nat {0}`; give one interface that role")]
    NoRole(&'static str),
    /// No rule says whom to translate.
    #[error("there is no `ip nat inside source list LIST interface IF overload`; add one")]
    NoRule,
}

/// What the host lacks of what the configuration names.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Lack {
    /// An interface that is not there.
    #[error("there is no interface {0} on this host")]
    Interface(String),
    /// An interface that cannot be used for IPv4 yet.
    #[error("interface {0} has no IPv4 address")]
    Address(String),
}

/// What the host lacks on one side, in the order of configuration. Rules of an outside interface
/// that lacks something are left out of the plan until it comes.
pub fn lacks(startup: &Startup, interfaces: &Interfaces, side: Leg) -> Vec<Lack> {
    let names = startup.interfaces_on(side);
    names
        .filter_map(|name| address_of(interfaces, name).err())
        .collect()
}

/// What the kernel must do for `startup` on a host with these interfaces.
///
/// # Errors
/// The configuration lacks something.
pub fn plan(
    startup: &Startup,
    interfaces: &Interfaces,
    listener: SocketAddrV4,
) -> Result<Plan, Error> {
    let on = |leg| -> Vec<String> { startup.interfaces_on(leg).map(String::from).collect() };
    let (inside, outside) = (on(Leg::Inside), on(Leg::Outside));
    if inside.is_empty() {
        return Err(Error::NoRole("inside"));
    }
    if outside.is_empty() {
        return Err(Error::NoRole("outside"));
    }
    if startup.sources.is_empty() {
        return Err(Error::NoRule);
    }
    let list = |name: &Option<String>| {
        let name = name.as_deref()?;
        Some(startup.access_list(name).unwrap_or_default())
    };
    let mut sources = Vec::new();
    for rule in ordered(&startup.sources) {
        let looked_up = source_rule(startup, rule, |name| address_of(interfaces, name));
        // The rule of an interface without address is idle.
        sources.extend(looked_up.ok().map(|looked_up| SourcePlan {
            rule: looked_up,
            interface: rule.interface().map(String::from),
            alias: !rule.no_alias,
        }));
    }
    Ok(Plan {
        inside,
        outside,
        sources,
        l4f: startup.l4f,
        sip_tcp_ports: startup.sip_tcp_ports.iter().copied().collect(),
        sip_udp_ports: startup.sip_udp_ports.iter().copied().collect(),
        access_group: list(&startup.sip_access_group),
        media_access_group: list(&startup.sip_media_access_group),
        bypass: list(&startup.sip_bypass),
        timeouts: startup.timeouts.clone(),
        max_entries: max_entries(startup),
        listener,
        workers: Share::ALL.of(),
    })
}

/// The machine's configuration that goes with a plan.
pub fn machine(plan: &Plan, startup: &Startup, fixup: bool) -> Config {
    Config {
        sources: plan.sources.iter().map(|s| s.rule.clone()).collect(),
        fixup,
        trusted: startup
            .sip_trusted
            .as_ref()
            .map(|name| startup.access_list(name).unwrap_or_default()),
        doors: startup.door_ports(),
        limits: startup.limits(),
        entries: max_entries(startup),
        share: Share::ALL,
        timers: startup.sip_timers,
        address_idle: startup.timeouts.address,
        keepalive: startup.sip_keepalive,
        history: startup.sip_history,
    }
}

/// A rule with its lists, pools and interfaces looked up; `address_of` knows the latter.
///
/// # Errors
/// Those of `address_of`.
pub fn source_rule<E>(
    startup: &Startup,
    rule: &InsideSource,
    address_of: impl Fn(&str) -> Result<Ipv4Addr, E>,
) -> Result<SourceRule, E> {
    let address = |global: &GlobalAddress| match global {
        GlobalAddress::Address(address) => Ok(*address),
        GlobalAddress::Interface(name) => address_of(name),
    };
    // `Startup::parse` has made sure of lists and pools; without one, nobody would be translated.
    let source = match &rule.kind {
        SourceKind::List { list, to, overload } => Source::List {
            list: startup.access_list(list).unwrap_or_default(),
            pool: match to {
                GlobalSet::Interface(name) => {
                    let address = address_of(name)?;
                    Pool {
                        start: address,
                        end: address,
                        overload: true,
                    }
                }
                GlobalSet::Pool(name) => {
                    let pool = startup.pools.get(name);
                    let none = Ipv4Addr::UNSPECIFIED;
                    let (start, end) = pool.map_or((none, none), |pool| (pool.start, pool.end));
                    Pool {
                        start,
                        end,
                        overload: *overload,
                    }
                }
            },
        },
        SourceKind::Static {
            local,
            global,
            prefix,
        } => Source::Static {
            local: *local,
            global: address(global)?,
            prefix: *prefix,
        },
        SourceKind::StaticPort {
            protocol,
            local,
            local_port,
            global,
            global_port,
        } => Source::StaticPort {
            protocol: *protocol,
            local: SocketAddrV4::new(*local, *local_port),
            global: SocketAddrV4::new(address(global)?, *global_port),
        },
    };
    Ok(SourceRule {
        source,
        payload: !rule.no_payload,
    })
}

fn max_entries(startup: &Startup) -> MaxEntries {
    let bounds = &startup.max_entries;
    let list = |(name, most): (&String, &u32)| {
        let list = startup.access_list(name).unwrap_or_default();
        (list, *most)
    };
    MaxEntries {
        all: bounds.all,
        each_host: bounds.each_host,
        hosts: bounds.hosts.iter().map(|(a, n)| (*a, *n)).collect(),
        lists: bounds.lists.iter().map(list).collect(),
    }
}

fn address_of(interfaces: &Interfaces, name: &str) -> Result<Ipv4Addr, Lack> {
    match interfaces.get(name) {
        None => Err(Lack::Interface(name.into())),
        Some(None) => Err(Lack::Address(name.into())),
        Some(Some(address)) => Ok(*address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: &str = "\
interface gin
 ip nat inside
interface gout
 ip nat outside
!
access-list 1 permit 192.168.122.0 0.0.0.255
ip nat inside source list 1 interface gout overload
ip nat service sip tcp port 8000
";

    const LISTENER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 15060);

    fn host() -> Interfaces {
        Interfaces::from([
            ("gin".into(), Some(Ipv4Addr::new(192, 168, 122, 1))),
            ("gout".into(), Some(Ipv4Addr::new(10, 1, 1, 1))),
            ("spare".into(), None),
        ])
    }

    fn planned(configuration: &str) -> Result<Plan, Error> {
        plan(&Startup::parse(configuration).unwrap(), &host(), LISTENER)
    }

    #[test]
    fn a_rule_translates_to_the_address_of_its_interface() {
        let plan = planned(CONFIGURATION).unwrap();
        assert_eq!(plan.inside, ["gin"]);
        assert_eq!(plan.outside, ["gout"]);
        assert_eq!(plan.sip_tcp_ports, [5060, 8000]);
        let startup = Startup::parse("ip nat service sip maximum body 5\n").unwrap();
        let config = machine(&plan, &startup, true);
        assert_eq!(config.limits.body_bytes, 5);
        let (index, rule) = config.source_for(Ipv4Addr::new(192, 168, 122, 3)).unwrap();
        let globals = [Ipv4Addr::new(10, 1, 1, 1); 2];
        assert_eq!((index, rule.globals()), (0, globals));
    }

    #[test]
    fn what_the_configuration_lacks_is_named() {
        let inside = "interface gin\n ip nat inside\n";
        let outside = "interface gout\n ip nat outside\n";
        assert_eq!(planned(outside).unwrap_err(), Error::NoRole("inside"));
        assert_eq!(planned(inside).unwrap_err(), Error::NoRole("outside"));
        let both = format!("{inside}{outside}");
        assert_eq!(planned(&both).unwrap_err(), Error::NoRule);
    }

    #[test]
    fn what_the_host_lacks_is_named_and_its_rules_are_idle() {
        let lack = |name: &str| {
            let startup = Startup::parse(&CONFIGURATION.replace("gout", name)).unwrap();
            let plan = plan(&startup, &host(), LISTENER).unwrap();
            assert_eq!(
                (plan.sources.len(), &plan.outside[..]),
                (0, &[name.into()][..])
            );
            assert_eq!(lacks(&startup, &host(), Leg::Inside), []);
            lacks(&startup, &host(), Leg::Outside)
        };
        assert_eq!(lack("nowhere"), [Lack::Interface("nowhere".into())]);
        assert_eq!(lack("spare"), [Lack::Address("spare".into())]);
    }
}
