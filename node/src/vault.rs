//! The vault in a data folder: `vault/header` holds the wrapped master key,
//! `vault/db` the sealed rows. Both come into being together, by one rename.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use kith_core::api::Refusal;
use kith_core::identity;
use kith_core::node::{self, Node};
use kith_store::{
    Argon2Params, RocksOptions, RocksStore, Sealed, Store, StoreError, VaultError, VaultHeader, calibrate,
    check_passphrase, open_schema,
};
use kith_wire::crypto::{self, Secret};
use kith_wire::labels;
use zeroize::Zeroizing;

use crate::data::DataDir;
use crate::driver::{open_refusal, sentence};
use crate::system;

/// What one key derivation should take on this machine.
const DERIVATION_MS: f64 = 500.0;
/// Words that must be repeated.
const REPEATED: usize = 3;

/// A disk error as an answer to a person.
pub(crate) fn store_refusal(error: &StoreError) -> Refusal {
    let code = match error {
        StoreError::Full(_) => "disk_full",
        StoreError::Corrupt(_) | StoreError::Foreign(_) => "damaged",
        StoreError::Newer { .. } => "newer",
        StoreError::InUse(_) => "in_use",
        StoreError::Io(_) | StoreError::Permission(_) => "disk",
    };
    Refusal::new(code, sentence(error))
}

fn vault_refusal(error: &VaultError) -> Refusal {
    let code = match error {
        VaultError::WrongPassphrase => "wrong_passphrase",
        VaultError::WrongWords => "wrong_words",
        VaultError::Newer { .. } => "newer",
        VaultError::Damaged(_) | VaultError::Params => "damaged",
        VaultError::PassphraseTooShort | VaultError::PassphraseTooLong => "weak_passphrase",
        VaultError::Memory(_) => "no_memory",
        VaultError::Store(error) => return store_refusal(error),
    };
    Refusal::new(code, sentence(error))
}

fn io_refusal(path: &Path, error: &std::io::Error) -> Refusal {
    let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    let text = format!("The data folder could not be written ({}: {error}).", path.display());
    if full {
        return Refusal::new("disk_full", format!("{text} Free some space, then try again."));
    }
    Refusal::new("disk", format!("{text} Check its permissions and the disk, then try again."))
}

fn header_path(vault: &Path) -> PathBuf {
    vault.join("header")
}
fn db_path(vault: &Path) -> PathBuf {
    vault.join("db")
}

/// Key that proves browser sessions, from the master key.
pub(crate) fn session_key(master: &Secret) -> Secret {
    crypto::derive(master, labels::VAULT_SESSION, b"")
}

/// Whether an account is here. A folder that has lost its vault file is
/// damaged, not fresh.
pub(crate) fn exists(data: &DataDir) -> Result<bool, Refusal> {
    let vault = data.vault();
    if !vault.exists() {
        return Ok(false);
    }
    read_header(data).map(|_| true)
}

fn read_header(data: &DataDir) -> Result<VaultHeader, Refusal> {
    let vault = data.vault();
    let missing = || {
        Refusal::new(
            "damaged",
            format!(
                "The data folder {} is damaged: its vault file is missing. Put it back from a copy.",
                data.path().display()
            ),
        )
    };
    VaultHeader::read(&header_path(&vault)).map_err(|e| vault_refusal(&e))?.ok_or_else(missing)
}

fn cost() -> Argon2Params {
    calibrate(DERIVATION_MS, |params| {
        let start = Instant::now();
        // Too little memory: as if it took for ever, so that less is chosen.
        match params.exercise() {
            Ok(()) => start.elapsed().as_secs_f64() * 1000.0,
            Err(_) => f64::MAX,
        }
    })
}

/// The master key, by the passphrase.
pub(crate) fn unlock(data: &DataDir, passphrase: &str) -> Result<Secret, Refusal> {
    read_header(data)?.unlock(passphrase).map_err(|e| vault_refusal(&e))
}

/// Changes the passphrase.
pub(crate) fn change_passphrase(data: &DataDir, old: &str, new: &str) -> Result<(), Refusal> {
    check_passphrase(new).map_err(|e| vault_refusal(&e))?;
    let header = read_header(data)?;
    let master = header.unlock(old).map_err(|e| vault_refusal(&e))?;
    rewrap(data, &header, &master, new)
}

/// The master key, by the words; and a new passphrase.
pub(crate) fn recover(data: &DataDir, words: &str, passphrase: &str) -> Result<Secret, Refusal> {
    check_passphrase(passphrase).map_err(|e| vault_refusal(&e))?;
    let header = read_header(data)?;
    let key = identity::phrase_vault_key(words).map_err(|e| Refusal::new("words_mistyped", sentence(&e)))?;
    let master = header.recover(&key).map_err(|e| vault_refusal(&e))?;
    rewrap(data, &header, &master, passphrase)?;
    Ok(master)
}

