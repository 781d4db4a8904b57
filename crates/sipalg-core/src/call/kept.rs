//! What is recorded of calls, and how they come back.

use super::seen::Seen;
use super::{Call, CallId, Calls, MOST_DIALOGS, Owned};
use crate::addr::Ipv4Addr;
use crate::config::Resource;
use crate::door::DoorKind;
use crate::kept::{self, At, Name, Named, Note, Recorder, untick};
use crate::nat::{Context, MappingId, Nat};
use crate::outbox::Outbox;
use crate::slab::Entry;
use crate::time::Instant;
use crate::timer::{Armed, Key};
use alloc::vec::Vec;
use core::time::Duration;

/// Longer than any subscription.
const LONGEST_SUBSCRIPTION: Duration = Duration::from_secs(8 * 24 * 3600);

impl Named<u32> for Call {
    type Name = u64;
    fn name(&self, _: &u32) -> u64 {
        self.conversation
    }
}

impl Entry for Call {
    fn note(&mut self) -> &mut Note {
        &mut self.note
    }
}

impl Call {
    fn record(&self, nat: &Nat, recorder: &Recorder<'_>) -> kept::Call<'_> {
        let at = |doors: &Owned| -> Vec<(u16, At)> {
            let named = doors.iter().map(|(line, id)| Some((*line, nat.at(*id)?)));
            named.flatten().collect()
        };
        let offered = self.offered.as_ref();
        kept::Call {
            id: &self.id,
            host: self.host,
            current: at(&self.current),
            offered: offered.map(|(cseq, doors)| (*cseq, at(doors))),
            contacts: self.contacts.iter().filter_map(|id| nat.at(*id)).collect(),
            dialogs: self.dialogs.to_vec(),
            subscribed: self.subscribed,
            held: self.held,
            held_by_offer: self.held_by_offer,
            ending: self.ending,
            last_media: recorder.tick(self.last_media),
            due: recorder.due(self.armed),
            seen: self.seen.record(),
        }
    }
}

/// What is told.
impl Calls {
    /// From now on changes are noted; everything counts as changed.
    pub fn keep(&mut self) {
        self.calls.begin();
    }

    /// Everything may have changed.
    pub fn mark_all(&mut self) {
        self.calls.mark_all();
    }

    /// A record of that conversation was there before the machine was.
    pub fn found(&mut self, conversation: u64) {
        self.calls.changes().found(conversation);
    }

    /// Tells what has changed.
    pub fn kept(&mut self, nat: &Nat, recorder: &mut Recorder<'_>) {
        let changed = self.calls.changes().take();
        for conversation in &changed {
            let id = self.by_key.get(conversation);
            let told = id.is_some_and(|id| {
                self.calls.tell(id.0, |note, call| {
                    let record = call.record(nat, recorder);
                    recorder.is(Name::Call(*conversation), note, &record);
                })
            });
            if !told {
                recorder.gone(Name::Call(*conversation));
            }
        }
        self.calls.changes().done(changed);
    }

    /// How many there have been.
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// What comes back.
impl Calls {
    /// So many there have been.
    pub fn set_number(&mut self, number: u64) {
        self.number = number;
    }

    /// A call is there again, with the doors that its host may have: whether it is.
    pub fn restore(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        conversation: u64,
        record: kept::Call<'_>,
    ) -> bool {
        let (id, host) = (record.id, record.host);
        let own = !id.is_empty() && self.conversation(id, host) == conversation;
        let known = self.by_key.contains_key(&conversation);
        let long = id.len() > cx.config.limits.header_bytes;
        let counted = record.seen.number <= kept::MOST_COUNTED;
        if !own || known || long || !counted {
            return false;
        }
        let (at, mut untold) = ((cx.now, cx.config), Outbox::default());
        if !cx
            .admission
            .admits(at, Resource::Call, host, 1, &mut untold)
        {
            return false;
        }
        cx.admission.take(cx.config, Resource::Call, host, 1);
        self.note_host(id);
        let mut media = |doors: Vec<(u16, At)>| -> Owned {
            let doors = doors.into_iter();
            let again = doors
                .map(|(line, at)| Some((line, own_again(cx, nat, host, at, DoorKind::Media)?)));
            again.flatten().collect()
        };
        let current = media(record.current);
        let offered = record.offered.map(|(cseq, doors)| (cseq, media(doors)));
        let contacts = record.contacts.into_iter();
        let contacts = contacts
            .filter_map(|at| own_again(cx, nat, host, at, DoorKind::Signalling))
            .collect();
        self.number = self.number.max(record.seen.number);
        let mut call = Call {
            id: id.into(),
            host,
            conversation,
            current,
            offered,
            contacts,
            dialogs: record.dialogs.into_iter().take(MOST_DIALOGS).collect(),
            subscribed: record
                .subscribed
                .map(|until| until.min(cx.now + LONGEST_SUBSCRIPTION)),
            held: record.held,
            held_by_offer: record.held_by_offer,
            ending: record.ending,
            last_media: untick(record.last_media, cx.config.timers.use_tick, cx.now),
            armed: Armed::default(),
            seen: Seen::restored(cx.now, record.seen),
            note: Note::default(),
        };
        let due = record.due.unwrap_or(cx.now);
        let due = if due < cx.now && !call.dialogs.is_empty() && !call.ending {
            // Nobody listened when it was to be looked at: it is given another while.
            call.last_media = cx.now;
            cx.now + cx.config.timers.check_interval()
        } else {
            due.min(latest(cx))
        };
        let id = CallId(self.calls.insert(call));
        self.by_key.insert(conversation, id);
        if let Some(entry) = self.calls.get_mut(id.0) {
            cx.timers.arm(&mut entry.armed, Key::Call(id.0), due);
        }
        true
    }
}

/// The latest instant for which a call can be armed.
fn latest(cx: &Context<'_>) -> Instant {
    let timers = &cx.config.timers;
    let longest = timers.call_setup.max(timers.transaction);
    cx.now + longest.max(timers.check_interval())
}

/// The door at `at` is wanted again by a call of `host`, if there is one that it may have.
fn own_again(
    cx: &mut Context<'_>,
    nat: &mut Nat,
    host: Ipv4Addr,
    at: At,
    kind: DoorKind,
) -> Option<MappingId> {
    let (protocol, local) = at;
    let allowed = *local.ip() == host || cx.config.trusts(host);
    let id = nat.find_local(protocol, local).filter(|_| allowed)?;
    nat.own_again(cx, id, kind);
    Some(id)
}
