//! A TCP connection as it was captured, turned into the connection on the other side: its bytes are
//! put in order, translated and cut into segments anew, whose numbers agree in both directions.
//!
//! Segments leave when the packets that complete them arrive, with their headers: handshake, FIN,
//! RST, windows and timestamps are those of the capture. What the capture repeats leaves once.

use super::reassembly::{Next, Reassembly};
use etherparse::TcpHeader;
use sipalg_core::Leg;
use std::collections::VecDeque;

/// The length of segments unless the handshake or the capture shows more: what Ethernet leaves
/// under timestamps.
const SEGMENT: usize = 1448;

/// The connection.
#[derive(Debug, Default)]
pub struct Relay {
    inside: Direction,
    outside: Direction,
}

/// What one direction sends.
#[derive(Debug, Default)]
struct Direction {
    /// The sequence number of the first byte, on both sides.
    start: Option<u32>,
    input: Reassembly,
    /// How many bytes have been sent on the other side; a FIN counts as one.
    sent: u64,
    /// How much of the other side's stream (second) stands for how much of this side's (first).
    marks: VecDeque<(u64, u64)>,
    /// Where the stream ends, once known.
    fin: Option<u64>,
    fin_sent: bool,
    /// How much of what was sent has been acknowledged on the other side.
    acknowledged: u64,
    segment: usize,
}

/// What became of a part of the stream.
#[derive(Debug, Default)]
pub struct Carried {
    /// Bytes that are missing on the other side, too, before those that follow.
    pub missing: u64,
    /// The bytes for the other side.
    pub bytes: Vec<u8>,
}

/// What happens to a stream.
#[derive(Debug)]
pub enum Part<'a> {
    /// The next bytes.
    Bytes(&'a [u8]),
    /// So many bytes are lost.
    Lost(u64),
    /// The sender ended it.
    End,
}

/// A packet of the capture.
#[derive(Debug)]
pub struct Segment<'a> {
    /// Its header.
    pub header: &'a TcpHeader,
    /// The data that was captured.
    pub data: &'a [u8],
    /// How many bytes of data were not captured.
    pub missing: usize,
}

/// A packet for the other side.
#[derive(Debug)]
pub struct Sent {
    /// Its header, but for ports and checksum.
    pub header: TcpHeader,
    /// Its data.
    pub data: Vec<u8>,
}

impl Relay {
    /// Whether `header` begins another connection than this one.
    pub fn is_another(&self, from: Leg, header: &TcpHeader) -> bool {
        let begins = header.syn && !header.ack;
        let start = match from {
            Leg::Inside => self.inside.start,
            Leg::Outside => self.outside.start,
        };
        begins && start.is_some_and(|start| start != header.sequence_number.wrapping_add(1))
    }

    /// Whether both directions have ended.
    pub fn has_ended(&self) -> bool {
        self.inside.fin_sent && self.outside.fin_sent
    }

    /// How many bytes wait for others that the capture did not bring.
    pub fn waiting(&self) -> usize {
        self.inside.input.waiting() + self.outside.input.waiting()
    }

    /// A packet that was sent on leg `from`: the packets that leave for it. `translate` is asked for
    /// each part of the stream in order.
    pub fn segment(
        &mut self,
        from: Leg,
        segment: &Segment<'_>,
        translate: &mut dyn FnMut(Part<'_>) -> Carried,
    ) -> Vec<Sent> {
        let (sender, receiver) = match from {
            Leg::Inside => (&mut self.inside, &mut self.outside),
            Leg::Outside => (&mut self.outside, &mut self.inside),
        };
        let header = segment.header;
        let start = sender.take_in(segment);
        let acknowledgment = header
            .ack
            .then(|| receiver.acknowledge(header.acknowledgment_number));
        let mut leaving = Leaving {
            template: template(header, acknowledgment.map(|(number, _)| number)),
            segment: sender.segment.max(SEGMENT),
            start,
            sent: Vec::new(),
        };
        if header.syn {
            leaving.control(start.wrapping_sub(1), |out| out.syn = true);
        }
        for next in sender.input.pull() {
            let carried = match &next {
                Next::Bytes(bytes) => translate(Part::Bytes(bytes)),
                Next::Lost(count) => translate(Part::Lost(*count)),
            };
            sender.send(carried, &mut leaving);
        }
        sender.mark(sender.input.next());
        if sender.fin == Some(sender.input.next()) && !sender.fin_sent {
            sender.fin_sent = true;
            sender.send(translate(Part::End), &mut leaving);
            leaving.fin(sender.sent);
            sender.sent += 1;
            sender.mark(sender.input.next() + 1);
        }
        let bare = segment.data.is_empty() && segment.missing == 0 && !header.syn && !header.fin;
        let news = acknowledgment.is_some_and(|(_, news)| news);
        if header.rst {
            leaving.control(leaving.number(sender.sent), |out| out.rst = true);
        } else if leaving.sent.is_empty() && (bare || news) {
            leaving.control(leaving.number(sender.sent), |_| {});
        }
        leaving.sent
    }
}

impl Direction {
    /// Puts a packet's data into the stream; gives the sequence number of the first byte.
    fn take_in(&mut self, segment: &Segment<'_>) -> u32 {
        let header = segment.header;
        let number = header.sequence_number.wrapping_add(header.syn.into());
        let start = *self.start.get_or_insert(number);
        let next = start.wrapping_add(self.input.next() as u32);
        let offset = self.input.offset(number.wrapping_sub(next) as i32);
        self.input.push(offset, segment.data);
        self.segment = self.segment.max(segment.data.len());
        if header.rst {
            self.input.end();
        }
        if header.fin {
            let length = segment.data.len() + segment.missing;
            let end = offset.saturating_add(i64::try_from(length).unwrap_or(i64::MAX));
            self.fin = self.fin.or(u64::try_from(end).ok());
        }
        start
    }

