//! nftables: messages for tables, chains, sets, elements and rules (linux/netfilter/nf_tables.h).
//!
//! A [`Rule`] is written left to right as nft(8) would write it; each word appends the kernel
//! expressions that it stands for.

use super::{Error, Message, Socket, attribute, attributes, text_of};
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

mod listing;
mod object;
mod rule;
mod set;
mod table;

pub use listing::{BaseChain, Expression, Listed, Verdict};
pub use object::{Lifetimes, ObjectKind, add_counter, add_timeout, delete_counter, delete_timeout};
pub use rule::{Direction, End, Known, Rule};
pub use set::{
    Change, Element, KeyType, Set, SetKind, SetShape, add_element, add_elements, add_key,
    add_range, add_set, added, address_port, address_port_of, delete_element, delete_elements,
    delete_set, destroy_element, destroy_elements, even, flush_set, interface,
    protocol_address_port,
};
pub use table::Entrance;

/// A conversation about nftables.
#[derive(Debug)]
pub struct Nft(Socket, VecDeque<Fault>);

/// What goes wrong with a transaction, for tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// The kernel refuses it.
    Refused(Errno),
    /// It takes effect, but the kernel's word on it is lost (`ENOBUFS`).
    Unheard,
}

/// A chain that packets enter by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hook {
    /// `filter`, `nat` or `route`.
    pub kind: &'static str,
    /// Where in the packet's way.
    pub at: HookPoint,
    /// Its place among the chains there, lower first.
    pub priority: i32,
}

/// Where in its way through the host a packet enters a chain (`enum nf_inet_hooks`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HookPoint {
    /// Came in, before routing.
    Prerouting = 0,
    /// Is for this host.
    Input = 1,
    /// Passes through.
    Forward = 2,
    /// Made here.
    Output = 3,
    /// Goes out, after routing.
    Postrouting = 4,
}

impl Nft {
    /// Opens a conversation in the network namespace of the calling thread.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` where the kernel has no nfnetlink.
    pub fn open() -> Result<Self, Error> {
        let socket = Socket::open(SockProtocol::NetlinkNetFilter)?;
        Ok(Nft(socket, VecDeque::new()))
    }

    /// Carries out `messages` as one transaction.
    ///
    /// # Errors
    /// The kernel's on the first message that it refuses; nothing has changed then.
    pub fn commit(&mut self, messages: Vec<Message>) -> Result<(), Error> {
        self.exchange(messages).map(drop)
    }

    /// The same, and says which elements were there of those that [`Message::echoed`] messages take
    /// out of sets, each with the name of its set.
    ///
    /// # Errors
    /// Likewise.
    pub fn exchange(&mut self, messages: Vec<Message>) -> Result<Vec<(String, Element)>, Error> {
        let fault = self.1.pop_front().unwrap_or(Fault::None);
        if let Fault::Refused(errno) = fault {
            return Err(errno.into());
        }
        let mut told = Vec::new();
        self.0.batch(messages, |kind, payload| {
            if set::takes_out(kind) {
                let payload = payload.get(NFGENMSG..).unwrap_or_default();
                let set = set::set_in(payload);
                let elements = set::elements_in(payload).into_iter();
                told.extend(elements.map(|element| (set.clone(), element)));
            }
        })?;
        match fault {
            Fault::Unheard => Err(Errno::ENOBUFS.into()),
            _ => Ok(told),
        }
    }

    /// What goes wrong with the next transactions, each with one; for tests.
    pub fn set_faults(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.1 = faults.into_iter().collect();
    }

    /// The names of all tables of the family `ip`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn tables(&mut self) -> Result<Vec<String>, Error> {
        self.list(&message(NFT_MSG_GETTABLE, 0), |told, found| {
            found.extend(attribute(told, NFTA_TABLE_NAME).map(text_of));
        })
    }

    fn list<T>(
        &mut self,
        question: &Message,
        read: impl Fn(&[u8], &mut Vec<T>),
    ) -> Result<Vec<T>, Error> {
        self.0.dump(question, |payload, found| {
            read(payload.get(NFGENMSG..).unwrap_or_default(), found);
        })
    }
}

