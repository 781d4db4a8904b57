//! What comes out of the machine, in the order in which it must be carried out.

use crate::addr::{FlowId, SocketAddrV4};
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
    /// And inside globals that may become signalling doors for TCP within a transaction's time: who
    /// knocks before is not answered, and comes again, instead of being refused.
    pub awaited: Vec<SocketAddrV4>,
    /// Then: bytes for the leg opposite to the one that the call named.
    pub bytes: Vec<u8>,
    /// And flows whose outside leg must be sent CRLFCRLF, after what it was sent before. The answer
    /// is not for the inside host, and is left out of [`bytes`](Self::bytes).
    pub pings: Vec<FlowId>,
    /// And flows that must be reset: who they belong to has taken too much, or too long.
    pub resets: Vec<FlowId>,
    /// Last: what happened; but for what the operator must know, only if [`watch`](Self::watch) is
    /// set.
    pub events: Vec<Event>,
    /// Whether anyone listens to events; off, only alarms are recorded.
    pub watch: bool,
    /// Whether who listens wants to know everything: edits one by one, doors, timers.
    pub detailed: bool,
}

impl Outbox {
    /// Records an event if somebody watches.
    pub fn event(&mut self, make: impl FnOnce() -> Event) {
        if self.watch {
            self.events.push(make());
        }
    }

    /// Records an event if somebody watches who wants to know everything.
    pub fn detail(&mut self, make: impl FnOnce() -> Event) {
        if self.watch && self.detailed {
            self.events.push(make());
        }
    }

    /// Records what the operator must know, whoever watches.
    pub fn alarm(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Whether there are no results.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
            && self.doors.is_empty()
            && self.awaited.is_empty()
            && self.bytes.is_empty()
            && self.pings.is_empty()
            && self.resets.is_empty()
            && self.events.is_empty()
    }

    /// Forgets all results and keeps the memory.
    pub fn clear(&mut self) {
        self.addresses.clear();
        self.doors.clear();
        self.awaited.clear();
        self.bytes.clear();
        self.pings.clear();
        self.resets.clear();
        self.events.clear();
    }
}
