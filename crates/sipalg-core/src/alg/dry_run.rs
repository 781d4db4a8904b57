//! What would happen to a message, without its happening.

use super::flow::Passage;
use super::message::What;
use super::{Alg, context};
use crate::addr::{Ends, Leg};
use crate::config::Selection;
use crate::door::DoorKind;
use crate::event::Event;
use crate::frame::Message;
use crate::nat::{Context, MappingId};
use crate::outbox::Outbox;
use alloc::vec::Vec;

impl Alg {
    /// Lets the messages of these flows pass unchanged from now on, and tells whoever watches what
    /// would have become of them. They open no doors, and end no calls. Replaces what was told before.
    pub fn dry_run(&mut self, flows: Vec<Selection>) {
        self.dry = flows;
    }

    /// Whether nothing may be changed on that flow.
    pub(super) fn is_dry(&self, ends: &Ends) -> bool {
        self.dry.iter().any(|selection| selection.has(ends))
    }

    /// Passes one message unchanged.
    pub(super) fn rehearse(
        &mut self,
        at: Passage,
        what: &What<'_>,
        message: &Message<'_>,
        out: &mut Outbox,
    ) {
        let counters = self.counters;
        let mut unseen = Outbox::default();
        self.nat.begin_trial();
        let call = self
            .calls
            .find(what.conversation, what.call_id, at.host.local);
        let quoted = !what.negotiates() || (call.is_none() && !self.begins_call(at, what));
        let body = !quoted || at.from == Leg::Outside || !what.negotiates();
        let body = body.then_some((call, quoted));
        self.rewrite(at, what, body, message, &mut unseen);
        self.counters = counters;
        self.told(at, what, message, out);
        let session = at.session();
        let edits = self.work.edits.list().len();
        out.event(|| Event::DryRun { session, edits });
        self.nat.end_trial(&mut context!(self, at.now));
        // An address of a pool is its host's for more than SIP.
        out.addresses.append(&mut unseen.addresses);
        out.bytes.extend_from_slice(message.bytes);
    }

    /// Tells of everything that would be done.
    fn told(&mut self, at: Passage, what: &What<'_>, message: &Message<'_>, out: &mut Outbox) {
        if !out.watch {
            return;
        }
        self.tell_beginning(at, what, out);
        self.tell_edits(at, message, out);
        let media = self.work.doors.iter();
        let media = media.map(|(_, mapping)| (DoorKind::Media, *mapping));
        let own = self.work.contacts.iter().chain(&self.work.routes);
        let own = own.filter(|_| what.names_its_contact());
        let wanted: Vec<(DoorKind, MappingId)> = own
            .map(|mapping| (DoorKind::Signalling, *mapping))
            .chain(media)
            .collect();
        for (kind, id) in wanted {
            let closed = self.nat.door(id).is_none();
            if let Some(mapping) = self.nat.get(id).filter(|_| closed) {
                out.events.push(Event::DoorWanted {
                    kind,
                    protocol: mapping.protocol,
                    inside_local: mapping.local,
                });
            }
        }
    }
}
