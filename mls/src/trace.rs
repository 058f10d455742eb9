//! Which key a ciphertext used, for the tests that hold that no (state, leaf,
//! generation) is ever used twice. Only with the feature `test-trace`.

use kith_wire::ids::StateId;

/// The key of one ciphertext. Two different ciphertexts with an equal trace
/// are a nonce reuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Trace {
    /// State whose secret tree it belongs to.
    pub state: StateId,
    /// Sender's leaf.
    pub leaf: u32,
    /// Generation in the leaf's application ratchet.
    pub generation: u32,
}
