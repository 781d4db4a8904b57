//! Transcripts: lines as they are typed after a prompt, and the exact answers.
//!
//! `SIPALG_BLESS=1` writes the answers anew; the difference is then for a human to judge.

use sipalg_ios::access::ListKind;
use sipalg_ios::exec::{self, Privilege};
use sipalg_ios::parse::{Editor, Mode};
use std::path::Path;

#[test]
fn exec_mode_answers_as_the_transcript_says() {
    let answer =
        |(): &mut (), line: &str, prompt| match exec::interpret(Privilege::Privileged, line) {
            Ok(exec) => format!("= {exec:?}\n"),
            Err(problem) => format!("{}\n", problem.marked(prompt)),
        };
    replay("exec.txt", (), |()| "gw#", answer);
}

#[test]
fn configuration_mode_answers_as_the_transcript_says() {
    let prompt = |editor: &Editor| match editor.mode() {
        Mode::Global => "gw(config)#",
        Mode::Interface(_) => "gw(config-if)#",
        Mode::List(_, ListKind::Standard) => "gw(config-std-nacl)#",
        Mode::List(_, ListKind::Extended) => "gw(config-ext-nacl)#",
        Mode::Ended => "gw#",
    };
    let answer = |editor: &mut Editor, line: &str, prompt| {
        let before = editor.startup.clone();
        match editor.line(line) {
            Ok(_) => String::new(),
            Err(problem) => {
                assert_eq!(
                    editor.startup, before,
                    "a refused line changed something: {line}"
                );
                format!("{}\n", problem.marked(prompt))
            }
        }
    };
    for file in ["config.txt", "rules.txt", "lists.txt"] {
        replay(file, Editor::default(), prompt, answer);
    }
}

/// Types each line of the transcript that starts with a prompt, and compares all that is printed.
fn replay<S>(
    file: &str,
    mut state: S,
    prompt: impl Fn(&S) -> &'static str,
    answer: impl Fn(&mut S, &str, usize) -> String,
) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(file);
    let transcript = std::fs::read_to_string(&path).expect("a transcript");
    let typed = transcript.lines().filter(|line| line.starts_with("gw"));
    let mut screen = String::new();
    for line in typed
        .filter_map(|line| line.split_once('#'))
        .map(|(_, line)| line)
    {
        let prompt = prompt(&state);
        screen += &format!("{prompt}{line}\n{}", answer(&mut state, line, prompt.len()));
    }
    assert!(!screen.is_empty());
    match std::env::var_os("SIPALG_BLESS") {
        Some(_) => std::fs::write(&path, screen).expect("a writable transcript"),
        None => assert_eq!(screen, transcript),
    }
}
