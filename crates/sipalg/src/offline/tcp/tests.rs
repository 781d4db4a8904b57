use super::*;

/// A connection between an inside client, whose stream begins after 1000, and a server, after 5000.
struct World {
    relay: Relay,
    /// What the other side's receiver has got, by leg of the sender.
    got: [(Option<u32>, Vec<u8>); 2],
}

fn index(leg: Leg) -> usize {
    usize::from(leg == Leg::Outside)
}

fn header(number: u32, acknowledgment: Option<u32>, flags: &str) -> TcpHeader {
    let mut header = TcpHeader::new(40001, 5060, number, 65535);
    header.ack = acknowledgment.is_some();
    header.acknowledgment_number = acknowledgment.unwrap_or(0);
    header.syn = flags.contains('S');
    header.fin = flags.contains('F');
    header.rst = flags.contains('R');
    header
}

/// Doubles every byte, in lines: what has no line end is held back.
fn doubling() -> impl FnMut(Part<'_>) -> Carried {
    let mut held: Vec<u8> = Vec::new();
    move |part| {
        let mut missing = 0;
        let mut ready = Vec::new();
        match part {
            Part::Bytes(bytes) => {
                held.extend_from_slice(bytes);
                let whole = held.iter().rposition(|byte| *byte == b'\n');
                let rest = held.split_off(whole.map_or(0, |at| at + 1));
                ready = std::mem::replace(&mut held, rest);
            }
            Part::Lost(count) => {
                missing = count + held.len() as u64;
                held.clear();
            }
            Part::End => ready.append(&mut held),
        }
        let bytes = ready.iter().flat_map(|byte| [*byte, *byte]).collect();
        Carried { missing, bytes }
    }
}

impl World {
    fn new() -> Self {
        World {
            relay: Relay::default(),
            got: Default::default(),
        }
    }

