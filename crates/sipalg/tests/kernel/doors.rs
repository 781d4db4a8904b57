//! Media doors.

use crate::gateway::{
    ELEMENTS, GLOBAL, Gateway, close, eventually, global, hear, heard, media, open, say, unheard,
};
use sipalg::kernel::ruleset::{MEDIA_SN, TABLE};
use sipalg::kernel::{Elements, Kernel};
use sipalg::netlink::conntrack::Conntrack;
use sipalg::netlink::nft::{self, Hook, HookPoint, Nft, Rule};
use sipalg_core::door::MediaCount;
use sipalg_core::{Door, DoorOp};
use std::time::{Duration, Instant};

laws![
    a_door_lets_any_outside_host_reach_the_inside_host,
    what_leaves_a_doors_inside_local_has_its_inside_global_for_any_destination,
    a_closed_door_is_closed_at_once_in_both_directions,
    a_re_pointed_door_leads_to_the_new_host_at_once,
    an_older_flow_in_the_way_of_a_door_gives_way,
    a_flow_older_than_its_door_is_counted_and_closed_with_it,
    an_ordinary_flow_that_shares_a_doors_port_number_is_undisturbed,
    a_later_ordinary_flow_does_not_take_a_doors_port,
    an_operators_own_masquerade_does_not_get_in_a_doors_way,
    a_door_counts_each_packet_and_byte_both_ways,
    media_that_began_a_flow_is_a_miss_and_what_follows_a_hit,
    an_icmp_error_about_media_reaches_whom_it_concerns,
    a_refresh_begins_the_lifetime_anew_and_keeps_the_counters,
    a_door_that_is_not_refreshed_closes_by_itself,
    two_inside_hosts_reach_each_other_through_their_doors,
    an_inside_host_without_a_door_reaches_anothers_door,
    thousands_of_doors_open_and_close_in_one_go,
    one_door_more_costs_the_same_among_thousands,
    a_flow_never_gets_the_port_of_any_of_many_doors,
    an_end_that_moves_to_another_door_takes_no_old_flow_along,
    ordinary_traffic_is_masqueraded_if_the_list_permits_it,
    the_laws_of_doors_hold_where_elements_cannot_be_prolonged,
];

/// These laws again, and others that move elements, the way older kernels need it.
fn the_laws_of_doors_hold_where_elements_cannot_be_prolonged() {
    let itself = "the_laws_of_doors_hold_where_elements_cannot_be_prolonged";
    let all = [LAWS, crate::datagrams::LAWS, crate::replan::LAWS].concat();
    for (name, law) in all.into_iter().filter(|(name, _)| *name != itself) {
        let held = std::thread::spawn(move || {
            ELEMENTS.with(|elements| elements.set(Some(Elements::Replaced)));
            law();
        });
        assert!(held.join().is_ok(), "{name}");
    }
}

fn a_door_lets_any_outside_host_reach_the_inside_host() {
    let (gateway, mut kernel) = Gateway::installed();
    let phone = gateway.phone.udp(4000);
    open(&mut kernel, media(gateway.phone.at(4000), 30000));
    let one = gateway.outside.udp(7000);
    let other = gateway
        .outside
        .run(|| std::net::UdpSocket::bind("10.1.1.3:7001").unwrap());
    heard(&one, global(30000), &phone, gateway.outside.at(7000));
    heard(
        &other,
        global(30000),
        &phone,
        "10.1.1.3:7001".parse().unwrap(),
    );
    // And the answer comes from where the question went.
    heard(&phone, gateway.outside.at(7000), &one, global(30000));
}

fn what_leaves_a_doors_inside_local_has_its_inside_global_for_any_destination() {
    let (gateway, mut kernel) = Gateway::installed();
    let phone = gateway.phone.udp(4000);
    let ears = [7000, 7001].map(|port| gateway.outside.udp(port));
    open(&mut kernel, media(gateway.phone.at(4000), 30000));
    heard(&phone, gateway.outside.at(7000), &ears[0], global(30000));
    heard(&phone, gateway.outside.at(7001), &ears[1], global(30000));
    heard(&ears[1], global(30000), &phone, gateway.outside.at(7001));
}

