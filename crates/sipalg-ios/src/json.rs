//! THE JSON of events: one object a line, for programs. `docs/manual/README.md` has the fields.
//!
//! What comes from the network is a string in which all that is not printable ASCII is escaped as in
//! debug lines (`\r`, `\x1b`), whatever its encoding.

use serde::Serialize;
use serde_json::{Value, json};
use sipalg_core::addr::Ends;
use sipalg_core::door::{Door, DoorKind};
use sipalg_core::event::{By, Demotion, MessageKind, Timed};
use sipalg_core::{Event, Leg};

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<Value>,
    #[serde(flatten)]
    fields: Value,
}

/// An event at `time`; of a flow: who speaks with whom, and the leg that something came in by.
pub fn event(time: &str, flow: Option<(Ends, Leg)>, event: &Event) -> String {
    let (name, fields) = parts(event);
    line(&Line {
        time,
        event: name,
        flow: flow.map(|(ends, from)| self::flow(&ends, from)),
        fields,
    })
}

/// A line of the gateway's own for its operator.
pub fn message(time: &str, text: &str) -> String {
    line(&Line {
        time,
        event: "message",
        flow: None,
        fields: json!({ "text": text }),
    })
}

/// Lines before this one that were not shown, since their reader was too slow.
pub fn dropped(lines: u64) -> String {
    json!({ "event": "dropped", "lines": lines }).to_string()
}

/// Who speaks with whom, and the leg that something came in by.
pub fn flow(ends: &Ends, from: Leg) -> Value {
    json!({
        "protocol": ends.protocol.name(),
        "inside_local": ends.inside_local,
        "inside_global": ends.inside_global,
        "outside": ends.outside,
        "from": leg(from),
    })
}

/// A leg's name.
pub fn leg(leg: Leg) -> &'static str {
    match leg {
        Leg::Inside => "inside",
        Leg::Outside => "outside",
    }
}

/// A door.
pub fn door(door: &Door) -> Value {
    json!({
        "kind": kind(door.kind),
        "protocol": door.protocol.name(),
        "inside_local": door.inside_local,
        "inside_global": door.inside_global,
        "lifetime": door.lifetime.as_secs(),
    })
}

/// By what a text was replaced. Rules count from 1.
pub fn cause(by: By, rule: Option<usize>) -> Value {
    let rule = rule.map(|rule| rule + 1);
    match by {
        By::Mapping {
            protocol,
            inside_local,
            inside_global,
        } => json!({
            "kind": "mapping",
            "protocol": protocol.name(),
            "inside_local": inside_local,
            "inside_global": inside_global,
            "rule": rule,
        }),
        By::Address {
            inside_local,
            inside_global,
        } => json!({
            "kind": "address",
            "inside_local": inside_local,
            "inside_global": inside_global,
            "rule": rule,
        }),
        By::Spelling => json!({ "kind": "spelling" }),
        By::Length => json!({ "kind": "length" }),
    }
}

/// Bytes from the network.
pub fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn line(line: &Line<'_>) -> String {
    // Neither a key that is no string nor a value that fails is among them.
    serde_json::to_string(line).unwrap_or_default()
}

