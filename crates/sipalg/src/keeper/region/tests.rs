//! The worker dies before every access to the region, also while it recovers, and no byte is lost or
//! doubled. Sockets and machine are played.

use super::*;
use crate::keeper::memory::death;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::panic::{AssertUnwindSafe, catch_unwind};

const LEGS: [Leg; 2] = [Leg::Inside, Leg::Outside];
const CONNECTIONS: usize = 2;

/// A socket: what its peer says, how much of it was read, and what its peer has heard. It outlives
/// the worker.
#[derive(Debug, Default)]
struct Socket {
    said: Vec<u8>,
    read: usize,
    heard: Vec<u8>,
}

/// All that outlives the worker.
struct World {
    file: File,
    sockets: [[Socket; 2]; CONNECTIONS],
    random: u64,
}

/// All that does not.
struct Worker {
    region: Region,
    slots: Vec<u32>,
    held: [[Vec<u8>; 2]; CONNECTIONS],
    waiting: [[Vec<u8>; 2]; CONNECTIONS],
    sends: Vec<(usize, Leg, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        let file = File::from(memfd_create(c"region", MFdFlags::MFD_CLOEXEC).unwrap());
        let shared = Shared::of_test(file.try_clone().unwrap());
        shared.forget(1);
        let mut region = Region::take_over(shared);
        let nobody = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        for flow in 0..CONNECTIONS as u32 {
            let connection = Connection {
                accepted: Leg::Inside,
                descriptors: [Some(3), None],
                flow,
                opened: sipalg_core::Instant::ZERO,
                inside_local: nobody,
                outside: nobody,
            };
            assert_eq!(region.add(&connection), Some(flow));
        }
        World {
            file,
            sockets: Default::default(),
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % below as u64) as usize
    }

    /// Peers say messages: two bytes of length, and as many.
    fn say(&mut self, longest: usize) {
        for n in 0..CONNECTIONS {
            for leg in 0..2 {
                let length = self.random(longest);
                let fill = (n * 2 + leg) as u8;
                let said = &mut self.sockets[n][leg].said;
                said.extend((length as u16).to_be_bytes());
                said.extend((0..length).map(|at| fill.wrapping_add((at / 7) as u8)));
            }
        }
    }
}

impl Worker {
    /// As `Carrier::recover` does it.
    fn recover(world: &mut World) -> Self {
        let shared = Shared::of_test(world.file.try_clone().unwrap());
        let mut region = Region::take_over(shared);
        let slots = region.live();
        assert_eq!(slots.len(), CONNECTIONS);
        let mut worker_held: [[Vec<u8>; 2]; CONNECTIONS] = Default::default();
        let mut worker_waiting: [[Vec<u8>; 2]; CONNECTIONS] = Default::default();
        for (n, slot) in slots.iter().enumerate() {
            let written = [0, 1].map(|leg: usize| world.sockets[n][leg].heard.len() as u64);
            region.redo(*slot, written);
            for leg in LEGS {
                let waiting = region.unsent(*slot, leg, written[index(leg)]);
                let made = region.side(*slot, leg).made;
                assert_eq!(written[index(leg)] + waiting.len() as u64, made);
                worker_waiting[n][index(leg)] = waiting;
            }
        }
        region.redone();
        for (n, slot) in slots.iter().enumerate() {
            for leg in LEGS {
                let held = region.held(*slot, leg);
                assert_eq!(held.len() as u32, region.side(*slot, leg).held);
                worker_held[n][index(leg)] = held;
            }
        }
        let unfed = region.unfed();
        let mut worker = Worker {
            region,
            slots,
            held: worker_held,
            waiting: worker_waiting,
            sends: Vec::new(),
        };
        let mut fed = [[false; 2]; CONNECTIONS];
        for input in unfed {
            let n = input.slot as usize;
            let read = world.sockets[n][index(input.leg)].read as u64 - input.position;
            worker.region.read(input, read as usize, false);
            worker.feed(n, input, read as usize);
            fed[n][index(input.leg)] = true;
        }
        for (n, fed) in fed.iter().enumerate() {
            for leg in LEGS {
                let read = worker.region.side(worker.slots[n], leg).read;
                let agrees = read == world.sockets[n][index(leg)].read as u64;
                assert!(fed[index(leg)] || agrees, "connection {n}, {leg:?}");
            }
        }
        worker.settle(world);
        worker
    }

    /// Reads what there is, in part, and carries it out.
    fn turn(&mut self, world: &mut World) {
        for n in 0..CONNECTIONS {
            for leg in LEGS {
                let there = {
                    let socket = &world.sockets[n][index(leg)];
                    socket.said.len() - socket.read
                };
                if there == 0 || world.random(4) == 0 {
                    continue;
                }
                let length = 1 + world.random(there.min(READ_SIZE));
                let input = self.region.note(self.slots[n], leg).unwrap();
                // recv(2): at once or not at all.
                let buffer = self.region.buffer(input);
                let socket = &mut world.sockets[n][index(leg)];
                buffer[..length].copy_from_slice(&socket.said[socket.read..socket.read + length]);
                socket.read += length;
                self.region.read(input, length, false);
                self.feed(n, input, length);
            }
        }
        self.settle(world);
        self.flush(world);
    }

    /// The machine: a whole message goes out with all bytes turned.
    fn feed(&mut self, n: usize, input: Input, length: usize) {
        let held = &mut self.held[n][index(input.leg)];
        held.extend_from_slice(self.region.bytes(input, length));
        let out = turned(held);
        held.drain(..out.len());
        let held = held.len();
        self.region.fed(input, held);
        self.sends.push((n, input.leg.other(), out));
    }

