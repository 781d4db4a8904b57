//! Configurations as an operator writes them: what they mean, and what is said when they are wrong.

use sipalg_core::Leg;
use sipalg_core::config::AccessEntry;
use sipalg_ios::startup::{InsideSource, Startup};
use std::collections::BTreeSet;

const GATEWAY: &str = "\
hostname gw
!
interface gin
 ip nat inside
interface gout
 ip nat outside
!
access-list 1 permit 192.168.122.0 0.0.0.255
ip nat inside source list 1 interface gout overload
ip nat service sip tcp port 8000
";

/// The report for a configuration that is wrong.
fn report(text: &str) -> String {
    match Startup::parse(text) {
        Ok(startup) => format!("no error: {startup:?}"),
        Err(error) => error.in_file("gw.conf"),
    }
}

/// The report for [`GATEWAY`] with one line replaced.
fn replaced(line: &str, by: &str) -> String {
    assert!(GATEWAY.contains(line));
    report(&GATEWAY.replace(line, by))
}

#[test]
fn the_configuration_of_a_gateway_parses_as_it_stands() {
    let startup = Startup::parse(GATEWAY).unwrap();
    assert_eq!(startup.hostname.as_deref(), Some("gw"));
    assert_eq!(
        startup.interfaces_on(Leg::Inside).collect::<Vec<_>>(),
        ["gin"]
    );
    assert_eq!(
        startup.interfaces_on(Leg::Outside).collect::<Vec<_>>(),
        ["gout"]
    );
    assert_eq!(startup.sources, [InsideSource::overload("1", "gout")]);
    assert_eq!(startup.sip_tcp_ports, BTreeSet::from([5060, 8000]));
    let list = startup.access_list("1").unwrap();
    assert!(list.permits([192, 168, 122, 3].into()));
    assert!(!list.permits([192, 168, 123, 3].into()));
}

#[test]
fn a_misspelt_keyword_is_marked_where_it_goes_wrong() {
    assert_eq!(
        replaced("ip nat service", "ip nat servce"),
        "\
gw.conf, line 10: invalid input
  ip nat servce sip tcp port 8000
             ^
expected here:
  translation      NAT translation entry configuration
  l4f              Layer 4 forwarding: interception of SIP over TCP
  service          Special translation for application using non-standard port
  pool             Define pool of addresses
  inside           Inside address translation"
    );
}

#[test]
fn a_number_out_of_range_is_marked_at_its_start() {
    assert_eq!(
        replaced("port 8000", "port 65536"),
        "\
gw.conf, line 10: invalid input
  ip nat service sip tcp port 65536
                              ^
expected here:
  <1-65535>        Port number"
    );
}

#[test]
fn a_line_that_ends_too_early_is_marked_behind_its_end() {
    assert_eq!(
        replaced(" overload", ""),
        "\
gw.conf, line 9: incomplete command
  ip nat inside source list 1 interface gout
                                             ^
expected here:
  overload         Overload an address translation"
    );
}

#[test]
fn a_line_that_goes_on_too_long_is_marked_there() {
    assert_eq!(
        replaced("gw\n", "gw 2\n"),
        "\
gw.conf, line 1: invalid input
  hostname gw 2
              ^
expected here:
  end of line"
    );
}

#[test]
fn in_a_submode_both_its_own_and_the_global_commands_are_expected() {
    assert_eq!(
        replaced(" ip nat inside\n", "\tip address 10.0.0.1\n"),
        "\
gw.conf, line 4: invalid input
   ip address 10.0.0.1
       ^
expected here:
  nat              NAT configuration commands
  access-list      Named access-list"
    );
}

#[test]
fn a_subnet_mask_is_not_taken_for_a_wildcard() {
    assert_eq!(
        replaced("0.0.0.255", "255.255.255.0"),
        "\
gw.conf, line 8: 255.255.255.0 is a subnet mask; the wildcard mask is 0.0.0.255
  access-list 1 permit 192.168.122.0 255.255.255.0
                                     ^"
    );
}

#[test]
fn a_rule_needs_its_access_list() {
    assert_eq!(
        replaced("source list 1", "source list LAN"),
        "\
gw.conf, line 9: access list LAN does not exist
  ip nat inside source list LAN interface gout overload
                            ^"
    );
    let empty = "ip access-list standard 1\n remark none\n";
    assert_eq!(
        replaced("access-list 1 permit 192.168.122.0 0.0.0.255\n", empty),
        "\
gw.conf, line 10: access list 1 has no permit or deny line
  ip nat inside source list 1 interface gout overload
                            ^"
    );
}

#[test]
fn a_rule_needs_its_outside_interface() {
    assert_eq!(
        replaced("1 interface gout", "1 interface gin"),
        "\
gw.conf, line 9: interface gin is not configured as `ip nat outside`
  ip nat inside source list 1 interface gin overload
                                        ^"
    );
}

#[test]
fn a_rule_needs_an_inside_interface() {
    assert_eq!(
        replaced(" ip nat inside\n", "\n"),
        "\
gw.conf, line 9: no interface is configured as `ip nat inside`
  ip nat inside source list 1 interface gout overload
         ^"
    );
}

