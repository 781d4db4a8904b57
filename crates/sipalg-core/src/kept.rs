//! What survives the machine: its state as records, one for each object, for a crash, a restart and
//! an upgrade.
//!
//! A table marks the names of what may have changed (`Changes`). When the program asks, each of
//! these is encoded once, and told if its bytes are others than before: the newest record of a name
//! is the state of the object, and a name without record is no more. So a message that changes
//! nothing costs nothing, and nobody has to think of what a change is.
//!
//! A record names its parts as the outside world does: a mapping by its inside local, never by its
//! place in a table. Whatever cannot be trusted in a record, or contradicts another, is left out.

mod changes;
mod name;
mod record;
mod table;

pub(crate) use changes::{Changes, Named, Note};
pub(crate) use name::{At, Name};
pub(crate) use record::{
    Address, Bar, Call, Door, Flow, Machine, Mapping, Pending, Registration, Rest, Seen, Spelling,
    Spellings,
};
pub(crate) use record::{Recorder, decode, tick, untick};
pub(crate) use table::Table;

use crate::addr::FlowId;
use alloc::vec::Vec;

/// No machine has counted so far: what a record says is counted on from.
pub(crate) const MOST_COUNTED: u64 = u64::MAX / 2;

/// Who is told of changes: the name of an object, and its record, if it is not gone.
pub type Sink<'a> = dyn FnMut(&[u8], Option<&[u8]>) + 'a;

/// What has come of a set of records.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    /// Mappings that are there again.
    pub mappings: usize,
    /// Doors that are open again.
    pub doors: usize,
    /// Barred ports.
    pub bars: usize,
    /// Addresses of pools that hosts have for themselves.
    pub addresses: usize,
    /// Calls and subscriptions.
    pub calls: usize,
    /// REGISTERs that wait for their answer.
    pub pending: usize,
    /// Registrations.
    pub registrations: usize,
    /// Call-IDs with spellings.
    pub spellings: usize,
    /// Flows.
    pub flows: usize,
    /// Records that were left out: of another version, damaged, contradicting another, more than the
    /// limits allow, or not given by the rules.
    pub left_out: usize,
    /// The flows that were recorded and are not there, in order: their connections must be reset
    /// before any other flow is opened, which may get the same name.
    pub lost: Vec<FlowId>,
}
