//! Laws of `sipalg check`: what is wrong is told with its remedy, and nothing changes.

use crate::gateway::{Gateway, LISTENER};
use crate::running::{CONFIGURATION, Running};
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Output};

laws![
    a_machine_without_obstacles_passes_and_stays_as_it_is,
    every_fault_of_a_file_is_told_and_what_only_lacks_something_too,
    every_obstacle_on_this_machine_is_named_with_its_remedy,
    a_gateway_that_runs_is_no_obstacle,
    what_cannot_be_looked_at_is_told,
];

fn a_machine_without_obstacles_passes_and_stays_as_it_is() {
    let gateway = Gateway::bare();
    let before = (rules(), settings());
    let (report, status) = checked(&gateway, CONFIGURATION);
    assert_eq!(status, 0, "{report}");
    assert!(
        report.contains("startup-config: 12 lines, nothing is wrong\n"),
        "{report}"
    );
    assert!(
        report.ends_with("  nothing stands in the way\n"),
        "{report}"
    );
    assert_eq!((rules(), settings()), before);
}

fn every_fault_of_a_file_is_told_and_what_only_lacks_something_too() {
    let gateway = Gateway::bare();
    let text =
        format!("{CONFIGURATION}ip nat insight\nip nat service sip bypass 7\nhostname a b\n");
    let (report, status) = checked(&gateway, &text);
    assert_eq!(status, 2, "{report}");
    for part in [
        "startup-config, line 13: invalid input\n  ip nat insight\n             ^\n",
        "startup-config, line 14: access list 7 does not exist\n  ip nat service sip bypass 7\n",
        "startup-config, line 15: invalid input\n  hostname a b\n             ^\n",
    ] {
        assert!(report.contains(part), "no {part} in {report}");
    }
    let roleless = CONFIGURATION.replace(" ip nat inside\n", "");
    let (report, status) = checked(&gateway, &roleless);
    assert_eq!(status, 2);
    assert!(
        report.contains("no interface is configured as `ip nat inside`"),
        "{report}"
    );
    let (report, status) = checked(&gateway, "hostname gw\n");
    assert_eq!(status, 2);
    assert!(
        report.contains("startup-config: no interface is `ip nat inside`; give one"),
        "{report}"
    );
    let mut nowhere = Command::new(env!("CARGO_BIN_EXE_sipalg"));
    let output = nowhere.args(["check", "/nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

fn every_obstacle_on_this_machine_is_named_with_its_remedy() {
    let gateway = Gateway::bare();
    let names = |configuration: &str, what: &str| {
        let (report, status) = checked(&gateway, configuration);
        let whole = report.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(status, 1, "{report}");
        assert!(whole.contains(what), "no {what} in {report}");
    };
    names(
        &CONFIGURATION.replace("gin2", "gone"),
        "wrong: there is no interface gone on this host remedy: name one",
    );
    let pool = "ip nat pool OWN 10.1.1.1 10.1.1.9 prefix-length 24\n\
                access-list 7 permit any\nip nat inside source list 7 pool OWN\n";
    names(
        &format!("{CONFIGURATION}{pool}"),
        "pool OWN gives 10.1.1.1 to an inside host, but it is this gateway's own, of interface gout",
    );

    let holder = TcpListener::bind(LISTENER).unwrap();
    names(
        CONFIGURATION,
        "127.0.0.1:15060, where intercepted SIP arrives, is in use: ",
    );
    drop(holder);

    run("sysctl -q net.ipv4.ip_forward=1 net.ipv4.conf.gin.forwarding=0");
    names(
        CONFIGURATION,
        "packets that come in by gin are not forwarded remedy: `sysctl net.ipv4.conf.gin.forwarding=1`",
    );
    run("sysctl -q net.ipv4.conf.gin.forwarding=1 net.ipv4.conf.gout.rp_filter=1");
    let both = CONFIGURATION.replace(
        "interface gin2\n ip nat inside",
        "interface gin2\n ip nat outside",
    );
    names(&both, "rp_filter is strict on gout");

    run("nft add table ip other");
    for (chain, rule, what) in [
        (
            "{ type filter hook input priority 0; policy drop; }",
            "",
            "table ip other, chain c drops some of what is for this host",
        ),
        (
            "{ type filter hook prerouting priority -150; }",
            "tcp dport 80 tproxy to 127.0.0.1:80",
            "table ip other, chain c diverts packets by TPROXY, too",
        ),
    ] {
        nft(&["add chain ip other c", chain]);
        if !rule.is_empty() {
            nft(&["add rule ip other c", rule]);
        }
        names(CONFIGURATION, what);
        nft(&["flush chain ip other c"]);
        nft(&["delete chain ip other c"]);
    }
    nft(&["add ct helper ip other h { type \"sip\" protocol udp; }"]);
    nft(&["add chain ip other c { type filter hook prerouting priority 0; }"]);
    nft(&["add rule ip other c udp dport 5060 ct helper set \"h\""]);
    names(
        CONFIGURATION,
        "gives connections the kernel's own SIP helper",
    );
    nft(&["delete table ip other"]);

    let service = UdpSocket::bind("0.0.0.0:5060").unwrap();
    let (report, status) = checked(&gateway, CONFIGURATION);
    assert_eq!(status, 0, "{report}");
    let note = format!(
        "(process {}) waits at udp port 5060 of this gateway",
        std::process::id()
    );
    assert!(report.contains(&note), "no {note} in {report}");
    let fixed = "ip nat inside source static udp 192.168.122.9 5060 interface gout 5060\n";
    names(
        &format!("{CONFIGURATION}{fixed}"),
        "which a static rule gives to an inside host: nobody outside reaches it",
    );
    drop(service);
}

fn a_gateway_that_runs_is_no_obstacle() {
    let (gateway, running) = Running::start();
    let (report, status) = checked(&gateway, CONFIGURATION);
    assert_eq!(status, 0, "{report}");
    let note = format!(
        "a gateway runs here already: sipalg (process {})",
        running.pid()
    );
    assert!(report.contains(&note), "no {note} in {report}");
    assert_eq!(running.stop().status.code(), Some(0));
}

fn what_cannot_be_looked_at_is_told() {
    let gateway = Gateway::bare();
    let file = written(&gateway, CONFIGURATION);
    // Someone without any privilege, who may not make network namespaces either.
    let script = format!(
        "echo 0 > /proc/sys/user/max_net_namespaces && exec setpriv --bounding-set -all --inh-caps -all \
         {} check {file}",
        env!("CARGO_BIN_EXE_sipalg")
    );
    let (report, status) = said(
        Command::new("unshare")
            .args(["--user", "--map-root-user", "sh", "-c", &script])
            .output()
            .unwrap(),
    );
    assert_eq!(status, 0, "{report}");
    for part in [
        "not seen: what other tables of nftables do to SIP is not known: no permission",
        "not seen: whether this kernel has all that is needed is not known: cannot make a network namespace",
        "nothing that could be looked at stands in the way",
    ] {
        assert!(report.contains(part), "no {part} in {report}");
    }
}

/// What `sipalg check` says of a configuration on the calling thread's host, and its exit status.
fn checked(gateway: &Gateway, configuration: &str) -> (String, i32) {
    let file = written(gateway, configuration);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sipalg"));
    said(command.args(["check", &file]).output().unwrap())
}

fn written(gateway: &Gateway, configuration: &str) -> String {
    let folder = gateway.state.path().join("checked");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("startup-config");
    fs::write(&file, configuration).unwrap();
    file.display().to_string()
}

fn said(output: Output) -> (String, i32) {
    let report = String::from_utf8(output.stdout).unwrap();
    let noise = String::from_utf8(output.stderr).unwrap();
    assert_eq!(noise, "", "{report}");
    (report, output.status.code().unwrap())
}

fn rules() -> String {
    let output = Command::new("nft").args(["list", "ruleset"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

fn settings() -> String {
    let mut command = Command::new("sysctl");
    command.args(["-a", "-r", "^net[.]ipv4[.](ip_forward|conf)"]);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

fn run(line: &str) {
    let mut words = line.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status();
    assert!(status.unwrap().success(), "{line}");
}

fn nft(words: &[&str]) {
    let status = Command::new("nft").arg(words.join(" ")).status().unwrap();
    assert!(status.success(), "nft {words:?}");
}
