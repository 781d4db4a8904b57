//! The command reference of the manual and the page of the configuration file, made from the command
//! tables.

mod page;

pub use page::page;

use crate::commands::{EXEC, EXTENDED_LIST, GLOBAL, INTERFACE, LIST, PRIVILEGED};
use crate::grammar::{Command, Kind, Part, Token};
use crate::session::filter::FILTERS;

/// The whole reference, as Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Command reference\n\n\
         Made from the command tables; do not edit. Words in capitals stand for values, `[ ]` may be left \
         out, of `{ | }` one is chosen. Keywords may be abbreviated.\n",
    );
    text += &mode("User EXEC", "After `sipalg console`.", EXEC);
    text += &mode(
        "Privileged EXEC",
        "After `enable`, besides those above.",
        PRIVILEGED,
    );
    text += &mode(
        "Output modifiers",
        "After `|` behind a command that shows something.",
        FILTERS,
    );
    text += &mode(
        "Global configuration",
        "After `configure terminal`, and in files.",
        GLOBAL,
    );
    text += &mode(
        "Interface configuration",
        "After `interface NAME`.",
        INTERFACE,
    );
    text += &mode(
        "Standard access list",
        "After `ip access-list standard LIST`.",
        LIST,
    );
    text += &mode(
        "Extended access list",
        "After `ip access-list extended LIST`.",
        EXTENDED_LIST,
    );
    text
}

fn mode<M>(title: &str, when: &str, table: &[Command<M>]) -> String {
    let entries: Vec<_> = entries(table).iter().map(markdown).collect();
    format!("\n## {title}\n\n{when}\n{}", entries.concat())
}

fn markdown(entry: &Entry) -> String {
    let mut text = format!("\n### {}\n\n{}.\n\n```\n", entry.title, entry.help);
    for form in &entry.forms {
        text += &format!("{form}\n");
    }
    text += "```\n";
    if !entry.words.is_empty() {
        text += "\n| word | type | meaning |\n|---|---|---|\n";
    }
    for word in &entry.words {
        let kind = match &word.kind {
            Some(kind) => format!("`{kind}`"),
            None => String::new(),
        };
        text += &format!("| `{}` | {kind} | {} |\n", cell(word.name), cell(word.help));
    }
    text + &format!("\nExample: `{}`\n", entry.example)
}

/// What there is to say of a command.
struct Entry {
    title: String,
    help: &'static str,
    /// How it is typed, with `no` where that is another.
    forms: Vec<String>,
    words: Vec<Word>,
    example: &'static str,
}

/// What follows the name of a command.
struct Word {
    name: &'static str,
    /// What a value looks like.
    kind: Option<String>,
    help: &'static str,
}

/// What there is to say of a mode, in the order of the titles.
fn entries<M>(table: &[Command<M>]) -> Vec<Entry> {
    let mut entries: Vec<_> = table.iter().map(entry).collect();
    entries.sort_by(|one, other| (&one.title, &one.forms).cmp(&(&other.title, &other.forms)));
    entries
}

fn entry<M>(command: &Command<M>) -> Entry {
    let fixed = command.pattern.iter().map_while(keyword_of);
    let fixed: Vec<&Token> = fixed.collect();
    let (title, help) = title(command.pattern, &fixed);
    let mut forms = vec![syntax(command.pattern)];
    if command.no {
        if let [Part::Optional([named @ .., Part::NoEnds]), ..] = command.pattern {
            forms.push(format!("no {}", syntax(named)));
        }
        let ends = command
            .pattern
            .iter()
            .position(|part| matches!(part, Part::NoEnds));
        let ends = ends.unwrap_or(command.pattern.len());
        forms.push(format!("no {}", syntax(&command.pattern[..ends])));
    }
    let mut tokens = Vec::new();
    for part in &command.pattern[fixed.len()..] {
        collect(part, &mut tokens);
    }
    let word = |token: &&Token| Word {
        name: token.name,
        kind: (token.kind != Kind::Keyword).then(|| token.to_string()),
        help: token.help,
    };
    Entry {
        title,
        help,
        forms,
        words: tokens.iter().map(word).collect(),
        example: command.example,
    }
}

/// What a command is called, and what its last word means: the keywords that it begins with; where that
/// tells too little, with the first choice among those that follow.
fn title(pattern: &[Part], fixed: &[&Token]) -> (String, &'static str) {
    let mut words = fixed.to_vec();
    if words.len() < 2
        && let Some(Part::OneOf([first, ..])) = pattern.get(words.len())
    {
        words.extend(first.iter().map_while(keyword_of));
    }
    if words.is_empty() {
        let required = pattern
            .iter()
            .filter(|part| !matches!(part, Part::Optional(_)));
        words.extend(required.map_while(keyword_of));
    }
    if let Some(last) = words.last() {
        let names: Vec<_> = words.iter().map(|token| token.name).collect();
        return (names.join(" "), last.help);
    }
    let mut required = pattern.iter().filter_map(|part| match part {
        Part::OneOf([first, ..]) => first.iter().find_map(keyword_of),
        _ => None,
    });
    required
        .next()
        .map_or((String::new(), ""), |token| (token.name.into(), token.help))
}

/// How a pattern is typed.
fn syntax(parts: &[Part]) -> String {
    let parts = parts.iter().filter_map(|part| match part {
        Part::One(token) => Some(token.name.to_owned()),
        Part::Optional([Part::OneOf(choices)]) => {
            Some(format!("[{}]", alternatives(choices).join(" | ")))
        }
        Part::Optional(parts) => Some(format!("[{}]", syntax(parts))),
        Part::OneOf(choices) => Some(match &alternatives(choices)[..] {
            [only] => only.clone(),
            several => format!("{{{}}}", several.join(" | ")),
        }),
        Part::NoEnds => None,
    });
    parts.collect::<Vec<_>>().join(" ")
}

/// Choices, each once; those within a choice are choices. Of a value that has names, too, only the value
/// is told: there may be dozens.
fn alternatives(choices: &[&[Part]]) -> Vec<String> {
    let value =
        |parts: &&&[Part]| matches!(parts, [Part::One(token)] if token.kind != Kind::Keyword);
    let named = choices.len() > MOST_NAMES && choices.iter().any(|parts| value(&parts));
    let mut told: Vec<String> = Vec::new();
    for parts in choices.iter().filter(|parts| !named || value(parts)) {
        let inner = match parts {
            [Part::OneOf(inner)] => alternatives(inner),
            parts => vec![syntax(parts)],
        };
        for choice in inner {
            if !told.contains(&choice) {
                told.push(choice);
            }
        }
    }
    told
}

/// With more choices, those that are no values are names of values.
const MOST_NAMES: usize = 10;

/// The keyword that a part is, if it is nothing else.
fn keyword_of(part: &Part) -> Option<&Token> {
    match part {
        Part::One(token) if token.kind == Kind::Keyword => Some(token),
        _ => None,
    }
}

/// The tokens of a part that are not known yet.
fn collect<'p>(part: &'p Part, tokens: &mut Vec<&'p Token>) {
    match part {
        Part::One(token) => {
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
        Part::Optional(parts) => parts.iter().for_each(|part| collect(part, tokens)),
        Part::OneOf(choices) => {
            let parts = choices.iter().flat_map(|parts| parts.iter());
            parts.for_each(|part| collect(part, tokens));
        }
        Part::NoEnds => {}
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
