//! `show ip nat statistics`.

use super::pools::Pool;
use super::{View, duration};
use crate::startup::{GlobalSet, SourceKind, Startup};
use core::time::Duration;
use serde::Serialize;
use sipalg_core::alg::{MappingView, Peak};
use sipalg_core::config::{Source, SourceRule};
use sipalg_core::counters::Counters;
use sipalg_core::{Instant, Leg};
use std::collections::BTreeMap;

/// What statistics are made of.
#[derive(Clone, Copy, Debug)]
pub struct Gathered<'a> {
    /// Every mapping.
    pub mappings: &'a [MappingView],
    /// How many doors are open.
    pub doors: usize,
    /// What was counted since the start, or since it was cleared.
    pub counters: &'a Counters,
    /// The most translations there were, static hosts left out.
    pub peak: Peak,
    /// What the kernel has counted, if it tells.
    pub packets: Option<Packets>,
    /// The machine's rules, to which the mappings refer: those of interfaces without an address are
    /// not among them.
    pub rules: &'a [SourceRule],
    /// The configuration.
    pub startup: &'a Startup,
    /// The time.
    pub now: Instant,
}

/// Packets that the kernel has translated: ordinary traffic and media.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Packets {
    /// Those of flows that had a translation already.
    pub hits: u64,
    /// Those that began a flow, and were given one.
    pub misses: u64,
}

/// `show ip nat statistics`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Statistics {
    total: usize,
    #[serde(rename = "static")]
    fixed: usize,
    dynamic: usize,
    extended: usize,
    peak: usize,
    peak_seconds_ago: u64,
    outside_interfaces: Vec<String>,
    inside_interfaces: Vec<String>,
    hits: Option<u64>,
    misses: Option<u64>,
    expired: u64,
    dynamic_mappings: Vec<Rule>,
    doors: usize,
    appl_doors: usize,
}

/// A rule with a list, and the translations that it has made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Rule {
    id: usize,
    access_list: String,
    interface: Option<String>,
    pool: Option<Pool>,
    refcount: usize,
}

/// `show ip nat statistics`.
pub fn statistics(gathered: &Gathered<'_>) -> Statistics {
    let Gathered {
        mappings, startup, ..
    } = *gathered;
    let count = |is: fn(&&MappingView) -> bool| mappings.iter().filter(is).count();
    let fixed = count(|view| view.is_static);
    let fixed_hosts = count(|view| view.is_static && view.protocol.is_none());
    let names = |leg| startup.interfaces_on(leg).map(String::from).collect();
    let packets = gathered.packets;
    Statistics {
        total: mappings.len(),
        fixed,
        dynamic: mappings.len() - fixed,
        extended: count(|view| view.protocol.is_some()),
        peak: gathered.peak.count + fixed_hosts,
        peak_seconds_ago: gathered.now.since(gathered.peak.at).as_secs(),
        outside_interfaces: names(Leg::Outside),
        inside_interfaces: names(Leg::Inside),
        hits: packets.map(|packets| packets.hits),
        misses: packets.map(|packets| packets.misses),
        expired: gathered.counters.mappings_expired,
        dynamic_mappings: rules(gathered),
        doors: gathered.doors,
        appl_doors: gathered.doors,
    }
}

fn rules(gathered: &Gathered<'_>) -> Vec<Rule> {
    // A list has one rule.
    let mut refcounts: BTreeMap<&str, usize> = BTreeMap::new();
    for mapping in gathered.mappings.iter().filter(|view| !view.is_static) {
        let rule = mapping.rule.and_then(|rule| gathered.rules.get(rule));
        if let Some(Source::List { list, .. }) = rule.map(|rule| &rule.source) {
            *refcounts.entry(&list.name).or_default() += 1;
        }
    }
    let startup = gathered.startup;
    let rule = |(id, kind): (usize, &SourceKind)| {
        let SourceKind::List { list, to, .. } = kind else {
            return None;
        };
        let (interface, pool) = match to {
            GlobalSet::Interface(name) => (Some(name.clone()), None),
            GlobalSet::Pool(name) => (None, startup.pools.get_key_value(name)),
        };
        let place = |name: &String| startup.pools.keys().take_while(|key| *key <= name).count();
        Some(Rule {
            id,
            access_list: list.clone(),
            interface,
            pool: pool.map(|(name, pool)| {
                let (mappings, counters) = (gathered.mappings, gathered.counters);
                Pool::of(place(name), name, pool, startup, mappings, counters)
            }),
            refcount: refcounts.get(list.as_str()).copied().unwrap_or(0),
        })
    };
    let kinds = startup.sources.iter().map(|source| &source.kind);
    (1..).zip(kinds).filter_map(rule).collect()
}

impl View for Statistics {
    /// IOS's layout. Lines about switching paths and queues, which there are not here, are left out,
    /// and so is the line of hits and misses where the kernel does not tell them.
    fn text(&self) -> String {
        let Statistics {
            total,
            fixed,
            dynamic,
            extended,
            peak,
            expired,
            doors,
            appl_doors,
            ..
        } = self;
        let ago = duration(Duration::from_secs(self.peak_seconds_ago));
        let mut text = format!(
            "Total active translations: {total} ({fixed} static, {dynamic} dynamic; {extended} extended)\n\
             Peak translations: {peak}, occurred {ago} ago\n"
        );
        for (title, names) in [
            ("Outside", &self.outside_interfaces),
            ("Inside", &self.inside_interfaces),
        ] {
            text += &format!("{title} interfaces:\n");
            if !names.is_empty() {
                text += &format!("  {}\n", names.join(", "));
            }
        }
        if let (Some(hits), Some(misses)) = (self.hits, self.misses) {
            text += &format!("Hits: {hits}  Misses: {misses}\n");
        }
        text += &format!("Expired translations: {expired}\nDynamic mappings:\n-- Inside Source\n");
        for rule in &self.dynamic_mappings {
            text += &rule.lines();
        }
        let normal = doors - appl_doors;
        text + &format!("Total doors: {doors}\nAppl doors: {appl_doors}\nNormal doors: {normal}\n")
    }
}

impl Rule {
    fn lines(&self) -> String {
        let Rule {
            id,
            access_list,
            refcount,
            ..
        } = self;
        let to = match (&self.interface, &self.pool) {
            (Some(interface), _) => format!(" interface {interface}"),
            (None, Some(pool)) => format!(" pool {}", pool.name()),
            (None, None) => String::new(),
        };
        let pool = self.pool.as_ref().map_or(String::new(), Pool::lines);
        format!("[Id: {id}] access-list {access_list}{to} refcount {refcount}\n{pool}")
    }
}
