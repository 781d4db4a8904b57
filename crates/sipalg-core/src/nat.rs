//! The mapping table: which inside local is which inside global, in both directions.
//!
//! Endpoint-independent (RFC 4787 REQ-1, RFC 5382 REQ-1): one inside local has one inside global
//! toward everyone while it lives, for TCP and UDP apart. A mapping may carry a door; without one,
//! nothing from outside is accepted through it. Knows nothing of SIP.

mod addresses;
mod clear;
mod doors;
mod kept;
mod loads;
mod names;
pub mod policy;
mod renew;
mod room;
mod rules;
mod usage;

use crate::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use crate::admission::Admission;
use crate::config::Config;
use crate::counters::Counters;
use crate::door::DoorKind;
use crate::event::Event;
use crate::kept::{At, Note, Table, tick};
use crate::outbox::Outbox;
use crate::slab::Slab;
use crate::time::Instant;
use crate::timer::{Armed, Key, Timers};
use alloc::vec::Vec;
use core::time::Duration;
use foldhash::fast::FixedState;

pub use clear::Clear;
pub use doors::may_lead;
pub use usage::Peak;

use addresses::Addresses;
use loads::Loads;
use names::{End, Names};
use rules::Place;

/// Names a mapping for its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct MappingId(pub u32);

/// One mapping: one cache line.
#[derive(Debug)]
#[repr(align(64))]
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
    standing: Standing,
    /// Flows, calls and registrations that need it.
    holders: u32,
    door: Option<Wanted>,
    armed: Armed,
    note: Note,
}

const _: () = assert!(size_of::<Option<Mapping>>() == 64);

/// Why a mapping is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// Somebody needed it.
    Dynamic,
    /// A static port's: with or without holders.
    Static,
    /// It is not there any more, but its holders still name it.
    Ended,
}

impl Mapping {
    /// The deadline at which it is forgotten, if nobody holds it.
    pub fn idle_until(&self) -> Armed {
        self.armed
    }

    /// Whether it is a static port's.
    pub fn is_static(&self) -> bool {
        self.standing == Standing::Static
    }
}

/// A door that somebody wants.
#[derive(Debug)]
struct Wanted {
    kind: DoorKind,
    /// Calls and registrations that want it open.
    owners: u32,
    /// Microseconds.
    lifetime: u64,
    /// Whether it is: not if it was refused or failed, until one more owner asks for it.
    open: bool,
}

impl Wanted {
    /// Nobody's yet, and closed.
    fn new(kind: DoorKind, lifetime: Duration) -> Self {
        let mut wanted = Wanted {
            kind,
            owners: 0,
            lifetime: 0,
            open: false,
        };
        wanted.set_lifetime(lifetime);
        wanted
    }

    fn lifetime(&self) -> Duration {
        Duration::from_micros(self.lifetime)
    }

    fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = u64::try_from(lifetime.as_micros()).unwrap_or(u64::MAX);
    }
}

/// Why nothing was mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// No port is free.
    NoPort,
    /// The table is full.
    Full,
    /// More than the operator allows.
    TooMany,
    /// No address of the pool is free.
    NoAddress,
    /// No rule translates it.
    NoRule,
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
    by_local: Names<false>,
    by_global: Names<true>,
    barred: Table<At, Bar>,
    addresses: Addresses,
    loads: Loads,
    /// Ports of the gateway's own services, sorted.
    reserved: Vec<(Protocol, u16)>,
    peak: Peak,
    /// When room may be looked for again, after there was hardly any.
    room_at: Instant,
    random: u64,
    /// What was made since a trial began.
    trial: Option<Vec<MappingId>>,
}

impl Nat {
    /// An empty table; `seed` makes ports unpredictable.
    pub fn new(seed: u64) -> Self {
        let state = FixedState::with_seed(seed);
        Nat {
            mappings: Slab::default(),
            by_local: Names::new(state.clone()),
            by_global: Names::new(state.clone()),
            barred: Table::new(state),
            addresses: Addresses::default(),
            loads: Loads::default(),
            reserved: Vec::new(),
            peak: Peak::default(),
            room_at: Instant::ZERO,
            random: seed,
            trial: None,
        }
    }

    /// Replaces the ports that are never given out.
    pub fn reserve(&mut self, ports: &[(Protocol, u16)]) {
        self.reserved = ports.to_vec();
        self.reserved.sort_unstable();
    }

    /// The mapping of an inside local.
    pub fn find_local(&self, protocol: Protocol, local: SocketAddrV4) -> Option<MappingId> {
        self.by_local
            .find(&self.mappings, End::new(protocol, local))
    }

    /// The mapping of an inside global.
    pub fn find_global(&self, protocol: Protocol, global: SocketAddrV4) -> Option<MappingId> {
        self.by_global
            .find(&self.mappings, End::new(protocol, global))
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
            .filter(|(_, mapping)| mapping.standing != Standing::Ended)
            .collect();
        list.sort_unstable_by_key(|(_, mapping)| (mapping.local, mapping.protocol));
        list
    }
}

