//! Exec mode: what an operator asks a running gateway.

use crate::commands::{EXEC, PRIVILEGED, Question};
use crate::grammar::{self, Command, Part, Problem};
use crate::show::Which;
use serde::Serialize;
use sipalg_core::alg::Clear;

/// A command of exec mode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exec {
    /// A blank line or a comment: nothing to do, and an empty answer.
    Nothing,
    /// What another command shows, as JSON.
    Json(Box<Exec>),
    /// `show ip nat translations ...`
    ShowTranslations(Which),
    /// `show ip nat pool [name POOL]`
    ShowPools(Option<String>),
    /// `show ip nat sip resources`
    ShowSipResources,
    /// `show ip nat sip limits`
    ShowSipLimits,
    /// `show ip nat sip ports`
    ShowSipPorts,
    /// `show ip nat sip kernel`
    ShowSipKernel,
    /// `show ip nat sip store`
    ShowSipStore,
    /// `show tech-support`
    ShowTechSupport,
    /// `clear ip nat translation ...`
    ClearTranslations {
        /// Which.
        which: Clear,
        /// Also what is needed by others.
        forced: bool,
    },
    /// `clear ip nat statistics`
    ClearStatistics,
    /// `clear access-list counters [LIST]`
    ClearAccessLists(Option<String>),
    /// `show ip nat statistics`
    ShowStatistics,
    /// `show access-lists [NAME]`, `show ip access-lists [NAME]`
    ShowAccessLists(Option<String>),
    /// `show ip nat sip doors`
    ShowSipDoors,
    /// `show ip nat sip counters`
    ShowSipCounters,
    /// `show ip nat sip connections`
    ShowSipConnections,
    /// `show running-config`
    ShowRunningConfig,
    /// `show startup-config`
    ShowStartupConfig,
    /// `show version`
    ShowVersion,
    /// `show debugging`
    ShowDebugging,
    /// `show privilege`
    ShowPrivilege,
    /// `show ip nat sip messages`
    ShowSipMessages,
    /// `show ip nat sip message {last | ID} [diff]`
    ShowSipMessage {
        /// Which one.
        which: WhichMessage,
        /// Only the lines that were changed.
        diff: bool,
    },
    /// `show ip nat sip calls`
    ShowSipCalls,
    /// `show ip nat sip call ID`: by number or Call-ID.
    ShowSipCall(String),
    /// `show ip nat sip registrations`
    ShowSipRegistrations,
    /// `debug ip nat sip [dry-run] [LIST] [detailed] [json]`
    DebugSip {
        /// Change nothing on these flows, and show what would be.
        dry_run: bool,
        /// Which flows.
        what: DebugWhat,
    },
    /// `no debug ip nat sip [dry-run]`, `undebug ip nat sip [dry-run]`
    NoDebugSip {
        /// The dry run, or else the debugging.
        dry_run: bool,
    },
    /// `undebug all`
    UndebugAll,
    /// `terminal length N`: lines of a page, 0 for no pages; none for the terminal's own height.
    TerminalLength(Option<u16>),
    /// `terminal width N`: characters of a line; none for the default.
    TerminalWidth(Option<u16>),
    /// `terminal monitor`: whether debug lines are shown here.
    TerminalMonitor {
        /// They are, even those that another session asked for; or else none is.
        on: bool,
    },
    /// `enable`
    Enable,
    /// `disable`
    Disable,
    /// `configure terminal`
    ConfigureTerminal,
    /// `configure replace FILE [force]`
    ConfigureReplace {
        /// Where the new configuration is.
        file: String,
        /// Without asking back.
        force: bool,
    },
    /// `copy running-config startup-config`, `write memory`
    WriteMemory,
    /// `reload`
    Reload,
    /// `exit`
    Exit,
}

/// Which message is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhichMessage {
    /// The last one that is kept.
    Last,
    /// By its number.
    Id(u64),
}

/// What is debugged, and how it is shown.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct DebugWhat {
    /// Only flows whose inside or outside host this access list permits.
    pub list: Option<String>,
    /// With addresses, Call-ID, each edit, doors and timers.
    pub detailed: bool,
    /// As JSON lines.
    pub json: bool,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Privilege {
    /// Anyone who may open the console: level 1 of IOS.
    #[default]
    User,
    /// Who has said `enable`: level 15.
    Privileged,
}

/// The commands of exec mode that someone may use.
pub fn commands(privilege: Privilege) -> impl Iterator<Item = &'static Command<Question>> + Clone {
    let more = match privilege {
        Privilege::User => &[],
        Privilege::Privileged => PRIVILEGED,
    };
    EXEC.iter().chain(more)
}

/// Reads a line of exec mode.
///
/// # Errors
/// What is wrong with the line; [`Problem::marked`] puts the `^` under it.
pub fn interpret(privilege: Privilege, line: &str) -> Result<Exec, Problem> {
    let text = line.trim_start();
    if text.is_empty() || text.starts_with('!') {
        return Ok(Exec::Nothing);
    }
    let (command, args) = grammar::parse(commands(privilege), line)?;
    let exec = (command.meaning)(&args);
    let shows = matches!(command.pattern.first(), Some(Part::One(token)) if token.name == "show");
    Ok(match shows && args.has("json") {
        true => Exec::Json(Box::new(exec)),
        false => exec,
    })
}
