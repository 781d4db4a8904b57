//! What the gateway tells its operator: lines on stderr, for a terminal or the journal.

use sipalg_core::Instant;
use std::fmt::Arguments;
use std::io::{self, Write};
use std::time::Duration;

/// How often a line is repeated of which peers could bring about any number.
const SELDOM: Duration = Duration::from_secs(10);

/// Writes one line. A stderr that is gone is no reason to stop carrying calls.
pub fn line(text: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "sipalg: {text}");
}

/// A line that peers can bring about as often as they like.
#[derive(Debug, Default)]
pub struct Seldom {
    again_at: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// Writes the line, or counts it for the next one if there was one a short time ago.
    pub fn line(&mut self, now: Instant, text: Arguments<'_>) {
        if self.again_at.is_some_and(|at| now < at) {
            self.untold += 1;
            return;
        }
        self.again_at = Some(now + SELDOM);
        match std::mem::take(&mut self.untold) {
            0 => line(text),
            untold => line(format_args!("{text} (and {untold} times before)")),
        }
    }
}
