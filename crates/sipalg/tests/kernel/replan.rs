//! A new plan while everything goes on.

use crate::gateway::{
    Gateway, accepted, global, heard, list, media, open, plan, plan_with, pool, proxy, unheard,
};
use sipalg::kernel::{Kernel, KernelError};
use sipalg::netlink::route::Route;
use sipalg_core::DoorOp;
use sipalg_core::config::{AccessEntry, AccessList, Source, SourceRule};
use sipalg_core::door::AddressOp;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

laws![
    media_and_taken_connections_outlive_a_new_plan,
    a_changed_rule_acts_at_once,
    l4f_may_be_switched_while_connections_go_on,
    a_plan_that_cannot_be_carried_out_changes_nothing,
    counts_go_on_where_entries_are_the_same,
    an_address_of_a_host_stays_with_it,
    borrowed_addresses_follow_the_plan,
    the_global_address_may_change,
    a_bound_counts_on_if_it_is_the_same,
    any_plan_may_follow_any_other,
];

/// Both ends hear each other.
fn talk(mut one: &TcpStream, mut other: &TcpStream) {
    let mut buffer = [0; 4];
    one.write_all(b"ping").unwrap();
    other.read_exact(&mut buffer).unwrap();
    other.write_all(b"pong").unwrap();
    one.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"pong");
}

fn at(last: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, last), port)
}

fn static_host() -> Source {
    Source::Static {
        local: Ipv4Addr::new(192, 168, 122, 2),
        global: Ipv4Addr::new(10, 1, 1, 40),
        prefix: 32,
    }
}

fn media_and_taken_connections_outlive_a_new_plan() {
    let (gateway, mut kernel) = Gateway::installed();
    let proxy = proxy();
    let client = gateway.phone.connect(0, gateway.outside.at(5060)).unwrap();
    let (server, _, _) = accepted(&proxy);
    let web = gateway.outside.listen(80);
    let ordinary = gateway.second.connect(0, gateway.outside.at(80)).unwrap();
    let (ordinary_server, _, _) = accepted(&web);
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    let door = media(gateway.phone.at(4000), 30000);
    open(&mut kernel, door);
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    let mut other = plan_with(vec![static_host()], true);
    other.sip_tcp_ports = vec![9000];
    other.timeouts.udp = Some(Duration::from_secs(77));
    for plan in [&other, &plan(), &plan()] {
        kernel.replan(plan).unwrap();
        heard(&outside, global(30000), &phone, gateway.outside.at(7000));
        heard(&phone, gateway.outside.at(7000), &outside, global(30000));
        talk(&client, &server);
        talk(&ordinary, &ordinary_server);
    }
    let count = kernel.media_counts().unwrap()[0].1;
    assert_eq!((count.in_packets, count.out_packets), (4, 3));
    // The door is still one that can be closed.
    kernel.apply(&[], &[DoorOp::Close(door)]).unwrap();
    unheard(&outside, global(30000), &phone);
}

fn a_changed_rule_acts_at_once() {
    let (gateway, mut kernel) = Gateway::installed();
    let proxy = proxy();
    let mut changed = plan_with(vec![static_host()], true);
    changed.sip_tcp_ports = vec![9000];
    kernel.replan(&changed).unwrap();
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    heard(&outside, at(40, 4000), &phone, gateway.outside.at(7000));
    let ear = gateway.outside.listen(5060);
    let _passes = gateway.phone.connect(0, gateway.outside.at(5060)).unwrap();
    accepted(&ear);
    let _taken = gateway.phone.connect(0, gateway.outside.at(9000)).unwrap();
    accepted(&proxy);
    kernel.replan(&plan()).unwrap();
    let _taken = gateway.phone.connect(0, gateway.outside.at(5060)).unwrap();
    accepted(&proxy);
}

