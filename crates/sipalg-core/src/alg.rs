//! The state machine: flows, and the entry points through which the world drives it.

mod message;

use crate::addr::{Ipv4Addr, Leg, Protocol, SocketAddrV4};
use crate::call::{CallId, Calls};
use crate::config::Config;
use crate::counters::Counters;
use crate::door::Door;
use crate::event::Event;
use crate::fixup::{Host, Work};
use crate::frame::{Framer, Piece, Scan};
use crate::nat::{Context, MappingId, Nat};
use crate::outbox::Outbox;
use crate::registration::Registrations;
use crate::slab::Slab;
use crate::spelling::Spellings;
use crate::time::Instant;
use crate::timer::{Key, Timers};
use alloc::vec::Vec;
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
    /// When it was made.
    pub created: Instant,
    /// When it was last used.
    pub used: Instant,
    /// Time left, if a timer runs.
    pub left: Option<Duration>,
    /// The door it carries, if any.
    pub door: Option<Door>,
}

/// Where a message passes, and when.
#[derive(Clone, Copy, Debug)]
struct Passage {
    now: Instant,
    /// The inside host of its flow.
    host: Host,
    from: Leg,
    /// What carries it.
    protocol: Protocol,
}

/// One connection, or the datagrams between two addresses, through the gateway.
#[derive(Debug)]
struct Flow {
    protocol: Protocol,
    host: Host,
    /// The inside host's own end, if its source is mapped; released with the flow.
    mapping: Option<MappingId>,
    from_inside: Framer,
    from_outside: Framer,
    demoted: bool,
    /// Between two inside hosts, through the door of one.
    hairpin: bool,
}

impl Flow {
    fn passage(&self, now: Instant, from: Leg) -> Passage {
        Passage {
            now,
            host: self.host,
            from,
            protocol: self.protocol,
        }
    }

    fn framer(&mut self, from: Leg) -> &mut Framer {
        match from {
            Leg::Inside => &mut self.from_inside,
            Leg::Outside => &mut self.from_outside,
        }
    }
}

/// One gateway's worth of state.
#[derive(Debug)]
pub struct Alg {
    config: Config,
    counters: Counters,
    timers: Timers,
    nat: Nat,
    calls: Calls,
    registrations: Registrations,
    spellings: Spellings,
    flows: Slab<Flow>,
    scan: Scan,
    work: Work,
}

/// The tables' view of the machine. A macro, since the borrow checker must see that the other fields
/// stay free.
macro_rules! context {
    ($alg:expr, $now:expr) => {
        Context {
            now: $now,
            timers: &mut $alg.timers,
            counters: &mut $alg.counters,
            limits: &$alg.config.limits,
            lifetimes: &$alg.config.timers,
        }
    };
}
use context;

/// Connections.
impl Alg {
    /// A machine without state. `seed` makes its choice of ports unpredictable to others.
    pub fn new(config: Config, seed: u64) -> Self {
        Alg {
            config,
            counters: Counters::default(),
            timers: Timers::default(),
            nat: Nat::new(seed),
            calls: Calls::new(seed),
            registrations: Registrations::new(seed),
            spellings: Spellings::new(seed),
            flows: Slab::default(),
            scan: Scan::default(),
            work: Work::default(),
        }
    }

    /// A TCP connection from `peer` to `destination` was intercepted; decides what it is and how to
    /// dial on: anyone who heads for a live signalling door, an inside `peer` that heads outside, or
    /// an outside `peer` that heads for a translated inside host directly.
    ///
    /// # Errors
    /// The connection must be reset; nothing is kept.
    pub fn open(
        &mut self,
        now: Instant,
        peer: SocketAddrV4,
        destination: SocketAddrV4,
    ) -> Result<Opened, Refusal> {
        self.open_over(now, Protocol::Tcp, peer, destination)
    }

    /// The same for datagrams between two addresses; they go through
    /// [`datagram`](Self::datagram).
    ///
    /// # Errors
    /// The datagrams must be dropped; nothing is kept.
    pub fn open_datagrams(
        &mut self,
        now: Instant,
        peer: SocketAddrV4,
        destination: SocketAddrV4,
    ) -> Result<Opened, Refusal> {
        self.open_over(now, Protocol::Udp, peer, destination)
    }

