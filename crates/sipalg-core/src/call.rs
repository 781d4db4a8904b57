//! Which doors belong to which call, and when they close.
//!
//! A call is known by its Call-ID and the inside host it runs over: many calls share a connection,
//! and a call may outlive one. It owns the media doors of its inside host's latest session
//! description (offer and answer: RFC 3264), and the signalling door of its contact, at which
//! requests of the dialog reach the inside host. A subscription (RFC 6665) is a call without media.

mod kept;
mod seen;

pub use seen::Heard;

use crate::addr::Ipv4Addr;
use crate::config::Resource;
use crate::door::DoorKind;
use crate::health::{CallView, Ending};
use crate::kept::Note;
use crate::nat::{Context, MappingId, Nat};
use crate::outbox::Outbox;
use crate::slab::Slab;
use crate::time::Instant;
use crate::timer::{Armed, Key};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::hash::{BuildHasher, Hash, Hasher};
use core::time::Duration;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use seen::Seen;
use smallvec::SmallVec;

/// Names a call for its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallId(pub u32);

/// A session description of the inside host, offer or answer.
#[derive(Debug)]
pub struct Described<'a> {
    /// The CSeq number of the exchange that it is part of.
    pub cseq: u32,
    /// The media ports that it names.
    pub doors: &'a [(u16, MappingId)],
    /// Whether the exchange is complete with it.
    pub complete: bool,
}

/// The mappings of a call's media by `m=` line, with room for a stream and its RTCP.
type Owned = SmallVec<[(u16, MappingId); 2]>;

/// A call, in four cache lines: with the usual numbers of doors, contacts and dialogs all of it is
/// there. What is looked at for nearly every message comes first.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Call {
    /// The text of its Call-ID.
    pub id: Box<[u8]>,
    /// The inside host.
    pub host: Ipv4Addr,
    armed: Armed,
    note: Note,
    /// The hash of its Call-ID and its inside host.
    conversation: u64,
    last_media: Instant,
    /// Whether the offer with that CSeq would hold the media.
    held_by_offer: Option<(u32, bool)>,
    held: bool,
    /// Being ended: by a BYE that waits for its answer, or a CANCEL.
    ending: bool,
    /// The doors in use, by `m=` line.
    current: Owned,
    /// The doors of an offer that is not answered yet, and its CSeq.
    offered: Option<(u32, Owned)>,
    /// Where requests of its dialogs come to: its contact, and its own Record-Route.
    contacts: SmallVec<[MappingId; 4]>,
    seen: Seen,
    /// The dialogs that the INVITE has made, by the hash of the outside's tag: a fork makes several
    /// (RFC 3261 section 12.1), and the call lasts as long as one does.
    dialogs: SmallVec<[u64; 2]>,
    /// Until when a subscription lasts.
    subscribed: Option<Instant>,
}

const _: () = assert!(size_of::<Option<Call>>() == 256);

/// Forks of one INVITE that are told apart.
const MOST_DIALOGS: usize = 16;

/// The calls.
#[derive(Debug)]
pub struct Calls {
    calls: Slab<Call>,
    by_key: HashMap<u64, CallId, FixedState>,
    state: FixedState,
    /// How many hosts have a call of a Call-ID, by its hash.
    hosts: HashMap<u64, u32, FixedState>,
    /// How many there have been.
    number: u64,
    /// The last that have ended.
    ended: VecDeque<CallView>,
}

impl Call {
    /// The mappings of its media, in use or offered.
    fn media(&self) -> impl Iterator<Item = MappingId> {
        let offered = self.offered.iter().flat_map(|(_, doors)| doors);
        let all = self.current.iter().chain(offered);
        all.map(|(_, mapping)| *mapping)
    }
}

impl Calls {
    /// No calls.
    pub fn new(seed: u64) -> Self {
        let state = FixedState::with_seed(seed);
        Calls {
            calls: Slab::default(),
            by_key: HashMap::with_hasher(state.clone()),
            hosts: HashMap::with_hasher(state.clone()),
            state,
            number: 0,
            ended: VecDeque::new(),
        }
    }

    /// A keyed hash that names the conversation of a Call-ID with an inside host.
    pub fn conversation(&self, id: &[u8], host: Ipv4Addr) -> u64 {
        let mut hasher = self.state.build_hasher();
        id.hash(&mut hasher);
        host.hash(&mut hasher);
        hasher.finish()
    }

