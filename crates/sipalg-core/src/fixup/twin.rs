//! What an end is on the other side, decided once for all places of a message that name it.
//!
//! Nearly every address in a message is one of two or three, written in the usual way with its port,
//! and mapped already. What becomes of such a one depends on nothing else: not on the field, nor on
//! what it may cause.

use super::edit::{self, Text};
use super::table::Reach;
use super::{Fixup, short_way};
use crate::addr::{Leg, Protocol, SocketAddrV4};
use crate::bytes;
use crate::event::By;
use crate::nat::MappingId;
use crate::sip::uri::{HostPort, Spot, is_of_a_word};
use crate::spelling::Family;
use alloc::vec::Vec;
use core::ops::Range;

/// How many ends are remembered.
const MOST: usize = 4;

/// The ends that messages have named. How an end is read holds for ever, what becomes of it for one
/// message.
#[derive(Debug, Default)]
pub struct Twins {
    list: Vec<Known>,
    /// The number of the message.
    message: u64,
    /// How many were ever remembered.
    passed: u64,
}

/// Names a remembered end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndId {
    number: usize,
    /// The how manieth it was.
    nth: u64,
}

/// An end, and what is known of it.
#[derive(Debug)]
struct Known {
    /// The how manieth it was of all that ever were remembered.
    nth: u64,
    /// How it is written: so many bytes count.
    text: [u8; 32],
    length: usize,
    protocol: Protocol,
    end: SocketAddrV4,
    rules: Rules,
    /// The message that named it last.
    named_by: u64,
    twin: Twin,
    /// How its twin is written, and by what.
    new: Text,
    by: By,
}

/// What the rules say of an end, whatever is mapped.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// It is translated, also in messages.
    fixes_up: bool,
    /// It has an address that inside hosts may become.
    is_global: bool,
    /// A door for signalling may lead there.
    may_signal: bool,
}

/// What is known of an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Twin {
    /// It is nobody's that the gateway knows: it stays, whatever may be written in its place.
    Nobody,
    /// It is mapped, and what it becomes turns back into it.
    Mapped {
        /// The mapping.
        mapping: MappingId,
        /// The end on the other side.
        other: SocketAddrV4,
    },
}

impl Twins {
    /// Another message, or the same with other rules: of no end it is known what becomes of it.
    pub fn clear(&mut self) {
        self.message += 1;
    }

    /// The rules are others: nothing of what they said holds.
    pub fn forget(&mut self) {
        self.list.clear();
    }

    /// The place for another end: where one is that this message has not named, the oldest.
    fn place(&mut self, mut known: Known) -> Option<usize> {
        self.passed += 1;
        known.nth = self.passed;
        if self.list.len() < MOST {
            self.list.push(known);
            return Some(self.list.len() - 1);
        }
        let list = self.list.iter_mut().enumerate();
        let (number, oldest) = list.min_by_key(|(_, known)| known.named_by)?;
        if oldest.named_by == self.message {
            return None;
        }
        *oldest = known;
        Some(number)
    }
}

impl Known {
    /// Whether a literal that stands here is read as this one.
    #[inline]
    fn is(&self, here: &[u8; 32]) -> bool {
        bytes::alike(&self.text, here) >= self.length
            && here
                .get(self.length)
                .is_some_and(|next| !is_of_a_word(*next))
    }

    /// It has this twin in this message, which comes from that leg.
    fn renew(&mut self, message: u64, from: Leg, twin: Twin) {
        if let Twin::Mapped { other, .. } = twin {
            if self.twin != twin {
                self.new = Text::endpoint(other);
            }
            self.by = By::mapping(from, self.protocol, self.end, other);
        }
        (self.named_by, self.twin) = (message, twin);
    }
}