    /// The gateway itself uses the global port that `flow` was given: bars it, and gives another
    /// address to bind to.
    ///
    /// # Errors
    /// No port is free, or the flow's inside host cannot be moved: it has a door at that port.
    pub fn reopen(&mut self, now: Instant, flow: FlowId) -> Result<SocketAddrV4, Refusal> {
        let mapping = self.flows.get(flow.0).and_then(|flow| flow.mapping);
        let mapping = mapping.filter(|mapping| self.nat.door(*mapping).is_none());
        let mut cx = context!(self, now);
        let moved = mapping.map(|mapping| self.nat.move_away(&mut cx, mapping));
        moved.and_then(Result::ok).ok_or(Refusal::Exhausted)
    }

    /// Bytes came in on leg `from`; appends what the other leg must carry to `out`.
    pub fn stream(
        &mut self,
        now: Instant,
        flow: FlowId,
        from: Leg,
        bytes: &[u8],
        out: &mut Outbox,
    ) {
        self.counters.bytes_in += bytes.len() as u64;
        let before = out.bytes.len();
        self.feed(now, flow, from, bytes, out);
        self.counters.bytes_out += (out.bytes.len() - before) as u64;
    }

    /// A datagram came in on leg `from`; appends what the other leg must carry to `out`. What is no
    /// whole SIP message passes unchanged, and decides nothing about those that follow.
    pub fn datagram(
        &mut self,
        now: Instant,
        flow: FlowId,
        from: Leg,
        bytes: &[u8],
        out: &mut Outbox,
    ) {
        self.counters.bytes_in += bytes.len() as u64;
        let before = out.bytes.len();
        let found = self.flows.get(flow.0).filter(|_| self.config.fixup);
        let passage = found.map(|flow| (flow.passage(now, from), flow.hairpin));
        let mut scan = core::mem::take(&mut self.scan);
        let limits = self.config.limits;
        let message = crate::frame::datagram(bytes, &limits, &mut scan);
        if let (Some((at, hairpin)), Some(message)) = (passage, message) {
            framed_events(out, &message, 1);
            self.pass(at, hairpin, &message, out);
            let rest = bytes.get(message.bytes.len()..);
            out.bytes.extend_from_slice(rest.unwrap_or_default());
        } else {
            out.bytes.extend_from_slice(bytes);
        }
        self.scan = scan;
        self.counters.bytes_out += (out.bytes.len() - before) as u64;
    }

    /// Leg `from` will send no more; releases what was held back of an incomplete message.
    pub fn end_of_stream(&mut self, _now: Instant, flow: FlowId, from: Leg, out: &mut Outbox) {
        if let Some(flow) = self.flows.get_mut(flow.0) {
            let held = flow.framer(from).end();
            self.counters.bytes_out += held.len() as u64;
            out.bytes.extend_from_slice(&held);
        }
    }

    /// Both legs are gone.
    pub fn close(&mut self, now: Instant, flow: FlowId) {
        let mapping = self.flows.remove(flow.0).and_then(|flow| flow.mapping);
        if let Some(mapping) = mapping {
            let mut cx = context!(self, now);
            self.nat.release(&mut cx, mapping);
        }
    }

    fn open_over(
        &mut self,
        now: Instant,
        over: Protocol,
        peer: SocketAddrV4,
        destination: SocketAddrV4,
    ) -> Result<Opened, Refusal> {
        let opened = if let Some(local) = self.target(over, destination) {
            self.open_inward(now, over, peer, local)
        } else if self.config.permits(*peer.ip()) {
            self.open_outward(now, over, peer, destination)
        } else if self.config.permits(*destination.ip()) {
            self.open_inward(now, over, peer, destination)
        } else if self.config.is_global(*destination.ip()) {
            Err(Refusal::NoDoor)
        } else {
            Err(Refusal::NotTranslated)
        };
        match opened {
            Ok(_) => self.counters.flows += 1,
            Err(_) => self.counters.no_target += 1,
        }
        opened
    }

    fn open_outward(
        &mut self,
        now: Instant,
        over: Protocol,
        inside: SocketAddrV4,
        outside: SocketAddrV4,
    ) -> Result<Opened, Refusal> {
        let (mapping, rule) = self.map_source(now, over, inside)?;
        let source = self
            .nat
            .get(mapping)
            .map(|m| m.global)
            .ok_or(Refusal::Exhausted)?;
        let flow = self.add_flow(over, *inside.ip(), *source.ip(), Some(mapping), false);
        Ok(Opened {
            flow,
            source,
            target: outside,
            accepted: Leg::Inside,
            rule,
        })
    }

