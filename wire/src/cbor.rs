//! CBOR (RFC 8949) with one canonical form (4.2.1): what is signed or hashed
//! has exactly one encoding, and any other is refused before it is decoded.

use minicbor::{Decode, Decoder, Encode};

/// Nesting that an object may have. Deeper input is refused.
const DEPTH_MAX: u8 = 16;

/// Why bytes are not an object of the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not CBOR, or not of the expected shape.
    #[error("the object is malformed: {0}")]
    Malformed(String),
    /// Valid CBOR in a form other than the canonical one.
    #[error("the object is not in canonical form: {0}")]
    NotCanonical(&'static str),
    /// A key below 128 that this version does not know.
    #[error("the object has the unknown field {0}: it needs a newer Kith")]
    UnknownField(u64),
    /// The object's kind is another one.
    #[error("expected an object of kind {expected}, got {got}")]
    Kind {
        /// The kind that belongs here.
        expected: u16,
        /// The kind found.
        got: u16,
    },
    /// The object's version is not spoken here.
    #[error("the object has version {0}, which this Kith does not speak")]
    Version(u16),
    /// A field is longer, larger or more numerous than its bound.
    #[error("{0} is over its limit")]
    TooLarge(&'static str),
    /// A field's value is not allowed.
    #[error("{0}")]
    Invalid(&'static str),
    /// The signature does not verify.
    #[error("the signature is wrong")]
    Signature,
    /// Decryption failed.
    #[error("the seal does not open")]
    Seal,
}

impl From<minicbor::decode::Error> for WireError {
    fn from(e: minicbor::decode::Error) -> Self {
        Self::Malformed(e.to_string())
    }
}

/// Encodes a value. Maps of `#[cbor(map)]` types come out in canonical order
/// because fields are declared in the order of their keys.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    encode_into(value, &mut out);
    out
}

fn encode_into<T: Encode<()>>(value: &T, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail, and our Encode impls return no other error.
    let _infallible = value.encode(&mut minicbor::Encoder::new(out), &mut ());
}

/// One field of a map with numbers for keys, without a look at the others: of
/// bytes that were checked before, or are our own.
pub fn field<'b, T: Decode<'b, ()>>(bytes: &'b [u8], key: u64) -> Result<T, WireError> {
    let mut d = Decoder::new(bytes);
    for _ in 0..d.map()?.unwrap_or(0) {
        if d.u64()? == key {
            return Ok(d.decode()?);
        }
        d.skip()?;
    }
    Err(WireError::Malformed(format!("field {key} is missing")))
}

/// Decodes a value that must fill `bytes` exactly and be canonical: the value
/// has no other encoding, except for map keys from 128 on.
///
/// `fields` are the keys that the outermost map may have (empty when the
/// object is no map). An unknown key below 128 is refused, one from 128 on
/// passes and is ignored.
pub fn decode<'b, T: Decode<'b, ()> + Encode<()>>(bytes: &'b [u8], fields: &[u64]) -> Result<T, WireError> {
    let rest = if fields.is_empty() { item(bytes, 0)? } else { object(bytes, fields)? };
    ends(rest)?;
    let mut d = Decoder::new(bytes);
    let value = d.decode()?;
    if d.position() != bytes.len() {
        return Err(WireError::Malformed("bytes behind the object".into()));
    }
    // The decoder passes over what it does not know inside of the object, and
    // takes a null for a field that is left out.
    let mut ours = Vec::with_capacity(bytes.len());
    encode_into(&value, &mut ours);
    if bytes == ours || known_part(bytes, &ours) == Some((&[], &[])) {
        Ok(value)
    } else {
        Err(WireError::NotCanonical("a part of it has more than belongs there"))
    }
}

/// Walks over one item in the form received and in ours; answers what is left
/// of both, or `None` where they differ. Map entries with a key from 128 on
/// may be missing in ours: they come last in their map.
fn known_part<'a>(theirs: &'a [u8], ours: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (major, n, mut theirs_left) = head(theirs).ok()?;
    let (our_major, m, mut ours_left) = head(ours).ok()?;
    if major != our_major || (major != 5 && n != m) {
        return None;
    }
    match major {
        2 | 3 => {
            let n = usize::try_from(n).ok()?;
            let (one, theirs_left) = theirs_left.split_at_checked(n)?;
            let (other, ours_left) = ours_left.split_at_checked(n)?;
            (one == other).then_some((theirs_left, ours_left))
        }
        4 => (0..n).try_fold((theirs_left, ours_left), |(t, o), _| known_part(t, o)),
        5 => {
            for _ in 0..m {
                (theirs_left, ours_left) = known_part(theirs_left, ours_left)?;
                (theirs_left, ours_left) = known_part(theirs_left, ours_left)?;
            }
            for _ in 0..n.checked_sub(m)? {
                let (major, key, rest) = head(theirs_left).ok()?;
                if major != 0 || key < 128 {
                    return None;
                }
                theirs_left = item(rest, 0).ok()?;
            }
            Some((theirs_left, ours_left))
        }
        _ => Some((theirs_left, ours_left)),
    }
}

