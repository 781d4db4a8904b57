//! One queue of deadlines for everything that can expire.
//!
//! What is there for long is used again and again, and its deadline moves with each use. So a deadline
//! that moves to later stays where it is in the queue: when its turn comes, it goes to where it
//! belongs by then. Nobody but [`Timers::next`] can tell.

use crate::addr::{FlowId, Ipv4Addr, Protocol, SocketAddrV4};
use crate::time::Instant;
use alloc::vec::Vec;
use core::num::NonZeroU32;

/// What a deadline is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Key {
    /// A mapping that nobody holds.
    Mapping(u32),
    /// A port barred for other hosts.
    Bar(Protocol, SocketAddrV4),
    /// An inside host's address of a pool without overload.
    Address(Ipv4Addr),
    /// A flow that has a door.
    Flow(FlowId),
    /// A flow of which a message is not whole.
    Slow(FlowId),
    /// A flow that is pinged when it is silent.
    Ping(FlowId),
    /// A call.
    Call(u32),
    /// A REGISTER without final response.
    Pending(u64),
    /// The spellings of a Call-ID.
    Spelling(u64),
    /// A registration, by its mapping and the hash of its address-of-record.
    Registration(u32, u64),
}

/// Where an owner's deadline is, if it has one. Nothing else has it, and it comes to nothing with the
/// deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Armed(Option<NonZeroU32>);

impl Armed {
    /// Whether no deadline runs.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// The deadline has come.
    pub fn came(&mut self) {
        self.0 = None;
    }

    fn slot(self) -> Option<u32> {
        Some(self.0?.get() - 1)
    }
}

/// Deadlines, the earliest first, and of two at the same instant the one with the lesser key.
#[derive(Debug, Default)]
pub struct Timers {
    /// A heap in which each entry has four below it: an instant at which its slot is looked at, which
    /// is not after it is due, and the slot.
    queue: Vec<(Instant, u32)>,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    /// `None`: nobody has it.
    key: Option<Key>,
    due: Instant,
    /// Its place in the queue.
    place: u32,
}

/// How many entries are below one in the queue.
const BELOW: usize = 4;

impl Timers {
    /// Moves the owner's deadline to `at`.
    pub fn arm(&mut self, armed: &mut Armed, key: Key, at: Instant) {
        let Some((number, slot)) = self.slot_mut(*armed, key) else {
            *armed = self.begin(key, at);
            return;
        };
        let (later, place) = (at >= slot.due, slot.place as usize);
        slot.due = at;
        if !later && let Some(entry) = self.queue.get_mut(place).filter(|entry| at < entry.0) {
            entry.0 = at;
            self.up(place, (at, number));
        }
    }

    /// Takes the owner's deadline away.
    pub fn disarm(&mut self, armed: &mut Armed, key: Key) {
        if let Some((number, slot)) = self.slot_mut(*armed, key) {
            let place = slot.place as usize;
            self.remove(place);
            self.release(number);
        }
        *armed = Armed::default();
    }

    /// When the owner's deadline is, if it has one.
    pub fn due(&self, armed: Armed) -> Option<Instant> {
        let slot = self.slots.get(armed.slot()? as usize)?;
        slot.key.is_some().then_some(slot.due)
    }

