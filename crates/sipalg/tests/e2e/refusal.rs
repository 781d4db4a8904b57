//! What keeps the gateway from running is told in one sentence, and is an exit status.

use crate::harness::Folder;
use crate::harness::gateway::{CONFIGURATION, Files};
use crate::harness::net::Net;
use crate::harness::process::Process;
use crate::harness::sip::Server;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

#[test]
fn a_missing_interface_is_named() {
    let wrong = CONFIGURATION.replace("interface gin\n", "interface gone\n");
    assert_refused(&mut Files::new(&wrong).run(), &["gone"]);
}

#[test]
fn a_missing_configuration_is_named() {
    let files = Files::new(CONFIGURATION);
    std::fs::remove_file(files.configuration()).expect("a file to remove");
    let said = "startup-config: No such file or directory";
    assert_ends_with(&mut files.run(), 2, &[said]);
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let net = Net::new();
    let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 15060);
    let _other = Server::listen(&net.gateway, at);
    let files = Files::new(CONFIGURATION);
    let mut refused = Process::start(&net.gateway, &mut files.run());
    assert_one_sentence(&mut refused, 1, &["127.0.0.1:15060", "--tproxy-port"]);
    let mut elsewhere = files.run();
    elsewhere.args(["--tproxy-port", "15061"]);
    Process::start(&net.gateway, &mut elsewhere).wait_for("sipalg: ready");
}

#[test]
fn nobody_is_told_what_privilege_it_takes() {
    let files = Files::new(CONFIGURATION);
    // Where anybody may run it and write.
    let folder = Folder::new();
    let program = folder.path("sipalg");
    std::fs::copy(env!("CARGO_BIN_EXE_sipalg"), &program).expect("a copy of the program");
    let anybody = std::fs::Permissions::from_mode(0o777);
    for path in [folder.itself(), files.folder()] {
        std::fs::set_permissions(path, anybody.clone()).expect("to open a folder");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    command.arg(&program).args(files.run().get_args());
    assert_refused(&mut command, &["root", "CAP_NET_ADMIN"]);
}

fn assert_refused(command: &mut Command, words: &[&str]) {
    assert_ends_with(command, 1, words);
}

fn assert_ends_with(command: &mut Command, status: i32, words: &[&str]) {
    let net = Net::new();
    let mut refused = Process::start(&net.gateway, command);
    assert_one_sentence(&mut refused, status, words);
}

/// It ends with this status, after one line that has all these words.
fn assert_one_sentence(refused: &mut Process, status: i32, words: &[&str]) {
    let ended = refused.wait();
    let said = refused.said();
    assert_eq!(ended.code(), Some(status), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("sipalg: "), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
}
