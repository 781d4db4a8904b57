//! What an earlier run has left is taken over as it is.

use crate::gateway::{
    GLOBAL, Gateway, close, eventually, global, heard, media, open, plan, plan_with, pool, say,
    unheard,
};
use crate::host::{peculiar, state};
use sipalg::kernel::{Adopted, Elements, Kernel, Plan};
use sipalg::netlink::conntrack::Conntrack;
use sipalg::netlink::nft::{self, KeyType, Nft, Set, SetKind};
use sipalg_core::config::{Source, SourceRule};
use sipalg_core::door::AddressOp;
use sipalg_core::{Door, DoorKind, DoorOp, Protocol};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

laws![
    media_loses_no_packet_while_a_new_worker_takes_over,
    what_a_crashed_run_left_is_kept_with_its_counts,
    a_door_that_is_missing_is_made_and_one_that_nobody_wants_is_closed,
    flows_of_a_door_that_closed_just_before_the_crash_reach_nobody,
    a_door_that_leads_elsewhere_is_turned,
    a_door_that_would_soon_expire_lives_on,
    addresses_of_hosts_are_those_that_are_given,
    a_table_of_another_kind_is_made_anew,
    without_a_table_everything_is_made,
    rules_of_an_older_plan_become_those_of_the_new_one,
    the_originals_of_host_settings_stay_the_originals,
    a_thousand_doors_are_taken_over_at_once,
];

fn adopt(gateway: &Gateway, plan: &Plan, doors: &[Door]) -> (Kernel, Adopted) {
    let (mut kernel, found) = Kernel::adopt(plan, gateway.state.path(), doors, &[]).unwrap();
    // Where elements must be replaced, the trial that finds it out counts as somebody else's.
    if kernel.elements() == Elements::Prolonged {
        assert!(!kernel.is_disturbed().unwrap(), "{found:?}");
    }
    (kernel, found)
}

fn signalling(protocol: Protocol, local: SocketAddrV4, global_port: u16) -> Door {
    Door {
        kind: DoorKind::Signalling,
        protocol,
        ..media(local, global_port)
    }
}

/// One door of each kind.
fn doors(gateway: &Gateway) -> Vec<Door> {
    vec![
        media(gateway.phone.at(4000), 30000),
        media(gateway.phone.at(4001), 30001),
        Door {
            protocol: Protocol::Tcp,
            ..media(gateway.phone.at(4002), 30002)
        },
        signalling(Protocol::Tcp, gateway.phone.at(5060), 30003),
        signalling(Protocol::Udp, gateway.phone.at(5061), 30004),
    ]
}

fn open_all(kernel: &mut Kernel, doors: &[Door]) {
    let ops: Vec<_> = doors.iter().copied().map(DoorOp::Open).collect();
    kernel.apply(&[], &ops).unwrap();
}

/// Numbered packets from `mouth` to `to` each millisecond while `work` goes on; how many of them
/// `ear` has not heard.
fn lost_during(mouth: &UdpSocket, to: SocketAddrV4, ear: &UdpSocket, work: impl FnOnce()) -> usize {
    let over = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let speaker = scope.spawn(|| {
            let mut number = 0u32;
            while !over.load(Ordering::Relaxed) {
                mouth.send_to(&number.to_be_bytes(), to).unwrap();
                number += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            number
        });
        let listener = scope.spawn(|| {
            let mut heard = Vec::new();
            let mut buffer = [0; 16];
            while let Ok((4, _)) = ear.recv_from(&mut buffer) {
                heard.push(u32::from_be_bytes(buffer[..4].try_into().unwrap()));
                if heard.last() == Some(&u32::MAX) {
                    break;
                }
            }
            heard
        });
        let ended = Ended(&over);
        work();
        drop(ended);
        let sent = speaker.join().unwrap();
        mouth.send_to(&u32::MAX.to_be_bytes(), to).unwrap();
        let heard = listener.join().unwrap();
        (sent, heard)
    });
    let (sent, heard) = sent;
    assert!(sent > 20, "only {sent} packets were sent");
    let mut numbers = heard.iter().filter(|number| **number != u32::MAX);
    (0..sent)
        .filter(|number| numbers.next() != Some(number))
        .count()
}

