//! Faults from below: others flush our rules, interfaces come and go, descriptors run out, the clock
//! jumps. Each is said and healed, and the calls that can go on do.

use crate::harness::call::{Call, office};
use crate::harness::gateway::{CONFIGURATION, Files, Gateway};
use crate::harness::media::Ear;
use crate::harness::net::{GOUT, Net, inside_address};
use crate::harness::process::Process;
use crate::harness::sip::{Peer, Server, session};
use crate::harness::until;
use crate::soak::processes;
use std::io::Write;
use std::net::SocketAddrV4;
use std::process::Command;
use std::time::{Duration, Instant};

/// Within a second, and what a busy machine adds to that.
const SOON: Duration = Duration::from_secs(2);

/// The line that says that something was put right.
const PUT_RIGHT: &str = "the kernel was not as it should be, and was put right: ";

#[test]
fn rules_that_others_flush_are_back_within_a_second_and_calls_go_on() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let mut gateway = Gateway::start(&net);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    call.talk();
    for (program, arguments, what) in [
        ("nft", &["flush", "ruleset"][..], "the table `ip sipalg`"),
        (
            "ip",
            &["rule", "del", "priority", "5060"],
            "the policy rule for gin",
        ),
        (
            "ip",
            &["route", "flush", "table", "5060"],
            "the route of table 5060",
        ),
        (
            "sysctl",
            &["-q", "net.ipv4.ip_forward=0"],
            "net.ipv4.ip_forward=1",
        ),
        (
            "nft",
            &["flush", "map", "ip", "sipalg", "media_dn"],
            "2 doors that were missing",
        ),
    ] {
        // One after the other would be taken for somebody who does it again and again.
        let began = Instant::now();
        net.gateway.output(program, arguments, "");
        let said = gateway.wait_for_log(PUT_RIGHT);
        assert!(said.contains(what), "{said}");
        // The first is put right at once, later ones with growing patience.
        if program == "nft" && arguments.len() == 2 {
            assert!(began.elapsed() < SOON, "after {:?}", began.elapsed());
        }
        call.talk();
    }
    let shown = gateway.console("show ip nat sip kernel");
    assert!(
        shown.contains("put right 5 times (5 doors made, 0 closed)"),
        "{shown}"
    );
    // And SIP goes on, too: in the call and in another.
    call.request_and_agree("BYE", 2);
    let mut next = Call::make((&phone, 3), &far, 4002);
    next.take();
    next.talk();
}

#[test]
fn a_door_that_is_asked_for_while_the_rules_are_gone_is_made_with_them() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    net.gateway
        .output("nft", &["delete", "table", "ip", "sipalg"], "");
    // Connections that are taken go on without rules. Whether this is before the gateway has noticed
    // or after: the door is there before the offer is.
    call.near_ear = Ear::open(&phone, SocketAddrV4::new(inside_address(3), 4100));
    call.offer_again(2, &session(call.near_ear.at()));
    call.take_again(2);
    call.talk();
    assert_eq!(gateway.counter("doors failed"), 0);
}

#[test]
fn an_interface_that_goes_and_comes_again_takes_nothing_with_it() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let gateway = Gateway::start(&net);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    call.talk();
    for interface in ["gout", "gin"] {
        net.gateway.ip(&format!("link set {interface} down"));
        net.gateway.ip(&format!("link set {interface} up"));
        talk_again(&mut call);
    }
    // Another interface of the same name and address, as after a driver was loaded anew.
    net.gateway.ip("link del gout");
    until("the gateway to have lost its address", || {
        let log = gateway.log();
        log.contains("gout has lost its address").then_some(())
    });
    net.gateway.plug("gout", &net.wan, GOUT);
    until("the gateway to have its address again", || {
        let log = gateway.log();
        log.contains("gout has the address 10.1.1.1").then_some(())
    });
    let mut next = Call::make((&phone, 3), &far, 4010);
    next.take();
    next.talk();
    next.request_and_agree("BYE", 2);
}

