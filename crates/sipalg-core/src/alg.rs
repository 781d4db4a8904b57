//! The state machine: flows, and the entry points through which the world drives it.

mod clear;
mod dry_run;
mod flow;
mod kept;
mod limits;
mod message;
mod ping;
mod tell;
mod usage;

pub use crate::addr::FlowId;
pub use crate::nat::{Clear, Peak};
pub use clear::Cleared;
pub use flow::{FlowView, Opened, Refusal};
pub use usage::Usage;

use crate::addr::{Ends, Ipv4Addr, Leg, Protocol, SocketAddrV4};
use crate::admission::Admission;
use crate::call::{CallId, Calls};
use crate::config::{Config, Selection, Source};
use crate::counters::Counters;
use crate::door::Door;
use crate::event::Event;
use crate::fixup::Work;
use crate::frame::{Lengths, Piece, Scan};
use crate::journal::Journal;
use crate::nat::{Context, MappingId, Nat};
use crate::outbox::Outbox;
use crate::registration::Registrations;
use crate::slab::Slab;
use crate::spelling::Spellings;
use crate::time::Instant;
use crate::timer::{Key, Timers};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;
use flow::{Flow, Passage};
use kept::Records;

/// A mapping as `show ip nat translations` sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MappingView {
    /// TCP or UDP; `None` if all of both, at the same ports: of a static host or network, or of a
    /// host that has an address of a pool for itself. The ports below are 0 then.
    pub protocol: Option<Protocol>,
    /// The inside host's own address.
    pub inside_local: SocketAddrV4,
    /// What the outside sees.
    pub inside_global: SocketAddrV4,
    /// Whether a static rule gives it, so that it is there for ever.
    pub is_static: bool,
    /// Index in [`Config::sources`] of the rule that it is by.
    pub rule: Option<usize>,
    /// When it was made.
    pub created: Instant,
    /// When it was last used.
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
    admission: Admission,
    timers: Timers,
    nat: Nat,
    calls: Calls,
    registrations: Registrations,
    spellings: Spellings,
    flows: Slab<Flow>,
    /// How many flows there have been.
    serial: u64,
    /// When room may be made for connections again.
    room_at: Instant,
    scan: Option<Box<Scan>>,
    work: Work,
    journal: Journal,
    /// Flows on which nothing is changed.
    dry: Vec<Selection>,
    records: Records,
}

/// The tables' view of the machine. A macro, since the borrow checker must see that the other fields
/// stay free.
macro_rules! context {
    ($alg:expr, $now:expr) => {
        Context {
            now: $now,
            timers: &mut $alg.timers,
            counters: &mut $alg.counters,
            admission: &mut $alg.admission,
            config: &$alg.config,
        }
    };
}
use context;

/// What passes.
impl Alg {
    /// A machine without state. `seed` makes its choice of ports unpredictable to others.
    pub fn new(config: Config, seed: u64) -> Self {
        let mut alg = Alg::empty(config, seed);
        // Without mappings, nothing comes of it but those of static ports.
        let mut cx = context!(alg, Instant::ZERO);
        alg.nat.renew(&mut cx, &mut Outbox::default());
        alg
    }