/// The report for [`GATEWAY`] with more lines.
fn with(lines: &str) -> String {
    report(&format!("{GATEWAY}{lines}\n"))
}

#[test]
fn a_rule_needs_its_pool() {
    let pool = "ip nat pool P 203.0.113.1 203.0.113.9 prefix-length 24";
    let lines = "access-list 2 permit any\nip nat inside source list 2 pool P overload";
    assert!(Startup::parse(&format!("{GATEWAY}{lines}\n{pool}\n")).is_ok());
    assert_eq!(
        with(lines),
        "\
gw.conf, line 12: Pool P not found
  ip nat inside source list 2 pool P overload
                                   ^"
    );
}

#[test]
fn a_static_rule_needs_its_interfaces() {
    assert_eq!(
        with("ip nat inside source static tcp 10.0.0.5 5060 interface gin 5060"),
        "\
gw.conf, line 11: interface gin is not configured as `ip nat outside`
  ip nat inside source static tcp 10.0.0.5 5060 interface gin 5060
                                                          ^"
    );
    assert_eq!(
        report("interface gin\n ip nat inside\nip nat inside source static 10.0.0.5 203.0.113.5\n"),
        "\
gw.conf, line 3: no interface is configured as `ip nat outside`
  ip nat inside source static 10.0.0.5 203.0.113.5
         ^"
    );
}

#[test]
fn whatever_names_a_list_needs_it() {
    for (line, column) in [
        ("ip nat service sip access-group X", 32),
        ("ip nat service sip media access-group X", 38),
        ("ip nat service sip trusted X", 27),
        ("ip nat service sip bypass X", 26),
        ("ip nat translation max-entries list X 100", 36),
    ] {
        // The line that says it for the last time is at fault.
        let lines = format!("{line}\nno {line}\n{line}\n{line}\nno hostname");
        assert_eq!(
            with(&lines),
            format!(
                "gw.conf, line 13: access list X does not exist\n  {line}\n  {:>1$}",
                '^',
                column + 1
            )
        );
        let list = "ip access-list extended X\n permit ip any any";
        assert!(Startup::parse(&format!("{GATEWAY}{line}\n{list}\n")).is_ok());
        assert!(with(&format!("{line}\nip access-list standard X")).contains("no permit or deny"));
    }
}

#[test]
fn rules_that_contradict_are_refused_at_the_later_line() {
    assert_eq!(
        with(
            "ip nat inside source static 10.0.0.5 203.0.113.5\n\
             ip nat inside source static 10.0.0.6 203.0.113.5"
        ),
        "\
gw.conf, line 12: similar static entry (10.0.0.5 -> 203.0.113.5) already exists
  ip nat inside source static 10.0.0.6 203.0.113.5
                                       ^"
    );
    assert_eq!(
        with("ip nat inside source static 10.0.0.6 interface gout"),
        "\
gw.conf, line 11: list 1 shares the address of interface gout, which 10.0.0.6 cannot have alone; \
use `static tcp` and `static udp`
  ip nat inside source static 10.0.0.6 interface gout
                                                 ^"
    );
    assert_eq!(
        with("access-list 100 permit ip any 10.0.0.0 255.0.0.0"),
        "\
gw.conf, line 11: 255.0.0.0 is a subnet mask; the wildcard mask is 0.255.255.255
  access-list 100 permit ip any 10.0.0.0 255.0.0.0
                                         ^"
    );
}

#[test]
fn a_rule_typed_again_gets_its_new_options() {
    let again = "ip nat inside source list 1 interface gout overload no-payload\n";
    let startup = Startup::parse(&format!("{GATEWAY}{again}")).unwrap();
    assert_eq!(startup.sources.len(), 1);
    assert!(startup.sources[0].no_payload);
}

#[test]
fn an_extended_list_decides_by_protocol_addresses_and_ports() {
    let text = "\
ip access-list extended X
 deny tcp any lt 1024 any
 permit tcp 203.0.113.0 0.0.0.255 host 10.0.0.5 eq sip
 permit udp any any range 5060 sip
 permit 132 any any
 permit ip host 10.0.0.1 any
";
    let list = Startup::parse(text).unwrap().access_list("X").unwrap();
    let of = |entry: &AccessEntry| (entry.permit, entry.protocol);
    assert_eq!(
        list.entries.iter().map(of).collect::<Vec<_>>(),
        [
            (false, Some(6)),
            (true, Some(6)),
            (true, Some(17)),
            (true, Some(132)),
            (true, None)
        ]
    );
    let [low, provider, range, ..] = list.entries[..] else {
        panic!("five entries")
    };
    assert!(low.source.ports.has(0) && low.source.ports.has(1023));
    assert!(!low.source.ports.has(1024) && low.destination.ports.has(1024));
    assert!(provider.source.has([203, 0, 113, 9].into()));
    assert!(!provider.source.has([203, 0, 112, 9].into()));
    assert!(provider.destination.has([10, 0, 0, 5].into()));
    assert!(provider.destination.ports.has(5060) && !provider.destination.ports.has(5061));
    assert!(range.destination.ports.has(5060) && !range.destination.ports.has(5061));
}

