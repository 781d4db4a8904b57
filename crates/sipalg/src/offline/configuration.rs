//! Who is inside, and what they become: from a startup configuration or from the command line alone.

use crate::plan;
use sipalg_core::Config;
use sipalg_core::config::{AccessEntry, AccessList, Limits, SourceRule};
use sipalg_ios::startup::DEFAULT_SIP_PORT;
use sipalg_ios::{ConfigError, Startup};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// A startup configuration.
    pub file: Option<PathBuf>,
    /// Without one: the inside hosts.
    pub inside: Vec<Prefix>,
    /// The addresses that they are translated to.
    pub globals: Vec<Global>,
}

/// `192.168.122.0/24`, or one host's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    address: Ipv4Addr,
    length: u8,
}

/// `10.1.1.1`, or `gout=10.1.1.1` for one outside interface only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Global {
    interface: Option<String>,
    address: Ipv4Addr,
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, length) = text.split_once('/').unwrap_or((text, "32"));
        let wrong = || format!("{text} is no IPv4 prefix like 192.168.122.0/24");
        let address = address.parse().map_err(|_| wrong())?;
        let length = length.parse().map_err(|_| wrong())?;
        (length <= 32)
            .then_some(Prefix { address, length })
            .ok_or_else(wrong)
    }
}

impl FromStr for Global {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (interface, address) = match text.split_once('=') {
            Some((interface, address)) => (Some(interface.to_owned()), address),
            None => (None, text),
        };
        let wrong = || format!("{text} is neither an IPv4 address nor INTERFACE=ADDRESS");
        let address = address.parse().map_err(|_| wrong())?;
        Ok(Global { interface, address })
    }
}

/// Why the command line cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {error}", path.display())]
    NoFile {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file has a wrong line.
    #[error("{}", error.in_file(path.display()))]
    WrongFile {
        /// Which.
        path: PathBuf,
        /// Where and what.
        error: ConfigError,
    },
    /// The file translates nobody.
    #[error(
        "there is no `ip nat inside source list LIST interface IF overload` in {}; add one",
        path.display()
    )]
    NoRule {
        /// Which.
        path: PathBuf,
    },
    /// Nobody says what an interface's address is.
    #[error("no address is known for interface {0}; give it with --global {0}=ADDRESS")]
    NoAddress(String),
    /// Nobody says what inside hosts become.
    #[error("no inside global address is known; give it with --global ADDRESS")]
    NoGlobal,
    /// Several addresses for the same hosts.
    #[error("--inside takes one --global ADDRESS; for several, use --config FILE")]
    ManyGlobals,
    /// An inside global address is inside.
    #[error("{0} is an inside host's address, so it cannot be the inside global address, too")]
    GlobalInside(Ipv4Addr),
}

/// What the offline gateway runs under.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The machine's.
    pub machine: Config,
    /// TCP and UDP ports on which SIP is looked into.
    pub sip_ports: BTreeSet<u16>,
}

impl Configuration {
    /// Reads the file, if there is one, and puts everything together.
    ///
    /// # Errors
    /// The file is wrong, or an address is missing.
    pub fn find(asked: &Asked, sip_ports: &BTreeSet<u16>) -> Result<Self, Problem> {
        let (sources, mut ports, limits) = match &asked.file {
            Some(path) => {
                let startup = read(path)?;
                let sources = of_file(path, &startup, &asked.globals)?;
                let limits = startup.limits();
                (sources, startup.sip_tcp_ports, limits)
            }
            None if sip_ports.is_empty() => {
                let source = of_prefixes(&asked.inside, &asked.globals)?;
                let ports = BTreeSet::from([DEFAULT_SIP_PORT]);
                (vec![source], ports, Limits::default())
            }
            None => {
                let source = of_prefixes(&asked.inside, &asked.globals)?;
                (vec![source], BTreeSet::new(), Limits::default())
            }
        };
        ports.extend(sip_ports);
        let machine = Config {
            sources,
            limits,
            ..Config::default()
        };
        let globals = machine.sources.iter().flat_map(SourceRule::globals);
        if let Some(global) = globals.into_iter().find(|global| machine.permits(*global)) {
            return Err(Problem::GlobalInside(global));
        }
        Ok(Configuration {
            machine,
            sip_ports: ports,
        })
    }
}

