//! It does not die but hang.

use crate::gateway::Gateway;
use crate::gateway::eventually;
use crate::running::{CONFIGURATION, Running, command};
use crate::scene::{Line, hears, is_reset, says};
use nix::sys::signal::{Signal, kill};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

laws![
    a_worker_that_hangs_is_replaced,
    while_no_worker_serves_sip_is_ordinary_traffic_after_two_seconds,
    when_all_hangs_the_watchdog_ends_it_and_sip_is_ordinary_traffic,
];

fn a_worker_that_hangs_is_replaced() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    line.works(0);
    let begun = Instant::now();
    kill(running.worker(), Signal::SIGSTOP).unwrap();
    let (said, expected) = Line::outward(line.port, 1);
    says(&mut line.phone, said.as_bytes());
    hears(&mut line.outside, expected.as_bytes());
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
    running.service_is_back();
    line.works(2);
}

fn while_no_worker_serves_sip_is_ordinary_traffic_after_two_seconds() {
    let (gateway, mut running) = Running::start();
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    line.works(0);
    let unserved = "sipalg: nobody serves SIP";
    // One that serves already when it is stopped is replaced, and the next one is tried.
    let stopped = loop {
        let before = running.worker();
        kill(before, Signal::SIGKILL).unwrap();
        let next = eventually(|| {
            let next = running.try_worker()?;
            (next != before).then_some(next)
        });
        kill(next, Signal::SIGSTOP).unwrap();
        let (_, said) = running.wait_for_any(&[unserved, "sipalg: service is back after "]);
        if said.starts_with(unserved) {
            break next;
        }
    };
    let mut ordinary = Line::open(&gateway, &server, 40_001);
    let (said, _) = Line::outward(ordinary.port, 1);
    says(&mut ordinary.phone, said.as_bytes());
    hears(&mut ordinary.outside, said.as_bytes());
    // What was there before waits, and then goes on.
    let (said, expected) = Line::outward(line.port, 1);
    says(&mut line.phone, said.as_bytes());
    kill(stopped, Signal::SIGKILL).unwrap();
    running.service_is_back();
    hears(&mut line.outside, expected.as_bytes());
    Line::open(&gateway, &server, 40_002).works(2);
}

fn when_all_hangs_the_watchdog_ends_it_and_sip_is_ordinary_traffic() {
    let gateway = Gateway::bare();
    let folder = gateway.state.path();
    let mut command = command(folder, CONFIGURATION);
    let path = folder.join("notify.sock");
    let systemd = UnixDatagram::bind(&path).unwrap();
    let patience = Duration::from_secs(2);
    command.env("NOTIFY_SOCKET", &path);
    command.env("WATCHDOG_USEC", patience.as_micros().to_string());
    let running = Running::start_by(&gateway, command);
    let hears_systemd = |wanted: &str| {
        let mut buffer = [0; 200];
        loop {
            let length = systemd.recv(&mut buffer)?;
            if buffer[..length].starts_with(wanted.as_bytes()) {
                return std::io::Result::Ok(());
            }
        }
    };
    systemd.set_read_timeout(Some(patience)).unwrap();
    hears_systemd("READY=1").unwrap();
    for _ in 0..3 {
        hears_systemd("WATCHDOG=1").unwrap();
    }
    let server = gateway.outside.listen(5060);
    let mut line = Line::open(&gateway, &server, 40_000);
    line.works(0);
    let worker = running.worker();
    for process in [running.pid(), worker] {
        kill(process, Signal::SIGSTOP).unwrap();
    }
    // As systemd does.
    while hears_systemd("WATCHDOG=1").is_ok() {}
    kill(running.pid(), Signal::SIGKILL).unwrap();
    is_reset(&mut line.phone);
    is_reset(&mut line.outside);
    eventually(|| kill(worker, None).is_err().then_some(()));
    let mut line = Line::open(&gateway, &server, 40_001);
    let (said, _) = Line::outward(line.port, 1);
    says(&mut line.phone, said.as_bytes());
    hears(&mut line.outside, said.as_bytes());
}
