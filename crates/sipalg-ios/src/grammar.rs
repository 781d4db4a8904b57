//! The grammar engine: patterns of tokens on one side, a typed line on the other.
//!
//! A [`Command`] is a pattern with a help text on every token, and a meaning that this module does
//! not look into. Everything a terminal says about a line follows from the patterns alone: whether
//! it [parses](parse), where the `^` goes, and [what may come next](expected) (`?` and TAB).
//!
//! The rules are those of IOS: keywords may be abbreviated as long as one keyword is meant, an
//! exact keyword beats an abbreviation, keywords beat values, case does not matter.

mod walk;

use core::fmt;
use core::net::Ipv4Addr;
use walk::{Next, Word, walk, words};

/// One command: how it is typed and what it means.
pub struct Command<M: 'static> {
    /// What is typed.
    pub pattern: &'static [Part],
    /// Whether `no` may stand before it.
    pub no: bool,
    /// A line that the pattern matches, for tests and the manual.
    pub example: &'static str,
    /// What it means; see [`commands`](crate::commands).
    pub meaning: M,
}

/// A piece of a pattern.
pub enum Part {
    /// A single token.
    One(Token),
    /// May be left out.
    Optional(&'static [Part]),
    /// One of several.
    OneOf(&'static [&'static [Part]]),
    /// After `no`, the command may end here. Without `no` it means nothing.
    NoEnds,
}

/// A token of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    /// The keyword itself, or the name under which [`Args`] has the value.
    pub name: &'static str,
    /// What is typed for it.
    pub kind: Kind,
    /// The text that `?` shows beside it.
    pub help: &'static str,
}

/// What can be typed for a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The token's name, or an abbreviation.
    Keyword,
    /// A decimal number within these bounds.
    Number(u32, u32),
    /// An IPv4 address or mask in dotted form.
    Address,
    /// The length of a network's prefix: `/24`.
    PrefixLength,
    /// A word that begins with a letter.
    Name,
    /// Any word.
    Word,
    /// The rest of the line.
    Line,
}

/// A keyword.
pub const fn keyword(name: &'static str, help: &'static str) -> Part {
    Part::One(Token {
        name,
        kind: Kind::Keyword,
        help,
    })
}

/// A value.
pub const fn value(name: &'static str, kind: Kind, help: &'static str) -> Part {
    Part::One(Token { name, kind, help })
}

impl fmt::Display for Token {
    /// As `?` lists it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Keyword => f.pad(self.name),
            Kind::Number(low, high) if low == high => f.pad(&low.to_string()),
            Kind::Number(low, high) => f.pad(&format!("<{low}-{high}>")),
            Kind::Address => f.pad("A.B.C.D"),
            Kind::PrefixLength => f.pad("/nn"),
            Kind::Name | Kind::Word => f.pad("WORD"),
            Kind::Line => f.pad("LINE"),
        }
    }
}

/// What was typed for the tokens of a pattern.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Args {
    /// Whether `no` stood before the command, or `default`.
    pub no: bool,
    /// Whether it was `default`. It differs from `no` for what is on by default.
    pub default: bool,
    typed: Vec<Typed>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Typed {
    name: &'static str,
    text: String,
    column: usize,
}

impl Args {
    /// Whether the token was typed.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The text typed for the token, if it was.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.find(name).map(|typed| typed.text.as_str())
    }

    /// The number typed for the token, if it was and fits.
    pub fn number<N: core::str::FromStr>(&self, name: &str) -> Option<N> {
        self.text(name)?.parse().ok()
    }

    /// The address typed for the token, if it was.
    pub fn address(&self, name: &str) -> Option<Ipv4Addr> {
        self.text(name)?.parse().ok()
    }

    /// The tokens that were typed, in order, by name; each with its text.
    pub fn tokens(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.typed.iter().map(|t| (t.name, t.text.as_str()))
    }

    /// The column at which the token was typed, or else that of the command.
    pub fn column(&self, name: &str) -> usize {
        self.find(name)
            .or(self.typed.first())
            .map_or(0, |typed| typed.column)
    }

    fn find(&self, name: &str) -> Option<&Typed> {
        self.typed.iter().find(|typed| typed.name == name)
    }
}

