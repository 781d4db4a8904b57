//! An in-memory NAT that obeys [`DoorOp`]s: the executable meaning of a door.
//!
//! It moves packets where no kernel does (captures, simulations) and judges those that one did. Beside
//! doors it knows ordinary mappings: endpoint-independent (RFC 4787 REQ-1), and answered only by hosts
//! that the inside host has sent to (address-dependent filtering, RFC 4787 REQ-8). What a static rule
//! gives, and an address that a host has for itself, is open to everyone. Knows nothing of SIP.

use crate::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use crate::config::{Config, Share, Source, SourceRule};
use crate::door::{AddressOp, DoorKind, DoorOp};
use crate::nat::policy;
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

/// How long an ordinary UDP mapping lives unused: RFC 4787 REQ-5.
const UDP_IDLE: Duration = Duration::from_secs(300);

/// How long an ordinary TCP mapping lives unused: RFC 5382 REQ-5, established connections.
const TCP_IDLE: Duration = Duration::from_secs(2 * 3600 + 4 * 60);

/// Why a packet does not pass.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Refused {
    /// No `ip nat inside source` rule permits the inside host.
    NotTranslated,
    /// Nothing accepts packets from this host at this inside global.
    NoDoor,
    /// No port is free.
    NoPort,
}

/// The NAT. One inside local has one inside global and the other way round, for TCP and UDP apart.
#[derive(Debug)]
pub struct ModelNat {
    rules: Config,
    /// Addresses of pools without overload, by inside host.
    own: BTreeMap<Ipv4Addr, Ipv4Addr>,
    by_local: BTreeMap<(Protocol, SocketAddrV4), Entry>,
    by_global: BTreeMap<(Protocol, SocketAddrV4), SocketAddrV4>,
    allocations: u64,
}

#[derive(Debug)]
struct Entry {
    global: SocketAddrV4,
    door: Option<DoorKind>,
    /// The hosts that an ordinary mapping has been used toward.
    peers: BTreeSet<Ipv4Addr>,
    ends: Instant,
}

impl ModelNat {
    /// A NAT without doors, under these rules.
    pub fn new(sources: Vec<SourceRule>) -> Self {
        ModelNat {
            rules: Config {
                sources,
                ..Config::default()
            },
            own: BTreeMap::new(),
            by_local: BTreeMap::new(),
            by_global: BTreeMap::new(),
            allocations: 0,
        }
    }

    /// Carries out one operation. A refreshed door that is not there opens; closing one whose ends
    /// belong to others by now does nothing.
    pub fn apply(&mut self, now: Instant, op: &DoorOp) {
        let door = op.door();
        let (protocol, local, global) = (door.protocol, door.inside_local, door.inside_global);
        match op {
            DoorOp::Open(_) | DoorOp::Refresh(_) => {
                let entry = self.link(protocol, local, global);
                entry.door = Some(door.kind);
                entry.ends = now + door.lifetime;
            }
            DoorOp::Close(_) => {
                let there = self.by_local.get(&(protocol, local));
                if there.is_some_and(|entry| entry.global == global) {
                    self.remove(protocol, local);
                }
            }
        }
    }

    /// Carries out an operation on a host's own address.
    pub fn give(&mut self, op: &AddressOp) {
        match *op {
            AddressOp::Assign { local, global } => self.own.insert(local, global),
            AddressOp::Release { local, .. } => self.own.remove(&local),
        };
    }

    /// Makes the mapping that somebody else has chosen, in place of what is in its way.
    pub fn map(
        &mut self,
        now: Instant,
        protocol: Protocol,
        local: SocketAddrV4,
        global: SocketAddrV4,
    ) {
        self.expire(now, protocol, local);
        let entry = self.link(protocol, local, global);
        if entry.door.is_none() {
            entry.ends = now + idle(protocol);
        }
    }

