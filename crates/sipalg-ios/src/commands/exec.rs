//! The commands of exec mode.

use super::Question;
use crate::exec::Exec;
use crate::grammar::Part::{OneOf, Optional};
use crate::grammar::{Command, Part, keyword};

/// Exec mode.
pub static EXEC: &[Command<Question>] = &[
    Command {
        pattern: &[
            SHOW,
            SHOW_IP,
            SHOW_NAT,
            keyword("translations", "Translation entries"),
            Optional(&[keyword("verbose", "Show extra information")]),
        ],
        no: false,
        example: "show ip nat translations verbose",
        meaning: |args| Exec::ShowTranslations {
            verbose: args.has("verbose"),
        },
    },
    Command {
        pattern: &[
            SHOW,
            SHOW_IP,
            SHOW_NAT,
            keyword("statistics", "Translation statistics"),
        ],
        no: false,
        example: "show ip nat statistics",
        meaning: |_| Exec::ShowStatistics,
    },
    Command {
        pattern: &[
            SHOW,
            SHOW_IP,
            SHOW_NAT,
            SHOW_SIP,
            keyword("doors", "Doors that SIP has opened"),
        ],
        no: false,
        example: "show ip nat sip doors",
        meaning: |_| Exec::ShowSipDoors,
    },
    Command {
        pattern: &[
            SHOW,
            SHOW_IP,
            SHOW_NAT,
            SHOW_SIP,
            keyword("counters", "What has been counted since the start"),
        ],
        no: false,
        example: "show ip nat sip counters",
        meaning: |_| Exec::ShowSipCounters,
    },
    Command {
        pattern: &[
            SHOW,
            SHOW_IP,
            SHOW_NAT,
            SHOW_SIP,
            keyword("connections", "TCP connections that are carried"),
        ],
        no: false,
        example: "show ip nat sip connections",
        meaning: |_| Exec::ShowSipConnections,
    },
    Command {
        pattern: &[
            SHOW,
            keyword("running-config", "Current operating configuration"),
        ],
        no: false,
        example: "show running-config",
        meaning: |_| Exec::ShowRunningConfig,
    },
    Command {
        pattern: &[SHOW, keyword("version", "System software status")],
        no: false,
        example: "show version",
        meaning: |_| Exec::ShowVersion,
    },
    Command {
        pattern: &[SHOW, keyword("debugging", "State of each debugging option")],
        no: false,
        example: "show debugging",
        meaning: |_| Exec::ShowDebugging,
    },
    Command {
        pattern: &[
            keyword("debug", "Debugging functions (see also 'undebug')"),
            DEBUG_IP,
            DEBUG_NAT,
            DEBUG_SIP,
        ],
        no: true,
        example: "debug ip nat sip",
        meaning: |args| Exec::DebugSip { on: !args.no },
    },
    Command {
        pattern: &[
            keyword("undebug", "Disable debugging functions (see also 'debug')"),
            OneOf(&[
                &[keyword("all", "Disable all debugging")],
                &[DEBUG_IP, DEBUG_NAT, DEBUG_SIP],
            ]),
        ],
        no: false,
        example: "undebug all",
        meaning: |args| match args.has("all") {
            true => Exec::UndebugAll,
            false => Exec::DebugSip { on: false },
        },
    },
    Command {
        pattern: &[keyword("exit", "Exit from the EXEC")],
        no: false,
        example: "exit",
        meaning: |_| Exec::Exit,
    },
];

// Pieces that several patterns share.

const SHOW: Part = keyword("show", "Show running system information");
const SHOW_IP: Part = keyword("ip", "IP information");
const SHOW_NAT: Part = keyword("nat", "IP NAT information");
const SHOW_SIP: Part = keyword("sip", "SIP application layer gateway");
const DEBUG_IP: Part = keyword("ip", "IP information");
const DEBUG_NAT: Part = keyword("nat", "NAT events");
const DEBUG_SIP: Part = keyword("sip", "NAT SIP events");
