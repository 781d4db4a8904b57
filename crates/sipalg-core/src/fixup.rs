//! Walks a message by the table, finds what is ours, and collects the edits.
//!
//! The rule (see [`table`]): a literal that is an inside local going out becomes its inside global,
//! an inside global of ours coming in becomes its inside local, all else stays to the byte.

pub mod edit;
mod events;
mod session;
pub mod table;
#[cfg(test)]
mod tests;
mod twin;
mod via;
mod walk;

use crate::addr::{Ipv4Addr, Leg, Protocol, SocketAddrV4};
use crate::body::{Parts, fragment_lines};
use crate::door::DoorKind;
use crate::event::By;
use crate::health::Leak;
use crate::nat::{Context, MapError, MappingId, Nat, may_lead};
use crate::outbox::Outbox;
use crate::sdp::{Descriptions, Session};
use crate::sip::uri::{self, HostPort, Spot, Target, Transport, usual};
use crate::sip::{Field, Index, Name, StartLine};
use crate::spelling::{Family, Spelling, Spellings};
use alloc::vec::Vec;
use core::ops::Range;
use edit::{Edits, Text};
use table::{Place, Reach, Row};
use twin::Twins;
use walk::{Of, Step, Walks};

/// The inside host that a flow belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Host {
    /// Its own address.
    pub local: Ipv4Addr,
    /// The address that the outside knows it by.
    pub global: Ipv4Addr,
}

/// What a session description asks for: each media line's ports.
pub type MediaDoors = Vec<(u16, MappingId)>;

/// Memory that is used again for every message.
#[derive(Debug, Default)]
pub struct Work {
    /// The replacements.
    pub edits: Edits,
    /// The session description being read.
    pub session: Session,
    /// Those that were met.
    pub descriptions: Descriptions,
    /// The media ports that it asks for, by the number of their `m=` line.
    pub doors: MediaDoors,
    /// Those that the call has already: a held stream keeps them.
    pub current: MediaDoors,
    /// The host's own contacts.
    pub contacts: Vec<MappingId>,
    /// The host's own addresses on the way to others' contacts: Record-Route and Path.
    pub routes: Vec<MappingId>,
    /// Of both, those that a dialog has.
    pub targets: Vec<MappingId>,
    /// The host's own port in the topmost Via, if answers go there whatever they answer.
    pub answers: Option<MappingId>,
    /// The parts of the body that are looked into.
    pub parts: Parts,
    /// The first address in it that leads nowhere.
    pub leak: Option<Leak>,
    /// How many mappings its fields have made.
    pub mapped: usize,
    /// Mappings whose doors the message may open, for who watches.
    pub named: Vec<Named>,
    /// What the ends that it has named so far are on the other side.
    pub twins: Twins,
    /// Where the addresses were in messages before.
    pub walks: Walks,
}

/// A place in a message that may open a door.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// How many events there were when it was met.
    pub after: usize,
    /// The mapping that it names.
    pub mapping: MappingId,
    /// An `m=` line, and not a field.
    pub media: bool,
}

/// One message being fixed up.
#[derive(Debug)]
pub struct Fixup<'a> {
    /// Time and bounds.
    pub cx: Context<'a>,
    /// The mappings.
    pub nat: &'a mut Nat,
    /// The inside host on the flow.
    pub host: Host,
    /// Where the message came from.
    pub from: Leg,
    /// What it came by.
    pub protocol: Protocol,
    /// The outside host on the flow.
    pub peer: Ipv4Addr,
    /// The original texts of what was written in an unusual way.
    pub spellings: &'a mut Spellings,
    /// The conversation (Call-ID) that the message belongs to.
    pub conversation: u64,
    /// Whether any text of that conversation is kept.
    pub spelled: bool,
    /// Whether only what is mapped already is used: a fragment, or a session description outside of
    /// offer and answer, asks for nothing.
    pub quoted: bool,
    /// Whether nothing of it leaves: what would be written is seen by nobody.
    pub dry_run: bool,
    /// Whether the next Via is the topmost one of a request that the inside host sends by UDP.
    pub topmost: bool,
    /// The whole message.
    pub message: &'a [u8],
    /// Where the results go.
    pub work: &'a mut Work,
    /// Where events go.
    pub out: &'a mut Outbox,
}

