//! The whole machine: several hosts and connections, both legs, time, failures.
//!
//! The input is read as a list of steps (see `Step`); what each says is made of small choices, so
//! that the explorer needs few bytes for a conversation. After every step the machine, the kernel and
//! the bounds must agree; at the end, with all connections closed and all time passed, nothing is left.

use crate::headers::unchanged_but_ours;
use crate::kept::{List, Spoil};
use crate::world::{Kernel, config, is_global, is_inside, rules};
use arbitrary::{Arbitrary, Result, Unstructured};
use sipalg_core::addr::SocketAddrV4;
use sipalg_core::config::{Limits, Resource};
use sipalg_core::kept::Restored;
use sipalg_core::{Alg, Config, Door, DoorKind, Event, FlowId, Instant, Leg, Outbox, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// See the module.
pub fn check(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut world = World::default();
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        let Ok(step) = Step::read(&mut input) else {
            break;
        };
        world.step(&step);
        world.agree();
    }
    world.end();
}

/// One thing that happens.
#[derive(Debug)]
pub enum Step {
    /// A connection is made, or datagrams begin between two addresses.
    Open(Protocol, SocketAddrV4, SocketAddrV4),
    /// A message arrives on the nth connection, in parts of that size.
    Message(usize, Leg, Vec<u8>, usize),
    /// Any bytes arrive.
    Bytes(usize, Leg, Vec<u8>),
    /// One leg ends.
    End(usize, Leg),
    /// Both do.
    Close(usize),
    /// Time passes, in seconds.
    Wait(u64),
    /// The kernel could not make a door.
    Fail(usize),
    /// Packets were seen at a media port.
    Media(SocketAddrV4),
    /// The gateway uses these ports itself.
    Reserve(Vec<(Protocol, u16)>),
    /// The gateway uses the port that a connection was given.
    Reopen(usize),
    /// The operator changes the rules.
    Rules(usize),
}

impl Step {
    /// The next one of an input.
    pub fn read(input: &mut Unstructured<'_>) -> Result<Step> {
        Ok(match u8::arbitrary(input)? % 32 {
            0 | 1 => Step::Open(Protocol::Tcp, endpoint(input)?, endpoint(input)?),
            2 => Step::Open(Protocol::Udp, endpoint(input)?, endpoint(input)?),
            3 => Step::Bytes(number(input)?, leg(input)?, Vec::arbitrary(input)?),
            4 => Step::End(number(input)?, leg(input)?),
            5 => Step::Close(number(input)?),
            6..9 => {
                let seconds = [1, 5, 20, 33, 121, 241, 1000, 50_000];
                Step::Wait(*input.choose(&seconds)?)
            }
            9 => Step::Fail(number(input)?),
            10 => Step::Media(endpoint(input)?),
            11 => {
                let protocol = *input.choose(&[Protocol::Tcp, Protocol::Udp])?;
                Step::Reserve(vec![(protocol, port(input)?)])
            }
            12 => Step::Reopen(number(input)?),
            13 => Step::Rules(number(input)?),
            _ => {
                let (flow, leg) = (number(input)?, leg(input)?);
                let message = message(input)?;
                Step::Message(
                    flow,
                    leg,
                    message,
                    *input.choose(&[4000, 4000, 4000, 7, 150])?,
                )
            }
        })
    }
}

fn number(input: &mut Unstructured<'_>) -> Result<usize> {
    Ok(usize::from(u8::arbitrary(input)?))
}

fn leg(input: &mut Unstructured<'_>) -> Result<Leg> {
    Ok(*input.choose(&[Leg::Inside, Leg::Outside])?)
}

fn port(input: &mut Unstructured<'_>) -> Result<u16> {
    let ports = [
        5060, 5061, 40001, 6000, 6001, 6002, 6003, 6004, 8000, 0, 9, 80, 1023, 1024, 65535, 5070,
    ];
    Ok(*input.choose(&ports)?)
}