fn a_closed_door_is_closed_at_once_in_both_directions() {
    let (gateway, mut kernel) = Gateway::installed();
    let phone = gateway.phone.udp(4000);
    let outside = gateway.outside.udp(7000);
    let door = media(gateway.phone.at(4000), 30000);
    open(&mut kernel, door);
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    heard(&phone, gateway.outside.at(7000), &outside, global(30000));
    close(&mut kernel, door);
    unheard(&outside, global(30000), &phone);
    // The phone may soon talk on as any host may, but no longer in the door's name.
    kernel.tidy().unwrap();
    heard(&phone, gateway.outside.at(7000), &outside, global(4000));
}

fn a_re_pointed_door_leads_to_the_new_host_at_once() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, second) = (gateway.phone.udp(4000), gateway.second.udp(4002));
    let outside = gateway.outside.udp(7000);
    open(&mut kernel, media(gateway.phone.at(4000), 30000));
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    heard(&phone, gateway.outside.at(7000), &outside, global(30000));
    open(&mut kernel, media(gateway.second.at(4002), 30000));
    heard(&outside, global(30000), &second, gateway.outside.at(7000));
    heard(&second, gateway.outside.at(7000), &outside, global(30000));
    heard(&phone, gateway.outside.at(7000), &outside, global(4000));
}

fn an_older_flow_in_the_way_of_a_door_gives_way() {
    let (gateway, mut kernel) = Gateway::installed();
    let phone = gateway.phone.udp(4000);
    let (early, outside) = (gateway.outside.udp(7000), gateway.outside.udp(7001));
    // Media before the answer: to a port that is no door yet, and out of a port that has none.
    say(&early, "too early", global(30000));
    heard(&phone, gateway.outside.at(7001), &outside, global(4000));
    open(&mut kernel, media(gateway.phone.at(4000), 30000));
    heard(&early, global(30000), &phone, gateway.outside.at(7000));
    heard(&phone, gateway.outside.at(7001), &outside, global(30000));
}

fn a_flow_older_than_its_door_is_counted_and_closed_with_it() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    // The last packets of one call, from the port that the next one uses again: masquerade keeps
    // the number that the door has too.
    heard(&phone, gateway.outside.at(7000), &outside, global(4000));
    let door = media(gateway.phone.at(4000), 4000);
    open(&mut kernel, door);
    heard(&phone, gateway.outside.at(7000), &outside, global(4000));
    heard(&outside, global(4000), &phone, gateway.outside.at(7000));
    let (_, count) = kernel.media_counts().unwrap()[0];
    assert_eq!((count.in_packets, count.out_packets), (1, 1));
    close(&mut kernel, door);
    unheard(&outside, global(4000), &phone);
}

fn an_ordinary_flow_that_shares_a_doors_port_number_is_undisturbed() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, second) = (gateway.phone.udp(4000), gateway.second.udp(30000));
    let (peer, other) = (gateway.outside.udp(7000), gateway.outside.udp(7001));
    heard(&second, gateway.outside.at(7000), &peer, global(30000));
    let door = media(gateway.phone.at(4000), 30000);
    open(&mut kernel, door);
    heard(&peer, global(30000), &second, gateway.outside.at(7000));
    heard(&other, global(30000), &phone, gateway.outside.at(7001));
    close(&mut kernel, door);
    heard(&peer, global(30000), &second, gateway.outside.at(7000));
    heard(&second, gateway.outside.at(7000), &peer, global(30000));
}