    /// A machine in which not even the rules have made anything.
    fn empty(config: Config, seed: u64) -> Self {
        Alg {
            config,
            counters: Counters::default(),
            admission: Admission::new(seed),
            timers: Timers::default(),
            nat: Nat::new(seed),
            calls: Calls::new(seed),
            registrations: Registrations::new(seed),
            spellings: Spellings::new(seed),
            flows: Slab::default(),
            serial: 0,
            room_at: Instant::ZERO,
            scan: None,
            work: Work::default(),
            journal: Journal::default(),
            dry: Vec::new(),
            records: Records::default(),
        }
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
        if self.is_condemned(flow) {
            return;
        }
        let (before, messages) = (out.bytes.len(), self.counters.messages);
        self.feed(now, flow, from, bytes, out);
        let whole = self.counters.messages - messages;
        // Half a message costs what a whole one does.
        let messages = whole.max(u64::from(!bytes.is_empty()));
        let passed = out.bytes.len() - before;
        self.heard(now, flow, from, (whole > 0, messages), passed, out);
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
        if from == Leg::Inside {
            self.speaks(now, flow, out);
        }
        let found = self.flows.get(flow.0);
        let found = found.filter(|flow| self.config.fixup && !flow.plain && !flow.demoted);
        let passage = found.map(|found| {
            let mut at = found.passage(now, flow, from);
            at.dry_run = self.is_dry(&at.ends);
            at
        });
        let mut scan = self.scan.take().unwrap_or_default();
        let limits = &self.config.limits;
        let message = crate::frame::datagram(bytes, limits, &mut scan);
        match (passage, message) {
            (Some(at), Some(message)) => {
                framed_events(out, &message, 1);
                self.pass(at, &message, out);
                let rest = bytes.get(message.bytes.len()..);
                out.bytes.extend_from_slice(rest.unwrap_or_default());
            }
            // RFC 5626 has STUN for pings over UDP, but CRLF is in use.
            (Some(_), None) if bytes == b"\r\n" => self.keep_alive(flow, from, bytes, out),
            (Some(_), None) if bytes == b"\r\n\r\n" && from == Leg::Inside => {
                for half in bytes.chunks(2) {
                    self.keep_alive(flow, from, half, out);
                }
            }
            _ => out.bytes.extend_from_slice(bytes),
        }
        self.scan = Some(scan);
        let passed = out.bytes.len() - before;
        self.heard(now, flow, from, (true, 1), passed, out);
    }

    /// Leg `from` will send no more; releases what was held back of an incomplete message.
    pub fn end_of_stream(&mut self, now: Instant, flow: FlowId, from: Leg, out: &mut Outbox) {
        if let Some(flow) = self.flows.quiet_mut(flow.0) {
            let held = flow.framer(from).end();
            self.counters.bytes_out += held.len() as u64;
            out.bytes.extend_from_slice(&held);
        }
        self.count_memory(now, flow, out);
    }

    fn pass(&mut self, at: Passage, message: &crate::frame::Message<'_>, out: &mut Outbox) {
        if at.from == Leg::Inside
            && let Some(flow) = self.flows.quiet_mut(at.flow.0)
        {
            flow.pongs.inside_sent(false);
        }
        if at.hairpin {
            self.hairpin_message(at, message, out);
        } else {
            self.message(at, message, out);
        }
    }

    /// A CRLF between messages: it passes, unless it answers a ping that was ours.
    fn keep_alive(&mut self, flow: FlowId, from: Leg, bytes: &[u8], out: &mut Outbox) {
        self.counters.keepalives += 1;
        let mut ours = false;
        self.flows.update(flow.0, |flow| {
            let before = flow.pongs.record();
            match from {
                Leg::Outside => ours = flow.pongs.is_ours(),
                Leg::Inside => flow.pongs.inside_sent(true),
            }
            flow.pongs.record() != before
        });
        if !ours {
            out.bytes.extend_from_slice(bytes);
        }
    }

