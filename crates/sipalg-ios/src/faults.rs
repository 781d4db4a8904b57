//! All that is wrong with a configuration, not only the first thing.

use crate::parse::{ConfigError, Editor, Mode, located};
use crate::startup::Startup;
use std::collections::BTreeSet;

/// What a text says as a configuration, and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Review {
    /// What is right of it.
    pub startup: Startup,
    /// What is wrong, in the order of lines.
    pub faults: Vec<ConfigError>,
}

/// Reads a configuration to its end, whatever is wrong with it. What is only a consequence is left out:
/// lines of a mode that was not entered, and rules that lack what a wrong line speaks of.
pub fn review(text: &str) -> Review {
    let mut editor = Editor::default();
    let mut faults = Vec::new();
    let mut lost = false;
    for (line_number, line) in (1..).zip(text.lines()) {
        let of_mode = line.starts_with(char::is_whitespace);
        if lost && of_mode {
            continue;
        }
        lost = false;
        if let Err(problem) = editor.line(line) {
            lost = !of_mode;
            faults.push(ConfigError {
                line_number,
                problem,
            });
            // Every further line would be wrong for the same reason.
            if *editor.mode() == Mode::Ended {
                break;
            }
        }
    }
    let mut startup = editor.startup;
    let conflicts = conflicts(text, &mut startup, &faults);
    faults.extend(conflicts);
    faults.sort_by_key(|fault| fault.line_number);
    Review { startup, faults }
}

/// Takes out of a configuration what cannot work, and tells what that was.
fn conflicts(text: &str, startup: &mut Startup, wrong: &[ConfigError]) -> Vec<ConfigError> {
    let lines = wrong
        .iter()
        .flat_map(|fault| fault.problem.line.split_whitespace());
    let spoken_of: BTreeSet<&str> = lines.collect();
    let mut found = Vec::new();
    let mut roles = false;
    while let Err(conflict) = startup.check() {
        conflict.statement.leave_out_of(startup);
        let role = conflict.argument == "inside";
        let consequence = !wrong.is_empty() && role
            || conflict
                .reason
                .split_whitespace()
                .any(|word| is_name(word) && spoken_of.contains(word));
        // That a side has no interface is wrong once, not with each rule.
        if !(consequence || role && roles) {
            found.push(located(text, conflict));
        }
        roles |= role;
    }
    found
}

/// Whether a word of a reason may be the name of something: the others are words of commands, too.
fn is_name(word: &str) -> bool {
    let words = [
        "access",
        "list",
        "interface",
        "ip",
        "nat",
        "permit",
        "deny",
        "no",
        "pool",
        "outside",
        "inside",
    ];
    !words.contains(&word.trim_matches('`').to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let faults = review(text).faults.into_iter();
        faults
            .map(|fault| {
                let report = fault.in_file("x");
                report.lines().next().unwrap_or_default().to_owned()
            })
            .collect()
    }

    const RIGHT: &str = "interface gin\n ip nat inside\ninterface gout\n ip nat outside\n\
        access-list 1 permit any\nip nat inside source list 1 interface gout overload\n";

    #[test]
    fn a_right_configuration_has_no_fault_and_is_what_it_says() {
        let review = review(RIGHT);
        assert_eq!(review.faults, []);
        assert_eq!(Startup::parse(RIGHT), Ok(review.startup));
    }

    #[test]
    fn every_fault_is_told_in_the_order_of_lines() {
        let text = format!(
            "ip nat insight\n{RIGHT}ip nat service sip access-group 7\nip nat\n\
             ip nat inside source list 2 pool NONE\nhostname\n"
        );
        assert_eq!(
            told(&text),
            [
                "x, line 1: invalid input",
                "x, line 8: access list 7 does not exist",
                "x, line 9: incomplete command",
                "x, line 10: access list 2 does not exist",
                "x, line 11: incomplete command",
            ]
        );
    }

    #[test]
    fn what_is_only_a_consequence_is_not_told() {
        let typo = RIGHT.replace("access-list 1 permit", "access-list 1 permitt");
        assert_eq!(told(&typo), ["x, line 5: invalid input"]);
        let typo = RIGHT.replace("interface gin", "interfaec gin");
        assert_eq!(told(&typo), ["x, line 1: invalid input"]);
        let ended = format!("{RIGHT}end\nhostname gw\nhostname gw\n");
        let reason = "x, line 8: nothing may follow the end of the configuration";
        assert_eq!(told(&ended), [reason]);
        let roleless = RIGHT.replace(" ip nat inside\n", "");
        let more = format!("{roleless}ip nat inside source static 10.0.0.5 203.0.113.5\n");
        assert_eq!(told(&more).len(), 1, "{:?}", told(&more));
    }
}
