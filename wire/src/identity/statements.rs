//! Account statements: a grow-only set that needs no order.

use minicbor::{Decode, Encode};

use super::kinds;
use crate::cbor::WireError;
use crate::ids::{AccountId, DeviceId};
use crate::object::{Versioned as _, object};
use crate::{labels, limits};

/// "A_g is generation g of my account key." Signed by R.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rotate {
    /// Kind.
    #[n(0)]
    pub kind: u16,
    /// Version.
    #[n(1)]
    pub version: u16,
    /// R's public key.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub recovery_pub: [u8; 32],
    /// The generation, from 0.
    #[n(4)]
    pub generation: u32,
    /// A_g's public key.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub account_pub: [u8; 32],
}

impl Rotate {
    /// A statement to be signed by R.
    #[must_use]
    pub fn new(recovery_pub: [u8; 32], generation: u32, account_pub: [u8; 32]) -> Self {
        Self { kind: Self::KIND, version: Self::VERSION, recovery_pub, generation, account_pub }
    }
}

object! { Rotate: kinds::ROTATE, fields [0, 1, 3, 4, 5], label labels::SIG_ROTATE }

/// "This device is mine." Signed by A_g.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Device {
    /// Kind.
    #[n(0)]
    pub kind: u16,
    /// Version.
    #[n(1)]
    pub version: u16,
    /// The account.
    #[n(3)]
    pub account: AccountId,
    /// Generation of the signing account key.
    #[n(4)]
    pub generation: u32,
    /// The device: its signing public key.
    #[n(5)]
    pub device: DeviceId,
    /// The device's X25519 public key.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub box_pub: [u8; 32],
}

impl Device {
    /// A statement to be signed by A_g.
    #[must_use]
    pub fn new(account: AccountId, generation: u32, device: DeviceId, box_pub: [u8; 32]) -> Self {
        Self { kind: Self::KIND, version: Self::VERSION, account, generation, device, box_pub }
    }
}

object! { Device: kinds::DEVICE, fields [0, 1, 3, 4, 5, 6], label labels::SIG_DEVICE }

/// "Certificates of this device up to my generation are void." Signed by A_g.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RevokeByAccount {
    /// Kind.
    #[n(0)]
    pub kind: u16,
    /// Version.
    #[n(1)]
    pub version: u16,
    /// The account.
    #[n(3)]
    pub account: AccountId,
    /// Generation of the signing account key.
    #[n(4)]
    pub generation: u32,
    /// The device.
    #[n(5)]
    pub device: DeviceId,
}

impl RevokeByAccount {
    /// A statement to be signed by A_g.
    #[must_use]
    pub fn new(account: AccountId, generation: u32, device: DeviceId) -> Self {
        Self { kind: Self::KIND, version: Self::VERSION, account, generation, device }
    }
}

object! { RevokeByAccount: kinds::REVOKE_BY_ACCOUNT, fields [0, 1, 3, 4, 5], label labels::SIG_REVOKE_A }

/// "This device key is void for ever." Signed by R.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RevokeByRecovery {
    /// Kind.
    #[n(0)]
    pub kind: u16,
    /// Version.
    #[n(1)]
    pub version: u16,
    /// R's public key.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub recovery_pub: [u8; 32],
    /// The device.
    #[n(4)]
    pub device: DeviceId,
}

impl RevokeByRecovery {
    /// A statement to be signed by R.
    #[must_use]
    pub fn new(recovery_pub: [u8; 32], device: DeviceId) -> Self {
        Self { kind: Self::KIND, version: Self::VERSION, recovery_pub, device }
    }
}

object! { RevokeByRecovery: kinds::REVOKE_BY_RECOVERY, fields [0, 1, 3, 4], label labels::SIG_REVOKE_R }

/// How a person wants to be shown. Signed by A_g; the higher version counts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Profile {
    /// Kind.
    #[n(0)]
    pub kind: u16,
    /// Version of the shape.
    #[n(1)]
    pub version: u16,
    /// The account.
    #[n(3)]
    pub account: AccountId,
    /// Generation of the signing account key.
    #[n(4)]
    pub generation: u32,
    /// Counts changes, from 1.
    #[n(5)]
    pub revision: u64,
    /// Name, at most `limits::NAME_BYTES_MAX` bytes, not empty.
    #[n(6)]
    pub name: String,
    /// About text, at most `limits::ABOUT_BYTES_MAX` bytes.
    #[n(7)]
    pub about: String,
}

