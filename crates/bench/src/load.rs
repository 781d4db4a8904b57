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

use std::io;

/// Opens that many files at once, for those that need more than a shell allows.
///
/// # Errors
/// The kernel refuses: it takes root to go above the hard limit.
pub fn allow_files(count: usize) -> io::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = count as u64 + 256;
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted))?;
    }
    Ok(())
}
