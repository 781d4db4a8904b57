//! Laws of what is seen: debug lines, dry runs, messages with their edits, calls, the log as JSON.

use crate::gateway::{Gateway, eventually};
use crate::running::{CONFIGURATION, Running, command};
use crate::tcp::{connected, hears, hears_message, says};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};

laws![
    the_invite_of_the_reference_document_gives_its_lines_in_its_order,
    only_flows_that_the_list_permits_are_shown,
    a_dry_run_changes_nothing_and_ends_with_its_console,
    a_message_and_its_call_are_shown,
    the_log_may_be_json_with_all_that_is_seen,
];

/// The lines of the reference document, each after its time.
const REFERENCE: &str = include_str!("../../../sipalg-ios/tests/transcripts/debug.txt");

const PHONE: &str = "192.168.122.2";

/// A console that shows what it was told to debug.
struct Watcher {
    console: Child,
    lines: BufReader<ChildStdout>,
}

impl Watcher {
    fn start(running: &Running, commands: &[&str], answer: &str) -> Self {
        let mut console = running.console();
        for line in commands {
            console.args(["-c", line]);
        }
        let mut console = console.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(console.stdout.take().unwrap());
        let mut watcher = Watcher { console, lines };
        watcher.until(answer);
        watcher
    }

    /// The lines up to one that ends so.
    fn until(&mut self, end: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                self.lines.read_line(&mut line).unwrap(),
                0,
                "no `{end}` in {seen:#?}"
            );
            let line = line.trim_end().to_string();
            let ends = line.ends_with(end);
            seen.push(line);
            if ends {
                return seen;
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.console.kill();
        let _ = self.console.wait();
    }
}

/// An INVITE of the shape of the reference's: 376 bytes of headers, 133 of session description.
fn invite(host: &str) -> String {
    let pad = |text: String, to: usize| text.replace('*', &"x".repeat(to + 1 - text.len()));
    let body = format!(
        "v=0\r\no=user1 53655765 2353687637 IN IP4 {host}\r\ns=*\r\nc=IN IP4 {host}\r\nt=0 0\r\n\
         m=audio 6000 RTP/AVP 0\r\n"
    );
    let head = format!(
        "INVITE sip:service@10.1.1.2:5060 SIP/2.0\r\nVia: SIP/2.0/TCP {host}:5060;branch=z9hG4bK-1\r\n\
         From: sipp <sip:sipp@{host}:5060>;tag=1\r\nTo: sut <sip:service@10.1.1.2:5060>\r\n\
         Call-ID: 1-1@{host}\r\nCSeq: 1 INVITE\r\nContact: sip:sipp@{host}:5060\r\n\
         Max-Forwards: 70\r\nSubject: *\r\nContent-Type: application/sdp\r\nContent-Length: 133\r\n\r\n"
    );
    let (head, body) = (pad(head, 376), pad(body, 133));
    assert_eq!((head.len(), body.len()), (376, 133));
    head + &body
}

/// Reads as many bytes as the phone's message has become.
fn hears_some(stream: &mut TcpStream, length: usize) -> String {
    let mut heard = vec![0; length];
    stream.read_exact(&mut heard).unwrap();
    String::from_utf8(heard).unwrap()
}

/// A debug line without its time, which must look as in IOS.
fn untimed(line: &str) -> &str {
    let (time, line) = line.split_once(": ").unwrap();
    let words: Vec<&str> = time.split_whitespace().collect();
    let [month, day, clock, zone] = words[..] else {
        panic!("no time: {time}");
    };
    let shape: String = clock
        .chars()
        .map(|c| if c.is_ascii_digit() { '9' } else { c })
        .collect();
    assert_eq!((month.len(), shape.as_str()), (3, "99:99:99.999"), "{time}");
    assert!(day.parse::<u8>().is_ok_and(|day| day <= 31) && !zone.is_empty());
    line
}

