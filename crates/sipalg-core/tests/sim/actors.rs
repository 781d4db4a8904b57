//! What phones and their peers outside do, step by step. Each peer answers what it *saw*, so that a
//! wrong translation shows as an answer to nobody.

use crate::Dice;
use crate::model::{Call, Model, Registration, State};
use crate::world::{SERVER, World, at, sdp};
use sipalg_core::{DoorKind, FlowId, Leg};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

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
    "crash",
    "wait",
];

struct Phone {
    ip: &'static str,
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
    phones: Vec<Phone>,
    talks: Vec<Talk>,
    calls_made: usize,
    /// What was said, for the one who looks into a failure.
    log: Vec<String>,
}

impl Sim {
    pub fn new(dice: Dice) -> Self {
        let phone = |ip| Phone {
            ip,
            flow: None,
            source: 40_000,
            media: 6000,
            cseq: 0,
        };
        Sim {
            world: World::new(),
            model: Model::default(),
            done: BTreeMap::new(),
            dice,
            phones: vec![
                phone("192.168.122.3"),
                phone("192.168.122.4"),
                phone("192.168.122.5"),
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
        assert_eq!(self.world.alg.mappings(self.world.now), []);
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
        format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP {ip}:5060;branch=z9hG4bKr{cseq};rport\r\n\
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
                call.state = State::Silent;
            }
        }
        self.talks.retain(|talk| !mine(talk));
        self.hang_up_connection(phone);
        self.phones[phone].media += 100;
        self.did("crash");
    }
}

/// Calls.
impl Sim {
    fn call_out(&mut self, phone: usize) {
        self.calls_made += 1;
        let contact = format!(
            "{}:{}",
            self.phones[phone].ip,
            self.dice.pick(&[5060, 5060, 5062])
        );
        self.model.calls.push(Call::new(self.world.now));
        let talk = Talk {
            phone,
            call: self.model.calls.len() - 1,
            id: format!("out{}", self.calls_made),
            outgoing: true,
            cseq: 0,
            peer_cseq: 100,
            tags: Vec::new(),
            contact,
            port: 0,
            held: false,
            rung: false,
            invite: Default::default(),
        };
        self.talks.push(talk);
        let last = self.talks.len() - 1;
        self.invite(last);
        self.did("call out");
    }

    fn call_in(&mut self, phone: usize) {
        let contact = format!("{}:5060", self.phones[phone].ip);
        let known = self
            .model
            .registrations
            .iter()
            .any(|r| r.contact == contact && self.world.now < r.until);
        if !known {
            return;
        }
        let door = self
            .world
            .alg
            .doors()
            .into_iter()
            .find(|d| d.inside_local.to_string() == contact);
        let global = door.expect("a registered contact has a door").inside_global;
        self.calls_made += 1;
        self.model.calls.push(Call::new(self.world.now));
        self.talks.push(Talk {
            phone,
            call: self.model.calls.len() - 1,
            id: format!("in{}", self.calls_made),
            outgoing: false,
            cseq: 0,
            peer_cseq: 100,
            tags: Vec::new(),
            contact,
            port: 0,
            held: false,
            rung: false,
            invite: Default::default(),
        });
        let last = self.talks.len() - 1;
        self.invite_by_peer(last, &global.to_string(), &sdp("10.1.1.3", 9000));
        self.ring(last, false);
        self.did("call in");
    }

    /// What can happen in a call now.
    fn talk(&mut self, nth: usize) {
        let (state, outgoing) = (self.call(nth).state.clone(), self.talks[nth].outgoing);
        match (state, outgoing) {
            (State::Asked(_), true) => self.asked_out(nth),
            (State::Asked(_), false) => self.asked_in(nth),
            (State::Ending(_), _) => self.ending(nth),
            (State::Up, _) => self.up(nth),
            (State::Silent | State::Gone, _) => {
                self.talks.remove(nth);
            }
        }
    }

