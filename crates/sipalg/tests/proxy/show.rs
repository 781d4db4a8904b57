//! Laws of what the running gateway shows and clears.

use crate::gateway::{Gateway, accepted, eventually};
use crate::running::{CONFIGURATION, Running};
use crate::tcp::{connected, hears, is_reset, says};
use crate::udp;
use serde_json::Value;
use std::net::UdpSocket;

laws![
    every_view_is_json_as_well,
    ports_tell_what_becomes_of_them_and_what_is_in_the_way,
    resources_follow_what_is_there,
    hits_and_misses_are_the_kernels,
    translations_in_use_are_cleared_by_force_only,
    ordinary_flows_are_cleared_and_made_anew,
    what_lists_have_matched_is_cleared,
    tech_support_has_everything_but_secrets,
];

fn every_view_is_json_as_well() {
    let (gateway, running) = Running::start();
    let (_phone, _outside) = connected(&gateway);
    for command in [
        "show ip nat translations",
        "show ip nat translations verbose",
        "show ip nat translations total",
        "show ip nat statistics",
        "show ip nat pool",
        "show ip nat sip doors",
        "show ip nat sip connections",
        "show ip nat sip counters",
        "show ip nat sip resources",
        "show ip nat sip ports",
        "show ip nat sip store",
        "show ip nat sip kernel",
        "show access-lists",
        "show version",
        "show debugging",
        "show running-config",
        "show startup-config",
        "show tech-support",
    ] {
        assert!(json(&running, command).is_object(), "{command}");
    }
    let translations = json(&running, "show ip nat translations");
    let local = _phone.local_addr().unwrap().to_string();
    assert_eq!(translations["total"], 1);
    assert_eq!(
        translations["translations"][0]["inside_local"],
        local.as_str()
    );
    let connections = json(&running, "show ip nat sip connections");
    assert_eq!(
        connections["connections"][0]["inside_local"],
        local.as_str()
    );
    let version = running.ask("show version");
    assert!(version.contains("gw uptime is 0 minutes\n"), "{version}");
    assert!(
        version.contains(&format!("Process ID is {}\n", running.pid())),
        "{version}"
    );
    // An empty one is shown as nothing.
    assert_eq!(
        running.ask("show ip nat translations udp").lines().count(),
        1
    );
}

fn ports_tell_what_becomes_of_them_and_what_is_in_the_way() {
    let (_gateway, mut running) = Running::start();
    let ports = |running: &Running| running.ask("show ip nat sip ports");
    assert_eq!(
        ports(&running),
        "Pro Port  State                Remarks\n\
         tcp 5060  intercepting\ntcp 8000  intercepting\nudp 5060  intercepting\n"
    );
    let service = UdpSocket::bind("0.0.0.0:5060").unwrap();
    let text = ports(&running);
    // Which program it is, only `sipalg check` by root can see.
    let conflict = "udp 5060  conflict             a program of this gateway waits there";
    assert!(text.contains(conflict), "{text}");
    let shown = json(&running, "show ip nat sip ports");
    assert_eq!(shown["ports"][2]["state"], "conflict");
    drop(service);
    running.reload(&format!("{CONFIGURATION}no ip nat l4f\n"));
    running.wait_for("sipalg: configuration loaded again");
    let text = ports(&running);
    assert!(
        text.contains("tcp 8000  L3/L4 only           `no ip nat l4f`\n"),
        "{text}"
    );
    assert!(text.contains("udp 5060  intercepting\n"), "{text}");
    let nft = |line: &str| {
        let status = std::process::Command::new("nft").arg(line).status();
        assert!(status.unwrap().success(), "{line}");
    };
    nft("add table ip other");
    nft("add chain ip other c { type filter hook prerouting priority -150; }");
    nft("add rule ip other c tcp dport 80 tproxy to 127.0.0.1:80");
    let text = ports(&running);
    assert!(
        text.contains("Conflict: table ip other, chain c diverts packets by TPROXY, too"),
        "{text}"
    );
}

