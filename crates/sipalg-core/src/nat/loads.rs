//! How many mappings and doors there are, in all and by host and list, against the operator's bounds.

use crate::addr::Ipv4Addr;
use crate::config::MaxEntries;
use alloc::vec::Vec;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// The counts. Static mappings do not count.
#[derive(Debug)]
pub(super) struct Loads {
    all: u32,
    hosts: HashMap<Ipv4Addr, Load, FixedState>,
    /// In the order of [`MaxEntries::lists`].
    lists: Vec<u32>,
    doors: usize,
    peak_doors: usize,
}

#[derive(Debug, Default)]
struct Load {
    mappings: u32,
    doors: usize,
}

impl Loads {
    pub fn new(state: FixedState) -> Self {
        Loads {
            all: 0,
            hosts: HashMap::with_hasher(state),
            lists: Vec::new(),
            doors: 0,
            peak_doors: 0,
        }
    }

    /// Whether `host` may have so many `more` mappings.
    pub fn admits(&self, bounds: &MaxEntries, host: Ipv4Addr, more: u32) -> bool {
        let fits = |count: u32, most: u32| count.saturating_add(more) <= most;
        let own = bounds.hosts.iter().find(|(of, _)| *of == host);
        let own = own.map(|(_, most)| *most).or(bounds.each_host);
        let lists = bounds.lists.iter().zip(&self.lists);
        bounds.all.is_none_or(|most| fits(self.all, most))
            && own.is_none_or(|most| fits(self.mappings_of(host), most))
            && lists
                .filter(|((list, _), _)| list.permits(host))
                .all(|((_, most), count)| fits(*count, *most))
    }

    /// The host has one mapping more.
    pub fn add(&mut self, bounds: &MaxEntries, host: Ipv4Addr) {
        self.all += 1;
        self.hosts.entry(host).or_default().mappings += 1;
        for ((list, _), count) in bounds.lists.iter().zip(&mut self.lists) {
            *count += u32::from(list.permits(host));
        }
    }

    /// The host has one mapping less.
    pub fn remove(&mut self, bounds: &MaxEntries, host: Ipv4Addr) {
        self.all = self.all.saturating_sub(1);
        self.change(host, |load| {
            load.mappings = load.mappings.saturating_sub(1);
        });
        for ((list, _), count) in bounds.lists.iter().zip(&mut self.lists) {
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

    /// How many mappings a host has.
    pub fn mappings_of(&self, host: Ipv4Addr) -> u32 {
        self.hosts.get(&host).map_or(0, |load| load.mappings)
    }

    /// How many doors a host has open.
    pub fn doors_of(&self, host: Ipv4Addr) -> usize {
        self.hosts.get(&host).map_or(0, |load| load.doors)
    }

    /// How many doors are open, and were at most.
    pub fn doors(&self) -> (usize, usize) {
        (self.doors, self.peak_doors)
    }

    /// How many dynamic mappings there are.
    pub fn mappings(&self) -> u32 {
        self.all
    }

    /// The most doors that one host has open.
    pub fn most_doors(&self) -> usize {
        // A maximum is the same in any order.
        let doors = self.hosts.values().map(|load| load.doors);
        doors.max().unwrap_or(0)
    }

    /// A door of the host opened.
    pub fn door_opened(&mut self, host: Ipv4Addr) {
        self.hosts.entry(host).or_default().doors += 1;
        self.doors += 1;
        self.peak_doors = self.peak_doors.max(self.doors);
    }

    /// A door of the host closed.
    pub fn door_closed(&mut self, host: Ipv4Addr) {
        self.doors = self.doors.saturating_sub(1);
        self.change(host, |load| load.doors = load.doors.saturating_sub(1));
    }

    fn change(&mut self, host: Ipv4Addr, change: impl FnOnce(&mut Load)) {
        if let Some(load) = self.hosts.get_mut(&host) {
            change(load);
            if load.mappings == 0 && load.doors == 0 {
                self.hosts.remove(&host);
            }
        }
    }
}
