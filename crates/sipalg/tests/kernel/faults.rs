//! The kernel refuses, forgets to answer, or has no room: no door is ever half open, and all is well
//! again as soon as it can be.

use crate::gateway::{GLOBAL, Gateway, global, heard, media, open, plan, plan_with, pool};
use nix::errno::Errno;
use sipalg::kernel::ruleset::{DOOR_PORTS, MEDIA_DN, MEDIA_SN};
use sipalg::kernel::{Kernel, KernelError};
use sipalg::netlink::nft::{Element, Fault, Nft};
use sipalg_core::door::AddressOp;
use sipalg_core::{Door, DoorOp};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio};

laws![
    a_refused_change_leaves_all_as_it_was,
    whatever_fails_no_door_is_half_open_and_restoring_heals,
    when_a_set_is_full_what_has_room_is_opened_and_the_rest_when_there_is,
    a_lost_answer_is_made_good,
    the_fill_of_the_connection_table_is_told,
];

/// What goes wrong with netlink, as far as it has been seen.
const ERRORS: [Errno; 6] = [
    Errno::EPERM,
    Errno::ENOMEM,
    Errno::ENFILE,
    Errno::ENOBUFS,
    Errno::EAGAIN,
    Errno::ENOENT,
];

fn elements(set: &sipalg::netlink::nft::Set) -> Vec<Element> {
    Nft::open().unwrap().elements("sipalg", set).unwrap()
}

/// The media doors in the kernel by their inside global ends. Each is there in all of its sets, or the
/// law does not hold.
fn whole_doors() -> BTreeMap<SocketAddrV4, SocketAddrV4> {
    let pair = |element: &Element| {
        let value = element.value.as_deref().unwrap();
        (
            element.address_port(),
            sipalg::netlink::nft::address_port_of(value),
        )
    };
    let doors: BTreeMap<_, _> = elements(&MEDIA_DN).iter().map(pair).collect();
    let back: BTreeMap<_, _> = elements(&MEDIA_SN)
        .iter()
        .map(pair)
        .map(|(l, g)| (g, l))
        .collect();
    assert_eq!(doors, back, "the two maps");
    let ports = doors.keys().map(|end| end.port() & !1);
    let mut ports: Vec<_> = ports.map(|port| port.to_be_bytes().to_vec()).collect();
    ports.sort();
    ports.dedup();
    let mut there: Vec<_> = elements(&DOOR_PORTS).into_iter().map(|e| e.key).collect();
    there.sort();
    assert_eq!(there, ports);
    doors
}

fn of(doors: &[Door]) -> BTreeMap<SocketAddrV4, SocketAddrV4> {
    doors
        .iter()
        .map(|door| (door.inside_global, door.inside_local))
        .collect()
}

/// RTP and RTCP of a host.
fn stream(gateway: &Gateway, number: u16) -> [Door; 2] {
    let host = if number.is_multiple_of(2) {
        &gateway.phone
    } else {
        &gateway.second
    };
    [0, 1].map(|more| media(host.at(4000 + 2 * number + more), 30000 + 2 * number + more))
}

fn a_refused_change_leaves_all_as_it_was() {
    let plan = plan_with(vec![pool(20, 24, false)], true);
    let (gateway, mut kernel) = Gateway::with(&plan);
    let [old, _] = stream(&gateway, 0);
    open(&mut kernel, old);
    let assign = AddressOp::Assign {
        local: gateway.second.address,
        global: Ipv4Addr::new(10, 1, 1, 20),
    };
    for errno in ERRORS {
        kernel.set_faults([Fault::Refused(errno)]);
        let ops = stream(&gateway, 1).map(DoorOp::Open);
        let error = kernel.apply(&[assign], &ops).unwrap_err();
        assert_eq!(
            matches!(error, KernelError::NotPermitted),
            errno == Errno::EPERM,
            "{error}"
        );
        assert_eq!(error.is_gone(), errno == Errno::ENOENT);
        assert_eq!(whole_doors(), of(&[old]));
        assert!(kernel.is_disturbed().unwrap());
        assert!(!kernel.restore(&[old], &[]).unwrap().is_change());
        assert!(!kernel.is_disturbed().unwrap());
    }
    // And then it is done as if nothing had been.
    kernel
        .apply(&[assign], &stream(&gateway, 1).map(DoorOp::Open))
        .unwrap();
    assert_eq!(whole_doors().len(), 3);
    assert_eq!(kernel.health().refused, ERRORS.len() as u64);
}

/// A sequence of numbers that looks random and is always the same.
fn random(state: &mut u32) -> usize {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*state >> 16) as usize
}

