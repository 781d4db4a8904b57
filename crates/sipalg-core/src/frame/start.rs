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
    pub done: bool,
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
    /// The start line, once it is whole.
    pub fn check(&mut self, message: &[u8]) -> Result<Option<Start>, Demotion> {
        if self.checked == 0 {
            (self.state, self.checked) = usual_beginning(message).unwrap_or_default();
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
                self.done = true;
                let start = Start::parse(message, 0..self.checked);
                return start.map(Some).ok_or(Demotion::NotSip);
            }
            self.state = self.next(message, *byte).ok_or(Demotion::NotSip)?;
        }
        Ok(None)
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
/// `sip:`; or `SIP/2.0`. Gives how far that is, and the state there.
fn usual_beginning(message: &[u8]) -> Option<(StartState, usize)> {
    if message.starts_with(b"SIP/2.0 ") {
        return Some((StartState::Status, 8));
    }
    let space = bytes::find(message, 0..16, [b' '])?;
    let method = message.get(..space)?;
    let usual = space > 0 && method.iter().all(u8::is_ascii_uppercase);
    let scheme = message.get(space + 1..space + 5)?;
    (usual && scheme == b"sip:").then_some((StartState::Rest, space + 5))
}

/// RFC 3261 section 25.1 `token`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
        )
}
