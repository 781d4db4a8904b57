//! The kernel's expressions that words of rules stand for.

use super::super::NFTA_LIST_ELEM;
use super::super::Set;
use super::super::set::PAIR;
pub(super) use super::super::{NFT_OBJECT_COUNTER, NFT_OBJECT_CT_TIMEOUT};
pub(super) use super::super::{NFTA_DATA_VALUE, NFTA_EXPR_DATA, NFTA_EXPR_NAME};
use super::{Direction, End, Rule};
use crate::netlink::{Message, attribute, text_of};

impl Rule {
    /// Appends the rule's expressions to a message.
    pub(in crate::netlink::nft) fn append_to(self, message: Message) -> Message {
        self.0.into_iter().fold(message, |m, expression| {
            m.nest(NFTA_LIST_ELEM, |m| m.raw(expression.body()))
        })
    }

    /// Has every question whether a key is in one of the maps take the value, too, and let it lie: before
    /// Linux 6.9 a map cannot be asked otherwise. nft(8) then lists the rule without the question.
    pub fn take_values(&mut self, is_map: impl Fn(&str) -> bool) {
        for expression in &mut self.0 {
            let Some(lookup) = Lookup::of(expression) else {
                continue;
            };
            if !lookup.takes_value && is_map(&lookup.set) {
                let data = attribute(expression.body(), NFTA_EXPR_DATA).unwrap_or_default();
                *expression = one("lookup", |m| m.raw(data).put(NFTA_LOOKUP_DREG, &REGISTER_2));
            }
        }
    }

    /// The same rule without questions to sets of which it is known what they hold: whether a key is
    /// the only one is a comparison. None if it can match nothing.
    pub fn knowing(mut self, known: impl Fn(&str) -> Option<Known>) -> Option<Rule> {
        let mut asked = Vec::new();
        for expression in self.0.drain(..) {
            let lookup = Lookup::of(&expression);
            let holds = lookup.as_ref().and_then(|lookup| known(&lookup.set));
            match (lookup, holds) {
                (Some(lookup), Some(Known::Nothing)) if lookup.inverted => {}
                (Some(_), Some(Known::Nothing)) => return None,
                (Some(lookup), Some(Known::One(key))) if !lookup.takes_value => {
                    let operation = match lookup.inverted {
                        true => NFT_CMP_NEQ,
                        false => NFT_CMP_EQ,
                    };
                    asked.append(&mut Rule::new().compare(operation, &key).0);
                }
                _ => asked.push(expression),
            }
        }
        Some(Rule(asked))
    }

    pub(super) fn expression(mut self, name: &str, data: impl FnOnce(Message) -> Message) -> Self {
        self.0.push(one(name, data));
        self
    }

    pub(super) fn load_meta(self, key: u32) -> Self {
        self.expression("meta", |m| {
            m.put(NFTA_META_DREG, &REGISTER_1)
                .put(NFTA_META_KEY, &key.to_be_bytes())
        })
    }

    pub(super) fn load_ct(self, key: u32, register: &[u8]) -> Self {
        self.expression("ct", |m| {
            m.put(NFTA_CT_DREG, register)
                .put(NFTA_CT_KEY, &key.to_be_bytes())
        })
    }

    pub(super) fn load_payload(self, base: u32, offset: u32, length: u32, register: &[u8]) -> Self {
        self.expression("payload", |m| {
            m.put(NFTA_PAYLOAD_DREG, register)
                .put(NFTA_PAYLOAD_BASE, &base.to_be_bytes())
                .put(NFTA_PAYLOAD_OFFSET, &offset.to_be_bytes())
                .put(NFTA_PAYLOAD_LEN, &length.to_be_bytes())
        })
    }

    pub(super) fn masked(self, mask: &[u8]) -> Self {
        self.bitwise(&REGISTER_1, mask, &vec![0; mask.len()])
    }

    /// The even port of the pair that the port in a word of register 1 belongs to.
    pub(super) fn of_pair(self, word: usize) -> Self {
        self.bitwise(&WORDS[word], &PAIR.to_be_bytes(), &[0, 0])
    }

    /// Register 2 with `bits` set.
    pub(super) fn with_bits(self, bits: u32) -> Self {
        self.bitwise(&REGISTER_2, &(!bits).to_ne_bytes(), &bits.to_ne_bytes())
    }

    pub(super) fn bitwise(self, register: &[u8], mask: &[u8], xor: &[u8]) -> Self {
        self.expression("bitwise", |m| {
            m.put(NFTA_BITWISE_SREG, register)
                .put(NFTA_BITWISE_DREG, register)
                .put(NFTA_BITWISE_LEN, &(mask.len() as u32).to_be_bytes())
                .nest(NFTA_BITWISE_MASK, |m| m.put(NFTA_DATA_VALUE, mask))
                .nest(NFTA_BITWISE_XOR, |m| m.put(NFTA_DATA_VALUE, xor))
        })
    }