#[test]
fn when_descriptors_are_there_again_so_is_the_service() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let mut gateway = Gateway::start(&net);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    let keeper = gateway.process().pid().as_raw();
    let worker = processes(keeper)[1].to_string();
    let limit = |most: &str| {
        let status = Command::new("prlimit")
            .args(["--pid", &worker, most])
            .status();
        assert!(status.expect("prlimit").success());
    };
    limit("--nofile=48:");
    let elsewhere = SocketAddrV4::new(*office().ip(), 8000);
    let server = Server::listen(&far, elsewhere);
    let any = SocketAddrV4::new(inside_address(3), 0);
    let crowd: Vec<_> = (0..40)
        .filter_map(|_| Peer::connect_within(&phone, any, elsewhere, SOON).ok())
        .collect();
    gateway.wait_for_log("sipalg: cannot ");
    // What is there goes on.
    call.talk();
    call.request_and_agree("INFO", 2);
    limit("--nofile=4096:");
    drop((crowd, server));
    let mut next = Call::make((&phone, 3), &far, 4010);
    next.take();
    next.talk();
}

#[test]
fn a_worker_that_runs_out_of_memory_is_replaced_and_calls_go_on() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let mut gateway = Gateway::start(&net);
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    let keeper = gateway.process().pid().as_raw();
    let worker = processes(keeper)[1];
    let limit = format!("--data={}", data(worker) + 2 * 1024 * 1024);
    let limited = Command::new("prlimit")
        .args(["--pid", &worker.to_string(), &limit])
        .status();
    assert!(limited.expect("prlimit").success());
    // Messages that never end, more of them than it has room for.
    let elsewhere = SocketAddrV4::new(*office().ip(), 8000);
    let _server = Server::listen(&far, elsewhere);
    let any = SocketAddrV4::new(inside_address(3), 0);
    let endless = format!(
        "OPTIONS sip:b@{elsewhere} SIP/2.0\r\nSubject: {}",
        "x".repeat(50_000)
    );
    let mut crowd = Vec::new();
    let replaced = || {
        let now = processes(keeper);
        now.len() > 1 && now[1] != worker
    };
    until("the worker to be replaced", || {
        if let Ok(mut peer) = Peer::connect_within(&phone, any, elsewhere, SOON) {
            // It may have been reset meanwhile.
            let _ = peer.stream.write_all(endless.as_bytes());
            crowd.push(peer);
        }
        replaced().then_some(())
    });
    gateway.wait_for_log("service is back");
    call.talk();
    call.request_and_agree("INFO", 2);
    call.request_and_agree("BYE", 3);
    drop(crowd);
    let mut next = Call::make((&phone, 3), &far, 4010);
    next.take();
    next.talk();
}

/// What a process has of memory that it may write to, in bytes (`RLIMIT_DATA` bounds it).
fn data(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("VmData") * 1024
}

#[test]
fn a_jump_of_the_wall_clock_moves_nothing_but_stamps() {
    let net = Net::new();
    let (phone, far) = (net.inside(3), net.outside(2));
    let files = Files::new(CONFIGURATION);
    let clock = files.folder().join("clock");
    let set_clock = |to: &str| std::fs::write(&clock, to).expect("a file");
    set_clock("2020-02-02 12:00:00");
    let mut command = files.run();
    command.env(
        "LD_PRELOAD",
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    );
    command.env("FAKETIME_TIMESTAMP_FILE", &clock);
    command.env("FAKETIME_NO_CACHE", "1");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command.arg("--log").arg("json");
    let mut gateway = Process::start(&net.gateway, &mut command);
    gateway.wait_for("ready");
    let mut call = Call::make((&phone, 3), &far, 4000);
    call.take();
    for (jump, stamp) in [
        ("2031-03-03 00:00:00", "2031-03-03T"),
        ("2009-01-01 00:00:00", "2009-01-01T"),
    ] {
        set_clock(jump);
        call.talk();
        call.request_and_agree("INFO", 2);
        // It lives by the new time, and no door has closed for it.
        gateway.wait_for(stamp);
        call.talk();
        let doors = net
            .gateway
            .output("nft", &["list", "map", "ip", "sipalg", "media_dn"], "");
        assert!(doors.contains("10.1.1.1 . 4000"), "{doors}");
    }
    assert!(gateway.stop().success());
}

/// The medium works again, as soon as the wire does.
fn talk_again(call: &mut Call) {
    let (far, door) = (call.far_ear.at(), call.door);
    call.near_ear.say_until_heard(&call.far_ear, far);
    call.far_ear.say_until_heard(&call.near_ear, door);
}
