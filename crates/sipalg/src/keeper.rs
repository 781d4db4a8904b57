//! A crash loses nothing: the keeper process, and the memory that it shares with the worker.
//!
//! ```text
//!   supervise   the keeper: starts the worker, watches it, starts another
//!   herald      how the worker says how it goes
//!   sweep       the descriptors that a worker finds open
//!   handover    the keeper gives everything to a new gateway
//!   memory      the only module with `unsafe`: shared memory, a process that shares descriptors
//!   layout      where everything is in the region
//!   shared      its header: what keeper and worker tell each other
//!   region      what the worker puts there, and finds again: batches
//!     slots     connections; chains: bytes that wait; log: records
//! ```

pub mod chains;
pub mod handover;
pub mod herald;
pub mod layout;
pub mod log;
pub mod memory;
pub mod region;
pub mod shared;
pub mod slots;
pub mod supervise;
pub mod sweep;
