//! Phones, a far end that knows only what it saw, and the gateway between them, under a virtual clock:
//! random call flows over connections that break and datagrams that are lost, compared after every
//! step with a small model of the doors that must exist.
//!
//! `SIPALG_SIM_SEEDS=FROM..TO` runs other seeds than the usual few hundred.

#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

mod actors;
mod model;
#[path = "../survivor/mod.rs"]
mod survivor;
#[path = "../world/mod.rs"]
mod world;

use actors::Sim;
use std::time::Duration;
use survivor::Memory;

/// A small generator, the same on every run.
pub struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % sides
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }
}

fn seeds() -> std::ops::Range<u64> {
    let told = std::env::var("SIPALG_SIM_SEEDS").ok();
    let told = told.as_deref().and_then(|text| text.split_once(".."));
    match told {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => 0..300,
    }
}

#[test]
fn at_every_moment_of_any_call_flow_the_doors_are_those_that_the_protocol_demands() {
    let (mut steps, mut done) = (0, std::collections::BTreeMap::new());
    for seed in seeds() {
        let run = std::panic::catch_unwind(|| {
            let mut sim = Sim::new(Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
            for _ in 0..60 {
                sim.step();
            }
            sim.end();
            sim.done
        });
        let Ok(of_seed) = run else {
            panic!(
                "seed {seed} fails: SIPALG_SIM_SEEDS={seed}..{} shows it",
                seed + 1
            );
        };
        for (what, count) in of_seed {
            *done.entry(what).or_insert(0usize) += count;
            steps += count;
        }
    }
    // A simulation in which something never happens shows nothing about it.
    if seeds().end - seeds().start >= 300 {
        for what in actors::ALL {
            assert!(done.contains_key(what), "never happened: {what}");
        }
        assert!(steps > 5000);
    }
}

#[test]
fn a_machine_that_is_started_anew_between_any_two_steps_does_all_that_one_without_end_does() {
    for seed in seeds().take(100) {
        let run = std::panic::catch_unwind(|| {
            let whole = run(seed, 0, |_| {});
            // After every step, or after some.
            let often = if seed % 3 == 0 { 1 } else { 7 };
            let broken = run(seed, 0, |sim| crash(sim, seed, often));
            assert_eq!(broken.done, whole.done);
            let pairs = broken.world.transcript.iter().zip(&whole.world.transcript);
            for (broken, whole) in pairs {
                assert_eq!(broken, whole);
            }
        });
        assert!(run.is_ok(), "seed {seed} fails");
    }
}

#[test]
fn what_is_recorded_of_mere_use_keeps_doors_open_for_a_tick_longer_and_never_shorter() {
    for seed in seeds().take(100) {
        let tick = sipalg_core::config::Timers::default().use_tick;
        let run = std::panic::catch_unwind(|| {
            run(seed, tick, |sim| {
                sim.model.slack = Duration::from_micros(1 << tick);
                crash(sim, seed, 3);
            });
        });
        assert!(run.is_ok(), "seed {seed} fails");
    }
}

/// A whole simulation, under a machine that records mere use to 2^`tick` microseconds.
fn run(seed: u64, tick: u8, prepare: impl FnOnce(&mut Sim)) -> Sim {
    let mut sim = Sim::new(Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let mut config = sim.world.alg.config().clone();
    config.timers.use_tick = tick;
    sim.world.reconfigure(config);
    prepare(&mut sim);
    for _ in 0..60 {
        sim.step();
    }
    sim.end();
    sim
}

/// From now on the machine dies and is restored from its records, once in `often` steps.
fn crash(sim: &mut Sim, seed: u64, often: usize) {
    let mut dice = Dice(seed);
    let mut memory = Memory::of(&mut sim.world.alg);
    sim.world.between = Some(Box::new(move |alg, now| {
        if dice.roll(often) == 0 {
            memory.restart(alg, now);
        } else if dice.roll(2) == 0 {
            memory.note(alg);
        }
    }));
}

#[test]
fn the_model_notices_a_door_too_few_and_a_door_too_many() {
    let late = std::panic::catch_unwind(|| {
        let mut sim = Sim::new(Dice(1));
        sim.register(0);
        sim.model.forget_registrations();
        sim.check("forgotten");
    });
    assert!(late.is_err(), "a door too many");
    let early = std::panic::catch_unwind(|| {
        let mut sim = Sim::new(Dice(1));
        sim.register(0);
        let contact = sim.world.alg.doors()[0];
        sim.world.alg.door_failed(sim.world.now, &contact);
        sim.check("taken away");
    });
    assert!(early.is_err(), "a door too few");
}
