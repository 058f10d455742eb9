//! What the simulator's attackers can do beyond an honest engine: commits that
//! the rules forbid, paths that some cannot open, another identity on their
//! leaf. Only with the feature `mutants`, which no product build has.

use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::api::DeviceKeys;

/// Which of a commit's path secrets are garbage: by the remainder of the first
/// byte of the key that they are sealed to, so that no order matters.
#[derive(Debug, Default)]
pub struct Garble {
    /// 0: none. Else the divisor in the upper byte, above it whether the others
    /// are meant, and the remainder in the lower byte.
    mode: AtomicU32,
}

impl Garble {
    /// Garbage for keys with this remainder of `by`.
    pub fn set(&self, remainder: u8, by: u8, others: bool) {
        let mode = u32::from(others) << 16 | u32::from(by.max(1)) << 8 | u32::from(remainder);
        self.mode.store(mode, Ordering::Relaxed);
    }
    /// No more garbage.
    pub fn clear(&self) {
        self.mode.store(0, Ordering::Relaxed);
    }
    pub(crate) fn hits(&self, key: &[u8]) -> bool {
        let mode = self.mode.load(Ordering::Relaxed);
        let (by, remainder) = ((mode >> 8 & 0xff) as u8, (mode & 0xff) as u8);
        by != 0 && (key.first().is_some_and(|b| b % by == remainder)) != (mode >> 16 != 0)
    }
}

std::thread_local! {
    static SEAT: RefCell<Option<DeviceKeys>> = const { RefCell::new(None) };
}

/// The identity that the next commit gives to its leaf.
pub(crate) fn seat() -> Option<DeviceKeys> {
    SEAT.with_borrow_mut(Option::take)
}

/// The next commit gives its leaf to another identity.
pub fn seated<T>(identity: DeviceKeys, f: impl FnOnce() -> T) -> T {
    SEAT.set(Some(identity));
    let out = f();
    SEAT.set(None);
    out
}
