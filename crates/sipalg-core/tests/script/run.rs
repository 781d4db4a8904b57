//! Carries a golden case out and compares.

use super::{Action, Outcome, Piece, Script, Step, Text};
use crate::world::{PHONE, PHONE_OVER_UDP, SERVER, at, config};
use sipalg_core::config::{AccessEntry, AccessList, SourceRule};
use sipalg_core::{Alg, Config, DoorKind, DoorOp, FlowId, Instant, Leg, Outbox, Protocol};
use std::collections::{BTreeMap, HashMap};

/// Runs a case, its bytes handed over in pieces of at most `cut` bytes; the error says where it
/// differs from what is expected.
pub fn run(script: &Script, cut: usize) -> Result<(), String> {
    let mut machine = Machine::new(&script.settings)?;
    for step in &script.steps {
        machine
            .step(step, cut)
            .map_err(|error| format!("line {}: {error}", step.line))?;
    }
    Ok(())
}

struct Machine {
    alg: Alg,
    now: Instant,
    flows: HashMap<String, (FlowId, Protocol)>,
    ports: BTreeMap<String, u16>,
    out: Outbox,
}

impl Machine {
    fn new(settings: &[Vec<String>]) -> Result<Self, String> {
        let mut config = config();
        let mut rules = Vec::new();
        let mut reserved = Vec::new();
        for setting in settings {
            let words: Vec<&str> = setting.iter().map(String::as_str).collect();
            let known = match words[..] {
                ["nat", address, wildcard, "as", global] => {
                    rules.push(rule(address, wildcard, global));
                    true
                }
                ["limit", name, number] => limit(&mut config, name, number.parse().unwrap()),
                ["reserve", protocol, port] => {
                    let protocol = match protocol {
                        "tcp" => Protocol::Tcp,
                        _ => Protocol::Udp,
                    };
                    reserved.push((protocol, port.parse().unwrap()));
                    true
                }
                _ => false,
            };
            if !known {
                return Err(format!("no such setting: {words:?}"));
            }
        }
        if !rules.is_empty() {
            config.sources = rules;
        }
        let mut alg = Alg::new(config, 1);
        alg.reserve(&reserved);
        Ok(Machine {
            alg,
            now: Instant::from_micros(1_000_000),
            flows: HashMap::new(),
            ports: BTreeMap::new(),
            out: Outbox {
                watch: true,
                ..Outbox::default()
            },
        })
    }

    fn step(&mut self, step: &Step, cut: usize) -> Result<(), String> {
        self.out.clear();
        match &step.action {
            Action::Connect {
                over,
                flow,
                peer,
                destination,
                outcome,
            } => self.connect(*over, flow, peer, destination, outcome.as_ref())?,
            Action::Say {
                flow,
                from,
                input,
                output,
            } => {
                let flow = self.flow(flow)?;
                let mut bytes = Vec::new();
                for text in input {
                    bytes.extend(self.render(text)?);
                }
                self.say(flow, *from, &bytes, cut);
                self.compare(output)?;
            }
            Action::End { flow, from, output } => {
                let (flow, _) = self.flow(flow)?;
                self.alg.end_of_stream(self.now, flow, *from, &mut self.out);
                self.compare(output)?;
            }
            Action::Close { flow } => {
                let name = flow;
                let (flow, _) = self.flow(name)?;
                self.flows.remove(name);
                self.alg.close(self.now, flow, &mut self.out);
            }
            Action::Wait(time) => {
                let until = self.now + *time;
                while let Some(next) = self.alg.next_timeout().filter(|next| *next <= until) {
                    self.now = next.max(self.now);
                    self.alg.handle_timeout(self.now, &mut self.out);
                }
                self.now = until;
            }
            Action::Media(address) => self.alg.media_seen(self.now, *address),
            Action::Counted(name, number) => {
                let counters = self.alg.counters();
                let found = counters.iter().find(|(known, _)| known == name);
                if found.map(|(_, value)| value) != Some(*number) {
                    return Err(format!("counted {name}: {found:?}, expected {number}"));
                }
            }
            Action::Forgotten => self.forgotten()?,
        }
        self.doors(&step.doors)?;
        self.events(&step.events, cut)
    }

    /// Over TCP in pieces; a datagram comes whole.
    fn say(&mut self, (flow, over): (FlowId, Protocol), from: Leg, bytes: &[u8], cut: usize) {
        let (now, out) = (self.now, &mut self.out);
        match over {
            Protocol::Tcp => {
                for part in bytes.chunks(cut.max(1)) {
                    self.alg.stream(now, flow, from, part, out);
                }
            }
            Protocol::Udp => self.alg.datagram(now, flow, from, bytes, out),
        }
    }

