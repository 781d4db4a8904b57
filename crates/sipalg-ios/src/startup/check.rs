//! What cannot be: rules that contradict each other, and configurations that lack something.
//!
//! A rule that contradicts another is refused when it is typed; what is missing only at the end,
//! since the next line may bring it.

use super::{AddressPool, GlobalAddress, GlobalSet, InsideSource, SourceKind, Startup};
use core::fmt;
use sipalg_core::Leg;
use sipalg_core::addr::{Ipv4Addr, Protocol};

/// Why a configuration cannot work as a whole, although each line is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// What it says that cannot be.
    pub statement: Statement,
    /// The token of the statement at fault.
    pub argument: &'static str,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// Something that one line of a configuration says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Statement {
    /// `ip nat inside source ...`
    Source(InsideSource),
    /// `ip nat service sip access-group LIST`
    AccessGroup(String),
    /// `ip nat service sip media access-group LIST`
    MediaAccessGroup(String),
    /// `ip nat service sip trusted LIST`
    Trusted(String),
    /// `ip nat service sip bypass LIST`
    Bypass(String),
    /// `ip nat translation max-entries list LIST ...`
    MaxEntries(String),
}

impl Statement {
    /// Whether the configuration says so.
    pub fn is_in(&self, startup: &Startup) -> bool {
        match self {
            Statement::Source(rule) => startup.sources.contains(rule),
            Statement::AccessGroup(list) => startup.sip_access_group.as_ref() == Some(list),
            Statement::MediaAccessGroup(list) => {
                startup.sip_media_access_group.as_ref() == Some(list)
            }
            Statement::Trusted(list) => startup.sip_trusted.as_ref() == Some(list),
            Statement::Bypass(list) => startup.sip_bypass.as_ref() == Some(list),
            Statement::MaxEntries(list) => startup.max_entries.lists.contains_key(list),
        }
    }
}

impl Statement {
    /// Makes a configuration not say so.
    pub(crate) fn leave_out_of(&self, startup: &mut Startup) {
        match self {
            Statement::Source(rule) => startup.sources.retain(|other| other != rule),
            Statement::AccessGroup(_) => startup.sip_access_group = None,
            Statement::MediaAccessGroup(_) => startup.sip_media_access_group = None,
            Statement::Trusted(_) => startup.sip_trusted = None,
            Statement::Bypass(_) => startup.sip_bypass = None,
            Statement::MaxEntries(list) => drop(startup.max_entries.lists.remove(list)),
        }
    }
}

