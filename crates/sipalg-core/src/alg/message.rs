//! One whole message: what it is, its fixup, and what it does to calls and registrations.

use super::flow::Passage;
use super::tell::Mark;
use super::{Alg, context};
use crate::addr::{Leg, Protocol};
use crate::body::Part;
use crate::call::{CallId, Calls, Described, Heard};
use crate::event::{By, Event};
use crate::fixup::edit::Text;
use crate::fixup::{Fixup, Work, expires_of};
use crate::frame::Message;
use crate::nat::{Context, Nat};
use crate::outbox::Outbox;
use crate::registration::{Request, Response};
use crate::sip::{Index, Method, Name, StartLine, parse_cseq, parse_decimal, uri};
use core::ops::Range;
use core::time::Duration;

/// What the message is, read once.
pub(super) struct What<'a> {
    pub start: StartLine<'a>,
    /// The request's method; of a response, its CSeq's.
    method: Method,
    pub call_id: &'a [u8],
    /// The name of the conversation that it belongs to.
    pub conversation: u64,
    cseq: u32,
    bytes: &'a [u8],
    index: &'a Index,
    /// To or From, whichever names the outside party.
    outside: Name,
}

impl<'a> What<'a> {
    fn read(at: Passage, calls: &Calls, message: &Message<'a>) -> Option<Self> {
        let bytes = message.bytes;
        let start = StartLine::of(bytes, message.index.start.clone()?)?;
        let (cseq, cseq_method) = message
            .index
            .first(bytes, Name::CSeq)
            .and_then(parse_cseq)
            .unwrap_or((0, b""));
        let method = match &start {
            StartLine::Request { method, .. } => method,
            StartLine::Response { .. } => cseq_method,
        };
        // The outside is To in requests that go out and their answers, else From.
        let to = (at.from == Leg::Inside) == matches!(start, StartLine::Request { .. });
        let outside = if to { Name::To } else { Name::From };
        let call_id = message.index.first(bytes, Name::CallId);
        let call_id = call_id.unwrap_or_default();
        Some(What {
            start,
            method: Method::parse(method),
            call_id,
            conversation: calls.conversation(call_id, at.host.local),
            cseq,
            bytes,
            index: message.index,
            outside,
        })
    }

    /// The tag of the outside party, empty without one.
    fn outside_tag(&self) -> &'a [u8] {
        let value = self.index.first(self.bytes, self.outside);
        tag_of(value.unwrap_or_default())
    }

    fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Request { .. } => None,
            StartLine::Response { status } => Some(status),
        }
    }

    /// Whether its success makes a dialog, whose requests come to the Contact (RFC 3261 section 12,
    /// RFC 6665 section 4, RFC 3515).
    fn makes_dialog(&self) -> bool {
        matches!(
            self.method,
            Method::Invite | Method::Subscribe | Method::Refer
        )
    }

    /// Whether a session description in it is an offer or answer of a call (RFC 3264; RFC 6337
    /// section 2.2).
    pub fn negotiates(&self) -> bool {
        matches!(
            self.method,
            Method::Invite | Method::Ack | Method::Update | Method::Prack
        )
    }

    /// Whether its Contact asks others to reach its sender there.
    pub fn names_its_contact(&self) -> bool {
        self.method == Method::Register || self.method == Method::Update || self.makes_dialog()
    }
}

impl Alg {
    /// Fixes up one message and appends it to `out`.
    pub(super) fn message(&mut self, at: Passage, message: &Message<'_>, out: &mut Outbox) {
        self.counters.messages += 1;
        self.counters.length_missing += u64::from(message.length_missing);
        self.work.edits.clear();
        self.work.named.clear();
        self.work.mapped = 0;
        self.work.leak = None;
        let mark = Mark::of(out);
        let Some(what) = What::read(at, &self.calls, message) else {
            out.bytes.extend_from_slice(message.bytes);
            return self.passed(at, None, message, mark, out);
        };
        self.work.session.clear();
        let Work { walks, parts, .. } = &mut self.work;
        walks.find_parts(message, parts);
        self.counters.bodies_opaque += u64::from(self.work.parts.opaque);
        self.work.doors.clear();
        self.work.contacts.clear();
        self.work.routes.clear();
        self.work.answers = None;
        if at.dry_run {
            self.rehearse(at, &what, message, out);
            return self.passed(at, Some(&what), message, mark, out);
        }
        let known = (self.calls).find(what.conversation, what.call_id, at.host.local);
        self.note_foreign(at, &what, known, out);
        let call = known.or_else(|| self.begin_call(at, &what, out));
        self.tell_beginning(at, &what, out);
        let owner = if what.negotiates() { call } else { None };
        let body = owner.is_some() || at.from == Leg::Outside || !what.negotiates();
        let body = body.then_some((owner, owner.is_none()));
        self.rewrite(at, &what, body, message, out);
        self.counters.messages_changed += u64::from(!self.work.edits.is_empty());
        self.work.edits.apply(message.bytes, &mut out.bytes);
        if let Some(answers) = self.work.answers {
            self.answered_at(at.now, at.flow, answers, out);
        }
        self.register_request(at, &what, message, out);
        self.register_response(at, &what, message, out);
        if let Some(call) = call {
            self.call_effects(at, call, &what, message, out);
        }
        self.passed(at, Some(&what), message, mark, out);
    }