    fn feed(&mut self, now: Instant, id: FlowId, from: Leg, bytes: &[u8], out: &mut Outbox) {
        let fixup = self.config.fixup;
        let flow = self.flows.quiet_mut(id.0);
        let Some(flow) = flow.filter(|flow| fixup && !flow.plain) else {
            out.bytes.extend_from_slice(bytes);
            return;
        };
        let mut at = flow.passage(now, id, from);
        let mut framer = core::mem::take(flow.framer(from));
        if flow.demoted {
            framer.demote();
        }
        let rest = framer.rest();
        at.dry_run = self.is_dry(&at.ends);
        let mut scan = self.scan.take().unwrap_or_default();
        let limits = Lengths::from(&self.config.limits);
        let mut whole = 0;
        framer.feed(bytes, limits, &mut scan, &mut |piece| match piece {
            Piece::KeepAlive(bytes) => self.keep_alive(id, from, bytes, out),
            Piece::Message(message) => {
                whole += 1;
                framed_events(out, &message, whole);
                self.pass(at, &message, out);
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
        self.scan = Some(scan);
        if framer.rest() != rest {
            self.flows.mark(id.0);
        }
        if let Some(flow) = self.flows.quiet_mut(id.0) {
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

    /// Opens doors anew that the kernel could not make or that were refused, if they are still wanted;
    /// how many that are.
    pub fn retry_doors(&mut self, now: Instant, out: &mut Outbox) -> usize {
        let mut cx = context!(self, now);
        self.nat.retry_doors(&mut cx, out)
    }

    /// The kernel saw packets on the media door of this inside local address since the last time.
    pub fn media_seen(&mut self, now: Instant, inside_local: SocketAddrV4) {
        if let Some(mapping) = self.nat.find_local(Protocol::Udp, inside_local) {
            self.nat.touch(&context!(self, now), mapping);
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
                Key::Address(host) => self.nat.address_expired(&mut cx, host, out),
                Key::Flow(flow) => self.refresh_flow(now, flow, out),
                Key::Slow(flow) => self.look_for_slow(now, flow, out),
                Key::Ping(flow) => self.ping(now, flow, out),
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

    /// Where a live signalling door for TCP, or what a static rule gives, leads.
    pub fn signalling_target(&self, global: SocketAddrV4) -> Option<SocketAddrV4> {
        self.nat.target(&self.config, Protocol::Tcp, global)
    }

    /// Every mapping, in the order of inside local addresses; also those of static rules that nobody
    /// uses.
    pub fn mappings(&self, now: Instant) -> Vec<MappingView> {
        let view = |(id, mapping): (MappingId, &crate::nat::Mapping)| MappingView {
            protocol: Some(mapping.protocol),
            inside_local: mapping.local,
            inside_global: mapping.global,
            is_static: mapping.is_static(),
            rule: self.nat.rule_of(
                &self.config,
                mapping.protocol,
                mapping.local,
                mapping.global,
            ),
            created: mapping.created,
            used: mapping.used,
            left: self
                .timers
                .due(mapping.idle_until())
                .map(|at| at.since(now)),
            door: self.nat.door(id),
        };
        let mut views: Vec<_> = self.nat.list().into_iter().map(view).collect();
        views.extend(self.static_hosts());
        views.extend(self.own_addresses(now));
        views.sort_by_key(|view| (view.inside_local, view.protocol));
        views
    }

    fn static_hosts(&self) -> impl Iterator<Item = MappingView> {
        let rules = self.config.sources.iter().enumerate();
        rules.filter_map(|(index, rule)| match rule.source {
            Source::Static { local, global, .. } => Some(MappingView {
                protocol: None,
                inside_local: SocketAddrV4::new(local, 0),
                inside_global: SocketAddrV4::new(global, 0),
                is_static: true,
                rule: Some(index),
                created: Instant::ZERO,
                used: Instant::ZERO,
                left: None,
                door: None,
            }),
            _ => None,
        })
    }

    fn own_addresses(&self, now: Instant) -> impl Iterator<Item = MappingView> {
        self.nat.assigned().map(move |(host, assigned)| {
            let local = SocketAddrV4::new(host, 0);
            let global = SocketAddrV4::new(assigned.global, 0);
            MappingView {
                protocol: None,
                inside_local: local,
                inside_global: global,
                is_static: false,
                rule: self.nat.rule_of(&self.config, Protocol::Tcp, local, global),
                created: assigned.created,
                used: assigned.used,
                left: self
                    .timers
                    .due(assigned.idle_until())
                    .map(|at| at.since(now)),
                door: None,
            }
        })
    }

    /// The inside hosts with an address of a pool without overload, in order, each with its own.
    pub fn addresses(&self) -> Vec<(Ipv4Addr, Ipv4Addr)> {
        let assigned = self.nat.assigned();
        assigned.map(|(host, given)| (host, given.global)).collect()
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

    /// Who speaks with whom on a flow.
    pub fn ends(&self, flow: FlowId) -> Option<Ends> {
        Some(self.flows.get(flow.0)?.ends)
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
