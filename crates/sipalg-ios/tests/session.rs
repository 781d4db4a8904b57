//! Sessions: transcripts of what is typed and what the terminal shows, and laws of help.
//!
//! In a transcript, `<TAB>` is that key, `^Z` and `^C` are control keys, and `?` at the end of a line
//! asks for help. What the gateway would be asked stands after `=`.
//!
//! `SIPALG_BLESS=1` writes the answers anew; the difference is then for a human to judge.

use sipalg_ios::Exec;
use sipalg_ios::commands::{EXEC, EXTENDED_LIST, GLOBAL, INTERFACE, LIST, PRIVILEGED};
use sipalg_ios::exec::{self, Privilege};
use sipalg_ios::grammar::{Command, Kind, Token};
use sipalg_ios::running;
use sipalg_ios::session::{ABANDON, Action, COMPLETE, CTRL_Z, Session};
use sipalg_ios::startup::Startup;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

#[test]
fn the_procedure_of_the_reference_document_is_typed_as_printed() {
    replay("reference");
}

#[test]
fn every_mode_has_its_prompt_and_its_ways_out() {
    replay("modes");
}

#[test]
fn help_is_there_after_any_token_and_inside_a_word() {
    replay("help");
}

#[test]
fn tab_completes_what_is_unambiguous_and_leaves_the_rest() {
    replay("tab");
}

#[test]
fn errors_look_as_in_ios_with_the_mark_under_the_offence() {
    replay("errors");
}

#[test]
fn do_no_and_default_stand_before_commands() {
    replay("prefixes");
}

#[test]
fn output_modifiers_pick_lines_of_show_commands() {
    replay("filters");
}

#[test]
fn a_secret_is_asked_three_times_and_questions_can_be_declined() {
    replay("questions");
}

