//! The vault file: the master key, wrapped by the passphrase and by the words.
//!
//! Owns the file's format: CBOR `[body: bstr, SHA-256 of the body]`, body a
//! canonical map with kind and version. The checksum tells a damaged file from
//! a wrong passphrase. Changing the passphrase rewraps and touches no row.
//! Takes randomness as an argument and keeps no secret.

use std::io::Read as _;
use std::path::Path;

use kith_wire::cbor;
use kith_wire::crypto::{self, Secret};
use kith_wire::labels;
use minicbor::{Decode, Encode};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::argon::Argon2Params;
use crate::file::{io_error, write_atomic};
use crate::{SCHEMA, StoreError};

/// Characters that a passphrase has at least.
pub const PASSPHRASE_CHARS_MIN: usize = 8;
/// Bytes (UTF-8) that a passphrase has at most.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;
/// A vault file that is longer is none.
const FILE_BYTES_MAX: u64 = 4096;
/// The object's kind number.
const KIND: u16 = 200;
/// The version written, and the highest one read.
const VERSION: u16 = 1;
const FIELDS: &[u64] = &[0, 1, 2, 3, 4, 5];
/// NFC makes no text longer than three times its UTF-8 bytes (Unicode FAQ, "Normalization").
const NFC_GROWTH_MAX: usize = 3;

/// Why a vault could not be made, read or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The passphrase does not open it.
    #[error("the passphrase is wrong: try again, or recover with the 24 words")]
    WrongPassphrase,
    /// The words do not open it.
    #[error("these words belong to another account: check them against the paper")]
    WrongWords,
    /// The file is not what was written.
    #[error(
        "the vault file is damaged ({0}): restore it from a copy, or recover with the 24 words into an empty folder"
    )]
    Damaged(String),
    /// A newer Kith wrote it.
    #[error("the vault has version {found}; this Kith reads up to {known}. Install a newer Kith")]
    Newer {
        /// Version in the file.
        found: u32,
        /// Highest version known here.
        known: u32,
    },
    /// Fewer characters than [`PASSPHRASE_CHARS_MIN`].
    #[error("the passphrase is too short: choose at least {PASSPHRASE_CHARS_MIN} characters")]
    PassphraseTooShort,
    /// More bytes than [`PASSPHRASE_BYTES_MAX`].
    #[error("the passphrase is too long: choose at most {PASSPHRASE_BYTES_MAX} bytes")]
    PassphraseTooLong,
    /// Cost parameters outside of what is allowed.
    #[error("the cost of the passphrase lies outside of what Kith allows (19 to 256 MiB, 2 to 32 passes)")]
    Params,
    /// The machine has not enough memory for the derivation.
    #[error(
        "not enough memory to check the passphrase: {0} MiB are needed. Close other programs, then try again"
    )]
    Memory(u32),
    /// The file could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The content of a vault file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct VaultHeader {
    #[n(0)]
    kind: u16,
    #[n(1)]
    version: u16,
    #[cbor(n(2), with = "minicbor::bytes")]
    id: [u8; 16],
    #[n(3)]
    schema: u32,
    #[n(4)]
    passphrase: PassphraseWrap,
    #[n(5)]
    phrase: PhraseWrap,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct PassphraseWrap {
    #[n(0)]
    params: Argon2Params,
    #[cbor(n(1), with = "minicbor::bytes")]
    salt: [u8; 16],
    #[cbor(n(2), with = "minicbor::bytes")]
    nonce: [u8; 24],
    #[cbor(n(3), with = "minicbor::bytes")]
    sealed: [u8; 48],
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct PhraseWrap {
    #[cbor(n(0), with = "minicbor::bytes")]
    nonce: [u8; 24],
    #[cbor(n(1), with = "minicbor::bytes")]
    sealed: [u8; 48],
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Checked {
    #[cbor(n(0), with = "minicbor::bytes")]
    body: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    sha256: [u8; 32],
}

impl VaultHeader {
    /// Wraps a new master key. `phrase_key` is the vault recovery key of the
    /// words (`kith/phrase/vault/v1`), `seed` fresh from the operating system.
    pub fn create(
        master: &Secret,
        passphrase: &str,
        phrase_key: &Secret,
        params: Argon2Params,
        seed: [u8; 32],
    ) -> Result<Self, VaultError> {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        let mut nonce = [0; 24];
        rng.fill_bytes(&mut nonce);
        let sealed = wrap(phrase_key, &nonce, &phrase_ad(&id), master)?;
        let phrase = PhraseWrap { nonce, sealed };
        let passphrase = PassphraseWrap::new(master, passphrase, params, &mut rng)?;
        Ok(Self { kind: KIND, version: VERSION, id, schema: SCHEMA, passphrase, phrase })
    }
    /// The master key, by the passphrase. Takes the time and memory of
    /// [`VaultHeader::params`].
    pub fn unlock(&self, passphrase: &str) -> Result<Secret, VaultError> {
        let wrap = &self.passphrase;
        let kek = wrap.params.derive(&normal(passphrase)?, &wrap.salt)?;
        unwrap(&kek, &wrap.nonce, &passphrase_ad(wrap.params), &wrap.sealed)
            .ok_or(VaultError::WrongPassphrase)
    }
    /// The master key, by the words' vault recovery key.
    pub fn recover(&self, phrase_key: &Secret) -> Result<Secret, VaultError> {
        unwrap(phrase_key, &self.phrase.nonce, &phrase_ad(&self.id), &self.phrase.sealed)
            .ok_or(VaultError::WrongWords)
    }
    /// Wraps the master key, as [`VaultHeader::unlock`] or
    /// [`VaultHeader::recover`] gave it, under a new passphrase. The caller
    /// writes the file; until then the old passphrase counts.
    pub fn rewrap(
        &self,
        master: &Secret,
        passphrase: &str,
        params: Argon2Params,
        seed: [u8; 32],
    ) -> Result<Self, VaultError> {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let passphrase = PassphraseWrap::new(master, passphrase, params, &mut rng)?;
        Ok(Self { passphrase, ..self.clone() })
    }
    /// The vault's random id.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.id
    }
    /// Cost of the passphrase.
    #[must_use]
    pub fn params(&self) -> Argon2Params {
        self.passphrase.params
    }
    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = cbor::encode(self);
        let sha256 = Sha256::digest(&body).into();
        cbor::encode(&Checked { body, sha256 })
    }
    /// Reads a file's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VaultError> {
        let damaged = |e: cbor::WireError| VaultError::Damaged(e.to_string());
        let checked: Checked = cbor::decode(bytes, &[]).map_err(damaged)?;
        if Sha256::digest(&checked.body)[..] != checked.sha256 {
            return Err(VaultError::Damaged("its checksum does not fit".into()));
        }
        // Kind and version first: a newer file may have fields unknown here.
        let (kind, version) = head(&checked.body).map_err(|e| VaultError::Damaged(e.to_string()))?;
        if kind != KIND || version == 0 {
            return Err(VaultError::Damaged("it is no vault file".into()));
        }
        if version > VERSION {
            return Err(VaultError::Newer { found: version.into(), known: VERSION.into() });
        }
        let header: Self = cbor::decode(&checked.body, FIELDS).map_err(damaged)?;
        if header.schema > SCHEMA {
            return Err(VaultError::Newer { found: header.schema, known: SCHEMA });
        }
        Ok(header)
    }
    /// Reads a vault file; `None` where there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, VaultError> {
        let file = match std::fs::File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(path, &error).into()),
            Ok(file) => file,
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| io_error(path, &e))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(VaultError::Damaged("it is too long".into()));
        }
        Self::from_bytes(&bytes).map(Some)
    }
    /// Writes the vault file, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), VaultError> {
        Ok(write_atomic(path, &self.to_bytes())?)
    }
}

