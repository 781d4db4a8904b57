//! Walks a message by the table, finds what is ours, and collects the edits.
//!
//! The rule (see [`table`]): a literal that is an inside local going out becomes its inside global,
//! an inside global of ours coming in becomes its inside local, all else stays to the byte.

pub mod edit;
pub mod table;

use crate::addr::{Ipv4Addr, Leg, Protocol, SocketAddrV4};
use crate::config::Config;
use crate::event::Event;
use crate::nat::{Context, MappingId, Nat};
use crate::outbox::Outbox;
use crate::sdp::{Media, Session};
use crate::sip::uri::{self, HostPort};
use crate::sip::{Field, Name};
use crate::spelling::{Family, Spelling, Spellings};
use alloc::vec::Vec;
use core::ops::Range;
use edit::{Edits, Text};
use table::{Place, Reach};

/// The inside host that a flow belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Host {
    /// Its own address.
    pub local: Ipv4Addr,
    /// The address that the outside knows it by.
    pub global: Ipv4Addr,
}

/// A contact of the inside host that was translated on its way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutContact {
    /// Its mapping.
    pub mapping: MappingId,
    /// Its `expires` parameter.
    pub expires: Option<u64>,
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
    /// The media ports that it asks for, by the number of their `m=` line.
    pub doors: MediaDoors,
    /// The host's own contacts.
    pub contacts: Vec<OutContact>,
}