/// Tells other threads that it is over, also when a law fails.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn media_loses_no_packet_while_a_new_worker_takes_over() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    let (back, out) = (gateway.phone.udp(4001), gateway.outside.udp(7001));
    let doors = doors(&gateway);
    open_all(&mut kernel, &doors);
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    heard(&back, gateway.outside.at(7001), &out, global(30001));
    let mut other = plan_with(Vec::new(), true);
    other.sip_tcp_ports = vec![9000];
    other.timeouts.udp = Some(Duration::from_secs(77));
    let over = AtomicBool::new(false);
    let lost = std::thread::scope(|scope| {
        let ended = Ended(&over);
        let talk = scope.spawn(|| {
            let until = || {
                while !over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            };
            lost_during(&back, gateway.outside.at(7001), &out, until)
        });
        let lost_in = lost_during(&outside, global(30000), &phone, || {
            let mut kernel = Some(kernel);
            for plan in [&plan(), &other, &other, &plan()]
                .into_iter()
                .cycle()
                .take(20)
            {
                drop(kernel.take());
                let (adopted, found) = adopt(&gateway, plan, &doors);
                assert_eq!(
                    (found.kept, found.made, found.closed),
                    (5, 0, 0),
                    "{found:?}"
                );
                kernel = Some(adopted);
            }
        });
        drop(ended);
        (lost_in, talk.join().unwrap())
    });
    assert_eq!(lost, (0, 0), "packets lost inward and outward");
}

fn what_a_crashed_run_left_is_kept_with_its_counts() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    let doors = doors(&gateway);
    open_all(&mut kernel, &doors);
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    heard(&phone, gateway.outside.at(7000), &outside, global(30000));
    let ordinary = gateway.phone.udp(6000);
    heard(&ordinary, gateway.outside.at(7000), &outside, global(6000));
    let hits = kernel.access_hits().unwrap();
    drop(kernel);
    let started = Instant::now();
    let (mut kernel, found) = adopt(&gateway, &plan(), &doors);
    println!("5 doors taken over in {:?}", started.elapsed());
    assert!(!found.is_change() && found.kept == 5, "{found:?}");
    let count = kernel.media_counts().unwrap();
    let (_, count) = count
        .iter()
        .find(|(end, _)| *end == gateway.phone.at(4000))
        .unwrap();
    assert_eq!((count.in_packets, count.out_packets), (1, 1));
    assert_eq!(kernel.access_hits().unwrap(), hits);
    // It is a door like any other, and so are the ordinary flows.
    heard(&outside, global(6000), &ordinary, gateway.outside.at(7000));
    close(&mut kernel, doors[0]);
    unheard(&outside, global(30000), &phone);
}

fn a_door_that_is_missing_is_made_and_one_that_nobody_wants_is_closed() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, second) = (gateway.phone.udp(4000), gateway.second.udp(4002));
    let outside = gateway.outside.udp(7000);
    let old = media(gateway.phone.at(4000), 30000);
    open(&mut kernel, old);
    open(
        &mut kernel,
        signalling(Protocol::Tcp, gateway.phone.at(5060), 30003),
    );
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    drop(kernel);
    let new = media(gateway.second.at(4002), 30002);
    let (mut kernel, found) = adopt(&gateway, &plan(), &[new]);
    assert_eq!(
        (found.kept, found.made, found.closed),
        (0, 1, 2),
        "{found:?}"
    );
    heard(&outside, global(30002), &second, gateway.outside.at(7000));
    unheard(&outside, global(30000), &phone);
    kernel.tidy().unwrap();
    let through =
        |entry: &sipalg::netlink::conntrack::Entry| entry.original.destination == global(30000);
    let flows = Conntrack::open().unwrap().udp().unwrap();
    assert!(
        flows
            .iter()
            .any(|entry| entry.original.destination == global(30002))
    );
    assert!(
        !flows
            .iter()
            .any(|entry| through(entry) && entry.reply.source == old.inside_local)
    );
}

