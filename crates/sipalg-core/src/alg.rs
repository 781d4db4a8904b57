//! The state machine: flows, and the entry points through which the world drives it.

use crate::addr::{Leg, Protocol, SocketAddrV4};
use crate::config::Config;
use crate::counters::Counters;
use crate::door::Door;
use crate::outbox::Outbox;
use crate::time::Instant;
use core::time::Duration;

/// Names a flow for its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct FlowId(pub u32);

/// Why a connection is not carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No `ip nat inside source` rule permits the inside host.
    NotTranslated,
    /// No live door has this address.
    NoDoor,
    /// No port is free, or a table is full.
    Exhausted,
}

/// A flow that was opened, and how to dial its other leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Its name in later calls.
    pub flow: FlowId,
    /// The address to bind the dialled leg to.
    pub source: SocketAddrV4,
    /// The address to connect to.
    pub target: SocketAddrV4,
    /// The leg that was accepted; the dialled one is the other.
    pub accepted: Leg,
    /// Index in [`Config::sources`] of the rule that translates the inside host.
    pub rule: usize,
}

/// A mapping as `show ip nat translations` sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MappingView {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The inside host's own address.
    pub inside_local: SocketAddrV4,
    /// What the outside sees.
    pub inside_global: SocketAddrV4,
    /// Age.
    pub created: Instant,
    /// Last use.
    pub used: Instant,
    /// Time left, if a timer runs.
    pub left: Option<Duration>,
    /// The door it carries, if any.
    pub door: Option<Door>,
}

/// One gateway's worth of state.
#[derive(Debug)]
pub struct Alg {
    config: Config,
    counters: Counters,
}

impl Alg {
    /// A machine without state. `seed` makes its choice of ports unpredictable to others.
    pub fn new(config: Config, _seed: u64) -> Self {
        Alg { config, counters: Counters::default() }
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Tells which ports of the gateway's own services must not be given to inside hosts.
    /// Replaces what was told before.
    pub fn reserve(&mut self, _ports: &[(Protocol, u16)]) {}

    /// A TCP connection from `peer` to `destination` was intercepted; decides what it is and how to
    /// dial on. An inside `peer` that heads outside, anyone who heads for a live signalling door,
    /// and an outside `peer` that heads for a translated inside host directly.
    ///
    /// # Errors
    /// The connection must be reset; nothing is kept.
    pub fn open(
        &mut self,
        _now: Instant,
        _peer: SocketAddrV4,
        _destination: SocketAddrV4,
        _out: &mut Outbox,
    ) -> Result<Opened, Refusal> {
        Err(Refusal::NoDoor)
    }

    /// The gateway itself uses the global port that `flow` was given: bars it, and gives another
    /// address to bind to.
    ///
    /// # Errors
    /// No port is free.
    pub fn reopen(&mut self, _now: Instant, _flow: FlowId) -> Result<SocketAddrV4, Refusal> {
        Err(Refusal::Exhausted)
    }

    /// Bytes came in on leg `from`; appends what the other leg must carry to `out`.
    pub fn stream(
        &mut self,
        _now: Instant,
        _flow: FlowId,
        _from: Leg,
        bytes: &[u8],
        out: &mut Outbox,
    ) {
        out.bytes.extend_from_slice(bytes);
    }

    /// Leg `from` will send no more; releases what was held back of an incomplete message.
    pub fn end_of_stream(&mut self, _now: Instant, _flow: FlowId, _from: Leg, _out: &mut Outbox) {}

    /// Both legs are gone.
    pub fn close(&mut self, _now: Instant, _flow: FlowId, _out: &mut Outbox) {}

    /// The kernel could not make this door.
    pub fn door_failed(&mut self, _now: Instant, _door: &Door, _out: &mut Outbox) {}

    /// The kernel saw packets on the media door of this inside local address since the last time.
    pub fn media_seen(&mut self, _now: Instant, _inside_local: SocketAddrV4) {}

    /// When [`handle_timeout`](Self::handle_timeout) is next due.
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Lets everything expire that is due.
    pub fn handle_timeout(&mut self, _now: Instant, _out: &mut Outbox) {}

    /// Every mapping, in the order of inside local addresses.
    pub fn mappings(&self, _now: Instant) -> alloc::vec::Vec<MappingView> {
        alloc::vec::Vec::new()
    }

    /// Every door, in the order of inside local addresses.
    pub fn doors(&self) -> alloc::vec::Vec<Door> {
        alloc::vec::Vec::new()
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}
