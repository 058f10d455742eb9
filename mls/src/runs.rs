//! Runs of one byte, packed. OpenMLS keeps a state's message secrets as lists
//! with a place for every leaf, most of them empty, and their row is written
//! with every message.
//!
//! Packed: `literal length u16 ‖ literal ‖ run length u16 ‖ byte`, repeated;
//! lengths are big-endian, each may be 0.

/// Shorter runs stay part of a literal, and some that are a little longer: a
/// run is found by so many bytes that lie together, looked at in steps of as
/// many.
const RUN_MIN: usize = 8;
const LENGTH_MAX: usize = u16::MAX as usize;

pub(crate) fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    // Up to `done` all is packed, up to `seen` no run begins.
    let (mut done, mut seen) = (0, 0);
    while let Some(step) = bytes.get(seen..).and_then(<[u8]>::first_chunk::<RUN_MIN>) {
        let byte = step[0];
        if *step != [byte; RUN_MIN] {
            seen += RUN_MIN;
            continue;
        }
        let same = |b: &&u8| **b == byte;
        let begin = seen - bytes[done..seen].iter().rev().take_while(same).count();
        let run = bytes[begin..].iter().take(LENGTH_MAX).take_while(same).count();
        put(&mut out, &bytes[done..begin], run, byte);
        done = begin + run;
        seen = done;
    }
    put(&mut out, &bytes[done..], 0, 0);
    out
}

fn put(out: &mut Vec<u8>, literal: &[u8], run: usize, byte: u8) {
    let length = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
    let mut literal = literal;
    while literal.len() > LENGTH_MAX {
        let (first, rest) = literal.split_at(LENGTH_MAX);
        put(out, first, 0, 0);
        literal = rest;
    }
    out.extend(length(literal.len()));
    out.extend_from_slice(literal);
    out.extend(length(run));
    out.push(byte);
}

/// `None` for what [`pack`] did not make.
pub(crate) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(packed.len() * 2);
    let mut rest = packed;
    while !rest.is_empty() {
        let (literal, after) = take_length(rest)?;
        let (literal, after) = after.split_at_checked(literal)?;
        out.extend_from_slice(literal);
        let (run, after) = take_length(after)?;
        let (byte, after) = after.split_first()?;
        out.resize(out.len() + run, *byte);
        rest = after;
    }
    Some(out)
}

fn take_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    Some((usize::from(u16::from_be_bytes(*length)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_packed_comes_back(runs in proptest::collection::vec((any::<u8>(), 1usize..40), 0..60)) {
            let bytes: Vec<u8> = runs.iter().flat_map(|(byte, n)| vec![*byte; *n]).collect();
            prop_assert_eq!(unpack(&pack(&bytes)), Some(bytes));
        }

        #[test]
        fn anything_else_is_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _read = unpack(&bytes);
        }
    }

    #[test]
    fn lengths_have_two_bytes() {
        for n in [LENGTH_MAX - 1, LENGTH_MAX, LENGTH_MAX + 1, 3 * LENGTH_MAX + 7] {
            let run = vec![0xf6; n];
            let packed = pack(&run);
            assert!(packed.len() < 64);
            assert_eq!(unpack(&packed), Some(run));
            let mixed: Vec<u8> = (0..n).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let packed = pack(&mixed);
            assert!(packed.len() < n + 64);
            assert_eq!(unpack(&packed), Some(mixed));
        }
    }

    #[test]
    fn few_bytes_stay_few() {
        assert_eq!(pack(b""), [0, 0, 0, 0, 0]);
        assert_eq!(unpack(b""), Some(Vec::new()));
        assert_eq!(unpack(&[0, 1]), None);
        assert_eq!(unpack(&[0, 1, 7, 0, 2]), None);
        assert_eq!(unpack(&[0, 1, 7, 0, 2, 9]), Some(vec![7, 9, 9]));
    }
}
