//! Named objects that rules refer to: counters and connection timeouts.

use super::*;

/// Idle times that connections of one transport protocol have, in seconds, by the kernel's numbers
/// for their states (`enum ctattr_timeout_*`, linux/netfilter/nfnetlink_cttimeout.h).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lifetimes {
    /// `IPPROTO_*`.
    pub protocol: i32,
    /// What differs from the kernel's own.
    pub seconds: Vec<(u16, u32)>,
}

/// Adds a counter that begins at zero; one that exists stays as it is.
pub fn add_counter(table: &str, name: &str) -> Message {
    object(NFT_MSG_NEWOBJ, table, name, NFT_OBJECT_COUNTER).nest(NFTA_OBJ_DATA, |m| m)
}

/// Deletes a counter that no rule refers to.
pub fn delete_counter(table: &str, name: &str) -> Message {
    object(NFT_MSG_DELOBJ, table, name, NFT_OBJECT_COUNTER)
}

/// Adds idle times for connections.
pub fn add_timeout(table: &str, name: &str, lifetimes: &Lifetimes) -> Message {
    let l3 = (libc::AF_INET as u16).to_be_bytes();
    let object = object(NFT_MSG_NEWOBJ, table, name, NFT_OBJECT_CT_TIMEOUT);
    object.nest(NFTA_OBJ_DATA, |m| {
        m.put(NFTA_CT_TIMEOUT_L3PROTO, &l3)
            .put(NFTA_CT_TIMEOUT_L4PROTO, &[lifetimes.protocol as u8])
            .nest(NFTA_CT_TIMEOUT_DATA, |m| {
                let states = lifetimes.seconds.iter();
                states.fold(m, |m, (state, seconds)| {
                    m.put(*state, &seconds.to_be_bytes())
                })
            })
    })
}

/// Deletes idle times that no rule refers to.
pub fn delete_timeout(table: &str, name: &str) -> Message {
    object(NFT_MSG_DELOBJ, table, name, NFT_OBJECT_CT_TIMEOUT)
}

/// A kind of named objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectKind {
    /// [`add_counter`]
    Counter,
    /// [`add_timeout`]
    Timeout,
}

impl Nft {
    /// The names of a table's objects of a kind.
    ///
    /// # Errors
    /// The kernel's.
    pub fn objects(&mut self, table: &str, kind: ObjectKind) -> Result<Vec<String>, Error> {
        let kind = match kind {
            ObjectKind::Counter => NFT_OBJECT_COUNTER,
            ObjectKind::Timeout => NFT_OBJECT_CT_TIMEOUT,
        };
        let question = message(NFT_MSG_GETOBJ, 0)
            .text(NFTA_OBJ_TABLE, table)
            .put(NFTA_OBJ_TYPE, &kind.to_be_bytes());
        self.list(&question, |told, found| {
            found.extend(attribute(told, NFTA_OBJ_NAME).map(text_of));
        })
    }

    /// All counters of a table: name and packets.
    ///
    /// # Errors
    /// The kernel's.
    pub fn counters(&mut self, table: &str) -> Result<Vec<(String, u64)>, Error> {
        let question = message(NFT_MSG_GETOBJ, 0)
            .text(NFTA_OBJ_TABLE, table)
            .put(NFTA_OBJ_TYPE, &NFT_OBJECT_COUNTER.to_be_bytes());
        self.list(&question, |told, found| {
            let name = attribute(told, NFTA_OBJ_NAME).map(text_of);
            let data = attribute(told, NFTA_OBJ_DATA).unwrap_or_default();
            found.extend(name.map(|name| (name, counted(data).0)));
        })
    }
}

fn object(operation: u16, table: &str, name: &str, kind: u32) -> Message {
    let flags = if operation == NFT_MSG_NEWOBJ {
        libc::NLM_F_CREATE
    } else {
        0
    };
    message(operation, flags)
        .text(NFTA_OBJ_TABLE, table)
        .text(NFTA_OBJ_NAME, name)
        .put(NFTA_OBJ_TYPE, &kind.to_be_bytes())
}

const NFT_MSG_NEWOBJ: u16 = 18;
const NFT_MSG_GETOBJ: u16 = 19;
const NFT_MSG_DELOBJ: u16 = 20;
pub(super) const NFTA_OBJ_TABLE: u16 = 1;
pub(super) const NFTA_OBJ_NAME: u16 = 2;
pub(super) const NFTA_OBJ_TYPE: u16 = 3;
pub(super) const NFTA_OBJ_DATA: u16 = 4;
const NFTA_CT_TIMEOUT_L3PROTO: u16 = 1;
const NFTA_CT_TIMEOUT_L4PROTO: u16 = 2;
const NFTA_CT_TIMEOUT_DATA: u16 = 3;
