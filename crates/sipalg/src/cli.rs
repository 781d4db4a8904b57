//! The command line.

use crate::offline::configuration::{self, Global, Prefix};
use crate::{check, client, daemon, kernel, lab, log, offline, pages};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where the console's socket is unless told otherwise.
const SOCKET: &str = "/run/sipalg/console.sock";

/// Where the host's original settings are kept unless told otherwise.
const STATE_DIR: &str = "/var/lib/sipalg";

/// Where intercepted connections arrive unless told otherwise.
const TPROXY_PORT: u16 = 15060;

/// A NAT SIP application-layer gateway, configured and watched like IOS.
#[derive(Parser, Debug)]
#[command(name = "sipalg", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT
    Run(Run),
    /// Ask a running gateway, or watch it
    Console(Console),
    /// Play calls through the gateway on an embedded network, and judge them
    Lab(Lab),
    /// Show what the gateway would make of a capture
    Pcap(Pcap),
    /// Say what is wrong with a configuration, and what in this machine stops it from working
    Check(Check),
    /// Put the host's settings back after a crash
    Clean(Clean),
    /// Print a shell's completions of this program's command line
    Completions(Completions),
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// Where to
        folder: PathBuf,
    },
    /// What `check` does in a network namespace of its own
    #[command(hide = true)]
    Probe {
        /// The configuration
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
struct Run {
    /// The startup configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The console's Unix socket
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
    /// A group whose members may use the console, too
    #[arg(long, value_name = "GROUP")]
    socket_group: Option<String>,
    /// Where the host's original settings are kept
    #[arg(long, value_name = "PATH", default_value = STATE_DIR)]
    state_dir: PathBuf,
    /// The port at 127.0.0.1 that intercepted connections and datagrams arrive at
    #[arg(long, value_name = "PORT", default_value_t = TPROXY_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    tproxy_port: u16,
    /// What stderr gets: the gateway's own lines as text, or JSON lines of all that it sees, too
    #[arg(long, value_name = "FORM", default_value = "text")]
    log: Log,
    /// Take over from the gateway that runs, with every connection; if that fails, it goes on
    #[arg(long, conflicts_with = "no_keeper")]
    takeover: bool,
    /// Pass every byte unchanged
    #[arg(long, hide = true)]
    no_fixup: bool,
    /// One process, whose crash loses all connections
    #[arg(long, hide = true)]
    no_keeper: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Log {
    Text,
    Json,
}

#[derive(Args, Debug)]
struct Console {
    /// The running gateway's Unix socket
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
    /// A command instead of those on stdin; several are asked in order
    #[arg(short, long = "command", value_name = "CMD")]
    commands: Vec<String>,
}

#[derive(Args, Debug)]
struct Lab {
    /// Leave the network up and give a shell in each host
    #[arg(long)]
    shell: bool,
    /// Let the gateway pass every byte unchanged; the calls must then fail
    #[arg(long)]
    no_fixup: bool,
    /// Show every message
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Args, Debug)]
struct Pcap {
    /// The capture to read: pcap or pcapng
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The capture to write, as the other side would see it: pcapng
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// A startup configuration that says who is translated
    #[arg(long, value_name = "FILE", conflicts_with = "inside")]
    config: Option<PathBuf>,
    /// Who is inside, without a configuration; may be given several times
    #[arg(long, value_name = "PREFIX", required_unless_present = "config")]
    inside: Vec<Prefix>,
    /// The address that inside hosts get; INTERFACE=ADDRESS says it for one interface of the
    /// configuration
    #[arg(long = "global", value_name = "ADDRESS")]
    globals: Vec<Global>,
    /// A TCP and UDP port on which SIP is looked into, instead of 5060 or besides those of the
    /// configuration; may be given several times
    #[arg(long = "sip-port", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    sip_ports: Vec<u16>,
    /// Show every message as a whole
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Args, Debug)]
struct Check {
    /// The configuration to check
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The port at 127.0.0.1 that the gateway would be started with
    #[arg(long, value_name = "PORT", default_value_t = TPROXY_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    tproxy_port: u16,
}

#[derive(Args, Debug)]
struct Completions {
    /// Whose
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Args, Debug)]
struct Clean {
    /// Where the host's original settings are kept
    #[arg(long, value_name = "PATH", default_value = STATE_DIR)]
    state_dir: PathBuf,
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(run) => daemon::run(&daemon::Options {
            config: run.config,
            socket: run.socket,
            socket_group: run.socket_group,
            state_dir: run.state_dir,
            tproxy_port: run.tproxy_port,
            fixup: !run.no_fixup,
            json: run.log == Log::Json,
            takeover: run.takeover,
            keeper: !run.no_keeper,
        }),
        Command::Console(console) => client::run(&console.socket, &console.commands),
        Command::Lab(options) => lab::run(&lab::Options {
            shell: options.shell,
            no_fixup: options.no_fixup,
            verbose: options.verbose,
        }),
        Command::Pcap(pcap) => offline::run(&offline::Options {
            input: pcap.input,
            output: pcap.output,
            configuration: configuration::Asked {
                file: pcap.config,
                inside: pcap.inside,
                globals: pcap.globals,
            },
            sip_ports: pcap.sip_ports.into_iter().collect(),
            verbose: pcap.verbose,
        }),
        Command::Check(check) => check::run(&check::Options {
            file: check.file,
            tproxy_port: check.tproxy_port,
        }),
        Command::Probe { file } => check::probe::run(&file),
        Command::Completions(completions) => {
            let mut script = Vec::new();
            let mut command = Cli::command();
            clap_complete::generate(completions.shell, &mut command, "sipalg", &mut script);
            // Who has stopped reading wants no more.
            let _ = std::io::stdout().write_all(&script);
            ExitCode::SUCCESS
        }
        Command::Man { folder } => done(pages::write(Cli::command(), &folder)),
        Command::Clean(clean) => done(kernel::clean(&clean.state_dir)),
    }
}

fn done<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::line(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_is_shown_has_a_page() {
        let folder = std::env::temp_dir().join(format!("sipalg-pages-{}", std::process::id()));
        pages::write(Cli::command(), &folder).unwrap();
        let page = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(page("sipalg.8").contains("sipalg\\-console(8)"));
        assert!(page("sipalg-run.8").contains("\\-\\-state\\-dir"));
        assert!(page("sipalg.conf.5").contains("ip nat inside source"));
        let pages = std::fs::read_dir(&folder).unwrap().count();
        let shown = |command: &&clap::Command| !command.is_hide_set();
        let commands = Cli::command().get_subcommands().filter(shown).count();
        assert_eq!(pages, commands + 2);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