fn a_later_ordinary_flow_does_not_take_a_doors_port() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, second) = (gateway.phone.udp(4000), gateway.second.udp(30000));
    let peer = gateway.outside.udp(7000);
    open(&mut kernel, media(gateway.phone.at(4000), 30000));
    say(&second, "hello", gateway.outside.at(7000));
    let (_, seen_from) = hear(&peer);
    assert_eq!(seen_from.ip(), GLOBAL);
    assert_ne!(seen_from.port(), 30000);
    // So the same peer reaches the phone through the door, and the other by its own port.
    heard(&peer, global(30000), &phone, gateway.outside.at(7000));
    heard(
        &peer,
        global(seen_from.port()),
        &second,
        gateway.outside.at(7000),
    );
}

fn an_operators_own_masquerade_does_not_get_in_a_doors_way() {
    let (gateway, mut kernel) = Gateway::installed();
    let hook = Hook {
        kind: "nat",
        at: HookPoint::Postrouting,
        priority: 100,
    };
    let rules = vec![
        nft::add_table("operator"),
        nft::add_chain("operator", "post", Some(hook)),
        nft::add_rule("operator", "post", Rule::new().masquerade_random(), &[]),
    ];
    Nft::open().unwrap().commit(rules).unwrap();
    let phone = gateway.phone.udp(4000);
    let (one, other) = (gateway.outside.udp(7000), gateway.outside.udp(7001));
    open(&mut kernel, media(gateway.phone.at(4000), 30000));
    heard(&phone, gateway.outside.at(7000), &one, global(30000));
    // Ordinary traffic is translated once, too: by us, who come first.
    let second = gateway.second.udp(4002);
    heard(&second, gateway.outside.at(7001), &other, global(4002));
}

fn a_door_counts_each_packet_and_byte_both_ways() {
    let (gateway, mut kernel) = Gateway::installed();
    let phone = gateway.phone.udp(4000);
    let (one, other) = (gateway.outside.udp(7000), gateway.outside.udp(7001));
    open(&mut kernel, media(gateway.phone.at(4000), 30000));
    assert_eq!(
        kernel.media_counts().unwrap(),
        [(gateway.phone.at(4000), MediaCount::default())]
    );
    heard(&phone, gateway.outside.at(7000), &one, global(30000));
    for _ in 0..3 {
        heard(&one, global(30000), &phone, gateway.outside.at(7000));
    }
    heard(&other, global(30000), &phone, gateway.outside.at(7001));
    heard(&phone, gateway.outside.at(7001), &other, global(30000));
    // Five bytes of payload, with 8 of UDP and 20 of IP.
    let count = MediaCount {
        in_packets: 4,
        in_bytes: 132,
        out_packets: 2,
        out_bytes: 66,
    };
    assert_eq!(
        kernel.media_counts().unwrap(),
        [(gateway.phone.at(4000), count)]
    );
}

fn media_that_began_a_flow_is_a_miss_and_what_follows_a_hit() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    open(&mut kernel, media(gateway.phone.at(4000), 30000));
    let before = kernel.translated().unwrap();
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    heard(&phone, gateway.outside.at(7000), &outside, global(30000));
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    let (hits, misses) = kernel.translated().unwrap();
    assert_eq!((hits - before.0, misses - before.1), (2, 1));
}

fn an_icmp_error_about_media_reaches_whom_it_concerns() {
    let (gateway, mut kernel) = Gateway::installed();
    // Nobody listens at the phone's port, nor at the one outside.
    open(&mut kernel, media(gateway.phone.at(4000), 30000));
    let outside = gateway.outside.udp(7000);
    outside.connect(global(30000)).unwrap();
    let refused = |socket: &std::net::UdpSocket| {
        eventually(|| {
            let sent = socket.send(b"media").err();
            let told = sent.or_else(|| socket.take_error().ok().flatten())?;
            (told.kind() == std::io::ErrorKind::ConnectionRefused).then_some(())
        });
    };
    refused(&outside);
    drop(outside);
    let phone = gateway.phone.udp(4000);
    phone.connect(gateway.outside.at(7000)).unwrap();
    refused(&phone);
}

