//! Whether a stream begins as a SIP message does.

use crate::bytes;
use crate::event::Demotion;
use crate::sip::Start;

/// Judges a start line byte by byte, so that a stream that is not SIP is let go at the first byte
/// that cannot be, and nothing is read twice.
#[derive(Debug, Default)]
pub(super) struct StartCheck {
    state: StartState,
    /// Bytes judged.
    checked: usize,
    /// Bytes of the word being read.
    word: usize,
    /// Length of the method, where the line has the [`usual_beginning`] of a request.
    method: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum StartState {
    #[default]
    Method,
    BeforeUri,
    Scheme,
    Rest,
    Status,
}

/// Longer than any method or URI scheme in use; bounds what is held of a stream of word characters.
const LONGEST_WORD: usize = 64;

impl StartCheck {
    /// The length of the start line with its line end, once it is whole.
    pub fn check(&mut self, message: &[u8]) -> Result<Option<usize>, Demotion> {
        if self.checked == 0 {
            (self.state, self.checked, self.method) = usual_beginning(message).unwrap_or_default();
        }
        while self.checked < message.len() {
            // Behind the scheme only a line end and a NUL decide anything.
            if self.state == StartState::Rest {
                let rest = self.checked..message.len();
                self.checked = bytes::find(message, rest, [b'\n', 0]).unwrap_or(message.len());
            }
            let Some(byte) = message.get(self.checked) else {
                break;
            };
            self.checked += 1;
            if *byte == b'\n' {
                return Ok(Some(self.checked));
            }
            self.state = self.next(message, *byte).ok_or(Demotion::NotSip)?;
        }
        Ok(None)
    }

    /// What a line of that length, which was checked, says if it begins and ends as nearly every
    /// request line does: as [`Start::parse`] finds it, but only its last bytes are looked at.
    pub fn usual_request(&self, message: &[u8], length: usize) -> Option<Start> {
        let uri = message.get(self.method + 1..length)?;
        let uri = uri.strip_suffix(b" SIP/2.0\r\n")?;
        let usual = self.method > 0 && uri.last().is_some_and(u8::is_ascii_graphic);
        usual.then_some(Start::Request {
            method: 0..self.method,
            uri: self.method + 1..length - b" SIP/2.0\r\n".len(),
        })
    }

    /// The state after `byte`, or `None` if no SIP start line goes on like this.
    fn next(&mut self, message: &[u8], byte: u8) -> Option<StartState> {
        use StartState::{BeforeUri, Method, Rest, Scheme, Status};
        self.word += 1;
        if self.word > LONGEST_WORD && matches!(self.state, Method | BeforeUri | Scheme) {
            return None;
        }
        match (self.state, byte) {
            (Method, b'/') if self.word == 4 => message
                .get(..3)?
                .eq_ignore_ascii_case(b"SIP")
                .then_some(Status),
            (Method, b' ' | b'\t') if self.word > 1 => {
                self.word = 0;
                Some(BeforeUri)
            }
            (Method, _) if is_token(byte) => Some(Method),
            (BeforeUri, b' ' | b'\t' | b'<') => Some(BeforeUri),
            (BeforeUri, b'*') => Some(Rest),
            (BeforeUri, _) if byte.is_ascii_alphabetic() => {
                self.word = 0;
                Some(Scheme)
            }
            (Scheme, b':') => Some(Rest),
            (Scheme, _) if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.') => {
                Some(Scheme)
            }
            (Status, _) if byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r') => None,
            (Rest | Status, 0) => None,
            (Rest | Status, _) => Some(self.state),
            _ => None,
        }
    }
}

/// What nearly every message begins with is judged as a whole: a method in capital letters, and
/// `sip:`; or `SIP/2.0`. Gives the state there, how far that is, and the method's length.
fn usual_beginning(message: &[u8]) -> Option<(StartState, usize, usize)> {
    if message.starts_with(b"SIP/2.0 ") {
        return Some((StartState::Status, 8, 0));
    }
    let capitals = bytes::places_between(message.first_chunk()?, b'A', b'Z');
    let method = capitals.trailing_ones() as usize;
    let scheme = message.get(method..method + 5)?;
    (method > 0 && scheme == b" sip:").then_some((StartState::Rest, method + 5, method))
}

/// RFC 3261 section 25.1 `token`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is judged at once is as byte by byte, and as it is read by itself.
    #[test]
    fn a_start_line_of_the_usual_form_is_read_as_any_other() {
        let beginnings = [
            "INVITE sip:",
            "OPTIONS sip:",
            "INVITE  sip:",
            "invite sip:",
            "INVITe sip:",
            "SIP sip:",
            "SIP/ sip:",
            "A@B sip:",
            "[ sip:",
            " sip:",
            "INVITE SIP:",
            "ABCDEFGHIJKLMNOP sip:",
            "ABCDEFGHIJKLMNOPQ sip:",
            "SIP/2.0 200 sip:",
            "SIP/2.0  ",
            "SIP/2.0",
            "SIP/2.1 200 ",
        ];
        let middles = [
            "",
            "a@10.1.1.1:5060",
            "a b",
            "a\0",
            "a ",
            "a\t",
            "a\r",
            "\u{e9}",
            "200 OK",
            "a SIP/2.0",
        ];
        let ends = [
            " SIP/2.0",
            " SIP/2.0 ",
            "  SIP/2.0",
            "\tSIP/2.0",
            "SIP/2.0",
            " sip/2.0",
            " HTTP/1.1",
            "",
        ];
        let mut usually = 0;
        for beginning in beginnings {
            for (middle, end) in middles
                .iter()
                .flat_map(|middle| ends.map(|end| (middle, end)))
            {
                for line_end in ["\r\n", "\n", "\r\r\n", ""] {
                    let line = format!("{beginning}{middle}{end}{line_end}");
                    let (line, mut check) = (line.as_bytes(), StartCheck::default());
                    let found = check.check(line);
                    assert_eq!(found, byte_by_byte(line), "{line:?}");
                    if let Ok(Some(length)) = found
                        && let usual @ Some(_) = check.usual_request(line, length)
                    {
                        assert_eq!(usual, Start::parse(line, 0..length), "{line:?}");
                        usually += 1;
                    }
                }
            }
        }
        assert!(usually > 0);
    }

    fn byte_by_byte(line: &[u8]) -> Result<Option<usize>, Demotion> {
        let mut check = StartCheck::default();
        for length in 0..line.len() {
            if let found @ (Err(_) | Ok(Some(_))) = check.check(&line[..length]) {
                return found;
            }
        }
        check.check(line)
    }
}
