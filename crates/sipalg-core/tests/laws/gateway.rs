//! What a law looks at: the machine, or the machine with a bug that was put in to show that the law
//! notices.

use super::world::{PHONE, SERVER, at, fixed, fixed_port, overload, pool, under};
use sipalg_core::config::{Limits, Resource, SourceRule};
use sipalg_core::{Alg, DoorOp, Event, FlowId, Instant, Leg, Outbox, Protocol};
use std::time::Duration;

/// What comes out, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Door(DoorOp),
    Bytes(Vec<u8>),
    Event(Event),
}

/// Bugs, one for each law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    None,
    /// Loses a byte if it arrives alone.
    Segment,
    /// Writes a header name anew.
    Respells,
    /// Does not turn an address back on the way in.
    OneWay,
    /// Gives another port when asked again.
    Changes,
    /// Leaves Content-Length as it was.
    OldLength,
    /// Swallows a keep-alive into a message.
    Glues,
    /// Forgets a field on the way out.
    Tells,
    /// Forgets to close doors.
    Forgets,
    /// Lets bytes go before the doors are there.
    Early,
    /// Has no bounds.
    Unbounded,
}

/// How the phone and its neighbours become what the outside sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rules {
    /// All hosts share the address of the interface.
    Interface,
    /// All hosts share a pool.
    SharedPool,
    /// Each host gets an address of a pool.
    OwnAddress,
    /// The phone has an address for ever.
    StaticHost,
    /// Its network has another for ever.
    StaticNetwork,
    /// Its port for SIP is another for ever.
    StaticPort,
}

impl Rules {
    pub const ALL: [Rules; 6] = [
        Rules::Interface,
        Rules::SharedPool,
        Rules::OwnAddress,
        Rules::StaticHost,
        Rules::StaticNetwork,
        Rules::StaticPort,
    ];

    /// All give the phone the address 10.1.1.1.
    fn sources(self) -> Vec<SourceRule> {
        let (net, phone) = ("192.168.122.0", "192.168.122.3");
        let list = |last: u8| overload(net, &format!("10.1.1.{last}"));
        match self {
            Rules::Interface => vec![list(1)],
            Rules::SharedPool => vec![pool(net, "10.1.1.1", "10.1.1.2", true)],
            Rules::OwnAddress => vec![pool(net, "10.1.1.1", "10.1.1.9", false)],
            Rules::StaticHost => vec![fixed(phone, "10.1.1.1", 32), list(3)],
            Rules::StaticNetwork => vec![fixed("192.168.122.2", "10.1.1.0", 31), list(3)],
            Rules::StaticPort => {
                let (local, global) = ("192.168.122.3:5060", "10.1.1.1:5060");
                vec![fixed_port(Protocol::Tcp, local, global), list(1)]
            }
        }
    }
}

/// What a law is tried on.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    pub bug: Bug,
    pub rules: Rules,
}

/// A phone's connection through the machine.
pub struct Gateway {
    alg: Alg,
    flow: FlowId,
    now: Instant,
    bug: Bug,
    passed: u8,
}

/// Bounds that a flood must reach.
pub fn small() -> Limits {
    Limits::default()
        .with(Resource::Mapping, 60)
        .with(Resource::Door, 10)
        .with(Resource::Call, 7)
        .with(Resource::Registration, 5)
}

impl Gateway {
    pub fn new(trial: Trial) -> Self {
        Self::with_limits(trial, Limits::default())
    }

    pub fn with_limits(Trial { bug, rules }: Trial, limits: Limits) -> Self {
        let mut config = under(rules.sources());
        if bug != Bug::Unbounded {
            config.limits = limits;
        }
        let mut alg = Alg::new(config, 1);
        let now = Instant::from_micros(1);
        let flow = alg
            .open(now, at(PHONE), at(SERVER), &mut Outbox::default())
            .expect("an inside host may connect")
            .flow;
        Gateway {
            alg,
            flow,
            now,
            bug,
            passed: 0,
        }
    }

