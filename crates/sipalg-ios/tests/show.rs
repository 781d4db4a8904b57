//! The tables of `show ...`.

use core::time::Duration;
use sipalg_core::alg::MappingView;
use sipalg_core::config::{Source, SourceRule};
use sipalg_core::counters::Counters;
use sipalg_core::door::{Door, DoorKind, MediaCount};
use sipalg_core::{Instant, Leg, Protocol};
use sipalg_ios::exec::DebugWhat;
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
extended, appl-door, media
tcp 203.0.113.254:50600 192.168.122.254:50600 ---                ---
    create 00:00:34, use 00:00:33 timeout:59000, left 00:00:26,
    flags:
extended
"
    );
}

/// A static host, a static port, a host with an address of its own, and a host of a shared pool.
fn of_all_kinds() -> Vec<MappingView> {
    let view = |protocol, local, global, is_static, rule| MappingView {
        protocol,
        inside_local: at(local),
        inside_global: at(global),
        is_static,
        rule: Some(rule),
        created: second(10),
        used: second(11),
        left: None,
        door: None,
    };
    let tcp = Some(Protocol::Tcp);
    vec![
        view(None, "10.0.0.5:0", "203.0.113.5:0", true, 1),
        view(tcp, "10.0.0.6:5060", "203.0.113.6:5062", true, 0),
        view(None, "10.0.1.7:0", "203.0.113.16:0", false, 2),
        view(tcp, "10.0.2.8:40000", "203.0.113.25:40000", false, 3),
        view(tcp, "10.0.2.9:40000", "203.0.113.25:40001", false, 3),
        view(tcp, "10.0.2.9:40002", "203.0.113.26:40002", false, 3),
    ]
}

/// The machine's rules, static ones first.
fn rules(startup: &Startup) -> Vec<SourceRule> {
    let fixed = |local, global| SourceRule {
        source: Source::Static {
            local,
            global,
            prefix: 32,
        },
        payload: true,
    };
    let list = |name| {
        let list = startup.access_list(name).unwrap_or_default();
        SourceRule::overload(list, [203, 0, 113, 1].into())
    };
    let any = [10, 0, 0, 5].into();
    vec![fixed(any, any), fixed(any, any), list("1"), list("2")]
}

#[test]
fn static_entries_and_whole_addresses_are_told_from_ports() {
    assert_eq!(
        show::translations(&of_all_kinds()[..3], true, second(44)),
        "\
Pro Inside global      Inside local       Outside local      Outside global
--- 203.0.113.5        10.0.0.5           ---                ---
    create 00:00:34, use 00:00:33 timeout:0,
    flags:
static
tcp 203.0.113.6:5062   10.0.0.6:5060      ---                ---
    create 00:00:34, use 00:00:33 timeout:0,
    flags:
static, extended
--- 203.0.113.16       10.0.1.7           ---                ---
    create 00:00:34, use 00:00:33 timeout:0,
    flags:
none
"
    );
}

#[test]
fn statistics_count_mappings_by_rule_and_pool_and_doors() {
    let text = "interface lan1\n ip nat inside\ninterface lan2\n ip nat inside\n\
         interface wan\n ip nat outside\n\
         access-list 1 permit 10.0.1.0 0.0.0.255\naccess-list 2 permit any\naccess-list 3 permit any\n\
         ip nat pool OWN 203.0.113.16 203.0.113.20 netmask 255.255.255.0\n\
         ip nat pool SHARED 203.0.113.25 203.0.113.32 prefix-length 26\n\
         ip nat inside source list 1 pool OWN\n\
         ip nat inside source static 10.0.0.5 203.0.113.5\n\
         ip nat inside source list 2 pool SHARED overload\n\
         ip nat inside source static tcp 10.0.0.6 5060 203.0.113.6 5062\n\
         ip nat inside source list 3 interface wan overload\n";
    let text = Startup::parse(text).map(|startup| {
        let counters = Counters {
            pool_exhausted: 7,
            ..Counters::default()
        };
        show::statistics(
            &of_all_kinds(),
            &doors()[..1],
            &counters,
            &rules(&startup),
            &startup,
        )
    });
    assert_eq!(
        text.unwrap(),
        "\
Total active translations: 6 (2 static, 4 dynamic; 4 extended)
Outside interfaces:
  wan
Inside interfaces:
  lan1, lan2
Dynamic mappings:
-- Inside Source
[Id: 1] access-list 1 pool OWN refcount 1
 pool OWN: netmask 255.255.255.0
        start 203.0.113.16 end 203.0.113.20
        type generic, total addresses 5, allocated 1 (20%), misses 7
[Id: 3] access-list 2 pool SHARED refcount 3
 pool SHARED: netmask 255.255.255.192
        start 203.0.113.25 end 203.0.113.32
        type generic, total addresses 8, allocated 2 (25%)
[Id: 5] access-list 3 interface wan refcount 0
Total doors: 1
Appl doors: 1
Normal doors: 0
"
    );
}

#[test]
fn access_lists_are_shown_as_ios_shows_them() {
    let startup = Startup::parse(
        "access-list 20 permit host 10.0.0.1\n\
         access-list 100 permit tcp any host 10.0.0.5 eq www established log\n\
         access-list 3 remark not shown\naccess-list 3 deny 10.0.0.0 0.255.255.255\naccess-list 3 permit any\n\
         ip access-list extended B\n 15 permit udp 10.0.0.0 0.0.0.255 range 1000 syslog any neq domain\n\
         ip access-list standard A\n permit 10.0.0.2\n",
    )
    .unwrap();
    let hits = [
        ("3".into(), vec![1, 12]),
        ("100".into(), vec![5]),
        ("B".into(), vec![0]),
    ];
    assert_eq!(
        show::access_lists(&startup, &hits, None),
        "\
Standard IP access list 3
    20 deny 10.0.0.0, wildcard bits 0.255.255.255 (1 match)
    30 permit any (12 matches)
Standard IP access list 20
    10 permit 10.0.0.1
Standard IP access list A
    10 permit 10.0.0.2
Extended IP access list 100
    10 permit tcp any host 10.0.0.5 eq www established log (5 matches)
Extended IP access list B
    15 permit udp 10.0.0.0 0.0.0.255 range syslog 1000 any neq domain
"
    );
    assert_eq!(
        show::access_lists(&startup, &hits, Some("20")),
        "Standard IP access list 20\n    10 permit 10.0.0.1\n"
    );
    assert_eq!(show::access_lists(&startup, &hits, Some("21")), "");
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
        show::debugging(Some(&DebugWhat::default()), None),
        "Generic IP:\n  IP NAT SIP debugging is on\n"
    );
    let of = DebugWhat {
        list: Some("10".into()),
        detailed: true,
        json: true,
    };
    assert_eq!(
        show::debugging(Some(&DebugWhat::default()), Some(&of)),
        "Generic IP:\n  IP NAT SIP debugging is on\n  \
         IP NAT SIP dry run is on for access list 10 (detailed, json)\n"
    );
    assert_eq!(show::debugging(None, None), "");
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
