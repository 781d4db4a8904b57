//! `ip nat service sip` and `ip nat l4f`: what is done about SIP.

use super::{Goto, IP, LIST_NAME, NAT, Refusal, SERVICE, SIP, Setting, one};
use crate::grammar::Part::{NoEnds, OneOf};
use crate::grammar::{Args, Command, Kind, Part, keyword, value};
use crate::startup::{DEFAULT_SIP_PORT, Startup};
use core::time::Duration;
use sipalg_core::config::{HISTORY as HISTORY_SIZE, Limits, Timers};
use std::collections::BTreeSet;

pub(super) const L4F: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        keyword("l4f", "Layer 4 forwarding: interception of SIP over TCP"),
    ],
    no: true,
    example: "ip nat l4f",
    meaning: Setting {
        apply: |s, args| {
            s.l4f = !args.no || args.default;
            Ok(Goto::Stay)
        },
        running: |s| one((!s.l4f).then(|| "no ip nat l4f".into())),
    },
};

pub(super) const PORT: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        SERVICE,
        SIP,
        OneOf(&[
            &[keyword("tcp", "TCP protocol")],
            &[keyword("udp", "UDP protocol")],
        ]),
        keyword("port", "Special SIP port"),
        value("PORT", Kind::Number(1, 65535), "Port number"),
    ],
    no: true,
    example: "ip nat service sip tcp port 8000",
    meaning: Setting {
        apply: port,
        running: |s| {
            let mut lines = ports("tcp", &s.sip_tcp_ports);
            lines.extend(ports("udp", &s.sip_udp_ports));
            lines
        },
    },
};

pub(super) const ACCESS_GROUP: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        SERVICE,
        SIP,
        keyword("access-group", "Whose signalling may come in"),
        NoEnds,
        LIST_NAME,
    ],
    no: true,
    example: "ip nat service sip access-group PROVIDERS",
    meaning: Setting {
        apply: |s, args| set(&mut s.sip_access_group, named(args)),
        running: |s| list("access-group", &s.sip_access_group),
    },
};

pub(super) const MEDIA_ACCESS_GROUP: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        SERVICE,
        SIP,
        keyword("media", "What comes to media doors"),
        keyword("access-group", "Whose media may come in"),
        NoEnds,
        LIST_NAME,
    ],
    no: true,
    example: "ip nat service sip media access-group 110",
    meaning: Setting {
        apply: |s, args| set(&mut s.sip_media_access_group, named(args)),
        running: |s| list("media access-group", &s.sip_media_access_group),
    },
};

pub(super) const TRUSTED: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        SERVICE,
        SIP,
        keyword(
            "trusted",
            "Inside hosts that may open doors for other inside hosts",
        ),
        NoEnds,
        LIST_NAME,
    ],
    no: true,
    example: "ip nat service sip trusted PBX",
    meaning: Setting {
        apply: |s, args| set(&mut s.sip_trusted, named(args)),
        running: |s| list("trusted", &s.sip_trusted),
    },
};

pub(super) const BYPASS: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        SERVICE,
        SIP,
        keyword(
            "bypass",
            "Traffic that is translated, but never looked into",
        ),
        NoEnds,
        LIST_NAME,
    ],
    no: true,
    example: "ip nat service sip bypass 120",
    meaning: Setting {
        apply: |s, args| set(&mut s.sip_bypass, named(args)),
        running: |s| list("bypass", &s.sip_bypass),
    },
};

pub(super) const KEEPALIVE: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        SERVICE,
        SIP,
        keyword(
            "keepalive",
            "Ping the registrar of a registered host that is silent",
        ),
        NoEnds,
        value("SECONDS", Kind::Number(5, 86_400), "Seconds between pings"),
    ],
    no: true,
    example: "ip nat service sip keepalive 120",
    meaning: Setting {
        apply: |s, args| {
            let seconds = args.number("SECONDS").filter(|_| !args.no);
            set(&mut s.sip_keepalive, seconds.map(Duration::from_secs))
        },
        running: |s| {
            let line = |every: Duration| {
                let seconds = every.as_secs();
                format!("ip nat service sip keepalive {seconds}")
            };
            one(s.sip_keepalive.map(line))
        },
    },
};

pub(super) const HISTORY: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        SERVICE,
        SIP,
        keyword(
            "history",
            "Keep the last messages, to be shown with their edits",
        ),
        NoEnds,
        value(
            "MESSAGES",
            Kind::Number(0, 4096),
            "How many messages (0 for none)",
        ),
    ],
    no: true,
    example: "ip nat service sip history 256",
    meaning: Setting {
        apply: |s, args| {
            let number = args.number("MESSAGES").filter(|_| !args.no);
            set(&mut s.sip_history, number.unwrap_or(HISTORY_SIZE))
        },
        running: |s| {
            let most = s.sip_history;
            let changed = most != HISTORY_SIZE;
            one(changed.then(|| format!("ip nat service sip history {most}")))
        },
    },
};

