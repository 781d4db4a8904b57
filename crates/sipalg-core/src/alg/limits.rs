//! What flows cost their hosts, and which of them must go: [`Admission`]
//! decides, here its word is carried out.

use super::Alg;
use super::flow::{Flow, Refusal};
use crate::addr::{FlowId, Ipv4Addr, Leg, Protocol};
use crate::admission::{AccountId, Admission, LimitView, Said};
use crate::config::Resource;
use crate::event::Event;
use crate::outbox::Outbox;
use crate::time::Instant;
use crate::timer::{Armed, Key, Timers};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

/// How long nothing must have been sent outside on a connection that is closed for want of room.
const IDLE: Duration = Duration::from_secs(60);

/// How often room is made, since to find who is idle takes the longer the more there are.
const ROOM_EVERY: Duration = Duration::from_millis(100);

/// The time that a whole message may take, in times of what its header may.
const WHOLE: u32 = 5;

/// Who pays for a flow, and what it costs.
#[derive(Debug)]
pub(super) struct Cost {
    /// Its inside host; of two, the one that opened it.
    pub account: AccountId,
    of: Resource,
    from_outside: bool,
    half_open: bool,
    /// While something of it waits, and until that was looked at again.
    held: Option<Box<Held>>,
    /// It must be reset, and costs nothing any more.
    condemned: bool,
}

#[derive(Debug, Default)]
struct Held {
    /// Bytes that are counted for it: of messages that are not whole, and what waits for a leg.
    memory: u32,
    /// Those of the latter.
    waiting: u32,
    /// Since when a message of each leg is not whole.
    since: [Option<Instant>; 2],
    /// When that is looked at.
    look: Armed,
}

impl Alg {
    /// The flow's other leg is connected.
    pub fn connected(&mut self, flow: FlowId) {
        if let Some(flow) = self.flows.quiet_mut(flow.0)
            && core::mem::take(&mut flow.cost.half_open)
        {
            (self.admission).give_by(flow.cost.account, Resource::HalfOpen, 1);
        }
    }

    /// So many bytes wait for the legs of a flow, since they do not take them.
    pub fn waiting(&mut self, now: Instant, flow: FlowId, bytes: usize, out: &mut Outbox) {
        if let Some(entry) = self.flows.quiet_mut(flow.0) {
            if bytes > 0 || entry.cost.held.is_some() {
                let held = entry.cost.held.get_or_insert_default();
                held.waiting = u32::try_from(bytes).unwrap_or(u32::MAX);
            }
            self.count_memory(now, flow, out);
        }
    }

    /// Until when nothing may be read of what comes in by a leg of a flow, if its host has said too
    /// much in this second, or too much was said to it. Datagrams are dropped.
    pub fn held_back(
        &mut self,
        now: Instant,
        flow: FlowId,
        from: Leg,
        out: &mut Outbox,
    ) -> Option<Instant> {
        let cost = &self.flows.get(flow.0)?.cost;
        let (account, said) = (cost.account, cost.said(from));
        let until = self.admission.waits((now, &self.config), account, said)?;
        self.counters.reads_held_back += 1;
        let at = (now, &self.config);
        (self.admission).had_its_share(at, Resource::Message, account, out);
        Some(until)
    }

    /// The machine's host has room for no more than so much of something, whatever is configured.
    pub fn set_ceiling(&mut self, of: Resource, most: u64) {
        self.admission.set_ceiling(of, most);
    }

    /// Every limit, and the hosts that are nearest to theirs.
    pub fn limits(&mut self, now: Instant) -> Vec<LimitView> {
        self.admission.views(now, &self.config)
    }

    /// Asks whether one more flow may be opened, and makes room if there is hardly any.
    pub(super) fn admit_flow(
        &mut self,
        now: Instant,
        over: Protocol,
        (host, from_outside): (Ipv4Addr, bool),
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        let of = resource(over);
        if over == Protocol::Tcp {
            self.make_room(now, out);
        }
        let at = (now, &self.config);
        let half_open =
            over == Protocol::Udp || (self.admission).admits(at, Resource::HalfOpen, host, 1, out);
        let admitted = half_open
            && match from_outside {
                true => self.admission.admits_from_outside(at, of, host, out),
                false => self.admission.admits(at, of, host, 1, out),
            };
        if admitted {
            return Ok(());
        }
        self.counters.flows_refused += 1;
        Err(Refusal::Limited)
    }

