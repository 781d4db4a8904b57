//! Which objects of a table may have changed since the program last asked.

use alloc::vec::Vec;

/// An object that has a record. `K` is what its table knows it by.
pub(crate) trait Named<K> {
    /// What its record is known by.
    type Name: Copy + Ord;

    /// The name of its record.
    fn name(&self, key: &K) -> Self::Name;
}

/// What the program knows of an object: the fingerprint of its last record; and, in the lowest bit,
/// whether it is on the list of changes.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Note(u64);

const LISTED: u64 = 1;

impl Note {
    /// The object is recorded with this fingerprint: true if it had another.
    pub fn settle(&mut self, print: u64) -> bool {
        let (before, now) = (self.0 & !LISTED, print & !LISTED);
        self.0 = now;
        before != now
    }
}

/// For how many names memory is kept: all there are come at once now and then.
const SOME: usize = 4096;

/// The names of what may have changed, each object at most once.
#[derive(Debug)]
pub(crate) struct Changes<N> {
    on: bool,
    names: Vec<N>,
}

impl<N> Default for Changes<N> {
    fn default() -> Self {
        Changes {
            on: false,
            names: Vec::new(),
        }
    }
}

impl<N: Copy + Ord> Changes<N> {
    /// From now on changes are noted.
    pub fn begin(&mut self) {
        self.on = true;
    }

    /// The object of that name may have changed.
    pub fn mark(&mut self, note: &mut Note, name: N) {
        if self.on && note.0 & LISTED == 0 {
            note.0 |= LISTED;
            self.names.push(name);
        }
    }

    /// There is no such object any more.
    pub fn gone(&mut self, name: N) {
        if self.on {
            self.names.push(name);
        }
    }

    /// A record of that name was there before the machine was.
    pub fn found(&mut self, name: N) {
        self.names.push(name);
    }

    /// All names, in order and each once; the list is empty then. Its memory is to come back with
    /// [`done`](Self::done).
    pub fn take(&mut self) -> Vec<N> {
        let mut names = core::mem::take(&mut self.names);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The names that were taken have been told.
    pub fn done(&mut self, mut names: Vec<N>) {
        names.clear();
        names.shrink_to(SOME);
        self.names = names;
    }
}
