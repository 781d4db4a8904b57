//! What operators change: the configuration that they type, the one in force, and the one on disk.
//!
//! ```text
//!   typed  --what of it works-->  in force        each line, at once
//!   typed  --write memory-->      startup-config
//!   startup-config, a file  --reload, configure replace-->  typed and in force, all or nothing
//! ```

use super::{Gateway, files};
use sipalg_core::Leg;
use sipalg_ios::grammar::Fault;
use sipalg_ios::session::pending;
use sipalg_ios::show::{Format, render, startup_config};
use sipalg_ios::{Startup, running};
use std::path::Path;

/// The configuration as it was typed, line by line. Part of it may wait for lines to come.
#[derive(Clone, Debug, Default)]
pub struct Typed {
    /// What `show running-config` shows.
    pub startup: Startup,
    /// What lines to come must bring, so that all is in force.
    waits: Vec<String>,
    /// What the host must bring.
    idle: Vec<String>,
}

impl From<Startup> for Typed {
    /// A configuration of which nothing waits.
    fn from(startup: Startup) -> Typed {
        Typed {
            startup,
            ..Typed::default()
        }
    }
}

/// Takes what a line has made of the typed configuration, and puts in force what of it works. Gives
/// the warnings about what has to wait now.
///
/// # Errors
/// Why it is refused; then all is as before.
pub(super) fn configure(gateway: &mut impl Gateway, startup: Startup) -> Result<String, String> {
    let (workable, mut waits) = pending::split(&startup, gateway.startup());
    match gateway.lacks(&workable) {
        Some(reason) => waits.push(reason),
        None if workable != *gateway.startup() => gateway.apply(workable)?,
        None => {}
    }
    let idle = [Leg::Inside, Leg::Outside].map(|side| gateway.host_lacks(&startup, side));
    let idle = idle.concat();
    let typed = gateway.typed();
    let known = |reason: &&String| !typed.waits.contains(reason) && !typed.idle.contains(reason);
    let new = waits.iter().chain(&idle).filter(known);
    let warnings = new
        .map(|reason| format!("%SIPALG-4-PENDING: {reason}\n"))
        .collect();
    *typed = Typed {
        startup,
        waits,
        idle,
    };
    Ok(warnings)
}

/// `show startup-config`
pub(super) fn show_saved(gateway: &impl Gateway, format: Format) -> String {
    match files::read(gateway.file()) {
        Ok(text) => render(&startup_config(&text), format),
        Err(reason) => format!("% {reason}\n"),
    }
}

/// `write memory`. A configuration that the gateway would not start with is not saved.
pub(super) fn save(gateway: &mut impl Gateway) -> String {
    let Typed { startup, waits, .. } = gateway.typed().clone();
    let lacks = gateway.host_lacks(&startup, Leg::Inside);
    let result = match waits.first().or(lacks.first()) {
        Some(reason) => Err(format!(
            "not saved, since the gateway would not start with it: {reason}"
        )),
        None => files::write(gateway.file(), &running::config(&startup)),
    };
    match result {
        Ok(()) => "Building configuration...\n[OK]\n".into(),
        Err(reason) => format!("% {reason}\n"),
    }
}

/// `reload`: as the start would read it, but nothing that goes on is disturbed without need.
pub(super) fn reload(gateway: &mut impl Gateway) -> String {
    let file = gateway.file().to_owned();
    match load(gateway, &file) {
        Ok(()) => "[OK]\n".into(),
        Err(reason) => format!("% {reason}\n"),
    }
}

/// `configure replace FILE`. A relative path begins where the startup configuration is.
pub(super) fn replace(gateway: &mut impl Gateway, file: &str) -> String {
    let folder = gateway.file().parent().unwrap_or(Path::new("."));
    let file = folder.join(file);
    match load(gateway, &file) {
        Ok(()) => "Rollback Done\n".into(),
        Err(reason) => format!("% {reason}\n"),
    }
}

/// Puts the configuration of a file in force, all or nothing.
fn load(gateway: &mut impl Gateway, file: &Path) -> Result<(), String> {
    let text = files::read(file)?;
    // Not the line itself: who may configure need not be allowed to read every file.
    let startup = Startup::parse(&text).map_err(|error| {
        let what = match &error.problem.fault {
            Fault::Invalid => "invalid input",
            Fault::Incomplete => "incomplete command",
            Fault::Ambiguous => "ambiguous command",
            Fault::Refused(reason) => reason,
        };
        format!(
            "{}, line {}, column {}: {}; nothing has changed",
            file.display(),
            error.line_number,
            error.problem.column + 1,
            what
        )
    })?;
    let lacks = gateway.lacks(&startup);
    if let Some(reason) = lacks.or_else(|| gateway.host_lacks(&startup, Leg::Inside).pop()) {
        return Err(format!("{}: {reason}; nothing has changed", file.display()));
    }
    gateway.apply(startup.clone())?;
    *gateway.typed() = startup.into();
    Ok(())
}