/// The examples of a table's commands.
fn examples<M>(table: &'static [Command<M>]) -> Vec<&'static str> {
    table.iter().map(|command| command.example).collect()
}

#[test]
fn every_command_is_typed_with_help_at_every_token() {
    let modes = [
        (&[] as &[&str], examples(EXEC)),
        (&["enable"], examples(PRIVILEGED)),
        (&["enable", "configure terminal"], examples(GLOBAL)),
        (
            &["enable", "configure terminal", "interface gin"],
            examples(INTERFACE),
        ),
        (
            &["enable", "configure terminal", "ip access-list standard 1"],
            examples(LIST),
        ),
        (
            &[
                "enable",
                "configure terminal",
                "ip access-list extended 100",
            ],
            examples(EXTENDED_LIST),
        ),
    ];
    let mut screen = String::new();
    for (enter, examples) in modes {
        let mut helped = HashSet::new();
        for example in examples {
            let mut terminal = Terminal::default();
            enter.iter().for_each(|line| drop(terminal.types(line)));
            let ends = example.match_indices(' ').map(|(at, _)| at + 1);
            let beginnings = ends.chain([example.len()]).map(|end| &example[..end]);
            for beginning in beginnings.filter(|line| helped.insert(*line)) {
                // After the last word too: what may follow it.
                let line = format!("{} ?", beginning.trim_end());
                screen += &format!("{}{line}\n", terminal.prompt());
                screen += &terminal.types(&line);
            }
            screen += &format!("{}{example}\n", terminal.prompt());
            screen += &terminal.types(example);
        }
    }
    compare("commands", &screen);
}

/// A session over a configuration that takes every change.
#[derive(Default)]
struct Terminal {
    session: Session,
    startup: Startup,
}

impl Terminal {
    fn privileged() -> Self {
        let mut terminal = Terminal::default();
        terminal.types("enable");
        terminal
    }

    fn prompt(&self) -> String {
        self.session.ask(&self.startup).prompt
    }

    fn types(&mut self, line: &str) -> String {
        match self.session.line(line, &self.startup) {
            Action::Say(text) => text,
            Action::Leave => "(left)\n".into(),
            Action::Configure(startup, mode) => {
                self.startup = *startup;
                self.session.enter(mode);
                String::new()
            }
            Action::Ask(Exec::ShowRunningConfig, filter) => {
                let text = running::config(&self.startup);
                filter.map_or(text.clone(), |filter| filter.apply(&text))
            }
            Action::Ask(exec, _) => format!("= {exec:?}\n"),
        }
    }
}

/// Types every line of the transcript that stands after a prompt, and compares all that is shown.
fn replay(name: &str) {
    let transcript = std::fs::read_to_string(path_of(name)).expect("a transcript");
    let mut terminal = Terminal::default();
    let mut screen = String::new();
    for typed in transcript.lines().filter_map(after_prompt) {
        screen += &terminal.prompt();
        screen += typed;
        screen.push('\n');
        let line = typed.replace("^Z", &CTRL_Z.to_string());
        let line = line.replace("^C", &ABANDON.to_string());
        screen += &match line.strip_suffix("<TAB>") {
            Some(line) => format!("[{}]\n", terminal.types(&format!("{COMPLETE}{line}"))),
            None => terminal.types(&line),
        };
    }
    compare(name, &screen);
}

fn path_of(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/session");
    folder.join(format!("{name}.txt"))
}

fn compare(name: &str, screen: &str) {
    assert!(!screen.is_empty());
    if std::env::var_os("SIPALG_BLESS").is_some() {
        std::fs::write(path_of(name), screen).expect("a writable transcript");
    }
    let transcript = std::fs::read_to_string(path_of(name)).expect("a transcript");
    assert_eq!(screen, transcript);
}

fn after_prompt(line: &str) -> Option<&str> {
    let questions = [
        "Password: ",
        "Proceed with reload? [confirm]",
        "Enter Y if you are sure you want to proceed. ? [no]: ",
    ];
    let question = questions.iter().find_map(|q| line.strip_prefix(q));
    question.or_else(|| {
        let named = line.starts_with("Device") || line.starts_with("gw");
        let at = line.find(['#', '>']).filter(|_| named)?;
        Some(&line[at + 1..])
    })
}

/// Every line that `?` leads to, depth first from these, each with the space after it.
fn every_offered_line(
    terminal: &mut Terminal,
    mut check: impl FnMut(&mut Terminal, &str, &[String]),
) {
    let mut lines = vec![String::new()];
    let mut seen = 0;
    let mut known = HashMap::new();
    while let Some(line) = lines.pop() {
        seen += 1;
        let help = terminal.types(&format!("{line}?"));
        let offered: Vec<String> = help
            .lines()
            .map(|line| {
                line.split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect();
        check(terminal, &line, &offered);
        // What leads to the same choices as other lines did is followed only now and then.
        let times = known.entry(help).or_insert(0);
        *times += 1;
        for name in offered.iter().filter(|name| *name != "<cr>" && *times <= 3) {
            lines.push(format!("{line}{} ", sample(name)));
        }
    }
    assert!(seen > 50, "only {seen} lines");
}

/// Something that can be typed for what help shows.
fn sample(name: &str) -> String {
    match name {
        "A.B.C.D" => "10.0.0.1".into(),
        "WORD" | "LINE" => "x".into(),
        "/nn" => "/24".into(),
        name => match name
            .strip_prefix('<')
            .and_then(|range| range.split_once('-'))
        {
            Some((low, _)) => low.into(),
            None => name.into(),
        },
    }
}

#[test]
fn whatever_help_offers_is_accepted_in_every_mode() {
    for enter in [
        &["configure terminal"] as &[&str],
        &["configure terminal", "interface gin"],
        &["configure terminal", "ip access-list standard 1"],
        &["configure terminal", "ip access-list extended 100"],
        &[],
    ] {
        let mut terminal = Terminal::privileged();
        for line in enter {
            terminal.types(line);
        }
        every_offered_line(&mut terminal, |terminal, line, offered| {
            assert!(!offered.is_empty(), "no help after `{line}`");
            assert!(!offered.contains(&"%".into()), "`{line}`: {offered:?}");
            // The line as such may end here exactly if help says so.
            if !line.is_empty() {
                let mut copy = Terminal {
                    session: terminal.session.clone(),
                    startup: terminal.startup.clone(),
                };
                let answer = copy.types(line);
                let wrong = answer.contains("% Incomplete") || answer.contains("% Invalid");
                assert_eq!(
                    !wrong,
                    offered.contains(&"<cr>".into()),
                    "`{line}`: {answer}"
                );
            }
        });
    }
}

#[test]
fn every_position_of_every_example_has_help_and_every_word_completes_to_itself() {
    let mut terminal = Terminal::privileged();
    for command in exec::commands(Privilege::Privileged) {
        let example = command.example;
        for end in (0..=example.len()).filter(|end| example.is_char_boundary(*end)) {
            let help = terminal.types(&format!("{}?", &example[..end]));
            assert!(!help.starts_with('%'), "`{}?`: {help}", &example[..end]);
            let tab = terminal.types(&format!("{COMPLETE}{}", &example[..end]));
            assert!(tab.starts_with(&example[..end]), "{tab}");
        }
    }
}

#[test]
fn the_keywords_of_help_are_sorted_and_none_comes_twice() {
    let mut terminal = Terminal::privileged();
    every_offered_line(&mut terminal, |_, line, offered| {
        let names: Vec<_> = offered.iter().filter(|name| *name != "<cr>").collect();
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(names, sorted, "after `{line}`");
    });
    let token = Token {
        name: "TYPE",
        kind: Kind::Number(5, 5),
        help: "A number that can only be one",
    };
    assert_eq!(token.to_string(), "5");
}

#[test]
fn two_sessions_configure_one_configuration() {
    let mut one = Terminal::privileged();
    one.types("configure terminal");
    one.types("interface gin");
    let mut two = Terminal::privileged();
    two.startup = one.startup.clone();
    two.types("configure terminal");
    two.types("no interface gin");
    one.startup = two.startup;
    // The interface is gone: what is said there now means nothing, and a global command still does.
    assert!(one.types("ip nat inside").contains("% Incomplete"));
    one.types("hostname gw");
    assert_eq!(one.prompt(), "gw(config)#");
}
