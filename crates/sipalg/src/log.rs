//! What the gateway tells its operator: lines on stderr, for a terminal or the journal.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Writes one line. A stderr that is gone is no reason to stop carrying calls.
pub fn line(text: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "sipalg: {text}");
}
