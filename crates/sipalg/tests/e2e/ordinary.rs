//! Ordinary traffic of all kinds while calls are up and thousands of doors open and close: unharmed.

use crate::harness::call::{Call, office};
use crate::harness::gateway::Gateway;
use crate::harness::iperf::{Iperf, said_at_the_end};
use crate::harness::net::{GOUT, Host, Net, inside_address, outside_address};
use crate::harness::post::Post;
use crate::harness::sip::{Dialogue, Peer, Server, answer};
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long all of it goes on.
const SECONDS: u32 = 10;

/// How many doors at least, a minute.
const DOORS_A_MINUTE: f64 = 5000.0;

/// The first port that the doors want, and that ordinary flows of another host have.
const PORTS: u16 = 12_000;

/// The ordinary flows that have such ports.
const FLOWS: u16 = 20;

#[test]
fn ordinary_traffic_is_unharmed_by_calls_and_by_doors_that_open_and_close() {
    let net = Net::new();
    let (phone, user, far) = (net.inside(3), net.inside(4), net.outside(2));
    let gateway = Gateway::start(&net);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    let servers = [5201, 5202, 5203].map(|port| Iperf::serve(&far, outside(port)));
    let uses: [&[&str]; 3] = [
        &["-b", "50M"],
        &["-u", "-b", "2M"],
        // From outside to inside.
        &["-u", "-b", "2M", "-R"],
    ];
    let mut streams = Vec::new();
    for (server, more) in servers.iter().zip(uses) {
        streams.push(server.use_by(&user, SECONDS, more));
    }
    let (began, over) = (Instant::now(), AtomicBool::new(false));
    let doors = thread::scope(|scope| {
        let doors = scope.spawn(|| churn(&phone, &far, &over));
        let others = [
            scope.spawn(|| browse(&user, &far, &over)),
            scope.spawn(|| resolve(&user, &far, &over)),
            scope.spawn(|| keep_open(&user, &far, &over)),
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    call.talk();
                    // As much as a call says in that time.
                    thread::sleep(Duration::from_millis(100));
                }
                1
            }),
        ];
        for (stream, is_udp) in streams.iter_mut().zip([false, true, true]) {
            if is_udp {
                assert_eq!(said_at_the_end(stream, "lost_packets"), 0.0);
            } else {
                assert!(said_at_the_end(stream, "bytes") > 0.0);
            }
        }
        over.store(true, Ordering::Relaxed);
        for other in others {
            assert!(other.join().expect("no harm") > 0);
        }
        doors.join().expect("doors")
    });
    let a_minute = doors as f64 * 60.0 / began.elapsed().as_secs_f64();
    assert!(a_minute >= DOORS_A_MINUTE, "only {a_minute} doors a minute");
    assert_eq!(gateway.media_doors().len(), 2, "of the call that goes on");
    assert!(!gateway.log().contains("cannot"), "{}", gateway.log());
}

/// Calls that are refused, one after the other, each with doors of its own; how many doors.
fn churn(phone: &Host, far: &Host, over: &AtomicBool) -> usize {
    let server = Server::listen(far, office());
    let own = SocketAddrV4::new(inside_address(3), 5060);
    let any = SocketAddrV4::new(*own.ip(), 0);
    let mut near = Peer::connect(phone, any, office()).expect("a connection");
    let mut there = server.accept();
    let mut calls = 0_u16;
    while !over.load(Ordering::Relaxed) {
        let said = Dialogue::new(&format!("churn{calls}"), own, office());
        // Ports come again before the host has all the mappings that one host may have.
        let media = SocketAddrV4::new(*own.ip(), PORTS + calls % 4_000 * 2);
        near.send(said.invite(1, media));
        let invite = there.message();
        assert!(!invite.contains("192.168.122."), "{invite}");
        there.send(answer(&invite, "486 Busy Here", "", ""));
        near.message();
        near.send(said.request("ACK", 1, ""));
        there.message();
        calls += 1;
    }
    usize::from(calls) * 2
}

/// Short connections one after the other, as of a browser.
fn browse(user: &Host, far: &Host, over: &AtomicBool) -> usize {
    let server = Server::listen(far, outside(80));
    let any = SocketAddrV4::new(inside_address(4), 0);
    let mut pages = 0;
    while !over.load(Ordering::Relaxed) {
        let mut near = Peer::connect(user, any, outside(80)).expect("a connection");
        let mut there = server.accept();
        assert_eq!(*there.remote().ip(), GOUT);
        let request = "GET / HTTP/1.1\r\nHost: 192.168.122.4\r\n\r\n";
        near.send(request);
        assert_eq!(there.bytes(request.len()), request.as_bytes());
        let page = vec![b'p'; 20_000];
        there.send(&page);
        drop(there);
        assert_eq!(near.rest().expect("no reset"), page);
        pages += 1;
    }
    pages
}

/// Questions and answers, as of a resolver, from ports that doors of the other host want, too. A
/// flow keeps the port that it has outside.
fn resolve(user: &Host, far: &Host, over: &AtomicBool) -> usize {
    let there = Post::open(far, outside(53));
    let here = (0..FLOWS).map(|flow| {
        let own = SocketAddrV4::new(inside_address(4), PORTS + flow * 10);
        (Post::open(user, own), None)
    });
    let mut here: Vec<_> = here.collect();
    let mut answers = 0;
    while !over.load(Ordering::Relaxed) {
        for (socket, global) in &mut here {
            socket.send(outside(53), "who?");
            let (from, _) = there.message();
            assert_eq!(*global.get_or_insert(from), from, "moved amid its flow");
            there.send(from, "you");
            assert_eq!(socket.message(), (outside(53), "you".into()));
            answers += 1;
        }
        // A resolver is idle most of the time.
        thread::sleep(Duration::from_millis(10));
    }
    answers
}

/// A connection that stays, and is used now and then.
fn keep_open(user: &Host, far: &Host, over: &AtomicBool) -> usize {
    let server = Server::listen(far, outside(22));
    let any = SocketAddrV4::new(inside_address(4), 0);
    let mut near = Peer::connect(user, any, outside(22)).expect("a connection");
    let mut there = server.accept();
    let mut keys = 0;
    while !over.load(Ordering::Relaxed) {
        near.send("k");
        assert_eq!(there.bytes(1), b"k");
        there.send("echo");
        assert_eq!(near.bytes(4), b"echo");
        keys += 1;
        thread::sleep(Duration::from_millis(50));
    }
    keys
}

fn outside(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(outside_address(2), port)
}
