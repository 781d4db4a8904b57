//! The exact view of session descriptions: every place and number, and what is none.
#![allow(clippy::unwrap_used)] // a test may unwrap

use sipalg_core::Protocol;
use sipalg_core::sdp::{Media, Session, Span};

fn parse(text: &str) -> Session {
    let mut session = Session::default();
    assert!(session.parse(text.as_bytes()));
    session
}

/// A media section that holds those lines.
fn media(lines: &str) -> Media {
    parse(&format!("v=0\r\n{lines}")).media.remove(0)
}

#[test]
fn the_places_are_those_of_the_text() {
    let text = "v=0\r\no=- 1 2 IN IP4 1.2.3.4\r\nc=IN IP4 5.6.7.8/127\r\nm=audio 6000/2 RTP/AVP 0\r\n\
                c=IN  IP4\t9.8.7.6\r\na=rtcp:6010 IN IP4 1.1.1.1\r\na=candidate:1 1 UDP 9 2.2.2.2 7000 typ host\r\n\
                a=remote-candidates:1 3.3.3.3 7001 2 4.4.4.4 7002\r\na=altc:1 IP4 5.5.5.5 7003\r\n\
                m=message 2855 TCP/MSRP *\r\na=path:msrp://6.6.6.6:2855/s;tcp msrp://7.7.7.7:1/x\r\n";
    let session = parse(text);
    let place = |span: &Span| &text[span.range()];
    let origin = session.origin.as_ref().unwrap();
    assert_eq!(
        (place(&origin.span), origin.address.to_string()),
        ("1.2.3.4", "1.2.3.4".into())
    );
    assert_eq!(place(&session.connection.as_ref().unwrap().span), "5.6.7.8");
    let [audio, message] = &session.media[..] else {
        panic!("two sections");
    };
    assert_eq!(
        (place(&audio.port_span), audio.port, audio.count),
        ("6000", 6000, 2)
    );
    assert_eq!(
        (audio.protocol(), message.protocol()),
        (Protocol::Udp, Protocol::Tcp)
    );
    assert_eq!(place(&audio.connection.as_ref().unwrap().span), "9.8.7.6");
    let rtcp = audio.rtcp.as_ref().unwrap();
    assert_eq!((place(&rtcp.port_span), rtcp.port), ("6010", 6010));
    assert_eq!(place(&rtcp.address.as_ref().unwrap().span), "1.1.1.1");
    let candidates: Vec<_> = session
        .candidates_of(audio)
        .iter()
        .map(|c| (place(&c.address.span), place(&c.port_span), c.port))
        .collect();
    assert_eq!(
        candidates,
        [
            ("2.2.2.2", "7000", 7000),
            ("3.3.3.3", "7001", 7001),
            ("4.4.4.4", "7002", 7002),
            ("5.5.5.5", "7003", 7003)
        ]
    );
    let path = message.path.as_ref().unwrap();
    assert_eq!((place(&path.span), path.port), ("6.6.6.6:2855", 2855));
}

#[test]
fn the_first_origin_and_connection_count_and_a_later_origin_is_none() {
    let session = parse(
        "v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\no=- 1 1 IN IP4 2.2.2.2\r\nc=IN IP4 3.3.3.3\r\nc=IN IP4 4.4.4.4\r\n",
    );
    assert_eq!(session.origin.unwrap().address.to_string(), "1.1.1.1");
    assert_eq!(session.connection.unwrap().address.to_string(), "3.3.3.3");
    let late = parse("v=0\r\nm=audio 6000 RTP/AVP 0\r\no=- 1 1 IN IP4 1.1.1.1\r\n");
    assert_eq!(late.origin, None);
}

#[test]
fn a_section_goes_by_its_own_connection_or_by_that_of_the_session_or_by_none() {
    let governs = |lines: &str| {
        let session = parse(&format!(
            "v=0\r\nc=IN IP4 1.1.1.1\r\nm=audio 6000 RTP/AVP 0\r\n{lines}"
        ));
        let found = session.connection_of(&session.media[0]);
        found.map(|literal| literal.address.to_string())
    };
    assert_eq!(governs("").as_deref(), Some("1.1.1.1"));
    assert_eq!(governs("c=IN IP4 2.2.2.2\r\n").as_deref(), Some("2.2.2.2"));
    for foreign in [
        "c=IN IP6 ::1\r\n",
        "c=IN IP4 example.com\r\n",
        "c=TN IP4 2.2.2.2\r\n",
    ] {
        assert_eq!(governs(foreign), None);
        // Either of two lines makes it doubtful.
        assert_eq!(governs(&format!("{foreign}c=IN IP4 2.2.2.2\r\n")), None);
        assert_eq!(governs(&format!("c=IN IP4 2.2.2.2\r\n{foreign}")), None);
    }
}