    /// Between two inside hosts only the Request-URI is turned to the inside local: their own
    /// addresses are good for each other, and what they send each other need not pass here again.
    pub(super) fn hairpin_message(&mut self, at: Passage, message: &Message<'_>, out: &mut Outbox) {
        self.counters.messages += 1;
        self.work.edits.clear();
        self.work.named.clear();
        self.work.mapped = 0;
        let mark = Mark::of(out);
        let line = message.index.start_line.clone();
        if let (false, Leg::Outside, Some(StartLine::Request { uri, .. })) =
            (at.dry_run, at.from, StartLine::parse(message.bytes, line))
        {
            self.fixup(at, 0, message.bytes, out).request_uri(uri);
        }
        self.counters.messages_changed += u64::from(!self.work.edits.is_empty());
        self.work.edits.apply(message.bytes, &mut out.bytes);
        self.passed(at, None, message, mark, out);
    }

    /// Collects the edits of a message. Its body is looked into for the call that offers or answers
    /// with it; `quoted` asks for nothing.
    pub(super) fn rewrite(
        &mut self,
        at: Passage,
        what: &What<'_>,
        body: Option<(Option<CallId>, bool)>,
        message: &Message<'_>,
        out: &mut Outbox,
    ) {
        let call = body.and_then(|(call, _)| call);
        let current = call.map_or(&[][..], |call| self.calls.current(call));
        self.work.current.clear();
        self.work.current.extend_from_slice(current);
        let mut fixup = self.fixup(at, what.conversation, message.bytes, out);
        headers(&mut fixup, at, what, message);
        if let Some((_, quoted)) = body {
            fixup.quoted = quoted;
            let mut number = 0;
            while let Some(part) = fixup.work.parts.list.get(number).cloned() {
                match part {
                    Part::Session(span) => fixup.session_description(span),
                    Part::Fragment(span) => fixup.fragment(span),
                }
                number += 1;
            }
        }
        self.content_length(message);
    }

    fn fixup<'a>(
        &'a mut self,
        at: Passage,
        conversation: u64,
        message: &'a [u8],
        out: &'a mut Outbox,
    ) -> Fixup<'a> {
        self.work.twins.clear();
        Fixup {
            cx: context!(self, at.now),
            nat: &mut self.nat,
            host: at.host,
            from: at.from,
            protocol: at.protocol,
            peer: *at.ends.outside.ip(),
            spelled: self.spellings.has(conversation),
            spellings: &mut self.spellings,
            conversation,
            quoted: false,
            dry_run: at.dry_run,
            topmost: false,
            message,
            work: &mut self.work,
            out,
        }
    }

    /// Content-Length follows the body's length; if that did not change, its bytes stay.
    fn content_length(&mut self, message: &Message<'_>) {
        let Work { edits, parts, .. } = &mut self.work;
        let mut follow = |place: &Range<usize>, counted: Range<usize>| {
            let growth = edits.growth(counted.clone());
            if growth != 0 {
                let length = (counted.len() as u64).saturating_add_signed(growth);
                edits.insert(place.clone(), &Text::number(length), By::Length);
            }
        };
        for (place, counted) in &parts.lengths {
            let said = message.bytes.get(place.clone()).and_then(parse_decimal);
            // One that was not true stays.
            if said == Some(counted.len() as u64) {
                follow(place, counted.clone());
            }
        }
        if !message.length.is_empty() {
            follow(&message.length, message.header..message.bytes.len());
        }
    }
}

/// Registrations and calls.
impl Alg {
    fn register_request(
        &mut self,
        at: Passage,
        what: &What<'_>,
        message: &Message<'_>,
        out: &mut Outbox,
    ) {
        if at.from != Leg::Inside || what.method != Method::Register || what.status().is_some() {
            return;
        }
        let first = |name| message.index.first(message.bytes, name);
        let request = Request {
            call_id: what.call_id,
            cseq: what.cseq,
            to: first(Name::To).unwrap_or_default(),
            contacts: &self.work.contacts,
            paths: &self.work.routes,
            all: first(Name::Contact) == Some(b"*"),
            registrar: at.ends.outside,
            leak: self.work.leak,
        };
        let mut cx = context!(self, at.now);
        self.registrations
            .request(&mut cx, &mut self.nat, at.host.local, &request, out);
    }

