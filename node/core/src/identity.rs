//! Own keys: made once, kept as sealed rows, loaded at start.
//!
//! The recovery key R is never stored. It signs the first account key when
//! the account is made, and comes back from the 24 words when it is needed.

mod phrase;

use ed25519_dalek::SigningKey;
use kith_mls::DeviceKeys;
use kith_store::{Key, Read, StoreError, Table, Tx};
use kith_wire::crypto::{self, Secret};
use kith_wire::identity::{Credential, Profile, Rotation};
use kith_wire::ids::{AccountId, DeviceId, PeerKey};
use kith_wire::limits::{ABOUT_BYTES_MAX, NAME_BYTES_MAX};
use kith_wire::topic::{Mode, TopicKeys};
use kith_wire::{labels, signed};
use minicbor::{Decode, Encode};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::api::Now;
use crate::{rows, text};

pub use phrase::{
    PhraseError, challenge, entropy, phrase_vault_key, phrase_vault_key_of, suggestions, words,
};

const KEYS: Key<'static> = Key { table: Table::Account, name: b"keys", order: b"" };
const PROFILE: Key<'static> = Key { table: Table::Account, name: b"profile", order: b"" };

/// Why an account was not made or loaded.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No visible name.
    #[error("enter a name: others see it when you write to them")]
    NameEmpty,
    /// The name is too long.
    #[error("the name is too long: at most {NAME_BYTES_MAX} bytes fit, about {} letters", NAME_BYTES_MAX / 2)]
    NameTooLong,
    /// The about text is too long.
    #[error("the text about you is too long: at most {ABOUT_BYTES_MAX} bytes fit")]
    AboutTooLong,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is stored of the keys.
#[derive(Encode, Decode)]
#[cbor(map)]
struct KeyRow {
    #[n(0)]
    rotation: Rotation,
    #[n(1)]
    account: Secret,
    #[n(2)]
    device: Secret,
    #[n(3)]
    device_box: Secret,
    #[n(4)]
    transport: Secret,
    #[n(5)]
    relay: Secret,
    #[n(6)]
    inbox: Secret,
    #[n(7)]
    since_ms: u64,
}

/// The keys of this account and device.
pub(crate) struct Identity {
    rotation: Rotation,
    account: AccountId,
    account_key: SigningKey,
    device_key: SigningKey,
    box_secret: StaticSecret,
    transport: Secret,
    relay: Secret,
    inbox: TopicKeys,
    credential: Vec<u8>,
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Identity({:?})", self.account)
    }
}

fn random(rng: &mut ChaCha20Rng) -> Secret {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    Secret::new(bytes)
}

/// The recovery key of a phrase.
fn recovery_key(entropy: &[u8; 32]) -> SigningKey {
    let phrase = crypto::extract(labels::PHRASE, entropy);
    SigningKey::from_bytes(crypto::derive(&phrase, labels::PHRASE_RECOVERY, b"").expose())
}

impl Identity {
    /// Makes an account and its first device. `entropy` are the 256 bits of
    /// the recovery phrase; R is forgotten on return.
    pub(crate) fn create(
        tx: &mut Tx<'_>,
        entropy: [u8; 32],
        name: &str,
        rng: &mut ChaCha20Rng,
        now: Now,
    ) -> Result<Self, IdentityError> {
        let name = check_name(name)?;
        let recovery = recovery_key(&entropy);
        let account = random(rng);
        let account_pub = SigningKey::from_bytes(account.expose()).verifying_key().to_bytes();
        let row = KeyRow {
            rotation: Rotation::issue(&recovery, 0, account_pub),
            account,
            device: random(rng),
            device_box: random(rng),
            transport: random(rng),
            relay: random(rng),
            inbox: random(rng),
            since_ms: now.wall_ms,
        };
        tx.put(KEYS, rows::encode(&row));
        let me = Self::from_row(&row);
        me.put_profile(tx, 1, name, String::new());
        Ok(me)
    }

