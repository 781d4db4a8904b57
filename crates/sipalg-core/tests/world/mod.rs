//! A gateway with a virtual clock, for tests of whole conversations.
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses its own part; helpers of tests may unwrap

use sipalg_core::addr::SocketAddrV4;
use sipalg_core::config::{AccessEntry, AccessList, Pool, Source, SourceRule};
use sipalg_core::door::AddressOp;
use sipalg_core::{Alg, Config, DoorKind, DoorOp, FlowId, Instant, Leg, Outbox, Protocol, Refusal};
use std::collections::BTreeMap;
use std::time::Duration;

pub const PHONE: &str = "192.168.122.3:40001";
/// A phone sends its datagrams from the port that it listens at.
pub const PHONE_OVER_UDP: &str = "192.168.122.3:5060";
pub const SERVER: &str = "10.1.1.2:5060";

pub fn at(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

/// The reference's session description, 133 bytes with its own addresses.
pub fn sdp(host: &str, port: u16) -> String {
    format!(
        "v=0\r\no=user1 53655765 2353687637 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    )
}

/// The configuration of the reference: 192.168.122.0/24 behind 10.1.1.1.
pub fn config() -> Config {
    under(vec![overload("192.168.122.0", "10.1.1.1")])
}

/// Nothing but these rules.
pub fn under(sources: Vec<SourceRule>) -> Config {
    Config {
        sources,
        ..Config::default()
    }
}

/// A standard list that permits a network of 256 addresses.
pub fn list(net: &str) -> AccessList {
    let wildcard = "0.0.0.255".parse().unwrap();
    AccessList {
        name: "1".into(),
        entries: vec![AccessEntry::standard(true, net.parse().unwrap(), wildcard)],
    }
}

/// A network of 256 addresses behind one address.
pub fn overload(net: &str, global: &str) -> SourceRule {
    SourceRule::overload(list(net), global.parse().unwrap())
}

/// A network of 256 addresses, of which each host gets or shares an address.
pub fn pool(net: &str, start: &str, end: &str, overload: bool) -> SourceRule {
    let (start, end) = (start.parse().unwrap(), end.parse().unwrap());
    let pool = Pool {
        start,
        end,
        overload,
    };
    let list = list(net);
    rule(Source::List { list, pool })
}

/// A host that has an address for ever; or a network, by its length.
pub fn fixed(local: &str, global: &str, prefix: u8) -> SourceRule {
    let (local, global) = (local.parse().unwrap(), global.parse().unwrap());
    rule(Source::Static {
        local,
        global,
        prefix,
    })
}

/// A port that is known as another for ever.
pub fn fixed_port(protocol: Protocol, local: &str, global: &str) -> SourceRule {
    let (local, global) = (at(local), at(global));
    rule(Source::StaticPort {
        protocol,
        local,
        global,
    })
}

fn rule(source: Source) -> SourceRule {
    SourceRule {
        source,
        payload: true,
    }
}

pub type Between = Box<dyn FnMut(&mut Alg, Instant)>;

pub struct World {
    pub alg: Alg,
    pub now: Instant,
    pub out: Outbox,
    /// What the last call asked of the kernel.
    pub last_ops: Vec<DoorOp>,
    /// What was asked of it about addresses, so far.
    pub addresses: Vec<AddressOp>,
    /// What happens to the machine before each step, if anything. Streams are cut then.
    pub between: Option<Between>,
    /// All that was heard.
    pub transcript: Vec<String>,
    /// What the kernel has, by inside local.
    open: BTreeMap<(DoorKind, SocketAddrV4, Protocol), SocketAddrV4>,
}

impl World {
    pub fn new() -> Self {
        Self::with(config())
    }

    pub fn with(config: Config) -> Self {
        World {
            alg: Alg::new(config, 1),
            now: Instant::from_micros(1_000_000),
            out: Outbox::default(),
            last_ops: Vec::new(),
            addresses: Vec::new(),
            between: None,
            transcript: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    fn between(&mut self) {
        if let Some(between) = &mut self.between {
            between(&mut self.alg, self.now);
        }
    }

    pub fn connect(&mut self, peer: &str, destination: &str) -> FlowId {
        self.between();
        self.alg
            .open(self.now, at(peer), at(destination), &mut self.out)
            .unwrap()
            .flow
    }

    /// Datagrams between two addresses begin; names where they come from on the other leg, too.
    pub fn converse(&mut self, peer: &str, destination: &str) -> (FlowId, String) {
        self.between();
        let (peer, destination) = (at(peer), at(destination));
        let opened = self
            .alg
            .open_datagrams(self.now, peer, destination, &mut self.out)
            .unwrap();
        self.obey();
        (opened.flow, opened.source.to_string())
    }

    /// Where a TCP connection leads: from and to which address.
    pub fn leads(&mut self, peer: &str, destination: &str) -> Result<(String, String), Refusal> {
        self.between();
        let (peer, destination) = (at(peer), at(destination));
        let opened = self.alg.open(self.now, peer, destination, &mut self.out)?;
        self.obey();
        Ok((opened.source.to_string(), opened.target.to_string()))
    }

    /// Other rules from now on; names the flows that must go.
    pub fn reconfigure(&mut self, config: Config) -> Vec<FlowId> {
        self.between();
        let lost = self.alg.reconfigure(self.now, config, &mut self.out);
        self.obey();
        lost
    }

    /// Every translation as `PRO INSIDE-GLOBAL INSIDE-LOCAL`.
    pub fn translations(&self) -> Vec<String> {
        let views = self.alg.mappings(self.now).into_iter();
        let text = views.map(|view| match view.protocol {
            Some(protocol) => {
                let (global, local) = (view.inside_global, view.inside_local);
                format!("{} {global} {local}", protocol.name())
            }
            None => format!("--- {} {}", view.inside_global.ip(), view.inside_local.ip()),
        });
        text.collect()
    }

    /// Where the doors of a kind are, with their protocol.
    pub fn globals(&self, kind: DoorKind) -> Vec<String> {
        let doors = self.open.iter().filter(|((of, _, _), _)| *of == kind);
        doors
            .map(|((_, _, protocol), global)| format!("{} {global}", protocol.name()))
            .collect()
    }

    /// The same for datagrams.
    pub fn connect_datagrams(&mut self, peer: &str, destination: &str) -> FlowId {
        self.between();
        let (peer, destination) = (at(peer), at(destination));
        let opened = self
            .alg
            .open_datagrams(self.now, peer, destination, &mut self.out);
        self.obey();
        self.out.clear();
        opened.unwrap().flow
    }

    /// Sends a datagram on a leg; returns what the other leg gets.
    pub fn datagram(&mut self, flow: FlowId, from: Leg, text: &str) -> String {
        self.between();
        self.alg
            .datagram(self.now, flow, from, text.as_bytes(), &mut self.out);
        self.sent()
    }

    /// The flow is over.
    pub fn close(&mut self, flow: FlowId) {
        self.between();
        self.alg.close(self.now, flow, &mut self.out);
        self.obey();
        self.out.clear();
    }

    /// Sends text on a leg; returns what the other leg gets.
    pub fn say(&mut self, flow: FlowId, from: Leg, text: &str) -> String {
        let cut = match self.between {
            Some(_) => self.transcript.len() * 97 % (text.len() + 1),
            None => 0,
        };
        let (first, second) = text.as_bytes().split_at(cut);
        for part in [first, second] {
            self.between();
            self.alg.stream(self.now, flow, from, part, &mut self.out);
        }
        self.sent()
    }

    fn sent(&mut self) -> String {
        self.obey();
        let bytes = String::from_utf8(self.out.bytes.clone()).unwrap();
        self.out.clear();
        self.transcript.push(bytes.clone());
        bytes
    }

    /// Lets time pass, deadline by deadline.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.alg.next_timeout().filter(|next| *next <= until) {
            self.between();
            self.now = next.max(self.now);
            self.alg.handle_timeout(self.now, &mut self.out);
            self.obey();
        }
        self.now = until;
        self.out.clear();
    }

    /// The inside locals that have a door in the kernel.
    pub fn doors(&self, kind: DoorKind) -> Vec<String> {
        let doors = self.open.keys().filter(|(of, _, _)| *of == kind);
        doors.map(|(_, local, _)| local.to_string()).collect()
    }

    /// Does to the model what the kernel would do, and checks what must always hold.
    pub fn obey(&mut self) {
        self.addresses.append(&mut self.out.addresses);
        for op in &self.out.doors {
            let door = op.door();
            let name = (door.kind, door.inside_local, door.protocol);
            match op {
                DoorOp::Open(_) => {
                    assert!(!self.open.contains_key(&name), "opened twice: {door:?}");
                    let other = self.open.iter().any(|((_, _, protocol), global)| {
                        (*protocol, *global) == (door.protocol, door.inside_global)
                    });
                    assert!(!other, "two owners: {door:?}");
                    self.open.insert(name, door.inside_global);
                }
                DoorOp::Refresh(_) => {
                    assert!(self.open.contains_key(&name), "no such door: {door:?}")
                }
                DoorOp::Close(_) => {
                    assert!(self.open.remove(&name).is_some(), "closed twice: {door:?}")
                }
            }
        }
        self.last_ops = std::mem::take(&mut self.out.doors);
    }
}
