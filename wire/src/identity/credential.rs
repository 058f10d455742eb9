//! The MLS credential of a device: one self-contained proof, from the
//! recovery key down to the device's keys.

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Encode};

use super::statements::{Device, Rotate};
use crate::cbor::{self, WireError};
use crate::ids::{AccountId, DeviceId};
use crate::signed::{self, Body, Raw};

/// The version of the credential's shape.
const VERSION: u16 = 1;
/// No credential of this version is longer, in bytes.
const BYTES_MAX: usize = 320;

/// The recovery key's word that `account_pub` is generation `generation` of
/// the account key. Made when R is at hand, kept by every device.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Rotation {
    /// R's public key: its hash is the account id.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub recovery_pub: [u8; 32],
    /// Generation of the account key.
    #[n(1)]
    pub generation: u32,
    /// A_g's public key.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub account_pub: [u8; 32],
    /// R's signature of the [`Rotate`] statement.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub sig: [u8; 64],
}

impl Rotation {
    /// Signs a generation of the account key with the recovery key.
    #[must_use]
    pub fn issue(recovery: &SigningKey, generation: u32, account_pub: [u8; 32]) -> Self {
        let recovery_pub = recovery.verifying_key().to_bytes();
        let raw = signed::sign(&Rotate::new(recovery_pub, generation, account_pub), recovery, &[]);
        Self { recovery_pub, generation, account_pub, sig: raw.sig }
    }
    /// The same word as a statement that travels alone.
    #[must_use]
    pub fn statement(&self) -> Raw {
        let body = Rotate::new(self.recovery_pub, self.generation, self.account_pub);
        Raw { body: cbor::encode(&body), sig: self.sig }
    }
    /// The account.
    #[must_use]
    pub fn account(&self) -> AccountId {
        AccountId::of_recovery_key(&self.recovery_pub)
    }
    /// Checks R's signature.
    pub fn verify(&self) -> Result<(), WireError> {
        self.statement().verify::<Rotate>(&self.recovery_pub, &[])
    }
}

/// Canonical CBOR array `[1, R_pub, g, A_g_pub, sig_R, device, box, sig_A]`.
///
/// The two signatures are those of the [`Rotate`] and [`Device`] statements,
/// whose bodies follow from the other fields. Decoded, but not verified:
/// everything that is believed comes out of [`Credential::verify`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Credential {
    #[n(0)]
    version: u16,
    #[cbor(n(1), with = "minicbor::bytes")]
    recovery_pub: [u8; 32],
    #[n(2)]
    generation: u32,
    #[cbor(n(3), with = "minicbor::bytes")]
    account_pub: [u8; 32],
    #[cbor(n(4), with = "minicbor::bytes")]
    rotate_sig: [u8; 64],
    #[n(5)]
    device: DeviceId,
    #[cbor(n(6), with = "minicbor::bytes")]
    box_pub: [u8; 32],
    #[cbor(n(7), with = "minicbor::bytes")]
    device_sig: [u8; 64],
}

/// What a verified credential proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The account.
    pub account: AccountId,
    /// R's public key.
    pub recovery_pub: [u8; 32],
    /// Generation of the account key.
    pub generation: u32,
    /// A_g's public key: verifies profiles and invites of this generation.
    pub account_key: [u8; 32],
    /// The device: its signing public key.
    pub device: DeviceId,
    /// The device's X25519 public key for HPKE.
    pub box_key: [u8; 32],
}

impl Credential {
    /// Certifies a device under a generation of the account key. `account_key`
    /// must be the secret half of `rotation.account_pub`, else the result
    /// does not verify.
    #[must_use]
    pub fn issue(rotation: &Rotation, account_key: &SigningKey, device: DeviceId, box_pub: [u8; 32]) -> Self {
        let body = Device::new(rotation.account(), rotation.generation, device, box_pub);
        let raw = signed::sign(&body, account_key, &[]);
        Self {
            version: VERSION,
            recovery_pub: rotation.recovery_pub,
            generation: rotation.generation,
            account_pub: rotation.account_pub,
            rotate_sig: rotation.sig,
            device,
            box_pub,
            device_sig: raw.sig,
        }
    }
    /// The credential's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }
    /// Parses exactly one credential of a known version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > BYTES_MAX {
            return Err(WireError::TooLarge("the credential"));
        }
        cbor::check_canonical(bytes)?;
        let mut d = minicbor::Decoder::new(bytes);
        let fields = d.array()?;
        let version = d.u16()?;
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        if fields != Some(8) {
            return Err(WireError::Malformed("a credential has eight fields".into()));
        }
        cbor::decode(bytes, &[])
    }
    /// Parses and verifies in one step.
    pub fn verify_bytes(bytes: &[u8]) -> Result<Verified, WireError> {
        Self::from_bytes(bytes)?.verify()
    }
    /// The device that it speaks of, not verified.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }
    /// The rotation that this credential carries.
    #[must_use]
    pub fn rotation(&self) -> Rotation {
        Rotation {
            recovery_pub: self.recovery_pub,
            generation: self.generation,
            account_pub: self.account_pub,
            sig: self.rotate_sig,
        }
    }
    /// The device certificate as a statement that travels alone.
    #[must_use]
    pub fn device_statement(&self) -> Raw {
        let account = AccountId::of_recovery_key(&self.recovery_pub);
        let body = Device::new(account, self.generation, self.device, self.box_pub);
        Raw { body: cbor::encode(&body), sig: self.device_sig }
    }
    /// Checks both signatures. Nothing about revocations: those are
    /// statements of their own.
    pub fn verify(&self) -> Result<Verified, WireError> {
        self.rotation().verify()?;
        self.device_statement().verify::<Device>(&self.account_pub, &[])?;
        Ok(Verified {
            account: AccountId::of_recovery_key(&self.recovery_pub),
            recovery_pub: self.recovery_pub,
            generation: self.generation,
            account_key: self.account_pub,
            device: self.device,
            box_key: self.box_pub,
        })
    }
}