    /// Makes a further device of the account of another store.
    #[cfg(feature = "mutants")]
    pub(crate) fn create_further(
        tx: &mut Tx<'_>,
        first: &dyn Read,
        rng: &mut ChaCha20Rng,
        now: Now,
    ) -> Result<Self, StoreError> {
        let known: KeyRow =
            rows::get(first, KEYS)?.ok_or_else(|| StoreError::Corrupt("there is no account".into()))?;
        let (_, profile) = own_profile(first)?;
        let row = KeyRow {
            device: random(rng),
            device_box: random(rng),
            transport: random(rng),
            relay: random(rng),
            inbox: random(rng),
            since_ms: now.wall_ms,
            ..known
        };
        tx.put(KEYS, rows::encode(&row));
        let me = Self::from_row(&row);
        me.put_profile(tx, profile.revision, profile.name, profile.about);
        Ok(me)
    }

    /// Loads the account of a store, if it holds one.
    pub(crate) fn load(r: &dyn Read) -> Result<Option<Self>, StoreError> {
        Ok(rows::get::<KeyRow>(r, KEYS)?.map(|row| Self::from_row(&row)))
    }

    fn from_row(row: &KeyRow) -> Self {
        let account_key = SigningKey::from_bytes(row.account.expose());
        let device_key = SigningKey::from_bytes(row.device.expose());
        let box_secret = StaticSecret::from(*row.device_box.expose());
        let device = DeviceId(device_key.verifying_key().to_bytes());
        let box_pub = PublicKey::from(&box_secret).to_bytes();
        Self {
            account: row.rotation.account(),
            credential: Credential::issue(&row.rotation, &account_key, device, box_pub).to_bytes(),
            rotation: row.rotation.clone(),
            account_key,
            device_key,
            box_secret,
            transport: row.transport.clone(),
            relay: row.relay.clone(),
            inbox: TopicKeys::derive(&row.inbox, Mode::Inbox),
        }
    }

    pub(crate) fn account(&self) -> AccountId {
        self.account
    }
    pub(crate) fn device(&self) -> DeviceId {
        DeviceId(self.device_key.verifying_key().to_bytes())
    }
    /// A_g.
    pub(crate) fn account_key(&self) -> &SigningKey {
        &self.account_key
    }
    /// Signs events, marks, cards, contact objects.
    pub(crate) fn device_key(&self) -> &SigningKey {
        &self.device_key
    }
    pub(crate) fn box_pub(&self) -> [u8; 32] {
        PublicKey::from(&self.box_secret).to_bytes()
    }
    pub(crate) fn rotation(&self) -> &Rotation {
        &self.rotation
    }
    pub(crate) fn credential(&self) -> &[u8] {
        &self.credential
    }
    /// Seed of the transport key that contacts know.
    pub(crate) fn transport_seed(&self) -> Secret {
        self.transport.clone()
    }
    /// The transport key that contacts know.
    pub(crate) fn transport_key(&self) -> PeerKey {
        PeerKey(SigningKey::from_bytes(self.transport.expose()).verifying_key().to_bytes())
    }
    /// Seed of the throw-away transport keys towards relays.
    pub(crate) fn relay_seed(&self) -> Secret {
        self.relay.clone()
    }
    /// The keys of the own inbox.
    pub(crate) fn inbox_topic(&self) -> TopicKeys {
        self.inbox.clone()
    }
    /// What the group engine works with.
    pub(crate) fn device_keys(&self) -> DeviceKeys {
        DeviceKeys {
            signing: self.device_key.clone(),
            box_secret: self.box_secret.clone(),
            credential: self.credential.clone(),
            account: self.account,
        }
    }

    fn put_profile(&self, tx: &mut Tx<'_>, revision: u64, name: String, about: String) {
        let profile = Profile::new(self.account, self.rotation.generation, revision, name, about);
        tx.put(PROFILE, signed::sign(&profile, &self.account_key, &[]).to_bytes());
    }

    /// Signs and stores a new profile. `false` if nothing is different.
    pub(crate) fn set_profile(
        &self,
        tx: &mut Tx<'_>,
        name: &str,
        about: &str,
    ) -> Result<bool, IdentityError> {
        let name = check_name(name)?;
        if about.len() > ABOUT_BYTES_MAX {
            return Err(IdentityError::AboutTooLong);
        }
        let about = text::clean_text(about, ABOUT_BYTES_MAX);
        let (_, old) = own_profile(tx)?;
        if old.name == name && old.about == about {
            return Ok(false);
        }
        self.put_profile(tx, old.revision.saturating_add(1), name, about);
        Ok(true)
    }
}

