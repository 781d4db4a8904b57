//! An operator's session: from what is typed to what is said, asked and configured.
//!
//! A session does nothing itself. It knows its mode, and turns a line into an [`Action`] that the
//! gateway carries out. Everything about the language (`^`, `?`, TAB) comes from the command tables.

pub mod filter;
mod help;
pub mod pending;

use crate::access::ListKind;
use crate::commands::{EXTENDED_LIST, GLOBAL, INTERFACE, LIST};
use crate::exec::{self, Exec, Privilege};
use crate::grammar::{self, Expected, Fault, Kind, Part, Problem, Token};
use crate::parse::{self, Editor};
use crate::secret;
use crate::startup::Startup;
use filter::{FILTERS, Filter};

/// Before a line: not to be carried out, but to be completed (TAB).
pub const COMPLETE: char = '\u{5}';

/// Instead of an answer to a question: never mind (Ctrl-C). Leaves configuration mode, too.
pub const ABANDON: char = '\u{3}';

/// At the end of a line: carry it out, and leave configuration mode (Ctrl-Z).
pub const CTRL_Z: char = '\u{1a}';

/// The name in the prompt unless `hostname` gives another.
pub const DEFAULT_HOSTNAME: &str = "Device";

/// How often a secret may be typed.
const TRIES: u8 = 3;

/// One operator's session.
#[derive(Clone, Debug, Default)]
pub struct Session {
    mode: Mode,
    asking: Option<Question>,
    length: Option<u16>,
    width: Option<u16>,
}

/// What a line means.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// A command that anyone may give.
    #[default]
    User,
    /// Any command.
    Privileged,
    /// A line of configuration.
    Configuration(parse::Mode),
}

/// What a line comes to.
#[derive(Clone, Debug)]
pub enum Action {
    /// Say this. It begins with `% `, or with a `^` and that, if the line was wrong.
    Say(String),
    /// Carry this out, and say the lines that the filter picks.
    Ask(Exec, Option<Filter>),
    /// Put this configuration in force, then [enter](Session::enter) the mode; or say why not.
    Configure(Box<Startup>, parse::Mode),
    /// The operator leaves.
    Leave,
}

/// What the session waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// What is to be typed.
    pub kind: AskKind,
    /// What stands before it.
    pub prompt: String,
    /// Lines of a page, 0 for no pages; none for the terminal's own height.
    pub length: Option<u16>,
}

/// What may be typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AskKind {
    /// A command.
    Command,
    /// A secret, which is not to be seen.
    Secret,
    /// Some word that answers a question.
    Word,
    /// One key: Enter or `y` for yes.
    Key,
}

/// What was asked back.
#[derive(Clone, Debug)]
enum Question {
    Secret { tries: u8 },
    Reload,
    Replace { file: String },
}

const DO: Token = Token {
    name: "do",
    kind: Kind::Keyword,
    help: "To run exec commands in config mode",
};

const DEFAULT: Token = Token {
    name: "default",
    kind: Kind::Keyword,
    help: "Set a command to its defaults",
};

const PIPE: Token = Token {
    name: "|",
    kind: Kind::Keyword,
    help: "Output modifiers",
};

impl Session {
    /// A session of someone who has not said `enable`.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a line means now.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// What the session waits for, under this configuration.
    pub fn ask(&self, startup: &Startup) -> Ask {
        let (kind, prompt) = match &self.asking {
            None => (AskKind::Command, self.prompt(startup)),
            Some(Question::Secret { .. }) => (AskKind::Secret, "Password: ".into()),
            Some(Question::Reload) => (AskKind::Key, "Proceed with reload? [confirm]".into()),
            Some(Question::Replace { .. }) => (AskKind::Word, REPLACE.into()),
        };
        Ask {
            kind,
            prompt,
            length: self.length,
        }
    }

    /// Takes a line: a command, the answer to a question, a line that ends with `?`, or one that
    /// begins with [`COMPLETE`].
    pub fn line(&mut self, line: &str, startup: &Startup) -> Action {
        if let Some(line) = line.strip_prefix(COMPLETE) {
            let completed = self.expected(line).map(|e| help::complete(line, &e));
            return Action::Say(completed.unwrap_or_else(|_| line.into()));
        }
        if let Some(question) = self.asking.take() {
            return self.answered(question, line, startup);
        }
        if line.contains(ABANDON) {
            self.leave_configuration();
            return Action::Say(String::new());
        }
        if let Some(line) = line.strip_suffix('?') {
            return Action::Say(match self.expected(line) {
                Ok(expected) => help::list(line, &expected, self.width()),
                Err(problem) => help::complaint(&problem),
            });
        }
        let (line, last) = match line.strip_suffix(CTRL_Z) {
            Some(line) => (line, true),
            None => (line, false),
        };
        let action = self.command(line, startup);
        match action {
            Action::Configure(startup, _) if last => Action::Configure(startup, parse::Mode::Ended),
            Action::Say(text) if last && text.is_empty() => {
                self.leave_configuration();
                Action::Say(text)
            }
            action => action,
        }
    }

