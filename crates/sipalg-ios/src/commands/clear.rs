//! `clear ...`: what is counted and what is translated begins anew.

use super::{LIST_NAME, Question};
use crate::exec::Exec;
use crate::grammar::Part::{OneOf, Optional};
use crate::grammar::{Args, Command, Kind, Part, keyword, value};
use sipalg_core::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use sipalg_core::alg::Clear;

pub(super) const TRANSLATION: Command<Question> = Command {
    pattern: &[
        CLEAR,
        CLEAR_IP,
        CLEAR_NAT,
        keyword("translation", "Clear dynamic translation"),
        OneOf(&[
            &[
                keyword("*", "Delete all dynamic translations"),
                Optional(&[FORCED]),
            ],
            &[FORCED],
            &[
                OneOf(&[
                    &[keyword("tcp", "Transmission Control Protocol")],
                    &[keyword("udp", "User Datagram Protocol")],
                ]),
                INSIDE,
                GLOBAL,
                value("GLOBAL-PORT", PORT, "Inside global port"),
                LOCAL,
                value("LOCAL-PORT", PORT, "Inside local port"),
                Optional(&[FORCED]),
            ],
            &[INSIDE, GLOBAL, LOCAL, Optional(&[FORCED])],
        ]),
    ],
    no: false,
    example: "clear ip nat translation udp inside 203.0.113.1 6000 192.168.122.3 6000 forced",
    meaning: translation,
};

pub(super) const STATISTICS: Command<Question> = Command {
    pattern: &[
        CLEAR,
        CLEAR_IP,
        CLEAR_NAT,
        keyword("statistics", "Clear translation statistics"),
    ],
    no: false,
    example: "clear ip nat statistics",
    meaning: |_| Exec::ClearStatistics,
};

pub(super) const ACCESS_LISTS: Command<Question> = Command {
    pattern: &[
        CLEAR,
        OneOf(&[
            &[keyword(
                "access-list",
                "Clear access list statistical information",
            )],
            &[
                CLEAR_IP,
                keyword("access-list", "Clear access list statistical information"),
            ],
        ]),
        keyword("counters", "Clear access list counters"),
        Optional(&[LIST_NAME]),
    ],
    no: false,
    example: "clear access-list counters PROVIDERS",
    meaning: |args| Exec::ClearAccessLists(args.text("LIST").map(String::from)),
};

const CLEAR: Part = keyword("clear", "Reset functions");
const CLEAR_IP: Part = keyword("ip", "IP");
const CLEAR_NAT: Part = keyword("nat", "Clear NAT");
const INSIDE: Part = keyword("inside", "Inside addresses (and ports)");
const FORCED: Part = keyword("forced", "Also what flows, calls and registrations need");
const GLOBAL: Part = value("GLOBAL", Kind::Address, "Inside global IP address");
const LOCAL: Part = value("LOCAL", Kind::Address, "Inside local IP address");
const PORT: Kind = Kind::Number(1, 65_535);

fn translation(args: &Args) -> Exec {
    let address = |name| args.address(name).unwrap_or(Ipv4Addr::UNSPECIFIED);
    let (global, local) = (address("GLOBAL"), address("LOCAL"));
    let end = |address, port| SocketAddrV4::new(address, args.number(port).unwrap_or(0));
    let one = |protocol| Clear::One {
        protocol,
        global: end(global, "GLOBAL-PORT"),
        local: end(local, "LOCAL-PORT"),
    };
    let which = if args.has("tcp") {
        one(Protocol::Tcp)
    } else if args.has("udp") {
        one(Protocol::Udp)
    } else if args.has("inside") {
        Clear::Host { global, local }
    } else {
        Clear::All
    };
    Exec::ClearTranslations {
        which,
        forced: args.has("forced"),
    }
}
