//! The section "Speed" of docs/results.md.

use super::table::{others, rows, shown};
use crate::bench::Results;
use crate::goals::Judged;
use crate::loads::LOADS;
use std::fmt::Write as _;

/// What the section stands between.
const MARKS: [&str; 2] = [
    "<!-- what `cargo xtask bench --publish` writes -->",
    "<!-- until here -->",
];

/// The document with the section in its place, or at its end.
pub fn with_section(document: &str, section: &str) -> String {
    let [begin, end] = MARKS;
    let section = format!("{begin}\n{section}{end}");
    let place = document
        .find(begin)
        .and_then(|from| Some((from, document[from..].find(end)? + from + end.len())));
    match place {
        Some((from, to)) => [&document[..from], &section, &document[to..]].concat(),
        None if document.is_empty() => format!("# Results\n\n{section}\n"),
        None => format!("{}\n\n{section}\n", document.trim_end()),
    }
}

/// The section.
pub fn section(results: &Results, goals: &[Judged]) -> String {
    let mut text = String::new();
    // Writing to memory does not fail.
    _ = write!(
        text,
        "## Speed\n\n\
         From `cargo xtask bench` on {}, commit {}, {} size, {} rounds. Others kept {} busy meanwhile \
         (median; most).\nCPU is that of client, server, gateway and the kernel's threads together, in \
         microseconds a unit; \"own\" is the gateway's\nprograms alone. All figures are medians; ratios \
         are those of the same round. A run whose messages were not rewritten as\npromised, lost, doubled \
         or out of order is void and not used.\n\n![CPU of the whole path](bench.svg)\n\n",
        results.machine,
        results.commit,
        results.size,
        results.rounds,
        others(results)
    );
    text.push_str("| goal | load | what | wanted | reached | |\n|---|---|---|---|---|---|\n");
    for goal in goals {
        _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            goal.name,
            goal.load,
            goal.text,
            goal.bound,
            shown(goal.reached),
            goal.word()
        );
    }
    for load in LOADS {
        let rows = rows(results, load);
        if rows.is_empty() {
            continue;
        }
        _ = write!(
            text,
            "\n### {}: {}\n\n| | us a {} | own | a second | x NAT | x HAProxy | |\n\
             |---|---|---|---|---|---|---|\n",
            load.name, load.title, load.unit
        );
        for row in rows {
            _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {}{} |",
                row.peer.title(),
                shown(row.cpu.map(|cpu| cpu.0)),
                shown(row.cpu.map(|cpu| cpu.1)),
                shown(row.rate),
                shown(row.nat),
                shown(row.haproxy),
                row.more,
                row.void.unwrap_or_default().replace('|', "/")
            );
        }
    }
    for (peer, why) in &results.missing {
        _ = writeln!(text, "\nWithout {peer}: {why}.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_the_one_before_and_leaves_the_rest() {
        let first = with_section("# Results\n\n## Other\n", "old\n");
        let second = with_section(&(first + "\n## Last\n"), "new\n");
        assert!(second.starts_with("# Results\n\n## Other\n\n"), "{second}");
        assert!(
            second.contains("new") && !second.contains("old"),
            "{second}"
        );
        assert!(second.ends_with("\n## Last\n"), "{second}");
    }
}
