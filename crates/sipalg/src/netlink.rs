//! Netlink, the kernel's own language for links, routes, nftables and conntrack: its transport. How
//! messages are built, and what they say, is in the rooms below.
//!
//! ```text
//!   message     how messages are built and read
//!   route       rtnetlink: links, addresses, routes, policy rules
//!   nft         nftables: tables, chains, sets, rules and their expressions
//!   conntrack   ctnetlink: list and delete connections
//!   watch       rtnetlink: that links or addresses have changed
//!   log         nfnetlink_log: packets that a rule tells of
//!   diag        sock_diag: sockets that wait for whoever comes
//! ```
//!
//! A [`Socket`] speaks to the network namespace of the thread that opened it.

pub mod conntrack;
pub mod diag;
pub mod log;
mod message;
pub mod nft;
pub mod route;
pub mod watch;

pub use message::{Message, attribute, attributes, text_of, u32_of};

use message::{u16_at, u32_at};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// A message that the kernel answers with must fit; its dumps use at most 32 KiB.
const RECEIVE_BYTES: usize = 64 * 1024;
/// Asked for as the send buffer, so that a whole ruleset or thousands of doors fit one batch.
const SEND_BYTES: usize = 4 * 1024 * 1024;
/// How many questions are asked in one go: all answers fit the receive buffer.
const QUESTIONS: usize = 64;
/// How often a dump is begun again because the table changed under it.
const DUMP_TRIES: usize = 8;
/// `nfgenmsg.res_id` of the batch messages: the subsystem they speak to, nftables.
const NFNL_SUBSYS_NFTABLES: u16 = 10;

/// What went wrong between us and the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// The kernel's error number.
    pub errno: Errno,
    /// What the kernel says about it in words (NLMSGERR_ATTR_MSG), if it does.
    pub message: Option<String>,
    /// The attribute of the request that the kernel found fault with (NLMSGERR_ATTR_OFFS): from
    /// its type and value one can tell, for example, which nftables expression is missing.
    pub offending: Option<(u16, Vec<u8>)>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.errno.desc(), self.errno)?;
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Error {
            errno,
            message: None,
            offending: None,
        }
    }
}

/// A conversation with one part of the kernel.
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
    /// Bytes that one batch may have.
    batch_bytes: usize,
    /// Transactions that have taken effect.
    transactions: u32,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Socket { fd, sequence, .. } = self;
        write!(f, "Socket {{ fd: {fd:?}, sequence: {sequence} }}")
    }
}

