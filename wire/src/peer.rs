//! `/kith/peer/1`: what two nodes say to each other on a direct link.
//!
//! A frame is a canonical CBOR array `[kind, …]`. Both sides greet with
//! `Hello`; the side that knows whom it reached proves its device key over
//! both transport keys and both nonces, and the other answers with its proof
//! if it knows that device. Group objects are only spoken after a proof;
//! inbox objects carry their own seal and need none.

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::cbor::{self, WireError, fixed};
use crate::crypto;
use crate::ids::{DeviceId, GroupId, PeerKey};
use crate::labels;

/// The lowest and highest version of this protocol spoken here.
pub const VERSIONS: (u16, u16) = (1, 1);

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// First on every link, from both sides.
    Hello {
        /// Lowest version spoken.
        lowest: u16,
        /// Highest version spoken.
        highest: u16,
        /// Fresh random bytes for the other side's proof.
        nonce: [u8; 32],
    },
    /// "I hold this device key", over both transport keys and both nonces.
    Proof {
        /// The device.
        device: DeviceId,
        /// Signature under `kith/sig/peer-proof/v1`.
        sig: [u8; 64],
    },
    /// An object of a group that both are in.
    Object {
        /// Number for the answer, ascending per link and direction.
        number: u64,
        /// The group.
        group: GroupId,
        /// Commit envelope, event envelope, signed event, mark or order.
        object: Vec<u8>,
    },
    /// An object sealed to the far end's inbox.
    Inbox {
        /// Number for the answer.
        number: u64,
        /// The HPKE-sealed entry.
        sealed: Vec<u8>,
    },
    /// Everything that the numbered object led to is durable here.
    Ack {
        /// The object's number.
        number: u64,
    },
    /// The numbered object was not taken.
    Nack {
        /// The object's number.
        number: u64,
        /// Stable code.
        code: u16,
    },
    /// What the sender knows of a group.
    Sync {
        /// The group.
        group: GroupId,
        /// A sync hello of the engine.
        hello: Vec<u8>,
        /// The far end should answer with its own hello too.
        reply: bool,
    },
    /// "Give me a key package of yours."
    PackageRequest,
    /// The answer.
    Package {
        /// A fresh key package of the sender's device.
        package: Vec<u8>,
    },
    /// The person is typing; not stored.
    Typing {
        /// Where.
        group: GroupId,
    },
}

/// Codes of [`Frame::Nack`].
pub mod nack {
    /// The object is malformed or its signature is wrong.
    pub const INVALID: u16 = 1;
    /// The sender has not proven a device of this group.
    pub const NOT_MEMBER: u16 = 2;
    /// Too much waits here; try later.
    pub const BUSY: u16 = 3;
}

impl<C> Encode<C> for Frame {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        c: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Self::Hello { lowest, highest, nonce } => {
                e.array(4)?.u8(0)?.u16(*lowest)?.u16(*highest)?.bytes(nonce)?;
            }
            Self::Proof { device, sig } => {
                e.array(3)?.u8(1)?.encode_with(device, c)?.bytes(sig)?;
            }
            Self::Object { number, group, object } => {
                e.array(4)?.u8(2)?.u64(*number)?.encode_with(group, c)?.bytes(object)?;
            }
            Self::Inbox { number, sealed } => {
                e.array(3)?.u8(3)?.u64(*number)?.bytes(sealed)?;
            }
            Self::Ack { number } => {
                e.array(2)?.u8(4)?.u64(*number)?;
            }
            Self::Nack { number, code } => {
                e.array(3)?.u8(5)?.u64(*number)?.u16(*code)?;
            }
            Self::Sync { group, hello, reply } => {
                e.array(4)?.u8(6)?.encode_with(group, c)?.bytes(hello)?.bool(*reply)?;
            }
            Self::PackageRequest => {
                e.array(1)?.u8(7)?;
            }
            Self::Package { package } => {
                e.array(2)?.u8(8)?.bytes(package)?;
            }
            Self::Typing { group } => {
                e.array(2)?.u8(9)?.encode_with(group, c)?;
            }
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Frame {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, minicbor::decode::Error> {
        let len = d.array()?.unwrap_or(0);
        let kind = d.u8()?;
        let (frame, expected) = match kind {
            0 => (Self::Hello { lowest: d.u16()?, highest: d.u16()?, nonce: fixed(d)? }, 4),
            1 => (Self::Proof { device: d.decode_with(c)?, sig: fixed(d)? }, 3),
            2 => {
                (Self::Object { number: d.u64()?, group: d.decode_with(c)?, object: d.bytes()?.to_vec() }, 4)
            }
            3 => (Self::Inbox { number: d.u64()?, sealed: d.bytes()?.to_vec() }, 3),
            4 => (Self::Ack { number: d.u64()? }, 2),
            5 => (Self::Nack { number: d.u64()?, code: d.u16()? }, 3),
            6 => (Self::Sync { group: d.decode_with(c)?, hello: d.bytes()?.to_vec(), reply: d.bool()? }, 4),
            7 => (Self::PackageRequest, 1),
            8 => (Self::Package { package: d.bytes()?.to_vec() }, 2),
            9 => (Self::Typing { group: d.decode_with(c)? }, 2),
            _ => return Err(minicbor::decode::Error::message("unknown kind of frame")),
        };
        if len == expected {
            Ok(frame)
        } else {
            Err(minicbor::decode::Error::message("wrong number of fields"))
        }
    }
}

impl Frame {
    /// The frame's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }
    /// Parses one frame, which must be canonical and fill the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        cbor::decode(bytes, &[])
    }
}