    pub(super) fn no_bit(self, bits: u32) -> Self {
        self.masked(&bits.to_ne_bytes()).equal(&0u32.to_ne_bytes())
    }

    pub(super) fn any_bit(self, bits: u32) -> Self {
        self.masked(&bits.to_ne_bytes())
            .compare(NFT_CMP_NEQ, &0u32.to_ne_bytes())
    }

    pub(super) fn equal(self, value: &[u8]) -> Self {
        self.compare(NFT_CMP_EQ, value)
    }

    pub(super) fn compare(self, operation: u32, value: &[u8]) -> Self {
        self.expression("cmp", |m| {
            m.put(NFTA_CMP_SREG, &REGISTER_1)
                .put(NFTA_CMP_OP, &operation.to_be_bytes())
                .nest(NFTA_CMP_DATA, |m| m.put(NFTA_DATA_VALUE, value))
        })
    }

    pub(super) fn found_in(self, set: &Set) -> Self {
        self.lookup(set, |m| m)
    }

    pub(super) fn not_found_in(self, set: &Set) -> Self {
        self.lookup(set, |m| {
            m.put(NFTA_LOOKUP_FLAGS, &NFT_LOOKUP_F_INV.to_be_bytes())
        })
    }

    pub(super) fn mapped_by(self, map: &Set) -> Self {
        self.lookup(map, |m| m.put(NFTA_LOOKUP_DREG, &REGISTER_1))
    }

    pub(super) fn lookup(self, set: &Set, more: impl FnOnce(Message) -> Message) -> Self {
        self.expression("lookup", |m| {
            more(
                m.text(NFTA_LOOKUP_SET, set.name)
                    .put(NFTA_LOOKUP_SET_ID, &set.id.to_be_bytes())
                    .put(NFTA_LOOKUP_SREG, &REGISTER_1),
            )
        })
    }

    pub(super) fn immediate(self, register: &[u8], value: &[u8]) -> Self {
        self.expression("immediate", |m| {
            m.put(NFTA_IMMEDIATE_DREG, register)
                .nest(NFTA_IMMEDIATE_DATA, |m| m.put(NFTA_DATA_VALUE, value))
        })
    }

    pub(super) fn nat(self, kind: u32, with_port: bool) -> Self {
        self.expression("nat", |m| {
            let m = m
                .put(NFTA_NAT_TYPE, &kind.to_be_bytes())
                .put(NFTA_NAT_FAMILY, &family())
                .put(NFTA_NAT_REG_ADDR_MIN, &REGISTER_1);
            if with_port {
                m.put(NFTA_NAT_REG_PROTO_MIN, &WORDS[1])
            } else {
                m
            }
        })
    }

    /// Translates to an address from register 1 to register 2.
    pub(super) fn nat_range(self, kind: u32, flags: u32) -> Self {
        self.expression("nat", |m| {
            let m = m
                .put(NFTA_NAT_TYPE, &kind.to_be_bytes())
                .put(NFTA_NAT_FAMILY, &family())
                .put(NFTA_NAT_REG_ADDR_MIN, &REGISTER_1)
                .put(NFTA_NAT_REG_ADDR_MAX, &REGISTER_2);
            match flags {
                0 => m,
                flags => m.put(NFTA_NAT_FLAGS, &flags.to_be_bytes()),
            }
        })
    }

    pub(super) fn object(self, kind: u32, name: &str) -> Self {
        self.expression("objref", |m| {
            m.put(NFTA_OBJREF_IMM_TYPE, &kind.to_be_bytes())
                .text(NFTA_OBJREF_IMM_NAME, name)
        })
    }

    pub(super) fn verdict(self, code: i32, chain: Option<&str>) -> Self {
        self.expression("immediate", |m| {
            m.put(NFTA_IMMEDIATE_DREG, &REGISTER_VERDICT)
                .nest(NFTA_IMMEDIATE_DATA, |m| {
                    m.nest(NFTA_DATA_VERDICT, |m| {
                        let m = m.put(NFTA_VERDICT_CODE, &code.to_be_bytes());
                        match chain {
                            Some(chain) => m.text(NFTA_VERDICT_CHAIN, chain),
                            None => m,
                        }
                    })
                })
        })
    }
}

/// What a set is known to hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Known {
    /// No key.
    Nothing,
    /// This key and no other.
    One(Vec<u8>),
}

/// A question to a set.
struct Lookup {
    set: String,
    inverted: bool,
    takes_value: bool,
}

