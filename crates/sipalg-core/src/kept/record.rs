//! What each record says, and its bytes: a version, and the fields as `postcard` writes them. The
//! order of the fields, and of the variants of what they are made of, is the format: a change needs
//! another [`VERSION`]. Records of any other are left out, so that who changes it and does not read
//! the old one as well loses the calls of those who upgrade.

use super::{At, Name, Note, Sink};
use crate::addr::{Ends, Ipv4Addr, Leg, SocketAddrV4};
use crate::door::DoorKind;
use crate::health::Ending;
use crate::time::Instant;
use crate::timer::{Armed, Timers};
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::time::Duration;
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

/// The version of the format.
const VERSION: u8 = 1;

/// Longer than any record of ours, bytes.
const LONGEST: usize = 256 * 1024;

/// What the machine counts, so that it goes on where it was.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Machine {
    /// Where its choice of ports is.
    pub random: u64,
    /// Flows that there have been.
    pub flows: u64,
    /// Calls that there have been.
    pub calls: u64,
}

/// An inside host's own address of a pool.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    pub global: Ipv4Addr,
    pub created: Instant,
    /// As a [`tick`].
    pub used: u64,
}

/// A port that is barred for all but one host.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Bar {
    pub host: Ipv4Addr,
    pub until: Instant,
}

/// A mapping. Who holds it is not said: they say it.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Mapping {
    pub global: SocketAddrV4,
    pub created: Instant,
    /// As a [`tick`].
    pub used: u64,
    /// If nobody holds it.
    pub idle_until: Option<Instant>,
    pub door: Option<Door>,
}

/// A door that somebody wants.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Door {
    pub kind: DoorKind,
    pub lifetime: Duration,
    pub open: bool,
}

/// A call.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Call<'a> {
    pub id: &'a [u8],
    pub host: Ipv4Addr,
    pub current: Vec<(u16, At)>,
    pub offered: Option<(u32, Vec<(u16, At)>)>,
    pub contacts: Vec<At>,
    pub dialogs: Vec<u64>,
    pub subscribed: Option<Instant>,
    pub held: bool,
    pub held_by_offer: Option<(u32, bool)>,
    pub ending: bool,
    /// As a [`tick`].
    pub last_media: u64,
    pub due: Option<Instant>,
    pub seen: Seen,
}

/// What is shown of a call, as far as it lasts.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub number: u64,
    pub began: Option<Leg>,
    pub started: Instant,
    pub peer: Option<SocketAddrV4>,
    pub answered: Option<Instant>,
    /// A 2xx without ACK: its CSeq, who sent it, and since when.
    pub unacknowledged: Option<(u32, Leg, Instant)>,
    pub ending: Option<Ending>,
}

/// A REGISTER that waits for its final response.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Pending<'a> {
    pub host: Ipv4Addr,
    pub cseq: u32,
    pub aor: u64,
    pub contacts: Vec<At>,
    pub paths: Vec<At>,
    pub all: bool,
    pub until: Option<Instant>,
    pub text: &'a [u8],
    pub registrar: SocketAddrV4,
}

/// A contact that a registrar has accepted.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Registration<'a> {
    pub host: Ipv4Addr,
    pub until: Instant,
    /// The flow that it came by: its name that is never used again.
    pub flow: u64,
    pub text: &'a [u8],
    pub registrar: SocketAddrV4,
    pub granted: Duration,
}

/// The spellings of a Call-ID.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Spellings<'a> {
    #[serde(borrow)]
    pub list: Vec<Spelling<'a>>,
    /// As a [`tick`].
    pub until: u64,
}

/// One replaced text.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Spelling<'a> {
    pub seen_by: Leg,
    pub family: crate::spelling::Family,
    pub written: &'a [u8],
    pub original: &'a [u8],
}

