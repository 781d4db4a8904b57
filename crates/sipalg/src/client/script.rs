//! Commands without an operator: of `-c`, or of stdin.

use super::frames::{Answer, Frame, Frames};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sipalg_ios::exec::{self, Exec, Privilege};
use sipalg_ios::session::{ABANDON, AskKind};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// Gives one command after the other, and prints the answers; whether all were right. Goes on to
/// show debug lines if the last word was to turn them on.
pub(super) fn commands(stream: UnixStream, commands: &[String]) -> io::Result<bool> {
    let mut talk = Talk::begin(stream)?;
    for command in commands {
        let command = command.replace('\n', " ");
        match talk.ask(&command) {
            Err(_) if meaning(&command) == Some(Exec::Exit) => return Ok(talk.right),
            other => other?,
        };
    }
    if debugging(commands) {
        while talk.take()? {}
    }
    Ok(talk.is_content())
}

/// Gives the lines of stdin, while printing what comes from the gateway; whether all were right.
pub(super) fn stdin(stream: UnixStream) -> io::Result<bool> {
    let mut talk = Talk::begin(stream)?;
    let stdin = io::stdin();
    let mut typing = true;
    loop {
        let mut watched = vec![PollFd::new(talk.stream.as_fd(), PollFlags::POLLIN)];
        if typing {
            watched.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        let ready = |index: usize| watched.get(index).and_then(PollFd::any).unwrap_or(false);
        let (answered, typed) = (ready(0), ready(1));
        if answered && !talk.take()? {
            return Ok(talk.is_content());
        }
        if typed {
            let mut text = [0; 4096];
            // Not through the buffer of `Stdin`, whose content the poll would not see.
            let read = nix::unistd::read(stdin.as_fd(), &mut text)?;
            talk.stream.write_all(&text[..read])?;
            if read == 0 {
                // The gateway closes when it has answered everything.
                talk.stream.shutdown(Shutdown::Write)?;
                typing = false;
            }
        }
    }
}

/// A conversation whose answers are printed.
struct Talk {
    stream: UnixStream,
    frames: Frames,
    /// Whether no answer said that its line was wrong.
    right: bool,
    last: Option<Answer>,
}

impl Talk {
    /// Begins as someone who may do all, unless a secret is wanted for that.
    fn begin(stream: UnixStream) -> io::Result<Talk> {
        let mut talk = Talk {
            stream,
            frames: Frames::default(),
            right: true,
            last: None,
        };
        if talk.ask("enable")?.ask.kind == AskKind::Secret {
            talk.ask(&ABANDON.to_string())?;
        }
        Ok(talk)
    }

    fn ask(&mut self, line: &str) -> io::Result<Answer> {
        // Not a broken pipe, which stands for stdout here.
        let gone = |_| io::Error::from(ErrorKind::UnexpectedEof);
        writeln!(self.stream, "{line}").map_err(gone)?;
        self.last = None;
        loop {
            if let Some(answer) = self.last.clone() {
                return Ok(answer);
            }
            if !self.take()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Prints what one read gives; false at the end.
    fn take(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let read = loop {
            match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.frames.feed(&buffer[..read]);
        let mut stdout = io::stdout().lock();
        while let Some(frame) = self.frames.next_frame() {
            match frame {
                Frame::Pushed(line) => stdout.write_all(line.as_bytes())?,
                Frame::Answer(answer) => {
                    self.right &= answer.is_right();
                    stdout.write_all(answer.text.as_bytes())?;
                    self.last = Some(answer);
                }
            }
        }
        stdout.flush()?;
        Ok(read > 0)
    }

    /// Whether all went well, and nothing was asked back that was not answered.
    fn is_content(&self) -> bool {
        let asks = |answer: &Answer| answer.ask.kind != AskKind::Command;
        self.right && !self.last.as_ref().is_some_and(asks)
    }
}

fn meaning(command: &str) -> Option<Exec> {
    exec::interpret(Privilege::Privileged, command).ok()
}

/// Whether debugging is on after these commands.
fn debugging(commands: &[String]) -> bool {
    let switch = |command: &String| match meaning(command) {
        Some(Exec::DebugSip { .. }) => Some(true),
        Some(Exec::NoDebugSip { .. }) => Some(false),
        Some(Exec::UndebugAll) => Some(false),
        _ => None,
    };
    commands.iter().rev().find_map(switch).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_about_debugging_counts() {
        let after = |commands: &[&str]| {
            let commands: Vec<_> = commands.iter().map(|c| (*c).to_owned()).collect();
            debugging(&commands)
        };
        assert!(after(&["debug ip nat sip", "show ip nat translations"]));
        assert!(!after(&["debug ip nat sip", "undebug all"]));
        assert!(!after(&["show ip nat translations"]));
    }
}
