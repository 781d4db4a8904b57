//! NAT slipstreaming, versions 1 and 2: a browser inside is made to send SIP, in the body of an HTTP
//! request or in the user name of STUN over TCP, so that it begins a TCP segment.

use super::world::{PHONE, SERVER, World};
use sipalg_core::{Leg, Outbox};

const INSIDE: &str = "192.168.122.3";

/// What a browser can be made to say first.
fn beginnings() -> Vec<(&'static str, Vec<u8>)> {
    let post = "POST / HTTP/1.1\r\nHost: samy.pl:5060\r\nConnection: keep-alive\r\n\
        Content-Length: 6052\r\nContent-Type: multipart/form-data; \
        boundary=----WebKitFormBoundaryLuf2xTFMs91KO2Vo\r\n\r\n\
        ------WebKitFormBoundaryLuf2xTFMs91KO2Vo\r\n\
        Content-Disposition: form-data; name=\"textname\"\r\n\r\n";
    // A record of TLS with a ClientHello whose server name is long.
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.extend((0..64).map(|byte| byte * 3));
    // An Allocate request (RFC 5766) with a USERNAME.
    let mut stun = vec![0, 3, 5, 0, 0x21, 0x12, 0xa4, 0x42];
    stun.extend(b"slipstreamed");
    stun.extend([0, 6, 4, 0xf0]);
    vec![
        ("HTTP POST", post.into()),
        ("HTTP GET", b"GET /?x=".to_vec()),
        ("TLS", hello),
        ("STUN over TCP", stun),
        ("WebSocket", vec![0x82, 0xfe, 4, 0]),
        ("FTP", b"USER ".to_vec()),
        ("a line end", b"\r\nX".to_vec()),
        ("SIP's own word", b"SIPS/1 ".to_vec()),
    ]
}

/// What is smuggled: who is reached by it, if it is believed.
fn smuggled() -> Vec<String> {
    let sdp = super::world::sdp(INSIDE, 6000);
    vec![
        format!(
            "REGISTER sip:samy.pl;transport=TCP SIP/2.0\r\n\
             Via: SIP/2.0/TCP {INSIDE}:9999;branch=z9hG4bK1\r\nTo: <sip:samy@samy.pl>\r\n\
             From: <sip:samy@samy.pl>;tag=1\r\nCall-ID: s\r\nCSeq: 1 REGISTER\r\n\
             Contact: <sip:samy@{INSIDE}:9999;transport=tcp>\r\nExpires: 600\r\n\
             Content-Length: 0\r\n\r\n"
        ),
        super::request("INVITE", "s", &format!("<sip:a@{INSIDE}:9999>"), &sdp),
    ]
}

#[test]
fn ten_thousand_streams_that_do_not_begin_as_sip_open_nothing_and_change_nothing() {
    let mut variants = 0;
    let answer = super::response(
        200,
        "REGISTER",
        "s",
        "Contact: <sip:samy@10.1.1.1:9999>;expires=600\r\n",
    );
    for (name, beginning) in beginnings() {
        for message in smuggled() {
            for segment in [100usize, 256, 536, 1024, 1380, 1448, 1460, 4096] {
                // It begins 0 to 3 bytes before or after the border of a segment, of several.
                for nth in 1..=12 {
                    for off in -3i64..=3 {
                        let border = (segment * nth) as i64 + off;
                        let Ok(filler) = usize::try_from(border - beginning.len() as i64) else {
                            continue;
                        };
                        let mut stream = beginning.clone();
                        stream.resize(beginning.len() + filler, b'A');
                        stream.extend_from_slice(message.as_bytes());
                        passes_as_it_is(name, &stream, segment, &answer);
                        variants += 1;
                    }
                }
            }
        }
    }
    assert!(variants > 10_000, "only {variants}");
}

fn passes_as_it_is(name: &str, stream: &[u8], segment: usize, answer: &str) {
    let mut world = World::new();
    let flow = world.connect(PHONE, SERVER);
    world.obey();
    let before = world.alg.doors();
    let mut out = Outbox::default();
    for part in stream.chunks(segment) {
        world
            .alg
            .stream(world.now, flow, Leg::Inside, part, &mut out);
    }
    assert_eq!(out.bytes, stream, "{name} {segment}");
    world
        .alg
        .stream(world.now, flow, Leg::Outside, answer.as_bytes(), &mut out);
    assert!(out.bytes.ends_with(answer.as_bytes()), "{name} {segment}");
    assert!(out.doors.is_empty(), "{name} {segment}: {:?}", out.doors);
    assert_eq!(world.alg.doors(), before);
    assert_eq!(world.alg.counters().demoted, 1, "{name} {segment}");
}

#[test]
fn the_same_message_at_the_beginning_of_a_stream_is_sip() {
    // So that the test above can fail: it is the beginning that decides, and nothing else.
    for message in smuggled() {
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        let sent = world.say(flow, Leg::Inside, &message);
        assert!(sent.contains("10.1.1.1:9999"), "{sent}");
    }
}

#[test]
fn after_one_message_of_sip_a_stream_that_is_something_else_stays_so() {
    for message in smuggled() {
        let mut world = World::new();
        let flow = world.connect(PHONE, SERVER);
        world.say(
            flow,
            Leg::Inside,
            "OPTIONS sip:a SIP/2.0\r\nl: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        );
        assert_eq!(world.say(flow, Leg::Inside, &message), message);
        assert_eq!(super::opened(&world), 0);
    }
}

#[test]
fn a_datagram_that_does_not_begin_as_sip_opens_nothing() {
    for (_, beginning) in beginnings() {
        for message in smuggled() {
            let mut world = World::new();
            let flow = world.connect_datagrams("192.168.122.3:40000", SERVER);
            let mut datagram = beginning.clone();
            datagram.extend_from_slice(message.as_bytes());
            let mut out = Outbox::default();
            world
                .alg
                .datagram(world.now, flow, Leg::Inside, &datagram, &mut out);
            assert_eq!((out.bytes, out.doors), (datagram, vec![]));
        }
    }
}
