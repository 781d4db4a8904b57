//! Flows: what is opened, how its other leg is dialled, and what new rules mean for it.

mod kept;

pub use kept::FlowView;

use super::limits::Cost;
use super::ping::Pongs;
use super::{Alg, context};
use crate::addr::{Ends, FlowId, Ipv4Addr, Leg, Protocol, SocketAddrV4};
use crate::config::{Config, Source};
use crate::door::DoorKind;
use crate::fixup::Host;
use crate::frame::Framer;
use crate::kept::Note;
use crate::nat::{Context, MapError, MappingId};
use crate::outbox::Outbox;
use crate::time::Instant;
use crate::timer::{Armed, Key};
use alloc::vec::Vec;

/// Why a connection is not carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No `ip nat inside source` rule permits the inside host.
    NotTranslated,
    /// No live door has this address.
    NoDoor,
    /// No port or address is free, a table is full, or the operator allows no more.
    Exhausted,
    /// The inside host has too many already, or there are too many in all.
    Limited,
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

/// Where a message passes, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    pub now: Instant,
    pub flow: FlowId,
    /// A name of the flow that is never used again.
    pub serial: u64,
    /// The inside host of its flow.
    pub host: Host,
    pub from: Leg,
    /// What carries it.
    pub protocol: Protocol,
    /// Between two inside hosts, through the door of one.
    pub hairpin: bool,
    /// Who speaks with whom.
    pub ends: Ends,
    /// Nothing is changed, only told what would be.
    pub dry_run: bool,
}

/// One connection, or the datagrams between two addresses, through the gateway.
#[derive(Debug)]
pub(super) struct Flow {
    pub serial: u64,
    pub host: Host,
    /// Who speaks with whom.
    pub ends: Ends,
    /// The leg that was accepted.
    accepted: Leg,
    /// The inside host's own end, if its source is mapped; released with the flow.
    mapping: Option<MappingId>,
    /// Where the inside host wants its answers, if not there: the sent-by of a Via without `rport`.
    answers: Option<MappingId>,
    from_inside: Framer,
    from_outside: Framer,
    pub demoted: bool,
    /// Nothing in it is fixed up: its rule says `no-payload`, or none translates it.
    pub plain: bool,
    hairpin: bool,
    /// When its door is refreshed.
    door: Armed,
    /// When it was last sent something outside.
    pub sent: Instant,
    /// When it is pinged, if it is silent until then.
    pub ping: Armed,
    pub pongs: Pongs,
    /// What it costs its host.
    pub cost: Cost,
    note: Note,
}

impl Flow {
    pub fn passage(&self, now: Instant, flow: FlowId, from: Leg) -> Passage {
        Passage {
            now,
            flow,
            serial: self.serial,
            host: self.host,
            from,
            protocol: self.ends.protocol,
            hairpin: self.hairpin,
            ends: self.ends,
            dry_run: false,
        }
    }

    /// The mapping of the inside host's own end, if its source is mapped.
    pub fn mapping(&self) -> Option<MappingId> {
        self.mapping
    }

    /// Toward an inside host: the inside global that the flow was for, if it was for one.
    pub fn entered(&self) -> Option<Ipv4Addr> {
        let Ends {
            inside_local,
            inside_global,
            ..
        } = self.ends;
        let by_global = self.accepted == Leg::Outside && inside_global != inside_local;
        by_global.then_some(*inside_global.ip())
    }

    /// Between two inside hosts.
    pub fn is_hairpin(&self) -> bool {
        self.hairpin
    }

    /// How many bytes of memory incomplete messages on it take.
    pub fn held(&self) -> usize {
        self.from_inside.memory() + self.from_outside.memory()
    }

    /// Forgets incomplete messages.
    pub fn forget_held(&mut self) {
        self.from_inside.end();
        self.from_outside.end();
    }

    pub fn framer(&mut self, from: Leg) -> &mut Framer {
        match from {
            Leg::Inside => &mut self.from_inside,
            Leg::Outside => &mut self.from_outside,
        }
    }
}

/// Flows.
impl Alg {
    /// A TCP connection from `peer` to `destination` was intercepted; decides what it is and how to
    /// dial on: anyone who heads for a live signalling door or for what a static rule gives, an
    /// inside `peer` that heads outside, or an outside `peer` that heads for a translated inside host
    /// directly.
    ///
    /// # Errors
    /// The connection must be reset; nothing is kept.
    pub fn open(
        &mut self,
        now: Instant,
        peer: SocketAddrV4,
        destination: SocketAddrV4,
        out: &mut Outbox,
    ) -> Result<Opened, Refusal> {
        self.open_over(now, Protocol::Tcp, peer, destination, out)
    }

