//! Messages with their edits, calls with their ailments, and the JSON of events.
#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

use serde_json::Value;
use sipalg_core::addr::{Ends, SocketAddrV4};
use sipalg_core::config::{AccessEntry, AccessList, SourceRule};
use sipalg_core::door::{DoorKind, MediaCount};
use sipalg_core::event::{By, Demotion, MessageKind, Timed};
use sipalg_core::health::MediaHeard;
use sipalg_core::{Alg, Config, Door, Event, FlowId, Instant, Leg, Outbox, Protocol};
use sipalg_ios::show::{self, Format, View, render};
use sipalg_ios::{debug, json};
use std::time::Duration;

fn at(address: &str) -> SocketAddrV4 {
    address.parse().unwrap()
}

/// A gateway that has carried these messages from both sides, one a second.
struct Gateway {
    alg: Alg,
    flow: FlowId,
    now: Instant,
}

impl Gateway {
    fn new() -> Self {
        let entry = AccessEntry::standard(
            true,
            "192.168.122.0".parse().unwrap(),
            "0.0.0.255".parse().unwrap(),
        );
        let list = AccessList {
            name: "LAN".into(),
            entries: vec![entry],
        };
        let config = Config {
            sources: vec![SourceRule::overload(list, "10.1.1.1".parse().unwrap())],
            ..Config::default()
        };
        let mut alg = Alg::new(config, 1);
        let now = Instant::from_micros(1_000_000);
        let (peer, server) = (at("192.168.122.3:40001"), at("10.1.1.2:5060"));
        let opened = alg.open(now, peer, server, &mut Outbox::default()).unwrap();
        let flow = opened.flow;
        Gateway { alg, flow, now }
    }

    fn say(&mut self, from: Leg, text: &[u8]) {
        self.now = self.now + Duration::from_secs(1);
        let out = &mut Outbox::default();
        self.alg.stream(self.now, self.flow, from, text, out);
    }

    fn message(&self, diff: bool) -> show::Message {
        let message = self.alg.messages().next_back().unwrap();
        let rules = &self.alg.config().sources;
        show::message(
            &message,
            rules,
            |by| self.alg.rule_behind(by),
            self.now,
            diff,
        )
    }
}

const BODY: &str = "v=0\r\no=u 1 2 IN IP4 192.168.122.3\r\ns=-\r\nc=IN IP4 192.168.122.3\r\n\
                    t=0 0\r\nm=audio 6000 RTP/AVP 0\r\n";

fn invite() -> String {
    let length = BODY.len();
    format!(
        "INVITE sip:b@10.1.1.2 SIP/2.0\r\nVia: SIP/2.0/TCP 192.168.122.3:5060;branch=z9hG4bK1\r\n\
         i: c@x\r\nCSeq: 1 INVITE\r\nm: <sip:a@192.168.122.3>\r\nc: application/sdp\r\n\
         l: {length}\r\n\r\n{BODY}"
    )
}

#[test]
fn a_message_is_shown_with_each_edit_its_mapping_and_its_rule() {
    let mut gateway = Gateway::new();
    gateway.say(Leg::Inside, invite().as_bytes());
    gateway.now = gateway.now + Duration::from_secs(3);
    let text = gateway.message(true).text();
    let expected = "\
Message 1, 00:00:03 ago, tcp from inside
  192.168.122.3:40001 (10.1.1.1:40001) -> 10.1.1.2:5060
  276 bytes came, 256 left; 5 edits
-Via: SIP/2.0/TCP 192.168.122.3:5060;branch=z9hG4bK1
+Via: SIP/2.0/TCP 10.1.1.1:5060;branch=z9hG4bK1
   Via 192.168.122.3:5060 -> 10.1.1.1:5060
     by mapping tcp 10.1.1.1:5060->192.168.122.3:5060, rule 1: list LAN to 10.1.1.1 overload
-m: <sip:a@192.168.122.3>
+m: <sip:a@10.1.1.1>
   m 192.168.122.3 -> 10.1.1.1
     by mapping tcp 10.1.1.1:5060->192.168.122.3:5060, rule 1: list LAN to 10.1.1.1 overload
-l: 95
+l: 85
   l 95 -> 85
     by the length of the body
-o=u 1 2 IN IP4 192.168.122.3
+o=u 1 2 IN IP4 10.1.1.1
   o= 192.168.122.3 -> 10.1.1.1
     by address 10.1.1.1->192.168.122.3, rule 1: list LAN to 10.1.1.1 overload
-c=IN IP4 192.168.122.3
+c=IN IP4 10.1.1.1
   c= 192.168.122.3 -> 10.1.1.1
     by address 10.1.1.1->192.168.122.3, rule 1: list LAN to 10.1.1.1 overload
Doors opened:
  signalling tcp 10.1.1.1:5060->192.168.122.3:5060, lifetime 780 s
  media udp 10.1.1.1:6000->192.168.122.3:6000, lifetime 780 s
  media udp 10.1.1.1:6001->192.168.122.3:6001, lifetime 780 s
Check: what left, without its edits, is what came
";
    let sorted = |text: &str| {
        let (message, doors) = text.split_once("Doors opened:\n").unwrap();
        let mut doors: Vec<String> = doors.lines().map(String::from).collect();
        doors.sort();
        (message.to_string(), doors)
    };
    let ((found, doors), (expected, expected_doors)) = (sorted(&text), sorted(expected));
    let lines = |text: &str| text.lines().skip(3).map(String::from).collect::<Vec<_>>();
    assert_eq!(lines(&found), lines(&expected));
    assert_eq!(doors, expected_doors);
    let (came, left) = (invite().len(), invite().len() - 4 * 5);
    let sizes = format!("  {came} bytes came, {left} left; 5 edits\n");
    assert!(found.contains(&sizes), "{found}");
    // The whole message has the same and the other lines.
    let whole = gateway.message(false).text();
    assert!(whole.contains("\n m=audio 6000 RTP/AVP 0\n"), "{whole}");
    let value: Value = serde_json::from_str(&render(&gateway.message(true), Format::Json)).unwrap();
    assert_eq!(
        value["edits"][0]["by"]["inside_local"],
        "192.168.122.3:5060"
    );
    assert_eq!(
        (&value["edits"][0]["by"]["rule"], &value["proven"]),
        (&1.into(), &true.into())
    );
}

