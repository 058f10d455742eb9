//! A token bucket: so many units per second on average, and some at once.

/// How many seconds of the average may come at once.
const BURST_S: u64 = 2;

/// What is left of an allowance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    /// Thousandths of a unit.
    level: u64,
    at_ms: u64,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn full(per_s: u64, mono_ms: u64) -> Self {
        Self { level: capacity(per_s), at_ms: mono_ms }
    }
    /// Takes units. `Err` tells the milliseconds until they are there.
    pub(crate) fn take(&mut self, units: u64, per_s: u64, mono_ms: u64) -> Result<(), u64> {
        let elapsed = mono_ms.saturating_sub(self.at_ms);
        self.at_ms = mono_ms.max(self.at_ms);
        self.level = self.level.saturating_add(elapsed.saturating_mul(per_s)).min(capacity(per_s));
        // What is larger than the bucket passes when it is full.
        let wanted = units.saturating_mul(1000).min(capacity(per_s));
        if self.level >= wanted {
            self.level -= wanted;
            return Ok(());
        }
        Err((wanted - self.level).div_ceil(per_s.max(1)).max(1))
    }
}

fn capacity(per_s: u64) -> u64 {
    per_s.saturating_mul(1000 * BURST_S)
}

#[cfg(test)]
mod tests {
    use super::Bucket;

    #[test]
    fn fills_with_time_and_tells_how_long() {
        let mut b = Bucket::full(10, 0);
        for _ in 0..20 {
            assert_eq!(b.take(1, 10, 0), Ok(()));
        }
        assert_eq!(b.take(1, 10, 0), Err(100));
        assert_eq!(b.take(1, 10, 100), Ok(()));
        assert_eq!(b.take(1, 10, 50), Err(100));
        assert_eq!(b.take(5000, 10, 1_000_000), Ok(()));
        assert!(b.take(u64::MAX, 10, 1_000_000).is_err());
    }
}
