//! Messages that ask for more than anyone needs, and descriptions that ask for nothing.

use super::request;
use super::world::{PHONE, SERVER, World};
use sipalg_core::{DoorKind, Leg};

const CONTACT: &str = "<sip:a@192.168.122.3:5060;transport=tcp>";

#[test]
fn a_thousand_media_lines_open_the_doors_of_sixteen() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let lines: String = (0..1000)
        .map(|nth| format!("m=audio {} RTP/AVP 0\r\n", 10_000 + 2 * nth))
        .collect();
    let body = super::world::sdp("192.168.122.3", 6000) + &lines;
    world.say(flow, Leg::Inside, &request("INVITE", "c", CONTACT, &body));
    assert_eq!(world.doors(DoorKind::Media).len(), 2 * 16);
}

#[test]
fn a_thousand_contacts_open_the_doors_of_sixteen() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let contacts: Vec<String> = (0..1000)
        .map(|nth| {
            format!(
                "<sip:a@192.168.122.3:{};transport=tcp>;expires=600",
                10_000 + nth
            )
        })
        .collect();
    let sent = world.say(
        flow,
        Leg::Inside,
        &request("REGISTER", "c", &contacts.join(", "), ""),
    );
    let echoed = sent
        .split("Contact: ")
        .nth(1)
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap();
    let granted = format!("Contact: {echoed}\r\n");
    world.say(
        flow,
        Leg::Outside,
        &super::response(200, "REGISTER", "c", &granted),
    );
    assert_eq!(world.doors(DoorKind::Signalling).len(), 16);
}

#[test]
fn many_values_of_any_field_make_sixteen_mappings() {
    for field in [
        "Via: SIP/2.0/TCP 192.168.122.3:P",
        "Record-Route: <sip:192.168.122.3:P>",
        "Path: <sip:192.168.122.3:P>",
        "P-Asserted-Identity: <sip:a@192.168.122.3:P>",
        "From: <sip:a@192.168.122.3:P>",
        "Contact: <sip:a@192.168.122.3:P>",
    ] {
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        for method in ["OPTIONS", "INVITE", "REGISTER"] {
            let before = world.alg.mappings(world.now).len();
            let values: String = (0..500)
                .map(|nth| {
                    field
                        .replace('P', "#")
                        .replacen('#', "P", field.matches('P').count() - 1)
                        .replace('#', &(20_000 + nth).to_string())
                        + "\r\n"
                })
                .collect();
            let text = format!(
                "{method} sip:a SIP/2.0\r\n{values}Call-ID: {method}\r\nCSeq: 1 {method}\r\nl: 0\r\n\r\n"
            );
            world.say(flow, Leg::Inside, &text);
            let made = world.alg.mappings(world.now).len() - before;
            assert!(made <= 16, "{field} {method}: {made}");
        }
    }
}

#[test]
fn a_description_without_active_media_opens_nothing_and_is_not_garbled() {
    // CVE-2026-31427: o= and c= written from what no media line has set.
    for lines in 0..=8usize {
        for active in 0..=lines {
            for (session, media) in [(true, false), (false, true), (true, true)] {
                let line = |nth: usize| {
                    let port = if nth < active { 6000 + 2 * nth } else { 0 };
                    let own = if media {
                        "c=IN IP4 192.168.122.3\r\n"
                    } else {
                        ""
                    };
                    format!("m=audio {port} RTP/AVP 0\r\n{own}")
                };
                let connection = if session {
                    "c=IN IP4 192.168.122.3\r\n"
                } else {
                    ""
                };
                let media: String = (0..lines).map(line).collect();
                let body = format!(
                    "v=0\r\no=- 1 1 IN IP4 192.168.122.3\r\ns=-\r\n{connection}t=0 0\r\n{media}"
                );
                let mut world = World::new();
                let flow = world.connect(PHONE, SERVER);
                let sent = world.say(flow, Leg::Inside, &request("INVITE", "c", CONTACT, &body));
                let (_, got) = sent.split_once("\r\n\r\n").unwrap();
                assert_eq!(
                    got,
                    body.replace("192.168.122.3", "10.1.1.1"),
                    "{lines} {active}"
                );
                assert_eq!(world.doors(DoorKind::Media).len(), 2 * active);
            }
        }
    }
}

#[test]
fn a_held_stream_is_nobodys_address() {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    let body = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n";
    let text = request("INVITE", "c", CONTACT, body);
    assert!(world.say(flow, Leg::Inside, &text).ends_with(body));
    assert_eq!(world.doors(DoorKind::Media).len(), 0);
}
