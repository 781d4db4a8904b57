//! How changes of records are written one after another: `{ length of the value or "gone", length of
//! the key, key, value }`, the lengths as one number of 32 bits of this machine's order, with that of
//! the key in the lowest 8.

use std::collections::BTreeMap;

/// Stands for the length of a value that is gone.
const GONE: u32 = (1 << 24) - 1;

/// Appends that a key has this value now, or none any more.
pub fn append(changes: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    // Names are short, and records small: the machine bounds what it keeps of what peers say.
    let Ok(key_length) = u8::try_from(key.len()) else {
        return;
    };
    let value = value.filter(|value| value.len() < GONE as usize);
    let length = value.map_or(GONE, |value| value.len() as u32);
    changes.extend((length << 8 | u32::from(key_length)).to_ne_bytes());
    changes.extend(key);
    changes.extend(value.unwrap_or_default());
}

/// The changes, in order. Ends at what is no whole change.
pub fn each(mut changes: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    std::iter::from_fn(move || {
        let (lengths, rest) = changes.split_first_chunk()?;
        let lengths = u32::from_ne_bytes(*lengths);
        let (key, rest) = rest.split_at_checked((lengths & 0xff) as usize)?;
        let length = lengths >> 8;
        if length == GONE {
            changes = rest;
            return Some((key, None));
        }
        let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        changes = rest;
        Some((key, Some(value)))
    })
}

/// What each key has after all changes, or that it has none any more.
pub(super) fn newest(changes: &[u8]) -> BTreeMap<&[u8], Option<&[u8]>> {
    each(changes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_read_in_order_and_a_torn_end_is_left_out() {
        let mut changes = Vec::new();
        append(&mut changes, b"a", Some(b"one"));
        append(&mut changes, b"b", None);
        append(&mut changes, b"", Some(b""));
        let all: Vec<_> = each(&changes).collect();
        let expected: [(&[u8], Option<&[u8]>); 3] =
            [(b"a", Some(b"one")), (b"b", None), (b"", Some(b""))];
        assert_eq!(all, expected);
        for cut in 0..changes.len() {
            let some: Vec<_> = each(&changes[..cut]).collect();
            assert_eq!(some, expected[..some.len()]);
        }
    }
}
