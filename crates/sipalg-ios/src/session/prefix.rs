//! Words that configuration mode takes before a command: `do` and `default`.

use crate::grammar::{Kind, Token};

/// `do`, as `?` lists it.
pub const DO: Token = Token {
    name: "do",
    kind: Kind::Keyword,
    help: "To run exec commands in config mode",
};

/// `default`, as `?` lists it.
pub const DEFAULT: Token = Token {
    name: "default",
    kind: Kind::Keyword,
    help: "Set a command to its defaults",
};

/// How many letters tell `default` from other commands.
const SHORTEST_DEFAULT: usize = 3;

/// A line of configuration mode, by its first word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Prefix<'l> {
    /// `do`: a line of exec mode, after this many characters.
    Do(usize, &'l str),
    /// `default`.
    Default(Default),
    /// None of these.
    None,
}

/// A line that begins with `default`, in its two readings, column by column the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Default {
    /// The command.
    pub positive: String,
    /// The command with `no`.
    pub negative: String,
}

impl<'l> Prefix<'l> {
    /// Looks at the first word, if another may follow it.
    pub fn of(line: &'l str) -> Prefix<'l> {
        let text = line.trim_start();
        let Some(end) = text.find(char::is_whitespace) else {
            return Prefix::None;
        };
        let (word, rest) = text.split_at(end);
        let indent = line[..line.len() - text.len()].chars().count();
        if word.eq_ignore_ascii_case(DO.name) {
            return Prefix::Do(indent + end, rest);
        }
        let default = DEFAULT.name.get(..word.len());
        if word.len() < SHORTEST_DEFAULT || !default.is_some_and(|d| d.eq_ignore_ascii_case(word)) {
            return Prefix::None;
        }
        let before = " ".repeat(indent);
        Prefix::Default(Default {
            positive: format!("{before}{}{rest}", " ".repeat(end)),
            negative: format!("{before}{:<end$}{rest}", "no"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_decides_and_columns_stay() {
        assert_eq!(Prefix::of(" do sh ver"), Prefix::Do(3, " sh ver"));
        assert_eq!(Prefix::of("do"), Prefix::None, "nothing may follow it yet");
        assert_eq!(Prefix::of("deny any"), Prefix::None);
        assert_eq!(Prefix::of("defaulted any"), Prefix::None);
        let line = " DEFA hostname x";
        let Prefix::Default(Default { positive, negative }) = Prefix::of(line) else {
            panic!("`default` is not seen");
        };
        assert_eq!(positive, "      hostname x");
        assert_eq!(negative, " no   hostname x");
    }
}
