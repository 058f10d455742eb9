//! How much a device keeps where no rule reads it: with less, the same state
//! wins, and a device only has to be let in again sooner.
//!
//! The simulator gives some devices less (feature `mutants`), so that what is
//! seldom reached is reached often.

/// Images of one group.
const IMAGES_MAX: usize = 16;

/// Images of one group that are kept.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn images() -> usize {
    IMAGES_MAX
}

#[cfg(feature = "mutants")]
mod scarce {
    use core::cell::Cell;

    use super::IMAGES_MAX;

    std::thread_local! {
        static IMAGES: Cell<usize> = const { Cell::new(IMAGES_MAX) };
    }

    /// Images of one group that are kept by the devices of this thread.
    pub(crate) fn images() -> usize {
        IMAGES.get()
    }

    /// From now on so many; as many as in the product with `None`.
    pub fn keep_images(most: Option<usize>) {
        IMAGES.set(most.map_or(IMAGES_MAX, |most| most.clamp(1, IMAGES_MAX)));
    }
}

#[cfg(feature = "mutants")]
pub(crate) use scarce::images;
#[cfg(feature = "mutants")]
pub use scarce::keep_images;