fn rewrap(data: &DataDir, header: &VaultHeader, master: &Secret, passphrase: &str) -> Result<(), Refusal> {
    let header =
        header.rewrap(master, passphrase, cost(), system::random()?).map_err(|e| vault_refusal(&e))?;
    header.write(&header_path(&data.vault())).map_err(|e| vault_refusal(&e))
}

/// Opens the sealed rows.
pub(crate) fn open_store(vault: &Path, master: &Secret) -> Result<Arc<dyn Store>, Refusal> {
    let failed = |e: StoreError| store_refusal(&e);
    let rocks = RocksStore::open(&db_path(vault), RocksOptions::default()).map_err(failed)?;
    let sealed = Sealed::open(rocks, master, system::random()?).map_err(failed)?;
    let mut copy = |version: u32| sealed.inner().checkpoint(&vault.join(format!("db.version-{version}")));
    open_schema(&sealed, &mut copy).map_err(failed)?;
    Ok(Arc::new(sealed))
}

/// An account that is not written yet: it becomes real when its person has
/// shown to have the words.
pub(crate) struct Pending {
    name: String,
    passphrase: Zeroizing<String>,
    entropy: Zeroizing<[u8; 32]>,
    words: Vec<Zeroizing<String>>,
    asked: Vec<u32>,
}

impl Pending {
    /// Draws a new account's words.
    pub(crate) fn new(name: &str, passphrase: Zeroizing<String>) -> Result<Self, Refusal> {
        let name = name.trim();
        if name.is_empty() {
            return Err(Refusal::new("name_empty", "Enter a name: others see it when you write to them."));
        }
        check_passphrase(&passphrase).map_err(|e| vault_refusal(&e))?;
        let entropy: Zeroizing<[u8; 32]> = Zeroizing::new(system::random()?);
        let words = identity::words(&entropy);
        let asked = identity::challenge(system::random()?);
        Ok(Self { name: name.to_owned(), passphrase, entropy, words, asked: asked.to_vec() })
    }
    /// The 24 words.
    pub(crate) fn words(&self) -> Vec<String> {
        self.words.iter().map(|word| word.to_string()).collect()
    }
    /// Which words must be repeated, from 0.
    pub(crate) fn asked(&self) -> &[u32] {
        &self.asked
    }
    /// Whether these are the words asked for.
    pub(crate) fn check(&self, answers: &[(u32, Zeroizing<String>)]) -> Result<(), Refusal> {
        let right = |index: &u32| {
            let word = usize::try_from(*index).ok().and_then(|i| self.words.get(i));
            let answer = answers.iter().find(|(i, _)| i == index);
            matches!((word, answer), (Some(word), Some((_, answer)))
                if answer.trim().to_lowercase() == word.as_str())
        };
        if answers.len() == REPEATED && self.asked.iter().all(right) {
            return Ok(());
        }
        Err(Refusal::new("wrong_words", "These are not the words asked for. Look at your list again."))
    }
    /// Writes the account: all of it or nothing. Answers the master key.
    pub(crate) fn write(&self, data: &DataDir) -> Result<Secret, Refusal> {
        let (building, vault) = (data.new_vault(), data.vault());
        let result = self.build(&building).and_then(|master| {
            let settle = || -> std::io::Result<()> {
                File::open(&building)?.sync_all()?;
                fs::rename(&building, &vault)?;
                File::open(data.path())?.sync_all()
            };
            settle().map_err(|e| io_refusal(&vault, &e))?;
            Ok(master)
        });
        if result.is_err() {
            // What is left is cleared away at the next start anyway.
            let _left = fs::remove_dir_all(&building);
        }
        result
    }

    fn build(&self, folder: &Path) -> Result<Secret, Refusal> {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(|e| io_refusal(folder, &e))?;
        }
        DirBuilder::new().mode(0o700).create(folder).map_err(|e| io_refusal(folder, &e))?;
        let master = Secret::new(system::random()?);
        let key = identity::phrase_vault_key_of(&self.entropy);
        let header = VaultHeader::create(&master, &self.passphrase, &key, cost(), system::random()?)
            .map_err(|e| vault_refusal(&e))?;
        header.write(&header_path(folder)).map_err(|e| vault_refusal(&e))?;
        let store = open_store(folder, &master)?;
        let config = node::Config::default();
        Node::create(store, *self.entropy, &self.name, config, system::random()?, system::now())
            .map_err(|e| open_refusal(&e))?;
        Ok(master)
    }
}
