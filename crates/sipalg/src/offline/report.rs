//! What is printed: each message before and after, doors, and at the end what became of the packets.

use super::packet::Ends;
use crate::diff::{self, Marks};
use sipalg_core::alg::Refusal;
use sipalg_core::counters::Counters;
use sipalg_core::door::DoorOp;
use sipalg_core::model::Refused;
use sipalg_core::{DoorKind, Leg};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

/// How many pairs of addresses are named of packets that were refused.
const NAMED: usize = 10;

/// Where a message was found.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The number of its last packet in the capture, from 1.
    pub frame: u64,
    /// Nanoseconds since the first packet.
    pub time: u64,
    /// `tcp` or `udp`.
    pub transport: &'static str,
    /// The leg that it came from.
    pub from: Leg,
    /// Its ends in the capture.
    pub ends: Ends,
}

/// Why a packet is not in the result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LeftOut {
    /// Its link type is not known here.
    LinkType,
    /// IPv6, ARP and others.
    NotIpv4,
    /// Its lengths make no sense.
    Malformed,
    /// A fragment whose packet is not whole.
    Fragment,
    /// A SIP message that was not captured as a whole.
    CutOff,
    /// Between two inside hosts.
    StaysInside,
    /// Broadcast, multicast, or without an address.
    NotRouted,
    /// Neither TCP, UDP nor ICMP echo.
    Protocol,
    /// The gateway would have dropped it.
    Refused,
    /// TCP that repeats, or waits for more, and brings no acknowledgment.
    Absorbed,
    /// A TCP stream on a SIP port whose beginning, or part, the capture does not have.
    Beginning,
    /// No port is free.
    NoPort,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeftOut::LinkType => "under a link header that sipalg does not know",
            LeftOut::NotIpv4 => "not IPv4",
            LeftOut::Malformed => "malformed: lengths that make no sense",
            LeftOut::Fragment => "fragments of packets that are not whole",
            LeftOut::CutOff => "on a SIP port and not captured as a whole",
            LeftOut::StaysInside => "between inside hosts",
            LeftOut::NotRouted => "broadcast, multicast or without an address",
            LeftOut::Protocol => "neither TCP, UDP nor ICMP echo",
            LeftOut::Refused => "refused: from outside, and neither door nor mapping leads in",
            LeftOut::Absorbed => "TCP segments that repeat, or whose bytes left with a later one",
            LeftOut::Beginning => "TCP segments on a SIP port without the beginning of a message",
            LeftOut::NoPort => "without a free port",
        })
    }
}

impl From<Refused> for LeftOut {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoDoor | Refused::NotTranslated => LeftOut::Refused,
            Refused::NoPort => LeftOut::NoPort,
        }
    }
}

impl From<Refusal> for LeftOut {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoDoor | Refusal::NotTranslated => LeftOut::Refused,
            Refusal::Exhausted | Refusal::Limited => LeftOut::NoPort,
        }
    }
}

/// What is counted besides packets that are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Packets of the capture.
    pub read: u64,
    /// Packets of the result.
    pub written: u64,
    /// Packets between outside hosts, unchanged.
    pub outside: u64,
    /// Packets through media doors, out of the inside and into it.
    pub media: [u64; 2],
    /// Packets whose data still names an inside address.
    pub named: u64,
    /// Packets with ordinary source NAT.
    pub ordinary: u64,
    /// Packets that were not captured as a whole, and got new ends all the same.
    pub cut_off: u64,
    /// SIP messages.
    pub messages: u64,
    /// Those of them that were changed.
    pub changed: u64,
    /// Messages that the inside host would have got otherwise than it did.
    pub otherwise: u64,
    /// Streams and datagrams on SIP ports that are not SIP, or not any more.
    pub not_sip: u64,
    /// SIP connections, and datagrams, into the inside for which no door was open.
    pub doorless: u64,
    /// Bytes of SIP connections that the capture lacks.
    pub lost: u64,
    /// Bytes of SIP connections that wait for others to the end.
    pub waiting: u64,
}

/// Prints as things happen, and counts.
pub struct Report<'a> {
    to: &'a mut dyn Write,
    marks: Marks,
    whole: bool,
    failed: Option<io::Error>,
    /// What is counted.
    pub counts: Counts,
    left_out: BTreeMap<LeftOut, u64>,
    refused: BTreeMap<Ends, u64>,
    damage: Option<String>,
}

impl<'a> Report<'a> {
    /// Prints to `to`; with `whole`, long unchanged parts of messages too.
    pub fn new(to: &'a mut dyn Write, marks: Marks, whole: bool) -> Self {
        Report {
            to,
            marks,
            whole,
            failed: None,
            counts: Counts::default(),
            left_out: BTreeMap::new(),
            refused: BTreeMap::new(),
            damage: None,
        }
    }

