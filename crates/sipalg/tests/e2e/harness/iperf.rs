//! iperf3: ordinary TCP and UDP traffic, and what became of it.

use super::Folder;
use super::net::Host;
use super::process::Process;
use std::net::SocketAddrV4;
use std::process::Command;

/// A server that takes one test after the other.
#[derive(Debug)]
pub struct Iperf {
    at: SocketAddrV4,
    _process: Process,
    _folder: Folder,
}

impl Iperf {
    /// Starts it and waits until it listens.
    pub fn serve(host: &Host, at: SocketAddrV4) -> Self {
        let folder = Folder::new();
        let mut command = Command::new("iperf3");
        command.args([
            "-s",
            "-B",
            &at.ip().to_string(),
            "-p",
            &at.port().to_string(),
        ]);
        // It makes files where it stands.
        command.current_dir(folder.itself());
        let process = Process::start(host, &mut command);
        host.wait_for_listener_at(at);
        Iperf {
            at,
            _process: process,
            _folder: folder,
        }
    }

    /// Starts a client on another host, for some seconds: `more` says with what.
    pub fn use_by(&self, host: &Host, seconds: u32, more: &[&str]) -> Process {
        let mut command = Command::new("iperf3");
        command.args([
            "-c",
            &self.at.ip().to_string(),
            "-p",
            &self.at.port().to_string(),
        ]);
        command.args(["-J", "-t", &seconds.to_string()]);
        command.args(more);
        Process::start(host, &mut command)
    }
}

/// The last number of that name in what a client says at its end.
///
/// # Panics
/// It failed, or did not say it.
pub fn said_at_the_end(client: &mut Process, name: &str) -> f64 {
    let status = client.wait();
    let said = client.said();
    assert!(status.success(), "{status}: {said}");
    let value = said
        .rsplit(&format!("\"{name}\":"))
        .next()
        .unwrap_or_default();
    let end = value.find([',', '}', '\n']).unwrap_or(value.len());
    value[..end]
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("no {name} in {said}"))
}
