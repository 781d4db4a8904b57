//! One queue of deadlines for everything that can expire.

use crate::addr::{FlowId, Ipv4Addr, Protocol, SocketAddrV4};
use crate::time::Instant;
use alloc::collections::BTreeSet;

/// What a deadline is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Key {
    /// A mapping that nobody holds.
    Mapping(u32),
    /// A port barred for other hosts.
    Bar(Protocol, SocketAddrV4),
    /// An inside host's address of a pool without overload.
    Address(Ipv4Addr),
    /// A flow that has a door.
    Flow(FlowId),
    /// A flow of which a message is not whole.
    Slow(FlowId),
    /// A flow that is pinged when it is silent.
    Ping(FlowId),
    /// A call.
    Call(u32),
    /// A REGISTER without final response.
    Pending(u64),
    /// The spellings of a Call-ID.
    Spelling(u64),
    /// A registration, by its mapping and the hash of its address-of-record.
    Registration(u32, u64),
}

/// Deadlines in order. Each owner remembers the instant it is armed for, so that a deadline is moved
/// or taken away exactly.
#[derive(Debug, Default)]
pub struct Timers {
    queue: BTreeSet<(Instant, Key)>,
}

/// When an owner's deadline is, if it has one.
pub type Armed = Option<Instant>;

impl Timers {
    /// Moves the owner's deadline to `at`.
    pub fn arm(&mut self, armed: &mut Armed, key: Key, at: Instant) {
        self.disarm(armed, key);
        self.queue.insert((at, key));
        *armed = Some(at);
    }

    /// Takes the owner's deadline away.
    pub fn disarm(&mut self, armed: &mut Armed, key: Key) {
        if let Some(at) = armed.take() {
            self.queue.remove(&(at, key));
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes out the earliest deadline that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Key> {
        let (at, _) = self.queue.first()?;
        if *at > now {
            return None;
        }
        self.queue.pop_first().map(|(_, key)| key)
    }
}
