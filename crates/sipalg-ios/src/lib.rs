//! How sipalg speaks IOS: text to commands to configuration, and back. Nothing here does anything.
//!
//! ```text
//!   startup file --parse--> Startup --running--> text that parses to the same
//!   startup file --faults--> all that is wrong with it
//!   exec line ----exec----> Exec
//!        both by: commands (THE table) over grammar (the engine)
//!
//!   typed line --session--> what to say, to ask the gateway, or to configure; `?` and TAB too
//!
//!   core events --debug--> the lines of `debug ip nat sip`
//!               --json---> the same for programs
//!   core views  --show---> the tables of `show ...`
//! ```
#![forbid(unsafe_code)]

pub mod access;
pub mod commands;
pub mod debug;
pub mod exec;
pub mod faults;
pub mod grammar;
pub mod json;
pub mod parse;
pub mod ports;
pub mod reference;
pub mod running;
pub mod secret;
pub mod session;
pub mod show;
pub mod startup;

pub use exec::Exec;
pub use parse::ConfigError;
pub use startup::Startup;
