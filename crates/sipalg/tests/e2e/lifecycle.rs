//! What is left of a gateway when it is gone: nothing. And that there is only one.

use crate::harness::call::{Call, office};
use crate::harness::gateway::{CONFIGURATION, Files, Gateway};
use crate::harness::net::{Host, Net, inside_address};
use crate::harness::process::Process;
use crate::harness::registration::Registration;
use std::net::SocketAddrV4;

#[test]
fn after_sigterm_the_kernel_is_as_before_though_calls_were_up() {
    let net = Net::new();
    occupy(&net.gateway);
    let before = state(&net.gateway);
    let gateway = Gateway::start(&net);
    let _call = call(&net, &gateway);
    assert_ne!(state(&net.gateway), before);
    let files = gateway.stop();
    assert_eq!(state(&net.gateway), before);
    assert!(!files.socket().exists(), "the console's socket is left");
}

#[test]
fn after_a_crash_cleaning_puts_the_kernel_back() {
    let net = Net::new();
    occupy(&net.gateway);
    let before = state(&net.gateway);
    let gateway = Gateway::start(&net);
    let _call = call(&net, &gateway);
    let files = gateway.crash();
    assert_ne!(
        state(&net.gateway),
        before,
        "a crash cannot put anything back"
    );
    let mut cleaning = Process::start(&net.gateway, &mut files.clean());
    assert!(cleaning.wait().success(), "{}", cleaning.said());
    assert_eq!(state(&net.gateway), before);
    // Once more does no harm.
    let mut cleaning = Process::start(&net.gateway, &mut files.clean());
    assert!(cleaning.wait().success(), "{}", cleaning.said());
    assert_eq!(state(&net.gateway), before);
}

#[test]
fn after_a_crash_the_next_one_starts_and_leaves_the_kernel_as_the_first_found_it() {
    let net = Net::new();
    let before = state(&net.gateway);
    let files = Gateway::start(&net).crash();
    let mut next = Process::start(&net.gateway, &mut files.run());
    next.wait_for("sipalg: ready");
    assert!(next.stop().success(), "{}", next.said());
    assert_eq!(state(&net.gateway), before);
}

#[test]
fn a_second_gateway_is_refused_and_does_not_touch_the_first() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let mut gateway = Gateway::start(&net);
    let before = state(&net.gateway);
    // With files of its own, and with the first one's.
    let own = Files::new(CONFIGURATION);
    for command in [&mut own.run(), &mut gateway.files().run()] {
        let mut second = Process::start(&net.gateway, command);
        let status = second.wait();
        assert_eq!(status.code(), Some(1), "{}", second.said());
        let said = second.said();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("already running"), "{said}");
        assert!(
            said.contains(&gateway.process().pid().to_string()),
            "{said}"
        );
    }
    assert_eq!(state(&net.gateway), before);
    let contact = SocketAddrV4::new(inside_address(3), 5060);
    Registration::make((&phone, contact), (&far, office()), 60);
    assert!(
        gateway
            .console("show ip nat translations")
            .contains("192.168.122.3:5060")
    );
}

#[test]
fn a_refused_start_changes_nothing_in_the_kernel() {
    let net = Net::new();
    let before = state(&net.gateway);
    let wrong = CONFIGURATION.replace("interface gin\n", "interface gone\n");
    let wrong = [
        (
            CONFIGURATION.replace(" ip nat outside", " ip nat outsize"),
            2,
        ),
        (wrong, 1),
    ];
    for (configuration, status) in wrong {
        let files = Files::new(&configuration);
        let mut refused = Process::start(&net.gateway, &mut files.run());
        assert_eq!(refused.wait().code(), Some(status), "{}", refused.said());
        assert_eq!(state(&net.gateway), before, "{}", refused.said());
    }
}

#[test]
fn a_wrong_line_is_shown_with_its_number_and_a_caret_under_the_offence() {
    let net = Net::new();
    let files = Files::new(&CONFIGURATION.replace(" ip nat outside", " ip nat outsize"));
    let mut refused = Process::start(&net.gateway, &mut files.run());
    assert_eq!(refused.wait().code(), Some(2));
    let said = refused.said();
    let lines: Vec<_> = said.lines().collect();
    let file = files.configuration();
    let file = file.to_str().expect("a plain path");
    assert!(
        lines[0].contains(file) && lines[0].contains("line 6"),
        "{said}"
    );
    let at = lines
        .iter()
        .position(|line| line.contains("ip nat outsize"));
    let at = at.unwrap_or_else(|| panic!("the line itself is missing: {said}"));
    // As IOS does, under the first letter that is wrong.
    let offence = lines[at].find("outsize").map(|start| start + "outsi".len());
    assert_eq!(offence, lines[at + 1].find('^'), "{said}");
    for expected in ["inside", "outside"] {
        assert!(said.contains(expected), "what was expected? {said}");
    }
}

/// A registered phone in a call, with media that flow.
fn call(net: &Net, gateway: &Gateway) -> (Host, Host, Registration, Call) {
    let (phone, far) = (net.inside(3), net.outside(2));
    let contact = SocketAddrV4::new(inside_address(3), 5060);
    let registration = Registration::make((&phone, contact), (&far, office()), 600);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    call.talk();
    assert!(!gateway.media_doors().is_empty());
    assert!(!gateway.signalling_doors().is_empty());
    (phone, far, registration, call)
}

/// A host with rules and settings of its operator's.
fn occupy(host: &Host) {
    host.nft(
        "table inet mine {\n set good { type ipv4_addr\n elements = { 10.1.1.7 }\n }\n \
         chain forward {\n type filter hook forward priority 0\n ip saddr @good accept\n }\n }",
    );
    let masquerade = [
        "-t",
        "nat",
        "-A",
        "POSTROUTING",
        "-o",
        "gout",
        "-j",
        "MASQUERADE",
    ];
    host.output("iptables", &masquerade, "");
    host.ip(
        "rule add fwmark 0x1 lookup 77 priority 500\nroute add 10.7.0.0/16 via 10.1.1.2 table 77",
    );
    for name in ["all", "default", "gin"] {
        host.sysctl(&format!("net.ipv4.conf.{name}.rp_filter"), "1");
    }
}

/// All that a gateway may change in the kernel.
fn state(host: &Host) -> String {
    [
        host.output("nft", &["-s", "list", "ruleset"], ""),
        host.output("ip", &["-4", "rule", "show"], ""),
        // A wire's carrier comes up a moment after its ends do.
        host.output("ip", &["-4", "route", "show", "table", "all"], "")
            .replace("linkdown ", ""),
        host.output("ip", &["-o", "-4", "address", "show"], ""),
        host.output(
            "sysctl",
            &["-e", "-a", "--pattern", "^net.(ipv4|core|netfilter)"],
            "",
        )
        .lines()
        .filter(|line| !line.contains("nf_conntrack_count"))
        .map(|line| format!("{line}\n"))
        .collect(),
    ]
    .concat()
}