    fn connect(
        &mut self,
        over: Protocol,
        flow: &str,
        peer: &str,
        destination: &str,
        outcome: Option<&Outcome>,
    ) -> Result<(), String> {
        let peer = at(&self.words(peer)?);
        let destination = at(&self.words(destination)?);
        let opened = match over {
            Protocol::Tcp => self.alg.open(self.now, peer, destination, &mut self.out),
            Protocol::Udp => self
                .alg
                .open_datagrams(self.now, peer, destination, &mut self.out),
        };
        match (opened, outcome) {
            (Err(_), Some(Outcome::Refused)) => return Ok(()),
            (Ok(opened), Some(Outcome::Dials(source, target))) => {
                let expected = (at(&self.words(source)?), at(&self.words(target)?));
                if (opened.source, opened.target) != expected {
                    return Err(format!("dials otherwise: {opened:?}"));
                }
            }
            (Ok(_), None) => {}
            (other, _) => return Err(format!("{other:?}, expected {outcome:?}")),
        }
        if let Ok(opened) = opened {
            self.flows.insert(flow.to_string(), (opened.flow, over));
        }
        Ok(())
    }

    /// A flow by its name. The two that need no line are made here, and what that asks of the kernel is
    /// not part of the step.
    fn flow(&mut self, name: &str) -> Result<(FlowId, Protocol), String> {
        let usual = match name {
            "a" => Some((Protocol::Tcp, PHONE)),
            "u" => Some((Protocol::Udp, PHONE_OVER_UDP)),
            _ => None,
        };
        if let Some((over, phone)) = usual
            && !self.flows.contains_key(name)
        {
            self.connect(over, name, phone, SERVER, None)?;
            self.out.clear();
        }
        let found = self.flows.get(name).copied();
        found.ok_or_else(|| format!("no connection {name}"))
    }

    fn forgotten(&self) -> Result<(), String> {
        let mappings = self.alg.mappings(self.now);
        let left = (self.alg.sizes(), mappings.len(), self.alg.next_timeout());
        if left == ((0, 0, 0), 0, None) {
            return Ok(());
        }
        Err(format!("left: {left:?} {mappings:?}"))
    }

    /// The bytes of a text that goes in.
    fn render(&self, text: &Text) -> Result<Vec<u8>, String> {
        render(text, |name, offset| self.port(name, offset))
    }

    fn port(&self, name: &str, offset: u16) -> Result<u16, String> {
        let port = self.ports.get(name).ok_or(format!("no port ${name} yet"))?;
        Ok(port + offset)
    }

    /// A word of a line that may name ports.
    fn words(&self, text: &str) -> Result<String, String> {
        let (_, right) = super::split(text).ok_or("not understood")?;
        Ok(String::from_utf8_lossy(&self.render(&right)?).into_owned())
    }

    fn compare(&mut self, expected: &[Text]) -> Result<(), String> {
        let actual = std::mem::take(&mut self.out.bytes);
        let mut place = 0;
        for text in expected {
            let begin = place;
            let mut length = None;
            for piece in text {
                let rest = &actual[place..];
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let digits = std::str::from_utf8(&rest[..digits]).unwrap();
                place += match piece {
                    Piece::Bytes(bytes) => {
                        let same = rest.iter().zip(bytes).take_while(|(a, b)| a == b).count();
                        if same < bytes.len() {
                            return Err(differs(&actual, place + same, &bytes[same..]));
                        }
                        same
                    }
                    Piece::Port(name, offset) => {
                        self.bind(name, *offset, digits)
                            .map_err(|error| differs(&actual, place, error.as_bytes()))?;
                        digits.len()
                    }
                    Piece::Length => {
                        length = Some(digits.to_string());
                        digits.len()
                    }
                };
            }
            let body = body(&actual[begin..place]).len().to_string();
            if let Some(length) = length.filter(|length| *length != body) {
                return Err(format!("Content-Length {length}, but the body has {body}"));
            }
        }
        if place < actual.len() {
            return Err(differs(&actual, place, b"the end"));
        }
        Ok(())
    }

    /// A port as the gateway wrote it: the one that the name stands for, or the first of it.
    fn bind(&mut self, name: &str, offset: u16, digits: &str) -> Result<(), String> {
        let port: u16 = digits.parse().map_err(|_| format!("a port ${name}"))?;
        let port = port - offset;
        if let Some(known) = self.ports.get(name) {
            let same = *known == port;
            return if same {
                Ok(())
            } else {
                Err(format!("${name} = {known}"))
            };
        }
        let parity = (name.starts_with("even") && !port.is_multiple_of(2))
            || (name.starts_with("odd") && port.is_multiple_of(2));
        if parity || port < 1024 || self.ports.values().any(|other| *other == port) {
            return Err(format!("a port ${name}"));
        }
        self.ports.insert(name.to_string(), port);
        Ok(())
    }