    /// Bytes come in on a leg.
    pub fn pass(&mut self, from: Leg, bytes: &[u8]) -> Vec<Output> {
        self.passed = self.passed.saturating_add(1);
        let bytes = match self.bug {
            Bug::Segment if bytes.len() == 1 && bytes[0] == b'7' => b"",
            _ => bytes,
        };
        if self.bug == Bug::OneWay && from == Leg::Outside {
            return vec![Output::Bytes(bytes.to_vec())];
        }
        let mut out = watched();
        self.alg.stream(self.now, self.flow, from, bytes, &mut out);
        self.outputs(out, bytes)
    }

    /// A leg ends.
    pub fn end(&mut self, from: Leg) -> Vec<Output> {
        let mut out = watched();
        self.alg.end_of_stream(self.now, self.flow, from, &mut out);
        self.outputs(out, b"")
    }

    /// The connection closes and all time passes.
    pub fn close(&mut self) -> Vec<Output> {
        let mut out = watched();
        self.alg.close(self.now, self.flow, &mut out);
        while let Some(next) = self.alg.next_timeout() {
            self.now = next;
            self.alg.handle_timeout(next, &mut out);
        }
        self.outputs(out, b"")
    }

    /// Mappings beside static ones, doors, calls, registrations and spellings that are kept.
    pub fn sizes(&self) -> [usize; 5] {
        let (calls, registrations, spellings) = self.alg.sizes();
        let (mut mappings, doors) = (self.alg.mappings(self.now), self.alg.doors());
        mappings.retain(|view| !view.is_static && view.protocol.is_some());
        [mappings.len(), doors.len(), calls, registrations, spellings]
    }

    /// Addresses of a pool that a host has for itself.
    pub fn addresses(&self) -> usize {
        let mappings = self.alg.mappings(self.now).into_iter();
        let own = mappings.filter(|view| !view.is_static && view.protocol.is_none());
        own.count()
    }

    /// The connection is no longer looked into.
    pub fn demoted(&self) -> bool {
        self.alg.counters().demoted > 0
    }

    pub fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn outputs(&mut self, out: Outbox, input: &[u8]) -> Vec<Output> {
        let doors = out
            .doors
            .into_iter()
            .filter(|op| !(self.bug == Bug::Forgets && matches!(op, DoorOp::Close(_))));
        let doors: Vec<_> = doors.map(Output::Door).collect();
        let bytes = [Output::Bytes(self.corrupt(out.bytes, input))];
        let events = out.events.into_iter().map(Output::Event);
        match self.bug {
            Bug::Early => bytes.into_iter().chain(doors).chain(events).collect(),
            _ => doors.into_iter().chain(bytes).chain(events).collect(),
        }
    }

    fn corrupt(&self, bytes: Vec<u8>, input: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let old = String::from_utf8_lossy(input).into_owned();
        let length = |text: &str| {
            text.rsplit_once("\r\n\r\n")
                .and_then(|(head, _)| Some(head.rsplit_once(": ")?.1.to_string()))
        };
        let changed = match self.bug {
            Bug::Respells => text.replace("X-Unknown", "x-unknown"),
            Bug::Changes if self.passed > 1 => text.replace("10.1.1.1:5060", "10.1.1.1:5070"),
            Bug::OldLength => match (length(&text), length(&old)) {
                (Some(new), Some(old)) => {
                    text.replace(&format!(": {new}\r\n\r\n"), &format!(": {old}\r\n\r\n"))
                }
                _ => text,
            },
            Bug::Glues => text.replace("\r\n\r\n\r\n\r\n", "\r\n\r\n"),
            Bug::Tells => match text.split_once("Diversion:") {
                Some((head, tail)) => {
                    format!(
                        "{head}Diversion:{}",
                        tail.replacen("10.1.1.1", "192.168.122.3", 1)
                    )
                }
                None => text,
            },
            _ => return bytes,
        };
        changed.into_bytes()
    }
}

fn watched() -> Outbox {
    Outbox {
        watch: true,
        ..Outbox::default()
    }
}

/// All bytes of some outputs.
pub fn bytes(outputs: &[Output]) -> Vec<u8> {
    let parts = outputs.iter().filter_map(|output| match output {
        Output::Bytes(bytes) => Some(bytes.as_slice()),
        _ => None,
    });
    parts.collect::<Vec<_>>().concat()
}
