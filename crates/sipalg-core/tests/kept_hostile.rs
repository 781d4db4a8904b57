//! Records that nobody can trust: cut, flipped, exchanged, of other versions. Whatever they say, no
//! port is given twice, nothing is there that the rules do not give, and all of it ends.
#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

#[path = "survivor/rich.rs"]
mod rich;
mod survivor;
mod world;

use rich::{CONTACT, PHONE, answer, ask, config, rich};
use sipalg_core::Leg::{Inside, Outside};
use sipalg_core::config::Resource;
use sipalg_core::{Alg, Config, Instant, Outbox};
use std::collections::BTreeSet;
use std::time::Duration;
use survivor::{Memory, SEED};
use world::{World, sdp};

/// A small generator, the same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % sides
    }
}

type List = Vec<(Vec<u8>, Vec<u8>)>;

fn runs() -> u64 {
    let told = std::env::var("SIPALG_KEPT_RUNS").ok();
    told.and_then(|text| text.parse().ok()).unwrap_or(3000)
}

/// Tight, so that every bound is met.
fn tight() -> Config {
    let mut config = config();
    config.limits = config
        .limits
        .with(Resource::Mapping, 6)
        .with(Resource::Door, 4)
        .with(Resource::Call, 1)
        .with(Resource::Registration, 1);
    config
}

#[test]
fn records_of_any_kind_give_no_port_twice_and_nothing_that_the_rules_do_not_give() {
    let mut whole = rich().world;
    let records = Memory::of(&mut whole.alg).records;
    let (mut refused, mut taken) = (0, 0);
    for run in 0..runs() {
        let mut dice = Dice(run);
        let mut list: List = records.clone().into_iter().collect();
        for _ in 0..=dice.roll(6) {
            spoil(&mut list, &mut dice);
        }
        let config = if dice.roll(3) == 0 { tight() } else { config() };
        let found = std::panic::catch_unwind(|| live(config, whole.now, &list, run));
        let left_out = found.unwrap_or_else(|_| panic!("run {run} fails"));
        refused += usize::from(left_out > 0);
        taken += usize::from(left_out == 0);
    }
    assert!(refused > 100 && taken > 100, "{refused} and {taken}");
}

/// One thing that may have happened to records.
fn spoil(list: &mut List, dice: &mut Dice) {
    if list.is_empty() {
        return;
    }
    let (one, other) = (dice.roll(list.len()), dice.roll(list.len()));
    let at = |dice: &mut Dice, bytes: &[u8]| dice.roll(bytes.len().max(1));
    match dice.roll(10) {
        0 => {
            let place = at(dice, &list[one].1);
            list[one].1.truncate(place);
        }
        1 | 2 => {
            let place = at(dice, &list[one].1);
            if let Some(byte) = list[one].1.get_mut(place) {
                *byte ^= 1 << dice.roll(8);
            }
        }
        3 | 4 => {
            let place = at(dice, &list[one].0);
            if let Some(byte) = list[one].0.get_mut(place) {
                *byte ^= 1 << dice.roll(8);
            }
        }
        5 => {
            let record = list[other].1.clone();
            list[one].1 = record;
        }
        6 => {
            // The same object twice, under another name.
            let (mut name, record) = list[one].clone();
            let place = name.len() - 1;
            name[place] = name[place].wrapping_add(1 + dice.roll(3) as u8);
            list.push((name, record));
        }
        7 => drop(list.remove(one)),
        8 => list.swap(one, other),
        _ => {
            let noise =
                |dice: &mut Dice, length| (0..length).map(|_| dice.roll(256) as u8).collect();
            let kind = 1 + dice.roll(9) as u8;
            let length = dice.roll(14);
            let mut name: Vec<u8> = noise(dice, length);
            name.insert(0, kind);
            let length = dice.roll(60);
            let mut record: Vec<u8> = noise(dice, length);
            record.insert(0, 1);
            list.push((name, record));
        }
    }
}