#[test]
fn a_session_is_held_if_every_live_section_is() {
    let held = |text: &str| parse(&format!("v=0\r\nc=IN IP4 1.1.1.1\r\n{text}")).held();
    let live = "m=audio 6000 RTP/AVP 0\r\n";
    assert!(!held(""));
    assert!(!held(live));
    for direction in ["sendonly", "recvonly", "inactive"] {
        assert!(held(&format!("{live}a={direction}\r\n")));
        assert!(held(&format!("a={direction}\r\n{live}")));
        assert!(!held(&format!("a={direction}\r\n{live}a=sendrecv\r\n")));
        assert!(!held(&format!("{live}a={direction}\r\n{live}")));
        assert!(held(&format!(
            "{live}a={direction}\r\nm=video 0 RTP/AVP 31\r\n"
        )));
    }
    assert!(held(&format!("{live}c=IN IP4 0.0.0.0\r\n")));
    assert!(!held(&format!("{live}c=IN IP4 0.0.0.0\r\n{live}")));
    assert!(
        !held("m=video 0 RTP/AVP 31\r\na=inactive\r\n"),
        "nothing live"
    );
    assert!(!held(&format!("a=sendonly\r\na=sendrecv\r\n{live}")));
}

#[test]
fn a_line_that_cannot_be_read_begins_a_section_without_a_port() {
    for line in [
        "m=audio",
        "m=audio x RTP/AVP 0",
        "m=audio 70000 RTP/AVP 0",
        "m=audio 6000/x RTP/AVP 0",
    ] {
        let media = media(&format!("{line}\r\n"));
        assert_eq!(
            (media.port, media.port_span),
            (0, Span::default()),
            "{line}"
        );
    }
    for (line, count) in [("6000", 1), ("6000/", 1), ("6000/0", 1), ("6000/3", 3)] {
        let media = media(&format!("m=audio {line} RTP/AVP 0\r\n"));
        assert_eq!((media.port, media.count), (6000, count), "{line}");
    }
    for proto in ["tcp/msrp", "TCP"] {
        assert!(!media(&format!("m=x 1 {proto}\r\n")).udp);
    }
    for proto in ["UDP", "RTP/AVP", "TC", "udptl"] {
        assert!(media(&format!("m=x 1 {proto}\r\n")).udp);
    }
}

#[test]
fn what_is_nearly_an_address_is_none() {
    let lines = |attribute: &str| format!("m=audio 6000 RTP/AVP 0\r\na={attribute}\r\n");
    let with = |attribute: &str| media(&lines(attribute));
    assert_eq!(with("rtcp:6001").rtcp.unwrap().address, None);
    for no in ["rtcp:x", "rtcp:70000", "rtcp:", "rtcp-mux", "rtcpx:6001"] {
        assert_eq!(with(no).rtcp, None, "{no}");
    }
    for no in [
        "candidate:1 1 UDP 9 2.2.2.2/1 7000 typ host",
        "candidate:1 1 UDP 9 x.local 7000 typ host",
        "candidate:1 1 UDP 9 2.2.2.2 x",
        "candidat:1 1 UDP 9 2.2.2.2 7000",
        "x:1 2.2.2.2 7000",
        "xx 1 2.2.2.2 7000",
    ] {
        let session = parse(&format!("v=0\r\n{}", lines(no)));
        assert_eq!(session.candidates_of(&session.media[0]), [], "{no}");
    }
    for no in [
        "path:msrp://x.example:1/",
        "path:msrp://2.2.2.2/x",
        "path:msrp:2.2.2.2:1",
    ] {
        assert_eq!(with(no).path, None, "{no}");
    }
    assert_eq!(
        media("m=audio 6000 RTP/AVP 0\r\nc=IN IP4\r\n").connection,
        None
    );
    assert!(!Session::default().parse(b"x=0\r\n") && !Session::default().parse(b""));
}

#[test]
fn what_was_read_before_is_forgotten() {
    let mut session =
        parse("v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\nc=IN IP4 1.1.1.1\r\na=inactive\r\nm=audio 1 x\r\n");
    assert!(session.parse(b"v=0"));
    assert_eq!(session, Session::default());
}
