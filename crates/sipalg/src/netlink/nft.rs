//! nftables: messages for tables, chains, sets, elements and rules (linux/netfilter/nf_tables.h).
//!
//! A [`Rule`] is written left to right as nft(8) would write it; each word appends the kernel
//! expressions that it stands for.

use super::{Error, Message, Socket, attribute, attributes, text_of};
use nix::sys::socket::SockProtocol;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

mod rule;

pub use rule::{Direction, End, Rule};

/// A conversation about nftables.
#[derive(Debug)]
pub struct Nft(Socket);

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
    /// Passes through.
    Forward = 2,
    /// Made here.
    Output = 3,
    /// Goes out, after routing.
    Postrouting = 4,
}

/// What the keys of a set are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyType {
    /// `ipv4_addr . inet_service`: [`address_port`].
    AddressPort,
    /// `inet_service`: two bytes, big-endian.
    Port,
    /// `ifname`: [`interface`].
    Interface,
    /// `ifname . inet_service`: [`interface_port`].
    InterfacePort,
}

/// A named set or map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// A number by which rules of the same transaction know it.
    pub id: u32,
    /// What its keys are.
    pub key: KeyType,
    /// What else there is to it.
    pub kind: SetKind,
}

/// What a set holds besides its keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetKind {
    /// Keys only.
    Plain,
    /// Keys that expire.
    Expiring,
    /// Keys that expire, each with a packet and byte counter.
    Counting,
    /// From `ipv4_addr . inet_service` to the same, each pair expiring.
    Map,
}

/// An element of a set of `ipv4_addr . inet_service`, as the kernel holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Element {
    /// Its key.
    pub key: SocketAddrV4,
    /// Time until it goes by itself.
    pub expires: Duration,
    /// Packets counted on it, in a [`SetKind::Counting`] set.
    pub packets: u64,
    /// Bytes of those, IP headers included.
    pub bytes: u64,
}

impl Nft {
    /// Opens a conversation in the network namespace of the calling thread.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` where the kernel has no nfnetlink.
    pub fn open() -> Result<Self, Error> {
        Socket::open(SockProtocol::NetlinkNetFilter).map(Nft)
    }

    /// Carries out `messages` as one transaction.
    ///
    /// # Errors
    /// The kernel's on the first message that it refuses; nothing has changed then.
    pub fn commit(&mut self, messages: Vec<Message>) -> Result<(), Error> {
        self.0.batch(messages)
    }

    /// The live elements of a set of `ipv4_addr . inet_service`.
    ///
    /// # Errors
    /// `ENOENT` if there is no such set.
    pub fn elements(&mut self, table: &str, set: &Set) -> Result<Vec<Element>, Error> {
        let question = message(NFT_MSG_GETSETELEM, 0)
            .text(NFTA_SET_ELEM_LIST_TABLE, table)
            .text(NFTA_SET_ELEM_LIST_SET, set.name);
        self.list(&question, |told, found| {
            let list = attribute(told, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
            found.extend(attributes(list).filter_map(|(_, element)| element_of(element)));
        })
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

/// Appends `rule` to the chain `chain`.
pub fn add_rule(table: &str, chain: &str, rule: Rule) -> Message {
    message(NFT_MSG_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_APPEND)
        .text(NFTA_RULE_TABLE, table)
        .text(NFTA_RULE_CHAIN, chain)
        .nest(NFTA_RULE_EXPRESSIONS, |m| rule.append_to(m))
}

/// Adds a set.
pub fn add_set(table: &str, set: &Set) -> Message {
    let (key_type, key_length) = match set.key {
        KeyType::AddressPort => (TYPE_IPV4_ADDR << TYPE_BITS | TYPE_INET_SERVICE, 8),
        KeyType::InterfacePort => (TYPE_IFNAME << TYPE_BITS | TYPE_INET_SERVICE, 20),
        KeyType::Port => (TYPE_INET_SERVICE, 2),
        KeyType::Interface => (TYPE_IFNAME, libc::IFNAMSIZ as u32),
    };
    let flags = match set.kind {
        SetKind::Plain => 0,
        SetKind::Expiring | SetKind::Counting => NFT_SET_TIMEOUT,
        SetKind::Map => NFT_SET_TIMEOUT | NFT_SET_MAP,
    };
    let mut message = message(NFT_MSG_NEWSET, libc::NLM_F_CREATE)
        .text(NFTA_SET_TABLE, table)
        .text(NFTA_SET_NAME, set.name)
        .put(NFTA_SET_ID, &set.id.to_be_bytes())
        .put(NFTA_SET_FLAGS, &flags.to_be_bytes())
        .put(NFTA_SET_KEY_TYPE, &key_type.to_be_bytes())
        .put(NFTA_SET_KEY_LEN, &u32::to_be_bytes(key_length));
    if set.key == KeyType::Interface {
        message = message.put(NFTA_SET_USERDATA, &HOST_BYTE_ORDER);
    }
    if set.kind == SetKind::Map {
        message = message
            .put(NFTA_SET_DATA_TYPE, &key_type.to_be_bytes())
            .put(NFTA_SET_DATA_LEN, &u32::to_be_bytes(key_length));
    }
    if set.kind == SetKind::Counting {
        message = message.nest(NFTA_SET_EXPR, |m| {
            m.text(NFTA_EXPR_NAME, "counter")
                .nest(NFTA_EXPR_DATA, |m| m)
        });
    }
    message
}

/// Adds `key` to a set that does not expire.
pub fn add_key(table: &str, set: &Set, key: &[u8]) -> Message {
    element(NFT_MSG_NEWSETELEM, table, set, key, |m| m)
}

/// Adds `key` (in a map: with `value`) for `lifetime`; one that is there lives that long from now
/// (Linux 6.12; before, it keeps the life that it has).
pub fn add_element(
    table: &str,
    set: &Set,
    key: &[u8],
    value: Option<&[u8]>,
    lifetime: Duration,
) -> Message {
    // Zero would be for ever.
    let lifetime = u64::try_from(lifetime.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    element(NFT_MSG_NEWSETELEM, table, set, key, |m| {
        let m = match value {
            Some(value) => m.nest(NFTA_SET_ELEM_DATA, |m| m.put(NFTA_DATA_VALUE, value)),
            None => m,
        };
        // Only with an expiration does the lifetime of an element that is there begin anew.
        m.put(NFTA_SET_ELEM_TIMEOUT, &lifetime.to_be_bytes())
            .put(NFTA_SET_ELEM_EXPIRATION, &lifetime.to_be_bytes())
    })
}

/// Takes `key` out of a set; one that is not in it fails the whole transaction.
pub fn delete_element(table: &str, set: &Set, key: &[u8]) -> Message {
    element(NFT_MSG_DELSETELEM, table, set, key, |m| m)
}

/// Takes `key` out of a set; one that is not in it is no error (Linux 6.3).
pub fn destroy_element(table: &str, set: &Set, key: &[u8]) -> Message {
    element(NFT_MSG_DESTROYSETELEM, table, set, key, |m| m)
}

/// The key or value `ipv4_addr . inet_service`: each part padded to 32 bits.
pub fn address_port(pair: SocketAddrV4) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&pair.ip().octets());
    key[4..6].copy_from_slice(&pair.port().to_be_bytes());
    key
}

/// The key `ifname`.
pub fn interface(name: &str) -> [u8; libc::IFNAMSIZ] {
    let mut key = [0; libc::IFNAMSIZ];
    for (to, from) in key.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from;
    }
    key
}

/// The key `ifname . inet_service`.
pub fn interface_port(name: &str, port: u16) -> [u8; libc::IFNAMSIZ + 4] {
    let mut key = [0; libc::IFNAMSIZ + 4];
    key[..libc::IFNAMSIZ].copy_from_slice(&interface(name));
    key[libc::IFNAMSIZ..][..2].copy_from_slice(&port.to_be_bytes());
    key
}

fn element(
    operation: u16,
    table: &str,
    set: &Set,
    key: &[u8],
    more: impl FnOnce(Message) -> Message,
) -> Message {
    let flags = if operation == NFT_MSG_NEWSETELEM {
        libc::NLM_F_CREATE
    } else {
        0
    };
    message(operation, flags)
        .text(NFTA_SET_ELEM_LIST_TABLE, table)
        .text(NFTA_SET_ELEM_LIST_SET, set.name)
        .put(NFTA_SET_ELEM_LIST_SET_ID, &set.id.to_be_bytes())
        .nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
            m.nest(NFTA_LIST_ELEM, |m| {
                more(m.nest(NFTA_SET_ELEM_KEY, |m| m.put(NFTA_DATA_VALUE, key)))
            })
        })
}

