//! Carries out what operators type on the console.

mod configuration;
mod files;

pub use configuration::Typed;

use crate::carrier::Carrier;
use crate::log;
use sipalg_core::config::Selection;
use sipalg_core::{Instant, Leg};
use sipalg_ios::exec::DebugWhat;
use sipalg_ios::session::{Action, Session};
use sipalg_ios::{Exec, Startup, running, show};
use std::path::Path;
use std::rc::Rc;

/// What a command may look at and change.
pub trait Gateway {
    /// The configuration in force.
    fn startup(&self) -> &Startup;
    /// The configuration as it was typed.
    fn typed(&mut self) -> &mut Typed;
    /// The file with the startup configuration.
    fn file(&self) -> &Path;
    /// The connections, the machine and the kernel.
    fn carrier(&mut self) -> &mut Carrier;
    /// What a configuration lacks to be carried out on any host.
    fn lacks(&self, startup: &Startup) -> Option<String>;
    /// What this host lacks of what a configuration names on a side. The gateway does not start
    /// without what is inside; rules wait for what is outside.
    fn host_lacks(&self, startup: &Startup, side: Leg) -> Vec<String>;
    /// Puts a configuration in force.
    ///
    /// # Errors
    /// Why it cannot be; then all is as before.
    fn apply(&mut self, startup: Startup) -> Result<(), String>;
}

/// Which debug lines a session is shown.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Watch {
    /// `debug ip nat sip` was said here.
    pub debug: Option<Rc<Debug>>,
    /// `debug ip nat sip dry-run` was said here.
    pub dry_run: Option<Rc<Debug>>,
    /// `terminal monitor`.
    pub monitor: Monitor,
}

/// What is debugged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Debug {
    /// As it was asked for.
    pub what: DebugWhat,
    /// Which flows that is.
    pub flows: Selection,
}

impl Watch {
    /// What was asked for here.
    pub fn asked(&self) -> impl Iterator<Item = &Rc<Debug>> {
        self.debug.iter().chain(&self.dry_run)
    }

    /// Looks its access lists up again; what is not there any more goes on as it was.
    pub fn relist(&mut self, lists: impl Fn(&str) -> Option<Selection>) {
        for debug in [&mut self.debug, &mut self.dry_run].into_iter().flatten() {
            let list = debug.what.list.as_deref();
            if let Some(flows) = list.and_then(&lists) {
                let what = debug.what.clone();
                *debug = Rc::new(Debug { what, flows });
            }
        }
    }
}

/// What a session is shown of what is debugged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Monitor {
    /// What it asked for itself.
    #[default]
    Own,
    /// What any session asked for.
    All,
    /// Nothing.
    Nothing,
}

/// Answers one line of a session; nothing if the operator leaves. The answer has a line that starts
/// with `% ` if the line was wrong.
pub fn answer(
    gateway: &mut impl Gateway,
    session: &mut Session,
    watch: &mut Watch,
    now: Instant,
    line: &str,
) -> Option<String> {
    match session.line(line, &gateway.typed().startup) {
        Action::Say(text) => Some(text),
        Action::Leave => None,
        Action::Configure(startup, mode) => {
            Some(match configuration::configure(gateway, *startup) {
                Ok(warnings) => {
                    session.enter(mode);
                    warnings
                }
                Err(reason) => format!("% {reason}\n"),
            })
        }
        Action::Ask(exec, filter) => {
            let text = carry_out(gateway, watch, now, exec);
            Some(match filter {
                Some(filter) => filter.apply(&text),
                None => text,
            })
        }
    }
}

