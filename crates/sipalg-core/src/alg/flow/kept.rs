//! What is recorded of flows, and how they come back.

use super::super::ping::Pongs;
use super::super::{Alg, context};
use super::Flow;
use crate::addr::{Ends, FlowId, Ipv4Addr, Leg, Protocol, SocketAddrV4};
use crate::door::DoorKind;
use crate::fixup::Host;
use crate::frame::Framer;
use crate::kept::{self, At, Name, Named, Note, Recorder, Rest};
use crate::nat::{Context, MappingId, Nat};
use crate::slab::{Entry, Slab};
use crate::time::Instant;
use crate::timer::{Armed, Key};

/// A flow, as [`Opened`](super::Opened) said when it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowView {
    /// Its name.
    pub flow: FlowId,
    /// Who speaks with whom, and over what.
    pub ends: Ends,
    /// The leg that was accepted; the dialled one is the other.
    pub accepted: Leg,
    /// The address that the dialled leg is bound to.
    pub source: SocketAddrV4,
    /// The address that it is connected to.
    pub target: SocketAddrV4,
    /// Index in [`Config::sources`](crate::Config::sources) of the rule that translates the inside
    /// host, as the rules are now.
    pub rule: Option<usize>,
}

/// No machine has as many flows: bounds what the name of one makes us hold.
const MOST_FLOWS: u32 = 1 << 20;

impl Named<u32> for Flow {
    type Name = u32;
    fn name(&self, flow: &u32) -> u32 {
        *flow
    }
}

impl Entry for Flow {
    fn note(&mut self) -> &mut Note {
        &mut self.note
    }
}

impl Flow {
    fn record(&self, nat: &Nat, recorder: &Recorder<'_>) -> kept::Flow {
        let rest = |framer: &Framer| {
            let (bytes, begins) = framer.rest()?;
            Some(Rest { bytes, begins })
        };
        kept::Flow {
            serial: self.serial,
            ends: self.ends,
            host: (self.host.local, self.host.global),
            accepted: self.accepted,
            mapping: self.mapping.and_then(|id| nat.at(id)),
            answers: self.answers.and_then(|id| nat.at(id)),
            entered: self.entered(),
            demoted: self.demoted,
            plain: self.plain,
            hairpin: self.hairpin,
            door: recorder.due(self.door),
            rests: [rest(&self.from_inside), rest(&self.from_outside)],
            pings: self.pongs.record(),
        }
    }

    /// Where the flow's own mapping must be.
    fn source_of(record: &kept::Flow) -> SocketAddrV4 {
        match record.hairpin {
            true => record.ends.outside,
            false => record.ends.inside_local,
        }
    }
}

impl Slab<Flow> {
    /// Tells what has changed.
    pub fn kept(&mut self, nat: &Nat, recorder: &mut Recorder<'_>) {
        let changed = self.changes().take();
        for id in &changed {
            let told = self.tell(*id, |note, flow| {
                recorder.is(Name::Flow(*id), note, &flow.record(nat, recorder));
            });
            if !told {
                recorder.gone(Name::Flow(*id));
            }
        }
        self.changes().done(changed);
    }
}

impl Alg {
    /// All flows, in the order of their names.
    pub fn flows(&self) -> impl Iterator<Item = FlowView> {
        let flows = self.flows.iter();
        flows.map(|(id, flow)| self.flow_view(FlowId(id), flow))
    }

    /// The bytes of an incomplete message that came in on leg `from` and have not left.
    pub fn held(&self, flow: FlowId, from: Leg) -> &[u8] {
        let found = self.flows.get(flow.0);
        found.map_or(&[], |flow| match from {
            Leg::Inside => flow.from_inside.held(),
            Leg::Outside => flow.from_outside.held(),
        })
    }

    /// Puts back what [`held`](Self::held) gave before, once after [`restore`](Alg::restore): nothing
    /// comes of it until the next bytes of that leg do.
    pub fn hold(&mut self, flow: FlowId, from: Leg, bytes: &[u8]) {
        if let Some(flow) = self.flows.quiet_mut(flow.0) {
            flow.framer(from).hold(bytes);
        }
    }

    /// Whether nothing in a flow is looked into any more.
    pub fn is_demoted(&self, flow: FlowId) -> bool {
        self.flows.get(flow.0).is_some_and(|flow| flow.demoted)
    }

    /// From now on everything on that flow passes unchanged, both ways: what it carries has made the
    /// machine fail.
    pub fn demote(&mut self, flow: FlowId) {
        if let Some(flow) = self.flows.get_mut(flow.0)
            && !flow.demoted
        {
            flow.demoted = true;
            self.counters.demoted += 1;
        }
    }

