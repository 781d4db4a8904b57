//! The running program between real hosts: what a connection through it sees, and what it says when
//! it cannot run.
//!
//! Runs as root, or as anyone who may make user namespaces. Nothing outlives the process: the
//! namespaces exist only as long as its threads and file descriptors do.

#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

use std::process::ExitCode;

#[macro_use]
mod laws;
#[path = "proxy/change.rs"]
mod change;
#[path = "proxy/check.rs"]
mod check;
#[path = "proxy/console.rs"]
mod console;
#[path = "proxy/debug.rs"]
mod debug;
#[path = "kernel/gateway.rs"]
#[allow(dead_code)] // the kernel's laws use the rest of it
mod gateway;
#[path = "kernel/net.rs"]
#[allow(dead_code)]
mod net;
#[path = "proxy/pool.rs"]
mod pool;
#[path = "proxy/privileges.rs"]
mod privileges;
#[path = "proxy/running.rs"]
mod running;
#[path = "proxy/screen.rs"]
mod screen;
#[path = "proxy/show.rs"]
mod show;
#[path = "proxy/start.rs"]
mod start;
#[path = "proxy/tcp.rs"]
mod tcp;
#[path = "proxy/terminal.rs"]
mod terminal;
#[path = "proxy/trouble.rs"]
mod trouble;
#[path = "proxy/udp.rs"]
mod udp;

fn main() -> ExitCode {
    net::become_root();
    running::allow_many_descriptors();
    let laws = [
        tcp::LAWS,
        udp::LAWS,
        change::LAWS,
        pool::LAWS,
        trouble::LAWS,
        console::LAWS,
        debug::LAWS,
        terminal::LAWS,
        start::LAWS,
        show::LAWS,
        check::LAWS,
        privileges::LAWS,
    ];
    laws::hold(&laws)
}
