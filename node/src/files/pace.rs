//! A bound on bytes per second, shared by all that move in one direction.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much may go ahead of the pace.
const BURST: Duration = Duration::from_millis(200);

/// See the module; without a bound at first.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    per_s: u64,
    /// When what was let through so far would have been, at the pace.
    until: Option<Instant>,
}

impl Pace {
    /// Bytes per second; 0 = no bound.
    pub(super) fn set(&self, per_s: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State { per_s, until: None };
    }

    /// How long to wait before these bytes may go.
    fn take(&self, bytes: usize, now: Instant) -> Duration {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.per_s == 0 {
            return Duration::ZERO;
        }
        #[expect(clippy::cast_precision_loss, reason = "bytes per second need no more than 52 bits")]
        let takes = Duration::from_secs_f64(bytes as f64 / state.per_s as f64);
        let from = state.until.map_or(now, |until| until.max(now.checked_sub(BURST).unwrap_or(now)));
        state.until = Some(from + takes);
        from.saturating_duration_since(now)
    }

    /// Waits until these bytes may go.
    pub(super) async fn pass(&self, bytes: usize) {
        let wait = self.take(bytes, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lets_a_seconds_worth_through() {
        let pace = Pace::default();
        let start = Instant::now();
        assert_eq!(pace.take(1 << 30, start), Duration::ZERO);
        pace.set(1_000);
        let mut now = start;
        for _ in 0..50 {
            now += pace.take(100, now);
        }
        let passed = now - start;
        assert!((4.5..5.1).contains(&passed.as_secs_f64()), "{passed:?}");
        // What was not used is not saved up for ever.
        now += Duration::from_secs(60);
        let mut through = 0;
        while pace.take(100, now).is_zero() {
            through += 1;
        }
        assert!(through <= 4, "{through}");
    }
}