    fn asked_out(&mut self, nth: usize) {
        match self.dice.roll(8) {
            0 => {
                let status = self.dice.pick(&[100, 180, 181, 183]);
                self.answer(nth, status, "a", "");
                self.did("progress");
            }
            1 => {
                self.answer(nth, 183, "a", &sdp("10.1.1.2", 8000));
                self.call(nth).agree();
                self.did("early media");
                if self.dice.roll(2) == 0 {
                    self.change(nth, "UPDATE", false);
                    self.did("early change");
                }
            }
            2 => {
                let status = self.dice.pick(&[302, 404, 486, 500, 603]);
                self.answer(nth, status, "a", "");
                self.gone(nth, "reject");
            }
            3 => {
                self.answer(nth, 401, "a", "");
                self.call(nth).state = State::Gone;
                self.model.calls.push(Call::new(self.world.now));
                self.talks[nth].call = self.model.calls.len() - 1;
                self.talks[nth].rung = false;
                self.invite(nth);
                self.did("challenge");
            }
            4 if !self.talks[nth].rung => {
                let (sent, saw) = self.talks[nth].invite.clone();
                let phone = self.talks[nth].phone;
                assert_eq!(self.phone_sends(phone, &sent), saw, "sent again");
                self.call(nth).heard = self.world.now;
                self.did("retransmit");
            }
            5 => {
                let text = self.request(nth, "CANCEL", "", "");
                let saw = self.phone_sends(self.talks[nth].phone, &text);
                let now = self.world.now;
                self.call(nth).ending(now);
                self.peer_sends(
                    self.talks[nth].phone,
                    &respond(&saw, 200, "a", "", ""),
                    false,
                );
                self.did("cancel");
            }
            _ => self.answered(nth),
        }
    }

    /// Between CANCEL or BYE and its end.
    fn ending(&mut self, nth: usize) {
        if !self.talks[nth].outgoing || !self.talks[nth].tags.is_empty() {
            return;
        }
        if self.dice.roll(3) == 0 {
            self.answered(nth);
            self.did("answer in spite of cancel");
        } else {
            self.answer(nth, 487, "a", "");
            self.gone(nth, "reject");
        }
    }

    fn answered(&mut self, nth: usize) {
        let mut tags = vec!["a"];
        if self.dice.roll(3) == 0 {
            tags.push("b");
            self.did("fork");
        }
        for tag in tags {
            self.answer(nth, 200, tag, &sdp("10.1.1.2", 8000));
            self.talks[nth].tags.push(tag.into());
            self.call(nth).agree();
            self.call(nth).state = State::Up;
            let ack = self.request(nth, "ACK", "", "");
            self.phone_sends(self.talks[nth].phone, &ack);
        }
        self.did("answer");
    }

    fn asked_in(&mut self, nth: usize) {
        let phone = self.talks[nth].phone;
        match self.dice.roll(6) {
            0 => self.ring(nth, false),
            1 => {
                self.ring(nth, true);
                self.did("early media");
            }
            2 => {
                self.phone_answers(nth, 486, "");
                self.gone(nth, "reject");
            }
            3 => {
                let cancel = self.peer_request(nth, "CANCEL", "", "");
                let heard = self.peer_sends(phone, &cancel, true);
                self.phone_sends(phone, &respond(&heard, 200, "me", "", ""));
                self.phone_answers(nth, 487, "");
                self.gone(nth, "cancel");
            }
            _ => {
                let port = self.new_port(nth);
                self.offer(nth, port);
                self.phone_answers(nth, 200, &sdp(self.phones[phone].ip, port));
                self.call(nth).agree();
                self.call(nth).state = State::Up;
                self.talks[nth].tags.push("peer".into());
                let ack = self.peer_request(nth, "ACK", "", "");
                self.peer_sends(phone, &ack, true);
                self.did("answer");
            }
        }
    }

    fn up(&mut self, nth: usize) {
        let phone = self.talks[nth].phone;
        match self.dice.roll(9) {
            0 | 1 => self.change(nth, "INVITE", true),
            2 => self.change(nth, "UPDATE", true),
            3 => {
                let seen = self.seen_contact(nth);
                self.invite_by_peer(nth, &seen, &sdp("10.1.1.3", 9000));
                let port = self.new_port(nth);
                self.offer(nth, port);
                self.phone_answers(nth, 200, &sdp(self.phones[phone].ip, port));
                self.call(nth).agree();
                self.talks[nth].held = false;
                let ack = self.peer_request(nth, "ACK", "", "");
                self.peer_sends(phone, &ack, true);
                self.did("change by peer");
            }
            4 => self.late_offer(nth),
            5 => self.transfer(nth),
            6 => self.transferred(nth),
            7 => self.bye(nth),
            _ => {
                let bye = self.peer_request(nth, "BYE", "", "");
                let heard = self.peer_sends(phone, &bye, true);
                self.phone_sends(phone, &respond(&heard, 200, "me", "", ""));
                self.left(nth, "bye by peer");
            }
        }
    }

