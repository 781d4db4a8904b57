//! The tables of `show ...`.
#![allow(clippy::unwrap_used)] // a helper that fails is a law that fails

use core::time::Duration;
use sipalg_core::admission::{LimitView, ShareView};
use sipalg_core::alg::{MappingView, Peak, Usage};
use sipalg_core::config::{Resource, Source, SourceRule};
use sipalg_core::counters::Counters;
use sipalg_core::door::{Door, DoorKind, MediaCount};
use sipalg_core::{Instant, Leg, Protocol};
use sipalg_ios::exec::DebugWhat;
use sipalg_ios::show::{self, Connection, Form, Format, Gathered, Packets, Service, View, Which};
use sipalg_ios::startup::Startup;
use std::net::{Ipv4Addr, SocketAddrV4};

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
        show::translations(&mappings(), Which::default(), second(44)).text(),
        "\
Pro Inside global      Inside local       Outside local      Outside global
udp 10.1.1.1:6000      192.168.122.3:6000 ---                ---
tcp 203.0.113.254:50600 192.168.122.254:50600 ---                ---
"
    );
}

fn verbose() -> Which {
    Which {
        form: Form::Verbose,
        ..Which::default()
    }
}

#[test]
fn verbose_translations_tell_age_and_timer() {
    assert_eq!(
        show::translations(&mappings(), verbose(), second(44)).text(),
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
        show::translations(&of_all_kinds()[..3], verbose(), second(44)).text(),
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

/// Statistics of these, with a peak of nine besides a static host, 83 s before.
fn gathered<'a>(
    startup: &'a Startup,
    counters: &'a Counters,
    mappings: &'a [MappingView],
    rules: &'a [SourceRule],
) -> Gathered<'a> {
    Gathered {
        mappings,
        doors: 1,
        counters,
        peak: Peak {
            count: 9,
            at: second(17),
        },
        packets: Some(Packets {
            hits: 40,
            misses: 3,
        }),
        rules,
        startup,
        now: second(100),
    }
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
            mappings_expired: 5,
            ..Counters::default()
        };
        show::statistics(&gathered(
            &startup,
            &counters,
            &of_all_kinds(),
            &rules(&startup),
        ))
        .text()
    });
    assert_eq!(
        text.unwrap(),
        "\
Total active translations: 6 (2 static, 4 dynamic; 4 extended)
Peak translations: 10, occurred 00:01:23 ago
Outside interfaces:
  wan
Inside interfaces:
  lan1, lan2
Hits: 40  Misses: 3
Expired translations: 5
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
        show::access_lists(&startup, &hits, None).text(),
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
        show::access_lists(&startup, &hits, Some("20")).text(),
        "Standard IP access list 20\n    10 permit 10.0.0.1\n"
    );
    assert_eq!(show::access_lists(&startup, &hits, Some("21")).text(), "");
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
        show::sip_doors(&doors(), &[(at("192.168.122.3:6000"), count)]).text(),
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
        show::sip_connections(&[connection]).text(),
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
    let text = show::counters(&counters).text();
    assert_eq!(text.lines().count(), counters.iter().count());
    assert!(text.contains("messages changed       7\n"), "{text}");
}

#[test]
fn debugging_is_shown_only_while_it_is_on() {
    assert_eq!(
        show::debugging(Some(DebugWhat::default()), None).text(),
        "Generic IP:\n  IP NAT SIP debugging is on\n"
    );
    let of = DebugWhat {
        list: Some("10".into()),
        detailed: true,
        json: true,
    };
    assert_eq!(
        show::debugging(Some(DebugWhat::default()), Some(of)).text(),
        "Generic IP:\n  IP NAT SIP debugging is on\n  \
         IP NAT SIP dry run is on for access list 10 (detailed, json)\n"
    );
    assert_eq!(show::debugging(None, None).text(), "");
}

