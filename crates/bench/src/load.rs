//! The load generator: a server for the outside and a client for the inside.
//!
//! ```text
//!   server    answers, and checks what arrived: rewritten, nothing lost, doubled or out of order
//!   client    what all clients share: their end of the connection, when they begin and end
//!   stream, requests, churn, idle, calls, hold     the clients, one for each kind of load
//!   message   the messages of the load
//!   frame     cuts streams into messages
//!   period    compares a stream that repeats itself, at the price of a comparison
//!   ear       media ports that count what they hear
//! ```
//!
//! Each says what it saw as a line of JSON.

pub mod calls;
pub mod churn;
pub mod client;
pub mod ear;
pub mod frame;
pub mod hold;
pub mod idle;
pub mod message;
pub mod period;
pub mod requests;
pub mod server;
pub mod stream;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// How many files a process should be able to open: connections of a proxy have two each.
const FILES: u64 = 65_536;

/// Lets this process and those that it starts open as many files as loads take, or as many as may
/// be; says how many.
pub fn allow_files() -> u64 {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 0;
    };
    // In a container root may lack the right to go above the hard limit.
    let tries = [FILES.max(hard), hard];
    let done = tries
        .iter()
        .find(|&&most| setrlimit(Resource::RLIMIT_NOFILE, most, most).is_ok());
    done.copied().unwrap_or(0)
}
