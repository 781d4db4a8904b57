//! How the worker says how it goes: to the keeper by a byte in a pipe, without one to systemd.

use crate::log;
use sd_notify::NotifyState;
use std::io::{PipeWriter, Write};

/// What the worker says to those who wait for it.
#[derive(Debug)]
pub enum Herald {
    /// There is no keeper: systemd hears it.
    Alone,
    /// The keeper hears it, and tells systemd.
    Keeper(&'static PipeWriter),
}

/// Connections are carried.
pub(super) const READY: u8 = b'r';
/// The configuration was read again.
const RELOADED: u8 = b'l';

impl Herald {
    /// Connections are carried from now on.
    pub fn ready(&mut self) {
        if let Herald::Alone = self {
            log::line(format_args!("ready"));
        }
        self.say(READY, &[NotifyState::Ready]);
    }

    /// The configuration is being read again.
    pub fn reloading(&mut self) {
        let since = NotifyState::monotonic_usec_now();
        if let (Herald::Alone, Ok(since)) = (&self, since) {
            tell(&[NotifyState::Reloading, since]);
        }
    }

    /// It was read.
    pub fn reloaded(&mut self) {
        self.say(RELOADED, &[NotifyState::Ready]);
    }

    /// The end has begun.
    pub fn stopping(&mut self) {
        if let Herald::Alone = self {
            tell(&[NotifyState::Stopping]);
        }
    }

    fn say(&mut self, word: u8, state: &[NotifyState<'_>]) {
        match self {
            Herald::Alone => tell(state),
            // A keeper that does not hear is no more, and so are we.
            Herald::Keeper(bell) => drop((&**bell).write(&[word])),
        }
    }
}

/// Without systemd there is nobody to tell, and nothing to be done if it does not hear.
pub(super) fn tell(state: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(state);
}
