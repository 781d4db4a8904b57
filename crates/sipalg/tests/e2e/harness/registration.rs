//! A phone and a registrar of our own.

use super::net::Host;
use super::sip::{Dialogue, Peer, Server, answer, header, uri_target};
use std::net::SocketAddrV4;

/// A phone that a registrar of our own has accepted, by connections that are still open.
#[derive(Debug)]
pub struct Registration {
    /// The phone's connection to the registrar.
    pub phone: Peer,
    /// The registrar's end of it.
    pub registrar: Peer,
    /// The Contact as the registrar knows it.
    pub global: SocketAddrV4,
    /// The request as the registrar got it.
    pub request: String,
    asked: Dialogue,
}

impl Registration {
    /// Registers the phone's contact for a number of seconds.
    pub fn make(
        phone: (&Host, SocketAddrV4),
        registrar: (&Host, SocketAddrV4),
        expires: u32,
    ) -> Self {
        let mut asking = Registration::ask(phone, registrar, expires);
        asking.grant(expires);
        asking
    }

    /// Asks for it only; the registrar does not answer yet.
    pub fn ask(
        phone: (&Host, SocketAddrV4),
        registrar: (&Host, SocketAddrV4),
        expires: u32,
    ) -> Self {
        let server = Server::listen(registrar.0, registrar.1);
        let asked = Dialogue::new("reg", phone.1, registrar.1);
        let from = SocketAddrV4::new(*phone.1.ip(), 0);
        let phone = Peer::connect(phone.0, from, registrar.1).expect("to reach the registrar");
        let registrar = server.accept();
        let request = String::new();
        let mut asking = Registration {
            phone,
            registrar,
            global: from,
            request,
            asked,
        };
        asking.again(1, expires);
        asking
    }

    /// Asks again, by request number `number`.
    pub fn again(&mut self, number: u32, expires: u32) {
        self.phone.send(self.asked.register(number, expires));
        self.request = self.registrar.message();
        let contact = header(&self.request, "Contact").expect("a Contact");
        self.global = uri_target(contact);
        let inside = self.asked.from.ip();
        assert_ne!(self.global.ip(), inside, "an inside address is outside");
    }

    /// The registrar says yes, for a number of seconds.
    pub fn grant(&mut self, expires: u32) {
        let contact = header(&self.request, "Contact").expect("a Contact");
        let contact = match expires {
            0 => String::new(),
            _ => format!("Contact: {contact};expires={expires}\r\n"),
        };
        self.answer("200 OK", &contact);
    }

    /// The registrar answers something else.
    pub fn answer(&mut self, status: &str, extra: &str) {
        self.registrar
            .send(answer(&self.request, status, extra, ""));
        let answer = self.phone.message();
        assert!(answer.starts_with(&format!("SIP/2.0 {status}")), "{answer}");
    }
}
