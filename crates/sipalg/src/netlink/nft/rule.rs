//! One nftables rule, word for word.
//!
//! Registers: each word loads what it works on into register 1 (32-bit registers 8 to 11), and
//! where it needs a second, into register 2; no word relies on what another left there.

use super::{NFTA_DATA_VALUE, NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_LIST_ELEM, Set};
use crate::netlink::Message;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A rule under construction.
#[derive(Clone, Default, Debug)]
pub struct Rule(Vec<Message>);

/// Which of the packet's two ends: the one whose address and port come first in it, or the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// `ip saddr`, `th sport`.
    Source,
    /// `ip daddr`, `th dport`.
    Destination,
}

/// Which way through an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// `iifname`.
    In,
    /// `oifname`.
    Out,
}

impl Rule {
    /// A rule that matches every packet and does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// `meta l4proto PROTOCOL`
    #[must_use]
    pub fn protocol(self, protocol: i32) -> Self {
        self.load_meta(NFT_META_L4PROTO).equal(&[protocol as u8])
    }

    /// `iifname @set` or `oifname @set`
    #[must_use]
    pub fn interface(self, direction: Direction, set: &Set) -> Self {
        self.load_meta(interface_key(direction)).found_in(set)
    }

    /// `oifname NAME`
    #[must_use]
    pub fn leaves_by(self, name: &str) -> Self {
        self.load_meta(NFT_META_OIFNAME)
            .equal(&super::interface(name))
    }

    /// `fib daddr oifname NAME`: the interface that the destination is reached by; none if the
    /// destination is an address of this host.
    #[must_use]
    pub fn reached_by(self, name: &str) -> Self {
        self.expression("fib", |m| {
            m.put(NFTA_FIB_DREG, &REGISTER_1)
                .put(NFTA_FIB_RESULT, &NFT_FIB_RESULT_OIFNAME.to_be_bytes())
                .put(NFTA_FIB_FLAGS, &NFTA_FIB_F_DADDR.to_be_bytes())
        })
        .equal(&super::interface(name))
    }

    /// `ct state new`
    #[must_use]
    pub fn new_connection(self) -> Self {
        self.load_ct(NFT_CT_STATE, &REGISTER_1)
            .any_bit(CT_STATE_NEW)
    }

    /// `ct status dnat`
    #[must_use]
    pub fn destination_translated(self) -> Self {
        self.load_ct(NFT_CT_STATUS, &REGISTER_1)
            .any_bit(IPS_DST_NAT)
    }

    /// `socket wildcard 0` or `1`: a socket of this host waits for the packet, bound to one address or
    /// to all.
    #[must_use]
    pub fn local_socket(self, bound_to_all: bool) -> Self {
        self.expression("socket", |m| {
            m.put(NFTA_SOCKET_DREG, &REGISTER_1)
                .put(NFTA_SOCKET_KEY, &NFT_SOCKET_WILDCARD.to_be_bytes())
        })
        .compare(NFT_CMP_EQ, &[u8::from(bound_to_all)])
    }

    /// `ct mark & BITS != 0`
    #[must_use]
    pub fn connection_marked(self, bits: u32) -> Self {
        self.load_ct(NFT_CT_MARK, &REGISTER_1).any_bit(bits)
    }

    /// `meta mark & BITS != 0`
    #[must_use]
    pub fn packet_marked(self, bits: u32) -> Self {
        self.load_meta(NFT_META_MARK).any_bit(bits)
    }

    /// `tcp flags & (fin | syn | rst | ack) == syn`: the first segment of a connection.
    #[must_use]
    pub fn syn(self) -> Self {
        self.load_payload(BASE_TRANSPORT, 13, 1, &REGISTER_1)
            .masked(&[0x17])
            .equal(&[0x02])
    }

    /// `ip saddr & MASK == ADDRESS`
    #[must_use]
    pub fn address(self, which: End, address: Ipv4Addr, mask: Ipv4Addr) -> Self {
        let wanted = Ipv4Addr::from(u32::from(address) & u32::from(mask));
        let rule = self.load_payload(BASE_NETWORK, which.offset(), 4, &REGISTER_1);
        let rule = match mask {
            Ipv4Addr::BROADCAST => rule,
            mask => rule.masked(&mask.octets()),
        };
        rule.equal(&wanted.octets())
    }