/// Why a line is no command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Of which kind.
    pub fault: Fault,
    /// The line as it was typed.
    pub line: String,
    /// Where the `^` belongs, in characters from the start of the line.
    pub column: usize,
    /// What could have stood there.
    pub expected: Expected,
}

/// The kinds of [`Problem`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Something that no command has there.
    Invalid,
    /// The line ends too early.
    Incomplete,
    /// An abbreviation of several keywords.
    Ambiguous,
    /// Understood, but refused for this reason.
    Refused(String),
}

/// What may be typed at a place.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expected {
    /// Tokens, in the order of the table.
    pub tokens: Vec<Token>,
    /// Whether the line may end there (`<cr>` in IOS).
    pub end: bool,
}

impl Problem {
    /// The answer with the `^` under the offence, for a line typed after a prompt of this many
    /// characters. Only invalid input has a `^`, as in IOS.
    pub fn marked(&self, prompt: usize) -> String {
        match self.fault {
            Fault::Invalid => format!("{:>1$}\n{self}", '^', prompt + self.column + 1),
            _ => self.to_string(),
        }
    }

    /// The same problem in a longer line that ends with this one, the part before it this many
    /// characters long.
    #[must_use]
    pub fn within(self, line: &str, before: usize) -> Problem {
        Problem {
            line: line.into(),
            column: before + self.column,
            ..self
        }
    }
}

impl fmt::Display for Problem {
    /// The `%` line that IOS answers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Fault::Invalid => f.write_str("% Invalid input detected at '^' marker."),
            Fault::Incomplete => f.write_str("% Incomplete command."),
            Fault::Ambiguous => write!(f, "% Ambiguous command:  \"{}\"", self.line),
            Fault::Refused(reason) => write!(f, "% {reason}"),
        }
    }
}

impl core::error::Error for Problem {}

/// Finds the command that a line means, and what was typed for its tokens.
///
/// # Errors
/// The line is none of the table's commands.
pub fn parse<'t, M>(
    table: impl IntoIterator<Item = &'t Command<M>>,
    line: &str,
) -> Result<(&'t Command<M>, Args), Problem> {
    let table: Vec<_> = table.into_iter().collect();
    let mut expected = Expected::default();
    for place in walk(&table, line, words(line))? {
        let Next { steps, may_end } = place.clone().next();
        if may_end {
            return Ok((table[place.command], place.args));
        }
        expected.add(steps.iter().map(|(token, _)| *token));
    }
    let column = line.trim_end().chars().count() + 1;
    Err(Problem {
        fault: Fault::Incomplete,
        line: line.into(),
        column,
        expected,
    })
}

/// What may be typed at the end of `line`: another token after a space, or else the rest of the
/// last word.
///
/// # Errors
/// What stands before is already wrong.
pub fn expected<'t, M: 'static>(
    table: impl IntoIterator<Item = &'t Command<M>>,
    line: &str,
) -> Result<Expected, Problem> {
    let table: Vec<_> = table.into_iter().collect();
    let mut typed: Vec<Word<'_>> = words(line).collect();
    let begun = match line.ends_with(char::is_whitespace) {
        true => None,
        false => typed.pop(),
    };
    let mut expected = Expected::default();
    for cursor in walk(&table, line, typed.into_iter())? {
        let Next { steps, may_end } = cursor.next();
        expected.end |= may_end && begun.is_none();
        let fits = |token: &&'static Token| begun.is_none_or(|word| token.may_begin(word.text));
        expected.add(steps.iter().map(|(token, _)| *token).filter(fits));
    }
    Ok(expected)
}

impl Expected {
    /// Joins what is expected elsewhere at the same place.
    pub fn merge(&mut self, other: &Expected) {
        self.end |= other.end;
        self.add(other.tokens.iter());
    }

    fn add<'a>(&mut self, tokens: impl Iterator<Item = &'a Token>) {
        for token in tokens {
            if !self.tokens.contains(token) {
                self.tokens.push(*token);
            }
        }
    }
}

#[cfg(test)]
mod tests;