/// A token at fault, and why.
pub(crate) type Fault = (&'static str, String);

impl Startup {
    /// Whether the configuration can work as a whole.
    ///
    /// # Errors
    /// The first statement that cannot.
    pub fn check(&self) -> Result<(), Conflict> {
        for rule in &self.sources {
            self.check_source(rule).map_err(|(argument, reason)| {
                let statement = Statement::Source(rule.clone());
                Conflict {
                    statement,
                    argument,
                    reason,
                }
            })?;
        }
        type Say = fn(String) -> Statement;
        let services: [(&Option<String>, Say); 4] = [
            (&self.sip_access_group, Statement::AccessGroup),
            (&self.sip_media_access_group, Statement::MediaAccessGroup),
            (&self.sip_trusted, Statement::Trusted),
            (&self.sip_bypass, Statement::Bypass),
        ];
        let named = services
            .into_iter()
            .filter_map(|(list, say)| Some((list.as_ref()?, say)));
        let bounded = self.max_entries.lists.keys();
        for (list, say) in named.chain(bounded.map(|list| (list, Statement::MaxEntries as Say))) {
            self.check_list(list)
                .map_err(|(argument, reason)| Conflict {
                    statement: say(list.clone()),
                    argument,
                    reason,
                })?;
        }
        Ok(())
    }

    /// What a rule lacks.
    fn check_source(&self, rule: &InsideSource) -> Result<(), Fault> {
        if let SourceKind::List { list, to, .. } = &rule.kind {
            self.check_list(list)?;
            if let GlobalSet::Pool(pool) = to
                && !self.pools.contains_key(pool)
            {
                return Err(("POOL", format!("Pool {pool} not found")));
            }
        }
        if let Some(interface) = rule.interface()
            && self.interface(interface).and_then(|i| i.nat) != Some(Leg::Outside)
        {
            let reason = format!("interface {interface} is not configured as `ip nat outside`");
            return Err(("INTERFACE", reason));
        }
        for (leg, side) in [(Leg::Inside, "inside"), (Leg::Outside, "outside")] {
            if self.interfaces_on(leg).next().is_none() {
                let reason = format!("no interface is configured as `ip nat {side}`");
                return Err(("inside", reason));
            }
        }
        Ok(())
    }

    /// IOS takes a list that is missing or empty for "permit any" in some places; here that would
    /// translate or let in more than anyone asked for.
    fn check_list(&self, name: &str) -> Result<(), Fault> {
        match self.access_list(name) {
            None => Err(("LIST", format!("access list {name} does not exist"))),
            Some(list) if list.entries.is_empty() => {
                let reason = format!("access list {name} has no permit or deny line");
                Err(("LIST", reason))
            }
            Some(_) => Ok(()),
        }
    }

    /// Why a rule cannot be beside those that are there, other than a former form of itself.
    pub(crate) fn contradiction(&self, rule: &InsideSource) -> Result<(), Fault> {
        let others = || self.sources.iter().filter(|other| !other.replaces(rule));
        if let SourceKind::List { to, overload, .. } = &rule.kind {
            return others().try_for_each(|other| match &other.kind {
                SourceKind::List {
                    list,
                    to: GlobalSet::Pool(pool),
                    overload: shared,
                } if *to == GlobalSet::Pool(pool.clone()) && shared != overload => {
                    let how = if *shared { "with" } else { "without" };
                    let reason = format!("pool {pool} is in use {how} overload by list {list}");
                    Err(("POOL", reason))
                }
                _ => self
                    .meets(rule, other)
                    .map_err(|reason| (to.argument(), reason)),
            });
        }
        for (argument, address) in rule.hosts() {
            check_host(argument, address)?;
        }
        for other in others() {
            let (ours, theirs) = (rule.local(), other.local());
            if let (Some(ours), Some(theirs)) = (ours, theirs)
                && ours.overlaps(&theirs)
            {
                return Err(("LOCAL", format!("{ours} already mapped ({other})")));
            }
            let (ours, theirs) = (rule.global(), other.global());
            if let (Some(ours), Some(theirs)) = (ours, theirs)
                && ours.overlaps(&theirs)
            {
                let reason = format!("similar static entry ({other}) already exists");
                return Err((rule.global_argument(), reason));
            }
            self.meets(other, rule)
                .map_err(|reason| (rule.global_argument(), reason))?;
        }
        match self.pools.iter().find(|(_, pool)| rule.takes_from(pool)) {
            Some((name, pool)) if !rule.is_port() => {
                let reason = in_pool(rule, name, pool);
                Err((rule.global_argument(), reason))
            }
            _ => Ok(()),
        }
    }

    /// Why a list rule cannot be beside a static one: an address that hosts share cannot belong to
    /// one of them alone, nor an address that a host has alone to another's service.
    fn meets(&self, dynamic: &InsideSource, fixed: &InsideSource) -> Result<(), String> {
        let SourceKind::List { list, to, overload } = &dynamic.kind else {
            return Ok(());
        };
        match to {
            GlobalSet::Interface(name) => match (&fixed.kind, fixed.interface()) {
                (SourceKind::Static { local, .. }, Some(interface)) if interface == name => {
                    Err(format!(
                        "list {list} shares the address of interface {name}, which {local} cannot \
                         have alone; use `static tcp` and `static udp`"
                    ))
                }
                _ => Ok(()),
            },
            GlobalSet::Pool(name) => match self.pools.get(name) {
                Some(pool) if !overload && fixed.is_port() && fixed.takes_from(pool) => {
                    Err(in_pool(fixed, name, pool))
                }
                _ => Ok(()),
            },
        }
    }

    /// Why a pool cannot be beside what is there, other than a former form of itself.
    pub(crate) fn pool_contradiction(&self, name: &str, pool: &AddressPool) -> Result<(), Fault> {
        let AddressPool { start, end, .. } = *pool;
        for (argument, address) in [("START", start), ("END", end)] {
            check_host(argument, address)?;
        }
        if end < start {
            return Err(("END", "End address less than start address".into()));
        }
        let mask = u32::from(pool.netmask());
        if u32::from(start) & mask != u32::from(end) & mask {
            return Err(("END", "Start and end addresses on different subnets".into()));
        }
        let ours = Claim::range(start, end);
        for (other, theirs) in self.pools.iter().filter(|(other, _)| *other != name) {
            if ours.overlaps(&Claim::range(theirs.start, theirs.end)) {
                let reason = format!(
                    "Pool {name} overlaps pool {other} ({} - {})",
                    theirs.start, theirs.end
                );
                return Err(("START", reason));
            }
        }
        let alone = self.sources.iter().any(|rule| {
            let to = |rule: &SourceKind| match rule {
                SourceKind::List { to, overload, .. } => {
                    *to == GlobalSet::Pool(name.into()) && !overload
                }
                _ => false,
            };
            to(&rule.kind)
        });
        let taken = |rule: &&InsideSource| rule.takes_from(pool) && (alone || !rule.is_port());
        match self.sources.iter().find(taken) {
            Some(rule) => Err(("START", in_pool(rule, name, pool))),
            None => Ok(()),
        }
    }
}

fn check_host(argument: &'static str, address: Ipv4Addr) -> Result<(), Fault> {
    match address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
        true => Err((argument, format!("{address} is no host's address"))),
        false => Ok(()),
    }
}

