//! Where the addresses of a header section are, remembered for messages that are like it.
//!
//! What stands there is read in each message, and fixed up by the same rule: a [`Step`] says only where
//! that is, as it was found in another message with the same form ([`Like`]).

use super::table::Row;
use super::twin::EndId;
use super::{Fixup, Work};
use crate::alike::Like;
use crate::body::Parts;
use crate::frame::Message;
use crate::sip::uri::{Spot, Transport};
use alloc::vec::Vec;
use core::ops::Range;

/// A place at which something may be fixed up.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub spot: Spot,
    /// Which end stands there: a host's letters and digits are the same in all that are alike.
    pub end: Option<EndId>,
    pub of: Of,
}

/// What it is the host of.
#[derive(Clone, Debug)]
pub(super) enum Of {
    /// The Request-URI.
    Target,
    /// A field with one address.
    Address(&'static Row),
    /// A field with one Via: the transport and the parameters of that.
    Via(Transport, Range<usize>, &'static Row),
}

/// The ways through header sections, by their places.
#[derive(Debug, Default)]
pub struct Walks {
    list: Vec<Walk>,
    /// Where the way that is gone now is written down, as long as it can be.
    noted: Option<usize>,
}

/// The way through one.
#[derive(Debug, Default)]
struct Walk {
    like: Like,
    steps: Vec<Step>,
    /// Whether those are all, so that it can be gone again.
    whole: bool,
    /// Whether the body is a session description and nothing else.
    described: bool,
}

impl Walks {
    /// The parts of the body of a message: as they were in one like it, or looked for.
    pub fn find_parts(&self, message: &Message<'_>, parts: &mut Parts) {
        let known = message.like.and_then(|like| self.known(like));
        if known.is_some_and(|walk| walk.described) {
            parts.set_description(message.bytes, message.header);
        } else {
            parts.find(message.bytes, message.index, message.header);
        }
    }

    fn known(&self, like: Like) -> Option<&Walk> {
        let walk = self.list.get(like.place)?;
        (walk.whole && walk.like == like).then_some(walk)
    }

    /// Begins to write one down.
    fn begin(&mut self, like: Option<Like>) {
        self.noted = like.map(|like| like.place);
        if let Some(like) = like {
            if self.list.len() <= like.place {
                self.list.resize_with(like.place + 1, Walk::default);
            }
            if let Some(walk) = self.list.get_mut(like.place) {
                walk.like = like;
                walk.steps.clear();
                walk.whole = false;
            }
        }
    }

    fn noted(&mut self) -> Option<&mut Walk> {
        self.list.get_mut(self.noted?)
    }
}

impl Fixup<'_> {
    /// Goes the way that was gone in a message like this one, if that is known; else the next fields
    /// are written down for those that are like this.
    pub fn walk_again(&mut self, like: Option<Like>) -> bool {
        // Who watches is told of every field.
        let like = like.filter(|_| !self.out.watch);
        let walks = &mut self.work.walks;
        let Some(place) = like.filter(|like| walks.known(*like).is_some()) else {
            walks.begin(like);
            return false;
        };
        let walk = walks.list.get_mut(place.place);
        let steps = walk.map(|walk| core::mem::take(&mut walk.steps));
        let steps = steps.unwrap_or_default();
        steps.iter().for_each(|step| self.visit(step));
        if let Some(walk) = self.work.walks.list.get_mut(place.place) {
            walk.steps = steps;
        }
        true
    }

    /// All fields were visited.
    pub fn walk_ends(&mut self, header: usize) {
        let Work { walks, parts, .. } = &mut *self.work;
        if let Some(walk) = walks.noted() {
            walk.whole = true;
            walk.described = parts.is_description(self.message, header);
        }
        walks.noted = None;
    }

    /// Visits a place for the first time.
    #[inline]
    pub(super) fn first_visit(&mut self, spot: Spot, of: Of) {
        let mut step = Step {
            spot,
            end: None,
            of,
        };
        self.visit(&step);
        if self.work.walks.noted.is_some() {
            step.end = self.end_at(&step.spot);
            let walk = self.work.walks.noted();
            walk.into_iter()
                .for_each(|walk| walk.steps.push(step.clone()));
        }
    }

    /// Something is not written in the usual way: this one is read anew each time.
    pub(super) fn lose_way(&mut self) {
        self.work.walks.noted = None;
    }
}