fn whatever_fails_no_door_is_half_open_and_restoring_heals() {
    let (gateway, mut kernel) = Gateway::installed();
    let streams: Vec<_> = (0..6).map(|number| stream(&gateway, number)).collect();
    let mut wanted: Vec<Door> = Vec::new();
    let mut seed = 1;
    for round in 0..120 {
        let fault = match random(&mut seed) % 4 {
            0 => Fault::Unheard,
            1 => Fault::Refused(ERRORS[random(&mut seed) % ERRORS.len()]),
            _ => Fault::None,
        };
        let doors = streams[random(&mut seed) % streams.len()];
        let closes = doors.iter().any(|door| wanted.contains(door));
        let op = if closes { DoorOp::Close } else { DoorOp::Open };
        wanted.retain(|door| !doors.contains(door));
        kernel.set_faults([fault]);
        let done = kernel.apply(&[], &doors.map(op));
        assert_eq!(done.is_ok(), fault == Fault::None, "{fault:?}");
        whole_doors();
        // The machine is told, and wants no door that failed.
        if !closes && done.is_ok() {
            wanted.extend(doors);
        }
        if done.is_ok() && round % 5 > 0 {
            continue;
        }
        kernel.set_faults([]);
        kernel.restore(&wanted, &[]).unwrap();
        assert_eq!(whole_doors(), of(&wanted), "after {fault:?}");
        assert!(!kernel.is_disturbed().unwrap());
    }
    assert!(kernel.health().refused > 20);
}

/// The rules as they were installed, but with room for `size` elements only in a map.
fn with_small_map(gateway: &Gateway, name: &str, size: usize) -> Kernel {
    drop(gateway.install());
    let listed = Command::new("nft")
        .args(["list", "ruleset"])
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let head = format!("map {name} {{");
    let small = text.replace(&head, &format!("{head}\n\t\tsize {size}"));
    assert_ne!(small, text);
    let mut load = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = load.stdin.take().unwrap();
    write!(input, "delete table ip sipalg\n{small}").unwrap();
    drop(input);
    assert!(load.wait().unwrap().success());
    let (kernel, found) = Kernel::adopt(&plan(), gateway.state.path(), &[], &[]).unwrap();
    assert!(found.rules && !found.table, "{found:?}");
    kernel
}

fn when_a_set_is_full_what_has_room_is_opened_and_the_rest_when_there_is() {
    let gateway = Gateway::bare();
    let mut kernel = with_small_map(&gateway, "media_sn", 3);
    let [one, two] = [stream(&gateway, 0), stream(&gateway, 1)];
    let ops: Vec<_> = one.into_iter().chain(two).map(DoorOp::Open).collect();
    let error = kernel.apply(&[], &ops).unwrap_err();
    assert!(error.to_string().contains("ENFILE"), "{error}");
    assert!(whole_doors().is_empty());
    // One stream has room, the other has room for half of it, and gets nothing.
    let failed = kernel.apply_apart(&[], &ops);
    assert_eq!(failed, two);
    assert_eq!(whole_doors(), of(&one));
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    // It is still full, which restoring says, too; and the open door stays.
    let both: Vec<_> = one.into_iter().chain(two).collect();
    kernel.restore(&both, &[]).unwrap_err();
    assert_eq!(whole_doors(), of(&one));
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    // There is room again.
    kernel.restore(&two, &[]).unwrap();
    assert_eq!(whole_doors(), of(&two));
    assert_eq!(two[0].inside_global.ip(), &GLOBAL);
}

fn a_lost_answer_is_made_good() {
    let (gateway, mut kernel) = Gateway::installed();
    let doors = stream(&gateway, 0);
    kernel.set_faults([Fault::Unheard]);
    kernel.apply(&[], &doors.map(DoorOp::Open)).unwrap_err();
    // They are there, and nobody wants them: the machine was told that they failed.
    assert_eq!(whole_doors(), of(&doors));
    let found = kernel.restore(&[], &[]).unwrap();
    assert_eq!((found.made, found.closed), (0, 2), "{found:?}");
    assert!(whole_doors().is_empty());
}

fn the_fill_of_the_connection_table_is_told() {
    let (gateway, mut kernel) = Gateway::installed();
    let before = kernel.tracking().unwrap();
    let phone = gateway.phone.udp(4000);
    let ears: Vec<_> = (0..10).map(|n| gateway.outside.udp(7000 + n)).collect();
    for (n, ear) in (0..).zip(&ears) {
        heard(&phone, gateway.outside.at(7000 + n), ear, global(4000));
    }
    let after = kernel.tracking().unwrap();
    assert!(after.used >= before.used + 10, "{before:?} {after:?}");
    assert!(after.most >= after.used && after.without_room == before.without_room);
}
