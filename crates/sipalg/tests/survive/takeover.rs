//! A new gateway takes over from the one that runs: no connection notices. And if it does not come to
//! that, the old one goes on.

use crate::gateway::{Gateway, eventually};
use crate::running::{CONFIGURATION, Running, command, ended};
use crate::scene::{Line, hears, says};
use nix::sys::signal::{Signal, kill};
use sipalg::keeper::region::Step;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

laws![
    half_a_message_is_handed_over,
    ten_takeovers_under_the_load_of_a_thousand_connections_lose_no_connection_and_no_byte,
    a_new_one_with_a_wrong_configuration_leaves_the_old_one_alone,
    a_new_one_that_dies_with_everything_in_its_hands_leaves_it_to_the_old_one,
    what_the_new_one_was_started_with_is_in_nobodys_way,
    a_new_one_that_hangs_is_ended_and_the_old_one_goes_on,
    a_signal_starts_the_new_one_and_systemd_is_told_of_it,
    where_none_runs_there_is_none_to_take_over_from,
    the_configuration_that_was_typed_is_handed_over,
];

fn half_a_message_is_handed_over() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    let (said, expected) = Line::outward(line.port, 600);
    for piece in said.as_bytes().chunks(said.len().div_ceil(4)) {
        says(&mut line.phone, piece);
        running = running.taken_over(&gateway);
    }
    hears(&mut line.outside, expected.as_bytes());
    line.works(1);
    // It is a gateway as any other.
    running.worker_dies();
    line.works(2);
    let ended = running.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
}

fn ten_takeovers_under_the_load_of_a_thousand_connections_lose_no_connection_and_no_byte() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let _registered = register(&gateway, &server);
    let load = Load::begin(&gateway, &server);
    let doors = doors(&running);
    assert!(doors.contains("5070"), "{doors}");
    let pings = Pings::begin(Line::open(&gateway, &server, 39_000));
    for _ in 0..10 {
        running = running.taken_over(&gateway);
        assert_eq!(self::doors(&running), doors);
    }
    let bytes = load.end();
    let (count, longest) = pings.end();
    println!(
        "10 takeovers of {LINES} connections, {bytes} bytes: of {count} messages there and back on \
         another, the longest took {longest:?}"
    );
    assert_eq!(running.stop().status.code(), Some(0));
}

/// A line on which each message waits for the one before.
struct Pings {
    over: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Duration)>,
}

impl Pings {
    fn begin(mut line: Line) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let end = over.clone();
        let thread = thread::spawn(move || {
            let (mut count, mut longest) = (0, Duration::ZERO);
            while !end.load(Ordering::Relaxed) {
                let begun = Instant::now();
                line.works(count);
                count += 1;
                longest = longest.max(begun.elapsed());
            }
            (count, longest)
        });
        Pings { over, thread }
    }

    /// How many there were, and how long the slowest took.
    fn end(self) -> (usize, Duration) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn a_new_one_with_a_wrong_configuration_leaves_the_old_one_alone() {
    let (gateway, running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    line.works(0);
    let worker = running.worker();
    let wrong = CONFIGURATION.replace(" ip nat outside", " ip nat outsize");
    let ended = ended(command(gateway.state.path(), &wrong).arg("--takeover"));
    assert_eq!(ended.status.code(), Some(2), "{}", ended.said);
    assert!(ended.said.contains("line "), "{}", ended.said);
    assert_eq!(running.worker(), worker, "it was not even disturbed");
    line.works(1);
}

fn a_new_one_that_dies_with_everything_in_its_hands_leaves_it_to_the_old_one() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let _registered = register(&gateway, &server);
    let load = Load::begin(&gateway, &server);
    let doors = doors(&running);
    for _ in 0..3 {
        running.die_at(Step::Taken, 1);
        let ended = ended(&mut successor(&gateway));
        assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
        let said = running.wait_for("sipalg: process ");
        assert!(
            said.contains("does not take over: it ended; this one goes on"),
            "{said}"
        );
        running.service_is_back();
        assert_eq!(self::doors(&running), doors);
    }
    // The next one does.
    running = running.taken_over(&gateway);
    assert_eq!(self::doors(&running), doors);
    load.end();
    assert_eq!(running.stop().status.code(), Some(0));
}

fn what_the_new_one_was_started_with_is_in_nobodys_way() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    for number in 0..3 {
        // Descriptors that the old one has under the same numbers.
        let open = std::fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap();
        let open = open.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let others = open.filter(|number| number.parse::<u32>().unwrap() > 2);
        let others: String = others
            .map(|number| format!(" {number}</dev/null"))
            .collect();
        let run = successor(&gateway);
        let mut command = Command::new("bash");
        let script = format!("exec \"$0\" \"$@\" {others}");
        command.args(["-c", &script]).arg(run.get_program());
        command.args(run.get_args());
        let next = Running::start_as(gateway.state.path(), &mut command);
        running.wait_for(&format!("sipalg: process {} has taken over", next.pid()));
        running = next;
        line.works(number);
        // The next worker takes the lowest numbers again.
        running.worker_dies();
        line.works(number);
    }
}

