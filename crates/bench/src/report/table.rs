//! Tables of ratios, for the terminal and the documents.

use crate::bench::{Results, Run};
use crate::goals::{Judged, middle, ratio};
use crate::loads::{LOADS, Load};
use crate::peers::Peer;
use clap::ValueEnum;
use std::fmt::Write as _;

/// A row: a peer under a load, the medians of all rounds.
pub struct Row {
    /// Who.
    pub peer: Peer,
    /// Processor time of the whole path for a unit, microseconds, and that of the gateway's
    /// programs alone.
    pub cpu: Option<(f64, f64)>,
    /// Units a second.
    pub rate: Option<f64>,
    /// The processor time as a multiple of plain NAT's in the same round.
    pub nat: Option<f64>,
    /// And of HAProxy's.
    pub haproxy: Option<f64>,
    /// What only this load has.
    pub more: String,
    /// Why there is no figure.
    pub void: Option<String>,
}

/// The rows of a load; none if it was not measured.
pub fn rows(results: &Results, load: &Load) -> Vec<Row> {
    let ran = |peer: &&Peer| {
        results
            .runs
            .iter()
            .any(|run| run.load == load.name && run.peer == peer.name())
    };
    Peer::value_variants()
        .iter()
        .filter(ran)
        .map(|&peer| row(results, load, peer))
        .collect()
}

fn row(results: &Results, load: &Load, peer: Peer) -> Row {
    let own = peer.name();
    let of = |figure: fn(&Run) -> f64| middle(results, load.name, own, |run| Some(figure(run)));
    let beside = |other: Peer| {
        ratio(results, load.name, [own, other.name()], |run| {
            Some(run.figures.cpu)
        })
    };
    let more = MORE.iter().filter_map(|(name, title)| {
        let value = middle(results, load.name, own, |run| {
            run.figures.more.get(name).copied()
        })?;
        Some(format!("{title} {}", short(value)))
    });
    let mine = |run: &&Run| run.load == load.name && run.peer == own;
    let notes = results
        .runs
        .iter()
        .filter(mine)
        .find_map(|run| run.figures.note.clone());
    let voids: Vec<_> = results
        .runs
        .iter()
        .filter(mine)
        .filter_map(|run| run.figures.void.as_ref())
        .collect();
    Row {
        peer,
        cpu: of(|run| run.figures.cpu).zip(of(|run| run.figures.gateway)),
        rate: of(|run| run.figures.rate),
        nat: beside(Peer::Nat),
        haproxy: beside(Peer::Haproxy),
        more: more.chain(notes).collect::<Vec<_>>().join(", "),
        void: voids.first().map(|why| {
            format!(
                "void in {} of {} rounds: {why}",
                voids.len(),
                results.rounds
            )
        }),
    }
}

/// How what only one load has is called.
const MORE: &[(&str, &str)] = &[
    ("p50", "p50 us"),
    ("p99", "p99 us"),
    ("bytes", "bytes"),
    ("bare_bytes", "without a registration"),
    ("kernel_bytes", "kernel bytes"),
    ("most", "most/s"),
    ("ports", "ports"),
    ("growth", "x empty"),
];

/// Everything for a terminal.
pub fn text(results: &Results, goals: &[Judged]) -> String {
    let mut text = String::new();
    // Writing to memory does not fail.
    _ = writeln!(
        text,
        "\n{}, commit {}, {} size, {} rounds; medians; CPU is that of client, server, gateway and \
         kernel threads.",
        results.machine, results.commit, results.size, results.rounds
    );
    for load in LOADS {
        let rows = rows(results, load);
        if rows.is_empty() {
            continue;
        }
        _ = writeln!(
            text,
            "\n{}: {}\n  {:<22}{:>14}{:>11}{:>11}{:>8}{:>10}",
            load.name, load.title, "", "us a unit", "own us", "a second", "x NAT", "x HAProxy"
        );
        for row in rows {
            _ = writeln!(
                text,
                "  {:<22}{:>14}{:>11}{:>11}{:>8}{:>10}  {}{}",
                row.peer.title(),
                shown(row.cpu.map(|cpu| cpu.0)),
                shown(row.cpu.map(|cpu| cpu.1)),
                shown(row.rate),
                shown(row.nat),
                shown(row.haproxy),
                row.more,
                row.void.unwrap_or_default()
            );
        }
    }
    _ = writeln!(text, "\nGoals");
    for goal in goals {
        _ = writeln!(
            text,
            "  {:<4}{:<4} {:<42}{:>9}{:>10}  {}",
            goal.name,
            goal.load,
            goal.text,
            goal.bound,
            shown(goal.reached),
            goal.word()
        );
    }
    _ = writeln!(
        text,
        "\nOthers kept {} busy meanwhile (median; most).",
        others(results)
    );
    text
}

/// How busy the machine was otherwise.
pub fn others(results: &Results) -> String {
    let mut cores: Vec<_> = results
        .runs
        .iter()
        .map(|run| run.figures.other_cores)
        .collect();
    cores.sort_by(f64::total_cmp);
    let most = cores.last().copied().unwrap_or(0.0);
    let median = cores.get(cores.len() / 2).copied().unwrap_or(0.0);
    format!("{median:.2}; {most:.2} processors")
}

/// A number, or that there is none.
pub fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), short)
}

/// A number with three digits that mean something.
pub fn short(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
