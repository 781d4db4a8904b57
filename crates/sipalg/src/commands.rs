//! Carries out what operators ask on the console.

use crate::carrier::Carrier;
use sipalg_core::Instant;
use sipalg_ios::exec::{self, Exec};
use sipalg_ios::startup::Startup;

/// What a command gives.
#[derive(Debug)]
pub struct Answer {
    /// What is printed; it starts with `%` if the command was wrong.
    pub text: String,
    /// Whether the asker's debug lines change, and to what.
    pub debug: Option<bool>,
}

/// Answers one line.
pub fn answer(line: &str, _startup: &Startup, carrier: &mut Carrier, now: Instant) -> Answer {
    let mut debug = None;
    let text = match exec::parse(line) {
        Err(text) => text,
        Ok(Exec::Debug) => {
            debug = Some(true);
            "SIP NAT debugging is on\n".into()
        }
        Ok(Exec::NoDebug) => {
            debug = Some(false);
            "All possible debugging has been turned off\n".into()
        }
        Ok(_) => format!(
            "{:?}\n{} connections\n",
            carrier.alg().mappings(now),
            carrier.connections()
        ),
    };
    Answer { text, debug }
}