    /// Toward an inside host, from outside; or from another inside host, which then appears under its
    /// own inside global (RFC 4787 REQ-9), so that the answers come back through the gateway.
    fn open_inward(
        &mut self,
        now: Instant,
        over: Protocol,
        peer: SocketAddrV4,
        inside: SocketAddrV4,
    ) -> Result<Opened, Refusal> {
        let (rule, source_rule) = self
            .config
            .source_for(*inside.ip())
            .ok_or(Refusal::NotTranslated)?;
        let global = source_rule.global_of(*inside.ip());
        let (mapping, source) = if self.config.permits(*peer.ip()) {
            let (mapping, _) = self.map_source(now, over, peer)?;
            (
                Some(mapping),
                self.nat.get(mapping).map(|m| m.global).unwrap_or(peer),
            )
        } else {
            (None, peer)
        };
        let flow = self.add_flow(over, *inside.ip(), global, mapping, mapping.is_some());
        Ok(Opened {
            flow,
            source,
            target: inside,
            accepted: Leg::Outside,
            rule,
        })
    }

    fn map_source(
        &mut self,
        now: Instant,
        over: Protocol,
        inside: SocketAddrV4,
    ) -> Result<(MappingId, usize), Refusal> {
        let (rule, source) = self
            .config
            .source_for(*inside.ip())
            .ok_or(Refusal::NotTranslated)?;
        let global = source.global_of(*inside.ip());
        let mut cx = context!(self, now);
        let mapping = self
            .nat
            .map(&mut cx, over, inside, global)
            .map_err(|_| Refusal::Exhausted)?;
        self.nat.hold(&mut cx, mapping);
        Ok((mapping, rule))
    }

    fn add_flow(
        &mut self,
        protocol: Protocol,
        local: Ipv4Addr,
        global: Ipv4Addr,
        mapping: Option<MappingId>,
        hairpin: bool,
    ) -> FlowId {
        FlowId(self.flows.insert(Flow {
            protocol,
            host: Host { local, global },
            mapping,
            from_inside: Framer::default(),
            from_outside: Framer::default(),
            demoted: false,
            hairpin,
        }))
    }

    fn pass(
        &mut self,
        at: Passage,
        hairpin: bool,
        message: &crate::frame::Message<'_>,
        out: &mut Outbox,
    ) {
        if hairpin {
            self.hairpin_message(at, message, out);
        } else {
            self.message(at, message, out);
        }
    }

    fn feed(&mut self, now: Instant, id: FlowId, from: Leg, bytes: &[u8], out: &mut Outbox) {
        let Some(flow) = self.flows.get_mut(id.0).filter(|_| self.config.fixup) else {
            out.bytes.extend_from_slice(bytes);
            return;
        };
        let (at, hairpin) = (flow.passage(now, from), flow.hairpin);
        let mut framer = core::mem::take(flow.framer(from));
        if flow.demoted {
            framer.demote();
        }
        let mut scan = core::mem::take(&mut self.scan);
        let limits = self.config.limits;
        let mut whole = 0;
        framer.feed(bytes, &limits, &mut scan, &mut |piece| match piece {
            Piece::KeepAlive(bytes) => {
                self.counters.keepalives += 1;
                out.bytes.extend_from_slice(bytes);
            }
            Piece::Message(message) => {
                whole += 1;
                framed_events(out, &message, whole);
                self.pass(at, hairpin, &message, out);
            }
            Piece::Oversize { bytes, first } => {
                self.counters.body_too_long += u64::from(first);
                out.bytes.extend_from_slice(bytes);
            }
            Piece::Raw(bytes) => out.bytes.extend_from_slice(bytes),
            Piece::Demoted(reason) => {
                self.counters.demoted += 1;
                if let Some(flow) = self.flows.get_mut(id.0) {
                    flow.demoted = true;
                }
                out.event(|| Event::Demoted(reason));
            }
            Piece::Partial {
                received,
                header,
                total,
            } => partial_events(out, received, header, total),
        });
        self.scan = scan;
        if let Some(flow) = self.flows.get_mut(id.0) {
            *flow.framer(from) = framer;
        }
    }
}

