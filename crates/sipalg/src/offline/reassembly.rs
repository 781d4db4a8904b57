//! One direction of a TCP connection, put in order: RFC 9293 section 3.4, as far as a listener knows.

use std::collections::BTreeMap;

/// How far ahead of what is in order a segment may lie; more is nonsense. Larger than any window
/// that SIP has use for.
const WINDOW: i64 = 16 * 1024 * 1024;

/// How much may wait for a segment that is missing, bytes; then it counts as lost.
const WAITING: usize = 4 * 1024 * 1024;

/// What comes next in the stream.
#[derive(PartialEq, Eq, Debug)]
pub enum Next {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes that the capture does not have.
    Lost(u64),
}

/// The stream. Offsets count its bytes from the first one.
#[derive(Debug, Default)]
pub struct Reassembly {
    /// How far the stream is in order.
    next: u64,
    /// Segments that lie further on, none empty; they may overlap.
    waiting: BTreeMap<u64, Vec<u8>>,
    waiting_bytes: usize,
    /// What is missing before here will not come: the receiver has it.
    lost_before: u64,
}

impl Reassembly {
    /// How far the stream is in order.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How many bytes wait for others before them.
    pub fn waiting(&self) -> usize {
        self.waiting_bytes
    }

    /// The offset that is `distance` behind [`next`](Self::next).
    pub fn offset(&self, distance: i32) -> i64 {
        i64::try_from(self.next)
            .unwrap_or(i64::MAX)
            .saturating_add(distance.into())
    }

    /// Takes in a segment that begins at `offset`. Where two segments overlap, the bytes that came
    /// first count. False if it brings nothing new.
    pub fn push(&mut self, offset: i64, bytes: &[u8]) -> bool {
        let next = i64::try_from(self.next).unwrap_or(i64::MAX);
        if offset > next.saturating_add(WINDOW) {
            return false;
        }
        let known = usize::try_from(next.saturating_sub(offset).max(0)).unwrap_or(usize::MAX);
        let Some(new @ [_, ..]) = bytes.get(known..) else {
            return false;
        };
        let at = u64::try_from(offset.max(next)).unwrap_or(0);
        self.wait(at, new)
    }

    /// The receiver has said that it has everything before `offset`.
    pub fn acknowledged(&mut self, offset: i64) {
        self.lost_before = self.lost_before.max(u64::try_from(offset).unwrap_or(0));
    }

    /// Nothing more will come: gives everything up that is missing.
    pub fn end(&mut self) {
        self.lost_before = u64::MAX;
    }

    /// What is in order now.
    pub fn pull(&mut self) -> Vec<Next> {
        let mut stream = Vec::new();
        while let Some(entry) = self.waiting.first_entry() {
            let (at, bytes) = (*entry.key(), entry.get());
            let end = at + bytes.len() as u64;
            if at > self.next {
                if at > self.lost_before && self.waiting_bytes <= WAITING {
                    break;
                }
                stream.push(Next::Lost(at - self.next));
                self.next = at;
            }
            let bytes = entry.remove();
            self.waiting_bytes -= bytes.len();
            let known = usize::try_from(self.next - at).unwrap_or(usize::MAX);
            if let Some(new @ [_, ..]) = bytes.get(known..) {
                match stream.last_mut() {
                    Some(Next::Bytes(before)) => before.extend_from_slice(new),
                    _ => stream.push(Next::Bytes(new.to_vec())),
                }
                self.next = end;
            }
        }
        stream
    }

    /// Keeps the bytes that no waiting segment has.
    fn wait(&mut self, at: u64, bytes: &[u8]) -> bool {
        let end = at + bytes.len() as u64;
        let mut from = at;
        if let Some((before, held)) = self.waiting.range(..=at).next_back() {
            from = from.max(before + held.len() as u64);
        }
        let mut holes = Vec::new();
        for (start, held) in self.waiting.range(at..end) {
            if *start > from {
                holes.push(from..*start);
            }
            from = from.max(start + held.len() as u64);
        }
        if from < end {
            holes.push(from..end);
        }
        for hole in &holes {
            let within = |offset: u64| usize::try_from(offset - at).unwrap_or(usize::MAX);
            let piece = bytes
                .get(within(hole.start)..within(hole.end))
                .unwrap_or_default();
            self.waiting_bytes += piece.len();
            self.waiting.insert(hole.start, piece.to_vec());
        }
        !holes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Next {
        Next::Bytes(text.into())
    }

    #[test]
    fn segments_in_any_order_make_the_stream() {
        let mut stream = Reassembly::default();
        assert!(stream.push(3, b"def"));
        assert!(stream.push(9, b"jkl"));
        assert!(stream.pull().is_empty());
        assert!(stream.push(0, b"abc"));
        assert_eq!(stream.pull(), [bytes("abcdef")]);
        assert!(stream.push(6, b"ghi"));
        assert_eq!(stream.pull(), [bytes("ghijkl")]);
        assert_eq!((stream.next(), stream.waiting()), (12, 0));
    }

    #[test]
    fn what_came_first_counts_and_retransmissions_bring_nothing() {
        let mut stream = Reassembly::default();
        assert!(stream.push(4, b"efgh"));
        assert!(stream.push(2, b"CDEFGHIJ"));
        assert!(stream.push(0, b"abXX"));
        assert_eq!(stream.pull(), [bytes("abCDefghIJ")]);
        assert!(!stream.push(0, b"abcdefghij"));
        assert!(!stream.push(5, b""));
        assert!(stream.push(8, b"YYkl"));
        assert_eq!(stream.pull(), [bytes("kl")]);
    }

    #[test]
    fn each_byte_waits_once_however_often_it_comes() {
        let mut stream = Reassembly::default();
        for start in 1..100 {
            stream.push(start, &[b'a'; 100]);
        }
        assert_eq!(stream.waiting(), 199 - 1);
        assert!(!stream.push(50, &[b'b'; 100]));
    }

    #[test]
    fn what_the_receiver_has_but_the_capture_lacks_is_lost() {
        let mut stream = Reassembly::default();
        stream.push(5, b"fg");
        stream.acknowledged(4);
        assert!(stream.pull().is_empty());
        stream.acknowledged(7);
        assert_eq!(stream.pull(), [Next::Lost(5), bytes("fg")]);
        stream.push(9, b"j");
        stream.end();
        assert_eq!(stream.pull(), [Next::Lost(2), bytes("j")]);
    }

    #[test]
    fn a_segment_far_away_is_nonsense() {
        let mut stream = Reassembly::default();
        assert!(!stream.push(i64::MAX, b"a"));
        assert!(!stream.push(i64::MIN, b"a"));
        assert!(!stream.push(WINDOW + 1, b"a"));
        assert!(stream.pull().is_empty());
    }

    #[test]
    fn waiting_segments_are_bounded() {
        let mut stream = Reassembly::default();
        let segment = vec![0; 64 * 1024];
        for index in 1..200 {
            stream.push(index * 65536 + 1, &segment);
            stream.pull();
        }
        assert!(stream.waiting() <= WAITING + segment.len());
    }
}
