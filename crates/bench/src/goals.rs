//! The goals, and what was reached. Each is a ratio of one run, so it holds on any machine.

use crate::bench::{Results, Run};
use serde::Serialize;

/// What is compared.
#[derive(Debug, Clone, Copy)]
enum What {
    /// Processor time of the whole path for a unit.
    Cpu,
    /// Units a second.
    Rate,
    /// Something that only one load has.
    More(&'static str),
    /// The gateway's own processor time for a unit, microseconds.
    Gateway,
    /// The same of what comes on top of plain NAT.
    Added(&'static str),
}

/// How it must be.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// A goal.
struct Goal {
    name: &'static str,
    load: &'static str,
    text: &'static str,
    what: What,
    /// Whose figure of the same round it is divided by; none: the figure itself.
    beside: Option<&'static str>,
    bound: Bound,
}

/// What has become of a goal.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// Its name.
    pub name: &'static str,
    /// The load.
    pub load: &'static str,
    /// What it says.
    pub text: &'static str,
    /// The bound, with its sense.
    pub bound: String,
    /// What was reached: the median of all rounds; none where something is missing or void.
    pub reached: Option<f64>,
    /// Whether that is enough.
    pub met: Option<bool>,
    /// It is a rate or a time, and others kept the machine too busy for it to mean much.
    pub rough: bool,
}

impl Judged {
    /// What to say of it in a word.
    pub fn word(&self) -> &'static str {
        match self.met {
            Some(true) if self.rough => "met (on a busy machine)",
            Some(true) => "met",
            Some(false) if self.rough => "NOT MET (on a busy machine)",
            Some(false) => "NOT MET",
            None => "not measured",
        }
    }
}

const fn goal(
    (name, load): (&'static str, &'static str),
    text: &'static str,
    what: What,
    beside: Option<&'static str>,
    bound: Bound,
) -> Goal {
    Goal {
        name,
        load,
        text,
        what,
        beside,
        bound,
    }
}

use Bound::{AtLeast, AtMost};

const GOALS: &[Goal] = &[
    goal(
        ("P2", "L1"),
        "CPU a message, of HAProxy's",
        What::Cpu,
        Some("haproxy"),
        AtMost(1.05),
    ),
    goal(
        ("P2", "L1"),
        "messages a second, of HAProxy's",
        What::Rate,
        Some("haproxy"),
        AtLeast(0.95),
    ),
    goal(
        ("P3", "L2"),
        "CPU a request, of HAProxy's",
        What::Cpu,
        Some("haproxy"),
        AtMost(0.95),
    ),
    goal(
        ("P3", "L2"),
        "CPU a request, of the helper's",
        What::Cpu,
        Some("helper"),
        AtMost(0.75),
    ),
    goal(
        ("P4", "L2r"),
        "added p50, of HAProxy's",
        What::Added("p50"),
        Some("haproxy"),
        AtMost(1.0),
    ),
    goal(
        ("P4", "L2r"),
        "added p99, of HAProxy's",
        What::Added("p99"),
        Some("haproxy"),
        AtMost(1.0),
    ),
    goal(
        ("P5", "L3"),
        "connections a second, of HAProxy's",
        What::Rate,
        Some("haproxy"),
        AtLeast(1.10),
    ),
    goal(
        ("P5", "L3"),
        "CPU a connection, of HAProxy's",
        What::Cpu,
        Some("haproxy"),
        AtMost(0.92),
    ),
    goal(
        ("P6", "L4"),
        "process bytes an idle connection",
        What::More("bytes"),
        None,
        AtMost(512.0),
    ),
    goal(
        ("P6", "L4"),
        "the same without a registration",
        What::More("bare_bytes"),
        None,
        AtMost(512.0),
    ),
    goal(
        ("P7", "L5"),
        "CPU a call, of HAProxy's",
        What::Cpu,
        Some("haproxy"),
        AtMost(1.05),
    ),
    goal(
        ("P7", "L5"),
        "CPU a call, of the helper's",
        What::Cpu,
        Some("helper"),
        AtMost(0.85),
    ),
    goal(
        ("P7", "L5"),
        "calls a second, of Kamailio's",
        What::Rate,
        Some("kamailio"),
        AtLeast(5.0),
    ),
    goal(
        ("P7", "L5"),
        "calls a second, of rtpengine's",
        What::Rate,
        Some("rtpengine"),
        AtLeast(12.0),
    ),
    goal(
        ("P8", "L6"),
        "most packets a second, of plain NAT's",
        What::More("most"),
        Some("nat"),
        AtLeast(0.97),
    ),
    goal(
        ("P8", "L6"),
        "own CPU a packet, microseconds",
        What::Gateway,
        None,
        AtMost(0.1),
    ),
    goal(
        ("P8", "L6"),
        "CPU a packet, of rtpengine's",
        What::Cpu,
        Some("rtpengine"),
        AtMost(0.65),
    ),
    goal(
        ("P9", "L9"),
        "share of all media ports reached",
        What::More("reached"),
        None,
        AtLeast(1.0),
    ),
    goal(
        ("P9", "L9"),
        "cost of a call among them, of one alone",
        What::More("growth"),
        None,
        AtMost(1.5),
    ),
    goal(
        ("P10", "L10"),
        "CPU a message, of HAProxy's",
        What::Cpu,
        Some("haproxy"),
        AtMost(1.3),
    ),
];

/// The peer that is judged.
const OWN: &str = "sipalg";
/// How many processors others may keep busy while rates and times are measured.
const QUIET: f64 = 0.5;
/// The floor.
const FLOOR: &str = "nat";

