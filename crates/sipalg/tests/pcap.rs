//! `sipalg pcap`, on captures made here and on those of others.
#![allow(clippy::unwrap_used)]

#[path = "pcap/call.rs"]
mod call;
#[path = "pcap/hostile.rs"]
mod hostile;
#[path = "pcap/scene.rs"]
mod scene;

use etherparse::{Ipv4Header, TcpHeader};
use scene::{FAR_MEDIA, LINK_TYPES, OTHER_PHONE, PHONE, PROXY, Scene};
use sipalg::offline::capture::{Item, Reader};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

const INSIDE: &[&str] = &["--inside", "192.168.122.0/24", "--global", "10.1.1.1"];

/// A directory of its own for a test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sipalg-pcap-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the program; gives what it prints.
fn sipalg(input: &Path, output: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sipalg"));
    command.arg("pcap").args([input, output]).args(arguments);
    let done = command.output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}\n{text}{wrong}");
    text
}

/// What tshark, who checks everything, shows of the packets that pass the filter.
fn tshark(file: &Path, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-2", "-R", filter]);
    for check in [
        "ip.check_checksum:TRUE",
        "tcp.check_checksum:TRUE",
        "udp.check_checksum:TRUE",
        "tcp.reassemble_out_of_order:TRUE",
    ] {
        command.args(["-o", check]);
    }
    if !fields.is_empty() {
        command.args(["-T", "fields"]);
    }
    for field in fields {
        command.args(["-e", field]);
    }
    let done = command
        .output()
        .expect("tshark must be installed: run ./test.sh");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    text.lines().map(String::from).collect()
}

const WRONG: &str = "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 \
    || udp.checksum.status == 0";

/// How many SIP messages tshark finds.
fn messages(file: &Path) -> usize {
    let found = tshark(file, "sip", &["sip.Call-ID"]);
    found.iter().map(|line| line.split(',').count()).sum()
}

/// The IPv4 packets of a capture, by our own decoder.
fn packets(file: &Path) -> Vec<(Ipv4Header, Vec<u8>)> {
    let mut reader = Reader::open(File::open(file).unwrap()).unwrap();
    let mut packets = Vec::new();
    while let Some(item) = reader.read().unwrap() {
        if let Item::Packet(packet) = item {
            let start = packet.data.iter().position(|byte| *byte == 0x45).unwrap();
            let (header, rest) = Ipv4Header::from_slice(&packet.data[start..]).unwrap();
            packets.push((header, rest.to_vec()));
        }
    }
    packets
}

fn leaks(packets: &[(Ipv4Header, Vec<u8>)]) -> Vec<&(Ipv4Header, Vec<u8>)> {
    let inside = |address: [u8; 4]| address.starts_with(&[192, 168, 122]);
    let text = |payload: &[u8]| payload.windows(12).any(|word| word == b"192.168.122.");
    let leak = |packet: &&(Ipv4Header, Vec<u8>)| {
        inside(packet.0.source) || inside(packet.0.destination) || text(&packet.1)
    };
    packets.iter().filter(leak).collect()
}

/// The bytes of each direction of each connection, which must follow on each other without gap or
/// repetition.
fn streams(packets: &[(Ipv4Header, Vec<u8>)]) -> BTreeMap<String, String> {
    let mut next: BTreeMap<String, u32> = BTreeMap::new();
    let mut streams: BTreeMap<String, String> = BTreeMap::new();
    for (ip, payload) in packets.iter().filter(|(ip, _)| ip.protocol.0 == 6) {
        let (tcp, data) = TcpHeader::from_slice(payload).unwrap();
        let (from, to) = (Ipv4Addr::from(ip.source), Ipv4Addr::from(ip.destination));
        let way = format!("{from}:{} {to}:{}", tcp.source_port, tcp.destination_port);
        let back = format!("{to}:{} {from}:{}", tcp.destination_port, tcp.source_port);
        let expected = *next.get(&way).unwrap_or(&tcp.sequence_number);
        assert_eq!(tcp.sequence_number, expected, "{way}: not what comes next");
        let takes = u32::from(tcp.syn || tcp.fin) + data.len() as u32;
        next.insert(way.clone(), expected.wrapping_add(takes));
        if let (true, Some(sent)) = (tcp.ack, next.get(&back)) {
            let late = sent.wrapping_sub(tcp.acknowledgment_number);
            assert!(late < 1 << 20, "{way}: acknowledges what was not sent");
        }
        let text = String::from_utf8(data.to_vec()).unwrap();
        *streams.entry(way).or_default() += &text;
    }
    streams
}

