//! Kamailio, the registrar and proxy outside.

use super::Folder;
use super::net::Host;
use super::process::Process;
use std::net::Ipv4Addr;
use std::process::Command;

/// A running registrar and proxy.
#[derive(Debug)]
pub struct Kamailio {
    _process: Process,
    _folder: Folder,
}

impl Kamailio {
    /// Starts it at port 5060 of a host, TCP and UDP, and waits until it listens.
    pub fn start(host: &Host, address: Ipv4Addr) -> Self {
        let folder = Folder::new();
        let text = include_str!("kamailio.cfg").replace("ADDRESS", &address.to_string());
        let mut command = Command::new("kamailio");
        // In the foreground, its files in the folder, with little memory.
        command.args(["-DD", "-E", "-m", "32", "-M", "4", "-f"]);
        command.arg(folder.write("kamailio.cfg", text));
        command.arg("-P").arg(folder.path("pid"));
        command.arg("-Y").arg(folder.itself());
        let process = Process::start(host, &mut command);
        host.wait_for_listener(5060);
        host.wait_for_udp(5060);
        Kamailio {
            _process: process,
            _folder: folder,
        }
    }
}
