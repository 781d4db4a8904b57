//! Connections in the region: what is needed to go on with each.

use super::chains::Chain;
use super::layout::{Area, Header, SLOT};
use super::memory::Memory;
use sipalg_core::{Instant, Leg};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// What a slot says, by its place in bytes. Those of the legs are there twice.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
enum Word {
    /// The flow in the upper half, and the flags.
    Flags = 0,
    Descriptors = 8,
    Opened = 16,
    InsideLocal = 24,
    Outside = 32,
    /// Of both legs, half a word each: the chain of what is to be sent.
    Unsent = 40,
    /// Up to where its stream was read and carried out.
    Read = 48,
    /// Up to where its stream to the peer was made.
    Made = 56,
    /// The chain of what was read and is held back, and how much that is.
    Held = 64,
}

/// The words of the second leg come so much later.
const LEG: usize = 24;

const LIVE: u64 = 1;
const ACCEPTED_OUTSIDE: u64 = 2;
const RESET: u64 = 4;
const ENDED: u64 = 8;
const FINISHED: u64 = 32;

/// What is known of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// The leg that was accepted.
    pub accepted: Leg,
    /// Its descriptors, inside and outside, as far as there are any.
    pub descriptors: [Option<RawFd>; 2],
    /// Its flow in the machine.
    pub flow: u32,
    /// When it was opened.
    pub opened: Instant,
    /// The inside host's own end.
    pub inside_local: SocketAddrV4,
    /// The other end.
    pub outside: SocketAddrV4,
}

/// What is known of a leg of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Side {
    /// Up to where what it sends was read and carried out, bytes since it began.
    pub read: u64,
    /// How many bytes before that are held back.
    pub held: u32,
    /// Up to where there is something for it, bytes since it began.
    pub made: u64,
    /// Its FIN was read.
    pub ended: bool,
    /// It is to be sent FIN after all that is for it.
    pub finish: bool,
}

/// The slots, and which of them are free.
#[derive(Debug)]
pub struct Slots {
    area: Area,
    free: Vec<u32>,
    /// How many were ever used.
    used: u32,
}

impl Slots {
    /// The slots of an area, of which `used` were ever used.
    pub fn new(area: Area, used: u32, memory: &Memory) -> Self {
        let most = u32::try_from(area.at.len() / SLOT).unwrap_or(u32::MAX);
        let mut slots = Slots {
            area,
            free: Vec::new(),
            used: used.min(most),
        };
        let dead = |slot: &u32| !slots.is_live(memory, *slot);
        slots.free = (0..slots.used).rev().filter(dead).collect();
        slots
    }

    /// How many were ever used.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Those in use.
    pub fn live(&self, memory: &Memory) -> Vec<u32> {
        let live = |slot: &u32| self.is_live(memory, *slot);
        (0..self.used).filter(live).collect()
    }

    /// Whether a slot is in use.
    pub fn is_live(&self, memory: &Memory, slot: u32) -> bool {
        slot < self.used && self.get(memory, slot, Word::Flags) & LIVE != 0
    }

