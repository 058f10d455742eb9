//! Where the message secrets of a state are cut into rows. OpenMLS keeps them
//! as one value, with a ratchet for every leaf that has spoken, and changes one
//! ratchet with each message: cut at the ratchets, only that one is written.
//!
//! The value is CBOR; the cuts lie in its list of application ratchets, before
//! each place that is not empty. A value of another shape is one row.

/// Path to the application ratchets, as OpenMLS 0.9 names its fields.
const RATCHETS: [&str; 3] = ["message_secrets", "secret_tree", "application_sender_ratchets"];
const NULL: u8 = 0xf6;

/// The rows of a value, in order: number, and where in the value it begins. The
/// first is number 0 and begins at 0; a ratchet's is its leaf's number and 1.
pub(crate) fn cut(value: &[u8]) -> Vec<(u16, usize)> {
    let mut cuts = vec![(0, 0)];
    if ratchets(value, &mut cuts).is_none() {
        cuts.truncate(1);
    }
    cuts
}

fn ratchets(value: &[u8], cuts: &mut Vec<(u16, usize)>) -> Option<()> {
    let list = RATCHETS.iter().try_fold(0, |map, name| member(value, map, name))?;
    let (major, places, mut at) = head(value, list)?;
    (major == 4).then_some(())?;
    for number in 1..=u16::try_from(places).ok()? {
        if *value.get(at)? == NULL {
            at += 1;
        } else {
            cuts.push((number, at));
            at = end(value, at)?;
        }
    }
    Some(())
}

/// Where the value of a map's member begins.
fn member(bytes: &[u8], map: usize, name: &str) -> Option<usize> {
    let (major, members, mut at) = head(bytes, map)?;
    (major == 5).then_some(())?;
    for _ in 0..members {
        let (major, len, text) = head(bytes, at)?;
        let value = end(bytes, at)?;
        if major == 3 && bytes.get(text..text + usize::try_from(len).ok()?)? == name.as_bytes() {
            return Some(value);
        }
        at = end(bytes, value)?;
    }
    None
}

/// Where the item ends that begins at `at`.
fn end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut open = 1u64;
    while open > 0 {
        // Nearly all of the value: the bytes of secrets, as lists of numbers,
        // and places that are empty.
        match bytes.get(at)? {
            0..0x18 | &NULL => {
                (at, open) = (at + 1, open - 1);
                continue;
            }
            0x18 => {
                (at, open) = (at + 2, open - 1);
                continue;
            }
            _ => {}
        }
        let (major, argument, next) = head(bytes, at)?;
        open -= 1;
        at = next;
        match major {
            2 | 3 => at = at.checked_add(usize::try_from(argument).ok()?)?,
            4 => open = open.checked_add(argument)?,
            5 => open = open.checked_add(argument.checked_mul(2)?)?,
            6 => open += 1,
            _ => {}
        }
    }
    (at <= bytes.len()).then_some(at)
}

/// Major type and argument of an item (RFC 8949 3), and where its head ends.
fn head(bytes: &[u8], at: usize) -> Option<(u8, u64, usize)> {
    let first = *bytes.get(at)?;
    let len = match first & 0x1f {
        argument @ 0..24 => return Some((first >> 5, u64::from(argument), at + 1)),
        argument @ 24..28 => 1 << (argument - 24),
        _ => return None,
    };
    let argument = bytes.get(at + 1..at + 1 + len)?;
    let argument = argument.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    Some((first >> 5, argument, at + 1 + len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ciborium::{Value, cbor};
    use proptest::prelude::*;

    fn secrets(ratchets: &[Value]) -> Vec<u8> {
        let value = cbor!({
            "max_epochs" => 0,
            "past" => [],
            "message_secrets" => {
                "key" => { "value" => Value::Bytes(vec![7; 300]) },
                "secret_tree" => {
                    "application_sender_ratchets" => ratchets,
                    "size" => 1.5,
                },
                "added_at" => null,
            },
        });
        let mut bytes = Vec::new();
        ciborium::into_writer(&value.unwrap(), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_ratchet_that_moves_changes_its_own_row() {
        let ratchet =
            |n: u64| cbor!({ "DecryptionRatchet" => { "head" => [n, n, [n]], "past" => [null] } }).unwrap();
        let places =
            |n| [Value::Null, ratchet(1), Value::Null, Value::Null, ratchet(n), ratchet(3), Value::Null];
        let (before, after) = (secrets(&places(2)), secrets(&places(70_000)));
        let rows = |value: &[u8]| {
            let cuts = cut(value);
            let ends = cuts.iter().skip(1).map(|c| c.1).chain([value.len()]);
            cuts.iter().zip(ends).map(|((n, at), end)| (*n, value[*at..end].to_vec())).collect::<Vec<_>>()
        };
        let (before, after) = (rows(&before), rows(&after));
        let numbers = |rows: &[(u16, Vec<u8>)]| rows.iter().map(|r| r.0).collect::<Vec<_>>();
        assert_eq!((numbers(&before), numbers(&after)), (vec![0, 2, 5, 6], vec![0, 2, 5, 6]));
        let changed: Vec<u16> = before.iter().zip(&after).filter(|(a, b)| a != b).map(|(a, _)| a.0).collect();
        assert_eq!(changed, [5]);
    }

    #[test]
    fn another_shape_is_one_row() {
        let mut short = secrets(&[cbor!([1, 2]).unwrap()]);
        assert_eq!(cut(&short).len(), 2);
        short.truncate(short.len() - 60);
        let wide = secrets(&vec![Value::from(1); usize::from(u16::MAX) + 1]);
        for value in
            [&short[..], &wide, b"", b"\xf6", b"\xbf\x00\xff", b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff"]
        {
            assert_eq!(cut(value), [(0, 0)]);
        }
    }

    proptest! {
        #[test]
        fn cuts_lie_in_order_within_any_value(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..400) {
            let mut value = secrets(&[Value::Null, cbor!({ "a" => [1, 2, 3] }).unwrap(), Value::Null]);
            let at = at.min(value.len());
            value.splice(at..(at + bytes.len() / 2).min(value.len()), bytes);
            let cuts = cut(&value);
            prop_assert_eq!(cuts[0], (0, 0));
            prop_assert!(cuts.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
            prop_assert!(cuts.last().is_none_or(|c| value.is_empty() || c.1 < value.len()));
        }
    }
}
