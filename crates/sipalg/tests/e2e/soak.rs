//! Everything at once for a while: random calls and registrations in random pieces, loss, resets,
//! changes of the configuration, rules that others flush, interfaces that go and come, a worker that is
//! killed. In the end nothing is left and no byte was wrong.
//!
//! `SIPALG_SOAK_SECONDS` says how long (a minute and a half otherwise), `SIPALG_SOAK_SEED` which
//! random numbers.
//!
//! ```text
//!   talk     what phones and their far ends say to each other, and how they check it
//!   trouble  what goes wrong meanwhile
//! ```

mod talk;
mod trouble;

use crate::harness::call::Call;
use crate::harness::gateway::{CONFIGURATION, Gateway};
use crate::harness::net::Net;
use crate::harness::{PATIENCE, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use talk::{Phone, serve};
use trouble::Trouble;

/// What nobody needs is forgotten soon, so that the tables are as full in the middle of the soak as in
/// its end.
const SHORT: &str = "ip nat service sip timeout mapping 10\n\
                     ip nat service sip timeout quarantine 5\n";

/// How many phones talk at a time.
const PHONES: u8 = 4;

/// How often the gateway's memory is looked at.
const SAMPLE: Duration = Duration::from_secs(1);

/// How long rules may be gone that were flushed: a second, or as long as the gateway's patience with
/// one who flushes again and again.
const RULES_BACK: Duration = Duration::from_secs(5);

/// How much memory may grow from the middle of the soak to its end. Tables grow to the size that they
/// need and stay there; a leak goes on.
const GROWTH: u64 = 6 * 1024 * 1024;

/// What was done and seen.
#[derive(Debug, Default)]
pub struct Tally {
    over: AtomicBool,
    /// Phones that still live.
    living: AtomicU64,
    calls: AtomicU64,
    heard: AtomicU64,
    messages: AtomicU64,
    registrations: AtomicU64,
    knocks: AtomicU64,
    interrupted: AtomicU64,
    wrong: Mutex<Vec<String>>,
    /// When the gateway's rules were flushed last.
    flushed: Mutex<Option<Instant>>,
}

impl Tally {
    /// Whether it is time to come to an end.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Whether all phones have come to their end, and nobody need answer them any more.
    pub fn is_done(&self) -> bool {
        self.is_over() && self.living.load(Ordering::Relaxed) == 0
    }

    /// The gateway's rules are gone for a moment.
    pub fn flush(&self) {
        *self.flushed.lock().expect("no panic") = Some(Instant::now());
    }

    /// Whether its rules may be gone: then nobody translates.
    pub fn may_lack_rules(&self) -> bool {
        let flushed = self.flushed.lock().expect("no panic");
        flushed.is_some_and(|at| at.elapsed() < RULES_BACK)
    }

    /// Something came otherwise than it should.
    pub fn wrong(&self, what: String) {
        self.wrong.lock().expect("no panic").push(what);
    }

    fn one(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn after_everything_at_once_nothing_is_left_and_no_byte_was_wrong() {
    let seconds = setting("SIPALG_SOAK_SECONDS").unwrap_or(90);
    let seed = setting("SIPALG_SOAK_SEED").unwrap_or(u64::from(std::process::id()));
    println!("a soak of {seconds} seconds with SIPALG_SOAK_SEED={seed}");
    let net = Net::new();
    let phones: Vec<_> = (0..PHONES).map(|n| (n + 3, net.inside(n + 3))).collect();
    let far = net.outside(2);
    let mut gateway = Gateway::start_with(&net, &format!("{CONFIGURATION}{SHORT}"));
    let pid = gateway.process().pid().as_raw();
    warm_up(&phones[0].1, &far);
    assert_nothing_is_left(&net, &gateway);
    let before = descriptors(pid);
    let tally = Tally::default();
    let mut memory = Vec::new();
    let troubles = thread::scope(|scope| {
        let over = Over(&tally.over);
        for (number, host) in &phones {
            let phone = Phone::new(*number, host, &far, &tally, seed);
            let (far, tally) = (&far, &tally);
            scope.spawn(move || serve(far, *number, tally));
            tally.living.fetch_add(1, Ordering::Relaxed);
            scope.spawn(move || {
                let _living = Living(&tally.living);
                phone.live();
            });
        }
        let trouble = scope.spawn(|| Trouble::new(&net, &gateway, pid, seed).make(&tally));
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            thread::sleep(SAMPLE);
            memory.push(resident(pid));
        }
        drop(over);
        trouble.join().expect("troubles")
    });
    println!("{tally:?}\ntroubles {troubles:?}");
    assert!(tally.wrong.lock().expect("no panic").is_empty());
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    assert!(count(&tally.calls) > seconds / 2, "hardly any calls");
    assert!(
        count(&tally.heard) * 20 >= count(&tally.calls) * 19,
        "calls that were not heard"
    );
    assert!(count(&tally.knocks) > 0, "no registered phone was reached");

    // All goes on as if nothing had been, and then nothing is left.
    let mut call = Call::make((&phones[0].1, 3), &far, 4000);
    call.take();
    call.talk();
    call.request_and_agree("BYE", 2);
    drop(call);
    assert_nothing_is_left(&net, &gateway);
    assert_no_more_descriptors(pid, &before);
    assert_memory_is_flat(&memory);
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What is made for the first call stays.
fn warm_up(phone: &crate::harness::net::Host, far: &crate::harness::net::Host) {
    let mut call = Call::make((phone, 3), far, 4000);
    call.take();
    call.talk();
    call.request_and_agree("BYE", 2);
}

fn assert_nothing_is_left(net: &Net, gateway: &Gateway) {
    for (what, rows) in [
        ("show ip nat sip connections json", "connections"),
        ("show ip nat sip doors json", "doors"),
        ("show ip nat sip registrations json", "registrations"),
    ] {
        until(what, || {
            let shown: Value = serde_json::from_str(&gateway.console(what)).expect("JSON");
            let left = shown[rows].as_array().expect("rows").len();
            (left == 0).then_some(())
        });
    }
    until("no call to be up", || {
        let shown = gateway.console("show ip nat sip resources json");
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        let rows = shown["resources"].as_array().expect("rows");
        let used = |name: &str| {
            let row = rows.iter().find(|row| row["name"] == name);
            row.and_then(|row| row["used"].as_u64()).expect("a number")
        };
        let left = ["calls", "registrations", "doors"].map(used);
        (left == [0; 3]).then_some(())
    });
    until("the kernel's doors to be gone", || {
        let doors = gateway.media_doors().len() + gateway.signalling_doors().len();
        (doors == 0).then_some(())
    });
    // The mark of connections that went through a door.
    let through_doors = ["-L", "-p", "udp", "-m", "0x2000000/0x2000000"];
    until("the connections of closed doors to be gone", || {
        let listed = net.gateway.output("conntrack", &through_doors, "");
        listed.trim().is_empty().then_some(())
    });
}

/// The program's main process and those that it has started.
pub fn processes(pid: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children
        .split_whitespace()
        .filter_map(|child| child.parse().ok());
    std::iter::once(pid).chain(children).collect()
}

/// None is left that was not there before. A worker that takes over closes what the program was
/// started with and does not use, so there may be fewer.
fn assert_no_more_descriptors(pid: i32, before: &BTreeMap<String, usize>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = descriptors(pid);
        let more =
            |(kind, count): (&String, &usize)| before.get(kind).is_none_or(|had| count > had);
        if !now.iter().any(more) {
            return;
        }
        assert!(Instant::now() < deadline, "{before:?} before, {now:?} now");
        // What ended last may take a moment.
        thread::sleep(SAMPLE);
    }
}

/// How many descriptors of each kind the program has open. Where it is two processes, they share
/// them.
fn descriptors(pid: i32) -> BTreeMap<String, usize> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let mut kinds = BTreeMap::new();
    for link in open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()) {
        // `socket:[12345]`, `anon_inode:[eventpoll]`, or a path.
        let name = link
            .to_string_lossy()
            .replace(|c: char| c.is_ascii_digit(), "");
        *kinds.entry(name).or_default() += 1;
    }
    kinds
}