fn flows_of_a_door_that_closed_just_before_the_crash_reach_nobody() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, second) = (gateway.phone.udp(4000), gateway.second.udp(4002));
    let outside = gateway.outside.udp(7000);
    let door = media(gateway.phone.at(4000), 30000);
    open(&mut kernel, door);
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    close(&mut kernel, door);
    // The crash comes before the flow is deleted; the same port goes to another host.
    drop(kernel);
    let (mut kernel, _) = adopt(&gateway, &plan(), &[]);
    open(&mut kernel, media(gateway.second.at(4002), 30000));
    heard(&outside, global(30000), &second, gateway.outside.at(7000));
}

fn a_door_that_leads_elsewhere_is_turned() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, second) = (gateway.phone.udp(4000), gateway.second.udp(4002));
    let outside = gateway.outside.udp(7000);
    open(&mut kernel, media(gateway.phone.at(4000), 30000));
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    drop(kernel);
    let door = media(gateway.second.at(4002), 30000);
    let (_kernel, found) = adopt(&gateway, &plan(), &[door]);
    assert_eq!(
        (found.kept, found.made, found.closed),
        (0, 1, 1),
        "{found:?}"
    );
    heard(&outside, global(30000), &second, gateway.outside.at(7000));
    heard(&second, gateway.outside.at(7000), &outside, global(30000));
}

fn a_door_that_would_soon_expire_lives_on() {
    let (gateway, mut kernel) = Gateway::installed();
    let mut door = media(gateway.phone.at(4000), 30000);
    door.lifetime = Duration::from_secs(10);
    open(&mut kernel, door);
    drop(kernel);
    door.lifetime = Duration::from_secs(100);
    let (_kernel, found) = adopt(&gateway, &plan(), &[door]);
    assert_eq!((found.kept, found.made), (1, 0), "{found:?}");
    let mut nft = Nft::open().unwrap();
    for set in [
        &sipalg::kernel::ruleset::MEDIA_DN,
        &sipalg::kernel::ruleset::MEDIA_SN,
        &sipalg::kernel::ruleset::DOOR_PORTS,
    ] {
        let elements = nft.elements("sipalg", set).unwrap();
        assert!(
            elements[0].expires > Duration::from_secs(90),
            "{}: {elements:?}",
            set.name
        );
    }
}

fn addresses_of_hosts_are_those_that_are_given() {
    let plan = plan_with(vec![pool(20, 24, false)], false);
    let (gateway, mut kernel) = Gateway::with(&plan);
    let at = |last| Ipv4Addr::new(10, 1, 1, last);
    let assign = |local: Ipv4Addr, last| AddressOp::Assign {
        local,
        global: at(last),
    };
    let (phone, second) = (gateway.phone.address, gateway.second.address);
    kernel
        .apply(&[assign(phone, 20), assign(second, 21)], &[])
        .unwrap();
    let outside = gateway.outside.udp(7000);
    let ears = [gateway.phone.udp(4000), gateway.second.udp(4000)];
    heard(
        &ears[0],
        gateway.outside.at(7000),
        &outside,
        SocketAddrV4::new(at(20), 4000),
    );
    drop(kernel);
    let wanted = [(phone, at(20)), (second, at(22))];
    let (mut kernel, found) = Kernel::adopt(&plan, gateway.state.path(), &[], &wanted).unwrap();
    assert_eq!((found.assigned, found.released), (1, 1), "{found:?}");
    heard(
        &ears[0],
        gateway.outside.at(7000),
        &outside,
        SocketAddrV4::new(at(20), 4000),
    );
    heard(
        &ears[1],
        gateway.outside.at(7000),
        &outside,
        SocketAddrV4::new(at(22), 4000),
    );
    // They are addresses like any other.
    let release = AddressOp::Release {
        local: phone,
        global: at(20),
    };
    kernel.apply(&[release, assign(second, 20)], &[]).unwrap();
    heard(
        &ears[1],
        gateway.outside.at(7000),
        &outside,
        SocketAddrV4::new(at(20), 4000),
    );
}