    /// The configuration is in force: goes on in this mode.
    pub fn enter(&mut self, mode: parse::Mode) {
        self.mode = match mode {
            parse::Mode::Ended => Mode::Privileged,
            mode => Mode::Configuration(mode),
        };
    }

    fn prompt(&self, startup: &Startup) -> String {
        let name = startup.hostname.as_deref().unwrap_or(DEFAULT_HOSTNAME);
        let end = match &self.mode {
            Mode::User => ">",
            Mode::Privileged | Mode::Configuration(parse::Mode::Ended) => "#",
            Mode::Configuration(parse::Mode::Global) => "(config)#",
            Mode::Configuration(parse::Mode::Interface(_)) => "(config-if)#",
            Mode::Configuration(parse::Mode::List(_, ListKind::Standard)) => "(config-std-nacl)#",
            Mode::Configuration(parse::Mode::List(_, ListKind::Extended)) => "(config-ext-nacl)#",
        };
        format!("{name}{end}")
    }

    fn width(&self) -> usize {
        match self.width {
            Some(columns) if columns > 0 => columns.into(),
            _ => help::WIDTH,
        }
    }

    fn leave_configuration(&mut self) {
        if let Mode::Configuration(_) = self.mode {
            self.mode = Mode::Privileged;
        }
    }

    fn command(&mut self, line: &str, startup: &Startup) -> Action {
        let mode = match &self.mode {
            Mode::User => return self.exec(Privilege::User, line, line, 0, startup),
            Mode::Privileged => return self.exec(Privilege::Privileged, line, line, 0, startup),
            Mode::Configuration(mode) => mode.clone(),
        };
        match after_do(line) {
            Some((_, command)) if command.trim().is_empty() => {
                Action::Say("% Incomplete command.\n".into())
            }
            Some((before, command)) => {
                self.exec(Privilege::Privileged, line, command, before, startup)
            }
            None => self.configure(line, mode, startup),
        }
    }

    /// Carries out a line of configuration on a copy of the configuration.
    fn configure(&mut self, line: &str, mode: parse::Mode, startup: &Startup) -> Action {
        let mut editor = Editor::resume(startup.clone(), mode);
        if let Err(problem) = editor.line(line) {
            return self.wrong(problem, startup);
        }
        let mode = editor.mode().clone();
        if editor.startup != *startup {
            return Action::Configure(Box::new(editor.startup), mode);
        }
        self.enter(mode);
        Action::Say(String::new())
    }

    /// Carries out `command`, which is what stands in `line` after `before` characters.
    fn exec(
        &mut self,
        privilege: Privilege,
        line: &str,
        command: &str,
        before: usize,
        startup: &Startup,
    ) -> Action {
        let read = read(privilege, command);
        let (exec, filter) = match read {
            Ok(read) => read,
            Err(problem) => return self.wrong(problem.within(line, before), startup),
        };
        let mut text = String::new();
        match exec {
            Exec::Nothing => {}
            Exec::Enable => self.enable(startup),
            Exec::Disable => self.mode = Mode::User,
            Exec::ConfigureTerminal => {
                self.mode = Mode::Configuration(parse::Mode::Global);
                text = CONFIGURE.into();
            }
            Exec::TerminalLength(lines) => self.length = lines,
            Exec::TerminalWidth(columns) => self.width = columns,
            Exec::ShowPrivilege => {
                let level = match self.mode {
                    Mode::User => 1,
                    _ => 15,
                };
                text = format!("Current privilege level is {level}\n");
            }
            Exec::Reload => self.asking = Some(Question::Reload),
            Exec::ConfigureReplace { file, force: false } => {
                self.asking = Some(Question::Replace { file });
                text = REPLACE_WARNING.into();
            }
            Exec::Exit => return Action::Leave,
            exec => return Action::Ask(exec, filter),
        }
        Action::Say(text)
    }

    fn enable(&mut self, startup: &Startup) {
        match startup.enable_secret {
            Some(_) if self.mode == Mode::User => {
                self.asking = Some(Question::Secret { tries: 0 });
            }
            _ if self.mode == Mode::User => self.mode = Mode::Privileged,
            _ => {}
        }
    }

    fn answered(&mut self, question: Question, line: &str, startup: &Startup) -> Action {
        let nothing = Action::Say(String::new());
        if line.contains(ABANDON) {
            return nothing;
        }
        let yes = line.trim_start().starts_with(['y', 'Y']);
        match question {
            Question::Secret { tries } => {
                let hash = startup.enable_secret.as_deref();
                if hash.is_none_or(|hash| secret::matches(line, hash)) {
                    self.mode = Mode::Privileged;
                } else if tries + 1 < TRIES {
                    self.asking = Some(Question::Secret { tries: tries + 1 });
                } else {
                    return Action::Say("% Bad secrets\n\n".into());
                }
                nothing
            }
            Question::Reload if yes || line.trim().is_empty() => Action::Ask(Exec::Reload, None),
            Question::Replace { file } if yes => {
                Action::Ask(Exec::ConfigureReplace { file, force: true }, None)
            }
            Question::Reload | Question::Replace { .. } => nothing,
        }
    }