/// What both ends of a link contribute to a proof, from the prover's side.
#[derive(Debug, Clone, Copy)]
pub struct ProofContext<'a> {
    /// The prover's transport key.
    pub prover: &'a PeerKey,
    /// The verifier's transport key.
    pub verifier: &'a PeerKey,
    /// The nonce that the prover sent.
    pub prover_nonce: &'a [u8; 32],
    /// The nonce that the verifier sent.
    pub verifier_nonce: &'a [u8; 32],
}

impl ProofContext<'_> {
    fn parts(&self) -> [&[u8]; 4] {
        [&self.prover.0, &self.verifier.0, self.prover_nonce, self.verifier_nonce]
    }
    /// Proves the device key on this link.
    #[must_use]
    pub fn prove(&self, key: &SigningKey) -> Frame {
        let sig = crypto::sign(key, labels::SIG_PEER_PROOF, &self.parts());
        Frame::Proof { device: DeviceId(key.verifying_key().to_bytes()), sig }
    }
    /// Checks the other side's proof.
    pub fn verify(&self, device: &DeviceId, sig: &[u8; 64]) -> Result<(), WireError> {
        crypto::verify(&device.0, labels::SIG_PEER_PROOF, &self.parts(), sig)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let id = any::<[u8; 32]>();
        let bytes = proptest::collection::vec(any::<u8>(), 0..200);
        prop_oneof![
            (any::<u16>(), any::<u16>(), id).prop_map(|(lowest, highest, nonce)| Frame::Hello {
                lowest,
                highest,
                nonce
            }),
            (id, any::<[u8; 32]>()).prop_map(|(d, s)| Frame::Proof {
                device: DeviceId(d),
                sig: [s, s].concat().try_into().unwrap()
            }),
            (any::<u64>(), id, bytes.clone()).prop_map(|(number, g, object)| Frame::Object {
                number,
                group: GroupId(g),
                object
            }),
            any::<u64>().prop_map(|number| Frame::Ack { number }),
            Just(Frame::PackageRequest),
            (any::<u64>(), bytes).prop_map(|(number, sealed)| Frame::Inbox { number, sealed }),
        ]
    }

    proptest! {
        #[test]
        fn frames_round_trip_and_an_independent_decoder_reads_them(frame in frames()) {
            let bytes = frame.to_bytes();
            prop_assert_eq!(Frame::from_bytes(&bytes).unwrap(), frame);
            prop_assert!(serde_cbor::from_slice::<serde_cbor::Value>(&bytes).is_ok());
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Frame::from_bytes(&bytes);
        }
    }

    #[test]
    fn a_proof_holds_for_its_link_only() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let (a, b) = (PeerKey([1; 32]), PeerKey([2; 32]));
        let link =
            ProofContext { prover: &a, verifier: &b, prover_nonce: &[3; 32], verifier_nonce: &[4; 32] };
        let Frame::Proof { device, sig } = link.prove(&key) else { panic!() };
        assert!(link.verify(&device, &sig).is_ok());
        assert!(ProofContext { verifier_nonce: &[5; 32], ..link }.verify(&device, &sig).is_err());
        assert!(ProofContext { verifier: &a, ..link }.verify(&device, &sig).is_err());
    }
}