    fn bye(&mut self, nth: usize) {
        let (phone, text) = (self.talks[nth].phone, self.request(nth, "BYE", "", ""));
        let saw = self.phone_sends(phone, &text);
        if self.dice.roll(4) == 0 && self.talks[nth].tags.len() == 1 {
            let now = self.world.now;
            self.call(nth).ending(now);
            return self.did("bye without answer");
        }
        let status = self.dice.pick(&[200, 200, 481, 408]);
        self.peer_sends(phone, &respond(&saw, status, "a", "", ""), false);
        self.left(nth, "bye");
    }

    /// The phone moves or holds its media; the peer agrees or refuses.
    fn change(&mut self, nth: usize, method: &str, may_hold: bool) {
        let phone = self.talks[nth].phone;
        let (port, hold) = (self.new_port(nth), may_hold && self.dice.roll(3) == 0);
        let before = std::mem::replace(&mut self.talks[nth].held, hold);
        self.offer(nth, port);
        let mut body = sdp(self.phones[phone].ip, port);
        if hold {
            body += "a=sendonly\r\n";
        }
        let text = self.request(nth, method, &self.contact_field(nth), &body);
        let saw = self.phone_sends(phone, &text);
        self.check("while a change is asked for");
        if self.dice.roll(3) == 0 {
            let status = self.dice.pick(&[488, 491, 504]);
            self.peer_sends(phone, &respond(&saw, status, "a", "", ""), false);
            self.call(nth).offered.clear();
            self.talks[nth].held = before;
            self.did("change refused");
        } else {
            let mut body = sdp("10.1.1.2", 8000);
            if hold {
                body += "a=recvonly\r\n";
            }
            self.peer_sends(phone, &respond(&saw, 200, "a", PEER_CONTACT, &body), false);
            self.call(nth).agree();
            self.did(match (method, hold) {
                (_, true) => "hold",
                ("UPDATE", _) => "update",
                _ => "change",
            });
        }
        if method == "INVITE" {
            let ack = self.request(nth, "ACK", "", "");
            self.phone_sends(phone, &ack);
        }
        self.call(nth).heard = self.world.now;
    }

    /// INVITE without a session description, an offer in its answer, the phone's own in the ACK.
    fn late_offer(&mut self, nth: usize) {
        let phone = self.talks[nth].phone;
        let text = self.request(nth, "INVITE", &self.contact_field(nth), "");
        let saw = self.phone_sends(phone, &text);
        self.peer_sends(
            phone,
            &respond(&saw, 200, "a", PEER_CONTACT, &sdp("10.1.1.2", 8000)),
            false,
        );
        let port = self.new_port(nth);
        self.offer(nth, port);
        let ack = self.request(nth, "ACK", "", &sdp(self.phones[phone].ip, port));
        self.phone_sends(phone, &ack);
        self.call(nth).agree();
        self.talks[nth].held = false;
        self.did("late offer");
    }

    /// The phone transfers its peer (RFC 3515).
    fn transfer(&mut self, nth: usize) {
        let phone = self.talks[nth].phone;
        let more = format!(
            "{}Refer-To: <sip:c@{}>\r\n",
            self.contact_field(nth),
            self.phones[phone].ip
        );
        let text = self.request(nth, "REFER", &more, "");
        let saw = self.phone_sends(phone, &text);
        self.peer_sends(phone, &respond(&saw, 202, "a", PEER_CONTACT, ""), false);
        for state in ["active;expires=60", "terminated;reason=noresource"] {
            let more = format!("Event: refer\r\nSubscription-State: {state}\r\n");
            let notify = self.peer_request(nth, "NOTIFY", &more, "");
            let heard = self.peer_sends(phone, &notify, true);
            self.phone_sends(phone, &respond(&heard, 200, "me", "", ""));
        }
        self.did("transfer");
    }