    fn wrong(&self, problem: Problem, startup: &Startup) -> Action {
        let prompt = self.prompt(startup).chars().count();
        Action::Say(problem.marked(prompt) + "\n")
    }

    /// What may be typed at the end of `line`.
    fn expected(&self, line: &str) -> Result<Expected, Problem> {
        let mode = match &self.mode {
            _ if self.asking.is_some() => return Ok(Expected::default()),
            Mode::User => return expected_of_exec(Privilege::User, line),
            Mode::Privileged => return expected_of_exec(Privilege::Privileged, line),
            Mode::Configuration(mode) => mode,
        };
        // As long as nothing follows it, `do` may be the beginning of another word.
        if let Some((_, command)) = after_do(line).filter(|(_, rest)| !rest.is_empty()) {
            return expected_of_exec(Privilege::Privileged, command);
        }
        let word = line.trim_start();
        if word.contains(char::is_whitespace) {
            return expected_of_configuration(mode, &parse::as_no(line).0);
        }
        let mut expected = expected_of_configuration(mode, line)?;
        let prefixes = [DEFAULT, DO].into_iter();
        expected.merge(&Expected {
            tokens: prefixes.filter(|token| token.may_begin(word)).collect(),
            end: false,
        });
        Ok(expected)
    }
}

/// What `configure terminal` answers.
const CONFIGURE: &str = "Enter configuration commands, one per line.  End with CNTL/Z.\n";

/// What `configure replace` warns of.
const REPLACE_WARNING: &str = "\
This will apply all necessary additions and deletions
to replace the current running configuration with the
contents of the specified configuration file, which is
assumed to be a complete configuration, not a partial
configuration.
";

const REPLACE: &str = "Enter Y if you are sure you want to proceed. ? [no]: ";

/// Reads a line of exec mode with its output modifier.
fn read(privilege: Privilege, line: &str) -> Result<(Exec, Option<Filter>), Problem> {
    let Some((command, filter)) = piped(line) else {
        return Ok((exec::interpret(privilege, line)?, None));
    };
    let before = command.chars().count();
    if !is_show(privilege, command)? {
        let unexpected = Problem {
            fault: Fault::Invalid,
            line: line.into(),
            column: before,
            expected: Expected::default(),
        };
        return Err(unexpected);
    }
    let exec = exec::interpret(privilege, command).map_err(|problem| problem.within(line, 0))?;
    let filter = Filter::parse(filter).map_err(|problem| problem.within(line, before + 1))?;
    Ok((exec, Some(filter)))
}

/// The command before the first `|` that begins a word, and what follows.
fn piped(line: &str) -> Option<(&str, &str)> {
    let (at, _) = line.match_indices('|').find(|(at, _)| {
        let before = &line[..*at];
        before.ends_with(char::is_whitespace) && !before.trim().is_empty()
    })?;
    Some((&line[..at], &line[at + 1..]))
}

fn is_show(privilege: Privilege, line: &str) -> Result<bool, Problem> {
    let (command, _) = grammar::parse(exec::commands(privilege), line)?;
    Ok(matches!(command.pattern.first(), Some(Part::One(token)) if token.name == "show"))
}

fn expected_of_exec(privilege: Privilege, line: &str) -> Result<Expected, Problem> {
    if let Some((command, filter)) = piped(line)
        && is_show(privilege, command)?
    {
        return grammar::expected(FILTERS, filter);
    }
    let mut expected = grammar::expected(exec::commands(privilege), line)?;
    if expected.end && is_show(privilege, line)? {
        expected.merge(&Expected {
            tokens: vec![PIPE],
            end: true,
        });
    }
    Ok(expected)
}

/// In a submode its own commands come first, and global ones are not offered as long as one of them
/// is meant.
fn expected_of_configuration(mode: &parse::Mode, line: &str) -> Result<Expected, Problem> {
    let own = match mode {
        parse::Mode::Interface(_) => grammar::expected(INTERFACE, line),
        parse::Mode::List(_, ListKind::Standard) => grammar::expected(LIST, line),
        parse::Mode::List(_, ListKind::Extended) => grammar::expected(EXTENDED_LIST, line),
        parse::Mode::Global | parse::Mode::Ended => return grammar::expected(GLOBAL, line),
    };
    match own {
        Ok(expected) if expected.end || !expected.tokens.is_empty() => Ok(expected),
        _ => grammar::expected(GLOBAL, line),
    }
}

/// What follows `do` in configuration mode, and how many characters stand before it.
fn after_do(line: &str) -> Option<(usize, &str)> {
    let text = line.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let before = line.len() - text.len() + end;
    text[..end]
        .eq_ignore_ascii_case(DO.name)
        .then(|| (line[..before].chars().count(), &line[before..]))
}
