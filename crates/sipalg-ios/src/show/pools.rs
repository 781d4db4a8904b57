//! `show ip nat pool`, and what `show ip nat statistics` says of pools.

use super::{View, known};
use crate::startup::{AddressPool, GlobalSet, InsideSource, SourceKind, Startup};
use serde::Serialize;
use sipalg_core::addr::{Ipv4Addr, Protocol};
use sipalg_core::alg::MappingView;
use sipalg_core::counters::Counters;
use std::collections::BTreeSet;

/// `show ip nat pool`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Pools {
    pools: Vec<Pool>,
}

/// A pool, and how much of it is in use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Pool {
    name: String,
    id: usize,
    netmask: Ipv4Addr,
    start: Ipv4Addr,
    end: Ipv4Addr,
    /// The list whose hosts get its addresses.
    access_list: Option<String>,
    overload: bool,
    addresses: u32,
    addresses_assigned: usize,
    /// Mappings of the ALG; ordinary flows take ports that these leave.
    tcp_ports_assigned: usize,
    udp_ports_assigned: usize,
    /// How often nothing was left, where that is known of this pool.
    misses: Option<u64>,
}

/// `show ip nat pool [NAME]`: all pools, or the one of this name.
pub fn pools(
    startup: &Startup,
    mappings: &[MappingView],
    counters: &Counters,
    only: Option<&str>,
) -> Pools {
    let all = (1..).zip(&startup.pools);
    let wanted = all.filter(|(_, (name, _))| only.is_none_or(|only| only == name.as_str()));
    let pools =
        wanted.map(|(id, (name, pool))| Pool::of(id, name, pool, startup, mappings, counters));
    Pools {
        pools: pools.collect(),
    }
}

impl Pool {
    pub(super) fn of(
        id: usize,
        name: &str,
        pool: &AddressPool,
        startup: &Startup,
        mappings: &[MappingView],
        counters: &Counters,
    ) -> Pool {
        let users = startup.sources.iter().filter_map(user_of);
        let users: Vec<_> = users.filter(|(_, of, _)| *of == name).collect();
        let overload = users.first().is_some_and(|(_, _, overload)| *overload);
        let range = pool.start..=pool.end;
        let of_pool =
            |view: &&MappingView| !view.is_static && range.contains(view.inside_global.ip());
        let ours: Vec<_> = mappings.iter().filter(of_pool).collect();
        let addresses: BTreeSet<_> = ours.iter().map(|view| view.inside_global.ip()).collect();
        let ports = |protocol: Protocol| {
            let of = ours.iter().filter(|view| view.protocol == Some(protocol));
            of.count()
        };
        Pool {
            name: name.into(),
            id,
            netmask: pool.netmask(),
            start: pool.start,
            end: pool.end,
            access_list: users.first().map(|(list, _, _)| (*list).into()),
            overload,
            addresses: pool.size(),
            addresses_assigned: addresses.len(),
            tcp_ports_assigned: ports(Protocol::Tcp),
            udp_ports_assigned: ports(Protocol::Udp),
            misses: (!users.is_empty())
                .then(|| misses(overload, startup, counters))
                .flatten(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// As `show ip nat statistics` has it.
    pub(super) fn lines(&self) -> String {
        let Pool {
            name,
            netmask,
            start,
            end,
            addresses,
            addresses_assigned: taken,
            ..
        } = self;
        let percent = *taken as u64 * 100 / u64::from(*addresses).max(1);
        let misses = self
            .misses
            .map_or(String::new(), |misses| format!(", misses {misses}"));
        format!(
            " pool {name}: netmask {netmask}\n        start {start} end {end}\n        \
             type generic, total addresses {addresses}, allocated {taken} ({percent}%){misses}\n"
        )
    }
}

impl View for Pools {
    fn text(&self) -> String {
        if self.pools.is_empty() {
            return String::new();
        }
        let mut text = "NAT Pool Statistics\n".to_owned();
        for pool in &self.pools {
            let how = match (&pool.access_list, pool.overload) {
                (None, _) => "unused".into(),
                (Some(list), true) => format!("access-list {list}, overload"),
                (Some(list), false) => format!("access-list {list}"),
            };
            let free = u64::from(pool.addresses).saturating_sub(pool.addresses_assigned as u64);
            text += &format!(
                "Pool name {}, id {}\n  start {} end {} netmask {}, {how}\n",
                pool.name, pool.id, pool.start, pool.end, pool.netmask
            );
            text += &row("", "Assigned", "Available");
            text += &row(
                "Addresses",
                &pool.addresses_assigned.to_string(),
                &free.to_string(),
            );
            text += &row("TCP ports", &pool.tcp_ports_assigned.to_string(), "");
            text += &row("UDP ports", &pool.udp_ports_assigned.to_string(), "");
            text += &row("Misses", &known(pool.misses), "");
        }
        text
    }
}

/// A rule that gives addresses of a pool: its list, the pool, and whether hosts share them.
fn user_of(rule: &InsideSource) -> Option<(&str, &str, bool)> {
    match &rule.kind {
        SourceKind::List {
            list,
            to: GlobalSet::Pool(pool),
            overload,
        } => Some((list, pool, *overload)),
        _ => None,
    }
}

/// How often a rule had no address or port left. The core counts that for all rules of a kind
/// together, so it is known only where there is but one.
fn misses(overload: bool, startup: &Startup, counters: &Counters) -> Option<u64> {
    let of_kind = |rule: &&InsideSource| match &rule.kind {
        SourceKind::List { overload: of, .. } => *of == overload,
        _ => false,
    };
    let is_only = startup.sources.iter().filter(of_kind).count() == 1;
    is_only.then_some(match overload {
        true => counters.out_of_ports,
        false => counters.pool_exhausted,
    })
}

fn row(what: &str, assigned: &str, available: &str) -> String {
    let line = format!("  {what:<20} {assigned:>10} {available:>12}");
    line.trim_end().to_owned() + "\n"
}
