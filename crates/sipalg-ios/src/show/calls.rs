//! `show ip nat sip calls`, `call` and `registrations`: how they fare, and what ails them.

use super::{View, duration};
use crate::json;
use serde::Serialize;
use sipalg_core::addr::{Ipv4Addr, SocketAddrV4};
use sipalg_core::door::{Door, DoorKind};
use sipalg_core::health::{
    Ailment, CallState, CallView, Ending, Leak, LeakPlace, LeakReason, MediaHeard,
    RegistrationView, Unreachable,
};
use sipalg_core::{Instant, Leg};
use std::time::Duration;

/// `show ip nat sip calls`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Calls {
    calls: Vec<Row>,
    /// Those that have not ended.
    total: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Row {
    id: u64,
    call_id: String,
    inside_host: Ipv4Addr,
    peer: Option<SocketAddrV4>,
    state: &'static str,
    age_seconds: u64,
    doors: usize,
    packets_in: u64,
    packets_out: u64,
}

/// `show ip nat sip calls`. `heard` are the packets at the inside end of a media door.
pub fn calls(
    views: &[CallView],
    now: Instant,
    heard: impl Fn(SocketAddrV4) -> Option<MediaHeard>,
) -> Calls {
    let row = |view: &CallView| {
        let doors = view.doors.iter().filter(|_| view.ended.is_none());
        let counts = || doors.clone().filter_map(|door| heard(door.inside_local));
        Row {
            id: view.number,
            call_id: json::text(&view.call_id),
            inside_host: view.host,
            peer: view.peer,
            state: state(view.state),
            age_seconds: now.since(view.started).as_secs(),
            doors: doors.clone().count(),
            packets_in: counts().map(|heard| heard.count.in_packets).sum(),
            packets_out: counts().map(|heard| heard.count.out_packets).sum(),
        }
    };
    Calls {
        calls: views.iter().map(row).collect(),
        total: views.iter().filter(|view| view.ended.is_none()).count(),
    }
}

impl View for Calls {
    fn text(&self) -> String {
        let mut text = row([
            "Id",
            "State",
            "Inside host",
            "Peer",
            "Age",
            "Doors",
            "Pkts in",
            "Pkts out",
            "Call-ID",
        ]);
        for call in &self.calls {
            text += &row([
                &call.id.to_string(),
                call.state,
                &call.inside_host.to_string(),
                &peer(call.peer),
                &duration(Duration::from_secs(call.age_seconds)),
                &call.doors.to_string(),
                &call.packets_in.to_string(),
                &call.packets_out.to_string(),
                &call.call_id,
            ]);
        }
        text + &format!("Total calls: {}\n", self.total)
    }
}

/// `show ip nat sip call`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Call {
    #[serde(flatten)]
    call: Row,
    began: &'static str,
    answered_seconds_ago: Option<u64>,
    ended_seconds_ago: Option<u64>,
    ending: Option<String>,
    doors: Vec<CallDoor>,
    ailments: Vec<Told>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct CallDoor {
    kind: &'static str,
    protocol: &'static str,
    inside_local: SocketAddrV4,
    inside_global: SocketAddrV4,
    packets_in: Option<u64>,
    packets_out: Option<u64>,
}

/// An ailment: what it is, and what that means.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Told {
    ailment: &'static str,
    text: String,
}

/// `show ip nat sip call`: one of the calls by its number or its Call-ID, if it is known.
pub fn call(
    views: &[CallView],
    name: &str,
    now: Instant,
    heard: impl Fn(SocketAddrV4) -> Option<MediaHeard>,
) -> Option<Call> {
    let is_it =
        |view: &&CallView| view.number.to_string() == name || json::text(&view.call_id) == name;
    let view = views.iter().rev().find(is_it)?;
    let mut rows = calls(core::slice::from_ref(view), now, &heard).calls;
    let door = |door: &Door| {
        let is_media = door.kind == DoorKind::Media;
        let count = heard(door.inside_local).filter(|_| is_media);
        CallDoor {
            kind: super::sip::kind(door.kind),
            protocol: door.protocol.name(),
            inside_local: door.inside_local,
            inside_global: door.inside_global,
            packets_in: count.map(|heard| heard.count.in_packets),
            packets_out: count.map(|heard| heard.count.out_packets),
        }
    };
    let ago = |at: Instant| now.since(at).as_secs();
    Some(Call {
        call: rows.pop()?,
        began: json::leg(view.began),
        answered_seconds_ago: view.answered.map(ago),
        ended_seconds_ago: view.ended.map(|(at, _)| ago(at)),
        ending: view.ended.map(|(_, why)| ending(why)),
        doors: view.doors.iter().map(door).collect(),
        ailments: view
            .ailments(now, &heard)
            .iter()
            .map(|found| told(found, view))
            .collect(),
    })
}

