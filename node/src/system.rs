//! The clocks and the randomness of this process, for everything below.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use kith_core::api::{Now, Refusal};

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Wall and monotonic time.
pub(crate) fn now() -> Now {
    let wall = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Now { wall_ms: millis(wall), mono_ms: millis(start().elapsed()) }
}

/// The moment that a monotonic time of [`now`] stands for.
pub(crate) fn instant(mono_ms: u64) -> Instant {
    let start = start();
    start.checked_add(Duration::from_millis(mono_ms)).unwrap_or(start)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Fresh random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Refusal::new("internal", format!("The system gives no random numbers: {e}.")))?;
    Ok(bytes)
}
