//! A program on a host: what it says, and its end.

use super::PATIENCE;
use super::net::Host;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A running program. It is ended when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    said: Arc<Said>,
    listening: [JoinHandle<()>; 2],
    /// How many lines have been waited for.
    heard: usize,
}

/// What a program said, both on stdout and stderr, line by line.
#[derive(Debug, Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Process {
    /// Starts a program on a host, without input.
    pub fn start(host: &Host, command: &mut Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its children are ended with it, also where it cannot do so itself.
            .process_group(0);
        let mut child = host.spawn(command);
        let said = Arc::new(Said::default());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let listening = [
            listen(out.expect("a pipe"), said.clone()),
            listen(err.expect("a pipe"), said.clone()),
        ];
        Process {
            name: command.get_program().to_string_lossy().into_owned(),
            child,
            said,
            listening,
            heard: 0,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits until it says a line that contains `text`, after those already waited for, and gives
    /// that line.
    ///
    /// # Panics
    /// It did not in time, or ended without.
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Asked first: what it said before its end is then all there.
            let ended = self.child.try_wait().expect("its state").is_some();
            let patience = Duration::from_millis(100);
            if let Some((at, line)) = self.said.wait_for(text, self.heard, patience) {
                self.heard = at + 1;
                return line;
            }
            let problem = if ended { "ended" } else { "is late" };
            assert!(
                !ended && Instant::now() < deadline,
                "{} {problem} without saying {text:?}; it said:\n{}",
                self.name,
                self.said()
            );
        }
    }

    /// All that it has said so far; all that it ever said, if it has ended.
    pub fn said(&self) -> String {
        self.said.lines.lock().expect("the lines").join("\n")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It did not end in time.
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_at_most(PATIENCE)
            .unwrap_or_else(|| panic!("{} does not end; it said:\n{}", self.name, self.said()))
    }

    /// Waits for its end, but not forever.
    pub fn wait_at_most(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait().expect("its state") {
                None if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                None => return None,
                Some(status) => {
                    self.hear_out();
                    return Some(status);
                }
            }
        }
    }

    /// Waits until its last words are here. A child of its own may keep its pipes open.
    fn hear_out(&self) {
        let deadline = Instant::now() + Duration::from_secs(1);
        let open = |thread: &JoinHandle<()>| !thread.is_finished();
        while self.listening.iter().any(open) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Asks it to end and waits until it did.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        self.signal(Signal::SIGTERM);
        if self.wait_at_most(Duration::from_secs(3)).is_none() {
            // They are ours and still run; there is nothing left to ask.
            let _ = killpg(self.pid(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- {} said:\n{}\n---", self.name, self.said());
        }
    }
}

impl Said {
    /// The first line with `text` that is not before the line `from`, and which it is.
    fn wait_for(&self, text: &str, from: usize, patience: Duration) -> Option<(usize, String)> {
        let find = |lines: &[String]| {
            let mut later = lines.iter().enumerate().skip(from);
            let found = later.find(|(_, line)| line.contains(text));
            found.map(|(at, line)| (at, line.clone()))
        };
        let lines = self.lines.lock().expect("the lines");
        let missing = |lines: &mut Vec<String>| find(lines).is_none();
        let waited = self.more.wait_timeout_while(lines, patience, missing);
        let (lines, _) = waited.expect("the lines");
        find(&lines)
    }
}

fn listen(from: impl Read + Send + 'static, said: Arc<Said>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        // Not `lines()`: programs may say what is not UTF-8.
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_string();
            said.lines.lock().expect("the lines").push(text);
            said.more.notify_all();
            line.clear();
        }
    })
}