    /// The peer transfers the phone, which calls somebody else.
    fn transferred(&mut self, nth: usize) {
        let phone = self.talks[nth].phone;
        let refer = self.peer_request(nth, "REFER", "Refer-To: <sip:c@10.1.1.3>\r\n", "");
        let heard = self.peer_sends(phone, &refer, true);
        let contact = self.contact_field(nth);
        self.phone_sends(phone, &respond(&heard, 202, "me", &contact, ""));
        self.call_out(phone);
        let more = "Event: refer\r\nSubscription-State: terminated\r\n";
        let text = self.request(nth, "NOTIFY", more, "");
        let saw = self.phone_sends(phone, &text);
        self.peer_sends(phone, &respond(&saw, 200, "a", "", ""), false);
        self.did("transferred");
    }

    fn left(&mut self, nth: usize, how: &'static str) {
        self.talks[nth].tags.pop();
        if self.talks[nth].tags.is_empty() {
            self.gone(nth, how);
        } else {
            self.did(how);
        }
    }

    fn gone(&mut self, nth: usize, how: &'static str) {
        self.call(nth).state = State::Gone;
        self.talks.remove(nth);
        self.did(how);
    }

    fn call(&mut self, nth: usize) -> &mut Call {
        &mut self.model.calls[self.talks[nth].call]
    }

    fn new_port(&mut self, nth: usize) -> u16 {
        let port = self.phones[self.talks[nth].phone].media + 2 * self.dice.roll(5) as u16;
        self.talks[nth].port = port;
        port
    }

    /// RTP and RTCP (RFC 3550 section 11).
    fn offer(&mut self, nth: usize, port: u16) {
        let ip = self.phones[self.talks[nth].phone].ip;
        self.call(nth).offered = [port, port + 1].map(|port| format!("{ip}:{port}")).into();
        self.call(nth).heard = self.world.now;
    }
}

const PEER_CONTACT: &str = "Contact: <sip:peer@10.1.1.2:5060;transport=tcp>\r\n";

/// Messages.
impl Sim {
    fn contact_field(&self, nth: usize) -> String {
        format!(
            "Contact: <sip:u@{};transport=tcp>\r\n",
            self.talks[nth].contact
        )
    }

    fn invite(&mut self, nth: usize) {
        let phone = self.talks[nth].phone;
        let port = self.new_port(nth);
        self.offer(nth, port);
        self.call(nth).contact = Some(self.talks[nth].contact.clone());
        let text = self.request(
            nth,
            "INVITE",
            &self.contact_field(nth),
            &sdp(self.phones[phone].ip, port),
        );
        let saw = self.phone_sends(phone, &text);
        self.talks[nth].invite = (text, saw);
    }

    /// A request of the phone; ACK and CANCEL belong to the last INVITE.
    fn request(&mut self, nth: usize, method: &str, more: &str, body: &str) -> String {
        let talk = &mut self.talks[nth];
        talk.cseq += u32::from(!matches!(method, "ACK" | "CANCEL"));
        let ip = self.phones[talk.phone].ip;
        let tag = talk
            .tags
            .last()
            .map_or(String::new(), |tag| format!(";tag={tag}"));
        message(
            &format!("{method} sip:peer@10.1.1.2:5060 SIP/2.0"),
            &format!(
                "Via: SIP/2.0/TCP {ip}:5060;branch=z9hG4bK{}-{}\r\nFrom: <sip:u@{ip}>;tag=me\r\nTo: <sip:peer@10.1.1.2>{tag}\r\n\
                 Call-ID: {}\r\nCSeq: {} {method}\r\n{more}",
                talk.id, talk.cseq, talk.id, talk.cseq
            ),
            body,
        )
    }

    /// The peer answers the INVITE that it saw.
    fn answer(&mut self, nth: usize, status: u16, tag: &str, body: &str) {
        let (sent, saw) = self.talks[nth].invite.clone();
        self.talks[nth].rung = true;
        let contact = if status < 300 { PEER_CONTACT } else { "" };
        let text = respond(&saw, status, tag, contact, body);
        let heard = self.peer_sends(self.talks[nth].phone, &text, false);
        for name in ["Via", "From"] {
            assert_eq!(field(&heard, name), field(&sent, name), "its own again");
        }
        if status < 200 {
            let now = self.world.now;
            self.call(nth).progress(now);
        }
        self.call(nth).heard = self.world.now;
    }