    /// A packet of an inside host: the inside global that it leaves from. Without door or mapping, a
    /// mapping is made, at the host's own port if that is free.
    ///
    /// # Errors
    /// The host is not translated, or no port is free.
    pub fn outward(
        &mut self,
        now: Instant,
        protocol: Protocol,
        local: SocketAddrV4,
        peer: Ipv4Addr,
    ) -> Result<SocketAddrV4, Refused> {
        if let Some((_, global)) = self.rules.fixed_global(protocol, local) {
            return Ok(global);
        }
        let address = self.global_address(*local.ip());
        let address = address.ok_or(Refused::NotTranslated)?;
        let global = match self.global_of(now, protocol, local) {
            Some(global) => global,
            None if self.own.contains_key(local.ip()) => SocketAddrV4::new(address, local.port()),
            None => self.free_global(now, protocol, local, address)?,
        };
        self.map(now, protocol, local, global);
        if let Some(entry) = self.by_local.get_mut(&(protocol, local)) {
            entry.peers.insert(peer);
        }
        Ok(global)
    }

    /// A packet of an outside host: the inside local that it goes to.
    ///
    /// # Errors
    /// There is no door, and no mapping that has been used toward `peer`.
    pub fn inward(
        &mut self,
        now: Instant,
        protocol: Protocol,
        peer: Ipv4Addr,
        global: SocketAddrV4,
    ) -> Result<SocketAddrV4, Refused> {
        if let Some((_, local)) = self.rules.fixed_local(protocol, global) {
            return Ok(local);
        }
        let mut own = self.own.iter();
        if let Some((host, _)) = own.find(|(_, own)| *own == global.ip()) {
            return Ok(SocketAddrV4::new(*host, global.port()));
        }
        let local = self.by_global.get(&(protocol, global)).copied();
        let local = local.ok_or(Refused::NoDoor)?;
        self.expire(now, protocol, local);
        let entry = self.by_local.get(&(protocol, local));
        entry
            .filter(|entry| entry.door.is_some() || entry.peers.contains(&peer))
            .map(|_| local)
            .ok_or(Refused::NoDoor)
    }

    /// The inside global that an inside local has.
    pub fn global_of(
        &mut self,
        now: Instant,
        protocol: Protocol,
        local: SocketAddrV4,
    ) -> Option<SocketAddrV4> {
        self.expire(now, protocol, local);
        let entry = self.by_local.get(&(protocol, local))?;
        Some(entry.global)
    }

    /// What the door of an inside local is for, if one is open.
    pub fn door(
        &mut self,
        now: Instant,
        protocol: Protocol,
        local: SocketAddrV4,
    ) -> Option<DoorKind> {
        self.expire(now, protocol, local);
        self.by_local.get(&(protocol, local))?.door
    }

    /// The address that an inside host is translated to, for all ports of which no rule says otherwise.
    pub fn global_address(&self, local: Ipv4Addr) -> Option<Ipv4Addr> {
        let (_, rule) = self.rules.source_for(local)?;
        match &rule.source {
            Source::List { pool, .. } if pool.overload => Some(policy::pool_address(local, *pool)),
            Source::List { .. } => self.own.get(&local).copied(),
            _ => {
                let any = SocketAddrV4::new(local, 0);
                Some(*rule.fixed_global(Protocol::Tcp, any)?.ip())
            }
        }
    }

    /// Whether this is an address that inside hosts are translated to.
    pub fn is_global_address(&self, address: Ipv4Addr) -> bool {
        self.rules.is_global(address)
    }

    /// The entry of these two ends, without what had one of them before.
    fn link(
        &mut self,
        protocol: Protocol,
        local: SocketAddrV4,
        global: SocketAddrV4,
    ) -> &mut Entry {
        let there = self.by_local.get(&(protocol, local));
        if there.is_some_and(|entry| entry.global != global) {
            self.remove(protocol, local);
        }
        let owner = self.by_global.get(&(protocol, global)).copied();
        if let Some(other) = owner.filter(|owner| *owner != local) {
            self.remove(protocol, other);
        }
        self.by_global.insert((protocol, global), local);
        let entry = self.by_local.entry((protocol, local));
        entry.or_insert_with(|| Entry {
            global,
            door: None,
            peers: BTreeSet::new(),
            ends: Instant::ZERO,
        })
    }

