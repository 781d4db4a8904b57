//! What has been seen of a call, so that its operator can be told how it is. Nothing here decides
//! anything.

use super::{Call, CallId, Calls};
use crate::addr::{Leg, SocketAddrV4};
use crate::health::{CallState, CallView, Ending, Leak, Unacknowledged};
use crate::kept;
use crate::nat::{MappingId, Nat};
use crate::sip::Method;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// How many calls are remembered that have ended.
const MOST_ENDED: usize = 64;

/// Of one call.
#[derive(Debug)]
pub(super) struct Seen {
    number: u64,
    began: Option<Leg>,
    started: Instant,
    peer: Option<SocketAddrV4>,
    answered: Option<Instant>,
    unacknowledged: Option<Unacknowledged>,
    /// What was said by the inside and by the outside that leads nowhere. Apart, since hardly any
    /// call has one.
    leaks: Option<Box<[Option<Leak>; 2]>>,
    ending: Option<Ending>,
}

impl Seen {
    pub fn new(number: u64, now: Instant) -> Self {
        Seen {
            number,
            began: None,
            started: now,
            peer: None,
            answered: None,
            unacknowledged: None,
            leaks: None,
            ending: None,
        }
    }

    /// Takes note of a message: whether that changes anything that is recorded.
    fn hear(&mut self, heard: &Heard) -> bool {
        let sender = match heard.status {
            None => heard.from,
            Some(_) => heard.from.other(),
        };
        if heard.leak.is_some() {
            self.leaks.get_or_insert_default()[heard.from as usize] = heard.leak;
        }
        let news = change(&mut self.peer, Some(heard.peer)) | begin(&mut self.began, sender);
        news | match (heard.method, heard.status) {
            (Method::Invite, Some(200..300)) => {
                begin(&mut self.answered, heard.now) | self.hear_answer(heard)
            }
            (Method::Invite, Some(status @ 300..)) if self.answered.is_none() => {
                begin(&mut self.ending, Ending::Refused(status))
            }
            (Method::Ack, None) => {
                let acknowledged = |waits: &mut Unacknowledged| waits.from != heard.from;
                self.unacknowledged.take_if(acknowledged).is_some()
            }
            (Method::Bye, None) => change(&mut self.ending, Some(Ending::Bye(heard.from))),
            (Method::Cancel, None) => change(&mut self.ending, Some(Ending::Cancelled(heard.from))),
            _ => false,
        }
    }

    /// A 2xx to an INVITE waits for its ACK: false if it is the same again.
    fn hear_answer(&mut self, heard: &Heard) -> bool {
        let waits = self.unacknowledged.as_mut();
        if let Some(waits) = waits.filter(|w| (w.cseq, w.from) == (heard.cseq, heard.from)) {
            waits.times = waits.times.saturating_add(1);
            return false;
        }
        self.unacknowledged = Some(Unacknowledged {
            cseq: heard.cseq,
            from: heard.from,
            times: 1,
            since: heard.now,
        });
        true
    }

    /// What is recorded of it: what lasts.
    pub fn record(&self) -> kept::Seen {
        kept::Seen {
            number: self.number,
            began: self.began,
            started: self.started,
            peer: self.peer,
            answered: self.answered,
            unacknowledged: self
                .unacknowledged
                .map(|waits| (waits.cseq, waits.from, waits.since)),
            ending: self.ending,
        }
    }

    /// The same again.
    pub fn restored(now: Instant, record: kept::Seen) -> Self {
        Seen {
            began: record.began,
            started: record.started.min(now),
            peer: record.peer,
            answered: record.answered.map(|at| at.min(now)),
            unacknowledged: record.unacknowledged.map(|(cseq, from, since)| {
                let since = since.min(now);
                Unacknowledged {
                    cseq,
                    from,
                    times: 1,
                    since,
                }
            }),
            ending: record.ending,
            ..Seen::new(record.number, now)
        }
    }

