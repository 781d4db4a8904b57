//! The state of the terminal while a session has it.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{self, Stdin};
use std::thread;

/// A terminal that shows nothing but what is printed: not a key that is typed ahead, which may be of
/// a secret. Put back when dropped, or when a signal ends the process.
#[derive(Debug)]
pub(super) struct Quiet(Termios);

impl Quiet {
    /// Takes the terminal on stdin. To be called before there are threads.
    ///
    /// # Errors
    /// Stdin is no terminal.
    pub(super) fn take() -> io::Result<Quiet> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ECHONL);
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
            .into_iter()
            .collect();
        signals.thread_block()?;
        let terminal = Quiet(before.clone());
        tcsetattr(io::stdin(), SetArg::TCSANOW, &quiet)?;
        thread::spawn(move || {
            if let Ok(signal) = signals.wait() {
                put_back(&io::stdin(), &before);
                std::process::exit(128 + signal as i32);
            }
        });
        Ok(terminal)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        put_back(&io::stdin(), &self.0);
    }
}

/// A terminal that is gone needs nothing.
fn put_back(terminal: &Stdin, state: &Termios) {
    let _ = tcsetattr(terminal, SetArg::TCSANOW, state);
}
