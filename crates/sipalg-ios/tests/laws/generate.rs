//! Configurations that are right, of everything that can be configured.

use sipalg_core::config::{AccessEnd, AccessEntry, AccessPorts};
use sipalg_core::{Leg, Protocol};
use sipalg_ios::Startup;
use sipalg_ios::access::{self, Line, List, ListKind, MAX_SEQUENCE};
use sipalg_ios::startup::{
    AddressPool, GlobalAddress, GlobalSet, InsideSource, Interface, SourceKind,
};
use std::net::Ipv4Addr;
use std::time::Duration;

/// A configuration that is right.
pub fn generate(random: &mut Random) -> Startup {
    let mut startup = Startup::default();
    if random.flip() {
        startup.hostname = Some(format!("gw-{}", random.below(100)));
        let hash = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        startup.enable_secret = random.flip().then(|| hash.into());
    }
    for index in 0..random.below(7) {
        let nat = [None, Some(Leg::Inside), Some(Leg::Outside)][random.below(3)];
        startup.interfaces.push(Interface {
            name: format!("eth{index}.7"),
            nat,
        });
    }
    for _ in 0..random.below(6) {
        let numbered = ["1", "99", "1300", "1999", "100", "199", "2000", "2699"];
        let name = match random.flip() {
            true => numbered[random.below(8)],
            false => ["LAN", "any", "host", "pool"][random.below(4)],
        };
        let kind = match name.parse() {
            Ok(1..=99 | 1300..=1999) => ListKind::Standard,
            Ok(_) => ListKind::Extended,
            Err(_) if random.flip() => ListKind::Standard,
            Err(_) => ListKind::Extended,
        };
        startup.lists.insert(name.into(), list(random, kind));
    }
    service(&mut startup, random);
    translation(&mut startup, random);
    let has = |leg| startup.interfaces_on(leg).next().is_some();
    if has(Leg::Inside) && has(Leg::Outside) {
        sources(&mut startup, random);
    }
    startup
}

/// A list that decides something, if there is one.
fn some_list(startup: &Startup, random: &mut Random) -> Option<String> {
    let lists = startup.lists.iter();
    let deciding = lists.filter(|(_, list)| list.entries().next().is_some());
    let mut names: Vec<_> = deciding.map(|(name, _)| name.clone()).collect();
    match names.is_empty() || random.flip() {
        true => None,
        false => Some(names.swap_remove(random.below(names.len()))),
    }
}

fn service(startup: &mut Startup, random: &mut Random) {
    startup.l4f = random.flip();
    for port in [5060, 8000, 1, 65535] {
        for ports in [&mut startup.sip_tcp_ports, &mut startup.sip_udp_ports] {
            match random.flip() {
                true => ports.remove(&port),
                false => ports.insert(port),
            };
        }
    }
    startup.sip_access_group = some_list(startup, random);
    startup.sip_media_access_group = some_list(startup, random);
    startup.sip_trusted = some_list(startup, random);
    startup.sip_bypass = some_list(startup, random);
    let timers = &mut startup.sip_timers;
    for timer in [
        &mut timers.call_setup,
        &mut timers.transaction,
        &mut timers.media_inactivity,
        &mut timers.call_silence,
        &mut timers.subscription,
        &mut timers.registration,
        &mut timers.registration_grace,
        &mut timers.mapping_idle,
        &mut timers.quarantine,
    ] {
        if random.below(4) == 0 {
            *timer = Duration::from_secs(1 + random.below(536_870) as u64);
        }
    }
    if random.flip() {
        startup.sip_history = random.below(100);
        startup.sip_keepalive = Some(Duration::from_secs(5 + random.below(1000) as u64));
        startup.sip_header_limit = 1024 + random.below(5000);
        startup.sip_body_limit = random.below(70_000);
        for bound in &mut startup.sip_limits {
            // Memory is counted by megabytes.
            let mut number = || random.flip().then(|| (1 + random.below(16) as u64) << 20);
            bound.all = number().unwrap_or(bound.all);
            (bound.host, bound.trusted) = (number(), number());
        }
        for _ in 0..random.below(4) {
            let port = [1, 1080, 5901, 5902, 9000, 9001, 65535][random.below(7)];
            match random.flip() {
                true => startup.sip_protected_ports.insert(port),
                false => startup.sip_protected_ports.remove(&port),
            };
        }
    }
}

fn translation(startup: &mut Startup, random: &mut Random) {
    let timeouts = &mut startup.timeouts;
    for timeout in [
        &mut timeouts.address,
        &mut timeouts.tcp,
        &mut timeouts.syn,
        &mut timeouts.finrst,
        &mut timeouts.udp,
        &mut timeouts.dns,
        &mut timeouts.icmp,
    ] {
        if random.below(4) == 0 {
            *timeout = random.timeout();
        }
    }
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for port in [1, 53, 65535] {
            if random.below(6) == 0 {
                timeouts.ports.push((protocol, port, random.timeout()));
            }
        }
    }
    let most = |random: &mut Random| random.flip().then(|| 1 + random.below(1000) as u32);
    let bounds = &mut startup.max_entries;
    bounds.all = most(random);
    bounds.each_host = most(random);
    for host in [1, 2] {
        let host = Ipv4Addr::new(10, 0, 0, host);
        bounds.hosts.extend(most(random).map(|most| (host, most)));
    }
    if let Some(list) = some_list(startup, random) {
        startup.max_entries.lists.insert(list, 77);
    }
}

