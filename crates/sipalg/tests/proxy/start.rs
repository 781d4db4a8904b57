//! Laws of the program's start and end: one clear sentence when it cannot run, and nothing left.

use crate::gateway::{Gateway, LISTENER, listener};
use crate::running::{CONFIGURATION, Running, command, ended, refused};
use std::process::Command;

laws![
    it_ends_by_a_signal_with_the_kernel_as_before,
    a_second_one_is_refused_and_the_first_goes_on,
    a_wrong_configuration_is_refused,
    a_missing_interface_is_named,
    an_interface_without_an_address_is_named,
    a_port_in_use_is_named,
    without_privilege_it_says_what_it_needs,
];

fn it_ends_by_a_signal_with_the_kernel_as_before() {
    let gateway = Gateway::bare();
    let before = kernel_state();
    let running = Running::start_on(&gateway);
    assert_ne!(kernel_state(), before);
    let end = running.stop();
    assert_eq!(end.status.code(), Some(0), "{}", end.said);
    assert_eq!(kernel_state(), before);
    assert!(!gateway.state.path().join("console.sock").exists());
}

fn a_second_one_is_refused_and_the_first_goes_on() {
    let (gateway, running) = Running::start();
    let before = kernel_state();
    let folder = gateway.state.path().join("second");
    let second = ended(&mut command(&folder, CONFIGURATION));
    let sentence = format!(
        "sipalg: already running in this network namespace as process {}; stop that one first\n",
        running.pid()
    );
    assert_eq!((second.status.code(), second.said), (Some(1), sentence));
    assert_eq!(kernel_state(), before);
    assert_eq!(running.stop().status.code(), Some(0));
}

fn a_wrong_configuration_is_refused() {
    let gateway = Gateway::bare();
    let before = kernel_state();
    for wrong in [
        "ip nat insight\n",
        "ip nat inside source list 2 interface gout overload\n",
    ] {
        let end = refused(&gateway, &format!("{CONFIGURATION}{wrong}"));
        assert_eq!(end.status.code(), Some(2), "{}", end.said);
        assert!(end.said.starts_with("sipalg: "), "{}", end.said);
        assert!(
            end.said.contains("startup-config, line 13:"),
            "{}",
            end.said
        );
    }
    let end =
        ended(Command::new(env!("CARGO_BIN_EXE_sipalg")).args(["run", "--config", "/nowhere"]));
    assert_eq!(end.status.code(), Some(2), "{}", end.said);
    assert_eq!(kernel_state(), before);
}

fn a_missing_interface_is_named() {
    let gateway = Gateway::bare();
    let end = refused(&gateway, &CONFIGURATION.replace("gin2", "gin7"));
    assert_eq!(end.status.code(), Some(1), "{}", end.said);
    assert!(
        end.said.contains("there is no interface gin7"),
        "{}",
        end.said
    );
}

fn an_interface_without_an_address_is_named() {
    let gateway = Gateway::bare();
    let mut route = sipalg::netlink::route::Route::open().unwrap();
    let other = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
    route
        .veth("bare0", "bare1", std::os::fd::AsFd::as_fd(&other))
        .unwrap();
    let end = refused(&gateway, &CONFIGURATION.replace("gin2", "bare0"));
    assert_eq!(end.status.code(), Some(1), "{}", end.said);
    assert!(
        end.said.contains("interface bare0 has no IPv4 address"),
        "{}",
        end.said
    );
}

fn a_port_in_use_is_named() {
    let gateway = Gateway::bare();
    let before = kernel_state();
    let _other = listener(LISTENER);
    let end = refused(&gateway, CONFIGURATION);
    assert_eq!(end.status.code(), Some(1), "{}", end.said);
    assert!(
        end.said.contains("127.0.0.1:15060 is in use"),
        "{}",
        end.said
    );
    assert_eq!(kernel_state(), before);
}

fn without_privilege_it_says_what_it_needs() {
    let gateway = Gateway::bare();
    let run = command(gateway.state.path(), CONFIGURATION);
    // Root in a user namespace of its own has no power over this network namespace.
    let mut powerless = Command::new("unshare");
    powerless
        .args(["--user", "--map-root-user"])
        .arg(run.get_program())
        .args(run.get_args());
    let end = ended(&mut powerless);
    assert_eq!(end.status.code(), Some(1), "{}", end.said);
    assert!(end.said.contains("CAP_NET_ADMIN"), "{}", end.said);
}

/// Rules, policy rules, routes and the settings that are changed.
fn kernel_state() -> String {
    let shown = |command: &[&str]| {
        let output = Command::new(command[0])
            .args(&command[1..])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let setting =
        |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
    [
        shown(&["nft", "list", "ruleset"]),
        shown(&["ip", "-4", "rule"]),
        shown(&["ip", "-4", "route", "show", "table", "all"]),
        setting("ip_forward"),
        setting("conf/all/rp_filter"),
        setting("conf/gin/rp_filter"),
    ]
    .concat()
}
