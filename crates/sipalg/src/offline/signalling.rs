//! SIP through the machine: whole messages out of streams and datagrams, with doors obeyed.

use super::datagrams::Datagrams;
use super::inverse;
use super::packet::Ends;
use super::report::{LeftOut, Place, Report};
use super::tcp::{Carried, Part};
use sipalg_core::frame::{self, Framer, Piece, Scan};
use sipalg_core::model::ModelNat;
use sipalg_core::{Alg, Config, FlowId, Instant, Leg, Outbox, Protocol};
use std::mem;
use std::net::SocketAddrV4;

/// The machine, the doors that it has made, and the time.
pub struct Machine<'a> {
    /// The machine.
    pub alg: Alg,
    /// What the kernel would do.
    pub nat: ModelNat,
    /// What is printed.
    pub report: Report<'a>,
    /// The time of the packet at hand.
    pub now: Instant,
    out: Outbox,
    scan: Scan,
    datagrams: Datagrams,
}

/// The two ends of a conversation, without regard to who speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Pair {
    /// The inside host.
    pub inside: SocketAddrV4,
    /// The outside host.
    pub outside: SocketAddrV4,
}

impl Pair {
    /// The ends of a packet that `from` sends, with the inside host under this address.
    pub fn ends(self, from: Leg, inside: SocketAddrV4) -> Ends {
        match from {
            Leg::Inside => Ends {
                source: inside,
                destination: self.outside,
            },
            Leg::Outside => Ends {
                source: self.outside,
                destination: inside,
            },
        }
    }
}

/// A SIP connection.
#[derive(Debug)]
pub struct Stream {
    flow: FlowId,
    pair: Pair,
    /// What the inside host is outside.
    pub global: SocketAddrV4,
    open: bool,
    from_inside: Half,
    from_outside: Half,
}

/// One direction of it.
#[derive(Debug, Default)]
struct Half {
    framer: Framer,
    /// Where a message begins is not known: the capture began later, or lacks something.
    lost: bool,
    demoted: bool,
}

/// What carries a message.
#[derive(Clone, Copy)]
struct Over {
    flow: FlowId,
    protocol: Protocol,
    outside: SocketAddrV4,
}

/// A piece of a stream that the machine is given at once.
enum Cut {
    Message(Vec<u8>),
    Other(Vec<u8>),
}

impl Stream {
    /// Whether it is not known where the next message of this leg begins.
    pub fn is_lost(&self, from: Leg) -> bool {
        match from {
            Leg::Inside => self.from_inside.lost,
            Leg::Outside => self.from_outside.lost,
        }
    }

    fn half(&mut self, from: Leg) -> &mut Half {
        match from {
            Leg::Inside => &mut self.from_inside,
            Leg::Outside => &mut self.from_outside,
        }
    }
}

impl<'a> Machine<'a> {
    /// A machine without state. The same capture gives the same result each time.
    pub fn new(config: Config, report: Report<'a>) -> Self {
        Machine {
            nat: ModelNat::new(config.sources.clone()),
            alg: Alg::new(config, 0),
            report,
            now: Instant::ZERO,
            out: Outbox::default(),
            scan: Scan::default(),
            datagrams: Datagrams::default(),
        }
    }

    /// Lets time pass, deadline by deadline. Time that goes back stands still.
    pub fn at(&mut self, nanoseconds: u64) {
        let until = Instant::from_micros(nanoseconds / 1000).max(self.now);
        let next = |machine: &Self| {
            let times = [machine.alg.next_timeout(), machine.datagrams.next_end()];
            let next = times.into_iter().flatten().min();
            next.filter(|next| *next <= until)
        };
        while let Some(next) = next(self) {
            self.now = next.max(self.now);
            while let Some(flow) = self.datagrams.pop_ended(self.now) {
                self.alg.close(self.now, flow, &mut self.out);
            }
            self.alg.handle_timeout(self.now, &mut self.out);
            self.obey();
        }
        self.now = until;
    }

