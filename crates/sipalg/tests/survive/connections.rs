//! The worker is killed, and connections go on: idle, half-open, half-closed, slow, half-heard.

use crate::gateway::eventually;
use crate::running::Running;
use crate::scene::{Line, has_ended, hears, is_reset, says};
use nix::sys::signal::{Signal, kill};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

laws![
    an_idle_connection_outlives_the_worker,
    what_is_said_while_nobody_serves_is_heard_when_somebody_does,
    half_a_message_is_not_lost,
    half_of_a_mebibyte_is_not_lost,
    what_waits_for_a_slow_reader_arrives_once,
    a_half_closed_connection_stays_half_closed,
    a_fin_that_comes_while_nobody_serves_is_passed_on,
    a_reset_that_comes_while_nobody_serves_is_passed_on,
    a_connection_that_is_being_dialled_is_dialled_on,
    who_connects_while_nobody_serves_is_served,
    when_the_keeper_is_killed_all_connections_are_reset,
];

fn an_idle_connection_outlives_the_worker() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    for number in 0..5 {
        line.works(number);
        let before = running.worker();
        running.worker_dies();
        assert_ne!(running.worker(), before);
    }
    line.works(5);
    assert_eq!(running.stop().status.code(), Some(0));
}

fn what_is_said_while_nobody_serves_is_heard_when_somebody_does() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    for number in 0..20 {
        let (said, expected) = Line::outward(line.port, number);
        kill(running.worker(), Signal::SIGKILL).unwrap();
        says(&mut line.phone, said.as_bytes());
        hears(&mut line.outside, expected.as_bytes());
        running.service_is_back();
    }
}

fn half_a_message_is_not_lost() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    let (said, expected) = Line::outward(line.port, 600);
    for piece in said.as_bytes().chunks(said.len().div_ceil(4)) {
        says(&mut line.phone, piece);
        taken(&running, &line);
        running.worker_dies();
    }
    hears(&mut line.outside, expected.as_bytes());
    line.works(1);
}

fn half_of_a_mebibyte_is_not_lost() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    let length = 1024 * 1024 - 1;
    let head = format!("MESSAGE sip:a@10.1.1.2 SIP/2.0\r\nContent-Length: {length}\r\n\r\n");
    let body: Vec<u8> = (0..length).map(|n| (n * 31 + n / 251) as u8).collect();
    let message = [head.as_bytes(), &body].concat();
    for piece in message.chunks(message.len().div_ceil(3)) {
        says(&mut line.phone, piece);
        taken(&running, &line);
        running.worker_dies();
    }
    hears(&mut line.outside, &message);
    line.works(1);
}

