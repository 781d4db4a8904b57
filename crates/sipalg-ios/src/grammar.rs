//! The grammar engine: patterns of tokens on one side, a typed line on the other.
//!
//! A [`Command`] is a pattern with a help text on every token, and a meaning that this module does
//! not look into. Everything a terminal says about a line follows from the patterns alone: whether
//! it [parses](parse), where the `^` goes, and [what may come next](expected) (`?` and TAB).
//!
//! The rules are those of IOS: keywords may be abbreviated as long as one keyword is meant, an
//! exact keyword beats an abbreviation, keywords beat values, case does not matter.

use core::fmt;
use core::net::Ipv4Addr;

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
    table: &'t [Command<M>],
    line: &str,
) -> Result<(&'t Command<M>, Args), Problem> {
    let mut expected = Expected::default();
    for place in walk(table, line, words(line))? {
        let Next { steps, may_end } = place.clone().next();
        if may_end {
            return Ok((&table[place.command], place.args));
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
pub fn expected<M>(table: &[Command<M>], line: &str) -> Result<Expected, Problem> {
    let mut typed: Vec<Word<'_>> = words(line).collect();
    let begun = match line.ends_with(char::is_whitespace) {
        true => None,
        false => typed.pop(),
    };
    let mut expected = Expected::default();
    for cursor in walk(table, line, typed.into_iter())? {
        let Next { steps, may_end } = cursor.next();
        expected.end |= may_end && begun.is_none();
        let fits = |token: &&'static Token| begun.is_none_or(|word| token.fit(word.text).is_some());
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

static NO: [Part; 1] = [keyword("no", "Negate a command or set its defaults")];

/// A place in a pattern, and what was typed on the way there.
#[derive(Clone)]
struct Cursor {
    command: usize,
    args: Args,
    /// What is left of the pattern: the innermost part is last.
    rest: Vec<&'static [Part]>,
    /// Whether the rest of the line was taken whole.
    ended: bool,
}

/// What can follow a [`Cursor`].
#[derive(Default)]
struct Next {
    steps: Vec<(&'static Token, Cursor)>,
    may_end: bool,
}

impl Cursor {
    fn next(self) -> Next {
        let mut next = Next::default();
        self.collect(&mut next);
        next
    }

    fn collect(mut self, next: &mut Next) {
        while let Some(parts) = self.rest.pop() {
            let Some((part, tail)) = parts.split_first() else {
                continue;
            };
            self.rest.push(tail);
            match part {
                Part::One(token) => return next.steps.push((token, self)),
                Part::Optional(parts) => self.inner(parts).collect(next),
                Part::OneOf(choices) => {
                    return choices
                        .iter()
                        .for_each(|parts| self.inner(parts).collect(next));
                }
                Part::NoEnds => next.may_end |= self.args.no,
            }
        }
        next.may_end = true;
    }

    fn inner(&self, parts: &'static [Part]) -> Cursor {
        let mut inner = self.clone();
        inner.rest.push(parts);
        inner
    }

    fn typed(mut self, fit: Fit, token: &Token, word: Word<'_>) -> Cursor {
        self.ended = fit == Fit::Line;
        let text = if self.ended {
            word.to_end.trim_end()
        } else {
            word.text
        };
        self.args.typed.push(Typed {
            name: token.name,
            text: text.into(),
            column: word.column,
        });
        self
    }
}

/// A word of a line.
#[derive(Clone, Copy)]
struct Word<'l> {
    text: &'l str,
    /// The word and everything after it.
    to_end: &'l str,
    /// In characters from the start of the line.
    column: usize,
}

fn words(line: &str) -> impl Iterator<Item = Word<'_>> {
    let mut rest = line;
    core::iter::from_fn(move || {
        let to_end = rest.trim_start();
        let text = to_end.split(char::is_whitespace).next()?;
        rest = &to_end[text.len()..];
        let column = line[..line.len() - to_end.len()].chars().count();
        (!text.is_empty()).then_some(Word {
            text,
            to_end,
            column,
        })
    })
}

/// Every place in the table's patterns that these words of `line` lead to.
fn walk<'l, M>(
    table: &[Command<M>],
    line: &str,
    words: impl Iterator<Item = Word<'l>>,
) -> Result<Vec<Cursor>, Problem> {
    let mut places = starts(table);
    for word in words {
        let step = step(places, word);
        places = step.map_err(|(fault, column, expected)| Problem {
            fault,
            line: line.into(),
            column,
            expected,
        })?;
        if places.iter().any(|place| place.ended) {
            break;
        }
    }
    Ok(places)
}

fn starts<M>(table: &[Command<M>]) -> Vec<Cursor> {
    let mut starts = Vec::new();
    for (command, entry) in table.iter().enumerate() {
        let start = Cursor {
            command,
            args: Args::default(),
            rest: vec![entry.pattern],
            ended: false,
        };
        if entry.no {
            let mut negated = start.inner(&NO);
            negated.args.no = true;
            starts.push(negated);
        }
        starts.push(start);
    }
    starts
}

/// Follows one word from all places at once. What fits best wins; two keywords that are abbreviated
/// alike are ambiguous.
fn step(places: Vec<Cursor>, word: Word<'_>) -> Result<Vec<Cursor>, (Fault, usize, Expected)> {
    let mut expected = Expected::default();
    let mut fitting = Vec::new();
    let mut matched = 0;
    for place in places {
        let Next { steps, may_end } = place.next();
        expected.end |= may_end;
        expected.add(steps.iter().map(|(token, _)| *token));
        for (token, cursor) in steps {
            matched = matched.max(token.matched(word.text));
            fitting.extend(token.fit(word.text).map(|fit| (fit, token, cursor)));
        }
    }
    let Some(best) = fitting.iter().map(|(fit, ..)| *fit).min() else {
        return Err((Fault::Invalid, word.column + matched, expected));
    };
    fitting.retain(|(fit, ..)| *fit == best);
    expected
        .tokens
        .retain(|token| token.fit(word.text) == Some(best));
    let several = expected
        .tokens
        .iter()
        .any(|token| token.name != expected.tokens[0].name);
    if best == Fit::Abbreviation && several {
        return Err((Fault::Ambiguous, word.column, expected));
    }
    Ok(fitting
        .into_iter()
        .map(|(fit, token, cursor)| cursor.typed(fit, token, word))
        .collect())
}

/// How a word fits a token, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Keyword,
    Abbreviation,
    Value,
    Word,
    Line,
}

impl Token {
    fn fit(&self, word: &str) -> Option<Fit> {
        let (fits, fit) = match self.kind {
            Kind::Keyword if self.name.eq_ignore_ascii_case(word) => (true, Fit::Keyword),
            Kind::Keyword => (self.matched(word) == word.len(), Fit::Abbreviation),
            Kind::Number(low, high) => (
                number(word).is_some_and(|n| (low..=high).contains(&n)),
                Fit::Value,
            ),
            Kind::Address => (word.parse::<Ipv4Addr>().is_ok(), Fit::Value),
            Kind::PrefixLength => (
                word.strip_prefix('/')
                    .and_then(number)
                    .is_some_and(|n| (1..=32).contains(&n)),
                Fit::Value,
            ),
            Kind::Name => (
                word.starts_with(|c: char| c.is_ascii_alphabetic()),
                Fit::Word,
            ),
            Kind::Word => (true, Fit::Word),
            Kind::Line => (true, Fit::Line),
        };
        fits.then_some(fit)
    }

    /// How many characters of a word begin this keyword: the `^` goes under the first that does not.
    fn matched(&self, word: &str) -> usize {
        let same = |(a, b): &(u8, u8)| a.eq_ignore_ascii_case(b);
        match self.kind {
            Kind::Keyword => self.name.bytes().zip(word.bytes()).take_while(same).count(),
            _ => 0,
        }
    }
}

/// Digits only: `+5` is a number to Rust but not to IOS.
fn number(word: &str) -> Option<u32> {
    word.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| word.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Command<&str>] = &[
        Command {
            pattern: &[
                keyword("show", "Show"),
                keyword("port", "One"),
                value("N", Kind::Number(1, 99), "Port"),
            ],
            no: false,
            example: "show port 5",
            meaning: "port",
        },
        Command {
            pattern: &[
                keyword("show", "Show"),
                keyword("ports", "All"),
                Part::Optional(&[keyword("verbose", "More")]),
            ],
            no: false,
            example: "show ports",
            meaning: "ports",
        },
        Command {
            pattern: &[
                keyword("set", "Set"),
                Part::OneOf(&[
                    &[keyword("host", "One"), value("A", Kind::Address, "Address")],
                    &[keyword("any", "All")],
                ]),
                Part::NoEnds,
                value("TEXT", Kind::Line, "Text"),
            ],
            no: true,
            example: "set any thing at all",
            meaning: "set",
        },
    ];

    fn meaning(line: &str) -> Result<(&'static str, Args), Problem> {
        parse(TABLE, line).map(|(command, args)| (command.meaning, args))
    }

    fn names(expected: &Expected) -> Vec<String> {
        expected.tokens.iter().map(Token::to_string).collect()
    }

    #[test]
    fn an_exact_keyword_beats_an_abbreviation() {
        assert_eq!(meaning("show port 5").map(|m| m.0), Ok("port"));
        assert_eq!(meaning("SH PORTS v").map(|m| m.0), Ok("ports"));
        let problem = meaning("sh po 5").unwrap_err();
        assert_eq!((problem.fault, problem.column), (Fault::Ambiguous, 3));
        assert_eq!(names(&problem.expected), ["port", "ports"]);
    }

    #[test]
    fn a_line_takes_the_rest_with_its_spaces() {
        let (_, args) = meaning(" set  any   one  two ").unwrap();
        assert_eq!(args.text("TEXT"), Some("one  two"));
        assert_eq!(args.column("TEXT"), 12);
    }

    #[test]
    fn no_may_end_where_the_pattern_says_and_nowhere_else() {
        let (command, args) = meaning("no set host 1.2.3.4").unwrap();
        assert_eq!(
            (command, args.no, args.address("A")),
            ("set", true, Some([1, 2, 3, 4].into()))
        );
        assert_eq!(
            meaning("set host 1.2.3.4").unwrap_err().fault,
            Fault::Incomplete
        );
        assert_eq!(meaning("no set host").unwrap_err().fault, Fault::Incomplete);
        assert_eq!(
            meaning("no show ports").unwrap_err().column,
            4,
            "`s` of `set`"
        );
    }

    #[test]
    fn the_caret_is_under_the_first_character_that_fits_nothing() {
        let column = |line| meaning(line).map_err(|problem| problem.column).unwrap_err();
        assert_eq!(column("shaw ports"), 2);
        assert_eq!(column("show port 100"), 10);
        assert_eq!(column("show port +5"), 10);
        assert_eq!(column("show ports verbose now"), 19);
        assert_eq!(column("set höst"), 5);
        assert_eq!(
            meaning("shaw").unwrap_err().marked(7),
            format!(
                "{}^\n% Invalid input detected at '^' marker.",
                " ".repeat(9)
            )
        );
    }

    #[test]
    fn every_place_knows_what_may_come_next() {
        let next = |line| expected(TABLE, line).map(|e| (names(&e), e.end));
        let list = |tokens: &[&str]| tokens.iter().map(|t| t.to_string()).collect::<Vec<_>>();
        assert_eq!(next(""), Ok((list(&["show", "no", "set"]), false)));
        assert_eq!(next("s"), Ok((list(&["show", "set"]), false)));
        assert_eq!(next("show ports "), Ok((list(&["verbose"]), true)));
        assert_eq!(next("show port "), Ok((list(&["<1-99>"]), false)));
        assert_eq!(next("no set any "), Ok((list(&["LINE"]), true)));
        assert_eq!(next("set any some text "), Ok((list(&[]), true)));
        assert!(next("sit ").is_err());
    }
}
