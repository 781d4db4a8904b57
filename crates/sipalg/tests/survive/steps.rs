//! The worker dies at every step of what it does, with every kind of cut of the stream.

use crate::running::Running;
use crate::scene::{Line, hears, says};
use sipalg::keeper::region::Step;

laws![
    a_death_at_any_step_loses_nothing_however_the_stream_is_cut,
    a_death_at_any_step_of_opening_a_connection_loses_none,
];

/// The steps of a batch.
const STEPS: [Step; 9] = [
    Step::Noted,
    Step::Read,
    Step::Fed,
    Step::Recorded,
    Step::Committed,
    Step::Doors,
    Step::Sent,
    Step::Carried,
    Step::Applied,
];

/// How what is said is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    Halves,
    Several,
    Bytes,
}

fn a_death_at_any_step_loses_nothing_however_the_stream_is_cut() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    let mut number = 0;
    for step in STEPS {
        for cut in [Cut::Whole, Cut::Halves, Cut::Several, Cut::Bytes] {
            for nth in [1, 2, 3] {
                running.die_at(step, nth);
                number += 1;
                talk(&mut line, cut, number);
                // Not every cut has as many steps; quiet talk does until it has died.
                // What was said may have been heard before it died.
                let before = running.try_worker();
                let mut more = 0;
                while before.is_some() && running.try_worker() == before && more < 4 {
                    number += 1;
                    more += 1;
                    line.works(number);
                }
                running.service_is_back();
                line.works(number + 1);
            }
        }
    }
    assert!(running.ask("show ip nat sip connections").contains("40000"));
}

fn a_death_at_any_step_of_opening_a_connection_loses_none() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut port = 41_000;
    for step in [
        Step::Accepted,
        Step::Slotted,
        Step::Dialled,
        Step::Committed,
        Step::Applied,
    ] {
        for nth in [1, 2] {
            port += 2;
            running.die_at(step, nth);
            let mut first = Line::open(&gateway, &server, port);
            let mut second = Line::open(&gateway, &server, port + 1);
            first.works(1);
            second.works(2);
            running.service_is_back();
            first.works(3);
            second.works(4);
        }
    }
    // Nothing was dialled twice.
    assert!(server.accept().is_err());
}

/// Both say four messages, cut in this way, and hear those of the other.
fn talk(line: &mut Line, cut: Cut, number: usize) {
    let numbers = number * 10..number * 10 + 4;
    let port = line.port;
    let outward: Vec<_> = numbers.clone().map(|n| Line::outward(port, n)).collect();
    let inward: Vec<_> = numbers.map(|n| Line::inward(port, n)).collect();
    let said = |messages: &[(String, String)]| -> String {
        messages.iter().map(|(said, _)| said.as_str()).collect()
    };
    let expected = |messages: &[(String, String)]| -> String {
        messages.iter().map(|(_, heard)| heard.as_str()).collect()
    };
    let pieces = |text: &str| -> Vec<Vec<u8>> {
        let bytes = text.as_bytes();
        let length = match cut {
            Cut::Whole => bytes.len().div_ceil(4),
            Cut::Halves => bytes.len().div_ceil(9),
            Cut::Several => bytes.len(),
            Cut::Bytes => 1,
        };
        // One byte a segment takes long: the first message is enough of it.
        let (bytes, rest) = match cut {
            Cut::Bytes => bytes.split_at(bytes.len().min(150)),
            _ => (bytes, &b""[..]),
        };
        let mut pieces: Vec<_> = bytes.chunks(length).map(<[u8]>::to_vec).collect();
        pieces.push(rest.to_vec());
        pieces
    };
    let (out, back) = (pieces(&said(&outward)), pieces(&said(&inward)));
    for n in 0..out.len().max(back.len()) {
        for (stream, pieces) in [(&mut line.phone, &out), (&mut line.outside, &back)] {
            if let Some(piece) = pieces.get(n) {
                says(stream, piece);
            }
        }
    }
    hears(&mut line.outside, expected(&outward).as_bytes());
    hears(&mut line.phone, expected(&inward).as_bytes());
}