    fn invite_by_peer(&mut self, nth: usize, contact: &str, body: &str) {
        let talk = &mut self.talks[nth];
        talk.peer_cseq += 1;
        let tag = talk.tags.last().map_or("peer", String::as_str);
        let text = message(
            &format!("INVITE sip:u@{contact};transport=tcp SIP/2.0"),
            &format!(
                "Via: SIP/2.0/TCP 10.1.1.2:5060;branch=z9hG4bKp{}\r\nFrom: <sip:peer@10.1.1.2>;tag={tag}\r\nTo: <sip:u@10.1.1.1>\r\n\
                 Call-ID: {}\r\nCSeq: {} INVITE\r\n{PEER_CONTACT}",
                talk.peer_cseq, talk.id, talk.peer_cseq
            ),
            body,
        );
        let phone = talk.phone;
        let heard = self.peer_sends(phone, &text, true);
        let own = format!(
            "INVITE sip:u@{};transport=tcp SIP/2.0\r\n",
            self.talks[nth].contact
        );
        assert!(
            heard.starts_with(&own),
            "the phone knows its contact: {heard}"
        );
        assert!(heard.ends_with(body), "the peer's media is not ours");
        self.talks[nth].invite = (text, heard);
    }

    fn peer_request(&mut self, nth: usize, method: &str, more: &str, body: &str) -> String {
        let contact = self.seen_contact(nth);
        let talk = &mut self.talks[nth];
        talk.peer_cseq += u32::from(!matches!(method, "ACK" | "CANCEL"));
        let tag = talk.tags.last().map_or("peer", String::as_str);
        message(
            &format!("{method} sip:u@{contact};transport=tcp SIP/2.0"),
            &format!(
                "Via: SIP/2.0/TCP 10.1.1.2:5060;branch=z9hG4bKp{}\r\nFrom: <sip:peer@10.1.1.2>;tag={tag}\r\nTo: <sip:u@10.1.1.1>;tag=me\r\n\
                 Call-ID: {}\r\nCSeq: {} {method}\r\n{more}",
                talk.peer_cseq, talk.id, talk.peer_cseq
            ),
            body,
        )
    }

    /// The phone answers the INVITE that it heard.
    fn phone_answers(&mut self, nth: usize, status: u16, body: &str) {
        let (text, heard) = self.talks[nth].invite.clone();
        let contact = if status < 300 {
            self.contact_field(nth)
        } else {
            String::new()
        };
        if status < 300 {
            self.call(nth).contact = Some(self.talks[nth].contact.clone());
        }
        let saw = self.phone_sends(
            self.talks[nth].phone,
            &respond(&heard, status, "me", &contact, body),
        );
        for name in ["Via", "From"] {
            assert_eq!(field(&saw, name), field(&text, name), "its own again");
        }
    }

    fn ring(&mut self, nth: usize, early: bool) {
        let phone = self.talks[nth].phone;
        if early {
            let port = self.new_port(nth);
            self.offer(nth, port);
            self.phone_answers(nth, 183, &sdp(self.phones[phone].ip, port));
            self.call(nth).agree();
        } else {
            self.phone_answers(nth, 180, "");
        }
        let now = self.world.now;
        self.call(nth).progress(now);
    }

    /// How the outside knows the contact of a call.
    fn seen_contact(&self, nth: usize) -> String {
        let contact = &self.talks[nth].contact;
        let door = self
            .world
            .alg
            .doors()
            .into_iter()
            .find(|d| d.inside_local.to_string() == *contact);
        door.expect("a dialog's contact has a door")
            .inside_global
            .to_string()
    }
}