fn what_waits_for_a_slow_reader_arrives_once() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    line.works(0);
    // The outside host reads nothing until all buffers are full.
    let mut said = 0;
    line.phone.set_nonblocking(true).unwrap();
    let filler: Vec<u8> = (0..1 << 16).map(|n| (n % 251) as u8).collect();
    let begin = b"\0";
    line.phone.write_all(begin).unwrap();
    let mut quiet = 0;
    while quiet < 20 {
        let at = said % filler.len();
        match line.phone.write(&filler[at..]) {
            Ok(more) => (said, quiet) = (said + more, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                quiet += 1;
                // The kernel moves on what it can.
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    assert!(said > 256 * 1024, "{said}");
    for _ in 0..3 {
        running.worker_dies();
    }
    line.phone.set_nonblocking(false).unwrap();
    line.phone.shutdown(Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    let mut buffer = vec![0; 50_000];
    let mut kills = 0;
    loop {
        let more = line.outside.read(&mut buffer).unwrap();
        heard.extend_from_slice(&buffer[..more]);
        if more == 0 {
            break;
        }
        if heard.len() > (kills + 1) * 300_000 {
            kills += 1;
            running.worker_dies();
        }
    }
    assert_eq!(heard.len(), begin.len() + said);
    let expected = (0..said).map(|n| filler[n % filler.len()]);
    assert!(heard[1..].iter().copied().eq(expected));
}

fn a_half_closed_connection_stays_half_closed() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    for closing in [true, false] {
        let port = if closing { 40_000 } else { 40_001 };
        let Line {
            mut phone,
            mut outside,
            ..
        } = Line::open(&gateway, &server, port);
        let (one, other) = match closing {
            true => (&mut phone, &mut outside),
            false => (&mut outside, &mut phone),
        };
        says(one, b"\0last words");
        one.shutdown(Shutdown::Write).unwrap();
        hears(other, b"\0last words");
        has_ended(other);
        running.worker_dies();
        says(other, b"\0answer");
        hears(one, b"\0answer");
        running.worker_dies();
        says(other, b"and more");
        other.shutdown(Shutdown::Write).unwrap();
        hears(one, b"and more");
        has_ended(one);
    }
    eventually(|| {
        let shown = running.ask("show ip nat sip connections");
        (!shown.contains(crate::scene::PHONE)).then_some(())
    });
}

fn a_fin_that_comes_while_nobody_serves_is_passed_on() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    line.works(0);
    kill(running.worker(), Signal::SIGKILL).unwrap();
    let (said, expected) = Line::outward(line.port, 1);
    says(&mut line.phone, said.as_bytes());
    line.phone.shutdown(Shutdown::Write).unwrap();
    running.service_is_back();
    hears(&mut line.outside, expected.as_bytes());
    has_ended(&mut line.outside);
    let (said, expected) = Line::inward(line.port, 2);
    says(&mut line.outside, said.as_bytes());
    hears(&mut line.phone, expected.as_bytes());
}

fn a_reset_that_comes_while_nobody_serves_is_passed_on() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    line.works(0);
    kill(running.worker(), Signal::SIGKILL).unwrap();
    SockRef::from(&line.phone)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(line.phone);
    running.service_is_back();
    is_reset(&mut line.outside);
}

fn a_connection_that_is_being_dialled_is_dialled_on() {
    let (gateway, mut running) = Running::start();
    // Nobody answers for this address until a host has it, and it is asked for as long as it takes.
    std::fs::write("/proc/sys/net/ipv4/neigh/gout/mcast_solicit", "1000").unwrap();
    let late = std::net::Ipv4Addr::new(10, 1, 1, 77);
    let to = std::net::SocketAddrV4::new(late, 5060);
    let mut phone = gateway.phone.connect(40_000, to).unwrap();
    says(&mut phone, b"\0early");
    running.worker_dies();
    running.worker_dies();
    let late = gateway.outside.with_address(late);
    let server = late.listen(5060);
    let (mut outside, peer, _) = crate::gateway::accepted(&server);
    assert_eq!(peer.port(), 40_000);
    hears(&mut outside, b"\0early");
}

fn who_connects_while_nobody_serves_is_served() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    for number in 0..10 {
        kill(running.worker(), Signal::SIGKILL).unwrap();
        let mut line = Line::open(&gateway, &server, 41_000 + number);
        line.works(usize::from(number));
        running.service_is_back();
        line.works(1);
    }
}

fn when_the_keeper_is_killed_all_connections_are_reset() {
    let (gateway, running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    line.works(0);
    let worker = running.worker();
    kill(running.pid(), Signal::SIGKILL).unwrap();
    is_reset(&mut line.phone);
    is_reset(&mut line.outside);
    eventually(|| kill(worker, None).is_err().then_some(()));
    // And SIP is ordinary traffic.
    let mut line = Line::open(&gateway, &server, 40_001);
    let text = format!(
        "OPTIONS sip:a SIP/2.0\r\nContact: <sip:{}>\r\n\r\n",
        crate::scene::PHONE
    );
    says(&mut line.phone, text.as_bytes());
    hears(&mut line.outside, text.as_bytes());
}

/// Waits until the gateway has read all that the phone has said.
fn taken(running: &Running, line: &Line) {
    eventually(|| {
        let queues = std::fs::read_to_string(format!("/proc/{}/net/tcp", running.pid())).unwrap();
        let port = format!(":{:04X} 01 ", line.port);
        let queue = queues.lines().find(|queue| queue.contains(&port))?;
        queue.contains(":00000000 0").then_some(())
    });
}