    /// `th sport @set`
    #[must_use]
    pub fn port(self, which: End, set: &Set) -> Self {
        self.load_payload(BASE_TRANSPORT, which.port_offset(), 2, &REGISTER_1)
            .found_in(set)
    }

    /// `ip saddr . th sport @set`
    #[must_use]
    pub fn address_port(self, which: End, set: &Set) -> Self {
        self.load_address_port(which).found_in(set)
    }

    /// `oifname . th sport @set`
    #[must_use]
    pub fn leaves_by_with_port(self, which: End, set: &Set) -> Self {
        self.load_meta(NFT_META_OIFNAME)
            .load_payload(BASE_TRANSPORT, which.port_offset(), 2, &REGISTER_2)
            .found_in(set)
    }

    /// `ip saddr . th sport != @set`
    #[must_use]
    pub fn address_port_not(self, which: End, set: &Set) -> Self {
        self.load_address_port(which).lookup(set, |m| {
            m.put(NFTA_LOOKUP_FLAGS, &NFT_LOOKUP_F_INV.to_be_bytes())
        })
    }

    /// `ct mark set ct mark | BITS`
    #[must_use]
    pub fn mark_connection(self, bits: u32) -> Self {
        self.load_ct(NFT_CT_MARK, &REGISTER_2)
            .with_bits(bits)
            .expression("ct", |m| {
                m.put(NFTA_CT_SREG, &REGISTER_2)
                    .put(NFTA_CT_KEY, &NFT_CT_MARK.to_be_bytes())
            })
    }

    /// `meta mark set meta mark | BITS`
    #[must_use]
    pub fn mark_packet(self, bits: u32) -> Self {
        self.expression("meta", |m| {
            m.put(NFTA_META_DREG, &REGISTER_2)
                .put(NFTA_META_KEY, &NFT_META_MARK.to_be_bytes())
        })
        .with_bits(bits)
        .expression("meta", |m| {
            m.put(NFTA_META_SREG, &REGISTER_2)
                .put(NFTA_META_KEY, &NFT_META_MARK.to_be_bytes())
        })
    }

    /// `tproxy to ADDRESS:PORT`: the socket of an established connection, or else the listener
    /// there; without either the rule ends here.
    #[must_use]
    pub fn tproxy(self, to: SocketAddrV4) -> Self {
        self.immediate(&REGISTER_1, &to.ip().octets())
            .immediate(&REGISTER_2, &to.port().to_be_bytes())
            .expression("tproxy", |m| {
                m.put(NFTA_TPROXY_FAMILY, &family())
                    .put(NFTA_TPROXY_REG_ADDR, &REGISTER_1)
                    .put(NFTA_TPROXY_REG_PORT, &REGISTER_2)
            })
    }

    /// `dnat to ip daddr . th dport map @map`
    #[must_use]
    pub fn dnat(self, map: &Set) -> Self {
        self.load_address_port(End::Destination)
            .mapped_by(map)
            .nat(NFT_NAT_DNAT, true)
    }

    /// `snat to ip saddr . th sport map @map`
    #[must_use]
    pub fn snat(self, map: &Set) -> Self {
        self.load_address_port(End::Source)
            .mapped_by(map)
            .nat(NFT_NAT_SNAT, true)
    }

    /// `snat to ADDRESS`, with the port kept if it is free.
    #[must_use]
    pub fn snat_to(self, address: Ipv4Addr) -> Self {
        self.immediate(&REGISTER_1, &address.octets())
            .nat(NFT_NAT_SNAT, false)
    }

    /// `masquerade`
    #[must_use]
    pub fn masquerade(self) -> Self {
        self.expression("masq", |m| m)
    }

    /// `masquerade random`: with a port that is not the sender's.
    #[must_use]
    pub fn masquerade_random(self) -> Self {
        self.expression("masq", |m| {
            m.put(NFTA_MASQ_FLAGS, &NF_NAT_RANGE_PROTO_RANDOM.to_be_bytes())
        })
    }

    /// `accept`
    #[must_use]
    pub fn accept(self) -> Self {
        self.verdict(libc::NF_ACCEPT, None)
    }

    /// `drop`
    #[must_use]
    pub fn drop(self) -> Self {
        self.verdict(libc::NF_DROP, None)
    }

    /// `return`
    #[must_use]
    pub fn back(self) -> Self {
        self.verdict(NFT_RETURN, None)
    }

