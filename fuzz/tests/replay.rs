//! Every committed input through its target, as an ordinary test.

use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let inputs = std::fs::read_dir(&folder).expect("the folder of inputs");
    let mut count = 0;
    for input in inputs {
        let path = input.expect("an entry").path();
        let data = std::fs::read(&path).expect("an input");
        let held = std::panic::catch_unwind(|| check(&data));
        assert!(
            held.is_ok(),
            "{target} breaks a law with {}",
            path.display()
        );
        count += 1;
    }
    assert!(count >= 8, "{target} has only {count} inputs");
}

#[test]
fn any_cut_of_the_known_streams_gives_the_same_pieces() {
    replay("frame", sipalg_fuzz::frame::check);
}

#[test]
fn the_known_messages_change_only_where_they_are_ours() {
    replay("headers", sipalg_fuzz::headers::check);
}

#[test]
fn the_known_session_descriptions_keep_their_places_and_lengths() {
    replay("sdp", sipalg_fuzz::sdp::check);
}

#[test]
fn the_known_conversations_end_with_nothing_left() {
    replay("translate", sipalg_fuzz::translate::check);
}

#[test]
fn a_machine_comes_back_from_its_records_and_forged_ones_give_nothing_away() {
    replay("kept", sipalg_fuzz::kept::check);
}