/// Adds the table `name`; one that exists stays as it is.
pub fn add_table(name: &str) -> Message {
    message(NFT_MSG_NEWTABLE, libc::NLM_F_CREATE).text(NFTA_TABLE_NAME, name)
}

/// Deletes the table `name` with all that is in it.
pub fn delete_table(name: &str) -> Message {
    message(NFT_MSG_DELTABLE, 0).text(NFTA_TABLE_NAME, name)
}

/// Adds a chain; without a `hook` it is entered by jumps only.
pub fn add_chain(table: &str, name: &str, hook: Option<Hook>) -> Message {
    let chain = message(NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE)
        .text(NFTA_CHAIN_TABLE, table)
        .text(NFTA_CHAIN_NAME, name);
    let Some(hook) = hook else { return chain };
    chain
        .nest(NFTA_CHAIN_HOOK, |m| {
            m.put(NFTA_HOOK_HOOKNUM, &(hook.at as u32).to_be_bytes())
                .put(NFTA_HOOK_PRIORITY, &hook.priority.to_be_bytes())
        })
        .text(NFTA_CHAIN_TYPE, hook.kind)
}

/// Appends `rule` to the chain `chain`, with a `note` that the kernel keeps and that does nothing
/// ([`Nft::notes`]).
pub fn add_rule(table: &str, chain: &str, rule: Rule, note: &[u8]) -> Message {
    message(NFT_MSG_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_APPEND)
        .text(NFTA_RULE_TABLE, table)
        .text(NFTA_RULE_CHAIN, chain)
        .nest(NFTA_RULE_EXPRESSIONS, |m| rule.append_to(m))
        // nft reads type, length and value, and passes over types that it does not know.
        .put(
            NFTA_RULE_USERDATA,
            &[&[NOTE, note.len() as u8], note].concat(),
        )
}

/// Takes all rules out of a chain.
pub fn flush_chain(table: &str, name: &str) -> Message {
    message(NFT_MSG_DELRULE, 0)
        .text(NFTA_RULE_TABLE, table)
        .text(NFTA_RULE_CHAIN, name)
}

/// Deletes a chain that is empty and that no rule leads to.
pub fn delete_chain(table: &str, name: &str) -> Message {
    message(NFT_MSG_DELCHAIN, 0)
        .text(NFTA_CHAIN_TABLE, table)
        .text(NFTA_CHAIN_NAME, name)
}

/// What compares in addresses of a network of `prefix` bits.
pub fn network_mask(prefix: u8) -> u32 {
    let host = 32 - u32::from(prefix.min(32));
    u32::MAX.checked_shl(host).unwrap_or(0)
}

/// Packets and bytes of a counter.
fn counted(counter: &[u8]) -> (u64, u64) {
    (
        number(counter, NFTA_COUNTER_PACKETS),
        number(counter, NFTA_COUNTER_BYTES),
    )
}

/// The 64-bit number in the attribute `kind`, or zero.
fn number(told: &[u8], kind: u16) -> u64 {
    let value = attribute(told, kind).and_then(|v| v.try_into().ok());
    value.map_or(0, u64::from_be_bytes)
}

fn message(operation: u16, flags: i32) -> Message {
    let kind = (libc::NFNL_SUBSYS_NFTABLES as u16) << 8 | operation;
    Message::new(kind, flags, &[libc::NFPROTO_IPV4 as u8, 0, 0, 0])
}

/// Length of `struct nfgenmsg`.
const NFGENMSG: usize = 4;

const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_GETTABLE: u16 = 1;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_DELCHAIN: u16 = 5;
const NFT_MSG_NEWRULE: u16 = 6;
const NFT_MSG_DELRULE: u16 = 8;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
/// Ours among the types of notes on rules; nft's count from zero.
const NOTE: u8 = 0x53;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;

const NFT_OBJECT_COUNTER: u32 = 1;
const NFT_OBJECT_CT_TIMEOUT: u32 = 7;
