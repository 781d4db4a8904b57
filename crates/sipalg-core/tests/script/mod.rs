//! The language of the golden cases: parsing it. [`run`] carries a case out.
//!
//! A case is a text that reads like a conversation. Lines that begin with `== ` say what happens,
//! the lines under them are the text of it:
//!
//! ```text
//! == inside                          the phone sends; the gateway passes on to the outside
//! OPTIONS sip:bob@example.com SIP/2.0
//! Via: SIP/2.0/TCP {192.168.122.3|10.1.1.1}:5060;branch=z9hG4bK1
//! Content-Length: *
//! ```
//!
//! `{a|b}` is the fixup: `a` goes in, `b` comes out; what is outside of braces must pass to the
//! byte. Lines end in CRLF; the empty line after the header fields may be left out if no body
//! follows. `Content-Length: *` stands for the true number, before and after. `$even` is a port that
//! the gateway chooses: the same number wherever it is written, above 1023, unlike the other names',
//! even if the name begins with `even`, odd if with `odd`; `$even+1` is the one after it. `\n`, `\r`,
//! `\t` and `\x00` are bytes, a `\` at the end of a line takes its line end away, and `\\`, `\{` and
//! `\$` are the characters.
//!
//! | line | meaning |
//! |---|---|
//! | `== inside [flow] [lf] [raw]` | the inside sends; `lf`: lines end in a bare LF; `raw`: nothing is added to the text |
//! | `== outside [flow] ...` | the outside sends |
//! | `== and [lf] [raw]` | another message in the same bytes, or the same datagram |
//! | `== gives [lf] [raw]` | instead of braces: the text above went in, the one below comes out |
//! | `== doors` | what the step asked of the kernel: `+` opened, `-` closed, `~` refreshed. A step without it opens and closes nothing (a refresh may go unsaid) |
//! | `== events` | events that the step caused, in this order; others may lie between |
//! | `== wait 32s` | time passes |
//! | `== connect flow peer -> destination [dials source -> target \| refused]` | a connection; without one, flow `a` goes from the phone 192.168.122.3:40001 to the server 10.1.1.2:5060 |
//! | `== datagrams flow peer -> destination [...]` | the same over UDP: what a step sends is one datagram; without one, flow `u` goes from the phone 192.168.122.3:5060 to the server 10.1.1.2:5060 |
//! | `== end inside [flow]` | one side sends no more; the text below is what was held back |
//! | `== close [flow]` | the connection is gone |
//! | `== media 192.168.122.3:6000` | the kernel saw packets on that door |
//! | `== counted name number` | a counter |
//! | `== forgotten` | calls, registrations, mappings, doors and deadlines: nothing is left |
//! | `== nat address wildcard as global` | a rule; without one, 192.168.122.0 0.0.0.255 as 10.1.1.1 |
//! | `== limit name number` | `header_bytes`, `body_bytes`, `media_lines`, `contacts` |
//! | `== reserve tcp\|udp port` | a port of the gateway's own services |
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses its own part; helpers of tests may unwrap

pub mod run;

use sipalg_core::addr::SocketAddrV4;
use sipalg_core::{Leg, Protocol};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A case: its folder's name, its note and its text.
pub struct Case {
    pub name: String,
    pub note: String,
    pub text: String,
}

impl Case {
    pub fn script(&self) -> Result<Script, String> {
        parse(&self.text)
    }
}

/// The cases in a folder beside the tests, by name.
pub fn cases(folder: &str) -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let entries = std::fs::read_dir(root).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let case = |folder: PathBuf| Case {
        name: folder.file_name().unwrap().to_string_lossy().into_owned(),
        note: read(folder.join("note.md")),
        text: read(folder.join("case.txt")),
    };
    folders.into_iter().map(case).collect()
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// A port that the gateway chose, by name, and how far from it.
    Port(String, u16),
    /// The true length of the body.
    Length,
}

pub type Text = Vec<Piece>;

#[derive(Debug)]
pub enum Action {
    Connect {
        over: Protocol,
        flow: String,
        peer: String,
        destination: String,
        outcome: Option<Outcome>,
    },
    /// Bytes on a leg, message by message, and those that leave by the other.
    Say {
        flow: String,
        from: Leg,
        input: Vec<Text>,
        output: Vec<Text>,
    },
    End {
        flow: String,
        from: Leg,
        output: Vec<Text>,
    },
    Close {
        flow: String,
    },
    Wait(Duration),
    Media(SocketAddrV4),
    Counted(String, u64),
    Forgotten,
}

