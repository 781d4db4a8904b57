//! Laws of `sipalg console`.

use crate::gateway::accepted;
use crate::running::Running;
use crate::tcp::{connected, hears, says};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

laws![
    commands_are_answered_in_order_and_a_wrong_one_fails,
    commands_come_from_stdin_too,
    connections_are_shown,
    rules_and_lists_are_shown_with_what_they_have_done,
    debug_lines_come_until_the_end,
    a_hundred_changes_disturb_nothing_that_they_do_not_concern,
    without_a_gateway_it_says_so,
];

fn commands_are_answered_in_order_and_a_wrong_one_fails() {
    let (_gateway, running) = Running::start();
    let (text, right) =
        asked(
            running
                .console()
                .args(["-c", "show version", "-c", "show debugging"]),
        );
    assert!(text.starts_with("sipalg Software, Version "), "{text}");
    assert!(right);
    let (text, right) = asked(
        running
            .console()
            .args(["-c", "show me", "-c", "show version"]),
    );
    assert!(
        text.starts_with("        ^\n% Invalid input") && text.contains("Version"),
        "{text}"
    );
    assert!(!right);
}

fn commands_come_from_stdin_too() {
    let (_gateway, running) = Running::start();
    let mut console = running
        .console()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = console.stdin.take().unwrap();
    stdin
        .write_all(b"show version\nshow running-config\n")
        .unwrap();
    drop(stdin);
    let (text, right) = said(console.wait_with_output().unwrap());
    assert!(
        text.contains("Version") && text.contains("ip nat service sip tcp port 8000"),
        "{text}"
    );
    assert!(right);
}

fn connections_are_shown() {
    let (gateway, running) = Running::start();
    let (phone, _outside) = connected(&gateway);
    let local = phone.local_addr().unwrap();
    let show = ["-c", "show ip nat sip connections"];
    let shown = || {
        let (text, right) = asked(running.console().args(show));
        assert!(right);
        text
    };
    let text = shown();
    let global = format!("10.1.1.1:{}", local.port());
    for part in [
        local.to_string(),
        global,
        "10.1.1.2:5060".into(),
        "connections: 1".into(),
    ] {
        assert!(text.contains(&part), "no {part} in {text}");
    }
    drop((phone, _outside));
    crate::gateway::eventually(|| shown().contains("connections: 0").then_some(()));
}

fn rules_and_lists_are_shown_with_what_they_have_done() {
    let (gateway, running) = Running::start();
    let rules = [
        "enable",
        "configure terminal",
        "access-list 100 permit tcp host 10.1.1.2 any",
        "ip nat service sip access-group 100",
        "ip nat inside source static 192.168.122.200 10.1.1.200",
        "ip nat inside source static tcp 192.168.122.2 5060 10.1.1.201 5062",
        "ip nat inside source static 192.168.122.202 10.1.1.200",
    ];
    let (answers, _) = asked(
        running
            .console()
            .args(rules.map(|line| ["-c", line]).concat()),
    );
    assert_eq!(
        answers.lines().last(),
        Some("% similar static entry (192.168.122.200 -> 10.1.1.200) already exists")
    );
    let (_phone, _outside) = connected(&gateway);
    let server = gateway.phone.listen(5060);
    let service = "10.1.1.201:5062".parse().unwrap();
    let _caller = gateway.outside.connect(0, service).unwrap();
    let _called = accepted(&server);
    let show = [
        "show ip nat translations",
        "show ip nat statistics",
        "show access-lists 100",
    ];
    let (text, right) = asked(
        running
            .console()
            .args(show.map(|line| ["-c", line]).concat()),
    );
    assert!(right);
    for part in [
        "--- 10.1.1.200         192.168.122.200    ---                ---\n",
        "tcp 10.1.1.201:5062    192.168.122.2:5060 ---                ---\n",
        "Total active translations: 3 (2 static, 1 dynamic; 2 extended)\n",
        "[Id: 1] access-list 1 interface gout refcount 1\n",
        "Extended IP access list 100\n    10 permit tcp host 10.1.1.2 any (1 match)\n",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

fn debug_lines_come_until_the_end() {
    let (gateway, running) = Running::start();
    let (mut phone, mut outside) = connected(&gateway);
    let mut command = running.console();
    let mut console = command
        .args(["-c", "debug ip nat sip"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(console.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "IP NAT SIP debugging is on\n");
    let message = b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    says(&mut phone, message);
    hears(&mut outside, message);
    let mut seen = String::new();
    while !seen.contains(&format!("l4f_send returns {} bytes\n", message.len())) {
        assert_ne!(lines.read_line(&mut seen).unwrap(), 0, "{seen}");
    }
    assert!(
        seen.contains(": NAT: SIP: [0] processing OPTIONS message\n"),
        "{seen}"
    );
    // It ends with the gateway.
    running.stop();
    lines.read_to_string(&mut seen).unwrap();
    assert!(console.wait().unwrap().success());
}

fn a_hundred_changes_disturb_nothing_that_they_do_not_concern() {
    let (gateway, running) = Running::start();
    let server = gateway.outside.listen(5060);
    let connect = |_| {
        let phone = gateway.phone.connect(0, gateway.outside.at(5060)).unwrap();
        (phone, accepted(&server).0)
    };
    let mut connections: Vec<_> = (0..20).map(connect).collect();
    let mut console = running
        .console()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = console.stdin.take().unwrap();
    let mut answers = BufReader::new(console.stdout.take().unwrap());
    writeln!(stdin, "configure terminal").unwrap();
    let changes = [
        "ip nat service sip tcp port 9001",
        "access-list 2 permit 10.9.0.0 0.0.255.255",
        "ip nat inside source list 2 interface gout overload",
        "ip nat translation udp-timeout 120",
        "hostname other",
        "no ip nat service sip tcp port 9001",
        "no ip nat inside source list 2 interface gout overload",
        "no access-list 2",
        "default ip nat translation udp-timeout",
        "hostname gw",
    ];
    let message = b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    for line in changes.iter().cycle().take(100) {
        // Its answer says that the line is in force.
        writeln!(stdin, "{line}\ndo show privilege").unwrap();
        for (phone, outside) in &mut connections {
            says(phone, message);
            hears(outside, message);
            says(outside, message);
            hears(phone, message);
        }
        let mut answer = String::new();
        while !answer.ends_with("is 15\n") {
            assert_ne!(
                answers.read_line(&mut answer).unwrap(),
                0,
                "{line}: {answer}"
            );
        }
        assert!(!answer.contains("% "), "{line}: {answer}");
    }
    drop(stdin);
    assert!(console.wait().unwrap().success());
    let (text, _) = asked(
        running
            .console()
            .args(["-c", "show ip nat sip connections"]),
    );
    assert!(text.contains("connections: 20"), "{text}");
    let (text, _) = asked(running.console().args(["-c", "show running-config"]));
    for line in crate::running::CONFIGURATION
        .lines()
        .filter(|line| *line != "!")
    {
        assert!(text.contains(line), "no `{line}` in {text}");
    }
}

fn without_a_gateway_it_says_so() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sipalg"));
    let output = command
        .args(["console", "--socket", "/nowhere", "-c", "show version"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("sipalg: no gateway answers at /nowhere"),
        "{said}"
    );
}

fn asked(command: &mut Command) -> (String, bool) {
    said(command.output().unwrap())
}

/// What a client printed, and whether it was content.
fn said(output: Output) -> (String, bool) {
    (
        String::from_utf8(output.stdout).unwrap(),
        output.status.success(),
    )
}