    /// The same for datagrams between two addresses; they go through
    /// [`datagram`](Self::datagram). While the flow lives, its inside end has a signalling door: it
    /// is answered by anyone (RFC 4787 REQ-8).
    ///
    /// # Errors
    /// The datagrams must be dropped; nothing is kept.
    pub fn open_datagrams(
        &mut self,
        now: Instant,
        peer: SocketAddrV4,
        destination: SocketAddrV4,
        out: &mut Outbox,
    ) -> Result<Opened, Refusal> {
        self.open_over(now, Protocol::Udp, peer, destination, out)
    }

    /// The gateway itself uses the global port that `flow` was given: bars it, and gives another
    /// address to bind to.
    ///
    /// # Errors
    /// No port is free, or the flow's inside host cannot be moved: it has a door at that port, or a
    /// rule wants it there.
    pub fn reopen(&mut self, now: Instant, flow: FlowId) -> Result<SocketAddrV4, Refusal> {
        let mapping = self.flows.get(flow.0).and_then(|flow| flow.mapping);
        let mapping = mapping.filter(|mapping| self.nat.door(*mapping).is_none());
        let mut cx = context!(self, now);
        let moved = mapping.map(|mapping| self.nat.move_away(&mut cx, mapping));
        let moved = moved.and_then(Result::ok).ok_or(Refusal::Exhausted)?;
        if let Some(flow) = self.flows.get_mut(flow.0) {
            flow.ends.inside_global = moved;
        }
        Ok(moved)
    }

    /// Both legs are gone, or no more datagrams come.
    pub fn close(&mut self, now: Instant, flow: FlowId, out: &mut Outbox) {
        let Some(mut gone) = self.flows.remove(flow.0) else {
            return;
        };
        let mut cx = context!(self, now);
        cx.timers.disarm(&mut gone.door, Key::Flow(flow));
        cx.timers.disarm(&mut gone.ping, Key::Ping(flow));
        gone.cost.end(flow, cx.admission, cx.timers);
        if let Some(mapping) = gone.mapping {
            if gone.ends.protocol == Protocol::Udp {
                self.nat.close_door(&mut cx, mapping, out);
            }
            self.nat.release(&mut cx, mapping);
        }
        if let Some(answers) = gone.answers {
            self.nat.close_door(&mut cx, answers, out);
        }
    }

    /// A packet of an inside host that has no address of its pool yet: gives it one. True if it has
    /// an inside global address now, by whatever rule.
    pub fn assign(&mut self, now: Instant, host: Ipv4Addr, out: &mut Outbox) -> bool {
        let mut cx = context!(self, now);
        let Some((_, rule)) = cx.config.source_for(host) else {
            return false;
        };
        match &rule.source {
            Source::List { pool, .. } if !pool.overload => {
                self.nat.assign(&mut cx, host, *pool, out).is_ok()
            }
            _ => true,
        }
    }

    /// The kernel saw new flows of an inside host since the last time: it keeps its address.
    pub fn host_seen(&mut self, now: Instant, host: Ipv4Addr) {
        self.nat.host_seen(&mut context!(self, now), host);
    }

    /// Other rules, bounds and lifetimes from now on. What the new rules leave alone goes on. A
    /// mapping that they put elsewhere moves, with its door, to the same port if that is free; one
    /// that none of them gives ends with its door. Names the flows that must be reset, in order:
    /// those whose own address moved or ended.
    pub fn reconfigure(&mut self, now: Instant, config: Config, out: &mut Outbox) -> Vec<FlowId> {
        self.config = config;
        self.work.twins.forget();
        self.admission.renew(&self.config);
        let mut cx = context!(self, now);
        let changed = self.nat.renew(&mut cx, out);
        self.mark_all();
        let lost = self.without_address(&changed);
        let others: Vec<_> = self.flows.iter().map(|(id, _)| FlowId(id)).collect();
        let others = others.into_iter();
        let others = others.filter(|flow| lost.binary_search(flow).is_err());
        for flow in others {
            self.watch_silence(now, flow);
        }
        lost
    }