#[derive(Debug)]
pub enum Outcome {
    Dials(String, String),
    Refused,
}

#[derive(Debug)]
pub struct Step {
    /// The number of its line in the file.
    pub line: usize,
    pub action: Action,
    pub doors: Vec<Text>,
    pub events: Vec<String>,
}

#[derive(Debug, Default)]
pub struct Script {
    /// `== nat`, `== limit` and `== reserve`, as words.
    pub settings: Vec<Vec<String>>,
    pub steps: Vec<Step>,
}

impl Script {
    /// The bytes of every step that sends, with 6000 for a port that only the run would know.
    pub fn inputs(&self) -> Vec<Vec<u8>> {
        let say = |step: &Step| match &step.action {
            Action::Say { input, .. } => Some(input.iter().flat_map(run::bytes).collect()),
            _ => None,
        };
        self.steps.iter().filter_map(say).collect()
    }
}

/// Reads a case; the error names the line.
pub fn parse(text: &str) -> Result<Script, String> {
    let mut script = Script::default();
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        let Some(words) = lines[at].strip_prefix("== ") else {
            if !lines[at].trim().is_empty() {
                return Err(format!("line {}: text before any `== `", at + 1));
            }
            at += 1;
            continue;
        };
        let first = at + 1;
        let end = (first..lines.len())
            .find(|line| lines[*line].starts_with("== "))
            .unwrap_or(lines.len());
        directive(&mut script, at + 1, words, &lines[first..end])
            .ok_or_else(|| format!("line {}: not understood: {words}", at + 1))?;
        at = end;
    }
    Ok(script)
}

fn directive(script: &mut Script, line: usize, words: &str, below: &[&str]) -> Option<()> {
    let words: Vec<&str> = words.split_whitespace().collect();
    let options = Options::of(&words);
    let flow = || options.flow.unwrap_or("a").to_string();
    let action = match &words[..] {
        ["nat" | "limit" | "reserve", ..] => {
            script
                .settings
                .push(words.iter().map(|w| w.to_string()).collect());
            return Some(());
        }
        ["inside" | "outside", ..] => {
            let (input, output) = message(below, &options)?;
            Action::Say {
                flow: flow(),
                from: leg(words[0])?,
                input: vec![input],
                output: vec![output],
            }
        }
        ["and", ..] => {
            let (left, right) = message(below, &options)?;
            let Action::Say { input, output, .. } = &mut script.steps.last_mut()?.action else {
                return None;
            };
            input.push(left);
            output.push(right);
            return Some(());
        }
        ["gives", ..] => {
            let (_, right) = message(below, &options)?;
            let Action::Say { output, .. } = &mut script.steps.last_mut()?.action else {
                return None;
            };
            *output = vec![right];
            return Some(());
        }
        ["doors"] => {
            let texts = content(below).iter().map(|line| Some(split(line)?.1));
            script.steps.last_mut()?.doors = texts.collect::<Option<_>>()?;
            return Some(());
        }
        ["events"] => {
            let names = content(below).iter().map(|line| line.to_string());
            script.steps.last_mut()?.events = names.collect();
            return Some(());
        }
        ["end", side, ..] => Action::End {
            flow: words.get(2).unwrap_or(&"a").to_string(),
            from: leg(side)?,
            output: vec![message(below, &Options::RAW)?.1],
        },
        [
            word @ ("connect" | "datagrams"),
            flow,
            peer,
            "->",
            destination,
            outcome @ ..,
        ] => Action::Connect {
            over: match *word {
                "connect" => Protocol::Tcp,
                _ => Protocol::Udp,
            },
            flow: flow.to_string(),
            peer: peer.to_string(),
            destination: destination.to_string(),
            outcome: match outcome {
                [] => None,
                ["refused"] => Some(Outcome::Refused),
                ["dials", source, "->", target] => {
                    Some(Outcome::Dials(source.to_string(), target.to_string()))
                }
                _ => return None,
            },
        },
        ["close", flow @ ..] => Action::Close {
            flow: flow.first().unwrap_or(&"a").to_string(),
        },
        ["wait", time] => {
            let seconds = time.strip_suffix('s')?.parse().ok()?;
            Action::Wait(Duration::from_secs(seconds))
        }
        ["media", address] => Action::Media(address.parse().ok()?),
        ["counted", name, number] => Action::Counted(name.to_string(), number.parse().ok()?),
        ["forgotten"] => Action::Forgotten,
        _ => return None,
    };
    script.steps.push(Step {
        line,
        action,
        doors: Vec::new(),
        events: Vec::new(),
    });
    Some(())
}