fn a_table_of_another_kind_is_made_anew() {
    let gateway = Gateway::bare();
    let mut nft = Nft::open().unwrap();
    let other = Set {
        kind: SetKind::Plain,
        key: KeyType::Address,
        value: None,
        ..sipalg::kernel::ruleset::MEDIA_DN
    };
    nft.commit(vec![
        nft::add_table("sipalg"),
        nft::add_set("sipalg", &other),
    ])
    .unwrap();
    let doors = doors(&gateway);
    let (_kernel, found) = adopt(&gateway, &plan(), &doors);
    assert!(found.table && found.made == doors.len(), "{found:?}");
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
}

fn without_a_table_everything_is_made() {
    let gateway = Gateway::bare();
    let doors = doors(&gateway);
    let (kernel, found) = adopt(&gateway, &plan(), &doors);
    assert!(found.table && found.made == doors.len(), "{found:?}");
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    drop(kernel);
    let (_kernel, found) = adopt(&gateway, &plan(), &doors);
    assert!(!found.is_change() && found.kept == doors.len(), "{found:?}");
}

fn rules_of_an_older_plan_become_those_of_the_new_one() {
    let static_host = Source::Static {
        local: Ipv4Addr::new(192, 168, 122, 2),
        global: Ipv4Addr::new(10, 1, 1, 40),
        prefix: 32,
    };
    let mut bounded = plan();
    bounded.max_entries.each_host = Some(7);
    bounded.sources[0].rule = SourceRule::overload(crate::gateway::list(), GLOBAL);
    let plans = [plan(), plan_with(vec![static_host], true), bounded];
    for old in &plans {
        for new in &plans {
            let (gateway, kernel) = Gateway::with(old);
            drop(kernel);
            let (kernel, found) = adopt(&gateway, new, &[]);
            assert_eq!(found.rules, old != new, "{found:?}");
            let adopted = listing();
            drop(kernel);
            let _kernel = Kernel::install(new, gateway.state.path()).unwrap();
            assert_eq!(adopted, listing());
        }
    }
}

/// The rules as nft(8) lists them, whatever the order of elements and chains.
fn listing() -> Vec<String> {
    let listed = Command::new("nft")
        .args(["list", "table", "ip", "sipalg"])
        .output();
    let text = String::from_utf8(listed.unwrap().stdout).unwrap();
    let lines = text.replace("elements = {", "").replace(',', "\n");
    let mut lines: Vec<_> = lines
        .lines()
        .map(|line| line.replace('}', "").trim().to_owned())
        .collect();
    lines.sort();
    lines
}

fn the_originals_of_host_settings_stay_the_originals() {
    let (gateway, before) = peculiar();
    drop(gateway.install());
    for _ in 0..3 {
        drop(adopt(&gateway, &plan(), &[]));
    }
    let (kernel, _) = adopt(&gateway, &plan(), &[]);
    kernel.remove().unwrap();
    assert_eq!(state(), before);
}

fn a_thousand_doors_are_taken_over_at_once() {
    let (gateway, mut kernel) = Gateway::installed();
    let doors: Vec<_> = (0..1000)
        .map(|n| media(gateway.phone.at(10_000 + n), 30_000 + n))
        .collect();
    open_all(&mut kernel, &doors);
    drop(kernel);
    let started = Instant::now();
    let (_kernel, found) = adopt(&gateway, &plan(), &doors);
    let took = started.elapsed();
    println!("1000 doors taken over in {took:?}");
    assert!(!found.is_change() && found.kept == 1000, "{found:?}");
    // On a busy machine and without optimization; docs/results.md has figures.
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    let (phone, outside) = (gateway.phone.udp(10_500), gateway.outside.udp(7000));
    say(&outside, "hello", global(30_500));
    eventually(|| phone.recv(&mut [0; 16]).ok());
}
