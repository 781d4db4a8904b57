//! nfnetlink_log: packets that a rule tells of (linux/netfilter/nfnetlink_log.h).

use super::{Error, Message, Socket, attribute};
use nix::sys::socket::SockProtocol;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

/// The packets of one log group.
#[derive(Debug)]
pub struct Log(Socket);

impl Log {
    /// Listens to the packets that rules with `log group GROUP` meet, from now on, in the network
    /// namespace of the calling thread.
    ///
    /// # Errors
    /// `EBUSY` if somebody else listens to the group; `EINVAL` where the kernel has no such log.
    pub fn listen(group: u16) -> Result<Self, Error> {
        let mut socket = Socket::open(SockProtocol::NetlinkNetFilter)?;
        let config = || {
            let kind = (libc::NFNL_SUBSYS_ULOG as u16) << 8 | NFULNL_MSG_CONFIG;
            let group = group.to_be_bytes();
            Message::new(kind, 0, &[libc::AF_INET as u8, 0, group[0], group[1]])
        };
        socket.request(config().put(NFULA_CFG_CMD, &[NFULNL_CFG_CMD_BIND]))?;
        // All of what the rule says is to be told of, and each packet at once.
        let mode = [0, 0, 0xff, 0xff, NFULNL_COPY_PACKET, 0];
        socket.request(
            config()
                .put(NFULA_CFG_MODE, &mode)
                .put(NFULA_CFG_QTHRESH, &1u32.to_be_bytes()),
        )?;
        Ok(Log(socket))
    }

    /// Who sent the packets that have come since the last call, in that order.
    pub fn senders(&mut self) -> Vec<Ipv4Addr> {
        let mut senders = Vec::new();
        self.0.unasked(|payload| senders.extend(sender_of(payload)));
        senders
    }
}

impl AsFd for Log {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn sender_of(payload: &[u8]) -> Option<Ipv4Addr> {
    let packet = attribute(payload.get(4..)?, NFULA_PAYLOAD)?;
    let octets: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    Some(octets.into())
}

const NFULNL_MSG_CONFIG: u16 = 1;
const NFULNL_CFG_CMD_BIND: u8 = 1;
const NFULNL_COPY_PACKET: u8 = 2;
const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_QTHRESH: u16 = 5;
const NFULA_PAYLOAD: u16 = 9;
