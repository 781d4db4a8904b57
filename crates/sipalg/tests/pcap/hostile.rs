//! Captures that somebody made to do harm, or that were cut off.

use crate::scene::{LINK_TYPES, Scene};
use sipalg::diff::Marks;
use sipalg::offline::capture::{Reader, Writer};
use sipalg::offline::carry;
use sipalg::offline::configuration::{Asked, Configuration};
use sipalg::offline::gateway::Gateway;
use sipalg::offline::report::Report;
use std::io::Cursor;

/// Takes a capture through in this process; gives what is printed and the capture that is written.
fn through(capture: Vec<u8>) -> (String, Vec<u8>) {
    let asked = Asked {
        file: None,
        inside: vec!["192.168.122.0/24".parse().unwrap()],
        globals: vec!["10.1.1.1".parse().unwrap()],
    };
    let configuration = Configuration::find(&asked, &[5060].into()).unwrap();
    let (mut printed, mut written) = (Vec::new(), Vec::new());
    let report = Report::new(&mut printed, Marks::Carets, true);
    let mut gateway = Gateway::new(configuration, report);
    let mut writer = Writer::new(&mut written).unwrap();
    if let Ok(mut reader) = Reader::open(Cursor::new(capture)) {
        carry(&mut reader, &mut gateway, &mut writer).unwrap();
    }
    writer.finish().unwrap();
    gateway.finish().unwrap();
    (String::from_utf8(printed).unwrap(), written)
}

/// A number that is the same in every run.
fn next(state: &mut u64) -> usize {
    *state = state
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    (*state >> 33) as usize
}

#[test]
fn a_capture_that_ends_anywhere_gives_what_there_is_and_says_so() {
    let whole = crate::scene().pcap(1);
    let mut borders = vec![24];
    while let Some(length) = whole
        .get(borders[borders.len() - 1] + 8..)
        .filter(|l| !l.is_empty())
    {
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
        borders.push(borders[borders.len() - 1] + 16 + length as usize);
    }
    for length in (24..whole.len()).step_by(397).chain(borders.clone()) {
        let (text, _) = through(whole[..length].to_vec());
        let packets = borders.iter().filter(|border| **border <= length).count() - 1;
        assert!(
            text.contains(&format!("\n{packets} packets read")),
            "{length}: {text}"
        );
        let said = text.contains("the file ends in the middle of a packet");
        assert_eq!(said, !borders.contains(&length), "{length}: {text}");
    }
}

#[test]
fn damaged_bytes_anywhere_are_survived() {
    let mut state = 1;
    for round in 0..150 {
        let (link_type, _) = LINK_TYPES[round % LINK_TYPES.len()];
        let mut file = crate::scene().pcap(link_type);
        for _ in 0..1 + next(&mut state) % 40 {
            let at = next(&mut state) % file.len();
            file[at] = next(&mut state) as u8;
        }
        through(file);
    }
    let (_, sound) = through(crate::scene().pcap(1));
    for _ in 0..150 {
        let mut file = sound.clone();
        for _ in 0..1 + next(&mut state) % 10 {
            let at = next(&mut state) % file.len();
            file[at] = next(&mut state) as u8;
        }
        through(file);
    }
}

#[test]
fn damaged_packets_in_a_sound_file_are_survived() {
    let mut state = 2;
    for _ in 0..150 {
        let mut scene = crate::scene();
        for (_, packet) in &mut scene.packets {
            match next(&mut state) % 8 {
                0 => packet.truncate(next(&mut state) % packet.len()),
                1 => {
                    let at = next(&mut state) % packet.len();
                    packet[at] = next(&mut state) as u8;
                }
                2 => {
                    let at = next(&mut state) % 60;
                    if let Some(byte) = packet.get_mut(at) {
                        *byte = next(&mut state) as u8;
                    }
                }
                _ => {}
            }
        }
        through(scene.pcap(101));
    }
}

#[test]
fn packets_that_were_cut_off_are_counted_and_translated_where_that_can_be() {
    let mut scene = crate::scene();
    scene.udp(
        "192.168.122.3:5060",
        crate::PROXY,
        b"OPTIONS sip:203.0.113.9 SIP/2.0\r\n",
    );
    for (_, packet) in &mut scene.packets {
        packet.truncate(50);
    }
    let (text, written) = through(scene.pcap(101));
    assert!(
        text.contains("translated packets not captured as a whole"),
        "{text}"
    );
    assert!(
        text.contains("on a SIP port and not captured as a whole"),
        "{text}"
    );
    assert!(
        text.contains("bytes of SIP connections not in the capture"),
        "{text}"
    );
    assert!(!written.windows(3).any(|bytes| bytes == [192, 168, 122]));
}

#[test]
fn time_that_jumps_is_survived() {
    let mut scene = crate::scene();
    let count = scene.packets.len() as u64;
    for (index, (time, _)) in (0..).zip(&mut scene.packets) {
        *time = match index % 3 {
            0 => 1_000_000 * 86_400 * 365 * index / count,
            1 => 0,
            _ => *time,
        };
    }
    through(scene.pcap(1));
    through(Scene::default().pcap(1));
}