#[test]
fn the_running_configuration_has_its_length_above_it() {
    assert_eq!(
        show::running_config("!\nend\n").text(),
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

#[test]
fn translations_are_picked_by_protocol_and_host_and_counted() {
    let shown = |which| show::translations(&of_all_kinds(), which, second(44));
    let of = |inside: &str, form| {
        shown(Which {
            protocol: Some(Protocol::Tcp),
            inside: Some(inside.parse().unwrap()),
            form,
        })
    };
    let line = "tcp 203.0.113.6:5062   10.0.0.6:5060      ---                ---\n";
    for inside in ["10.0.0.6", "203.0.113.6"] {
        let text = of(inside, Form::Table).text();
        assert_eq!(text.split_once('\n').unwrap().1, line);
    }
    let total = of("203.0.113.25", Form::Total);
    assert_eq!(total.text(), "Total number of translations: 2\n");
    assert_eq!(json(&total), serde_json::json!({"total": 2}));
    let none = of("10.0.0.5", Form::Table).text();
    assert_eq!(none.lines().count(), 1, "{none}");
}

#[test]
fn pools_tell_who_uses_them_and_how_much_is_left() {
    let startup = Startup::parse(POOLS).unwrap();
    let counters = Counters {
        pool_exhausted: 7,
        ..Counters::default()
    };
    let shown = |only| show::pools(&startup, &of_all_kinds(), &counters, only).text();
    assert_eq!(
        shown(None),
        "\
NAT Pool Statistics
Pool name OWN, id 1
  start 203.0.113.16 end 203.0.113.20 netmask 255.255.255.0, access-list 1
                         Assigned    Available
  Addresses                     1            4
  TCP ports                     0
  UDP ports                     0
  Misses                        7
Pool name SHARED, id 2
  start 203.0.113.25 end 203.0.113.32 netmask 255.255.255.192, access-list 2, overload
                         Assigned    Available
  Addresses                     2            6
  TCP ports                     3
  UDP ports                     0
  Misses                        -
Pool name SPARE, id 3
  start 203.0.113.40 end 203.0.113.40 netmask 255.255.255.192, unused
                         Assigned    Available
  Addresses                     0            1
  TCP ports                     0
  UDP ports                     0
  Misses                        -
"
    );
    assert_eq!(shown(Some("SHARED")).lines().count(), 8);
    assert_eq!(shown(Some("shared")), "");
}

const POOLS: &str = "interface lan\n ip nat inside\ninterface wan\n ip nat outside\n\
     access-list 1 permit 10.0.1.0 0.0.0.255\naccess-list 2 permit any\naccess-list 3 permit any\n\
     ip nat pool OWN 203.0.113.16 203.0.113.20 netmask 255.255.255.0\n\
     ip nat pool SHARED 203.0.113.25 203.0.113.32 prefix-length 26\n\
     ip nat pool SPARE 203.0.113.40 203.0.113.40 prefix-length 26\n\
     ip nat inside source list 1 pool OWN\n\
     ip nat inside source list 2 pool SHARED overload\n\
     ip nat inside source list 3 interface wan overload\n";

#[test]
fn resources_show_what_is_known_of_every_table() {
    let usage = Usage {
        name: "calls",
        used: 12,
        limit: Some(65_536),
        peak: Some(40),
        refused: Some(0),
    };
    let unknown = Usage {
        name: "kept spellings",
        used: 0,
        limit: None,
        peak: None,
        refused: None,
    };
    assert_eq!(
        show::resources(&[usage, unknown]).text(),
        "\
Resource                               Used       Peak      Limit    Refused
calls                                    12         40      65536          0
kept spellings                            0          -          -          -
"
    );
}

#[test]
fn limits_show_who_is_nearest_to_them() {
    let share = ShareView {
        host: Ipv4Addr::new(192, 168, 122, 66),
        used: 20,
        limit: 20,
        refused: 7,
    };
    let other = ShareView {
        host: Ipv4Addr::new(192, 168, 122, 3),
        used: 2,
        refused: 0,
        ..share
    };
    let view = LimitView {
        resource: Resource::Connection,
        used: 22,
        peak: 30,
        refused: 7,
        limit: 65_536,
        host: 20,
        trusted: 49_152,
        hosts: vec![share, other],
    };
    let shown = show::limits(&[view]);
    assert_eq!(
        shown.text(),
        "\
Limit                  Used       Peak        All       Host    Trusted    Refused
connections              22         30      65536         20      49152          7
  192.168.122.66 has 20 of 20, refused 7 times
  192.168.122.3 has 2 of 20
"
    );
    let json = show::render(&shown, Format::Json);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let limit = &json["limits"][0];
    assert_eq!(limit["name"], "connections");
    assert_eq!(limit["nearest"][0]["host"], "192.168.122.66");
    assert_eq!(limit["nearest"][0]["refused"], 7);
}

#[test]
fn the_store_tells_where_it_is_and_what_ails_it() {
    let mut store = show::Store {
        file: Some("/var/lib/sipalg/store.redb".into()),
        records: 120,
        commits: 7,
        written_seconds_ago: Some(62),
        waiting_bytes: 0,
        failures: 0,
        trouble: None,
    };
    assert_eq!(
        store.text(),
        "\
Store is /var/lib/sipalg/store.redb
  120 records, 7 commits, last 00:01:02 ago, 0 bytes wait, 0 failures
"
    );
    (store.file, store.written_seconds_ago) = (None, None);
    (store.commits, store.failures) = (0, 2);
    store.trouble = Some("cannot write /srv/store.redb: No space left; make room there".into());
    assert_eq!(
        store.text(),
        "\
Store is nowhere: a restart loses calls and registrations
  120 records, 0 commits, never, 0 bytes wait, 2 failures
  Trouble: cannot write /srv/store.redb: No space left; make room there
"
    );
}

const ROLES: &str = "interface lan\n ip nat inside\ninterface wan\n ip nat outside\n\
     access-list 1 permit any\naccess-list 2 permit any\n";
const RULE: &str = "ip nat inside source list 1 interface wan overload";

#[test]
fn every_port_tells_what_becomes_of_it_and_why() {
    let shown = |lines: &str, services: &[Service]| {
        let mut editor = sipalg_ios::parse::Editor::default();
        for line in lines.lines() {
            editor.line(line).unwrap();
        }
        let text = show::ports(&editor.startup, services, Vec::new()).text();
        text.split_once('\n').unwrap().1.to_owned()
    };
    let working = format!("{ROLES}{RULE}\n");
    assert_eq!(
        shown(&format!("{working}ip nat service sip tcp port 8000\n"), &[]),
        "tcp 5060  intercepting\ntcp 8000  intercepting\nudp 5060  intercepting\n"
    );
    assert_eq!(
        shown("interface wan\n ip nat outside\n", &[]),
        "tcp 5060  no inside interface  no interface is `ip nat inside`\n\
         udp 5060  no inside interface  no interface is `ip nat inside`\n"
    );
    assert_eq!(
        shown(
            "interface lan\n ip nat inside\nno ip nat service sip tcp port 5060\n",
            &[]
        ),
        "udp 5060  no outside interface no interface is `ip nat outside`\n"
    );
    assert_eq!(
        shown(
            &format!("{ROLES}no ip nat service sip udp port 5060\n"),
            &[]
        ),
        "tcp 5060  no rule              there is no `ip nat inside source`\n"
    );
    assert_eq!(
        shown(&format!("{working}no ip nat l4f\n"), &[]),
        "tcp 5060  L3/L4 only           `no ip nat l4f`\nudp 5060  intercepting\n"
    );
    let plain = format!("{ROLES}{RULE} no-payload\nno ip nat service sip tcp port 5060\n");
    assert_eq!(
        shown(&plain, &[]),
        "udp 5060  L3/L4 only           every rule says `no-payload`\n"
    );
    let some = format!(
        "{working}ip nat inside source list 2 interface wan overload no-payload\n\
         no ip nat service sip tcp port 5060\nip nat service sip bypass 7\naccess-list 7 deny 10.0.0.1\n"
    );
    assert_eq!(
        shown(&some, &[]),
        "udp 5060  intercepting         not hosts of list 2 (no-payload); not what list 7 permits (bypass)\n"
    );
    assert_eq!(
        shown(&some.replace("7 deny 10.0.0.1", "7 permit any"), &[]),
        "udp 5060  L3/L4 only           `ip nat service sip bypass` permits everything\n"
    );
    let kamailio = Service {
        protocol: Protocol::Udp,
        port: 5060,
        owner: Some("kamailio (process 812)".into()),
    };
    assert_eq!(
        shown(&working, &[kamailio]),
        "tcp 5060  intercepting\n\
         udp 5060  conflict             kamailio (process 812) of this gateway waits there, and gets what is sent \
         to the gateway itself\n"
    );
}

#[test]
fn versions_are_shown_as_ios_shows_them() {
    let version = |uptime_seconds| show::Version {
        version: "1.2.3",
        build: "release",
        target: "x86_64-linux".into(),
        kernel: "Linux 6.1.0".into(),
        hostname: "gw".into(),
        uptime_seconds,
        process: 42,
        configuration_file: "/etc/sipalg/startup-config".into(),
    };
    assert_eq!(
        version(90_061 + 7 * 86_400).text(),
        "\
sipalg Software, Version 1.2.3, release build for x86_64-linux
Linux 6.1.0

gw uptime is 1 week, 1 day, 1 hour, 1 minute
Process ID is 42
Startup configuration file is \"/etc/sipalg/startup-config\"
"
    );
    assert!(version(59).text().contains("gw uptime is 0 minutes\n"));
    assert!(version(7200).text().contains("gw uptime is 2 hours\n"));
}

#[test]
fn tech_support_is_one_view_after_the_other() {
    let support = show::TechSupport::default()
        .with(
            "show debugging",
            &show::debugging(Some(DebugWhat::default()), None),
        )
        .with("show running-config", &show::running_config("!\nend\n"));
    assert_eq!(
        support.text(),
        "
------------------ show debugging ------------------

Generic IP:
  IP NAT SIP debugging is on

------------------ show running-config ------------------

Building configuration...

Current configuration : 6 bytes
!
end
"
    );
    let expected = serde_json::json!({
        "show debugging": {
            "dry_run": null,
            "ip_nat_sip": {"list": null, "detailed": false, "json": false},
        },
        "show running-config": {"bytes": 6, "lines": ["!", "end"]},
    });
    assert_eq!(json(&support), expected);
}

#[test]
fn no_control_character_of_a_file_is_shown() {
    let shown = show::startup_config("hostname \u{1b}[2Jgw").text();
    assert_eq!(shown, "Using 15 bytes\nhostname  [2Jgw\n");
}

fn json(view: &impl View) -> serde_json::Value {
    serde_json::from_str(&show::render(view, Format::Json)).unwrap()
}

/// Every number in a text.
fn numbers(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    let parts = parts.map(|part| part.trim_matches('.'));
    parts
        .filter(|part| !part.is_empty())
        .map(String::from)
        .collect()
}

/// Whether JSON has all that the text says in numbers, but for those left out on purpose: of a span of
/// time it has the seconds.
fn says_the_same(view: &impl View, derived: &[&str]) {
    let shown = json(view).to_string();
    let has = numbers(&shown);
    for number in numbers(&view.text()) {
        assert!(
            has.contains(&number) || derived.contains(&number.as_str()),
            "{number} of {} is not in {shown}",
            view.text()
        );
    }
}

#[test]
fn whatever_the_text_says_the_json_says() {
    let startup = Startup::parse(POOLS).unwrap();
    let counters = Counters {
        pool_exhausted: 7,
        messages_changed: 11,
        ..Counters::default()
    };
    let (mappings, rules) = (of_all_kinds(), rules(&startup));
    let table = show::translations(&mappings, Which::default(), second(44));
    says_the_same(&table, &[]);
    let verbose = show::translations(&self::mappings(), verbose(), second(44));
    says_the_same(&verbose, &["00", "0"]);
    let statistics = show::statistics(&gathered(&startup, &counters, &mappings, &rules));
    // Shares in per cent, and hours and minutes.
    says_the_same(&statistics, &["20", "25", "00", "01", "23"]);
    assert_eq!(json(&statistics)["peak_seconds_ago"], 83);
    assert_eq!(json(&statistics)["static"], 2);
    says_the_same(
        &show::pools(&startup, &mappings, &counters, None),
        &["4", "6"],
    );
    let count = MediaCount {
        in_packets: 1500,
        in_bytes: 1,
        out_packets: 1498,
        out_bytes: 2,
    };
    let counts = [(at("192.168.122.3:6000"), count)];
    says_the_same(&show::sip_doors(&doors(), &counts), &[]);
    says_the_same(&show::counters(&counters), &[]);
    says_the_same(
        &show::access_lists(&startup, &[("1".into(), vec![9])], None),
        &[],
    );
    assert_eq!(json(&show::counters(&counters))["messages_changed"], 11);
    let lists = json(&show::access_lists(
        &startup,
        &[("1".into(), vec![9])],
        Some("1"),
    ));
    assert_eq!(lists["access_lists"][0]["entries"][0]["matches"], 9);
    assert_eq!(
        lists["access_lists"][0]["entries"][0]["entry"],
        "permit 10.0.1.0 0.0.0.255"
    );
}
