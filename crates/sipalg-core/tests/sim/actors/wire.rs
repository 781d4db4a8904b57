//! The messages that are said, and the connections that they go over.

use super::{Phone, Sim};
use crate::world::{SERVER, at, sdp};
use sipalg_core::{FlowId, Leg, Protocol};

pub(super) const PEER_CONTACT: &str = "Contact: <sip:peer@10.1.1.2:5060;transport=tcp>\r\n";

/// Messages.
impl Sim {
    pub(super) fn contact_field(&self, nth: usize) -> String {
        let talk = &self.talks[nth];
        let over = self.transport(talk.phone).to_ascii_lowercase();
        format!("Contact: <sip:u@{};transport={over}>\r\n", talk.contact)
    }

    /// What a phone writes into its Vias.
    pub(super) fn transport(&self, phone: usize) -> &'static str {
        match self.phones[phone].over {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        }
    }

    /// The first line of a request of the peer.
    fn peer_line(&self, method: &str, phone: usize, contact: &str) -> String {
        let over = self.transport(phone).to_ascii_lowercase();
        format!("{method} sip:u@{contact};transport={over} SIP/2.0")
    }

    pub(super) fn invite(&mut self, nth: usize) {
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
    pub(super) fn request(&mut self, nth: usize, method: &str, more: &str, body: &str) -> String {
        let over = self.transport(self.talks[nth].phone);
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
                "Via: SIP/2.0/{over} {ip}:5060;branch=z9hG4bK{}-{}\r\nFrom: <sip:u@{ip}>;tag=me\r\nTo: <sip:peer@10.1.1.2>{tag}\r\n\
                 Call-ID: {}\r\nCSeq: {} {method}\r\n{more}",
                talk.id, talk.cseq, talk.id, talk.cseq
            ),
            body,
        )
    }

    /// The peer answers the INVITE that it saw.
    pub(super) fn answer(&mut self, nth: usize, status: u16, tag: &str, body: &str) {
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

    pub(super) fn invite_by_peer(&mut self, nth: usize, contact: &str, body: &str) {
        let line = self.peer_line("INVITE", self.talks[nth].phone, contact);
        let over = self.transport(self.talks[nth].phone);
        let talk = &mut self.talks[nth];
        talk.peer_cseq += 1;
        let tag = talk.tags.last().map_or("peer", String::as_str);
        let text = message(
            &line,
            &format!(
                "Via: SIP/2.0/{over} 10.1.1.2:5060;branch=z9hG4bKp{}\r\nFrom: <sip:peer@10.1.1.2>;tag={tag}\r\nTo: <sip:u@10.1.1.1>\r\n\
                 Call-ID: {}\r\nCSeq: {} INVITE\r\n{PEER_CONTACT}",
                talk.peer_cseq, talk.id, talk.peer_cseq
            ),
            body,
        );
        let phone = talk.phone;
        let heard = self.peer_sends(phone, &text, true);
        let own = self.peer_line("INVITE", phone, &self.talks[nth].contact) + "\r\n";
        assert!(
            heard.starts_with(&own),
            "the phone knows its contact: {heard}"
        );
        assert!(heard.ends_with(body), "the peer's media is not ours");
        self.talks[nth].invite = (text, heard);
    }

    pub(super) fn peer_request(
        &mut self,
        nth: usize,
        method: &str,
        more: &str,
        body: &str,
    ) -> String {
        let phone = self.talks[nth].phone;
        let line = self.peer_line(method, phone, &self.seen_contact(nth));
        let over = self.transport(phone);
        let talk = &mut self.talks[nth];
        talk.peer_cseq += u32::from(!matches!(method, "ACK" | "CANCEL"));
        let tag = talk.tags.last().map_or("peer", String::as_str);
        message(
            &line,
            &format!(
                "Via: SIP/2.0/{over} 10.1.1.2:5060;branch=z9hG4bKp{}\r\nFrom: <sip:peer@10.1.1.2>;tag={tag}\r\nTo: <sip:u@10.1.1.1>;tag=me\r\n\
                 Call-ID: {}\r\nCSeq: {} {method}\r\n{more}",
                talk.peer_cseq, talk.id, talk.peer_cseq
            ),
            body,
        )
    }

    /// The phone answers the INVITE that it heard.
    pub(super) fn phone_answers(&mut self, nth: usize, status: u16, body: &str) {
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

    pub(super) fn ring(&mut self, nth: usize, early: bool) {
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
    pub(super) fn seen_contact(&self, nth: usize) -> String {
        let seen = self.far.target(&self.talks[nth].id);
        let mut doors = self.world.alg.doors().into_iter();
        let over = self.phones[self.talks[nth].phone].over;
        let door =
            doors.find(|door| door.protocol == over && door.inside_global.to_string() == seen);
        let door = door.expect("a dialog's contact has a door");
        assert_eq!(door.inside_local.to_string(), self.talks[nth].contact);
        seen.to_string()
    }
}

/// Connections.
impl Sim {
    /// The phone sends; what the peer sees. Now and then the connection breaks in the middle of the
    /// message, which then has no effect, and the phone sends it again on a new one.
    pub(super) fn phone_sends(&mut self, phone: usize, text: &str) -> String {
        let flow = self.connection(phone);
        let over = self.phones[phone].over;
        if over == Protocol::Tcp && self.dice.roll(10) == 0 {
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
        let saw = self.carry(over, flow, Leg::Inside, text);
        assert!(
            !saw.contains("192.168."),
            "the outside sees no inside local: {saw}"
        );
        true_length(&saw);
        self.doors_are_open(&saw);
        self.far.sees(&saw);
        saw
    }

    /// The peer sends; what the phone hears. By the phone's own connection, or by a new one to the door
    /// that the message is for.
    pub(super) fn peer_sends(&mut self, phone: usize, text: &str, request: bool) -> String {
        self.note(phone, "is told", text);
        let over = self.phones[phone].over;
        let target = text.split(['@', ';']).nth(1).filter(|_| request);
        let doors = self.world.alg.doors();
        let is_open = |target: &&str| {
            let mut doors = doors.iter();
            doors.any(|door| door.protocol == over && door.inside_global.to_string() == **target)
        };
        let target = target.filter(is_open).filter(|_| self.dice.roll(2) == 0);
        let heard = match target {
            Some(door) => {
                let peer = format!("10.1.1.2:{}", 30_000 + self.dice.roll(1000));
                let flow = match over {
                    Protocol::Tcp => self.world.connect(&peer, door),
                    Protocol::Udp => self.world.connect_datagrams(&peer, door),
                };
                let heard = self.carry(over, flow, Leg::Outside, text);
                self.world.close(flow);
                self.did("new connection");
                heard
            }
            None => {
                let flow = self.connection(phone);
                self.carry(over, flow, Leg::Outside, text)
            }
        };
        assert!(
            !heard.contains("10.1.1.1:"),
            "nothing of ours is left: {heard}"
        );
        true_length(&heard);
        heard
    }

    /// Through the gateway. A datagram may be lost behind it: who sends it again must be heard as if it
    /// were the first time.
    fn carry(&mut self, over: Protocol, flow: FlowId, from: Leg, text: &str) -> String {
        if over == Protocol::Tcp {
            return self.world.say(flow, from, text);
        }
        let heard = self.world.datagram(flow, from, text);
        if self.dice.roll(6) == 0 {
            let again = self.world.datagram(flow, from, text);
            assert_eq!(again, heard, "sent again");
            self.did("lost");
        }
        heard
    }

    pub(super) fn note(&mut self, phone: usize, how: &str, text: &str) {
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

    pub(super) fn connection(&mut self, phone: usize) -> FlowId {
        let entry = &mut self.phones[phone];
        if let Some(flow) = entry.flow {
            return flow;
        }
        entry.source += 1;
        let source = format!("{}:{}", entry.ip, entry.source);
        let flow = match entry.over {
            Protocol::Tcp => self.world.connect(&source, SERVER),
            Protocol::Udp => {
                // Its Via names its usual port, and asks for no `rport`.
                let answers = format!("{}:5060", entry.ip);
                self.model.sources.extend([source.clone(), answers]);
                self.world.connect_datagrams(&source, SERVER)
            }
        };
        entry.flow = Some(flow);
        flow
    }

    pub(super) fn hang_up_connection(&mut self, phone: usize) {
        if let Some(flow) = self.phones[phone].flow.take() {
            self.world.close(flow);
            let Phone { ip, source, .. } = self.phones[phone];
            for port in [source, 5060] {
                self.model.sources.remove(&format!("{ip}:{port}"));
            }
        }
    }

    /// Doors before bytes: what a message names is open when the message leaves.
    pub(super) fn doors_are_open(&self, saw: &str) {
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
pub(super) fn respond(request: &str, status: u16, tag: &str, more: &str, body: &str) -> String {
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

pub(super) fn field(message: &str, name: &str) -> String {
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
