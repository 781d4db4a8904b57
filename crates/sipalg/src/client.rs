//! `sipalg console`: asks a running gateway, and shows debug lines while they come.

use crate::log;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sipalg_ios::exec::{self, Exec};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

/// Asks `commands` in order, or else the lines of stdin, and prints the answers. Goes on to show
/// debug lines if the last word was to turn them on. Exit status 1 if a command was wrong or no
/// gateway answers.
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
    let session = if commands.is_empty() {
        ask_stdin(stream)
    } else {
        ask(stream, commands)
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

/// Asks one command after the other; whether all were right.
fn ask(mut stream: UnixStream, commands: &[String]) -> io::Result<bool> {
    let mut printer = Printer::new(io::stdout());
    for command in commands {
        writeln!(stream, "{}", command.replace('\n', " "))?;
        let asked = printer.answers + 1;
        while printer.answers < asked {
            if !printer.take_from(&mut stream)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    if debugging(commands) {
        while printer.take_from(&mut stream)? {}
    }
    Ok(printer.right)
}

/// Asks what comes on stdin, while printing what comes from the gateway.
fn ask_stdin(mut stream: UnixStream) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut printer = Printer::new(io::stdout());
    let mut typing = true;
    loop {
        let mut watched = vec![PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
        if typing {
            watched.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        let ready = |index: usize| watched.get(index).and_then(PollFd::any).unwrap_or(false);
        let (answered, typed) = (ready(0), ready(1));
        if answered && !printer.take_from(&mut stream)? {
            return Ok(printer.right);
        }
        if typed {
            let mut text = [0; 4096];
            // Not through the buffer of `Stdin`, whose content the poll would not see.
            let read = nix::unistd::read(stdin.as_fd(), &mut text)?;
            stream.write_all(&text[..read])?;
            if read == 0 {
                // The gateway closes when it has answered everything.
                stream.shutdown(Shutdown::Write)?;
                typing = false;
            }
        }
    }
}

/// Whether debugging is on after these commands.
fn debugging(commands: &[String]) -> bool {
    let switch = |command: &String| match exec::parse(command) {
        Ok(Exec::DebugSip { on }) => Some(on),
        Ok(Exec::UndebugAll) => Some(false),
        _ => None,
    };
    commands.iter().rev().find_map(switch).unwrap_or(false)
}

/// Prints what the gateway sends, without the NULs that end its answers.
struct Printer<W> {
    to: W,
    /// How many answers have ended.
    answers: usize,
    /// Whether no answer said that its command was wrong.
    right: bool,
    at_line_start: bool,
}

impl<W: Write> Printer<W> {
    fn new(to: W) -> Self {
        Printer {
            to,
            answers: 0,
            right: true,
            at_line_start: true,
        }
    }

    /// Prints what one read gives; false at the end.
    fn take_from(&mut self, stream: &mut impl Read) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let read = loop {
            match stream.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.print(&buffer[..read])?;
        Ok(read > 0)
    }

    fn print(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.split_inclusive(|byte| *byte == 0 || *byte == b'\n') {
            // Debug lines start with their time, so that only a wrong command's answer has this.
            self.right &= !(self.at_line_start && piece.first() == Some(&b'%'));
            self.at_line_start = piece.ends_with(b"\n") || piece.ends_with(b"\0");
            match piece.strip_suffix(b"\0") {
                Some(text) => {
                    self.answers += 1;
                    self.to.write_all(text)?;
                }
                None => self.to.write_all(piece)?,
            }
        }
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(pieces: &[&[u8]]) -> (String, usize, bool) {
        let mut printer = Printer::new(Vec::new());
        for piece in pieces {
            printer.print(piece).unwrap();
        }
        (
            String::from_utf8(printer.to).unwrap(),
            printer.answers,
            printer.right,
        )
    }

    #[test]
    fn answers_are_printed_without_their_ends_and_counted() {
        let printed = print(&[b"one\n\0May 23: li", b"ne\ntwo", b"\n\0"]);
        assert_eq!(printed, ("one\nMay 23: line\ntwo\n".into(), 2, true));
    }

    #[test]
    fn an_answer_that_starts_with_a_percent_sign_is_an_error_wherever_it_is_cut() {
        assert!(!print(&[b"fine\n\0", b"% Invalid input\n\0"]).2);
        assert!(!print(&[b"May 23: line\n% Invalid input\n\0"]).2);
        assert!(print(&[b"allocated 1 (20", b"%), misses 0\n\0"]).2);
        assert!(print(&[b"May 23: %SIPALG-4-DROPPED: 3 debug lines\nok\n\0"]).2);
    }

    #[test]
    fn the_last_word_about_debugging_counts() {
        let after = |commands: &[&str]| {
            debugging(
                &commands
                    .iter()
                    .map(|command| (*command).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert!(after(&["debug ip nat sip", "show ip nat translations"]));
        assert!(!after(&["debug ip nat sip", "undebug all"]));
        assert!(!after(&["show ip nat translations"]));
    }
}
