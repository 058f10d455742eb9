//! What the simulator's attackers can do beyond an honest engine: commits that
//! the rules forbid, paths that some cannot open, another identity on their
//! leaf. Set per thread, around one call of an attacker's own engine. Only
//! with the feature `mutants`, which no product build has.

use core::cell::{Cell, RefCell};

use crate::api::DeviceKeys;

/// Which of a commit's path secrets are garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Garble {
    /// The n-th that is sealed.
    Only(u32),
    /// All but the n-th.
    AllBut(u32),
}

std::thread_local! {
    static GARBLE: Cell<Option<Garble>> = const { Cell::new(None) };
    static SEALED: Cell<u32> = const { Cell::new(0) };
    static SEAT: RefCell<Option<DeviceKeys>> = const { RefCell::new(None) };
}

/// Whether the next path secret is to be garbage.
pub(crate) fn garbles() -> bool {
    let n = SEALED.replace(SEALED.get() + 1);
    match GARBLE.get() {
        Some(Garble::Only(at)) => n == at,
        Some(Garble::AllBut(at)) => n != at,
        None => false,
    }
}

/// The identity that the next commit gives to its leaf.
pub(crate) fn seat() -> Option<DeviceKeys> {
    SEAT.with_borrow_mut(Option::take)
}

/// Commits of `f` have garbage in their paths. Answers how many secrets were
/// sealed, too.
pub fn garbled<T>(garble: Garble, f: impl FnOnce() -> T) -> (T, u32) {
    GARBLE.set(Some(garble));
    SEALED.set(0);
    let out = f();
    GARBLE.set(None);
    (out, SEALED.get())
}

/// The next commit gives its leaf to another identity.
pub fn seated<T>(identity: DeviceKeys, f: impl FnOnce() -> T) -> T {
    SEAT.set(Some(identity));
    let out = f();
    SEAT.set(None);
    out
}