/// What a literal becomes.
enum Becomes {
    Endpoint(SocketAddrV4),
    Address(Ipv4Addr),
}

/// Header fields.
impl Fixup<'_> {
    /// The number in the brackets of debug lines.
    pub fn session(&self) -> u8 {
        match self.from {
            Leg::Inside => 0,
            Leg::Outside => 1,
        }
    }

    /// The Request-URI (RFC 3261 section 7.1).
    pub fn request_uri(&mut self, span: Range<usize>) {
        if let Some(spot) = Spot::of_uri(self.message, span) {
            self.first_visit(spot, Of::Target);
        }
    }

    /// Fixes up what stands at a place that was found.
    #[inline(always)] // in two places
    fn visit(&mut self, step: &Step) {
        match &step.of {
            Of::Target => {
                self.spot(step, Reach::Identity, Family::Contact);
            }
            Of::Address(row) => {
                let mapping = self.spot(step, row.reach, Family::of(row.name));
                self.named_at(row, mapping);
            }
            Of::Via(transport, parameters, row) => {
                let sent_by = self.spot(step, row.reach, Family::Via);
                self.via_parameters(sent_by, *transport, parameters.clone());
            }
        }
    }

    /// A header field by its row; fields without a row are left alone. True if the field has one.
    #[inline(always)] // most fields have no row
    pub fn field(&mut self, field: &Field) -> bool {
        let Some(row) = table::row_of(field.name) else {
            return false;
        };
        match row.place {
            Place::Via => self.vias(field, row),
            Place::Addresses => self.addresses(field, row),
            Place::WarningAgents => self.values(field, row),
            Place::Dialog => {}
        }
        true
    }

    fn addresses(&mut self, field: &Field, row: &'static Row) {
        match usual::address(self.message, field.value.clone()) {
            Some(spot) if short_way() => self.first_visit(spot, Of::Address(row)),
            _ => self.values(field, row),
        }
    }

    /// The values of a list, or of a field that is not written in the usual way.
    fn values(&mut self, field: &Field, row: &Row) {
        let message = self.message;
        self.lose_way();
        for value in uri::values(message, field.value.clone()) {
            match row.place {
                Place::Via => self.via(value, row.reach),
                Place::WarningAgents => self.warning(value, row.reach),
                Place::Dialog => {}
                Place::Addresses => {
                    let address = uri::address(message, value);
                    let spot = address.and_then(|address| Spot::of_uri(message, address.uri));
                    if let Some(spot) = spot {
                        let mapping = self.host(&spot, row.reach, Family::of(row.name));
                        self.named_at(row, mapping);
                    }
                }
            }
        }
    }

    /// An address in such a field was found to be of this mapping.
    #[inline]
    fn named_at(&mut self, row: &Row, mapping: Option<MappingId>) {
        if let (Reach::Door, Some(mapping)) = (row.reach, mapping) {
            self.named(mapping);
            self.door(row.name, mapping);
        }
    }

    /// `warn-code SP warn-agent SP warn-text`; the agent may be a host.
    fn warning(&mut self, value: Range<usize>, reach: Reach) {
        let value = uri::trim(self.message, value);
        let text = self.message.get(value.clone()).unwrap_or_default();
        if let Some(space) = memchr::memchr(b' ', text) {
            let agent = uri::trim(self.message, value.start + space..value.end);
            if let Some(host) = uri::host_port(self.message, agent) {
                let transport = Transport::Unsaid;
                self.literal(&Target { host, transport }, reach, Family::Other);
            }
        }
    }

    /// The host names an address of its own at which it wants to be reached.
    fn door(&mut self, name: Name, mapping: MappingId) {
        if self.from != Leg::Inside || self.quoted {
            return;
        }
        let own = self.nat.get(mapping).is_some_and(|m| {
            self.may_open_for(*m.local.ip()) && self.may_signal_at(m.protocol, m.local)
        });
        if !own {
            return;
        }
        let asked = self.work.contacts.len() + self.work.routes.len();
        if asked >= self.cx.config.limits.contacts {
            self.cx.counters.doors_refused += 1;
            return;
        }
        if name == Name::Contact {
            self.work.contacts.push(mapping);
        } else {
            self.work.routes.push(mapping);
        }
    }

    /// A SIP fragment in a body (RFC 3420): the same fields, but it makes no mapping.
    pub fn fragment(&mut self, span: Range<usize>) {
        let before = core::mem::replace(&mut self.quoted, true);
        let mut index = Index::default();
        let message = self.message;
        for (number, line) in fragment_lines(message, span).enumerate() {
            match StartLine::parse(message, line.clone()) {
                Some(StartLine::Request { uri, .. }) if number == 0 => self.request_uri(uri),
                _ => index.add_line(message, line),
            }
        }
        for field in &index.fields {
            self.field(field);
        }
        self.quoted = before;
    }

    /// Fixes up what stands at a place by the rule; names the mapping that was used.
    #[inline(never)] // in three places
    fn spot(&mut self, step: &Step, reach: Reach, family: Family) -> Option<MappingId> {
        match step.end.and_then(|end| self.known_again(end)) {
            Some((number, length)) => {
                let span = step.spot.start..step.spot.start + length;
                self.becomes_twin(number, span, reach, family)
            }
            None => self.host(&step.spot, reach, family),
        }
    }

    /// The same, whatever stands there.
    fn host(&mut self, spot: &Spot, reach: Reach, family: Family) -> Option<MappingId> {
        match self.known_at(spot) {
            Some((number, length)) => {
                let span = spot.start..spot.start + length;
                self.becomes_twin(number, span, reach, family)
            }
            None => self.unknown(spot, reach, family),
        }
    }

    fn unknown(&mut self, spot: &Spot, reach: Reach, family: Family) -> Option<MappingId> {
        let target = spot.target(self.message)?;
        self.literal(&target, reach, family)
    }

    /// Fixes up one literal by the rule; names the mapping that was used.
    fn literal(&mut self, target: &Target, reach: Reach, family: Family) -> Option<MappingId> {
        let span = &target.host.span;
        let usual = target.host.usual();
        let usual = usual.filter(|_| !self.spelled && short_way());
        let protocol = self.protocol_of(target.transport);
        match usual.and_then(|end| self.twin(protocol, end, span)) {
            Some(number) => self.becomes_twin(number, span.clone(), reach, family),
            None => self.unusual(target, reach, family),
        }
    }

    /// The same, where what becomes of it depends on where it stands, or on how it is written.
    fn unusual(&mut self, target: &Target, reach: Reach, family: Family) -> Option<MappingId> {
        let reach = if self.quoted { Reach::Identity } else { reach };
        let host = &target.host;
        let default = match family {
            // An address alone: its port is another parameter, if it is said.
            Family::Source => 0,
            _ => target.default_port(),
        };
        let protocol = self.protocol_of(target.transport);
        let message = self.message;
        let old = message.get(host.span.clone()).unwrap_or_default();
        let endpoint = SocketAddrV4::new(host.address, host.port.unwrap_or(default));
        let kept = self.spelled.then_some(&*self.spellings);
        let known = kept.and_then(|kept| kept.original(self.conversation, self.from, family, old));
        let found = match self.from {
            Leg::Inside => self.outward(protocol, endpoint, host.port.is_some(), reach),
            Leg::Outside => self.inward(protocol, endpoint, host.port.is_some(), reach),
        };
        if found.is_none() && reach == Reach::Door {
            self.field_leaks(family, protocol, endpoint);
        }
        let mapping = found.as_ref().and_then(|(_, mapping)| *mapping);
        let by = match &found {
            Some((Becomes::Endpoint(new), _)) => By::mapping(self.from, protocol, endpoint, *new),
            Some((Becomes::Address(new), _)) => By::address(self.from, host.address, *new),
            None => By::Spelling,
        };
        let by_rule = found.and_then(|(becomes, _)| spelled(message, host, &becomes, default));
        let new = known.or(by_rule);
        if known.is_none() {
            self.keep_spelling(target, reach, family, new.or_else(|| Text::of(old))?);
        }
        if let Some(new) = new
            && self.work.edits.replace(message, host.span.clone(), new, by)
        {
            let to = uri::host_port(new.as_bytes(), 0..new.as_bytes().len());
            let to = to.map(|to| SocketAddrV4::new(to.address, to.port.unwrap_or(default)));
            self.translated_events(endpoint, to.unwrap_or(endpoint));
        }
        mapping
    }

    /// Remembers what stood where `written` is now, if the rule alone would not bring it back.
    fn keep_spelling(&mut self, target: &Target, reach: Reach, family: Family, written: Text) {
        if self.dry_run {
            return;
        }
        let (host, default) = (&target.host, target.default_port());
        let protocol = self.protocol_of(target.transport);
        let old = self.message.get(host.span.clone()).unwrap_or_default();
        let back = uri::host_port(written.as_bytes(), 0..written.as_bytes().len());
        let returned = back.and_then(|back| {
            let endpoint = SocketAddrV4::new(back.address, back.port.unwrap_or(default));
            let becomes = match self.from {
                Leg::Inside => {
                    self.inward(protocol, endpoint, back.port.is_some(), reach)?
                        .0
                }
                Leg::Outside => {
                    self.outward_known(protocol, endpoint, back.port.is_some(), reach)?
                }
            };
            spelled(written.as_bytes(), &back, &becomes, default)
        });
        let returned = returned.unwrap_or(written);
        if let Some(original) = Text::of(old).filter(|original| *original != returned) {
            let spelling = Spelling {
                seen_by: self.from.other(),
                family,
                written,
                original,
            };
            self.spellings
                .keep(&mut self.cx, self.conversation, spelling);
        }
    }

    /// What an inside local becomes on its way out, without making a mapping.
    fn outward_known(
        &self,
        protocol: Protocol,
        local: SocketAddrV4,
        with_port: bool,
        reach: Reach,
    ) -> Option<Becomes> {
        let address = self.address_of(protocol, local)?;
        let known = self
            .nat
            .global_of(self.cx.config, protocol, local)
            .filter(|_| with_port || reach != Reach::Identity);
        match known {
            Some(global) => Some(Becomes::Endpoint(global)),
            None => (reach == Reach::Identity).then_some(Becomes::Address(address)),
        }
    }

    fn outward(
        &mut self,
        protocol: Protocol,
        local: SocketAddrV4,
        with_port: bool,
        reach: Reach,
    ) -> Option<(Becomes, Option<MappingId>)> {
        let address = self.address_of(protocol, local)?;
        let named_only = Some((Becomes::Address(address), None));
        let known = self.nat.find_local(protocol, local);
        match (reach, known) {
            (Reach::Identity, Some(_)) if !with_port => return named_only,
            // An identity that names a port of its own host gets the mapping that a contact later in
            // the message would give it, so that it is the same when sent again.
            (Reach::Identity, None)
                if !with_port || *local.ip() != self.host.local || self.quoted =>
            {
                let fixed = self.nat.global_of(self.cx.config, protocol, local);
                let fixed = fixed.filter(|_| with_port);
                return fixed.map_or(named_only, |global| Some((Becomes::Endpoint(global), None)));
            }
            // A host may ask to be reached itself, never that another is, and at no service's port.
            (Reach::Door, None) if !self.may_open_for(*local.ip()) => {
                self.refused(local);
                return None;
            }
            (Reach::Door, _) if !self.may_signal_at(protocol, local) => {
                self.refused(local);
                return None;
            }
            // Else whoever names others' ports would use up their share.
            (Reach::Mapping, None) if !self.may_open_for(*local.ip()) => return named_only,
            _ => {}
        }
        match (self.map(protocol, local), reach) {
            (Ok(mapping), _) => {
                let global = self.nat.get(mapping)?.global;
                Some((Becomes::Endpoint(global), Some(mapping)))
            }
            (Err(_), Reach::Identity) => named_only,
            (Err(_), _) => None,
        }
    }

    fn inward(
        &self,
        protocol: Protocol,
        global: SocketAddrV4,
        with_port: bool,
        reach: Reach,
    ) -> Option<(Becomes, Option<MappingId>)> {
        if !self.cx.config.is_global(*global.ip()) {
            return None;
        }
        if with_port || reach != Reach::Identity {
            let found = self.nat.local_of(self.cx.config, protocol, global);
            let found = found.filter(|(local, _)| self.cx.config.fixes_up(protocol, *local));
            if let Some((local, mapping)) = found {
                return Some((Becomes::Endpoint(local), mapping));
            }
        }
        (reach == Reach::Identity && self.is_address_of_host(*global.ip()))
            .then_some((Becomes::Address(self.host.local), None))
    }

    /// The mapping of an inside local: for the flow's own host, on the flow's address.
    /// One message makes only so many.
    fn map(&mut self, protocol: Protocol, local: SocketAddrV4) -> Result<MappingId, MapError> {
        let at = self.own_address(*local.ip());
        if self.nat.find_local(protocol, local).is_none() {
            if self.work.mapped >= self.cx.config.limits.contacts {
                self.refused(local);
                return Err(MapError::TooMany);
            }
            self.work.mapped += 1;
        }
        self.nat.map(&mut self.cx, protocol, local, at, self.out)
    }

    /// The address that an inside host becomes, if addresses in messages are translated as this one.
    fn address_of(&self, protocol: Protocol, local: SocketAddrV4) -> Option<Ipv4Addr> {
        if !self.cx.config.fixes_up(protocol, local) {
            return None;
        }
        self.address_by_rule(*local.ip())
    }

    /// The same for one whose addresses in messages are translated.
    fn address_by_rule(&self, local: Ipv4Addr) -> Option<Ipv4Addr> {
        let own = self.own_address(local);
        own.or_else(|| self.nat.address_of(self.cx.config, local))
    }

    /// The address that the flow gives its own host.
    fn own_address(&self, local: Ipv4Addr) -> Option<Ipv4Addr> {
        (local == self.host.local).then_some(self.host.global)
    }

    /// Whether the flow's host is known by this address.
    fn is_address_of_host(&self, global: Ipv4Addr) -> bool {
        let Host {
            local,
            global: of_flow,
        } = self.host;
        global == of_flow || self.nat.is_address_of(self.cx.config, global, local)
    }

    /// Whether the flow's host may ask that the inside host `local` is reached: itself, or another if
    /// the operator trusts it.
    fn may_open_for(&self, local: Ipv4Addr) -> bool {
        local == self.host.local
            || (self.cx.config.trusts(self.host.local) && self.cx.config.permits(local))
    }

    /// Whether a door for signalling may lead there.
    fn may_signal_at(&self, protocol: Protocol, local: SocketAddrV4) -> bool {
        may_lead(self.cx.config, DoorKind::Signalling, protocol, local)
    }

    /// The protocol of a transport; that of the flow, where nothing is said.
    fn protocol_of(&self, transport: Transport) -> Protocol {
        match transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp | Transport::Tls => Protocol::Tcp,
            Transport::Unsaid => self.protocol,
        }
    }

    fn local_of(&self, protocol: Protocol, global: SocketAddrV4) -> Option<SocketAddrV4> {
        let (local, _) = self.nat.local_of(self.cx.config, protocol, global)?;
        self.cx.config.fixes_up(protocol, local).then_some(local)
    }
}