/// Two phones that register and call, both with port 6000 for their media, and other traffic.
fn scene() -> Scene {
    let mut scene = Scene::default();
    scene.udp(
        "192.168.122.3:40353",
        "198.51.100.53:40053",
        b"anybody there",
    );
    scene.udp("198.51.100.53:40053", "192.168.122.3:40353", b"yes");
    scene.echo(PHONE, "198.51.100.1");
    call::call(&mut scene, PHONE, "alice");
    call::call(&mut scene, OTHER_PHONE, "carol");
    let text = "x".repeat(3000);
    let options = scene::message(
        "MESSAGE sip:bob@203.0.113.9 SIP/2.0",
        &[
            "Via: SIP/2.0/UDP 192.168.122.3:5060;branch=z9hG4bK-m",
            "From: <sip:alice@192.168.122.3>;tag=9",
            "To: <sip:bob@203.0.113.9>",
            "Call-ID: message-1",
            "CSeq: 1 MESSAGE",
            &format!("Subject: {text}"),
        ],
        "",
    );
    scene.fragmented("192.168.122.3:5060", PROXY, options.as_bytes(), 1480);
    // The call is over, and nobody asked for this.
    scene.rtp(FAR_MEDIA, "192.168.122.3:6000", 9);
    scene.rtp("198.51.100.66:9", "192.168.122.3:9999", 9);
    // What does not cross.
    scene.udp("192.168.122.3:137", "192.168.122.255:137", b"anybody");
    scene.udp("192.168.122.3:1900", "239.255.255.250:1900", b"anybody");
    scene.udp("203.0.113.1:500", "203.0.113.2:500", b"others");
    let arp = [
        &[0xFF; 12][..],
        &[8, 6],
        &[0, 1, 8, 0, 6, 4, 0, 1],
        &[0; 20],
    ]
    .concat();
    scene.others.push((scene.clock, arp));
    scene
}

#[test]
fn a_call_is_seen_as_outside_under_every_link_header() {
    let folder = Folder::new("call");
    let scene = scene();
    for (link_type, name) in LINK_TYPES {
        let input = folder.file("in.pcap", &scene.pcap(link_type));
        let output = folder.0.join("out.pcapng");
        let text = sipalg(&input, &output, INSIDE);
        assert_eq!(tshark(&output, WRONG, &[]), [""; 0], "{name}");
        let found = packets(&output);
        assert!(leaks(&found).is_empty(), "{name}: {:?}", leaks(&found));
        let inside = tshark(&output, "ip.addr == 192.168.122.0/24", &[]);
        assert_eq!(inside, [""; 0], "{name}");
        let strange = "tcp.analysis.lost_segment || tcp.analysis.out_of_order \
            || tcp.analysis.retransmission || tcp.analysis.ack_lost_segment";
        assert_eq!(tshark(&output, strange, &[]), [""; 0], "{name}");
        assert_eq!(messages(&output), 2 * call::MESSAGES + 1, "{name}");
        assert_eq!(messages(&input), 2 * call::MESSAGES + 1, "{name}");
        assert!(!text.contains("would have"), "{name}: {text}");
        streams(&found);
    }
}

