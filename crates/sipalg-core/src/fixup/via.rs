//! Via: the sent-by of who sent the message, and what servers wrote about where it came from.

use super::edit::Text;
use super::table::{Reach, Row};
use super::{Fixup, Of, short_way};
use crate::addr::{Ipv4Addr, Leg, Protocol, SocketAddrV4};
use crate::event::By;
use crate::nat::{Mapping, MappingId};
use crate::sip::Field;
use crate::sip::uri::{self, HostPort, Target, Transport, usual};
use crate::spelling::Family;
use core::ops::Range;

impl Fixup<'_> {
    /// A field with Via values.
    pub(super) fn vias(&mut self, field: &Field, row: &'static Row) {
        match usual::via(self.message, field.value.clone()) {
            Some(via) if short_way() => {
                self.first_visit(via.sent_by, Of::Via(via.transport, via.parameters, row))
            }
            _ => self.values(field, row),
        }
    }

    /// One Via value.
    pub(super) fn via(&mut self, value: Range<usize>, reach: Reach) {
        let Some(via) = uri::via(self.message, value) else {
            return;
        };
        let transport = via.transport;
        let sent_by = via
            .sent_by
            .and_then(|host| self.literal(&Target { host, transport }, reach, Family::Via));
        self.via_parameters(sent_by, transport, via.parameters);
    }

    /// Fixes up what a server wrote into the `received` and `rport` of a Via about a host of ours
    /// (RFC 3581): a host sees inside addresses there, the outside what it saw itself. `sent_by` is
    /// the mapping of its sent-by.
    pub(super) fn via_parameters(
        &mut self,
        sent_by: Option<MappingId>,
        transport: Transport,
        parameters: Range<usize>,
    ) {
        let message = self.message;
        let (mut received, mut rport, mut symmetric) = (None, None, false);
        let told = !parameters.is_empty();
        let parameters = told.then(|| uri::parameters(message, parameters));
        for parameter in parameters.into_iter().flatten() {
            let value = parameter.value.clone();
            symmetric |= parameter.is(message, b"rport");
            if parameter.is(message, b"maddr") {
                if let Some(host) = uri::host_port(message, value) {
                    self.literal(&Target { host, transport }, Reach::Identity, Family::Via);
                }
            } else if parameter.is(message, b"received") {
                received = uri::host_port(message, value);
            } else if parameter.is(message, b"rport") && !value.is_empty() {
                rport = parameter.number(message).map(|port| (value, port));
            }
        }
        if let Some(received) = received {
            self.source(received, rport, transport);
        }
        if self.topmost {
            self.topmost = false;
            let own = sent_by.filter(|id| {
                let own =
                    |m: &Mapping| *m.local.ip() == self.host.local && m.protocol == Protocol::Udp;
                !symmetric && self.nat.get(*id).is_some_and(own)
            });
            self.work.answers = own;
            own.into_iter().for_each(|mapping| self.named(mapping));
        }
    }

    /// Fixes up what a server wrote about where a request came from.
    fn source(
        &mut self,
        received: HostPort,
        rport: Option<(Range<usize>, u64)>,
        transport: Transport,
    ) {
        let port = rport.and_then(|(span, port)| Some((span, u16::try_from(port).ok()?)));
        let known = port.and_then(|(span, port)| {
            let seen = SocketAddrV4::new(received.address, port);
            Some((span, seen, self.source_as_seen(seen, transport)?))
        });
        let Some((span, seen, becomes)) = known else {
            // Without a mapping it is a name of the host, which the text brings back.
            let host = HostPort {
                span: received.host_span.clone(),
                port: None,
                ..received
            };
            self.literal(&Target { host, transport }, Reach::Identity, Family::Source);
            return;
        };
        self.replace_address(&received, *becomes.ip());
        let text = Text::number(u64::from(becomes.port()));
        let by = By::mapping(self.from, self.protocol_of(transport), seen, becomes);
        if self.work.edits.replace(self.message, span, text, by) {
            self.port_event(seen.port(), becomes.port());
        }
    }

    /// What a source is on the other side, by its mapping.
    fn source_as_seen(&self, seen: SocketAddrV4, transport: Transport) -> Option<SocketAddrV4> {
        let (config, protocol) = (self.cx.config, self.protocol_of(transport));
        match self.from {
            Leg::Outside => self.local_of(protocol, seen),
            Leg::Inside if config.fixes_up(protocol, seen) => {
                self.nat.global_of(config, protocol, seen)
            }
            Leg::Inside => None,
        }
    }

    fn replace_address(&mut self, host: &HostPort, address: Ipv4Addr) {
        let by = By::address(self.from, host.address, address);
        let (span, text) = (host.host_span.clone(), Text::address(address));
        if self.work.edits.replace(self.message, span, text, by) {
            let port = host.port.unwrap_or(0);
            self.address_event(
                SocketAddrV4::new(host.address, port),
                SocketAddrV4::new(address, port),
            );
        }
    }
}
