//! A seeded generator for the soak's choices (SplitMix64): the printed seed
//! repeats the choices. Not for secrets.

/// The generator.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// From a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed from the clock, for runs that name none.
    pub(crate) fn fresh_seed() -> u64 {
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_secs().wrapping_mul(1_000_000_007) ^ u64::from(d.subsec_nanos()));
        nanos ^ (u64::from(std::process::id()) << 32)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end` (0 when `end` is 0).
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// Puts a slice into random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = usize::try_from(self.below(i as u64 + 1)).unwrap_or(0);
            items.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn same_seed_same_choices() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        let mut left: Vec<u32> = (0..50).collect();
        let mut right = left.clone();
        a.shuffle(&mut left);
        b.shuffle(&mut right);
        assert_eq!(left, right);
        left.sort_unstable();
        assert_eq!(left, (0..50).collect::<Vec<u32>>());
    }
}
