//! What an end is on the other side, decided once for all places of a message that name it.
//!
//! Nearly every address in a message is one of two or three, written in the usual way with its port,
//! and mapped already. What becomes of such a one depends on nothing else: not on the field, nor on
//! what it may cause.

use super::Fixup;
use super::edit::Text;
use crate::addr::{Leg, Protocol, SocketAddrV4};
use crate::nat::MappingId;
use crate::sip::uri::HostPort;

/// How many ends of a message are remembered.
const MOST: usize = 4;

/// The ends that a message has named so far.
#[derive(Debug, Default)]
pub struct Twins {
    list: [Option<(Protocol, SocketAddrV4, Twin)>; MOST],
}

/// What is known of an end.
#[derive(Clone, Copy, Debug)]
pub enum Twin {
    /// It is nobody's that the gateway knows: it stays, whatever may be written in its place.
    Nobody,
    /// It is mapped, and what it becomes turns back into it.
    Mapped {
        /// The mapping.
        mapping: MappingId,
        /// The end on the other side.
        other: SocketAddrV4,
        /// Its text.
        text: Text,
    },
}

impl Twins {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.list = [const { None }; MOST];
    }

    fn find(&self, protocol: Protocol, end: SocketAddrV4) -> Option<Twin> {
        let known = self.list.iter().map_while(|known| *known);
        let mut known = known.filter(|(of, at, _)| (*of, *at) == (protocol, end));
        known.next().map(|(_, _, twin)| twin)
    }

    fn keep(&mut self, protocol: Protocol, end: SocketAddrV4, twin: Twin) {
        if let Some(free) = self.list.iter_mut().find(|known| known.is_none()) {
            *free = Some((protocol, end, twin));
        }
    }
}

impl Fixup<'_> {
    /// What is known of an end, if that does not depend on where it stands.
    pub(super) fn twin(&mut self, protocol: Protocol, end: SocketAddrV4) -> Option<Twin> {
        if let Some(twin) = self.work.twins.find(protocol, end) {
            return Some(twin);
        }
        let twin = match self.from {
            Leg::Inside => self.twin_outside(protocol, end),
            Leg::Outside => self.twin_inside(protocol, end),
        }?;
        self.work.twins.keep(protocol, end, twin);
        Some(twin)
    }

    fn twin_outside(&mut self, protocol: Protocol, local: SocketAddrV4) -> Option<Twin> {
        let config = self.cx.config;
        if self.address_of(protocol, local).is_none() {
            return (!config.is_global(*local.ip())).then_some(Twin::Nobody);
        }
        let mapping = self.nat.find_local(protocol, local)?;
        let global = self.nat.get(mapping)?.global;
        if !self.nat.is_pair(mapping) || !config.is_global(*global.ip()) {
            return None;
        }
        // Where no door may lead, it matters whether one is asked for.
        if !self.may_signal_at(protocol, local) {
            return None;
        }
        self.nat.touch(&self.cx, mapping);
        Some(mapped(mapping, global))
    }

    fn twin_inside(&self, protocol: Protocol, global: SocketAddrV4) -> Option<Twin> {
        if !self.cx.config.is_global(*global.ip()) {
            let foreign = self.address_of(protocol, global).is_none();
            return foreign.then_some(Twin::Nobody);
        }
        let mapping = self.nat.find_global(protocol, global)?;
        let local = self.nat.get(mapping)?.local;
        let turned_back = self.nat.is_pair(mapping) && self.address_of(protocol, local).is_some();
        turned_back.then(|| mapped(mapping, local))
    }
}

fn mapped(mapping: MappingId, other: SocketAddrV4) -> Twin {
    Twin::Mapped {
        mapping,
        other,
        text: Text::endpoint(other),
    }
}

impl HostPort {
    /// The end that it names, if it is written in the usual way: with a port, and without zeros or
    /// white space that need not be.
    pub(super) fn usual(&self) -> Option<SocketAddrV4> {
        let end = SocketAddrV4::new(self.address, self.port?);
        let octets = end.ip().octets().map(|octet| digits(u16::from(octet)));
        let length = octets.iter().sum::<usize>() + 4 + digits(end.port());
        (self.span.len() == length).then_some(end)
    }
}

fn digits(number: u16) -> usize {
    1 + [10, 100, 1000, 10_000]
        .iter()
        .filter(|power| number >= **power)
        .count()
}