    /// A flow that was admitted begins.
    pub(super) fn charge_flow(
        &mut self,
        over: Protocol,
        (host, from_outside): (Ipv4Addr, bool),
    ) -> Cost {
        let of = resource(over);
        let account = self.admission.take(&self.config, of, host, 1);
        let half_open = over == Protocol::Tcp;
        if half_open {
            self.admission.take_by(account, Resource::HalfOpen, 1);
        }
        if from_outside {
            self.admission.opened_from_outside(account, of);
        }
        Cost {
            account,
            of,
            from_outside,
            half_open,
            held: None,
            condemned: false,
        }
    }

    /// A flow goes on that was there before this machine was: takes it to its host's account, if there
    /// is room for it.
    pub(super) fn charge_again(
        &mut self,
        now: Instant,
        over: Protocol,
        (host, from_outside): (Ipv4Addr, bool),
    ) -> Option<Cost> {
        let at = (now, &self.config);
        let mut untold = Outbox::default();
        let room = (self.admission).admits(at, resource(over), host, 1, &mut untold);
        room.then(|| self.charge_flow(over, (host, from_outside)))
    }

    /// A flow that goes on is connected, and may have half of a message.
    pub(super) fn watch_again(&mut self, now: Instant, flow: FlowId) {
        self.connected(flow);
        if let Some(entry) = self.flows.quiet_mut(flow.0) {
            let at = now + self.config.timers.header;
            let held = entry.cost.held.get_or_insert_default();
            self.timers.arm(&mut held.look, Key::Slow(flow), at);
        }
    }

    /// Something came in on a leg and was looked into: counts it, and what it made pass. Whether one
    /// message at least was whole, and how many messages it counts as; how many bytes passed.
    pub(super) fn heard(
        &mut self,
        now: Instant,
        flow: FlowId,
        from: Leg,
        (whole, messages): (bool, u64),
        passed: usize,
        out: &mut Outbox,
    ) {
        self.counters.bytes_out += passed as u64;
        let Some(entry) = self.flows.quiet_mut(flow.0) else {
            return;
        };
        if from == Leg::Inside && passed > 0 {
            entry.sent = now;
        }
        let (account, said) = (entry.cost.account, entry.cost.said(from));
        if core::mem::take(&mut entry.cost.half_open) {
            self.admission.give_by(account, Resource::HalfOpen, 1);
        }
        if messages > 0 {
            self.admission.spoke(now, account, said, messages);
        }
        if entry.framer(from).is_partial() {
            let held = entry.cost.held.get_or_insert_default();
            let since = &mut held.since[from as usize];
            // After a whole message, what is not whole is another one.
            if since.is_none() || whole {
                *since = Some(now);
            }
            // What is armed already comes sooner.
            if held.look.is_none() {
                let at = now + self.config.timers.header;
                self.timers.arm(&mut held.look, Key::Slow(flow), at);
            }
        } else if let Some(held) = &mut entry.cost.held {
            held.since[from as usize] = None;
        }
        if entry.held() > 0 || entry.cost.held.is_some() {
            self.count_memory(now, flow, out);
        }
    }

    /// Whether a flow must be reset, so that nothing of it passes any more.
    pub(super) fn is_condemned(&self, flow: FlowId) -> bool {
        let flow = self.flows.get(flow.0);
        flow.is_some_and(|flow| flow.cost.condemned)
    }

    /// Time to look whether a message of the flow takes too long.
    pub(super) fn look_for_slow(&mut self, now: Instant, id: FlowId, out: &mut Outbox) {
        let time = self.config.timers.header;
        let Some(flow) = self.flows.quiet_mut(id.0) else {
            return;
        };
        let mut held = flow.cost.held.take().unwrap_or_default();
        held.look.came();
        let dues = [Leg::Inside, Leg::Outside].map(|leg| {
            if !flow.framer(leg).is_partial() {
                return None;
            }
            // Where a machine before was stopped, it is not known since when.
            let since = *held.since[leg as usize].get_or_insert(now);
            let more = if flow.framer(leg).has_header() {
                WHOLE
            } else {
                1
            };
            Some(since + time * more)
        });
        let due = dues.into_iter().flatten().min();
        if let Some(due) = due.filter(|due| *due > now) {
            self.timers.arm(&mut held.look, Key::Slow(id), due);
        }
        if !held.look.is_none() || held.memory > 0 {
            flow.cost.held = Some(held);
        }
        if due.is_none_or(|due| due > now) {
            return;
        }
        self.counters.slow_resets += 1;
        let host = flow.host.local;
        out.event(|| Event::TooSlow { host });
        self.condemn(id, out);
    }

