//! A program on a host, and the lines it says.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How long a program may take to end by itself.
const FAREWELL: Duration = Duration::from_secs(4);
/// How many of its last lines are told when something is wrong.
const TOLD: usize = 12;

/// A program that runs until this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// What it said that was not asked for.
    said: VecDeque<String>,
}

/// The command of a program that ends when whoever started it does.
pub fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--", program]);
    command
}

impl Process {
    /// Starts it where the calling thread is.
    ///
    /// # Errors
    /// There is no such program.
    pub fn start(name: &str, mut command: Command) -> io::Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("{name} cannot be started: {error}"))
        })?;
        let (tell, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            listen(stdout, tell.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            listen(stderr, tell);
        }
        let stdin = child.stdin.take();
        Ok(Process {
            name: name.to_owned(),
            child,
            stdin,
            lines,
            said: VecDeque::new(),
        })
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Says a line to it.
    ///
    /// # Errors
    /// It has ended.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(stdin, "{line}").map_err(|error| self.trouble(&error.to_string()))
    }

    /// Waits for a line that it says.
    ///
    /// # Errors
    /// It did not say it in time.
    pub fn wait(&mut self, what: impl Fn(&str) -> bool, patience: Duration) -> io::Result<String> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if what(&line) => return Ok(line),
                Ok(line) => self.keep(line),
                Err(_) => return Err(self.trouble("it does not say what was waited for")),
            }
        }
    }

    /// Says a line and waits for the answer, a line of JSON.
    ///
    /// # Errors
    /// There was none in time, or another.
    pub fn ask<T: serde::de::DeserializeOwned>(
        &mut self,
        line: &str,
        patience: Duration,
    ) -> io::Result<T> {
        self.say(line)?;
        let answer = self.wait(|line| line.starts_with('{'), patience)?;
        Ok(serde_json::from_str(&answer)?)
    }

    fn keep(&mut self, line: String) {
        self.said.push_back(line);
        if self.said.len() > TOLD {
            self.said.pop_front();
        }
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// An error that has its last lines.
    pub fn trouble(&mut self, what: &str) -> io::Error {
        while let Ok(line) = self.lines.try_recv() {
            self.keep(line);
        }
        let said: Vec<_> = self.said.iter().map(String::as_str).collect();
        io::Error::other(format!(
            "{}: {what}; it said: {}",
            self.name,
            said.join(" / ")
        ))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let tree = crate::meter::tree(&[self.pid()]);
        // An error means that it has ended already.
        _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
        let until = Instant::now() + FAREWELL;
        while Instant::now() < until {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for pid in tree {
            _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        _ = self.child.wait();
    }
}

/// Hands on its lines to the end, or it would block when it has much to say.
fn listen(from: impl Read + Send + 'static, tell: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            _ = tell.send(line);
        }
    });
}
