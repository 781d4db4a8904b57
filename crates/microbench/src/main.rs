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
        [] | ["time"] => time("501", ""),
        ["time", rounds] => time(rounds, ""),
        ["time", rounds, part] => time(rounds, part),
        ["instructions"] => instructions::check(),
        ["instructions", "--raise", reason] => instructions::raise(reason),
        ["shapes"] => shapes::run(),
        ["work", name, times] => work(name, times),
        ["shape", name, length, part] => shape(name, length, part),
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

fn time(rounds: &str, part: &str) -> Result<(), String> {
    clock::run(number(rounds)?, part);
    Ok(())
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn work(name: &str, times: &str) -> Result<(), String> {
    let subject = subjects::SUBJECTS
        .iter()
        .find(|subject| subject.name == name);
    let subject = subject.ok_or_else(|| format!("no subject is named `{name}`"))?;
    instructions::measured(&mut (subject.make)(), number(times)?);
    Ok(())
}

fn shape(name: &str, length: &str, part: &str) -> Result<(), String> {
    shapes::work(name, number(length)?, number(part)?)
}
