//! What happens to a packet that a rule matches.

use super::super::{KeyType, Set, network_mask};
use super::expression::*;
use super::{End, Rule};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

impl Rule {
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

    /// `notrack`: before connection tracking, the packet is of no connection; after it, nothing.
    #[must_use]
    pub fn notrack(self) -> Self {
        self.expression("notrack", |m| m)
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

    /// `dnat to ip daddr . th dport map @map`, or by the other parts that the map's keys are. Of
    /// the map's values, an address leaves the port as it is.
    #[must_use]
    pub fn dnat(self, map: &Set) -> Self {
        self.mapped_nat(NFT_NAT_DNAT, End::Destination, map)
    }

    /// `snat to ip saddr . th sport map @map`, likewise.
    #[must_use]
    pub fn snat(self, map: &Set) -> Self {
        self.mapped_nat(NFT_NAT_SNAT, End::Source, map)
    }

    /// `snat to FIRST-LAST persistent`: a host gets one address of them for everything. The port
    /// is kept if it is free; or with `random` it is any other.
    #[must_use]
    pub fn snat_to(self, first: Ipv4Addr, last: Ipv4Addr, random: bool) -> Self {
        let mut flags = if random { NF_NAT_RANGE_PROTO_RANDOM } else { 0 };
        if first != last {
            flags |= NF_NAT_RANGE_PERSISTENT;
        }
        self.immediate(&REGISTER_1, &first.octets())
            .immediate(&REGISTER_2, &last.octets())
            .nat_range(NFT_NAT_SNAT, flags)
    }

    /// `dnat ip prefix to NETWORK/PREFIX`: the network's part of the address is replaced.
    #[must_use]
    pub fn dnat_prefix(self, network: Ipv4Addr, prefix: u8) -> Self {
        self.nat_prefix(NFT_NAT_DNAT, network, prefix)
    }

    /// `snat ip prefix to NETWORK/PREFIX`
    #[must_use]
    pub fn snat_prefix(self, network: Ipv4Addr, prefix: u8) -> Self {
        self.nat_prefix(NFT_NAT_SNAT, network, prefix)
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

    /// `update @set { ip saddr timeout LIFETIME }`, or with the other parts that the set's keys are.
    #[must_use]
    pub fn note(self, which: End, set: &Set, lifetime: Duration) -> Self {
        let lifetime = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        self.load_end(which, set.key).expression("dynset", |m| {
            m.text(NFTA_DYNSET_SET_NAME, set.name)
                .put(NFTA_DYNSET_SET_ID, &set.id.to_be_bytes())
                .put(NFTA_DYNSET_OP, &NFT_DYNSET_OP_UPDATE.to_be_bytes())
                .put(NFTA_DYNSET_SREG_KEY, &REGISTER_1)
                .put(NFTA_DYNSET_TIMEOUT, &lifetime.to_be_bytes())
        })
    }

    /// `ct count over MOST`
    #[must_use]
    pub fn connections_over(self, most: u32) -> Self {
        self.expression("connlimit", |m| connlimit(m, most))
    }

    /// `add @set { ip saddr ct count over MOST }`: more than so many connections of one end.
    #[must_use]
    pub fn each_connections_over(self, which: End, set: &Set, most: u32) -> Self {
        self.load_end(which, set.key).expression("dynset", |m| {
            m.text(NFTA_DYNSET_SET_NAME, set.name)
                .put(NFTA_DYNSET_SET_ID, &set.id.to_be_bytes())
                .put(NFTA_DYNSET_OP, &NFT_DYNSET_OP_ADD.to_be_bytes())
                .put(NFTA_DYNSET_SREG_KEY, &REGISTER_1)
                .put(NFTA_DYNSET_FLAGS, &NFT_DYNSET_F_EXPR.to_be_bytes())
                .nest(NFTA_DYNSET_EXPR, |m| {
                    m.text(NFTA_EXPR_NAME, "connlimit")
                        .nest(NFTA_EXPR_DATA, |m| connlimit(m, most))
                })
        })
    }

    /// `limit rate RATE/second burst RATE packets`
    #[must_use]
    pub fn at_most_each_second(self, rate: u32) -> Self {
        self.expression("limit", |m| {
            m.put(NFTA_LIMIT_RATE, &u64::from(rate).to_be_bytes())
                .put(NFTA_LIMIT_UNIT, &1u64.to_be_bytes())
                .put(NFTA_LIMIT_BURST, &rate.to_be_bytes())
                .put(NFTA_LIMIT_TYPE, &0u32.to_be_bytes())
        })
    }

    /// `log group GROUP snaplen BYTES`
    #[must_use]
    pub fn log(self, group: u16, bytes: u32) -> Self {
        self.expression("log", |m| {
            m.put(NFTA_LOG_GROUP, &group.to_be_bytes())
                .put(NFTA_LOG_SNAPLEN, &bytes.to_be_bytes())
        })
    }

    /// `counter name NAME`
    #[must_use]
    pub fn count(self, name: &str) -> Self {
        self.object(NFT_OBJECT_COUNTER, name)
    }

    /// `ct timeout set NAME`
    #[must_use]
    pub fn timeout(self, name: &str) -> Self {
        self.object(NFT_OBJECT_CT_TIMEOUT, name)
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

    fn mapped_nat(self, kind: u32, which: End, map: &Set) -> Self {
        let with_port = map.value == Some(KeyType::AddressPort);
        let rule = self.load_end(which, map.key);
        rule.mapped_by(map).nat(kind, with_port)
    }

    fn nat_prefix(self, kind: u32, network: Ipv4Addr, prefix: u8) -> Self {
        let (mask, network) = (network_mask(prefix), u32::from(network));
        let [first, last] = [network & mask, network | !mask].map(Ipv4Addr::from);
        self.immediate(&REGISTER_1, &first.octets())
            .immediate(&REGISTER_2, &last.octets())
            .nat_range(kind, NF_NAT_RANGE_NETMAP)
    }
}
