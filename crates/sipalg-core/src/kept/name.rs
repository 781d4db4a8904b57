//! What records are known by, and how that is written: a byte for the kind, and fields of fixed
//! length in network order, so that the bytes sort as the names do.

use crate::addr::{Ipv4Addr, Protocol, SocketAddrV4};
use alloc::vec::Vec;

/// A mapping by its inside local, or a barred port by its inside global.
pub(crate) type At = (Protocol, SocketAddrV4);

/// The name of a record. The order is that in which they can be restored: none needs one that comes
/// later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Name {
    /// What the machine counts.
    Machine,
    /// An inside host's own address of a pool.
    Address(Ipv4Addr),
    /// A barred port.
    Bar(At),
    /// A mapping.
    Mapping(At),
    /// A call, by the hash of its Call-ID and inside host.
    Call(u64),
    /// A REGISTER under way, by the same.
    Pending(u64),
    /// A registration, by its mapping and the hash of its address-of-record.
    Registration(At, u64),
    /// The spellings of a Call-ID, by the hash as for a call.
    Spellings(u64),
    /// A flow.
    Flow(u32),
}

impl Name {
    /// Appends the name's bytes.
    pub fn write(&self, into: &mut Vec<u8>) {
        match self {
            Name::Machine => into.push(1),
            Name::Address(host) => {
                into.push(2);
                into.extend(host.octets());
            }
            Name::Bar(at) => {
                into.push(3);
                write_at(at, into);
            }
            Name::Mapping(at) => {
                into.push(4);
                write_at(at, into);
            }
            Name::Call(hash) => {
                into.push(5);
                into.extend(hash.to_be_bytes());
            }
            Name::Pending(hash) => {
                into.push(6);
                into.extend(hash.to_be_bytes());
            }
            Name::Registration(at, aor) => {
                into.push(7);
                write_at(at, into);
                into.extend(aor.to_be_bytes());
            }
            Name::Spellings(hash) => {
                into.push(8);
                into.extend(hash.to_be_bytes());
            }
            Name::Flow(number) => {
                into.push(9);
                into.extend(number.to_be_bytes());
            }
        }
    }

    /// The name with exactly these bytes.
    pub fn read(bytes: &[u8]) -> Option<Name> {
        let (kind, rest) = bytes.split_first()?;
        let hash = || Some(u64::from_be_bytes(rest.try_into().ok()?));
        match kind {
            1 if rest.is_empty() => Some(Name::Machine),
            2 => {
                let octets: [u8; 4] = rest.try_into().ok()?;
                Some(Name::Address(octets.into()))
            }
            3 => Some(Name::Bar(read_at(rest)?)),
            4 => Some(Name::Mapping(read_at(rest)?)),
            5 => Some(Name::Call(hash()?)),
            6 => Some(Name::Pending(hash()?)),
            7 => {
                let (at, aor) = rest.split_last_chunk()?;
                Some(Name::Registration(read_at(at)?, u64::from_be_bytes(*aor)))
            }
            8 => Some(Name::Spellings(hash()?)),
            9 => Some(Name::Flow(u32::from_be_bytes(rest.try_into().ok()?))),
            _ => None,
        }
    }
}

fn write_at((protocol, at): &At, into: &mut Vec<u8>) {
    into.push(protocol.number());
    into.extend(at.ip().octets());
    into.extend(at.port().to_be_bytes());
}

fn read_at(bytes: &[u8]) -> Option<At> {
    let [protocol, a, b, c, d, high, low] = *bytes else {
        return None;
    };
    let protocol = match protocol {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        _ => return None,
    };
    let port = u16::from_be_bytes([high, low]);
    Some((protocol, SocketAddrV4::new([a, b, c, d].into(), port)))
}
