//! THE debug text: what `debug ip nat sip` prints for each event.
//!
//! The lines are those of Cisco's "NAT TCP SIP ALG Support", spacing included; what that document
//! has no line for follows its manner. The timestamp is the caller's. Bytes from the network are
//! escaped, so that no message can forge a line or a terminal code.

use core::fmt::{self, Write};
use sipalg_core::addr::{Ends, SocketAddrV4};
use sipalg_core::door::{Door, DoorKind};
use sipalg_core::event::{By, Demotion, MessageKind, Timed};
use sipalg_core::{Event, Leg};

/// The application type of SIP in `NAT-ALG` lines.
const APPL_TYPE_SIP: u8 = 7;

/// Gives each line of an event to `line`, without timestamp or line end.
pub fn lines(event: &Event, line: &mut dyn FnMut(&str)) {
    let mut text = String::new();
    let mut say = |args: fmt::Arguments<'_>| {
        text.clear();
        // A String takes everything.
        let _ = text.write_fmt(args);
        line(&text);
    };
    match event {
        Event::AlgNeeded => {
            say(format_args!(
                "NAT-L4F:setting ALG_NEEDED flag in subblock for SIP message"
            ));
        }
        Event::Received { bytes } => {
            say(format_args!(
                "NAT-ALG: lookup=0 l7_bytes_recd={bytes} appl_type={APPL_TYPE_SIP}"
            ));
        }
        Event::HeaderComplete { header, body } => {
            say(format_args!(
                "NAT-ALG: Complete SIP Message header of size: {header}"
            ));
            say(format_args!("NAT-ALG: Message body length: {body}"));
            say(format_args!(
                "NAT-ALG: Total SIP message length: {}",
                header.saturating_add(*body)
            ));
        }
        Event::FramerState {
            received,
            header_left,
            body_left,
            state,
            message,
        } => {
            say(format_args!("NAT-ALG: after state machine:"));
            say(format_args!("NAT-ALG: l7_bytes_recd={received}"));
            say(format_args!("NAT-ALG: remaining_hdr_sz={header_left}"));
            say(format_args!("NAT-ALG: remaining_payl_sz={body_left}"));
            say(format_args!("NAT-ALG: tcp_alg_state={state}"));
            say(format_args!("NAT-ALG: complete_msg_len={message}"));
        }
        Event::MessagesReceived(count) => {
            say(format_args!(
                "NAT-SIP-TCP: Number of SIP messages received: {count}"
            ));
        }
        Event::Processing {
            session,
            kind: MessageKind::Request(method),
        } => {
            let method = method.as_bytes().escape_ascii();
            say(format_args!(
                "NAT: SIP: [{session}] processing {method} message"
            ));
        }
        Event::Processing {
            session,
            kind: MessageKind::Response(status),
        } => {
            say(format_args!(
                "NAT: SIP: [{session}] processing {status} message"
            ));
        }
        Event::FieldVisited {
            session,
            register,
            door_created,
        } => {
            let (register, door_created) = (u8::from(*register), u8::from(*door_created));
            say(format_args!(
                "NAT: SIP: [{session}] register:{register} door_created:{door_created}"
            ));
        }
        Event::TranslatedAddress { session, from, to } => {
            let (from, to) = (from.ip(), to.ip());
            say(format_args!(
                "NAT: SIP: [{session}] translated embedded address {from}->{to}"
            ));
        }
        Event::TranslatedPort { session, from, to } => {
            say(format_args!(
                "NAT: SIP: [{session}] translate embedded port {from}->{to}"
            ));
        }
        Event::ContactFound => {
            say(format_args!("NAT: SIP: Contact header found"));
            say(format_args!("NAT: SIP: Trying to find expires parameter"));
        }
        Event::BodyFound { session } => {
            say(format_args!("NAT: SIP: [{session}] message body found"));
        }
        Event::MediaLines(count) => say(format_args!("NAT: SIP: Media Lines present:{count}")),
        Event::MediaTranslated { from, to } => say(format_args!(
            "NAT: SIP: Translated global m=({}, {}) -> ({}, {})",
            from.ip(),
            from.port(),
            to.ip(),
            to.port()
        )),
        Event::SdpLength { old, new } => {
            say(format_args!(
                "NAT: SIP: old_sdp_len:{old} new_sdp_len :{new}"
            ));
        }
        Event::Dialog { session, call_id } => say(format_args!(
            "NAT: SIP: [{session}] Call-ID {}",
            call_id.escape_ascii()
        )),
        Event::Edited {
            session,
            field,
            old,
            new,
            by,
            rule,
            dry_run,
        } => {
            let changed = if *dry_run { "would change" } else { "changed" };
            let (field, old, new) = (field.escape_ascii(), old.escape_ascii(), new.escape_ascii());
            let cause = Cause(*by, *rule);
            say(format_args!(
                "NAT: SIP: [{session}] {changed} {field} {old}->{new} {cause}"
            ));
        }
        Event::DoorWanted {
            kind,
            protocol,
            inside_local,
        } => say(format_args!(
            "NAT: SIP: would open {} door {} for {inside_local}",
            kind_name(*kind),
            protocol.name()
        )),
        Event::DryRun { session, edits } => say(format_args!(
            "NAT: SIP: [{session}] dry run: {edits} edits, message passed unchanged"
        )),
        Event::Timer { of, left } => {
            let of = match of {
                Timed::Call => "call",
                Timed::Registration => "registration",
            };
            say(format_args!("NAT: SIP: {of} timer {} s", left.as_secs()));
        }
        Event::DoorOpened(door) => say(format_args!(
            "NAT: SIP: opened {}, lifetime {} s",
            Through(door),
            door.lifetime.as_secs()
        )),
        Event::DoorRefreshed(door) => say(format_args!(
            "NAT: SIP: refreshed {}, lifetime {} s",
            Through(door),
            door.lifetime.as_secs()
        )),
        Event::DoorClosed(door) => say(format_args!("NAT: SIP: closed {}", Through(door))),
        Event::Demoted(why) => {
            say(format_args!(
                "NAT: SIP: connection is passed unchanged: {}",
                reason(*why)
            ));
        }
        Event::OutOfPorts {
            protocol,
            inside_local,
        } => say(format_args!(
            "NAT: SIP: no {} port left for {inside_local}, message passed unchanged",
            protocol.name()
        )),
        Event::PoolExhausted { host } => say(format_args!(
            "NAT: SIP: no pool address left for {host}, passed unchanged"
        )),
        Event::TooManyEntries {
            protocol,
            inside_local,
        } => say(format_args!(
            "NAT: SIP: no more {} translations allowed for {inside_local}, message passed unchanged",
            protocol.name()
        )),
        Event::LimitReached { resource, host, .. } => say(format_args!(
            "NAT: SIP: limit of {} reached for {host}",
            resource.name()
        )),
        Event::TooSlow { host } => say(format_args!(
            "NAT: SIP: message of {host} not whole in time, connection reset"
        )),
        Event::ForeignRequest { host } => say(format_args!(
            "NAT: SIP: {host} speaks of the call of another host, nothing done"
        )),
        Event::DoorRefused { inside_local } => {
            say(format_args!(
                "NAT: SIP: door refused for {inside_local}, address passed unchanged"
            ));
        }
        Event::Sent(bytes) => {
            say(format_args!("l4f_send returns {bytes} bytes"));
            say(format_args!("Complete buffer written to proxy"));
        }
    }
}