#[test]
fn messages_lengths_and_ports_are_those_of_the_gateway() {
    let folder = Folder::new("text");
    let input = folder.file("in.pcap", &scene().pcap(1));
    let output = folder.0.join("out.pcapng");
    let text = sipalg(&input, &output, INSIDE);
    let found = packets(&output);
    let streams = streams(&found);
    let phone = &streams["10.1.1.1:40001 203.0.113.9:5060"];
    for line in [
        "Via: SIP/2.0/TCP 10.1.1.1:40001;branch=z9hG4bK-i-alice\r\n",
        "Contact: <sip:alice@10.1.1.1:5060;transport=tcp>\r\n",
        "From: <sip:alice@10.1.1.1>;tag=1alice\r\n",
        "c=IN IP4 10.1.1.1\r\n",
        "m=audio 6000 RTP/AVP 0\r\n",
    ] {
        assert!(phone.contains(line), "no {line:?} in\n{phone}");
    }
    let answers = &streams["203.0.113.9:5060 10.1.1.1:40001"];
    assert!(answers.contains("Contact: <sip:alice@10.1.1.1:5060;transport=tcp>;expires=3600"));
    let bye = &streams["203.0.113.9:33000 10.1.1.1:5060"];
    assert!(bye.starts_with("BYE sip:alice@10.1.1.1:5060;transport=tcp SIP/2.0\r\n"));
    // The second phone has the same ports inside, and others outside, which its text names.
    let offers: Vec<&String> = streams
        .values()
        .filter(|s| s.contains("INVITE sip:"))
        .collect();
    assert_eq!(offers.len(), 2);
    let ports: BTreeSet<&str> = offers
        .iter()
        .map(|offer| {
            offer
                .split("m=audio ")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
        })
        .collect();
    assert_eq!(ports.len(), 2);
    for port in ports {
        let out = format!("udp.srcport == {port} && ip.src == 10.1.1.1");
        let into = format!("udp.dstport == {port} && ip.dst == 10.1.1.1");
        assert_eq!(tshark(&output, &out, &[]).len(), 5, "{text}");
        assert_eq!(tshark(&output, &into, &[]).len(), 5, "{text}");
    }
    assert!(!text.contains("still names an inside"), "{text}");
    for line in [
        "media door opens: udp 10.1.1.1:6000 to 192.168.122.3:6000",
        "signalling door opens: tcp 10.1.1.1:5060 to 192.168.122.3:5060",
        "- c=IN IP4 192.168.122.3",
        "+ c=IN IP4 10.1.1.1",
        "12 media packets out through doors",
        "12 media packets in through doors",
        "2 refused",
        "203.0.113.20:7000 > 192.168.122.3:6000",
        "1 between inside hosts",
        "1 broadcast, multicast or without an address",
        "1 not IPv4",
        "1 packets between outside hosts, unchanged",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
}

#[test]
fn a_capture_without_anybody_inside_stays_to_the_byte() {
    let folder = Folder::new("same");
    let input = folder.file("in.pcap", &scene().pcap(113));
    let (output, again) = (folder.0.join("out.pcapng"), folder.0.join("again.pcapng"));
    let elsewhere = ["--inside", "10.99.0.0/16", "--global", "10.1.1.1"];
    sipalg(&input, &output, &elsewhere);
    // Multicast is left out. pcapng is read here, too.
    sipalg(&output, &again, &elsewhere);
    assert_eq!(
        std::fs::read(&output).unwrap(),
        std::fs::read(&again).unwrap()
    );
    let (before, after) = (packets(&input), packets(&output));
    assert_eq!(before.len(), after.len() + 1);
    assert!(after.iter().all(|packet| before.contains(packet)));
    let times = |file: &Path| tshark(file, "tcp", &["frame.time_epoch"]);
    assert_eq!(times(&input), times(&output));
}

#[test]
fn a_startup_configuration_says_who_is_translated_and_where_sip_is() {
    let folder = Folder::new("config");
    let configuration = "interface gin\n ip nat inside\ninterface gout\n ip nat outside\n!\n\
        access-list 1 permit 192.168.122.0 0.0.0.255\n\
        ip nat inside source list 1 interface gout overload\n";
    let config = folder.file("startup-config", configuration.as_bytes());
    let config = config.to_str().unwrap();
    let input = folder.file("in.pcap", &scene().pcap(1));
    let (one, other) = (folder.0.join("1.pcapng"), folder.0.join("2.pcapng"));
    sipalg(
        &input,
        &one,
        &["--config", config, "--global", "gout=10.1.1.1"],
    );
    sipalg(&input, &other, INSIDE);
    assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&other).unwrap());
    let ports = folder.0.join("ports.pcapng");
    let text = sipalg(&input, &ports, &[INSIDE, &["--sip-port", "9"]].concat());
    assert!(!text.contains("SIP messages"), "{text}");
}

