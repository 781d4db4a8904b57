//! The tables of `show ...`.

use core::time::Duration;
use sipalg_core::alg::MappingView;
use sipalg_core::counters::Counters;
use sipalg_core::door::{Door, DoorKind, MediaCount};
use sipalg_core::{Instant, Leg, Protocol};
use sipalg_ios::show::{self, Connection};
use sipalg_ios::startup::Startup;
use std::net::SocketAddrV4;

fn at(address: &str) -> SocketAddrV4 {
    address.parse().expect("an address and port")
}

fn second(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn doors() -> Vec<Door> {
    let media = Door {
        kind: DoorKind::Media,
        protocol: Protocol::Udp,
        inside_local: at("192.168.122.3:6000"),
        inside_global: at("10.1.1.1:6000"),
        lifetime: Duration::from_secs(300),
    };
    let signalling = Door {
        kind: DoorKind::Signalling,
        protocol: Protocol::Tcp,
        inside_local: at("192.168.122.254:50600"),
        inside_global: at("203.0.113.254:50600"),
        ..media
    };
    vec![media, signalling]
}

fn mappings() -> Vec<MappingView> {
    let view = |door: Door, left, door_in_view| MappingView {
        protocol: Some(door.protocol),
        inside_local: door.inside_local,
        inside_global: door.inside_global,
        is_static: false,
        rule: Some(0),
        created: second(10),
        used: second(11),
        left,
        door: door_in_view,
    };
    let [media, signalling] = doors()[..] else {
        panic!("two doors")
    };
    vec![
        view(media, None, Some(media)),
        view(signalling, Some(Duration::from_secs(26)), None),
    ]
}

#[test]
fn translations_stand_in_the_columns_of_ios() {
    assert_eq!(
        show::translations(&mappings(), false, second(44)),
        "\
Pro Inside global      Inside local       Outside local      Outside global
udp 10.1.1.1:6000      192.168.122.3:6000 ---                ---
tcp 203.0.113.254:50600 192.168.122.254:50600 ---                ---
"
    );
}

#[test]
fn verbose_translations_tell_age_and_timer() {
    assert_eq!(
        show::translations(&mappings(), true, second(44)),
        "\
Pro Inside global      Inside local       Outside local      Outside global
udp 10.1.1.1:6000      192.168.122.3:6000 ---                ---
    create 00:00:34, use 00:00:33 timeout:0,
    flags:
appl-door, media
tcp 203.0.113.254:50600 192.168.122.254:50600 ---                ---
    create 00:00:34, use 00:00:33 timeout:59000, left 00:00:26,
    flags:
none
"
    );
}

#[test]
fn statistics_count_mappings_by_rule_and_doors() {
    let startup = Startup::parse(
        "interface lan1\n ip nat inside\ninterface lan2\n ip nat inside\ninterface wan\n ip nat outside\n\
         access-list 1 permit host 192.168.122.3\naccess-list 2 permit any\n\
         ip nat inside source list 1 interface wan overload\n\
         ip nat inside source list 2 interface wan overload\n",
    )
    .unwrap();
    assert_eq!(
        show::statistics(&mappings(), &doors()[..1], &startup),
        "\
Total active translations: 2 (0 static, 2 dynamic; 0 extended)
Outside interfaces:
  wan
Inside interfaces:
  lan1, lan2
Dynamic mappings:
-- Inside Source
[Id: 1] access-list 1 interface wan refcount 1
[Id: 2] access-list 2 interface wan refcount 1
Total doors: 1
Appl doors: 1
Normal doors: 0
"
    );
}

#[test]
fn doors_show_their_packets_where_they_are_counted() {
    let count = MediaCount {
        in_packets: 1500,
        in_bytes: 0,
        out_packets: 1498,
        out_bytes: 0,
    };
    assert_eq!(
        show::sip_doors(&doors(), &[(at("192.168.122.3:6000"), count)]),
        "\
Type  Pro Inside global         Inside local             Pkts in   Pkts out
media udp 10.1.1.1:6000         192.168.122.3:6000          1500       1498
sig   tcp 203.0.113.254:50600   192.168.122.254:50600          -          -
Total doors: 2
"
    );
}

#[test]
fn connections_show_who_opened_them() {
    let connection = Connection {
        opened_from: Leg::Inside,
        inside_local: at("192.168.122.3:40000"),
        inside_global: at("10.1.1.1:40000"),
        outside: at("203.0.113.9:5060"),
        age: Duration::from_secs(61),
    };
    assert_eq!(
        show::sip_connections(&[connection]),
        "\
From Inside global         Inside local          Outside global        Age
in   10.1.1.1:40000        192.168.122.3:40000   203.0.113.9:5060      00:01:01
Total connections: 1
"
    );
}

#[test]
fn every_counter_has_a_line() {
    let counters = Counters {
        messages_changed: 7,
        ..Counters::default()
    };
    let text = show::counters(&counters);
    assert_eq!(text.lines().count(), counters.iter().count());
    assert!(text.contains("messages changed       7\n"), "{text}");
}

#[test]
fn debugging_is_shown_only_while_it_is_on() {
    assert_eq!(
        show::debugging(true),
        "Generic IP:\n  IP NAT SIP debugging is on\n"
    );
    assert_eq!(show::debugging(false), "");
}

#[test]
fn the_running_configuration_has_its_length_above_it() {
    assert_eq!(
        show::running_config("!\nend\n"),
        "Building configuration...\n\nCurrent configuration : 6 bytes\n!\nend\n"
    );
}

#[test]
fn durations_get_coarser_as_they_grow() {
    let shown = |seconds| show::duration(Duration::from_secs(seconds));
    assert_eq!(shown(0), "00:00:00");
    assert_eq!(shown(86_399), "23:59:59");
    assert_eq!(shown(86_400), "1d00h");
    assert_eq!(shown(7 * 86_400 - 1), "6d23h");
    assert_eq!(shown(9 * 86_400), "1w2d");
}