/// Time and feedback.
impl Alg {
    /// Tells which ports of the gateway's own services must not be given to inside hosts.
    /// Replaces what was told before.
    pub fn reserve(&mut self, ports: &[(Protocol, u16)]) {
        self.nat.reserve(ports);
    }

    /// The kernel could not make this door.
    pub fn door_failed(&mut self, now: Instant, door: &Door) {
        let mut cx = context!(self, now);
        self.nat.door_failed(&mut cx, door);
    }

    /// The kernel saw packets on the media door of this inside local address since the last time.
    pub fn media_seen(&mut self, now: Instant, inside_local: SocketAddrV4) {
        if let Some(mapping) = self.nat.find_local(Protocol::Udp, inside_local) {
            self.nat.touch(now, mapping);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Lets everything expire that is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        while let Some(key) = self.timers.pop_due(now) {
            let mut cx = context!(self, now);
            match key {
                Key::Mapping(id) => self.nat.mapping_expired(&mut cx, MappingId(id)),
                Key::Bar(protocol, global) => self.nat.bar_expired(protocol, global),
                Key::Call(id) => self.calls.expired(&mut cx, &mut self.nat, CallId(id), out),
                Key::Pending(key) => {
                    self.registrations
                        .pending_expired(&mut cx, &mut self.nat, key);
                }
                Key::Spelling(conversation) => {
                    let needed = self.calls.goes_on(conversation);
                    self.spellings.expired(&mut cx, conversation, needed);
                }
                Key::Registration(mapping, aor) => {
                    let mapping = MappingId(mapping);
                    self.registrations
                        .expired(&mut cx, &mut self.nat, mapping, aor, out);
                }
            }
        }
    }
}

/// Views.
impl Alg {
    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where a live signalling door for TCP leads.
    pub fn signalling_target(&self, global: SocketAddrV4) -> Option<SocketAddrV4> {
        self.target(Protocol::Tcp, global)
    }

    fn target(&self, over: Protocol, global: SocketAddrV4) -> Option<SocketAddrV4> {
        let mapping = self.nat.find_global(over, global)?;
        self.nat.door(mapping).map(|door| door.inside_local)
    }

    /// Every mapping, in the order of inside local addresses.
    pub fn mappings(&self, now: Instant) -> Vec<MappingView> {
        let view = |(id, mapping): (MappingId, &crate::nat::Mapping)| MappingView {
            protocol: mapping.protocol,
            inside_local: mapping.local,
            inside_global: mapping.global,
            created: mapping.created,
            used: mapping.used,
            left: mapping.idle_until().map(|at| at.since(now)),
            door: self.nat.door(id),
        };
        self.nat.list().into_iter().map(view).collect()
    }

    /// Every door, in the order of inside local addresses.
    pub fn doors(&self) -> Vec<Door> {
        let list = self.nat.list().into_iter();
        list.filter_map(|(id, _)| self.nat.door(id)).collect()
    }

    /// How many calls and registrations are known, and for how many Call-IDs a spelling is kept.
    pub fn sizes(&self) -> (usize, usize, usize) {
        let (calls, registrations) = (self.calls.len(), self.registrations.len());
        (calls, registrations, self.spellings.len())
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

/// What the framer has to say of a whole message, the `nth` of this read.
fn framed_events(out: &mut Outbox, message: &crate::frame::Message<'_>, nth: usize) {
    if !out.watch {
        return;
    }
    let (header, total) = (message.header, message.bytes.len());
    out.events.extend([
        Event::AlgNeeded,
        Event::Received { bytes: total },
        Event::HeaderComplete {
            header,
            body: total - header,
        },
        Event::FramerState {
            received: total,
            header_left: 0,
            body_left: 0,
            state: 0,
            message: total,
        },
        Event::MessagesReceived(nth),
    ]);
}

/// What the framer has to say of a message that is not whole.
fn partial_events(out: &mut Outbox, received: usize, header: usize, total: usize) {
    if !out.watch {
        return;
    }
    out.events.push(Event::AlgNeeded);
    out.events.push(Event::Received { bytes: received });
    if header > 0 {
        out.events.push(Event::HeaderComplete {
            header,
            body: total - header,
        });
    }
    out.events.push(Event::FramerState {
        received,
        header_left: usize::from(header == 0),
        body_left: total.saturating_sub(received),
        state: if header == 0 { 1 } else { 2 },
        message: total,
    });
}
