//! What `show ...` shows: views, typed and complete, which are text in the layouts of IOS or JSON, of
//! the same data.
//!
//! ```text
//!   translations, statistics, pools     show ip nat ...
//!   sip, ports, resources, limits       show ip nat sip ...
//!   store, kernel                       show ip nat sip ...: what they do besides calls
//!   calls, messages                     show ip nat sip ...: what became of them, and why
//!   lists                               show access-lists
//!   system                              show version, debugging, running-config
//!   support                             show tech-support: all of them
//! ```

mod calls;
mod kernel;
mod limits;
mod lists;
mod messages;
mod pools;
mod ports;
mod resources;
mod sip;
mod statistics;
mod store;
mod support;
mod system;
mod translations;

pub use calls::{Call, Calls, Registrations, call, calls, registrations};
pub use kernel::Kernel;
pub use limits::{Limits, limits};
pub use lists::{AccessLists, Hits, access_lists};
pub use messages::{Message, Messages, message, messages};
pub use pools::{Pools, pools};
pub use ports::{Ports, Service, ports};
pub use resources::{Resources, resources};
pub use sip::{Connection, Connections, Counts, Doors, counters, sip_connections, sip_doors};
pub use statistics::{Gathered, Packets, Statistics, statistics};
pub use store::Store;
pub use support::TechSupport;
pub use system::{
    Debugging, RunningConfig, StartupConfig, Version, debug_on, debugging, running_config,
    startup_config,
};
pub use translations::{Form, Translations, Which, translations};

use core::time::Duration;
use serde::Serialize;

/// What `no debug ip nat sip` answers.
pub const DEBUG_OFF: &str = "IP NAT SIP debugging is off\n";
/// What `no debug ip nat sip dry-run` answers.
pub const DRY_RUN_OFF: &str = "IP NAT SIP dry run is off\n";
/// What `undebug all` answers.
pub const UNDEBUG_ALL: &str = "All possible debugging has been turned off\n";

/// Something to be shown. What it says as JSON are its fields.
pub trait View: Serialize {
    /// As IOS lays it out. Ends with a line end, or is empty.
    fn text(&self) -> String;
}

/// How a view is to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: `... json`.
    Json,
}

/// Shows a view.
pub fn render(view: &impl View, format: Format) -> String {
    match format {
        Format::Text => view.text(),
        // Fields that are no text as keys, which JSON cannot have, do not exist in any view.
        Format::Json => serde_json::to_string_pretty(view).unwrap_or_default() + "\n",
    }
}

/// A time span as IOS prints it: `hh:mm:ss`, from a day on `1d02h`, from a week on `1w2d`.
pub fn duration(span: Duration) -> String {
    let seconds = span.as_secs();
    let (hours, days) = (seconds / 3600, seconds / 86_400);
    match days {
        0 => format!("{hours:02}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
        1..7 => format!("{days}d{:02}h", hours % 24),
        _ => format!("{}w{}d", days / 7, days % 7),
    }
}

/// A number that is perhaps not known.
fn known(number: Option<u64>) -> String {
    number.map_or("-".into(), |number| number.to_string())
}
