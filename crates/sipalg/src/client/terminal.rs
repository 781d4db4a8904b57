//! A session at a terminal.

use super::frames::Answer;
use super::keys::{Assistant, Keys, Pressed};
use super::line::Line;
use super::pager::{self, MORE, More};
use super::tty::Quiet;
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Editor, Event, EventHandler, ExternalPrinter, KeyEvent};
use sipalg_ios::exec::{self, Exec, Privilege};
use sipalg_ios::session::{ABANDON, AskKind, CTRL_Z};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// How many lines the Up key leads back.
const HISTORY: usize = 100;

/// The rows and columns of a terminal that does not tell.
const SIZE: (usize, usize) = (24, 80);

/// Has the operator type until they leave.
///
/// # Errors
/// The gateway has gone, or the terminal.
pub(super) fn run(stream: UnixStream) -> io::Result<()> {
    let _quiet = Quiet::take()?;
    Terminal::open(stream).map_err(broken)?.run()
}

/// A terminal with a line editor.
struct Terminal {
    line: Arc<Line>,
    keys: Keys,
    editor: Editor<Assistant, DefaultHistory>,
}

impl Terminal {
    fn open(stream: UnixStream) -> rustyline::Result<Terminal> {
        let config = Config::builder()
            .max_history_size(HISTORY)?
            .auto_add_history(false)
            // So that each line of what is pasted is carried out.
            .bracketed_paste(false)
            .build();
        let mut editor = Editor::with_history(config, DefaultHistory::new())?;
        let mut printer = editor.create_external_printer()?;
        // A screen that is gone shows when the next line is read.
        let line = Line::open(stream, move |text| drop(printer.print(text)))?;
        let (line, keys) = (Arc::new(line), Keys::default());
        let events = [
            Event::Any,
            KeyEvent::from('?').into(),
            KeyEvent::ctrl('Z').into(),
        ];
        for event in events {
            editor.bind_sequence(event, EventHandler::Conditional(Box::new(keys.clone())));
        }
        editor.set_helper(Some(Assistant {
            line: line.clone(),
            keys: keys.clone(),
        }));
        Ok(Terminal { line, keys, editor })
    }

    fn run(mut self) -> io::Result<()> {
        let mut ask = self.line.ask("")?.ask;
        let mut begun = (String::new(), String::new());
        loop {
            self.keys.expect(ask.kind);
            let typed = match self
                .editor
                .readline_with_initial(&ask.prompt, (&begun.0, &begun.1))
            {
                Ok(typed) => typed,
                Err(ReadlineError::Interrupted) => ABANDON.into(),
                Err(ReadlineError::Eof) => "exit".into(),
                Err(error) => return Err(broken(error)),
            };
            let pressed = self.keys.pressed();
            let request = match pressed {
                Some(Pressed::Help(at)) => format!("{}?", &typed[..at]),
                Some(Pressed::CtrlZ) => format!("{typed}{CTRL_Z}"),
                Some(Pressed::Key(key)) => key.to_string().trim().into(),
                None if ask.kind == AskKind::Secret => typed.clone() + &self.keys.secret(),
                // Not the key `?`, but a part of what was pasted or quoted.
                None if typed.ends_with('?') => format!("{typed} "),
                None => typed.clone(),
            };
            begun = match pressed {
                Some(Pressed::Help(at)) => (typed[..at].into(), typed[at..].into()),
                _ => Default::default(),
            };
            let command = ask.kind == AskKind::Command && begun == Default::default();
            let leaves = command && leaves(&request);
            if command {
                self.remember(&request)?;
            }
            if leaves {
                self.line.leave();
            }
            let answer = match self.line.ask(&request) {
                Err(_) if leaves => return Ok(()),
                other => other?,
            };
            self.show(&answer)?;
            ask = answer.ask;
        }
    }

    /// Keeps a line for the Up key, but no secret.
    fn remember(&mut self, line: &str) -> io::Result<()> {
        let line = line.trim_end_matches([CTRL_Z, ABANDON]).trim_end();
        if !line.is_empty() && !line.contains("secret") {
            self.editor.add_history_entry(line).map_err(broken)?;
        }
        Ok(())
    }

    /// Shows an answer, a page at a time.
    fn show(&mut self, answer: &Answer) -> io::Result<()> {
        let size = self.editor.dimensions();
        let (rows, columns) = size.map_or(SIZE, |(columns, rows)| (rows.into(), columns.into()));
        let rows = answer.ask.length.map_or(rows, usize::from);
        pager::show(&answer.text, (rows, columns), &mut io::stdout(), || {
            self.keys.expect(AskKind::Key);
            let typed = self.editor.readline(MORE);
            // The editor has gone to the next line.
            io::stdout().write_all(b"\x1b[A\r\x1b[K")?;
            io::stdout().flush()?;
            Ok(match (typed, self.keys.pressed()) {
                (Ok(_), Some(Pressed::Key(key))) => More::by(key),
                _ => More::Stop,
            })
        })
    }
}

fn leaves(line: &str) -> bool {
    exec::interpret(Privilege::Privileged, line) == Ok(Exec::Exit)
}

fn broken(error: ReadlineError) -> io::Error {
    match error {
        ReadlineError::Io(error) => error,
        error => io::Error::other(error),
    }
}
