//! The bench: rounds of each load through each peer, judged by the ratios of a round.

use crate::goals;
use crate::loads::{FULL, LOADS, Load, QUICK, SMOKE, Size};
use crate::measure::{Figures, measure};
use crate::meter;
use crate::peers::Peer;
use crate::report;
use clap::Args;
use serde::Serialize;
use std::io;
use std::path::PathBuf;
use std::process::Command;

/// The command line of the bench.
#[derive(Args, Debug)]
pub struct Bench {
    /// Only these loads: L1, L10, L2, L2r, L3, L4, L5, L6, L9
    #[arg(long, value_name = "LOADS", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these peers
    #[arg(long, value_name = "PEERS", value_delimiter = ',')]
    peers: Vec<Peer>,
    /// How many rounds
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// Everything small, to see that it works
    #[arg(long)]
    quick: bool,
    /// Smaller still
    #[arg(long, conflicts_with = "quick")]
    smoke: bool,
    /// So many networks beside each other, each with a gateway of its own and its part of the
    /// connections, at once: what gateways cost that share nothing but the machine. Only for loads
    /// that one client makes
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    beside: u8,
    /// The gateway's program; built first unless told
    #[arg(long, value_name = "FILE")]
    sipalg: Option<PathBuf>,
    /// Where the figures go: bench.json and bench.svg
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    out: PathBuf,
    /// Write them into the documents, too: docs/bench.svg and docs/results.md
    #[arg(long)]
    publish: bool,
}

/// One load through one peer in one round.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// The load's name.
    pub load: &'static str,
    /// The peer's.
    pub peer: &'static str,
    /// Which round, from 0.
    pub round: usize,
    /// What was measured.
    #[serde(flatten)]
    pub figures: Figures,
}

/// All that was measured, and where.
#[derive(Debug, Serialize)]
pub struct Results {
    /// Processor, count of them, kernel.
    pub machine: String,
    /// The commit of the gateway.
    pub commit: String,
    /// How large the loads were: full, quick or smoke.
    pub size: &'static str,
    /// How many rounds.
    pub rounds: usize,
    /// Peers that could not be had, and why.
    pub missing: Vec<(&'static str, String)>,
    /// Each run, in the order in which they were made.
    pub runs: Vec<Run>,
}

impl Bench {
    /// Measures, and reports. True if no run of the gateway is void.
    ///
    /// # Errors
    /// It cannot even begin, or the report cannot be written.
    pub fn run(&self) -> io::Result<bool> {
        let (size, name, rounds) = if self.smoke {
            (SMOKE, "smoke", 1)
        } else if self.quick {
            (QUICK, "quick", 1)
        } else {
            (FULL, "full", 5)
        };
        let rounds = self.rounds.unwrap_or(rounds);
        crate::load::allow_files();
        let loads = self.loads()?;
        let sipalg = self.program()?;
        let mut results = Results {
            machine: machine(),
            commit: match &self.sipalg {
                // Nobody knows what it was built from.
                Some(_) => "unknown".to_owned(),
                None => said("git", &["describe", "--always", "--dirty"]),
            },
            size: name,
            rounds,
            missing: Vec::new(),
            runs: Vec::new(),
        };
        let peers = self.available(&mut results);
        self.measure(&loads, &peers, &size, &sipalg, &mut results);
        let goals = goals::judge(&results);
        print!("{}", report::table::text(&results, &goals));
        report::write(&results, &goals, &self.out, self.publish)?;
        let void = |run: &&Run| run.peer == Peer::Sipalg.name() && run.figures.void.is_some();
        Ok(results.runs.iter().find(void).is_none())
    }

    fn measure(
        &self,
        loads: &[&'static Load],
        peers: &[Peer],
        size: &Size,
        sipalg: &std::path::Path,
        results: &mut Results,
    ) {
        let interrupts = meter::counts_interrupts();
        for load in loads {
            let mut peers: Vec<_> = peers
                .iter()
                .filter(|peer| load.peers.contains(peer))
                .collect();
            for round in 0..results.rounds {
                for &&peer in &peers {
                    let figures = measure(load, peer, size, sipalg, interrupts, self.beside);
                    progress(load, peer, round, &figures);
                    let (load, peer) = (load.name, peer.name());
                    results.runs.push(Run {
                        load,
                        peer,
                        round,
                        figures,
                    });
                }
                // Nobody is always the first.
                if !peers.is_empty() {
                    peers.rotate_left(1);
                }
            }
        }
    }

    fn loads(&self) -> io::Result<Vec<&'static Load>> {
        let known = |name: &&String| {
            LOADS
                .iter()
                .any(|load| load.name.eq_ignore_ascii_case(name))
        };
        if let Some(unknown) = self.only.iter().find(|name| !known(name)) {
            let names: Vec<_> = LOADS.iter().map(|load| load.name).collect();
            let names = names.join(", ");
            return Err(io::Error::other(format!(
                "no load {unknown}; there are {names}"
            )));
        }
        let wanted = |load: &&Load| {
            self.only.is_empty()
                || self
                    .only
                    .iter()
                    .any(|name| load.name.eq_ignore_ascii_case(name))
        };
        Ok(LOADS.iter().filter(wanted).collect())
    }

    fn available(&self, results: &mut Results) -> Vec<Peer> {
        use clap::ValueEnum;
        let mut there = Vec::new();
        for &peer in Peer::value_variants() {
            if !self.peers.is_empty() && !self.peers.contains(&peer) {
                continue;
            }
            match peer.available() {
                Ok(()) => there.push(peer),
                Err(why) => {
                    eprintln!("without {}: {why}", peer.title());
                    results.missing.push((peer.name(), why));
                }
            }
        }
        there
    }

    /// The gateway's program: the one that was named, or the one that is built from here.
    fn program(&self) -> io::Result<PathBuf> {
        if let Some(program) = &self.sipalg {
            return program.canonicalize();
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release", "--quiet", "--package", "sipalg"])
            .status()?;
        let program = std::env::current_exe()?.with_file_name("sipalg");
        if built.success() && program.exists() {
            return Ok(program);
        }
        Err(io::Error::other(
            "the gateway cannot be built; --sipalg names one that is there",
        ))
    }
}

fn progress(load: &Load, peer: Peer, round: usize, figures: &Figures) {
    let (load, unit) = (load.name, load.unit);
    let (peer, round) = (peer.name(), round + 1);
    match &figures.void {
        Some(why) => eprintln!("{load} round {round} {peer}: void: {why}"),
        None => eprintln!(
            "{load} round {round} {peer}: {:.2} us a {unit}, {:.0}/s (others: {:.1} processors)",
            figures.cpu, figures.rate, figures.other_cores
        ),
    }
}

/// What the machine is.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model
        .and_then(|rest| rest.split(": ").nth(1))
        .unwrap_or("an unknown processor");
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What follows the version names who built it.
    let version = kernel.split('-').next().unwrap_or_default().trim();
    format!("{count} x {model}, Linux {version}")
}

/// What a program says, or nothing.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