/// Resident memory in bytes, of all its processes together.
fn resident(pid: i32) -> u64 {
    let of = |pid: &i32| {
        let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        pages.split(' ').nth(1)?.parse::<u64>().ok()
    };
    processes(pid).iter().filter_map(of).sum::<u64>() * 4096
}

fn assert_memory_is_flat(samples: &[u64]) {
    let third = samples.len() / 3;
    // Of a worker that has just begun there is little, and while one takes over there are two.
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part[part.len() / 2]
    };
    let (middle, end) = (
        median(&samples[third..2 * third]),
        median(&samples[2 * third..]),
    );
    println!("memory {middle} bytes in the middle, {end} in the end");
    assert!(
        end <= middle + GROWTH,
        "memory grew from {middle} to {end} bytes"
    );
}

/// Tells all that it is over, also when something panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One of the living, until it is dropped.
struct Living<'a>(&'a AtomicU64);

impl Drop for Living<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Random numbers that are the same each time (Numerical Recipes' generator).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Those of a seed, for the player `number`.
    pub fn new(seed: u64, number: u64) -> Self {
        Dice(seed.wrapping_mul(1000).wrapping_add(number))
    }

    /// One of the numbers below `sides`.
    pub fn throw(&mut self, sides: u64) -> u64 {
        let Dice(state) = self;
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % sides
    }
}
