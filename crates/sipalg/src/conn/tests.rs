//! The pump against scripted sockets.

use super::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// What a scripted socket says and has heard.
#[derive(Default)]
struct Script {
    connect: Option<io::Result<()>>,
    reads: VecDeque<io::Result<Vec<u8>>>,
    room: usize,
    broken_pipe: bool,
    written: Vec<u8>,
    finished: bool,
    aborted: bool,
}

#[derive(Clone, Default)]
struct Scripted(Rc<RefCell<Script>>);

impl Socket for Scripted {
    fn connected(&mut self) -> io::Result<bool> {
        match self.0.borrow_mut().connect.take() {
            None => Ok(false),
            Some(result) => result.map(|()| true),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut script = self.0.borrow_mut();
        match script.reads.pop_front() {
            None => Err(ErrorKind::WouldBlock.into()),
            Some(Err(error)) => Err(error),
            Some(Ok(mut bytes)) => {
                let read = bytes.len().min(buffer.len());
                buffer[..read].copy_from_slice(&bytes[..read]);
                if read < bytes.len() {
                    script.reads.push_front(Ok(bytes.split_off(read)));
                }
                Ok(read)
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut script = self.0.borrow_mut();
        assert!(!script.finished, "nothing is written after FIN");
        if script.broken_pipe {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if script.room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let sent = bytes.len().min(script.room);
        script.room -= sent;
        script.written.extend_from_slice(&bytes[..sent]);
        Ok(sent)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.borrow_mut().finished = true;
        Ok(())
    }

    fn part(&mut self) {
        self.0.borrow_mut().aborted = false;
    }

    fn abort(&mut self) {
        self.0.borrow_mut().aborted = true;
    }
}

/// A connection accepted on the inside, and the ends of its script.
struct Stage {
    conn: Conn<Scripted>,
    inside: Scripted,
    outside: Scripted,
}

const READ: Readiness = Readiness {
    readable: true,
    writable: false,
    hangup: false,
    broken: false,
};
const ROOM: Readiness = Readiness {
    readable: false,
    writable: true,
    hangup: false,
    broken: false,
};
const FIN: Readiness = Readiness {
    readable: true,
    writable: false,
    hangup: true,
    broken: false,
};
const RST: Readiness = Readiness {
    readable: true,
    writable: true,
    hangup: true,
    broken: true,
};

impl Stage {
    fn dialling() -> Self {
        let (inside, outside) = (Scripted::default(), Scripted::default());
        inside.0.borrow_mut().room = usize::MAX;
        outside.0.borrow_mut().room = usize::MAX;
        let conn = Conn::new(Leg::Inside, inside.clone(), outside.clone());
        Stage {
            conn,
            inside,
            outside,
        }
    }

    fn connected() -> Self {
        let mut stage = Stage::dialling();
        stage.conn.ready(Leg::Outside, ROOM);
        assert!(!stage.conn.dialling());
        stage
    }

    fn script(&self, leg: Leg) -> std::cell::RefMut<'_, Script> {
        match leg {
            Leg::Inside => self.inside.0.borrow_mut(),
            Leg::Outside => self.outside.0.borrow_mut(),
        }
    }

    fn hears(&mut self, leg: Leg, bytes: &[u8]) {
        let mut script = self.script(leg);
        // What is at hand together is read together, as from a real socket.
        match script.reads.back_mut() {
            Some(Ok(last)) if !last.is_empty() => last.extend_from_slice(bytes),
            _ => script.reads.push_back(Ok(bytes.to_vec())),
        }
        drop(script);
        self.conn.ready(leg, READ);
    }

    fn hears_fin(&mut self, leg: Leg) {
        self.script(leg).reads.push_back(Ok(Vec::new()));
        self.conn.ready(leg, FIN);
    }

    fn hears_rst(&mut self, leg: Leg) {
        self.script(leg)
            .reads
            .push_back(Err(ErrorKind::ConnectionReset.into()));
        self.conn.ready(leg, RST);
    }

    /// Carries on as the worker does, with a machine that changes nothing, until nothing is ready.
    fn carry(&mut self) -> Fate {
        let mut buffer = [0; 1024];
        loop {
            let mut idle = true;
            for leg in [Leg::Inside, Leg::Outside] {
                if !self.conn.wants_read(leg) {
                    continue;
                }
                idle = false;
                match self.conn.read(leg, &mut buffer) {
                    Input::Bytes(read) => self.conn.write(leg.other(), &buffer[..read]),
                    Input::End => self.conn.finish(leg.other()),
                    Input::Nothing => {}
                }
            }
            if idle {
                return self.conn.fate();
            }
        }
    }
}

#[test]
fn bytes_pass_both_ways() {
    let mut stage = Stage::connected();
    stage.hears(Leg::Inside, b"out");
    stage.hears(Leg::Outside, b"in");
    assert_eq!(stage.carry(), Fate::Alive);
    assert_eq!(stage.script(Leg::Outside).written, b"out");
    assert_eq!(stage.script(Leg::Inside).written, b"in");
}

#[test]
fn the_accepted_leg_is_not_read_before_the_dial_succeeds() {
    let mut stage = Stage::dialling();
    stage.hears(Leg::Inside, b"early");
    assert!(!stage.conn.wants_read(Leg::Inside));
    stage.conn.ready(Leg::Outside, Readiness::default());
    assert!(stage.conn.dialling(), "a wake-up alone is no success");
    stage.conn.ready(Leg::Outside, ROOM);
    assert_eq!(stage.carry(), Fate::Alive);
    assert_eq!(stage.script(Leg::Outside).written, b"early");
}

#[test]
fn a_peer_that_has_said_fin_before_the_dial_is_heard_of_is_heard() {
    let mut stage = Stage::dialling();
    stage.conn.ready(
        Leg::Outside,
        Readiness {
            writable: true,
            ..FIN
        },
    );
    assert!(
        stage.conn.dialling(),
        "the poll would say the same of a failure"
    );
    stage.outside.0.borrow_mut().connect = Some(Ok(()));
    stage.hears_fin(Leg::Outside);
    assert_eq!(stage.carry(), Fate::Alive);
    assert!(stage.script(Leg::Inside).finished);
}

#[test]
fn a_failed_dial_resets_the_accepted_leg() {
    let mut stage = Stage::dialling();
    stage.outside.0.borrow_mut().connect = Some(Err(ErrorKind::ConnectionRefused.into()));
    stage.conn.ready(Leg::Outside, RST);
    assert_eq!(stage.conn.fate(), Fate::Reset);
    stage.conn.abort();
    assert!(stage.script(Leg::Inside).aborted);
}

#[test]
fn a_reset_of_the_accepted_leg_ends_the_dial() {
    let mut stage = Stage::dialling();
    stage.hears_rst(Leg::Inside);
    assert_eq!(stage.conn.fate(), Fate::Reset);
}

#[test]
fn a_fin_of_the_accepted_leg_waits_for_the_dial() {
    let mut stage = Stage::dialling();
    stage.hears(Leg::Inside, b"all");
    stage.hears_fin(Leg::Inside);
    assert_eq!(stage.conn.fate(), Fate::Alive);
    stage.conn.ready(Leg::Outside, ROOM);
    assert_eq!(stage.carry(), Fate::Alive);
    assert_eq!(stage.script(Leg::Outside).written, b"all");
    assert!(stage.script(Leg::Outside).finished);
}

#[test]
fn a_half_closed_connection_goes_on_the_other_way() {
    let mut stage = Stage::connected();
    stage.hears(Leg::Inside, b"question");
    stage.hears_fin(Leg::Inside);
    assert_eq!(stage.carry(), Fate::Alive);
    assert!(stage.script(Leg::Outside).finished);
    assert!(!stage.script(Leg::Inside).finished);
    stage.hears(Leg::Outside, b"answer");
    assert_eq!(stage.carry(), Fate::Alive);
    assert_eq!(stage.script(Leg::Inside).written, b"answer");
    stage.hears_fin(Leg::Outside);
    assert_eq!(stage.carry(), Fate::Closed);
    assert!(!stage.script(Leg::Inside).finished, "its close says FIN");
}

#[test]
fn a_reset_follows_the_bytes_that_were_sent_before_it() {
    let mut stage = Stage::connected();
    stage.hears(Leg::Outside, b"last words");
    stage.hears_rst(Leg::Outside);
    assert_eq!(stage.carry(), Fate::Reset);
    assert_eq!(stage.script(Leg::Inside).written, b"last words");
    stage.conn.abort();
    assert!(stage.script(Leg::Inside).aborted);
    assert!(!stage.script(Leg::Inside).finished, "RST, not FIN");
}

#[test]
fn a_reset_after_fin_reaches_the_other_leg() {
    let mut stage = Stage::connected();
    stage.hears_fin(Leg::Inside);
    assert_eq!(stage.carry(), Fate::Alive);
    stage.conn.ready(Leg::Inside, RST);
    assert_eq!(stage.carry(), Fate::Reset);
}

#[test]
fn a_reset_is_not_held_up_by_a_slow_reader() {
    let mut stage = Stage::connected();
    stage.script(Leg::Outside).room = 0;
    stage.hears(Leg::Inside, &vec![7; 2 * WAITING_LIMIT]);
    assert_eq!(stage.carry(), Fate::Alive);
    stage.conn.ready(Leg::Inside, RST);
    assert_eq!(stage.carry(), Fate::Reset);
}

#[test]
fn a_failed_write_lets_the_peers_last_bytes_through_and_then_resets() {
    let mut stage = Stage::connected();
    stage.script(Leg::Outside).broken_pipe = true;
    stage.hears(Leg::Inside, b"too late");
    // The failed write consumed the error: after the bytes, reading says end of file.
    stage
        .script(Leg::Outside)
        .reads
        .extend([Ok(b"gone".to_vec()), Ok(Vec::new())]);
    assert_eq!(stage.carry(), Fate::Reset);
    assert_eq!(stage.script(Leg::Inside).written, b"gone");
}

#[test]
fn what_a_leg_does_not_take_waits_and_is_not_copied_out_of_order() {
    let mut stage = Stage::connected();
    stage.script(Leg::Outside).room = 4;
    stage.hears(Leg::Inside, b"abcdef");
    stage.hears(Leg::Inside, b"ghi");
    assert_eq!(stage.carry(), Fate::Alive);
    assert_eq!(stage.conn.waiting(Leg::Outside), 5);
    stage.script(Leg::Outside).room = 3;
    stage.conn.ready(Leg::Outside, ROOM);
    stage.hears(Leg::Inside, b"jkl");
    stage.carry();
    stage.script(Leg::Outside).room = usize::MAX;
    stage.conn.ready(Leg::Outside, ROOM);
    assert_eq!(stage.script(Leg::Outside).written, b"abcdefghijkl");
    assert_eq!(stage.conn.waiting(Leg::Outside), 0);
}

#[test]
fn fin_follows_the_bytes_that_wait() {
    let mut stage = Stage::connected();
    stage.script(Leg::Outside).room = 2;
    stage.hears(Leg::Inside, b"abc");
    stage.hears_fin(Leg::Inside);
    stage.hears_fin(Leg::Outside);
    assert_eq!(stage.carry(), Fate::Alive);
    assert!(!stage.script(Leg::Outside).finished);
    stage.script(Leg::Outside).room = 1;
    stage.conn.ready(Leg::Outside, ROOM);
    assert!(stage.script(Leg::Outside).finished);
    assert_eq!(stage.script(Leg::Outside).written, b"abc");
    assert_eq!(stage.carry(), Fate::Closed);
}

#[test]
fn a_leg_that_takes_nothing_stops_the_reading_of_the_other() {
    let mut stage = Stage::connected();
    stage.script(Leg::Outside).room = 0;
    stage.hears(Leg::Inside, &vec![7; 10 * WAITING_LIMIT]);
    stage.carry();
    let waiting = stage.conn.waiting(Leg::Outside);
    assert!(
        (WAITING_LIMIT..WAITING_LIMIT + 1024).contains(&waiting),
        "{waiting} wait"
    );
    // The poll will not report again what was left; the pump remembers.
    stage.script(Leg::Outside).room = usize::MAX;
    stage.conn.ready(Leg::Outside, ROOM);
    stage.carry();
    assert_eq!(stage.script(Leg::Outside).written.len(), 10 * WAITING_LIMIT);
}

#[test]
fn bytes_and_fin_in_one_report_are_both_read() {
    let mut stage = Stage::connected();
    stage
        .script(Leg::Inside)
        .reads
        .extend([Ok(b"bye".to_vec()), Ok(Vec::new())]);
    stage.conn.ready(Leg::Inside, FIN);
    stage.carry();
    assert_eq!(stage.script(Leg::Outside).written, b"bye");
    assert!(stage.script(Leg::Outside).finished);
}

#[test]
fn an_idle_connection_is_small() {
    use mio::net::TcpStream;
    assert!(
        size_of::<Conn<TcpStream>>() <= 128,
        "{} bytes",
        size_of::<Conn<TcpStream>>()
    );
}
