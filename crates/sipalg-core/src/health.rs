//! How calls and registrations fare, as typed views, and what ails them, as far as the gateway can
//! know.

use crate::addr::{Ipv4Addr, Leg, SocketAddrV4};
use crate::door::{Door, MediaCount};
use crate::time::Instant;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// How long silence may last before it is an ailment: longer than comfort noise pauses and the
/// clock of the packet counts.
pub const SILENCE: Duration = Duration::from_secs(8);

/// How long an ACK may take: RFC 3261 section 17.2.1 repeats a 200 after T1, and doubles that.
const ACK_PATIENCE: Duration = Duration::from_secs(4);

/// How far a call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallState {
    /// Nobody has answered yet.
    Calling,
    /// Answered, and the ACK has not come.
    Answered,
    /// Answered and acknowledged.
    Up,
    /// The same, with the media on hold.
    Held,
    /// Not a call but a subscription.
    Subscribed,
    /// A BYE or CANCEL waits for its answer.
    Ending,
    /// Over.
    Ended,
}

/// Why a call is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Ending {
    /// That side sent a BYE.
    Bye(Leg),
    /// That side sent a CANCEL.
    Cancelled(Leg),
    /// It was refused with this status.
    Refused(u16),
    /// Nobody answered for its time.
    NoAnswer,
    /// Nothing was heard of it for its time.
    Silence,
    /// The subscription is over.
    Unsubscribed,
}

/// Where an address stands that leads nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeakPlace {
    /// A Contact.
    Contact,
    /// A Record-Route or Path.
    Route,
    /// The session description.
    Media,
}

/// Why an address in a message leads nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeakReason {
    /// No rule translates that inside host.
    NoRule,
    /// Its rule says `no-payload`.
    NoPayload,
    /// It is another host's, for which the sender may open no door.
    Foreign,
    /// A port below 1024, a limit, or no free port.
    Refused,
    /// It is an inside global address, but no mapping has that port.
    NoMapping,
    /// It is private, and its sender is not.
    Private,
}

/// An address in a message at which nobody can be reached from the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leak {
    /// Where it stands.
    pub place: LeakPlace,
    /// The side that named it.
    pub from: Leg,
    /// The address.
    pub address: SocketAddrV4,
    /// Why it leads nowhere.
    pub reason: LeakReason,
}

/// A 2xx to an INVITE that no ACK has answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unacknowledged {
    /// The CSeq of the INVITE.
    pub cseq: u32,
    /// Who sent it.
    pub from: Leg,
    /// How often it came.
    pub times: u32,
    /// When it came first.
    pub since: Instant,
}

/// What has been heard on a media door, by the packet counts of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MediaHeard {
    /// The counts.
    pub count: MediaCount,
    /// When packets from outside were last seen to have come.
    pub in_at: Option<Instant>,
    /// The same from inside.
    pub out_at: Option<Instant>,
}

impl MediaHeard {
    /// Takes note of the counts as they are now.
    pub fn note(&mut self, now: Instant, count: MediaCount) {
        // A count that fell is another door's at the same address.
        if count.in_packets < self.count.in_packets || count.out_packets < self.count.out_packets {
            *self = MediaHeard::default();
        }
        if count.in_packets > self.count.in_packets {
            self.in_at = Some(now);
        }
        if count.out_packets > self.count.out_packets {
            self.out_at = Some(now);
        }
        self.count = count;
    }
}

/// A call as it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallView {
    /// Its number since the start, from 1.
    pub number: u64,
    /// The bytes of its Call-ID.
    pub call_id: Vec<u8>,
    /// The inside host.
    pub host: Ipv4Addr,
    /// Whom it speaks with: the other end of the connection that the last message came by.
    pub peer: Option<SocketAddrV4>,
    /// Who began it, as far as the gateway has seen.
    pub began: Leg,
    /// How far it is.
    pub state: CallState,
    /// When it began.
    pub started: Instant,
    /// When it was answered.
    pub answered: Option<Instant>,
    /// When it ended, and why.
    pub ended: Option<(Instant, Ending)>,
    /// A 2xx that waits for its ACK.
    pub unacknowledged: Option<Unacknowledged>,
    /// An address that the inside host named and that leads nowhere.
    pub leak: Option<Leak>,
    /// The same of the outside.
    pub foreign_leak: Option<Leak>,
    /// Its doors, media by the order of their lines: of each line that for RTP comes first.
    pub doors: Vec<Door>,
    /// The inside ends of RTP, one a line.
    pub streams: Vec<SocketAddrV4>,
}

