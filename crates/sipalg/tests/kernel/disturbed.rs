//! Someone else changes our rules, routes or settings: it is noticed and put right.

use crate::gateway::{Gateway, global, heard, media, open, plan_with, pool};
use sipalg::kernel::{Adopted, DIVERT_TABLE, Elements, Kernel};
use sipalg_core::{Door, DoorOp};
use std::net::Ipv4Addr;
use std::process::Command;

laws![
    what_we_do_ourselves_disturbs_nothing,
    whatever_is_taken_away_is_noticed_and_put_back,
    other_peoples_tables_are_none_of_our_business,
    an_ordinary_flow_that_began_without_rules_stands_in_no_doors_way,
    without_rules_a_door_that_is_opened_fails_and_the_next_restoring_makes_it,
];

fn run(command: &str) {
    let mut words = command.split(' ');
    let done = Command::new(words.next().unwrap()).args(words).status();
    assert!(done.unwrap().success(), "{command}");
}

fn restore(kernel: &mut Kernel, doors: &[Door]) -> Adopted {
    kernel.restore(doors, &[]).unwrap()
}

fn what_we_do_ourselves_disturbs_nothing() {
    let (gateway, mut kernel) = Gateway::installed();
    // Where elements must be replaced, the trial that finds it out counts as somebody else's.
    if kernel.elements() == Elements::Prolonged {
        assert!(!kernel.is_disturbed().unwrap());
    }
    restore(&mut kernel, &[]);
    let door = media(gateway.phone.at(4000), 30000);
    for _ in 0..3 {
        open(&mut kernel, door);
        kernel.apply(&[], &[DoorOp::Refresh(door)]).unwrap();
        assert!(!kernel.is_disturbed().unwrap());
        kernel.apply(&[], &[DoorOp::Close(door)]).unwrap();
        kernel.tidy().unwrap();
        assert!(!kernel.is_disturbed().unwrap());
    }
    kernel.replan(&plan_with(Vec::new(), true)).unwrap();
    // A new plan may take several steps; it must not cost more than a look.
    assert!(!restore(&mut kernel, &[]).is_change());
    assert!(!kernel.is_disturbed().unwrap());
}

fn whatever_is_taken_away_is_noticed_and_put_back() {
    let mut plan = plan_with(vec![pool(20, 24, false)], true);
    plan.sip_tcp_ports = vec![5060];
    let (gateway, mut kernel) = Gateway::with(&plan);
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    let door = media(gateway.phone.at(4000), 30000);
    open(&mut kernel, door);
    let host = (gateway.second.address, Ipv4Addr::new(10, 1, 1, 20));
    let works = |kernel: &mut Kernel, found: &Adopted, what: &str| {
        heard(&outside, global(30000), &phone, gateway.outside.at(7000));
        heard(&phone, gateway.outside.at(7000), &outside, global(30000));
        assert!(found.is_change(), "{what}: {found:?}");
        assert!(!kernel.is_disturbed().unwrap(), "{what}");
    };
    kernel.restore(&[door], &[host]).unwrap();
    for what in [
        "nft flush ruleset",
        "nft delete table ip sipalg",
        "nft flush chain ip sipalg nat_pre",
        "nft flush table ip sipalg",
        "nft insert rule ip sipalg guard drop",
        "nft flush set ip sipalg door_ports",
        "nft flush map ip sipalg media_dn",
        "nft flush map ip sipalg media_sn",
        "nft flush map ip sipalg pool_sn",
        "nft flush set ip sipalg inside_if",
        "nft add element ip sipalg sip_ports { 7777 }",
        "nft add element ip sipalg media_dn { 10.1.1.1 . 31000 : 192.168.123.2 . 22 }",
        "ip rule del priority 5060",
        "ip route flush table 5060",
        "ip route flush table local proto 60",
        "sysctl -q net.ipv4.ip_forward=0",
    ] {
        assert!(!kernel.is_disturbed().unwrap(), "before {what}");
        run(what);
        assert!(kernel.is_disturbed().unwrap(), "{what}");
        let found = kernel.restore(&[door], &[host]).unwrap();
        works(&mut kernel, &found, what);
        let again = kernel.restore(&[door], &[host]).unwrap();
        assert!(!again.is_change() && again.kept == 1, "{what}: {again:?}");
    }
    assert_eq!(DIVERT_TABLE, 5060);
}

fn other_peoples_tables_are_none_of_our_business() {
    let (gateway, mut kernel) = Gateway::installed();
    let door = media(gateway.phone.at(4000), 30000);
    open(&mut kernel, door);
    restore(&mut kernel, &[door]);
    run("nft add table ip theirs");
    assert!(kernel.is_disturbed().unwrap());
    assert!(!restore(&mut kernel, &[door]).is_change());
    assert!(!kernel.is_disturbed().unwrap());
}

fn an_ordinary_flow_that_began_without_rules_stands_in_no_doors_way() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    let door = media(gateway.phone.at(4000), 30000);
    open(&mut kernel, door);
    run("nft flush ruleset");
    // The phone talks on, untranslated, and the outside knocks in vain.
    phone.send_to(b"lost", gateway.outside.at(7000)).unwrap();
    outside.send_to(b"lost", global(30000)).unwrap();
    crate::gateway::hear(&outside);
    restore(&mut kernel, &[door]);
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    heard(&phone, gateway.outside.at(7000), &outside, global(30000));
}

fn without_rules_a_door_that_is_opened_fails_and_the_next_restoring_makes_it() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    let door = media(gateway.phone.at(4000), 30000);
    run("nft delete table ip sipalg");
    let error = kernel.apply(&[], &[DoorOp::Open(door)]).unwrap_err();
    assert!(error.is_gone(), "{error}");
    let found = restore(&mut kernel, &[door]);
    assert_eq!((found.table, found.made), (true, 1), "{found:?}");
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
}