#[test]
fn messages_are_listed_with_their_start_lines() {
    let mut gateway = Gateway::new();
    gateway.say(Leg::Inside, invite().as_bytes());
    gateway.say(
        Leg::Outside,
        b"SIP/2.0 180 Ringing\r\ni: c@x\r\nCSeq: 1 INVITE\r\nl: 0\r\n\r\n",
    );
    let text = show::messages(gateway.alg.messages(), gateway.now).text();
    let expected = "     Id Ago       Pro From    Inside local          Outside global        Edits Start line
      1 00:00:01  tcp inside  192.168.122.3:40001   10.1.1.2:5060             5 INVITE sip:b@10.1.1.2 SIP/2.0
      2 00:00:00  tcp outside 192.168.122.3:40001   10.1.1.2:5060             0 SIP/2.0 180 Ringing
Total messages: 2
";
    assert_eq!(text, expected);
}

#[test]
fn a_call_is_shown_with_what_ails_it() {
    let mut gateway = Gateway::new();
    gateway.say(Leg::Inside, invite().as_bytes());
    gateway.say(
        Leg::Outside,
        b"SIP/2.0 200 OK\r\ni: c@x\r\nTo: <sip:b@y>;tag=2\r\nCSeq: 1 INVITE\r\nl: 0\r\n\r\n",
    );
    gateway.say(
        Leg::Inside,
        b"ACK sip:b SIP/2.0\r\ni: c@x\r\nCSeq: 1 ACK\r\nl: 0\r\n\r\n",
    );
    let mut heard = MediaHeard::default();
    gateway.now = gateway.now + Duration::from_secs(20);
    let count = MediaCount {
        out_packets: 812,
        ..MediaCount::default()
    };
    heard.note(gateway.now, count);
    let views = gateway.alg.calls();
    let packets = |local: SocketAddrV4| (local.port() == 6000).then_some(heard);
    let table = show::calls(&views, gateway.now, packets).text();
    let expected = "    Id State      Inside host     Peer                  Age       Doors   Pkts in  Pkts out Call-ID
     1 up         192.168.122.3   10.1.1.2:5060         00:00:22      3         0       812 c@x
Total calls: 1
";
    assert_eq!(table, expected);
    for name in ["1", "c@x"] {
        let text = show::call(&views, name, gateway.now, packets)
            .unwrap()
            .text();
        let expected = "\
What ails it:
  One-way audio: no RTP from outside at the door of 192.168.122.3:6000 for 21 s, while 812 packets have come from inside
";
        assert!(text.ends_with(expected), "{text}");
        assert!(
            text.starts_with("Call 1 is up; it began 00:00:22 ago from inside\n"),
            "{text}"
        );
    }
    assert_eq!(show::call(&views, "2", gateway.now, packets), None);
}