/// What ails a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ailment {
    /// A 2xx was repeated, and no ACK came.
    NotAcknowledged {
        /// Who sent the 2xx.
        from: Leg,
        /// How often.
        times: u32,
        /// For how long.
        since: Duration,
    },
    /// An address that leads nowhere.
    Leaked(Leak),
    /// No packets in that direction, while the other has some: one-way audio.
    OneWay {
        /// Who is not heard.
        from: Leg,
        /// The inside end of the door.
        inside_local: SocketAddrV4,
        /// For how long.
        since: Duration,
        /// Packets in the other direction.
        other: u64,
    },
    /// No packets in either direction.
    Silent {
        /// The inside end of the door.
        inside_local: SocketAddrV4,
        /// For how long.
        since: Duration,
    },
    /// It ended without anybody ending it.
    TimedOut(Ending),
}

impl CallView {
    /// What ails the call, the cause before its effect. `heard` are the packets at the inside end of
    /// a media door.
    pub fn ailments(
        &self,
        now: Instant,
        heard: impl Fn(SocketAddrV4) -> Option<MediaHeard>,
    ) -> Vec<Ailment> {
        let mut found = Vec::new();
        let leaks = [self.leak, self.foreign_leak].into_iter().flatten();
        found.extend(leaks.map(Ailment::Leaked));
        let until = self.ended.map_or(now, |(at, _)| at);
        if let Some(waits) = self.unacknowledged {
            let since = until.since(waits.since);
            if waits.times > 1 || since >= ACK_PATIENCE {
                found.push(Ailment::NotAcknowledged {
                    from: waits.from,
                    times: waits.times,
                    since,
                });
            }
        }
        if let (Some(answered), CallState::Answered | CallState::Up) = (self.answered, self.state) {
            let streams = self.streams.iter();
            found.extend(streams.filter_map(|at| hearing(now, answered, *at, heard(*at))));
        }
        if let Some((_, ending @ (Ending::NoAnswer | Ending::Silence))) = self.ended {
            found.push(Ailment::TimedOut(ending));
        }
        found
    }
}

/// What is wrong with one stream.
fn hearing(
    now: Instant,
    answered: Instant,
    inside_local: SocketAddrV4,
    heard: Option<MediaHeard>,
) -> Option<Ailment> {
    let heard = heard.unwrap_or_default();
    let since = |at: Option<Instant>| now.since(at.map_or(answered, |at| at.max(answered)));
    let (inward, outward) = (since(heard.in_at), since(heard.out_at));
    let one_way = |from, since, other| Ailment::OneWay {
        from,
        inside_local,
        since,
        other,
    };
    match (inward >= SILENCE, outward >= SILENCE) {
        (true, true) => Some(Ailment::Silent {
            inside_local,
            since: inward.min(outward),
        }),
        (true, false) => Some(one_way(Leg::Outside, inward, heard.count.out_packets)),
        (false, true) => Some(one_way(Leg::Inside, outward, heard.count.in_packets)),
        (false, false) => None,
    }
}

/// A registration as it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegistrationView {
    /// The bytes of the address-of-record.
    pub aor: Vec<u8>,
    /// The inside host.
    pub host: Ipv4Addr,
    /// The other end of the connection that it came by.
    pub registrar: SocketAddrV4,
    /// The contact's own end.
    pub inside_local: SocketAddrV4,
    /// How the registrar knows it.
    pub inside_global: SocketAddrV4,
    /// What the registrar granted.
    pub granted: Duration,
    /// When it and its door are gone, grace included.
    pub until: Instant,
    /// How long it had been gone when it was last registered anew: calls in that time failed.
    pub gap: Option<Duration>,
    /// When it expired, if it has: then calls fail until it is registered anew.
    pub gone: Option<Instant>,
}

/// A contact that a registrar was told and that leads nowhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreachable {
    /// The bytes of the address-of-record.
    pub aor: Vec<u8>,
    /// The inside host.
    pub host: Ipv4Addr,
    /// The address.
    pub leak: Leak,
    /// When.
    pub at: Instant,
}

/// Whether an address can be reached only from within its own network: RFC 1918, RFC 6598, RFC 3927
/// and loopback.
pub fn is_private(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || (first == 100 && (64..128).contains(&second))
}
