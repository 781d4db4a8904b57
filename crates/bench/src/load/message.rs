//! The messages of the load, in the shape of the reference: an INVITE of 376 bytes of header and
//! 133 of body. Numbers have a fixed width, so that they are exchanged in place.

use std::fmt::Write as _;
use std::net::SocketAddrV4;

/// How the header of an INVITE is long, in bytes.
pub const HEADER: usize = 376;
/// How its body is long, in bytes.
pub const BODY: usize = 133;

/// What the server does with an INVITE; it stands in the user part of the request's URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// It is counted and not answered.
    Sink,
    /// It is answered.
    Answer,
    /// Before it is answered, a datagram goes to each media port that it names; once more after
    /// its BYE.
    Probe,
    /// It is answered, and its media ports are remembered.
    Hold,
}

impl Wish {
    /// All, with the user part that stands for each.
    pub const ALL: [(Wish, &str); 4] = [
        (Wish::Sink, "sink"),
        (Wish::Answer, "talk"),
        (Wish::Probe, "test"),
        (Wish::Hold, "hold"),
    ];

    fn user(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(wish, _)| *wish == self)
            .map_or("", |(_, user)| user)
    }
}

/// Who speaks to whom.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// The connection's own end; Via and Contact name it, since a phone can be reached by it.
    pub own: SocketAddrV4,
    /// The server.
    pub server: SocketAddrV4,
}

/// A request whose numbers can be exchanged.
#[derive(Debug, Clone)]
pub struct Template {
    bytes: Vec<u8>,
    /// Where eight digits of the call's number stand.
    calls: Vec<usize>,
    /// Where eight digits of the request's number stand.
    requests: Vec<usize>,
    /// Where five digits of the media port stand.
    media: Option<usize>,
    /// Where the user part of the request's URI stands.
    wish: Option<usize>,
}

/// How a template spells the call's number until it is exchanged.
const CALL: &str = "10000000";
/// The same of the request's number.
const REQUEST: &str = "20000000";
/// And of the media port.
const MEDIA: &str = "30000";

impl Template {
    /// An INVITE in the shape of the reference.
    pub fn invite(ends: Ends) -> Self {
        let own = ends.own.ip();
        let mut body = format!(
            "v=0\r\no=alice {CALL} 1 IN IP4 {own}\r\ns=-\r\nc=IN IP4 {own}\r\nt=0 0\r\n\
             m=audio {MEDIA} RTP/AVP 0\r\na=sendrecv\r\na=",
        );
        pad(&mut body, BODY - 2);
        body.push_str("\r\n");
        let mut text = start("INVITE", ends);
        _ = write!(
            text,
            "Contact: <sip:alice@{};transport=tcp>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {BODY}\r\nUser-Agent: ",
            ends.own
        );
        pad(&mut text, HEADER - 4);
        Self::new(&(text + "\r\n\r\n" + &body))
    }

    /// An ACK or BYE inside the dialog of an answered INVITE.
    pub fn within(method: &str, ends: Ends) -> Self {
        Self::new(&(start(method, ends) + "Content-Length: 0\r\n\r\n"))
    }

    /// A REGISTER of `contact`.
    pub fn register(ends: Ends, contact: SocketAddrV4) -> Self {
        let text = start("REGISTER", ends)
            + &format!("Contact: <sip:u{CALL}@{contact};transport=tcp>\r\n")
            + "Expires: 3600\r\nContent-Length: 0\r\n\r\n";
        Self::new(&text)
    }

    /// A request that is answered, and changes nothing.
    pub fn options(ends: Ends) -> Self {
        Self::new(&(start("OPTIONS", ends) + "Content-Length: 0\r\n\r\n"))
    }

    fn new(text: &str) -> Self {
        let all = |number: &str| text.match_indices(number).map(|(at, _)| at).collect();
        let user = format!("sip:{}@", Wish::Answer.user());
        Template {
            bytes: text.as_bytes().to_vec(),
            calls: all(CALL),
            requests: all(REQUEST),
            media: text
                .find(&format!("audio {MEDIA}"))
                .map(|at| at + "audio ".len()),
            wish: text.find(&user).map(|at| at + "sip:".len()),
        }
    }

    /// Sets the number of the call, below a hundred million.
    pub fn call(&mut self, number: u32) -> &mut Self {
        self.calls
            .iter()
            .for_each(|&at| digits(&mut self.bytes[at..at + CALL.len()], number));
        self
    }

    /// Sets the number of the request, below a hundred million.
    pub fn request(&mut self, number: u32) -> &mut Self {
        let places = self.requests.iter();
        places.for_each(|&at| digits(&mut self.bytes[at..at + REQUEST.len()], number));
        self
    }

    /// Sets the media port; at least 10000, so that it has five digits.
    pub fn media(&mut self, port: u16) -> &mut Self {
        if let Some(at) = self.media {
            digits(&mut self.bytes[at..at + MEDIA.len()], port.into());
        }
        self
    }

    /// Sets what the server is to do with it.
    pub fn wish(&mut self, wish: Wish) -> &mut Self {
        if let Some(at) = self.wish {
            self.bytes[at..at + wish.user().len()].copy_from_slice(wish.user().as_bytes());
        }
        self
    }

    /// The message.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The lines that every request has. The kernel's helper knows an address by its port only, so
/// From has one, too.
fn start(method: &str, Ends { own, server }: Ends) -> String {
    let tag = if matches!(method, "ACK" | "BYE") {
        TO_TAG
    } else {
        ""
    };
    format!(
        "{method} sip:{}@{server} SIP/2.0\r\nVia: SIP/2.0/TCP {own};branch=z9hG4bK{REQUEST}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@{own}>;tag={CALL}\r\nTo: <sip:bob@{}>{tag}\r\n\
         Call-ID: {CALL}@alice\r\nCSeq: {REQUEST} {method}\r\n",
        Wish::Answer.user(),
        server.ip()
    )
}

/// What the server's answers add to the field To.
pub const TO_TAG: &str = ";tag=bob";

/// Lengthens a text.
fn pad(text: &mut String, to: usize) {
    while text.len() < to {
        text.push('x');
    }
}

/// Writes a number as decimal digits that fill the place.
fn digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame;
    use super::*;
    use std::net::Ipv4Addr;

    fn ends() -> Ends {
        Ends {
            own: SocketAddrV4::new(Ipv4Addr::new(192, 168, 122, 3), 40000),
            server: SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, 2), 5060),
        }
    }

    #[test]
    fn an_invite_has_the_size_of_the_reference_and_its_numbers_are_exchanged_in_place() {
        let mut invite = Template::invite(ends());
        invite.call(77).request(5).media(12346).wish(Wish::Hold);
        let (message, length) = frame::first(invite.bytes()).expect("one").expect("whole");
        assert_eq!((message.head.len(), message.body.len()), (HEADER, BODY));
        assert_eq!(length, HEADER + BODY);
        assert_eq!(
            frame::field(message.head, "Call-ID"),
            Some(&b"00000077@alice"[..])
        );
        assert_eq!(
            frame::field(message.head, "CSeq"),
            Some(&b"00000005 INVITE"[..])
        );
        let text = String::from_utf8_lossy(invite.bytes());
        assert!(text.starts_with("INVITE sip:hold@10.1.1.2:5060 "), "{text}");
        assert!(text.contains("m=audio 12346 "), "{text}");
    }
}