/// An element from a dump.
fn element_of(told: &[u8]) -> Option<Element> {
    let key = attribute(attribute(told, NFTA_SET_ELEM_KEY)?, NFTA_DATA_VALUE)?;
    let address: [u8; 4] = key.get(..4)?.try_into().ok()?;
    let port = u16::from_be_bytes(key.get(4..6)?.try_into().ok()?);
    let expression = attribute(told, NFTA_SET_ELEM_EXPR).unwrap_or_default();
    let counter = attribute(expression, NFTA_EXPR_DATA).unwrap_or_default();
    let number = |bytes, kind| {
        let value = attribute(bytes, kind).and_then(|v| v.try_into().ok());
        value.map_or(0, u64::from_be_bytes)
    };
    Some(Element {
        key: SocketAddrV4::new(Ipv4Addr::from(address), port),
        expires: Duration::from_millis(number(told, NFTA_SET_ELEM_EXPIRATION)),
        packets: number(counter, NFTA_COUNTER_PACKETS),
        bytes: number(counter, NFTA_COUNTER_BYTES),
    })
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
const NFT_MSG_NEWRULE: u16 = 6;
const NFT_MSG_NEWSET: u16 = 9;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_GETSETELEM: u16 = 13;
const NFT_MSG_DELSETELEM: u16 = 14;
const NFT_MSG_DESTROYSETELEM: u16 = 30;

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
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
const NFTA_SET_EXPR: u16 = 17;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_LIST_SET_ID: u16 = 4;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_SET_ELEM_EXPIRATION: u16 = 5;
const NFTA_SET_ELEM_EXPR: u16 = 7;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;

const NFT_SET_MAP: u32 = 0x8;
const NFT_SET_TIMEOUT: u32 = 0x10;

/// nft's own numbers for data types; the kernel only keeps them, nft needs them to print.
const TYPE_BITS: u32 = 6;
const TYPE_IPV4_ADDR: u32 = 7;
const TYPE_INET_SERVICE: u32 = 13;
const TYPE_IFNAME: u32 = 41;

/// nft's own note on a set (type, length, value): the keys are in host byte order. Without it nft
/// prints names as nothing.
const HOST_BYTE_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_interface_name_keeps_its_final_nul() {
        assert_eq!(&interface("gin")[..4], b"gin\0");
        assert_eq!(interface("a-name-too-long-to-be").last(), Some(&0));
    }

    #[test]
    fn a_pair_of_address_and_port_is_padded_to_words() {
        let pair = SocketAddrV4::new(Ipv4Addr::new(1, 2, 3, 4), 0x1f40);
        assert_eq!(address_port(pair), [1, 2, 3, 4, 0x1f, 0x40, 0, 0]);
    }
}
