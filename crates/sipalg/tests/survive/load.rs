//! Kills under load: no connection lost, no byte lost or doubled.

use crate::running::Running;
use crate::scene::Line;
use nix::sys::signal::{Signal, kill};
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

laws![a_hundred_kills_at_random_instants_lose_no_connection_and_no_byte];

const LINES: u16 = 20;
const KILLS: usize = 100;
/// Each way of each line, so that all together are 200 messages a second.
const EVERY: Duration = Duration::from_millis(200);

fn a_hundred_kills_at_random_instants_lose_no_connection_and_no_byte() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let over = Arc::new(AtomicBool::new(false));
    let mut talks = Vec::new();
    for port in 40_000..40_000 + LINES {
        let line = Line::open(&gateway, &server, port);
        let [phone, outside] = [&line.phone, &line.outside].map(|s| s.try_clone().unwrap());
        for (stream, messages) in [
            (line.phone, Line::outward as Messages),
            (line.outside, Line::inward),
        ] {
            let over = over.clone();
            talks.push(Talk::Says(thread::spawn(move || {
                say(stream, port, messages, &over)
            })));
        }
        talks.push(Talk::Hears(thread::spawn(|| hear(outside))));
        talks.push(Talk::Hears(thread::spawn(|| hear(phone))));
    }
    let mut random = 88_172_645_463_325_252_u64;
    let mut gaps = Vec::new();
    for _ in 0..KILLS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_micros(random % 30_000));
        kill(running.worker(), Signal::SIGKILL).unwrap();
        gaps.push(running.service_is_back());
    }
    over.store(true, Ordering::Relaxed);
    let results: Vec<_> = talks.into_iter().map(Talk::end).collect();
    // Each line: what both said, then what outside and the phone heard.
    for (line, results) in results.chunks(4).enumerate() {
        let [out, back, heard_outside, heard_inside] = results else {
            unreachable!()
        };
        assert_eq!(out, heard_outside, "line {line}, outward: bytes, hash");
        assert_eq!(back, heard_inside, "line {line}, inward: bytes, hash");
    }
    let bytes: u64 = results.iter().map(|(bytes, _)| bytes).sum();
    gaps.sort_unstable();
    let (median, p99) = (gaps[KILLS / 2], gaps[KILLS * 99 / 100]);
    println!(
        "{KILLS} kills, {bytes} bytes: nobody served for {median:?} in the median, {p99:?} at most of 99 %"
    );
    assert!(p99 < Duration::from_secs(1), "{p99:?}");
}

type Messages = fn(u16, usize) -> (String, String);

enum Talk {
    Says(thread::JoinHandle<(u64, u64)>),
    Hears(thread::JoinHandle<(u64, u64)>),
}

impl Talk {
    fn end(self) -> (u64, u64) {
        let (Talk::Says(thread) | Talk::Hears(thread)) = self;
        thread.join().unwrap()
    }
}

/// Says messages until it is over. Gives length and hash of what must be heard of them.
fn say(mut stream: TcpStream, port: u16, messages: Messages, over: &AtomicBool) -> (u64, u64) {
    let (mut bytes, mut hash) = (0, DefaultHasher::new());
    let mut number = 0;
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let (said, heard) = messages(port, number);
        // Cut in the middle, every second time with a pause.
        let (first, second) = said.as_bytes().split_at(said.len() * (number % 10) / 10);
        stream.write_all(first).unwrap();
        if number % 2 == 0 {
            thread::sleep(Duration::from_millis(3));
        }
        stream.write_all(second).unwrap();
        hash.write(heard.as_bytes());
        bytes += heard.len() as u64;
        number += 1;
        next += EVERY;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    stream.shutdown(Shutdown::Write).unwrap();
    (bytes, hash.finish())
}

/// Hears all. Gives its length and hash.
fn hear(mut stream: TcpStream) -> (u64, u64) {
    let (mut bytes, mut hash) = (0, DefaultHasher::new());
    let mut buffer = [0; 8192];
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return (bytes, hash.finish()),
            more => {
                hash.write(&buffer[..more]);
                bytes += more as u64;
            }
        }
    }
}
