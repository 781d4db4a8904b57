//! What phones and their peers outside do, step by step. Each peer answers what it *saw*, so that a
//! wrong translation shows as an answer to nobody.

mod calls;
mod far;
mod wire;

use crate::Dice;
use crate::model::{Model, Registration, State};
use crate::world::{World, at, fixed_port, overload, under};
use far::FarEnd;
use sipalg_core::{DoorKind, FlowId, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::{field, respond};

/// Everything that a few hundred seeds must have seen.
pub const ALL: &[&str] = &[
    "register",
    "unregister",
    "star",
    "no answer to register",
    "two contacts",
    "call out",
    "call in",
    "progress",
    "early media",
    "early change",
    "answer",
    "fork",
    "reject",
    "challenge",
    "cancel",
    "answer in spite of cancel",
    "retransmit",
    "hold",
    "change",
    "change refused",
    "change by peer",
    "late offer",
    "update",
    "transfer",
    "transferred",
    "bye",
    "bye by peer",
    "bye without answer",
    "half a message",
    "new connection",
    "lost",
    "crash",
    "wait",
];

struct Phone {
    ip: &'static str,
    /// What it speaks SIP over.
    over: Protocol,
    flow: Option<FlowId>,
    source: u16,
    /// The first of its media ports.
    media: u16,
    cseq: u32,
}

/// A call as its two ends have it.
#[derive(Clone)]
struct Talk {
    phone: usize,
    /// Its place in the model.
    call: usize,
    id: String,
    outgoing: bool,
    cseq: u32,
    peer_cseq: u32,
    /// Tags of the peers that answered.
    tags: Vec<String>,
    contact: String,
    port: u16,
    held: bool,
    /// Whether the INVITE got any answer: then it is not sent again (RFC 3261 section 17.1.1.2).
    rung: bool,
    /// The INVITE as it was sent and as it was seen on the other side.
    invite: (String, String),
}

pub struct Sim {
    pub world: World,
    pub model: Model,
    pub done: BTreeMap<&'static str, usize>,
    dice: Dice,
    far: FarEnd,
    phones: Vec<Phone>,
    talks: Vec<Talk>,
    calls_made: usize,
    /// What was said, for the one who looks into a failure.
    log: Vec<String>,
}

impl Sim {
    /// Three phones behind one address; in every other simulation the port of one is another for ever.
    pub fn new(mut dice: Dice) -> Self {
        let phone = |ip, over| Phone {
            ip,
            over,
            flow: None,
            source: 40_000,
            media: 6000,
            cseq: 0,
        };
        let mut rules = vec![overload("192.168.122.0", "10.1.1.1")];
        if dice.roll(2) == 0 {
            let (local, global) = ("192.168.122.3:5060", "10.1.1.1:5080");
            rules.insert(0, fixed_port(Protocol::Tcp, local, global));
        }
        Sim {
            world: World::with(under(rules)),
            model: Model::default(),
            done: BTreeMap::new(),
            dice,
            far: FarEnd::default(),
            phones: vec![
                phone("192.168.122.3", Protocol::Tcp),
                phone("192.168.122.4", Protocol::Tcp),
                phone("192.168.122.5", Protocol::Udp),
            ],
            talks: Vec::new(),
            calls_made: 0,
            log: Vec::new(),
        }
    }

    /// Something happens; then the doors must be those of the model.
    pub fn step(&mut self) {
        let phone = self.dice.roll(self.phones.len());
        match self.dice.roll(12) {
            0 => self.register(phone),
            1 => self.unregister(phone),
            2 => self.call_out(phone),
            3 => self.call_in(phone),
            4 | 5 => self.wait(),
            6 if self.dice.roll(4) == 0 => self.crash(phone),
            _ if !self.talks.is_empty() => {
                let talk = self.dice.roll(self.talks.len());
                self.talk(talk);
            }
            _ => self.call_out(phone),
        }
        self.check("after a step");
    }

    /// Everybody goes away; nothing must be left.
    pub fn end(&mut self) {
        for phone in 0..self.phones.len() {
            self.hang_up_connection(phone);
        }
        self.world.wait(Model::forever());
        assert_eq!(self.world.alg.doors(), []);
        let mut left = self.world.alg.mappings(self.world.now);
        left.retain(|view| !view.is_static);
        assert_eq!(left, []);
        assert_eq!(self.world.alg.sizes(), (0, 0, 0));
        assert_eq!(self.world.alg.next_timeout(), None);
    }

    /// Compares the doors with the model's.
    pub fn check(&self, when: &str) {
        let doors = self.world.alg.doors();
        let of = |kind| -> BTreeSet<String> {
            let doors = doors.iter().filter(|door| door.kind == kind);
            doors.map(|door| door.inside_local.to_string()).collect()
        };
        let (signalling, media) = self.model.expected(self.world.now);
        for (expected, kind) in [(signalling, DoorKind::Signalling), (media, DoorKind::Media)] {
            assert_eq!(
                of(kind),
                self.world.doors(kind).into_iter().collect(),
                "kernel and machine"
            );
            if let Some(wrong) = expected.differs(&of(kind)) {
                panic!("{when}: {kind:?} doors: {wrong}\n{}", self.log.join("\n"));
            }
        }
    }

    fn did(&mut self, what: &'static str) {
        assert!(ALL.contains(&what), "{what} is not in the list");
        *self.done.entry(what).or_insert(0) += 1;
    }
}

/// Registrations and time.
impl Sim {
    pub fn register(&mut self, phone: usize) {
        self.phones[phone].cseq += 1;
        let (ip, two) = (self.phones[phone].ip, self.dice.roll(4) == 0);
        let ports: &[u16] = if two { &[5060, 5064] } else { &[5060] };
        let contacts: Vec<_> = ports
            .iter()
            .map(|port| format!("<sip:u@{ip}:{port}>;expires=600"))
            .collect();
        let saw = self.phone_sends(phone, &self.register_text(phone, &contacts.join(", ")));
        if self.dice.roll(8) == 0 {
            return self.did("no answer to register");
        }
        let seconds: Vec<usize> = ports.iter().map(|_| 20 + self.dice.roll(580)).collect();
        let mut granted = field(&saw, "Contact");
        for seconds in &seconds {
            granted = granted.replacen("expires=600", &format!("expires={seconds}"), 1);
        }
        let answer = respond(&saw, 200, "r", &format!("Contact: {granted}\r\n"), "");
        let heard = self.peer_sends(phone, &answer, false);
        for (port, seconds) in ports.iter().zip(seconds) {
            let contact = format!("{ip}:{port}");
            assert!(
                heard.contains(&format!("<sip:u@{contact}>;expires={seconds}")),
                "{heard}"
            );
            let until = self.world.now + Duration::from_secs(seconds as u64);
            self.model
                .registrations
                .retain(|registration| registration.contact != contact);
            self.model
                .registrations
                .push(Registration { contact, until });
        }
        self.did(if two { "two contacts" } else { "register" });
    }

    fn unregister(&mut self, phone: usize) {
        self.phones[phone].cseq += 1;
        let (ip, star) = (self.phones[phone].ip, self.dice.roll(2) == 0);
        let text = match star {
            true => self.register_text(phone, "*\r\nExpires: 0"),
            false => self.register_text(phone, &format!("<sip:u@{ip}:5060>;expires=0")),
        };
        let saw = self.phone_sends(phone, &text);
        self.peer_sends(phone, &respond(&saw, 200, "r", "", ""), false);
        let gone = |r: &Registration| {
            r.contact == format!("{ip}:5060") || star && r.contact.starts_with(&format!("{ip}:"))
        };
        self.model
            .registrations
            .retain(|registration| !gone(registration));
        self.did(if star { "star" } else { "unregister" });
    }

    fn register_text(&self, phone: usize, contacts: &str) -> String {
        let Phone { ip, cseq, .. } = self.phones[phone];
        let over = self.transport(phone);
        format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/{over} {ip}:5060;branch=z9hG4bKr{cseq};rport\r\n\
             From: <sip:u@{ip}>;tag=1\r\nTo: <sip:u@{ip}>\r\nCall-ID: r{phone}\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: {contacts}\r\nContent-Length: 0\r\n\r\n"
        )
    }

    /// Time passes; where people talk, media flows.
    fn wait(&mut self) {
        let seconds: u64 = self.dice.pick(&[1, 5, 31, 33, 60, 200, 400]);
        for _ in 0..seconds.div_ceil(50) {
            self.world.wait(Duration::from_secs(seconds.min(50)));
            self.check("after a while");
            for talk in &self.talks {
                let call = &mut self.model.calls[talk.call];
                if let (State::Up, false, Some(port)) =
                    (&call.state, talk.held, call.current.first())
                {
                    self.world.alg.media_seen(self.world.now, at(port));
                    call.heard = self.world.now;
                }
            }
        }
        let (model, now) = (&self.model, self.world.now);
        self.talks.retain(|talk| !model.is_over(talk.call, now));
        self.did("wait");
    }

    /// A phone loses its power: it says nothing more, and comes back as new.
    fn crash(&mut self, phone: usize) {
        let mine = |talk: &Talk| talk.phone == phone;
        if self.talks.iter().any(|talk| mine(talk) && talk.held) {
            return;
        }
        for talk in self.talks.iter().filter(|talk| mine(talk)) {
            let call = &mut self.model.calls[talk.call];
            if call.state == State::Up {
                call.state = State::Silent(self.world.now);
            }
        }
        self.talks.retain(|talk| !mine(talk));
        self.hang_up_connection(phone);
        self.phones[phone].media += 100;
        self.did("crash");
    }
}