    /// A SIP connection that leg `from` opens. `seen` says whether the capture has its beginning.
    ///
    /// # Errors
    /// It is not carried.
    pub fn open(&mut self, from: Leg, pair: Pair, seen: bool) -> Result<Stream, LeftOut> {
        let Pair { inside, outside } = pair;
        let global = self.global_of(Protocol::Tcp, inside, outside)?;
        let opened = match from {
            Leg::Inside => self.alg.open(self.now, inside, outside, &mut self.out)?,
            Leg::Outside => {
                let door = self.nat.door(self.now, Protocol::Tcp, inside);
                self.report.counts.doorless += u64::from(door.is_none());
                self.alg.open(self.now, outside, inside, &mut self.out)?
            }
        };
        self.nat.map(self.now, Protocol::Tcp, inside, global);
        let half = || Half {
            lost: !seen,
            ..Half::default()
        };
        Ok(Stream {
            flow: opened.flow,
            pair,
            global,
            open: true,
            from_inside: half(),
            from_outside: half(),
        })
    }

    /// Takes the next part of a stream through the machine.
    pub fn part(&mut self, place: &Place, stream: &mut Stream, part: Part<'_>) -> Carried {
        let (flow, open) = (stream.flow, stream.open);
        let over = Over {
            flow,
            protocol: Protocol::Tcp,
            outside: stream.pair.outside,
        };
        let half = stream.half(place.from);
        match part {
            Part::Bytes(bytes) => {
                if !open || (half.lost && !begins_message(bytes, &self.alg)) {
                    return self.missing(bytes.len());
                }
                half.lost = false;
                let mut out = Vec::new();
                for cut in self.cut(half, bytes) {
                    match cut {
                        Cut::Message(bytes) => out.extend(self.message(place, over, &bytes)),
                        Cut::Other(bytes) => out.extend(self.translate(place, over, &bytes)),
                    }
                }
                Carried {
                    missing: 0,
                    bytes: out,
                }
            }
            Part::Lost(count) => {
                let held = half.framer.end().len();
                half.lost = !half.demoted;
                if half.lost {
                    half.framer = Framer::default();
                }
                self.missing(
                    usize::try_from(count)
                        .unwrap_or(usize::MAX)
                        .saturating_add(held),
                )
            }
            Part::End => {
                let held = half.framer.end();
                let mut bytes = self.translate(place, over, &held);
                let Machine { alg, now, out, .. } = self;
                alg.end_of_stream(*now, flow, place.from, out);
                let released = mem::take(&mut out.bytes);
                if place.from == Leg::Inside {
                    bytes.extend(released);
                }
                Carried { missing: 0, bytes }
            }
        }
    }

    /// Both directions of a stream have ended.
    pub fn close(&mut self, stream: &mut Stream) {
        if mem::take(&mut stream.open) {
            self.alg.close(self.now, stream.flow, &mut self.out);
        }
    }

    /// A SIP datagram: the inside global of its inside end, and its bytes for the other side.
    ///
    /// # Errors
    /// It is not carried.
    pub fn datagram(
        &mut self,
        place: &Place,
        pair: Pair,
        bytes: &[u8],
    ) -> Result<(SocketAddrV4, Vec<u8>), LeftOut> {
        let Pair { inside, outside } = pair;
        let live = self.datagrams.get(self.now, pair);
        let opened = match live {
            Some(opened) => opened,
            None => {
                let Machine { alg, out, now, .. } = self;
                alg.open_datagrams(*now, inside, outside, out)?
            }
        };
        let global = opened.source;
        if place.from == Leg::Outside {
            let led = self
                .nat
                .inward(self.now, Protocol::Udp, *outside.ip(), global);
            self.report.counts.doorless += u64::from(led != Ok(inside));
        }
        if live.is_none() {
            self.datagrams.add(self.now, pair, opened);
            self.obey();
        }
        self.nat.map(self.now, Protocol::Udp, inside, global);
        // The answer may come back.
        self.nat
            .outward(self.now, Protocol::Udp, inside, *outside.ip())?;
        let over = Over {
            flow: opened.flow,
            protocol: Protocol::Udp,
            outside,
        };
        let limits = self.alg.config().limits;
        let is_message = frame::datagram(bytes, &limits, &mut self.scan).is_some();
        let carried = if is_message {
            self.message(place, over, bytes)
        } else {
            self.report.counts.not_sip += 1;
            self.translate(place, over, bytes)
        };
        Ok((global, carried))
    }