    fn doors(&mut self, expected: &[Text]) -> Result<(), String> {
        for text in expected {
            self.bind_from_door(text)?;
        }
        let mut wanted = Vec::new();
        for text in expected {
            wanted.push(String::from_utf8_lossy(&self.render(text)?).into_owned());
        }
        let mut actual: Vec<String> = self.out.doors.iter().map(door_line).collect();
        actual.retain(|line| !line.starts_with('~') || wanted.contains(line));
        actual.dedup_by(|a, b| a == b && a.starts_with('~'));
        wanted.sort_unstable();
        actual.sort_unstable();
        if actual == wanted {
            return Ok(());
        }
        Err(format!(
            "doors:\n  {}\nexpected:\n  {}",
            actual.join("\n  "),
            wanted.join("\n  ")
        ))
    }

    /// A port that a door is the first to tell.
    fn bind_from_door(&mut self, text: &Text) -> Result<(), String> {
        let [Piece::Bytes(lead), Piece::Port(name, offset)] = &text[..] else {
            return Ok(());
        };
        let lines: Vec<String> = self.out.doors.iter().map(door_line).collect();
        let lead = String::from_utf8_lossy(lead);
        match lines.iter().find_map(|line| line.strip_prefix(&*lead)) {
            Some(port) if !self.ports.contains_key(name) => self.bind(name, *offset, port),
            _ => Ok(()),
        }
    }

    /// Events say how the bytes arrived, so that they are compared only when those came whole.
    fn events(&self, expected: &[String], cut: usize) -> Result<(), String> {
        let mut left = self.out.events.iter().map(|event| format!("{event:?}"));
        for wanted in expected.iter().filter(|_| cut == usize::MAX) {
            if !left.any(|event| event.starts_with(wanted.as_str())) {
                let all = &self.out.events;
                return Err(format!("no event {wanted} (in this order) in {all:#?}"));
            }
        }
        Ok(())
    }
}

/// The bytes of a text, with 6000 for every port that the gateway chooses.
pub fn bytes(text: &Text) -> Vec<u8> {
    render(text, |_, offset| Ok(6000 + offset)).unwrap()
}

fn render(text: &Text, port: impl Fn(&str, u16) -> Result<u16, String>) -> Result<Vec<u8>, String> {
    let with = |length: &str| {
        let mut bytes = Vec::new();
        for piece in text {
            match piece {
                Piece::Bytes(more) => bytes.extend_from_slice(more),
                Piece::Port(name, offset) => {
                    bytes.extend(port(name, *offset)?.to_string().into_bytes());
                }
                Piece::Length => bytes.extend_from_slice(length.as_bytes()),
            }
        }
        Ok::<_, String>(bytes)
    };
    let length = body(&with("0")?).len().to_string();
    with(&length)
}

fn rule(address: &str, wildcard: &str, global: &str) -> SourceRule {
    let entry = AccessEntry::standard(true, address.parse().unwrap(), wildcard.parse().unwrap());
    let list = AccessList {
        name: "1".into(),
        entries: vec![entry],
    };
    SourceRule::overload(list, global.parse().unwrap())
}

fn limit(config: &mut Config, name: &str, number: usize) -> bool {
    let limits = &mut config.limits;
    let limit = match name {
        "header_bytes" => &mut limits.header_bytes,
        "body_bytes" => &mut limits.body_bytes,
        "media_lines" => &mut limits.media_lines,
        "contacts" => &mut limits.contacts,
        _ => return false,
    };
    *limit = number;
    true
}

/// What follows the empty line.
fn body(message: &[u8]) -> &[u8] {
    let after = |end: &[u8]| {
        let found = message.windows(end.len()).position(|window| window == end);
        found.map(|at| at + end.len())
    };
    let start = [after(b"\r\n\r\n"), after(b"\n\n")];
    let start = start.into_iter().flatten().min();
    &message[start.unwrap_or(message.len())..]
}

fn door_line(op: &DoorOp) -> String {
    let sign = match op {
        DoorOp::Open(_) => '+',
        DoorOp::Refresh(_) => '~',
        DoorOp::Close(_) => '-',
    };
    let door = op.door();
    let kind = match (door.kind, door.protocol) {
        (DoorKind::Signalling, Protocol::Tcp) => "signalling",
        (DoorKind::Signalling, Protocol::Udp) => "signalling/udp",
        (DoorKind::Media, Protocol::Udp) => "media",
        (DoorKind::Media, Protocol::Tcp) => "media/tcp",
    };
    format!(
        "{sign} {kind} {} = {}",
        door.inside_local, door.inside_global
    )
}

fn differs(actual: &[u8], place: usize, expected: &[u8]) -> String {
    let show = |bytes: &[u8]| bytes.escape_ascii().to_string().replace("\\n", "\\n\n    ");
    let expected = expected.split_inclusive(|byte| *byte == b'\n').next();
    format!(
        "out comes\n    {}>>> HERE, where is expected: {}",
        show(&actual[..place]),
        show(expected.unwrap_or_default()),
    ) + &format!("\n    the rest is: {}", show(&actual[place..]))
}