impl Profile {
    /// A statement to be signed by A_g.
    #[must_use]
    pub fn new(account: AccountId, generation: u32, revision: u64, name: String, about: String) -> Self {
        Self { kind: Self::KIND, version: Self::VERSION, account, generation, revision, name, about }
    }
    fn bounds(&self) -> Result<(), WireError> {
        if self.name.trim().is_empty() {
            return Err(WireError::Invalid("a profile needs a name"));
        }
        if self.name.len() > limits::NAME_BYTES_MAX {
            return Err(WireError::TooLarge("the name"));
        }
        if self.about.len() > limits::ABOUT_BYTES_MAX {
            return Err(WireError::TooLarge("the about text"));
        }
        Ok(())
    }
}

object! {
    Profile: kinds::PROFILE, fields [0, 1, 3, 4, 5, 6, 7],
    label labels::SIG_PROFILE, check Self::bounds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::sample;
    use crate::signed::{Raw, sign};
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    #[test]
    fn statements_of_a_credential_verify_alone() {
        let (credential, account, _) = sample(1);
        let verified = credential.verify().unwrap();
        let rotate = credential.rotation().statement();
        assert_eq!(rotate.body::<Rotate>().unwrap().account_pub, verified.account_key);
        assert!(rotate.verify::<Rotate>(&verified.recovery_pub, &[]).is_ok());
        let device: Device = verified.read_by_account(&credential.device_statement()).unwrap();
        assert_eq!(device.device, verified.device);
        // The account key's revocation does not pass as R's, nor the other way round.
        let revoke = sign(&RevokeByAccount::new(verified.account, 0, verified.device), &account, &[]);
        assert!(verified.read_by_account::<RevokeByAccount>(&revoke).is_ok());
        assert!(revoke.verify::<RevokeByRecovery>(&verified.account_key, &[]).is_err());
        assert!(matches!(
            revoke.body::<RevokeByRecovery>(),
            Err(WireError::UnknownField(_) | WireError::Malformed(_))
        ));
    }

    #[test]
    fn golden_bodies() {
        let rotate = crate::cbor::encode(&Rotate::new([1; 32], 0, [2; 32]));
        let expected =
            [&[0xa5, 0, 0x18, 32, 1, 1, 3, 0x58, 32][..], &[1; 32], &[4, 0, 5, 0x58, 32], &[2; 32]].concat();
        assert_eq!(rotate, expected);
        let profile =
            crate::cbor::encode(&Profile::new(AccountId([3; 32]), 0, 7, "Åsa".into(), String::new()));
        let expected = [
            &[0xa7, 0, 0x18, 36, 1, 1, 3, 0x58, 32][..],
            &[3; 32],
            &[4, 0, 5, 7, 6, 0x64],
            "Åsa".as_bytes(),
            &[7, 0x60],
        ]
        .concat();
        assert_eq!(profile, expected);
    }

    #[test]
    fn profiles_are_bounded() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let raw = |name: String, about: String| {
            sign(&Profile::new(AccountId([0; 32]), 0, 1, name, about), &key, &[])
        };
        assert!(raw("a".repeat(128), "b".repeat(1024)).body::<Profile>().is_ok());
        assert_eq!(
            raw("a".repeat(129), String::new()).body::<Profile>(),
            Err(WireError::TooLarge("the name"))
        );
        assert!(raw(" ".into(), String::new()).body::<Profile>().is_err());
        assert!(raw("a".into(), "b".repeat(1025)).body::<Profile>().is_err());
    }

    proptest! {
        #[test]
        fn profiles_round_trip(name in "\\PC{1,20}x", about in "\\PC{0,80}", revision: u64) {
            let key = SigningKey::from_bytes(&[1; 32]);
            let profile = Profile::new(AccountId([5; 32]), 3, revision, name, about);
            let raw = Raw::from_bytes(&sign(&profile, &key, &[]).to_bytes()).unwrap();
            prop_assert_eq!(raw.body::<Profile>().unwrap(), profile);
            prop_assert!(raw.verify::<Profile>(&key.verifying_key().to_bytes(), &[]).is_ok());
        }
    }
}
