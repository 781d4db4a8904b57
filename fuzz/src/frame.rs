//! The framer: any bytes, in any cuts, give the same pieces, and nothing comes or goes.
//!
//! Input: a stream, then four bytes: the limits, and three that say where it is cut.

use crate::controls;
use sipalg_core::config::Limits;
use sipalg_core::frame::{Framer, Piece, Scan};

/// What is compared: pieces whose borders do not depend on the cuts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cut {
    /// Each message or keep-alive, and each demotion by its name.
    pieces: Vec<Vec<u8>>,
    /// All bytes handed on, in order.
    bytes: Vec<u8>,
}

/// See the module.
pub fn check(data: &[u8]) {
    let Some((stream, [limits, a, b, c])) = controls::<4>(data) else {
        return;
    };
    let limits = match limits % 3 {
        0 => Limits::default(),
        1 => Limits {
            header_bytes: 200,
            body_bytes: 20,
            ..Limits::default()
        },
        _ => Limits {
            header_bytes: 30,
            body_bytes: 0,
            ..Limits::default()
        },
    };
    let whole = run(stream.chunks(stream.len().max(1)), &limits);
    assert_eq!(whole.bytes, stream, "no byte comes or goes");
    assert_eq!(run(stream.chunks(1), &limits), whole, "byte by byte");
    assert_eq!(
        run(stream.chunks(1 + usize::from(a)), &limits),
        whole,
        "in equal parts"
    );
    let at = |part: u8| stream.len() * usize::from(part) / 256;
    let (first, second) = (at(b.min(c)), at(b.max(c)));
    let parts = [
        &stream[..first],
        &stream[first..second],
        &stream[second..],
        &[],
    ];
    assert_eq!(run(parts.into_iter(), &limits), whole, "in three");
}

fn run<'a>(parts: impl Iterator<Item = &'a [u8]>, limits: &Limits) -> Cut {
    let (mut framer, mut scan, mut cut) = (Framer::default(), Scan::default(), Cut::default());
    let (mut demoted, mut fed, mut largest) = (false, 0, 0);
    for part in parts {
        fed += part.len();
        largest = largest.max(part.len());
        framer.feed(part, limits, &mut scan, &mut |piece| match piece {
            Piece::KeepAlive(bytes) => {
                assert!(!demoted && matches!(bytes, b"\r\n" | b"\n"));
                cut.pieces.push(bytes.to_vec());
                cut.bytes.extend_from_slice(bytes);
            }
            Piece::Message(message) => {
                assert!(!demoted, "once demoted, always demoted");
                assert!(message.header <= limits.header_bytes);
                assert!(message.bytes.len() - message.header <= limits.body_bytes);
                let head = &message.bytes[..message.header];
                assert!(head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n"));
                cut.pieces.push(message.bytes.to_vec());
                cut.bytes.extend_from_slice(message.bytes);
            }
            Piece::Oversize { bytes, first } => {
                assert!(!demoted);
                if first {
                    cut.pieces.push(b"oversize".to_vec());
                }
                cut.bytes.extend_from_slice(bytes);
            }
            Piece::Demoted(reason) => {
                assert!(!demoted, "demoted once");
                demoted = true;
                cut.pieces.push(format!("{reason:?}").into_bytes());
            }
            Piece::Raw(bytes) => {
                assert!(demoted);
                cut.bytes.extend_from_slice(bytes);
            }
            Piece::Partial {
                received, total, ..
            } => {
                assert!(total == 0 || received < total);
            }
        });
        let held = fed - cut.bytes.len();
        assert!(
            held <= limits.header_bytes + limits.body_bytes + largest,
            "bounded"
        );
    }
    cut.bytes.extend_from_slice(&framer.end());
    cut
}
