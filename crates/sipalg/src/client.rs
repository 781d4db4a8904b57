//! `sipalg console`: a terminal on a running gateway, or commands for scripts.
//!
//! ```text
//!   client --+-- script       commands of -c or stdin, one after the other; the status tells
//!            |-- terminal     the editor: history, TAB, `?`; debug lines over the prompt
//!            |     |-- line        questions to the gateway, and what it pushes
//!            |     |-- keys        what the keys do that only IOS has
//!            |     |-- tty         nothing is shown that is typed ahead
//!            |     `-- pager       --More--
//!            `-- frames       what the gateway sends: answers and pushed lines
//! ```

pub mod frames;
mod keys;
mod line;
mod pager;
mod script;
mod terminal;
mod tty;

use crate::log;
use std::io::{self, IsTerminal};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

/// Gives `commands` in order, or else the lines of stdin, or else those of the operator at the
/// terminal. Exit status 1 if a command of a script was wrong, or no gateway answers.
pub fn run(socket: &Path, commands: &[String]) -> ExitCode {
    let stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) => {
            let path = socket.display();
            log::line(format_args!(
                "no gateway answers at {path}: {error}; is `sipalg run` running?"
            ));
            return ExitCode::FAILURE;
        }
    };
    let session = if !commands.is_empty() {
        script::commands(stream, commands)
    } else if io::stdin().is_terminal() && io::stdout().is_terminal() {
        terminal::run(stream).map(|()| true)
    } else {
        script::stdin(stream)
    };
    match session {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            log::line(format_args!("the gateway has gone: {error}"));
            ExitCode::FAILURE
        }
    }
}