fn host(input: &mut Unstructured<'_>) -> Result<[u8; 4]> {
    let hosts = [
        [192, 168, 122, 3],
        [10, 1, 1, 1],
        [192, 168, 122, 4],
        [10, 1, 1, 2],
        [192, 168, 5, 7],
        [10, 1, 1, 9],
        [10, 1, 1, 77],
        [0, 0, 0, 0],
    ];
    Ok(*input.choose(&hosts)?)
}

fn endpoint(input: &mut Unstructured<'_>) -> Result<SocketAddrV4> {
    Ok(SocketAddrV4::new(host(input)?.into(), port(input)?))
}

/// An endpoint as a URI has it: sometimes without its port.
fn spelled(input: &mut Unstructured<'_>) -> Result<String> {
    let at = endpoint(input)?;
    Ok(match u8::arbitrary(input)? % 8 {
        0 | 1 => at.ip().to_string(),
        2 => format!("{} : {}", at.ip(), at.port()),
        3 => "example.com".into(),
        _ => at.to_string(),
    })
}

/// One SIP message, well-formed but for what the endpoints say.
fn message(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let methods = [
        "INVITE",
        "REGISTER",
        "BYE",
        "ACK",
        "CANCEL",
        "UPDATE",
        "PRACK",
        "SUBSCRIBE",
        "REFER",
        "NOTIFY",
        "OPTIONS",
        "MESSAGE",
        "INFO",
    ];
    let method = input.choose(&methods)?;
    let statuses = [
        0, 0, 0, 200, 200, 180, 183, 100, 202, 302, 401, 486, 487, 500,
    ];
    let status: u16 = *input.choose(&statuses)?;
    let mut text = match status {
        0 => format!("{method} sip:b@{} SIP/2.0\r\n", spelled(input)?),
        _ => format!("SIP/2.0 {status} x\r\n"),
    };
    let transport = input.choose(&["TCP", "TCP", "TCP", "UDP"])?;
    text += &format!(
        "Via: SIP/2.0/{transport} {};branch=z9hG4bK1\r\n",
        spelled(input)?
    );
    let tag =
        |input: &mut Unstructured<'_>| Ok(*input.choose(&["", ";tag=1", ";tag=2", ";tag=3"])?);
    text += &format!("From: <sip:a@{}>{}\r\n", spelled(input)?, tag(input)?);
    text += &format!("To: <sip:b@{}>{}\r\n", spelled(input)?, tag(input)?);
    text += &format!("Call-ID: c{}\r\n", u8::arbitrary(input)? % 8);
    text += &format!("CSeq: {} {method}\r\n", 1 + u8::arbitrary(input)? % 3);
    let lifetime = |input: &mut Unstructured<'_>| {
        Ok(*input.choose(&["0", "30", "600", "", "4294967295", "99999999999999999999"])?)
    };
    match u8::arbitrary(input)? % 8 {
        0 => {}
        1 => text += "Contact: *\r\nExpires: 0\r\n",
        contacts => {
            for _ in 0..contacts / 2 {
                text += &format!(
                    "m: <sip:a@{}>;expires={}\r\n",
                    spelled(input)?,
                    lifetime(input)?
                );
            }
        }
    }
    match u8::arbitrary(input)? % 8 {
        0 => text += &format!("Expires: {}\r\n", lifetime(input)?),
        1 => text += "Subscription-State: terminated\r\n",
        2 => {
            text += &format!(
                "Subscription-State: active;expires={}\r\n",
                lifetime(input)?
            )
        }
        3 => text += &format!("Record-Route: <sip:{};lr>\r\n", spelled(input)?),
        _ => {}
    }
    let body = match u8::arbitrary(input)? % 4 {
        0 | 1 => session(input)?,
        _ => String::new(),
    };
    if !body.is_empty() {
        text += "Content-Type: application/sdp\r\n";
    }
    Ok(format!("{text}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

fn session(input: &mut Unstructured<'_>) -> Result<String> {
    let mut text = format!("v=0\r\no=- 1 1 IN IP4 {}\r\ns=-\r\n", endpoint(input)?.ip());
    let own = bool::arbitrary(input)?;
    text += &format!("c=IN IP4 {}\r\nt=0 0\r\n", endpoint(input)?.ip());
    for _ in 0..1 + u8::arbitrary(input)? % 6 {
        let kind = input.choose(&["RTP/AVP 0", "RTP/AVP 0", "RTP/AVP 0", "TCP/MSRP *"])?;
        let count = input.choose(&["", "", "", "/2", "/9"])?;
        text += &format!("m=audio {}{count} {kind}\r\n", port(input)?);
        if own {
            text += &format!("c=IN IP4 {}\r\n", endpoint(input)?.ip());
        }
        let attribute = match u8::arbitrary(input)? % 8 {
            0 => "a=sendonly\r\n".into(),
            1 => format!("a=rtcp:{}\r\n", port(input)?),
            2 => {
                let at = endpoint(input)?;
                format!(
                    "a=candidate:1 1 UDP 1 {} {} typ host\r\n",
                    at.ip(),
                    at.port()
                )
            }
            3 => format!("a=path:msrp://{}/x;tcp\r\n", endpoint(input)?),
            4 => {
                let at = endpoint(input)?;
                format!("a=rtcp:{} IN IP4 {}\r\n", at.port(), at.ip())
            }
            _ => String::new(),
        };
        text += &attribute;
    }
    Ok(text)
}

/// A connection, or the datagrams between two addresses, as the world sees it.
#[derive(Debug)]
struct Connection {
    flow: FlowId,
    protocol: Protocol,
    demoted: bool,
    /// By leg that sends.
    sides: [Side; 2],
}

#[derive(Debug, Default)]
struct Side {
    /// Fed since the connection was demoted, so that nothing is held back.
    settled: bool,
    /// Something else than whole messages was sent.
    spoilt: bool,
}

/// A machine, its kernel and its connections.
pub struct World {
    /// The machine.
    pub alg: Alg,
    limits: Limits,
    kernel: Kernel,
    now: Instant,
    out: Outbox,
    connections: Vec<Connection>,
    /// What the machine told, if it tells.
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    reserved: Vec<(Protocol, u16)>,
}

impl Default for World {
    /// Nothing has happened yet.
    fn default() -> Self {
        let config = config();
        World {
            limits: config.limits,
            alg: Alg::new(config, 1),
            kernel: Kernel::default(),
            now: Instant::from_micros(1),
            out: Outbox {
                watch: true,
                ..Outbox::default()
            },
            connections: Vec::new(),
            records: BTreeMap::new(),
            reserved: Vec::new(),
        }
    }
}

impl World {
    /// Something happens.
    pub fn step(&mut self, step: &Step) {
        match step {
            Step::Open(protocol, peer, destination) => self.open(*protocol, *peer, *destination),
            Step::Message(nth, from, bytes, part) => {
                self.message(*nth, *from, bytes, *part);
            }
            Step::Bytes(nth, from, bytes) => {
                self.feed(*nth, *from, bytes);
                if let Some(connection) = self.nth(*nth) {
                    connection.sides[*from as usize].spoilt = true;
                }
            }
            Step::End(nth, from) => {
                if let Some(flow) = self.nth(*nth).map(|connection| connection.flow) {
                    self.alg.end_of_stream(self.now, flow, *from, &mut self.out);
                }
            }
            Step::Close(nth) if !self.connections.is_empty() => {
                let gone = self.connections.remove(nth % self.connections.len());
                self.alg.close(self.now, gone.flow, &mut self.out);
            }
            Step::Close(_) => {}
            Step::Wait(seconds) => self.wait(Duration::from_secs(*seconds)),
            Step::Fail(nth) => {
                if let Some(door) = self.kernel.fail(*nth) {
                    self.alg.door_failed(self.now, &door);
                }
            }
            Step::Media(at) => self.alg.media_seen(self.now, *at),
            Step::Reserve(ports) => {
                self.reserved.clone_from(ports);
                self.alg.reserve(ports);
            }
            Step::Rules(nth) => self.rules(*nth),
            Step::Reopen(nth) => {
                if let Some(flow) = self.nth(*nth).map(|connection| connection.flow)
                    && let Ok(source) = self.alg.reopen(self.now, flow)
                {
                    assert!(is_global(*source.ip()) && source.port() >= 1024);
                }
            }
        }
        self.kernel.obey(&self.out.doors);
        self.out.clear();
    }

    /// Other rules are in force; what they cannot carry on is closed.
    fn rules(&mut self, nth: usize) {
        let new = Config {
            sources: rules(nth),
            ..config()
        };
        for flow in self.alg.reconfigure(self.now, new, &mut self.out) {
            let before = self.connections.len();
            self.connections
                .retain(|connection| connection.flow != flow);
            assert!(self.connections.len() < before, "a flow that is there");
            self.alg.close(self.now, flow, &mut self.out);
        }
    }

    /// The machine dies, and another one takes its place, from what it told.
    pub fn die(&mut self) {
        self.note();
        let held = self.alg.flows().map(|view| view.flow);
        let held = held.flat_map(|flow| [(flow, Leg::Inside), (flow, Leg::Outside)]);
        let held: Vec<_> = held
            .map(|(flow, leg)| (flow, leg, self.alg.held(flow, leg).to_vec()))
            .collect();
        let (doors, sizes) = (self.alg.doors(), self.alg.sizes());
        let flows: Vec<_> = self.alg.flows().collect();
        let records = self.records.clone().into_iter().collect();
        let restored = self.restore(&records);
        for (flow, leg, bytes) in held {
            self.alg.hold(flow, leg, &bytes);
        }
        if restored.left_out == 0 {
            assert_eq!((self.alg.doors(), self.alg.sizes()), (doors, sizes));
            assert_eq!(self.alg.flows().collect::<Vec<_>>(), flows);
        } else {
            // Old rules gave it.
            let opened = self.alg.doors();
            let opened = opened.iter().all(|door: &Door| doors.contains(door));
            assert!(opened, "no door opens by a crash");
        }
        let told = self.records.clone();
        self.alg.keep();
        self.note();
        assert!(
            restored.left_out > 0 || told == self.records,
            "the same again"
        );
    }

    /// The machine dies, and another one takes its place, from forged records.
    pub fn live_on(&mut self, forged: &[Spoil]) {
        self.note();
        let mut records = self.records.clone().into_iter().collect();
        for spoil in forged {
            spoil.apply(&mut records);
        }
        self.records = records.iter().cloned().collect();
        self.restore(&records);
        // Nobody knows any more what has passed on these.
        let options = b"OPTIONS sip:b@10.1.1.2 SIP/2.0\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";
        self.connections.clear();
        let flows: Vec<_> = self.alg.flows().collect();
        for view in flows {
            let (now, flow, out) = (self.now, view.flow, &mut self.out);
            for from in [Leg::Inside, Leg::Outside] {
                match view.ends.protocol {
                    Protocol::Tcp => self.alg.stream(now, flow, from, options, out),
                    Protocol::Udp => self.alg.datagram(now, flow, from, options, out),
                }
            }
            self.alg.close(now, flow, out);
        }
        self.kernel.obey(&self.out.doors);
        self.out.clear();
        self.alg.keep();
        self.note();
    }

    fn restore(&mut self, records: &List) -> Restored {
        let config = self.alg.config().clone();
        let mut list = records
            .iter()
            .map(|(name, record)| (&name[..], &record[..]));
        let (alg, restored) = Alg::restore(config, 1, self.now, &mut list, &mut self.out);
        self.alg = alg;
        self.alg.reserve(&self.reserved);
        self.kernel = Kernel::default();
        self.kernel.obey(&self.out.doors);
        self.out.clear();
        let live: BTreeSet<_> = self.alg.flows().map(|view| view.flow).collect();
        self.connections
            .retain(|connection| live.contains(&connection.flow));
        restored
    }

    /// Writes down what the machine tells.
    fn note(&mut self) {
        self.alg.kept(&mut |name, record| match record {
            Some(record) => drop(self.records.insert(name.to_vec(), record.to_vec())),
            None => drop(self.records.remove(name)),
        });
    }

    fn nth(&mut self, nth: usize) -> Option<&mut Connection> {
        let count = self.connections.len().max(1);
        self.connections.get_mut(nth % count)
    }

    fn open(&mut self, protocol: Protocol, peer: SocketAddrV4, destination: SocketAddrV4) {
        if self.connections.len() >= 12 {
            return;
        }
        let opened = match protocol {
            Protocol::Tcp => self.alg.open(self.now, peer, destination, &mut self.out),
            Protocol::Udp => self
                .alg
                .open_datagrams(self.now, peer, destination, &mut self.out),
        };
        let Ok(opened) = opened else {
            return;
        };
        if is_inside(*peer.ip()) {
            assert!(
                is_global(*opened.source.ip()),
                "the outside sees no inside local"
            );
        } else {
            assert_eq!(opened.source, peer, "transparent");
            assert!(is_inside(*opened.target.ip()), "it leads to an inside host");
        }
        if self.kernel.doors().any(|door| {
            door.kind == DoorKind::Signalling
                && (door.protocol, door.inside_global) == (protocol, destination)
        }) {
            assert_eq!(opened.accepted, Leg::Outside);
        }
        self.connections.push(Connection {
            flow: opened.flow,
            protocol,
            demoted: false,
            sides: Default::default(),
        });
    }

    /// A message alone on its stream changes only in what is ours.
    fn message(&mut self, nth: usize, from: Leg, bytes: &[u8], part: usize) {
        let mut sent = Vec::new();
        let over = self.nth(nth).map(|connection| connection.protocol);
        let part = match over {
            Some(Protocol::Udp) => bytes.len(),
            _ => part,
        };
        let alone = self
            .nth(nth)
            .is_some_and(|c| !std::mem::replace(&mut c.sides[from as usize].spoilt, false));
        for part in bytes.chunks(part) {
            sent.extend(self.feed(nth, from, part));
        }
        if alone {
            unchanged_but_ours(bytes, &sent, from);
        }
        if let Some(connection) = self.nth(nth) {
            connection.sides[from as usize].spoilt = !alone;
        }
    }

    fn feed(&mut self, nth: usize, from: Leg, bytes: &[u8]) -> Vec<u8> {
        let Some(connection) = self.nth(nth) else {
            return Vec::new();
        };
        let (flow, demoted) = (connection.flow, connection.demoted);
        let protocol = connection.protocol;
        let side = &mut connection.sides[from as usize];
        let settled = std::mem::replace(&mut side.settled, demoted);
        let before = self.out.bytes.len();
        let (now, out) = (self.now, &mut self.out);
        match protocol {
            Protocol::Tcp => self.alg.stream(now, flow, from, bytes, out),
            Protocol::Udp => self.alg.datagram(now, flow, from, bytes, out),
        }
        let sent = &self.out.bytes[before..];
        if demoted {
            assert!(sent.ends_with(bytes), "a demoted stream passes unchanged");
            assert!(
                !settled || sent.len() == bytes.len(),
                "and nothing is held back of it"
            );
        }
        let sent = sent.to_vec();
        let now_demoted = self
            .out
            .events
            .iter()
            .any(|event| matches!(event, Event::Demoted(_)));
        self.kernel.obey(&self.out.doors);
        self.out.clear();
        if let Some(connection) = self.nth(nth).filter(|_| now_demoted) {
            assert!(!demoted, "demoted twice");
            connection.demoted = true;
            connection.sides[from as usize].settled = true;
        }
        sent
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..100_000 {
            let Some(next) = self.alg.next_timeout().filter(|next| *next <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            self.alg.handle_timeout(self.now, &mut self.out);
            self.reset();
            self.kernel.obey(&self.out.doors);
            self.out.clear();
            let again = self.alg.next_timeout();
            assert!(
                again.is_none_or(|again| again > self.now),
                "what was due is done"
            );
        }
        panic!("time does not pass");
    }

    /// Ends the connections that the machine wants reset, such as those with slow headers.
    fn reset(&mut self) {
        for flow in std::mem::take(&mut self.out.resets) {
            self.connections
                .retain(|connection| connection.flow != flow);
            self.alg.close(self.now, flow, &mut self.out);
        }
    }

    /// What must hold at every moment.
    pub fn agree(&self) {
        let doors = self.alg.doors();
        let told: BTreeSet<_> = self
            .kernel
            .doors()
            .map(|d| (d.protocol, d.inside_local, d.inside_global))
            .collect();
        let known: BTreeSet<_> = doors
            .iter()
            .map(|d| (d.protocol, d.inside_local, d.inside_global))
            .collect();
        assert_eq!(known, told, "the kernel has the doors that the machine has");

        // Static rules and addresses of hosts are no table that fills.
        let mut mappings = self.alg.mappings(self.now);
        mappings.retain(|mapping| mapping.protocol.is_some());
        let locals: BTreeSet<_> = mappings
            .iter()
            .map(|m| (m.protocol, m.inside_local))
            .collect();
        let globals: BTreeSet<_> = mappings
            .iter()
            .map(|m| (m.protocol, m.inside_global))
            .collect();
        assert_eq!(
            (locals.len(), globals.len()),
            (mappings.len(), mappings.len()),
            "one to one"
        );
        for mapping in &mappings {
            assert!(
                is_inside(*mapping.inside_local.ip()) && is_global(*mapping.inside_global.ip())
            );
            let (local, global) = (mapping.inside_local.port(), mapping.inside_global.port());
            assert!(global >= 1024 || global == local);
        }
        mappings.retain(|mapping| !mapping.is_static);
        let (calls, registrations, spellings) = self.alg.sizes();
        assert!(
            mappings.len() <= self.most(Resource::Mapping),
            "mappings are bounded"
        );
        assert!(calls <= self.most(Resource::Call), "calls are bounded");
        assert!(
            registrations <= self.most(Resource::Registration),
            "registrations are bounded"
        );
        assert!(
            spellings <= self.most(Resource::Call),
            "spellings are bounded"
        );
        for door in &doors {
            let host = door.inside_local.ip();
            let of_host = doors
                .iter()
                .filter(|other| other.inside_local.ip() == host)
                .count();
            assert!(of_host <= self.most(Resource::Door), "doors are bounded");
        }
    }

    fn most(&self, of: Resource) -> usize {
        self.limits.bound(of).all as usize
    }

    /// All connections close and all time passes.
    pub fn end(&mut self) {
        for connection in std::mem::take(&mut self.connections) {
            self.alg.close(self.now, connection.flow, &mut self.out);
        }
        self.wait(Duration::from_secs(15 * 24 * 3600));
        self.agree();
        assert_eq!(self.alg.doors(), []);
        let left = self.alg.mappings(self.now);
        assert!(left.iter().all(|mapping| mapping.is_static), "{left:?}");
        assert_eq!(self.alg.sizes(), (0, 0, 0), "nothing is left");
        assert_eq!(self.alg.next_timeout(), None);
        let counters = self.alg.counters();
        assert_eq!(counters.doors_opened, counters.doors_closed);
    }
}
