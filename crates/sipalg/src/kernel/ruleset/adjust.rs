//! How a table that is there, left by an earlier run or changed by someone else, becomes one with the
//! rules of a plan, while what goes through its doors goes on.

use super::*;
use crate::netlink::Error;
use crate::netlink::nft::{Element, Entrance, Nft, ObjectKind, SetShape, added};
use std::collections::{BTreeSet, HashMap};

/// What the table holds, besides doors and addresses of hosts.
#[derive(Debug)]
pub(in crate::kernel) struct Found {
    sets: HashMap<String, SetShape>,
    /// With the notes on their rules.
    chains: HashMap<String, FoundChain>,
    counters: Vec<String>,
    timeouts: Vec<String>,
    /// What each set holds that the configuration fills.
    contents: Vec<Vec<Element>>,
}

#[derive(Debug)]
struct FoundChain {
    hook: Option<Entrance>,
    notes: Vec<Vec<u8>>,
}

impl Found {
    /// Reads the table, if it is there.
    pub(in crate::kernel) fn read(nft: &mut Nft, ruleset: &Ruleset) -> Result<Option<Self>, Error> {
        if !nft.tables()?.iter().any(|name| name == TABLE) {
            return Ok(None);
        }
        let sets: HashMap<_, _> = nft.sets(TABLE)?.into_iter().collect();
        let chains = nft.chains(TABLE)?.into_iter();
        let mut chains: HashMap<_, _> = chains
            .map(|(name, hook)| {
                (
                    name,
                    FoundChain {
                        hook,
                        notes: Vec::new(),
                    },
                )
            })
            .collect();
        for (chain, note) in nft.notes(TABLE)? {
            if let Some(chain) = chains.get_mut(&chain) {
                chain.notes.push(note);
            }
        }
        let mut contents = Vec::new();
        for (set, _) in &ruleset.contents {
            contents.push(match sets.contains_key(set.name) {
                true => nft.elements(TABLE, set)?,
                false => Vec::new(),
            });
        }
        Ok(Some(Found {
            sets,
            chains,
            counters: nft.objects(TABLE, ObjectKind::Counter)?,
            timeouts: nft.objects(TABLE, ObjectKind::Timeout)?,
            contents,
        }))
    }

    /// Whether it has this set.
    pub(in crate::kernel) fn has(&self, set: &Set) -> bool {
        self.sets.contains_key(set.name)
    }

    /// What keeps the table from becoming one of ours without being taken away, if anything does.
    pub(in crate::kernel) fn foreign(&self, ruleset: &Ruleset) -> Option<String> {
        let other = |set: &&&Set| {
            let found = self.sets.get(set.name);
            found.is_some_and(|shape| *shape != set.shape())
        };
        if let Some(set) = SETS.iter().find(other) {
            return Some(format!("the set {} is of another kind", set.name));
        }
        let elsewhere = |chain: &&Chain| {
            let found = self.chains.get(&chain.name);
            found.is_some_and(|found| {
                found.hook != chain.hook.map(|hook| (hook.at as u32, hook.priority))
            })
        };
        let chain = ruleset.chains.iter().find(elsewhere)?;
        Some(format!("the chain {} is entered elsewhere", chain.name))
    }
}

impl Ruleset {
    /// What turns the table `found` into one with these rules, for one transaction; nothing if it is
    /// one. What is as it should be is not touched, so that it keeps its counts.
    pub(in crate::kernel) fn adjust(&self, found: &Found) -> Vec<Message> {
        let mut messages = self.take_out_of(found);
        let sets = SETS.iter().filter(|set| !found.has(set));
        messages.extend(sets.map(|set| nft::add_set(TABLE, set)));
        for ((set, filled), elements) in self.contents.iter().zip(&found.contents) {
            if !holds(elements, filled) {
                messages.push(nft::flush_set(TABLE, set));
                messages.extend(filled.iter().cloned());
            }
        }
        // Its elements remember the bound that they were made with.
        let bounds = self.chains.iter().find(|chain| chain.name == BOUNDS);
        if bounds.is_none_or(|bounds| !found.has_chain(bounds)) && found.has(&HOST_ENTRIES) {
            messages.push(nft::flush_set(TABLE, &HOST_ENTRIES));
        }
        let counters = self.counters();
        let counters = counters
            .iter()
            .filter(|name| !found.counters.contains(name));
        messages.extend(counters.map(|name| nft::add_counter(TABLE, name)));
        messages.extend(self.add_timeouts(|name| !found.timeouts.iter().any(|t| t == name)));
        let missing = self.chains.iter();
        let missing = missing.filter(|chain| !found.chains.contains_key(&chain.name));
        messages.extend(missing.map(Chain::add));
        let changed = self.chains.iter().filter(|chain| !found.has_chain(chain));
        messages.extend(changed.flat_map(Chain::add_rules));
        messages
    }

    /// What takes all out of the table `found` that is not of these rules.
    fn take_out_of(&self, found: &Found) -> Vec<Message> {
        let ours = |name: &str| self.chains.iter().find(|chain| chain.name == name);
        let as_it_should = |name: &str| ours(name).is_some_and(|chain| found.has_chain(chain));
        let stale: Vec<_> = found
            .chains
            .keys()
            .filter(|name| !as_it_should(name))
            .collect();
        let flush = stale.iter().map(|name| nft::flush_chain(TABLE, name));
        let mut messages: Vec<_> = flush.collect();
        let gone = stale.iter().filter(|name| ours(name).is_none());
        messages.extend(gone.map(|name| nft::delete_chain(TABLE, name)));
        let sets = found.sets.keys();
        let sets = sets.filter(|name| SETS.iter().all(|set| set.name != name.as_str()));
        messages.extend(sets.map(|name| nft::delete_set(TABLE, name)));
        let ours = self.counters();
        let counters = found.counters.iter().filter(|name| !ours.contains(name));
        messages.extend(counters.map(|name| nft::delete_counter(TABLE, name)));
        let timeouts = found.timeouts.iter().filter(|name| !self.has_timeout(name));
        messages.extend(timeouts.map(|name| nft::delete_timeout(TABLE, name)));
        messages
    }

    fn counters(&self) -> Vec<String> {
        let own = [OVER_BOUND, HITS, MISSES].map(String::from).into_iter();
        own.chain(lists::names(&self.lists)).collect()
    }
}

impl Found {
    /// Whether it has this chain with its rules and no others.
    fn has_chain(&self, chain: &Chain) -> bool {
        let found = self.chains.get(&chain.name);
        found.is_some_and(|found| found.notes.iter().eq(chain.notes().iter()))
    }
}

/// Whether a set holds what `filled` fills it with, and nothing else.
fn holds(elements: &[Element], filled: &[Message]) -> bool {
    fn parts(element: &Element) -> (&[u8], Option<&[u8]>, bool) {
        let Element {
            key,
            value,
            ends_range,
            ..
        } = element;
        (key, value.as_deref(), *ends_range)
    }
    let wanted: Vec<_> = filled.iter().flat_map(added).collect();
    let wanted: BTreeSet<_> = wanted.iter().map(parts).collect();
    let there: BTreeSet<_> = elements.iter().map(parts).collect();
    wanted == there
}

/// The chain whose rules fill [`HOST_ENTRIES`] first.
const BOUNDS: &str = "bounds_out";