impl Lookup {
    fn of(expression: &Message) -> Option<Self> {
        let told = expression.body();
        let name = attribute(told, NFTA_EXPR_NAME).map(text_of)?;
        let data = attribute(told, NFTA_EXPR_DATA)?;
        (name == "lookup").then_some(())?;
        Some(Lookup {
            set: attribute(data, NFTA_LOOKUP_SET).map(text_of)?,
            inverted: attribute(data, NFTA_LOOKUP_FLAGS).is_some(),
            takes_value: attribute(data, NFTA_LOOKUP_DREG).is_some(),
        })
    }
}

fn one(name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    Message::new(0, 0, &[])
        .text(NFTA_EXPR_NAME, name)
        .nest(NFTA_EXPR_DATA, data)
}

impl End {
    /// Where in the IPv4 header.
    pub(super) const fn offset(self) -> u32 {
        match self {
            End::Source => 12,
            End::Destination => 16,
        }
    }

    /// Where in the TCP or UDP header.
    pub(super) const fn port_offset(self) -> u32 {
        match self {
            End::Source => 0,
            End::Destination => 2,
        }
    }
}

pub(super) const fn interface_key(direction: Direction) -> u32 {
    match direction {
        Direction::In => NFT_META_IIFNAME,
        Direction::Out => NFT_META_OIFNAME,
    }
}

pub(super) fn family() -> [u8; 4] {
    libc::NFPROTO_IPV4.to_be_bytes()
}

/// What `ct count over MOST` consists of.
pub(super) fn connlimit(message: Message, most: u32) -> Message {
    message
        .put(NFTA_CONNLIMIT_COUNT, &most.to_be_bytes())
        .put(NFTA_CONNLIMIT_FLAGS, &NFT_CONNLIMIT_F_INV.to_be_bytes())
}

pub(super) const REGISTER_VERDICT: [u8; 4] = 0u32.to_be_bytes();
pub(super) const REGISTER_1: [u8; 4] = 1u32.to_be_bytes();
/// The words of register 1.
pub(super) const WORDS: [[u8; 4]; 3] =
    [8u32.to_be_bytes(), 9u32.to_be_bytes(), 10u32.to_be_bytes()];
pub(super) const REGISTER_2: [u8; 4] = 2u32.to_be_bytes();

pub(super) const BASE_NETWORK: u32 = 1;
pub(super) const BASE_TRANSPORT: u32 = 2;

pub(super) const NFTA_META_DREG: u16 = 1;
pub(super) const NFTA_META_KEY: u16 = 2;
pub(super) const NFTA_META_SREG: u16 = 3;
pub(super) const NFT_META_MARK: u32 = 3;
pub(super) const NFT_META_IIF: u32 = 4;
pub(super) const NFT_META_IIFNAME: u32 = 6;
pub(super) const NFT_META_OIFNAME: u32 = 7;
pub(super) const NFT_META_L4PROTO: u32 = 16;

pub(super) const NFTA_CT_DREG: u16 = 1;
pub(super) const NFTA_CT_KEY: u16 = 2;
pub(super) const NFTA_CT_SREG: u16 = 4;
pub(super) const NFTA_CT_DIRECTION: u16 = 3;
pub(super) const IP_CT_DIR_ORIGINAL: u8 = 0;
pub(super) const IP_CT_DIR_REPLY: u8 = 1;
pub(super) const NFT_CT_STATE: u32 = 0;
pub(super) const NFT_CT_DIRECTION: u32 = 1;
pub(super) const NFT_CT_PROTO_DST: u32 = 12;
pub(super) const NFT_CT_DST_IP: u32 = 20;
pub(super) const CT_STATE_ESTABLISHED: u32 = 2;
pub(super) const CT_STATE_RELATED: u32 = 4;
pub(super) const NFT_CT_STATUS: u32 = 2;
pub(super) const NFT_CT_MARK: u32 = 3;
pub(super) const CT_STATE_NEW: u32 = 8;
pub(super) const IPS_CONFIRMED: u32 = 1 << 3;
pub(super) const IPS_SRC_NAT: u32 = 1 << 4;
pub(super) const IPS_DST_NAT: u32 = 1 << 5;

pub(super) const NFTA_SOCKET_KEY: u16 = 1;
pub(super) const NFTA_SOCKET_DREG: u16 = 2;
pub(super) const NFT_SOCKET_WILDCARD: u32 = 2;

pub(super) const NFTA_PAYLOAD_DREG: u16 = 1;
pub(super) const NFTA_PAYLOAD_BASE: u16 = 2;
pub(super) const NFTA_PAYLOAD_OFFSET: u16 = 3;
pub(super) const NFTA_PAYLOAD_LEN: u16 = 4;

pub(super) const NFTA_BITWISE_SREG: u16 = 1;
pub(super) const NFTA_BITWISE_DREG: u16 = 2;
pub(super) const NFTA_BITWISE_LEN: u16 = 3;
pub(super) const NFTA_BITWISE_MASK: u16 = 4;
pub(super) const NFTA_BITWISE_XOR: u16 = 5;