fn in_pool(rule: &InsideSource, name: &str, pool: &AddressPool) -> String {
    format!(
        "static entry ({rule}) is in the range of pool {name} ({} - {})",
        pool.start, pool.end
    )
}

impl InsideSource {
    /// The outside interface that it names, if it does.
    pub fn interface(&self) -> Option<&str> {
        match &self.kind {
            SourceKind::List {
                to: GlobalSet::Interface(name),
                ..
            }
            | SourceKind::Static {
                global: GlobalAddress::Interface(name),
                ..
            }
            | SourceKind::StaticPort {
                global: GlobalAddress::Interface(name),
                ..
            } => Some(name),
            _ => None,
        }
    }

    /// Whether it translates the same to the same: typing one again changes its options.
    pub(crate) fn replaces(&self, other: &InsideSource) -> bool {
        match (&self.kind, &other.kind) {
            (
                SourceKind::List { list, to, .. },
                SourceKind::List {
                    list: other_list,
                    to: other_to,
                    ..
                },
            ) => list == other_list && to == other_to,
            (ours, theirs) => ours == theirs,
        }
    }

    /// The addresses that a static rule names, by token.
    fn hosts(&self) -> impl Iterator<Item = (&'static str, Ipv4Addr)> {
        let (local, global) = match &self.kind {
            SourceKind::List { .. } => return None.into_iter().chain(None),
            SourceKind::Static { local, global, .. }
            | SourceKind::StaticPort { local, global, .. } => (local, global),
        };
        let global = match global {
            GlobalAddress::Address(address) => Some(("GLOBAL", *address)),
            GlobalAddress::Interface(_) => None,
        };
        Some(("LOCAL", *local)).into_iter().chain(global)
    }

