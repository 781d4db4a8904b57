//! A gateway to try things on: two inside nets, and a kernel that checks what it is told.

use sipalg_core::addr::{Ipv4Addr, SocketAddrV4};
use sipalg_core::config::{
    AccessEntry, AccessList, Limits, Pool, Resource, Source, SourceRule, Timers,
};
use sipalg_core::{Config, Door, DoorOp, Protocol};
use std::collections::BTreeMap;
use std::time::Duration;

/// 192.168.122.0/24 behind 10.1.1.1 and 192.168.5.0/24 behind 10.1.1.9, with small tables and short
/// times, so that every bound and deadline is met.
pub fn config() -> Config {
    Config {
        sources: rules(0),
        fixup: true,
        limits: Limits {
            media_lines: 4,
            contacts: 3,
            ..Limits::default()
                .with(Resource::Mapping, 40)
                .with(Resource::Door, 12)
                .with(Resource::Call, 6)
                .with(Resource::Registration, 4)
        },
        timers: Timers {
            media_inactivity: Duration::from_secs(30),
            call_silence: Duration::from_secs(90),
            ..Timers::default()
        },
        ..Config::default()
    }
}

/// The same two nets under other rules, as the operator may change them; 0 are those of [`config`].
pub fn rules(nth: usize) -> Vec<SourceRule> {
    let (one, nine) = ([10, 1, 1, 1].into(), [10, 1, 1, 9].into());
    let (first, second) = (list("1", [192, 168, 122, 0]), list("2", [192, 168, 5, 0]));
    let phone = Ipv4Addr::new(192, 168, 122, 3);
    let rule = |source| SourceRule {
        source,
        payload: true,
    };
    let over = SourceRule::overload;
    match nth % 5 {
        1 => vec![
            rule(Source::StaticPort {
                protocol: Protocol::Tcp,
                local: SocketAddrV4::new(phone, 5060),
                global: SocketAddrV4::new(one, 5061),
            }),
            over(first, one),
            over(second, nine),
        ],
        2 => vec![
            rule(Source::Static {
                local: phone,
                global: nine,
                prefix: 32,
            }),
            over(first, one),
            over(second, one),
        ],
        3 => {
            let pool = Pool {
                start: nine,
                end: nine,
                overload: false,
            };
            let own = rule(Source::List { list: first, pool });
            vec![own, over(second, one)]
        }
        4 => vec![over(first, nine), over(second, nine)],
        _ => vec![over(first, one), over(second, nine)],
    }
}

fn list(name: &str, net: [u8; 4]) -> AccessList {
    let entry = AccessEntry::standard(true, net.into(), [0, 0, 0, 255].into());
    AccessList {
        name: name.into(),
        entries: vec![entry],
    }
}

/// The same with the usual bounds and times.
pub fn roomy() -> Config {
    Config {
        limits: Limits::default(),
        timers: Timers::default(),
        ..config()
    }
}

/// Whether an address is an inside host's.
pub fn is_inside(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [192, 168, 122 | 5, _])
}

/// Whether an address is an inside global.
pub fn is_global(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [10, 1, 1, 1 | 9])
}

/// The doors as the kernel has them.
#[derive(Debug, Default)]
pub struct Kernel {
    doors: BTreeMap<(Protocol, SocketAddrV4), Door>,
}

impl Kernel {
    /// Does what it is told, and panics if that cannot be done.
    pub fn obey(&mut self, ops: &[DoorOp]) {
        for op in ops {
            let door = *op.door();
            let name = (door.protocol, door.inside_local);
            match op {
                DoorOp::Open(_) => {
                    assert!(!self.doors.contains_key(&name), "opened twice: {door:?}");
                    let taken = self.doors.values().any(|other| {
                        (other.protocol, other.inside_global) == (door.protocol, door.inside_global)
                    });
                    assert!(!taken, "two owners: {door:?}");
                    assert!(
                        is_inside(*door.inside_local.ip()) && is_global(*door.inside_global.ip())
                    );
                    let (local, global) = (door.inside_local.port(), door.inside_global.port());
                    assert!(
                        global >= 1024 || global == local,
                        "a service's port: {door:?}"
                    );
                    self.doors.insert(name, door);
                }
                DoorOp::Refresh(_) => {
                    let known = self.doors.get_mut(&name).expect("refreshed while closed");
                    assert_eq!(known.inside_global, door.inside_global);
                    *known = door;
                }
                DoorOp::Close(_) => {
                    let gone = self.doors.remove(&name).expect("closed while closed");
                    assert_eq!(gone.inside_global, door.inside_global);
                }
            }
        }
    }

    /// Forgets the `nth` door, as if it could not be made.
    pub fn fail(&mut self, nth: usize) -> Option<Door> {
        let name = *self.doors.keys().nth(nth)?;
        self.doors.remove(&name)
    }

    /// What it has, in the order of inside locals.
    pub fn doors(&self) -> impl Iterator<Item = &Door> {
        self.doors.values()
    }
}