/// A flow.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Flow {
    /// Its name that is never used again.
    pub serial: u64,
    pub ends: Ends,
    /// Its inside host, and how the outside knows that.
    pub host: (Ipv4Addr, Ipv4Addr),
    pub accepted: Leg,
    pub mapping: Option<At>,
    pub answers: Option<At>,
    pub entered: Option<Ipv4Addr>,
    pub demoted: bool,
    pub plain: bool,
    pub hairpin: bool,
    /// When its door is refreshed.
    pub door: Option<Instant>,
    /// What is still to pass of a body that is too long, from inside and from outside.
    pub rests: [Option<Rest>; 2],
    /// Pings that wait for their answers: which are ours, and how many.
    pub pings: (u32, u8),
}

/// What is still to pass of a message whose body is too long.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rest {
    pub bytes: u64,
    /// Whether none has passed yet.
    pub begins: bool,
}

/// The tick of an instant; `bits` is the `use_tick` of the timers.
pub(crate) fn tick(at: Instant, bits: u8) -> u64 {
    at.as_micros().checked_shr(bits.into()).unwrap_or(0)
}

/// The last instant of a tick, as far as it has come: nothing seems older than it is, and what is
/// recorded and restored again and again grows no younger.
pub(crate) fn untick(tick: u64, bits: u8, now: Instant) -> Instant {
    let bits = u32::from(bits);
    let start = tick.checked_mul(1u64.checked_shl(bits).unwrap_or(0));
    let within = 1u64.checked_shl(bits).unwrap_or(0).wrapping_sub(1);
    let end = start.and_then(|start| start.checked_add(within));
    Instant::from_micros(end.unwrap_or(u64::MAX)).min(now)
}

/// The record in these bytes, if they are one.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (version, fields) = bytes.split_first()?;
    if *version != VERSION || bytes.len() > LONGEST {
        return None;
    }
    let (record, rest) = postcard::take_from_bytes(fields).ok()?;
    rest.is_empty().then_some(record)
}

/// Encodes records, and tells of those that have changed.
pub(crate) struct Recorder<'a> {
    state: FixedState,
    timers: &'a Timers,
    use_tick: u8,
    sink: &'a mut Sink<'a>,
    /// Memory to work in.
    name: Vec<u8>,
    bytes: Vec<u8>,
}

impl<'a> Recorder<'a> {
    /// Tells `sink`; `memory` may be what an earlier one has [left](Self::memory).
    pub fn new(
        memory: (Vec<u8>, Vec<u8>),
        (timers, use_tick): (&'a Timers, u8),
        sink: &'a mut Sink<'a>,
    ) -> Self {
        let (name, bytes) = memory;
        Recorder {
            state: FixedState::default(),
            timers,
            use_tick,
            sink,
            name,
            bytes,
        }
    }

    /// When an owner's deadline is.
    pub fn due(&self, armed: Armed) -> Option<Instant> {
        self.timers.due(armed)
    }

    /// The tick of an instant.
    pub fn tick(&self, at: Instant) -> u64 {
        tick(at, self.use_tick)
    }

    /// An object is as the record says: tells it, if that is new.
    pub fn is(&mut self, name: Name, note: &mut Note, record: &impl Serialize) {
        let mut bytes = core::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.push(VERSION);
        // It fails for a full buffer only, and this one grows.
        if let Ok(bytes) = postcard::to_extend(record, bytes) {
            if note.settle(self.state.hash_one(bytes.as_slice())) {
                self.name(name);
                (self.sink)(&self.name, Some(&bytes));
            }
            self.bytes = bytes;
        }
    }

    /// There is no such object any more.
    pub fn gone(&mut self, name: Name) {
        self.name(name);
        (self.sink)(&self.name, None);
    }

    /// The memory, to be used again.
    pub fn memory(self) -> (Vec<u8>, Vec<u8>) {
        (self.name, self.bytes)
    }

    fn name(&mut self, name: Name) {
        self.name.clear();
        name.write(&mut self.name);
    }
}
