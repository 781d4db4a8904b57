//! What the translator and its parts cost, for a message of the reference document's shape, beside
//! `memcpy` of that message and two published SIP parsers that only parse.
//!
//! Times are ratios of one run in which all take turns (`clock`); instructions are counted by callgrind
//! and compared with a baseline (`instructions`).

pub mod clock;
pub mod gateway;
pub mod instructions;
pub mod messages;
pub mod shapes;
pub mod subjects;
