//! The mapping table: which inside local is which inside global, in both directions.
//!
//! Endpoint-independent (RFC 4787 REQ-1, RFC 5382 REQ-1): one inside local has one inside global
//! toward everyone while it lives, for TCP and UDP apart. A mapping may carry a door; without one,
//! nothing from outside is accepted through it. Knows nothing of SIP.

mod doors;
pub mod policy;

use crate::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use crate::config::{Limits, Timers as Lifetimes};
use crate::counters::Counters;
use crate::door::DoorKind;
use crate::slab::Slab;
use crate::time::Instant;
use crate::timer::{Armed, Key, Timers};
use alloc::vec::Vec;
use core::time::Duration;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Names a mapping for its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct MappingId(pub u32);

/// One mapping.
#[derive(Debug)]
pub struct Mapping {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The inside host's own address.
    pub local: SocketAddrV4,
    /// What the outside sees.
    pub global: SocketAddrV4,
    /// When it was made.
    pub created: Instant,
    /// When it was last used.
    pub used: Instant,
    /// Flows, calls and registrations that need it.
    holders: u32,
    door: Option<Wanted>,
    armed: Armed,
}

impl Mapping {
    /// When it is forgotten, if nobody holds it.
    pub fn idle_until(&self) -> Armed {
        self.armed
    }
}

/// A door that somebody wants.
#[derive(Debug)]
struct Wanted {
    kind: DoorKind,
    /// Calls and registrations that want it open.
    owners: u32,
    lifetime: Duration,
    /// Whether it is: not if it was refused or failed, until one more owner asks for it.
    open: bool,
}

/// Why nothing was mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// No port is free.
    NoPort,
    /// The table is full.
    Full,
}

/// A port that was a host's door and is not yet given to another.
#[derive(Debug)]
struct Bar {
    host: Ipv4Addr,
    armed: Armed,
}

/// The table.
#[derive(Debug)]
pub struct Nat {
    mappings: Slab<Mapping>,
    by_local: HashMap<(Protocol, SocketAddrV4), MappingId, FixedState>,
    by_global: HashMap<(Protocol, SocketAddrV4), MappingId, FixedState>,
    barred: HashMap<(Protocol, SocketAddrV4), Bar, FixedState>,
    doors_of_host: HashMap<Ipv4Addr, usize, FixedState>,
    /// Ports of the gateway's own services, sorted.
    reserved: Vec<(Protocol, u16)>,
    random: u64,
}

impl Nat {
    /// An empty table; `seed` makes ports unpredictable.
    pub fn new(seed: u64) -> Self {
        let state = FixedState::with_seed(seed);
        Nat {
            mappings: Slab::default(),
            by_local: HashMap::with_hasher(state.clone()),
            by_global: HashMap::with_hasher(state.clone()),
            barred: HashMap::with_hasher(state.clone()),
            doors_of_host: HashMap::with_hasher(state.clone()),
            reserved: Vec::new(),
            random: seed,
        }
    }

    /// Replaces the ports that are never given out.
    pub fn reserve(&mut self, ports: &[(Protocol, u16)]) {
        self.reserved = ports.to_vec();
        self.reserved.sort_unstable();
    }

    /// The mapping of an inside local.
    pub fn find_local(&self, protocol: Protocol, local: SocketAddrV4) -> Option<MappingId> {
        self.by_local.get(&(protocol, local)).copied()
    }

    /// The mapping of an inside global.
    pub fn find_global(&self, protocol: Protocol, global: SocketAddrV4) -> Option<MappingId> {
        self.by_global.get(&(protocol, global)).copied()
    }

    /// The mapping of that name.
    pub fn get(&self, id: MappingId) -> Option<&Mapping> {
        self.mappings.get(id.0)
    }

    /// All mappings, in the order of inside local addresses.
    pub fn list(&self) -> Vec<(MappingId, &Mapping)> {
        let mut list: Vec<_> = self
            .mappings
            .iter()
            .map(|(id, mapping)| (MappingId(id), mapping))
            .collect();
        list.sort_unstable_by_key(|(_, mapping)| (mapping.local, mapping.protocol));
        list
    }
}

