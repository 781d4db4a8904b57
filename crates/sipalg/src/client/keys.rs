//! What keys do that the line editor knows nothing of: `?`, Ctrl-Z, single keys, and secrets.

use super::line::Line;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{
    Cmd, ConditionalEventHandler, Context, Event, EventContext, Helper, KeyCode, KeyEvent,
    Modifiers, RepeatCount,
};
use sipalg_ios::session::{AskKind, COMPLETE};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is typed now, and what a key has ended it with. Shared by the editor and its keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    kind: AskKind,
    pressed: Option<Pressed>,
    secret: String,
}

/// Why a line has ended, other than by Enter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pressed {
    /// `?`, with this many bytes of the line before it.
    Help(usize),
    /// Ctrl-Z.
    CtrlZ,
    /// Some key, where one was asked for.
    Key(char),
}

impl Default for State {
    fn default() -> Self {
        State {
            kind: AskKind::Command,
            pressed: None,
            secret: String::new(),
        }
    }
}

impl Keys {
    /// Before a line is typed: what it is.
    pub(super) fn expect(&self, kind: AskKind) {
        *self.state() = State {
            kind,
            ..State::default()
        };
    }

    /// After a line was typed: the key that ended it.
    pub(super) fn pressed(&self) -> Option<Pressed> {
        self.state().pressed.take()
    }

    /// After a secret was typed: what it is.
    pub(super) fn secret(&self) -> String {
        std::mem::take(&mut self.state().secret)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, pressed: Pressed) -> Option<Cmd> {
        self.state().pressed = Some(pressed);
        Some(Cmd::AcceptLine)
    }
}

impl ConditionalEventHandler for Keys {
    fn handle(&self, event: &Event, _: RepeatCount, _: bool, line: &EventContext) -> Option<Cmd> {
        let key = event.get(0)?;
        let kind = self.state().kind;
        match kind {
            AskKind::Command if *key == KeyEvent::from('?') => {
                // As it is typed; the editor would show it only if it were part of the line.
                let mut stdout = io::stdout();
                // A terminal that is gone shows in the next read.
                let _ = stdout.write_all(b"?").and_then(|()| stdout.flush());
                self.end(Pressed::Help(line.pos()))
            }
            AskKind::Command if *key == KeyEvent::ctrl('Z') => self.end(Pressed::CtrlZ),
            AskKind::Command | AskKind::Word => None,
            AskKind::Key => match *key {
                KeyEvent(KeyCode::Char(c), Modifiers::NONE) => self.end(Pressed::Key(c)),
                KeyEvent(KeyCode::Enter, _) => self.end(Pressed::Key('\r')),
                _ => None,
            },
            AskKind::Secret => {
                let secret = &mut self.state().secret;
                match *key {
                    KeyEvent(KeyCode::Char(c), Modifiers::NONE) => secret.push(c),
                    KeyEvent(KeyCode::Backspace, _) => drop(secret.pop()),
                    _ if *key == KeyEvent::ctrl('U') => secret.clear(),
                    _ => return None,
                }
                Some(Cmd::Noop)
            }
        }
    }
}

/// Has the gateway complete words.
pub(super) struct Assistant {
    pub(super) line: Arc<Line>,
    pub(super) keys: Keys,
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let begun = &line[..pos];
        if self.keys.state().kind != AskKind::Command {
            return Ok((pos, Vec::new()));
        }
        let completed = self.line.ask(&format!("{COMPLETE}{begun}"))?.text;
        Ok(match completed == begun {
            true => (pos, Vec::new()),
            false => (0, vec![completed]),
        })
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {}

impl Validator for Assistant {}

impl Helper for Assistant {}
