//! The one byte layout of row keys, shared by all backends.
//!
//! Owns how (name, order) becomes the key of a row inside its table:
//! `length of name ‖ name ‖ order`. The length in front makes a scan of one
//! name exact whatever the orders contain. Names longer than
//! [`NAME_BYTES_MAX`] stand as the byte 65 and their SHA-256.

use sha2::{Digest, Sha256};

use crate::{Key, Range};

/// Names up to this many bytes stand in a row key as they are.
pub(crate) const NAME_BYTES_MAX: usize = 64;
/// First byte of the key of a row whose name is longer and stands hashed.
const HASHED: u8 = 65;

/// The part of a row key that all rows of one name share.
pub(crate) fn prefix(name: &[u8]) -> Vec<u8> {
    match u8::try_from(name.len()) {
        Ok(len) if name.len() <= NAME_BYTES_MAX => {
            let mut out = Vec::with_capacity(1 + name.len());
            out.push(len);
            out.extend_from_slice(name);
            out
        }
        _ => {
            let mut out = vec![HASHED];
            out.extend_from_slice(&Sha256::digest(name));
            out
        }
    }
}

/// The key of one row inside its table.
pub(crate) fn row_key(key: Key<'_>) -> Vec<u8> {
    let mut out = prefix(key.name);
    out.extend_from_slice(key.order);
    out
}

/// First key of a name's rows and first key behind them.
pub(crate) fn name_bounds(name: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let from = prefix(name);
    let to = successor(from.clone());
    (from, to)
}

/// The keys `[from, to)` that a range covers; `None` when it covers none.
pub(crate) fn bounds(range: &Range<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let prefix = prefix(range.name);
    let from = [&prefix, range.from].concat();
    let to = match range.to {
        Some(to) => [&prefix, to].concat(),
        None => successor(prefix),
    };
    (range.limit > 0 && from < to).then_some((from, to))
}

/// The smallest byte string above everything that starts with `prefix`. The
/// first byte of a row key is at most [`HASHED`], so there always is one.
fn successor(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            break;
        }
    }
    prefix
}

/// The name part of a row key as it was stored (hashed if it was long), and
/// the order. `None` for bytes that are no row key.
pub(crate) fn split(row_key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = row_key.split_first()?;
    let len = if first == HASHED { 32 } else { usize::from(first) };
    (first <= HASHED).then(|| rest.split_at_checked(len)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Table;

    #[test]
    fn names_never_overlap() {
        let long = [0xff; 100];
        let names: [&[u8]; 6] = [b"", b"a", b"ab", &[0xff; 64], &[0xff; 65], &long];
        for a in names {
            let (from, to) = name_bounds(a);
            for b in names {
                for order in [&b""[..], b"\0", &[0xff; 9]] {
                    let key = row_key(Key::at(Table::Meta, b, order));
                    assert_eq!(a == b, from <= key && key < to);
                    assert_eq!(split(&key).unwrap().1, order);
                }
            }
        }
    }

    #[test]
    fn empty_and_turned_ranges_cover_nothing() {
        let range =
            |from, to, limit| Range { table: Table::Meta, name: b"n", from, to, reverse: false, limit };
        assert!(bounds(&range(b"b", Some(b"a"), 9)).is_none());
        assert!(bounds(&range(b"a", Some(b"a"), 9)).is_none());
        assert!(bounds(&range(b"a", None, 0)).is_none());
        assert!(bounds(&range(b"", None, 1)).is_some());
        assert!(split(&[]).is_none());
        assert!(split(&[3, 1]).is_none());
        assert!(split(&[200, 1]).is_none());
    }
}
