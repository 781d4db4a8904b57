//! What is told of a message, and kept of it: to whoever watches, and to the journal.

use super::Alg;
use super::flow::Passage;
use super::message::What;
use crate::addr::{Leg, Protocol, SocketAddrV4};
use crate::door::DoorOp;
use crate::event::{By, Event, MessageKind, Timed};
use crate::fixup::edit::Edit;
use crate::frame::Message;
use crate::health::{CallView, RegistrationView, Unreachable};
use crate::journal::{MessageView, Record, field_at};
use crate::outbox::Outbox;
use crate::sip::StartLine;
use alloc::string::String;
use alloc::vec::Vec;

/// How much of a Call-ID is told.
const MOST_OF_CALL_ID: usize = 128;

/// How much of the name of a field is told.
const MOST_OF_FIELD: usize = 64;

/// How much of a method is told.
const MOST_OF_METHOD: usize = 32;

/// How full the outbox was before a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    bytes: usize,
    doors: usize,
}

impl Mark {
    pub fn of(out: &Outbox) -> Mark {
        Mark {
            bytes: out.bytes.len(),
            doors: out.doors.len(),
        }
    }
}

impl Passage {
    /// The number in the brackets of debug lines.
    pub fn session(&self) -> u8 {
        match self.from {
            Leg::Inside => 0,
            Leg::Outside => 1,
        }
    }
}

impl Alg {
    /// The last messages, the oldest first.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = MessageView<'_>> {
        self.journal.messages()
    }

    /// Calls and subscriptions in the order of their beginning, and then the last that have ended.
    pub fn calls(&self) -> Vec<CallView> {
        self.calls.views(&self.nat)
    }

    /// What registrars have accepted, and then the last that have expired.
    pub fn registrations(&self) -> Vec<RegistrationView> {
        self.registrations.views(&self.nat)
    }

    /// The last contacts that registrars were told and that lead nowhere.
    pub fn unreachable(&self) -> impl Iterator<Item = &Unreachable> {
        self.registrations.unreachable()
    }

    /// The index in [`Config::sources`](crate::Config::sources) of the rule by which a text was
    /// replaced, as the rules are now.
    pub fn rule_behind(&self, by: By) -> Option<usize> {
        let (protocol, local, global) = match by {
            By::Mapping {
                protocol,
                inside_local,
                inside_global,
            } => (protocol, inside_local, inside_global),
            By::Address {
                inside_local,
                inside_global,
            } => (
                Protocol::Tcp,
                SocketAddrV4::new(inside_local, 0),
                SocketAddrV4::new(inside_global, 0),
            ),
            By::Spelling | By::Length => return None,
        };
        self.nat.rule_of(&self.config, protocol, local, global)
    }

    /// Tells that a message is looked into.
    pub(super) fn tell_beginning(&self, at: Passage, what: &What<'_>, out: &mut Outbox) {
        let session = at.session();
        let kind = || kind_of(what);
        out.event(|| Event::Processing {
            session,
            kind: kind(),
        });
        let call_id = what.call_id.get(..MOST_OF_CALL_ID);
        out.detail(|| Event::Dialog {
            session,
            call_id: call_id.unwrap_or(what.call_id).into(),
        });
    }

    /// Tells each replacement.
    pub(super) fn tell_edits(&self, at: Passage, message: &Message<'_>, out: &mut Outbox) {
        for Edit { range, text, by } in self.work.edits.list() {
            let old = message.bytes.get(range.clone()).unwrap_or_default();
            let field = field_at(message.bytes, message.header, range.start);
            out.events.push(Event::Edited {
                session: at.session(),
                field: field.get(..MOST_OF_FIELD).unwrap_or(field).into(),
                old: old.into(),
                new: text.as_bytes().into(),
                by: *by,
                rule: self.rule_behind(*by),
                dry_run: at.dry_run,
            });
        }
    }

    /// Keeps a message that has passed, and tells the rest of it.
    pub(super) fn passed(
        &mut self,
        at: Passage,
        what: Option<&What<'_>>,
        message: &Message<'_>,
        mark: Mark,
        out: &mut Outbox,
    ) {
        if out.watch && !at.dry_run {
            self.tell_passed(at, what, message, mark, out);
        }
        let record = Record {
            at: at.now,
            ends: at.ends,
            from: at.from,
            header: message.header,
            message: message.bytes,
            sent: out.bytes.get(mark.bytes..).unwrap_or_default(),
            edits: &mut self.work.edits,
            doors: out.doors.get(mark.doors..).unwrap_or_default(),
            dry_run: at.dry_run,
        };
        let proven = self.journal.record(self.config.history, record);
        self.counters.unproven += u64::from(!proven);
    }

    fn tell_passed(
        &mut self,
        at: Passage,
        what: Option<&What<'_>>,
        message: &Message<'_>,
        mark: Mark,
        out: &mut Outbox,
    ) {
        self.mark_doors(mark, out);
        if out.detailed {
            self.tell_edits(at, message, out);
            let call = what.and_then(|what| {
                self.calls
                    .find(what.conversation, what.call_id, at.host.local)
            });
            if let Some(until) = call.and_then(|call| self.timers.due(self.calls.armed(call))) {
                let left = until.since(at.now);
                out.event(|| Event::Timer {
                    of: Timed::Call,
                    left,
                });
            }
        }
    }

    /// Tells of each field whether it opened a door, now that this is known; after the line of media
    /// that opened one, too.
    fn mark_doors(&mut self, mark: Mark, out: &mut Outbox) {
        let Outbox { events, doors, .. } = out;
        let opened = doors.get(mark.doors..).unwrap_or_default();
        let mut told = None;
        for named in self.work.named.drain(..).rev() {
            let Some(mapping) = self.nat.get(named.mapping) else {
                continue;
            };
            let is_its = |op: &&DoorOp| match op {
                DoorOp::Open(door) => {
                    (door.protocol, door.inside_local) == (mapping.protocol, mapping.local)
                }
                _ => false,
            };
            if opened.iter().find(is_its).is_none() || told == Some(named.after) {
                continue;
            }
            told = Some(named.after);
            if named.media {
                let session = 0;
                let place = (named.after + 1).min(events.len());
                let visited = Event::FieldVisited {
                    session,
                    register: false,
                    door_created: true,
                };
                events.insert(place, visited);
            } else {
                let mut later = events.iter_mut().skip(named.after);
                let field = later.find_map(|event| match event {
                    Event::FieldVisited { door_created, .. } => Some(door_created),
                    _ => None,
                });
                if let Some(door_created) = field {
                    *door_created = true;
                }
            }
        }
    }
}

/// How debug lines name the message; the method is cut to a sane length.
fn kind_of(what: &What<'_>) -> MessageKind {
    match what.start {
        StartLine::Request { method, .. } => {
            let method = method.get(..MOST_OF_METHOD).unwrap_or(method);
            MessageKind::Request(String::from_utf8_lossy(method).into_owned())
        }
        StartLine::Response { status } => MessageKind::Response(status),
    }
}