#[test]
fn an_interface_has_one_side_but_may_be_named_twice() {
    assert_eq!(
        report("interface a\n ip nat inside\ninterface b\ninterface a\n ip nat outside\n"),
        "\
gw.conf, line 5: interface a is already `ip nat inside`
   ip nat outside
          ^"
    );
    let startup =
        Startup::parse("interface a\ninterface b\ninterface a\n ip nat inside\n").unwrap();
    assert_eq!(startup.interfaces.len(), 2);
    assert_eq!(startup.interfaces[0].nat, Some(Leg::Inside));
}

#[test]
fn a_list_is_translated_to_one_interface() {
    let again = "ip nat inside source list 1 interface gout overload\n";
    assert!(Startup::parse(&format!("{GATEWAY}{again}")).is_ok());
    assert_eq!(
        report(&format!("{GATEWAY}{}", again.replace("gout", "wan"))),
        "\
gw.conf, line 11: access list 1 is already translated to interface gout
  ip nat inside source list 1 interface wan overload
                                        ^"
    );
}

#[test]
fn sequence_numbers_order_the_lines_of_a_list() {
    let text =
        "ip access-list standard LAN\n 20 deny any\n 10 permit host 10.0.0.1\n permit 10.0.0.2\n";
    let list = Startup::parse(text).unwrap().access_list("LAN").unwrap();
    assert!(list.permits([10, 0, 0, 1].into()));
    assert!(!list.permits([10, 0, 0, 2].into()));
    assert_eq!(
        report(&format!("{text} 20 permit any\n")),
        "\
gw.conf, line 5: sequence number 20 is taken
   20 permit any
   ^"
    );
}

#[test]
fn no_takes_back_what_was_said() {
    let lines = [
        ("hostname gw", "no hostname"),
        ("interface eth0", "no interface eth0"),
        (
            "interface eth0\n ip nat inside",
            " no ip nat inside\nno interface eth0",
        ),
        (
            "ip nat service sip tcp port 8000",
            "no ip nat service sip tcp port 8000",
        ),
        ("access-list 7 permit any", "no access-list 7"),
        ("access-list 7 permit any", "no access-list 7 permit any"),
        ("access-list 7 remark a b", "no access-list 7 remark a b"),
        (
            "ip access-list standard L\n permit any",
            "no ip access-list standard L",
        ),
        (
            "access-list 7 permit any\nip nat inside source list 7 interface w overload",
            "no ip nat inside source list 7 interface w overload\nno access-list 7",
        ),
        (
            "access-list 7 permit any\nip nat inside source list 7 interface w overload",
            "no ip nat inside source list 7\nno access-list 7",
        ),
        (
            "ip access-list standard 7\n permit any\n 30 deny any\n remark x",
            " no 30\n no permit any\n no remark x\nno ip access-list standard 7",
        ),
    ];
    for (line, no) in lines {
        let startup = Startup::parse(&format!("{line}\n{no}\n"));
        assert_eq!(startup, Ok(Startup::default()), "{line}\n{no}");
    }
    let off = Startup::parse("no ip nat service sip tcp port 5060\n").unwrap();
    assert!(off.sip_tcp_ports.is_empty());
}

#[test]
fn removing_what_is_not_there_is_an_error_only_for_a_rule() {
    assert!(Startup::parse("no access-list 1\nno interface x\nno hostname\n").is_ok());
    assert_eq!(
        report("no ip nat inside source list 1\n"),
        "\
gw.conf, line 1: Dynamic mapping not found
  no ip nat inside source list 1
                               ^"
    );
}

#[test]
fn after_the_end_only_blank_lines_and_comments_may_follow() {
    assert!(Startup::parse("hostname a\nend\n\n! bye\n").is_ok());
    assert_eq!(
        report("interface a\nexit\nend\nhostname b\n"),
        "\
gw.conf, line 4: nothing may follow the end of the configuration
  hostname b
  ^"
    );
}

#[test]
fn names_are_those_that_linux_and_ios_accept() {
    assert!(report("hostname -gw\n").contains("illegal characters"));
    assert!(report("interface aaaaaaaaaaaaaaaa\n").contains("at most 15 characters"));
    assert!(report("interface a/b\n").contains("at most 15 characters"));
}

#[test]
fn keywords_may_be_abbreviated_and_lines_may_end_in_crlf() {
    let text = "ho gw\r\nint gin\r\n ip n i\r\ninterf gout\r\n ip nat o\r\naccess 1 per 192.168.122.0 0.0.0.255\r\nip na i s l 1 i gout o\r\nip n ser sip tc p 8000\r\n";
    assert_eq!(Startup::parse(text), Startup::parse(GATEWAY));
}

#[test]
fn control_characters_of_the_file_do_not_reach_the_terminal() {
    let text = report("hostname \u{1b}[2J\n");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}
