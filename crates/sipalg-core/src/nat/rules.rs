//! What becomes what by the rules, before and beside any mapping.

use super::{Context, MapError, MappingId, Nat, policy};
use crate::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use crate::config::{Config, Pool, Source, SourceRule};
use crate::outbox::Outbox;

/// Where the rules put an inside local.
pub(super) enum Place {
    /// There alone: by a static rule, or at its port of an address that its host has for itself.
    Exact(SocketAddrV4),
    /// At any port of that address.
    Shared(Ipv4Addr),
}

impl Nat {
    /// The inside global address of an inside host, as far as there is one without giving it one: by
    /// its rule, or else that of a port of it.
    pub fn address_of(&self, config: &Config, host: Ipv4Addr) -> Option<Ipv4Addr> {
        match config.source_for(host) {
            Some((_, rule)) => self.address_by(rule, host),
            None => {
                let port = config.sources.iter().find(|rule| rule.speaks_of(host))?;
                Some(port.globals()[0])
            }
        }
    }

    /// Whether the inside host is known by that address, for some of its ports at least.
    pub fn is_address_of(&self, config: &Config, global: Ipv4Addr, host: Ipv4Addr) -> bool {
        // What a rule gives is asked first, since nearly every address is none of them.
        let mut rules = config.sources.iter().filter(|rule| rule.gives(global));
        rules.any(|rule| rule.speaks_of(host) && self.address_by(rule, host) == Some(global))
    }

    /// The inside global of an inside local that is mapped, or would be without a choice.
    pub fn global_of(
        &self,
        config: &Config,
        protocol: Protocol,
        local: SocketAddrV4,
    ) -> Option<SocketAddrV4> {
        if let Some(mapping) = self.find_local(protocol, local).and_then(|id| self.get(id)) {
            return Some(mapping.global);
        }
        if let Some((_, global)) = config.fixed_global(protocol, local) {
            return Some(global);
        }
        let own = self.addresses.of(*local.ip())?;
        Some(SocketAddrV4::new(own, local.port()))
    }

    /// The inside local of an inside global that is mapped, or belongs to a host as a whole.
    pub fn local_of(
        &self,
        config: &Config,
        protocol: Protocol,
        global: SocketAddrV4,
    ) -> Option<(SocketAddrV4, Option<MappingId>)> {
        if let Some(id) = self.find_global(protocol, global) {
            return Some((self.get(id)?.local, Some(id)));
        }
        Some((self.host_port(config, protocol, global)?, None))
    }

    /// Where new signalling for an inside global goes: through a door, or to an address or port that
    /// its inside host has for itself.
    pub fn target(
        &self,
        config: &Config,
        protocol: Protocol,
        global: SocketAddrV4,
    ) -> Option<SocketAddrV4> {
        let id = self.find_global(protocol, global);
        let door = id.and_then(|id| self.door(id));
        let door = door.map(|door| door.inside_local);
        door.or_else(|| self.host_port(config, protocol, global))
    }

    /// The index of the rule that a mapping is by.
    pub fn rule_of(
        &self,
        config: &Config,
        protocol: Protocol,
        local: SocketAddrV4,
        global: SocketAddrV4,
    ) -> Option<usize> {
        let fixed = config.fixed_global(protocol, local);
        let fixed = fixed.filter(|(_, fixed)| *fixed == global);
        fixed.map(|(index, _)| index).or_else(|| {
            let mut rules = config.sources.iter();
            rules.position(|rule| {
                rule.is_of_hosts()
                    && rule.speaks_of(*local.ip())
                    && self.address_by(rule, *local.ip()) == Some(*global.ip())
            })
        })
    }

    /// Where the rules put an inside local, on the address `at` if they allow that; gives its host an
    /// address of its pool if it has none.
    pub(super) fn place(
        &mut self,
        cx: &mut Context<'_>,
        protocol: Protocol,
        local: SocketAddrV4,
        at: Option<Ipv4Addr>,
        out: &mut Outbox,
    ) -> Result<Place, MapError> {
        if let Some((_, global)) = cx.config.fixed_global(protocol, local) {
            return Ok(Place::Exact(global));
        }
        let host = *local.ip();
        let mut rules = cx.config.sources.iter();
        let there = rules.find(|rule| {
            rule.is_of_hosts()
                && rule.speaks_of(host)
                && at.is_some()
                && self.address_by(rule, host) == at
        });
        let rule = there.or_else(|| Some(cx.config.source_for(host)?.1));
        let pool = rule.and_then(pool_of).ok_or(MapError::NoRule)?;
        if pool.overload {
            return Ok(Place::Shared(policy::pool_address(host, pool)));
        }
        let address = self.assign(cx, host, pool, out)?;
        Ok(Place::Exact(SocketAddrV4::new(address, local.port())))
    }

    /// Whether the rules leave no choice for an inside local.
    pub(super) fn is_exact(
        &self,
        config: &Config,
        protocol: Protocol,
        local: SocketAddrV4,
    ) -> bool {
        config.fixed_global(protocol, local).is_some() || self.addresses.of(*local.ip()).is_some()
    }

    /// Whether the rules allow this mapping as it is.
    pub(super) fn allows(
        &self,
        config: &Config,
        protocol: Protocol,
        local: SocketAddrV4,
        global: SocketAddrV4,
    ) -> bool {
        if let Some((_, fixed)) = config.fixed_global(protocol, local) {
            return fixed == global;
        }
        let anothers = config.fixed_local(protocol, global).is_some();
        let mut rules = config.sources.iter();
        !anothers
            && rules.any(|rule| {
                let port_kept = global.port() == local.port();
                pool_of(rule).is_some_and(|pool| pool.overload || port_kept)
                    && rule.speaks_of(*local.ip())
                    && self.address_by(rule, *local.ip()) == Some(*global.ip())
            })
    }

    /// The address that a host has by one rule.
    pub fn address_by(&self, rule: &SourceRule, host: Ipv4Addr) -> Option<Ipv4Addr> {
        match &rule.source {
            Source::List { pool, .. } if pool.overload => Some(policy::pool_address(host, *pool)),
            Source::List { .. } => self.addresses.of(host).filter(|own| rule.gives(*own)),
            Source::Static { .. } => {
                let any = SocketAddrV4::new(host, 0);
                Some(*rule.fixed_global(Protocol::Tcp, any)?.ip())
            }
            Source::StaticPort { global, .. } => Some(*global.ip()),
        }
    }

    /// Where an inside global leads that is fixed, or on an address of one host alone.
    fn host_port(
        &self,
        config: &Config,
        protocol: Protocol,
        global: SocketAddrV4,
    ) -> Option<SocketAddrV4> {
        if let Some((_, local)) = config.fixed_local(protocol, global) {
            return Some(local);
        }
        let host = self.addresses.host_of(*global.ip())?;
        Some(SocketAddrV4::new(host, global.port()))
    }
}

fn pool_of(rule: &SourceRule) -> Option<Pool> {
    match &rule.source {
        Source::List { pool, .. } => Some(*pool),
        _ => None,
    }
}
