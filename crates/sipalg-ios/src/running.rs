//! From a [`Startup`] back to text, by the same table that reads it. Defaults are left out.

use crate::commands::{GLOBAL, Setting};
use crate::grammar::Command;
use crate::startup::Startup;

/// The configuration as IOS writes it: `Startup::parse` of it gives the same again.
pub fn config(startup: &Startup) -> String {
    let mut text = String::from("!\n");
    for command in GLOBAL {
        let lines = (command.meaning.running)(startup);
        for line in &lines {
            text += line;
            text.push('\n');
        }
        if lines.last().is_some_and(|last| last != "!") {
            text += "!\n";
        }
    }
    text + "end\n"
}

/// The lines of a submode: its header, what the submode's table has to say, and a `!`.
pub fn block<C>(header: String, table: &[Command<Setting<C>>], context: &C) -> Vec<String> {
    let body = table
        .iter()
        .flat_map(|command| (command.meaning.running)(context));
    let mut lines = vec![header];
    lines.extend(body.map(|line| format!(" {line}")));
    lines.push("!".into());
    lines
}
