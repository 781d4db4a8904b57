//! Bytes of peers that would forge lines, or move the cursor, on the operator's screen or in his log.
#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

use sipalg_core::config::{AccessEntry, AccessList, SourceRule};
use sipalg_core::{Alg, Config, Instant, Leg, Outbox};
use sipalg_ios::show::{self, View};
use sipalg_ios::{debug, json};
use std::net::Ipv4Addr;

/// What terminals and readers of logs act upon.
const HOSTILE: [&str; 20] = [
    "\x1b[2J",
    "\x1b]0;root\x07",
    "\x1bP+q\x1b\\",
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\x08\x08",
    "\x7f",
    "\t",
    "\u{202e}",
    "\u{2066}",
    "\u{85}",
    "\u{9b}31m",
    "\u{2028}",
    "%s%n",
    "\\x1b",
    "\"},{\"",
    "\u{feff}",
    "é",
];

fn gateway() -> Alg {
    let any = AccessEntry::standard(true, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let everyone = AccessList {
        name: "1".into(),
        entries: vec![any],
    };
    let config = Config {
        sources: vec![SourceRule::overload(everyone, Ipv4Addr::new(10, 1, 1, 1))],
        ..Config::default()
    };
    Alg::new(config, 1)
}

#[test]
fn two_thousand_hostile_messages_are_told_in_printable_lines_one_for_each() {
    let places: [&str; 10] = [
        "# sip:a SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:192.168.1.3:5061>\r\n",
        "INVITE sip:#@192.168.1.3 SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n",
        "INVITE sip:a SIP/2.0\r\nCall-ID: #\r\nCSeq: 1 INVITE\r\nContact: <sip:192.168.1.3:5061>\r\n",
        "INVITE sip:a SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 #\r\nContact: <sip:192.168.1.3:5061>\r\n",
        "INVITE sip:a SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: \"#\" <sip:#@192.168.1.3:5061;#>\r\n",
        "INVITE sip:a SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nFrom: \"#\" <sip:192.168.1.3>;tag=#\r\n",
        "REGISTER sip:a SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\nTo: <sip:#@x>\r\nContact: <sip:192.168.1.4>\r\n",
        "INVITE sip:a SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n#: #\r\nVia: SIP/2.0/TCP 192.168.1.3:5061;#\r\n",
        "INVITE sip:a SIP/2.0\r\nCall-ID: c#c\r\nCSeq: 1 INVITE\r\nUser-Agent: #\r\nContact: <sip:192.168.1.3:22>\r\n",
        "SIP/2.0 200 #\r\nCall-ID: #\r\nCSeq: 1 INVITE\r\nContact: <sip:192.168.1.3:5061>\r\n",
    ];
    let mut told = 0;
    for (nth, hostile) in HOSTILE.iter().cycle().take(200).enumerate() {
        for place in places {
            let mut alg = gateway();
            let mut out = Outbox {
                watch: true,
                detailed: true,
                ..Outbox::default()
            };
            let (phone, server) = ("192.168.1.3:4000", "10.9.9.9:5060");
            let now = Instant::from_micros(1);
            let opened = alg
                .open(
                    now,
                    phone.parse().unwrap(),
                    server.parse().unwrap(),
                    &mut out,
                )
                .unwrap();
            let hostile = format!("{hostile}{}", "x".repeat(nth / 20));
            let text = place.replace('#', &hostile) + "Content-Length: 0\r\n\r\n";
            alg.stream(now, opened.flow, Leg::Inside, text.as_bytes(), &mut out);
            for event in &out.events {
                debug::lines(event, &mut |line| {
                    let line = line.to_string();
                    assert!(is_printable(&line), "{line:?}");
                    told += 1;
                });
                let line = json::event("now", None, event);
                assert!(!line.contains(char::is_control), "{line:?}");
                assert!(
                    serde_json::from_str::<serde_json::Value>(&line).is_ok(),
                    "{line}"
                );
            }
            let shown = show::messages(alg.messages(), now).text()
                + &show::calls(&alg.calls(), now, |_| None).text();
            assert!(shown.lines().all(is_printable), "{shown:?}");
        }
    }
    assert!(told > 20_000, "{told}");
}

fn is_printable(line: &str) -> bool {
    line.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}