/// Making and forgetting mappings.
impl Nat {
    /// The mapping of `local`, made by the rules if there is none: on the address `at`, if they allow
    /// that. A new one is forgotten again unless somebody [`hold`](Self::hold)s it.
    ///
    /// # Errors
    /// Nothing is mapped; it has been counted and told.
    pub fn map(
        &mut self,
        cx: &mut Context<'_>,
        protocol: Protocol,
        local: SocketAddrV4,
        at: Option<Ipv4Addr>,
        out: &mut Outbox,
    ) -> Result<MappingId, MapError> {
        if let Some(id) = self.find_local(protocol, local) {
            self.touch(cx, id);
            return Ok(id);
        }
        self.map_run(cx, protocol, local, 1, at, out)
    }

    /// Maps `count` adjacent ports from `local` on to adjacent ones (RTP and RTCP: RFC 3550 section
    /// 11), and names the first. What is mapped already stays as it is, so that the others may be
    /// elsewhere: only the first is promised.
    ///
    /// # Errors
    /// Nothing is mapped; it has been counted and told.
    pub fn map_run(
        &mut self,
        cx: &mut Context<'_>,
        protocol: Protocol,
        local: SocketAddrV4,
        count: u16,
        at: Option<Ipv4Addr>,
        out: &mut Outbox,
    ) -> Result<MappingId, MapError> {
        self.admit(cx, protocol, local, count, out)?;
        let first = match self.find_local(protocol, local) {
            Some(id) => self.get(id).map_or(0, |mapping| mapping.global.port()),
            None => match self.place(cx, protocol, local, at, out)? {
                Place::Exact(global) => global.port(),
                Place::Shared(address) => {
                    let port = self.free_ports(cx.config, protocol, local, count, address);
                    port.ok_or_else(|| out_of_ports(cx, protocol, local, out))?
                }
            },
        };
        for offset in 0..count {
            let (Some(local_port), Some(global_port)) =
                (local.port().checked_add(offset), first.checked_add(offset))
            else {
                break;
            };
            let local = SocketAddrV4::new(*local.ip(), local_port);
            if self.find_local(protocol, local).is_some() {
                continue;
            }
            let Ok(place) = self.place(cx, protocol, local, at, out) else {
                break;
            };
            let (global, free) = match place {
                Place::Exact(global) => (global, self.find_global(protocol, global).is_none()),
                Place::Shared(address) => {
                    let global = SocketAddrV4::new(address, global_port);
                    (
                        global,
                        self.is_free(cx.config, protocol, global, *local.ip()),
                    )
                }
            };
            if free {
                self.insert(cx, protocol, local, global);
            }
        }
        let first = self.find_local(protocol, local);
        first.ok_or_else(|| out_of_ports(cx, protocol, local, out))
    }

    /// From here on mappings are made for a trial.
    pub fn begin_trial(&mut self) {
        self.trial = Some(Vec::new());
    }

    /// The trial is over: takes its mappings away again.
    pub fn end_trial(&mut self, cx: &mut Context<'_>) {
        for id in self.trial.take().unwrap_or_default() {
            self.end(cx, id);
        }
    }