    fn remove(&mut self, protocol: Protocol, local: SocketAddrV4) {
        if let Some(entry) = self.by_local.remove(&(protocol, local)) {
            self.by_global.remove(&(protocol, entry.global));
        }
    }

    fn expire(&mut self, now: Instant, protocol: Protocol, local: SocketAddrV4) {
        let there = self.by_local.get(&(protocol, local));
        if there.is_some_and(|entry| entry.ends <= now) {
            self.remove(protocol, local);
        }
    }

    fn free_global(
        &mut self,
        now: Instant,
        protocol: Protocol,
        local: SocketAddrV4,
        address: Ipv4Addr,
    ) -> Result<SocketAddrV4, Refused> {
        self.allocations += 1;
        let mut found = self.free_port(protocol, local.port(), address);
        if found.is_none() {
            self.sweep(now);
            found = self.free_port(protocol, local.port(), address);
        }
        let port = found.ok_or(Refused::NoPort)?;
        Ok(SocketAddrV4::new(address, port))
    }

    fn free_port(&self, protocol: Protocol, own: u16, address: Ipv4Addr) -> Option<u16> {
        // A model need not be unpredictable; going round spares the search through ports in use.
        policy::candidates(protocol, own, 1, Share::ALL, || self.allocations).find(|port| {
            let global = SocketAddrV4::new(address, *port);
            !self.by_global.contains_key(&(protocol, global))
                && self.rules.fixed_local(protocol, global).is_none()
        })
    }

    fn sweep(&mut self, now: Instant) {
        self.by_local.retain(|_, entry| entry.ends > now);
        let by_local = &self.by_local;
        self.by_global
            .retain(|(protocol, _), local| by_local.contains_key(&(*protocol, *local)));
    }
}

