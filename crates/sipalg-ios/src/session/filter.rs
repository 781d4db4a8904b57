//! Output modifiers: `show ... | include REGEX` and its kin.

use crate::grammar::{self, Args, Command, Expected, Fault, Kind, Part, Problem, keyword, value};
use regex_lite::{Regex, RegexBuilder};

/// The largest compiled expression, bytes: everyone waits while it is looked for.
const MAX_SIZE: usize = 64 * 1024;

/// Picks lines of an answer.
#[derive(Clone, Debug)]
pub struct Filter {
    pick: Pick,
    regex: Regex,
}

/// Which lines an expression picks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pick {
    /// Those that match.
    Include,
    /// Those that do not.
    Exclude,
    /// The first that matches, and all after it.
    Begin,
    /// Those that match, each with the lines under it that are further indented.
    Section,
}

/// What may stand after the `|`.
pub static FILTERS: &[Command<Pick>] = &[
    Command {
        pattern: &[keyword("begin", "Begin with the line that matches"), REGEX],
        no: false,
        example: "begin interface",
        meaning: Pick::Begin,
    },
    Command {
        pattern: &[keyword("exclude", "Exclude lines that match"), REGEX],
        no: false,
        example: "exclude ^!",
        meaning: Pick::Exclude,
    },
    Command {
        pattern: &[keyword("include", "Include lines that match"), REGEX],
        no: false,
        example: "include ip nat",
        meaning: Pick::Include,
    },
    Command {
        pattern: &[keyword("section", "Filter a section of output"), REGEX],
        no: false,
        example: "section interface",
        meaning: Pick::Section,
    },
];

const REGEX: Part = value("REGEX", Kind::Line, "Regular Expression");

impl Filter {
    /// Reads what stands after the `|`.
    ///
    /// # Errors
    /// It is no filter, or the expression is wrong.
    pub fn parse(text: &str) -> Result<Filter, Problem> {
        let (command, args) = grammar::parse(FILTERS, text)?;
        let regex = RegexBuilder::new(args.text("REGEX").unwrap_or_default())
            .size_limit(MAX_SIZE)
            .build()
            .map_err(|error| wrong(text, &args, &error))?;
        Ok(Filter {
            pick: command.meaning,
            regex,
        })
    }

    /// The picked lines of `text`.
    pub fn apply(&self, text: &str) -> String {
        let mut picked = String::new();
        let mut section: Option<usize> = None;
        let mut begun = false;
        for line in text.lines() {
            let matched = self.regex.is_match(line);
            begun |= matched;
            let indent = line.len() - line.trim_start().len();
            if matched && section.is_none_or(|of| indent <= of) {
                section = Some(indent);
            } else if !matched && section.is_some_and(|of| indent <= of) {
                section = None;
            }
            let take = match self.pick {
                Pick::Include => matched,
                Pick::Exclude => !matched,
                Pick::Begin => begun,
                Pick::Section => section.is_some(),
            };
            if take {
                picked.push_str(line);
                picked.push('\n');
            }
        }
        picked
    }
}

fn wrong(text: &str, args: &Args, error: &regex_lite::Error) -> Problem {
    Problem {
        fault: Fault::Refused(format!("the regular expression is wrong: {error}")),
        line: text.into(),
        column: args.column("REGEX"),
        expected: Expected::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "!\ninterface gin\n ip nat inside\n!\ninterface gout\n ip nat outside\n!\nend\n";

    fn filtered(filter: &str) -> String {
        Filter::parse(filter).unwrap().apply(TEXT)
    }

    #[test]
    fn each_filter_picks_its_lines() {
        assert_eq!(
            filtered("inc nat (in|out)side$"),
            " ip nat inside\n ip nat outside\n"
        );
        assert_eq!(
            filtered("ex ^!|nat"),
            "interface gin\ninterface gout\nend\n"
        );
        assert_eq!(
            filtered("begin gout"),
            "interface gout\n ip nat outside\n!\nend\n"
        );
        assert_eq!(filtered("sec gin"), "interface gin\n ip nat inside\n");
        assert_eq!(filtered("section nat outside"), " ip nat outside\n");
        assert_eq!(filtered("include nothing"), "");
    }

    #[test]
    fn a_wrong_expression_says_so() {
        assert!(Filter::parse("include (a{99}){99}").is_err(), "too large");
        let problem = Filter::parse("include (").unwrap_err();
        assert_eq!(problem.column, 8);
        assert!(
            problem
                .to_string()
                .starts_with("% the regular expression is wrong: ")
        );
    }
}