fn the_invite_of_the_reference_document_gives_its_lines_in_its_order() {
    let (gateway, running) = Running::start();
    let (mut phone, mut outside) = connected(&gateway);
    let mut watcher = Watcher::start(&running, &["debug ip nat sip"], "debugging is on");
    let message = invite(PHONE);
    says(&mut phone, message.as_bytes());
    let seen = watcher.until("Complete buffer written to proxy");
    let seen: Vec<&str> = seen.iter().map(|line| untimed(line)).collect();
    // Via, From, Contact, and two lines of the session description; no length has another width.
    let shorter = PHONE.len() - "10.1.1.1".len();
    let (sent, new_sdp) = (509 - 5 * shorter, 133 - 2 * shorter);
    let mut expected: Vec<String> = REFERENCE
        .lines()
        .map(|line| {
            let line = untimed(line).replace("192.168.122.3", PHONE);
            line.replace("l4f_send returns 497", &format!("l4f_send returns {sent}"))
                .replace("new_sdp_len :130", &format!("new_sdp_len :{new_sdp}"))
        })
        .collect();
    // Here the dialog's contact and the media open doors, and that is told where it happens.
    let opened = "NAT: SIP: [0] register:0 door_created:1".to_string();
    let visited = expected
        .iter()
        .rposition(|line| line.contains("register:0"));
    expected[visited.unwrap()] = opened.clone();
    let media = expected
        .iter()
        .position(|line| line.contains("Translated global m="));
    expected.insert(media.unwrap() + 1, opened);
    assert_eq!(seen, expected);
    let heard = hears_some(&mut outside, sent);
    assert!(
        heard.contains("Contact: sip:sipp@10.1.1.1:5060\r\n"),
        "{heard}"
    );
    assert!(
        heard.contains(&format!("Content-Length: {new_sdp}\r\n")),
        "{heard}"
    );
}