/// Whether values of the usual form, and ends that are known already, go the short way: always, but
/// where a test compares it with the long one.
#[cfg(not(test))]
const fn short_way() -> bool {
    true
}

#[cfg(test)]
use tests::short_way;

/// The text of what a literal becomes: with a port where one was written, or where it is not the one
/// that a missing port stands for.
fn spelled(message: &[u8], host: &HostPort, becomes: &Becomes, default: u16) -> Option<Text> {
    match becomes {
        Becomes::Address(address) => {
            let port = message.get(host.host_span.end..host.span.end)?;
            Text::address(*address).and(port)
        }
        Becomes::Endpoint(new) if host.port.is_none() && new.port() == default => {
            Some(Text::address(*new.ip()))
        }
        // The same port stays as it is spelled.
        Becomes::Endpoint(new) if host.port == Some(new.port()) => {
            let port = message.get(host.host_span.end..host.span.end)?;
            Text::address(*new.ip()).and(port)
        }
        Becomes::Endpoint(new) => Some(Text::endpoint(*new)),
    }
}

/// The `expires` parameter of a contact (RFC 3261 section 20.10).
pub fn expires_of(message: &[u8], parameters: Range<usize>) -> Option<u64> {
    uri::parameters(message, parameters)
        .find(|parameter| parameter.is(message, b"expires"))
        .and_then(|parameter| parameter.number(message))
}
