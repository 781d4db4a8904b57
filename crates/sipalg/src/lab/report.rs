//! What the lab prints: chapters, messages, tables, the list of checks and the verdict.

use crate::diff::{self, Marks};
use std::io::{IsTerminal, Write};

/// Collects the checks and prints the story as it goes.
#[derive(Debug)]
pub struct Report {
    marks: Marks,
    verbose: bool,
    checks: Vec<Check>,
}

#[derive(Debug)]
struct Check {
    law: String,
    failure: Option<String>,
}

impl Report {
    /// A report on standard output, in colour if that is a terminal.
    pub fn new(verbose: bool) -> Self {
        let marks = if std::io::stdout().is_terminal() {
            Marks::Colour
        } else {
            Marks::Carets
        };
        Report {
            marks,
            verbose,
            checks: Vec::new(),
        }
    }

    /// Whether everything is to be printed.
    pub fn verbose(&self) -> bool {
        self.verbose
    }

    /// Begins a chapter.
    pub fn chapter(&self, title: &str) {
        self.print(&format!("\n{}\n", self.bold(title)));
    }

    /// Prints text as it is, indented.
    pub fn text(&self, text: &str) {
        let lines = text.lines().filter(|line| !line.is_empty());
        self.print(
            &lines
                .map(|line| format!("    {line}\n"))
                .collect::<String>(),
        );
    }

    /// Prints what passed the gateway: in full if asked for (or verbose), else in one line.
    pub fn passed(&self, way: &str, before: &[u8], after: &[u8], full: bool) {
        let lines = diff::changed_lines(before, after);
        let change = match lines {
            0 => "unchanged".to_owned(),
            1 => format!("1 line changed, {} -> {} bytes", before.len(), after.len()),
            _ => format!(
                "{lines} lines changed, {} -> {} bytes",
                before.len(),
                after.len()
            ),
        };
        let title = title(before);
        self.print(&format!("  {way}  {title:<46.46}  {change}\n"));
        if full || self.verbose {
            self.print(&diff::render(before, after, self.marks, self.verbose));
        }
    }

    /// Records whether a law held; `failure` says what was seen instead.
    pub fn check(&mut self, law: impl Into<String>, failure: Option<String>) {
        let law = law.into();
        if let Some(seen) = &failure {
            self.print(&format!("  {}: {law}: {seen}\n", self.red("FAILED")));
        }
        self.checks.push(Check { law, failure });
    }

    /// Records whether two values are equal.
    pub fn check_equal<T: PartialEq + std::fmt::Debug>(
        &mut self,
        law: impl Into<String>,
        seen: &T,
        expected: &T,
    ) {
        let failure = (seen != expected).then(|| format!("expected {expected:?}, saw {seen:?}"));
        self.check(law, failure);
    }

    /// Records whether the far side got exactly the bytes that it should; shows the difference to
    /// the expectation if not.
    pub fn check_bytes(&mut self, law: impl Into<String>, seen: &[u8], expected: &[u8]) {
        let law = law.into();
        if seen == expected {
            return self.check(law, None);
        }
        self.check(
            law,
            Some(
                "not what was expected (-) arrived (+); 0.0.0.0:0 is what has no mapping"
                    .to_owned(),
            ),
        );
        self.print(&diff::render(expected, seen, self.marks, self.verbose));
    }

    /// Prints the checks and the verdict; true if all held.
    pub fn verdict(&self) -> bool {
        self.chapter("Checks");
        // A law that was checked several times is listed once.
        let mut laws: Vec<&str> = Vec::new();
        for check in &self.checks {
            if !laws.contains(&check.law.as_str()) {
                laws.push(&check.law);
            }
        }
        for law in laws {
            let of_law = || self.checks.iter().filter(|check| check.law == law);
            let times = match of_law().count() {
                1 => String::new(),
                many => format!(" ({many} times)"),
            };
            if of_law().all(|check| check.failure.is_none()) {
                self.print(&format!("  {}      {law}{times}\n", self.green("ok")));
            } else {
                self.print(&format!("  {}  {law}{times}\n", self.red("FAILED")));
            }
        }
        let failed = self
            .checks
            .iter()
            .filter(|check| check.failure.is_some())
            .count();
        let all = self.checks.len();
        self.print(&if failed == 0 {
            format!(
                "\n{}\n",
                self.green(&format!(
                    "All {all} checks held: the calls got through and back, and nothing leaked."
                ))
            )
        } else {
            format!(
                "\n{}\n",
                self.red(&format!("{failed} of {all} checks FAILED."))
            )
        });
        failed == 0 && all > 0
    }

    /// Prints; a reader who went away is no reason to stop.
    pub fn print(&self, text: &str) {
        _ = std::io::stdout().write_all(text.as_bytes());
    }

    fn bold(&self, text: &str) -> String {
        self.styled("1", text)
    }

    fn red(&self, text: &str) -> String {
        self.styled("1;31", text)
    }

    fn green(&self, text: &str) -> String {
        self.styled("32", text)
    }

    fn styled(&self, code: &str, text: &str) -> String {
        match self.marks {
            Marks::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
            Marks::Carets => text.to_owned(),
        }
    }
}

/// A start line without what all have: method and address, or status and reason.
fn title(message: &[u8]) -> String {
    let line = message
        .split(|&byte| byte == b'\r')
        .next()
        .unwrap_or(message);
    let line = String::from_utf8_lossy(line);
    line.trim_start_matches("SIP/2.0 ")
        .trim_end_matches(" SIP/2.0")
        .to_owned()
}
