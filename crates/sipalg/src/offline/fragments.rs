//! Puts IPv4 fragments together (RFC 791 section 3.2).

use super::packet::Packet;
use etherparse::IpNumber;
use etherparse::defrag::IpDefragBuf;
use std::collections::BTreeMap;

/// How many packets may be incomplete at once; the oldest is given up for one more.
const INCOMPLETE: usize = 1024;

/// The packets of which fragments are missing.
#[derive(Debug, Default)]
pub struct Fragments {
    incomplete: BTreeMap<Name, Incomplete>,
    began: u64,
    given_up: u64,
}

/// What the fragments of one packet have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Name {
    source: [u8; 4],
    destination: [u8; 4],
    identification: u16,
    protocol: u8,
}

#[derive(Debug)]
struct Incomplete {
    buffer: IpDefragBuf,
    fragments: u64,
    began: u64,
    /// The fragment that the packet begins with: its header is the packet's.
    first: Option<Packet>,
}

impl Fragments {
    /// Takes in a fragment; gives the packet once it is whole.
    pub fn add(&mut self, fragment: Packet) -> Option<Packet> {
        let name = Name {
            source: fragment.header.source,
            destination: fragment.header.destination,
            identification: fragment.header.identification,
            protocol: fragment.header.protocol.0,
        };
        self.make_room(&name);
        self.began += 1;
        let began = self.began;
        let entry = self.incomplete.entry(name).or_insert_with(|| Incomplete {
            buffer: IpDefragBuf::new(IpNumber(name.protocol), Vec::new(), Vec::new()),
            fragments: 0,
            began,
            first: None,
        });
        entry.fragments += 1;
        let (offset, more) = (
            fragment.header.fragment_offset,
            fragment.header.more_fragments,
        );
        if fragment.missing > 0 || entry.buffer.add(offset, more, &fragment.payload).is_err() {
            self.give_up(&name);
            return None;
        }
        if offset.value() == 0 {
            entry.first = Some(fragment);
        }
        if !entry.buffer.is_complete() {
            return None;
        }
        let whole = self.incomplete.remove(&name)?;
        let mut packet = whole.first?;
        packet.payload = whole.buffer.take_bufs().0;
        packet.make_whole();
        (packet.payload.len() <= packet.room()).then_some(packet)
    }

    /// How many fragments never became a packet, those that wait included.
    pub fn lost(&self) -> u64 {
        let waiting = self.incomplete.values().map(|entry| entry.fragments);
        self.given_up + waiting.sum::<u64>()
    }

    fn make_room(&mut self, name: &Name) {
        if self.incomplete.len() < INCOMPLETE || self.incomplete.contains_key(name) {
            return;
        }
        let oldest = self.incomplete.iter().min_by_key(|(_, entry)| entry.began);
        if let Some(oldest) = oldest.map(|(name, _)| *name) {
            self.give_up(&oldest);
        }
    }

    fn give_up(&mut self, name: &Name) {
        if let Some(entry) = self.incomplete.remove(name) {
            self.given_up += entry.fragments;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{IpFragOffset, Ipv4Header};

    fn fragment(identification: u16, offset: u16, more: bool, payload: &[u8]) -> Packet {
        let length = u16::try_from(payload.len()).unwrap();
        let header = Ipv4Header::new(length, 64, IpNumber::UDP, [1, 1, 1, 1], [2, 2, 2, 2]);
        let mut header = header.unwrap();
        header.identification = identification;
        header.more_fragments = more;
        header.fragment_offset = IpFragOffset::try_new(offset / 8).unwrap();
        Packet {
            header,
            payload: payload.to_vec(),
            missing: 0,
        }
    }

    #[test]
    fn fragments_in_any_order_make_the_packet() {
        let mut fragments = Fragments::default();
        assert!(fragments.add(fragment(7, 16, false, b"last")).is_none());
        assert!(fragments.add(fragment(8, 8, true, b"another.")).is_none());
        assert!(fragments.add(fragment(7, 8, true, b"middle__")).is_none());
        assert_eq!(fragments.lost(), 3);
        let whole = fragments.add(fragment(7, 0, true, b"first___")).unwrap();
        assert_eq!(whole.payload, b"first___middle__last");
        assert!(!whole.header.is_fragmenting_payload());
        assert_eq!(fragments.lost(), 1);
    }

    #[test]
    fn fragments_that_contradict_each_other_are_given_up() {
        let mut fragments = Fragments::default();
        assert!(fragments.add(fragment(7, 8, false, b"end")).is_none());
        assert!(fragments.add(fragment(7, 16, false, b"end")).is_none());
        assert_eq!(fragments.lost(), 2);
    }

    #[test]
    fn incomplete_packets_are_bounded() {
        let mut fragments = Fragments::default();
        for identification in 0..2000 {
            fragments.add(fragment(identification, 0, true, b"12345678"));
        }
        assert_eq!(fragments.incomplete.len(), INCOMPLETE);
        assert_eq!(fragments.lost(), 2000);
    }
}
