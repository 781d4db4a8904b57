//! Session descriptions: the view tells true places for any bytes, and the fixup of an offer keeps
//! every other byte and a true Content-Length.
//!
//! Input: a session description, then one byte: how it is sent.

use crate::controls;
use crate::headers::{same, unchanged_but_ours};
use crate::world::{Kernel, roomy};
use sipalg_core::addr::Ipv4Addr;
use sipalg_core::sdp::{Literal, Session, Span};
use sipalg_core::{Alg, Instant, Leg, Outbox};

/// See the module.
pub fn check(data: &[u8]) {
    let Some((body, [how])) = controls::<1>(data) else {
        return;
    };
    let mut session = Session::default();
    if session.parse(body) {
        places_are_true(&session, body);
    }
    let start = match how & 3 {
        0 => "INVITE sip:b@10.1.1.2 SIP/2.0",
        1 => "SIP/2.0 200 OK",
        2 => "UPDATE sip:b@10.1.1.2 SIP/2.0",
        _ => "MESSAGE sip:b@10.1.1.2 SIP/2.0",
    };
    let head = format!(
        "{start}\r\ni: c\r\nCSeq: 1 INVITE\r\nc: application/sdp\r\nl: {}\r\n\r\n",
        body.len()
    );
    let message = [head.as_bytes(), body].concat();
    let mut alg = Alg::new(roomy(), 1);
    let mut kernel = Kernel::default();
    let peer = "192.168.122.3:40001".parse().expect("an address");
    let server = "10.1.1.2:5060".parse().expect("an address");
    let flow = alg
        .open(Instant::ZERO, peer, server, &mut Outbox::default())
        .expect("an inside host")
        .flow;
    let mut pass = |from: Leg, message: &[u8]| {
        let mut out = Outbox {
            watch: true,
            ..Outbox::default()
        };
        alg.stream(Instant::ZERO, flow, from, message, &mut out);
        kernel.obey(&out.doors);
        unchanged_but_ours(message, &out.bytes, from);
        out.bytes
    };
    let sent = pass(Leg::Inside, &message);
    length_is_true(&sent);
    same(&pass(Leg::Inside, &message), &sent, "sent again");
    same(&pass(Leg::Inside, &sent), &sent, "translated again");
    length_is_true(&pass(Leg::Outside, &sent));
}

fn places_are_true(session: &Session, body: &[u8]) {
    let text = |span: &Span| std::str::from_utf8(&body[span.range()]).expect("ASCII");
    let literal = |literal: &Literal| {
        let octets: Vec<u8> = text(&literal.span)
            .split('.')
            .map(|o| o.parse().expect("an octet"))
            .collect();
        let octets: [u8; 4] = octets.try_into().expect("four octets");
        assert_eq!(Ipv4Addr::from(octets), literal.address);
    };
    let port = |span: &Span, port: u16| assert_eq!(text(span).parse(), Ok(port));
    session
        .origin
        .iter()
        .chain(&session.connection)
        .for_each(literal);
    for media in &session.media {
        if media.port_span != Span::default() {
            port(&media.port_span, media.port);
        }
        assert!(media.count >= 1 || media.port_span == Span::default());
        media.connection.iter().for_each(literal);
        if let Some(rtcp) = &media.rtcp {
            port(&rtcp.port_span, rtcp.port);
            rtcp.address.iter().for_each(literal);
        }
        for candidate in session.candidates_of(media) {
            literal(&candidate.address);
            port(&candidate.port_span, candidate.port);
        }
        if let Some(path) = &media.path {
            let (_, number) = text(&path.span).split_once(':').expect("a port");
            assert_eq!(number.trim().parse(), Ok(path.port));
        }
    }
}

/// Content-Length counts the body.
fn length_is_true(message: &[u8]) {
    let head = message
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a header section");
    let text = String::from_utf8_lossy(&message[..head]).into_owned();
    let length = text.split("\r\nl: ").nth(1).expect("a length");
    assert_eq!(
        length.parse(),
        Ok(message.len() - head - 4),
        "Content-Length"
    );
}
