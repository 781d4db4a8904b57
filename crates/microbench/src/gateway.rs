//! A gateway to send the messages through.

use crate::messages::{DISTINCT, GATEWAY, PHONE, SERVER, answer, invite};
use sipalg_core::addr::{Ipv4Addr, SocketAddrV4};
use sipalg_core::config::{AccessEntry, AccessList, Pool, Resource, Source, SourceRule};
use sipalg_core::{Alg, Config, FlowId, Instant, Leg, Outbox};

/// The SIP port.
const SIP: u16 = 5060;

/// A gateway in the configuration that is shipped, and one connection through it.
#[derive(Debug)]
pub struct Gateway {
    /// The machine.
    pub alg: Alg,
    /// What came out of it, forgotten before each message.
    pub out: Outbox,
    flow: FlowId,
    now: u64,
    recorded: usize,
}

impl Default for Gateway {
    fn default() -> Self {
        Gateway::among(0)
    }
}

impl Gateway {
    /// In which so many calls more than those that are measured are up, with two doors each, all on
    /// the one connection.
    pub fn among_calls(calls: usize) -> Self {
        let mut gateway = Gateway::roomy();
        for call in DISTINCT..DISTINCT + calls {
            gateway.pass(Leg::Inside, &invite(call));
            gateway.pass(Leg::Outside, &answer(call));
        }
        assert!(gateway.alg.doors().len() >= 2 * calls);
        gateway
    }

    /// In which a host may have more than its share.
    fn roomy() -> Self {
        let mut gateway = Gateway::default();
        let mut config = gateway.alg.config().clone();
        for of in [Resource::Mapping, Resource::Door, Resource::Call] {
            config.limits = config.limits.with(of, 65_536);
        }
        let now = Instant::from_micros(gateway.now);
        gateway.alg.reconfigure(now, config, &mut gateway.out);
        gateway
    }

    /// Whose mappings are so many more, of other hosts, on 16 addresses.
    pub fn among(mappings: usize) -> Self {
        let mut config = Config {
            sources: vec![rule([192, 168, 122, 0], 8, GATEWAY, GATEWAY)],
            ..Config::default()
        };
        if mappings > 0 {
            config
                .sources
                .push(rule([10, 128, 0, 0], 23, "10.1.2.1", "10.1.2.16"));
            for of in [Resource::Mapping, Resource::Connection, Resource::HalfOpen] {
                let most = mappings + 4 * DISTINCT;
                config.limits = config.limits.with(of, most as u64);
            }
        }
        let mut alg = Alg::new(config, 7);
        let mut out = Outbox::default();
        // More hosts than the connections of each, as in a network.
        let ports = 16;
        for number in 0..mappings {
            let host = u32::from(Ipv4Addr::new(10, 128, 0, 0)) + (number / ports) as u32;
            let peer = SocketAddrV4::new(host.into(), 20_000 + (number % ports) as u16);
            let opened = alg.open(Instant::ZERO, peer, at(SERVER), &mut out);
            assert!(opened.is_ok(), "mapping {number}: {opened:?}");
        }
        let opened = alg.open(Instant::ZERO, at(PHONE), at(SERVER), &mut out);
        let flow = opened.map(|opened| opened.flow).unwrap_or(FlowId(0));
        Gateway {
            alg,
            out,
            flow,
            now: 0,
            recorded: 0,
        }
    }

    /// So much time passes without a message.
    pub fn wait(&mut self, seconds: u64) {
        self.now += seconds * 1_000_000;
    }

    /// Whose changes are recorded from now on.
    pub fn recorded(mut self) -> Self {
        self.alg.keep();
        self
    }

    /// Tells what has changed, as after each message that came alone; how many records that were.
    pub fn record(&mut self) -> usize {
        self.recorded = 0;
        self.alg.kept(&mut |_, _| self.recorded += 1);
        self.recorded
    }

    /// One that has seen every call begin and be answered.
    pub fn with_calls(mut self) -> Self {
        for call in 0..DISTINCT {
            self.pass(Leg::Inside, &invite(call));
            self.pass(Leg::Outside, &answer(call));
        }
        self
    }

    /// Bytes came by a leg, a millisecond after the last.
    pub fn pass(&mut self, from: Leg, bytes: &[u8]) -> usize {
        self.now += 1000;
        self.out.clear();
        let now = Instant::from_micros(self.now);
        self.alg.stream(now, self.flow, from, bytes, &mut self.out);
        self.out.bytes.len()
    }
}

fn at(host: &str) -> SocketAddrV4 {
    SocketAddrV4::new(address(host), SIP)
}

fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap_or(Ipv4Addr::UNSPECIFIED)
}

/// A network, by the number of bits that its hosts differ in, behind a range of addresses.
fn rule(network: [u8; 4], bits: u32, start: &str, end: &str) -> SourceRule {
    let wildcard = Ipv4Addr::from((1u32 << bits) - 1);
    let entry = AccessEntry::standard(true, network.into(), wildcard);
    let list = AccessList {
        name: "1".into(),
        entries: vec![entry],
    };
    let pool = Pool {
        start: address(start),
        end: address(end),
        overload: true,
    };
    SourceRule {
        source: Source::List { list, pool },
        payload: true,
    }
}
