//! A real terminal (tmux) with a console in it.

use crate::gateway::eventually;
use crate::running::Running;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A terminal with a console on the gateway.
pub(crate) struct Screen {
    /// The socket of the tmux that has it.
    server: PathBuf,
}

impl Screen {
    /// Starts the console; the prompt is there.
    pub(crate) fn open(running: &Running) -> Screen {
        Screen::of(running, 24)
    }

    /// The same, of this many rows.
    pub(crate) fn of(running: &Running, rows: u32) -> Screen {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let config = running.startup_config();
        let folder = config.parent().unwrap();
        let screen = Screen {
            server: folder.join(format!("screen-{number}")),
        };
        let console = running.console();
        let words = std::iter::once(console.get_program()).chain(console.get_args());
        let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
        let line = format!("{}; echo \"status $?\"; read line", words.join(" "));
        let rows = rows.to_string();
        screen.tmux(&["new-session", "-d", "-x", "80", "-y", &rows, &line]);
        screen.shows("gw>");
        screen
    }

    /// Types keys by their tmux names.
    pub(crate) fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types text as it is.
    pub(crate) fn text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Types a line, and waits for what the screen then ends in.
    pub(crate) fn line(&self, line: &str, end: &str) {
        let before = self.now();
        self.text(line);
        self.keys(&["Enter"]);
        eventually(|| {
            let now = self.now();
            // Not yet, while all that has changed is that the line stands there.
            let answered = now != before && (line.is_empty() || !now.ends_with(line));
            (answered && now.ends_with(end)).then_some(())
        });
    }

    /// Waits until this is the whole screen.
    pub(crate) fn is(&self, expected: &str) {
        self.wait(expected, |seen| seen == expected.trim_end());
    }

    /// Waits until the screen ends in this.
    pub(crate) fn shows(&self, end: &str) {
        self.wait(end, |seen| seen.ends_with(end));
    }

    fn wait(&self, expected: &str, is_right: impl Fn(&str) -> bool) {
        let seen = RefCell::new(String::new());
        let look = || {
            *seen.borrow_mut() = self.now();
            is_right(&seen.borrow()).then_some(())
        };
        if catch_unwind(AssertUnwindSafe(|| eventually(look))).is_err() {
            panic!("the screen is\n{}\nand not\n{expected}", seen.borrow());
        }
    }

    /// The screen, without what is blank at its end.
    pub(crate) fn now(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).trim_end().to_owned()
    }

    pub(crate) fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(&self.server)
            .args(["-f", "/dev/null"])
            .args(args)
            .output()
            .expect("tmux");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