    /// What an acknowledgment of this direction says on the other side, and whether that is new.
    fn acknowledge(&mut self, number: u32) -> (u32, bool) {
        let start = *self.start.get_or_insert(number);
        let next = start.wrapping_add(self.input.next() as u32);
        let offset = self.input.offset(number.wrapping_sub(next) as i32);
        self.input.acknowledged(offset);
        let offset = u64::try_from(offset).unwrap_or(0);
        while self.marks.get(1).is_some_and(|(input, _)| *input <= offset) {
            self.marks.pop_front();
        }
        let mark = self.marks.front().filter(|(input, _)| *input <= offset);
        let sent = mark.map_or(0, |(_, sent)| *sent).max(self.acknowledged);
        let news = sent > self.acknowledged;
        self.acknowledged = sent;
        (start.wrapping_add(sent as u32), news)
    }

    fn send(&mut self, carried: Carried, leaving: &mut Leaving) {
        self.sent += carried.missing;
        leaving.data(self.sent, &carried.bytes);
        self.sent += carried.bytes.len() as u64;
    }

    fn mark(&mut self, input: u64) {
        let mark = (input, self.sent);
        match self.marks.back_mut() {
            // Behind the end of the stream, which counts as one.
            Some(last) if last.0 > input => {}
            Some(last) if last.0 == input => *last = mark,
            _ => self.marks.push_back(mark),
        }
    }
}

/// The packets that leave for one of the capture.
struct Leaving {
    template: TcpHeader,
    segment: usize,
    start: u32,
    sent: Vec<Sent>,
}

impl Leaving {
    fn number(&self, offset: u64) -> u32 {
        self.start.wrapping_add(offset as u32)
    }

    fn control(&mut self, number: u32, mark: impl FnOnce(&mut TcpHeader)) {
        let mut header = self.template.clone();
        header.sequence_number = number;
        mark(&mut header);
        let data = Vec::new();
        self.sent.push(Sent { header, data });
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        for piece in bytes.chunks(self.segment) {
            let mut header = self.template.clone();
            header.sequence_number = self.number(at);
            header.psh = true;
            let data = piece.to_vec();
            self.sent.push(Sent { header, data });
            at += piece.len() as u64;
        }
    }

    /// Marks the last packet as the stream's end, or makes one.
    fn fin(&mut self, offset: u64) {
        let ends = |sent: &&mut Sent| !sent.header.syn && !sent.data.is_empty();
        match self.sent.last_mut().filter(ends) {
            Some(last) => last.header.fin = true,
            None => self.control(self.number(offset), |out| out.fin = true),
        }
    }
}

/// The header of packets that leave, without sequence number, ports and checksum.
fn template(header: &TcpHeader, acknowledgment: Option<u32>) -> TcpHeader {
    let mut template = header.clone();
    (template.syn, template.fin, template.rst) = (false, false, false);
    (template.psh, template.urg, template.urgent_pointer) = (false, false, 0);
    template.acknowledgment_number = acknowledgment.unwrap_or(0);
    let mut options = header.options.as_slice().to_vec();
    blank_selective(&mut options);
    // They have the length that they had, so they fit.
    _ = template.set_options_raw(&options);
    template
}

/// Replaces selective acknowledgments (RFC 2018), whose numbers are another stream's, by no-operation.
fn blank_selective(options: &mut [u8]) {
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        let length = match kind {
            0 => return,
            1 => 1,
            _ => usize::from(options.get(at + 1).copied().unwrap_or(0)).max(2),
        };
        let end = (at + length).min(options.len());
        if kind == 5 {
            options[at..end].fill(1);
        }
        at = end;
    }
}

#[cfg(test)]
mod tests;
