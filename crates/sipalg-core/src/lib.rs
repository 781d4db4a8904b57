//! The pure half of sipalg: SIP, SDP, NAT mappings, doors and timers as one state machine.
//!
//! Bytes and time go in; doors, bytes and events come out. There is no socket, clock, thread or
//! file here, and no `unsafe`.
//!
//! ```text
//!   Alg::stream(now, flow, leg, bytes, &mut out)
//!        |
//!        |  frame -> sip/sdp lens -> fixup (table) -> nat, door, call, registration
//!        v
//!   out.doors    1. the kernel opens and closes these first
//!   out.bytes    2. then these leave on the other leg
//!   out.events   3. and whoever watches may see what happened
//! ```
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod addr;
pub mod admission;
pub mod alg;
mod alike;
pub mod body;
mod bytes;
mod call;
pub mod config;
pub mod counters;
pub mod door;
pub mod event;
mod fixup;
pub mod frame;
pub mod health;
pub mod journal;
pub mod kept;
pub mod model;
mod nat;
pub mod outbox;
mod registration;
pub mod sdp;
pub mod sip;
mod slab;
mod spelling;
pub mod time;
mod timer;

pub use addr::{FlowId, Leg, Protocol};
pub use alg::{Alg, Refusal};
pub use config::Config;
pub use door::{Door, DoorKind, DoorOp};
pub use event::Event;
pub use nat::policy::pool_address;
pub use outbox::Outbox;
pub use time::Instant;

// The golden cases, so that the tests of the table can run them with another table.
#[cfg(test)]
extern crate self as sipalg_core;
#[cfg(test)]
#[path = "../tests/script/mod.rs"]
mod script;
#[cfg(test)]
#[path = "../tests/world/mod.rs"]
mod world;
// The messages of others, so that ways through them can be compared.
#[cfg(test)]
#[path = "../tests/samples/mod.rs"]
mod samples;