/// One message being fixed up.
#[derive(Debug)]
pub struct Fixup<'a> {
    /// Time and bounds.
    pub cx: Context<'a>,
    /// The mappings.
    pub nat: &'a mut Nat,
    /// The rules.
    pub config: &'a Config,
    /// The inside host on the flow.
    pub host: Host,
    /// Where the message came from.
    pub from: Leg,
    /// The original texts of what was written in an unusual way.
    pub spellings: &'a mut Spellings,
    /// The conversation (Call-ID) that the message belongs to.
    pub conversation: u64,
    /// Whether the message belongs to a call that can own media doors.
    pub has_call: bool,
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
        self.uri(span, Reach::Identity, Family::Contact);
    }

    /// A header field by its row; fields without a row are left alone. True if the field has one.
    pub fn field(&mut self, field: &Field) -> bool {
        let Some(row) = table::row_of(field.name) else {
            return false;
        };
        let message = self.message;
        for value in uri::values(message, field.value.clone()) {
            match row.place {
                Place::Via => self.via(value),
                Place::WarningAgents => self.warning(value, row.reach),
                Place::Addresses => {
                    let Some(address) = uri::address(message, value) else {
                        continue;
                    };
                    let mapping = self.uri(address.uri, row.reach, Family::of(row.name));
                    if let (Name::Contact, Some(mapping)) = (row.name, mapping) {
                        self.contact(mapping, address.parameters);
                    }
                }
            }
        }
        true
    }

    /// `warn-code SP warn-agent SP warn-text`; the agent may be a host.
    fn warning(&mut self, value: Range<usize>, reach: Reach) {
        let value = uri::trim(self.message, value);
        let text = self.message.get(value.clone()).unwrap_or_default();
        if let Some(space) = memchr::memchr(b' ', text) {
            let agent = uri::trim(self.message, value.start + space..value.end);
            if let Some(host) = uri::host_port(self.message, agent) {
                self.literal(&host, 5060, reach, Family::Other);
            }
        }
    }

    fn contact(&mut self, mapping: MappingId, parameters: Range<usize>) {
        let own = self
            .nat
            .get(mapping)
            .is_some_and(|m| *m.local.ip() == self.host.local);
        if self.from != Leg::Inside || !own {
            return;
        }
        if self.work.contacts.len() >= self.cx.limits.contacts {
            self.cx.counters.doors_refused += 1;
            return;
        }
        let expires = expires_of(self.message, parameters);
        self.work.contacts.push(OutContact { mapping, expires });
    }

    /// Fixes up the host of a URI; names the mapping that was used.
    fn uri(&mut self, span: Range<usize>, reach: Reach, family: Family) -> Option<MappingId> {
        let found = uri::uri_host(self.message, span)?;
        self.literal(&found.host, found.default_port(), reach, family)
    }

    /// Fixes up a Via: its sent-by, and on the way in what a server wrote into `received` and
    /// `rport` about us (RFC 3581), so that the host sees its own address again.
    fn via(&mut self, value: Range<usize>) {
        let message = self.message;
        let Some(via) = uri::via(message, value) else {
            return;
        };
        let default = if via.secure { 5061 } else { 5060 };
        if let Some(sent_by) = &via.sent_by {
            self.literal(sent_by, default, Reach::Mapping, Family::Via);
        }
        let (mut received, mut rport) = (None, None);
        for parameter in uri::parameters(message, via.parameters) {
            let value = parameter.value.clone();
            if parameter.is(message, b"maddr") {
                if let Some(host) = uri::host_port(message, value) {
                    self.literal(&host, default, Reach::Identity, Family::Via);
                }
            } else if parameter.is(message, b"received") {
                received = uri::host_port(message, value);
            } else if parameter.is(message, b"rport") && !value.is_empty() {
                rport = parameter.number(message).map(|port| (value, port));
            }
        }
        if let (Leg::Outside, Some(received)) = (self.from, received) {
            self.source_as_seen(&received, rport);
        }
    }

    fn source_as_seen(&mut self, received: &HostPort, rport: Option<(Range<usize>, u64)>) {
        let port = rport.and_then(|(span, port)| Some((span, u16::try_from(port).ok()?)));
        let Some((span, port)) = port else {
            if received.address == self.host.global {
                self.replace_address(received, self.host.local);
            }
            return;
        };
        let global = SocketAddrV4::new(received.address, port);
        let Some(local) = self.local_of(Protocol::Tcp, global) else {
            return;
        };
        self.replace_address(received, *local.ip());
        let text = Text::number(u64::from(local.port()));
        if self.work.edits.replace(self.message, span, text) {
            self.port_event(port, local.port());
        }
    }

    /// Fixes up one literal by the rule; names the mapping that was used.
    fn literal(
        &mut self,
        host: &HostPort,
        default: u16,
        reach: Reach,
        family: Family,
    ) -> Option<MappingId> {
        let message = self.message;
        let old = message.get(host.span.clone()).unwrap_or_default();
        let endpoint = SocketAddrV4::new(host.address, host.port.unwrap_or(default));
        let known = self
            .spellings
            .original(self.conversation, self.from, family, old);
        let found = match self.from {
            Leg::Inside => self.outward(endpoint, host.port.is_some(), reach),
            Leg::Outside => self.inward(endpoint, host.port.is_some(), reach),
        };
        let mapping = found.as_ref().and_then(|(_, mapping)| *mapping);
        let by_rule = found.and_then(|(becomes, _)| spelled(message, host, &becomes, default));
        let new = known.or(by_rule);
        if known.is_none() {
            self.keep_spelling(host, default, reach, family, new.or_else(|| Text::of(old))?);
        }
        if let Some(new) = new
            && self.work.edits.replace(message, host.span.clone(), new)
        {
            let to = uri::host_port(new.as_bytes(), 0..new.as_bytes().len());
            let to = to.map(|to| SocketAddrV4::new(to.address, to.port.unwrap_or(default)));
            self.translated_events(endpoint, to.unwrap_or(endpoint));
        }
        mapping
    }

    /// Remembers what stood where `written` is now, if the rule alone would not bring it back.
    fn keep_spelling(
        &mut self,
        host: &HostPort,
        default: u16,
        reach: Reach,
        family: Family,
        written: Text,
    ) {
        let old = self.message.get(host.span.clone()).unwrap_or_default();
        let back = uri::host_port(written.as_bytes(), 0..written.as_bytes().len());
        let returned = back.and_then(|back| {
            let endpoint = SocketAddrV4::new(back.address, back.port.unwrap_or(default));
            let becomes = match self.from {
                Leg::Inside => self.inward(endpoint, back.port.is_some(), reach)?.0,
                Leg::Outside => self.outward_known(endpoint, back.port.is_some(), reach)?,
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
    fn outward_known(&self, local: SocketAddrV4, with_port: bool, reach: Reach) -> Option<Becomes> {
        let (_, rule) = self.config.source_for(*local.ip())?;
        let known = self
            .nat
            .find_local(Protocol::Tcp, local)
            .filter(|_| with_port || reach != Reach::Identity);
        match known.and_then(|known| self.nat.get(known)) {
            Some(mapping) => Some(Becomes::Endpoint(mapping.global)),
            None => (reach == Reach::Identity).then_some(Becomes::Address(rule.global)),
        }
    }

    fn outward(
        &mut self,
        local: SocketAddrV4,
        with_port: bool,
        reach: Reach,
    ) -> Option<(Becomes, Option<MappingId>)> {
        let (_, rule) = self.config.source_for(*local.ip())?;
        let global = rule.global;
        let known = self.nat.find_local(Protocol::Tcp, local);
        let mapping = match (reach, known) {
            (Reach::Identity, None) => return Some((Becomes::Address(global), None)),
            (Reach::Identity, Some(_)) if !with_port => {
                return Some((Becomes::Address(global), None));
            }
            (Reach::Identity, Some(known)) => known,
            // A host may ask to be reached itself, never that another is.
            (Reach::Door, None) if *local.ip() != self.host.local => {
                self.refused(local);
                return None;
            }
            (Reach::Door | Reach::Mapping, _) => {
                match self.nat.map(&mut self.cx, Protocol::Tcp, local, global) {
                    Ok(mapping) => mapping,
                    Err(_) => {
                        self.out_of_ports(Protocol::Tcp, local);
                        return None;
                    }
                }
            }
        };
        let global = self.nat.get(mapping)?.global;
        Some((Becomes::Endpoint(global), Some(mapping)))
    }

    fn inward(
        &mut self,
        global: SocketAddrV4,
        with_port: bool,
        reach: Reach,
    ) -> Option<(Becomes, Option<MappingId>)> {
        if !self
            .config
            .sources
            .iter()
            .any(|rule| rule.global == *global.ip())
        {
            return None;
        }
        if (with_port || reach != Reach::Identity)
            && let Some(mapping) = self.nat.find_global(Protocol::Tcp, global)
        {
            let local = self.nat.get(mapping)?.local;
            return Some((Becomes::Endpoint(local), Some(mapping)));
        }
        (reach == Reach::Identity && *global.ip() == self.host.global)
            .then_some((Becomes::Address(self.host.local), None))
    }

    fn replace_address(&mut self, host: &HostPort, address: Ipv4Addr) {
        if self
            .work
            .edits
            .replace(self.message, host.host_span.clone(), Text::address(address))
        {
            let port = host.port.unwrap_or(0);
            self.address_event(
                SocketAddrV4::new(host.address, port),
                SocketAddrV4::new(address, port),
            );
        }
    }

    fn local_of(&self, protocol: Protocol, global: SocketAddrV4) -> Option<SocketAddrV4> {
        let mapping = self.nat.find_global(protocol, global)?;
        Some(self.nat.get(mapping)?.local)
    }
}

/// Session descriptions.
impl Fixup<'_> {
    /// A session description at `span`. `current` are the doors that its sender has already: a held
    /// stream keeps them. Leaves what it read in [`Work::session`].
    pub fn session_description(&mut self, span: Range<usize>, current: &[(u16, MappingId)]) {
        let mut session = core::mem::take(&mut self.work.session);
        let body = self.message.get(span.clone()).unwrap_or_default();
        if session.parse(body) {
            let number = self.session();
            self.out.event(|| Event::BodyFound { session: number });
            self.out.event(|| Event::MediaLines(session.media.len()));
            match self.from {
                Leg::Inside => self.offer_outward(&session, span.start, current),
                Leg::Outside => self.offer_inward(&session, span.start),
            }
            let new = span.len() as i64 + self.work.edits.growth(span.start);
            self.out.event(|| Event::SdpLength {
                old: span.len(),
                new: usize::try_from(new).unwrap_or(0),
            });
        }
        self.work.session = session;
    }

    fn offer_outward(&mut self, session: &Session, at: usize, current: &[(u16, MappingId)]) {
        // Whether any line was translated, whether any was refused, and whether a translated one
        // goes by the session's `c=`.
        let (mut translated, mut refused, mut shared) = (false, false, false);
        for (media, line) in session.media.iter().zip(0u16..) {
            let Some(connection) = session.connection_of(media) else {
                continue;
            };
            if connection.address.is_unspecified() {
                // Held in the RFC 2543 way: the stream may come back to the same port.
                let kept = current.iter().filter(|(old, _)| *old == line);
                self.work.doors.extend(kept.copied());
                continue;
            }
            let Some((_, rule)) = self.config.source_for(connection.address) else {
                continue;
            };
            let global = rule.global;
            if media.port != 0 && !self.media_outward(media, line, connection.address, global, at) {
                refused = true;
                continue;
            }
            translated = true;
            match &media.connection {
                Some(own) => self.replace_at(at, own.span.clone(), Text::address(global)),
                None => shared = true,
            }
        }
        // What was refused as a whole stays as a whole.
        let origin = session.origin.iter().filter(|_| translated || !refused);
        let connection = session.connection.iter().filter(|_| shared || !refused);
        for literal in origin.chain(connection) {
            if let Some((_, rule)) = self.config.source_for(literal.address) {
                self.replace_at(at, literal.span.clone(), Text::address(rule.global));
            }
        }
    }

    /// One `m=` line with a port: maps it and its RTCP, and writes the numbers. False if it is
    /// refused and stays as it is.
    fn media_outward(
        &mut self,
        media: &Media,
        line: u16,
        address: Ipv4Addr,
        global: Ipv4Addr,
        at: usize,
    ) -> bool {
        let local = SocketAddrV4::new(address, media.port);
        let ports = media.count.saturating_mul(2).min(8);
        let own = address == self.host.local;
        let open = self.nat.doors_of(address) + self.work.doors.len();
        let allowed = own
            && self.has_call
            && media.udp
            && media.port >= crate::nat::policy::LOWEST_PORT
            && usize::from(line) < self.cx.limits.media_lines
            && open + usize::from(ports) <= self.cx.limits.doors_per_host;
        if !allowed {
            self.refused(local);
            return false;
        }
        let Ok(first) = self
            .nat
            .map_run(&mut self.cx, Protocol::Udp, local, ports, global)
        else {
            self.out_of_ports(Protocol::Udp, local);
            return false;
        };
        for offset in 0..ports {
            let port = media.port.checked_add(offset);
            let mapping = port.and_then(|port| {
                self.nat
                    .find_local(Protocol::Udp, SocketAddrV4::new(address, port))
            });
            self.work
                .doors
                .extend(mapping.map(|mapping| (line, mapping)));
        }
        if let Some(new) = self.nat.get(first).map(|mapping| mapping.global) {
            self.replace_at(
                at,
                media.port_span.clone(),
                Text::number(u64::from(new.port())),
            );
            self.out.event(|| Event::MediaTranslated {
                from: local,
                to: new,
            });
        }
        self.rtcp_outward(media, line, address, global, at);
        true
    }

    /// `a=rtcp:` (RFC 3605): usually the odd port of the pair, which is mapped already.
    fn rtcp_outward(
        &mut self,
        media: &Media,
        line: u16,
        address: Ipv4Addr,
        global: Ipv4Addr,
        at: usize,
    ) {
        let Some(rtcp) = &media.rtcp else {
            return;
        };
        let host = rtcp
            .address
            .as_ref()
            .map_or(address, |literal| literal.address);
        if host != address || rtcp.port < crate::nat::policy::LOWEST_PORT {
            return;
        }
        let local = SocketAddrV4::new(host, rtcp.port);
        let Ok(mapping) = self.nat.map(&mut self.cx, Protocol::Udp, local, global) else {
            self.out_of_ports(Protocol::Udp, local);
            return;
        };
        if !self.work.doors.contains(&(line, mapping)) {
            self.work.doors.push((line, mapping));
        }
        if let Some(new) = self.nat.get(mapping).map(|mapping| mapping.global) {
            self.replace_at(
                at,
                rtcp.port_span.clone(),
                Text::number(u64::from(new.port())),
            );
            if let Some(literal) = &rtcp.address {
                self.replace_at(at, literal.span.clone(), Text::address(*new.ip()));
            }
        }
    }

    /// On the way in only what is ours is turned back: an echo, or the offer of another inside host,
    /// whose media then stays inside.
    fn offer_inward(&mut self, session: &Session, at: usize) {
        let mut shared: Option<Ipv4Addr> = None;
        let mut mixed = false;
        for media in session
            .media
            .iter()
            .filter(|media| media.udp && media.port != 0)
        {
            let Some(connection) = session.connection_of(media) else {
                continue;
            };
            let global = SocketAddrV4::new(connection.address, media.port);
            let local = self.local_of(Protocol::Udp, global);
            if media.connection.is_none() {
                let address = local.map_or(connection.address, |local| *local.ip());
                mixed |= *shared.get_or_insert(address) != address;
            }
        }
        if mixed {
            return;
        }
        for media in session
            .media
            .iter()
            .filter(|media| media.udp && media.port != 0)
        {
            let Some(connection) = session.connection_of(media) else {
                continue;
            };
            let global = SocketAddrV4::new(connection.address, media.port);
            let Some(local) = self.local_of(Protocol::Udp, global) else {
                continue;
            };
            self.replace_at(
                at,
                media.port_span.clone(),
                Text::number(u64::from(local.port())),
            );
            if let Some(own) = &media.connection {
                self.replace_at(at, own.span.clone(), Text::address(*local.ip()));
            }
            self.out.event(|| Event::MediaTranslated {
                from: global,
                to: local,
            });
            self.rtcp_inward(media, connection.address, at);
        }
        if let (Some(address), Some(connection)) = (shared, &session.connection) {
            self.replace_at(at, connection.span.clone(), Text::address(address));
        }
        if let Some(origin) = session
            .origin
            .as_ref()
            .filter(|o| o.address == self.host.global)
        {
            let address = shared
                .filter(|a| *a != origin.address)
                .unwrap_or(self.host.local);
            self.replace_at(at, origin.span.clone(), Text::address(address));
        }
    }

    fn rtcp_inward(&mut self, media: &Media, address: Ipv4Addr, at: usize) {
        let Some(rtcp) = &media.rtcp else {
            return;
        };
        let host = rtcp
            .address
            .as_ref()
            .map_or(address, |literal| literal.address);
        let global = SocketAddrV4::new(host, rtcp.port);
        if let Some(local) = self.local_of(Protocol::Udp, global) {
            self.replace_at(
                at,
                rtcp.port_span.clone(),
                Text::number(u64::from(local.port())),
            );
            if let Some(literal) = &rtcp.address {
                self.replace_at(at, literal.span.clone(), Text::address(*local.ip()));
            }
        }
    }

    /// Replaces a place of the body that begins at `at`.
    fn replace_at(&mut self, at: usize, span: Range<usize>, text: Text) {
        self.work
            .edits
            .replace(self.message, at + span.start..at + span.end, text);
    }
}

/// Events.
impl Fixup<'_> {
    fn refused(&mut self, inside_local: SocketAddrV4) {
        self.cx.counters.doors_refused += 1;
        self.out.event(|| Event::DoorRefused { inside_local });
    }

    fn out_of_ports(&mut self, protocol: Protocol, inside_local: SocketAddrV4) {
        self.out.event(|| Event::OutOfPorts {
            protocol,
            inside_local,
        });
    }

    fn address_event(&mut self, from: SocketAddrV4, to: SocketAddrV4) {
        let session = self.session();
        self.out
            .event(|| Event::TranslatedAddress { session, from, to });
    }

    fn translated_events(&mut self, from: SocketAddrV4, to: SocketAddrV4) {
        self.address_event(from, to);
        if from.port() != to.port() {
            self.port_event(from.port(), to.port());
        }
    }

    fn port_event(&mut self, from: u16, to: u16) {
        let session = self.session();
        self.out
            .event(|| Event::TranslatedPort { session, from, to });
    }
}

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
        Becomes::Endpoint(new) => Some(Text::endpoint(*new)),
    }
}

/// The `expires` parameter of a contact (RFC 3261 section 20.10).
pub fn expires_of(message: &[u8], parameters: Range<usize>) -> Option<u64> {
    uri::parameters(message, parameters)
        .find(|parameter| parameter.is(message, b"expires"))
        .and_then(|parameter| parameter.number(message))
}