impl Fixup<'_> {
    /// The number and the length of an end that is known by its text: nothing of it has to be read.
    #[inline]
    pub(super) fn known_at(&mut self, spot: &Spot) -> Option<(usize, usize)> {
        if self.spelled || !short_way() {
            return None;
        }
        let here = self.message.get(spot.start..)?.first_chunk()?;
        let number = self
            .work
            .twins
            .list
            .iter()
            .position(|known| known.is(here))?;
        let known = self.work.twins.list.get(number)?;
        let (length, behind) = (known.length, spot.start + known.length);
        let is_it = behind <= spot.end
            && self.protocol_of(spot.transport(self.message, behind)) == known.protocol;
        Some((self.of_now(number).filter(|_| is_it)?, length))
    }

    /// Names the end that is known to stand there.
    pub(super) fn end_at(&mut self, spot: &Spot) -> Option<EndId> {
        let (number, _) = self.known_at(spot)?;
        let nth = self.work.twins.list.get(number)?.nth;
        Some(EndId { number, nth })
    }

    /// The number and the length of that end, where it stands again.
    #[inline]
    pub(super) fn known_again(&mut self, end: EndId) -> Option<(usize, usize)> {
        if self.spelled || !short_way() {
            return None;
        }
        let known = self.work.twins.list.get(end.number)?;
        let length = known.length;
        (known.nth == end.nth).then_some(())?;
        Some((self.of_now(end.number)?, length))
    }

    /// The number of an end of which it is known what it becomes, if that does not depend on where it
    /// stands. It is written at `span` in the usual way.
    pub(super) fn twin(
        &mut self,
        protocol: Protocol,
        end: SocketAddrV4,
        span: &Range<usize>,
    ) -> Option<usize> {
        let mut list = self.work.twins.list.iter();
        if let Some(number) = list.position(|known| (known.protocol, known.end) == (protocol, end))
        {
            return self.of_now(number);
        }
        let rules = self.rules_of(protocol, end);
        let twin = self.find_twin(protocol, end, rules)?;
        let written = self.message.get(span.clone())?;
        let mut text = [0; 32];
        text.get_mut(..written.len())?.copy_from_slice(written);
        let mut known = Known {
            nth: 0,
            text,
            length: written.len(),
            protocol,
            end,
            rules,
            named_by: 0,
            twin: Twin::Nobody,
            new: Text::EMPTY,
            by: By::Spelling,
        };
        known.renew(self.work.twins.message, self.from, twin);
        self.work.twins.place(known)
    }

    /// Fixes up an end by its number, where it stands; names the mapping that was used.
    #[inline(always)] // a few lines in the usual case
    pub(super) fn becomes_twin(
        &mut self,
        number: usize,
        span: Range<usize>,
        reach: Reach,
        family: Family,
    ) -> Option<MappingId> {
        let known = self.work.twins.list.get(number)?;
        let (protocol, end) = (known.protocol, known.end);
        let Twin::Mapped { mapping, other } = known.twin else {
            if reach == Reach::Door && !self.quoted {
                self.field_leaks(family, protocol, end);
            }
            return None;
        };
        if other != end && self.work.edits.insert(span, &known.new, known.by) && self.out.watch {
            self.translated_events(end, other);
        }
        Some(mapping)
    }

    /// The same number, if what the end becomes is known in this message.
    #[inline]
    fn of_now(&mut self, number: usize) -> Option<usize> {
        let message = self.work.twins.message;
        let known = self.work.twins.list.get(number)?;
        if known.named_by != message {
            let twin = self.find_twin(known.protocol, known.end, known.rules)?;
            let known = self.work.twins.list.get_mut(number)?;
            known.renew(message, self.from, twin);
        }
        Some(number)
    }

    fn rules_of(&self, protocol: Protocol, end: SocketAddrV4) -> Rules {
        let config = self.cx.config;
        Rules {
            fixes_up: config.fixes_up(protocol, end),
            is_global: config.is_global(*end.ip()),
            may_signal: self.may_signal_at(protocol, end),
        }
    }

    fn find_twin(&mut self, protocol: Protocol, end: SocketAddrV4, rules: Rules) -> Option<Twin> {
        match self.from {
            Leg::Inside => self.twin_outside(protocol, end, rules),
            Leg::Outside => self.twin_inside(protocol, end, rules),
        }
    }

    fn twin_outside(
        &mut self,
        protocol: Protocol,
        local: SocketAddrV4,
        rules: Rules,
    ) -> Option<Twin> {
        let config = self.cx.config;
        if !rules.fixes_up || self.address_by_rule(*local.ip()).is_none() {
            return (!rules.is_global).then_some(Twin::Nobody);
        }
        let mapping = self.nat.find_local(protocol, local)?;
        let found = self.nat.get(mapping)?;
        let other = found.global;
        let turned_back = (found.protocol, found.local) == (protocol, local)
            && self.nat.find_global(protocol, other) == Some(mapping);
        if !turned_back || !config.is_global(*other.ip()) {
            return None;
        }
        // Where no door may lead, it matters whether one is asked for.
        if !rules.may_signal {
            return None;
        }
        self.nat.touch(&self.cx, mapping);
        Some(Twin::Mapped { mapping, other })
    }

    fn twin_inside(&self, protocol: Protocol, global: SocketAddrV4, rules: Rules) -> Option<Twin> {
        if !rules.is_global {
            let foreign = !rules.fixes_up || self.address_by_rule(*global.ip()).is_none();
            return foreign.then_some(Twin::Nobody);
        }
        let mapping = self.nat.find_global(protocol, global)?;
        let found = self.nat.get(mapping)?;
        let other = found.local;
        let turned_back = (found.protocol, found.global) == (protocol, global)
            && self.nat.find_local(protocol, other) == Some(mapping)
            && self.address_of(protocol, other).is_some();
        turned_back.then_some(Twin::Mapped { mapping, other })
    }
}

impl HostPort {
    /// The end that it names, if it is written in the usual way: with a port, and without zeros or
    /// white space that need not be.
    pub(super) fn usual(&self) -> Option<SocketAddrV4> {
        let end = SocketAddrV4::new(self.address, self.port?);
        let octets = end.ip().octets().map(edit::digits_of_octet);
        let length = octets.iter().sum::<usize>() + 4 + edit::digits_of_port(end.port());
        (self.span.len() == length).then_some(end)
    }
}
