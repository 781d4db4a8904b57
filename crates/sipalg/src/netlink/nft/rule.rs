//! One nftables rule, word for word: what a packet must be for it. What then happens to the packet
//! is in [`statement`], and how both are told to the kernel in [`expression`].
//!
//! Registers: each word loads what it works on into register 1 (32-bit registers 8 to 11), and
//! where it needs a second, into register 2; no word relies on what another left there.

use super::{KeyType, Set};
use crate::netlink::Message;
use expression::*;
use std::net::Ipv4Addr;

mod expression;
mod statement;

pub use expression::Known;

/// A rule under construction.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
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

impl End {
    /// The other end.
    pub const fn other(self) -> End {
        match self {
            End::Source => End::Destination,
            End::Destination => End::Source,
        }
    }
}

impl Rule {
    /// A rule that matches every packet and does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What makes it this rule and no other.
    pub fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Message::body)
    }

    /// `meta l4proto PROTOCOL`
    #[must_use]
    pub fn protocol(self, protocol: i32) -> Self {
        self.load_meta(NFT_META_L4PROTO).equal(&[protocol as u8])
    }

    /// `meta iif 0`: it came in by no interface, and was made here.
    #[must_use]
    pub fn of_this_host(self) -> Self {
        self.load_meta(NFT_META_IIF).equal(&0u32.to_ne_bytes())
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

    /// `ct state & (established | related) == 0`: nothing that we have begun.
    #[must_use]
    pub fn unasked(self) -> Self {
        self.load_ct(NFT_CT_STATE, &REGISTER_1)
            .no_bit(CT_STATE_ESTABLISHED | CT_STATE_RELATED)
    }

    /// `ct direction original`
    #[must_use]
    pub fn original_direction(self) -> Self {
        self.load_ct(NFT_CT_DIRECTION, &REGISTER_1)
            .equal(&[IP_CT_DIR_ORIGINAL])
    }

    /// `ct direction reply`
    #[must_use]
    pub fn reply_direction(self) -> Self {
        self.load_ct(NFT_CT_DIRECTION, &REGISTER_1)
            .equal(&[IP_CT_DIR_REPLY])
    }

    /// `ct status dnat`
    #[must_use]
    pub fn destination_translated(self) -> Self {
        self.load_ct(NFT_CT_STATUS, &REGISTER_1)
            .any_bit(IPS_DST_NAT)
    }

    /// `ct status & (snat | dnat) != 0`
    #[must_use]
    pub fn translated(self) -> Self {
        self.load_ct(NFT_CT_STATUS, &REGISTER_1)
            .any_bit(IPS_SRC_NAT | IPS_DST_NAT)
    }

    /// `ct status confirmed`: not the first packet of a connection.
    #[must_use]
    pub fn confirmed(self) -> Self {
        self.load_ct(NFT_CT_STATUS, &REGISTER_1)
            .any_bit(IPS_CONFIRMED)
    }

    /// `ct status & confirmed == 0`: the first packet of a connection, not yet out of the host.
    #[must_use]
    pub fn unconfirmed(self) -> Self {
        self.load_ct(NFT_CT_STATUS, &REGISTER_1)
            .no_bit(IPS_CONFIRMED)
    }

    /// `ct original ip daddr @set`
    #[must_use]
    pub fn originally_to(self, set: &Set) -> Self {
        self.expression("ct", |m| {
            m.put(NFTA_CT_DREG, &REGISTER_1)
                .put(NFTA_CT_KEY, &NFT_CT_DST_IP.to_be_bytes())
                .put(NFTA_CT_DIRECTION, &[IP_CT_DIR_ORIGINAL])
        })
        .found_in(set)
    }

    /// `ct original ip daddr . ct original proto-dst != @set`
    #[must_use]
    pub fn originally_not_to(self, set: &Set) -> Self {
        let load = |rule: Rule, key: u32, word: usize| {
            rule.expression("ct", |m| {
                m.put(NFTA_CT_DREG, &WORDS[word])
                    .put(NFTA_CT_KEY, &key.to_be_bytes())
                    .put(NFTA_CT_DIRECTION, &[IP_CT_DIR_ORIGINAL])
            })
        };
        load(load(self, NFT_CT_DST_IP, 0), NFT_CT_PROTO_DST, 1).not_found_in(set)
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

    /// `ct mark & BITS == MARK`
    #[must_use]
    pub fn connection_marked_as(self, mark: u32, bits: u32) -> Self {
        self.load_ct(NFT_CT_MARK, &REGISTER_1)
            .masked(&bits.to_ne_bytes())
            .equal(&mark.to_ne_bytes())
    }

    /// `ct mark & BITS == 0`
    #[must_use]
    pub fn connection_unmarked(self, bits: u32) -> Self {
        self.load_ct(NFT_CT_MARK, &REGISTER_1).no_bit(bits)
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

    /// `tcp flags & (rst | ack) != 0`: IOS's `established`.
    #[must_use]
    pub fn rst_or_ack(self) -> Self {
        self.load_payload(BASE_TRANSPORT, 13, 1, &REGISTER_1)
            .masked(&[0x14])
            .compare(NFT_CMP_NEQ, &[0])
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

    /// `th sport & MASK == BITS`
    #[must_use]
    pub fn port_bits(self, which: End, mask: u16, bits: u16) -> Self {
        self.load_payload(BASE_TRANSPORT, which.port_offset(), 2, &REGISTER_1)
            .masked(&mask.to_be_bytes())
            .equal(&bits.to_be_bytes())
    }

    /// `th sport FIRST-LAST`, or `!=`
    #[must_use]
    pub fn ports(self, which: End, first: u16, last: u16, inverted: bool) -> Self {
        let rule = self.load_payload(BASE_TRANSPORT, which.port_offset(), 2, &REGISTER_1);
        let operation = if inverted { NFT_CMP_NEQ } else { NFT_CMP_EQ };
        if first == last {
            return rule.compare(operation, &first.to_be_bytes());
        }
        rule.expression("range", |m| {
            m.put(NFTA_RANGE_SREG, &REGISTER_1)
                .put(NFTA_RANGE_OP, &operation.to_be_bytes())
                .nest(NFTA_RANGE_FROM_DATA, |m| {
                    m.put(NFTA_DATA_VALUE, &first.to_be_bytes())
                })
                .nest(NFTA_RANGE_TO_DATA, |m| {
                    m.put(NFTA_DATA_VALUE, &last.to_be_bytes())
                })
        })
    }

    /// `th sport @set`, `ip saddr @set`, `ip saddr . th sport @set` or
    /// `meta l4proto . ip saddr . th sport @set`, whichever the set's keys are; of a pair of ports
    /// `th sport & 65534`.
    #[must_use]
    pub fn end_in(self, which: End, set: &Set) -> Self {
        self.load_end(which, set.key).found_in(set)
    }

    /// `ip saddr . th sport != @set`
    #[must_use]
    pub fn end_not_in(self, which: End, set: &Set) -> Self {
        self.load_end(which, set.key).not_found_in(set)
    }

    /// Loads what is compared with the keys of a set.
    fn load_end(self, which: End, key: KeyType) -> Self {
        let address = (BASE_NETWORK, which.offset(), 4);
        let port = (BASE_TRANSPORT, which.port_offset(), 2);
        let load = |rule: Rule, (base, offset, length), word: usize| {
            rule.load_payload(base, offset, length, &WORDS[word])
        };
        match key {
            KeyType::Address => load(self, address, 0),
            KeyType::Port | KeyType::Interface => load(self, port, 0),
            KeyType::AddressPort => load(load(self, address, 0), port, 1),
            KeyType::AddressPortPair => load(load(self, address, 0), port, 1).of_pair(1),
            KeyType::PortPair => load(self, port, 0).of_pair(0),
            KeyType::ProtocolAddressPort => {
                let rule = self.load_meta(NFT_META_L4PROTO);
                load(load(rule, address, 1), port, 2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::nft::SetKind;

    const SET: Set = Set {
        name: "ports",
        id: 1,
        key: KeyType::Port,
        value: None,
        kind: SetKind::Plain,
    };
    const MAP: Set = Set {
        name: "map",
        value: Some(KeyType::Port),
        ..SET
    };

    fn knowing(rule: Rule, known: &Known) -> Option<Rule> {
        rule.knowing(|name| (name == SET.name || name == MAP.name).then(|| known.clone()))
    }

    #[test]
    fn a_set_of_which_it_is_known_what_it_holds_is_not_asked() {
        let (source, port) = (End::Source, 5060u16);
        let one = Known::One(port.to_be_bytes().to_vec());
        let asks = || Rule::new().end_in(source, &SET).accept();
        let asks_not = || Rule::new().end_not_in(source, &SET).accept();
        let compared = |operation| {
            let load = Rule::new().load_end(source, SET.key);
            load.compare(operation, &port.to_be_bytes()).accept()
        };
        assert_eq!(knowing(asks(), &one), Some(compared(NFT_CMP_EQ)));
        assert_eq!(knowing(asks_not(), &one), Some(compared(NFT_CMP_NEQ)));
        assert_eq!(knowing(asks(), &Known::Nothing), None);
        let load = Rule::new().load_end(source, SET.key);
        assert_eq!(knowing(asks_not(), &Known::Nothing), Some(load.accept()));
        // What a map leads to is not known.
        let translates = || Rule::new().snat(&MAP);
        assert_eq!(knowing(translates(), &one), Some(translates()));
        assert_eq!(knowing(translates(), &Known::Nothing), None);
        let other = Set {
            name: "other",
            ..SET
        };
        let asks_other = || Rule::new().end_in(source, &other);
        assert_eq!(knowing(asks_other(), &one), Some(asks_other()));
    }

    #[test]
    fn who_only_asks_a_map_takes_the_value_too_where_the_kernel_wants_that() {
        let mut asks = Rule::new().end_in(End::Source, &MAP);
        let mut set = Rule::new().end_in(End::Source, &SET);
        let mut translates = Rule::new().snat(&MAP);
        let before = [asks.clone(), set.clone(), translates.clone()];
        for rule in [&mut asks, &mut set, &mut translates] {
            rule.take_values(|name| name == MAP.name);
        }
        assert_ne!(asks, before[0]);
        assert_eq!([set, translates], before[1..]);
    }
}