fn resources_follow_what_is_there() {
    let (gateway, running) = Running::start();
    let row = |name: &str, field: &str| {
        let shown = json(&running, "show ip nat sip resources");
        let rows = shown["resources"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name);
        row.unwrap_or_else(|| panic!("no {name} in {shown}"))[field].clone()
    };
    assert_eq!(
        (row("connections", "used"), row("connections", "peak")),
        (0.into(), 0.into())
    );
    let (phone, outside) = connected(&gateway);
    assert_eq!(
        (row("connections", "used"), row("mappings", "used")),
        (1.into(), 1.into())
    );
    assert!(row("connections", "limit").as_u64().unwrap() > 100);
    drop((phone, outside));
    eventually(|| (row("connections", "used") == 0).then_some(()));
    assert_eq!(row("connections", "peak"), 1);
    let server = gateway.outside.udp(5060);
    let phone = gateway.phone.udp(5060);
    udp::says(&phone, "hello", gateway.outside.at(5060));
    udp::hears(&server);
    assert_eq!(row("datagram flows", "used"), 1);
    assert_eq!(row("datagram flows", "refused"), 0);
    // The same numbers, and none is left out.
    let shown = json(&running, "show ip nat sip resources");
    let text = running.ask("show ip nat sip resources");
    for resource in shown["resources"].as_array().unwrap() {
        let name = resource["name"].as_str().unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name}  ")));
        let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        let limit = resource["limit"]
            .as_u64()
            .map_or("-".into(), |limit| limit.to_string());
        assert_eq!(
            line.split_whitespace().rev().nth(1),
            Some(&*limit),
            "{line}"
        );
    }
}

fn hits_and_misses_are_the_kernels() {
    let (gateway, running) = Running::start();
    let counted = || {
        let shown = json(&running, "show ip nat statistics");
        (
            shown["hits"].as_u64().unwrap(),
            shown["misses"].as_u64().unwrap(),
        )
    };
    assert_eq!(counted(), (0, 0));
    let (ear, mouth) = (gateway.outside.udp(7000), gateway.phone.udp(4000));
    let exchange = || {
        mouth.send_to(b"there", gateway.outside.at(7000)).unwrap();
        let mut buffer = [0; 16];
        let (_, from) = ear.recv_from(&mut buffer).unwrap();
        ear.send_to(b"back", from).unwrap();
        mouth.recv_from(&mut buffer).unwrap();
    };
    exchange();
    assert_eq!(counted(), (1, 1));
    exchange();
    assert_eq!(counted(), (3, 1));
    // What the proxy carries, and what nobody translates, is not counted.
    let (mut phone, mut outside) = connected(&gateway);
    says(&mut phone, b"\0hello");
    hears(&mut outside, b"\0hello");
    assert_eq!(counted(), (3, 1));
    let text = running.ask("show ip nat statistics");
    assert!(text.contains("Hits: 3  Misses: 1\n"), "{text}");
    assert!(
        text.contains("Peak translations: 1, occurred 00:00:0"),
        "{text}"
    );
    assert_eq!(
        commands(&running, &["enable", "clear ip nat statistics"]),
        ""
    );
    assert_eq!(counted(), (0, 0));
    exchange();
    assert_eq!(counted(), (2, 0));
}

fn translations_in_use_are_cleared_by_force_only() {
    let (gateway, running) = Running::start();
    let server = gateway.outside.listen(5060);
    let connect = || {
        let phone = gateway.phone.connect(0, gateway.outside.at(5060)).unwrap();
        (phone, accepted(&server).0)
    };
    let (mut kept, mut kept_outside) = connect();
    let (idle, idle_outside) = connect();
    drop((idle, idle_outside));
    let total = || json(&running, "show ip nat translations total")["total"].as_u64();
    let open = || json(&running, "show ip nat sip connections")["total"].as_u64();
    eventually(|| (open() == Some(1)).then_some(()));
    assert_eq!(total(), Some(2));
    assert_eq!(
        commands(&running, &["enable", "clear ip nat translation *"]),
        "1 translation is in use and stays; `forced` clears it, too\n"
    );
    assert_eq!(total(), Some(1));
    says(&mut kept, b"\0still here");
    hears(&mut kept_outside, b"\0still here");
    let port = kept.local_addr().unwrap().port();
    let one = format!("clear ip nat translation tcp inside 10.1.1.1 {port} 192.168.122.2 {port}");
    assert_eq!(
        commands(&running, &["enable", &one]),
        "% Translation in use; add `forced` to clear it\n"
    );
    assert_eq!(
        commands(&running, &["enable", &format!("{one} forced")]),
        ""
    );
    is_reset(&mut kept);
    is_reset(&mut kept_outside);
    assert_eq!(total(), Some(0));
    assert_eq!(
        commands(&running, &["enable", &one]),
        "% Translation not found\n"
    );
    connect();
}

