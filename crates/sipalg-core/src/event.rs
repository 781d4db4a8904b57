//! Everything that can be observed of the machine, as small typed values without text.
//!
//! Renderers (IOS debug lines, JSON, logs) turn these into words; nothing here is built unless
//! [`Outbox::watch`](crate::Outbox) asks for it, but for alarms: the operator must know of them.

use crate::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use crate::config::Resource;
use crate::door::{Door, DoorKind};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// What a message is, as far as a debug line names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MessageKind {
    /// A request, with its method as it was written (at most 32 bytes).
    Request(String),
    /// A response, with its status code.
    Response(u16),
}

/// Why a connection is passed unchanged from here on, for its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Demotion {
    /// The first bytes, or those after a message, begin no SIP start line.
    NotSip,
    /// Start line and headers exceed the limit.
    HeaderTooLong,
    /// Content-Length is given more than once.
    DuplicateLength,
    /// Content-Length is not a number that can be.
    BadLength,
    /// Line ends are neither all CRLF nor all LF.
    MixedLineEnds,
}

/// By what a text in a message was replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum By {
    /// A mapping, or a rule that leaves no choice: one end for the other.
    Mapping {
        /// TCP or UDP.
        protocol: Protocol,
        /// The inside host's own end.
        inside_local: SocketAddrV4,
        /// How the outside sees it.
        inside_global: SocketAddrV4,
    },
    /// The address alone of an inside host, where no port is meant.
    Address {
        /// The inside host.
        inside_local: Ipv4Addr,
        /// How the outside sees it.
        inside_global: Ipv4Addr,
    },
    /// What stood in its place before it was translated, where the rule alone would write it
    /// otherwise.
    Spelling,
    /// The length of a body that has changed.
    Length,
}

/// What a deadline is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Timed {
    /// A call: it ends, or is looked at again.
    Call,
    /// A registration: it ends unless it is refreshed.
    Registration,
}