    /// Whether that conversation is a call.
    pub fn goes_on(&self, conversation: u64) -> bool {
        self.by_key.contains_key(&conversation)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// How many there were at most.
    pub fn peak(&self) -> usize {
        self.calls.peak()
    }

    /// The call of that Call-ID on that inside host, by the name of their conversation.
    pub fn find(&self, conversation: u64, id: &[u8], host: Ipv4Addr) -> Option<CallId> {
        let found = *self.by_key.get(&conversation)?;
        let call = self.calls.get(found.0)?;
        (*call.id == *id && call.host == host).then_some(found)
    }

    /// Whether any inside host has a call of that Call-ID.
    pub fn is_anyones(&self, id: &[u8]) -> bool {
        self.hosts.contains_key(&self.state.hash_one(id))
    }

    /// One host more has a call of that Call-ID.
    fn note_host(&mut self, id: &[u8]) {
        *self.hosts.entry(self.state.hash_one(id)).or_insert(0) += 1;
    }

    /// A call that is not there begins. `None` if the table is full.
    pub fn begin(
        &mut self,
        cx: &mut Context<'_>,
        key: u64,
        id: &[u8],
        host: Ipv4Addr,
        out: &mut Outbox,
    ) -> Option<CallId> {
        let at = (cx.now, cx.config);
        if self.by_key.contains_key(&key) || !cx.admission.admits(at, Resource::Call, host, 1, out)
        {
            cx.counters.calls_full += 1;
            return None;
        }
        cx.admission.take(cx.config, Resource::Call, host, 1);
        self.number += 1;
        let call = CallId(self.calls.insert(Call {
            id: id.into(),
            host,
            conversation: key,
            current: Owned::new(),
            offered: None,
            contacts: SmallVec::new(),
            dialogs: SmallVec::new(),
            subscribed: None,
            held: false,
            held_by_offer: None,
            ending: false,
            last_media: cx.now,
            armed: Armed::default(),
            seen: Seen::new(self.number, cx.now),
            note: Note::default(),
        }));
        self.by_key.insert(key, call);
        self.note_host(id);
        cx.counters.calls += 1;
        self.arm(cx, call, cx.config.timers.transaction);
        Some(call)
    }

    /// The deadline at which it ends or is looked at again.
    pub fn armed(&self, call: CallId) -> Armed {
        self.calls
            .get(call.0)
            .map_or(Armed::default(), |call| call.armed)
    }

    /// The doors its inside host has in use.
    pub fn current(&self, call: CallId) -> &[(u16, MappingId)] {
        self.calls.get(call.0).map_or(&[], |call| &call.current)
    }

    /// The inside host offers or answers with these media ports: their doors open now, and replace
    /// the others once the exchange is complete.
    pub fn session(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        call: CallId,
        described: Described<'_>,
        out: &mut Outbox,
    ) {
        let Described {
            cseq,
            doors,
            complete,
        } = described;
        let lifetime = cx.config.timers.door_lifetime();
        let Some(entry) = self.calls.get(call.0) else {
            return;
        };
        let offered = entry.offered.as_ref();
        let again = offered.is_some_and(|(of, before)| *of == cseq && before[..] == *doors);
        if !again || !nat.keep_open(cx, doors, lifetime) {
            for (_, mapping) in doors {
                nat.open_door(cx, *mapping, DoorKind::Media, lifetime, out);
            }
            let offered = Some((cseq, Owned::from_slice(doors)));
            let entry = self.calls.get_mut(call.0);
            let before = entry.and_then(|entry| core::mem::replace(&mut entry.offered, offered));
            if let Some((_, before)) = before {
                self.close_doors(cx, nat, before, out);
            }
        }
        if complete {
            self.commit(cx, nat, call, cseq, out);
        }
    }

    /// The exchange that began with `cseq` is complete: its doors are the call's.
    pub fn commit(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        call: CallId,
        cseq: u32,
        out: &mut Outbox,
    ) {
        let mut before = None;
        self.calls.update(call.0, |entry| {
            // Where the answer did not say whether it holds, the offer does.
            let held = entry.held_by_offer.take_if(|(offer, _)| *offer == cseq);
            entry.held = held.map_or(entry.held, |(_, held)| held);
            let offered = entry.offered.take_if(|(offer, _)| *offer == cseq);
            before = offered.map(|(_, doors)| core::mem::replace(&mut entry.current, doors));
            held.is_some() || before.is_some()
        });
        if let Some(before) = before {
            self.close_doors(cx, nat, before, out);
        }
    }

    /// The exchange that began with `cseq` was refused: all stays as it was.
    pub fn revert(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        call: CallId,
        cseq: u32,
        out: &mut Outbox,
    ) {
        let mut refused = None;
        self.calls.update(call.0, |entry| {
            refused = entry.offered.take_if(|(offered, _)| *offered == cseq);
            refused.is_some()
        });
        if let Some((_, doors)) = refused {
            self.close_doors(cx, nat, doors, out);
        }
    }

    /// The outside refused or ended the stream of an `m=` line (port 0 in its answer).
    pub fn drop_line(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        call: CallId,
        line: u16,
        out: &mut Outbox,
    ) {
        let Some(entry) = self.calls.get_mut(call.0) else {
            return;
        };
        let mut dropped = Owned::new();
        let offered = entry.offered.as_mut().map(|(_, doors)| doors);
        for doors in [Some(&mut entry.current), offered].into_iter().flatten() {
            dropped.extend(doors.iter().copied().filter(|(of, _)| *of == line));
            doors.retain(|(of, _)| *of != line);
        }
        self.close_doors(cx, nat, dropped, out);
    }

    /// Either side's session description says whether it holds the media; with the answer it does,
    /// if either of the two says so.
    pub fn set_held(
        &mut self,
        cx: &Context<'_>,
        call: CallId,
        cseq: u32,
        held: bool,
        answer: bool,
    ) {
        self.calls.update(call.0, |entry| {
            let before = (entry.held, entry.held_by_offer);
            if answer {
                let offered = entry.held_by_offer.take_if(|(offer, _)| *offer == cseq);
                entry.held = held || offered.is_some_and(|(_, held)| held);
            } else {
                entry.held_by_offer = Some((cseq, held));
            }
            let used = cx.is_another_use(entry.last_media);
            entry.last_media = cx.now;
            used || before != (entry.held, entry.held_by_offer)
        });
    }

    /// The inside host named the addresses at which requests of this call reach it: their doors open.
    pub fn set_contacts(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        call: CallId,
        contacts: &[MappingId],
        out: &mut Outbox,
    ) {
        let known = self.calls.get(call.0);
        if known.is_none_or(|entry| entry.contacts[..] == *contacts) {
            return;
        }
        for contact in contacts {
            nat.open_door(
                cx,
                *contact,
                DoorKind::Signalling,
                cx.config.timers.door_lifetime(),
                out,
            );
        }
        if let Some(entry) = self.calls.get_mut(call.0) {
            for old in core::mem::replace(&mut entry.contacts, SmallVec::from_slice(contacts)) {
                nat.close_door(cx, old, out);
            }
        }
    }

    /// The called party accepted, and made a dialog with the tag of the outside.
    pub fn answered(&mut self, cx: &mut Context<'_>, call: CallId, tag: &[u8]) {
        let tag = self.state.hash_one(tag);
        let known = self.calls.get(call.0);
        if known
            .is_none_or(|entry| entry.dialogs.contains(&tag) || entry.dialogs.len() >= MOST_DIALOGS)
        {
            return;
        }
        if let Some(entry) = self.calls.get_mut(call.0) {
            entry.dialogs.push(tag);
            entry.ending = false;
            entry.last_media = cx.now;
        }
        self.arm(cx, call, cx.config.timers.check_interval());
    }

    /// A subscription of this Call-ID lasts for another while.
    pub fn subscribed(&mut self, cx: &mut Context<'_>, call: CallId, lifetime: Duration) {
        if let Some(entry) = self.calls.get_mut(call.0) {
            entry.subscribed = Some(cx.now + lifetime);
            if entry.dialogs.is_empty() {
                self.arm(cx, call, lifetime.min(cx.config.timers.check_interval()));
            }
        }
    }

    /// A subscription of this Call-ID is over; so is the call, if it was nothing else.
    pub fn unsubscribed(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        call: CallId,
        out: &mut Outbox,
    ) {
        if let Some(entry) = self.calls.get_mut(call.0) {
            entry.subscribed = None;
            entry.seen.because(Ending::Unsubscribed);
            if entry.dialogs.is_empty() {
                self.end(cx, nat, call, out);
            }
        }
    }

    /// Somebody says that a request is being worked on: it gets more time.
    pub fn progress(&mut self, cx: &mut Context<'_>, call: CallId) {
        if self.is_pending(call) {
            self.arm(cx, call, cx.config.timers.call_setup);
        }
    }

    /// A CANCEL was sent: the call ends with the failure that it brings, or without one after a
    /// transaction's time.
    pub fn cancelled(&mut self, cx: &mut Context<'_>, call: CallId) {
        if self.is_pending(call) {
            self.ending(cx, call);
        }
    }

    /// A BYE for the dialog of that tag was sent: the call ends with the answer, or without one
    /// after a transaction's time.
    pub fn leaving(&mut self, cx: &mut Context<'_>, call: CallId, tag: &[u8]) {
        let tag = self.state.hash_one(tag);
        let entry = self.calls.get(call.0);
        if entry.is_some_and(|entry| entry.dialogs[..] == [tag]) {
            self.ending(cx, call);
        }
    }

    /// The dialog of that tag is over; so is the call with its last dialog.
    pub fn left(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        call: CallId,
        tag: &[u8],
        out: &mut Outbox,
    ) {
        let tag = self.state.hash_one(tag);
        if let Some(entry) = self.calls.get_mut(call.0) {
            let before = entry.dialogs.len();
            entry.dialogs.retain(|dialog| *dialog != tag);
            if !entry.dialogs.is_empty() || before == 0 {
                return;
            }
            // RFC 5057 section 4.2: a dialog lasts as long as its last usage, such as the
            // subscription that a REFER made.
            let Some(until) = entry.subscribed.filter(|until| *until > cx.now) else {
                self.end(cx, nat, call, out);
                return;
            };
            entry.ending = false;
            let mut media = core::mem::take(&mut entry.current);
            media.extend(
                entry
                    .offered
                    .take()
                    .into_iter()
                    .flat_map(|(_, doors)| doors),
            );
            self.close_doors(cx, nat, media, out);
            self.arm(
                cx,
                call,
                until.since(cx.now).min(cx.config.timers.check_interval()),
            );
        }
    }

    /// Whether the inside host has named an address for requests of it.
    pub fn has_contact(&self, call: CallId) -> bool {
        self.calls
            .get(call.0)
            .is_some_and(|call| !call.contacts.is_empty())
    }

    /// A request that would have made a dialog was refused.
    pub fn refused(
        &mut self,
        cx: &mut Context<'_>,
        nat: &mut Nat,
        call: CallId,
        cseq: u32,
        out: &mut Outbox,
    ) {
        if self.is_pending(call) {
            self.end(cx, nat, call, out);
        } else {
            self.revert(cx, nat, call, cseq, out);
        }
    }

    /// Whether it has not become a dialog yet.
    fn is_pending(&self, call: CallId) -> bool {
        self.calls
            .get(call.0)
            .is_some_and(|call| call.dialogs.is_empty() && call.subscribed.is_none())
    }

    fn ending(&mut self, cx: &mut Context<'_>, call: CallId) {
        if let Some(entry) = self.calls.get_mut(call.0) {
            entry.ending = true;
            self.arm(cx, call, cx.config.timers.transaction);
        }
    }

    /// The call is over.
    pub fn end(&mut self, cx: &mut Context<'_>, nat: &mut Nat, call: CallId, out: &mut Outbox) {
        let Some(mut entry) = self.calls.remove(call.0) else {
            return;
        };
        cx.timers.disarm(&mut entry.armed, Key::Call(call.0));
        cx.admission.give(Resource::Call, entry.host, 1);
        self.remember(cx.now, &entry, nat);
        self.by_key.remove(&entry.conversation);
        let of_id = self.state.hash_one(&*entry.id);
        if let Some(hosts) = self.hosts.get_mut(&of_id) {
            *hosts -= 1;
            if *hosts == 0 {
                self.hosts.remove(&of_id);
            }
        }
        self.close_doors(cx, nat, entry.current, out);
        if let Some((_, doors)) = entry.offered {
            self.close_doors(cx, nat, doors, out);
        }
        for contact in entry.contacts {
            nat.close_door(cx, contact, out);
        }
    }

    /// A deadline of a call came: it ends, or its doors are kept for another while.
    pub fn expired(&mut self, cx: &mut Context<'_>, nat: &mut Nat, call: CallId, out: &mut Outbox) {
        let Some(entry) = self.calls.get_mut(call.0) else {
            return;
        };
        entry.armed.came();
        let silence = if entry.held || entry.current.is_empty() {
            cx.config.timers.call_silence
        } else {
            cx.config.timers.media_inactivity
        };
        let used = entry
            .current
            .iter()
            .filter_map(|(_, mapping)| nat.get(*mapping));
        let heard = used.map(|mapping| mapping.used).max();
        let last = heard.map_or(entry.last_media, |heard| heard.max(entry.last_media));
        let talks = !entry.dialogs.is_empty() && cx.now.since(last) < silence;
        let subscribed = entry.subscribed.filter(|until| *until > cx.now);
        if entry.ending || (!talks && subscribed.is_none()) {
            self.end(cx, nat, call, out);
            return;
        }
        for mapping in entry.media().chain(entry.contacts.iter().copied()) {
            if let Some(door) = nat.door(mapping) {
                nat.refresh_door(mapping, door.lifetime, out);
            }
        }
        let next = match subscribed {
            Some(until) if !talks => until.since(cx.now).min(cx.config.timers.check_interval()),
            _ => cx.config.timers.check_interval(),
        };
        self.arm(cx, call, next);
    }

    fn close_doors(&mut self, cx: &mut Context<'_>, nat: &mut Nat, doors: Owned, out: &mut Outbox) {
        for (_, mapping) in doors {
            nat.close_door(cx, mapping, out);
        }
    }

    fn arm(&mut self, cx: &mut Context<'_>, call: CallId, after: Duration) {
        if let Some(entry) = self.calls.get_mut(call.0) {
            let at = cx.now + after;
            cx.timers.arm(&mut entry.armed, Key::Call(call.0), at);
        }
    }
}
