//! How changes of records are written down, in the region's log and for the store: for each the
//! length of its key, the length of its value, key and value. The length of what is gone is all ones.

use std::collections::BTreeMap;

/// The length that says that a record is gone.
const GONE: u32 = u32::MAX;

/// Two lengths.
const HEAD: usize = 8;

/// Writes down that the record of `key` has this value now, or is gone.
pub fn write(changes: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    // Records are small; one that is not is left out as a whole.
    let (Ok(key_length), Ok(length)) = (
        u32::try_from(key.len()),
        u32::try_from(value.map_or(0, <[u8]>::len)),
    ) else {
        return;
    };
    let length = value.map_or(GONE, |_| length);
    changes.extend_from_slice(&key_length.to_ne_bytes());
    changes.extend_from_slice(&length.to_ne_bytes());
    changes.extend_from_slice(key);
    changes.extend_from_slice(value.unwrap_or_default());
}

/// The changes that are written down, in order. Ends before what is cut off.
pub fn read(mut changes: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    std::iter::from_fn(move || {
        let (head, rest) = changes.split_first_chunk::<HEAD>()?;
        let [k0, k1, k2, k3, v0, v1, v2, v3] = *head;
        let key_length = u32::from_ne_bytes([k0, k1, k2, k3]) as usize;
        let length = u32::from_ne_bytes([v0, v1, v2, v3]);
        let (key, rest) = rest.split_at_checked(key_length)?;
        let (value, rest) = match length {
            GONE => (None, rest),
            length => {
                let (value, rest) = rest.split_at_checked(length as usize)?;
                (Some(value), rest)
            }
        };
        changes = rest;
        Some((key, value))
    })
}

/// Carries changes out on records.
pub fn apply(records: &mut BTreeMap<Vec<u8>, Vec<u8>>, changes: &[u8]) {
    for (key, value) in read(changes) {
        match value {
            Some(value) => drop(records.insert(key.into(), value.into())),
            None => drop(records.remove(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_key_wins_and_what_is_gone_is_gone() {
        let mut changes = Vec::new();
        write(&mut changes, b"a", Some(b"1"));
        write(&mut changes, b"b", Some(b""));
        write(&mut changes, b"a", Some(b"22"));
        write(&mut changes, b"c", Some(b"3"));
        write(&mut changes, b"c", None);
        let mut records = BTreeMap::new();
        apply(&mut records, &changes);
        let expected = [
            (b"a".to_vec(), b"22".to_vec()),
            (b"b".to_vec(), b"".to_vec()),
        ];
        assert_eq!(records, BTreeMap::from(expected));
    }

    #[test]
    fn changes_that_are_cut_off_anywhere_give_those_before() {
        let mut changes = Vec::new();
        write(&mut changes, b"key", Some(b"value"));
        let whole = changes.len();
        write(&mut changes, b"another", Some(b"value"));
        for cut in whole..changes.len() {
            assert_eq!(read(&changes[..cut]).count(), 1, "{cut}");
        }
        assert_eq!(read(&changes).count(), 2);
    }
}