/// Accepts only RFC 8949 4.2.1 input: definite lengths, shortest heads, map
/// keys strictly ascending in the bytewise order of their encodings, one item.
/// Floats and tags do not occur on this wire and are refused.
pub(crate) fn check_canonical(bytes: &[u8]) -> Result<(), WireError> {
    ends(item(bytes, 0)?)
}

fn ends(rest: &[u8]) -> Result<(), WireError> {
    if rest.is_empty() { Ok(()) } else { Err(WireError::Malformed("bytes behind the object".into())) }
}

/// A byte string of exactly `N` bytes.
pub(crate) fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], minicbor::decode::Error> {
    d.bytes()?.try_into().map_err(|_| minicbor::decode::Error::message("wrong length"))
}

/// Walks over an outermost map, whose keys below 128 have to be among these.
fn object<'a>(bytes: &'a [u8], fields: &[u64]) -> Result<&'a [u8], WireError> {
    let (major, entries, rest) = head(bytes)?;
    if major != 5 {
        return Err(WireError::Malformed("expected a map".into()));
    }
    map(entries, rest, 0, |key| match head(key)? {
        (0, key, _) if key < 128 && !fields.contains(&key) => Err(WireError::UnknownField(key)),
        (0, ..) => Ok(()),
        _ => Err(WireError::Malformed("expected a number for a key".into())),
    })
}

/// Reads one head: (major type, argument, rest).
fn head(bytes: &[u8]) -> Result<(u8, u64, &[u8]), WireError> {
    let cut = || WireError::Malformed("the object is cut short".into());
    let (&first, rest) = bytes.split_first().ok_or_else(cut)?;
    let (major, info) = (first >> 5, first & 0x1f);
    let n = match info {
        0..=23 => return Ok((major, u64::from(info), rest)),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        31 => return Err(WireError::NotCanonical("indefinite length")),
        _ => return Err(WireError::Malformed("reserved head".into())),
    };
    if rest.len() < n {
        return Err(cut());
    }
    let (arg, rest) = rest.split_at(n);
    let value = arg.iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
    let shortest = match n {
        1 => value >= 24,
        2 => value > 0xff,
        4 => value > 0xffff,
        _ => value > 0xffff_ffff,
    };
    if major != 7 && !shortest {
        return Err(WireError::NotCanonical("a number is longer than needed"));
    }
    Ok((major, value, rest))
}

fn item(bytes: &[u8], depth: u8) -> Result<&[u8], WireError> {
    if depth > DEPTH_MAX {
        return Err(WireError::TooLarge("nesting"));
    }
    let (major, arg, rest) = head(bytes)?;
    match major {
        0 | 1 => Ok(rest),
        2 | 3 => {
            let len = usize::try_from(arg).map_err(|_| WireError::TooLarge("a string"))?;
            if rest.len() < len {
                return Err(WireError::Malformed("the object is cut short".into()));
            }
            let (body, rest) = rest.split_at(len);
            if major == 3 && core::str::from_utf8(body).is_err() {
                return Err(WireError::Malformed("text is not UTF-8".into()));
            }
            Ok(rest)
        }
        4 => (0..arg).try_fold(rest, |r, _| item(r, depth + 1)),
        5 => map(arg, rest, depth, |_| Ok(())),
        7 if matches!(bytes[0], 0xf4..=0xf6) => Ok(rest),
        7 => Err(WireError::NotCanonical("floats and simple values do not occur")),
        _ => Err(WireError::NotCanonical("tags do not occur")),
    }
}

