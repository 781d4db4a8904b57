//! `sipalg lab` as a newcomer runs it.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// An unprivileged user, "nobody" on Debian.
const NOBODY: u32 = 65534;

#[test]
fn the_lab_passes_as_a_plain_user() {
    passes(&run(plain_user(&program()).arg("lab"), ""));
}

#[test]
fn the_lab_passes_as_the_user_who_is_there() {
    passes(&run(Command::new(program()).arg("lab"), ""));
}

#[test]
fn the_lab_fails_when_the_fixup_is_off() {
    let output = run(plain_user(&program()).args(["lab", "--no-fixup"]), "");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("FAILED  outward, inside addresses become global ones"),
        "{text}"
    );
    assert!(
        text.contains("FAILED  the outside never saw an inside address"),
        "{text}"
    );
}

#[test]
fn the_lab_prints_every_message_when_it_is_verbose() {
    let brief = run(Command::new(program()).arg("lab"), "");
    let verbose = run(Command::new(program()).args(["lab", "--verbose"]), "");
    passes(&verbose);
    let line = "Call-ID: registration-1@phone";
    assert!(!text(&brief).contains(line), "{}", text(&brief));
    assert_eq!(
        text(&verbose).matches(line).count(),
        4,
        "{}",
        text(&verbose)
    );
}

#[test]
fn the_shell_reaches_each_host() {
    let commands = "\
        grep -q 192.168.122.3 /proc/net/fib_trie && echo this is the phone\n\
        outside grep -q 10.1.1.2 /proc/net/fib_trie && echo outside reached\n\
        gateway grep -q 10.1.1.1 /proc/net/fib_trie && echo gateway reached\n\
        phone grep -q 192.168.122.3 /proc/net/fib_trie && echo phone reached\n\
        console -c 'show ip nat translations'\n\
        exit 0\n";
    let mut command = plain_user(&program());
    let output = run(
        command.args(["lab", "--shell"]).env("SHELL", "/bin/sh"),
        commands,
    );
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    for expected in [
        "this is the phone",
        "outside reached",
        "gateway reached",
        "phone reached",
        "Pro Inside global",
        "nsenter --target",
    ] {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
}

#[test]
fn where_namespaces_are_forbidden_the_lab_says_how_to_allow_them() {
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces &&
                  echo 0 > /proc/sys/user/max_net_namespaces && exec \"$0\" lab";
    let mut command = plain_user(Path::new("unshare"));
    command.args(["--user", "--map-root-user", "sh", "-c", forbid]);
    // Across several programs the descriptor is passed as standard input.
    let program = File::open(env!("CARGO_BIN_EXE_sipalg")).expect("the program was built");
    let output = command.arg("/proc/self/fd/0").stdin(program).output();
    let output = output.expect("unshare is there, as part of util-linux");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("sudo sysctl -w user.max_user_namespaces=15000"),
        "{text}"
    );
    assert!(text.contains("sudo sipalg lab"), "{text}");
}

fn passes(output: &Output) {
    let text = text(output);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("checks held") && !text.contains("FAILED"),
        "{text}"
    );
    assert!(
        !text.contains('\x1b'),
        "colours, but not on a terminal:\n{text}"
    );
}

/// Runs a command to its end with this input; the lab must leave none of its files.
fn run(command: &mut Command, input: &str) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let folder = std::env::temp_dir().join(format!("sipalg-lab-{}", child.id()));
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(input.as_bytes())
        .expect("the program reads");
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    assert!(!folder.exists(), "{} was left", folder.display());
    output
}

fn text(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{stdout}{stderr}")
}

/// Runs a program without privileges, also where the tests run as root.
fn plain_user(program: &Path) -> Command {
    let mut command = Command::new(program);
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir("/");
    command
}

/// The program, by a descriptor, so that a plain user can run it wherever it was built.
fn program() -> PathBuf {
    static PROGRAM: OnceLock<File> = OnceLock::new();
    let file = PROGRAM
        .get_or_init(|| File::open(env!("CARGO_BIN_EXE_sipalg")).expect("the program was built"));
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}
