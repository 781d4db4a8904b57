//! Laws of privileges: a gateway that runs has few, and they suffice for all that it does.

use crate::change::{options, rules, v4};
use crate::gateway::{Gateway, accepted, eventually, global};
use crate::running::{CONFIGURATION, Running, command};
use crate::tcp::{connected, hears, hears_message, registered, says};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;

laws![
    a_running_gateway_has_no_privilege_but_those_it_needs,
    it_runs_as_a_user_with_the_capabilities_of_the_unit,
    who_calls_from_a_port_that_takes_privilege_is_seen_with_it,
];

/// `CAP_NET_BIND_SERVICE` (10) and `CAP_NET_ADMIN` (12): the worker, as docs/manual says.
const WORKER: &str = "0000000000001400";

/// Besides `CAP_NET_RAW` (13): the keeper, which starts workers.
const KEEPER: &str = "0000000000003400";

/// The thread that writes the store.
const STORE: &str = "0000000000000000";

/// Whose number is nobody's, but where the laws run in a user namespace, which has root alone.
fn user() -> u32 {
    let all = fs::read_to_string("/proc/self/uid_map").unwrap();
    if all.contains("4294967295") {
        64_123
    } else {
        0
    }
}

fn a_running_gateway_has_no_privilege_but_those_it_needs() {
    let (_gateway, running) = Running::start();
    for (name, status) in threads(&running) {
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(&status, set), allowed(&name), "{name}, {set}");
        }
        assert_eq!(field(&status, "NoNewPrivs"), "1", "{name}");
    }
    let program = fs::metadata(env!("CARGO_BIN_EXE_sipalg")).unwrap();
    assert_eq!(program.mode() & 0o6000, 0, "no setuid, no setgid");
    assert_eq!(running.stop().status.code(), Some(0));
}

/// As `packaging/sipalg.service` starts it.
fn it_runs_as_a_user_with_the_capabilities_of_the_unit() {
    let gateway = Gateway::bare();
    let (before, patience) = (rules(), icmp_timeout());
    let folder = gateway.state.path();
    let run = command(folder, CONFIGURATION);
    // Where it was built, that user may have no access.
    let program = folder.join("sipalg");
    fs::copy(run.get_program(), &program).unwrap();
    let user = user();
    for path in [folder, &folder.join("startup-config")] {
        chown(path, Some(user), Some(user)).unwrap();
    }
    let mut asked = Command::new("setpriv");
    asked.args(["--reuid", &user.to_string(), "--regid", &user.to_string()]);
    asked.args(["--keep-groups", "--no-new-privs"]);
    for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        asked.args([set, "-all,+net_admin,+net_raw,+net_bind_service"]);
    }
    asked.arg(program).args(run.get_args());
    let mut running = Running::start_by(&gateway, asked);
    for (name, status) in threads(&running) {
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(field(&status, set), allowed(&name), "{name}, {set}");
        }
        assert_eq!(field(&status, "NoNewPrivs"), "1", "{name}");
        assert!(field(&status, "Uid").starts_with(&format!("{user}\t")));
    }
    let console = fs::metadata(folder.join("console.sock")).unwrap();
    assert_eq!((console.mode() & 0o777, console.uid()), (0o660, user));

    let (mut phone, mut outside) = connected(&gateway);
    let request = options("TCP", phone.local_addr().map(v4).unwrap());
    says(&mut phone, request.as_bytes());
    assert!(!hears_message(&mut outside).contains("192.168.122."));
    // Rules, a setting of the host, and a file.
    running.reload(&format!(
        "{CONFIGURATION}ip nat service sip tcp port 7000\nip nat translation icmp-timeout 77\n"
    ));
    running.wait_for("sipalg: configuration loaded again");
    assert_eq!(icmp_timeout(), "77");
    let mut console = running.console();
    for line in ["configure terminal", "hostname other", "do write memory"] {
        console.args(["-c", line]);
    }
    assert!(console.output().unwrap().status.success());
    let saved = fs::read_to_string(running.startup_config()).unwrap();
    assert!(saved.contains("hostname other"), "{saved}");
    says(&mut phone, b"\0still here");
    hears(&mut outside, b"\0still here");

    let ended = running.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    assert_eq!((rules(), icmp_timeout()), (before, patience));
}

fn who_calls_from_a_port_that_takes_privilege_is_seen_with_it() {
    let (gateway, _running) = Running::start();
    let phone = gateway.phone.listen(5070);
    let _line = registered(&gateway);
    let mut caller = gateway.outside.connect(600, global(5070)).unwrap();
    let (mut called, peer, _) = accepted(&phone);
    assert_eq!(peer, SocketAddr::from(gateway.outside.at(600)));
    says(&mut caller, b"\0low");
    hears(&mut called, b"\0low");
}

/// What `/proc` says of every thread of the keeper, of the worker and of the store.
fn threads(running: &Running) -> Vec<(String, String)> {
    let keeper = format!("/proc/{0}/task/{0}", running.pid());
    let worker = running.worker();
    let mut found = vec![("keeper".to_owned(), status(&keeper))];
    for task in fs::read_dir(format!("/proc/{worker}/task")).unwrap() {
        let task = task.unwrap().path().display().to_string();
        // The last of what each gives up; the store's thread does so at its own pace.
        let given_up = |text: &String| field(text, "NoNewPrivs") == "1";
        let text = eventually(|| Some(status(&task)).filter(given_up));
        let name = match field(&text, "Name") {
            name if name == "store" => name,
            _ => "worker".into(),
        };
        found.push((name, text));
    }
    let mut names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["keeper", "store", "worker"]);
    found
}

fn allowed(name: &str) -> &'static str {
    match name {
        "keeper" => KEEPER,
        "store" => STORE,
        _ => WORKER,
    }
}

fn status(task: &str) -> String {
    fs::read_to_string(format!("{task}/status")).unwrap()
}

fn field(status: &str, name: &str) -> String {
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(key, _)| *key == name).unwrap();
    found.1.trim().into()
}

fn icmp_timeout() -> String {
    let setting = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_icmp_timeout");
    setting.unwrap().trim().into()
}
