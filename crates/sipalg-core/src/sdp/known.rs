//! Session descriptions like one that was read before: everything is where it was in that.

use super::{Session, whole_number};
use crate::alike::Alike;
use core::ops::Range;

/// Those that were met.
#[derive(Debug, Default)]
pub struct Descriptions {
    met: Alike<Known>,
}

/// What was found in one.
#[derive(Debug, Default)]
struct Known {
    session: Session,
    /// How long it is, bytes.
    length: usize,
}

impl Descriptions {
    /// Reads `body` as [`Session::parse`] does.
    pub fn read(&mut self, body: &[u8], session: &mut Session) -> bool {
        if let Some((_, known)) = self.met.find(body)
            && known.length == body.len()
        {
            session.copy(&known.session);
            if session.read_ports(body) {
                return true;
            }
        }
        let is_one = session.parse(body);
        if is_one && let Some((_, seen)) = self.met.remember(body) {
            session.numbers(body).for_each(|places| seen.allow(places));
            seen.found.session.copy(session);
            seen.found.length = body.len();
        }
        is_one
    }
}

impl Session {
    /// Becomes a copy of another, in the same memory.
    fn copy(&mut self, other: &Session) {
        self.origin = other.origin;
        self.connection = other.connection;
        self.direction = other.direction;
        self.media.clear();
        self.media.extend_from_slice(&other.media);
        self.candidates.clear();
        self.candidates.extend_from_slice(&other.candidates);
    }

    /// Reads the ports of the sections again, where they were; false if one is none.
    fn read_ports(&mut self, body: &[u8]) -> bool {
        let mut sections = self.media.iter_mut().filter(|media| media.has_port());
        sections.all(|media| match whole_number(body, media.port_span.range()) {
            Some(port) => {
                media.port = port;
                true
            }
            None => false,
        })
    }

    /// Where numbers stand that differ from call to call, and say nothing of where others are: the
    /// ports of the sections, and who and which in `o=` (RFC 8866 section 5.2).
    fn numbers(&self, body: &[u8]) -> impl Iterator<Item = Range<usize>> {
        let of_origin = self.origin.and_then(|origin| {
            let before = body.get(..origin.span.start as usize)?;
            let line = memchr::memrchr(b'\n', before)? + 1;
            let usual = before.ends_with(b" IN IP4 ");
            usual.then(|| line + b"o=".len()..before.len() - b" IN IP4 ".len())
        });
        let sections = self.media.iter().filter(|media| media.has_port());
        let ports = sections.map(|media| media.port_span.range());
        of_origin.into_iter().chain(ports)
    }
}

impl super::Media {
    /// Whether its line could be read.
    fn has_port(&self) -> bool {
        self.port_span.start < self.port_span.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_any_letter_or_digit_anywhere_it_is_read_as_it_would_be_anew() {
        let text = "v=0\r\no=bob 28 09 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
                    m=audio 60000/2 RTP/AVP 0\r\na=rtcp:7\r\na=sendonly\r\nm=video 0 RTP/AVP 31\r\n\
                    m=x\r\nm=t 5 TCP/MSRP *\r\na=candidate:1 1 UDP 2 10.0.0.1 6 typ host\r\n";
        let mut known = Descriptions::default();
        let mut plain = Session::default();
        let mut session = Session::default();
        for _ in 0..3 {
            assert!(known.read(text.as_bytes(), &mut session));
        }
        let mut alike = 0;
        for (place, byte) in text.bytes().enumerate() {
            for other in *b"0159aZm\n " {
                let mut body = text.as_bytes().to_vec();
                body[place] = other;
                alike += usize::from(byte != other && known.met.find(&body).is_some());
                let read = known.read(&body, &mut session);
                assert_eq!(read, plain.parse(&body), "{place} {other}");
                assert!(!read || session == plain, "{place} {other}");
                body.extend_from_slice(b"m=audio 7 RTP/AVP 0\r\n");
                assert_eq!(known.read(&body, &mut session), plain.parse(&body));
                assert!(!read || session == plain, "{place} {other}");
            }
        }
        assert!(alike > 50, "{alike}");
    }
}
