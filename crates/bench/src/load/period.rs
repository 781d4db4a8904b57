//! A stream that repeats itself is checked whole once; from then on each byte is compared with
//! the one a period before, which costs next to nothing and proves as much.

/// What a connection has learned of its stream.
#[derive(Debug, Default)]
pub struct Period {
    bytes: Vec<u8>,
    /// Where each message of the period ends.
    ends: Vec<usize>,
    /// Where in the period the stream is, while it repeats.
    at: usize,
    /// Messages in those periods that are over.
    passed: u64,
}

impl Period {
    /// How many messages the period has so far.
    pub fn learned(&self) -> usize {
        self.ends.len()
    }

    /// The next message of the first period, after it has been checked.
    pub fn learn(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.ends.push(self.bytes.len());
    }

    /// How many bytes of `stream` are the same as a period before: where one is not, none of those
    /// since the period's last end count as compared.
    pub fn same(&mut self, stream: &[u8]) -> usize {
        let mut same = 0;
        while same < stream.len() {
            let expected = &self.bytes[self.at..];
            let length = expected.len().min(stream.len() - same);
            if stream[same..same + length] != expected[..length] {
                break;
            }
            same += length;
            self.at += length;
            if self.at == self.bytes.len() {
                self.at = 0;
                self.passed += self.ends.len() as u64;
            }
        }
        same
    }

    /// Ends the comparison: the messages that were the same and are not told yet, and the
    /// beginning of one that was not whole.
    pub fn leave(&mut self) -> (u64, &[u8]) {
        let whole = self.ends.partition_point(|&end| end <= self.at);
        let begin = whole.checked_sub(1).map_or(0, |last| self.ends[last]);
        let partial = &self.bytes[begin..self.at];
        self.at = 0;
        (std::mem::take(&mut self.passed) + whole as u64, partial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period() -> Period {
        let mut period = Period::default();
        ["one", "two2", "three"]
            .iter()
            .for_each(|message| period.learn(message.as_bytes()));
        period
    }

    #[test]
    fn a_stream_that_repeats_itself_is_counted_in_whole_messages() {
        let mut period = period();
        assert_eq!(period.same(b"onetwo2threeon"), 14);
        assert_eq!(period.same(b"etw"), 3);
        assert_eq!(period.leave(), (4, &b"tw"[..]));
        assert_eq!(period.leave(), (0, &b""[..]));
    }

    #[test]
    fn a_byte_that_differs_ends_the_comparison_before_the_bytes_it_came_with() {
        let mut period = period();
        assert_eq!(period.same(b"onetwo2th"), 9);
        assert_eq!(period.same(b"reX"), 0);
        assert_eq!(period.leave(), (2, &b"th"[..]));
    }
}
