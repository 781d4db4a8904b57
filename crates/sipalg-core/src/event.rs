//! Everything that can be observed of the machine, as small typed values without text.
//!
//! Renderers (IOS debug lines, JSON, logs) turn these into words; nothing here is built unless
//! [`Outbox::watch`](crate::Outbox) asks for it, but for alarms: the operator must know of them.

use crate::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use crate::door::Door;
use alloc::string::String;

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
    /// A door opened.
    DoorOpened(Door),
    /// A door closed.
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
    /// A message asked for a door that is refused (a media port below 1024, another host's
    /// address, or over a limit); it passed unchanged in that place.
    DoorRefused {
        /// The address that was asked for.
        inside_local: SocketAddrV4,
    },
    /// Bytes were handed to the other leg (from the worker, not the core).
    Sent(usize),
}