    fn register_response(
        &mut self,
        at: Passage,
        what: &What<'_>,
        message: &Message<'_>,
        out: &mut Outbox,
    ) {
        let Some(status @ 200..) = what.status() else {
            return;
        };
        if at.from != Leg::Outside || what.method != Method::Register {
            return;
        }
        let response = Response {
            status,
            cseq: what.cseq,
            message: message.bytes,
            index: message.index,
            flow: at.serial,
        };
        let mut cx = context!(self, at.now);
        self.registrations
            .response(&mut cx, &mut self.nat, at.host.local, &response, out);
        self.watch_silence(at.now, at.flow);
    }

    /// A call that is not known begins when its inside host sends or answers a request that makes a
    /// dialog, or describes its media; what comes from outside begins none.
    fn begin_call(&mut self, at: Passage, what: &What<'_>, out: &mut Outbox) -> Option<CallId> {
        if what.call_id.is_empty() || !self.begins_call(at, what) {
            return None;
        }
        let mut cx = context!(self, at.now);
        self.calls
            .begin(&mut cx, what.conversation, what.call_id, at.host.local, out)
    }

    /// Takes note of a request within a call that is another inside host's. It does nothing to it,
    /// since calls are known by their inside host, too.
    fn note_foreign(
        &mut self,
        at: Passage,
        what: &What<'_>,
        known: Option<CallId>,
        out: &mut Outbox,
    ) {
        if known.is_some() || at.from != Leg::Inside || what.status().is_some() {
            return;
        }
        let within = match what.method {
            Method::Bye | Method::Cancel | Method::Update => true,
            Method::Invite => !what.outside_tag().is_empty(),
            _ => false,
        };
        let host = at.host.local;
        if within && self.calls.is_anyones(what.call_id) {
            self.counters.foreign_requests += 1;
            out.event(|| Event::ForeignRequest { host });
        }
    }

    /// Whether the message begins a call, if there is none.
    pub(super) fn begins_call(&self, at: Passage, what: &What<'_>) -> bool {
        let asks = match what.status() {
            None => true,
            Some(status) => (101..300).contains(&status),
        };
        let described = || what.negotiates() && self.work.parts.describe();
        at.from == Leg::Inside && asks && (what.makes_dialog() || described())
    }

    fn call_effects(
        &mut self,
        at: Passage,
        call: CallId,
        what: &What<'_>,
        message: &Message<'_>,
        out: &mut Outbox,
    ) {
        let heard = Heard {
            now: at.now,
            from: at.from,
            peer: at.ends.outside,
            method: what.method,
            status: what.status(),
            cseq: what.cseq,
            leak: self.work.leak,
        };
        self.calls.hear(call, &heard);
        let mut cx = context!(self, at.now);
        let (calls, nat) = (&mut self.calls, &mut self.nat);
        let session = &self.work.session;
        let described = !session.media.is_empty();
        if described && what.negotiates() {
            // An answer in a response, or in the ACK of a 2xx that offered, completes the exchange. One
            // in a provisional response does (RFC 3262 section 5), but another branch may still
            // accept a stream that it refuses.
            let answer = what.method == Method::Ack || what.status().is_some();
            calls.set_held(&cx, call, what.cseq, session.held(), answer);
            let last =
                what.method == Method::Ack || what.status().is_some_and(|status| status >= 200);
            match at.from {
                Leg::Inside => {
                    let described = Described {
                        cseq: what.cseq,
                        doors: &self.work.doors,
                        complete: answer,
                    };
                    calls.session(&mut cx, nat, call, described, out);
                }
                Leg::Outside if last => {
                    let ended = session
                        .media
                        .iter()
                        .zip(0u16..)
                        .filter(|(media, _)| media.port == 0);
                    for (_, line) in ended {
                        calls.drop_line(&mut cx, nat, call, line, out);
                    }
                }
                Leg::Outside if answer => calls.commit(&mut cx, nat, call, what.cseq, out),
                Leg::Outside => {}
            }
        }
        // UPDATE moves the target of a dialog that is there (RFC 3311 section 5.1).
        let target =
            what.makes_dialog() || (what.method == Method::Update && calls.has_contact(call));
        let named = !self.work.contacts.is_empty() || !self.work.routes.is_empty();
        if at.from == Leg::Inside && target && named {
            let contact = self.work.contacts.first();
            self.work.targets.clear();
            self.work
                .targets
                .extend(contact.into_iter().chain(&self.work.routes));
            calls.set_contacts(&mut cx, nat, call, &self.work.targets, out);
        }
        match (what.method, what.status()) {
            (Method::Bye, None) => calls.leaving(&mut cx, call, what.outside_tag()),
            (Method::Cancel, None) => calls.cancelled(&mut cx, call),
            // RFC 3261 section 22.2: a challenged BYE is sent again.
            (Method::Bye, Some(401 | 407)) => {}
            (Method::Bye, Some(200..)) => calls.left(&mut cx, nat, call, what.outside_tag(), out),
            (Method::Invite | Method::Subscribe | Method::Refer, Some(100..200)) => {
                calls.progress(&mut cx, call)
            }
            (Method::Invite, Some(200..300)) => {
                calls.commit(&mut cx, nat, call, what.cseq, out);
                calls.answered(&mut cx, call, what.outside_tag());
            }
            (Method::Update | Method::Prack, Some(200..300)) => {
                calls.commit(&mut cx, nat, call, what.cseq, out);
            }
            (Method::Subscribe | Method::Refer, Some(200..300)) => {
                let granted = message.index.first(message.bytes, Name::Expires);
                let granted = granted.and_then(parse_decimal);
                lasts(&mut cx, calls, nat, call, granted, out);
            }
            (Method::Notify, None) => {
                let state = message.index.first(message.bytes, Name::SubscriptionState);
                if let Some(left) = state.and_then(subscription_left) {
                    lasts(&mut cx, calls, nat, call, Some(left), out);
                }
            }
            (Method::Invite | Method::Subscribe | Method::Refer, Some(300..)) => {
                calls.refused(&mut cx, nat, call, what.cseq, out);
            }
            (Method::Update | Method::Prack, Some(300..)) => {
                calls.revert(&mut cx, nat, call, what.cseq, out);
            }
            _ => {}
        }
    }
}

