//! Times, as ratios of one run: all take turns, so that what else the machine does falls on all alike.

use crate::messages::DISTINCT;
use crate::subjects::{MEMCPY, RSIP, SUBJECTS, TRANSLATOR, Work, among};
use std::time::Instant;

/// The goal for the translator, by what rsip takes for parsing the same message.
pub const GOAL: f64 = 0.105;

/// How many mappings of others the translator is measured among: few and many.
const MAPPINGS: [(&str, usize); 2] = [
    ("translator among 1,000 mappings", 1000),
    ("translator among 1,000,000", 1_000_000),
];

/// What each subject takes in each round, in nanoseconds.
struct Timed {
    name: &'static str,
    work: Work,
    rounds: Vec<f64>,
}

/// Measures everything in so many rounds, and prints a table of medians. `wanted` is a part of the names
/// of those that are measured beside the ones that the ratios are of.
pub fn run(rounds: usize, wanted: &str) {
    let own = SUBJECTS
        .iter()
        .map(|subject| (subject.name, subject.make as fn() -> Work));
    let needed = |name: &str| [MEMCPY, RSIP, TRANSLATOR].contains(&name) || name.contains(wanted);
    let mut all: Vec<Timed> = own
        .filter(|(name, _)| needed(name))
        .map(|(name, make)| timed(name, make()))
        .collect();
    for (name, mappings) in MAPPINGS {
        if name.contains(wanted) {
            all.push(timed(name, among(mappings)));
        }
    }
    // Turns are shorter than those that a busy machine gives to others: most are undisturbed.
    let turns: Vec<usize> = all.iter_mut().map(|subject| subject.turn()).collect();
    for _ in 0..rounds {
        for (subject, times) in all.iter_mut().zip(&turns) {
            let took = subject.take(*times);
            subject.rounds.push(took / *times as f64);
        }
    }
    print(&all);
}

/// How long a turn is, in nanoseconds.
const TURN: f64 = 300_000.0;

impl Timed {
    /// Warms up, and says how often the work is done in a turn.
    fn turn(&mut self) -> usize {
        self.take(2 * DISTINCT);
        let best = (0..20)
            .map(|_| self.take(100))
            .fold(f64::INFINITY, f64::min);
        (TURN / (best / 100.0)).max(1.0) as usize
    }

    /// Does the work so often, and says what it took, in nanoseconds.
    fn take(&mut self, times: usize) -> f64 {
        let start = Instant::now();
        (self.work)(times);
        start.elapsed().as_nanos() as f64
    }
}

fn timed(name: &'static str, work: Work) -> Timed {
    Timed {
        name,
        work,
        rounds: Vec::new(),
    }
}

fn print(all: &[Timed]) {
    let rounds = |name| {
        all.iter()
            .find(|subject| subject.name == name)
            .map(|s| &s.rounds[..])
    };
    let (copied, parsed) = (rounds(MEMCPY).unwrap_or(&[]), rounds(RSIP).unwrap_or(&[]));
    println!(
        "{:34} {:>9} {:>10} {:>10}",
        "", "ns", "x memcpy", "x rsip raw"
    );
    for subject in all {
        println!(
            "{:34} {:9.1} {:10.2} {:10.3}",
            subject.name,
            median(subject.rounds.clone()),
            ratio(&subject.rounds, copied),
            ratio(&subject.rounds, parsed),
        );
    }
    let translator = ratio(rounds(TRANSLATOR).unwrap_or(&[]), parsed);
    let verdict = if translator <= GOAL {
        "reached"
    } else {
        "missed"
    };
    println!("\ntranslator / rsip raw: {translator:.3} (goal {GOAL}: {verdict})");
    let [few, many] = MAPPINGS.map(|(name, _)| rounds(name));
    if let (Some(few), Some(many)) = (few, many) {
        println!(
            "1,000,000 mappings / 1,000: {:.2} (goal 1.5)",
            ratio(many, few)
        );
    }
}

/// The median of the ratios of the rounds.
fn ratio(of: &[f64], to: &[f64]) -> f64 {
    median(of.iter().zip(to).map(|(of, to)| of / to).collect())
}

fn median(mut list: Vec<f64>) -> f64 {
    list.sort_by(f64::total_cmp);
    list.get(list.len() / 2).copied().unwrap_or(f64::NAN)
}
