//! How laws are held up to something, for test binaries that need a main of their own: a process may
//! enter a user namespace only while it has one thread.

use std::panic::catch_unwind;
use std::process::ExitCode;

/// Name of a law, and the function that holds it up.
pub(crate) type Law = (&'static str, fn());

/// The named functions as laws. One that is left out is dead code, which the compiler reports.
macro_rules! laws {
    ($($name:ident),* $(,)?) => {
        pub(crate) const LAWS: &[$crate::laws::Law] = &[$((stringify!($name), $name)),*];
    };
}

/// Runs the laws whose name contains one of the words on the command line, or all; `--list` names
/// them.
pub(crate) fn hold(laws: &[&[Law]]) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let list = words.iter().any(|word| word == "--list");
    let words: Vec<String> = words
        .into_iter()
        .filter(|word| !word.starts_with('-'))
        .collect();
    let mut failed = Vec::new();
    let mut held = 0;
    for (name, law) in laws.concat() {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        if list {
            println!("{name}: test");
            continue;
        }
        // A thread each: the namespace that it enters ends with it.
        let verdict = std::thread::spawn(move || catch_unwind(law)).join();
        if matches!(verdict, Ok(Ok(()))) {
            println!("law {name} ... ok");
            held += 1;
        } else {
            println!("law {name} ... FAILED");
            failed.push(name);
        }
    }
    println!("\n{held} laws held, {} failed {failed:?}", failed.len());
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
