//! Messages that an inside phone might send, in all kinds of spelling, with every field of the table.

use super::world::sdp;
use sipalg_core::sip::Name;
use std::collections::BTreeSet;

/// A small generator, the same on every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % sides
    }

    pub fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

/// The phone's address as it may be written, and what is not its own.
const OWN: &[&str] = &["192.168.122.3", "192.168.122.3:5060", "192.168.122.3:40001"];
const FOREIGN: &[&str] = &["example.com", "8.8.8.8:5060", "[::1]:5060"];

/// Every field of the table, in its spellings, and how its value is built around an address.
const FIELDS: &[(&[&str], &str)] = &[
    (
        &["Via", "v", "VIA ", "Via\t"],
        "SIP/2.0/TCP @;branch=z9hG4bK1;rport",
    ),
    (&["From", "f", "FROM"], "\"a, b\" <sip:a@@>;tag=1"),
    (&["To", "t"], "<sip:b@@>"),
    (
        &["Contact", "m", "CONTACT"],
        "<sip:a@@>;expires=9,# \"q;\" <sip:c@@;x=y>",
    ),
    (
        &["Record-Route", "record-route"],
        "<sip:@;lr>,# <sip:p@@;lr>",
    ),
    (&["Route"], "<sip:@;lr>"),
    (&["Path"], "<sip:@;lr>"),
    (&["Service-Route"], "<sip:@;lr>"),
    (&["Refer-To", "r"], "<sip:c@@?Replaces=1%40192.168.122.3>"),
    (&["Referred-By", "b"], "sip:c@@"),
    (&["Replaces"], "sip:1@@;to-tag=2;from-tag=3"),
    (&["Target-Dialog"], "sip:1@@;local-tag=2;remote-tag=3"),
    (&["P-Asserted-Identity"], "\"x\" <sip:c@@>, <tel:1>"),
    (&["P-Preferred-Identity"], "<sip:c@@>"),
    (&["Remote-Party-ID"], "<sip:c@@>;party=calling"),
    (&["P-Associated-URI"], "<sip:c@@>"),
    (&["Diversion"], "<sip:c@@>;reason=no-answer"),
    (&["History-Info"], "<sip:c@@?Reason=SIP>;index=1"),
    (&["Reply-To"], "<sip:c@@>"),
    (&["Alert-Info"], "<sip:c@@>"),
    (&["Call-Info"], "<sip:c@@>;purpose=icon"),
    (&["Error-Info"], "<sip:c@@>"),
    (&["Warning"], "399 @ \"x 192.168.122.3\""),
];

/// What has been generated with an address of ours in it: names as the crate knows them.
#[derive(Default)]
pub struct Coverage(pub BTreeSet<String>);

/// One message: of the kind that makes calls, or not.
pub fn message(dice: &mut Dice, coverage: &mut Coverage) -> String {
    let own = |dice: &mut Dice| match dice.roll(4) {
        0 => dice.pick(FOREIGN),
        _ => dice.pick(OWN),
    };
    let host = own(dice);
    let start = match dice.roll(4) {
        0 => format!("SIP/2.0 {} x", 180 + 20 * dice.roll(3)),
        1 => format!("UPDATE sip:bob@{host};transport=tcp SIP/2.0"),
        _ => format!("INVITE sip:bob@{host} SIP/2.0"),
    };
    if !start.starts_with("SIP") && host.starts_with("192.") {
        coverage.0.insert("Request-URI".into());
    }
    let mut text = format!("{start}\r\n");
    for (names, value) in FIELDS {
        // The usual fields are nearly always there, of the others a few.
        let usual = names.contains(&"v") || names.contains(&"f") || names.contains(&"m");
        if dice.roll(8) < if usual { 7 } else { 2 } {
            let (name, fold) = (dice.pick(names), dice.pick(&["", "\r\n ", "\r\n\t", "  "]));
            let host = own(dice);
            if host.starts_with("192.") {
                coverage
                    .0
                    .insert(format!("{:?}", Name::parse(name.trim().as_bytes())));
            }
            text += &format!("{name}:{fold}{}\r\n", with_host(value, host, fold));
        }
    }
    let body = match dice.roll(4) {
        0 => String::new(),
        1 => sdp("8.8.8.8", 4000),
        2 => sdp("192.168.122.3", 6000 + 2 * dice.roll(50) as u16),
        _ => format!(
            "{}m=video {} RTP/AVP 31\r\n",
            sdp("192.168.122.3", 7000),
            8000 + 2 * dice.roll(9)
        ),
    };
    let kind = if body.is_empty() {
        ""
    } else {
        "c: application/sdp\r\n"
    };
    let length = dice.pick(&["Content-Length", "l", "content-length"]);
    format!(
        "{text}X-Unknown: 192.168.122.3\r\ni: call{}\r\nCSeq: {} INVITE\r\n{kind}{length}: {}\r\n\r\n{body}",
        dice.roll(5),
        1 + dice.roll(3),
        body.len(),
    )
}

/// `@@` is `@` and the host, `@` the host, `#` the fold.
fn with_host(value: &str, host: &str, fold: &str) -> String {
    let value = value.replace("@@", "\0").replace('@', host);
    value.replace('\0', &format!("@{host}")).replace('#', fold)
}

/// A few messages, with keep-alives between them.
pub fn stream(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + dice.roll(6) {
        if dice.roll(4) == 0 {
            bytes.extend_from_slice(b"\r\n\r\n");
        }
        bytes.extend_from_slice(message(dice, &mut Coverage::default()).as_bytes());
    }
    bytes
}
