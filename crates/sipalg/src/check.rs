//! `sipalg check`: what is wrong with a configuration, and what in this machine would stop it from
//! working. Changes nothing, and says what it could not look at.
//!
//! ```text
//!   host     interfaces, addresses, settings, programs that wait at our ports
//!   probe    whether the kernel does all that the configuration asks for, in a network of its own
//! ```

mod host;
pub mod probe;

use crate::configuration::interfaces;
use crate::kernel::{Plan, firewall};
use crate::plan::{self, Interfaces};
use sipalg_ios::faults::{Review, review};
use std::fmt;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;

/// What `sipalg check` is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration.
    pub file: PathBuf,
    /// The port that the gateway would be started with.
    pub tproxy_port: u16,
}

/// Something about this machine that the operator should know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// What there is.
    pub what: String,
    /// What to do about it, if anything.
    pub remedy: String,
}

/// How bad something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    /// The configuration does not work here as it says.
    Stops,
    /// It works; there is something to know.
    Note,
    /// It could not be looked at.
    Unseen,
}

impl Finding {
    pub(crate) fn new(
        weight: Weight,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding {
            weight,
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Stops => "wrong",
            Weight::Note => "note",
            Weight::Unseen => "not seen",
        };
        write!(f, "  {weight}: {}", self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "\n    remedy: {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Checks, and tells on standard output. Exit status 2 if the file is wrong, 1 if the machine is.
pub fn run(options: &Options) -> ExitCode {
    let (report, status) = check(options);
    // Who has stopped reading knows enough.
    let _ = std::io::stdout().write_all(report.as_bytes());
    ExitCode::from(status)
}

fn check(options: &Options) -> (String, u8) {
    let file = options.file.display();
    let text = match fs::read_to_string(&options.file) {
        Ok(text) => text,
        Err(error) => return (format!("cannot read {file}: {error}\n"), 2),
    };
    let review = review(&text);
    let mut report = String::new();
    for fault in &review.faults {
        report += &format!("{}\n", fault.in_file(&file));
    }
    let interfaces = match interfaces() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            report += &format!("cannot list this host's interfaces: {error}\n");
            return (report, if review.faults.is_empty() { 1 } else { 2 });
        }
    };
    let listener = SocketAddrV4::new(Ipv4Addr::LOCALHOST, options.tproxy_port);
    let plan = plan::plan(&review.startup, &known(&interfaces), listener);
    if let (Err(lack), true) = (&plan, review.faults.is_empty()) {
        report += &format!("{file}: {lack}\n");
    }
    let is_wrong = plan.is_err() || !review.faults.is_empty();
    if !is_wrong {
        report += &format!("{file}: {} lines, nothing is wrong\n", text.lines().count());
    }
    let findings = findings(options, &review, &interfaces, plan.ok().as_ref());
    report += "this machine:\n";
    for finding in &findings {
        report += &format!("{finding}\n");
    }
    let stops = findings.iter().any(|found| found.weight == Weight::Stops);
    let unseen = findings.iter().any(|found| found.weight == Weight::Unseen);
    report += match (stops, unseen) {
        (true, _) => "",
        (false, true) => "  nothing that could be looked at stands in the way\n",
        (false, false) => "  nothing stands in the way\n",
    };
    (report, if is_wrong { 2 } else { u8::from(stops) })
}

fn findings(
    options: &Options,
    review: &Review,
    interfaces: &Interfaces,
    plan: Option<&Plan>,
) -> Vec<Finding> {
    let mut found = host::findings(&review.startup, interfaces, options.tproxy_port);
    let Some(plan) = plan else { return found };
    found.extend(firewall::findings(plan).iter().map(|text| told(text)));
    if review.faults.is_empty() {
        found.extend(probe::findings(&options.file));
    }
    found
}

/// What is said of other rules on this host: what there is, and after a semicolon what to do.
fn told(sentence: &str) -> Finding {
    let (what, remedy) = sentence.split_once("; ").unwrap_or((sentence, ""));
    let unread = ["is not known", "which sipalg cannot read"];
    let weight = match unread.iter().any(|words| what.contains(words)) {
        true => Weight::Unseen,
        false => Weight::Stops,
    };
    Finding::new(weight, what, remedy)
}

/// The host as it may become: every interface has an address.
fn known(interfaces: &Interfaces) -> Interfaces {
    let mut known = interfaces.clone();
    for address in known.values_mut() {
        // For documentation, so nobody's (RFC 5737).
        address.get_or_insert(Ipv4Addr::new(192, 0, 2, 1));
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_told_with_its_remedy() {
        let finding = told("table ip x, chain y drops; insert a rule; or two");
        assert_eq!(
            finding.to_string(),
            "  wrong: table ip x, chain y drops\n    remedy: insert a rule; or two"
        );
        let unseen = told("what other tables do is not known: no permission");
        assert_eq!(unseen.weight, Weight::Unseen);
        assert!(!unseen.to_string().contains("remedy"));
    }
}
