//! What the operator clears: translations, with what needs them, and peaks.

use super::flow::Flow;
use super::{Alg, context};
use crate::addr::FlowId;
use crate::nat::{Clear, Context, MappingId};
use crate::outbox::Outbox;
use crate::time::Instant;
use alloc::vec::Vec;

/// What `clear ip nat translation` has come to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cleared {
    /// How many translations are gone.
    pub gone: usize,
    /// How many stay, since flows, calls, registrations or other translations need them.
    pub in_use: usize,
    /// The flows that must be reset, in order: those that used what is gone.
    pub flows: Vec<FlowId>,
}

impl Alg {
    /// Forgets dynamic translations, with their doors: those that no flow, call or registration needs;
    /// if `forced`, the others as well. Calls and registrations that have lost a door go on without
    /// it, until a message makes another.
    pub fn clear(&mut self, now: Instant, which: Clear, forced: bool, out: &mut Outbox) -> Cleared {
        let cleared = self.nat.clear(&mut context!(self, now), which, forced, out);
        self.mark_all();
        Cleared {
            gone: cleared.mappings.len() + cleared.addresses,
            in_use: cleared.in_use,
            flows: self.without_address(&cleared.mappings),
        }
    }

    /// Begins to watch for the most translations anew (`clear ip nat statistics`).
    pub fn forget_peak(&mut self, now: Instant) {
        self.nat.forget_peak(now);
    }

    /// The flows whose own address is no more, in order: `gone` has lost them theirs, or they came by
    /// an address that their inside host has no more.
    pub(super) fn without_address(&self, gone: &[MappingId]) -> Vec<FlowId> {
        let flows = self
            .flows
            .iter()
            .filter(|(_, flow)| self.is_lost(flow, gone));
        flows.map(|(id, _)| FlowId(id)).collect()
    }

    fn is_lost(&self, flow: &Flow, gone: &[MappingId]) -> bool {
        let own = flow.mapping();
        let lost = own.is_some_and(|id| gone.binary_search(&id).is_ok());
        let no_more = |global| {
            !self
                .nat
                .is_address_of(&self.config, global, flow.host.local)
        };
        lost || flow.entered().is_some_and(no_more)
    }
}