impl PassphraseWrap {
    fn new(
        master: &Secret,
        passphrase: &str,
        params: Argon2Params,
        rng: &mut ChaCha20Rng,
    ) -> Result<Self, VaultError> {
        check_passphrase(passphrase)?;
        let (mut salt, mut nonce) = ([0; 16], [0; 24]);
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut nonce);
        let kek = params.derive(&normal(passphrase)?, &salt)?;
        let sealed = wrap(&kek, &nonce, &passphrase_ad(params), master)?;
        Ok(Self { params, salt, nonce, sealed })
    }
}

/// Whether a passphrase may be chosen: at least [`PASSPHRASE_CHARS_MIN`]
/// characters, at most [`PASSPHRASE_BYTES_MAX`] bytes.
pub fn check_passphrase(passphrase: &str) -> Result<(), VaultError> {
    if normal(passphrase)?.chars().count() < PASSPHRASE_CHARS_MIN {
        return Err(VaultError::PassphraseTooShort);
    }
    Ok(())
}

/// One form for one text: keyboards differ in how they compose characters.
fn normal(passphrase: &str) -> Result<Zeroizing<String>, VaultError> {
    if passphrase.len() > PASSPHRASE_BYTES_MAX {
        return Err(VaultError::PassphraseTooLong);
    }
    // Room for all of it at once, so that no copy is left behind by growth.
    let mut out = Zeroizing::new(String::with_capacity(passphrase.len() * NFC_GROWTH_MAX));
    out.extend(passphrase.nfc());
    Ok(out)
}

fn head(body: &[u8]) -> Result<(u16, u16), minicbor::decode::Error> {
    let mut d = minicbor::Decoder::new(body);
    d.map()?;
    let mut field = |expected: u8| match d.u8()? {
        key if key == expected => d.u16(),
        _ => Err(minicbor::decode::Error::message("it starts with neither kind nor version")),
    };
    Ok((field(0)?, field(1)?))
}

fn passphrase_ad(params: Argon2Params) -> Vec<u8> {
    [labels::AD_WRAP.as_bytes(), &[0], &cbor::encode(&params)].concat()
}

fn phrase_ad(id: &[u8; 16]) -> Vec<u8> {
    [labels::AD_WRAP_PHRASE.as_bytes(), &[0], id].concat()
}

fn wrap(key: &Secret, nonce: &[u8; 24], ad: &[u8], master: &Secret) -> Result<[u8; 48], VaultError> {
    crypto::seal(key, nonce, ad, master.expose())
        .try_into()
        .map_err(|_| VaultError::Damaged("the master key could not be sealed".into()))
}

fn unwrap(key: &Secret, nonce: &[u8; 24], ad: &[u8], sealed: &[u8]) -> Option<Secret> {
    let master = Zeroizing::new(crypto::open(key, nonce, ad, sealed).ok()?);
    Secret::from_slice(&master)
}
