//! From the text of a configuration to a [`Startup`], line by line through the command table.

use crate::access::ListKind;
use crate::commands::{EXTENDED_LIST, GLOBAL, Goto, INTERFACE, LIST, Refusal, Setting};
use crate::grammar::{self, Args, Command, Expected, Fault, Problem};
use crate::startup::{Conflict, Startup, Statement};
use core::fmt;
use std::borrow::Cow;

/// What is wrong with a configuration, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The line's number, from 1.
    pub line_number: usize,
    /// The line, the column and what was expected there.
    pub problem: Problem,
}

impl Startup {
    /// Reads a configuration.
    ///
    /// # Errors
    /// The first line that is wrong; or, if each is right, one that cannot work with the others.
    pub fn parse(text: &str) -> Result<Startup, ConfigError> {
        let mut editor = Editor::default();
        for (line_number, line) in (1..).zip(text.lines()) {
            editor.line(line).map_err(|problem| ConfigError {
                line_number,
                problem,
            })?;
        }
        let checked = editor.startup.check();
        checked.map_err(|conflict| located(text, conflict))?;
        Ok(editor.startup)
    }
}

/// A conflict, in the line that says what cannot be.
pub(crate) fn located(text: &str, conflict: Conflict) -> ConfigError {
    let (line_number, line, args) = locate(text, &conflict.statement);
    let refusal = Refusal {
        argument: conflict.argument,
        reason: conflict.reason,
    };
    ConfigError {
        line_number,
        problem: refused(line, &args, refusal),
    }
}

/// The line with which a configuration begins to say something, for the last time.
fn locate<'t>(text: &'t str, statement: &Statement) -> (usize, &'t str, Args) {
    let mut editor = Editor::default();
    let mut at = (0, "", Args::default());
    let mut said = false;
    for (line_number, line) in (1..).zip(text.lines()) {
        // What is wrong says nothing.
        let args = editor.line(line).unwrap_or_default();
        let says = statement.is_in(&editor.startup);
        if says && !said {
            at = (line_number, line, args);
        }
        said = says;
    }
    at
}

impl ConfigError {
    /// The report for the operator: file, line number, the line, a `^` under the offence, and what
    /// was expected there.
    pub fn in_file(&self, file: impl fmt::Display) -> String {
        let Problem {
            fault,
            line,
            column,
            expected,
        } = &self.problem;
        let what = match fault {
            Fault::Invalid => "invalid input",
            Fault::Incomplete => "incomplete command",
            Fault::Ambiguous => "ambiguous command",
            Fault::Refused(reason) => reason,
        };
        // A tab would shift the `^`, and a control character do worse.
        let line: String = line
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let line = line.trim_end();
        let mut report = format!(
            "{file}, line {}: {what}\n  {line}\n  {:>2$}",
            self.line_number,
            '^',
            column + 1
        );
        if !expected.tokens.is_empty() || expected.end {
            report += "\nexpected here:";
        }
        for token in &expected.tokens {
            report += &format!("\n  {token:<16} {}", token.help);
        }
        if expected.end {
            report += "\n  end of line";
        }
        report
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_file("configuration"))
    }
}

impl core::error::Error for ConfigError {}

/// Configuration mode: takes lines, and changes a [`Startup`].
#[derive(Clone, Debug, Default)]
pub struct Editor {
    /// What has been configured.
    pub startup: Startup,
    mode: Mode,
}

/// What the next line configures.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Everything.
    #[default]
    Global,
    /// The interface of this name.
    Interface(String),
    /// The access list of this number or name.
    List(String, ListKind),
    /// Nothing: `end` was said.
    Ended,
}

impl Editor {
    /// Goes on with a configuration, in the mode where it was left.
    pub fn resume(startup: Startup, mode: Mode) -> Editor {
        Editor { startup, mode }
    }