struct Options<'a> {
    flow: Option<&'a str>,
    line_end: &'static [u8],
    raw: bool,
}

impl<'a> Options<'a> {
    const RAW: Options<'static> = Options {
        flow: None,
        line_end: b"\r\n",
        raw: true,
    };

    fn of(words: &[&'a str]) -> Self {
        let mut options = Options {
            flow: None,
            line_end: b"\r\n",
            raw: false,
        };
        for word in words.get(1..).unwrap_or_default() {
            match *word {
                "lf" => options.line_end = b"\n",
                "raw" => options.raw = true,
                flow => options.flow = Some(flow),
            }
        }
        options
    }
}

fn leg(word: &str) -> Option<Leg> {
    match word {
        "inside" => Some(Leg::Inside),
        "outside" => Some(Leg::Outside),
        _ => None,
    }
}

/// The lines without the empty ones at the end, which only set the steps of a case apart.
fn content<'a>(lines: &'a [&'a str]) -> &'a [&'a str] {
    let last = lines.iter().rposition(|line| !line.is_empty());
    &lines[..last.map_or(0, |last| last + 1)]
}

/// The text of a message as it goes in, and as it comes out.
fn message(lines: &[&str], options: &Options<'_>) -> Option<(Text, Text)> {
    let lines = content(lines);
    let (mut left, mut right) = (Text::new(), Text::new());
    let mut header = true;
    for line in lines {
        header &= !line.is_empty();
        let starred = line
            .strip_suffix('*')
            .filter(|name| header && is_length(name));
        let (mut a, mut b) = split(starred.unwrap_or(line))?;
        if starred.is_some() {
            a.push(Piece::Length);
            b.push(Piece::Length);
        }
        if !line.ends_with('\\') || line.ends_with("\\\\") {
            a.push(Piece::Bytes(options.line_end.to_vec()));
            b.push(Piece::Bytes(options.line_end.to_vec()));
        }
        left.extend(a);
        right.extend(b);
    }
    if header && !options.raw && !lines.is_empty() {
        left.push(Piece::Bytes(options.line_end.to_vec()));
        right.push(Piece::Bytes(options.line_end.to_vec()));
    }
    Some((left, right))
}

fn is_length(name: &str) -> bool {
    let name = name.trim_end().strip_suffix(':').map(str::trim_end);
    name.is_some_and(|name| {
        name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("l")
    })
}

/// One line, as it goes in and as it comes out.
fn split(line: &str) -> Option<(Text, Text)> {
    let (mut left, mut right) = (Text::new(), Text::new());
    let (mut to_left, mut to_right) = (true, true);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let piece = match character {
            '{' if to_left && to_right => {
                to_right = false;
                continue;
            }
            '|' if !to_right => {
                (to_left, to_right) = (false, true);
                continue;
            }
            '}' if !to_left => {
                to_left = true;
                continue;
            }
            '\\' => match characters.next() {
                None => continue,
                Some('n') => Piece::Bytes(b"\n".to_vec()),
                Some('r') => Piece::Bytes(b"\r".to_vec()),
                Some('t') => Piece::Bytes(b"\t".to_vec()),
                Some('x') => {
                    let digits: String = characters.by_ref().take(2).collect();
                    Piece::Bytes(vec![u8::from_str_radix(&digits, 16).ok()?])
                }
                Some(other) => Piece::Bytes(other.to_string().into_bytes()),
            },
            '$' => {
                let mut word = |wanted: fn(&char) -> bool| {
                    let mut word = String::new();
                    while let Some(next) = characters.next_if(wanted) {
                        word.push(next);
                    }
                    word
                };
                let name = word(char::is_ascii_alphanumeric);
                let plus = word(|c| *c == '+');
                let offset = if plus.is_empty() {
                    0
                } else {
                    word(char::is_ascii_digit).parse().ok()?
                };
                Piece::Port(name, offset)
            }
            other => Piece::Bytes(other.to_string().into_bytes()),
        };
        if to_left {
            push(&mut left, piece.clone());
        }
        if to_right {
            push(&mut right, piece);
        }
    }
    (to_left && to_right).then_some((left, right))
}

fn push(text: &mut Text, piece: Piece) {
    match (text.last_mut(), piece) {
        (Some(Piece::Bytes(bytes)), Piece::Bytes(more)) => bytes.extend(more),
        (_, piece) => text.push(piece),
    }
}