    /// A flow goes on: whether it does.
    pub(in super::super) fn restore_flow(
        &mut self,
        now: Instant,
        id: u32,
        record: &kept::Flow,
    ) -> bool {
        let Ends { protocol, .. } = record.ends;
        let (local, global) = record.host;
        let known = self.flows.get(id).is_some();
        let counted = record.serial <= kept::MOST_COUNTED;
        if id >= MOST_FLOWS || known || !counted || !self.config.is_global(global) {
            return false;
        }
        let Some(mapping) = self.own_mapping(record) else {
            return false;
        };
        let payer = match (record.accepted, record.hairpin) {
            (Leg::Outside, true) => (*record.ends.outside.ip(), false),
            (accepted, _) => (*record.ends.inside_local.ip(), accepted == Leg::Outside),
        };
        let Some(cost) = self.charge_again(now, protocol, payer) else {
            return false;
        };
        let answers = record.answers.and_then(|at| self.mapping_of(local, at));
        let mut cx = context!(self, now);
        if let Some(mapping) = mapping {
            self.nat.hold_again(&mut cx, mapping);
            if protocol == Protocol::Udp {
                self.nat.own_again(&mut cx, mapping, DoorKind::Signalling);
            }
        }
        if let Some(answers) = answers {
            self.nat.own_again(&mut cx, answers, DoorKind::Signalling);
        }
        let framer = |rest: Option<Rest>| {
            let mut framer = Framer::default();
            if let Some(rest) = rest {
                framer.set_rest(rest.bytes, rest.begins);
            }
            framer
        };
        let [from_inside, from_outside] = record.rests.map(framer);
        let flow = Flow {
            serial: record.serial,
            host: Host { local, global },
            ends: record.ends,
            accepted: record.accepted,
            mapping,
            answers,
            from_inside,
            from_outside,
            demoted: record.demoted,
            plain: record.plain,
            hairpin: record.hairpin,
            door: Armed::default(),
            sent: now,
            ping: Armed::default(),
            pongs: Pongs::restored(record.pings),
            cost,
            note: Note::default(),
        };
        self.serial = self.serial.max(record.serial);
        self.flows.put_back(id, flow);
        self.watch_again(now, FlowId(id));
        let latest = now + self.config.timers.check_interval();
        let has_door = protocol == Protocol::Udp && (mapping.is_some() || answers.is_some());
        if let Some(flow) = self.flows.get_mut(id).filter(|_| has_door) {
            let at = record.door.unwrap_or(latest).min(latest);
            self.timers.arm(&mut flow.door, Key::Flow(FlowId(id)), at);
        }
        true
    }

    /// The mapping of the flow's own end: `None` if it has none though it must.
    fn own_mapping(&self, record: &kept::Flow) -> Option<Option<MappingId>> {
        let Some((protocol, local)) = record.mapping else {
            // Only what comes from outside, straight to an inside host, needs none.
            let free = record.accepted == Leg::Outside && !record.hairpin;
            return free.then_some(None);
        };
        let same = (protocol, local) == (record.ends.protocol, Flow::source_of(record));
        let found = self.nat.find_local(protocol, local).filter(|_| same)?;
        let global = self.nat.get(found)?.global;
        let outward = record.accepted == Leg::Inside;
        (!outward || global == record.ends.inside_global).then_some(Some(found))
    }

    fn mapping_of(&self, host: Ipv4Addr, (protocol, local): At) -> Option<MappingId> {
        let allowed = *local.ip() == host || self.config.trusts(host);
        self.nat.find_local(protocol, local).filter(|_| allowed)
    }

    fn flow_view(&self, id: FlowId, flow: &Flow) -> FlowView {
        let Ends {
            protocol,
            inside_local,
            inside_global,
            outside,
        } = flow.ends;
        let (source, target, rule) = match flow.accepted {
            Leg::Inside => {
                let rule = self.config.source_for_flow(protocol, inside_local, outside);
                (inside_global, outside, rule.map(|(index, _)| index))
            }
            Leg::Outside => {
                let mapping = flow.mapping.filter(|_| flow.hairpin);
                let mapping = mapping.and_then(|id| self.nat.get(id));
                let mut rules = self.config.sources.iter();
                let rule = rules.position(|rule| rule.speaks_of(*inside_local.ip()));
                (
                    mapping.map_or(outside, |mapping| mapping.global),
                    inside_local,
                    rule,
                )
            }
        };
        FlowView {
            flow: id,
            ends: flow.ends,
            accepted: flow.accepted,
            source,
            target,
            rule,
        }
    }
}
