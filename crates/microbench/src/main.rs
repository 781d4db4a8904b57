//! The command: see CONTRIBUTING.md, "To measure".

use sipalg_microbench::{clock, instructions, shapes, subjects};
use std::process::ExitCode;

const USAGE: &str = "\
time [ROUNDS [PART OF A NAME]]   times of all subjects, in turns
instructions [--raise REASON]    instructions of all, against baseline.txt
shapes                           adversarial messages of growing length
work NAME TIMES                  only does the work, for a profiler";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] | ["time"] => Ok(clock::run(501, "")),
        ["time", rounds] => Ok(clock::run(rounds.parse().unwrap_or(501), "")),
        ["time", rounds, part] => Ok(clock::run(rounds.parse().unwrap_or(501), part)),
        ["instructions"] => instructions::check(),
        ["instructions", "--raise", reason] => instructions::raise(reason),
        ["shapes"] => shapes::run(),
        ["work", name, times] => work(name, times),
        ["shape", name, length, part] => match (length.parse(), part.parse()) {
            (Ok(length), Ok(part)) => shapes::work(name, length, part),
            _ => Err(USAGE.to_string()),
        },
        _ => Err(USAGE.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn work(name: &str, times: &str) -> Result<(), String> {
    let subject = subjects::SUBJECTS
        .iter()
        .find(|subject| subject.name == name);
    let subject = subject.ok_or_else(|| format!("no subject is named `{name}`"))?;
    let times = times
        .parse()
        .map_err(|_| format!("`{times}` is no number"))?;
    instructions::measured(&mut (subject.make)(), times);
    Ok(())
}
