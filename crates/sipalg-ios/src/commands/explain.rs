//! Commands that explain what became of messages and calls.

use super::Question;
use super::exec::{JSON, SHOW, SHOW_IP, SHOW_NAT, SHOW_SIP};
use crate::exec::{Exec, WhichMessage};
use crate::grammar::Part::{OneOf, Optional};
use crate::grammar::{Command, Kind, keyword, value};

pub(super) const MESSAGES: Command<Question> = Command {
    pattern: &[
        SHOW,
        SHOW_IP,
        SHOW_NAT,
        SHOW_SIP,
        keyword("messages", "The last messages"),
        JSON,
    ],
    no: false,
    example: "show ip nat sip messages",
    meaning: |_| Exec::ShowSipMessages,
};

pub(super) const MESSAGE: Command<Question> = Command {
    pattern: &[
        SHOW,
        SHOW_IP,
        SHOW_NAT,
        SHOW_SIP,
        keyword("message", "One message, and what was changed in it"),
        OneOf(&[
            &[keyword("last", "The last message")],
            &[value("ID", Kind::Number(1, u32::MAX), "Its number")],
        ]),
        Optional(&[keyword("diff", "Only the lines that were changed")]),
        JSON,
    ],
    no: false,
    example: "show ip nat sip message last diff",
    meaning: |args| Exec::ShowSipMessage {
        which: match args.number("ID") {
            Some(id) => WhichMessage::Id(id),
            None => WhichMessage::Last,
        },
        diff: args.has("diff"),
    },
};

pub(super) const CALLS: Command<Question> = Command {
    pattern: &[
        SHOW,
        SHOW_IP,
        SHOW_NAT,
        SHOW_SIP,
        keyword("calls", "Calls and subscriptions, and the last that ended"),
        JSON,
    ],
    no: false,
    example: "show ip nat sip calls",
    meaning: |_| Exec::ShowSipCalls,
};

pub(super) const CALL: Command<Question> = Command {
    pattern: &[
        SHOW,
        SHOW_IP,
        SHOW_NAT,
        SHOW_SIP,
        keyword("call", "One call, and what ails it"),
        value("ID", Kind::Word, "Its number or Call-ID"),
        JSON,
    ],
    no: false,
    example: "show ip nat sip call 7",
    meaning: |args| Exec::ShowSipCall(args.text("ID").unwrap_or_default().into()),
};

pub(super) const REGISTRATIONS: Command<Question> = Command {
    pattern: &[
        SHOW,
        SHOW_IP,
        SHOW_NAT,
        SHOW_SIP,
        keyword("registrations", "Contacts that registrars have accepted"),
        JSON,
    ],
    no: false,
    example: "show ip nat sip registrations",
    meaning: |_| Exec::ShowSipRegistrations,
};