fn sources(startup: &mut Startup, random: &mut Random) {
    for (name, net) in [("A", 1), ("B", 2), ("overload", 3)] {
        if random.flip() {
            let at = |host| Ipv4Addr::new(203, 0, net, host);
            let pool = AddressPool {
                start: at(16),
                end: at(16 + random.below(16) as u8),
                prefix: [8, 24, 27][random.below(3)],
            };
            startup.pools.insert(name.into(), pool);
        }
    }
    let outside: Vec<String> = startup
        .interfaces_on(Leg::Outside)
        .map(String::from)
        .collect();
    let mut pools: Vec<String> = startup.pools.keys().cloned().collect();
    let mut rules = Vec::new();
    for (list, lines) in &startup.lists {
        if lines.entries().next().is_none() || random.below(4) == 0 {
            continue;
        }
        let (to, overload) = match pools.pop() {
            Some(pool) if random.flip() => (GlobalSet::Pool(pool), random.flip()),
            _ => {
                let interface = outside[random.below(outside.len())].clone();
                (GlobalSet::Interface(interface), true)
            }
        };
        rules.push(SourceKind::List {
            list: list.clone(),
            to,
            overload,
        });
    }
    for host in 1..=4_u8 {
        rules.extend(fixed(random, host, &outside[0]));
    }
    while !rules.is_empty() {
        let kind = rules.swap_remove(random.below(rules.len()));
        let no_alias = !matches!(kind, SourceKind::List { .. }) && random.below(4) == 0;
        startup.sources.push(InsideSource {
            kind,
            no_payload: random.below(4) == 0,
            no_alias,
        });
    }
}

/// A static rule that no other of these contradicts.
fn fixed(random: &mut Random, host: u8, interface: &str) -> Option<SourceKind> {
    let inside = |net, host| Ipv4Addr::new(10, net, host, 0);
    let global = Ipv4Addr::new(198, 51, 100, host);
    Some(match random.below(5) {
        0 => SourceKind::Static {
            local: inside(1, host),
            global: GlobalAddress::Address(global),
            prefix: 32,
        },
        1 => SourceKind::Static {
            local: inside(2, host),
            global: GlobalAddress::Address(inside(77, host)),
            prefix: [24, 28, 31][random.below(3)],
        },
        2 => SourceKind::StaticPort {
            protocol: [Protocol::Tcp, Protocol::Udp][random.below(2)],
            local: inside(3, host),
            local_port: 1 + random.below(65535) as u16,
            global: match random.flip() {
                true => GlobalAddress::Address(global),
                false => GlobalAddress::Interface(interface.into()),
            },
            global_port: 6000 + u16::from(host),
        },
        _ => return None,
    })
}

fn list(random: &mut Random, kind: ListKind) -> List {
    let mut list = List::new(kind);
    let numbered = random.flip();
    for _ in 0..random.below(5) {
        let line = match random.below(4) {
            0 => Line::Remark(["permit any", "a  b", "10", "!"][random.below(4)].into()),
            _ => Line::Entry {
                entry: match kind {
                    ListKind::Standard => AccessEntry {
                        permit: random.flip(),
                        protocol: None,
                        source: end(random),
                        destination: AccessEnd::ANY,
                        established: false,
                    },
                    ListKind::Extended => extended(random),
                },
                log: random.below(4) == 0,
            },
        };
        let sequence = [1, 5, 10, 20, MAX_SEQUENCE][random.below(5)];
        // A sequence number that is taken is the generator's miss.
        let _ = list.add(numbered.then_some(sequence), line);
    }
    list
}

fn extended(random: &mut Random) -> AccessEntry {
    let protocol = [None, Some(6), Some(6), Some(17), Some(1), Some(132)][random.below(6)];
    let (mut source, mut destination) = (end(random), end(random));
    if matches!(protocol, Some(6 | 17)) {
        source.ports = ports(random);
        destination.ports = ports(random);
    }
    AccessEntry {
        permit: random.flip(),
        protocol,
        source,
        destination,
        established: protocol == Some(6) && random.flip(),
    }
}

fn end(random: &mut Random) -> AccessEnd {
    let address = (random.next() as u32).into();
    let wildcard = [0, u32::MAX, 255, 0x00ff_00ff][random.below(4)].into();
    access::end(address, wildcard).expect("no subnet mask")
}

fn ports(random: &mut Random) -> AccessPorts {
    const SOME: [u16; 8] = [0, 1, 53, 80, 514, 5060, 65534, 65535];
    let (one, other) = (SOME[random.below(8)], SOME[random.below(8)]);
    let ports = |first, last, inverted| AccessPorts {
        first,
        last,
        inverted,
    };
    match random.below(4) {
        0 => AccessPorts::ANY,
        1 => ports(one, one, true),
        2 => ports(one, one, false),
        _ => ports(one.min(other), one.max(other), false),
    }
}

/// SplitMix64: the same configurations on every run.
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True or false.
    pub fn flip(&mut self) -> bool {
        self.below(2) == 1
    }

    fn timeout(&mut self) -> Option<Duration> {
        let seconds = 1 + self.below(536_870) as u64;
        self.flip().then_some(Duration::from_secs(seconds))
    }
}