/// Judges the goals of those loads that were measured.
pub fn judge(results: &Results) -> Vec<Judged> {
    let measured = |goal: &&Goal| results.runs.iter().any(|run| run.load == goal.load);
    GOALS
        .iter()
        .filter(measured)
        .map(|goal| goal.judge(results))
        .collect()
}

/// The median of the ratios of a figure to another peer's of the same round, without void runs.
pub fn ratio(
    results: &Results,
    load: &str,
    [peer, beside]: [&str; 2],
    figure: impl Fn(&Run) -> Option<f64>,
) -> Option<f64> {
    median((0..results.rounds).filter_map(|round| {
        let of = |peer| sound(results, load, peer, round).and_then(&figure);
        Some(of(peer)? / of(beside)?)
    }))
}

/// The median of a figure over all rounds, without void runs.
pub fn middle(
    results: &Results,
    load: &str,
    peer: &str,
    figure: impl Fn(&Run) -> Option<f64>,
) -> Option<f64> {
    median((0..results.rounds).filter_map(|round| figure(sound(results, load, peer, round)?)))
}

fn sound<'a>(results: &'a Results, load: &str, peer: &str, round: usize) -> Option<&'a Run> {
    let wanted = |run: &&Run| run.load == load && run.peer == peer && run.round == round;
    results
        .runs
        .iter()
        .find(wanted)
        .filter(|run| run.figures.void.is_none())
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    let other = values.len() / 2;
    Some(f64::midpoint(values[middle], values[other]))
}

impl Goal {
    fn judge(&self, results: &Results) -> Judged {
        // What others do to the machine hardly shows in processor time, but very much in these.
        let wanders = match self.what {
            What::Rate | What::Added(_) => true,
            What::More(name) => name == "most",
            What::Cpu | What::Gateway => false,
        };
        let quiet = self.reached(results, QUIET).filter(|_| wanders);
        let reached = quiet.or_else(|| self.reached(results, f64::INFINITY));
        let (bound, met) = match self.bound {
            AtMost(most) => (format!("<= {most}"), reached.map(|reached| reached <= most)),
            AtLeast(least) => (
                format!(">= {least}"),
                reached.map(|reached| reached >= least),
            ),
        };
        Judged {
            name: self.name,
            load: self.load,
            text: self.text,
            bound,
            reached,
            met,
            rough: wanders && quiet.is_none(),
        }
    }

    /// What was reached in those runs during which others kept at most so many processors busy.
    fn reached(&self, results: &Results, others: f64) -> Option<f64> {
        let figure = |run: &Run| {
            let figures = &run.figures;
            match self.what {
                _ if figures.other_cores > others => None,
                What::Cpu => Some(figures.cpu),
                What::Rate => Some(figures.rate),
                What::Gateway => Some(figures.gateway),
                What::More(name) | What::Added(name) => figures.more.get(name).copied(),
            }
        };
        let of = |peer| middle(results, self.load, peer, figure);
        match (self.what, self.beside) {
            // A difference of small numbers: the medians are steadier than one round's.
            (What::Added(_), Some(beside)) => {
                Some((of(OWN)? - of(FLOOR)?) / (of(beside)? - of(FLOOR)?))
            }
            (_, Some(beside)) => ratio(results, self.load, [OWN, beside], figure),
            (_, None) => of(OWN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Figures;

    fn results(runs: &[(&'static str, usize, f64, bool)]) -> Results {
        let run = |&(peer, round, cpu, sound): &(&'static str, usize, f64, bool)| {
            let void = (!sound).then(|| "void".to_owned());
            Run {
                load: "L1",
                peer,
                round,
                figures: Figures {
                    cpu,
                    void,
                    ..Figures::default()
                },
            }
        };
        Results {
            machine: String::new(),
            commit: String::new(),
            size: "full",
            rounds: 3,
            missing: Vec::new(),
            runs: runs.iter().map(run).collect(),
        }
    }

    fn cpu(results: &Results) -> Judged {
        judge(results).swap_remove(0)
    }

    #[test]
    fn a_goal_is_the_median_of_the_ratios_of_each_round() {
        let results = results(&[
            ("sipalg", 0, 1.0, true),
            ("haproxy", 0, 1.0, true),
            ("sipalg", 1, 30.0, true),
            ("haproxy", 1, 10.0, true),
            ("sipalg", 2, 1.02, true),
            ("haproxy", 2, 1.0, true),
        ]);
        assert_eq!(
            (cpu(&results).reached, cpu(&results).met),
            (Some(1.02), Some(true))
        );
    }

    #[test]
    fn a_rate_counts_in_quiet_rounds_only_if_there_is_one() {
        let mut results = results(&[
            ("sipalg", 0, 1.0, true),
            ("haproxy", 0, 1.0, true),
            ("sipalg", 1, 1.0, true),
            ("haproxy", 1, 1.0, true),
        ]);
        for (run, (rate, others)) in
            results
                .runs
                .iter_mut()
                .zip([(1.0, 1.8), (2.0, 1.8), (3.0, 0.1), (2.0, 0.1)])
        {
            (run.figures.rate, run.figures.other_cores) = (rate, others);
        }
        let rate = |results: &Results| judge(results).swap_remove(1);
        assert_eq!(
            (rate(&results).reached, rate(&results).rough),
            (Some(1.5), false)
        );
        results.runs.truncate(2);
        assert_eq!(
            (rate(&results).reached, rate(&results).rough),
            (Some(0.5), true)
        );
    }

    #[test]
    fn a_void_run_is_never_used() {
        let results = results(&[("sipalg", 0, 1.0, false), ("haproxy", 0, 1.0, true)]);
        assert_eq!(
            (cpu(&results).reached, cpu(&results).word()),
            (None, "not measured")
        );
    }
}