    /// Puts a connection in, if there is room.
    pub fn add(&mut self, memory: &Memory, connection: &Connection) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let length = (self.used as usize + 1) * SLOT;
                if length > self.area.at.len() || !self.area.grow(memory, length) {
                    return None;
                }
                self.used += 1;
                let used = u64::from(self.used);
                memory.word(Header::Slots as usize).store(used, Relaxed);
                self.used - 1
            }
        };
        for word in 0..SLOT / 8 {
            memory.word(self.at(slot) + word * 8).store(0, Relaxed);
        }
        let set = |word, value| self.set(memory, slot, word, value);
        set(Word::Opened, connection.opened.as_micros());
        set(Word::InsideLocal, number(connection.inside_local));
        set(Word::Outside, number(connection.outside));
        self.set_descriptors(memory, slot, connection.descriptors);
        let accepted = match connection.accepted {
            Leg::Inside => 0,
            Leg::Outside => ACCEPTED_OUTSIDE,
        };
        set(
            Word::Flags,
            u64::from(connection.flow) << 32 | LIVE | accepted,
        );
        Some(slot)
    }

    /// The connection is no more.
    pub fn remove(&mut self, memory: &Memory, slot: u32) {
        if self.is_live(memory, slot) {
            self.set(memory, slot, Word::Flags, 0);
            self.free.push(slot);
        }
    }

    /// The descriptors of a connection are these now.
    pub fn set_descriptors(&self, memory: &Memory, slot: u32, descriptors: [Option<RawFd>; 2]) {
        let part = |fd: Option<RawFd>| fd.map_or(0, |fd| u64::from(fd.cast_unsigned()) + 1);
        let [inside, outside] = descriptors.map(part);
        self.set(memory, slot, Word::Descriptors, inside << 32 | outside);
    }

    /// A connection must be reset.
    pub fn set_reset(&self, memory: &Memory, slot: u32) {
        self.raise(memory, slot, RESET);
    }

    /// Whether it must.
    pub fn is_reset(&self, memory: &Memory, slot: u32) -> bool {
        self.get(memory, slot, Word::Flags) & RESET != 0
    }

    /// What is known of a connection.
    pub fn connection(&self, memory: &Memory, slot: u32) -> Connection {
        let get = |word| self.get(memory, slot, word);
        let descriptors = get(Word::Descriptors);
        let part = |number: u64| u32::try_from(number).ok()?.checked_sub(1);
        let part = |number| part(number).map(u32::cast_signed);
        Connection {
            accepted: match get(Word::Flags) & ACCEPTED_OUTSIDE {
                0 => Leg::Inside,
                _ => Leg::Outside,
            },
            descriptors: [part(descriptors >> 32), part(descriptors & 0xffff_ffff)],
            flow: (get(Word::Flags) >> 32) as u32,
            opened: Instant::from_micros(get(Word::Opened)),
            inside_local: address(get(Word::InsideLocal)),
            outside: address(get(Word::Outside)),
        }
    }

    /// What is known of a leg.
    pub fn side(&self, memory: &Memory, slot: u32, leg: Leg) -> Side {
        let get = |word| self.of(memory, slot, leg, word);
        let flags = self.get(memory, slot, Word::Flags);
        Side {
            read: get(Word::Read),
            held: get(Word::Held) as u32,
            made: get(Word::Made),
            ended: flags & (ENDED << index(leg)) != 0,
            finish: flags & (FINISHED << index(leg)) != 0,
        }
    }

    /// Up to where what `leg` sends was read and carried out.
    pub fn position(&self, memory: &Memory, slot: u32, leg: Leg) -> u64 {
        self.of(memory, slot, leg, Word::Read)
    }

    /// Up to where there is something for `leg`.
    pub fn made(&self, memory: &Memory, slot: u32, leg: Leg) -> u64 {
        self.of(memory, slot, leg, Word::Made)
    }

    /// The heads of a leg's two chains: what is held back of it, and what is to be sent on it.
    pub fn heads(&self, memory: &Memory, slot: u32, leg: Leg) -> (u32, u32) {
        let held = self.of(memory, slot, leg, Word::Held);
        let unsent = self.get(memory, slot, Word::Unsent) >> (32 * index(leg));
        ((held >> 32) as u32, unsent as u32)
    }

    /// What `leg` sent was carried out up to `read`; `held` bytes before that are held back, in this
    /// chain.
    pub fn set_read(
        &self,
        memory: &Memory,
        slot: u32,
        leg: Leg,
        (read, held, chain): (u64, u32, Chain),
    ) {
        let kept = u64::from(chain.head) << 32 | u64::from(held);
        self.set_of(memory, slot, leg, Word::Held, kept);
        self.set_of(memory, slot, leg, Word::Read, read);
    }

    /// There is something for `leg` up to `made`; what was not sent is in this chain.
    pub fn set_made(&self, memory: &Memory, slot: u32, leg: Leg, made: u64, chain: Chain) {
        self.set_unsent(memory, slot, leg, chain);
        self.set_of(memory, slot, leg, Word::Made, made);
    }

    /// What is to be sent on `leg` begins here now.
    pub fn set_unsent(&self, memory: &Memory, slot: u32, leg: Leg, chain: Chain) {
        let shift = 32 * index(leg);
        let of_other = self.get(memory, slot, Word::Unsent) & !(0xffff_ffff << shift);
        let unsent = of_other | u64::from(chain.head) << shift;
        self.set(memory, slot, Word::Unsent, unsent);
    }

    /// The FIN of `leg` was read and carried out.
    pub fn set_ended(&self, memory: &Memory, slot: u32, leg: Leg) {
        self.raise(memory, slot, ENDED << index(leg));
    }

    /// `leg` is to be sent FIN.
    pub fn set_finish(&self, memory: &Memory, slot: u32, leg: Leg) {
        self.raise(memory, slot, FINISHED << index(leg));
    }

    fn raise(&self, memory: &Memory, slot: u32, flag: u64) {
        let flags = self.get(memory, slot, Word::Flags);
        self.set(memory, slot, Word::Flags, flags | flag);
    }

    fn of(&self, memory: &Memory, slot: u32, leg: Leg, word: Word) -> u64 {
        let at = self.at(slot) + word as usize + index(leg) * LEG;
        memory.word(at).load(Relaxed)
    }

    fn set_of(&self, memory: &Memory, slot: u32, leg: Leg, word: Word, value: u64) {
        let at = self.at(slot) + word as usize + index(leg) * LEG;
        memory.word(at).store(value, Release);
    }

    fn get(&self, memory: &Memory, slot: u32, word: Word) -> u64 {
        memory.word(self.at(slot) + word as usize).load(Relaxed)
    }

    fn set(&self, memory: &Memory, slot: u32, word: Word, value: u64) {
        let at = self.at(slot) + word as usize;
        memory.word(at).store(value, Release);
    }

    fn at(&self, slot: u32) -> usize {
        self.area.at.start + slot as usize * SLOT
    }
}

/// The place of a leg among two.
pub fn index(leg: Leg) -> usize {
    match leg {
        Leg::Inside => 0,
        Leg::Outside => 1,
    }
}

fn number(address: SocketAddrV4) -> u64 {
    u64::from(address.ip().to_bits()) << 16 | u64::from(address.port())
}

fn address(number: u64) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits((number >> 16) as u32), number as u16)
}
