//! A hash table that notes what changes in it.

use super::{Changes, Named, Note};
use core::hash::Hash;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// See the module. Whoever gets at an entry to change it has it noted.
#[derive(Debug)]
pub(crate) struct Table<K, V: Named<K>> {
    entries: HashMap<K, (Note, V), FixedState>,
    changes: Changes<V::Name>,
}

impl<K: Copy + Eq + Hash, V: Named<K>> Table<K, V> {
    /// An empty table.
    pub fn new(state: FixedState) -> Self {
        Table {
            entries: HashMap::with_hasher(state),
            changes: Changes::default(),
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (_, entry))| (key, entry))
    }

    /// Whether there is one by that key.
    pub fn has(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// The entry of that key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, entry)| entry)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (note, entry) = self.entries.get_mut(key)?;
        self.changes.mark(note, entry.name(key));
        Some(entry)
    }

    /// The same, made if there is none.
    pub fn get_or_insert(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let found = self.entries.entry(key);
        let (note, entry) = found.or_insert_with(|| (Note::default(), make()));
        self.changes.mark(note, entry.name(&key));
        entry
    }

    /// Puts an entry in, and gives back the one that it replaces.
    pub fn insert(&mut self, key: K, entry: V) -> Option<V> {
        let found = self.entries.get_mut(&key);
        let Some((note, old)) = found else {
            self.get_or_insert(key, || entry);
            return None;
        };
        self.changes.mark(note, entry.name(&key));
        Some(core::mem::replace(old, entry))
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (_, entry) = self.entries.remove(key)?;
        self.changes.gone(entry.name(key));
        Some(entry)
    }
}

/// What is told of it.
impl<K: Copy + Eq + Hash, V: Named<K>> Table<K, V> {
    /// From now on changes are noted; everything counts as changed.
    pub fn begin(&mut self) {
        self.changes.begin();
        self.entries
            .values_mut()
            .for_each(|(note, _)| *note = Note::default());
        self.mark_all();
    }

    /// Everything may have changed.
    pub fn mark_all(&mut self) {
        // The names are sorted before they are told.
        for (key, (note, entry)) in &mut self.entries {
            self.changes.mark(note, entry.name(key));
        }
    }

    /// The list of changes.
    pub fn changes(&mut self) -> &mut Changes<V::Name> {
        &mut self.changes
    }

    /// An entry with its note.
    pub fn noted(&mut self, key: &K) -> Option<(&mut Note, &V)> {
        let (note, entry) = self.entries.get_mut(key)?;
        Some((note, entry))
    }
}