    /// `jump CHAIN`
    #[must_use]
    pub fn jump(self, chain: &str) -> Self {
        self.verdict(NFT_JUMP, Some(chain))
    }

    /// `goto CHAIN`
    #[must_use]
    pub fn goto(self, chain: &str) -> Self {
        self.verdict(NFT_GOTO, Some(chain))
    }

    /// Appends the rule's expressions to a message.
    pub(super) fn append_to(self, message: Message) -> Message {
        self.0.into_iter().fold(message, |m, expression| {
            m.nest(NFTA_LIST_ELEM, |m| m.raw(expression.body()))
        })
    }

    fn expression(mut self, name: &str, data: impl FnOnce(Message) -> Message) -> Self {
        let expression = Message::new(0, 0, &[])
            .text(NFTA_EXPR_NAME, name)
            .nest(NFTA_EXPR_DATA, data);
        self.0.push(expression);
        self
    }

    fn load_meta(self, key: u32) -> Self {
        self.expression("meta", |m| {
            m.put(NFTA_META_DREG, &REGISTER_1)
                .put(NFTA_META_KEY, &key.to_be_bytes())
        })
    }

    fn load_ct(self, key: u32, register: &[u8]) -> Self {
        self.expression("ct", |m| {
            m.put(NFTA_CT_DREG, register)
                .put(NFTA_CT_KEY, &key.to_be_bytes())
        })
    }

    fn load_payload(self, base: u32, offset: u32, length: u32, register: &[u8]) -> Self {
        self.expression("payload", |m| {
            m.put(NFTA_PAYLOAD_DREG, register)
                .put(NFTA_PAYLOAD_BASE, &base.to_be_bytes())
                .put(NFTA_PAYLOAD_OFFSET, &offset.to_be_bytes())
                .put(NFTA_PAYLOAD_LEN, &length.to_be_bytes())
        })
    }

    fn load_address_port(self, which: End) -> Self {
        self.load_payload(BASE_NETWORK, which.offset(), 4, &REGISTER_1)
            .load_payload(
                BASE_TRANSPORT,
                which.port_offset(),
                2,
                &REGISTER_1_SECOND_WORD,
            )
    }

    fn masked(self, mask: &[u8]) -> Self {
        self.bitwise(&REGISTER_1, mask, &vec![0; mask.len()])
    }

    /// Register 2 with `bits` set.
    fn with_bits(self, bits: u32) -> Self {
        self.bitwise(&REGISTER_2, &(!bits).to_ne_bytes(), &bits.to_ne_bytes())
    }

    fn bitwise(self, register: &[u8], mask: &[u8], xor: &[u8]) -> Self {
        self.expression("bitwise", |m| {
            m.put(NFTA_BITWISE_SREG, register)
                .put(NFTA_BITWISE_DREG, register)
                .put(NFTA_BITWISE_LEN, &(mask.len() as u32).to_be_bytes())
                .nest(NFTA_BITWISE_MASK, |m| m.put(NFTA_DATA_VALUE, mask))
                .nest(NFTA_BITWISE_XOR, |m| m.put(NFTA_DATA_VALUE, xor))
        })
    }

    fn any_bit(self, bits: u32) -> Self {
        self.masked(&bits.to_ne_bytes())
            .compare(NFT_CMP_NEQ, &0u32.to_ne_bytes())
    }

    fn equal(self, value: &[u8]) -> Self {
        self.compare(NFT_CMP_EQ, value)
    }

    fn compare(self, operation: u32, value: &[u8]) -> Self {
        self.expression("cmp", |m| {
            m.put(NFTA_CMP_SREG, &REGISTER_1)
                .put(NFTA_CMP_OP, &operation.to_be_bytes())
                .nest(NFTA_CMP_DATA, |m| m.put(NFTA_DATA_VALUE, value))
        })
    }

    fn found_in(self, set: &Set) -> Self {
        self.lookup(set, |m| m)
    }

    fn mapped_by(self, map: &Set) -> Self {
        self.lookup(map, |m| m.put(NFTA_LOOKUP_DREG, &REGISTER_1))
    }