fn only_flows_that_the_list_permits_are_shown() {
    let (gateway, running) = Running::start();
    let server = gateway.outside.listen(5060);
    let connect = |host: &crate::net::Host| {
        let phone = host.connect(0, gateway.outside.at(5060)).unwrap();
        (phone, crate::gateway::accepted(&server).0)
    };
    let (mut other, mut of_other) = connect(&gateway.second);
    let (mut phone, mut of_phone) = connect(&gateway.phone);
    let commands = [
        "configure terminal",
        "access-list 10 permit host 192.168.122.2",
        "end",
        "debug ip nat sip 10 detailed",
    ];
    let mut watcher = Watcher::start(&running, &commands, "for access list 10 (detailed)");
    let options = |user: &str| {
        format!(
            "OPTIONS sip:{user}@x SIP/2.0\r\nCall-ID: \x1b[2J{user}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    says(&mut other, options("other").as_bytes());
    hears(&mut of_other, options("other").as_bytes());
    says(&mut phone, options("phone").as_bytes());
    hears(&mut of_phone, options("phone").as_bytes());
    let seen = watcher.until("Complete buffer written to proxy").join("\n");
    assert!(seen.contains("NAT: i: tcp (192.168.122.2, "), "{seen}");
    assert!(
        seen.contains(r"NAT: SIP: [0] Call-ID \x1b[2Jphone"),
        "{seen}"
    );
    assert!(
        !seen.contains("192.168.123.2") && !seen.contains("other"),
        "{seen}"
    );
    // The list is the one of now.
    let mut changes = running.console();
    for line in [
        "configure terminal",
        "no access-list 10",
        "access-list 10 permit host 192.168.123.2",
    ] {
        changes.args(["-c", line]);
    }
    assert!(changes.output().unwrap().status.success());
    says(&mut phone, options("phone").as_bytes());
    hears(&mut of_phone, options("phone").as_bytes());
    says(&mut other, options("other").as_bytes());
    hears(&mut of_other, options("other").as_bytes());
    let seen = watcher.until("Complete buffer written to proxy").join("\n");
    assert!(seen.contains("NAT: i: tcp (192.168.123.2, "), "{seen}");
    assert!(!seen.contains("phone"), "{seen}");
}

fn a_dry_run_changes_nothing_and_ends_with_its_console() {
    let (gateway, running) = Running::start();
    let (mut phone, mut outside) = connected(&gateway);
    let command = ["debug ip nat sip dry-run"];
    let mut watcher = Watcher::start(&running, &command, "dry run is on");
    let message = invite(PHONE);
    says(&mut phone, message.as_bytes());
    hears(&mut outside, message.as_bytes());
    let seen = watcher.until("l4f_send returns 509 bytes");
    let seen: Vec<&str> = seen.iter().map(|line| untimed(line)).collect();
    let edit = "NAT: SIP: [0] would change Via 192.168.122.2:5060->10.1.1.1:5060 by mapping tcp \
                10.1.1.1:5060->192.168.122.2:5060, rule 1";
    assert!(seen.contains(&edit), "{seen:#?}");
    let door = "NAT: SIP: would open media door udp for 192.168.122.2:6000";
    assert!(seen.contains(&door), "{seen:#?}");
    assert!(
        seen.contains(&"NAT: SIP: [0] dry run: 6 edits, message passed unchanged"),
        "{seen:#?}"
    );
    assert!(
        running
            .ask("show ip nat sip doors")
            .ends_with("Total doors: 0\n")
    );
    drop(watcher);
    let options = format!(
        "OPTIONS sip:x SIP/2.0\r\nContact: <sip:a@{PHONE}:5060>\r\nContent-Length: 0\r\n\r\n"
    );
    eventually(|| {
        says(&mut phone, options.as_bytes());
        (hears_message(&mut outside) != options).then_some(())
    });
}

fn a_message_and_its_call_are_shown() {
    let (gateway, running) = Running::start();
    let (mut phone, mut outside) = connected(&gateway);
    says(&mut phone, invite(PHONE).as_bytes());
    hears_some(&mut outside, 509 - 5 * 5);
    let text = running.ask("show ip nat sip message last diff");
    for part in [
        "  509 bytes came, 484 left; 6 edits\n",
        "-Contact: sip:sipp@192.168.122.2:5060\n+Contact: sip:sipp@10.1.1.1:5060\n",
        "rule 1: list 1 to 10.1.1.1 overload\n",
        "Check: what left, without its edits, is what came\n",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let text = running.ask("show ip nat sip messages");
    assert!(
        text.contains("INVITE sip:service@10.1.1.2:5060 SIP/2.0\n"),
        "{text}"
    );
    // The called party answers, and no ACK comes.
    let answer = "SIP/2.0 200 OK\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@y>;tag=2\r\n\
                  Call-ID: 1-1@192.168.122.2\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    for _ in 0..3 {
        says(&mut outside, answer.as_bytes());
        hears(&mut phone, answer.as_bytes());
    }
    let text = running.ask("show ip nat sip calls");
    assert!(
        text.contains("     1 answered   192.168.122.2   10.1.1.2:5060 "),
        "{text}"
    );
    let text = running.ask("show ip nat sip call 1");
    assert!(
        text.contains("No ACK: the 200 from outside came 3 times in 0 s"),
        "{text}"
    );
    let text = running.ask("show ip nat sip call 1-1@192.168.122.2 json");
    assert!(text.contains("\"ailment\": \"not_acknowledged\""), "{text}");
    let text = running.ask("show ip nat sip registrations");
    assert!(text.ends_with("Total registrations: 0\n"), "{text}");
}

fn the_log_may_be_json_with_all_that_is_seen() {
    let gateway = Gateway::bare();
    let folder = gateway.state.path().to_owned();
    let log = folder.join("log");
    fs::create_dir_all(&folder).unwrap();
    let mut child = command(&folder, CONFIGURATION)
        .args(["--log", "json"])
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(&log).unwrap();
    eventually(|| {
        said()
            .contains(r#""event":"message","text":"ready""#)
            .then_some(())
    });
    let (mut phone, mut outside) = connected(&gateway);
    says(&mut phone, invite(PHONE).as_bytes());
    hears_some(&mut outside, 509 - 5 * 5);
    eventually(|| said().contains(r#""event":"sent""#).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    let said = said();
    for part in [
        r#""event":"edited","#,
        r#""event":"door_opened","#,
        r#""inside_local":"192.168.122.2:6000""#,
        r#""method":"INVITE""#,
        r#""outside":"10.1.1.2:5060""#,
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    let is_object = |line: &str| line.starts_with(r#"{"time":""#) && line.ends_with('}');
    assert!(said.lines().all(is_object), "{said}");
}
