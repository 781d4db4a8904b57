//! Header fixup: a message of any bytes never panics the machine, changes only inside literals of
//! ours, leaves as one message again, and is the same when sent again or translated again.
//!
//! Input: a whole message, then one byte: the leg it comes from.

use crate::controls;
use crate::skeleton::{Exchange, differs};
use crate::world::{Kernel, is_global, is_inside, roomy};
use sipalg_core::config::Limits;
use sipalg_core::frame::{Framer, Piece, Scan};
use sipalg_core::{Alg, FlowId, Instant, Leg, Outbox};

/// See the module.
pub fn check(data: &[u8]) {
    let Some((stream, [leg])) = controls::<1>(data) else {
        return;
    };
    let message = first_message(stream);
    let mut gateway = Gateway::new();
    if leg & 1 == 0 {
        // The first passage makes the mappings.
        unchanged_but_ours(message, &gateway.pass(Leg::Inside, message), Leg::Inside);
        let out = gateway.pass(Leg::Inside, message);
        unchanged_but_ours(message, &out, Leg::Inside);
        same(first_message(&out), &out, "framed again");
        same(&gateway.pass(Leg::Inside, message), &out, "sent again");
        same(&gateway.pass(Leg::Inside, &out), &out, "translated again");
        let back = gateway.pass(Leg::Outside, &out);
        unchanged_but_ours(&out, &back, Leg::Outside);
    } else {
        // A mapping of our own, so that there is something to be found.
        gateway.pass(Leg::Inside, KNOWN);
        let out = gateway.pass(Leg::Outside, message);
        unchanged_but_ours(message, &out, Leg::Outside);
        same(first_message(&out), &out, "framed again");
        same(&gateway.pass(Leg::Outside, message), &out, "sent again");
    }
}

/// The first message of a stream alone, if there is one: a body may end in the middle of what a reader
/// of the whole stream takes for one word.
fn first_message(stream: &[u8]) -> &[u8] {
    let mut first = None;
    Framer::default().feed(
        stream,
        &Limits::default(),
        &mut Scan::default(),
        &mut |piece| {
            let length = match piece {
                Piece::Message(message) => message.bytes.len(),
                _ => stream.len(),
            };
            first.get_or_insert(length);
        },
    );
    stream.get(..first.unwrap_or_default()).unwrap_or_default()
}

/// Only literals of ours, and the numbers that belong to them, differ.
pub fn unchanged_but_ours(before: &[u8], after: &[u8], from: Leg) {
    let exchange = match from {
        Leg::Inside => Exchange {
            from: &is_inside,
            to: &is_global,
        },
        Leg::Outside => Exchange {
            from: &is_global,
            to: &is_inside,
        },
    };
    if let Some(at) = differs(before, after, &exchange) {
        panic!("at {at}: {}\n--- became ---\n{}", text(before), text(after));
    }
}

/// The two are equal, to the byte.
pub fn same(found: &[u8], expected: &[u8], when: &str) {
    assert!(
        found == expected,
        "{when}: {}\n--- is not ---\n{}",
        text(found),
        text(expected)
    );
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const KNOWN: &[u8] =
    b"OPTIONS sip:b@10.1.1.2 SIP/2.0\r\nVia: SIP/2.0/TCP 192.168.122.3:5060;branch=z9hG4bK1\r\n\
    Contact: <sip:a@192.168.122.3:40001>\r\ni: 1\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n";

/// A flow of one phone; each message on a fresh connection, so that one does not spoil the next.
struct Gateway {
    alg: Alg,
    kernel: Kernel,
}

impl Gateway {
    fn new() -> Self {
        Gateway {
            alg: Alg::new(roomy(), 1),
            kernel: Kernel::default(),
        }
    }

    fn flow(&mut self) -> FlowId {
        let peer = "192.168.122.3:40001".parse().expect("an address");
        let server = "10.1.1.2:5060".parse().expect("an address");
        let opened = self
            .alg
            .open(Instant::ZERO, peer, server, &mut Outbox::default());
        opened.expect("an inside host may connect").flow
    }

    fn pass(&mut self, from: Leg, bytes: &[u8]) -> Vec<u8> {
        let flow = self.flow();
        let mut out = Outbox {
            watch: true,
            ..Outbox::default()
        };
        self.alg.stream(Instant::ZERO, flow, from, bytes, &mut out);
        self.alg.end_of_stream(Instant::ZERO, flow, from, &mut out);
        self.alg.close(Instant::ZERO, flow, &mut out);
        self.kernel.obey(&out.doors);
        out.bytes
    }
}