impl View for Call {
    fn text(&self) -> String {
        let call = &self.call;
        let age = duration(Duration::from_secs(call.age_seconds));
        let mut text = format!(
            "Call {} is {}; it began {age} ago from {}\n  Call-ID {}\n  Inside host {}, peer {}\n",
            call.id,
            call.state,
            self.began,
            call.call_id,
            call.inside_host,
            peer(call.peer)
        );
        let ago = |seconds: u64| duration(Duration::from_secs(seconds));
        if let Some(seconds) = self.answered_seconds_ago {
            text += &format!("  Answered {} ago\n", ago(seconds));
        }
        if let (Some(seconds), Some(why)) = (self.ended_seconds_ago, &self.ending) {
            text += &format!("  Ended {} ago: {why}\n", ago(seconds));
        }
        for door in &self.doors {
            let packets = match (door.packets_in, door.packets_out) {
                (Some(came), Some(left)) => format!(", {came} packets in, {left} out"),
                _ => String::new(),
            };
            text += &format!(
                "  Door {} {} {}->{}{packets}\n",
                door.kind, door.protocol, door.inside_global, door.inside_local
            );
        }
        if self.ailments.is_empty() {
            return text + "Nothing ails it, as far as the gateway can know\n";
        }
        text += "What ails it:\n";
        for told in &self.ailments {
            text += &format!("  {}\n", told.text);
        }
        text
    }
}

/// `show ip nat sip registrations`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Registrations {
    registrations: Vec<Registered>,
    unreachable: Vec<Leaked>,
    /// Those that have not expired.
    total: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Registered {
    aor: String,
    inside_local: SocketAddrV4,
    inside_global: SocketAddrV4,
    registrar: SocketAddrV4,
    granted_seconds: u64,
    seconds_left: u64,
    /// It has expired that long ago.
    gone_seconds: Option<u64>,
    /// It had been gone that long when it was registered anew.
    gap_seconds: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Leaked {
    aor: String,
    inside_host: Ipv4Addr,
    seconds_ago: u64,
    text: String,
}

/// `show ip nat sip registrations`.
pub fn registrations<'a>(
    views: &[RegistrationView],
    unreachable: impl Iterator<Item = &'a Unreachable>,
    now: Instant,
) -> Registrations {
    let registered = |view: &RegistrationView| Registered {
        aor: json::text(&view.aor),
        inside_local: view.inside_local,
        inside_global: view.inside_global,
        registrar: view.registrar,
        granted_seconds: view.granted.as_secs(),
        seconds_left: match view.gone {
            Some(_) => 0,
            None => view.until.since(now).as_secs(),
        },
        gone_seconds: view.gone.map(|at| now.since(at).as_secs()),
        gap_seconds: view.gap.map(|gap| gap.as_secs()),
    };
    let leaked = |unreachable: &Unreachable| Leaked {
        aor: json::text(&unreachable.aor),
        inside_host: unreachable.host,
        seconds_ago: now.since(unreachable.at).as_secs(),
        text: leak(&unreachable.leak),
    };
    Registrations {
        registrations: views.iter().map(registered).collect(),
        unreachable: unreachable.map(leaked).collect(),
        total: views.iter().filter(|view| view.gone.is_none()).count(),
    }
}

impl View for Registrations {
    fn text(&self) -> String {
        let line = |[global, local, registrar, left, aor]: [&str; 5]| {
            format!("{global:<21} {local:<21} {registrar:<21} {left:<9} {aor}\n")
        };
        let mut text = line([
            "Inside global",
            "Inside local",
            "Registrar",
            "Left",
            "Address of record",
        ]);
        let span = |seconds: u64| duration(Duration::from_secs(seconds));
        for registered in &self.registrations {
            let left = match registered.gone_seconds {
                Some(_) => "gone".into(),
                None => span(registered.seconds_left),
            };
            text += &line([
                &registered.inside_global.to_string(),
                &registered.inside_local.to_string(),
                &registered.registrar.to_string(),
                &left,
                &registered.aor,
            ]);
            if let Some(gone) = registered.gone_seconds {
                text += &format!(
                    "    gone for {}, and not registered anew: calls to it fail\n",
                    span(gone)
                );
            }
            if let Some(gap) = registered.gap_seconds {
                text += &format!(
                    "    was gone for {gap} s before it was registered anew: calls to it failed \
                     meanwhile\n"
                );
            }
        }
        for leaked in &self.unreachable {
            text += &format!(
                "{} of {}, {} ago: {}\n",
                leaked.aor,
                leaked.inside_host,
                span(leaked.seconds_ago),
                leaked.text
            );
        }
        text + &format!("Total registrations: {}\n", self.total)
    }
}