    /// Cuts a stream where messages end, so that each can be shown before and after.
    fn cut(&mut self, half: &mut Half, bytes: &[u8]) -> Vec<Cut> {
        let limits = self.alg.config().limits;
        let mut cuts = Vec::new();
        let mut not_sip = 0;
        let Half {
            framer, demoted, ..
        } = half;
        framer.feed(bytes, &limits, &mut self.scan, &mut |piece| match piece {
            Piece::Message(message) => cuts.push(Cut::Message(message.bytes.to_vec())),
            Piece::KeepAlive(bytes) | Piece::Oversize { bytes, .. } | Piece::Raw(bytes) => {
                cuts.push(Cut::Other(bytes.to_vec()));
            }
            Piece::Demoted(_) => {
                *demoted = true;
                not_sip += 1;
            }
            Piece::Partial { .. } => {}
        });
        self.report.counts.not_sip += not_sip;
        cuts
    }

    /// A whole message. What comes from outside is first made what it was out there.
    fn message(&mut self, place: &Place, over: Over, captured: &[u8]) -> Vec<u8> {
        let sent = match place.from {
            Leg::Inside => captured.to_vec(),
            Leg::Outside => self.as_sent(over, captured),
        };
        let got = self.pass(place, over, &sent);
        let outside = match place.from {
            Leg::Inside => &got,
            Leg::Outside => &sent,
        };
        self.report.message(place, captured, outside);
        if place.from == Leg::Outside && got != captured {
            self.report.arrives_otherwise(captured, &got);
        }
        self.obey();
        match place.from {
            Leg::Inside => got,
            Leg::Outside => sent,
        }
    }

    /// Bytes that are no whole message.
    fn translate(&mut self, place: &Place, over: Over, bytes: &[u8]) -> Vec<u8> {
        let translated = self.pass(place, over, bytes);
        self.obey();
        match place.from {
            Leg::Inside => translated,
            Leg::Outside => bytes.to_vec(),
        }
    }

    fn pass(&mut self, place: &Place, over: Over, bytes: &[u8]) -> Vec<u8> {
        let Machine { alg, out, now, .. } = self;
        match over.protocol {
            Protocol::Tcp => alg.stream(*now, over.flow, place.from, bytes, out),
            Protocol::Udp => alg.datagram(*now, over.flow, place.from, bytes, out),
        }
        mem::take(&mut out.bytes)
    }

    fn as_sent(&mut self, over: Over, captured: &[u8]) -> Vec<u8> {
        let limits = self.alg.config().limits;
        let mut scan = Scan::default();
        let Some(message) = frame::datagram(captured, &limits, &mut scan) else {
            return captured.to_vec();
        };
        let mut sent = inverse::as_sent(&message, over.protocol, &mut |protocol, local| {
            let inside = self.alg.config().permits(*local.ip());
            let global = inside.then(|| self.global_of(protocol, local, over.outside));
            global.and_then(Result::ok)
        });
        // A datagram may be longer than its message.
        let rest = captured.get(message.bytes.len()..);
        sent.extend_from_slice(rest.unwrap_or_default());
        sent
    }

    /// The inside global of an inside local, also of one that has not sent anything yet.
    fn global_of(
        &mut self,
        protocol: Protocol,
        inside: SocketAddrV4,
        outside: SocketAddrV4,
    ) -> Result<SocketAddrV4, LeftOut> {
        // The flow's own door comes and goes with it.
        let mut out = Outbox::default();
        let opened = match protocol {
            Protocol::Tcp => self.alg.open(self.now, inside, outside, &mut out)?,
            Protocol::Udp => self
                .alg
                .open_datagrams(self.now, inside, outside, &mut out)?,
        };
        self.alg.close(self.now, opened.flow, &mut out);
        self.out.addresses.append(&mut out.addresses);
        self.obey();
        Ok(opened.source)
    }

    fn missing(&mut self, count: usize) -> Carried {
        self.report.counts.lost += count as u64;
        Carried {
            missing: count as u64,
            bytes: Vec::new(),
        }
    }

    fn obey(&mut self) {
        for op in self.out.addresses.drain(..) {
            self.nat.give(&op);
        }
        for op in self.out.doors.drain(..) {
            self.nat.apply(self.now, &op);
            self.report.door(&op);
        }
    }
}

fn begins_message(bytes: &[u8], alg: &Alg) -> bool {
    let mut begins = true;
    let limits = alg.config().limits;
    Framer::default().feed(bytes, &limits, &mut Scan::default(), &mut |piece| {
        begins &= !matches!(piece, Piece::Demoted(_));
    });
    begins
}
