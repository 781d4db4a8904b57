//! What comes out of the machine, in the order in which it must be carried out.

use crate::door::{AddressOp, DoorOp};
use crate::event::Event;
use alloc::vec::Vec;

/// Results of the calls to [`Alg`](crate::Alg), appended. The caller owns and reuses it.
#[derive(Default, Debug)]
pub struct Outbox {
    /// First: addresses of pools that the kernel must give to hosts or take from them.
    pub addresses: Vec<AddressOp>,
    /// Then: doors that the kernel must open and close.
    pub doors: Vec<DoorOp>,
    /// Then: bytes for the leg opposite to the one that the call named.
    pub bytes: Vec<u8>,
    /// Last: what happened, only if [`watch`](Self::watch) is set.
    pub events: Vec<Event>,
    /// Whether anyone listens to events; off, none is built.
    pub watch: bool,
}

impl Outbox {
    /// Records an event if somebody watches.
    pub fn event(&mut self, make: impl FnOnce() -> Event) {
        if self.watch {
            self.events.push(make());
        }
    }

    /// Forgets all results and keeps the memory.
    pub fn clear(&mut self) {
        self.addresses.clear();
        self.doors.clear();
        self.bytes.clear();
        self.events.clear();
    }
}
