//! A registration and a call of a phone, captured inside.

use crate::scene::{FAR_MEDIA, PROXY, Scene, Side, Talk, message, sdp};

/// How many SIP messages a phone's part has.
pub const MESSAGES: usize = 8;

/// Registers the phone and calls; its segments are cut, swapped, repeated and overlap. Ends with the
/// far side hanging up over a connection of its own, to the phone's contact.
pub fn call(scene: &mut Scene, phone: &str, name: &str) {
    let client = format!("{phone}:40001");
    let mut talk = Talk::open(scene, &client, PROXY);
    register(scene, &mut talk, phone, name);
    let via = format!("Via: SIP/2.0/TCP {client};branch=z9hG4bK-i-{name}");
    let dialog = Dialog { phone, name };
    let contact = format!("Contact: <sip:{name}@{phone}:5060;transport=tcp>");
    let invite = dialog.message(
        "INVITE sip:bob@203.0.113.9 SIP/2.0",
        &via,
        "1 INVITE",
        &contact,
        &sdp(phone, 6000),
    );
    let half = invite.len() / 2;
    let end = invite.len();
    // Half of it, the end, a retransmission of half with more, and what is still missing.
    let pieces = [
        (0, half),
        (end - 20, end),
        (half / 2, half + 30),
        (half, end - 10),
    ];
    talk.send(scene, Side::Client, &invite, &pieces);
    let far = "Contact: <sip:bob@203.0.113.9;transport=tcp>";
    let trying = dialog.message("SIP/2.0 100 Trying", &via, "1 INVITE", "X-A: 1", "");
    let body = sdp("203.0.113.20", 7000);
    let ok = dialog.message("SIP/2.0 200 OK", &via, "1 INVITE", far, &body);
    // Two messages, cut anywhere.
    let both = trying + &ok;
    talk.send(scene, Side::Server, &both, &[(0, 60), (60, both.len())]);
    let ack = dialog.message(
        "ACK sip:bob@203.0.113.9 SIP/2.0",
        &via,
        "1 ACK",
        "X-A: 1",
        "",
    );
    talk.say(scene, Side::Client, &ack);
    media(scene, phone);
    let hang_up = "Via: SIP/2.0/TCP 203.0.113.9:33000;branch=z9hG4bK-b";
    let request = format!("BYE sip:{name}@{phone}:5060;transport=tcp SIP/2.0");
    let contact = format!("{phone}:5060");
    let mut from_far = Talk::open(scene, "203.0.113.9:33000", &contact);
    let bye = dialog.message(&request, hang_up, "7 BYE", "X-A: 1", "");
    from_far.say(scene, Side::Client, &bye);
    let done = dialog.message("SIP/2.0 200 OK", hang_up, "7 BYE", "X-A: 1", "");
    from_far.say(scene, Side::Server, &done);
    from_far.reset(scene, Side::Server);
    talk.close(scene);
}

fn register(scene: &mut Scene, talk: &mut Talk, phone: &str, name: &str) {
    let via = format!("Via: SIP/2.0/TCP {phone}:40001;branch=z9hG4bK-r-{name}");
    let contact = format!("Contact: <sip:{name}@{phone}:5060;transport=tcp>");
    let dialog = Dialog { phone, name };
    let start = "REGISTER sip:203.0.113.9 SIP/2.0";
    let request = dialog.message(start, &via, "1 REGISTER", &contact, "");
    let end = request.len();
    // The second third comes last, and the first twice.
    let pieces = [(0, 100), (200, end), (0, 100), (100, 200)];
    talk.send(scene, Side::Client, &request, &pieces);
    let granted = format!("{contact};expires=3600");
    let ok = dialog.message("SIP/2.0 200 OK", &via, "1 REGISTER", &granted, "");
    talk.say(scene, Side::Server, &ok);
}

fn media(scene: &mut Scene, phone: &str) {
    for number in 0..5 {
        scene.rtp(&format!("{phone}:6000"), FAR_MEDIA, number);
        scene.rtp(FAR_MEDIA, &format!("{phone}:6000"), number);
    }
    scene.rtp(&format!("{phone}:6001"), "203.0.113.20:7001", 1);
    scene.rtp("203.0.113.20:7001", &format!("{phone}:6001"), 1);
}

struct Dialog<'a> {
    phone: &'a str,
    name: &'a str,
}

impl Dialog<'_> {
    fn message(&self, start: &str, via: &str, cseq: &str, line: &str, body: &str) -> String {
        let Dialog { phone, name } = self;
        let phone = format!("<sip:{name}@{phone}>;tag=1{name}");
        let far = "<sip:bob@203.0.113.9>;tag=2";
        // Who hangs up is the far side.
        let (from, to) = match cseq {
            "7 BYE" => (far, &phone[..]),
            _ => (&phone[..], far),
        };
        let (from, to) = (format!("From: {from}"), format!("To: {to}"));
        let (call, cseq) = (format!("Call-ID: call-{name}"), format!("CSeq: {cseq}"));
        message(start, &[via, &from, &to, &call, &cseq, line], body)
    }
}