pub(super) const NFTA_CMP_SREG: u16 = 1;
pub(super) const NFTA_CMP_OP: u16 = 2;
pub(super) const NFTA_CMP_DATA: u16 = 3;
pub(super) const NFT_CMP_EQ: u32 = 0;
pub(super) const NFT_CMP_NEQ: u32 = 1;

pub(super) const NFTA_RANGE_SREG: u16 = 1;
pub(super) const NFTA_RANGE_OP: u16 = 2;
pub(super) const NFTA_RANGE_FROM_DATA: u16 = 3;
pub(super) const NFTA_RANGE_TO_DATA: u16 = 4;

pub(super) const NFTA_LOOKUP_SET: u16 = 1;
pub(super) const NFTA_LOOKUP_SREG: u16 = 2;
pub(super) const NFTA_LOOKUP_DREG: u16 = 3;
pub(super) const NFTA_LOOKUP_SET_ID: u16 = 4;
pub(super) const NFTA_LOOKUP_FLAGS: u16 = 5;
pub(super) const NFT_LOOKUP_F_INV: u32 = 1;

pub(super) const NFTA_IMMEDIATE_DREG: u16 = 1;
pub(super) const NFTA_IMMEDIATE_DATA: u16 = 2;
pub(super) const NFTA_DATA_VERDICT: u16 = 2;
pub(super) const NFTA_VERDICT_CODE: u16 = 1;
pub(super) const NFTA_VERDICT_CHAIN: u16 = 2;
pub(super) const NFT_JUMP: i32 = -3;
pub(super) const NFT_GOTO: i32 = -4;
pub(super) const NFT_RETURN: i32 = -5;

pub(super) const NFTA_NAT_TYPE: u16 = 1;
pub(super) const NFTA_NAT_FAMILY: u16 = 2;
pub(super) const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
pub(super) const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
pub(super) const NFTA_NAT_REG_ADDR_MAX: u16 = 4;
pub(super) const NFTA_NAT_FLAGS: u16 = 7;
pub(super) const NFT_NAT_SNAT: u32 = 0;
pub(super) const NFT_NAT_DNAT: u32 = 1;

pub(super) const NFTA_MASQ_FLAGS: u16 = 1;
pub(super) const NF_NAT_RANGE_PROTO_RANDOM: u32 = 1 << 2;
pub(super) const NF_NAT_RANGE_PERSISTENT: u32 = 1 << 3;
pub(super) const NF_NAT_RANGE_NETMAP: u32 = 1 << 6;

pub(super) const NFTA_DYNSET_SET_NAME: u16 = 1;
pub(super) const NFTA_DYNSET_SET_ID: u16 = 2;
pub(super) const NFTA_DYNSET_OP: u16 = 3;
pub(super) const NFTA_DYNSET_SREG_KEY: u16 = 4;
pub(super) const NFTA_DYNSET_TIMEOUT: u16 = 6;
pub(super) const NFTA_DYNSET_EXPR: u16 = 7;
pub(super) const NFTA_DYNSET_FLAGS: u16 = 9;
pub(super) const NFT_DYNSET_OP_ADD: u32 = 0;
pub(super) const NFT_DYNSET_OP_UPDATE: u32 = 1;
pub(super) const NFT_DYNSET_F_EXPR: u32 = 2;

const NFTA_CONNLIMIT_COUNT: u16 = 1;
const NFTA_CONNLIMIT_FLAGS: u16 = 2;
const NFT_CONNLIMIT_F_INV: u32 = 1;

pub(super) const NFTA_LIMIT_RATE: u16 = 1;
pub(super) const NFTA_LIMIT_UNIT: u16 = 2;
pub(super) const NFTA_LIMIT_BURST: u16 = 3;
pub(super) const NFTA_LIMIT_TYPE: u16 = 4;

pub(super) const NFTA_LOG_GROUP: u16 = 1;
pub(super) const NFTA_LOG_SNAPLEN: u16 = 3;

const NFTA_OBJREF_IMM_TYPE: u16 = 1;
const NFTA_OBJREF_IMM_NAME: u16 = 2;

pub(super) const NFTA_TPROXY_FAMILY: u16 = 1;
pub(super) const NFTA_TPROXY_REG_ADDR: u16 = 2;
pub(super) const NFTA_TPROXY_REG_PORT: u16 = 3;

pub(super) const NFTA_FIB_DREG: u16 = 1;
pub(super) const NFTA_FIB_RESULT: u16 = 2;
pub(super) const NFTA_FIB_FLAGS: u16 = 3;
pub(super) const NFT_FIB_RESULT_OIFNAME: u32 = 2;
pub(super) const NFTA_FIB_F_DADDR: u32 = 2;