    /// A flow's door is kept for another while.
    pub(super) fn refresh_flow(&mut self, now: Instant, flow: FlowId, out: &mut Outbox) {
        let timers = self.config.timers;
        let Some(entry) = self.flows.get_mut(flow.0) else {
            return;
        };
        entry.door.came();
        for mapping in entry.mapping.into_iter().chain(entry.answers) {
            if let Some(door) = self.nat.door(mapping) {
                let lifetime = timers.door_lifetime().max(door.lifetime);
                self.nat.refresh_door(mapping, lifetime, out);
            }
        }
        self.refresh_later(now, flow);
    }

    /// The inside host sends a datagram on a flow that came from outside: it is answered from now on,
    /// also when the door by which the flow came has closed.
    pub(super) fn speaks(&mut self, now: Instant, flow: FlowId, out: &mut Outbox) {
        let Some(entry) = self.flows.get(flow.0) else {
            return;
        };
        if entry.mapping.is_some() || entry.entered().is_none() {
            return;
        }
        let inside = entry.ends.inside_local;
        if let Ok((mapping, _)) = self.map_source(now, Protocol::Udp, inside, None, out)
            && let Some(entry) = self.flows.get_mut(flow.0)
        {
            entry.mapping = Some(mapping);
            self.refresh_later(now, flow);
        }
    }

    /// Answers to what the inside host sends by UDP go to the port in its topmost Via, unless that
    /// has `rport` (RFC 3261 section 18.2.2, RFC 3581): that port has a door while the flow lives.
    pub(super) fn answered_at(
        &mut self,
        now: Instant,
        flow: FlowId,
        answers: MappingId,
        out: &mut Outbox,
    ) {
        let Some(entry) = self.flows.get_mut(flow.0) else {
            return;
        };
        if entry.mapping == Some(answers) || entry.answers == Some(answers) {
            return;
        }
        let before = entry.answers.replace(answers);
        let mut cx = context!(self, now);
        let lifetime = cx.config.timers.door_lifetime();
        self.nat
            .open_door(&mut cx, answers, DoorKind::Signalling, lifetime, out);
        if let Some(before) = before {
            self.nat.close_door(&mut cx, before, out);
        }
        self.refresh_later(now, flow);
    }

    fn refresh_later(&mut self, now: Instant, flow: FlowId) {
        if let Some(entry) = self.flows.get_mut(flow.0) {
            let at = now + self.config.timers.check_interval();
            self.timers.arm(&mut entry.door, Key::Flow(flow), at);
        }
    }