    /// The mapping was used.
    pub fn touch(&mut self, cx: &Context<'_>, id: MappingId) {
        self.mappings.update(id.0, |mapping| {
            cx.is_another_use(core::mem::replace(&mut mapping.used, cx.now))
        });
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
            match mapping.standing {
                _ if mapping.holders > 0 => {}
                Standing::Dynamic => {
                    let at = cx.now + cx.config.timers.mapping_idle;
                    cx.timers.arm(&mut mapping.armed, Key::Mapping(id.0), at);
                }
                Standing::Static => {}
                Standing::Ended => {
                    self.mappings.remove(id.0);
                }
            }
        }
    }

    /// The gateway itself uses this global port: moves a mapping that only `id`'s flow holds to
    /// another one.
    ///
    /// # Errors
    /// No port is free, or a rule wants it there.
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
        if self.is_exact(cx.config, protocol, local) {
            return Err(MapError::NoPort);
        }
        self.bar(cx, protocol, old, Ipv4Addr::UNSPECIFIED);
        let port = self.free_ports(cx.config, protocol, local, 1, *old.ip());
        let global = SocketAddrV4::new(*old.ip(), port.ok_or(MapError::NoPort)?);
        self.by_global.remove(&self.mappings, id);
        self.set_global(id, global);
        Ok(global)
    }

    /// A mapping that has no name by its inside global has this one from now on.
    fn set_global(&mut self, id: MappingId, global: SocketAddrV4) {
        if let Some(mapping) = self.mappings.get_mut(id.0) {
            mapping.global = global;
        }
        self.by_global.insert(&self.mappings, id);
    }

    /// A deadline of a mapping came.
    pub fn mapping_expired(&mut self, cx: &mut Context<'_>, id: MappingId) {
        if let Some(mapping) = self.mappings.get_mut(id.0) {
            mapping.armed.came();
            let idle_until = mapping.used + cx.config.timers.mapping_idle;
            if mapping.holders > 0 {
                return;
            }
            if idle_until > cx.now {
                cx.timers
                    .arm(&mut mapping.armed, Key::Mapping(id.0), idle_until);
            } else {
                cx.counters.mappings_expired += 1;
                self.end(cx, id);
            }
        }
    }

    /// A deadline of a barred port came.
    pub fn bar_expired(&mut self, protocol: Protocol, global: SocketAddrV4) {
        self.barred.remove(&(protocol, global));
    }

    /// The first of `count` adjacent ports that are free on the address `global`.
    fn free_ports(
        &mut self,
        config: &Config,
        protocol: Protocol,
        local: SocketAddrV4,
        count: u16,
        global: Ipv4Addr,
    ) -> Option<u16> {
        let mut random = self.random;
        let is_free = |port| {
            let global = SocketAddrV4::new(global, port);
            self.is_free(config, protocol, global, *local.ip())
        };
        let found = policy::candidates(protocol, local.port(), count, || next_random(&mut random))
            .find(|port| (*port..=port.saturating_add(count - 1)).all(is_free));
        self.random = random;
        found
    }

    fn insert(
        &mut self,
        cx: &mut Context<'_>,
        protocol: Protocol,
        local: SocketAddrV4,
        global: SocketAddrV4,
    ) {
        let id = self.insert_as(cx.now, Standing::Dynamic, protocol, local, global);
        self.loads.add(cx, *local.ip());
        if let Some(mapping) = self.mappings.get_mut(id.0) {
            let at = cx.now + cx.config.timers.mapping_idle;
            cx.timers.arm(&mut mapping.armed, Key::Mapping(id.0), at);
        }
    }

    fn insert_as(
        &mut self,
        now: Instant,
        standing: Standing,
        protocol: Protocol,
        local: SocketAddrV4,
        global: SocketAddrV4,
    ) -> MappingId {
        let id = MappingId(self.mappings.insert(Mapping {
            protocol,
            local,
            global,
            created: now,
            used: now,
            standing,
            holders: 0,
            door: None,
            armed: Armed::default(),
            note: Note::default(),
        }));
        self.by_local.insert(&self.mappings, id);
        self.by_global.insert(&self.mappings, id);
        if let Some(made) = &mut self.trial {
            made.push(id);
        }
        self.note_peak(now);
        id
    }

    /// Takes a mapping out of the table. Those who hold it may go on naming it; nobody else gets its
    /// name before they let go.
    fn end(&mut self, cx: &mut Context<'_>, id: MappingId) {
        let Some(mapping) = self.mappings.get_mut(id.0) else {
            return;
        };
        cx.timers.disarm(&mut mapping.armed, Key::Mapping(id.0));
        let before = core::mem::replace(&mut mapping.standing, Standing::Ended);
        let local = mapping.local;
        let held = mapping.holders > 0;
        self.by_local.remove(&self.mappings, id);
        self.by_global.remove(&self.mappings, id);
        if before == Standing::Dynamic {
            self.loads.remove(cx, *local.ip());
            self.host_seen(cx, *local.ip());
        }
        if !held {
            self.mappings.remove(id.0);
        }
    }

    /// Whether a dynamic mapping of `host` may have this inside global.
    fn is_free(
        &self,
        config: &Config,
        protocol: Protocol,
        global: SocketAddrV4,
        host: Ipv4Addr,
    ) -> bool {
        self.find_global(protocol, global).is_none()
            && config.fixed_local(protocol, global).is_none()
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
        let key = (protocol, global);
        let new = || Bar {
            host,
            armed: Armed::default(),
        };
        let bar = self.barred.get_or_insert(key, new);
        bar.host = host;
        let at = cx.now + cx.config.timers.quarantine;
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
    /// Who has how much.
    pub admission: &'a mut Admission,
    /// Rules, bounds and lifetimes.
    pub config: &'a Config,
}

impl Context<'_> {
    /// Whether it is recorded that something is used now that was last used then.
    pub fn is_another_use(&self, then: Instant) -> bool {
        let bits = self.config.timers.use_tick;
        tick(then, bits) != tick(self.now, bits)
    }
}

fn out_of_ports(
    cx: &mut Context<'_>,
    protocol: Protocol,
    inside_local: SocketAddrV4,
    out: &mut Outbox,
) -> MapError {
    cx.counters.out_of_ports += 1;
    no_port(protocol, inside_local, out);
    MapError::NoPort
}

fn no_port(protocol: Protocol, inside_local: SocketAddrV4, out: &mut Outbox) {
    out.event(|| Event::OutOfPorts {
        protocol,
        inside_local,
    });
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
mod tests;
