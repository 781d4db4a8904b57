//! Laws that hold for any conversation, tried on many made from a fixed seed; and each shown to notice
//! a bug that was put in.

mod gateway;
mod law;
mod messages;
#[path = "../skeleton/mod.rs"]
mod skeleton;
#[path = "../world/mod.rs"]
mod world;

use gateway::{Bug, Gateway, Rules, Trial, bytes};
use law::Law;
use messages::{Coverage, Dice, message, stream};
use sipalg_core::Leg;
use std::collections::BTreeSet;

/// Tries a law on so many conversations under each kind of rule, and on as many with a bug, of which
/// one must break it.
fn holds(law: Law, times: usize, bug: Bug) {
    for rules in Rules::ALL {
        let times = if rules == Rules::Interface {
            times
        } else {
            times / 4
        };
        let mut dice = Dice(1);
        for nth in 0..times {
            let trial = Trial {
                bug: Bug::None,
                rules,
            };
            if let Err(wrong) = law(&mut dice, trial) {
                panic!("{rules:?}, try {nth}: {wrong}");
            }
        }
    }
    let mut dice = Dice(1);
    let rules = Rules::Interface;
    let noticed = (0..times).any(|_| law(&mut dice, Trial { bug, rules }).is_err());
    assert!(noticed, "{bug:?} breaks the law, and it did not notice");
}

/// The machine of the reference.
const PLAIN: Trial = Trial {
    bug: Bug::None,
    rules: Rules::Interface,
};

#[test]
fn any_cutting_of_the_stream_gives_the_same_bytes_doors_and_events() {
    holds(law::any_cut, 60, Bug::Segment);
}

#[test]
fn bytes_that_are_not_ours_are_identical() {
    holds(law::untouched, 300, Bug::Respells);
}

#[test]
fn what_went_out_translated_comes_back_as_it_was() {
    holds(law::there_and_back, 300, Bug::OneWay);
}

#[test]
fn the_same_message_goes_out_the_same_and_is_not_translated_twice() {
    holds(law::idempotent, 500, Bug::Changes);
}

#[test]
fn content_length_is_true() {
    holds(law::true_length, 500, Bug::OldLength);
}

#[test]
fn who_frames_what_left_finds_the_same_messages() {
    holds(law::same_framing, 300, Bug::Glues);
}

#[test]
fn no_field_of_the_table_tells_the_outside_an_inside_local() {
    holds(law::nothing_told, 1000, Bug::Tells);
}

#[test]
fn nothing_is_left_when_all_is_over() {
    holds(law::nothing_left, 100, Bug::Forgets);
}

#[test]
fn doors_are_there_before_the_bytes_that_tell_of_them() {
    holds(law::doors_first, 50, Bug::Early);
}

#[test]
fn no_peer_makes_the_gateway_keep_more_than_its_limits() {
    holds(law::bounded, 30, Bug::Unbounded);
}

#[test]
fn bytes_of_any_kind_are_never_lost_and_never_panic() {
    let mut dice = Dice(4);
    for _ in 0..600 {
        let mut input = stream(&mut dice);
        for _ in 0..1 + dice.roll(8) {
            let place = dice.roll(input.len());
            match dice.roll(3) {
                0 => input[place] = dice.roll(256) as u8,
                1 => input.truncate(place.max(1)),
                _ => input.insert(place, dice.roll(256) as u8),
            }
        }
        for from in [Leg::Inside, Leg::Outside] {
            let mut gateway = Gateway::new(PLAIN);
            let mut out = Vec::new();
            for part in input.chunks(1 + dice.roll(400)) {
                out.extend(bytes(&gateway.pass(from, part)));
            }
            out.extend(bytes(&gateway.end(from)));
            // Addresses may change their length; nothing else may come or go.
            let letters = |bytes: &[u8]| {
                let kept = |b: &&u8| !b.is_ascii_digit() && !matches!(b, b'.' | b':' | b' ');
                bytes.iter().filter(kept).copied().collect::<Vec<_>>()
            };
            assert_eq!(letters(&out), letters(&input));
        }
    }
}

/// The generator speaks of every row: a new row without a field in the generator fails here.
#[test]
fn the_generator_makes_every_row_of_the_table() {
    let (mut dice, mut coverage) = (Dice(9), Coverage::default());
    for _ in 0..500 {
        message(&mut dice, &mut coverage);
    }
    let table = include_str!("../../src/fixup/table.rs");
    let rows: BTreeSet<String> = table
        .split("row(Name::")
        .skip(1)
        .filter_map(|row| Some(row.split_once(',')?.0.to_string()))
        .chain(["Request-URI".to_string()])
        .collect();
    assert!(rows.len() > 20, "{rows:?}");
    let missing: Vec<_> = rows.difference(&coverage.0).collect();
    assert!(missing.is_empty(), "never generated: {missing:?}");
    assert!(!Gateway::new(PLAIN).demoted());
}
