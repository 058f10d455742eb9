//! Every bound of the HTTP side, and the two brakes: token buckets per session
//! and the rising delay after a wrong passphrase.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a request body.
pub(crate) const BODY_BYTES_MAX: usize = 128 << 10;
/// Open connections; further ones wait in the listen queue.
pub(crate) const CONNECTIONS_MAX: usize = 256;
/// How long a connection may take to bring the head of its first request.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Open event streams.
pub(crate) const STREAMS_MAX: usize = 32;
/// Events kept for streams that come back.
pub(crate) const RING_EVENTS_MAX: usize = 4096;
/// Bytes of events kept.
pub(crate) const RING_BYTES_MAX: usize = 8 << 20;
/// Seconds that a stream may take to accept one batch before it is cut.
pub(crate) const STREAM_SEND_S_MAX: u64 = 10;
/// Events written to a stream in one go.
pub(crate) const STREAM_BATCH: usize = 128;
/// Bytes of a frame that a browser may send on the stream.
pub(crate) const STREAM_FRAME_BYTES_MAX: usize = 4 << 10;
/// Rows of one page of a timeline.
pub(crate) const PAGE_MAX: usize = 200;
/// Rows of a page when none is asked for.
pub(crate) const PAGE_DEFAULT: usize = 50;
/// Bytes of text in a QR code.
pub(crate) const QR_BYTES_MAX: usize = 2000;
/// Bytes of a passphrase.
pub(crate) const PASSPHRASE_BYTES_MAX: usize = 1024;
/// Bytes of a message's text.
pub(crate) const TEXT_BYTES_MAX: usize = kith_wire::limits::EVENT_BODY_BYTES_MAX;
/// Bytes of a link (invite, community).
pub(crate) const LINK_BYTES_MAX: usize = 16 << 10;
/// Bytes of an idempotency key.
pub(crate) const KEY_BYTES_MAX: usize = 64;
/// Accounts named in one request.
pub(crate) const MEMBERS_MAX: usize = 1000;
/// Sessions remembered; the least recently used one goes.
pub(crate) const SESSIONS_MAX: usize = 32;
/// Sign-in links that are valid at once; the oldest one goes.
pub(crate) const LINKS_MAX: usize = 16;
/// Longest wait after wrong passphrases, seconds.
const UNLOCK_DELAY_S_MAX: u64 = 300;

/// A token bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_s: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(per_s: u32, burst: u32, now: Instant) -> Self {
        Self { per_s: per_s.into(), burst: burst.into(), tokens: burst.into(), at: now }
    }
    /// For a browser: a person is never that fast, a broken tab is.
    pub(crate) fn browser(now: Instant) -> Self {
        Self::new(200, 1000, now)
    }
    /// For a program with the token file; the node's own queue is the real bound.
    pub(crate) fn program(now: Instant) -> Self {
        Self::new(20_000, 40_000, now)
    }
    /// For sign-in links, over all callers.
    pub(crate) fn links(now: Instant) -> Self {
        Self::new(1, 20, now)
    }
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * self.per_s).min(self.burst);
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// The door of the vault: one try at a time, and after each wrong one a wait
/// that doubles up to five minutes.
#[derive(Debug, Default)]
pub(crate) struct UnlockDoor(Mutex<Tries>);

#[derive(Debug, Default)]
struct Tries {
    wrong: u32,
    until: Option<Instant>,
    trying: bool,
}

/// A try in progress; dropping it without a result counts as neither.
pub(crate) struct Try<'a>(&'a UnlockDoor);

impl UnlockDoor {
    fn tries(&self) -> std::sync::MutexGuard<'_, Tries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Starts a try, or says how many seconds to wait.
    pub(crate) fn enter(&self, now: Instant) -> Result<Try<'_>, u64> {
        let mut tries = self.tries();
        if let Some(left) = tries.until.and_then(|until| until.checked_duration_since(now))
            && !left.is_zero()
        {
            return Err(left.as_secs() + 1);
        }
        if tries.trying {
            return Err(1);
        }
        tries.trying = true;
        Ok(Try(self))
    }
}

impl Try<'_> {
    /// It was the right one.
    pub(crate) fn right(self) {
        let mut tries = self.0.tries();
        tries.wrong = 0;
        tries.until = None;
    }
    /// It was wrong; the next may come after a while.
    pub(crate) fn wrong(self, now: Instant) {
        let mut tries = self.0.tries();
        let seconds = 1u64.checked_shl(tries.wrong).unwrap_or(u64::MAX).min(UNLOCK_DELAY_S_MAX);
        tries.wrong = tries.wrong.saturating_add(1).min(32);
        tries.until = now.checked_add(Duration::from_secs(seconds));
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        self.0.tries().trying = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_its_burst_through_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2, 3, start);
        assert_eq!((0..5).filter(|_| bucket.take(start)).count(), 3);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..5).filter(|_| bucket.take(later)).count(), 2);
    }

    #[test]
    fn each_wrong_passphrase_doubles_the_wait_up_to_five_minutes() {
        let door = UnlockDoor::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..12 {
            door.enter(now).ok().unwrap().wrong(now);
            let wait = door.enter(now).err().unwrap();
            waits.push(wait - 1);
            now += Duration::from_secs(wait);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        door.enter(now).ok().unwrap().right();
        assert!(door.enter(now).is_ok());
    }

    #[test]
    fn only_one_try_at_a_time() {
        let door = UnlockDoor::default();
        let now = Instant::now();
        let first = door.enter(now).ok().unwrap();
        assert_eq!(door.enter(now).err(), Some(1));
        drop(first);
        assert!(door.enter(now).is_ok());
    }
}