/// Making and forgetting mappings.
impl Nat {
    /// The mapping of `local` on the address `global`, made if there is none. A new one is forgotten
    /// again unless somebody [`hold`](Self::hold)s it.
    ///
    /// # Errors
    /// The table is full, or no port is free.
    pub fn map(
        &mut self,
        cx: &mut Context<'_>,
        protocol: Protocol,
        local: SocketAddrV4,
        global: Ipv4Addr,
    ) -> Result<MappingId, MapError> {
        if let Some(id) = self.find_local(protocol, local) {
            if let Some(mapping) = self.mappings.get_mut(id.0) {
                mapping.used = cx.now;
            }
            return Ok(id);
        }
        self.map_run(cx, protocol, local, 1, global)
    }

    /// Maps `count` adjacent ports from `local` on to adjacent ones (RTP and RTCP: RFC 3550 section
    /// 11), and names the first. What is mapped already stays as it is, so that the others may be
    /// elsewhere: only the first is promised.
    ///
    /// # Errors
    /// The table is full, or no port is free.
    pub fn map_run(
        &mut self,
        cx: &mut Context<'_>,
        protocol: Protocol,
        local: SocketAddrV4,
        count: u16,
        global: Ipv4Addr,
    ) -> Result<MappingId, MapError> {
        if self.mappings.len() + usize::from(count) > cx.limits.mappings {
            cx.counters.mappings_full += 1;
            return Err(MapError::Full);
        }
        let first = match self.find_local(protocol, local) {
            Some(id) => self.get(id).map_or(0, |mapping| mapping.global.port()),
            None => {
                let mut random = self.random;
                let found =
                    policy::candidates(protocol, local.port(), count, || next_random(&mut random))
                        .find(|port| {
                            (*port..=port.saturating_add(count - 1)).all(|port| {
                                self.is_free(protocol, SocketAddrV4::new(global, port), *local.ip())
                            })
                        });
                self.random = random;
                found.ok_or_else(|| {
                    cx.counters.out_of_ports += 1;
                    MapError::NoPort
                })?
            }
        };
        for offset in 0..count {
            let (Some(local_port), Some(global_port)) =
                (local.port().checked_add(offset), first.checked_add(offset))
            else {
                break;
            };
            let local = SocketAddrV4::new(*local.ip(), local_port);
            let global = SocketAddrV4::new(global, global_port);
            if self.find_local(protocol, local).is_none()
                && self.is_free(protocol, global, *local.ip())
            {
                self.insert(cx, protocol, local, global);
            }
        }
        self.find_local(protocol, local).ok_or(MapError::NoPort)
    }

    /// The mapping was used.
    pub fn touch(&mut self, now: Instant, id: MappingId) {
        if let Some(mapping) = self.mappings.get_mut(id.0) {
            mapping.used = now;
        }
    }

    /// Keeps a mapping for one more flow, call or registration.
    pub fn hold(&mut self, cx: &mut Context<'_>, id: MappingId) {
        if let Some(mapping) = self.mappings.get_mut(id.0) {
            mapping.holders += 1;
            mapping.used = cx.now;
            cx.timers.disarm(&mut mapping.armed, Key::Mapping(id.0));
        }
    }

    /// Undoes one [`hold`](Self::hold). That is no use: another call may share the mapping, and its
    /// silence goes on.
    pub fn release(&mut self, cx: &mut Context<'_>, id: MappingId) {
        if let Some(mapping) = self.mappings.get_mut(id.0) {
            mapping.holders = mapping.holders.saturating_sub(1);
            if mapping.holders == 0 {
                let at = cx.now + cx.lifetimes.mapping_idle;
                cx.timers.arm(&mut mapping.armed, Key::Mapping(id.0), at);
            }
        }
    }

