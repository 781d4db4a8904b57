//! What the outside has sent, when the capture shows what an inside host got.
//!
//! The machine turns inside globals into inside locals on the way in. Where a capture was taken
//! inside, that has been done, or there was no NAT; here it is undone, so that the machine sees what
//! it would have seen. The places are those of the machine's table. Bodies stay: what the outside
//! describes there is its own.

use sipalg_core::Protocol;
use sipalg_core::frame::Message;
use sipalg_core::sip::uri::{self, HostPort, Transport};
use sipalg_core::sip::{Field, Name, StartLine};
use std::net::SocketAddrV4;
use std::ops::Range;

/// Finds the inside global of an inside local; `None` for addresses that are not inside.
pub type GlobalOf<'a> = &'a mut dyn FnMut(Protocol, SocketAddrV4) -> Option<SocketAddrV4>;

/// The message with inside globals where it has inside locals. `protocol` is what it came over.
pub fn as_sent(message: &Message<'_>, protocol: Protocol, global_of: GlobalOf<'_>) -> Vec<u8> {
    let mut inverse = Inverse {
        message: message.bytes,
        protocol,
        global_of,
        edits: Vec::new(),
    };
    let line = message.index.start_line.clone();
    if let Some(StartLine::Request { uri, .. }) = StartLine::parse(message.bytes, line) {
        inverse.uri(uri, Means::Endpoint);
    }
    for field in &message.index.fields {
        inverse.field(field);
    }
    inverse.apply()
}

struct Inverse<'a> {
    message: &'a [u8],
    protocol: Protocol,
    global_of: GlobalOf<'a>,
    edits: Vec<(Range<usize>, String)>,
}

/// What a literal without a port means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Means {
    /// The default port.
    Endpoint,
    /// The host alone: it names somebody.
    Name,
}

