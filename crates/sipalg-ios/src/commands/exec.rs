//! The commands of exec mode.

use super::{LIST_NAME, Question, clear, explain, show};
use crate::exec::{DebugWhat, Exec};
use crate::grammar::Part::{NoEnds, OneOf, Optional};
use crate::grammar::{Args, Command, Kind, Part, keyword, value};

/// Exec mode: what everyone may ask.
pub static EXEC: &[Command<Question>] = &[
    show::TRANSLATIONS,
    show::POOLS,
    show::RESOURCES,
    show::LIMITS,
    show::PORTS,
    show::STORE,
    show::KERNEL,
    explain::CALLS,
    explain::CALL,
    explain::REGISTRATIONS,
    Command {
        pattern: &[
            SHOW,
            SHOW_IP,
            SHOW_NAT,
            keyword("statistics", "Translation statistics"),
            JSON,
        ],
        no: false,
        example: "show ip nat statistics",
        meaning: |_| Exec::ShowStatistics,
    },
    Command {
        pattern: &[
            SHOW,
            OneOf(&[
                &[keyword("access-lists", "List access lists")],
                &[SHOW_IP, keyword("access-lists", "List IP access lists")],
            ]),
            Optional(&[LIST_NAME]),
            JSON,
        ],
        no: false,
        example: "show ip access-lists PROVIDERS",
        meaning: |args| Exec::ShowAccessLists(args.text("LIST").map(String::from)),
    },
    Command {
        pattern: &[
            SHOW,
            SHOW_IP,
            SHOW_NAT,
            SHOW_SIP,
            keyword("doors", "Doors that SIP has opened"),
            JSON,
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
            JSON,
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
            JSON,
        ],
        no: false,
        example: "show ip nat sip connections",
        meaning: |_| Exec::ShowSipConnections,
    },
    Command {
        pattern: &[SHOW, keyword("version", "System software status"), JSON],
        no: false,
        example: "show version",
        meaning: |_| Exec::ShowVersion,
    },
    Command {
        pattern: &[
            SHOW,
            keyword("debugging", "State of each debugging option"),
            JSON,
        ],
        no: false,
        example: "show debugging",
        meaning: |_| Exec::ShowDebugging,
    },
    Command {
        pattern: &[SHOW, keyword("privilege", "Show current privilege level")],
        no: false,
        example: "show privilege",
        meaning: |_| Exec::ShowPrivilege,
    },
    Command {
        pattern: &[
            TERMINAL,
            keyword("length", "Set number of lines on a screen"),
            LENGTH,
        ],
        no: false,
        example: "terminal length 0",
        meaning: |args| Exec::TerminalLength(args.number("LINES")),
    },
    Command {
        pattern: &[
            TERMINAL,
            keyword("width", "Set width of the display terminal"),
            WIDTH,
        ],
        no: false,
        example: "terminal width 132",
        meaning: |args| Exec::TerminalWidth(args.number("COLUMNS")),
    },
    Command {
        pattern: &[
            TERMINAL,
            keyword("no", "Negate a command or set its defaults"),
            OneOf(&[
                &[keyword("length", "Set number of lines on a screen")],
                &[keyword("width", "Set width of the display terminal")],
                &[keyword(
                    "monitor",
                    "Copy debug output to the current terminal line",
                )],
            ]),
        ],
        no: false,
        example: "terminal no monitor",
        meaning: terminal_default,
    },
    Command {
        pattern: &[
            TERMINAL,
            keyword("monitor", "Copy debug output to the current terminal line"),
        ],
        no: true,
        example: "terminal monitor",
        meaning: |args| Exec::TerminalMonitor { on: !args.no },
    },
    Command {
        pattern: &[keyword("enable", "Turn on privileged commands")],
        no: false,
        example: "enable",
        meaning: |_| Exec::Enable,
    },
    Command {
        pattern: &[keyword("exit", "Exit from the EXEC")],
        no: false,
        example: "exit",
        meaning: |_| Exec::Exit,
    },
    Command {
        pattern: &[keyword("logout", "Exit from the EXEC")],
        no: false,
        example: "logout",
        meaning: |_| Exec::Exit,
    },
];

