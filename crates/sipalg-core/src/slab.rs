//! A table whose entries are named by small numbers that are used again.

use crate::kept::{Changes, Named, Note};
use alloc::vec::Vec;

/// An entry, which has its own note: so that it is in no more cache lines than it needs.
pub(crate) trait Entry: Named<u32> {
    /// What the program knows of it.
    fn note(&mut self) -> &mut Note;
}

/// See the module. A number names one entry until that entry is removed. Whoever gets at an entry to
/// change it has it noted.
#[derive(Debug)]
pub struct Slab<T: Entry> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
    peak: usize,
    changes: Changes<T::Name>,
}

impl<T: Entry> Default for Slab<T> {
    fn default() -> Self {
        Slab {
            entries: Vec::new(),
            free: Vec::new(),
            peak: 0,
            changes: Changes::default(),
        }
    }
}

impl<T: Entry> Slab<T> {
    /// Puts an entry in and names it.
    pub fn insert(&mut self, mut entry: T) -> u32 {
        self.peak = self.peak.max(self.len() + 1);
        // Every table's limit is far below 2^32.
        let id = self.free.pop().unwrap_or(self.entries.len() as u32);
        mark(&mut self.changes, id, &mut entry);
        match self.entries.get_mut(id as usize) {
            Some(place) => *place = Some(entry),
            None => self.entries.push(Some(entry)),
        }
        id
    }

    /// Takes an entry out.
    pub fn remove(&mut self, id: u32) -> Option<T> {
        let entry = self.entries.get_mut(id as usize)?.take()?;
        self.changes.gone(entry.name(&id));
        self.free.push(id);
        Some(entry)
    }

    /// The entry of that name.
    pub fn get(&self, id: u32) -> Option<&T> {
        self.entries.get(id as usize)?.as_ref()
    }

    /// The entry of that name, to be changed.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        let entry = self.entries.get_mut(id as usize)?.as_mut()?;
        mark(&mut self.changes, id, entry);
        Some(entry)
    }

    /// Changes an entry; `change` says whether anything has changed that is recorded.
    pub fn update(&mut self, id: u32, change: impl FnOnce(&mut T) -> bool) {
        let found = self.entries.get_mut(id as usize).and_then(Option::as_mut);
        if let Some(entry) = found
            && change(entry)
        {
            mark(&mut self.changes, id, entry);
        }
    }

    /// The entry of that name, to change what is not recorded of it.
    pub fn quiet_mut(&mut self, id: u32) -> Option<&mut T> {
        self.entries.get_mut(id as usize)?.as_mut()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// How many there were at most.
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// All entries, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.entries
            .iter()
            .zip(0u32..)
            .filter_map(|(entry, id)| Some((id, entry.as_ref()?)))
    }
}

/// What is told of it, and comes back.
impl<T: Entry> Slab<T> {
    /// From now on changes are noted; everything counts as changed.
    pub fn begin(&mut self) {
        self.changes.begin();
        for entry in self.entries.iter_mut().flatten() {
            *entry.note() = Note::default();
        }
        self.mark_all();
    }

    /// Everything may have changed.
    pub fn mark_all(&mut self) {
        for (entry, id) in self.entries.iter_mut().zip(0u32..) {
            if let Some(entry) = entry {
                mark(&mut self.changes, id, entry);
            }
        }
    }

    /// The entry of that name may have changed.
    pub fn mark(&mut self, id: u32) {
        self.get_mut(id);
    }

    /// The list of changes.
    pub fn changes(&mut self) -> &mut Changes<T::Name> {
        &mut self.changes
    }

    /// Tells of an entry, with its note; false if there is none.
    pub fn tell(&mut self, id: u32, tell: impl FnOnce(&mut Note, &T)) -> bool {
        let Some(entry) = self.quiet_mut(id) else {
            return false;
        };
        let mut note = *entry.note();
        tell(&mut note, entry);
        *entry.note() = note;
        true
    }

    /// Puts an entry back in by the name that it had; false if another has that. Names that nobody has
    /// are free after [`restored`](Self::restored).
    pub fn put_back(&mut self, id: u32, entry: T) -> bool {
        let place = id as usize;
        if self.entries.len() <= place {
            self.entries.resize_with(place + 1, || None);
        }
        match self.entries.get_mut(place) {
            Some(vacant @ None) => {
                *vacant = Some(entry);
                true
            }
            _ => false,
        }
    }

    /// All entries are back: the lowest free name is the next to be given.
    pub fn restored(&mut self) {
        let entries = self.entries.iter().zip(0u32..);
        let vacant = entries.filter(|(entry, _)| entry.is_none());
        self.free = vacant.map(|(_, id)| id).collect();
        self.free.reverse();
        self.peak = self.peak.max(self.len());
    }
}

/// The entry of that name may have changed.
fn mark<T: Entry>(changes: &mut Changes<T::Name>, id: u32, entry: &mut T) {
    let name = entry.name(&id);
    changes.mark(entry.note(), name);
}
