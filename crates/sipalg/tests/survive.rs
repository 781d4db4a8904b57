//! The gateway dies and goes on: what hosts see of it, which is nothing.
//!
//! Runs as root, or as anyone who may make user namespaces. Nothing outlives the process: the
//! namespaces exist only as long as its threads and file descriptors do.

#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

use std::panic::catch_unwind;
use std::process::ExitCode;

/// Name of the law, and the function that holds it up to the program.
type Law = (&'static str, fn());

/// The named functions as laws. One that is left out is dead code, which the compiler reports.
macro_rules! laws {
    ($($name:ident),* $(,)?) => {
        pub(crate) const LAWS: &[$crate::Law] = &[$((stringify!($name), $name)),*];
    };
}

#[path = "survive/connections.rs"]
mod connections;
#[path = "kernel/gateway.rs"]
#[allow(dead_code)] // the kernel's laws use the rest of it
mod gateway;
#[path = "survive/hang.rs"]
mod hang;
#[path = "survive/load.rs"]
mod load;
#[path = "kernel/net.rs"]
#[allow(dead_code)]
mod net;
#[path = "proxy/running.rs"]
#[allow(dead_code)]
mod running;
#[path = "survive/scene.rs"]
mod scene;
#[path = "survive/state.rs"]
mod state;
#[path = "survive/steps.rs"]
mod steps;
#[path = "survive/takeover.rs"]
mod takeover;

/// Runs the laws whose name contains one of the words on the command line, or all.
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let list = words.iter().any(|word| word == "--list");
    let words: Vec<String> = words
        .into_iter()
        .filter(|word| !word.starts_with('-'))
        .collect();
    net::become_root();
    running::allow_many_descriptors();
    let mut failed = Vec::new();
    let mut held = 0;
    let laws = [
        connections::LAWS,
        steps::LAWS,
        state::LAWS,
        hang::LAWS,
        load::LAWS,
        takeover::LAWS,
    ];
    for &(name, law) in laws.concat().iter() {
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