fn a_new_one_that_hangs_is_ended_and_the_old_one_goes_on() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    line.works(0);
    running.die_at(Step::Stuck, 1);
    let mut child = successor(&gateway).spawn().unwrap();
    let said = running.wait_for("sipalg: process ");
    assert!(
        said.contains("it was silent for 5 s; this one goes on"),
        "{said}"
    );
    assert!(!child.wait().unwrap().success());
    running.service_is_back();
    line.works(1);
    running = running.taken_over(&gateway);
    line.works(2);
    assert_eq!(running.stop().status.code(), Some(0));
}

fn a_signal_starts_the_new_one_and_systemd_is_told_of_it() {
    let gateway = Gateway::bare();
    let folder = gateway.state.path();
    let mut command = command(folder, CONFIGURATION);
    let path = folder.join("notify.sock");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    command.env("NOTIFY_SOCKET", &path);
    let hears_systemd = |start: &str| -> String {
        let mut buffer = [0; 200];
        loop {
            let length = systemd.recv(&mut buffer).unwrap();
            let heard = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if heard.starts_with(start) {
                return heard;
            }
        }
    };
    let mut running = Running::start_as(folder, &mut command);
    hears_systemd("READY=1");
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    line.works(0);
    kill(running.pid(), Signal::SIGUSR2).unwrap();
    let main = hears_systemd("MAINPID=");
    let main: i32 = main["MAINPID=".len()..].trim().parse().unwrap();
    hears_systemd("READY=1");
    running.wait_for(&format!("sipalg: process {main} has taken over"));
    let status = running.ended();
    assert_eq!(status.code(), Some(0));
    line.works(1);
    let main = nix::unistd::Pid::from_raw(main);
    // Once more, and then the end.
    kill(main, Signal::SIGUSR2).unwrap();
    let next = hears_systemd("MAINPID=");
    hears_systemd("READY=1");
    line.works(2);
    let next = next["MAINPID=".len()..].trim().parse().unwrap();
    let next = nix::unistd::Pid::from_raw(next);
    assert_ne!(next, main);
    kill(next, Signal::SIGTERM).unwrap();
    hears_systemd("STOPPING=1");
    eventually(|| kill(next, None).is_err().then_some(()));
}

fn where_none_runs_there_is_none_to_take_over_from() {
    let gateway = Gateway::bare();
    let ended = ended(&mut successor(&gateway));
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.said.contains("start without --takeover"),
        "{}",
        ended.said
    );
}

