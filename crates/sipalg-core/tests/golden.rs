//! The golden cases: every folder in `data` is a conversation with what must come of it, by the RFC
//! and the translation table. The language is described in `script/mod.rs`.
#![allow(clippy::unwrap_used)]

mod script;
mod world;

use script::{Case, cases};

/// Runs a case whole and byte by byte.
fn outcome(case: &Case) -> Result<(), String> {
    let script = case.script()?;
    script::run::run(&script, usize::MAX)?;
    script::run::run(&script, 1).map_err(|error| format!("byte by byte: {error}"))
}

#[test]
fn every_case_goes_in_and_comes_out_as_written() {
    let cases = cases("data");
    let mut failed = Vec::new();
    for case in &cases {
        if let Err(error) = outcome(case) {
            failed.push(case.name.as_str());
            println!("---- {}: {}case.txt {error}\n", case.name, case.note);
        }
    }
    println!("{} cases", cases.len());
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
    assert!(cases.len() >= 250, "only {} cases", cases.len());
}

#[test]
fn every_note_is_one_sentence_that_names_its_source() {
    for case in &cases("data") {
        let note = case.note.trim_end();
        assert!(
            !note.is_empty() && note.ends_with('.') && !note.contains('\n'),
            "{}: {note}",
            case.name
        );
        let sourced = ["RFC", "draft-", "Table"];
        assert!(
            sourced.iter().any(|source| note.contains(source)),
            "{}: {note}",
            case.name
        );
    }
}

#[test]
fn a_wrong_expectation_fails() {
    let text = "== inside\nOPTIONS sip:b@example.com SIP/2.0\nVia: SIP/2.0/TCP {192.168.122.3|10.1.1.1}:5060\nl: *\n";
    let case = |text: &str| Case {
        name: String::new(),
        note: String::new(),
        text: text.into(),
    };
    outcome(&case(text)).unwrap();
    let offer = "== inside\nUPDATE sip:b@example.com SIP/2.0\nCall-ID: 1\nCSeq: 1 UPDATE\nContent-Type: application/sdp\nl: *\n\n\
        v=0\nc=IN IP4 {192.168.122.3|10.1.1.1}\nm=audio 6000 RTP/AVP 0\n";
    let doors = "== doors\n+ media 192.168.122.3:6000 = 10.1.1.1:6000\n+ media 192.168.122.3:6001 = 10.1.1.1:6001\n";
    outcome(&case(&format!("{offer}{doors}"))).unwrap();
    for wrong in [
        text.replace("|10.1.1.1", "|10.1.1.2"),
        text.replace("{192.168.122.3|10.1.1.1}", "192.168.122.3"),
        text.replace("l: *", "l: {0|1}"),
        text.replace("5060", "$port"),
        format!("{text}== doors\n+ media 192.168.122.3:6000 = 10.1.1.1:6000\n"),
        format!("{text}== events\nDemoted\n"),
        format!("{text}== counted demoted 1\n"),
        format!("{text}== forgotten\n"),
        format!("{text}== nonsense\n"),
        offer.to_string(),
        format!("{offer}{}", doors.replace('+', "-")),
        format!("{offer}{}", doors.replace(":6001", ":6002")),
    ] {
        assert!(outcome(&case(&wrong)).is_err(), "{wrong}");
    }
}
