//! The worst messages that are known, each at one size and at twice that: twice the time, not four
//! times. Time is that of this thread on a processor, so that a busy machine does not matter.

use super::world::{PHONE, SERVER, World};
use sipalg_core::config::Limits;
use sipalg_core::{Leg, Outbox};

/// How often each is measured; the quickest counts.
const ROUNDS: usize = 5;

/// What twice the size may cost. Quadratic would be 4.
const MOST: f64 = 3.0;

/// The smaller size.
const SIZE: usize = 128 * 1024;

/// `unit` again and again, `#` replaced by a number, until it is `size` bytes.
fn many(unit: &str, size: usize) -> String {
    let mut text = String::with_capacity(size + unit.len());
    let mut number = 10_000;
    while text.len() < size {
        text += &unit.replace('#', &number.to_string());
        number = 10_000 + (number - 9_999) % 50_000;
    }
    text
}

fn with_header(fields: &str) -> String {
    format!(
        "INVITE sip:a@x SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{fields}Content-Length: 0\r\n\r\n"
    )
}

fn with_body(kind: &str, body: &str) -> String {
    format!(
        "INVITE sip:a@x SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn session(lines: &str) -> String {
    let body = super::world::sdp("192.168.122.3", 6000) + lines;
    with_body("application/sdp", &body)
}

/// The shapes by name, each of a given size.
fn shape(number: usize, size: usize) -> Option<(&'static str, String)> {
    let own = "192.168.122.3";
    let field = |name: &str, unit: &str| with_header(&format!("{name}: {}\r\n", many(unit, size)));
    let each = |unit: &str| with_header(&many(unit, size));
    let lines = |unit: &str| session(&many(unit, size));
    Some(match number {
        0 => ("keep-alives", many("\r\n", size)),
        1 => (
            "small messages",
            many("OPTIONS sip:a SIP/2.0\r\nl:0\r\n\r\n", size),
        ),
        2 => (
            "small calls",
            many(&with_header("m: <sip:a@192.168.122.3:#>\r\n"), size),
        ),
        3 => ("empty fields", each("v:\r\n")),
        4 => ("unknown fields", each("X-#: y\r\n")),
        5 => ("lines without colon", each("xxxxxxx\r\n")),
        6 => (
            "folded lines",
            format!(
                "{}\r\n",
                with_header("").replace("CSeq", &many("X: y\r\n z\r\n", size))
            ),
        ),
        7 => (
            "folds of a known field",
            each("Contact: <sip:a>\r\n ,<sip:b>\r\n"),
        ),
        8 => ("one long field", field("Subject", "x")),
        9 => (
            "many Via",
            each("Via: SIP/2.0/TCP 192.168.122.3:#;branch=z9hG4bK#\r\n"),
        ),
        10 => (
            "values of Via",
            field("Via", "SIP/2.0/TCP 192.168.122.3:#,"),
        ),
        11 => (
            "parameters of Via",
            field(
                "Via",
                "SIP/2.0/TCP 192.168.122.3:5060;a=b;rport;received=1.2.3.4",
            ),
        ),
        12 => ("many Contact", each("Contact: <sip:a@192.168.122.3:#>\r\n")),
        13 => (
            "values of Contact",
            field("Contact", "<sip:a@192.168.122.3:#>, "),
        ),
        14 => (
            "many Record-Route",
            each("Record-Route: <sip:192.168.122.3:#;lr>\r\n"),
        ),
        15 => ("many Route", each("Route: <sip:10.1.1.1:#;lr>\r\n")),
        16 => ("commas", field("Contact", ",")),
        17 => ("quotes", field("Contact", "\"")),
        18 => ("an open quote", field("Contact", "\"a,")),
        19 => ("escapes", field("From", "\\\"")),
        20 => ("angles", field("Contact", "<")),
        21 => ("angles that close", field("Contact", "<>,")),
        22 => ("semicolons", field("To", ";")),
        23 => ("parameters", field("Contact", "<sip:a@x>;expires=#;")),
        24 => (
            "a URI without end",
            field("Contact", "<sip:a@192.168.122.3;x="),
        ),
        25 => ("at signs", field("Contact", "sip:@")),
        26 => ("colons", field("Contact", "sip::::")),
        27 => ("blanks", field("Contact", " ")),
        28 => ("warnings", each("Warning: 301 192.168.122.3:# \"x\"\r\n")),
        29 => (
            "identities",
            each("P-Asserted-Identity: <sip:a@192.168.122.3:#>\r\n"),
        ),
        30 => ("media lines", lines("m=audio # RTP/AVP 0\r\n")),
        31 => (
            "media lines with address",
            lines("m=audio # RTP/AVP 0\r\nc=IN IP4 192.168.122.3\r\n"),
        ),
        32 => ("connection lines", lines("c=IN IP4 192.168.122.3\r\n")),
        33 => ("attributes", lines("a=x:#\r\n")),
        34 => (
            "candidates",
            lines("a=candidate:1 1 UDP 1 192.168.122.3 # typ host\r\n"),
        ),
        35 => (
            "rtcp attributes",
            lines("a=rtcp:# IN IP4 192.168.122.3\r\n"),
        ),
        36 => ("empty lines of a session", lines("\r\n")),
        37 => (
            "boundaries",
            with_body("multipart/mixed;boundary=b", &many("--b\r\n", size)),
        ),
        38 => ("parts", {
            let part = format!(
                "--b\r\nContent-Type: application/sdp\r\nContent-Length: 9\r\n\r\n{}\r\n",
                super::world::sdp(own, 6000)
            );
            with_body("multipart/mixed;boundary=b", &many(&part, size))
        }),
        39 => ("nested parts", {
            let part = "--b\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n";
            with_body("multipart/mixed;boundary=b", &many(part, size))
        }),
        40 => (
            "a fragment",
            with_body(
                "message/sipfrag",
                &many("Contact: <sip:a@192.168.122.3:#>\r\n", size),
            ),
        ),
        41 => (
            "a body without line ends",
            with_body("application/sdp", &many("x", size)),
        ),
        42 => (
            "a header without end",
            format!("OPTIONS sip:a SIP/2.0\r\n{}", many("X: y\r\n", size)),
        ),
        43 => ("not SIP", many("GET / HTTP/1.1\r\n", size)),
        _ => return None,
    })
}

/// Nanoseconds that this thread has been on a processor.
fn on_processor() -> u64 {
    // The scheduler brings its count up to date.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn cost(stream: &[u8], from: Leg, cut: usize) -> u64 {
    let rounds = (0..ROUNDS).map(|_| {
        let mut world = World::new();
        let mut config = world.alg.config().clone();
        config.limits = Limits {
            header_bytes: 1 << 22,
            body_bytes: 1 << 22,
            ..config.limits
        };
        world.reconfigure(config);
        let flow = world.connect(PHONE, SERVER);
        let mut out = Outbox::default();
        let before = on_processor();
        for part in stream.chunks(cut) {
            world.alg.stream(world.now, flow, from, part, &mut out);
        }
        on_processor() - before
    });
    rounds.min().unwrap().max(1)
}

#[test]
fn twice_as_long_takes_twice_the_time() {
    let mut shapes = 0;
    let mut slow = Vec::new();
    while let Some((name, small)) = shape(shapes, SIZE) {
        let (_, large) = shape(shapes, 2 * SIZE).unwrap();
        shapes += 1;
        for from in [Leg::Inside, Leg::Outside] {
            // At once as far as one read goes, and in segments.
            for cut in [1 << 22, 1460] {
                // A machine that does other things, too, is measured again.
                let (mut ns, mut is_slow) = ((0, 0), true);
                for _ in 0..3 {
                    if is_slow {
                        let of = |text: &str| cost(text.as_bytes(), from, cut);
                        ns = (of(&small), of(&large));
                        // What takes no time at all has no ratio worth the name.
                        is_slow = ns.1 as f64 > MOST * ns.0 as f64 && ns.1 > 2_000_000;
                    }
                }
                if is_slow {
                    slow.push(format!("{name} from {from:?} by {cut}: {ns:?} ns"));
                }
                let small = ns.0;
                // 5 ms of a processor for 64 KiB, and a test is built for finding faults, not for speed.
                assert!(small < 500_000_000, "{name}: {small} ns");
            }
        }
    }
    assert!(shapes >= 40);
    assert!(slow.is_empty(), "{slow:#?}");
}

#[test]
fn a_message_that_drips_costs_what_one_that_flows_costs() {
    let message = with_header(&many("Contact: <sip:a@192.168.122.3:#>\r\n", SIZE));
    let large = with_header(&many("Contact: <sip:a@192.168.122.3:#>\r\n", 2 * SIZE));
    let small = cost(message.as_bytes(), Leg::Inside, 1);
    let large = cost(large.as_bytes(), Leg::Inside, 1);
    assert!((large as f64) < MOST * small as f64, "{small} {large}");
}
