//! Values of the usual form, read by where their special bytes stand, sixty-four at a time.
//!
//! What is found here is what [`values`](super::values), [`address`](super::address) and
//! [`via`](super::via) find; where it is not beyond doubt nothing is, and they have to tell.

use super::{Spot, Transport, is_blank};
use crate::bytes::{self, Block};
use core::ops::Range;

/// The URI of a value that is one address: `"Name" <sip:...>;tag=...`, or `sip:...;tag=...`.
pub fn address(message: &[u8], value: Range<usize>) -> Option<Range<usize>> {
    let block = Block::at(message, value.start);
    let whole = lowest(value.len());
    let rest = value.start + Block::SIZE..value.end;
    // Without a comma it is no list, whatever may be quoted in it.
    if block.of(b',') & whole != 0 || bytes::find(message, rest, [b',']).is_some() {
        return None;
    }
    let mut opened = block.of(b'<') & whole;
    let mut quotes = block.of(b'"') & whole;
    if quotes & below(opened) != 0 {
        let name = up_to(quotes & quotes.wrapping_sub(1));
        if block.of(b'\\') & name != 0 {
            return None;
        }
        (opened, quotes) = (opened & !name, quotes & !name);
        if opened == 0 || quotes & below(opened) != 0 {
            return None;
        }
    }
    let uri = if opened != 0 {
        let closed = block.of(b'>') & whole & !below(opened);
        let at = |mask: u64| value.start + mask.trailing_zeros() as usize;
        (closed != 0).then(|| at(opened) + 1..at(closed))?
    } else if value.len() <= Block::SIZE {
        let start = value.start + usize::from(message.get(value.start) == Some(&b' '));
        let end = (block.of(b';') & whole).trailing_zeros() as usize;
        start..value.end.min(value.start + end)
    } else {
        return None;
    };
    let stripped = |at: usize| message.get(at).is_some_and(|byte| !is_blank(*byte));
    (uri.start < uri.end && stripped(uri.start) && stripped(uri.end - 1)).then_some(uri)
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
    mask.wrapping_sub(1) | mask
}
