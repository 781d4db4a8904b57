//! Interfaces, addresses, kernel settings, and programs that wait at our ports.

use super::{Finding, Weight};
use crate::plan::{self, Interfaces, Lack};
use crate::services;
use nix::unistd::{AccessFlags, access};
use sipalg_core::Leg;
use sipalg_ios::Startup;
use sipalg_ios::show::Service;
use sipalg_ios::startup::{GlobalAddress, GlobalSet, SourceKind};
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};

/// What is found, without privileges.
pub(super) fn findings(startup: &Startup, interfaces: &Interfaces, tproxy: u16) -> Vec<Finding> {
    let mut found = lacks(startup, interfaces);
    let own = own_addresses();
    found.extend(addresses(startup, &own));
    found.extend(forwarding(startup));
    found.extend(reverse_path(startup));
    found.extend(proxy_port(tproxy));
    found.extend(services(startup, &own));
    found
}

fn lacks(startup: &Startup, interfaces: &Interfaces) -> Vec<Finding> {
    let sides = [Leg::Inside, Leg::Outside].into_iter();
    let lacks = sides.flat_map(|side| plan::lacks(startup, interfaces, side));
    lacks
        .map(|lack| {
            let remedy = match &lack {
                Lack::Interface(_) => "name one that `ip addr` shows, or bring it up".into(),
                Lack::Address(name) => {
                    format!("`ip address add ADDRESS/PREFIX dev {name}`, or DHCP")
                }
            };
            Finding::new(Weight::Stops, lack.to_string(), remedy)
        })
        .collect()
}

/// Every address of this host, with its interface.
fn own_addresses() -> Vec<(String, Ipv4Addr)> {
    let list = nix::ifaddrs::getifaddrs().into_iter().flatten();
    list.filter_map(|entry| {
        let address = entry.address.as_ref()?.as_sockaddr_in()?.ip();
        Some((entry.interface_name, address))
    })
    .collect()
}

/// Addresses of the gateway itself that rules give to one inside host.
fn addresses(startup: &Startup, own: &[(String, Ipv4Addr)]) -> Vec<Finding> {
    let mut found = Vec::new();
    for rule in &startup.sources {
        let (first, last, by, remedy) = match &rule.kind {
            SourceKind::List {
                to: GlobalSet::Pool(name),
                overload: false,
                ..
            } => match startup.pools.get(name) {
                Some(pool) => (
                    pool.start,
                    pool.end,
                    format!("pool {name}"),
                    "leave it out of the pool, or share the pool with `overload`",
                ),
                None => continue,
            },
            SourceKind::Static {
                global: GlobalAddress::Address(global),
                prefix,
                ..
            } => {
                let host = u32::MAX.checked_shr((*prefix).into()).unwrap_or(0);
                let first = u32::from(*global) & !host;
                (
                    first.into(),
                    (first | host).into(),
                    format!("the static rule {rule}"),
                    "name another address, or single services by `static tcp` and `static udp`",
                )
            }
            _ => continue,
        };
        for (interface, address) in own.iter().filter(|(_, a)| (first..=last).contains(a)) {
            let what = format!(
                "{by} gives {address} to an inside host, but it is this gateway's own, of interface \
                 {interface}: what is sent to the gateway would go there"
            );
            found.push(Finding::new(Weight::Stops, what, remedy));
        }
    }
    found
}

fn forwarding(startup: &Startup) -> Vec<Finding> {
    const IP_FORWARD: &str = "net/ipv4/ip_forward";
    match setting(IP_FORWARD).as_deref() {
        None => vec![Finding::new(
            Weight::Unseen,
            "net.ipv4.ip_forward cannot be read",
            "",
        )],
        Some("0") => {
            let privileged = nix::unistd::geteuid().is_root();
            let path = format!("/proc/sys/{IP_FORWARD}");
            if privileged && access(path.as_str(), AccessFlags::W_OK).is_err() {
                let what = "net.ipv4.ip_forward is 0 and cannot be set from here";
                let remedy =
                    "set it to 1 from where /proc/sys can be written, as on the container's host";
                return vec![Finding::new(Weight::Stops, what, remedy)];
            }
            let what = "net.ipv4.ip_forward is 0; sipalg sets it to 1 when it starts, and back when it ends";
            vec![Finding::new(Weight::Note, what, "")]
        }
        Some(_) => {
            let off = |name: &&str| {
                setting(&format!("net/ipv4/conf/{name}/forwarding")).as_deref() == Some("0")
            };
            ours(startup)
                .filter(off)
                .map(|name| {
                    let what = format!("packets that come in by {name} are not forwarded");
                    let remedy = format!("`sysctl net.ipv4.conf.{name}.forwarding=1`");
                    Finding::new(Weight::Stops, what, remedy)
                })
                .collect()
        }
    }
}

