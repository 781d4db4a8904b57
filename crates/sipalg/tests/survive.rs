//! The gateway dies and goes on: what hosts see of it, which is nothing.
//!
//! Runs as root, or as anyone who may make user namespaces. Nothing outlives the process: the
//! namespaces exist only as long as its threads and file descriptors do.

#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

use std::process::ExitCode;

#[macro_use]
mod laws;
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

fn main() -> ExitCode {
    net::become_root();
    running::allow_many_descriptors();
    let laws = [
        connections::LAWS,
        steps::LAWS,
        state::LAWS,
        hang::LAWS,
        load::LAWS,
        takeover::LAWS,
    ];
    laws::hold(&laws)
}
