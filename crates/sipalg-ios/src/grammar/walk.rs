//! How a typed line moves through the patterns of a table, all of them at once.

use super::{Args, Command, Expected, Fault, Kind, Part, Problem, Token, Typed, keyword};
use core::net::Ipv4Addr;

static NO: [Part; 1] = [keyword("no", "Negate a command or set its defaults")];

/// A place in a pattern, and what was typed on the way there.
#[derive(Clone)]
pub(super) struct Cursor {
    pub(super) command: usize,
    pub(super) args: Args,
    /// What is left of the pattern: the innermost part is last.
    rest: Vec<&'static [Part]>,
    /// Whether the rest of the line was taken whole.
    ended: bool,
}

/// What can follow a [`Cursor`].
#[derive(Default)]
pub(super) struct Next {
    pub(super) steps: Vec<(&'static Token, Cursor)>,
    pub(super) may_end: bool,
}

impl Cursor {
    pub(super) fn next(self) -> Next {
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
pub(super) struct Word<'l> {
    pub(super) text: &'l str,
    /// The word and everything after it.
    to_end: &'l str,
    /// In characters from the start of the line.
    column: usize,
}

pub(super) fn words(line: &str) -> impl Iterator<Item = Word<'_>> {
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
pub(super) fn walk<'l, M>(
    table: &[&Command<M>],
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

fn starts<M>(table: &[&Command<M>]) -> Vec<Cursor> {
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

    /// Whether what is typed for this token may begin so.
    pub(crate) fn may_begin(&self, word: &str) -> bool {
        match self.kind {
            Kind::Number(..) => word.bytes().all(|b| b.is_ascii_digit()),
            Kind::Address => word.bytes().all(|b| b.is_ascii_digit() || b == b'.'),
            Kind::PrefixLength => word == "/" || self.fit(word).is_some(),
            _ => self.fit(word).is_some(),
        }
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
