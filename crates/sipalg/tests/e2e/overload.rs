//! Hosts that take all that they can get, beside others that call: these notice nothing, and the
//! gateway's memory has an end.

use crate::harness::call::Call;
use crate::harness::gateway::{CONFIGURATION, Gateway};
use crate::harness::net::{Host, Net, inside_address, outside_address};
use crate::harness::sip::{Dialogue, Peer, Server, answer, media_target, session};
use crate::harness::until;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Whom the hostile host speaks with.
fn accomplice() -> SocketAddrV4 {
    SocketAddrV4::new(outside_address(9), 5060)
}

/// An outside host that takes every connection, and what it is sent.
struct Sink {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    fn open(host: &Host) -> Self {
        let listener = host
            .run(|| TcpListener::bind(accomplice()))
            .expect("to listen");
        listener.set_nonblocking(true).expect("not to block");
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = thread::spawn(move || {
            let mut open: Vec<TcpStream> = Vec::new();
            let mut buffer = vec![0; 65_536];
            while !told.load(Ordering::Relaxed) {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true).expect("not to block");
                    open.push(stream);
                }
                open.retain_mut(|stream| is_there(stream.read(&mut buffer)));
                thread::sleep(Duration::from_millis(2));
            }
        });
        let thread = Some(thread);
        Sink { stop, thread }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn is_there(read: io::Result<usize>) -> bool {
    match read {
        Ok(length) => length > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// Many connections of a host to the accomplice.
fn connect(host: &Host, count: usize) -> Vec<TcpStream> {
    descriptors();
    let open = || {
        let stream = TcpStream::connect(accomplice()).expect("to connect");
        stream.set_nonblocking(true).expect("not to block");
        stream
    };
    host.run(|| (0..count).map(|_| open()).collect())
}

/// A thousand connections take more descriptors than a process usually has.
fn descriptors() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("a higher limit");
}

/// How many kilobytes of memory the gateway's processes have, what they share counted once.
fn memory(gateway: &mut Gateway<'_>) -> u64 {
    let pid = gateway.process().pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let pids = children.split_whitespace().map(String::from);
    let of = |pid: String| {
        let path = format!("/proc/{pid}/smaps_rollup");
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Pss:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or(0)
    };
    pids.chain([pid.to_string()]).map(of).sum()
}

/// Calls with both ears, one after the other.
fn good_calls(phone: &Host, far: &Host, count: u16) {
    for nth in 0..count {
        let mut call = Call::make((phone, 3), far, 4000 + 2 * nth);
        call.take();
        call.talk();
        call.request_and_agree("BYE", 2);
    }
}

#[test]
fn a_thousand_connections_that_drip_headers_cost_no_call_and_end() {
    let net = Net::new();
    let (phone, bad) = (net.inside(3), net.inside(4));
    let (far, near_bad) = (net.outside(2), net.outside(9));
    let short = format!("{CONFIGURATION}ip nat service sip timeout header 4\n");
    let gateway = Gateway::start_with(&net, &short);
    let _sink = Sink::open(&near_bad);
    let mut slow = connect(&bad, 1000);
    for stream in &mut slow {
        stream
            .write_all(b"INVITE sip:a@b SIP/2.0\r\nX: ")
            .expect("room");
    }
    good_calls(&phone, &far, 8);
    // One byte more now and then does not help them.
    for stream in &mut slow {
        let _ = stream.write(b"x");
    }
    until("the slow ones to be reset", || {
        (gateway.counter("slow resets") == 1000).then_some(())
    });
    let mut buffer = [0; 16];
    slow.retain_mut(|stream| is_there(stream.read(&mut buffer)));
    assert_eq!(slow.len(), 0);
    let limits = gateway.console("show ip nat sip limits");
    let memory = limits.lines().find(|line| line.starts_with("memory"));
    let used = memory.and_then(|line| line.split_whitespace().nth(1));
    assert_eq!(used, Some("0"), "{limits}");
}

#[test]
fn a_host_over_its_limits_is_refused_and_named_and_fifty_others_call() {
    let net = Net::new();
    let (phones, bad) = (net.inside(3), net.inside(4));
    let (far, near_bad) = (net.outside(2), net.outside(9));
    let limits = "\
ip nat service sip limit connections all-host 20
ip nat service sip limit calls all-host 40
ip nat service sip limit doors all-host 60
ip nat service sip limit mappings all-host 100
ip nat service sip limit registrations all-host 10
ip nat service sip limit messages all-host 2000
";
    let mut gateway = Gateway::start_with(&net, &format!("{CONFIGURATION}{limits}"));
    let _sink = Sink::open(&near_bad);
    // Fifty phones, each an address of its own.
    let own = |nth: u8| SocketAddrV4::new(inside_address(100 + nth), 5060);
    let addresses = (0..50).map(|nth| format!("addr add {}/24 dev eth0\n", own(nth).ip()));
    phones.ip(&addresses.collect::<String>());
    let flood = Flood::start(&bad);
    let office = SocketAddrV4::new(outside_address(2), 5060);
    let listener = Server::listen(&far, office);
    for nth in 0..50 {
        let any = SocketAddrV4::new(*own(nth).ip(), 0);
        let mut near = Peer::connect(&phones, any, office).expect("to reach the office");
        let mut there = listener.accept();
        let said = Dialogue::new(&format!("good{nth}"), own(nth), office);
        let media = SocketAddrV4::new(*own(nth).ip(), 4000);
        for (number, text) in [said.register(1, 60), said.invite(2, media)]
            .iter()
            .enumerate()
        {
            near.send(text);
            let got = there.message();
            assert!(!got.contains("192.168.122."), "{got}");
            let body = match number {
                1 => session(media_target(&got)),
                _ => String::new(),
            };
            there.send(answer(&got, "200 OK", "", &body));
            near.message();
        }
        near.send(said.request("BYE", 3, ""));
        let got = there.message();
        there.send(answer(&got, "200 OK", "", ""));
        near.message();
    }
    gateway.wait_for_log("192.168.122.4 has all that one host may have of");
    flood.stop();
    let refused = [
        ("flows refused", 100),
        ("reads held back", 5),
        ("calls full", 100),
        ("registrations full", 100),
        // Calls come to their end before doors do.
        ("doors refused", 5),
    ];
    for (counter, least) in refused {
        let count = gateway.counter(counter);
        assert!(count >= least, "{counter}: {count}");
    }
    let shown = gateway.console("show ip nat sip limits");
    assert!(shown.contains("192.168.122.4 has "), "{shown}");
}

/// A host that connects, invites and registers as often as it can.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Flood {
    fn start(host: &Host) -> Self {
        let mut streams = connect(host, 10);
        // Those over the limit are reset at once, and are no use to it.
        let kept = host.run(|| {
            let more = (0..200).map(|_| TcpStream::connect(accomplice()));
            more.filter_map(Result::ok).collect::<Vec<_>>()
        });
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = thread::spawn(move || {
            let mut number = 0u32;
            while !told.load(Ordering::Relaxed) {
                for stream in &mut streams {
                    let own = SocketAddrV4::new(inside_address(4), 5060);
                    let said = Dialogue::new(&format!("bad{number}"), own, accomplice());
                    let port = 10_000 + 2 * (number % 20_000) as u16;
                    let media = SocketAddrV4::new(*own.ip(), port);
                    let text = said.invite(1, media) + &said.register(1, 600);
                    stream.set_nonblocking(false).expect("to block");
                    let _ = stream.write_all(text.as_bytes());
                    number += 1;
                }
            }
            drop(kept);
        });
        Flood { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}

#[test]
fn memory_for_what_is_not_whole_has_an_end_and_calls_go_on() {
    let net = Net::new();
    let (phone, bad) = (net.inside(3), net.inside(4));
    let (far, near_bad) = (net.outside(2), net.outside(9));
    let cap = "ip nat service sip limit memory all 8\nip nat service sip limit memory all-host 8\n";
    let mut gateway = Gateway::start_with(&net, &format!("{CONFIGURATION}{cap}"));
    let _sink = Sink::open(&near_bad);
    good_calls(&phone, &far, 1);
    let before = memory(&mut gateway);
    let mut streams = connect(&bad, 600);
    // 36 MB of headers without end.
    let text = format!("INVITE sip:a@b SIP/2.0\r\nX: {}", "x".repeat(60_000));
    for stream in &mut streams {
        // Whoever was reset already has no room for more.
        let _ = stream.write_all(text.as_bytes());
    }
    until("somebody to be reset", || {
        (gateway.counter("memory resets") > 100).then_some(())
    });
    let grown = memory(&mut gateway).saturating_sub(before);
    // All of it is there twice, so that it survives the worker; the heap has gaps, as the pieces came.
    assert!(grown < 28_000, "it grew by {grown} kB");
    good_calls(&phone, &far, 3);
    gateway.wait_for_log("192.168.122.4 has all that one host may have of memory");
}

#[test]
fn a_million_keep_alives_and_a_header_without_end_leave_the_memory_as_it_was() {
    let net = Net::new();
    let (bad, near_bad) = (net.inside(4), net.outside(9));
    let mut gateway = Gateway::start(&net);
    let _sink = Sink::open(&near_bad);
    let mut streams = connect(&bad, 2);
    for stream in &mut streams {
        stream.set_nonblocking(false).expect("to block");
    }
    let block = "\r\n\r\n".repeat(16_384);
    streams[0].write_all(block.as_bytes()).expect("room");
    until("the first", || {
        (gateway.counter("keepalives") > 30_000).then_some(())
    });
    let before = memory(&mut gateway);
    for _ in 0..31 {
        streams[0].write_all(block.as_bytes()).expect("room");
    }
    streams[1]
        .write_all(b"INVITE sip:a@b SIP/2.0\r\n")
        .expect("room");
    let lines = "X-Header: and so on and so on\r\n".repeat(2000);
    for _ in 0..50 {
        streams[1].write_all(lines.as_bytes()).expect("room");
    }
    until("all of them", || {
        (gateway.counter("keepalives") >= 1_000_000 && gateway.counter("demoted") == 1)
            .then_some(())
    });
    let grown = memory(&mut gateway).saturating_sub(before);
    assert!(grown < 4_000, "it grew by {grown} kB");
}