fn a_refresh_begins_the_lifetime_anew_and_keeps_the_counters() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    let door = media(gateway.phone.at(4000), 30000);
    open(&mut kernel, door);
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    let left = || Nft::open().unwrap().elements(TABLE, &MEDIA_SN).unwrap()[0].expires;
    let old = eventually(|| {
        Some(left()).filter(|left| *left < door.lifetime - Duration::from_millis(50))
    });
    kernel.apply(&[], &[DoorOp::Refresh(door)]).unwrap();
    assert!(left() > old, "{:?} is not more than {old:?}", left());
    assert_eq!(kernel.media_counts().unwrap()[0].1.in_packets, 1);
}

fn a_door_that_is_not_refreshed_closes_by_itself() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, outside) = (gateway.phone.udp(4000), gateway.outside.udp(7000));
    let door = media(gateway.phone.at(4000), 30000);
    open(
        &mut kernel,
        Door {
            lifetime: Duration::from_millis(500),
            ..door
        },
    );
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    let elements = || Nft::open().unwrap().elements(TABLE, &MEDIA_SN).unwrap();
    eventually(|| elements().is_empty().then_some(()));
    unheard(&gateway.outside.udp(7001), global(30000), &phone);
    // The flow is still known to the kernel, and yet nothing passes, except where what counts must
    // outlive the door.
    if kernel.elements() == Elements::Prolonged {
        unheard(&outside, global(30000), &phone);
    }
}

fn two_inside_hosts_reach_each_other_through_their_doors() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, second) = (gateway.phone.udp(4000), gateway.second.udp(4002));
    let doors = [
        media(gateway.phone.at(4000), 30000),
        media(gateway.second.at(4002), 30002),
    ];
    kernel.apply(&[], &doors.map(DoorOp::Open)).unwrap();
    for _ in 0..2 {
        heard(&phone, global(30002), &second, global(30000));
        heard(&second, global(30000), &phone, global(30002));
    }
    let mut counts = kernel.media_counts().unwrap();
    counts.sort_unstable_by_key(|(local, _)| *local);
    for (_, count) in counts {
        assert_eq!((count.in_packets, count.out_packets), (2, 2));
    }
    close(&mut kernel, doors[0]);
    unheard(&second, global(30000), &phone);
}

fn an_inside_host_without_a_door_reaches_anothers_door() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, second) = (gateway.phone.udp(4000), gateway.second.udp(4002));
    open(&mut kernel, media(gateway.phone.at(4000), 30000));
    heard(&second, global(30000), &phone, global(4002));
    heard(&phone, global(4002), &second, global(30000));
    // The same host calling itself.
    let own = gateway.phone.udp(4004);
    heard(&own, global(30000), &phone, global(4004));
    heard(&phone, global(4004), &own, global(30000));
}

fn thousands_of_doors_open_and_close_in_one_go() {
    let (gateway, mut kernel) = Gateway::installed();
    let doors = (0..5000).map(|n| media(gateway.phone.at(10_000 + n), 20_000 + n));
    let open: Vec<_> = doors.clone().map(DoorOp::Open).collect();
    kernel.apply(&[], &open).unwrap();
    assert_eq!(kernel.media_counts().unwrap().len(), 5000);
    let phone = gateway.phone.udp(14_999);
    let outside = gateway.outside.udp(7000);
    heard(&outside, global(24_999), &phone, gateway.outside.at(7000));
    kernel
        .apply(&[], &doors.map(DoorOp::Close).collect::<Vec<_>>())
        .unwrap();
    assert_eq!(kernel.media_counts().unwrap(), []);
    unheard(&outside, global(24_999), &phone);
}

/// The least that it takes to open and close one door more, of many tries.
fn one_more(gateway: &Gateway, kernel: &mut Kernel) -> Duration {
    let more = media(gateway.second.at(4000), 60_000);
    let tries = (0..200).map(|_| {
        let begin = Instant::now();
        open(kernel, more);
        close(kernel, more);
        begin.elapsed()
    });
    tries.min().unwrap()
}