impl Inverse<'_> {
    fn field(&mut self, field: &Field) {
        let means = match field.name {
            Name::CallId
            | Name::CSeq
            | Name::Expires
            | Name::ContentLength
            | Name::ContentType
            | Name::ContentEncoding => return,
            Name::Via
            | Name::Contact
            | Name::RecordRoute
            | Name::Route
            | Name::Path
            | Name::ServiceRoute => Means::Endpoint,
            _ => Means::Name,
        };
        for value in uri::values(self.message, field.value.clone()) {
            match field.name {
                Name::Via => self.via(value),
                Name::Warning => self.warning(value),
                _ => {
                    if let Some(address) = uri::address(self.message, value) {
                        self.uri(address.uri, means);
                    }
                }
            }
        }
    }

    fn via(&mut self, value: Range<usize>) {
        let Some(via) = uri::via(self.message, value) else {
            return;
        };
        if let Some(sent_by) = &via.sent_by {
            self.literal(sent_by, via.transport, Means::Endpoint);
        }
        let (mut received, mut rport) = (None, None);
        for parameter in uri::parameters(self.message, via.parameters) {
            let host = uri::host_port(self.message, parameter.value.clone());
            if parameter.is(self.message, b"maddr") {
                if let Some(host) = host {
                    self.literal(&host, via.transport, Means::Name);
                }
            } else if parameter.is(self.message, b"received") {
                received = host;
            } else if parameter.is(self.message, b"rport") {
                rport = parameter.number(self.message).zip(Some(parameter.value));
            }
        }
        let Some(received) = received else {
            return;
        };
        let seen = rport.and_then(|(port, span)| Some((u16::try_from(port).ok()?, span)));
        let Some((port, span)) = seen else {
            return self.literal(&received, via.transport, Means::Name);
        };
        let local = SocketAddrV4::new(received.address, port);
        let over = self.over(via.transport);
        if let Some(global) = (self.global_of)(over, local) {
            self.edits
                .push((received.host_span, global.ip().to_string()));
            self.edits.push((span, global.port().to_string()));
        }
    }

    /// `warn-code SP warn-agent SP warn-text` (RFC 3261 section 20.43).
    fn warning(&mut self, value: Range<usize>) {
        let value = uri::trim(self.message, value);
        let text = self.message.get(value.clone()).unwrap_or_default();
        if let Some(space) = text.iter().position(|byte| *byte == b' ') {
            let agent = uri::trim(self.message, value.start + space..value.end);
            if let Some(host) = uri::host_port(self.message, agent) {
                self.literal(&host, Transport::Unsaid, Means::Name);
            }
        }
    }

    fn uri(&mut self, span: Range<usize>, means: Means) {
        if let Some(target) = uri::uri_host(self.message, span) {
            self.literal(&target.host, target.transport, means);
        }
    }

    fn literal(&mut self, host: &HostPort, transport: Transport, means: Means) {
        let default = match transport {
            Transport::Tls => 5061,
            _ => 5060,
        };
        let local = SocketAddrV4::new(host.address, host.port.unwrap_or(default));
        let over = self.over(transport);
        let Some(global) = (self.global_of)(over, local) else {
            return;
        };
        let alone = means == Means::Name || global.port() == default;
        let text = match host.port {
            None if alone => global.ip().to_string(),
            _ => global.to_string(),
        };
        self.edits.push((host.span.clone(), text));
    }

    fn over(&self, transport: Transport) -> Protocol {
        match transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp | Transport::Tls => Protocol::Tcp,
            Transport::Unsaid => self.protocol,
        }
    }

    fn apply(mut self) -> Vec<u8> {
        self.edits.sort_by_key(|(span, _)| span.start);
        let mut text = Vec::with_capacity(self.message.len() + 64);
        let mut at = 0;
        for (span, new) in self.edits {
            text.extend_from_slice(self.message.get(at..span.start).unwrap_or_default());
            text.extend_from_slice(new.as_bytes());
            at = span.end;
        }
        text.extend_from_slice(self.message.get(at..).unwrap_or_default());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipalg_core::config::Limits;
    use sipalg_core::frame::{self, Scan};
    use std::net::Ipv4Addr;

    const GLOBAL: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 1);

    /// 192.168.1.2 keeps its ports, 192.168.1.3 gets those 1000 above.
    fn sent(text: &str) -> String {
        let mut scan = Scan::default();
        let message = frame::datagram(text.as_bytes(), &Limits::default(), &mut scan).unwrap();
        let global_of = &mut |_, local: SocketAddrV4| match local.ip().octets() {
            [192, 168, 1, 2] => Some(SocketAddrV4::new(GLOBAL, local.port())),
            [192, 168, 1, 3] => Some(SocketAddrV4::new(GLOBAL, local.port() + 1000)),
            _ => None,
        };
        String::from_utf8(as_sent(&message, Protocol::Udp, global_of)).unwrap()
    }

    #[test]
    fn what_came_in_is_as_it_was_sent() {
        let got = "INVITE sip:u@192.168.1.3 SIP/2.0\r\n\
            Via: SIP/2.0/UDP 203.0.113.9;branch=1, SIP/2.0/UDP 192.168.1.2:40001;rport=40001;received=192.168.1.2\r\n\
            v: SIP/2.0/TCP 192.168.1.3;received=192.168.1.3\r\n\
            f: \"192.168.1.2\" <sip:x@192.168.1.3>;tag=192.168.1.2\r\n\
            Call-ID: 1@192.168.1.2\r\n\
            X-Note: 192.168.1.2\r\n\
            Warning: 399 192.168.1.2:5060 \"192.168.1.2\"\r\n\
            Contact: <sip:a@192.168.1.2;transport=tcp>, <sip:b@192.168.1.3:9>\r\n\r\n";
        let was = "INVITE sip:u@10.1.1.1:6060 SIP/2.0\r\n\
            Via: SIP/2.0/UDP 203.0.113.9;branch=1, SIP/2.0/UDP 10.1.1.1:40001;rport=40001;received=10.1.1.1\r\n\
            v: SIP/2.0/TCP 10.1.1.1:6060;received=10.1.1.1\r\n\
            f: \"192.168.1.2\" <sip:x@10.1.1.1>;tag=192.168.1.2\r\n\
            Call-ID: 1@192.168.1.2\r\n\
            X-Note: 192.168.1.2\r\n\
            Warning: 399 10.1.1.1:5060 \"192.168.1.2\"\r\n\
            Contact: <sip:a@10.1.1.1;transport=tcp>, <sip:b@10.1.1.1:1009>\r\n\r\n";
        assert_eq!(sent(got), was);
    }

    #[test]
    fn what_names_nobody_inside_stays_to_the_byte() {
        let got = "SIP/2.0  200 OK\r\nVia:SIP/2.0/UDP 203.0.113.9\r\nTo: <sip:x@h>\r\n\r\n";
        assert_eq!(sent(got), got);
    }
}
