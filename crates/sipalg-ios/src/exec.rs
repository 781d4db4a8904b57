//! Exec mode: what an operator asks a running gateway.

use crate::commands::EXEC;
use crate::grammar::{self, Problem};

/// A command of exec mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exec {
    /// A blank line or a comment: nothing to do, and an empty answer.
    Nothing,
    /// `show ip nat translations [verbose]`
    ShowTranslations {
        /// With the second and third line of each entry.
        verbose: bool,
    },
    /// `show ip nat statistics`
    ShowStatistics,
    /// `show ip nat sip doors`
    ShowSipDoors,
    /// `show ip nat sip counters`
    ShowSipCounters,
    /// `show ip nat sip connections`
    ShowSipConnections,
    /// `show running-config`
    ShowRunningConfig,
    /// `show version`
    ShowVersion,
    /// `show debugging`
    ShowDebugging,
    /// `debug ip nat sip`, or off by its `no` form or `undebug ip nat sip`
    DebugSip {
        /// On, or else off.
        on: bool,
    },
    /// `undebug all`
    UndebugAll,
    /// `exit`
    Exit,
}

/// Reads a line of exec mode.
///
/// # Errors
/// The `%` line that IOS answers. Where the `^` belongs, [`interpret`] knows.
pub fn parse(line: &str) -> Result<Exec, String> {
    interpret(line).map_err(|problem| problem.to_string())
}

/// Reads a line of exec mode.
///
/// # Errors
/// What is wrong with the line; [`Problem::marked`] puts the `^` under it.
pub fn interpret(line: &str) -> Result<Exec, Problem> {
    let text = line.trim_start();
    if text.is_empty() || text.starts_with('!') {
        return Ok(Exec::Nothing);
    }
    let (command, args) = grammar::parse(EXEC, line)?;
    Ok((command.meaning)(&args))
}
