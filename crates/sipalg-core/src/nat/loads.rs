//! How many mappings there are, by host and by the operator's lists.

use super::Context;
use crate::addr::Ipv4Addr;
use crate::config::{MaxEntries, Resource};
use alloc::vec::Vec;

/// The counts for `max-entries`; those by host are in the accounts of
/// [`Admission`](crate::admission::Admission). Static mappings do not count.
#[derive(Debug, Default)]
pub(super) struct Loads {
    all: u32,
    /// In the order of [`MaxEntries::lists`].
    lists: Vec<u32>,
}

impl Loads {
    /// Whether `max-entries` allows `host` so many `more` mappings.
    pub fn admits(&self, cx: &Context<'_>, host: Ipv4Addr, more: u32) -> bool {
        let bounds = &cx.config.entries;
        let fits = |count: u32, most: u32| count.saturating_add(more) <= most;
        let own = bounds.hosts.iter().find(|(of, _)| *of == host);
        let own = own.map(|(_, most)| *most).or(bounds.each_host);
        let of_host = u32::try_from(cx.admission.of_host(Resource::Mapping, host));
        let lists = bounds.lists.iter().zip(&self.lists);
        bounds.all.is_none_or(|most| fits(self.all, most))
            && own.is_none_or(|most| fits(of_host.unwrap_or(u32::MAX), most))
            && lists
                .filter(|((list, _), _)| list.permits(host))
                .all(|((_, most), count)| fits(*count, *most))
    }

    /// The host has one mapping more.
    pub fn add(&mut self, cx: &mut Context<'_>, host: Ipv4Addr) {
        self.all += 1;
        cx.admission.take(cx.config, Resource::Mapping, host, 1);
        for ((list, _), count) in cx.config.entries.lists.iter().zip(&mut self.lists) {
            *count += u32::from(list.permits(host));
        }
    }

    /// The host has one mapping less.
    pub fn remove(&mut self, cx: &mut Context<'_>, host: Ipv4Addr) {
        self.all = self.all.saturating_sub(1);
        cx.admission.give(Resource::Mapping, host, 1);
        for ((list, _), count) in cx.config.entries.lists.iter().zip(&mut self.lists) {
            *count = count.saturating_sub(u32::from(list.permits(host)));
        }
    }

    /// Counts by new lists: `hosts` names the host of each mapping. Comes first of all.
    pub fn recount(&mut self, bounds: &MaxEntries, hosts: impl Iterator<Item = Ipv4Addr>) {
        self.lists.clear();
        self.lists.resize(bounds.lists.len(), 0);
        for host in hosts {
            for ((list, _), count) in bounds.lists.iter().zip(&mut self.lists) {
                *count += u32::from(list.permits(host));
            }
        }
    }

    /// How many dynamic mappings there are.
    pub fn mappings(&self) -> u32 {
        self.all
    }
}