fn read(path: &Path) -> Result<Startup, Problem> {
    let text = fs::read_to_string(path).map_err(|error| Problem::NoFile {
        path: path.to_owned(),
        error,
    })?;
    Startup::parse(&text).map_err(|error| Problem::WrongFile {
        path: path.to_owned(),
        error,
    })
}

fn of_file(path: &Path, startup: &Startup, globals: &[Global]) -> Result<Vec<SourceRule>, Problem> {
    if startup.sources.is_empty() {
        return Err(Problem::NoRule {
            path: path.to_owned(),
        });
    }
    let here = here();
    let address_of = |interface: &str| {
        let named = |global: &&Global| global.interface.as_deref() == Some(interface);
        let given = globals.iter().find(named);
        let given = given.or_else(|| globals.iter().find(|global| global.interface.is_none()));
        let address = given.map(|global| global.address);
        let address = address.or_else(|| here.get(interface).copied());
        address.ok_or_else(|| Problem::NoAddress(interface.into()))
    };
    let rules = plan::ordered(&startup.sources).into_iter();
    rules
        .map(|rule| plan::source_rule(startup, rule, address_of))
        .collect()
}

fn of_prefixes(inside: &[Prefix], globals: &[Global]) -> Result<SourceRule, Problem> {
    let global = match globals {
        [] => return Err(Problem::NoGlobal),
        [global] => global.address,
        _ => return Err(Problem::ManyGlobals),
    };
    let entry = |prefix: &Prefix| {
        AccessEntry::standard(
            true,
            prefix.address,
            u32::MAX
                .checked_shr(prefix.length.into())
                .unwrap_or(0)
                .into(),
        )
    };
    let list = AccessList {
        name: "--inside".into(),
        entries: inside.iter().map(entry).collect(),
    };
    Ok(SourceRule::overload(list, global))
}

/// The addresses of this host's interfaces: on the gateway itself, nobody needs to say them.
fn here() -> BTreeMap<String, Ipv4Addr> {
    let mut addresses = BTreeMap::new();
    for entry in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let address = entry.address.as_ref().and_then(|a| a.as_sockaddr_in());
        if let Some(address) = address {
            addresses
                .entry(entry.interface_name)
                .or_insert(address.ip());
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(inside: &[&str], globals: &[&str]) -> Asked {
        Asked {
            file: None,
            inside: inside.iter().map(|text| text.parse().unwrap()).collect(),
            globals: globals.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn prefixes_say_who_is_inside() {
        let asked = asked(&["192.168.0.0/16", "10.0.0.7", "0.0.0.0/32"], &["10.1.1.1"]);
        let found = Configuration::find(&asked, &BTreeSet::new()).unwrap();
        let inside = |text: &str| found.machine.permits(text.parse().unwrap());
        assert!(inside("192.168.200.3") && inside("10.0.0.7"));
        assert!(!inside("10.0.0.8") && !inside("192.169.0.1"));
        assert_eq!(found.sip_ports, BTreeSet::from([5060]));
        assert!("0.0.0.0/0".parse::<Prefix>().is_ok());
        assert!("10.0.0.0/33".parse::<Prefix>().is_err());
        assert!("10.0.0/8".parse::<Prefix>().is_err());
    }

    #[test]
    fn what_is_missing_or_contradicts_is_said() {
        let find = |inside: &[&str], globals: &[&str]| {
            let problem = Configuration::find(&asked(inside, globals), &BTreeSet::new());
            problem.unwrap_err().to_string()
        };
        assert!(find(&["10.0.0.0/8"], &[]).contains("--global ADDRESS"));
        assert!(find(&["10.0.0.0/8"], &["10.1.1.1"]).contains("10.1.1.1 is an inside"));
        assert!(find(&["10.0.0.0/8"], &["1.1.1.1", "2.2.2.2"]).contains("one --global"));
        assert!("gout=nowhere".parse::<Global>().is_err());
    }
}