/// The check of source addresses hinders nobody who has one way out; sipalg's own rules pass it also
/// with `src_valid_mark`.
fn reverse_path(startup: &Startup) -> Vec<Finding> {
    if startup.interfaces_on(Leg::Outside).count() < 2 {
        return Vec::new();
    }
    let strict = |name: &&str| {
        let of = |name: &str| setting(&format!("net/ipv4/conf/{name}/rp_filter"));
        let value = |name: &str| of(name).and_then(|text| text.parse::<u8>().ok());
        value("all").max(value(name)) == Some(1)
    };
    startup
        .interfaces_on(Leg::Outside)
        .filter(strict)
        .map(|name| {
            let what = format!(
                "there are several outside interfaces, and rp_filter is strict on {name}: what comes in \
                 there from hosts that the routes have behind another one is dropped"
            );
            let remedy = format!("`sysctl net.ipv4.conf.{name}.rp_filter=2`");
            Finding::new(Weight::Stops, what, remedy)
        })
        .collect()
}

fn proxy_port(tproxy: u16) -> Vec<Finding> {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, tproxy);
    let holders = match services::holders(address) {
        Ok(holders) => holders,
        Err(error) => {
            let what = format!("who waits at {address} is not known: {error}");
            return vec![Finding::new(Weight::Unseen, what, "")];
        }
    };
    let mut found: Vec<_> = holders
        .iter()
        .map(|holder| {
            let owner = holder.owner.as_deref().unwrap_or("another program");
            if owner.starts_with("sipalg ") {
                let what = format!("a gateway runs here already: {owner}");
                let remedy = "SIGHUP, or `reload` on its console, makes it read its file again";
                return Finding::new(Weight::Note, what, remedy);
            }
            let what = format!("{address}, where intercepted SIP arrives, is in use: {owner}");
            Finding::new(
                Weight::Stops,
                what,
                "choose another port with --tproxy-port",
            )
        })
        .collect();
    found.dedup();
    found
}

/// Programs of the gateway itself at SIP ports, or at those of static rules on its own addresses.
fn services(startup: &Startup, own: &[(String, Ipv4Addr)]) -> Vec<Finding> {
    let sip: Vec<_> = startup.sip_ports().collect();
    let fixed = startup.sources.iter().filter_map(|rule| match &rule.kind {
        SourceKind::StaticPort {
            protocol,
            global,
            global_port,
            ..
        } => {
            let is_own = match global {
                GlobalAddress::Address(address) => own.iter().any(|(_, own)| own == address),
                GlobalAddress::Interface(_) => true,
            };
            is_own.then_some((*protocol, *global_port))
        }
        _ => None,
    });
    let fixed: Vec<_> = fixed.collect();
    let all = [sip, fixed.clone()].concat();
    let services = match services::others(&all) {
        Ok(services) => services,
        Err(error) => {
            let what = format!("which ports other programs use is not known: {error}");
            return vec![Finding::new(Weight::Unseen, what, "")];
        }
    };
    let tell = |service: &Service| {
        let Service {
            protocol,
            port,
            owner,
        } = service;
        let owner = owner.as_deref().unwrap_or("a program of another user");
        let (protocol, key) = (protocol.name(), (*protocol, *port));
        if fixed.contains(&key) {
            let what = format!(
                "{owner} waits at {protocol} port {port}, which a static rule gives to an inside host: nobody outside reaches it"
            );
            return Finding::new(
                Weight::Stops,
                what,
                "stop it, move it, or name another port in the rule",
            );
        }
        let what = format!(
            "{owner} waits at {protocol} port {port} of this gateway: what is sent to the gateway itself \
             is for it, and no inside host is known outside by that port"
        );
        Finding::new(Weight::Note, what, "")
    };
    services.iter().map(tell).collect()
}

fn ours(startup: &Startup) -> impl Iterator<Item = &str> {
    let sides = [Leg::Inside, Leg::Outside].into_iter();
    sides.flat_map(|side| startup.interfaces_on(side))
}

fn setting(path: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/{path}")).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: &str = "\
interface gin
 ip nat inside
interface gout
 ip nat outside
access-list 1 permit any
ip nat pool OWN 10.1.1.1 10.1.1.9 prefix-length 24
ip nat inside source list 1 pool OWN
ip nat inside source static network 192.168.5.0 10.2.0.0 /24
";

    #[test]
    fn own_addresses_that_rules_give_away_are_named() {
        let startup = Startup::parse(CONFIGURATION).unwrap();
        let own = |address: &str| vec![("gout".to_owned(), address.parse().unwrap())];
        let whats = |address| -> Vec<String> {
            let found = addresses(&startup, &own(address));
            found.into_iter().map(|finding| finding.what).collect()
        };
        assert!(whats("10.1.1.9")[0].starts_with("pool OWN gives 10.1.1.9 to an inside host"));
        assert!(whats("10.2.0.7")[0].starts_with("the static rule 192.168.5.0/24"));
        assert_eq!(whats("10.1.1.10"), [""; 0]);
        let shared = CONFIGURATION.replace("pool OWN\n", "pool OWN overload\n");
        let shared = Startup::parse(&shared).unwrap();
        assert_eq!(addresses(&shared, &own("10.1.1.9")), []);
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let startup = Startup::parse(CONFIGURATION).unwrap();
        let interfaces = Interfaces::from([("gout".into(), None)]);
        let found = lacks(&startup, &interfaces);
        let whats: Vec<_> = found.iter().map(|finding| finding.what.as_str()).collect();
        let expected = [
            "there is no interface gin on this host",
            "interface gout has no IPv4 address",
        ];
        assert_eq!(whats, expected);
        assert!(found.iter().all(|finding| !finding.remedy.is_empty()));
    }
}
