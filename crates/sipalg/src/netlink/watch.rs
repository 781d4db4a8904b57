//! The kernel's word that an interface or an IPv4 address has come or gone (rtnetlink(7)).

use super::Error;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Hears of every change of links and addresses in one network namespace.
#[derive(Debug)]
pub struct Watch(OwnedFd);

impl Watch {
    /// For the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> Result<Self, Error> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (family, kind) = (AddressFamily::Netlink, SockType::Raw);
        let fd = socket(family, kind, flags, SockProtocol::NetlinkRoute)?;
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups as u32))?;
        Ok(Watch(fd))
    }

    /// What the poll watches.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Whether anything has changed since the last time. What it was, the host is to be asked: a
    /// report may have been lost.
    pub fn changed(&self) -> bool {
        let mut changed = false;
        // Only that there is a report counts, so it may be cut.
        let mut report = [0; 16];
        loop {
            match recv(self.fd(), &mut report, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                Ok(_) | Err(Errno::ENOBUFS) => changed = true,
                Err(_) => return changed,
            }
        }
    }
}
