//! `show ip nat sip messages` and `show ip nat sip message`: what passed, and what was changed in it.

use super::{View, duration};
use crate::debug::{Cause, kind_name};
use crate::json;
use core::fmt::Write;
use serde::{Serialize, Serializer};
use serde_json::Value;
use sipalg_core::Instant;
use sipalg_core::Leg;
use sipalg_core::addr::{Ends, SocketAddrV4};
use sipalg_core::config::{Source, SourceRule};
use sipalg_core::door::Door;
use sipalg_core::event::By;
use sipalg_core::journal::MessageView;
use std::time::Duration;

/// `show ip nat sip messages`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Messages {
    messages: Vec<Row>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
struct Row {
    id: u64,
    #[serde(rename = "seconds_ago", serialize_with = "seconds")]
    ago: Duration,
    protocol: &'static str,
    from: &'static str,
    inside_local: SocketAddrV4,
    outside: SocketAddrV4,
    start_line: String,
    edits: usize,
    doors: usize,
    dry_run: bool,
}

/// `show ip nat sip messages`: those that are kept, the oldest first.
pub fn messages<'a>(kept: impl Iterator<Item = MessageView<'a>>, now: Instant) -> Messages {
    let row = |message: MessageView<'_>| Row {
        id: message.id,
        ago: now.since(message.at),
        protocol: message.ends.protocol.name(),
        from: json::leg(message.from),
        inside_local: message.ends.inside_local,
        outside: message.ends.outside,
        start_line: json::text(lines(message.bytes).next().map_or(&[], |(_, line)| line)),
        edits: message.edits.len(),
        doors: message.doors.len(),
        dry_run: message.dry_run,
    };
    Messages {
        messages: kept.map(row).collect(),
    }
}

impl View for Messages {
    fn text(&self) -> String {
        let mut text = format!(
            "{:>7} {:<9} {:<3} {:<7} {:<21} {:<21} {:>5} Start line\n",
            "Id", "Ago", "Pro", "From", "Inside local", "Outside global", "Edits"
        );
        for row in &self.messages {
            let note = if row.dry_run { " (dry run)" } else { "" };
            // A String takes everything.
            let _ = writeln!(
                text,
                "{:>7} {:<9} {:<3} {:<7} {:<21} {:<21} {:>5} {}{note}",
                row.id,
                duration(row.ago),
                row.protocol,
                row.from,
                row.inside_local,
                row.outside,
                row.edits,
                row.start_line
            );
        }
        text + &format!("Total messages: {}\n", self.messages.len())
    }
}

/// `show ip nat sip message`: one of them with all its edits.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Message {
    id: u64,
    #[serde(rename = "seconds_ago", serialize_with = "seconds")]
    ago: Duration,
    #[serde(serialize_with = "flow")]
    flow: (Ends, Leg),
    /// Bytes.
    came: usize,
    left: usize,
    kept: usize,
    /// Those that were changed have both forms.
    lines: Vec<Line>,
    edits: Vec<Edit>,
    #[serde(serialize_with = "doors")]
    doors: Vec<Door>,
    /// What left, without its edits, is what came. Not known of a dry run.
    proven: Option<bool>,
    dry_run: bool,
    #[serde(skip)]
    diff: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