    fn leak_of(&self, from: Leg) -> Option<Leak> {
        self.leaks.as_ref()?[from as usize]
    }

    /// Says why the call ends, where no message has said so.
    pub fn because(&mut self, why: Ending) {
        self.ending.get_or_insert(why);
    }
}

/// A message of a call.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// When.
    pub now: Instant,
    /// The side that sent it.
    pub from: Leg,
    /// The outside end of its connection.
    pub peer: SocketAddrV4,
    /// The request's method, or that of the response's CSeq.
    pub method: Method,
    /// Of a response.
    pub status: Option<u16>,
    /// Its CSeq.
    pub cseq: u32,
    /// An address in it that leads nowhere.
    pub leak: Option<Leak>,
}

impl Calls {
    /// Takes note of a message.
    pub fn hear(&mut self, call: CallId, heard: &Heard) {
        self.calls.update(call.0, |call| call.seen.hear(heard));
    }

    /// Those that go on, in the order of their beginning, and then the last that have ended.
    pub fn views(&self, nat: &Nat) -> Vec<CallView> {
        let calls = self.calls.iter();
        let mut views: Vec<_> = calls.map(|(_, call)| call.view(nat)).collect();
        views.sort_unstable_by_key(|view| view.number);
        views.extend(self.ended.iter().cloned());
        views
    }

    /// Remembers a call that ends. An INVITE that is sent again with a password begins anew, and has
    /// not ended.
    pub(super) fn remember(&mut self, now: Instant, call: &Call, nat: &Nat) {
        let why = call.seen.ending.unwrap_or(match call.seen.answered {
            Some(_) => Ending::Silence,
            None => Ending::NoAnswer,
        });
        if matches!(why, Ending::Refused(401 | 407)) {
            return;
        }
        remember(&mut self.ended, now, why, call.view(nat));
    }
}

/// Puts a value in place: whether it was another.
fn change<T: PartialEq>(place: &mut T, value: T) -> bool {
    let news = *place != value;
    if news {
        *place = value;
    }
    news
}

/// Puts a value where there was none: whether that was so.
fn begin<T>(place: &mut Option<T>, value: T) -> bool {
    let news = place.is_none();
    if news {
        *place = Some(value);
    }
    news
}

fn remember(ended: &mut VecDeque<CallView>, now: Instant, why: Ending, mut view: CallView) {
    if ended.len() == MOST_ENDED {
        ended.pop_front();
    }
    (view.state, view.ended) = (CallState::Ended, Some((now, why)));
    ended.push_back(view);
}

impl Call {
    fn view(&self, nat: &Nat) -> CallView {
        let seen = &self.seen;
        let state = match () {
            () if self.ending => CallState::Ending,
            () if self.dialogs.is_empty() && self.subscribed.is_some() => CallState::Subscribed,
            () if self.dialogs.is_empty() => CallState::Calling,
            () if seen.unacknowledged.is_some() => CallState::Answered,
            () if self.held => CallState::Held,
            () => CallState::Up,
        };
        let owned = self.media().chain(self.contacts.iter().copied());
        let mut lines: Vec<u16> = Vec::new();
        let mut streams = Vec::new();
        for (line, mapping) in &self.current {
            if !lines.contains(line) {
                lines.push(*line);
                streams.extend(nat.get(*mapping).map(|mapping| mapping.local));
            }
        }
        let mut doors: Vec<MappingId> = owned.collect();
        doors.dedup();
        CallView {
            number: seen.number,
            call_id: self.id.to_vec(),
            host: self.host,
            peer: seen.peer,
            began: seen.began.unwrap_or(Leg::Inside),
            state,
            started: seen.started,
            answered: seen.answered,
            ended: None,
            unacknowledged: seen.unacknowledged,
            leak: seen.leak_of(Leg::Inside),
            foreign_leak: seen.leak_of(Leg::Outside),
            doors: doors.into_iter().filter_map(|id| nat.door(id)).collect(),
            streams,
        }
    }
}
