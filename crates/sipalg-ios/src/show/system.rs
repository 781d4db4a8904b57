//! `show version`, `show debugging`, and configurations.

use super::View;
use crate::exec::DebugWhat;
use core::time::Duration;
use serde::Serialize;

/// `show version`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Version {
    /// Of the program.
    pub version: &'static str,
    /// How it was built: `release` or `debug`.
    pub build: &'static str,
    /// For which machines: `x86_64-linux`.
    pub target: String,
    /// The kernel that it runs on: `Linux 6.1.0`.
    pub kernel: String,
    /// The name in prompts.
    pub hostname: String,
    /// Since the start.
    pub uptime_seconds: u64,
    /// Its process.
    pub process: u32,
    /// The startup configuration.
    pub configuration_file: String,
}

impl View for Version {
    fn text(&self) -> String {
        let uptime = words(Duration::from_secs(self.uptime_seconds));
        format!(
            "sipalg Software, Version {}, {} build for {}\n{}\n\n{} uptime is {uptime}\n\
             Process ID is {}\nStartup configuration file is \"{}\"\n",
            self.version,
            self.build,
            self.target,
            self.kernel,
            self.hostname,
            self.process,
            self.configuration_file
        )
    }
}

/// A time span as `show version` says it: `2 days, 1 minute`.
fn words(span: Duration) -> String {
    let minutes = span.as_secs() / 60;
    let parts = [
        ("week", minutes / (7 * 24 * 60)),
        ("day", minutes / (24 * 60) % 7),
        ("hour", minutes / 60 % 24),
        ("minute", minutes % 60),
    ];
    let said = |(name, count): &(&str, u64)| match count {
        0 => None,
        1 => Some(format!("1 {name}")),
        count => Some(format!("{count} {name}s")),
    };
    let said: Vec<_> = parts.iter().filter_map(said).collect();
    match said.is_empty() {
        true => "0 minutes".into(),
        false => said.join(", "),
    }
}

/// `show debugging`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Debugging {
    ip_nat_sip: Option<DebugWhat>,
    dry_run: Option<DebugWhat>,
}

/// `show debugging`.
pub fn debugging(debug: Option<DebugWhat>, dry_run: Option<DebugWhat>) -> Debugging {
    Debugging {
        ip_nat_sip: debug,
        dry_run,
    }
}

impl View for Debugging {
    fn text(&self) -> String {
        let of = [(&self.ip_nat_sip, false), (&self.dry_run, true)];
        let lines = of.into_iter().filter_map(|(what, dry_run)| {
            let line = debug_on(what.as_ref()?, dry_run);
            Some(format!("  {line}"))
        });
        let lines: String = lines.collect();
        match lines.is_empty() {
            true => lines,
            false => format!("Generic IP:\n{lines}"),
        }
    }
}

/// What `debug ip nat sip` answers, and `show debugging` says while it is on.
pub fn debug_on(what: &DebugWhat, dry_run: bool) -> String {
    let DebugWhat {
        list,
        detailed,
        json,
    } = what;
    let what = if dry_run { "dry run" } else { "debugging" };
    let mut text = format!("IP NAT SIP {what} is on");
    if let Some(list) = list {
        text += &format!(" for access list {list}");
    }
    let manner = [(*detailed, "detailed"), (*json, "json")].into_iter();
    let manner: Vec<&str> = manner.filter_map(|(is, name)| is.then_some(name)).collect();
    if !manner.is_empty() {
        text += &format!(" ({})", manner.join(", "));
    }
    text + "\n"
}

/// `show running-config`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RunningConfig {
    bytes: usize,
    lines: Vec<String>,
}

/// `show running-config`, around the text of [`crate::running`].
pub fn running_config(text: &str) -> RunningConfig {
    RunningConfig {
        bytes: text.len(),
        lines: text.lines().map(String::from).collect(),
    }
}

impl View for RunningConfig {
    fn text(&self) -> String {
        let bytes = self.bytes;
        let text = lines(&self.lines);
        format!("Building configuration...\n\nCurrent configuration : {bytes} bytes\n{text}")
    }
}

/// `show startup-config`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct StartupConfig {
    bytes: usize,
    lines: Vec<String>,
}

/// `show startup-config`, of the text of its file. Control characters are not shown.
pub fn startup_config(text: &str) -> StartupConfig {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let line = |line: &str| line.chars().map(printable).collect();
    StartupConfig {
        bytes: text.len(),
        lines: text.lines().map(line).collect(),
    }
}

impl View for StartupConfig {
    fn text(&self) -> String {
        format!("Using {} bytes\n{}", self.bytes, lines(&self.lines))
    }
}

fn lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