/// The name of an event, and its fields.
fn parts(event: &Event) -> (&'static str, Value) {
    match event {
        Event::AlgNeeded => ("alg_needed", json!({})),
        Event::Received { bytes } => ("received", json!({ "bytes": bytes })),
        Event::HeaderComplete { header, body } => {
            ("header_complete", json!({ "header": header, "body": body }))
        }
        Event::FramerState {
            received,
            header_left,
            body_left,
            state,
            message,
        } => (
            "framer_state",
            json!({
                "received": received,
                "header_left": header_left,
                "body_left": body_left,
                "state": state,
                "message": message,
            }),
        ),
        Event::MessagesReceived(count) => ("messages_received", json!({ "count": count })),
        Event::Processing {
            kind: MessageKind::Request(method),
            ..
        } => ("processing", json!({ "method": text(method.as_bytes()) })),
        Event::Processing {
            kind: MessageKind::Response(status),
            ..
        } => ("processing", json!({ "status": status })),
        Event::Dialog { call_id, .. } => ("dialog", json!({ "call_id": text(call_id) })),
        Event::FieldVisited {
            register,
            door_created,
            ..
        } => (
            "field_visited",
            json!({ "register": register, "door_created": door_created }),
        ),
        Event::TranslatedAddress { from, to, .. } => (
            "translated_address",
            json!({ "old": from.ip(), "new": to.ip() }),
        ),
        Event::TranslatedPort { from, to, .. } => {
            ("translated_port", json!({ "old": from, "new": to }))
        }
        Event::ContactFound => ("contact_found", json!({})),
        Event::BodyFound { .. } => ("body_found", json!({})),
        Event::MediaLines(count) => ("media_lines", json!({ "count": count })),
        Event::MediaTranslated { from, to } => {
            ("media_translated", json!({ "old": from, "new": to }))
        }
        Event::SdpLength { old, new } => ("sdp_length", json!({ "old": old, "new": new })),
        Event::Edited {
            field,
            old,
            new,
            by,
            rule,
            dry_run,
            ..
        } => (
            "edited",
            json!({
                "field": text(field),
                "old": text(old),
                "new": text(new),
                "by": cause(*by, *rule),
                "dry_run": dry_run,
            }),
        ),
        Event::DoorWanted {
            kind: of,
            protocol,
            inside_local,
        } => (
            "door_wanted",
            json!({
                "kind": kind(*of),
                "protocol": protocol.name(),
                "inside_local": inside_local,
            }),
        ),
        Event::DryRun { edits, .. } => ("dry_run", json!({ "edits": edits })),
        Event::Timer { of, left } => {
            let of = match of {
                Timed::Call => "call",
                Timed::Registration => "registration",
            };
            ("timer", json!({ "of": of, "left": left.as_secs() }))
        }
        Event::DoorOpened(opened) => ("door_opened", door(opened)),
        Event::DoorRefreshed(refreshed) => ("door_refreshed", door(refreshed)),
        Event::DoorClosed(closed) => ("door_closed", door(closed)),
        Event::Demoted(why) => ("demoted", json!({ "reason": demotion(*why) })),
        Event::OutOfPorts {
            protocol,
            inside_local,
        } => (
            "out_of_ports",
            json!({ "protocol": protocol.name(), "inside_local": inside_local }),
        ),
        Event::PoolExhausted { host } => ("pool_exhausted", json!({ "host": host })),
        Event::TooManyEntries {
            protocol,
            inside_local,
        } => (
            "too_many_entries",
            json!({ "protocol": protocol.name(), "inside_local": inside_local }),
        ),
        Event::LimitReached {
            resource,
            host,
            share,
        } => (
            "limit_reached",
            json!({ "resource": resource.name(), "host": host, "share": share }),
        ),
        Event::TooSlow { host } => ("too_slow", json!({ "host": host })),
        Event::ForeignRequest { host } => ("foreign_request", json!({ "host": host })),
        Event::DoorRefused { inside_local } => {
            ("door_refused", json!({ "inside_local": inside_local }))
        }
        Event::Sent(bytes) => ("sent", json!({ "bytes": bytes })),
    }
}

fn kind(kind: DoorKind) -> &'static str {
    match kind {
        DoorKind::Signalling => "signalling",
        DoorKind::Media => "media",
    }
}

fn demotion(why: Demotion) -> &'static str {
    match why {
        Demotion::NotSip => "not_sip",
        Demotion::HeaderTooLong => "header_too_long",
        Demotion::DuplicateLength => "duplicate_length",
        Demotion::BadLength => "bad_length",
        Demotion::MixedLineEnds => "mixed_line_ends",
    }
}
