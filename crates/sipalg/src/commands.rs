//! Carries out what operators ask on the console.

use crate::carrier::Carrier;
use crate::log;
use sipalg_core::Instant;
use sipalg_ios::exec::{self, Exec};
use sipalg_ios::{Startup, running, show};

/// What a command may look at and change.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The configuration in force.
    pub startup: &'a Startup,
    /// The connections, the machine and the kernel.
    pub carrier: &'a mut Carrier,
    /// When.
    pub now: Instant,
    /// Whether debug lines go to who asks.
    pub debug: &'a mut bool,
}

/// The operator wants to leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit;

/// Answers one line. The text starts with `%` if the line was wrong.
///
/// # Errors
/// The line was `exit`.
pub fn answer(line: &str, asked: Asked<'_>) -> Result<String, Exit> {
    let command = match exec::parse(line) {
        Ok(command) => command,
        Err(wrong) => return Ok(wrong + "\n"),
    };
    let Asked {
        startup,
        carrier,
        now,
        debug,
    } = asked;
    Ok(match command {
        Exec::Nothing => String::new(),
        Exec::ShowTranslations { verbose } => {
            show::translations(&carrier.alg().mappings(now), verbose, now)
        }
        Exec::ShowStatistics => {
            let alg = carrier.alg();
            show::statistics(&alg.mappings(now), &alg.doors(), startup)
        }
        Exec::ShowSipDoors => sip_doors(carrier),
        Exec::ShowSipCounters => show::counters(&carrier.alg().counters()),
        Exec::ShowSipConnections => show::sip_connections(&carrier.connections(now)),
        Exec::ShowRunningConfig => show::running_config(&running::config(startup)),
        Exec::ShowVersion => show::version(env!("CARGO_PKG_VERSION")),
        Exec::ShowDebugging => show::debugging(*debug),
        Exec::DebugSip { on } => {
            *debug = on;
            if on { show::DEBUG_ON } else { show::DEBUG_OFF }.into()
        }
        Exec::UndebugAll => {
            *debug = false;
            show::UNDEBUG_ALL.into()
        }
        Exec::Exit => return Err(Exit),
    })
}

/// A door whose packets the kernel does not tell is shown without them.
fn sip_doors(carrier: &mut Carrier) -> String {
    let counts = carrier.kernel().media_counts().unwrap_or_else(|error| {
        log::line(format_args!("cannot read media counts: {error}"));
        Vec::new()
    });
    show::sip_doors(&carrier.alg().doors(), &counts)
}