fn ordinary_flows_are_cleared_and_made_anew() {
    let (gateway, running) = Running::start();
    let (ear, mouth) = (gateway.outside.udp(7000), gateway.phone.udp(4000));
    let flows = || {
        let mut conntrack = sipalg::netlink::conntrack::Conntrack::open().unwrap();
        let flows = conntrack.udp().unwrap().into_iter();
        flows
            .filter(|flow| flow.original.source.port() == 4000)
            .count()
    };
    let mut buffer = [0; 16];
    mouth.send_to(b"one", gateway.outside.at(7000)).unwrap();
    ear.recv_from(&mut buffer).unwrap();
    assert_eq!(flows(), 1);
    assert_eq!(
        commands(&running, &["enable", "clear ip nat translation *"]),
        ""
    );
    assert_eq!(flows(), 0);
    mouth.send_to(b"two", gateway.outside.at(7000)).unwrap();
    let (_, from) = ear.recv_from(&mut buffer).unwrap();
    assert_eq!(from.ip().to_string(), "10.1.1.1");
    let other = "clear ip nat translation inside 10.1.1.1 192.168.122.3";
    assert_eq!(commands(&running, &["enable", other]), "");
    assert_eq!(flows(), 1);
}

fn what_lists_have_matched_is_cleared() {
    let (gateway, running) = Running::start();
    let list = [
        "enable",
        "configure terminal",
        "access-list 100 permit tcp host 10.1.1.2 any",
        "ip nat service sip access-group 100",
        "ip nat inside source static tcp 192.168.122.2 5060 10.1.1.201 5062",
        "end",
    ];
    assert!(!commands(&running, &list).contains('%'));
    let server = gateway.phone.listen(5060);
    let service = "10.1.1.201:5062".parse().unwrap();
    let call = || {
        let caller = gateway.outside.connect(0, service).unwrap();
        (caller, accepted(&server).0)
    };
    let matches = || {
        let shown = json(&running, "show access-lists 100");
        shown["access_lists"][0]["entries"][0]["matches"].as_u64()
    };
    let _calls = (call(), call());
    assert_eq!(matches(), Some(2));
    assert_eq!(
        commands(&running, &["enable", "clear access-list counters 1"]),
        ""
    );
    assert_eq!(matches(), Some(2));
    assert_eq!(
        commands(&running, &["enable", "clear access-list counters"]),
        ""
    );
    assert_eq!(matches(), Some(0));
    let _call = call();
    assert_eq!(matches(), Some(1));
    // New rules count on.
    let more = [
        "enable",
        "configure terminal",
        "access-list 100 permit tcp host 10.1.1.3 any",
    ];
    assert!(!commands(&running, &more).contains('%'));
    assert_eq!(matches(), Some(1));
    assert_eq!(
        commands(&running, &["enable", "clear access-list counters 7"]),
        "% access list 7 does not exist\n"
    );
}

fn tech_support_has_everything_but_secrets() {
    let gateway = Gateway::bare();
    let configuration = format!(
        "{CONFIGURATION}enable secret 5 $5$salt$Gcm6FsVtF/Qa77ZKD.iwsJlCVPY0XSMgLJL0Hnww/c1\n"
    );
    let running = Running::start_with(&gateway, &configuration);
    let mut console = running.console();
    let output = console.args(["-c", "show tech-support"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("% Invalid input"),
        "whoever may look has said enable: {text}"
    );
    drop(running);

    let running = Running::start_with(&gateway, CONFIGURATION);
    let text = running.ask("show tech-support");
    for view in [
        "show version",
        "show running-config",
        "show ip nat sip resources",
    ] {
        assert!(
            text.contains(&format!(" {view} ---")),
            "no {view} in {text}"
        );
    }
    let lines = [
        "enable",
        "configure terminal",
        "enable secret tell-nobody",
        "do show tech-support",
    ];
    let text = commands(&running, &lines);
    assert!(
        text.contains("enable secret 5 removed\n") && !text.contains("$5$"),
        "{text}"
    );
}

/// What commands in one session are answered.
fn commands(running: &Running, lines: &[&str]) -> String {
    let mut console = running.console();
    console.args(lines.iter().flat_map(|line| ["-c", line]));
    let text = String::from_utf8(console.output().unwrap().stdout).unwrap();
    text.replace(
        "Enter configuration commands, one per line.  End with CNTL/Z.\n",
        "",
    )
}

fn json(running: &Running, command: &str) -> Value {
    let text = running.ask(&format!("{command} json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{command}: {error}: {text}"))
}