fn l4f_may_be_switched_while_connections_go_on() {
    let (gateway, mut kernel) = Gateway::installed();
    let proxy = proxy();
    let connect = || gateway.phone.connect(0, gateway.outside.at(5060)).unwrap();
    let ear = gateway.outside.listen(5060);
    let (taken, taker) = (connect(), accepted(&proxy).0);
    let off = sipalg::kernel::Plan {
        l4f: false,
        ..plan()
    };
    kernel.replan(&off).unwrap();
    let (ordinary, server) = (connect(), accepted(&ear).0);
    talk(&taken, &taker);
    talk(&ordinary, &server);
    kernel.replan(&plan()).unwrap();
    talk(&taken, &taker);
    talk(&ordinary, &server);
    let (again, taker) = (connect(), accepted(&proxy).0);
    talk(&again, &taker);
}

fn a_plan_that_cannot_be_carried_out_changes_nothing() {
    let (gateway, mut kernel) = Gateway::installed();
    let proxy = proxy();
    let mut wrong = plan_with(vec![static_host()], false);
    wrong.outside.push("longer-than-any-interface-name".into());
    let error = kernel.replan(&wrong).unwrap_err();
    assert!(matches!(error, KernelError::Refused { .. }), "{error}");
    let _taken = gateway.phone.connect(0, gateway.outside.at(5060)).unwrap();
    accepted(&proxy);
    let outside = gateway.outside.udp(7000);
    let phone = gateway.phone.udp(4000);
    heard(&phone, gateway.outside.at(7000), &outside, global(4000));
    // And a right one may follow.
    kernel
        .replan(&plan_with(vec![static_host()], true))
        .unwrap();
}

fn counts_go_on_where_entries_are_the_same() {
    let (gateway, mut kernel) = Gateway::installed();
    let ear = gateway.outside.udp(7000);
    let flow = |port| {
        let phone = gateway.phone.udp(port);
        heard(&phone, gateway.outside.at(7000), &ear, global(port));
    };
    let hits = |kernel: &mut Kernel| kernel.access_hits().unwrap()[0].1.clone();
    flow(4000);
    flow(4001);
    kernel
        .replan(&plan_with(vec![static_host()], true))
        .unwrap();
    assert_eq!(hits(&mut kernel), [0, 2]);
    // With a line before it.
    let mut entries = list().entries;
    let nobody = AccessEntry::standard(false, [1, 2, 3, 4].into(), [0, 0, 0, 0].into());
    entries.insert(0, nobody);
    let longer = AccessList {
        name: "1".into(),
        entries,
    };
    let mut changed = plan();
    changed.sources[0].rule = SourceRule::overload(longer, crate::gateway::GLOBAL);
    kernel.replan(&changed).unwrap();
    assert_eq!(hits(&mut kernel), [0, 0, 2]);
    flow(4002);
    assert_eq!(hits(&mut kernel), [0, 0, 3]);
    kernel.replan(&plan()).unwrap();
    flow(4003);
    assert_eq!(hits(&mut kernel), [0, 4]);
}

fn an_address_of_a_host_stays_with_it() {
    let plan = plan_with(vec![pool(16, 17, false)], false);
    let (gateway, mut kernel) = Gateway::with(&plan);
    let assign = AddressOp::Assign {
        local: gateway.phone.address,
        global: Ipv4Addr::new(10, 1, 1, 16),
    };
    kernel.apply(&[assign], &[]).unwrap();
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    let mut changed = plan.clone();
    changed.sip_tcp_ports.push(9000);
    kernel.replan(&changed).unwrap();
    heard(&phone, gateway.outside.at(7000), &outside, at(16, 4000));
    heard(
        &outside,
        at(16, 9),
        &gateway.phone.udp(9),
        gateway.outside.at(7000),
    );
}

