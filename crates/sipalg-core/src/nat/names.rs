//! Which mapping has an address: by numbers alone, since each mapping says itself what its addresses
//! are. So a name of one takes five bytes, not its key and its number again.

use super::{Mapping, MappingId};
use crate::addr::{Protocol, SocketAddrV4};
use crate::slab::Slab;
use core::hash::BuildHasher;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A protocol, address and port as one number, which is hashed at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(super) struct End(u64);

impl End {
    pub fn new(protocol: Protocol, at: SocketAddrV4) -> End {
        let address = u64::from(u32::from(*at.ip()));
        End(u64::from(protocol.number()) << 48 | address << 16 | u64::from(at.port()))
    }
}

/// The mappings by one of their two addresses, the inside global or the inside local. What has a name
/// here must not change that address.
#[derive(Debug)]
pub(super) struct Names<const GLOBAL: bool> {
    ids: HashTable<MappingId>,
    state: FixedState,
}

impl<const GLOBAL: bool> Names<GLOBAL> {
    /// None yet.
    pub fn new(state: FixedState) -> Self {
        Names {
            ids: HashTable::new(),
            state,
        }
    }

    /// The mapping that has this end.
    pub fn find(&self, mappings: &Slab<Mapping>, end: End) -> Option<MappingId> {
        let has = |id: &MappingId| end_of::<GLOBAL>(mappings, *id) == Some(end);
        self.ids.find(self.state.hash_one(end), has).copied()
    }

    /// The mapping of that number is found from now on, instead of one that had its end.
    pub fn insert(&mut self, mappings: &Slab<Mapping>, id: MappingId) {
        let Names { ids, state } = self;
        let end = |id: &MappingId| end_of::<GLOBAL>(mappings, *id);
        let Some(new) = end(&id) else {
            return;
        };
        let hash = |id: &MappingId| end(id).map_or(0, |end| state.hash_one(end));
        match ids.entry(hash(&id), |other| end(other) == Some(new), hash) {
            Entry::Occupied(mut there) => *there.get_mut() = id,
            Entry::Vacant(place) => {
                place.insert(id);
            }
        }
    }

    /// The mapping of that number is not found any more.
    pub fn remove(&mut self, mappings: &Slab<Mapping>, id: MappingId) {
        let Some(end) = end_of::<GLOBAL>(mappings, id) else {
            return;
        };
        let hash = self.state.hash_one(end);
        if let Ok(there) = self.ids.find_entry(hash, |other| *other == id) {
            there.remove();
        }
    }
}

fn end_of<const GLOBAL: bool>(mappings: &Slab<Mapping>, id: MappingId) -> Option<End> {
    let mapping = mappings.get(id.0)?;
    let at = match GLOBAL {
        true => mapping.global,
        false => mapping.local,
    };
    Some(End::new(mapping.protocol, at))
}
