//! ctnetlink: list and delete the kernel's connections (linux/netfilter/nfnetlink_conntrack.h).

use super::{Error, Message, Socket, attribute};
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A conversation about connections.
#[derive(Debug)]
pub struct Conntrack(Socket);

/// One direction of a connection, as its packets look when they come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Tuple {
    /// Who sends.
    pub source: SocketAddrV4,
    /// To whom.
    pub destination: SocketAddrV4,
}

/// A connection; for UDP, what the kernel takes for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// As the host that began it sends.
    pub original: Tuple,
    /// As the other side answers: differs from the reverse of `original` by what is translated.
    pub reply: Tuple,
    /// The connection mark.
    pub mark: u32,
}

/// Which connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// All of IPv4.
    All,
    /// Those of UDP.
    Udp,
    /// Those of UDP that carry one of these mark bits.
    UdpMarked(u32),
}

impl Conntrack {
    /// Opens a conversation in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> Result<Self, Error> {
        Socket::open(SockProtocol::NetlinkNetFilter).map(Conntrack)
    }

    /// All UDP connections.
    ///
    /// # Errors
    /// `EINVAL` where the kernel has no ctnetlink.
    pub fn udp(&mut self) -> Result<Vec<Entry>, Error> {
        self.0.dump(&question(Which::Udp), |payload, found| {
            found.extend(entry_of(payload));
        })
    }

    /// How many connections there are and may be at most in this network namespace.
    ///
    /// # Errors
    /// The kernel's.
    pub fn fill(&mut self) -> Result<(u32, u32), Error> {
        let mut fill = (0, u32::MAX);
        self.0.ask(message(IPCTNL_MSG_CT_GET_STATS), |payload| {
            let told = payload.get(4..).unwrap_or_default();
            fill.0 = number(told, CTA_STATS_GLOBAL_ENTRIES).unwrap_or(fill.0);
            fill.1 = number(told, CTA_STATS_GLOBAL_MAX_ENTRIES).unwrap_or(fill.1);
        })?;
        Ok(fill)
    }

    /// How many connections were not begun, or ended early, because there was no room for another.
    ///
    /// # Errors
    /// The kernel's.
    pub fn without_room(&mut self) -> Result<u64, Error> {
        let question = message(IPCTNL_MSG_CT_GET_STATS_CPU);
        let counts = self.0.dump(&question, |payload, found| {
            let told = payload.get(4..).unwrap_or_default();
            let counts = [CTA_STATS_DROP, CTA_STATS_EARLY_DROP].map(|kind| number(told, kind));
            found.extend(counts.into_iter().flatten().map(u64::from));
        })?;
        Ok(counts.into_iter().sum())
    }

    /// Deletes the connections of a kind that `doomed` says yes to.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_where(
        &mut self,
        which: Which,
        doomed: impl Fn(&Entry) -> bool,
    ) -> Result<(), Error> {
        let identities = self.0.dump(&question(which), |payload, found| {
            if entry_of(payload).is_some_and(|entry| doomed(&entry)) {
                found.extend(identity_of(payload));
            }
        })?;
        for identity in identities {
            let request = message(IPCTNL_MSG_CT_DELETE).raw(&identity);
            match self.0.request(request) {
                // It has ended meanwhile.
                Err(error) if error.errno == Errno::ENOENT => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Deletes every connection, of any protocol, that carries one of the mark bits `bits`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_marked(&mut self, bits: u32) -> Result<(), Error> {
        let bits = bits.to_be_bytes();
        let request = message(IPCTNL_MSG_CT_DELETE)
            .put(CTA_MARK, &bits)
            .put(CTA_MARK_MASK, &bits);
        self.0.request(request)
    }
}

fn message(operation: u16) -> Message {
    let kind = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8 | operation;
    Message::new(kind, 0, &[libc::AF_INET as u8, 0, 0, 0])
}

fn number(told: &[u8], kind: u16) -> Option<u32> {
    let value = attribute(told, kind)?.try_into().ok()?;
    Some(u32::from_be_bytes(value))
}

fn protocol(message: Message) -> Message {
    message.put(CTA_PROTO_NUM, &[libc::IPPROTO_UDP as u8])
}

fn question(which: Which) -> Message {
    let udp = || {
        message(IPCTNL_MSG_CT_GET)
            .nest(CTA_TUPLE_ORIG, |m| m.nest(CTA_TUPLE_PROTO, protocol))
            .nest(CTA_FILTER, |m| {
                m.put(CTA_FILTER_ORIG_FLAGS, &FILTER_PROTOCOL.to_ne_bytes())
                    .put(CTA_FILTER_REPLY_FLAGS, &0u32.to_ne_bytes())
            })
    };
    match which {
        Which::All => message(IPCTNL_MSG_CT_GET),
        Which::Udp => udp(),
        Which::UdpMarked(bits) => {
            let bits = bits.to_be_bytes();
            udp().put(CTA_MARK, &bits).put(CTA_MARK_MASK, &bits)
        }
    }
}

/// The attributes by which the kernel finds the connection that a message tells of.
fn identity_of(payload: &[u8]) -> Option<Vec<u8>> {
    let told = payload.get(4..)?;
    let nothing = Message::new(0, 0, &[]);
    let identity = nothing.nest(CTA_TUPLE_ORIG, |m| {
        m.raw(attribute(told, CTA_TUPLE_ORIG).unwrap_or_default())
    });
    let identity = match attribute(told, CTA_ZONE) {
        Some(zone) => identity.put(CTA_ZONE, zone),
        None => identity,
    };
    Some(identity.body().to_vec())
}

/// The IPv4 connection that a message tells of.
fn entry_of(payload: &[u8]) -> Option<Entry> {
    let told = payload.get(4..)?;
    let mark = attribute(told, CTA_MARK).and_then(|v| v.try_into().ok());
    Some(Entry {
        original: tuple_of(attribute(told, CTA_TUPLE_ORIG)?)?,
        reply: tuple_of(attribute(told, CTA_TUPLE_REPLY)?)?,
        mark: mark.map_or(0, u32::from_be_bytes),
    })
}

/// The ports of protocols without ports are zero.
fn tuple_of(told: &[u8]) -> Option<Tuple> {
    let ip = attribute(told, CTA_TUPLE_IP)?;
    let proto = attribute(told, CTA_TUPLE_PROTO)?;
    let end = |address, port| {
        let address: [u8; 4] = attribute(ip, address)?.try_into().ok()?;
        let port = attribute(proto, port).and_then(|port| port.try_into().ok());
        let port = port.map_or(0, u16::from_be_bytes);
        Some(SocketAddrV4::new(Ipv4Addr::from(address), port))
    };
    Some(Tuple {
        source: end(CTA_IP_V4_SRC, CTA_PROTO_SRC_PORT)?,
        destination: end(CTA_IP_V4_DST, CTA_PROTO_DST_PORT)?,
    })
}

const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const IPCTNL_MSG_CT_GET_STATS_CPU: u16 = 4;
const IPCTNL_MSG_CT_GET_STATS: u16 = 5;
const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
const CTA_STATS_GLOBAL_MAX_ENTRIES: u16 = 2;
const CTA_STATS_DROP: u16 = 10;
const CTA_STATS_EARLY_DROP: u16 = 11;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_MARK: u16 = 8;
const CTA_ZONE: u16 = 18;
const CTA_MARK_MASK: u16 = 21;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// Compare the protocol number (kernel: `CTA_FILTER_F_CTA_PROTO_NUM`).
const FILTER_PROTOCOL: u32 = 1 << 3;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
