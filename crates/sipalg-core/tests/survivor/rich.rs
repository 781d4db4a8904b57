//! A gateway with something of every kind in it, and the messages that got it there.
#![allow(dead_code)] // each test binary uses its own part

use crate::world::{SERVER, World, fixed_port, overload, pool, sdp, under};
use sipalg_core::Leg::{Inside, Outside};
use sipalg_core::{Config, FlowId, Protocol};
use std::time::Duration;

pub const PHONE: &str = "192.168.122.3";

/// A request or response of some Call-ID.
pub fn message(first: &str, call: &str, cseq: &str, more: &str, body: &str) -> String {
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{first}\r\nVia: SIP/2.0/TCP {PHONE}:5060;branch=z9hG4bK{call}\r\nFrom: <sip:u@{PHONE}>;tag=a\r\n\
         To: <sip:peer@10.1.1.2>;tag=b\r\nCall-ID: {call}\r\nCSeq: {cseq}\r\n{more}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// What the phone asks of the peer.
pub fn ask(method: &str, call: &str, cseq: u32, more: &str, body: &str) -> String {
    let first = format!("{method} sip:peer@10.1.1.2 SIP/2.0");
    message(&first, call, &format!("{cseq} {method}"), more, body)
}

/// The peer's answer to that.
pub fn answer(status: u16, method: &str, call: &str, cseq: u32, more: &str, body: &str) -> String {
    let (first, cseq) = (format!("SIP/2.0 {status} x"), format!("{cseq} {method}"));
    message(&first, call, &cseq, more, body).replace(PHONE, "10.1.1.1")
}

pub const CONTACT: &str = "Contact: <sip:u@192.168.122.3:5060;transport=tcp>\r\n";
pub const GRANTED: &str = "Contact: <sip:u@10.1.1.1:5080;transport=tcp>;expires=600\r\n";

/// Phones behind one address, a fixed port, hosts with addresses for themselves, and pings.
pub fn config() -> Config {
    Config {
        keepalive: Some(Duration::from_secs(25)),
        ..under(vec![
            fixed_port(Protocol::Tcp, "192.168.122.3:5060", "10.1.1.1:5080"),
            overload("192.168.122.0", "10.1.1.1"),
            pool("192.168.5.0", "10.1.1.10", "10.1.1.12", false),
        ])
    }
}

pub struct Rich {
    pub world: World,
    /// The phone's connection to the server.
    pub flow: FlowId,
    /// Datagrams of another phone.
    pub datagrams: FlowId,
    /// On it a body is passing that is too long; 1,000 bytes are missing.
    pub long: FlowId,
}

/// A registration and a REGISTER without answer, a call and one that is being made, a call that is
/// over and has left a barred port, datagrams, an address of a pool, half a message, and spellings.
pub fn rich() -> Rich {
    rich_under(config())
}

pub fn rich_under(config: Config) -> Rich {
    let mut world = World::with(config);
    let flow = world.connect("192.168.122.3:40001", SERVER);
    world.say(flow, Inside, &ask("REGISTER", "reg", 1, CONTACT, ""));
    world.say(
        flow,
        Outside,
        &answer(200, "REGISTER", "reg", 1, GRANTED, ""),
    );
    world.say(flow, Inside, &ask("REGISTER", "reg2", 1, CONTACT, ""));

    world.say(
        flow,
        Inside,
        &ask("INVITE", "call", 1, CONTACT, &sdp(PHONE, 6000)),
    );
    world.say(
        flow,
        Outside,
        &answer(200, "INVITE", "call", 1, "", &sdp("10.1.1.2", 8000)),
    );
    world.say(flow, Inside, &ask("ACK", "call", 1, "", ""));

    world.say(
        flow,
        Inside,
        &ask("INVITE", "gone", 1, CONTACT, &sdp(PHONE, 6004)),
    );
    world.say(flow, Outside, &answer(486, "INVITE", "gone", 1, "", ""));

    let odd = ask("INVITE", "odd", 1, CONTACT, &sdp(PHONE, 6008));
    let odd = odd.replace("TCP 192.168.122.3:5060", "TCP 192.168.122.3 : 5060");
    world.say(flow, Inside, &odd);
    world.say(flow, Outside, &answer(180, "INVITE", "odd", 1, "", ""));

    let datagrams = world.connect_datagrams("192.168.122.5:40002", SERVER);
    let over_udp = ask("OPTIONS", "opt", 1, "", "").replace(PHONE, "192.168.122.5");
    world.datagram(datagrams, Inside, &over_udp.replace("TCP", "UDP"));

    let long = world.connect("192.168.5.7:40003", SERVER);
    let body = "x".repeat(2_000_000);
    let text = ask("MESSAGE", "long", 1, "", &body);
    world.say(long, Inside, &text[..text.len() - 1000]);

    world.say(
        flow,
        Inside,
        "OPTIONS sip:peer@10.1.1.2 SIP/2.0\r\nVia: SIP/2.0/TCP ",
    );
    Rich {
        world,
        flow,
        datagrams,
        long,
    }
}