    fn is_port(&self) -> bool {
        matches!(self.kind, SourceKind::StaticPort { .. })
    }

    fn takes_from(&self, pool: &AddressPool) -> bool {
        let pool = Claim::range(pool.start, pool.end);
        self.global().is_some_and(|global| pool.overlaps(&global))
    }

    /// The token with the global address.
    fn global_argument(&self) -> &'static str {
        match self.interface() {
            Some(_) => "INTERFACE",
            None => "GLOBAL",
        }
    }

    /// What a static rule claims of the inside.
    fn local(&self) -> Option<Claim<'_>> {
        match &self.kind {
            SourceKind::List { .. } => None,
            SourceKind::Static { local, prefix, .. } => Some(Claim::network(*local, *prefix)),
            SourceKind::StaticPort {
                protocol,
                local,
                local_port,
                ..
            } => Some(Claim {
                port: Some((*protocol, *local_port)),
                ..Claim::network(*local, 32)
            }),
        }
    }

    /// What a static rule claims of the outside.
    fn global(&self) -> Option<Claim<'_>> {
        let claim = |address: &'_ GlobalAddress, prefix| match address {
            GlobalAddress::Address(address) => Claim::network(*address, prefix),
            GlobalAddress::Interface(_) => Claim::network(Ipv4Addr::UNSPECIFIED, 32),
        };
        let (claim, port) = match &self.kind {
            SourceKind::List { .. } => return None,
            SourceKind::Static { global, prefix, .. } => (claim(global, *prefix), None),
            SourceKind::StaticPort {
                protocol,
                global,
                global_port,
                ..
            } => (claim(global, 32), Some((*protocol, *global_port))),
        };
        Some(Claim {
            port,
            interface: self.interface(),
            ..claim
        })
    }
}

impl GlobalSet {
    /// The token that names it.
    fn argument(&self) -> &'static str {
        match self {
            GlobalSet::Interface(_) => "INTERFACE",
            GlobalSet::Pool(_) => "POOL",
        }
    }
}

impl fmt::Display for InsideSource {
    /// As IOS names a static entry: `LOCAL -> GLOBAL`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            SourceKind::List { list, .. } => write!(f, "list {list}"),
            SourceKind::Static {
                local,
                global,
                prefix: 32,
            } => write!(f, "{local} -> {global}"),
            SourceKind::Static {
                local,
                global,
                prefix,
            } => write!(f, "{local}/{prefix} -> {global}/{prefix}"),
            SourceKind::StaticPort {
                protocol,
                local,
                local_port,
                global,
                global_port,
            } => {
                let protocol = protocol.name();
                write!(
                    f,
                    "{protocol} {local}:{local_port} -> {global}:{global_port}"
                )
            }
        }
    }
}

/// Addresses, or a port of one, that a static rule has to itself.
#[derive(Clone, Copy)]
struct Claim<'a> {
    first: Ipv4Addr,
    last: Ipv4Addr,
    /// All ports, if none.
    port: Option<(Protocol, u16)>,
    /// Whose address it is, if that is not known yet.
    interface: Option<&'a str>,
}

impl Claim<'_> {
    fn range(first: Ipv4Addr, last: Ipv4Addr) -> Self {
        Claim {
            first,
            last,
            port: None,
            interface: None,
        }
    }

    fn network(address: Ipv4Addr, prefix: u8) -> Self {
        let bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
        let first = u32::from(address) & !bits;
        Claim::range(first.into(), (first | bits).into())
    }

    fn overlaps(&self, other: &Claim<'_>) -> bool {
        let ports = match (self.port, other.port) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        ports
            && self.interface == other.interface
            && self.first <= other.last
            && other.first <= self.last
    }
}

impl fmt::Display for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.first != self.last {
            write!(f, " - {}", self.last)?;
        }
        match self.port {
            Some((protocol, port)) => write!(f, " {} port {port}", protocol.name()),
            None => Ok(()),
        }
    }
}
