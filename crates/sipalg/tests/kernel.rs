//! The gateway's kernel half against the real kernel, in network namespaces of its own.
//!
//! Runs as root, or as anyone who may make user namespaces. Nothing outlives the process: the
//! namespaces exist only as long as its threads and file descriptors do.

#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

use std::process::ExitCode;

#[macro_use]
mod laws;
#[path = "kernel/access.rs"]
mod access;
#[path = "kernel/adopt.rs"]
mod adopt;
#[path = "kernel/bounds.rs"]
mod bounds;
#[path = "kernel/datagrams.rs"]
mod datagrams;
#[path = "kernel/disturbed.rs"]
mod disturbed;
#[path = "kernel/doors.rs"]
mod doors;
#[path = "kernel/faults.rs"]
mod faults;
#[path = "kernel/firewall.rs"]
mod firewall;
#[path = "kernel/gateway.rs"]
mod gateway;
#[path = "kernel/host.rs"]
mod host;
#[path = "kernel/net.rs"]
mod net;
#[path = "kernel/replan.rs"]
mod replan;
#[path = "kernel/route.rs"]
mod route;
#[path = "kernel/steering.rs"]
mod steering;
#[path = "kernel/translation.rs"]
mod translation;
#[path = "kernel/workers.rs"]
mod workers;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [host::WITHOUT_PRIVILEGE, state_dir] =
        words.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        host::try_without_privilege(state_dir.as_ref());
        return ExitCode::SUCCESS;
    }
    net::become_root();
    let laws = [
        route::LAWS,
        doors::LAWS,
        steering::LAWS,
        workers::LAWS,
        datagrams::LAWS,
        translation::LAWS,
        access::LAWS,
        bounds::LAWS,
        replan::LAWS,
        adopt::LAWS,
        disturbed::LAWS,
        faults::LAWS,
        firewall::LAWS,
        host::LAWS,
    ];
    laws::hold(&laws)
}