    /// Counts the memory of a flow; if its host has too much now, or all have, who has most loses it.
    pub(super) fn count_memory(&mut self, now: Instant, id: FlowId, out: &mut Outbox) {
        let Some(flow) = self.flows.quiet_mut(id.0) else {
            return;
        };
        let partial = u32::try_from(flow.held()).unwrap_or(u32::MAX);
        let waiting = flow.cost.held.as_ref().map_or(0, |held| held.waiting);
        let (memory, before) = (partial.saturating_add(waiting), flow.cost.memory());
        if memory == before || flow.cost.condemned {
            return;
        }
        let held = flow.cost.held.get_or_insert_default();
        held.memory = memory;
        if memory == 0 && held.look.is_none() {
            flow.cost.held = None;
        }
        let account = flow.cost.account;
        if memory < before {
            return self
                .admission
                .give_by(account, Resource::Memory, (before - memory).into());
        }
        self.admission
            .take_by(account, Resource::Memory, (memory - before).into());
        while let Some(debtor) = self.admission.debtor(&self.config, account) {
            let flows = self.flows.iter();
            let own = flows.filter(|(_, flow)| flow.cost.owes(debtor));
            let most = own.max_by_key(|(id, flow)| (flow.cost.memory(), *id));
            let Some((most, _)) = most else {
                return;
            };
            self.counters.memory_resets += 1;
            let at = (now, &self.config);
            (self.admission).had_its_share(at, Resource::Memory, debtor, out);
            self.condemn(FlowId(most), out);
        }
    }

    /// Closes connections that are idle and nobody's registration or call, the longest idle first, if
    /// there is hardly room for one more.
    fn make_room(&mut self, now: Instant, out: &mut Outbox) {
        let all = self.admission.room(&self.config, Resource::Connection);
        let (used, _) = self.admission.in_all(Resource::Connection);
        if used + all / 64 < all || now < self.room_at {
            return;
        }
        self.room_at = now + ROOM_EVERY;
        let idle = |flow: &Flow| {
            let cost = &flow.cost;
            cost.of == Resource::Connection
                && !cost.condemned
                && now.since(flow.sent) >= IDLE
                && !self.registrations.live_on(flow.serial)
                && self.admission.of_host(Resource::Call, flow.host.local) == 0
        };
        let idle = self.flows.iter().filter(|(_, flow)| idle(flow));
        let mut idle: Vec<_> = idle.map(|(id, flow)| (flow.sent, id)).collect();
        idle.sort_unstable();
        for (_, id) in idle.into_iter().take((all / 32).max(1) as usize) {
            self.counters.idle_closed += 1;
            self.condemn(FlowId(id), out);
        }
    }

    /// The flow must be reset: it costs nothing from now on, and nothing of it passes.
    fn condemn(&mut self, id: FlowId, out: &mut Outbox) {
        if let Some(flow) = self.flows.quiet_mut(id.0) {
            flow.cost.end(id, &mut self.admission, &mut self.timers);
            flow.forget_held();
            out.resets.push(id);
        }
    }
}

impl Cost {
    /// Whether something of what this account has too much of comes back with it.
    fn owes(&self, debtor: AccountId) -> bool {
        self.account == debtor && self.memory() > 0 && !self.condemned
    }

    /// The bytes that are counted for it.
    fn memory(&self) -> u32 {
        self.held.as_ref().map_or(0, |held| held.memory)
    }

    /// Whose word it is what comes in by a leg.
    fn said(&self, from: Leg) -> Said {
        match (from, self.from_outside) {
            (Leg::Inside, _) => Said::ByHost,
            (Leg::Outside, false) => Said::ToHost,
            (Leg::Outside, true) => Said::Unasked,
        }
    }

    /// The flow costs nothing any more.
    pub fn end(&mut self, id: FlowId, admission: &mut Admission, timers: &mut Timers) {
        let held = self.held.take();
        let memory = held.as_ref().map_or(0, |held| held.memory);
        if let Some(mut held) = held {
            timers.disarm(&mut held.look, Key::Slow(id));
        }
        if core::mem::replace(&mut self.condemned, true) {
            return;
        }
        admission.give_by(self.account, Resource::Memory, memory.into());
        if self.half_open {
            admission.give_by(self.account, Resource::HalfOpen, 1);
        }
        if self.from_outside {
            admission.closed_from_outside(self.account, self.of);
        }
        // Last, since the account may end with it.
        admission.give_by(self.account, self.of, 1);
    }
}

fn resource(over: Protocol) -> Resource {
    match over {
        Protocol::Tcp => Resource::Connection,
        Protocol::Udp => Resource::DatagramFlow,
    }
}