    fn settle(&mut self, world: &mut World) {
        let mut outputs = Vec::new();
        for (n, leg, bytes) in std::mem::take(&mut self.sends) {
            let output = self.region.record(self.slots[n], leg, &bytes, false);
            outputs.push((n, leg, bytes, output.unwrap()));
        }
        assert!(self.region.commit(b"", Vec::new));
        for (n, leg, bytes, output) in outputs {
            let waiting = &mut self.waiting[n][index(leg)];
            let taken = if waiting.is_empty() {
                world.random(bytes.len() + 1)
            } else {
                0
            };
            world.sockets[n][index(leg)].heard.extend(&bytes[..taken]);
            waiting.extend(&bytes[taken..]);
            let waiting = waiting.len();
            self.region.carry(output, waiting);
        }
        self.region.applied();
    }

    /// Peers take some of what waits for them.
    fn flush(&mut self, world: &mut World) {
        for n in 0..CONNECTIONS {
            for leg in LEGS {
                let waiting = &mut self.waiting[n][index(leg)];
                let taken = world.random(waiting.len() + 1).max(waiting.len().min(1));
                let heard = &mut world.sockets[n][index(leg)].heard;
                heard.extend(waiting.drain(..taken));
                let left = waiting.len();
                self.region.sent_later(self.slots[n], leg, left);
            }
        }
    }
}

/// The whole messages at the start of `bytes`, turned.
fn turned(bytes: &[u8]) -> Vec<u8> {
    let mut whole = 0;
    while let Some([high, low]) = bytes.get(whole..whole + 2) {
        let end = whole + 2 + usize::from(u16::from_be_bytes([*high, *low]));
        if end > bytes.len() {
            break;
        }
        whole = end;
    }
    bytes[..whole].iter().map(|byte| !byte).collect()
}

/// Everything is said, and heard at last, with deaths after so many accesses each. Gives how many
/// accesses there were after the last.
fn live(longest: usize, turns: usize, deaths: &[u64]) -> u64 {
    let mut world = World::new();
    let mut deaths = deaths.iter();
    let mut said = 0;
    loop {
        let next = deaths.next().copied();
        let last = u64::MAX / 2;
        death::comes_after(next.unwrap_or(last));
        let lived = catch_unwind(AssertUnwindSafe(|| {
            let mut worker = Worker::recover(&mut world);
            while said < turns {
                said += 1;
                world.say(longest);
                worker.turn(&mut world);
            }
            let is_done = |world: &World, worker: &Worker| {
                let read = |socket: &Socket| socket.read == socket.said.len();
                world.sockets.iter().flatten().all(read)
                    && worker.waiting.iter().flatten().all(Vec::is_empty)
            };
            while !is_done(&world, &worker) {
                worker.turn(&mut world);
            }
        }));
        match lived {
            Ok(()) => {
                let used = next.unwrap_or(last) - death::left();
                death::comes_after(u64::MAX);
                for (n, sockets) in world.sockets.iter().enumerate() {
                    assert!(turned(&sockets[0].said) == sockets[1].heard, "{n} outward");
                    assert!(turned(&sockets[1].said) == sockets[0].heard, "{n} inward");
                }
                return used;
            }
            Err(panic) if panic.is::<death::Death>() => {}
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

#[test]
fn a_death_before_any_access_loses_no_byte_and_doubles_none() {
    let accesses = live(300, 4, &[]);
    assert!(accesses > 500, "{accesses}");
    for death in 0..accesses {
        live(300, 4, &[death]);
    }
}

#[test]
fn deaths_while_recovering_lose_no_byte_and_double_none() {
    let accesses = live(9000, 6, &[]);
    for death in (0..accesses).step_by(17) {
        let again = death * 31 % 400;
        live(9000, 6, &[death, again, again / 2, 3, accesses / 3, 50]);
    }
}

#[test]
fn a_message_in_single_bytes_costs_as_much_for_each_however_long_it_is() {
    let cost = |length: usize| {
        let mut world = World::new();
        world.sockets[0][0].said = vec![0xff; length];
        let mut worker = Worker::recover(&mut world);
        death::comes_after(u64::MAX - 1);
        for _ in 0..length {
            let input = worker.region.note(0, Leg::Inside).unwrap();
            worker.region.buffer(input)[0] = 0xff;
            world.sockets[0][0].read += 1;
            worker.region.read(input, 1, false);
            worker.region.fed(input, world.sockets[0][0].read);
            worker.region.commit(b"", Vec::new);
            worker.region.applied();
        }
        let used = u64::MAX - 1 - death::left();
        assert_eq!(worker.region.held(0, Leg::Inside).len(), length);
        used
    };
    let (short, long) = (cost(20_000), cost(200_000));
    assert!(long < short * 21 / 2, "{short} accesses, then {long}");
}

#[test]
fn what_connections_held_is_free_when_they_are_gone() {
    let mut world = World::new();
    world.say(60_000);
    let mut worker = Worker::recover(&mut world);
    for _ in 0..20 {
        worker.turn(&mut world);
    }
    let used = worker.region.shared.get(Header::Blocks);
    assert!(used > 0);
    for slot in worker.slots {
        worker.region.remove(slot);
    }
    assert_eq!(worker.region.blocks.free_count() as u64, used);
}
