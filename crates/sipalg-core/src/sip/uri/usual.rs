//! Values of the usual form, read by where their special bytes stand, sixty-four at a time.
//!
//! What is found here is what [`values`](super::values), [`address`](super::address) and
//! [`via`](super::via) find; where it is not beyond doubt nothing is, and they have to tell.

use super::{Spot, Transport, is_blank, is_sip};
use crate::bytes::{self, Block};
use core::ops::Range;

/// Where the host of a field with one address is: `"Name" <sip:user@1.2.3.4:5060>;tag=...`, or
/// `sip:user@1.2.3.4;tag=...`.
#[inline]
pub fn address(message: &[u8], value: Range<usize>) -> Option<Spot> {
    match message.get(value.start..)?.first_chunk() {
        Some(bytes) => address_in(message, value, &Block::of_whole(bytes)),
        None => address_at_end(message, value),
    }
}

/// The same where the message ends soon.
#[inline(never)]
fn address_at_end(message: &[u8], value: Range<usize>) -> Option<Spot> {
    let block = Block::at(message, value.start);
    address_in(message, value, &block)
}

#[inline(always)] // with a block that is not moved through memory
fn address_in(message: &[u8], value: Range<usize>, block: &Block) -> Option<Spot> {
    let whole = lowest(value.len());
    if value.len() > Block::SIZE {
        let rest = value.start + Block::SIZE..value.end;
        bytes::find(message, rest, [b',']).is_none().then_some(())?;
    }
    // Without a comma it is no list, whatever may be quoted in it.
    let opened = match block.any([b',', b'"', b'<']) & whole {
        0 => return addr_spec(message, value, block),
        one if one & (one - 1) == 0 => one,
        _ => behind_name(block, whole)?,
    };
    let at = |mask: u64| value.start + mask.trailing_zeros() as usize;
    let open = at(opened);
    let ends = block.any([b'@', b'>']) & whole & !up_to(opened);
    let end = message.get(at(ends));
    let (user, closed) = match end {
        Some(b'@') => (Some(at(ends)), ends & ends.wrapping_sub(1)),
        _ => (None, ends),
    };
    let (opens, closes) = (message.get(open), message.get(at(closed)));
    if closed == 0 || opens != Some(&b'<') || closes != Some(&b'>') {
        return None;
    }
    spot(message, open + 1..at(closed), user)
}

/// The bracket that opens, where there are quotes or more brackets.
fn behind_name(block: &Block, whole: u64) -> Option<u64> {
    let (opened, quotes) = (block.of(b'<') & whole, block.of(b'"') & whole);
    if block.of(b',') & whole != 0 {
        return None;
    }
    if quotes & below(opened) == 0 {
        return Some(opened & opened.wrapping_neg());
    }
    let name = up_to(quotes & quotes.wrapping_sub(1));
    let opened = opened & !name;
    let plain = block.of(b'\\') & name == 0 && quotes & !name & below(opened) == 0;
    (opened != 0 && plain).then_some(opened & opened.wrapping_neg())
}

/// A URI without brackets: what follows a semicolon is not of it.
fn addr_spec(message: &[u8], value: Range<usize>, block: &Block) -> Option<Spot> {
    if value.len() > Block::SIZE {
        return None;
    }
    let first = |byte| value.start + block.of(byte).trailing_zeros() as usize;
    let start = value.start + usize::from(message.get(value.start) == Some(&b' '));
    let end = first(b';').min(value.end);
    let user = first(b'@');
    spot(message, start..end, (user < end).then_some(user))
}

/// The host in a `sip:` URI whose user ends at `user`.
#[inline]
fn spot(message: &[u8], uri: Range<usize>, user: Option<usize>) -> Option<Spot> {
    let scheme: &[u8; 4] = message.get(uri.start..uri.end)?.first_chunk()?;
    let last = message.get(uri.end - 1)?;
    (is_sip(scheme) && !is_blank(*last)).then_some(Spot {
        start: user.map_or(uri.start + scheme.len(), |user| user + 1),
        end: uri.end,
        transport: None,
    })
}

/// A Via value as nearly all write it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Via {
    /// Its sent-by.
    pub sent_by: Spot,
    /// The transport it was sent by.
    pub transport: Transport,
    /// The parameters, from the first `;`; empty if none of them says anything about an address.
    pub parameters: Range<usize>,
}

/// Reads a field with one Via: `SIP/2.0/TCP 1.2.3.4:5060;branch=...`.
pub fn via(message: &[u8], value: Range<usize>) -> Option<Via> {
    let head = value.start + usize::from(message.get(value.start) == Some(&b' '));
    let start: &[u8; HEAD + 1] = message.get(head..value.end)?.first_chunk()?;
    let [
        b'S',
        b'I',
        b'P',
        b'/',
        b'2',
        b'.',
        b'0',
        b'/',
        name @ ..,
        b' ',
        next,
    ] = start
    else {
        return None;
    };
    let transport = Transport::parse(name);
    if transport == Transport::Unsaid || is_blank(*next) {
        return None;
    }
    let (mut first, mut telling) = (value.end, false);
    let mut at = value.start;
    while at < value.end {
        let block = Block::at(message, at);
        let whole = lowest(value.end - at);
        if block.of(b',') & whole != 0 {
            return None;
        }
        let mut ends = block.of(b';') & whole;
        while ends != 0 {
            let end = at + ends.trailing_zeros() as usize;
            first = first.min(end);
            telling |= message.get(end + 1).is_none_or(|next| may_tell(*next));
            ends &= ends - 1;
        }
        at += Block::SIZE;
    }
    Some(Via {
        sent_by: Spot {
            start: head + HEAD,
            end: first,
            transport: Some(transport),
        },
        transport,
        parameters: if telling {
            first..value.end
        } else {
            first..first
        },
    })
}

/// The length of `SIP/2.0/TCP `.
const HEAD: usize = 12;

/// Whether a parameter that begins so may be `maddr`, `received` or `rport`.
fn may_tell(first: u8) -> bool {
    is_blank(first) || matches!(first | 0x20, b'm' | b'r')
}

/// So many of the lowest bits.
fn lowest(count: usize) -> u64 {
    u32::try_from(count)
        .ok()
        .and_then(|count| 1u64.checked_shl(count))
        .map_or(u64::MAX, |bit| bit - 1)
}

/// The bits below the lowest that is set; all, if none is.
fn below(mask: u64) -> u64 {
    mask.wrapping_sub(1) & !mask
}

/// The same, and that bit.
fn up_to(mask: u64) -> u64 {
    mask.wrapping_sub(1) ^ mask
}
