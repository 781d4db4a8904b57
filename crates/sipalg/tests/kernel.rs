//! The gateway's kernel half against the real kernel, in network namespaces of its own.
//!
//! Runs as root, or as anyone who may make user namespaces. Nothing outlives the process: the
//! namespaces exist only as long as its threads and file descriptors do.

#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

use std::panic::catch_unwind;
use std::process::ExitCode;

/// Name of the law, and the function that holds it up to the kernel.
type Law = (&'static str, fn());

/// The named functions as laws. One that is left out is dead code, which the compiler reports.
macro_rules! laws {
    ($($name:ident),* $(,)?) => {
        pub(crate) const LAWS: &[$crate::Law] = &[$((stringify!($name), $name)),*];
    };
}

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

/// Runs the laws whose name contains one of the words on the command line, or all.
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [host::WITHOUT_PRIVILEGE, state_dir] =
        words.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        host::try_without_privilege(state_dir.as_ref());
        return ExitCode::SUCCESS;
    }
    let list = words.iter().any(|word| word == "--list");
    let words: Vec<String> = words
        .into_iter()
        .filter(|word| !word.starts_with('-'))
        .collect();
    net::become_root();
    let mut failed = Vec::new();
    let mut held = 0;
    let all = [
        route::LAWS,
        doors::LAWS,
        steering::LAWS,
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
    ]
    .concat();
    for (name, law) in all {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        if list {
            println!("{name}: test");
            continue;
        }
        // A thread each: the namespace that it enters ends with it.
        let verdict = std::thread::spawn(move || catch_unwind(law)).join();
        if matches!(verdict, Ok(Ok(()))) {
            println!("law {name} ... ok");
            held += 1;
        } else {
            println!("law {name} ... FAILED");
            failed.push(name);
        }
    }
    println!("\n{held} laws held, {} failed {failed:?}", failed.len());
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