fn idle(protocol: Protocol) -> Duration {
    match protocol {
        Protocol::Tcp => TCP_IDLE,
        Protocol::Udp => UDP_IDLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AccessEntry, AccessList};
    use crate::door::Door;

    const PEER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
    const OTHER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
    const START: Instant = Instant::from_micros(1_000_000);

    fn at(text: &str) -> SocketAddrV4 {
        text.parse().unwrap()
    }

    fn nat() -> ModelNat {
        let entry = AccessEntry::standard(
            true,
            Ipv4Addr::new(192, 168, 122, 0),
            Ipv4Addr::new(0, 0, 0, 255),
        );
        let list = AccessList {
            name: "1".into(),
            entries: alloc::vec![entry],
        };
        let global = Ipv4Addr::new(10, 1, 1, 1);
        ModelNat::new(alloc::vec![SourceRule::overload(list, global)])
    }

    fn door(local: &str, global: &str) -> Door {
        Door {
            kind: DoorKind::Media,
            protocol: Protocol::Udp,
            inside_local: at(local),
            inside_global: at(global),
            lifetime: Duration::from_secs(60),
        }
    }

    #[test]
    fn a_door_leads_in_and_out_by_the_same_pair_for_everyone_until_it_closes() {
        let (mut nat, door) = (nat(), door("192.168.122.3:6000", "10.1.1.1:7000"));
        let into =
            |nat: &mut ModelNat, peer| nat.inward(START, Protocol::Udp, peer, door.inside_global);
        assert_eq!(into(&mut nat, PEER), Err(Refused::NoDoor));
        nat.apply(START, &DoorOp::Open(door));
        assert_eq!(into(&mut nat, PEER), Ok(door.inside_local));
        assert_eq!(into(&mut nat, OTHER), Ok(door.inside_local));
        let out = nat.outward(START, Protocol::Udp, door.inside_local, PEER);
        assert_eq!(out, Ok(door.inside_global));
        nat.apply(START, &DoorOp::Close(door));
        // The peer that was sent to has lost its way in, too.
        assert_eq!(into(&mut nat, PEER), Err(Refused::NoDoor));
    }

    #[test]
    fn a_door_is_for_its_protocol_only() {
        let (mut nat, door) = (nat(), door("192.168.122.3:6000", "10.1.1.1:6000"));
        nat.apply(START, &DoorOp::Open(door));
        let tcp = nat.inward(START, Protocol::Tcp, PEER, door.inside_global);
        assert_eq!(tcp, Err(Refused::NoDoor));
        assert_eq!(nat.door(START, Protocol::Tcp, door.inside_local), None);
        let kind = nat.door(START, Protocol::Udp, door.inside_local);
        assert_eq!(kind, Some(DoorKind::Media));
    }

    #[test]
    fn a_door_that_is_not_refreshed_ends_by_itself() {
        let (mut nat, door) = (nat(), door("192.168.122.3:6000", "10.1.1.1:6000"));
        nat.apply(START, &DoorOp::Open(door));
        let half = START + Duration::from_secs(30);
        nat.apply(half, &DoorOp::Refresh(door));
        let later = START + Duration::from_secs(61);
        let into = nat.inward(later, Protocol::Udp, PEER, door.inside_global);
        assert_eq!(into, Ok(door.inside_local));
        let end = half + Duration::from_secs(60);
        let into = nat.inward(end, Protocol::Udp, PEER, door.inside_global);
        assert_eq!(into, Err(Refused::NoDoor));
    }

    #[test]
    fn an_ordinary_mapping_is_one_toward_everyone_and_answered_by_whom_it_was_used() {
        let (mut nat, local) = (nat(), at("192.168.122.3:4000"));
        let global = nat.outward(START, Protocol::Udp, local, PEER).unwrap();
        assert_eq!(global, at("10.1.1.1:4000"));
        let into = nat.inward(START, Protocol::Udp, OTHER, global);
        assert_eq!(into, Err(Refused::NoDoor));
        assert_eq!(
            nat.outward(START, Protocol::Udp, local, OTHER),
            Ok(at("10.1.1.1:4000"))
        );
        assert_eq!(nat.inward(START, Protocol::Udp, OTHER, global), Ok(local));
        let idle = START + UDP_IDLE;
        let into = nat.inward(idle, Protocol::Udp, PEER, global);
        assert_eq!(into, Err(Refused::NoDoor));
    }

    #[test]
    fn two_hosts_with_one_port_get_two_of_the_same_parity() {
        let mut nat = nat();
        let mut global = |local| nat.outward(START, Protocol::Udp, at(local), PEER).unwrap();
        let (one, two) = (global("192.168.122.3:4000"), global("192.168.122.4:4000"));
        assert_ne!(one, two);
        assert_eq!((one.port() % 2, two.port() % 2), (0, 0));
    }

    #[test]
    fn a_door_ends_what_was_in_its_way() {
        let (mut nat, other) = (nat(), at("192.168.122.4:6000"));
        let own = nat.outward(START, Protocol::Udp, other, PEER);
        assert_eq!(own, Ok(at("10.1.1.1:6000")));
        nat.apply(
            START,
            &DoorOp::Open(door("192.168.122.3:6000", "10.1.1.1:6000")),
        );
        let moved = nat.outward(START, Protocol::Udp, other, PEER).unwrap();
        assert_ne!(moved, at("10.1.1.1:6000"));
        // The mapping that moved away takes nothing with it.
        let into = nat.inward(START, Protocol::Udp, PEER, at("10.1.1.1:6000"));
        assert_eq!(into, Ok(at("192.168.122.3:6000")));
    }

    #[test]
    fn closing_a_door_whose_port_is_anothers_by_now_does_nothing() {
        let mut nat = nat();
        let (old, new) = (
            door("192.168.122.3:6000", "10.1.1.1:6000"),
            door("192.168.122.4:6000", "10.1.1.1:6000"),
        );
        for op in [DoorOp::Open(old), DoorOp::Open(new), DoorOp::Close(old)] {
            nat.apply(START, &op);
        }
        let into = nat.inward(START, Protocol::Udp, PEER, new.inside_global);
        assert_eq!(into, Ok(new.inside_local));
    }

    #[test]
    fn who_is_not_translated_does_not_pass() {
        let out = nat().outward(START, Protocol::Udp, at("192.168.1.3:4000"), PEER);
        assert_eq!(out, Err(Refused::NotTranslated));
    }

    #[test]
    fn a_mapping_that_another_chose_is_kept() {
        let (mut nat, local) = (nat(), at("192.168.122.3:40001"));
        nat.map(START, Protocol::Tcp, local, at("10.1.1.1:1024"));
        let out = nat.outward(START, Protocol::Tcp, local, PEER);
        assert_eq!(out, Ok(at("10.1.1.1:1024")));
    }

    #[test]
    fn every_port_can_be_given_once_and_again_when_it_has_idled() {
        let mut nat = nat();
        for port in 0..64512u32 {
            let host = Ipv4Addr::from(0xC0A8_7A00 + 1 + port % 200);
            let local = SocketAddrV4::new(host, 1024 + u16::try_from(port).unwrap());
            assert!(nat.outward(START, Protocol::Tcp, local, PEER).is_ok());
        }
        let late = at("192.168.122.250:9");
        let refused = nat.outward(START, Protocol::Tcp, late, PEER);
        assert_eq!(refused, Err(Refused::NoPort));
        let idle = START + TCP_IDLE;
        assert!(nat.outward(idle, Protocol::Tcp, late, PEER).is_ok());
    }

    fn by(source: Source) -> SourceRule {
        SourceRule {
            source,
            payload: true,
        }
    }

    #[test]
    fn what_a_static_rule_gives_is_open_to_everyone_and_no_other_host_gets_it() {
        let host = by(Source::Static {
            local: Ipv4Addr::new(192, 168, 122, 20),
            global: Ipv4Addr::new(10, 1, 1, 20),
            prefix: 32,
        });
        let port = by(Source::StaticPort {
            protocol: Protocol::Udp,
            local: at("192.168.122.10:5060"),
            global: at("10.1.1.1:6000"),
        });
        let mut rules = nat().rules.sources;
        rules.splice(0..0, [port, host]);
        let mut nat = ModelNat::new(rules);
        let into = |nat: &mut ModelNat, global| nat.inward(START, Protocol::Udp, PEER, at(global));
        assert_eq!(into(&mut nat, "10.1.1.20:53"), Ok(at("192.168.122.20:53")));
        assert_eq!(
            into(&mut nat, "10.1.1.1:6000"),
            Ok(at("192.168.122.10:5060"))
        );
        let mut out = |local| nat.outward(START, Protocol::Udp, at(local), PEER).unwrap();
        assert_eq!(out("192.168.122.20:53"), at("10.1.1.20:53"));
        assert_eq!(out("192.168.122.10:5060"), at("10.1.1.1:6000"));
        let other = out("192.168.122.3:6000");
        assert_eq!(*other.ip(), Ipv4Addr::new(10, 1, 1, 1));
        assert_ne!(other.port(), 6000);
    }

    #[test]
    fn an_address_of_its_own_is_a_hosts_from_when_it_is_given_until_it_is_taken() {
        let everyone = AccessEntry::standard(true, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        let global = Ipv4Addr::new(10, 1, 1, 7);
        let mut nat = ModelNat::new(alloc::vec![by(Source::List {
            list: AccessList {
                name: "1".into(),
                entries: alloc::vec![everyone],
            },
            pool: crate::config::Pool {
                start: global,
                end: global,
                overload: false,
            },
        })]);
        let local = at("192.168.122.3:53");
        let out = |nat: &mut ModelNat| nat.outward(START, Protocol::Udp, local, PEER);
        assert_eq!(out(&mut nat), Err(Refused::NotTranslated));
        let host = *local.ip();
        nat.give(&AddressOp::Assign {
            local: host,
            global,
        });
        assert_eq!(out(&mut nat), Ok(at("10.1.1.7:53")));
        let into = nat.inward(START, Protocol::Udp, OTHER, at("10.1.1.7:99"));
        assert_eq!(into, Ok(at("192.168.122.3:99")));
        nat.give(&AddressOp::Release {
            local: host,
            global,
        });
        let into = nat.inward(START, Protocol::Udp, OTHER, at("10.1.1.7:99"));
        assert_eq!(into, Err(Refused::NoDoor));
    }
}
