//! The names that IOS has for IP protocols and for ports in access lists.

use crate::grammar::Part::OneOf;
use crate::grammar::{Kind, Part, keyword, value};

/// The IP protocol number of TCP.
pub const TCP: u8 = 6;
/// The IP protocol number of UDP.
pub const UDP: u8 = 17;

/// The number of the IP protocol of this name, or 0 for `ip`, which is any.
pub fn protocol(name: &str) -> Option<u8> {
    let named = PROTOCOLS.iter().find(|(known, _)| *known == name);
    named.map(|(_, number)| *number)
}

/// The name of an IP protocol, if it has one.
pub fn protocol_name(number: u8) -> Option<&'static str> {
    let numbered = PROTOCOLS.iter().find(|(_, known)| *known == number);
    numbered.map(|(name, _)| *name)
}

/// The number of the port of this name.
pub fn port(protocol: u8, name: &str) -> Option<u16> {
    let named = names(protocol).iter().find(|(known, _)| *known == name);
    named.map(|(_, number)| *number)
}

/// The name that IOS writes for a port, if it has one: it understands no `sip`, so that is left
/// a number.
pub fn port_name(protocol: u8, number: u16) -> Option<&'static str> {
    let is = |(name, known): &&(&str, u16)| *known == number && *name != "sip";
    names(protocol).iter().find(is).map(|(name, _)| *name)
}

fn names(protocol: u8) -> &'static [(&'static str, u16)] {
    match protocol {
        TCP => TCP_NAMES,
        UDP => UDP_NAMES,
        _ => &[],
    }
}

static PROTOCOLS: &[(&str, u8)] = &[
    ("ip", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ipinip", 4),
    ("tcp", TCP),
    ("udp", UDP),
    ("gre", 47),
    ("esp", 50),
    ("ahp", 51),
    ("eigrp", 88),
    ("ospf", 89),
    ("nos", 94),
    ("pim", 103),
    ("pcp", 108),
];

/// The names of one protocol's ports, and the part of a pattern in which a port is typed. Where two
/// names have the same number, IOS writes the first.
macro_rules! ports {
    ($names:ident, $part:ident, $doc:literal: $($name:literal $number:literal $help:literal,)*) => {
        static $names: &[(&str, u16)] = &[$(($name, $number)),*];

        #[doc = $doc]
        pub const $part: Part = OneOf(&[
            &[value("PORT", Kind::Number(0, 65535), "Port number")],
            $(&[keyword($name, concat!($help, " (", $number, ")"))]),*
        ]);
    };
}

ports! { TCP_NAMES, TCP_PORT, "A TCP port, by number or name.":
    "bgp" 179 "Border Gateway Protocol",
    "chargen" 19 "Character generator",
    "cmd" 514 "Remote commands (rcmd)",
    "daytime" 13 "Daytime",
    "discard" 9 "Discard",
    "domain" 53 "Domain Name Service",
    "echo" 7 "Echo",
    "exec" 512 "Exec (rsh)",
    "finger" 79 "Finger",
    "ftp" 21 "File Transfer Protocol",
    "ftp-data" 20 "FTP data connections",
    "gopher" 70 "Gopher",
    "hostname" 101 "NIC hostname server",
    "ident" 113 "Ident Protocol",
    "irc" 194 "Internet Relay Chat",
    "klogin" 543 "Kerberos login",
    "kshell" 544 "Kerberos shell",
    "login" 513 "Login (rlogin)",
    "lpd" 515 "Printer service",
    "msrpc" 135 "MS Remote Procedure Call",
    "nntp" 119 "Network News Transport Protocol",
    "pim-auto-rp" 496 "PIM Auto-RP",
    "pop2" 109 "Post Office Protocol v2",
    "pop3" 110 "Post Office Protocol v3",
    "sip" 5060 "Session Initiation Protocol",
    "smtp" 25 "Simple Mail Transport Protocol",
    "sunrpc" 111 "Sun Remote Procedure Call",
    "syslog" 514 "Syslog",
    "tacacs" 49 "TAC Access Control System",
    "talk" 517 "Talk",
    "telnet" 23 "Telnet",
    "time" 37 "Time",
    "uucp" 540 "Unix-to-Unix Copy Program",
    "whois" 43 "Nicname",
    "www" 80 "World Wide Web (HTTP)",
}

ports! { UDP_NAMES, UDP_PORT, "A UDP port, by number or name.":
    "biff" 512 "Biff (mail notification, comsat)",
    "bootpc" 68 "Bootstrap Protocol (BOOTP) client",
    "bootps" 67 "Bootstrap Protocol (BOOTP) server",
    "discard" 9 "Discard",
    "dnsix" 195 "DNSIX security protocol auditing",
    "domain" 53 "Domain Name Service (DNS)",
    "echo" 7 "Echo",
    "isakmp" 500 "Internet Security Association and Key Management Protocol",
    "mobile-ip" 434 "Mobile IP registration",
    "nameserver" 42 "IEN116 name service (obsolete)",
    "netbios-dgm" 138 "NetBios datagram service",
    "netbios-ns" 137 "NetBios name service",
    "netbios-ss" 139 "NetBios session service",
    "non500-isakmp" 4500 "Internet Security Association and Key Management Protocol",
    "ntp" 123 "Network Time Protocol",
    "pim-auto-rp" 496 "PIM Auto-RP",
    "rip" 520 "Routing Information Protocol (router, in.routed)",
    "sip" 5060 "Session Initiation Protocol",
    "snmp" 161 "Simple Network Management Protocol",
    "snmptrap" 162 "SNMP Traps",
    "sunrpc" 111 "Sun Remote Procedure Call",
    "syslog" 514 "System Logger",
    "tacacs" 49 "TAC Access Control System",
    "talk" 517 "Talk",
    "tftp" 69 "Trivial File Transfer Protocol",
    "time" 37 "Time",
    "who" 513 "Who service (rwho)",
    "xdmcp" 177 "X Display Manager Control Protocol",
}
