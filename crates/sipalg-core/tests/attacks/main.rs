//! Attacks, each as it was published or as its kind would be: nothing opens, nothing changes, nothing
//! grows, and nobody else is hurt.
//!
//! ```text
//!   slipstream    streams that are not SIP, with SIP at a segment border
//!   ports         to which ports of which hosts a door leads
//!   framing       games with Content-Length
//!   neighbours    other inside hosts, and the outside, within calls of others
//!   bombs         messages that ask for too much
//!   fairness      hosts that take too much
//!   patience      messages and connections that never end
//!   linear        what takes how long
//!   prediction    which ports are given
//! ```
#![allow(clippy::unwrap_used)] // helpers of tests may unwrap

mod bombs;
mod fairness;
mod framing;
mod linear;
mod neighbours;
mod patience;
mod ports;
mod prediction;
mod slipstream;
#[path = "../world/mod.rs"]
mod world;

use sipalg_core::DoorOp;
use world::World;

/// A request of an inside host with a contact and, unless it is empty, a session description.
fn request(method: &str, id: &str, contact: &str, body: &str) -> String {
    let kind = match body {
        "" => "",
        _ => "Content-Type: application/sdp\r\n",
    };
    format!(
        "{method} sip:2002@10.1.1.2 SIP/2.0\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\n\
         Call-ID: {id}\r\nCSeq: 1 {method}\r\nContact: {contact}\r\n{kind}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A response without body.
fn response(status: u16, method: &str, id: &str, more: &str) -> String {
    format!(
        "SIP/2.0 {status} x\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\nCall-ID: {id}\r\n\
         CSeq: 1 {method}\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// How many doors the last call has opened.
fn opened(world: &World) -> usize {
    let opens = world.last_ops.iter();
    opens.filter(|op| matches!(op, DoorOp::Open(_))).count()
}