struct Line {
    came: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<String>,
    /// Which of the edits are in it.
    #[serde(skip)]
    edits: core::ops::Range<usize>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
struct Edit {
    field: String,
    old: String,
    new: String,
    #[serde(serialize_with = "cause")]
    by: (By, Option<usize>),
    #[serde(rename = "rule", skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

/// `show ip nat sip message`. `rules` are those in force, `rule_behind` the index of the one that an
/// edit is by. With `diff` the text has only what was changed.
pub fn message(
    message: &MessageView<'_>,
    rules: &[SourceRule],
    rule_behind: impl Fn(By) -> Option<usize>,
    now: Instant,
    diff: bool,
) -> Message {
    let edits: Vec<Edit> = message
        .edits
        .iter()
        .map(|edit| {
            let index = rule_behind(edit.by);
            Edit {
                field: json::text(edit.field),
                old: json::text(edit.old),
                new: json::text(edit.new),
                by: (edit.by, index),
                rule: index.and_then(|index| Some(rule_text(rules.get(index)?))),
            }
        })
        .collect();
    let grown = message.edits.iter().filter(|_| !message.dry_run);
    let (more, less) = grown.fold((0, 0), |(more, less), edit| {
        (more + edit.new.len(), less + edit.old.len())
    });
    Message {
        id: message.id,
        ago: now.since(message.at),
        flow: (message.ends, message.from),
        came: message.length,
        left: message.length + more - less,
        kept: message.bytes.len(),
        lines: lines(message.bytes)
            .map(|(start, line)| changed(message, start, line))
            .collect(),
        edits,
        doors: message.doors.to_vec(),
        proven: (!message.dry_run).then_some(message.proven),
        dry_run: message.dry_run,
        diff,
    }
}

impl View for Message {
    fn text(&self) -> String {
        let (ends, from) = &self.flow;
        let mut text = format!(
            "Message {}, {} ago, {} from {}\n",
            self.id,
            duration(self.ago),
            ends.protocol.name(),
            json::leg(*from)
        );
        let inside = format!("{} ({})", ends.inside_local, ends.inside_global);
        let outside = ends.outside.to_string();
        let (from, to) = match from {
            Leg::Inside => (inside, outside),
            Leg::Outside => (outside, inside),
        };
        text += &format!("  {from} -> {to}\n");
        let would = if self.dry_run { ", dry run" } else { "" };
        text += &format!(
            "  {} bytes came, {} left; {} edits{would}\n",
            self.came,
            self.left,
            self.edits.len()
        );
        if self.kept < self.came {
            text += &format!("  Only the first {} bytes are kept\n", self.kept);
        }
        for line in &self.lines {
            text += &self.line(line);
        }
        if !self.doors.is_empty() {
            text += "Doors opened:\n";
        }
        for door in &self.doors {
            text += &format!(
                "  {} {} {}->{}, lifetime {} s\n",
                kind_name(door.kind),
                door.protocol.name(),
                door.inside_global,
                door.inside_local,
                door.lifetime.as_secs()
            );
        }
        text += match self.proven {
            Some(true) => "Check: what left, without its edits, is what came\n",
            Some(false) => "Check FAILED: what left, without its edits, is not what came\n",
            None => "Check: dry run, what left is what came\n",
        };
        text
    }
}

impl Message {
    fn line(&self, line: &Line) -> String {
        let Some(left) = &line.left else {
            return match self.diff {
                true => String::new(),
                false => format!(" {}\n", line.came),
            };
        };
        let mut text = format!("-{}\n+{left}\n", line.came);
        for edit in self.edits.get(line.edits.clone()).unwrap_or_default() {
            let Edit {
                field, old, new, ..
            } = edit;
            let cause = Cause(edit.by.0, edit.by.1);
            let rule = edit.rule.as_ref();
            let rule = rule.map_or(String::new(), |rule| format!(": {rule}"));
            text += &format!("   {field} {old} -> {new}\n     {cause}{rule}\n");
        }
        text
    }
}

/// A line of the message, with what it became.
fn changed(message: &MessageView<'_>, start: usize, line: &[u8]) -> Line {
    let end = start + line.len();
    let first = message.edits.partition_point(|edit| edit.place < start);
    let last = message.edits.partition_point(|edit| edit.place < end);
    let mut left = Vec::new();
    let mut at = start;
    for edit in message.edits.get(first..last).unwrap_or_default() {
        left.extend_from_slice(message.bytes.get(at..edit.place).unwrap_or_default());
        left.extend_from_slice(edit.new);
        at = edit.place + edit.old.len();
    }
    left.extend_from_slice(message.bytes.get(at..end).unwrap_or_default());
    Line {
        came: json::text(line),
        left: (first < last).then(|| json::text(&left)),
        edits: first..last,
    }
}

/// The lines of a message without their ends, with the place where each begins.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut start = 0;
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(move |line| {
            let place = start;
            start += line.len();
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            (place, line.strip_suffix(b"\r").unwrap_or(line))
        })
}

/// A rule in the words of its configuration, with the addresses that it gives.
fn rule_text(rule: &SourceRule) -> String {
    match &rule.source {
        Source::List { list, pool } => {
            let overload = if pool.overload { " overload" } else { "" };
            match pool.start == pool.end {
                true => format!("list {} to {}{overload}", list.name, pool.start),
                false => format!(
                    "list {} to {}-{}{overload}",
                    list.name, pool.start, pool.end
                ),
            }
        }
        Source::Static {
            local,
            global,
            prefix: 32,
        } => format!("static {local} {global}"),
        Source::Static {
            local,
            global,
            prefix,
        } => format!("static network {local} {global} /{prefix}"),
        Source::StaticPort {
            protocol,
            local,
            global,
        } => format!(
            "static {} {} {} {} {}",
            protocol.name(),
            local.ip(),
            local.port(),
            global.ip(),
            global.port()
        ),
    }
}

fn seconds<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(span.as_secs_f64())
}

fn flow<S: Serializer>(flow: &(Ends, Leg), serializer: S) -> Result<S::Ok, S::Error> {
    json::flow(&flow.0, flow.1).serialize(serializer)
}

fn doors<S: Serializer>(doors: &[Door], serializer: S) -> Result<S::Ok, S::Error> {
    doors
        .iter()
        .map(json::door)
        .collect::<Vec<Value>>()
        .serialize(serializer)
}

fn cause<S: Serializer>(by: &(By, Option<usize>), serializer: S) -> Result<S::Ok, S::Error> {
    json::cause(by.0, by.1).serialize(serializer)
}