fn row(columns: [&str; 9]) -> String {
    let [
        id,
        state,
        host,
        peer,
        age,
        doors,
        packets_in,
        packets_out,
        call_id,
    ] = columns;
    format!(
        "{id:>6} {state:<10} {host:<15} {peer:<21} {age:<9} {doors:>5} {packets_in:>9} \
         {packets_out:>9} {call_id}\n"
    )
}

fn peer(peer: Option<SocketAddrV4>) -> String {
    peer.map_or("-".into(), |peer| peer.to_string())
}

fn state(state: CallState) -> &'static str {
    match state {
        CallState::Calling => "calling",
        CallState::Answered => "answered",
        CallState::Up => "up",
        CallState::Held => "held",
        CallState::Subscribed => "subscribed",
        CallState::Ending => "ending",
        CallState::Ended => "ended",
    }
}

fn ending(why: Ending) -> String {
    match why {
        Ending::Bye(from) => format!("BYE from {}", json::leg(from)),
        Ending::Cancelled(from) => format!("CANCEL from {}", json::leg(from)),
        Ending::Refused(status) => format!("refused with {status}"),
        Ending::NoAnswer => "nobody answered within its time".into(),
        Ending::Silence => "nothing was heard of it within its time".into(),
        Ending::Unsubscribed => "the subscription is over".into(),
    }
}

fn told(ailment: &Ailment, view: &CallView) -> Told {
    let (ailment, text) = match ailment {
        Ailment::NotAcknowledged { from, times, since } => {
            let other = json::leg(from.other());
            let leak = match from {
                Leg::Inside => view.leak,
                Leg::Outside => view.foreign_leak,
            };
            let why = match leak.filter(|leak| leak.place != LeakPlace::Media) {
                Some(leak) => format!("it is sent to {}, see above", leak.address),
                None => format!("the {other} did not get the 200, or its ACK goes elsewhere"),
            };
            let from = json::leg(*from);
            (
                "not_acknowledged",
                format!(
                    "No ACK: the 200 from {from} came {times} times in {} s, and no ACK from \
                     {other}: {why}; the call will end after 32 s",
                    since.as_secs()
                ),
            )
        }
        Ailment::Leaked(found) => ("leaked", leak(found)),
        Ailment::OneWay {
            from,
            inside_local,
            since,
            other,
        } => {
            let (from, to) = (json::leg(*from), json::leg(from.other()));
            (
                "one_way",
                format!(
                    "One-way audio: no RTP from {from} at the door of {inside_local} for {} s, \
                     while {other} packets have come from {to}",
                    since.as_secs()
                ),
            )
        }
        Ailment::Silent {
            inside_local,
            since,
        } => (
            "silent",
            format!(
                "No audio: no RTP in either direction at the door of {inside_local} for {} s",
                since.as_secs()
            ),
        ),
        Ailment::TimedOut(why) => ("timed_out", format!("Given up: {}", ending(*why))),
    };
    Told { ailment, text }
}

fn leak(leak: &Leak) -> String {
    let place = match leak.place {
        LeakPlace::Contact => "Contact",
        LeakPlace::Route => "Record-Route or Path",
        LeakPlace::Media => "session description",
    };
    let why = match leak.reason {
        LeakReason::NoRule => "which no `ip nat inside source` rule translates",
        LeakReason::NoPayload => "whose rule says `no-payload`",
        LeakReason::Foreign => {
            "another inside host's, for which it may open no door; see \
             `ip nat service sip trusted`"
        }
        LeakReason::Refused => {
            "for which no door was made: its port is below 1024, a limit is reached, or no port \
             is free"
        }
        LeakReason::NoMapping => "an inside global address that nobody has at that port",
        LeakReason::Private => "a private address, which cannot be reached from here",
    };
    let from = json::leg(leak.from);
    format!("The {place} from {from} names {}, {why}", leak.address)
}
