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
        let question = message(IPCTNL_MSG_CT_GET)
            .nest(CTA_TUPLE_ORIG, |m| m.nest(CTA_TUPLE_PROTO, protocol))
            .nest(CTA_FILTER, |m| {
                m.put(CTA_FILTER_ORIG_FLAGS, &FILTER_PROTOCOL.to_ne_bytes())
                    .put(CTA_FILTER_REPLY_FLAGS, &0u32.to_ne_bytes())
            });
        self.0
            .dump(&question, |payload, found| found.extend(entry_of(payload)))
    }

    /// Deletes the UDP connection whose original direction is `original`; one that has ended
    /// meanwhile is no error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_udp(&mut self, original: &Tuple) -> Result<(), Error> {
        let request = message(IPCTNL_MSG_CT_DELETE).nest(CTA_TUPLE_ORIG, |m| {
            m.nest(CTA_TUPLE_IP, |m| {
                m.put(CTA_IP_V4_SRC, &original.source.ip().octets())
                    .put(CTA_IP_V4_DST, &original.destination.ip().octets())
            })
            .nest(CTA_TUPLE_PROTO, |m| {
                protocol(m)
                    .put(CTA_PROTO_SRC_PORT, &original.source.port().to_be_bytes())
                    .put(
                        CTA_PROTO_DST_PORT,
                        &original.destination.port().to_be_bytes(),
                    )
            })
        });
        match self.0.request(request) {
            Err(error) if error.errno == Errno::ENOENT => Ok(()),
            result => result,
        }
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

fn protocol(message: Message) -> Message {
    message.put(CTA_PROTO_NUM, &[libc::IPPROTO_UDP as u8])
}

/// The connection that a message tells of, if it is an IPv4 UDP one.
fn entry_of(payload: &[u8]) -> Option<Entry> {
    let told = payload.get(4..)?;
    let mark = attribute(told, CTA_MARK).and_then(|v| v.try_into().ok());
    Some(Entry {
        original: tuple_of(attribute(told, CTA_TUPLE_ORIG)?)?,
        reply: tuple_of(attribute(told, CTA_TUPLE_REPLY)?)?,
        mark: mark.map_or(0, u32::from_be_bytes),
    })
}

fn tuple_of(told: &[u8]) -> Option<Tuple> {
    let ip = attribute(told, CTA_TUPLE_IP)?;
    let proto = attribute(told, CTA_TUPLE_PROTO)?;
    if attribute(proto, CTA_PROTO_NUM)? != [libc::IPPROTO_UDP as u8] {
        return None;
    }
    let end = |address, port| {
        let address: [u8; 4] = attribute(ip, address)?.try_into().ok()?;
        let port: [u8; 2] = attribute(proto, port)?.try_into().ok()?;
        Some(SocketAddrV4::new(
            Ipv4Addr::from(address),
            u16::from_be_bytes(port),
        ))
    };
    Some(Tuple {
        source: end(CTA_IP_V4_SRC, CTA_PROTO_SRC_PORT)?,
        destination: end(CTA_IP_V4_DST, CTA_PROTO_DST_PORT)?,
    })
}

const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_MARK: u16 = 8;
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
