//! The speed of the gateway beside that of others, and the load generator it is measured with.

mod bench;
mod goals;
mod load;
mod loads;
mod measure;
mod meter;
mod net;
mod peers;
mod process;
mod report;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The speed of the gateway beside that of others
#[derive(Parser, Debug)]
#[command(name = "sipalg-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Measure, and compare with others
    Bench(bench::Bench),
    /// The load generator alone
    #[command(subcommand)]
    Load(Load),
}

#[derive(Subcommand, Debug)]
enum Load {
    /// The outside: answers, and checks what arrives
    Server(load::server::Server),
    /// The inside: makes the load
    Client(load::client::Client),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Bench(bench) => bench.run(),
        Command::Load(Load::Server(server)) => load::server::run(&server).map(|()| true),
        Command::Load(Load::Client(client)) => client.run().map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sipalg-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