fn one_door_more_costs_the_same_among_thousands() {
    let (gateway, mut kernel) = Gateway::installed();
    let outside = gateway.outside.udp(7000);
    let add = |kernel: &mut Kernel, doors: std::ops::Range<u16>| {
        let door = |n| media(gateway.phone.at(10_000 + n), 20_000 + n);
        let open: Vec<_> = doors.clone().map(|n| DoorOp::Open(door(n))).collect();
        kernel.apply(&[], &open).unwrap();
        // A flow through each, in both directions an entry of connection tracking.
        for n in doors {
            say(&outside, "media", global(20_000 + n));
        }
    };
    add(&mut kernel, 0..10);
    let among_few = one_more(&gateway, &mut kernel);
    add(&mut kernel, 10..10_000);
    // Whatever else the machine does makes it slower, never faster: one quiet moment is enough.
    let mut tries = Vec::new();
    let cheap = (0..20).any(|_| {
        let among_many = one_more(&gateway, &mut kernel);
        tries.push(among_many);
        among_many < among_few * 3 / 2
    });
    let flows = Conntrack::open().unwrap().udp().unwrap().len();
    assert!(flows > 9_000, "only {flows} flows are left");
    assert!(cheap, "{tries:?} among thousands, {among_few:?} among ten");
}

fn a_flow_never_gets_the_port_of_any_of_many_doors() {
    let (gateway, mut kernel) = Gateway::installed();
    let doors = (0..30_000).map(|n| media(gateway.phone.at(10_000 + n), 20_000 + n));
    let open: Vec<_> = doors.map(DoorOp::Open).collect();
    kernel.apply(&[], &open).unwrap();
    let ear = gateway.outside.udp(7000);
    ear.set_nonblocking(true).unwrap();
    let mut buffer = [0; 16];
    for port in 20_000..20_030 {
        let mouth = gateway.second.udp(port);
        // Its own port is a door's, and so is nearly every second other. A packet may get lost.
        let (_, seen) = eventually(|| {
            say(&mouth, "hello", gateway.outside.at(7000));
            ear.recv_from(&mut buffer.clone()).ok()
        });
        assert!(!(20_000..50_000).contains(&seen.port()), "{seen}");
        while ear.recv_from(&mut buffer).is_ok() {}
    }
}

fn an_end_that_moves_to_another_door_takes_no_old_flow_along() {
    let (gateway, mut kernel) = Gateway::installed();
    let (phone, second) = (gateway.phone.udp(4000), gateway.second.udp(4000));
    let outside = gateway.outside.udp(7000);
    let old = media(gateway.phone.at(4000), 30000);
    open(&mut kernel, old);
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
    heard(&phone, gateway.outside.at(7000), &outside, global(30000));
    close(&mut kernel, old);
    // The old flows are still known to the kernel. The global end goes to another host ...
    open(&mut kernel, media(gateway.second.at(4000), 30000));
    heard(&outside, global(30000), &second, gateway.outside.at(7000));
    // ... the local end gets another, and both as they were.
    open(&mut kernel, media(gateway.phone.at(4000), 30002));
    heard(&phone, gateway.outside.at(7000), &outside, global(30002));
    close(&mut kernel, media(gateway.phone.at(4000), 30002));
    open(&mut kernel, old);
    heard(&phone, gateway.outside.at(7000), &outside, global(30000));
    heard(&outside, global(30000), &phone, gateway.outside.at(7000));
}

fn ordinary_traffic_is_masqueraded_if_the_list_permits_it() {
    let (gateway, _kernel) = Gateway::installed();
    let ear = gateway.outside.udp(7000);
    let second = gateway.second.udp(4002);
    heard(&second, gateway.outside.at(7000), &ear, global(4002));
    heard(&ear, global(4002), &second, gateway.outside.at(7000));
    let denied = gateway.denied.udp(4003);
    say(&denied, "hello", gateway.outside.at(7000));
    assert_eq!(hear(&ear).1, gateway.denied.at(4003).into());
}
