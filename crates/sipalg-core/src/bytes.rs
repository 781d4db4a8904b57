//! Finds bytes, sixteen at a time: what a message costs is mostly looking for what is special in it.

use core::ops::Range;
use wide::u8x16;

/// The place of the first byte of `span` that is one of `wanted`.
#[inline(always)] // nearly always it is in the first block
pub fn find<const N: usize>(message: &[u8], span: Range<usize>, wanted: [u8; N]) -> Option<usize> {
    let end = span.end.min(message.len());
    let first = message.get(span.start..)?.first_chunk();
    let behind = match first.map(|block| first_in(block, wanted)) {
        Some(Some(found)) if span.start + found < end => return Some(span.start + found),
        Some(Some(_)) => return None,
        Some(None) => span.start + 16,
        None => span.start,
    };
    if behind < end {
        find_further(message, behind..end, wanted)
    } else {
        None
    }
}

/// The same, block for block.
fn find_further<const N: usize>(
    message: &[u8],
    span: Range<usize>,
    wanted: [u8; N],
) -> Option<usize> {
    let mut at = span.start;
    while at < span.end {
        let rest = message.get(at..)?;
        let found = match rest.first_chunk() {
            Some(block) => first_in(block, wanted),
            None => rest.iter().position(|byte| wanted.contains(byte)),
        };
        match found {
            Some(found) => return (at + found < span.end).then_some(at + found),
            None => at += 16,
        }
    }
    None
}

/// The first bytes of a text, and zeros behind its end.
#[inline]
pub fn block(text: &[u8]) -> [u8; 16] {
    match text.first_chunk::<16>() {
        Some(block) => *block,
        None => {
            let mut block = [0; 16];
            for (to, from) in block.iter_mut().zip(text) {
                *to = *from;
            }
            block
        }
    }
}

/// How many bytes two texts have the same before they differ.
#[inline(always)]
pub fn alike(one: &[u8; 32], other: &[u8; 32]) -> usize {
    let halves = |text: &[u8; 32]| {
        let (chunks, _) = text.as_chunks::<16>();
        [0, 1].map(|half| u8x16::new(chunks.get(half).copied().unwrap_or_default()))
    };
    let ([one, behind_one], [other, behind_other]) = (halves(one), halves(other));
    let same = one.simd_eq(other).to_bitmask();
    let same_behind = behind_one.simd_eq(behind_other).to_bitmask();
    (same | same_behind << 16).trailing_ones() as usize
}

/// The place in a block of the first byte that is one of `wanted`.
#[inline(always)]
fn first_in<const N: usize>(block: &[u8; 16], wanted: [u8; N]) -> Option<usize> {
    let block = u8x16::new(*block);
    let mut found = u8x16::ZERO;
    for byte in wanted {
        found |= block.simd_eq(u8x16::splat(byte));
    }
    match found.to_bitmask() {
        0 => None,
        mask => Some(mask.trailing_zeros() as usize),
    }
}

/// The place of the first `byte` in a block of sixteen.
#[inline(always)]
pub fn first_place(block: &[u8; 16], byte: u8) -> Option<usize> {
    let mask = u8x16::new(*block).simd_eq(u8x16::splat(byte)).to_bitmask();
    (mask != 0).then(|| mask.trailing_zeros() as usize % block.len())
}

/// Where a byte from `first` to `last` stands in a block of sixteen: a bit for each place, the lowest
/// for the first.
#[inline(always)]
pub fn places_between(block: &[u8; 16], first: u8, last: u8) -> u32 {
    let block = u8x16::new(*block);
    let within = block.max(u8x16::splat(first)).min(u8x16::splat(last));
    within.simd_eq(block).to_bitmask()
}

/// Where `block` with the bits `added` to its bytes is as `wanted`.
#[inline(always)]
pub fn equal_with(block: &[u8; 16], added: &[u8; 16], wanted: &[u8; 16]) -> u32 {
    let block = u8x16::new(*block) | u8x16::new(*added);
    block.simd_eq(u8x16::new(*wanted)).to_bitmask()
}

/// Where two blocks of sixteen are not the same.
#[inline(always)]
pub fn different(one: &[u8; 16], other: &[u8; 16]) -> u32 {
    u8x16::new(*one).simd_eq(u8x16::new(*other)).to_bitmask() ^ 0xffff
}

/// Where a letter or a digit of ASCII stands in a block of sixteen.
#[inline(always)]
pub fn alphanumeric(block: &[u8; 16]) -> u32 {
    let lower = (u8x16::new(*block) | u8x16::splat(0x20)).to_array();
    places_between(&lower, b'a', b'z') | places_between(block, b'0', b'9')
}

/// Sixty-four bytes of a text, of which it is asked where each special one stands: a bit for each byte,
/// the lowest for the first.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    parts: [u8x16; 4],
    /// How many bytes are before those that are asked of.
    before: u32,
}

impl Block {
    /// How many bytes it has.
    pub const SIZE: usize = 64;

    /// So many bytes.
    #[inline(always)]
    pub fn of_whole(bytes: &[u8; Block::SIZE]) -> Block {
        Block::new(bytes, 0)
    }

