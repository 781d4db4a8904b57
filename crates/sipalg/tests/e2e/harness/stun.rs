//! coturn's server and client: what a NAT does, as RFC 5780 finds it out.

use super::Folder;
use super::net::Host;
use super::process::Process;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio};

/// A STUN server at two addresses, and at two ports of each.
#[derive(Debug)]
pub struct Stun {
    at: SocketAddrV4,
    _process: Process,
    _folder: Folder,
}

/// What a client finds out about the NAT between them.
#[derive(Clone, Copy, Debug)]
pub enum Question {
    /// Whether one inside address and port appears as the same to all (RFC 5780 section 4.3).
    Mapping,
    /// Who reaches it there (section 4.4).
    Filtering,
}

impl Stun {
    /// Starts it on a host with both addresses, and waits until it hears.
    pub fn start(host: &Host, at: SocketAddrV4, other: Ipv4Addr) -> Self {
        let folder = Folder::new();
        let mut command = Command::new("turnserver");
        command.args(["-n", "--stun-only", "--no-tls", "--no-dtls", "--no-cli"]);
        command.args(["--log-file", "stdout", "-p", &at.port().to_string()]);
        command.args(["--alt-listening-port", &(at.port() + 1).to_string()]);
        command.args(["-L", &at.ip().to_string(), "-L", &other.to_string()]);
        command.arg("--pidfile").arg(folder.path("pid"));
        command.arg("--db").arg(folder.path("turndb"));
        let process = Process::start(host, &mut command);
        host.wait_for_udp(at.port() + 1);
        Stun {
            at,
            _process: process,
            _folder: folder,
        }
    }

    /// What the client says when it asks from an address and port of its host, and what address it
    /// is told that it has.
    pub fn ask(
        &self,
        host: &Host,
        from: SocketAddrV4,
        question: Question,
    ) -> (String, SocketAddrV4) {
        let mode = match question {
            Question::Mapping => "-m",
            Question::Filtering => "-f",
        };
        let mut command = Command::new("turnutils_natdiscovery");
        command.args([mode, "-p", &self.at.port().to_string()]);
        command.args(["-L", &from.ip().to_string(), "-l", &from.port().to_string()]);
        command.arg(self.at.ip().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let output = host.spawn(&mut command).wait_with_output();
        let said = String::from_utf8(output.expect("its end").stdout).expect("text");
        let told = said.split("UDP reflexive addr: ").nth(1);
        let told = told.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let told = told.unwrap_or_else(|| panic!("it is told no address: {said}"));
        (said, told)
    }
}
