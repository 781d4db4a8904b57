//! Session descriptions: `m=` lines get doors, and all addresses in them follow.

use super::edit::Text;
use super::{Fixup, Named};
use crate::addr::{Ipv4Addr, Leg, Protocol, SocketAddrV4};
use crate::config::Resource;
use crate::door::DoorKind;
use crate::event::{By, Event};
use crate::health::LeakPlace;
use crate::nat::MappingId;
use crate::nat::may_lead;
use crate::nat::policy::LOWEST_PORT;
use crate::sdp::{Literal, Media, Session};
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
        if session.parse(body) {
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
            match &media.connection {
                Some(own) => self.address_at(at, own, global),
                None => shared = shared.or(Some(global)),
            }
        }
        // When all lines are mapped: an attribute may name the port of a later line.
        for media in &session.media {
            self.elsewhere(media, at);
        }
        // What was refused as a whole stays as a whole.
        let origin = session.origin.iter().filter(|_| translated || !refused);
        let whole = shared.is_some() || !refused;
        let connection = session.connection.iter().filter(|_| whole);
        let of_media = session.connection.as_ref().map(|literal| literal.address);
        for literal in origin.chain(connection) {
            let of_media = shared.filter(|_| of_media == Some(literal.address));
            let local = SocketAddrV4::new(literal.address, 0);
            let global = of_media.or_else(|| self.address_of(Protocol::Udp, local));
            if let Some(global) = global {
                self.address_at(at, literal, global);
            }
        }
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
        let address = *local.ip();
        let known = self.address_of(media.protocol(), local);
        if media.port == 0 {
            return known;
        }
        if self.quoted {
            if let Some(new) = self.global_of(media.protocol(), local) {
                self.port_at(media, local, new, at);
            }
            return known;
        }
        // RFC 4145 section 4.1: the active side of TCP media is not connected to, and writes 9.
        if !media.udp && media.port == DISCARD {
            return known;
        }
        // The last port has none for RTCP behind it.
        let ports = match media.protocol() {
            Protocol::Udp => media.count.saturating_mul(2).min(MOST_PORTS as u16),
            Protocol::Tcp => 1,
        }
        .min((u16::MAX - media.port).saturating_add(1));
        // What is open already needs no more room: an offer that is sent again stays the same.
        let mut run = self.run(media.protocol(), local, ports);
        let is_new = |mapping: &Option<MappingId>| mapping.is_none_or(|id| !self.nat.is_open(id));
        let asked = self.work.doors.iter().filter(|(_, id)| is_new(&Some(*id)));
        let wanted = run.iter().take(usize::from(ports)).filter(|id| is_new(id));
        let more = asked.count() + wanted.count();
        let config = self.cx.config;
        let allowed = self.may_open_for(address)
            && may_lead(config, DoorKind::Media, media.protocol(), local)
            && usize::from(line) < config.limits.media_lines;
        let at_once = (self.cx.now, config);
        let admission = &mut self.cx.admission;
        if !allowed || !admission.admits(at_once, Resource::Door, address, more as u64, self.out) {
            self.leaks(LeakPlace::Media, media.protocol(), local);
            self.refused(local);
            return None;
        }
        if run.iter().take(usize::from(ports)).any(Option::is_none) {
            let own = self.own_address(address);
            self.nat
                .map_run(&mut self.cx, media.protocol(), local, ports, own, self.out)
                .ok()?;
            run = self.run(media.protocol(), local, ports);
        }
        for mapping in run.into_iter().flatten() {
            self.work.doors.push((line, mapping));
            self.named_media(mapping);
        }
        let [first, ..] = run;
        let first = first?;
        let new = self.nat.get(first)?.global;
        self.port_at(media, local, new, at);
        self.out.event(|| Event::MediaTranslated {
            from: local,
            to: new,
        });
        self.rtcp_outward(media, line, address, at);
        Some(*new.ip())
    }

    /// The mappings of so many adjacent ports, as far as there are any.
    fn run(
        &self,
        protocol: Protocol,
        from: SocketAddrV4,
        ports: u16,
    ) -> [Option<MappingId>; MOST_PORTS] {
        let mut run = [None; MOST_PORTS];
        for (offset, mapping) in (0..ports).zip(&mut run) {
            let port = from.port().saturating_add(offset);
            let local = SocketAddrV4::new(*from.ip(), port);
            *mapping = (self.nat).find_local_among(&self.work.media, protocol, local);
        }
        run
    }

    fn port_at(&mut self, media: &Media, old: SocketAddrV4, new: SocketAddrV4, at: usize) {
        let by = By::mapping(self.from, media.protocol(), old, new);
        self.number_at(at, media.port_span.clone(), new.port(), by);
    }

    /// The line whose event comes next may open this mapping's door.
    fn named_media(&mut self, mapping: MappingId) {
        if self.out.watch {
            self.work.named.push(Named {
                after: self.out.events.len(),
                mapping,
                media: true,
            });
        }
    }

    /// The same addresses in other attributes: the candidate that is the default destination, so that
    /// no `ice-mismatch` comes of it (RFC 8839 section 4.2.5), and the path of MSRP. Other candidates
    /// stay as they are.
    fn elsewhere(&mut self, media: &Media, at: usize) {
        for candidate in &media.candidates {
            let old = SocketAddrV4::new(candidate.address.address, candidate.port);
            if let Some(new) = self.other_side(Protocol::Udp, old) {
                let by = By::mapping(self.from, Protocol::Udp, old, new);
                let address = Text::address(*new.ip());
                self.replace_at(at, candidate.address.span.clone(), address, by);
                self.number_at(at, candidate.port_span.clone(), new.port(), by);
            }
        }
        if let Some(path) = &media.path {
            let old = SocketAddrV4::new(path.address, path.port.unwrap_or(media.port));
            if let Some(new) = self.other_side(Protocol::Tcp, old) {
                let by = By::mapping(self.from, Protocol::Tcp, old, new);
                self.replace_at(at, path.span.clone(), Text::endpoint(new), by);
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
            self.number_at(at, rtcp.port_span.clone(), new.port(), by);
            if let Some(literal) = &rtcp.address {
                self.replace_at(at, literal.span.clone(), Text::address(*new.ip()), by);
            }
        }
    }

    /// On the way in only what is ours is turned back: an echo, or the offer of another inside host,
    /// whose media then stays inside.
    fn offer_inward(&mut self, session: &Session, at: usize) {
        // Where all lines that go by the session's `c=` lead, and the inside local if they were ours:
        // what is the outside's own stays, however it is spelled.
        let (mut shared, mut inside): (Option<Ipv4Addr>, Option<Ipv4Addr>) = (None, None);
        let mut mixed = false;
        for media in session.media.iter().filter(|media| media.port != 0) {
            let Some(connection) = session.connection_of(media) else {
                continue;
            };
            let global = SocketAddrV4::new(connection.address, media.port);
            let local = self.local_of(media.protocol(), global);
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
        for media in session.media.iter().filter(|media| media.port != 0) {
            let Some(connection) = session.connection_of(media) else {
                continue;
            };
            let global = SocketAddrV4::new(connection.address, media.port);
            let Some(local) = self.local_of(media.protocol(), global) else {
                continue;
            };
            self.port_at(media, global, local, at);
            if let Some(own) = &media.connection {
                self.address_at(at, own, *local.ip());
            }
            self.out.event(|| Event::MediaTranslated {
                from: global,
                to: local,
            });
            self.rtcp_inward(media, connection.address, at);
            self.elsewhere(media, at);
        }
        if let (Some(address), Some(connection)) = (inside, &session.connection) {
            self.address_at(at, connection, address);
        }
        if let Some(origin) = session
            .origin
            .as_ref()
            .filter(|o| self.is_address_of_host(o.address))
        {
            let address = inside.unwrap_or(self.host.local);
            self.address_at(at, origin, address);
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
            self.number_at(at, rtcp.port_span.clone(), local.port(), by);
            if let Some(literal) = &rtcp.address {
                self.replace_at(at, literal.span.clone(), Text::address(*local.ip()), by);
            }
        }
    }

    /// Replaces a place of the body that begins at `at`.
    fn replace_at(&mut self, at: usize, span: Range<usize>, text: Text, by: By) {
        let span = at + span.start..at + span.end;
        self.work.edits.replace(self.message, span, text, by);
    }

    fn number_at(&mut self, at: usize, span: Range<usize>, number: u16, by: By) {
        self.replace_at(at, span, Text::number(u64::from(number)), by);
    }

    fn address_at(&mut self, at: usize, literal: &Literal, new: Ipv4Addr) {
        let by = By::address(self.from, literal.address, new);
        self.replace_at(at, literal.span.clone(), Text::address(new), by);
    }
}
