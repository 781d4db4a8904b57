//! What the gateway sends, cut into answers and pushed lines. [`console`](crate::console) has the
//! format.

use crate::console::{NUL, RS, STX};
use sipalg_ios::session::{Ask, AskKind};

/// Takes bytes however they are cut, and gives frames.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

/// A whole thing that the gateway has sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// The answer to a line.
    Answer(Answer),
    /// A debug line, with its end.
    Pushed(String),
}

/// The answer to a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What is to be shown.
    pub text: String,
    /// What the session waits for now.
    pub ask: Ask,
}

impl Answer {
    /// Whether the line was right: none of the answer's lines starts with `% `.
    pub fn is_right(&self) -> bool {
        !self.text.lines().any(|line| line.starts_with("% "))
    }
}

impl Frames {
    /// Takes what one read has given.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, if it is whole.
    pub fn next_frame(&mut self) -> Option<Frame> {
        let pushed = *self.bytes.first()? == RS;
        let end = if pushed { b'\n' } else { NUL };
        let length = self.bytes.iter().position(|byte| *byte == end)?;
        let frame: Vec<u8> = self.bytes.drain(..=length).collect();
        Some(match pushed {
            true => Frame::Pushed(String::from_utf8_lossy(&frame[1..]).into_owned()),
            false => Frame::Answer(answer(&frame[..length])),
        })
    }
}

fn answer(frame: &[u8]) -> Answer {
    let end = frame.iter().position(|byte| *byte == STX);
    let (text, state) = frame.split_at(end.unwrap_or(frame.len()));
    let state = String::from_utf8_lossy(state.get(1..).unwrap_or_default()).into_owned();
    let mut state = state.splitn(3, ' ');
    let mut next = || state.next().unwrap_or_default();
    let kind = match next() {
        "secret" => AskKind::Secret,
        "word" => AskKind::Word,
        "key" => AskKind::Key,
        _ => AskKind::Command,
    };
    let length = next().parse().ok();
    Answer {
        text: String::from_utf8_lossy(text).into_owned(),
        ask: Ask {
            kind,
            prompt: next().into(),
            length,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_pushed_lines_are_told_apart_wherever_they_are_cut() {
        let stream = b"one\n\x02command - Device#\0\x1enow: line\n\x02secret 24 Pass word: \0";
        let answer = |text: &str, kind, length, prompt: &str| {
            Frame::Answer(Answer {
                text: text.into(),
                ask: Ask {
                    kind,
                    prompt: prompt.into(),
                    length,
                },
            })
        };
        let expected = [
            answer("one\n", AskKind::Command, None, "Device#"),
            Frame::Pushed("now: line\n".into()),
            answer("", AskKind::Secret, Some(24), "Pass word: "),
        ];
        for cut in 0..stream.len() {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                frames.feed(part);
                seen.extend(std::iter::from_fn(|| frames.next_frame()));
            }
            assert_eq!(seen, expected, "cut at {cut}");
        }
    }

    #[test]
    fn an_answer_is_wrong_if_a_line_of_it_says_so() {
        let right = |text: &str| {
            let text = text.into();
            let ask = Ask {
                kind: AskKind::Command,
                prompt: String::new(),
                length: None,
            };
            Answer { text, ask }.is_right()
        };
        assert!(!right("% Incomplete command.\n"));
        assert!(!right("     ^\n% Invalid input detected at '^' marker.\n"));
        assert!(right("%SIPALG-4-PENDING: access list 1 does not exist\n"));
        assert!(right("allocated 1 (20%), misses 0\n"));
    }
}
