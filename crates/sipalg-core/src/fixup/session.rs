//! Session descriptions: `m=` lines get doors, and all addresses in them follow.

use super::edit::Text;
use super::{Fixup, Named};
use crate::addr::{Ipv4Addr, Leg, Protocol, SocketAddrV4};
use crate::config::Resource;
use crate::door::DoorKind;
use crate::event::{By, Event};
use crate::health::LeakPlace;
use crate::nat::may_lead;
use crate::nat::policy::LOWEST_PORT;
use crate::sdp::{Candidate, Literal, Media, Session, Span};
use core::ops::Range;

/// The port that stands for none in TCP media.
const DISCARD: u16 = 9;

/// How many adjacent ports one line gets: four streams with their RTCP.
const MOST_PORTS: usize = 8;

impl Fixup<'_> {
    /// A session description at `span`. Leaves what it read in the work's session.
    pub fn session_description(&mut self, span: Range<usize>) {
        let mut session = core::mem::take(&mut self.work.session);
        let body = self.message.get(span.clone()).unwrap_or_default();
        if self.work.descriptions.read(body, &mut session) {
            let number = self.session();
            self.out.event(|| Event::BodyFound { session: number });
            self.out.event(|| Event::MediaLines(session.media.len()));
            match self.from {
                Leg::Inside => self.offer_outward(&session, span.start),
                Leg::Outside => self.offer_inward(&session, span.start),
            }
            let edits = &self.work.edits;
            self.out.event(|| Event::SdpLength {
                old: span.len(),
                new: span
                    .len()
                    .saturating_add_signed(edits.growth(span.clone()) as isize),
            });
        }
        self.work.session = session;
    }

    fn offer_outward(&mut self, session: &Session, at: usize) {
        // Whether any line was translated, whether any was refused, and what those that go by the
        // session's `c=` became.
        let (mut translated, mut refused, mut shared) = (false, false, None);
        for (media, line) in session.media.iter().zip(0u16..) {
            let Some(connection) = session.connection_of(media) else {
                continue;
            };
            if connection.address.is_unspecified() {
                // Held in the RFC 2543 way: the stream may come back to the same port.
                let kept = self.work.current.iter().filter(|(old, _)| *old == line);
                self.work.doors.extend(kept);
                continue;
            }
            let local = SocketAddrV4::new(connection.address, media.port);
            if !self.cx.config.fixes_up(media.protocol(), local) {
                self.leaks(LeakPlace::Media, media.protocol(), local);
                continue;
            }
            let Some(global) = self.media_outward(media, line, local, at) else {
                refused = true;
                continue;
            };
            translated = true;
            match media.connection {
                Some(own) => self.address_at(at, own, global, &Text::address(global)),
                None => shared = shared.or(Some(global)),
            }
        }
        // When all lines are mapped: an attribute may name the port of a later line.
        for media in &session.media {
            self.elsewhere(media, session.candidates_of(media), at);
        }
        // What was refused as a whole stays as a whole.
        let whole = shared.is_some() || !refused;
        let shared = shared.map(|global| (global, Text::address(global)));
        let of_media = session.connection.map(|literal| literal.address);
        let mut write = |literal: &Literal| match &shared {
            Some((global, text)) if of_media == Some(literal.address) => {
                self.address_at(at, *literal, *global, text);
            }
            _ => {
                let local = SocketAddrV4::new(literal.address, 0);
                if let Some(global) = self.address_of(Protocol::Udp, local) {
                    self.address_at(at, *literal, global, &Text::address(global));
                }
            }
        };
        let origin = session.origin.as_ref();
        origin.filter(|_| translated || !refused).map(&mut write);
        session.connection.as_ref().filter(|_| whole).map(write);
    }

    /// One `m=` line: maps its port and its RTCP, and writes the numbers. Gives the address that it
    /// became, or none if it is refused and stays as it is.
    fn media_outward(
        &mut self,
        media: &Media,
        line: u16,
        local: SocketAddrV4,
        at: usize,
    ) -> Option<Ipv4Addr> {
        let (protocol, address) = (media.protocol(), *local.ip());
        // RFC 4145 section 4.1: the active side of TCP media is not connected to, and writes 9.
        let active = protocol == Protocol::Tcp && media.port == DISCARD;
        if self.quoted
            && media.port != 0
            && let Some(new) = self.global_of(protocol, local)
        {
            self.port_at(media, local, new, at);
        }
        if self.quoted || active || media.port == 0 {
            return self.address_of(protocol, local);
        }
        // The last port has none for RTCP behind it.
        let ports = match protocol {
            Protocol::Udp => media.count.saturating_mul(2).min(MOST_PORTS as u16),
            Protocol::Tcp => 1,
        }
        .min((u16::MAX - media.port).saturating_add(1));
        let before = self.work.doors.len();
        let missing = self.ask_for(line, protocol, local, ports);
        let config = self.cx.config;
        let allowed = self.may_open_for(address)
            && may_lead(config, DoorKind::Media, protocol, local)
            && usize::from(line) < config.limits.media_lines;
        if !allowed || !self.has_room_for_doors(missing, address) {
            self.work.doors.truncate(before);
            self.leaks(LeakPlace::Media, protocol, local);
            self.refused(local);
            return None;
        }
        if missing > 0 {
            self.work.doors.truncate(before);
            let own = self.own_address(address);
            self.nat
                .map_run(&mut self.cx, protocol, local, ports, own, self.out)
                .ok()?;
            self.ask_for(line, protocol, local, ports);
        }
        self.named_media(before);
        let (_, first) = self.work.doors.get(before)?;
        let new = self.nat.get(*first)?.global;
        self.port_at(media, local, new, at);
        self.out.event(|| Event::MediaTranslated {
            from: local,
            to: new,
        });
        self.rtcp_outward(media, line, address, at);
        Some(*new.ip())
    }

    /// Asks for the doors of so many adjacent ports, as far as they are mapped; how many are not.
    fn ask_for(&mut self, line: u16, protocol: Protocol, from: SocketAddrV4, ports: u16) -> usize {
        let mut missing = 0;
        for offset in 0..ports {
            let port = from.port().saturating_add(offset);
            let local = SocketAddrV4::new(*from.ip(), port);
            match self.nat.find_local(protocol, local) {
                Some(mapping) => self.work.doors.push((line, mapping)),
                None => missing += 1,
            }
        }
        missing
    }

    /// Whether the host may have as many doors more as the message asks for, and those of so many
    /// ports that are not mapped. What is open already needs no more room: an offer that is sent again
    /// stays the same.
    fn has_room_for_doors(&mut self, missing: usize, host: Ipv4Addr) -> bool {
        let closed = self.work.doors.iter();
        let closed = closed.filter(|(_, mapping)| !self.nat.is_open(*mapping));
        let more = closed.count() + missing;
        let at = (self.cx.now, self.cx.config);
        let admission = &mut self.cx.admission;
        more == 0 || admission.admits(at, Resource::Door, host, more as u64, self.out)
    }

    fn port_at(&mut self, media: &Media, old: SocketAddrV4, new: SocketAddrV4, at: usize) {
        if self.is_to_write(at, media.port_span, old.port(), new.port()) {
            let by = By::mapping(self.from, media.protocol(), old, new);
            self.number_at(at, media.port_span, new.port(), by);
        }
    }

    /// The line whose event comes next may open the doors that were asked for since then.
    fn named_media(&mut self, since: usize) {
        if !self.out.watch {
            return;
        }
        let doors = self.work.doors.get(since..).unwrap_or_default();
        self.work
            .named
            .extend(doors.iter().map(|(_, mapping)| Named {
                after: self.out.events.len(),
                mapping: *mapping,
                media: true,
            }));
    }

    /// The same addresses in other attributes: the candidate that is the default destination, so that
    /// no `ice-mismatch` comes of it (RFC 8839 section 4.2.5), and the path of MSRP. Other candidates
    /// stay as they are.
    fn elsewhere(&mut self, media: &Media, candidates: &[Candidate], at: usize) {
        for candidate in candidates {
            let old = SocketAddrV4::new(candidate.address.address, candidate.port);
            if let Some(new) = self.other_side(Protocol::Udp, old) {
                let by = By::mapping(self.from, Protocol::Udp, old, new);
                let address = Text::address(*new.ip());
                self.replace_at(at, candidate.address.span, address, by);
                self.number_at(at, candidate.port_span, new.port(), by);
            }
        }
        if let Some(path) = &media.path {
            let old = SocketAddrV4::new(path.address, path.port);
            if let Some(new) = self.other_side(Protocol::Tcp, old) {
                let by = By::mapping(self.from, Protocol::Tcp, old, new);
                self.replace_at(at, path.span, Text::endpoint(new), by);
            }
        }
    }

    /// What a mapped address is on the side that the message goes to.
    fn other_side(&self, protocol: Protocol, address: SocketAddrV4) -> Option<SocketAddrV4> {
        match self.from {
            Leg::Inside => self.global_of(protocol, address),
            Leg::Outside => self.local_of(protocol, address),
        }
    }

    fn global_of(&self, protocol: Protocol, local: SocketAddrV4) -> Option<SocketAddrV4> {
        let config = self.cx.config;
        let fixed_up = config.fixes_up(protocol, local);
        let known = self.nat.global_of(config, protocol, local);
        known.filter(|_| fixed_up)
    }

    /// `a=rtcp:` (RFC 3605): usually the odd port of the pair, which is mapped already.
    fn rtcp_outward(&mut self, media: &Media, line: u16, address: Ipv4Addr, at: usize) {
        let Some(rtcp) = &media.rtcp else {
            return;
        };
        let host = rtcp
            .address
            .as_ref()
            .map_or(address, |literal| literal.address);
        if host != address || rtcp.port < LOWEST_PORT {
            return;
        }
        let local = SocketAddrV4::new(host, rtcp.port);
        let Ok(mapping) = self.map(Protocol::Udp, local) else {
            return;
        };
        if !self.work.doors.contains(&(line, mapping)) {
            self.work.doors.push((line, mapping));
        }
        if let Some(new) = self.nat.get(mapping).map(|mapping| mapping.global) {
            let by = By::mapping(self.from, Protocol::Udp, local, new);
            self.number_at(at, rtcp.port_span, new.port(), by);
            if let Some(literal) = &rtcp.address {
                self.replace_at(at, literal.span, Text::address(*new.ip()), by);
            }
        }
    }

    /// On the way in only what is ours is turned back: an echo, or the offer of another inside host,
    /// whose media then stays inside.
    fn offer_inward(&mut self, session: &Session, at: usize) {
        // Where all lines that go by the session's `c=` lead, and the inside local if they were ours:
        // what is the outside's own stays, however it is spelled.
        let (mut shared, mut inside): (Option<Ipv4Addr>, Option<Ipv4Addr>) = (None, None);
        let (mut mixed, mut ours) = (false, false);
        for media in session.media.iter().filter(|media| media.port != 0) {
            let Some(connection) = session.connection_of(media) else {
                continue;
            };
            let global = SocketAddrV4::new(connection.address, media.port);
            let local = self.local_of(media.protocol(), global);
            ours |= local.is_some();
            if local.is_none() {
                self.leaks(LeakPlace::Media, media.protocol(), global);
            }
            if media.connection.is_none() {
                let address = local.map_or(connection.address, |local| *local.ip());
                inside = inside.or(local.map(|local| *local.ip()));
                mixed |= *shared.get_or_insert(address) != address;
            }
        }
        if mixed {
            return;
        }
        let lines = session.media.iter().filter(|media| ours && media.port != 0);
        for media in lines {
            let Some(connection) = session.connection_of(media) else {
                continue;
            };
            let global = SocketAddrV4::new(connection.address, media.port);
            let Some(local) = self.local_of(media.protocol(), global) else {
                continue;
            };
            self.port_at(media, global, local, at);
            if let Some(own) = media.connection {
                self.address_at(at, own, *local.ip(), &Text::address(*local.ip()));
            }
            self.out.event(|| Event::MediaTranslated {
                from: global,
                to: local,
            });
            self.rtcp_inward(media, connection.address, at);
            self.elsewhere(media, session.candidates_of(media), at);
        }
        if let (Some(address), Some(connection)) = (inside, session.connection) {
            self.address_at(at, connection, address, &Text::address(address));
        }
        let origin = session.origin;
        if let Some(origin) = origin.filter(|o| self.is_address_of_host(o.address)) {
            let address = inside.unwrap_or(self.host.local);
            self.address_at(at, origin, address, &Text::address(address));
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
            let by = By::mapping(self.from, Protocol::Udp, global, local);
            self.number_at(at, rtcp.port_span, local.port(), by);
            if let Some(literal) = &rtcp.address {
                self.replace_at(at, literal.span, Text::address(*local.ip()), by);
            }
        }
    }

    /// Replaces a place of the body that begins at `at`.
    fn replace_at(&mut self, at: usize, span: Span, text: Text, by: By) {
        let span = at + span.start as usize..at + span.end as usize;
        self.work.edits.replace(self.message, span, text, by);
    }

    fn number_at(&mut self, at: usize, span: Span, number: u16, by: By) {
        self.replace_at(at, span, Text::number(u64::from(number)), by);
    }

    /// Whether a port changes. Nearly always it is kept; with a zero before it, it is written anew.
    fn is_to_write(&self, at: usize, span: Span, old: u16, new: u16) -> bool {
        old != new || self.message.get(at + span.start as usize) == Some(&b'0')
    }

    fn address_at(&mut self, at: usize, literal: Literal, new: Ipv4Addr, text: &Text) {
        let by = By::address(self.from, literal.address, new);
        if literal.address == new {
            // It may be written with zeros.
            return self.replace_at(at, literal.span, *text, by);
        }
        let span = at + literal.span.start as usize..at + literal.span.end as usize;
        self.work.edits.insert(span, text, by);
    }
}
