//! What `?` and TAB answer, from the tables that parse.

use crate::grammar::{Expected, Fault, Kind, Problem};
use std::collections::BTreeMap;

/// Where lines of names are broken unless `terminal width` says otherwise.
pub const WIDTH: usize = 80;

/// The answer to `?` at the end of `line`: after a space what may come next, with its help; inside a
/// word, the words that begin so.
pub fn list(line: &str, expected: &Expected, width: usize) -> String {
    let names = by_name(expected);
    let in_word = begun(line).is_some();
    if names.is_empty() && !expected.end {
        return "% Unrecognized command\n".into();
    }
    let keywords = expected.tokens.iter().all(|t| t.kind == Kind::Keyword);
    if in_word && keywords {
        return columns(names.keys(), width);
    }
    let widest = names.keys().map(String::len).max().unwrap_or_default();
    let mut text = String::new();
    for (name, help) in &names {
        text += &format!("  {name:widest$}  {help}\n");
    }
    if expected.end {
        text += "  <cr>\n";
    }
    text
}

/// The answer to `?` if what stands before it is wrong.
pub fn complaint(problem: &Problem) -> String {
    match problem.fault {
        Fault::Ambiguous => format!("{problem}\n"),
        _ => "% Unrecognized command\n".into(),
    }
}

/// The line after TAB: its last word completed if one keyword is meant, or else as it is.
pub fn complete(line: &str, expected: &Expected) -> String {
    let Some(word) = begun(line) else {
        return line.into();
    };
    let keywords = expected.tokens.iter().filter(|t| t.kind == Kind::Keyword);
    let mut names: Vec<&str> = keywords.map(|token| token.name).collect();
    names.dedup();
    let exact = |name: &&&str| name.eq_ignore_ascii_case(word);
    let meant = names.iter().find(exact).or(match names.as_slice() {
        [name] => Some(name),
        _ => None,
    });
    match meant {
        Some(name) => format!("{}{name} ", &line[..line.len() - word.len()]),
        None => line.into(),
    }
}

/// The last word, if the line ends in one.
fn begun(line: &str) -> Option<&str> {
    line.split(|c: char| c.is_whitespace() || c == '|')
        .next_back()
        .filter(|word| !word.is_empty())
}

/// In the order of IOS: values first, then keywords by the alphabet.
fn by_name(expected: &Expected) -> BTreeMap<String, &'static str> {
    let mut names = BTreeMap::new();
    for token in &expected.tokens {
        names.entry(token.to_string()).or_insert(token.help);
    }
    names
}

/// Names side by side, in equal columns.
fn columns<'n>(names: impl Iterator<Item = &'n String>, width: usize) -> String {
    let names: Vec<&String> = names.collect();
    let cell = names
        .iter()
        .map(|name| name.len())
        .max()
        .unwrap_or_default()
        + 2;
    let mut text = String::new();
    for row in names.chunks((width / cell).max(1)) {
        let row: String = row.iter().map(|name| format!("{name:cell$}")).collect();
        text += row.trim_end();
        text.push('\n');
    }
    text
}
