//! What the gateway tells its operator: lines on stderr, for a terminal or the journal; or, with
//! `--log json`, lines of JSON for programs, with all that the machine sees.

use crate::observe::{self, About};
use jiff::ZonedDateTime;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sipalg_core::{Event, Instant};
use sipalg_ios::json;
use std::fmt::Arguments;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How often a line is repeated of which peers could bring about any number.
const SELDOM: Duration = Duration::from_secs(10);

/// Whether lines are JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// How many events were not written since the last that was.
static LOST: AtomicU64 = AtomicU64::new(0);

/// From here on lines are JSON.
pub fn use_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// Whether they are.
pub fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Writes one line. A stderr that is gone is no reason to stop carrying calls.
pub fn line(text: Arguments<'_>) {
    let mut stderr = io::stderr().lock();
    let _ = if is_json() {
        let now = observe::time(&ZonedDateTime::now());
        writeln!(stderr, "{}", json::message(&now, &text.to_string()))
    } else {
        writeln!(stderr, "sipalg: {text}")
    };
}

/// Writes an event, unless whoever reads stderr is too slow: then it is lost, and counted.
pub fn event(now: &ZonedDateTime, about: Option<About>, event: &Event) {
    let stderr = io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    // A pipe that is ready has room for PIPE_BUF bytes at least, and a line is shorter.
    if !matches!(poll(&mut ready, PollTimeout::ZERO), Ok(1)) {
        LOST.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let lost = LOST.swap(0, Ordering::Relaxed);
    if lost > 0 {
        line(format_args!(
            "{lost} events were not logged: stderr is read too slowly"
        ));
    }
    let _ = writeln!(stderr.lock(), "{}", observe::json_line(now, about, event));
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
