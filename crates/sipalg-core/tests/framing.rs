//! The exact edges of framing: limits, lengths, and which bytes may begin a message.

use sipalg_core::config::Limits;
use sipalg_core::event::Demotion;
use sipalg_core::frame::{Framer, Piece, Scan, datagram};

/// What a stream in those parts is cut into, as text; raw bytes are joined.
fn pieces(parts: &[&str], limits: &Limits) -> Vec<String> {
    let (mut framer, mut scan) = (Framer::default(), Scan::default());
    let (mut found, mut raw) = (Vec::new(), Vec::new());
    for part in parts {
        framer.feed(
            part.as_bytes(),
            limits,
            &mut scan,
            &mut |piece| match piece {
                Piece::KeepAlive(bytes) => found.push(format!("keep-alive {}", bytes.len())),
                Piece::Message(message) => found.push(format!(
                    "message {} {}",
                    message.header,
                    message.bytes.len()
                )),
                Piece::Oversize { bytes, first } => {
                    if first {
                        found.push("oversize".into());
                    }
                    raw.extend_from_slice(bytes);
                }
                Piece::Demoted(reason) => found.push(format!("{reason:?}")),
                Piece::Raw(bytes) => raw.extend_from_slice(bytes),
                Piece::Partial { .. } => {}
            },
        );
    }
    raw.extend(framer.end());
    found.push(format!("raw {}", raw.len()));
    found
}

fn limits(header_bytes: usize, body_bytes: usize) -> Limits {
    Limits {
        header_bytes,
        body_bytes,
        ..Limits::default()
    }
}

const HEAD: &str = "OPTIONS sip:x SIP/2.0\r\nl: 4\r\n\r\n";

#[test]
fn a_header_section_may_be_as_long_as_the_limit_and_no_longer() {
    let stream = format!("{HEAD}body");
    let message = format!("message {} {}", HEAD.len(), stream.len());
    let by_byte: Vec<&str> = stream.split_inclusive(|_| true).collect();
    for parts in [vec![stream.as_str()], by_byte] {
        assert_eq!(
            pieces(&parts, &limits(HEAD.len(), 4)),
            [message.clone(), "raw 0".into()]
        );
        let over = ["HeaderTooLong".to_string(), format!("raw {}", stream.len())];
        assert_eq!(pieces(&parts, &limits(HEAD.len() - 1, 4)), over);
    }
    // One line that does not end.
    let line = &stream[..20];
    assert_eq!(pieces(&[line], &limits(20, 4)), ["raw 20"]);
    assert_eq!(pieces(&[line], &limits(19, 4)), ["HeaderTooLong", "raw 20"]);
}

#[test]
fn a_body_may_be_as_long_as_the_limit_and_a_longer_one_passes_in_any_cuts() {
    let small = "OPTIONS sip:x SIP/2.0\r\nl: 2\r\n\r\nhi";
    let stream = format!("{HEAD}body{small}");
    let by_byte: Vec<&str> = stream.split_inclusive(|_| true).collect();
    let by_three = [&stream[..33], &stream[33..35], &stream[35..]].to_vec();
    for parts in [vec![stream.as_str()], by_byte, by_three] {
        let after = format!("message {} {}", small.len() - 2, small.len());
        let whole = format!("message {} {}", HEAD.len(), HEAD.len() + 4);
        assert_eq!(
            pieces(&parts, &limits(100, 4)),
            [whole, after.clone(), "raw 0".into()]
        );
        assert_eq!(
            pieces(&parts, &limits(100, 3)),
            ["oversize".into(), after, format!("raw {}", HEAD.len() + 4)]
        );
    }
}

#[test]
fn the_greatest_length_is_that_of_32_bits() {
    let with = |length: u64| format!("OPTIONS sip:x SIP/2.0\r\nl: {length}\r\n\r\n");
    assert_eq!(
        pieces(&[&with(u64::from(u32::MAX))], &Limits::default())[0],
        "oversize"
    );
    assert_eq!(
        pieces(&[&with(u64::from(u32::MAX) + 1)], &Limits::default())[0],
        "BadLength"
    );
}

/// RFC 3261 section 25.1: LWS is blanks, tabs and folds. Other white space around a length is doubt:
/// a length that is accepted must be found again when the body changes.
#[test]
fn only_blanks_and_folds_may_surround_a_length() {
    for (value, good) in [
        (" \t4\t ", true),
        ("\r\n 4", true),
        ("\r\n\t4 \r\n ", true),
        ("\x0c4", false),
        ("4\x0c", false),
        ("\t\x0c\t4", false),
        ("\x0b4", false),
        ("4 4", false),
        ("", false),
    ] {
        let stream = format!("OPTIONS sip:x SIP/2.0\r\nl:{value}\r\n\r\nbody");
        let found = pieces(&[&stream], &Limits::default());
        let expected = match good {
            true => format!("message {} {}", stream.len() - 4, stream.len()),
            false => "BadLength".into(),
        };
        assert_eq!(found[0], expected, "{value:?}");
    }
}