/// One of each kind of event, with these bytes where the network has a say.
fn events(hostile: &[u8]) -> Vec<Event> {
    let (local, global) = (at("192.168.122.3:6000"), at("10.1.1.1:6002"));
    let door = Door {
        kind: DoorKind::Media,
        protocol: Protocol::Udp,
        inside_local: local,
        inside_global: global,
        lifetime: Duration::from_secs(300),
    };
    let by = By::Mapping {
        protocol: Protocol::Udp,
        inside_local: local,
        inside_global: global,
    };
    let method = String::from_utf8_lossy(hostile).into_owned();
    let edited = |by, dry_run| Event::Edited {
        session: 0,
        field: hostile.into(),
        old: hostile.into(),
        new: hostile.into(),
        by,
        rule: Some(0),
        dry_run,
    };
    let address = By::Address {
        inside_local: *local.ip(),
        inside_global: *global.ip(),
    };
    vec![
        Event::AlgNeeded,
        Event::Received { bytes: 1 },
        Event::HeaderComplete { header: 1, body: 2 },
        Event::FramerState {
            received: 1,
            header_left: 2,
            body_left: 3,
            state: 1,
            message: 4,
        },
        Event::MessagesReceived(1),
        Event::Processing {
            session: 0,
            kind: MessageKind::Request(method),
        },
        Event::Processing {
            session: 1,
            kind: MessageKind::Response(200),
        },
        Event::FieldVisited {
            session: 0,
            register: true,
            door_created: false,
        },
        Event::TranslatedAddress {
            session: 0,
            from: local,
            to: global,
        },
        Event::TranslatedPort {
            session: 0,
            from: 1,
            to: 2,
        },
        Event::ContactFound,
        Event::BodyFound { session: 0 },
        Event::MediaLines(1),
        Event::MediaTranslated {
            from: local,
            to: global,
        },
        Event::SdpLength { old: 1, new: 2 },
        Event::Dialog {
            session: 0,
            call_id: hostile.into(),
        },
        edited(by, false),
        edited(address, true),
        edited(By::Length, false),
        edited(By::Spelling, false),
        Event::DoorWanted {
            kind: DoorKind::Media,
            protocol: Protocol::Udp,
            inside_local: local,
        },
        Event::DryRun {
            session: 0,
            edits: 1,
        },
        Event::Timer {
            of: Timed::Call,
            left: Duration::from_secs(1),
        },
        Event::DoorOpened(door),
        Event::DoorRefreshed(door),
        Event::DoorClosed(door),
        Event::Demoted(Demotion::NotSip),
        Event::OutOfPorts {
            protocol: Protocol::Udp,
            inside_local: local,
        },
        Event::PoolExhausted { host: *local.ip() },
        Event::TooManyEntries {
            protocol: Protocol::Udp,
            inside_local: local,
        },
        Event::DoorRefused {
            inside_local: local,
        },
        Event::Sent(1),
    ]
}

#[test]
fn no_byte_of_the_network_can_forge_a_line_or_a_terminal_code() {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    for hostile in all
        .chunks(16)
        .chain([b"\r\nNAT: SIP: forged\x1b[2J\xc2\x9b".as_slice()])
    {
        for event in events(hostile) {
            let plain = |line: &str| line.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            debug::lines(&event, &mut |line| assert!(plain(line), "{line:?}"));
            let line = json::event("now", None, &event);
            assert!(plain(&line), "{line:?}");
            serde_json::from_str::<Value>(&line).unwrap();
        }
    }
    let mut gateway = Gateway::new();
    let text = "INVITE sip:\u{1b}[2J SIP/2.0\r\nVia: \u{9b}\u{7f}\r\ni: \u{1b}[2J\u{8}\r\n\
                m: <sip:a@192.168.122.3>\u{1b}[0m\r\nCSeq: 1 INVITE\r\nl: 0\r\n\r\n";
    gateway.say(Leg::Inside, text.as_bytes());
    let views = gateway.alg.calls();
    assert_eq!(views.len(), 1);
    let shown = [
        gateway.message(true).text(),
        gateway.message(false).text(),
        show::messages(gateway.alg.messages(), gateway.now).text(),
        show::calls(&views, gateway.now, |_| None).text(),
        show::call(&views, "1", gateway.now, |_| None)
            .unwrap()
            .text(),
        render(&gateway.message(false), Format::Json),
    ];
    for text in shown {
        let plain = |c: char| c == '\n' || (' '..='~').contains(&c);
        assert!(text.chars().all(plain), "{text:?}");
    }
}

#[test]
fn each_event_is_one_line_of_json_with_its_name_its_time_and_its_flow() {
    let ends = Ends {
        protocol: Protocol::Tcp,
        inside_local: at("192.168.122.3:40001"),
        inside_global: at("10.1.1.1:40001"),
        outside: at("10.1.1.2:5060"),
    };
    let mut names = std::collections::BTreeSet::new();
    let manual = include_str!("../../../docs/manual/README.md");
    for event in events(b"x") {
        let line = json::event(
            "2026-05-23T14:11:17.243000Z",
            Some((ends, Leg::Inside)),
            &event,
        );
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["time"], "2026-05-23T14:11:17.243000Z");
        assert_eq!(value["flow"]["outside"], "10.1.1.2:5060");
        let name = value["event"].as_str().unwrap().to_string();
        assert!(
            manual.contains(&format!("| `{name}` |")),
            "{name} is not in the manual"
        );
        for field in value.as_object().unwrap().keys() {
            assert!(
                manual.contains(&format!("`{field}`")),
                "{field} of {name} is not in the manual"
            );
        }
        names.insert(name);
    }
    // Both forms of a start line and the four causes of an edit.
    assert_eq!(names.len(), events(b"x").len() - 4);
    let line = json::message("t", "ready");
    assert_eq!(line, r#"{"time":"t","event":"message","text":"ready"}"#);
}
