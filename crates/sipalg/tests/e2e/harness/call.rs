//! A call between a phone and an outside host of our own.

use super::media::Ear;
use super::net::{Host, inside_address, outside_address};
use super::sip::{Dialogue, Peer, Server, answer, media_target, session};
use std::net::SocketAddrV4;

/// Where the outside host takes calls.
pub fn office() -> SocketAddrV4 {
    SocketAddrV4::new(outside_address(2), 5060)
}

/// A call that a phone makes to the office, with an ear at either end.
#[derive(Debug)]
pub struct Call {
    /// The phone's connection.
    pub near: Peer,
    /// The outside host's end of it.
    pub far: Peer,
    /// The phone's ear.
    pub near_ear: Ear,
    /// The outside host's ear.
    pub far_ear: Ear,
    /// Where the outside host is told to send its media: the door.
    pub door: SocketAddrV4,
    /// The INVITE as the outside host got it.
    pub invite: String,
    said: Dialogue,
}

impl Call {
    /// Phone `number` calls, and offers audio at a port; the outside host has got the INVITE.
    pub fn make(phone: (&Host, u8), far: &Host, media: u16) -> Self {
        Call::make_to(phone, (far, office()), media)
    }

    /// The same to an outside host that takes calls elsewhere.
    pub fn make_to(phone: (&Host, u8), far: (&Host, SocketAddrV4), media: u16) -> Self {
        let (phone, number) = phone;
        let (far, office) = far;
        let listener = Server::listen(far, office);
        let own = SocketAddrV4::new(inside_address(number), 5060);
        let any = SocketAddrV4::new(*own.ip(), 0);
        let mut near = Peer::connect(phone, any, office).expect("to reach the office");
        let mut far_end = listener.accept();
        let media = SocketAddrV4::new(*own.ip(), media);
        let near_ear = Ear::open(phone, media);
        let far_ear = Ear::open(far, SocketAddrV4::new(*office.ip(), 0));
        let said = Dialogue::new(&format!("call{number}"), own, office);
        near.send(said.invite(1, media));
        let invite = far_end.message();
        Call {
            near,
            far: far_end,
            near_ear,
            far_ear,
            door: media_target(&invite),
            invite,
            said,
        }
    }

    /// The outside host takes the call.
    pub fn take(&mut self) {
        self.take_again(1);
    }

    /// The outside host agrees to the offer of request number `number`.
    pub fn take_again(&mut self, number: u32) {
        let body = session(self.far_ear.at());
        self.reply("200 OK", &body);
        self.request("ACK", number);
    }

    /// The outside host answers the INVITE; the phone gets the answer.
    pub fn reply(&mut self, status: &str, body: &str) {
        let reply = answer(&self.invite, status, "", body);
        self.far.send(reply);
        let got = self.near.message();
        assert!(got.starts_with(&format!("SIP/2.0 {status}")), "{got}");
    }

    /// The phone requests something in the call; the outside host gets it.
    pub fn request(&mut self, method: &str, number: u32) -> String {
        self.near.send(self.said.request(method, number, ""));
        self.far.message()
    }

    /// The phone requests something in the call, and the outside host says yes.
    pub fn request_and_agree(&mut self, method: &str, number: u32) {
        let request = self.request(method, number);
        self.far.send(answer(&request, "200 OK", "", ""));
        self.near.message();
    }

    /// The phone offers something else, in a description of its own words.
    pub fn offer_again(&mut self, number: u32, body: &str) -> String {
        self.near.send(self.said.invite_with(number, body));
        self.invite = self.far.message();
        self.door = media_target(&self.invite);
        self.invite.clone()
    }

    /// The phone opens another connection to the office, and both go on by it.
    pub fn reconnect(&mut self, phone: &Host, far: &Host) {
        let listener = Server::listen(far, self.said.to);
        let any = SocketAddrV4::new(*self.said.from.ip(), 0);
        self.near = Peer::connect(phone, any, self.said.to).expect("to reach the office");
        self.far = listener.accept();
    }

    /// Both say something, and both hear it: the medium works.
    pub fn talk(&mut self) {
        self.near_ear.say(self.far_ear.at(), 5);
        let heard = self.far_ear.hear(5);
        assert!(
            heard.iter().all(|heard| heard.from == self.door),
            "{heard:?}"
        );
        self.far_ear.say(self.door, 5);
        let heard = self.near_ear.hear(5);
        let far = self.far_ear.at();
        assert!(heard.iter().all(|heard| heard.from == far), "{heard:?}");
    }
}