impl Socket {
    /// Opens one in the network namespace of the calling thread.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` where the kernel lacks that part.
    pub fn open(protocol: SockProtocol) -> Result<Self, Error> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(&fd, option::ExtendedAck, &true)?;
        setsockopt(&fd, option::CappedAck, &true)?;
        // Privileged first: beyond net.core.wmem_max, which user namespaces may not exceed.
        if setsockopt(&fd, sockopt::SndBuf, &SEND_BYTES).is_ok() {
            let _ = setsockopt(&fd, sockopt::SndBufForce, &SEND_BYTES);
        }
        let granted = nix::sys::socket::getsockopt(&fd, sockopt::SndBuf)?;
        Ok(Socket {
            fd,
            sequence: 0,
            buffer: vec![0; RECEIVE_BYTES],
            // netlink_sendmsg() wants 32 bytes more than the batch; its two bounds have 40.
            batch_bytes: granted - 1024,
            transactions: 0,
        })
    }

    /// Sends `message` and waits for the kernel's word on it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn request(&mut self, message: Message) -> Result<(), Error> {
        self.ask(message, |_| {})
    }

    /// Sends the question `message` and gives the payload of the answer to `each`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ask(&mut self, message: Message, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        let sequence = self.next_sequence();
        let bytes = message.finish(sequence, libc::NLM_F_ACK);
        self.send(&bytes)?;
        self.replies(&bytes, sequence, &mut |_, payload| each(payload))
            .map(|_| ())
    }

    /// Asks for several things in one go, and says of each whether it is there, in order.
    ///
    /// # Errors
    /// The kernel's, but for `ENOENT`.
    pub fn exist(&mut self, messages: Vec<Message>) -> Result<Vec<bool>, Error> {
        let mut there = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let mut request = Vec::new();
            let mut last = 0;
            for message in messages.by_ref().take(QUESTIONS) {
                last = self.next_sequence();
                request.extend(message.finish(last, libc::NLM_F_ACK));
            }
            self.send(&request)?;
            self.verdicts(&request, last, &mut there)?;
        }
        Ok(there)
    }

    /// The kernel's word on each message of `request`, whose last has the number `last`.
    fn verdicts(&mut self, request: &[u8], last: u32, there: &mut Vec<bool>) -> Result<(), Error> {
        let first = u32_at(request, 8);
        loop {
            let length = self.receive(MsgFlags::empty())?;
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            while let Some((message, after)) = split(rest) {
                rest = after;
                let sequence = u32_at(message, 8);
                let is_verdict = i32::from(u16_at(message, 4)) == libc::NLMSG_ERROR;
                if !is_verdict || !(first..=last).contains(&sequence) {
                    continue;
                }
                match error_in(message, request) {
                    Some(error) if error.errno != Errno::ENOENT => {
                        self.drain();
                        return Err(error);
                    }
                    refused => there.push(refused.is_none()),
                }
                if sequence == last {
                    return Ok(());
                }
            }
        }
    }

    /// Sends the question `message` and collects what `read` finds in the payload of each message
    /// of the answer. A listing that changed while it was read begins again.
    ///
    /// # Errors
    /// The kernel's; `EAGAIN` if the listing never held still.
    pub fn dump<T>(
        &mut self,
        message: &Message,
        read: impl Fn(&[u8], &mut Vec<T>),
    ) -> Result<Vec<T>, Error> {
        for _ in 0..DUMP_TRIES {
            let sequence = self.next_sequence();
            let bytes = message.clone().finish(sequence, libc::NLM_F_DUMP);
            self.send(&bytes)?;
            let mut found = Vec::new();
            let changed = self.replies(&bytes, sequence, &mut |_, payload| {
                read(payload, &mut found)
            })?;
            if !changed {
                return Ok(found);
            }
        }
        Err(Errno::EAGAIN.into())
    }

    /// Asks questions of which the kernel heeds every field, so that it lists no more than asked for
    /// (NETLINK_GET_STRICT_CHK, Linux 4.20).
    pub fn strictly<T>(&mut self, ask: impl FnOnce(&mut Self) -> T) -> T {
        // Without it, it lists more, and whoever asks looks through that.
        let _ = setsockopt(&self.fd, option::StrictCheck, &true);
        let answer = ask(self);
        let _ = setsockopt(&self.fd, option::StrictCheck, &false);
        answer
    }

    /// Sends nftables `messages` as one transaction: all of them take effect at one instant or
    /// none does. More than the send buffer holds (thousands of doors) goes as several. What the
    /// kernel echoes of them ([`Message::echoed`]) goes to `each`, with its type.
    ///
    /// # Errors
    /// The kernel's on the first message that it refuses.
    pub fn batch(
        &mut self,
        messages: Vec<Message>,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Error> {
        let mut part = Vec::new();
        let mut bytes = 0;
        for message in messages {
            if bytes + message.0.len() > self.batch_bytes {
                self.transaction(std::mem::take(&mut part), &mut each)?;
                bytes = 0;
            }
            bytes += message.0.len();
            part.push(message);
        }
        self.transaction(part, &mut each)
    }

    /// What the kernel has sent without being asked, message by message; does not wait.
    pub fn unasked(&mut self, mut each: impl FnMut(&[u8])) {
        loop {
            match self.receive(MsgFlags::MSG_DONTWAIT) {
                // Some were lost for want of room. The others are still there.
                Err(Errno::ENOBUFS) => {}
                Err(_) => return,
                Ok(length) => {
                    let mut rest = self.buffer.get(..length).unwrap_or_default();
                    while let Some((message, after)) = split(rest) {
                        rest = after;
                        each(&message[HEADER..]);
                    }
                }
            }
        }
    }

    fn transaction(
        &mut self,
        messages: Vec<Message>,
        each: &mut dyn FnMut(u16, &[u8]),
    ) -> Result<(), Error> {
        let Some(last) = messages.len().checked_sub(1) else {
            return Ok(());
        };
        let bound = |kind: libc::c_int| {
            let res_id = NFNL_SUBSYS_NFTABLES.to_be_bytes();
            Message::new(kind as u16, 0, &[0, 0, res_id[0], res_id[1]])
        };
        let length: usize = messages.iter().map(|message| message.0.len()).sum();
        let begin = bound(libc::NFNL_MSG_BATCH_BEGIN).with_room(length + HEADER + 4);
        let mut bytes = begin.finish(self.next_sequence(), 0);
        for (index, message) in messages.into_iter().enumerate() {
            let ack = if index == last { libc::NLM_F_ACK } else { 0 };
            bytes.extend(message.finish(self.next_sequence(), ack));
        }
        let acknowledged = self.sequence;
        bytes.extend(bound(libc::NFNL_MSG_BATCH_END).finish(self.next_sequence(), 0));
        self.send(&bytes)?;
        self.replies(&bytes, acknowledged, each)?;
        self.transactions = self.transactions.wrapping_add(1);
        Ok(())
    }

    /// Reads until the answer to `request` is complete: a dump's end, or the word on the message
    /// number `last`. True if a listing changed while it was read.
    fn replies(
        &mut self,
        request: &[u8],
        last: u32,
        each: &mut dyn FnMut(u16, &[u8]),
    ) -> Result<bool, Error> {
        let first = u32_at(request, 8);
        let mut changed = false;
        loop {
            let length = self.receive(MsgFlags::empty())?;
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            while let Some((message, after)) = split(rest) {
                rest = after;
                let kind = i32::from(u16_at(message, 4));
                let sequence = u32_at(message, 8);
                // An echo has no number. Answers to an earlier request that we stopped reading are
                // nobody's.
                if sequence != 0 && !(first..=last.max(first)).contains(&sequence) {
                    continue;
                }
                changed |= i32::from(u16_at(message, 6)) & libc::NLM_F_DUMP_INTR != 0;
                match kind {
                    libc::NLMSG_DONE | libc::NLMSG_ERROR => {
                        if let Some(error) = error_in(message, request) {
                            self.drain();
                            return Err(error);
                        }
                        if sequence == last {
                            return Ok(changed);
                        }
                    }
                    libc::NLMSG_NOOP => {}
                    _ => each(kind as u16, &message[HEADER..]),
                }
            }
        }
    }

    fn receive(&mut self, flags: MsgFlags) -> Result<usize, Errno> {
        loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, flags) {
                Err(Errno::EINTR) => {}
                result => return result,
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        loop {
            match send(self.fd.as_raw_fd(), bytes, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                result => return result.map(|_| ()),
            }
        }
    }

    /// Throws away what else a failed request brought.
    fn drain(&mut self) {
        while self.receive(MsgFlags::MSG_DONTWAIT).is_ok() {}
    }

    fn next_sequence(&mut self) -> u32 {
        // Numbers of one request must ascend, so zero is left out of the way by wrapping early.
        self.sequence = if self.sequence > u32::MAX / 2 {
            1
        } else {
            self.sequence + 1
        };
        self.sequence
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The first message in `bytes` and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.len() < HEADER {
        return None;
    }
    let length = u32_at(bytes, 0) as usize;
    if length < HEADER {
        return None;
    }
    let message = bytes.get(..length)?;
    let after = bytes.get(length.next_multiple_of(4)..);
    Some((message, after.unwrap_or_default()))
}

/// The error that an NLMSG_ERROR or NLMSG_DONE `message` carries, if its number is not zero.
fn error_in(message: &[u8], request: &[u8]) -> Option<Error> {
    let code = u32_of(message.get(HEADER..)?)? as i32;
    if code == 0 {
        return None;
    }
    let mut error = Error::from(Errno::from_raw(-code));
    // Error number, then the header of the message it is about, then attributes (CAP_ACK).
    let told = message.get(HEADER + 4 + HEADER..).unwrap_or_default();
    if i32::from(u16_at(message, 6)) & NLM_F_ACK_TLVS != 0 {
        error.message = attribute(told, NLMSGERR_ATTR_MSG).map(text_of);
        error.offending = attribute(told, NLMSGERR_ATTR_OFFS)
            .and_then(u32_of)
            .and_then(|offset| {
                let at = find(request, u32_at(message, 8))?.get(offset as usize..)?;
                attributes(at).next().map(|(k, v)| (k, v.to_vec()))
            });
    }
    Some(error)
}

/// The message number `sequence` among those sent in `request`.
fn find(request: &[u8], sequence: u32) -> Option<&[u8]> {
    let mut rest = request;
    while let Some((message, after)) = split(rest) {
        if u32_at(message, 8) == sequence {
            return Some(message);
        }
        rest = after;
    }
    None
}

const NLM_F_ACK_TLVS: i32 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;

/// The socket options that nix does not know.
mod option {
    use nix::{setsockopt_impl, sockopt_impl};

    sockopt_impl!(
        /// Errors come with the kernel's words.
        ExtendedAck,
        SetOnly,
        libc::SOL_NETLINK,
        libc::NETLINK_EXT_ACK,
        bool
    );
    sockopt_impl!(
        /// Errors come without the whole request, so that they always fit our receive buffer.
        CappedAck,
        SetOnly,
        libc::SOL_NETLINK,
        libc::NETLINK_CAP_ACK,
        bool
    );
    sockopt_impl!(
        /// Questions are taken at their word.
        StrictCheck,
        SetOnly,
        libc::SOL_NETLINK,
        libc::NETLINK_GET_STRICT_CHK,
        bool
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back_as_it_was_built() {
        let message = Message::new(7, 0, &[9, 9, 9, 9])
            .text(1, "ab")
            .nest(2, |m| m.put(3, &[1]).put(4, &[2, 3]));
        let bytes = message.finish(5, 0);
        let (whole, after) = split(&bytes).unwrap();
        assert_eq!(whole.len(), bytes.len());
        assert!(after.is_empty());
        let body = &whole[HEADER + 4..];
        assert_eq!(text_of(attribute(body, 1).unwrap()), "ab");
        let inner = attribute(body, 2).unwrap();
        assert_eq!(
            attributes(inner).collect::<Vec<_>>(),
            [(3, &[1][..]), (4, &[2, 3][..])]
        );
    }

    #[test]
    fn cut_or_lying_bytes_end_the_reading() {
        assert_eq!(split(&[1; 10]), None);
        assert_eq!(split(&[0; 32]), None);
        assert_eq!(attributes(&[200, 0, 1, 0, 5]).count(), 0);
        assert_eq!(attributes(&[2, 0, 1, 0]).count(), 0);
    }

    #[test]
    fn the_kernels_refusal_says_why() {
        let mut route = Socket::open(SockProtocol::NetlinkRoute).unwrap();
        let mut no_link = [0; 16];
        no_link[4..8].copy_from_slice(&i32::MAX.to_ne_bytes());
        let delete = Message::new(libc::RTM_DELLINK, 0, &no_link);
        let error = route.request(delete).unwrap_err();
        assert!(
            matches!(error.errno, Errno::ENODEV | Errno::EPERM),
            "{error}"
        );
        // The conversation goes on after an error.
        let question = Message::new(libc::RTM_GETLINK, 0, &[0; 16]);
        let links = route.dump(&question, |_, found| found.push(())).unwrap();
        assert!(!links.is_empty());
    }
}
