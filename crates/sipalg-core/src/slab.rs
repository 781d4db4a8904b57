//! A table whose entries are named by small numbers that are used again.

use alloc::vec::Vec;

/// See the module. A number names one entry until that entry is removed.
#[derive(Debug)]
pub struct Slab<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
    peak: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab {
            entries: Vec::new(),
            free: Vec::new(),
            peak: 0,
        }
    }
}

impl<T> Slab<T> {
    /// Puts an entry in and names it.
    pub fn insert(&mut self, entry: T) -> u32 {
        self.peak = self.peak.max(self.len() + 1);
        if let Some(id) = self.free.pop() {
            if let Some(place) = self.entries.get_mut(id as usize) {
                *place = Some(entry);
            }
            return id;
        }
        self.entries.push(Some(entry));
        // Every table's limit is far below 2^32.
        (self.entries.len() - 1) as u32
    }

    /// Takes an entry out.
    pub fn remove(&mut self, id: u32) -> Option<T> {
        let entry = self.entries.get_mut(id as usize)?.take();
        if entry.is_some() {
            self.free.push(id);
        }
        entry
    }

    /// The entry of that name.
    pub fn get(&self, id: u32) -> Option<&T> {
        self.entries.get(id as usize)?.as_ref()
    }

    /// The entry of that name.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
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
