//! THE command table: every command once, with its tokens and their help, its `no` form, what it
//! does, how the running configuration prints it, and an example.
//!
//! A configuration command works on what its mode configures: the whole [`Startup`], an
//! [`Interface`] or an access [`List`]. To add a command, add it to the file of its subject and to
//! the table of its mode; parsing, `^`, help and `show running-config` follow. The running
//! configuration has the order of the table.

mod clear;
mod exec;
mod explain;
mod limit;
mod list;
mod service;
mod show;
mod source;
mod system;
mod translation;

pub use exec::{EXEC, PRIVILEGED};
pub use limit::{protected_ports, ranges};

use crate::access::{List, ListKind};
use crate::exec::Exec;
use crate::grammar::Part::OneOf;
use crate::grammar::{Args, Command, Kind, Part, keyword, value};
use crate::startup::{Interface, Startup};

/// The meaning of a configuration command in the mode that configures a `C`.
pub struct Setting<C> {
    /// Carries it out, or its `no` form if [`Args::no`] says so.
    pub apply: fn(&mut C, &Args) -> Result<Goto, Refusal>,
    /// The lines that give a `C` its present state; none where that is the default.
    pub running: fn(&C) -> Vec<String>,
}

/// The meaning of a command of exec mode: what was asked, from what was typed.
pub type Question = fn(&Args) -> Exec;

/// Where a command leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Goto {
    /// The mode stays.
    Stay,
    /// Into this interface's mode.
    Interface(String),
    /// Into this access list's mode.
    List(String, ListKind),
    /// Out of this mode.
    Up,
    /// Out of configuration.
    End,
}

/// A command that is understood but not carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The token at fault.
    pub argument: &'static str,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// Global configuration mode.
pub static GLOBAL: &[Command<Setting<Startup>>] = &[
    system::HOSTNAME,
    system::ENABLE_SECRET,
    system::INTERFACES,
    translation::TIMEOUT,
    translation::PORT_TIMEOUT,
    translation::MAX_ENTRIES,
    service::L4F,
    service::PORT,
    service::ACCESS_GROUP,
    service::MEDIA_ACCESS_GROUP,
    service::TRUSTED,
    service::BYPASS,
    service::KEEPALIVE,
    service::HISTORY,
    service::TIMEOUT,
    service::MAXIMUM_HEADER,
    service::MAXIMUM_BODY,
    limit::LIMIT,
    limit::PROTECTED,
    source::POOL,
    source::DYNAMIC,
    source::STATIC,
    source::STATIC_NETWORK,
    source::STATIC_PORT,
    list::NAMED_STANDARD,
    list::NAMED_EXTENDED,
    list::NUMBERED_STANDARD,
    list::NUMBERED_EXTENDED,
    list::NUMBERED_REMARK,
    exit(),
    end(),
];

/// Interface configuration mode.
pub static INTERFACE: &[Command<Setting<Interface>>] = &[system::ROLE, exit(), end()];

/// Mode of a standard access list.
pub static LIST: &[Command<Setting<List>>] =
    &[list::STANDARD_ENTRY, list::REMARK_ENTRY, exit(), end()];

/// Mode of an extended access list.
pub static EXTENDED_LIST: &[Command<Setting<List>>] =
    &[list::EXTENDED_ENTRY, list::REMARK_ENTRY, exit(), end()];

// Pieces that several files share.

const IP: Part = keyword("ip", "Global IP configuration subcommands");
const NAT: Part = keyword("nat", "NAT configuration commands");
const SERVICE: Part = keyword(
    "service",
    "Special translation for application using non-standard port",
);
const SIP: Part = keyword("sip", "SIP protocol");

/// The name of a list where one is used.
const LIST_NAME: Part = OneOf(&[
    &[list::STANDARD_NUMBER],
    &[list::EXTENDED_NUMBER],
    &[value("LIST", Kind::Name, "Access-list name")],
]);

const EXIT: &[Part] = &[keyword("exit", "Exit from this configuration mode")];
const END: &[Part] = &[keyword("end", "Exit from configure mode")];

const fn exit<C>() -> Command<Setting<C>> {
    Command {
        pattern: EXIT,
        no: false,
        example: "exit",
        meaning: Setting {
            apply: |_, _| Ok(Goto::Up),
            running: silent,
        },
    }
}

const fn end<C>() -> Command<Setting<C>> {
    Command {
        pattern: END,
        no: false,
        example: "end",
        meaning: Setting {
            apply: |_, _| Ok(Goto::End),
            running: silent,
        },
    }
}

/// For commands whose state another entry prints, or that leave none.
fn silent<C>(_: &C) -> Vec<String> {
    Vec::new()
}

fn one(line: Option<String>) -> Vec<String> {
    line.into_iter().collect()
}

fn refuse<T>(argument: &'static str, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        argument,
        reason: reason.into(),
    })
}