/// A machine from these records, its life and its end; says how many were left out.
fn live(config: Config, now: Instant, list: &List, run: u64) -> usize {
    let mut out = Outbox::default();
    let mut records = list.iter().map(|(name, record)| (&name[..], &record[..]));
    let (alg, restored) = Alg::restore(config.clone(), SEED, now, &mut records, &mut out);
    let mut world = World::with(config);
    (world.alg, world.now, world.out) = (alg, now, out);
    world.obey();
    world.out.clear();
    holds(&world);
    world.alg.keep();
    let mut memory = Memory::default();
    memory.note(&mut world.alg);

    let mut dice = Dice(run);
    let flows: Vec<_> = world.alg.flows().collect();
    for view in &flows {
        let method = ["BYE", "INVITE", "REGISTER", "OPTIONS"][dice.roll(4)];
        let call = ["call", "odd", "reg2", "gone"][dice.roll(4)];
        let body = if method == "INVITE" {
            sdp(PHONE, 6020)
        } else {
            String::new()
        };
        let cseq = 1 + dice.roll(2) as u32;
        let asked = ask(method, call, cseq, CONTACT, &body);
        let answered = answer(200, method, call, cseq, CONTACT, &body);
        match view.ends.protocol {
            sipalg_core::Protocol::Tcp => {
                world.say(view.flow, Inside, &asked);
                world.say(view.flow, Outside, &answered);
            }
            sipalg_core::Protocol::Udp => {
                world.datagram(view.flow, Inside, &asked);
                world.datagram(view.flow, Outside, &answered);
            }
        }
        holds(&world);
    }
    memory.restart(&mut world.alg, world.now);
    for view in flows {
        world.close(view.flow);
    }
    world.wait(Duration::from_secs(31 * 24 * 3600));
    assert_eq!(world.alg.doors(), []);
    assert_eq!(world.alg.sizes(), (0, 0, 0));
    assert_eq!(world.alg.next_timeout(), None);
    let left = world.alg.mappings(world.now);
    assert!(left.iter().all(|mapping| mapping.is_static), "{left:?}");
    restored.left_out
}

/// What must hold of any machine.
fn holds(world: &World) {
    let alg = &world.alg;
    let limits = alg.config().limits;
    let mappings = alg.mappings(world.now);
    let mut locals = BTreeSet::new();
    let mut globals = BTreeSet::new();
    let mut dynamic = 0;
    for view in &mappings {
        assert!(view.rule.is_some(), "no rule gives {view:?}");
        assert!(
            locals.insert((view.protocol, view.inside_local)),
            "{view:?}"
        );
        assert!(
            globals.insert((view.protocol, view.inside_global)),
            "given twice: {view:?}"
        );
        let (local, global) = (view.inside_local.port(), view.inside_global.port());
        assert!(
            global >= 1024 || local == global,
            "a service's port: {view:?}"
        );
        dynamic += usize::from(!view.is_static && view.protocol.is_some());
    }
    let most = |of| limits.bound(of).all as usize;
    assert!(dynamic <= most(Resource::Mapping), "{dynamic} mappings");
    let (calls, registrations, spellings) = alg.sizes();
    assert!(calls.max(spellings) <= most(Resource::Call));
    assert!(registrations <= most(Resource::Registration));
    let doors = alg.doors();
    for door in &doors {
        let host = door.inside_local.ip();
        let of_host = doors.iter().filter(|other| other.inside_local.ip() == host);
        assert!(of_host.count() <= most(Resource::Door));
    }
}

#[test]
fn a_length_field_makes_nothing_be_kept_that_is_not_there() {
    // A call with a Call-ID of 2^32 bytes, lists of 2^28, and so on: every record begins like this.
    for kind in 1..=9 {
        for name in [
            vec![kind],
            vec![kind; 5],
            vec![kind; 8],
            vec![kind; 9],
            vec![kind; 16],
        ] {
            for record in [
                vec![0xff; 40],
                vec![1; 300_000],
                [vec![1], vec![0xff, 0xff, 0xff, 0xff, 0x0f]].concat(),
            ] {
                let now = Instant::from_micros(1);
                let mut list = [(&name[..], &record[..])].into_iter();
                let mut out = Outbox::default();
                let (alg, restored) = Alg::restore(config(), SEED, now, &mut list, &mut out);
                assert_eq!((restored.left_out, alg.sizes()), (1, (0, 0, 0)), "{name:?}");
            }
        }
    }
}

#[test]
fn a_record_of_another_version_is_left_out() {
    let mut world = rich().world;
    let now = world.now;
    let mut records = Memory::of(&mut world.alg).records;
    for record in records.values_mut() {
        record[0] += 1;
    }
    let (alg, restored, out) = survivor::restore(config(), now, &records);
    assert_eq!(restored.left_out, records.len());
    assert_eq!((alg.sizes(), out.doors.len()), ((0, 0, 0), 0));
    assert_eq!(restored.lost.len(), 3, "their connections must be reset");
}
