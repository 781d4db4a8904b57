//! From what the configuration says and what the host has to what the kernel and the machine do.

use crate::kernel::{Plan, SourcePlan};
use sipalg_core::Leg;
use sipalg_core::config::{Config, SourceRule};
use sipalg_ios::Startup;
use sipalg_ios::startup::InsideSource;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

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
    /// No port is proxied.
    #[error("no SIP port is left; add one with `ip nat service sip tcp port PORT`")]
    NoPort,
    /// The configuration names an interface that is not there.
    #[error("there is no interface {0} on this host; name one that `ip link` shows")]
    NoInterface(String),
    /// An interface cannot be used for IPv4 yet.
    #[error("interface {0} has no IPv4 address; give it one first")]
    NoAddress(String),
}

impl Error {
    /// Whether the configuration is wrong on any host, or else this host is not as it expects.
    pub fn is_in_configuration(&self) -> bool {
        !matches!(self, Error::NoInterface(_) | Error::NoAddress(_))
    }
}

/// What the kernel must do for `startup` on a host with these interfaces.
///
/// # Errors
/// The configuration lacks something, or the host does.
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
    if startup.sip_tcp_ports.is_empty() {
        return Err(Error::NoPort);
    }
    for name in inside.iter().chain(&outside) {
        address_of(interfaces, name)?;
    }
    let source = |rule: &InsideSource| {
        Ok(SourcePlan {
            // `Startup::parse` has made sure of the list; without one, nobody would be permitted.
            list: startup.access_list(&rule.list).unwrap_or_default(),
            interface: rule.interface.clone(),
            global: address_of(interfaces, &rule.interface)?,
        })
    };
    let sources = startup
        .sources
        .iter()
        .map(source)
        .collect::<Result<_, Error>>()?;
    let sip_tcp_ports = startup.sip_tcp_ports.iter().copied().collect();
    Ok(Plan {
        inside,
        outside,
        sources,
        sip_tcp_ports,
        listener,
    })
}

/// The machine's configuration that goes with a plan.
pub fn machine(plan: &Plan, startup: &Startup, fixup: bool) -> Config {
    let rule = |source: &SourcePlan| SourceRule {
        list: source.list.clone(),
        global: source.global,
    };
    Config {
        sources: plan.sources.iter().map(rule).collect(),
        fixup,
        limits: startup.limits(),
        ..Config::default()
    }
}

fn address_of(interfaces: &Interfaces, name: &str) -> Result<Ipv4Addr, Error> {
    match interfaces.get(name) {
        None => Err(Error::NoInterface(name.into())),
        Some(None) => Err(Error::NoAddress(name.into())),
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
        assert_eq!((index, rule.global), (0, Ipv4Addr::new(10, 1, 1, 1)));
    }

    #[test]
    fn what_the_configuration_lacks_is_named() {
        let inside = "interface gin\n ip nat inside\n";
        let outside = "interface gout\n ip nat outside\n";
        assert_eq!(planned(outside).unwrap_err(), Error::NoRole("inside"));
        assert_eq!(planned(inside).unwrap_err(), Error::NoRole("outside"));
        let both = format!("{inside}{outside}");
        assert_eq!(planned(&both).unwrap_err(), Error::NoRule);
        let without_ports =
            "no ip nat service sip tcp port 5060\nno ip nat service sip tcp port 8000\n";
        let text = format!("{CONFIGURATION}{without_ports}");
        assert_eq!(planned(&text).unwrap_err(), Error::NoPort);
    }

    #[test]
    fn what_the_host_lacks_is_named() {
        let with = |name| planned(&CONFIGURATION.replace("gout", name)).unwrap_err();
        assert_eq!(with("nowhere"), Error::NoInterface("nowhere".into()));
        assert_eq!(with("spare"), Error::NoAddress("spare".into()));
    }
}