fn borrowed_addresses_follow_the_plan() {
    let (_gateway, mut kernel) = Gateway::installed();
    let ours = || -> Vec<_> {
        let routes = Route::open().unwrap().routes().unwrap();
        let ours = routes
            .iter()
            .filter(|route| route.protocol == sipalg::kernel::ROUTE_PROTOCOL);
        ours.map(|route| route.destination).collect()
    };
    assert_eq!(ours(), []);
    kernel
        .replan(&plan_with(vec![static_host()], true))
        .unwrap();
    assert_eq!(ours(), [(*at(40, 0).ip(), 32)]);
    kernel
        .replan(&plan_with(vec![pool(16, 31, true)], false))
        .unwrap();
    assert_eq!(ours(), [(*at(16, 0).ip(), 28)]);
    kernel.replan(&plan()).unwrap();
    assert_eq!(ours(), []);
}

fn the_global_address_may_change() {
    let (gateway, mut kernel) = Gateway::installed();
    let new = Ipv4Addr::new(10, 1, 1, 9);
    let mut route = Route::open().unwrap();
    route.add_address("gout", new, 24).unwrap();
    let mut moved = plan();
    moved.sources[0].rule = SourceRule::overload(list(), new);
    kernel.replan(&moved).unwrap();
    let phone = gateway.phone.udp(4000);
    let door = sipalg_core::Door {
        inside_global: SocketAddrV4::new(new, 30000),
        ..media(gateway.phone.at(4000), 0)
    };
    open(&mut kernel, door);
    let outside = gateway.outside.udp(7000);
    heard(&outside, at(9, 30000), &phone, gateway.outside.at(7000));
    heard(&phone, gateway.outside.at(7000), &outside, at(9, 30000));
}

fn a_bound_counts_on_if_it_is_the_same() {
    let mut bounded = plan();
    bounded.max_entries.all = Some(1);
    let (gateway, mut kernel) = Gateway::with(&bounded);
    let ear = gateway.outside.udp(7000);
    let (one, other) = (gateway.phone.udp(4000), gateway.phone.udp(4001));
    heard(&one, gateway.outside.at(7000), &ear, global(4000));
    bounded.sip_tcp_ports = vec![9000];
    kernel.replan(&bounded).unwrap();
    unheard(&other, gateway.outside.at(7000), &ear);
    heard(&one, gateway.outside.at(7000), &ear, global(4000));
    assert_eq!(kernel.over_bound().unwrap(), 1);
    bounded.max_entries.all = None;
    kernel.replan(&bounded).unwrap();
    heard(&other, gateway.outside.at(7000), &ear, global(4001));
}

fn any_plan_may_follow_any_other() {
    let mut plans = vec![
        plan(),
        plan_with(vec![static_host(), pool(16, 31, true)], false),
        plan_with(vec![pool(16, 31, false)], true),
    ];
    let full = {
        let mut full = plan_with(vec![static_host(), pool(8, 9, false)], true);
        full.bypass = Some(list());
        full.access_group = Some(list());
        full.media_access_group = Some(AccessList {
            name: "other".into(),
            ..list()
        });
        full.max_entries.all = Some(1000);
        full.max_entries.each_host = Some(100);
        full.max_entries.hosts = vec![([192, 168, 122, 2].into(), 5)];
        full.max_entries.lists = vec![(list(), 50)];
        full.timeouts.ports = vec![(sipalg_core::Protocol::Tcp, 80, None)];
        full.l4f = false;
        full
    };
    plans.push(full);
    let (gateway, mut kernel) = Gateway::with(&plans[0]);
    for first in &plans {
        for second in &plans {
            kernel.replan(first).unwrap();
            kernel.replan(second).unwrap();
        }
    }
    let text = |kernel: Kernel| {
        let listed = std::process::Command::new("nft")
            .args(["list", "table", "ip", "sipalg"])
            .output()
            .unwrap();
        kernel.remove().unwrap();
        let text = String::from_utf8(listed.stdout).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    // Nothing of the others is left.
    kernel.replan(&plans[1]).unwrap();
    let changed = text(kernel);
    let fresh = gateway.carry_out(&plans[1]);
    assert_eq!(changed, text(fresh));
}
