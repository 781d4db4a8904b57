//! The loads: what is sent, through whom, and what a unit of it is.

use crate::measure::{addresses, words};
use crate::peers::Peer;
use crate::peers::Peer::{Haproxy, Helper, Kamailio, Nat, Rtpengine, Sipalg};

/// A load.
#[derive(Debug)]
pub struct Load {
    /// Its name in figures and on the command line.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// What the figures are of one of.
    pub unit: &'static str,
    /// Who can bear it.
    pub peers: &'static [Peer],
    /// How it is made.
    pub kind: Kind,
}

/// How a load is made.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A client that begins at a word and ends by itself.
    Plain {
        /// Its command line.
        arguments: fn(&Size, Peer) -> Vec<String>,
        /// How many messages of a unit come to the server.
        messages: u64,
    },
    /// Connections that stay.
    Idle,
    /// Packets through the doors of calls.
    Media,
    /// Many calls at once.
    Many,
}

/// How large everything is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// How long a load lasts, seconds.
    pub seconds: f64,
    /// The same of packets, milliseconds.
    pub milliseconds: u64,
    /// How long each rate of packets is tried, milliseconds.
    pub step: u64,
    /// How often the highest rate is looked for between two.
    pub halvings: u32,
    /// Connections that take turns.
    pub connections: u32,
    /// Connections that stay.
    pub idle: u32,
    /// Calls at once on one connection.
    pub many: u64,
    /// Calls that are made beside them.
    pub more_calls: u32,
}

/// The size that figures are published of.
pub const FULL: Size = Size {
    seconds: 2.0,
    milliseconds: 2000,
    step: 300,
    halvings: 3,
    connections: 1000,
    idle: 10_000,
    many: 10_000,
    more_calls: 3000,
};

/// Everything at a size that shows that it works.
pub const QUICK: Size = Size {
    seconds: 0.5,
    milliseconds: 400,
    step: 100,
    halvings: 1,
    connections: 200,
    idle: 1000,
    many: 1000,
    more_calls: 500,
};

/// The same for those who have less time still.
pub const SMOKE: Size = Size {
    seconds: 0.1,
    milliseconds: 100,
    step: 30,
    halvings: 0,
    connections: 50,
    idle: 200,
    many: 200,
    more_calls: 50,
};

/// All peers that terminate or translate connections, whatever becomes of media.
const SIGNALLING: &[Peer] = &[Nat, Helper, Haproxy, Kamailio, Sipalg];

/// All loads, in the order in which they are sent.
pub const LOADS: &[Load] = &[
    Load {
        name: "L1",
        title: "INVITEs back to back on one connection",
        unit: "message",
        peers: SIGNALLING,
        kind: Kind::Plain {
            arguments: |size, _| seconds("stream", size),
            messages: 1,
        },
    },
    Load {
        name: "L10",
        title: "the same stream cut at random points",
        unit: "message",
        peers: &[Nat, Haproxy, Sipalg],
        kind: Kind::Plain {
            arguments: |size, _| seconds("stream --cut 1448", size),
            messages: 1,
        },
    },
    Load {
        name: "L2",
        title: "INVITE and 200 in turn, 1,000 connections",
        unit: "request",
        peers: SIGNALLING,
        kind: Kind::Plain {
            arguments: |size, _| {
                seconds(
                    &format!("requests --connections {}", size.connections),
                    size,
                )
            },
            messages: 1,
        },
    },
    Load {
        name: "L2r",
        title: "the same at 2,000 requests a second",
        unit: "request",
        peers: SIGNALLING,
        kind: Kind::Plain {
            arguments: |size, _| {
                let connections = size.connections;
                seconds(
                    &format!("requests --rate 2000 --connections {connections}"),
                    size,
                )
            },
            messages: 1,
        },
    },
    Load {
        name: "L3",
        title: "a new connection for each REGISTER",
        unit: "connection",
        peers: SIGNALLING,
        kind: Kind::Plain {
            arguments: |size, peer| {
                seconds(
                    &format!("churn --clients 8 --addresses {}", addresses(peer)),
                    size,
                )
            },
            messages: 1,
        },
    },
    Load {
        name: "L4",
        title: "10,000 idle connections",
        unit: "connection",
        peers: SIGNALLING,
        kind: Kind::Idle,
    },
    Load {
        name: "L5",
        title: "whole calls, new media ports each",
        unit: "call",
        peers: &[Nat, Helper, Haproxy, Kamailio, Rtpengine, Sipalg],
        kind: Kind::Plain {
            arguments: |size, peer| {
                let probe = if peer.promise().doors {
                    " --probe 50"
                } else {
                    ""
                };
                let connections = size.connections / 10;
                seconds(&format!("calls --connections {connections}{probe}"), size)
            },
            messages: 3,
        },
    },
    Load {
        name: "L6",
        title: "RTP through the doors of 20 calls",
        unit: "packet",
        peers: &[Nat, Helper, Rtpengine, Sipalg],
        kind: Kind::Media,
    },
    Load {
        name: "L9",
        title: "10,000 calls at once on one connection",
        unit: "call more",
        peers: &[Sipalg],
        kind: Kind::Many,
    },
];

fn seconds(line: &str, size: &Size) -> Vec<String> {
    words(&format!("{line} --seconds {}", size.seconds))
}