impl Verified {
    /// Reads an object that this credential's account key signed.
    pub fn read_by_account<T: Body>(&self, raw: &Raw) -> Result<T, WireError> {
        let body = raw.body::<T>()?;
        raw.verify::<T>(&self.account_key, &[])?;
        Ok(body)
    }
    /// Reads an object that this credential's device signed.
    pub fn read_by_device<T: Body>(&self, raw: &Raw) -> Result<T, WireError> {
        let body = raw.body::<T>()?;
        raw.verify::<T>(&self.device.0, &[])?;
        Ok(body)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A credential from fixed keys: (credential, account key, device key).
    pub(crate) fn sample(seed: u8) -> (Credential, SigningKey, SigningKey) {
        let key = |n: u8| SigningKey::from_bytes(&[seed.wrapping_add(n); 32]);
        let (recovery, account, device) = (key(0), key(1), key(2));
        let rotation = Rotation::issue(&recovery, 0, account.verifying_key().to_bytes());
        let id = DeviceId(device.verifying_key().to_bytes());
        (Credential::issue(&rotation, &account, id, [9; 32]), account, device)
    }

    #[test]
    fn round_trips_verifies_and_is_small() {
        let (credential, account, device) = sample(1);
        let bytes = credential.to_bytes();
        assert!(bytes.len() <= 300, "{}", bytes.len());
        let verified = Credential::verify_bytes(&bytes).unwrap();
        assert_eq!(verified.account_key, account.verifying_key().to_bytes());
        assert_eq!(verified.device.0, device.verifying_key().to_bytes());
        assert_eq!(verified.account, credential.rotation().account());
        let value: serde_cbor::Value = serde_cbor::from_slice(&bytes).unwrap();
        assert!(matches!(value, serde_cbor::Value::Array(fields) if fields.len() == 8));
    }

    #[test]
    fn golden_vector() {
        let (credential, ..) = sample(1);
        let digest = crate::ids::hash("test", &[&credential.to_bytes()]);
        assert_eq!(data_encoding::HEXLOWER.encode(&digest), GOLDEN);
        assert_eq!(credential.rotation().account().to_text(), GOLDEN_ACCOUNT);
    }
    const GOLDEN: &str = "38ec236296c44f790c944b8868e829f6ede56ee1694f67744e0ae0f5ae66e43d";
    const GOLDEN_ACCOUNT: &str = "kith1fy5suuhc5xdv3ea36hz2knmu948hjjk4jc8f88y88sn9ekaqy70s45ux5l";

    #[test]
    fn a_foreign_account_key_or_device_does_not_verify() {
        let (credential, account, _) = sample(1);
        let (other, other_account, _) = sample(40);
        // A device certified by another account's key.
        let forged = Credential::issue(&credential.rotation(), &other_account, other.device, other.box_pub);
        assert_eq!(forged.verify(), Err(WireError::Signature));
        // A rotation that R did not sign.
        let mut rotation = credential.rotation();
        rotation.generation = 1;
        let forged = Credential::issue(&rotation, &account, credential.device, credential.box_pub);
        assert_eq!(forged.verify(), Err(WireError::Signature));
        // A certificate moved to another box key.
        let moved = Credential { box_pub: [8; 32], ..credential };
        assert_eq!(moved.verify(), Err(WireError::Signature));
    }

    #[test]
    fn another_version_says_so() {
        let (mut credential, ..) = sample(1);
        credential.version = 2;
        assert_eq!(Credential::from_bytes(&credential.to_bytes()), Err(WireError::Version(2)));
    }

    #[test]
    fn more_fields_are_refused() {
        let mut bytes = sample(1).0.to_bytes();
        bytes[0] = 0x89;
        bytes.push(0);
        assert!(Credential::from_bytes(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_refused(at in 0usize..280, flip in 1u8..) {
            let mut bytes = sample(1).0.to_bytes();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(Credential::verify_bytes(&bytes).is_err());
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(Credential::verify_bytes(&bytes).is_err());
        }
    }
}
