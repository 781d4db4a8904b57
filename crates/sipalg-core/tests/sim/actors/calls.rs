//! What can happen in a call, from both ends.

use super::wire::{PEER_CONTACT, respond};
use super::{Sim, Talk};
use crate::model::{Call, State};
use crate::world::sdp;

/// Calls.
impl Sim {
    pub(super) fn call_out(&mut self, phone: usize) {
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

    pub(super) fn call_in(&mut self, phone: usize) {
        let contact = format!("{}:5060", self.phones[phone].ip);
        let known = self
            .model
            .registrations
            .iter()
            .any(|r| r.contact == contact && self.world.now < r.until);
        if !known {
            return;
        }
        let global = self.far.target(&format!("r{phone}")).to_string();
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
        self.invite_by_peer(last, &global, &sdp("10.1.1.3", 9000));
        self.ring(last, false);
        self.did("call in");
    }

    /// What can happen in a call now.
    pub(super) fn talk(&mut self, nth: usize) {
        let (state, outgoing) = (self.call(nth).state.clone(), self.talks[nth].outgoing);
        match (state, outgoing) {
            (State::Asked(_), true) => self.asked_out(nth),
            (State::Asked(_), false) => self.asked_in(nth),
            (State::Ending(_), _) => self.ending(nth),
            (State::Up, _) => self.up(nth),
            (State::Silent(_) | State::Gone, _) => {
                self.talks.remove(nth);
            }
        }
    }

    pub(super) fn asked_out(&mut self, nth: usize) {
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
    pub(super) fn ending(&mut self, nth: usize) {
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

    pub(super) fn answered(&mut self, nth: usize) {
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

    pub(super) fn asked_in(&mut self, nth: usize) {
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

    pub(super) fn up(&mut self, nth: usize) {
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

    pub(super) fn bye(&mut self, nth: usize) {
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
    pub(super) fn change(&mut self, nth: usize, method: &str, may_hold: bool) {
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
    pub(super) fn late_offer(&mut self, nth: usize) {
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
    pub(super) fn transfer(&mut self, nth: usize) {
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
    pub(super) fn transferred(&mut self, nth: usize) {
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

    pub(super) fn left(&mut self, nth: usize, how: &'static str) {
        self.talks[nth].tags.pop();
        if self.talks[nth].tags.is_empty() {
            self.gone(nth, how);
        } else {
            self.did(how);
        }
    }

    pub(super) fn gone(&mut self, nth: usize, how: &'static str) {
        self.call(nth).state = State::Gone;
        self.talks.remove(nth);
        self.did(how);
    }

    pub(super) fn call(&mut self, nth: usize) -> &mut Call {
        &mut self.model.calls[self.talks[nth].call]
    }

    pub(super) fn new_port(&mut self, nth: usize) -> u16 {
        let port = self.phones[self.talks[nth].phone].media + 2 * self.dice.roll(5) as u16;
        self.talks[nth].port = port;
        port
    }

    /// RTP and RTCP (RFC 3550 section 11).
    pub(super) fn offer(&mut self, nth: usize, port: u16) {
        let ip = self.phones[self.talks[nth].phone].ip;
        self.call(nth).offered = [port, port + 1].map(|port| format!("{ip}:{port}")).into();
        self.call(nth).heard = self.world.now;
    }
}