    /// When the queue is to be looked at: not after the earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes out the earliest deadline that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Key> {
        loop {
            let (at, number) = *self.queue.first()?;
            if at > now {
                return None;
            }
            let slot = self.slots.get(number as usize)?;
            let (key, due) = (slot.key, slot.due);
            if due <= at {
                self.remove(0);
                self.release(number);
                return key;
            }
            self.down(0, (due, number));
        }
    }

    /// The slot of an owner, if it has one.
    fn slot_mut(&mut self, armed: Armed, key: Key) -> Option<(u32, &mut Slot)> {
        let number = armed.slot()?;
        let slot = self.slots.get_mut(number as usize)?;
        (slot.key == Some(key)).then_some((number, slot))
    }

    fn begin(&mut self, key: Key, due: Instant) -> Armed {
        let slot = Slot {
            key: Some(key),
            due,
            place: 0,
        };
        // There are fewer deadlines than objects, which are far fewer than 2^32.
        let number = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(number as usize) {
            Some(vacant) => *vacant = slot,
            None => self.slots.push(slot),
        }
        self.queue.push((due, number));
        self.up(self.queue.len() - 1, (due, number));
        Armed(NonZeroU32::MIN.checked_add(number))
    }

    /// The slot is nobody's any more.
    fn release(&mut self, number: u32) {
        if let Some(slot) = self.slots.get_mut(number as usize) {
            slot.key = None;
            self.free.push(number);
        }
    }

    fn remove(&mut self, place: usize) {
        let Some(last) = self.queue.pop() else {
            return;
        };
        match self.queue.get(place) {
            Some(gone) if self.is_before(last, *gone) => self.up(place, last),
            Some(_) => self.down(place, last),
            None => {}
        }
    }

    /// Puts an entry into a place, or above it, where it is not before what is above.
    fn up(&mut self, mut place: usize, entry: (Instant, u32)) {
        while let Some(above) = place.checked_sub(1).map(|before| before / BELOW)
            && let Some(other) = self.queue.get(above).copied()
            && self.is_before(entry, other)
        {
            self.put(place, other);
            place = above;
        }
        self.put(place, entry);
    }

    /// Puts an entry into a place, or below it, where nothing below is before it.
    fn down(&mut self, mut place: usize, entry: (Instant, u32)) {
        loop {
            let below = place * BELOW + 1..place * BELOW + 1 + BELOW;
            let mut first = (place, entry);
            for (place, other) in below.map_while(|place| Some((place, *self.queue.get(place)?))) {
                if self.is_before(other, first.1) {
                    first = (place, other);
                }
            }
            if first.0 == place {
                return self.put(place, entry);
            }
            self.put(place, first.1);
            place = first.0;
        }
    }

    fn put(&mut self, place: usize, entry: (Instant, u32)) {
        if let Some(there) = self.queue.get_mut(place) {
            *there = entry;
        }
        if let Some(slot) = self.slots.get_mut(entry.1 as usize) {
            slot.place = place as u32;
        }
    }

    fn is_before(&self, one: (Instant, u32), other: (Instant, u32)) -> bool {
        let key = |(_, number): (_, u32)| self.slots.get(number as usize)?.key;
        one.0 < other.0 || (one.0 == other.0 && key(one) < key(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    /// Deadlines as they are meant: each at once where it belongs.
    struct Plain {
        queue: BTreeSet<(Instant, Key)>,
        due: [Option<Instant>; 40],
    }

    impl Plain {
        fn new() -> Self {
            Plain {
                queue: BTreeSet::new(),
                due: [None; 40],
            }
        }

        fn set(&mut self, owner: u32, at: Option<Instant>) {
            let key = Key::Call(owner);
            let due = &mut self.due[owner as usize];
            due.take().map(|before| self.queue.remove(&(before, key)));
            *due = at.inspect(|at| {
                self.queue.insert((*at, key));
            });
        }

        fn pop_due(&mut self, now: Instant) -> Option<Key> {
            let (at, key) = *self.queue.first().filter(|(at, _)| *at <= now)?;
            self.queue.remove(&(at, key));
            if let Key::Call(owner) = key {
                self.due[owner as usize] = None;
            }
            Some(key)
        }
    }

    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn deadlines_come_in_the_order_of_instants_and_keys_however_often_they_are_moved() {
        let (mut timers, mut plain) = (Timers::default(), Plain::new());
        let mut armed = [Armed::default(); 40];
        let (mut now, mut state, mut came) = (0, 7, 0);
        for _ in 0..100_000 {
            let owner = random(&mut state) as u32 % 40;
            let (key, of) = (Key::Call(owner), &mut armed[owner as usize]);
            match random(&mut state) % 8 {
                0 => {
                    timers.disarm(of, key);
                    plain.set(owner, None);
                }
                1 => now += random(&mut state) % 30,
                // Some earlier than before, some due at once, many at the same instant.
                _ => {
                    let at = Instant::from_micros(now + random(&mut state) % 100);
                    timers.arm(of, key, at);
                    plain.set(owner, Some(at));
                }
            }
            let at = Instant::from_micros(now);
            while let Some(key) = plain.pop_due(at) {
                assert_eq!(timers.pop_due(at), Some(key));
                let Key::Call(owner) = key else { panic!() };
                armed[owner as usize].came();
                came += 1;
            }
            assert_eq!(timers.pop_due(at), None);
            let earliest = plain.queue.first().map(|(at, _)| *at);
            assert!(timers.next() <= earliest && timers.next().is_some() == earliest.is_some());
            for (of, due) in armed.iter().zip(&plain.due) {
                assert_eq!(timers.due(*of), *due);
            }
        }
        assert!(came > 10_000);
        assert!(timers.slots.len() <= 40, "each owner has one at most");
    }

    #[test]
    fn an_owner_that_missed_its_deadline_takes_nobody_elses() {
        let mut timers = Timers::default();
        let (mut one, mut other) = (Armed::default(), Armed::default());
        let at = Instant::from_micros(5);
        timers.arm(&mut one, Key::Call(1), at);
        assert_eq!(timers.pop_due(at), Some(Key::Call(1)));
        timers.arm(&mut other, Key::Call(2), at);
        timers.disarm(&mut one, Key::Call(1));
        assert_eq!(timers.pop_due(at), Some(Key::Call(2)));
    }
}