fn carry_out(gateway: &mut impl Gateway, watch: &mut Watch, now: Instant, exec: Exec) -> String {
    match exec {
        Exec::ShowTranslations { verbose } => {
            show::translations(&gateway.carrier().alg().mappings(now), verbose, now)
        }
        Exec::ShowStatistics => {
            let startup = gateway.startup().clone();
            let alg = gateway.carrier().alg();
            let (mappings, doors, counters) = (alg.mappings(now), alg.doors(), alg.counters());
            let rules = &alg.config().sources;
            show::statistics(&mappings, &doors, &counters, rules, &startup)
        }
        Exec::ShowAccessLists(name) => access_lists(gateway, name.as_deref()),
        Exec::ShowSipDoors => sip_doors(gateway.carrier()),
        Exec::ShowSipCounters => show::counters(&gateway.carrier().alg().counters()),
        Exec::ShowSipConnections => show::sip_connections(&gateway.carrier().connections(now)),
        Exec::ShowRunningConfig => show::running_config(&running::config(&gateway.typed().startup)),
        Exec::ShowStartupConfig => configuration::show_saved(gateway),
        Exec::WriteMemory => configuration::save(gateway),
        Exec::Reload => configuration::reload(gateway),
        Exec::ConfigureReplace { file, .. } => configuration::replace(gateway, &file),
        Exec::ShowVersion => show::version(env!("CARGO_PKG_VERSION")),
        Exec::ShowDebugging => {
            let what = |debug: &Option<Rc<Debug>>| debug.as_ref().map(|debug| debug.what.clone());
            show::debugging(what(&watch.debug).as_ref(), what(&watch.dry_run).as_ref())
        }
        Exec::DebugSip { dry_run, what } => debug_sip(gateway, watch, dry_run, what),
        Exec::NoDebugSip { dry_run: false } => {
            watch.debug = None;
            show::DEBUG_OFF.into()
        }
        Exec::NoDebugSip { dry_run: true } => {
            watch.dry_run = None;
            show::DRY_RUN_OFF.into()
        }
        Exec::UndebugAll => {
            (watch.debug, watch.dry_run) = (None, None);
            show::UNDEBUG_ALL.into()
        }
        Exec::TerminalMonitor { on } => {
            watch.monitor = if on { Monitor::All } else { Monitor::Nothing };
            String::new()
        }
        // The session has seen to these.
        Exec::Nothing
        | Exec::ShowPrivilege
        | Exec::TerminalLength(_)
        | Exec::TerminalWidth(_)
        | Exec::Enable
        | Exec::Disable
        | Exec::ConfigureTerminal
        | Exec::Exit => String::new(),
    }
}

/// The flows that an access list of this name means.
pub fn selection(startup: &Startup, name: &str) -> Option<Selection> {
    let list = startup.lists.get(name)?;
    Some(Selection::List(list.compile(name)))
}

fn debug_sip(
    gateway: &mut impl Gateway,
    watch: &mut Watch,
    dry_run: bool,
    what: DebugWhat,
) -> String {
    let flows = match &what.list {
        None => Selection::All,
        Some(name) => match selection(&gateway.typed().startup, name) {
            Some(flows) => flows,
            None => return format!("% There is no access list {name}\n"),
        },
    };
    let text = show::debug_on(&what, dry_run);
    let place = if dry_run {
        &mut watch.dry_run
    } else {
        &mut watch.debug
    };
    *place = Some(Rc::new(Debug { what, flows }));
    text
}

/// A list whose matches the kernel does not tell is shown without them.
fn access_lists(gateway: &mut impl Gateway, name: Option<&str>) -> String {
    let hits = gateway.carrier().kernel().access_hits();
    let hits = hits.unwrap_or_else(|error| {
        log::line(format_args!(
            "cannot read the matches of access lists: {error}"
        ));
        Vec::new()
    });
    show::access_lists(gateway.startup(), &hits, name)
}

/// A door whose packets the kernel does not tell is shown without them.
fn sip_doors(carrier: &mut Carrier) -> String {
    let counts = carrier.kernel().media_counts().unwrap_or_else(|error| {
        log::line(format_args!("cannot read media counts: {error}"));
        Vec::new()
    });
    show::sip_doors(&carrier.alg().doors(), &counts)
}