/// Walks over the entries of a map whose keys have to please.
fn map(
    entries: u64,
    mut rest: &[u8],
    depth: u8,
    pleases: impl Fn(&[u8]) -> Result<(), WireError>,
) -> Result<&[u8], WireError> {
    let mut last: &[u8] = &[];
    for _ in 0..entries {
        let after = item(rest, depth + 1)?;
        let key = &rest[..rest.len() - after.len()];
        if !last.is_empty() && key <= last {
            return Err(WireError::NotCanonical("map keys out of order"));
        }
        pleases(key)?;
        last = key;
        rest = item(after, depth + 1)?;
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_every_other_form() {
        for (bytes, why) in [
            (&[0x18, 0x17][..], "long number"),
            (&[0x5f, 0x41, 0, 0xff], "indefinite"),
            (&[0xa2, 2, 0, 1, 0], "order"),
            (&[0xa2, 1, 0, 1, 0], "twice"),
            (&[0xc0, 0], "tag"),
            (&[0xf9, 0, 0], "float"),
            (&[0x82, 0], "short"),
            (&[0, 0], "behind"),
            (&[0x61, 0xff], "utf8"),
        ] {
            assert!(check_canonical(bytes).is_err(), "{why}");
        }
        assert!(check_canonical(&[0xa2, 1, 0, 2, 0xf6]).is_ok());
        let deep = [vec![0x81u8; 40], vec![0]].concat();
        assert_eq!(check_canonical(&deep), Err(WireError::TooLarge("nesting")));
    }

    #[test]
    fn unknown_fields_below_128_are_refused_and_above_ignored() {
        #[derive(Encode, Decode, Debug, PartialEq)]
        #[cbor(map)]
        struct T {
            #[n(0)]
            a: u8,
        }
        assert_eq!(decode::<T>(&[0xa1, 0, 5], &[0]), Ok(T { a: 5 }));
        assert_eq!(decode::<T>(&[0xa2, 0, 5, 9, 0], &[0]), Err(WireError::UnknownField(9)));
        assert_eq!(decode::<T>(&[0xa2, 0, 5, 0x18, 128, 0], &[0]), Ok(T { a: 5 }));
    }
    #[test]
    fn what_the_decoder_would_pass_over_inside_is_refused() {
        #[derive(Encode, Decode, Debug, PartialEq)]
        #[cbor(array)]
        struct Pair {
            #[n(0)]
            a: u8,
            #[n(1)]
            b: Option<u8>,
        }
        #[derive(Encode, Decode, Debug, PartialEq)]
        #[cbor(map)]
        struct Inner {
            #[n(0)]
            a: u8,
        }
        #[derive(Encode, Decode, Debug, PartialEq)]
        #[cbor(map)]
        struct Outer {
            #[n(0)]
            inner: Inner,
            #[n(1)]
            pair: Option<Pair>,
        }
        #[derive(Encode, Decode, Debug, PartialEq)]
        enum Choice {
            #[n(0)]
            None {},
            #[n(1)]
            One(#[n(0)] u8),
        }
        let outer = |bytes: &[u8]| decode::<Outer>(bytes, &[0, 1]);
        let it = |pair| Outer { inner: Inner { a: 5 }, pair };
        assert_eq!(outer(&[0xa1, 0, 0xa1, 0, 5]), Ok(it(None)));
        assert_eq!(outer(&[0xa2, 0, 0xa1, 0, 5, 1, 0x82, 1, 2]), Ok(it(Some(Pair { a: 1, b: Some(2) }))));
        for (bytes, why) in [
            (&[0xa2, 0, 0xa1, 0, 5, 1, 0xf6][..], "null for a field left out"),
            (&[0xa1, 0, 0xa2, 0, 5, 9, 0], "unknown field in an inner map"),
            (&[0xa2, 0, 0xa1, 0, 5, 1, 0x83, 1, 2, 3], "array too long"),
        ] {
            assert!(matches!(outer(bytes), Err(WireError::NotCanonical(_))), "{why}");
        }
        // Fields of a later version, inside as outside.
        assert_eq!(outer(&[0xa1, 0, 0xa2, 0, 5, 0x18, 128, 0]), Ok(it(None)));
        assert_eq!(outer(&[0xa2, 0, 0xa2, 0, 5, 0x18, 128, 0, 0x18, 200, 0x81, 0]), Ok(it(None)));
        assert_eq!(decode(&[0x82, 1, 0x81, 7], &[]), Ok(Choice::One(7)));
        assert_eq!(decode(&[0x82, 0, 0x80], &[]), Ok(Choice::None {}));
        for bytes in [&[0x82, 1, 0x82, 7, 7][..], &[0x82, 0, 0x81, 7], &[0x83, 0, 0x80, 7]] {
            assert!(decode::<Choice>(bytes, &[]).is_err());
        }
    }
}
