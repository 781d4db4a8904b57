//! Instructions, counted by callgrind: the same for the same program, however busy the machine is. CI
//! compares them with `baseline.txt`.

use crate::subjects::{RSIP, SUBJECTS, Subject, TRANSLATOR, Work};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How much more than the baseline is a failure.
const TOLERANCE: f64 = 0.05;

/// How often the work is done to be counted: every message twice, but for the first that warm up.
const TIMES: usize = 2048;

/// Does the work. Callgrind counts what happens in here; the first call warms up.
#[inline(never)]
pub fn measured(work: &mut Work, times: usize) {
    work(times);
}

/// Compares with the baseline.
///
/// # Errors
/// The sentences that say what costs too much, or why nothing could be counted.
pub fn check() -> Result<(), String> {
    let baseline = Baseline::read()?;
    let counts = count_all()?;
    let mut wrong = String::new();
    for (subject, count) in &counts {
        let before = baseline.of(subject.name);
        let change = before.map(|before| *count as f64 / before as f64 - 1.0);
        print_row(subject, *count, change);
        if subject.foreign {
            continue;
        }
        let complaint = match change {
            None => "has no row in the baseline".to_string(),
            Some(change) if change > TOLERANCE => {
                format!(
                    "takes {:.1} % more instructions than its baseline",
                    change * 100.0
                )
            }
            Some(_) => continue,
        };
        let _ = writeln!(wrong, "{}: {complaint}", subject.name);
    }
    print_ratio(&counts);
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.push_str(
        "If that is worth it, raise the baseline in the same commit: instructions --raise REASON",
    );
    Err(wrong)
}

/// Writes a new baseline, with the reason.
///
/// # Errors
/// Nothing could be counted, or the file cannot be written.
pub fn raise(reason: &str) -> Result<(), String> {
    let mut baseline = Baseline::read().unwrap_or_default();
    let counts = count_all()?;
    let ours = counts.iter().filter(|(subject, _)| !subject.foreign);
    baseline.rows = ours
        .map(|(subject, count)| (subject.name.to_string(), *count))
        .collect();
    baseline.reasons.push(reason.to_string());
    for (subject, count) in &counts {
        print_row(subject, *count, None);
    }
    print_ratio(&counts);
    baseline.write()
}

fn print_row(subject: &Subject, count: u64, change: Option<f64>) {
    let change = change.map_or(String::new(), |change| format!("{:+.1} %", change * 100.0));
    println!("{:34} {count:9} {change}", subject.name);
}

fn print_ratio(counts: &[(&Subject, u64)]) {
    let of = |name| {
        counts
            .iter()
            .find(|(subject, _)| subject.name == name)
            .map(|(_, count)| *count)
    };
    if let (Some(own), Some(rsip)) = (of(TRANSLATOR), of(RSIP)) {
        println!("translator / rsip raw: {:.3}", own as f64 / rsip as f64);
    }
}

/// The file: a line `reason: ...` for each change, and a row for each subject.
#[derive(Debug, Default)]
struct Baseline {
    reasons: Vec<String>,
    rows: Vec<(String, u64)>,
}

const REASON: &str = "reason: ";

impl Baseline {
    fn path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.txt")
    }

    fn read() -> Result<Baseline, String> {
        let path = Baseline::path();
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let mut baseline = Baseline::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(reason) = line.strip_prefix(REASON) {
                baseline.reasons.push(reason.to_string());
            } else if let Some((count, name)) = line.trim().split_once("  ") {
                let count = count.parse().map_err(|_| format!("no count: {line}"))?;
                baseline.rows.push((name.to_string(), count));
            }
        }
        Ok(baseline)
    }

    fn write(&self) -> Result<(), String> {
        let mut text =
            "# Instructions each, counted by callgrind: see CONTRIBUTING.md, \"To measure\".\n"
                .to_string();
        for reason in &self.reasons {
            let _ = writeln!(text, "{REASON}{reason}");
        }
        for (name, count) in &self.rows {
            let _ = writeln!(text, "{count:8}  {name}");
        }
        let path = Baseline::path();
        std::fs::write(&path, text)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    fn of(&self, name: &str) -> Option<u64> {
        self.rows
            .iter()
            .find(|(of, _)| of == name)
            .map(|(_, count)| *count)
    }
}

fn count_all() -> Result<Vec<(&'static Subject, u64)>, String> {
    SUBJECTS
        .iter()
        .map(|subject| Ok((subject, count(subject)?)))
        .collect()
}

/// The instructions of one piece of work: twice as much work less once as much, so that what happens
/// only once, such as growing a table, does not count.
fn count(subject: &Subject) -> Result<u64, String> {
    let once = collected(&["work", subject.name, &TIMES.to_string()])?;
    let twice = collected(&["work", subject.name, &(2 * TIMES).to_string()])?;
    Ok(twice.saturating_sub(once) / TIMES as u64)
}

/// What callgrind counts in [`measured`], when this program is run so.
pub(crate) fn collected(arguments: &[&str]) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg("--toggle-collect=*instructions*measured*")
        .arg("--callgrind-out-file=/dev/null")
        .arg(program)
        .args(arguments)
        .output();
    let output = output.map_err(|error| {
        format!("cannot run valgrind (Debian: `apt-get install valgrind`): {error}")
    })?;
    let told = String::from_utf8_lossy(&output.stderr);
    let counted = told
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let counted = counted.and_then(|(_, count)| count.trim().parse().ok());
    let counted = counted.filter(|_| output.status.success());
    counted.ok_or_else(|| format!("valgrind on {arguments:?}: {told}"))
}
