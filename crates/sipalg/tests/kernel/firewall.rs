//! What is said of other tables.

use crate::gateway::{Gateway, plan};
use sipalg::kernel::firewall::findings;
use std::io::Write;
use std::process::{Command, Stdio};

laws![
    nothing_is_said_of_a_host_without_a_firewall,
    a_forward_chain_that_drops_is_named_with_what_to_do,
    an_input_chain_that_drops_is_named_with_what_to_do,
    who_follows_the_advice_is_told_no_more,
    drops_that_cannot_meet_sip_are_not_named,
    drops_in_chains_that_others_lead_to_are_found,
    the_kernels_own_helper_is_named,
    another_tproxy_is_named,
    the_same_is_found_of_iptables,
];

fn run(program: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    assert!(
        child.wait().unwrap().success(),
        "{program} {arguments:?} {input}"
    );
}

/// nft wants the end of a block on a line of its own.
fn nft(rules: &str) {
    let rules = rules.replace('}', "\n}\n");
    run("nft", &["-f", "-"], &rules);
}

/// What is found on a gateway with these further rules.
fn found(rules: &str) -> Vec<String> {
    let (_gateway, _kernel) = Gateway::installed();
    nft(rules);
    findings(&plan())
}

fn nothing_is_said_of_a_host_without_a_firewall() {
    assert_eq!(found(""), [""; 0]);
    let accepting = "table inet f { chain in { type filter hook input priority 0; policy accept; }
        chain fw { type filter hook forward priority 0; tcp dport 22 accept; }
        chain idle { drop; } }";
    assert_eq!(found(accepting), [""; 0]);
}

fn a_forward_chain_that_drops_is_named_with_what_to_do() {
    let policy = "table inet f { chain fw { type filter hook forward priority 0; policy drop; } }";
    let rule = "table ip f { chain fw { type filter hook forward priority 0;
        iifname gin tcp dport 5060 ip daddr 10.1.1.3 reject; } }";
    for (rules, family) in [(policy, "inet"), (rule, "ip")] {
        let found = found(rules);
        assert_eq!(found.len(), 1, "{found:?}");
        let begin = format!("table {family} f, chain fw drops some of what passes");
        assert!(found[0].starts_with(&begin), "{}", found[0]);
        assert!(found[0].contains("access-group"), "{}", found[0]);
    }
}

fn an_input_chain_that_drops_is_named_with_what_to_do() {
    let found = found(
        "table inet f { chain in { type filter hook input priority 0; policy drop;
            ct state established,related accept; tcp dport 22 accept; } }",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("table inet f, chain in drops"),
        "{}",
        found[0]
    );
}

fn who_follows_the_advice_is_told_no_more() {
    let (_gateway, _kernel) = Gateway::installed();
    let rules = "table inet f {
        chain in { type filter hook input priority 0; policy drop; }
        chain fw { type filter hook forward priority 0; policy drop; } }";
    nft(rules);
    let advice = findings(&plan());
    assert_eq!(advice.len(), 2, "{advice:?}");
    for sentence in advice {
        let command = sentence
            .split('`')
            .find(|part| part.starts_with("nft "))
            .unwrap();
        nft(command.strip_prefix("nft ").unwrap());
    }
    assert_eq!(findings(&plan()), [""; 0]);
}

fn drops_that_cannot_meet_sip_are_not_named() {
    for rule in [
        "ct state invalid drop",
        "tcp dport 25 drop",
        "udp sport 137 drop",
        "ip protocol icmp drop",
        "meta l4proto 47 drop",
        "iifname docker0 drop",
        "iifname \"wg*\" drop",
        "iifname docker0 jump other",
    ] {
        let rules = format!(
            "table inet f {{ chain other {{ drop; }}
               chain in {{ type filter hook input priority 0; {rule}; }}
               chain fw {{ type filter hook forward priority 0; {rule}; }} }}"
        );
        assert_eq!(found(&rules), [""; 0], "{rule}");
    }
    for rule in [
        "ct state new drop",
        "iifname \"gi*\" drop",
        "udp dport 5060 drop",
    ] {
        let rules = format!(
            "table inet f {{ chain fw {{ type filter hook forward priority 0; {rule}; }} }}"
        );
        assert_eq!(found(&rules).len(), 1, "{rule}");
    }
}

fn drops_in_chains_that_others_lead_to_are_found() {
    let rules = "table ip f { chain last { drop; } chain next { goto last; }
        chain fw { type filter hook forward priority 0; ip daddr 10.0.0.0/8 jump next; } }";
    assert_eq!(found(rules).len(), 1);
}

fn the_kernels_own_helper_is_named() {
    let rules = "table ip h { ct helper voice { type \"sip\" protocol udp; }
        ct helper files { type \"ftp\" protocol tcp; }
        chain pre { type filter hook prerouting priority 0;
            udp dport 5060 ct helper set \"voice\"; tcp dport 21 ct helper set \"files\"; } }";
    let found = found(rules);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("table ip h, chain pre gives"),
        "{}",
        found[0]
    );
}

fn another_tproxy_is_named() {
    let rules = "table ip p { chain pre { type filter hook prerouting priority -150;
        tcp dport 80 tproxy to :3128 meta mark set 1; } }";
    let found = found(rules);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("table ip p, chain pre diverts"),
        "{}",
        found[0]
    );
}

fn the_same_is_found_of_iptables() {
    let (_gateway, _kernel) = Gateway::installed();
    let iptables = |arguments: &str| {
        let arguments: Vec<_> = arguments.split(' ').collect();
        run("iptables-nft", &arguments, "");
    };
    iptables("-A FORWARD -m conntrack --ctstate INVALID -j DROP");
    iptables("-A FORWARD -o docker0 -j DROP");
    assert_eq!(findings(&plan()), [""; 0]);
    iptables("-P FORWARD DROP");
    iptables("-A INPUT -s 10.1.1.0/24 -j REJECT");
    iptables("-t raw -A PREROUTING -p udp --dport 5060 -j CT --helper sip");
    iptables("-t mangle -A PREROUTING -p tcp --dport 80 -j TPROXY --on-port 3128");
    let found = findings(&plan());
    assert_eq!(found.len(), 4, "{found:#?}");
    for place in [
        "table ip filter, chain FORWARD",
        "table ip filter, chain INPUT",
        "table ip raw, chain PREROUTING",
        "table ip mangle, chain PREROUTING",
    ] {
        assert!(
            found.iter().any(|sentence| sentence.starts_with(place)),
            "{found:#?}"
        );
    }
}
