//! Records: what the machine tells of itself, and what comes of it when that is damaged or forged.
//!
//! The input is a conversation as for `translate`, in which the machine dies now and then. Honest
//! records must bring back what there was. Spoilt ones may bring back anything that could have been:
//! no panic, no port twice, no table beyond its bound, and nothing left in the end.

use crate::translate::{Step, World};
use arbitrary::{Arbitrary, Result, Unstructured};

/// See the module.
pub fn check(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut world = World::default();
    world.alg.keep();
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        let Ok(next) = Next::read(&mut input) else {
            break;
        };
        match next {
            Next::Step(step) => world.step(&step),
            Next::Die => world.die(),
            Next::Forge(forged) => world.live_on(&forged),
        }
        world.agree();
    }
    world.end();
}

/// What happens next.
enum Next {
    Step(Step),
    /// The machine dies, and is restored from what it told.
    Die,
    /// The machine dies, and what it told is spoilt.
    Forge(Vec<Spoil>),
}

/// One thing that happens to the `nth` record.
#[derive(Debug)]
pub enum Spoil {
    /// A byte of its name is another.
    Name(u8, u8, u8),
    /// A byte of it is another.
    Byte(u8, u8, u8),
    /// It ends there.
    Cut(u8, u8),
    /// It says what another one says.
    Copy(u8, u8),
    /// It is gone.
    Lose(u8),
    /// It is also known by another name.
    Double(u8, u8, u8),
    /// There is another one.
    Add(Vec<u8>, Vec<u8>),
}

impl Next {
    fn read(input: &mut Unstructured<'_>) -> Result<Next> {
        Ok(match u8::arbitrary(input)? % 8 {
            0 => Next::Die,
            1 => {
                let count = 1 + u8::arbitrary(input)? % 4;
                let spoils = (0..count).map(|_| Spoil::read(input));
                Next::Forge(spoils.collect::<Result<_>>()?)
            }
            _ => Next::Step(Step::read(input)?),
        })
    }
}

/// Records in the order in which they are read.
pub type List = Vec<(Vec<u8>, Vec<u8>)>;

impl Spoil {
    fn read(input: &mut Unstructured<'_>) -> Result<Spoil> {
        let what = u8::arbitrary(input)? % 8;
        let mut byte = || u8::arbitrary(input);
        Ok(match what {
            0 => Spoil::Name(byte()?, byte()?, byte()?),
            1 => Spoil::Cut(byte()?, byte()?),
            2 => Spoil::Copy(byte()?, byte()?),
            3 => Spoil::Lose(byte()?),
            4 => Spoil::Double(byte()?, byte()?, byte()?),
            5 => Spoil::Add(Vec::arbitrary(input)?, Vec::arbitrary(input)?),
            _ => Spoil::Byte(byte()?, byte()?, byte()?),
        })
    }

    /// Does it.
    pub fn apply(&self, list: &mut List) {
        if list.is_empty() {
            return;
        }
        let count = list.len();
        let at = |nth: u8| usize::from(nth) % count;
        let change = |bytes: &mut Vec<u8>, place: u8, value: u8| {
            let length = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(usize::from(place) % length) {
                *byte = value;
            }
        };
        match self {
            Spoil::Name(nth, place, value) => change(&mut list[at(*nth)].0, *place, *value),
            Spoil::Byte(nth, place, value) => change(&mut list[at(*nth)].1, *place, *value),
            Spoil::Cut(nth, length) => list[at(*nth)].1.truncate((*length).into()),
            Spoil::Copy(from, to) => list[at(*to)].1 = list[at(*from)].1.clone(),
            Spoil::Lose(nth) => drop(list.remove(at(*nth))),
            Spoil::Double(nth, place, value) => {
                let (mut name, record) = list[at(*nth)].clone();
                change(&mut name, *place, *value);
                list.push((name, record));
            }
            Spoil::Add(name, record) => list.push((name.clone(), record.clone())),
        }
    }
}
