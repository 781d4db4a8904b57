//! Which datagrams belong together: the flows of SIP over UDP, each between two addresses on either
//! side, until nothing is heard of them for a while.

use crate::udp::Datagram;
use sipalg_core::alg::Opened;
use sipalg_core::config::FlowTimeouts;
use sipalg_core::{FlowId, Instant, Leg, Protocol};
use slab::Slab;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddrV4;
use std::time::Duration;

/// How many flows there may be at once.
pub const MOST: usize = 65_536;

/// How many of them outside hosts may have opened, so that whoever forges their addresses keeps no
/// inside host from speaking.
pub const MOST_FROM_OUTSIDE: usize = MOST / 2;

/// How long a flow lasts that an outside host has opened and no inside host has answered: 64*T1,
/// after which no transaction waits for an answer (RFC 3261 section 17.1.1.2).
const UNANSWERED: Duration = Duration::from_secs(32);

/// The flows of one worker.
#[derive(Debug, Default)]
pub struct Flows {
    flows: Slab<Flow>,
    /// Sender and destination of what comes in, to the flow and the leg that it comes in by.
    ends: HashMap<(SocketAddrV4, SocketAddrV4), (usize, Leg)>,
    /// When to look whether a flow has ended; one entry each, never later than its end.
    looks: BTreeSet<(Instant, usize)>,
    from_outside: usize,
    /// How many there were at most.
    peak: usize,
    refused: u64,
}

/// One flow.
#[derive(Debug)]
pub struct Flow {
    /// Its name in the machine.
    pub flow: FlowId,
    /// The leg that opened it.
    pub accepted: Leg,
    /// What leaves by the inside leg: from whom, and to which inside host.
    inside: (SocketAddrV4, SocketAddrV4),
    /// What leaves by the outside leg.
    outside: (SocketAddrV4, SocketAddrV4),
    /// The number of the interface that the outside leg leaves by; zero: by the route.
    interface: u32,
    used: Instant,
    /// Both legs have been heard.
    answered: bool,
    patience: Option<Duration>,
    look: Option<Instant>,
}

impl Flow {
    /// Who appears as the sender of what leaves by `leg`, and whom it is for.
    pub fn way(&self, leg: Leg) -> (SocketAddrV4, SocketAddrV4) {
        match leg {
            Leg::Inside => self.inside,
            Leg::Outside => self.outside,
        }
    }

    /// The number of the interface that what leaves by `leg` shall leave by; zero: by the route.
    pub fn interface_of(&self, leg: Leg) -> u32 {
        match leg {
            Leg::Inside => 0,
            Leg::Outside => self.interface,
        }
    }

    fn end(&self) -> Option<Instant> {
        let waits = self.accepted == Leg::Outside && !self.answered;
        let patience = if waits {
            Some(self.patience.map_or(UNANSWERED, |p| p.min(UNANSWERED)))
        } else {
            self.patience
        };
        patience.map(|patience| self.used + patience)
    }

    /// What comes in by `leg`: the reverse of what leaves by it.
    fn key(&self, leg: Leg) -> (SocketAddrV4, SocketAddrV4) {
        let (from, to) = self.way(leg);
        (to, from)
    }
}

impl Flows {
    /// The flow of a datagram and the leg that it came in by. The flow lives on from `now`.
    pub fn find(&mut self, now: Instant, datagram: &Datagram) -> Option<(usize, Leg)> {
        let (key, leg) = *self.ends.get(&(datagram.from, datagram.to))?;
        if let Some(flow) = self.flows.get_mut(key) {
            flow.used = now;
            flow.answered |= leg != flow.accepted;
        }
        Some((key, leg))
    }

    /// Whether one more flow may be opened from the leg `accepted`. If not, it is counted.
    pub fn has_room(&mut self, accepted: Leg) -> bool {
        let room = self.flows.len() < MOST
            && (accepted == Leg::Inside || self.from_outside < MOST_FROM_OUTSIDE);
        self.refused += u64::from(!room);
        room
    }