    /// What the next line configures.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Carries out one line. As in IOS, a global command is understood in a submode too, and leaves
    /// it. Gives what was typed; nothing for a blank line or a comment.
    ///
    /// # Errors
    /// The line is no command here, or is refused; nothing has changed.
    pub fn line(&mut self, line: &str) -> Result<Args, Problem> {
        let text = line.trim_start();
        if text.is_empty() || text.starts_with('!') {
            return Ok(Args::default());
        }
        let in_submode = match &self.mode {
            Mode::Global => return self.global(line),
            Mode::Ended => {
                let reason = "nothing may follow the end of the configuration".into();
                return Err(refused(
                    line,
                    &Args::default(),
                    Refusal {
                        argument: "",
                        reason,
                    },
                ));
            }
            Mode::Interface(name) => {
                let interface = self.startup.interfaces.iter_mut().find(|i| i.name == *name);
                interface.map(|interface| run(INTERFACE, interface, line))
            }
            Mode::List(name, kind) => {
                let table = match kind {
                    ListKind::Standard => LIST,
                    ListKind::Extended => EXTENDED_LIST,
                };
                let list = self.startup.lists.get_mut(name);
                list.map(|list| run(table, list, line))
            }
        };
        match in_submode {
            Some(Ok((goto, args))) => {
                self.go(goto);
                Ok(args)
            }
            Some(Err(problem)) if matches!(problem.fault, Fault::Refused(_)) => Err(problem),
            Some(Err(problem)) => self.global(line).map_err(|global| further(problem, global)),
            None => self.global(line),
        }
    }

    fn global(&mut self, line: &str) -> Result<Args, Problem> {
        let (goto, args) = run(GLOBAL, &mut self.startup, line)?;
        self.mode = Mode::Global;
        self.go(goto);
        Ok(args)
    }

    fn go(&mut self, goto: Goto) {
        self.mode = match goto {
            Goto::Stay => return,
            Goto::Interface(name) => Mode::Interface(name),
            Goto::List(name, kind) => Mode::List(name, kind),
            Goto::Up if self.mode != Mode::Global => Mode::Global,
            Goto::Up | Goto::End => Mode::Ended,
        };
    }
}

fn run<C>(
    table: &[Command<Setting<C>>],
    context: &mut C,
    line: &str,
) -> Result<(Goto, Args), Problem> {
    let (typed, default) = as_no(line);
    let parsed = grammar::parse(table, &typed);
    let (command, mut args) = parsed.map_err(|problem| Problem {
        line: line.into(),
        ..problem
    })?;
    args.default = default;
    match (command.meaning.apply)(context, &args) {
        Ok(goto) => Ok((goto, args)),
        Err(refusal) => Err(refused(line, &args, refusal)),
    }
}

/// `default COMMAND` is `no COMMAND` to the grammar; whether it was. The columns stay.
pub(crate) fn as_no(line: &str) -> (Cow<'_, str>, bool) {
    let text = line.trim_start();
    let word = text.split(char::is_whitespace).next().unwrap_or_default();
    let is = word.len() >= "def".len()
        && "default"
            .get(..word.len())
            .is_some_and(|d| d.eq_ignore_ascii_case(word));
    if !is {
        return (line.into(), false);
    }
    let (before, after) = line.split_at(line.len() - text.len());
    let no = format!("{before}{:<1$}{2}", "no", word.len(), &after[word.len()..]);
    (no.into(), true)
}

fn refused(line: &str, args: &Args, refusal: Refusal) -> Problem {
    let column = args.column(refusal.argument);
    let fault = Fault::Refused(refusal.reason);
    Problem {
        fault,
        line: line.into(),
        column,
        expected: Expected::default(),
    }
}

/// Of two readings of a line, the problem of the one that got further is what the operator meant.
fn further(mut submode: Problem, global: Problem) -> Problem {
    use core::cmp::Ordering::{Equal, Greater, Less};
    match submode.column.cmp(&global.column) {
        Greater => submode,
        Less => global,
        Equal => {
            submode.expected.merge(&global.expected);
            submode
        }
    }
}