/// Connections.
impl Sim {
    /// The phone sends; what the peer sees. Now and then the connection breaks in the middle of the
    /// message, which then has no effect, and the phone sends it again on a new one.
    fn phone_sends(&mut self, phone: usize, text: &str) -> String {
        let flow = self.connection(phone);
        if self.dice.roll(10) == 0 {
            let half = &text[..self.dice.roll(text.len())];
            let before = self.world.alg.doors();
            assert_eq!(
                self.world.say(flow, Leg::Inside, half),
                "",
                "half a message says nothing"
            );
            assert_eq!(
                self.world.alg.doors(),
                before,
                "half a message opens nothing"
            );
            self.hang_up_connection(phone);
            self.did("half a message");
        }
        let flow = self.connection(phone);
        self.note(phone, "says", text);
        let saw = self.world.say(flow, Leg::Inside, text);
        assert!(
            !saw.contains("192.168."),
            "the outside sees no inside local: {saw}"
        );
        true_length(&saw);
        self.doors_are_open(&saw);
        saw
    }

    /// The peer sends; what the phone hears. By the phone's own connection, or by a new one to the door
    /// that the message is for.
    fn peer_sends(&mut self, phone: usize, text: &str, request: bool) -> String {
        self.note(phone, "is told", text);
        let target = text
            .split(['@', ';'])
            .nth(1)
            .and_then(|target| target.parse().ok());
        let door =
            target.filter(|target| request && self.world.alg.signalling_target(*target).is_some());
        let heard = match door.filter(|_| self.dice.roll(2) == 0) {
            Some(door) => {
                let peer = format!("10.1.1.2:{}", 30_000 + self.dice.roll(1000));
                let flow = self.world.connect(&peer, &door.to_string());
                let heard = self.world.say(flow, Leg::Outside, text);
                self.world.alg.close(self.world.now, flow);
                self.did("new connection");
                heard
            }
            None => {
                let flow = self.connection(phone);
                self.world.say(flow, Leg::Outside, text)
            }
        };
        assert!(
            !heard.contains("10.1.1.1:"),
            "nothing of ours is left: {heard}"
        );
        true_length(&heard);
        heard
    }

    fn note(&mut self, phone: usize, how: &str, text: &str) {
        let media = text
            .lines()
            .find(|line| line.starts_with("m="))
            .unwrap_or_default();
        let call = field(text, "Call-ID");
        let time = self.world.now.as_micros() / 1_000_000;
        let start = text.lines().next().unwrap_or_default();
        let cseq = field(text, "CSeq");
        self.log.push(format!(
            "{time} s: {} {how} {start} ({call}, {cseq}) {media}",
            self.phones[phone].ip
        ));
    }

    fn connection(&mut self, phone: usize) -> FlowId {
        let entry = &mut self.phones[phone];
        if let Some(flow) = entry.flow {
            return flow;
        }
        entry.source += 1;
        let flow = self
            .world
            .connect(&format!("{}:{}", entry.ip, entry.source), SERVER);
        entry.flow = Some(flow);
        flow
    }

    fn hang_up_connection(&mut self, phone: usize) {
        if let Some(flow) = self.phones[phone].flow.take() {
            self.world.alg.close(self.world.now, flow);
        }
    }

    /// Doors before bytes: what a message names is open when the message leaves.
    fn doors_are_open(&self, saw: &str) {
        let Some((_, port)) = saw.split_once("m=audio ") else {
            return;
        };
        assert!(saw.contains("c=IN IP4 10.1.1.1\r\n"), "{saw}");
        let port = port.split(' ').next().unwrap();
        let global = at(&format!("10.1.1.1:{port}"));
        let doors = self.world.alg.doors();
        assert!(
            doors.iter().any(|door| door.inside_global == global),
            "no door for {saw}"
        );
    }
}

fn message(start: &str, fields: &str, body: &str) -> String {
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{start}\r\n{fields}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The answer to a request as it was seen.
fn respond(request: &str, status: u16, tag: &str, more: &str, body: &str) -> String {
    let mut fields = String::new();
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let mut value = field(request, name);
        if name == "To" && !value.contains(";tag=") {
            value += &format!(";tag={tag}");
        }
        fields += &format!("{name}: {value}\r\n");
    }
    message(
        &format!("SIP/2.0 {status} x"),
        &format!("{fields}{more}"),
        body,
    )
}

fn field(message: &str, name: &str) -> String {
    let line = message
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {message}"))
        .to_string()
}

fn true_length(message: &str) {
    let (head, body) = message.split_once("\r\n\r\n").expect("a whole message");
    assert!(
        head.ends_with(&format!("\r\nContent-Length: {}", body.len())),
        "{message}"
    );
}