/// The Request-URI and the header fields.
fn headers(fixup: &mut Fixup<'_>, at: Passage, what: &What<'_>, message: &Message<'_>) {
    let request = what.status().is_none();
    fixup.topmost = at.from == Leg::Inside && at.protocol == Protocol::Udp && request;
    if fixup.walk_again(message.like) {
        return;
    }
    let register = what.method == Method::Register;
    let visited = || Event::FieldVisited {
        session: at.session(),
        register,
        door_created: false,
    };
    if let StartLine::Request { uri, .. } = &what.start {
        fixup.request_uri(uri.clone());
        fixup.out.event(visited);
    }
    // RFC 8224 section 4.1: the signature covers From and To, so that a change would break it.
    let signed = message.index.all(Name::Identity).next().is_some();
    for field in &message.index.fields {
        if signed && matches!(field.name, Name::From | Name::To) {
            continue;
        }
        if field.name == Name::Contact {
            fixup.out.event(|| Event::ContactFound);
        }
        if fixup.field(field) {
            fixup.out.event(visited);
        }
    }
    fixup.walk_ends(message.header);
}

/// A subscription lasts for what its notifier grants, or ends with 0.
fn lasts(
    cx: &mut Context<'_>,
    calls: &mut Calls,
    nat: &mut Nat,
    call: CallId,
    seconds: Option<u64>,
    out: &mut Outbox,
) {
    match seconds {
        Some(0) => calls.unsubscribed(cx, nat, call, out),
        Some(seconds) => {
            let lifetime = Duration::from_secs(seconds.min(LONGEST_SUBSCRIPTION));
            calls.subscribed(cx, call, lifetime + cx.config.timers.registration_grace);
        }
        None => calls.subscribed(cx, call, cx.config.timers.subscription),
    }
}

/// Longer than any notifier grants, in seconds: keeps sums of time in bounds.
const LONGEST_SUBSCRIPTION: u64 = 7 * 24 * 3600;

/// How many seconds a Subscription-State (RFC 6665 section 8.2.3) leaves: 0 if it is terminated,
/// `None` if it does not say.
fn subscription_left(state: &[u8]) -> Option<u64> {
    let word = state.split(|byte| *byte == b';').next()?.trim_ascii();
    if word.eq_ignore_ascii_case(b"terminated") {
        return Some(0);
    }
    expires_of(state, 0..state.len())
}

/// The `tag` parameter of a From or To value.
fn tag_of(value: &[u8]) -> &[u8] {
    uri::address(value, 0..value.len())
        .and_then(|address| {
            let mut parameters = uri::parameters(value, address.parameters);
            let tag = parameters.find(|parameter| parameter.is(value, b"tag"))?;
            value.get(tag.value)
        })
        .unwrap_or_default()
}