pub(super) const TIMEOUT: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        SERVICE,
        SIP,
        keyword("timeout", "How long the gateway remembers"),
        OneOf(&[
            &[keyword("call-setup", "A call that is not answered yet")],
            &[keyword(
                "call-silence",
                "A call without media of which nothing is heard",
            )],
            &[keyword("header", "A message whose header is not whole")],
            &[keyword("mapping", "A mapping that nobody uses")],
            &[keyword("media", "An answered call without media packets")],
            &[keyword("quarantine", "The port of a closed door")],
            &[keyword(
                "registration",
                "A registration whose registrar names no time",
            )],
            &[keyword(
                "registration-grace",
                "A registration after its time is over",
            )],
            &[keyword(
                "subscription",
                "A subscription whose notifier names no time",
            )],
            &[keyword("transaction", "A request without any response")],
        ]),
        NoEnds,
        value("SECONDS", Kind::Number(1, 536_870), "Seconds"),
    ],
    no: true,
    example: "ip nat service sip timeout media 120",
    meaning: Setting {
        apply: timeout,
        running: |s| {
            let (mut timers, mut defaults) = (s.sip_timers, Timers::default());
            let mut lines = Vec::new();
            for (name, field) in TIMERS {
                let value = *field(&mut timers);
                if value != *field(&mut defaults) {
                    let seconds = value.as_secs();
                    lines.push(format!("ip nat service sip timeout {name} {seconds}"));
                }
            }
            lines
        },
    },
};

pub(super) const MAXIMUM_HEADER: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        SERVICE,
        SIP,
        MAXIMUM,
        keyword("header", "Start line and headers of a message"),
        NoEnds,
        value("BYTES", Kind::Number(1024, 1_048_576), "Bytes"),
    ],
    no: true,
    example: "ip nat service sip maximum header 32768",
    meaning: Setting {
        apply: |s, args| {
            let default = Limits::default().header_bytes;
            set(&mut s.sip_header_limit, bytes(args).unwrap_or(default))
        },
        running: |s| {
            let limit = s.sip_header_limit;
            let changed = limit != Limits::default().header_bytes;
            one(changed.then(|| format!("ip nat service sip maximum header {limit}")))
        },
    },
};

pub(super) const MAXIMUM_BODY: Command<Setting<Startup>> = Command {
    pattern: &[
        IP,
        NAT,
        SERVICE,
        SIP,
        MAXIMUM,
        keyword("body", "Body of a message"),
        NoEnds,
        value("BYTES", Kind::Number(0, 16_777_216), "Bytes"),
    ],
    no: true,
    example: "ip nat service sip maximum body 65536",
    meaning: Setting {
        apply: |s, args| {
            let default = Limits::default().body_bytes;
            set(&mut s.sip_body_limit, bytes(args).unwrap_or(default))
        },
        running: |s| {
            let limit = s.sip_body_limit;
            let changed = limit != Limits::default().body_bytes;
            one(changed.then(|| format!("ip nat service sip maximum body {limit}")))
        },
    },
};

const MAXIMUM: Part = keyword("maximum", "What is longer passes unchanged");

type TimerField = fn(&mut Timers) -> &mut Duration;

/// The lifetimes by keyword.
static TIMERS: [(&str, TimerField); 10] = [
    ("call-setup", |t| &mut t.call_setup),
    ("call-silence", |t| &mut t.call_silence),
    ("header", |t| &mut t.header),
    ("mapping", |t| &mut t.mapping_idle),
    ("media", |t| &mut t.media_inactivity),
    ("quarantine", |t| &mut t.quarantine),
    ("registration", |t| &mut t.registration),
    ("registration-grace", |t| &mut t.registration_grace),
    ("subscription", |t| &mut t.subscription),
    ("transaction", |t| &mut t.transaction),
];

fn timeout(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let mut defaults = Timers::default();
    for (_, field) in TIMERS.iter().filter(|(name, _)| args.has(name)) {
        let seconds = args.number("SECONDS").filter(|_| !args.no);
        *field(&mut startup.sip_timers) =
            seconds.map_or(*field(&mut defaults), Duration::from_secs);
    }
    Ok(Goto::Stay)
}

fn port(startup: &mut Startup, args: &Args) -> Result<Goto, Refusal> {
    let ports = match args.has("udp") {
        true => &mut startup.sip_udp_ports,
        false => &mut startup.sip_tcp_ports,
    };
    let port = args.number("PORT").unwrap_or_default();
    let on = match args.default {
        true => port == DEFAULT_SIP_PORT,
        false => !args.no,
    };
    match on {
        true => ports.insert(port),
        false => ports.remove(&port),
    };
    Ok(Goto::Stay)
}

fn ports(protocol: &str, ports: &BTreeSet<u16>) -> Vec<String> {
    let off = (!ports.contains(&DEFAULT_SIP_PORT))
        .then(|| format!("no ip nat service sip {protocol} port {DEFAULT_SIP_PORT}"));
    let more = ports.iter().filter(|port| **port != DEFAULT_SIP_PORT);
    off.into_iter()
        .chain(more.map(|port| format!("ip nat service sip {protocol} port {port}")))
        .collect()
}

fn list(what: &str, name: &Option<String>) -> Vec<String> {
    one(name
        .as_ref()
        .map(|name| format!("ip nat service sip {what} {name}")))
}

fn named(args: &Args) -> Option<String> {
    args.text("LIST").filter(|_| !args.no).map(String::from)
}

fn bytes(args: &Args) -> Option<usize> {
    args.number("BYTES").filter(|_| !args.no)
}

fn set<T>(field: &mut T, value: T) -> Result<Goto, Refusal> {
    *field = value;
    Ok(Goto::Stay)
}