/// A door in words.
struct Through<'a>(&'a Door);

impl fmt::Display for Through<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Door {
            kind,
            protocol,
            inside_local,
            inside_global,
            ..
        } = self.0;
        write!(
            f,
            "{} door {} {inside_global}->{inside_local}",
            kind_name(*kind),
            protocol.name()
        )
    }
}

/// The line with which detailed output begins what came in on a flow: who speaks with whom, as
/// `debug ip nat detailed` of IOS writes it.
pub fn flow_line(ends: &Ends, from: Leg) -> String {
    let end = |end: SocketAddrV4| format!("({}, {})", end.ip(), end.port());
    let (outside, protocol) = (end(ends.outside), ends.protocol.name());
    match from {
        Leg::Inside => {
            let (local, global) = (end(ends.inside_local), end(ends.inside_global));
            format!("NAT: i: {protocol} {local} -> {outside} as {global}")
        }
        Leg::Outside => {
            let (local, global) = (end(ends.inside_local), end(ends.inside_global));
            format!("NAT: o: {protocol} {outside} -> {global} to {local}")
        }
    }
}

/// By what a text was replaced, in words. Rules count from 1, in the order in which
/// they are tried.
pub struct Cause(pub By, pub Option<usize>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            By::Mapping {
                protocol,
                inside_local,
                inside_global,
            } => {
                let protocol = protocol.name();
                write!(f, "by mapping {protocol} {inside_global}->{inside_local}")?;
            }
            By::Address {
                inside_local,
                inside_global,
            } => write!(f, "by address {inside_global}->{inside_local}")?,
            By::Spelling => return f.write_str("by the text that stood there before"),
            By::Length => return f.write_str("by the length of the body"),
        }
        match self.1 {
            Some(rule) => write!(f, ", rule {}", rule + 1),
            None => f.write_str(", by a rule that is gone"),
        }
    }
}

/// What a door is for, in a word.
pub(crate) fn kind_name(kind: DoorKind) -> &'static str {
    match kind {
        DoorKind::Signalling => "signalling",
        DoorKind::Media => "media",
    }
}

fn reason(why: Demotion) -> &'static str {
    match why {
        Demotion::NotSip => "no SIP start line",
        Demotion::HeaderTooLong => "header too long",
        Demotion::DuplicateLength => "several Content-Length fields",
        Demotion::BadLength => "bad Content-Length",
        Demotion::MixedLineEnds => "mixed line ends",
    }
}