fn check_name(name: &str) -> Result<String, IdentityError> {
    if name.trim().len() > NAME_BYTES_MAX {
        return Err(IdentityError::NameTooLong);
    }
    let name = text::clean_name(name);
    if name.is_empty() { Err(IdentityError::NameEmpty) } else { Ok(name) }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(format!("{what} is missing or does not decode"))
}

/// Own profile: as signed, and as data.
pub(crate) fn own_profile(r: &dyn Read) -> Result<(Vec<u8>, Profile), StoreError> {
    let bytes = r.get(PROFILE)?.ok_or_else(|| damaged("the own profile"))?;
    let profile = signed::Raw::from_bytes(&bytes).and_then(|raw| raw.body::<Profile>());
    Ok((bytes, profile.map_err(|_| damaged("the own profile"))?))
}

/// The own account, without deriving any key.
pub(crate) fn own_account(r: &dyn Read) -> Result<Option<AccountId>, StoreError> {
    Ok(rows::get::<KeyRow>(r, KEYS)?.map(|row| row.rotation.account()))
}

/// Account, device and time of creation, without deriving any key.
pub(crate) fn own_ids(r: &dyn Read) -> Result<Option<(AccountId, DeviceId, u64)>, StoreError> {
    Ok(rows::get::<KeyRow>(r, KEYS)?.map(|row| {
        let device = SigningKey::from_bytes(row.device.expose()).verifying_key().to_bytes();
        (row.rotation.account(), DeviceId(device), row.since_ms)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kith_store::{MemoryStore, Overlay, Store as _};
    use kith_wire::signed::Raw;
    use rand_core::SeedableRng as _;

    fn now() -> Now {
        Now { wall_ms: 1_790_000_000_000, mono_ms: 5 }
    }

    #[test]
    fn an_account_survives_its_store() {
        let (store, none) = (MemoryStore::default(), Overlay::default());
        assert!(Identity::load(&store).unwrap().is_none());
        let mut tx = Tx::new(&store, &none);
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let made = Identity::create(&mut tx, [7; 32], " Åsa  L ", &mut rng, now()).unwrap();
        store.write(&tx.finish()).unwrap();
        let loaded = Identity::load(&store).unwrap().unwrap();
        assert_eq!(loaded.account(), made.account());
        assert_eq!(loaded.device(), made.device());
        assert_eq!(loaded.credential(), made.credential());
        assert_eq!(loaded.inbox_topic().id(), made.inbox_topic().id());
        assert_eq!(loaded.transport_key(), made.transport_key());
        let who = Credential::verify_bytes(loaded.credential()).unwrap();
        assert_eq!((who.account, who.device), (made.account(), made.device()));
        assert_eq!(own_ids(&store).unwrap().unwrap().0, made.account());
        let (bytes, profile) = own_profile(&store).unwrap();
        assert_eq!((profile.name.as_str(), profile.revision), ("Åsa L", 1));
        assert!(who.read_by_account::<Profile>(&Raw::from_bytes(&bytes).unwrap()).is_ok());
        // The account follows from the words alone.
        assert_eq!(
            made.account(),
            AccountId::of_recovery_key(&recovery_key(&[7; 32]).verifying_key().to_bytes())
        );
    }

    #[test]
    fn names_are_checked_and_profiles_count_up() {
        let (store, none) = (MemoryStore::default(), Overlay::default());
        let mut tx = Tx::new(&store, &none);
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        for (name, what) in [("", "empty"), (" \u{200B}", "invisible"), (&"x".repeat(129), "long")] {
            assert!(Identity::create(&mut tx, [7; 32], name, &mut rng, now()).is_err(), "{what}");
        }
        let me = Identity::create(&mut tx, [7; 32], "A", &mut rng, now()).unwrap();
        assert!(!me.set_profile(&mut tx, "A", "").unwrap());
        assert!(me.set_profile(&mut tx, "B", "hello").unwrap());
        assert!(me.set_profile(&mut tx, "B", &"x".repeat(1025)).is_err());
        assert_eq!(own_profile(&tx).unwrap().1.revision, 2);
    }
}