    /// The gateway itself uses this global port: moves a mapping that only `id`'s flow holds to
    /// another one.
    ///
    /// # Errors
    /// No port is free.
    pub fn move_away(
        &mut self,
        cx: &mut Context<'_>,
        id: MappingId,
    ) -> Result<SocketAddrV4, MapError> {
        let Some(mapping) = self
            .mappings
            .get(id.0)
            .filter(|mapping| mapping.holders <= 1)
        else {
            return Err(MapError::NoPort);
        };
        let (protocol, local, old) = (mapping.protocol, mapping.local, mapping.global);
        self.bar(cx, protocol, old, Ipv4Addr::UNSPECIFIED);
        let mut random = self.random;
        let port = policy::candidates(protocol, local.port(), 1, || next_random(&mut random))
            .find(|port| self.is_free(protocol, SocketAddrV4::new(*old.ip(), *port), *local.ip()));
        self.random = random;
        let global = SocketAddrV4::new(*old.ip(), port.ok_or(MapError::NoPort)?);
        self.by_global.remove(&(protocol, old));
        self.by_global.insert((protocol, global), id);
        if let Some(mapping) = self.mappings.get_mut(id.0) {
            mapping.global = global;
        }
        Ok(global)
    }

    /// A deadline of a mapping came.
    pub fn mapping_expired(&mut self, cx: &mut Context<'_>, id: MappingId) {
        if let Some(mapping) = self.mappings.get_mut(id.0) {
            mapping.armed = None;
            let idle_until = mapping.used + cx.lifetimes.mapping_idle;
            if mapping.holders > 0 {
                return;
            }
            if idle_until > cx.now {
                cx.timers
                    .arm(&mut mapping.armed, Key::Mapping(id.0), idle_until);
            } else {
                self.by_local.remove(&(mapping.protocol, mapping.local));
                self.by_global.remove(&(mapping.protocol, mapping.global));
                self.mappings.remove(id.0);
            }
        }
    }

    /// A deadline of a barred port came.
    pub fn bar_expired(&mut self, protocol: Protocol, global: SocketAddrV4) {
        self.barred.remove(&(protocol, global));
    }

    fn insert(
        &mut self,
        cx: &mut Context<'_>,
        protocol: Protocol,
        local: SocketAddrV4,
        global: SocketAddrV4,
    ) {
        let id = MappingId(self.mappings.insert(Mapping {
            protocol,
            local,
            global,
            created: cx.now,
            used: cx.now,
            holders: 0,
            door: None,
            armed: None,
        }));
        self.by_local.insert((protocol, local), id);
        self.by_global.insert((protocol, global), id);
        if let Some(mapping) = self.mappings.get_mut(id.0) {
            let at = cx.now + cx.lifetimes.mapping_idle;
            cx.timers.arm(&mut mapping.armed, Key::Mapping(id.0), at);
        }
    }

    fn is_free(&self, protocol: Protocol, global: SocketAddrV4, host: Ipv4Addr) -> bool {
        !self.by_global.contains_key(&(protocol, global))
            && self
                .reserved
                .binary_search(&(protocol, global.port()))
                .is_err()
            && self
                .barred
                .get(&(protocol, global))
                .is_none_or(|bar| bar.host == host)
    }

    fn bar(
        &mut self,
        cx: &mut Context<'_>,
        protocol: Protocol,
        global: SocketAddrV4,
        host: Ipv4Addr,
    ) {
        let bar = self
            .barred
            .entry((protocol, global))
            .or_insert(Bar { host, armed: None });
        bar.host = host;
        let at = cx.now + cx.lifetimes.quarantine;
        cx.timers
            .arm(&mut bar.armed, Key::Bar(protocol, global), at);
    }
}

/// What the tables need from the machine around them for one call.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time.
    pub now: Instant,
    /// Deadlines.
    pub timers: &'a mut Timers,
    /// Counters.
    pub counters: &'a mut Counters,
    /// Bounds.
    pub limits: &'a Limits,
    /// Lifetimes.
    pub lifetimes: &'a Lifetimes,
}