    fn open_over(
        &mut self,
        now: Instant,
        over: Protocol,
        peer: SocketAddrV4,
        destination: SocketAddrV4,
        out: &mut Outbox,
    ) -> Result<Opened, Refusal> {
        let target = self.nat.target(&self.config, over, destination);
        let opened = if let Some(local) = target {
            self.open_inward(now, over, peer, local, Some(destination), out)
        } else if let Some(rule) = self.rule_of_flow(over, peer, destination) {
            self.open_outward(now, over, peer, destination, rule, out)
        } else if self.config.permits(*destination.ip()) {
            self.open_inward(now, over, peer, destination, None, out)
        } else if self.config.is_global(*destination.ip()) {
            Err(Refusal::NoDoor)
        } else {
            Err(Refusal::NotTranslated)
        };
        match opened {
            Ok(_) => self.counters.flows += 1,
            // Counted already.
            Err(Refusal::Limited) => {}
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
        rule: usize,
        out: &mut Outbox,
    ) -> Result<Opened, Refusal> {
        let payer = (*inside.ip(), false);
        self.admit_flow(now, over, payer, out)?;
        let (mapping, source) = self.map_source(now, over, inside, Some(rule), out)?;
        let of_port = self.config.sources.get(rule).filter(|r| !r.is_of_hosts());
        let global = of_port.and_then(|_| self.nat.address_of(&self.config, *inside.ip()));
        let host = Host {
            local: *inside.ip(),
            global: global.unwrap_or(*source.ip()),
        };
        let ends = Ends {
            protocol: over,
            inside_local: inside,
            inside_global: source,
            outside,
        };
        let mut flow = self.new_flow(now, ends, host, Leg::Inside, Some(mapping), payer);
        flow.plain = !self.config.fixes_up(over, inside);
        let flow = self.add_flow(now, flow);
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
        entered: Option<SocketAddrV4>,
        out: &mut Outbox,
    ) -> Result<Opened, Refusal> {
        let address = self.nat.address_of(&self.config, *inside.ip());
        let global = address.or(entered.map(|entered| *entered.ip()));
        let global = global.ok_or(Refusal::NotTranslated)?;
        let hairpin = self.config.permits(*peer.ip());
        let payer = match hairpin {
            true => (*peer.ip(), false),
            false => (*inside.ip(), true),
        };
        self.admit_flow(now, over, payer, out)?;
        let (mapping, source) = if hairpin {
            let (mapping, source) = self.map_source(now, over, peer, None, out)?;
            (Some(mapping), source)
        } else {
            (None, peer)
        };
        let local = *inside.ip();
        let ends = Ends {
            protocol: over,
            inside_local: inside,
            inside_global: entered.unwrap_or(inside),
            outside: peer,
        };
        let inner = Host { local, global };
        let mut flow = self.new_flow(now, ends, inner, Leg::Outside, mapping, payer);
        flow.hairpin = hairpin;
        // Who comes to the inside host's own address is perhaps one toward whom it is not translated.
        let exempt = entered.is_none() && self.rule_of_flow(over, inside, peer).is_none();
        flow.plain = exempt || !self.config.fixes_up(over, inside);
        let flow = self.add_flow(now, flow);
        let mut rules = self.config.sources.iter();
        Ok(Opened {
            flow,
            source,
            target: inside,
            accepted: Leg::Outside,
            rule: rules.position(|rule| rule.speaks_of(local)).unwrap_or(0),
        })
    }

    /// Maps the inside end of a flow, holds the mapping, and opens its door if that is for datagrams.
    fn map_source(
        &mut self,
        now: Instant,
        over: Protocol,
        inside: SocketAddrV4,
        rule: Option<usize>,
        out: &mut Outbox,
    ) -> Result<(MappingId, SocketAddrV4), Refusal> {
        let rule = rule.and_then(|rule| self.config.sources.get(rule));
        let mut cx = context!(self, now);
        let mapped = match rule.map(|rule| &rule.source) {
            // The first mapping of a host without address gives it one of the flow's own rule.
            Some(Source::List { pool, .. }) if !pool.overload => {
                self.nat.assign(&mut cx, *inside.ip(), *pool, out).map(Some)
            }
            _ => Ok(rule.and_then(|rule| self.nat.address_by(rule, *inside.ip()))),
        };
        let mapped = mapped.and_then(|at| self.nat.map(&mut cx, over, inside, at, out));
        let mapping = mapped.map_err(|error| match error {
            MapError::NoRule => Refusal::NotTranslated,
            _ => Refusal::Exhausted,
        })?;
        self.nat.hold(&mut cx, mapping);
        self.nat.host_seen(&mut cx, *inside.ip());
        if over == Protocol::Udp {
            let lifetime = cx.config.timers.door_lifetime();
            self.nat
                .open_door(&mut cx, mapping, DoorKind::Signalling, lifetime, out);
            if self.nat.door(mapping).is_none() {
                self.nat.close_door(&mut cx, mapping, out);
                self.nat.release(&mut cx, mapping);
                return Err(Refusal::Exhausted);
            }
        }
        let source = self.nat.get(mapping).map(|mapping| mapping.global);
        Ok((mapping, source.ok_or(Refusal::Exhausted)?))
    }

    fn rule_of_flow(
        &self,
        over: Protocol,
        inside: SocketAddrV4,
        outside: SocketAddrV4,
    ) -> Option<usize> {
        let found = self.config.source_for_flow(over, inside, outside);
        found.map(|(index, _)| index)
    }

    fn new_flow(
        &mut self,
        now: Instant,
        ends: Ends,
        host: Host,
        accepted: Leg,
        mapping: Option<MappingId>,
        payer: (Ipv4Addr, bool),
    ) -> Flow {
        self.serial += 1;
        let cost = self.charge_flow(ends.protocol, payer);
        Flow {
            serial: self.serial,
            host,
            ends,
            accepted,
            mapping,
            answers: None,
            from_inside: Framer::default(),
            from_outside: Framer::default(),
            demoted: false,
            plain: false,
            hairpin: false,
            door: Armed::default(),
            sent: now,
            ping: Armed::default(),
            pongs: Pongs::default(),
            cost,
            note: Note::default(),
        }
    }

    fn add_flow(&mut self, now: Instant, flow: Flow) -> FlowId {
        let has_door = flow.ends.protocol == Protocol::Udp && flow.mapping.is_some();
        let id = FlowId(self.flows.insert(flow));
        if has_door {
            self.refresh_later(now, id);
        }
        id
    }
}