/// What may be asked besides after `enable`.
pub static PRIVILEGED: &[Command<Question>] = &[
    explain::MESSAGES,
    explain::MESSAGE,
    show::TECH_SUPPORT,
    clear::TRANSLATION,
    clear::STATISTICS,
    clear::ACCESS_LISTS,
    Command {
        pattern: &[
            SHOW,
            keyword("running-config", "Current operating configuration"),
            JSON,
        ],
        no: false,
        example: "show running-config",
        meaning: |_| Exec::ShowRunningConfig,
    },
    Command {
        pattern: &[
            SHOW,
            keyword("startup-config", "Contents of startup configuration"),
            JSON,
        ],
        no: false,
        example: "show startup-config",
        meaning: |_| Exec::ShowStartupConfig,
    },
    Command {
        pattern: &[
            keyword("debug", "Debugging functions (see also 'undebug')"),
            DEBUG_IP,
            DEBUG_NAT,
            DEBUG_SIP,
            Optional(&[DRY_RUN]),
            NoEnds,
            Optional(&[LIST_NAME]),
            Optional(&[keyword(
                "detailed",
                "With addresses, Call-IDs, edits, doors and timers",
            )]),
            Optional(&[keyword("json", "As JSON lines")]),
        ],
        no: true,
        example: "debug ip nat sip dry-run 10 detailed json",
        meaning: debug_sip,
    },
    Command {
        pattern: &[
            keyword("undebug", "Disable debugging functions (see also 'debug')"),
            OneOf(&[
                &[keyword("all", "Disable all debugging")],
                &[DEBUG_IP, DEBUG_NAT, DEBUG_SIP, Optional(&[DRY_RUN])],
            ]),
        ],
        no: false,
        example: "undebug all",
        meaning: |args| match args.has("all") {
            true => Exec::UndebugAll,
            false => Exec::NoDebugSip {
                dry_run: args.has("dry-run"),
            },
        },
    },
    Command {
        pattern: &[
            CONFIGURE,
            keyword("terminal", "Configure from the terminal"),
        ],
        no: false,
        example: "configure terminal",
        meaning: |_| Exec::ConfigureTerminal,
    },
    Command {
        pattern: &[
            CONFIGURE,
            keyword("replace", "Replace the running-config with a new one"),
            value("FILE", Kind::Word, "File with the new configuration"),
            Optional(&[keyword("force", "Replace without prompting")]),
        ],
        no: false,
        example: "configure replace /etc/sipalg/new-config force",
        meaning: |args| Exec::ConfigureReplace {
            file: args.text("FILE").unwrap_or_default().into(),
            force: args.has("force"),
        },
    },
    Command {
        pattern: &[
            keyword("copy", "Copy from one file to another"),
            keyword("running-config", "Copy from current system configuration"),
            keyword("startup-config", "Copy to startup configuration"),
        ],
        no: false,
        example: "copy running-config startup-config",
        meaning: |_| Exec::WriteMemory,
    },
    Command {
        pattern: &[
            keyword("write", "Write running configuration to memory or terminal"),
            Optional(&[OneOf(&[
                &[keyword("memory", "Write to the startup configuration")],
                &[keyword("terminal", "Write to terminal")],
            ])]),
        ],
        no: false,
        example: "write memory",
        meaning: |args| match args.has("terminal") {
            true => Exec::ShowRunningConfig,
            false => Exec::WriteMemory,
        },
    },
    Command {
        pattern: &[keyword(
            "reload",
            "Go back to the startup configuration, as a start would",
        )],
        no: false,
        example: "reload",
        meaning: |_| Exec::Reload,
    },
    Command {
        pattern: &[keyword("disable", "Turn off privileged commands")],
        no: false,
        example: "disable",
        meaning: |_| Exec::Disable,
    },
];

// Pieces that several patterns share.

pub(super) const SHOW: Part = keyword("show", "Show running system information");
pub(super) const SHOW_IP: Part = keyword("ip", "IP information");
pub(super) const SHOW_NAT: Part = keyword("nat", "IP NAT information");
pub(super) const SHOW_SIP: Part = keyword("sip", "SIP application layer gateway");
/// As the last word of a command that shows something; [`crate::exec::interpret`] heeds it.
pub(super) const JSON: Part = Optional(&[keyword("json", "As JSON")]);
const DEBUG_IP: Part = keyword("ip", "IP information");
const DEBUG_NAT: Part = keyword("nat", "NAT events");
const DEBUG_SIP: Part = keyword("sip", "NAT SIP events");
const DRY_RUN: Part = keyword(
    "dry-run",
    "Change nothing on these flows, and show what would be changed",
);
const CONFIGURE: Part = keyword("configure", "Enter configuration mode");
const TERMINAL: Part = keyword("terminal", "Set terminal line parameters");
const LENGTH: Part = value(
    "LINES",
    Kind::Number(0, 512),
    "Number of lines on screen (0 for no pausing)",
);
const WIDTH: Part = value(
    "COLUMNS",
    Kind::Number(0, 512),
    "Number of characters on a screen line",
);

fn debug_sip(args: &Args) -> Exec {
    let dry_run = args.has("dry-run");
    match args.no {
        true => Exec::NoDebugSip { dry_run },
        false => Exec::DebugSip {
            dry_run,
            what: DebugWhat {
                list: args.text("LIST").map(String::from),
                detailed: args.has("detailed"),
                json: args.has("json"),
            },
        },
    }
}

/// `terminal no ...`, which IOS takes as well as `no terminal ...`.
fn terminal_default(args: &Args) -> Exec {
    if args.has("length") {
        Exec::TerminalLength(None)
    } else if args.has("width") {
        Exec::TerminalWidth(None)
    } else {
        Exec::TerminalMonitor { on: false }
    }
}