#[test]
fn keep_alives_are_told_apart_from_a_line_end_that_is_cut() {
    let found = pieces(&["\r", "\n\n", "\r\n\r"], &Limits::default());
    assert_eq!(
        found,
        ["keep-alive 2", "keep-alive 1", "keep-alive 2", "raw 1"]
    );
    assert_eq!(
        pieces(&["\rX"], &Limits::default()),
        ["NotSip", "raw 2"],
        "a CR alone begins nothing"
    );
}

#[test]
fn a_line_of_a_bare_cr_is_not_the_end_of_the_header_section() {
    let stream = "OPTIONS sip:x SIP/2.0\n\rX: y\n\n";
    assert_eq!(
        pieces(&[stream], &Limits::default()),
        [format!("message {0} {0}", stream.len()), "raw 0".into()]
    );
    let mixed = "OPTIONS sip:x SIP/2.0\r\nX: y\n\r\n";
    assert_eq!(
        pieces(&[mixed], &Limits::default()),
        ["MixedLineEnds".to_string(), format!("raw {}", mixed.len())]
    );
}

/// Which starts may still become a message, and which are let go at their last byte.
#[test]
fn a_start_line_is_judged_byte_by_byte() {
    let long = |count: usize| "M".repeat(count);
    let held = [
        format!("{} ", long(64 - 1)),
        format!("X  \t <sip:{}", "u".repeat(200)),
        "X *".into(),
        "X a1+-.:".into(),
        "sIp/2.0 200 \t\u{7f}".replace('\u{7f}', "x"),
        "SIP/2.0 200 OK\r".into(),
        "INVITE-.!%*_+`'~ sip:".into(),
        "M".into(),
        format!("X {}", "s".repeat(60)),
    ];
    for start in &held {
        assert_eq!(
            pieces(&[start], &Limits::default()),
            [format!("raw {}", start.len())],
            "{start}"
        );
    }
    let let_go = [
        format!("{} ", long(65)),
        " X".into(),
        "\tX".into(),
        "X/".into(),
        "SIPX/".into(),
        "SAP/".into(),
        "SI/".into(),
        "X(".into(),
        "X\u{1}".into(),
        "X 1".into(),
        "X @".into(),
        "X s_".into(),
        "X s ".into(),
        "X sip:\0".into(),
        "X *\0".into(),
        "SIP/2.0 200 O\u{1}".into(),
        "SIP/2.0 200 O\0".into(),
        format!("X {}", "s".repeat(70)),
        format!("X {}", " ".repeat(70)),
        "X sip:y\r\n".into(),
        "SIP/2.0 x\r\n".into(),
        "X * HTTP/1.1\r\n".into(),
    ];
    for start in &let_go {
        let found = pieces(&[start], &Limits::default());
        assert_eq!(
            found,
            ["NotSip".to_string(), format!("raw {}", start.len())],
            "{start:?}"
        );
    }
    // A word that is too long is let go at the first byte beyond, not at its end.
    let mut framer = Framer::default();
    let mut demoted = Vec::new();
    framer.feed(
        long(65).as_bytes(),
        &Limits::default(),
        &mut Scan::default(),
        &mut |piece| {
            if let Piece::Demoted(reason) = piece {
                demoted.push(reason);
            }
        },
    );
    assert_eq!(demoted, [Demotion::NotSip]);
}

/// RFC 3261 section 18.3: in a datagram the body is what Content-Length says, else all the rest.
#[test]
fn a_datagram_is_one_message_or_none() {
    let find = |text: &str, limits: &Limits| {
        let mut scan = Scan::default();
        datagram(text.as_bytes(), limits, &mut scan)
            .map(|message| (message.header, message.bytes.len(), message.length_missing))
    };
    let head = HEAD.len();
    let usual = Limits::default();
    assert_eq!(
        find(&format!("{HEAD}body"), &usual),
        Some((head, head + 4, false))
    );
    assert_eq!(
        find(&format!("{HEAD}body and more"), &usual),
        Some((head, head + 4, false))
    );
    assert_eq!(find(&format!("{HEAD}bod"), &usual), None, "cut off");
    let unsaid = HEAD.replace("l: 4\r\n", "");
    assert_eq!(
        find(&format!("{unsaid}all the rest"), &usual),
        Some((unsaid.len(), unsaid.len() + 12, false))
    );
    assert_eq!(
        find(&format!("{HEAD}body"), &limits(head, 4)),
        Some((head, head + 4, false))
    );
    assert_eq!(
        find(&format!("{HEAD}body"), &limits(head, 3)),
        None,
        "too long"
    );
    assert_eq!(
        find(&format!("{HEAD}body"), &limits(head - 1, 4)),
        None,
        "too long"
    );
    for text in [
        "",
        "\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "OPTIONS sip:x SIP/2.0\r\n",
    ] {
        assert_eq!(find(text, &usual), None, "{text:?}");
    }
    let twice = HEAD.replace("l: 4\r\n", "l: 4\r\nl: 4\r\n");
    assert_eq!(find(&format!("{twice}body"), &usual), None, "doubtful");
}