    /// How many there are, how many of them outside hosts have opened, how many there were at most,
    /// and how often there was no room.
    pub fn usage(&self) -> (usize, usize, usize, u64) {
        let used = self.flows.len();
        (used, self.from_outside, self.peak, self.refused)
    }

    /// Adds the flow that the first `datagram` opened.
    pub fn add(
        &mut self,
        now: Instant,
        datagram: &Datagram,
        opened: &Opened,
        interface: u32,
        timeouts: &FlowTimeouts,
    ) -> usize {
        let back = (datagram.to, datagram.from);
        let on = (opened.source, opened.target);
        let (inside, outside) = match opened.accepted {
            Leg::Inside => (back, on),
            Leg::Outside => (on, back),
        };
        let key = self.flows.insert(Flow {
            flow: opened.flow,
            accepted: opened.accepted,
            inside,
            outside,
            interface,
            used: now,
            answered: false,
            patience: patience(timeouts, datagram.to.port()),
            look: None,
        });
        for leg in [Leg::Inside, Leg::Outside] {
            self.ends.insert(self.flows[key].key(leg), (key, leg));
        }
        self.from_outside += usize::from(opened.accepted == Leg::Outside);
        self.peak = self.peak.max(self.flows.len());
        self.look_later(key);
        key
    }

    /// Forgets a flow.
    pub fn remove(&mut self, key: usize) -> Option<Flow> {
        let flow = self.flows.try_remove(key)?;
        for leg in [Leg::Inside, Leg::Outside] {
            let end = flow.key(leg);
            // A later flow may have taken it over.
            if self.ends.get(&end) == Some(&(key, leg)) {
                self.ends.remove(&end);
            }
        }
        if let Some(look) = flow.look {
            self.looks.remove(&(look, key));
        }
        self.from_outside -= usize::from(flow.accepted == Leg::Outside);
        Some(flow)
    }

    /// Forgets a flow of which nothing was heard for its time, if there is one.
    pub fn expired(&mut self, now: Instant) -> Option<Flow> {
        loop {
            let (at, key) = *self.looks.first()?;
            if at > now {
                return None;
            }
            self.looks.pop_first();
            let flow = self.flows.get_mut(key)?;
            flow.look = None;
            if flow.end().is_some_and(|end| end <= now) {
                return self.remove(key);
            }
            self.look_later(key);
        }
    }

    /// When [`expired`](Self::expired) is next to be asked.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// Gives all flows the idle times of a new configuration.
    pub fn set_timeouts(&mut self, timeouts: &FlowTimeouts) {
        let keys: Vec<usize> = self.flows.iter().map(|(key, _)| key).collect();
        for key in keys {
            let flow = &mut self.flows[key];
            let opened_to = match flow.accepted {
                Leg::Inside => flow.inside.0,
                Leg::Outside => flow.outside.0,
            };
            flow.patience = patience(timeouts, opened_to.port());
            if let Some(look) = flow.look.take() {
                self.looks.remove(&(look, key));
            }
            self.look_later(key);
        }
    }

    /// A flow by its key.
    pub fn get(&self, key: usize) -> Option<&Flow> {
        self.flows.get(key)
    }

    /// All flows with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Flow)> {
        self.flows.iter()
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// How many flows were refused for want of room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn look_later(&mut self, key: usize) {
        let flow = &mut self.flows[key];
        flow.look = flow.end();
        if let Some(look) = flow.look {
            self.looks.insert((look, key));
        }
    }
}

/// How long a flow to `port` may be silent.
fn patience(timeouts: &FlowTimeouts, port: u16) -> Option<Duration> {
    let named = timeouts
        .ports
        .iter()
        .find(|(protocol, named, _)| (*protocol, *named) == (Protocol::Udp, port));
    named.map_or(timeouts.udp, |(.., timeout)| *timeout)
}

#[cfg(test)]
mod tests;