    fn lookup(self, set: &Set, more: impl FnOnce(Message) -> Message) -> Self {
        self.expression("lookup", |m| {
            more(
                m.text(NFTA_LOOKUP_SET, set.name)
                    .put(NFTA_LOOKUP_SET_ID, &set.id.to_be_bytes())
                    .put(NFTA_LOOKUP_SREG, &REGISTER_1),
            )
        })
    }

    fn immediate(self, register: &[u8], value: &[u8]) -> Self {
        self.expression("immediate", |m| {
            m.put(NFTA_IMMEDIATE_DREG, register)
                .nest(NFTA_IMMEDIATE_DATA, |m| m.put(NFTA_DATA_VALUE, value))
        })
    }

    fn nat(self, kind: u32, with_port: bool) -> Self {
        self.expression("nat", |m| {
            let m = m
                .put(NFTA_NAT_TYPE, &kind.to_be_bytes())
                .put(NFTA_NAT_FAMILY, &family())
                .put(NFTA_NAT_REG_ADDR_MIN, &REGISTER_1);
            if with_port {
                m.put(NFTA_NAT_REG_PROTO_MIN, &REGISTER_1_SECOND_WORD)
            } else {
                m
            }
        })
    }

    fn verdict(self, code: i32, chain: Option<&str>) -> Self {
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

impl End {
    /// Where in the IPv4 header.
    const fn offset(self) -> u32 {
        match self {
            End::Source => 12,
            End::Destination => 16,
        }
    }

    /// Where in the TCP or UDP header.
    const fn port_offset(self) -> u32 {
        match self {
            End::Source => 0,
            End::Destination => 2,
        }
    }
}

const fn interface_key(direction: Direction) -> u32 {
    match direction {
        Direction::In => NFT_META_IIFNAME,
        Direction::Out => NFT_META_OIFNAME,
    }
}

fn family() -> [u8; 4] {
    libc::NFPROTO_IPV4.to_be_bytes()
}

const REGISTER_VERDICT: [u8; 4] = 0u32.to_be_bytes();
const REGISTER_1: [u8; 4] = 1u32.to_be_bytes();
const REGISTER_1_SECOND_WORD: [u8; 4] = 9u32.to_be_bytes();
const REGISTER_2: [u8; 4] = 2u32.to_be_bytes();

const BASE_NETWORK: u32 = 1;
const BASE_TRANSPORT: u32 = 2;

const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFTA_META_SREG: u16 = 3;
const NFT_META_MARK: u32 = 3;
const NFT_META_IIFNAME: u32 = 6;
const NFT_META_OIFNAME: u32 = 7;
const NFT_META_L4PROTO: u32 = 16;

const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFTA_CT_SREG: u16 = 4;
const NFT_CT_STATE: u32 = 0;
const NFT_CT_STATUS: u32 = 2;
const NFT_CT_MARK: u32 = 3;
const CT_STATE_NEW: u32 = 8;
const IPS_DST_NAT: u32 = 1 << 5;

const NFTA_SOCKET_KEY: u16 = 1;
const NFTA_SOCKET_DREG: u16 = 2;
const NFT_SOCKET_WILDCARD: u32 = 2;

const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;

const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;

const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;
const NFT_CMP_NEQ: u32 = 1;

const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_DREG: u16 = 3;
const NFTA_LOOKUP_SET_ID: u16 = 4;
const NFTA_LOOKUP_FLAGS: u16 = 5;
const NFT_LOOKUP_F_INV: u32 = 1;

const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NFT_JUMP: i32 = -3;
const NFT_GOTO: i32 = -4;
const NFT_RETURN: i32 = -5;

const NFTA_NAT_TYPE: u16 = 1;
const NFTA_NAT_FAMILY: u16 = 2;
const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
const NFT_NAT_SNAT: u32 = 0;
const NFT_NAT_DNAT: u32 = 1;

const NFTA_MASQ_FLAGS: u16 = 1;
const NF_NAT_RANGE_PROTO_RANDOM: u32 = 1 << 2;

const NFTA_TPROXY_FAMILY: u16 = 1;
const NFTA_TPROXY_REG_ADDR: u16 = 2;
const NFTA_TPROXY_REG_PORT: u16 = 3;

const NFTA_FIB_DREG: u16 = 1;
const NFTA_FIB_RESULT: u16 = 2;
const NFTA_FIB_FLAGS: u16 = 3;
const NFT_FIB_RESULT_OIFNAME: u32 = 2;
const NFTA_FIB_F_DADDR: u32 = 2;
