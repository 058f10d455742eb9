//! The proof of work that stands in for a token in a contact request.

use crate::cbor::WireError;
use crate::ids::{EntryId, RelayId, hash};
use crate::labels;

/// The most work that a client does for a request without a token, in bits.
pub const WORK_BITS_MAX: u8 = 22;

/// Whether `work` is a proof of work of `bits` bits for this entry at this
/// relay: so many leading zero bits of a labelled hash.
#[must_use]
pub fn work_holds(relay: &RelayId, id: &EntryId, work: u64, bits: u8) -> bool {
    let digest = hash(labels::ID_WORK, &[&relay.0, &id.0, &work.to_be_bytes()]);
    let mut zeros = 0u32;
    for byte in digest {
        zeros += byte.leading_zeros();
        if byte != 0 {
            break;
        }
    }
    zeros >= u32::from(bits)
}

/// Finds the proof that [`work_holds`] checks: about 2^bits hashes.
pub(super) fn find_work(relay: &RelayId, id: &EntryId, bits: u8) -> Result<u64, WireError> {
    if bits > WORK_BITS_MAX {
        return Err(WireError::TooLarge("the proof of work that the relay asks for"));
    }
    (0..u64::MAX)
        .find(|work| work_holds(relay, id, *work, bits))
        .ok_or(WireError::Invalid("no proof of work was found"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_bound_to_relay_and_entry() {
        let (relay, id) = (RelayId([1; 32]), EntryId([2; 32]));
        let work = find_work(&relay, &id, 12).unwrap();
        assert!(work_holds(&relay, &id, work, 12));
        assert!(!work_holds(&relay, &id, work, 255));
        assert!(find_work(&relay, &id, WORK_BITS_MAX + 1).is_err());
    }
}
