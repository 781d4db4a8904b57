//! Carries out what operators type on the console.

mod clear;
mod configuration;
mod files;
mod show;

pub use clear::Baseline;
pub use configuration::Typed;

use crate::carrier::Carrier;
use crate::store::Status;
use sipalg_core::alg::{Clear, Cleared};
use sipalg_core::config::Selection;
use sipalg_core::health::MediaHeard;
use sipalg_core::{Instant, Leg};
use sipalg_ios::exec::DebugWhat;
use sipalg_ios::session::{Action, Session};
use sipalg_ios::show::{DEBUG_OFF, DRY_RUN_OFF, Format, UNDEBUG_ALL, debug_on};
use sipalg_ios::{Exec, Startup};
use std::collections::HashMap;
use std::net::SocketAddrV4;
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
    /// What has been heard on media doors until now, by their inside ends.
    fn media_heard(&mut self, now: Instant) -> &HashMap<SocketAddrV4, MediaHeard>;
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
    /// Where things stand with the store.
    fn store(&mut self) -> Status;
    /// What was counted when the operator last cleared statistics.
    fn baseline(&mut self) -> &mut Baseline;
    /// Clears dynamic translations.
    ///
    /// # Errors
    /// What could not be cleared, and why; the rest is done.
    fn clear(&mut self, which: Clear, forced: bool) -> Result<Cleared, String>;
    /// What else on this host gets in the way of SIP, a sentence each.
    fn conflicts(&self) -> Vec<String>;
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
        Exec::Json(exec) => show::show(gateway, watch, now, &exec, Format::Json),
        Exec::ClearTranslations { which, forced } => clear::translations(gateway, which, forced),
        Exec::ClearStatistics => clear::statistics(gateway, now),
        Exec::ClearAccessLists(list) => clear::access_lists(gateway, list.as_deref()),
        Exec::WriteMemory => configuration::save(gateway),
        Exec::Reload => configuration::reload(gateway),
        Exec::ConfigureReplace { file, .. } => configuration::replace(gateway, &file),
        Exec::DebugSip { dry_run, what } => debug_sip(gateway, watch, dry_run, what),
        Exec::NoDebugSip { dry_run: false } => {
            watch.debug = None;
            DEBUG_OFF.into()
        }
        Exec::NoDebugSip { dry_run: true } => {
            watch.dry_run = None;
            DRY_RUN_OFF.into()
        }
        Exec::UndebugAll => {
            (watch.debug, watch.dry_run) = (None, None);
            UNDEBUG_ALL.into()
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
        exec => show::show(gateway, watch, now, &exec, Format::Text),
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
    let text = debug_on(&what, dry_run);
    let place = if dry_run {
        &mut watch.dry_run
    } else {
        &mut watch.debug
    };
    *place = Some(Rc::new(Debug { what, flows }));
    text
}
