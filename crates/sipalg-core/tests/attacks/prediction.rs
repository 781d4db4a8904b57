//! Which inside global ports are given when the inside host's own is not free: nobody can tell.

use super::world::{World, at, config};
use sipalg_core::Alg;
use std::time::Duration;

/// The ports that hosts get whose own is another's, one after the other.
fn ports(seed: u64, count: usize) -> Vec<u16> {
    let mut world = World::new();
    world.alg = Alg::new(config(), seed);
    // It has 5060, and keeps it.
    world.connect("192.168.122.2:5060", "10.1.1.2:5060");
    let (mut ports, mut flows) = (Vec::with_capacity(count), Vec::new());
    while ports.len() < count {
        for last in 3..203 {
            let (peer, server) = (format!("192.168.122.{last}:5060"), at("10.1.1.2:5060"));
            let opened = world.alg.open(world.now, at(&peer), server, &mut world.out);
            let opened = opened.unwrap();
            ports.push(opened.source.port());
            flows.push(opened.flow);
        }
        // Their ports are free again.
        flows.drain(..).for_each(|flow| world.close(flow));
        world.wait(Duration::from_secs(300));
    }
    ports
}

#[test]
fn a_hundred_thousand_ports_are_spread_evenly_and_none_tells_the_next() {
    const CELLS: usize = 64;
    let ports = ports(0x5eed, 100_000);
    let cell = |port: u16| (usize::from(port) - 1024) * CELLS / (65_536 - 1024);
    // Chi-square with 63 degrees of freedom exceeds 132 once in a million.
    let mut counts = [0f64; CELLS];
    for port in &ports {
        counts[cell(*port)] += 1.0;
    }
    assert!(chi_square(&counts, ports.len()) < 132.0, "{counts:?}");
    // So does the step from one to the next.
    let mut steps = [0f64; CELLS];
    for pair in ports.windows(2) {
        let step = (cell(pair[1]) + CELLS - cell(pair[0])) % CELLS;
        steps[step] += 1.0;
    }
    assert!(chi_square(&steps, ports.len() - 1) < 132.0, "{steps:?}");
}

#[test]
fn another_seed_gives_other_ports() {
    let (one, other) = (ports(1, 1000), ports(2, 1000));
    let same = one.iter().zip(&other).filter(|(one, other)| one == other);
    assert!(same.count() < 5);
}

fn chi_square(counts: &[f64], all: usize) -> f64 {
    let expected = all as f64 / counts.len() as f64;
    let squares = counts.iter().map(|count| (count - expected).powi(2));
    squares.sum::<f64>() / expected
}