fn the_configuration_that_was_typed_is_handed_over() {
    let (gateway, running) = Running::start();
    let output = running
        .console()
        .args(["-c", "configure terminal", "-c", "hostname other"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let before = running.ask("show running-config");
    assert!(before.contains("hostname other"), "{before}");
    let running = running.taken_over(&gateway);
    assert_eq!(running.ask("show running-config"), before);
}

/// The command that starts who takes over.
fn successor(gateway: &Gateway) -> Command {
    let mut command = command(gateway.state.path(), CONFIGURATION);
    command.arg("--takeover");
    command
}

impl Running {
    /// A new one takes over, and this one ends.
    fn taken_over(mut self, gateway: &Gateway) -> Running {
        let next = Running::start_as(gateway.state.path(), &mut successor(gateway));
        let process = next.pid();
        self.wait_for(&format!("sipalg: process {process} has taken over"));
        assert_eq!(self.ended().code(), Some(0));
        next
    }
}

/// What the kernel and the machine have of doors.
fn doors(running: &Running) -> String {
    let mut text = running.ask("show ip nat sip doors");
    for (kind, name) in [("set", "signal_doors"), ("map", "media_dn")] {
        let listed = Command::new("nft")
            .args(["list", kind, "ip", "sipalg", name])
            .output()
            .unwrap();
        assert!(listed.status.success(), "{listed:?}");
        text += &String::from_utf8_lossy(&listed.stdout);
    }
    // Time goes by.
    let words = text.split_whitespace().filter(|word| {
        !word.ends_with('s') && !word.ends_with("s,") && word.parse::<u32>().is_err()
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A phone with a door: its connection to the registrar.
fn register(gateway: &Gateway, server: &TcpListener) -> Line {
    let mut line = Line::open(gateway, server, 39_999);
    let message = |contact: &str, extra: &str| {
        format!(
            "Via: SIP/2.0/TCP {contact}:39999;branch=z9hG4bKr\r\nFrom: <sip:a@x>;tag=1\r\n\
             To: <sip:a@x>{extra}\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\n\
             Contact: <sip:a@{contact}:5070>;expires=600\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let request = |contact| format!("REGISTER sip:10.1.1.2 SIP/2.0\r\n{}", message(contact, ""));
    let answer = |contact| format!("SIP/2.0 200 OK\r\n{}", message(contact, ";tag=2"));
    says(&mut line.phone, request("192.168.122.2").as_bytes());
    hears(&mut line.outside, request("10.1.1.1").as_bytes());
    says(&mut line.outside, answer("10.1.1.1").as_bytes());
    hears(&mut line.phone, answer("192.168.122.2").as_bytes());
    line
}

const LINES: u16 = 1000;

/// How many threads talk on all lines.
const TALKERS: u16 = 4;

/// A thousand connections on which both ends speak, cut anywhere.
struct Load {
    over: Arc<AtomicBool>,
    talkers: Vec<JoinHandle<u64>>,
}

impl Load {
    fn begin(gateway: &Gateway, server: &TcpListener) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut talks: Vec<Vec<Talk>> = (0..TALKERS).map(|_| Vec::new()).collect();
        for number in 0..LINES {
            let line = Line::open(gateway, server, 40_000 + number);
            talks[usize::from(number % TALKERS)].push(Talk::new(line));
        }
        let talk = |talks: Vec<Talk>| {
            let over = over.clone();
            thread::spawn(move || talk(talks, &over))
        };
        let talkers = talks.into_iter().map(talk).collect();
        Load { over, talkers }
    }

    /// Ends it: how many bytes were heard, each as it had to be.
    fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        let ends = self.talkers.into_iter();
        ends.map(|talker| talker.join().unwrap()).sum()
    }
}

/// One line, and what both ends say on it.
struct Talk {
    streams: [TcpStream; 2],
    port: u16,
    random: u64,
    ways: [Way; 2],
}

/// What one end says, and the other hears.
struct Way {
    number: usize,
    /// What is to be said.
    pending: Vec<u8>,
    expected: (u64, DefaultHasher),
    heard: (u64, DefaultHasher),
    /// When there is something to say again.
    next: Instant,
}

fn talk(mut talks: Vec<Talk>, over: &AtomicBool) -> u64 {
    while !over.load(Ordering::Relaxed) {
        for talk in &mut talks {
            for from in 0..2 {
                talk.say(from);
                talk.hear(1 - from);
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    talks.iter_mut().map(Talk::end).sum()
}

impl Talk {
    fn new(line: Line) -> Self {
        let now = Instant::now();
        let way = || Way {
            number: 0,
            pending: Vec::new(),
            expected: (0, DefaultHasher::new()),
            heard: (0, DefaultHasher::new()),
            next: now,
        };
        let streams = [line.phone, line.outside];
        for stream in &streams {
            stream.set_nonblocking(true).unwrap();
        }
        Talk {
            streams,
            port: line.port,
            random: 88_172_645_463_325_252 ^ u64::from(line.port) << 20,
            ways: [way(), way()],
        }
    }

    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % below as u64).unwrap()
    }

    /// Says a piece: of some messages in a row, cut anywhere.
    fn say(&mut self, from: usize) {
        let now = Instant::now();
        if self.ways[from].next > now {
            return;
        }
        if self.ways[from].pending.is_empty() {
            for _ in 0..=self.random(3) {
                self.compose(from);
            }
        }
        let pause = Duration::from_millis(self.random(8000) as u64);
        let length = 1 + self.random(self.ways[from].pending.len() + 200);
        let way = &mut self.ways[from];
        let piece = &way.pending[..length.min(way.pending.len())];
        let said = self.streams[from].write(piece).unwrap();
        way.pending.drain(..said);
        way.next = now + pause;
    }

    fn compose(&mut self, from: usize) {
        let way = &mut self.ways[from];
        let (said, heard) = match from {
            0 => Line::outward(self.port, way.number),
            _ => Line::inward(self.port, way.number),
        };
        way.number += 1;
        way.pending.extend(said.as_bytes());
        way.expected.0 += heard.len() as u64;
        way.expected.1.write(heard.as_bytes());
    }

    /// Hears what has come. Whether there was the end.
    fn hear(&mut self, at: usize) -> bool {
        let way = &mut self.ways[1 - at];
        let mut buffer = [0; 16_384];
        loop {
            match self.streams[at].read(&mut buffer) {
                Ok(0) => return true,
                Ok(more) => {
                    way.heard.0 += more as u64;
                    way.heard.1.write(&buffer[..more]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("port {}, end {at}: {error}", self.port),
            }
        }
        false
    }

    /// How many bytes were heard, each as it had to be.
    fn end(&mut self) -> u64 {
        for from in 0..2 {
            let way = &mut self.ways[from];
            self.streams[from].set_nonblocking(false).unwrap();
            self.streams[from].write_all(&way.pending).unwrap();
            self.streams[from].shutdown(Shutdown::Write).unwrap();
        }
        let mut bytes = 0;
        for at in 0..2 {
            while !self.hear(at) {}
            let way = &self.ways[1 - at];
            let (expected, heard) = (&way.expected, &way.heard);
            assert_eq!(expected.0, heard.0, "port {}, end {at}: bytes", self.port);
            assert_eq!(
                expected.1.finish(),
                heard.1.finish(),
                "port {}, end {at}",
                self.port
            );
            bytes += heard.0;
        }
        bytes
    }
}
