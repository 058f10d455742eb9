//! The cost of a passphrase: Argon2id parameters, their bounds, and how they
//! are fitted to a machine.

use argon2::{Algorithm, Argon2, Params, Version};
use kith_wire::crypto::Secret;
use minicbor::{Decode, Decoder, Encode, Encoder};
use zeroize::Zeroizing;

use crate::VaultError;

/// Memory in KiB, least: OWASP's minimum for Argon2id with two passes
/// (Password Storage Cheat Sheet).
const MEMORY_KIB_MIN: u32 = 19 << 10;
/// Memory in KiB, most: what a file may make a node allocate.
const MEMORY_KIB_MAX: u32 = 256 << 10;
const PASSES_MIN: u32 = 2;
/// Passes, most: what a file may make a node compute.
const PASSES_MAX: u32 = 32;
const LANES_MAX: u32 = 4;
/// Number of the derivation in the file: Argon2id, version 0x13.
const ALGORITHM: u8 = 1;

/// Cost of a passphrase. Always within the bounds: nothing below OWASP's
/// minimum, nothing above 256 MiB and 32 passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Params {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Argon2Params {
    /// The lowest cost allowed: 19 MiB, 2 passes, 1 lane.
    pub const MIN: Self = Self { memory_kib: MEMORY_KIB_MIN, passes: PASSES_MIN, lanes: 1 };

    /// Parameters within the bounds.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, VaultError> {
        let fits = (MEMORY_KIB_MIN..=MEMORY_KIB_MAX).contains(&memory_kib)
            && (PASSES_MIN..=PASSES_MAX).contains(&passes)
            && (1..=LANES_MAX).contains(&lanes);
        fits.then_some(Self { memory_kib, passes, lanes }).ok_or(VaultError::Params)
    }
    /// Memory in KiB.
    #[must_use]
    pub fn memory_kib(self) -> u32 {
        self.memory_kib
    }
    /// Passes over the memory.
    #[must_use]
    pub fn passes(self) -> u32 {
        self.passes
    }
    /// Does the work of one derivation: what [`calibrate`] lets its caller time.
    pub fn exercise(self) -> Result<(), VaultError> {
        self.derive("calibration", &[0; 16]).map(|_| ())
    }
    pub(crate) fn derive(self, passphrase: &str, salt: &[u8; 16]) -> Result<Secret, VaultError> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|_| VaultError::Params)?;
        let mut out = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), salt, &mut *out)
            .map_err(|error| match error {
                argon2::Error::OutOfMemory => VaultError::Memory(self.memory_kib >> 10),
                _ => VaultError::Params,
            })?;
        Ok(Secret::new(*out))
    }
}

impl<C> Encode<C> for Argon2Params {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(4)?.u8(ALGORITHM)?.u32(self.memory_kib)?.u32(self.passes)?.u32(self.lanes)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Argon2Params {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        if (d.array()?, d.u8()?) != (Some(4), ALGORITHM) {
            return Err(minicbor::decode::Error::message("unknown derivation of the passphrase"));
        }
        Self::new(d.u32()?, d.u32()?, d.u32()?)
            .map_err(|_| minicbor::decode::Error::message("the passphrase's cost is out of bounds"))
    }
}

/// Parameters whose derivation takes about `target_ms` on this machine: first
/// more memory, then more passes. `measure` does [`Argon2Params::exercise`]
/// and answers how many milliseconds it took; it is called at most twice.
pub fn calibrate(target_ms: f64, mut measure: impl FnMut(Argon2Params) -> f64) -> Argon2Params {
    let floor = Argon2Params::MIN;
    let guess = scaled(floor, target_ms, measure(floor));
    if guess == floor {
        return floor;
    }
    // Large memory misses the caches, and the first run warmed the machine up.
    scaled(guess, target_ms, measure(guess))
}

/// The cost that takes `target_ms` if `from` takes `took_ms` and time grows
/// with memory × passes.
fn scaled(from: Argon2Params, target_ms: f64, took_ms: f64) -> Argon2Params {
    let factor = target_ms / took_ms.max(0.001);
    let budget = f64::from(from.memory_kib) * f64::from(from.passes) * factor.clamp(0.001, 1000.0);
    // Casts saturate, and both values are clamped to their bounds.
    let memory_kib =
        ((budget / f64::from(PASSES_MIN)).round() as u32).clamp(MEMORY_KIB_MIN, MEMORY_KIB_MAX) >> 10 << 10;
    let passes = ((budget / f64::from(memory_kib)) as u32).clamp(PASSES_MIN, PASSES_MAX);
    Argon2Params { memory_kib, passes, lanes: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_fits_the_machine_and_keeps_the_bounds() {
        // Milliseconds that a machine needs per MiB and pass.
        for (ms_per_mib, memory_mib, passes) in
            [(1000.0, 19, 2), (13.0, 19, 2), (2.0, 125, 2), (1.0, 250, 2), (0.1, 256, 19), (0.0, 256, 32)]
        {
            let mut calls = 0;
            let params = calibrate(500.0, |p| {
                calls += 1;
                f64::from(p.memory_kib) / 1024.0 * f64::from(p.passes) * ms_per_mib
            });
            assert_eq!((params.memory_kib >> 10, params.passes), (memory_mib, passes), "{ms_per_mib}");
            assert!(calls <= 2);
        }
        for odd in [f64::NAN, f64::INFINITY, -1.0] {
            let params = calibrate(500.0, |_| odd);
            assert!(Argon2Params::new(params.memory_kib, params.passes, params.lanes).is_ok());
        }
    }

    #[test]
    fn calibration_steps_back_when_memory_is_slow() {
        let params = calibrate(500.0, |p| if p == Argon2Params::MIN { 20.0 } else { 2000.0 });
        assert!(params.memory_kib < MEMORY_KIB_MAX && params.memory_kib >= MEMORY_KIB_MIN);
    }
}
