//! A gateway with a virtual clock, for tests of whole conversations.
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses its own part; helpers of tests may unwrap

use sipalg_core::addr::SocketAddrV4;
use sipalg_core::config::{AccessEntry, AccessList, SourceRule};
use sipalg_core::{Alg, Config, DoorKind, DoorOp, FlowId, Instant, Leg, Outbox};
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
    let entry = AccessEntry::standard(
        true,
        "192.168.122.0".parse().unwrap(),
        "0.0.0.255".parse().unwrap(),
    );
    let list = AccessList {
        name: "1".into(),
        entries: vec![entry],
    };
    Config {
        sources: vec![SourceRule::overload(list, "10.1.1.1".parse().unwrap())],
        ..Config::default()
    }
}

pub struct World {
    pub alg: Alg,
    pub now: Instant,
    pub out: Outbox,
    /// What the last call asked of the kernel.
    pub last_ops: Vec<DoorOp>,
    /// What the kernel has, by inside local.
    open: BTreeMap<(DoorKind, SocketAddrV4), SocketAddrV4>,
}

impl World {
    pub fn new() -> Self {
        World {
            alg: Alg::new(config(), 1),
            now: Instant::from_micros(1_000_000),
            out: Outbox::default(),
            last_ops: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    pub fn connect(&mut self, peer: &str, destination: &str) -> FlowId {
        self.alg
            .open(self.now, at(peer), at(destination), &mut self.out)
            .unwrap()
            .flow
    }

    /// The same for datagrams.
    pub fn connect_datagrams(&mut self, peer: &str, destination: &str) -> FlowId {
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
        self.alg
            .datagram(self.now, flow, from, text.as_bytes(), &mut self.out);
        self.sent()
    }

    /// The flow is over.
    pub fn close(&mut self, flow: FlowId) {
        self.alg.close(self.now, flow, &mut self.out);
        self.obey();
        self.out.clear();
    }

    /// Sends text on a leg; returns what the other leg gets.
    pub fn say(&mut self, flow: FlowId, from: Leg, text: &str) -> String {
        self.alg
            .stream(self.now, flow, from, text.as_bytes(), &mut self.out);
        self.sent()
    }

    fn sent(&mut self) -> String {
        self.obey();
        let bytes = String::from_utf8(self.out.bytes.clone()).unwrap();
        self.out.clear();
        bytes
    }

    /// Lets time pass, deadline by deadline.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.alg.next_timeout().filter(|next| *next <= until) {
            self.now = next.max(self.now);
            self.alg.handle_timeout(self.now, &mut self.out);
            self.obey();
        }
        self.now = until;
        self.out.clear();
    }

    /// The inside locals that have a door in the kernel.
    pub fn doors(&self, kind: DoorKind) -> Vec<String> {
        let doors = self.open.keys().filter(|(of, _)| *of == kind);
        doors.map(|(_, local)| local.to_string()).collect()
    }

    /// Does to the model what the kernel would do, and checks what must always hold.
    fn obey(&mut self) {
        for op in &self.out.doors {
            let door = op.door();
            let name = (door.kind, door.inside_local);
            match op {
                DoorOp::Open(_) => {
                    assert!(!self.open.contains_key(&name), "opened twice: {door:?}");
                    let other = self
                        .open
                        .values()
                        .any(|global| *global == door.inside_global);
                    assert!(
                        !other || door.kind == DoorKind::Signalling,
                        "two owners: {door:?}"
                    );
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
