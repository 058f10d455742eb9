//! Safety numbers: what two people compare to know that nobody sits between.

use sha2::{Digest, Sha512};

use crate::ids::AccountId;
use crate::labels;

const QR_PREFIX: &str = "KITH-SAFETY:1:";

/// 60 digits in 12 groups of five, the same for both people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetyNumber(String);

/// The safety number of two accounts; their order does not matter.
#[must_use]
pub fn safety_number(one: &AccountId, other: &AccountId) -> SafetyNumber {
    let mut h = Sha512::new();
    h.update(labels::SAFETY.as_bytes());
    h.update([0]);
    h.update(one.min(other).0);
    h.update(one.max(other).0);
    let hash = h.finalize();
    let groups = hash.chunks_exact(5).take(12).map(|five| {
        let n = five.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        format!("{:05}", n % 100_000)
    });
    SafetyNumber(groups.collect())
}

impl SafetyNumber {
    /// All 60 digits in one.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }
    /// 12 groups of five digits.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        self.0.as_bytes().chunks(5).map(|g| String::from_utf8_lossy(g).into_owned()).collect()
    }
    /// What the QR code holds; upper case, so that the code stays small.
    #[must_use]
    pub fn qr_text(&self) -> String {
        format!("{QR_PREFIX}{}", self.0)
    }
    /// Whether a scanned text or typed digits (spaces allowed) are this number.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let text = text.trim();
        let digits = text.strip_prefix(QR_PREFIX).unwrap_or(text);
        digits.chars().filter(|c| !c.is_whitespace()).eq(self.0.chars())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_on_both_sides_and_golden() {
        let (a, b) = (AccountId([1; 32]), AccountId([2; 32]));
        let number = safety_number(&a, &b);
        assert_eq!(number, safety_number(&b, &a));
        assert_ne!(number, safety_number(&a, &AccountId([3; 32])));
        assert_eq!(number.digits(), GOLDEN);
        assert_eq!(number.groups().len(), 12);
        assert!(number.groups().iter().all(|g| g.len() == 5));
    }
    const GOLDEN: &str = "589374728312951996887139158008728160309755442506712930437587";

    #[test]
    fn matches_scans_and_typed_digits() {
        let number = safety_number(&AccountId([1; 32]), &AccountId([2; 32]));
        assert!(number.matches(&number.qr_text()));
        assert!(number.matches(&number.groups().join(" ")));
        assert!(!number.matches(&number.digits()[..59]));
        assert!(!number.matches(""));
    }
}