#[test]
fn a_wrong_command_line_is_answered_with_what_to_do() {
    let folder = Folder::new("wrong");
    let input = folder.file("in.pcap", &scene().pcap(1));
    let text = folder.file(
        "text",
        b"this is not a capture at all, but it is long enough",
    );
    let output = folder.0.join("out.pcapng");
    let run = |input: &Path, output: &Path, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sipalg"));
        command.arg("pcap").args([input, output]).args(arguments);
        let done = command.output().unwrap();
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        (done.status.code(), text)
    };
    let (status, answer) = run(&input, &input, INSIDE);
    assert!(
        status == Some(2) && answer.contains("name another file"),
        "{answer}"
    );
    let (status, answer) = run(&text, &output, INSIDE);
    assert!(
        status == Some(1) && answer.contains("neither a pcap"),
        "{answer}"
    );
    let (status, answer) = run(&folder.0.join("none"), &output, INSIDE);
    assert!(
        status == Some(1) && answer.contains("No such file"),
        "{answer}"
    );
    let (status, answer) = run(&input, &output, &["--inside", "192.168.122.0/24"]);
    assert!(
        status == Some(2) && answer.contains("--global ADDRESS"),
        "{answer}"
    );
    let (status, _) = run(&input, &output, &["--global", "10.1.1.1"]);
    assert_eq!(status, Some(2));
    assert!(!output.exists());
}

/// The captures of others: the folder, and who is taken for inside.
const OTHERS: &[(&str, &str)] = &[
    ("nDPI/http_on_sip_port.pcap", "82.178.111.221"),
    ("sipnab/b2bua-asterisk.pcapng", "172.16.98.101"),
    ("sipnab/b2bua-asterisk.pcapng", "172.16.98.145"),
    ("sipnab/sip-488-codec-reject.pcapng", "192.168.8.13"),
    ("sipnab/sip-auth-failure.pcapng", "172.16.98.101"),
    ("sipnab/sip-rtp-g711.pcap", "10.0.2.15"),
    ("suricata-verify/sip-body-frames.pcap", "200.57.7.195"),
    ("suricata-verify/sip-compact-form.pcap", "1.1.1.1"),
    ("suricata-verify/sip-header-multi-value.pcap", "1.1.1.1"),
    ("suricata-verify/sip-method.pcap", "192.168.1.2"),
    ("suricata-verify/sip-options-method.pcap", "192.168.1.20"),
    ("suricata-verify/sip-pattern-matching.pcap", "1.1.1.1"),
    ("suricata-verify/sip-sdp.pcap", "1.1.1.1"),
    ("suricata-verify/sip-tcp-pattern-matching.pcap", "1.1.1.1"),
    ("wireshark/sip.pcapng", "10.102.130.150"),
    ("zeek/sip-junk-before-request.pcap", "1.1.1.1"),
    ("zeek/sip-long-request-response-paths.pcap", "192.0.2.10"),
];

#[test]
fn captures_of_others_keep_their_messages_and_show_no_inside_host() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    if !corpus.is_dir() {
        println!("not run: there is no {}", corpus.display());
        return;
    }
    let folder = Folder::new("others");
    for (name, inside) in OTHERS {
        let (input, output) = (corpus.join(name), folder.0.join("out.pcapng"));
        let ports = ["--sip-port", "5060", "--sip-port", "5062"];
        let hosts = ["--inside", inside, "--global", "192.0.2.77"];
        let text = sipalg(&input, &output, &[&hosts[..], &ports].concat());
        assert!(!text.contains("would have"), "{name}: {text}");
        assert!(
            tshark(&output, WRONG, &[]).len() <= tshark(&input, WRONG, &[]).len(),
            "{name}"
        );
        let sent = format!("sip && !(ip.src == {inside} && ip.dst == {inside})");
        assert_eq!(
            tshark(&output, "sip", &["sip.CSeq"]).len(),
            tshark(&input, &sent, &["sip.CSeq"]).len(),
            "{name} with {inside} inside"
        );
        let there = tshark(&output, &format!("ip.addr == {inside}"), &[]);
        assert_eq!(there, [""; 0], "{name} with {inside} inside");
    }
}