/// One observation. `session` is the number in the brackets of IOS's debug lines: 0 for what came
/// from the inside, 1 for what came from the outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A flow was recognised as SIP and is being looked into.
    AlgNeeded,
    /// Bytes of a SIP flow arrived.
    Received {
        /// How many bytes of the stream are at hand for the message being framed.
        bytes: usize,
    },
    /// The header section of a message is whole.
    HeaderComplete {
        /// Start line, headers and the empty line, bytes.
        header: usize,
        /// What Content-Length says, bytes.
        body: usize,
    },
    /// How the framer stands after looking at what is there.
    FramerState {
        /// Bytes at hand for this message.
        received: usize,
        /// Bytes missing of the header section as far as known, or 0 (unknown counts as 0 only
        /// when the header is whole; otherwise 1).
        header_left: usize,
        /// Bytes missing of the body.
        body_left: usize,
        /// 0: message whole; 1: in the header; 2: in the body.
        state: u8,
        /// The whole message's length, or 0 while unknown.
        message: usize,
    },
    /// How many whole messages one read gave.
    MessagesReceived(usize),
    /// A message is about to be fixed up.
    Processing {
        /// See [`Event`].
        session: u8,
        /// Which message.
        kind: MessageKind,
    },
    /// An address-bearing header field was looked at.
    FieldVisited {
        /// See [`Event`].
        session: u8,
        /// Whether the field belongs to a registration.
        register: bool,
        /// Whether it opened a door.
        door_created: bool,
    },
    /// An address embedded in a header was rewritten.
    TranslatedAddress {
        /// See [`Event`].
        session: u8,
        /// As it was.
        from: SocketAddrV4,
        /// As it is now.
        to: SocketAddrV4,
    },
    /// A port embedded in a header was rewritten.
    TranslatedPort {
        /// See [`Event`].
        session: u8,
        /// As it was.
        from: u16,
        /// As it is now.
        to: u16,
    },
    /// A Contact field was found, and its `expires` parameter looked for.
    ContactFound,
    /// A body that is looked into was found.
    BodyFound {
        /// See [`Event`].
        session: u8,
    },
    /// How many `m=` lines the session description has.
    MediaLines(usize),
    /// An `m=` line's address and port were translated (also when only one changed).
    MediaTranslated {
        /// As it was.
        from: SocketAddrV4,
        /// As it is now.
        to: SocketAddrV4,
    },
    /// The session description's length before and after.
    SdpLength {
        /// Before, bytes.
        old: usize,
        /// After, bytes.
        new: usize,
    },
    /// In detail: which dialog the message belongs to.
    Dialog {
        /// See [`Event`].
        session: u8,
        /// The bytes of its Call-ID, at most 128.
        call_id: Vec<u8>,
    },
    /// In detail, or as what would happen: a text was replaced.
    Edited {
        /// See [`Event`].
        session: u8,
        /// The field, as the journal's `field_at` names it.
        field: Vec<u8>,
        /// As it was.
        old: Vec<u8>,
        /// As it is now.
        new: Vec<u8>,
        /// By what.
        by: By,
        /// Index in [`Config::sources`](crate::Config::sources) of the rule behind it.
        rule: Option<usize>,
        /// Whether it only would be: a dry run.
        dry_run: bool,
    },
    /// A dry run: this door would open.
    DoorWanted {
        /// What for.
        kind: DoorKind,
        /// For what.
        protocol: Protocol,
        /// Where it would lead.
        inside_local: SocketAddrV4,
    },
    /// The end of a dry run of one message, which passed unchanged.
    DryRun {
        /// See [`Event`].
        session: u8,
        /// How many texts would be replaced.
        edits: usize,
    },
    /// In detail: how long until a deadline.
    Timer {
        /// Of what.
        of: Timed,
        /// From now on.
        left: Duration,
    },
    /// In detail: a door opened.
    DoorOpened(Door),
    /// In detail: a door's lifetime began anew.
    DoorRefreshed(Door),
    /// In detail: a door closed.
    DoorClosed(Door),
    /// A connection is no longer looked into.
    Demoted(Demotion),
    /// No port was left to map this inside local address to; the message passed unchanged.
    OutOfPorts {
        /// Of which protocol.
        protocol: Protocol,
        /// For whom.
        inside_local: SocketAddrV4,
    },
    /// No address of its pool was left for this inside host; it is not translated. An alarm.
    PoolExhausted {
        /// For whom.
        host: Ipv4Addr,
    },
    /// One more mapping of this inside local address would be more than the operator allows
    /// (`max-entries`); the message passed unchanged. An alarm.
    TooManyEntries {
        /// Of which protocol.
        protocol: Protocol,
        /// For whom.
        inside_local: SocketAddrV4,
    },
    /// There is no room for one more of something for this inside host: what was asked for did not
    /// happen. An alarm, each now and then.
    LimitReached {
        /// Of what.
        resource: Resource,
        /// For whom.
        host: Ipv4Addr,
        /// How much the host may have; `None` if there is too much in all.
        share: Option<u64>,
    },
    /// An inside host spoke within a call that is another's: nothing was done to that call.
    ForeignRequest {
        /// The host that spoke.
        host: Ipv4Addr,
    },
    /// A connection is reset: a message on it was not whole in time.
    TooSlow {
        /// Its inside host.
        host: Ipv4Addr,
    },
    /// A message asked for a door that is refused (a port of a service, another host's address, or
    /// over a limit); it passed unchanged in that place.
    DoorRefused {
        /// The address that was asked for.
        inside_local: SocketAddrV4,
    },
    /// Bytes were handed to the other leg (from the worker, not the core).
    Sent(usize),
}

impl Event {
    /// Whether it is told only to those who want to know everything.
    pub fn is_detail(&self) -> bool {
        matches!(
            self,
            Event::Dialog { .. }
                | Event::Edited { dry_run: false, .. }
                | Event::Timer { .. }
                | Event::DoorOpened(_)
                | Event::DoorRefreshed(_)
                | Event::DoorClosed(_)
        )
    }

    /// The inside host that it is about, where the event itself says so.
    pub fn host(&self) -> Option<Ipv4Addr> {
        match self {
            Event::DoorOpened(door) | Event::DoorRefreshed(door) | Event::DoorClosed(door) => {
                Some(*door.inside_local.ip())
            }
            Event::OutOfPorts { inside_local, .. }
            | Event::TooManyEntries { inside_local, .. }
            | Event::DoorRefused { inside_local }
            | Event::DoorWanted { inside_local, .. } => Some(*inside_local.ip()),
            Event::PoolExhausted { host }
            | Event::LimitReached { host, .. }
            | Event::TooSlow { host }
            | Event::ForeignRequest { host } => Some(*host),
            _ => None,
        }
    }
}
