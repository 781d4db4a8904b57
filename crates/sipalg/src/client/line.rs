//! The line to the gateway: questions and answers for the one who types, debug lines for the screen.

use super::frames::{Answer, Frame, Frames};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How many debug lines may wait for the screen; beyond it they are dropped with a count.
const WAITING_LINES: usize = 10_000;

/// A conversation with the gateway.
#[derive(Debug)]
pub(super) struct Line {
    ends: Mutex<Ends>,
    /// The operator leaves: that the gateway goes is no news.
    leaving: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Ends {
    stream: UnixStream,
    answers: Receiver<Answer>,
}

impl Line {
    /// Hears the gateway on threads of its own. What it pushes goes to `screen`, which may wait.
    ///
    /// # Errors
    /// The socket cannot be used twice.
    pub(super) fn open(
        stream: UnixStream,
        mut screen: impl FnMut(String) + Send + 'static,
    ) -> io::Result<Line> {
        let (answered, answers) = mpsc::channel();
        let (pushed, waiting) = mpsc::sync_channel(WAITING_LINES);
        let hearing = stream.try_clone()?;
        let leaving = Arc::new(AtomicBool::new(false));
        let left = leaving.clone();
        thread::spawn(move || {
            hear(hearing, &answered, &pushed);
            if !left.load(Ordering::SeqCst) {
                // With a full queue there is enough to read.
                let _ = pushed.try_send("% The gateway has closed the connection\n".into());
            }
        });
        // Not on the same thread: the screen may wait for who types, who may wait for an answer.
        thread::spawn(move || waiting.iter().for_each(&mut screen));
        let ends = Mutex::new(Ends { stream, answers });
        Ok(Line { ends, leaving })
    }

    /// Says a line and waits for its answer.
    ///
    /// # Errors
    /// The gateway has gone.
    pub(super) fn ask(&self, text: &str) -> io::Result<Answer> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = || io::Error::from(ErrorKind::UnexpectedEof);
        writeln!(ends.stream, "{text}").map_err(|_| gone())?;
        ends.answers.recv().map_err(|_| gone())
    }

    /// The next line leads out.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
    }
}

/// Takes what comes until the gateway goes.
fn hear(mut stream: UnixStream, answers: &Sender<Answer>, pushed: &SyncSender<String>) {
    let mut frames = Frames::default();
    let mut buffer = [0; 16 * 1024];
    let mut dropped = 0;
    loop {
        match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => break,
            Ok(read) => frames.feed(&buffer[..read]),
        }
        while let Some(frame) = frames.next_frame() {
            match frame {
                // Whoever asked waits for it.
                Frame::Answer(answer) => drop(answers.send(answer)),
                Frame::Pushed(line) => push(pushed, line, &mut dropped),
            }
        }
    }
}

fn push(pushed: &SyncSender<String>, line: String, dropped: &mut u64) {
    let text = match *dropped {
        0 => line,
        dropped => format!("%SIPALG-4-DROPPED: {dropped} debug lines\n{line}"),
    };
    *dropped = match pushed.try_send(text) {
        Err(TrySendError::Full(_)) => *dropped + 1,
        _ => 0,
    };
}