    /// A message crossed.
    pub fn message(&mut self, place: &Place, before: &[u8], after: &[u8]) {
        self.counts.messages += 1;
        let first = before.split(|byte| *byte == b'\n').next();
        let first = diff::printable(first.unwrap_or_default());
        self.print(format_args!("{place}  {first}\n"));
        if before == after {
            return self.print(format_args!("  unchanged, {} bytes\n", before.len()));
        }
        self.counts.changed += 1;
        self.print(format_args!(
            "  {} bytes, now {}\n",
            before.len(),
            after.len()
        ));
        let drawn = diff::render(before, after, self.marks, self.whole);
        self.print(format_args!("{drawn}"));
    }

    /// The inside host would not have got what it got without the gateway.
    pub fn arrives_otherwise(&mut self, captured: &[u8], got: &[u8]) {
        self.counts.otherwise += 1;
        let drawn = diff::render(captured, got, self.marks, self.whole);
        self.print(format_args!(
            "  through the gateway, the inside host would have got:\n{drawn}"
        ));
    }

    /// A door opened or closed.
    pub fn door(&mut self, op: &DoorOp) {
        let what = match op {
            DoorOp::Open(_) => "opens",
            DoorOp::Close(_) => "closes",
            DoorOp::Refresh(_) => return,
        };
        let door = op.door();
        let kind = match door.kind {
            DoorKind::Signalling => "signalling",
            DoorKind::Media => "media",
        };
        let (protocol, global, local) =
            (door.protocol.name(), door.inside_global, door.inside_local);
        self.print(format_args!(
            "  {kind} door {what}: {protocol} {global} to {local}\n"
        ));
    }

    /// A packet is not in the result.
    pub fn left_out(&mut self, why: LeftOut) {
        *self.left_out.entry(why).or_default() += 1;
    }

    /// A packet from outside was refused.
    pub fn refused(&mut self, ends: Ends) {
        self.left_out(LeftOut::Refused);
        if self.refused.len() < NAMED || self.refused.contains_key(&ends) {
            *self.refused.entry(ends).or_default() += 1;
        }
    }

    /// So many more packets are not in the result.
    pub fn left_out_more(&mut self, why: LeftOut, count: u64) {
        if count > 0 {
            *self.left_out.entry(why).or_default() += count;
        }
    }

    /// The capture cannot be read any further.
    pub fn damaged(&mut self, damage: &dyn fmt::Display) {
        self.damage = Some(damage.to_string());
    }

    /// Prints the summary.
    ///
    /// # Errors
    /// Something could not be printed.
    pub fn finish(mut self, counters: &Counters) -> io::Result<()> {
        let counts = self.counts;
        self.print(format_args!(
            "\n{} packets read, {} written\n",
            counts.read, counts.written
        ));
        let [out, into] = counts.media;
        let lines = [
            (counts.messages, "SIP messages"),
            (counts.changed, "of them changed"),
            (out, "media packets out through doors"),
            (into, "media packets in through doors"),
            (counts.ordinary, "other packets translated"),
            (counts.outside, "packets between outside hosts, unchanged"),
            (counts.cut_off, "translated packets not captured as a whole"),
            (
                counts.doorless,
                "SIP connections or datagrams inward without a door (from before the capture?)",
            ),
            (
                counts.named,
                "packets whose data still names an inside address (such as a Call-ID)",
            ),
            (counts.lost, "bytes of SIP connections not in the capture"),
            (
                counts.waiting,
                "bytes of SIP connections that wait for others to the end",
            ),
            (
                counts.otherwise,
                "SIP messages that would have come in otherwise",
            ),
            (
                counts.not_sip,
                "streams or datagrams on SIP ports that are not SIP, unchanged",
            ),
            (counters.doors_refused, "doors refused"),
            (counters.out_of_ports, "mappings without a free port"),
        ];
        for (count, what) in lines.into_iter().filter(|(count, _)| *count > 0) {
            self.print(format_args!("{count:>8} {what}\n"));
        }
        let left_out = std::mem::take(&mut self.left_out);
        if !left_out.is_empty() {
            self.print(format_args!("left out:\n"));
        }
        for (why, count) in &left_out {
            self.print(format_args!("{count:>8} {why}\n"));
        }
        for (ends, count) in std::mem::take(&mut self.refused) {
            let (source, destination) = (ends.source, ends.destination);
            self.print(format_args!(
                "         {count:>8} {source} > {destination}\n"
            ));
        }
        if let Some(damage) = self.damage.take() {
            let read = counts.read;
            self.print(format_args!("read up to packet {read} only: {damage}\n"));
        }
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.to.flush(),
        }
    }

    fn print(&mut self, text: fmt::Arguments<'_>) {
        if self.failed.is_none() {
            self.failed = self.to.write_fmt(text).err();
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.time / 1_000_000_000, self.time / 1000 % 1_000_000);
        let way = match self.from {
            Leg::Inside => "out",
            Leg::Outside => "in",
        };
        let Ends {
            source,
            destination,
        } = self.ends;
        write!(
            f,
            "frame {}  {seconds}.{micros:06}  {way}  {} {source} > {destination}",
            self.frame, self.transport
        )
    }
}
