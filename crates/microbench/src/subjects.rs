//! What is measured: each is a piece of work that can be done any number of times.

use crate::gateway::Gateway;
use crate::messages::{
    DISTINCT, answer, bye, bye_answer, invite, register, registered, session, unlike,
};
use sipalg_core::Leg;
use sipalg_core::addr::{Protocol, SocketAddrV4};
use sipalg_core::config::Limits;
use sipalg_core::frame::{Framer, Piece, Scan};
use sipalg_core::sdp::Session;
use std::hint::black_box;

/// Does its work so often.
pub type Work = Box<dyn FnMut(usize)>;

/// One piece of work.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Its name.
    pub name: &'static str,
    /// Whether it is another project's: nothing to hold to a baseline.
    pub foreign: bool,
    /// Makes it ready.
    pub make: fn() -> Work,
}

const fn ours(name: &'static str, make: fn() -> Work) -> Subject {
    Subject {
        name,
        foreign: false,
        make,
    }
}

const fn foreign(name: &'static str, make: fn() -> Work) -> Subject {
    Subject {
        name,
        foreign: true,
        make,
    }
}

/// The message only copied.
pub const MEMCPY: &str = "memcpy";
/// The message parsed by rsip, to its headers as text.
pub const RSIP: &str = "rsip raw";
/// The message framed, read, mapped, rewritten and emitted.
pub const TRANSLATOR: &str = "translator: INVITE out";

/// Everything that is measured.
pub const SUBJECTS: &[Subject] = &[
    foreign(MEMCPY, memcpy),
    foreign("ezk-sip-types: lines only", ezk),
    foreign(RSIP, rsip),
    ours("framer", framer),
    ours("framer: cut every 100 bytes", framer_of_cuts),
    ours("session description", sdp),
    ours("mapping by inside local", by_local),
    ours("mapping by inside global", by_global),
    ours("door opened and closed", || doors(Gateway::default())),
    ours("door opened and closed: 10,000 up", || {
        doors(Gateway::among_calls(10_000))
    }),
    ours("REGISTER and its 200", registration),
    ours(TRANSLATOR, || out_of(Gateway::default())),
    ours("translator: INVITE out, unlike any before", || {
        out(Gateway::default(), unlike)
    }),
    ours("translator: INVITE out, recorded", recorded),
    ours("translator: 200 in", translate_in),
    ours("translator: BYE out", translate_bye),
    ours("translator: cut every 100 bytes", translate_cuts),
];

/// The translator among so many mappings of others: what it costs must not depend on them.
pub fn among(mappings: usize) -> Work {
    out_of(Gateway::among(mappings))
}

/// Calls `each` with one message after the other.
fn over(messages: Vec<Vec<u8>>, mut each: impl FnMut(&[u8]) + 'static) -> Work {
    let mut next = 0;
    Box::new(move |times| {
        for _ in 0..times {
            each(black_box(&messages[next]));
            next = (next + 1) % messages.len();
        }
    })
}

fn all(message: fn(usize) -> Vec<u8>) -> Vec<Vec<u8>> {
    (0..DISTINCT).map(message).collect()
}

fn memcpy() -> Work {
    let mut to = Vec::with_capacity(4096);
    over(all(invite), move |message| {
        to.clear();
        to.extend_from_slice(message);
        black_box(&mut to);
    })
}

fn ezk() -> Work {
    over(all(invite), |message| {
        let lines = ezk_sip_types::msg::PullParser::new(message, 0);
        assert!(lines.map(black_box).all(|line| line.is_ok()));
    })
}

fn rsip() -> Work {
    over(all(invite), |message| {
        let parsed = rsip::SipMessage::try_from(message);
        assert!(parsed.is_ok());
        drop(black_box(parsed));
    })
}

fn framer() -> Work {
    let (mut framer, mut scan, limits) = (Framer::default(), Scan::default(), Limits::default());
    over(all(invite), move |message| {
        framer.feed(message, &limits, &mut scan, &mut |piece| {
            assert!(matches!(piece, Piece::Message(_)));
        });
    })
}