    /// The bytes of `text` from `start` on; behind its end there is nothing.
    #[inline]
    pub fn at(text: &[u8], start: usize) -> Block {
        let whole = text.get(start..).and_then(|rest| rest.first_chunk());
        whole.map_or_else(|| Block::last(text, start), |bytes| Block::new(bytes, 0))
    }

    /// The same where fewer are left: the last of the text, and as much before them as makes a block.
    fn last(text: &[u8], start: usize) -> Block {
        let rest = text.len().saturating_sub(start);
        let before = (Block::SIZE - rest.min(Block::SIZE)) as u32;
        match text.last_chunk() {
            Some(bytes) => Block::new(bytes, before),
            None => {
                let mut bytes = [0; Block::SIZE];
                let (_, end) = bytes.split_at_mut(Block::SIZE - text.len());
                end.copy_from_slice(text);
                Block::new(&bytes, before)
            }
        }
    }

    #[inline(always)]
    fn new(bytes: &[u8; Block::SIZE], before: u32) -> Block {
        let (chunks, _) = bytes.as_chunks::<16>();
        let mut parts = [u8x16::ZERO; 4];
        for (part, chunk) in parts.iter_mut().zip(chunks) {
            *part = u8x16::new(*chunk);
        }
        Block { parts, before }
    }

    /// Where `byte` stands among the bytes of `text` from `start` on.
    #[inline(always)]
    pub fn places(text: &[u8], start: usize, byte: u8) -> u64 {
        match text.get(start..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => Block::new(bytes, 0).of(byte),
            None => Block::last(text, start).of(byte),
        }
    }

    /// Where `byte` stands.
    #[inline(always)]
    pub fn of(&self, byte: u8) -> u64 {
        self.any([byte])
    }

    /// Where one of `wanted` stands.
    #[inline(always)]
    pub fn any<const N: usize>(&self, wanted: [u8; N]) -> u64 {
        let mut mask = 0;
        for (part, shift) in self.parts.iter().zip([0, 16, 32, 48]) {
            let mut found = u8x16::ZERO;
            for byte in wanted {
                found |= part.simd_eq(u8x16::splat(byte));
            }
            mask |= u64::from(found.to_bitmask()) << shift;
        }
        mask.checked_shr(self.before).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_knows_where_each_byte_stands_and_nothing_behind_the_end() {
        let text: Vec<u8> = (0..100).map(|at| b'a' + at % 7).collect();
        for (length, start) in
            (0..=100).flat_map(|length| (0..length + 2).map(move |at| (length, at)))
        {
            let text = &text[..length];
            let block = Block::at(text, start);
            let rest = text.get(start..).unwrap_or_default();
            for wanted in [[b'a', b'c'], [b'g', 0]] {
                let places = rest.iter().take(Block::SIZE).enumerate();
                let places = places.filter(|(_, byte)| wanted.contains(byte));
                let expected = places.map(|(at, _)| 1u64 << at).sum::<u64>();
                assert_eq!(block.any(wanted), expected, "{length} {start}");
            }
            let a = rest.iter().take(Block::SIZE).filter(|byte| **byte == b'a');
            assert_eq!(block.of(b'a').count_ones() as usize, a.count());
            assert_eq!(block.of(b'a'), Block::places(text, start, b'a'));
        }
    }

    #[test]
    fn sixteen_bytes_are_compared_at_once_with_bits_added() {
        let (block, lower) = (b"Call-ID: 1.\r\rxyz", b"call-id: 1.--xyz");
        assert_eq!(first_place(block, b'\r'), Some(11));
        assert_eq!(first_place(block, b'q'), None);
        assert_eq!(places_between(block, b'C', b'I'), 1 << 0 | 1 << 5 | 1 << 6);
        assert_eq!(equal_with(block, &[0x20; 16], lower), 0xffff);
        assert_eq!(equal_with(block, &[0; 16], block), 0xffff);
        assert_eq!(equal_with(block, &[0; 16], lower), 0b1110_0111_1001_1110);
    }

    #[test]
    fn texts_are_alike_up_to_the_first_other_byte() {
        let text: [u8; 32] = core::array::from_fn(|at| at as u8);
        assert_eq!(alike(&text, &text), 32);
        for at in 0..32 {
            let mut other = text;
            other[at..].fill(b'x');
            assert_eq!(alike(&text, &other), at);
        }
    }

    #[test]
    fn the_first_is_found_wherever_it_is_and_never_behind_the_end() {
        let text: Vec<u8> = (0..70).collect();
        for start in 0..text.len() + 2 {
            for end in 0..text.len() + 2 {
                for wanted in [0, 15, 16, 40, 69, 200] {
                    let span = start..end.min(text.len());
                    let expected = text.get(span).unwrap_or_default();
                    let expected = expected.iter().position(|byte| [wanted, 60].contains(byte));
                    assert_eq!(
                        find(&text, start..end, [60, wanted]),
                        expected.map(|place| start + place),
                        "{start} {end} {wanted}"
                    );
                }
            }
        }
    }
}