    /// Sends a packet and checks that what leaves follows on what has left.
    fn send(
        &mut self,
        from: Leg,
        header: TcpHeader,
        data: &[u8],
        translate: &mut dyn FnMut(Part<'_>) -> Carried,
    ) -> Vec<Sent> {
        let segment = Segment {
            header: &header,
            data,
            missing: 0,
        };
        let sent = self.relay.segment(from, &segment, translate);
        for packet in &sent {
            let (next, stream) = &mut self.got[index(from)];
            let number = packet.header.sequence_number;
            let expected = *next.get_or_insert(number);
            assert_eq!(number, expected, "not the next: {packet:?}");
            let takes = packet.header.syn || packet.header.fin;
            stream.extend_from_slice(&packet.data);
            *next = Some(number + packet.data.len() as u32 + u32::from(takes));
            let (other, _) = &self.got[index(from.other())];
            if let Some(other) = other {
                let late = packet.header.acknowledgment_number;
                assert!(late <= *other, "acknowledges too much: {packet:?}");
            }
        }
        sent
    }

    /// After the handshake.
    fn connected() -> Self {
        let mut world = World::new();
        let mut nothing = doubling();
        let syn = world.send(Leg::Inside, header(1000, None, "S"), b"", &mut nothing);
        assert!(syn[0].header.syn && !syn[0].header.ack);
        let answer = header(5000, Some(1001), "S");
        let answer = world.send(Leg::Outside, answer, b"", &mut nothing);
        assert!(answer[0].header.syn && answer[0].header.ack);
        assert_eq!(answer[0].header.acknowledgment_number, 1001);
        let ack = header(1001, Some(5001), "");
        assert_eq!(world.send(Leg::Inside, ack, b"", &mut nothing).len(), 1);
        world
    }
}

#[test]
fn lengths_change_and_acknowledgments_agree() {
    let (mut world, mut double) = (World::connected(), doubling());
    let sent = world.send(
        Leg::Inside,
        header(1001, Some(5001), ""),
        b"ab\ncd",
        &mut double,
    );
    assert_eq!(sent[0].data, b"aabb\n\n");
    // Half a line is acknowledged by the capture's receiver, but has not left yet.
    let ack = world.send(
        Leg::Outside,
        header(5001, Some(1006), ""),
        b"",
        &mut doubling(),
    );
    assert_eq!(ack[0].header.acknowledgment_number, 1007);
    world.send(
        Leg::Inside,
        header(1006, Some(5001), ""),
        b"\n",
        &mut double,
    );
    let ack = world.send(
        Leg::Outside,
        header(5001, Some(1007), ""),
        b"",
        &mut doubling(),
    );
    assert_eq!(ack[0].header.acknowledgment_number, 1013);
    assert_eq!(world.got[0].1, b"aabb\n\nccdd\n\n");
}

#[test]
fn segments_out_of_order_and_repeated_leave_once_and_in_order() {
    let (mut world, mut double) = (World::connected(), doubling());
    let ahead = header(1004, Some(5001), "");
    assert!(
        world
            .send(Leg::Inside, ahead.clone(), b"cd\n", &mut double)
            .is_empty()
    );
    let first = header(1001, Some(5001), "");
    let sent = world.send(Leg::Inside, first.clone(), b"ab\n", &mut double);
    assert_eq!(sent[0].data, b"aabb\n\nccdd\n\n");
    for again in [ahead, first] {
        assert!(
            world
                .send(Leg::Inside, again, b"xx\n", &mut double)
                .is_empty()
        );
    }
}

#[test]
fn a_repeated_segment_leaves_for_the_acknowledgment_that_it_brings() {
    let (mut world, mut double) = (World::connected(), doubling());
    let first = header(1001, Some(5001), "");
    world.send(Leg::Inside, first, b"a\n", &mut double);
    world.send(
        Leg::Outside,
        header(5001, Some(1003), ""),
        b"b\n",
        &mut doubling(),
    );
    let again = header(1001, Some(5003), "");
    let sent = world.send(Leg::Inside, again, b"a\n", &mut double);
    assert_eq!((sent.len(), sent[0].data.len()), (1, 0));
    assert_eq!(sent[0].header.acknowledgment_number, 5005);
}

#[test]
fn a_fin_ahead_of_its_data_waits_and_releases_what_was_held_back() {
    let (mut world, mut double) = (World::connected(), doubling());
    let fin = header(1003, Some(5001), "F");
    assert!(world.send(Leg::Inside, fin, b"c", &mut double).is_empty());
    let sent = world.send(
        Leg::Inside,
        header(1001, Some(5001), ""),
        b"ab",
        &mut double,
    );
    let last = sent.last().unwrap();
    assert!(last.header.fin);
    assert_eq!(world.got[0].1, b"aabbcc");
    let ack = world.send(
        Leg::Outside,
        header(5001, Some(1005), ""),
        b"",
        &mut doubling(),
    );
    assert_eq!(ack[0].header.acknowledgment_number, 1001 + 6 + 1);
}

#[test]
fn a_long_translation_leaves_in_segments() {
    let (mut world, mut double) = (World::connected(), doubling());
    let mut line = vec![b'a'; 1400];
    line.push(b'\n');
    let sent = world.send(
        Leg::Inside,
        header(1001, Some(5001), ""),
        &line,
        &mut double,
    );
    let lengths: Vec<usize> = sent.iter().map(|sent| sent.data.len()).collect();
    assert_eq!(lengths, [1448, 1354]);
}

#[test]
fn a_reset_leaves_where_the_other_side_expects_it() {
    let (mut world, mut double) = (World::connected(), doubling());
    world.send(
        Leg::Inside,
        header(1001, Some(5001), ""),
        b"ab\n",
        &mut double,
    );
    let sent = world.send(Leg::Inside, header(1004, Some(5001), "R"), b"", &mut double);
    assert!(sent[0].header.rst);
    assert_eq!(sent[0].header.sequence_number, 1007);
}

#[test]
fn what_the_capture_lost_is_missing_on_the_other_side_too() {
    let (mut world, mut double) = (World::connected(), doubling());
    let ahead = header(1011, Some(5001), "");
    assert!(
        world
            .send(Leg::Inside, ahead, b"cd\n", &mut double)
            .is_empty()
    );
    world.send(
        Leg::Outside,
        header(5001, Some(1014), ""),
        b"",
        &mut doubling(),
    );
    world.got[0].0 = None;
    let sent = world.send(
        Leg::Inside,
        header(1014, Some(5001), ""),
        b"e\n",
        &mut double,
    );
    assert_eq!(sent[0].header.sequence_number, 1011);
    assert_eq!(sent[0].data, b"ccdd\n\nee\n\n");
}

#[test]
fn a_connection_that_was_open_before_the_capture_is_taken_up() {
    let (mut world, mut double) = (World::new(), doubling());
    let number = u32::MAX - 1;
    world.got[0].0 = None;
    let sent = world.relay.segment(
        Leg::Inside,
        &Segment {
            header: &header(number, Some(7000), ""),
            data: b"ab\n",
            missing: 0,
        },
        &mut double,
    );
    assert_eq!(sent[0].header.sequence_number, number);
    let ack = world.relay.segment(
        Leg::Outside,
        &Segment {
            header: &header(7000, Some(number.wrapping_add(3)), ""),
            data: b"",
            missing: 0,
        },
        &mut doubling(),
    );
    assert_eq!(ack[0].header.acknowledgment_number, number.wrapping_add(6));
}

#[test]
fn selective_acknowledgments_are_blanked_and_other_options_kept() {
    let mut options = [
        1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 5, 10, 1, 1, 1, 1, 2, 2, 2, 2,
    ];
    blank_selective(&mut options);
    assert_eq!(
        options,
        [
            1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
        ]
    );
    for mut nonsense in [[5, 0, 5], [5, 200, 0], [8, 1, 5]] {
        blank_selective(&mut nonsense);
    }
}