/// SplitMix64: small, and its state is secret.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::DoorOp;
    use crate::outbox::Outbox;

    struct World {
        nat: Nat,
        timers: Timers,
        counters: Counters,
        limits: Limits,
        lifetimes: Lifetimes,
    }

    impl World {
        fn new() -> Self {
            World {
                nat: Nat::new(7),
                timers: Timers::default(),
                counters: Counters::default(),
                limits: Limits::default(),
                lifetimes: Lifetimes::default(),
            }
        }

        fn with<T>(&mut self, act: impl FnOnce(&mut Nat, &mut Context<'_>) -> T) -> T {
            let mut cx = Context {
                now: Instant::ZERO,
                timers: &mut self.timers,
                counters: &mut self.counters,
                limits: &self.limits,
                lifetimes: &self.lifetimes,
            };
            act(&mut self.nat, &mut cx)
        }

        fn map(&mut self, local: &str, count: u16) -> SocketAddrV4 {
            let id = self.with(|nat, cx| nat.map_run(cx, Protocol::Udp, at(local), count, GLOBAL));
            self.nat.get(id.unwrap()).unwrap().global
        }
    }

    const GLOBAL: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 1);

    fn at(text: &str) -> SocketAddrV4 {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_is_kept_when_free_and_a_pair_stays_adjacent_when_not() {
        let mut world = World::new();
        assert_eq!(world.map("192.168.1.2:6000", 2), at("10.1.1.1:6000"));
        let second = world.map("192.168.1.3:6000", 2);
        assert!(second.port() != 6000 && second.port().is_multiple_of(2));
        let rtcp = world
            .nat
            .find_local(Protocol::Udp, at("192.168.1.3:6001"))
            .unwrap();
        assert_eq!(
            world.nat.get(rtcp).unwrap().global.port(),
            second.port() + 1
        );
        assert_eq!(world.map("192.168.1.2:6000", 2), at("10.1.1.1:6000"));
    }

    #[test]
    fn ports_of_the_gateway_and_below_1024_are_not_given() {
        let mut world = World::new();
        world.nat.reserve(&[(Protocol::Udp, 6001)]);
        assert_ne!(world.map("192.168.1.2:6000", 2), at("10.1.1.1:6000"));
        assert!(world.map("192.168.1.2:53", 1).port() >= 1024);
    }

    #[test]
    fn the_port_of_a_closed_door_is_barred_for_others_only() {
        let mut world = World::new();
        world.map("192.168.1.2:6000", 1);
        let id = world
            .nat
            .find_local(Protocol::Udp, at("192.168.1.2:6000"))
            .unwrap();
        let mut out = Outbox::default();
        world.with(|nat, cx| {
            assert!(nat.open_door(cx, id, DoorKind::Media, Duration::from_secs(9), &mut out));
            assert!(!nat.open_door(cx, id, DoorKind::Media, Duration::from_secs(9), &mut out));
            nat.close_door(cx, id, &mut out);
            assert!(nat.door(id).is_some());
            nat.close_door(cx, id, &mut out);
            cx.now = cx.now + Duration::from_secs(3600);
            nat.mapping_expired(cx, id);
        });
        assert!(matches!(out.doors[..], [DoorOp::Open(_), DoorOp::Close(_)]));
        assert_eq!(world.nat.doors_of("192.168.1.2".parse().unwrap()), 0);
        assert_ne!(world.map("192.168.1.3:6000", 1), at("10.1.1.1:6000"));
        assert_eq!(world.map("192.168.1.2:6000", 1), at("10.1.1.1:6000"));
    }

    #[test]
    fn a_mapping_lives_while_it_is_held() {
        let mut world = World::new();
        world.map("192.168.1.2:6000", 1);
        let id = world
            .nat
            .find_local(Protocol::Udp, at("192.168.1.2:6000"))
            .unwrap();
        world.with(|nat, cx| nat.hold(cx, id));
        assert_eq!(world.timers.next(), None);
        world.with(|nat, cx| nat.release(cx, id));
        assert!(world.timers.next().is_some());
    }

    #[test]
    fn every_port_can_be_given_and_then_none() {
        let mut world = World::new();
        for port in 0..32256u16 {
            let local = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 1024 + port * 2);
            let global = world.map(&local.to_string(), 1);
            assert_eq!(global.port() % 2, 0);
        }
        let refused =
            world.with(|nat, cx| nat.map(cx, Protocol::Udp, at("192.168.1.3:6000"), GLOBAL));
        assert_eq!(refused, Err(MapError::NoPort));
        assert_eq!(world.counters.out_of_ports, 1);
    }
}