fn framer_of_cuts() -> Work {
    let (mut framer, mut scan, limits) = (Framer::default(), Scan::default(), Limits::default());
    over(all(invite), move |message| {
        for part in message.chunks(100) {
            framer.feed(part, &limits, &mut scan, &mut |piece| {
                black_box(&piece);
            });
        }
    })
}

fn sdp() -> Work {
    let bodies = all(|call| session(crate::messages::PHONE, call).into_bytes());
    let mut session = Session::default();
    over(bodies, move |body| assert!(session.parse(body)))
}

fn by_local() -> Work {
    let mut gateway = Gateway::default().with_calls();
    let doors = gateway.alg.doors();
    let mut next = 0;
    Box::new(move |times| {
        for _ in 0..times {
            let now = sipalg_core::Instant::ZERO;
            gateway
                .alg
                .media_seen(now, black_box(doors[next].inside_local));
            next = (next + 1) % doors.len();
        }
    })
}

fn by_global() -> Work {
    let gateway = Gateway::default().with_calls();
    let doors = gateway.alg.doors();
    // The contact's, among 2,048 of media.
    let contact = doors.iter().find(|door| door.protocol == Protocol::Tcp);
    let global = contact.map(|door| door.inside_global);
    let global = global.unwrap_or(SocketAddrV4::new([0; 4].into(), 0));
    Box::new(move |times| {
        for _ in 0..times {
            assert!(gateway.alg.signalling_target(black_box(global)).is_some());
        }
    })
}

/// A whole call: INVITE, 200, BYE, 200; two doors for its media open and close.
fn doors(mut gateway: Gateway) -> Work {
    let calls: Vec<_> = (0..DISTINCT)
        .map(|call| [invite(call), answer(call), bye(call), bye_answer(call)])
        .collect();
    let mut next = 0;
    Box::new(move |times| {
        for _ in 0..times {
            let [invite, answer, bye, bye_answer] = &calls[next];
            gateway.pass(Leg::Inside, invite);
            assert!(gateway.out.doors.len() >= 2);
            gateway.pass(Leg::Outside, answer);
            gateway.pass(Leg::Inside, bye);
            gateway.pass(Leg::Outside, bye_answer);
            assert!(gateway.out.doors.len() >= 2);
            next = (next + 1) % calls.len();
        }
    })
}

/// A registration that is there is refreshed.
fn registration() -> Work {
    let users: Vec<_> = (0..DISTINCT)
        .map(|user| (register(user), registered(user)))
        .collect();
    let (mut gateway, mut next) = (Gateway::default(), 0);
    Box::new(move |times| {
        for _ in 0..times {
            let (register, registered) = &users[next];
            gateway.pass(Leg::Inside, register);
            assert_ne!(gateway.pass(Leg::Outside, registered), 0);
            next = (next + 1) % users.len();
        }
    })
}

fn recorded() -> Work {
    let mut gateway = Gateway::default().with_calls().recorded();
    // The first of each call is news.
    for message in all(invite) {
        gateway.pass(Leg::Inside, &message);
        gateway.record();
    }
    over(all(invite), move |message| {
        assert_ne!(gateway.pass(Leg::Inside, message), message.len());
        black_box(gateway.record());
    })
}

fn out_of(gateway: Gateway) -> Work {
    out(gateway, invite)
}

fn out(gateway: Gateway, message: fn(usize) -> Vec<u8>) -> Work {
    let mut gateway = gateway.with_calls();
    over(all(message), move |message| {
        assert_ne!(gateway.pass(Leg::Inside, message), message.len());
    })
}

fn translate_in() -> Work {
    let mut gateway = Gateway::default().with_calls();
    over(all(answer), move |message| {
        assert_ne!(gateway.pass(Leg::Outside, message), message.len());
    })
}

fn translate_bye() -> Work {
    let mut gateway = Gateway::default().with_calls();
    over(all(bye), move |message| {
        assert_ne!(gateway.pass(Leg::Inside, message), message.len());
    })
}

fn translate_cuts() -> Work {
    let mut gateway = Gateway::default().with_calls();
    over(all(invite), move |message| {
        for part in message.chunks(100) {
            black_box(gateway.pass(Leg::Inside, part));
        }
    })
}
