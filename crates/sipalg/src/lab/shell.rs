//! `sipalg lab --shell`: the network stays up while the user tries phones of his own on it.

use super::endpoint::about;
use super::gateway::Gateway;
use super::net::{Host, Network, TOPOLOGY};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Tells how to reach each host, then runs the user's shell in the phone host until it exits, and
/// returns its status.
///
/// # Errors
/// The shell cannot be started.
pub fn run(network: &Network, gateway: &Gateway) -> io::Result<ExitCode> {
    let tools = gateway.folder().join("bin");
    make_tools(&tools, network, gateway)?;
    print!("{}", introduction(&tools, network));
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
    let path = match std::env::var("PATH") {
        Ok(path) => format!("{}:{path}", tools.display()),
        Err(_) => tools.display().to_string(),
    };
    let mut command = Command::new(&shell);
    command.env("PATH", path);
    let mut child = network
        .phone
        .run(move || command.spawn())
        .map_err(|error| about(error, &format!("starting {shell}")))?;
    // As a shell does: its own status, or 128 and the signal that ended it.
    let status = child.wait()?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(code
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

fn introduction(tools: &Path, network: &Network) -> String {
    let mut text =
        format!("\n{TOPOLOGY}\nThis shell runs on the phone. It knows these commands:\n");
    for (command, meaning) in [
        (
            "outside CMD",
            "runs CMD on the outside host; without CMD a shell (also: gateway, phone)",
        ),
        (
            "console",
            "the gateway's console: show ip nat translations, debug ip nat sip",
        ),
    ] {
        text.push_str(&format!("    {command:<14}{meaning}\n"));
    }
    text.push_str("From another terminal:\n");
    for host in network.hosts() {
        let enter = enter(host, network.unprivileged);
        text.push_str(&format!("    {:<14}{enter}\n", host.name));
    }
    let console = tools.join("console");
    text.push_str(&format!("    {:<14}{}\n", "console", console.display()));
    text.push_str(
        "Start a SIP server on the outside host (10.1.1.2) and a phone here: SIP is looked into on\n\
         TCP 5060 and 8000. The network ends with this shell.\n\n",
    );
    text
}

/// The command that enters a host from outside of the lab.
fn enter(host: &Host, unprivileged: bool) -> String {
    // Only the root of the user namespace may enter its networks; who made it is its root there.
    let user = if unprivileged {
        "--user --preserve-credentials "
    } else {
        ""
    };
    format!("nsenter --target {} {user}--net", host.tid)
}

/// Commands for the shell: one by the name of each host, and `console`.
fn make_tools(tools: &Path, network: &Network, gateway: &Gateway) -> io::Result<()> {
    fs::create_dir(tools)?;
    for host in network.hosts() {
        let outside = enter(host, network.unprivileged);
        let inside = enter(host, false);
        let target = format!("/proc/{}/ns/user", host.tid);
        // nsenter refuses to enter the user namespace that it is in.
        write_tool(
            &tools.join(host.name),
            &format!(
                "[ $# -gt 0 ] || set -- \"${{SHELL:-/bin/sh}}\"\n\
                 if [ \"$(readlink /proc/self/ns/user)\" = \"$(readlink {target})\" ]\n\
                 then exec {inside} -- \"$@\"\n\
                 else exec {outside} -- \"$@\"\n\
                 fi\n"
            ),
        )?;
    }
    write_tool(
        &tools.join("console"),
        &format!(
            "exec /proc/{}/exe console --socket '{}' \"$@\"\n",
            std::process::id(),
            gateway.socket().display()
        ),
    )
}

fn write_tool(path: &Path, script: &str) -> io::Result<()> {
    fs::write(path, format!("#!/bin/sh\n{script}"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}
