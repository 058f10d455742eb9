//! Sealing: a store whose names are hashed and whose values are encrypted
//! under the vault's master key, on top of any backend.
//!
//! Owns the form of a sealed row (docs/protocol.md, "vault master key M"):
//! name = HMAC-SHA-256(rowkey key, table number ‖ name) cut to 16 bytes;
//! order in the clear; value = nonce 24 ‖ XChaCha20-Poly1305, associated
//! data = table label ‖ 0 ‖ row key. Rows of shreddable tables are sealed
//! under a random key per name, itself a sealed row of `Table::ShredKeys`;
//! shredding deletes that row. `Table::Meta` stays in the clear.
//!
//! Nonces are 192-bit random numbers from a ChaCha20 stream whose seed the
//! caller draws from the operating system at each opening. A seed that is used
//! twice with one master key breaks the seal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use kith_wire::crypto::{self, Secret};
use kith_wire::labels;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::cache::{Cache, Look};
use crate::{Backend, Key, Overlay, Range, RawRead, Read, Row, Store, StoreError, Table, layout};

/// Keys of shreddable rows held in memory; the least recently used one goes.
const SHRED_KEYS_CACHED_MAX: usize = 1024;
/// Bytes of a sealed name.
const NAME_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const CHECK_ROW: Key<'static> = Key { table: Table::Meta, name: b"vault-check", order: b"" };
const CHECK_TEXT: &[u8] = b"kith/vault/check/v1";

/// Leaves names and values in the clear once set, as the positive control of
/// the search for readable data. Never in a product build; set before the first
/// store is opened.
#[cfg(feature = "test-unsealed")]
pub static UNSEALED: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

fn unsealed() -> bool {
    #[cfg(feature = "test-unsealed")]
    return UNSEALED.load(core::sync::atomic::Ordering::Relaxed);
    #[cfg(not(feature = "test-unsealed"))]
    false
}

/// A store sealed under a master key.
pub struct Sealed<S> {
    inner: S,
    row_key: Secret,
    names: Hmac<Sha256>,
    /// Held for the whole of a write: writes come one after another.
    writer: Mutex<ChaCha20Rng>,
    shred_keys: Mutex<ShredKeys>,
    /// Opened rows of tables that are not shreddable.
    opened: Mutex<Cache>,
}

impl<S> core::fmt::Debug for Sealed<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sealed(..)")
    }
}

impl<S: Backend> Sealed<S> {
    /// Opens a backend's rows with the master key. `seed` must be fresh from
    /// the operating system each time (simulators: never the same twice for
    /// one master key).
    ///
    /// # Errors
    /// `Corrupt` if the rows were sealed under another master key.
    pub fn open(inner: S, master: &Secret, seed: [u8; 32]) -> Result<Self, StoreError> {
        let sealed = Self {
            inner,
            row_key: crypto::derive(master, labels::VAULT_ROW, b""),
            names: keyed(&crypto::derive(master, labels::VAULT_ROWKEY, b"")),
            writer: Mutex::new(ChaCha20Rng::from_seed(seed)),
            shred_keys: Mutex::default(),
            opened: Mutex::default(),
        };
        sealed.check_vault()?;
        Ok(sealed)
    }
    /// The backend below, for its maintenance.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn check_vault(&self) -> Result<(), StoreError> {
        let ad = associated_data(Table::Meta, &layout::row_key(CHECK_ROW));
        match self.inner.get(CHECK_ROW)? {
            Some(value) => match open_value(&self.row_key, &ad, &value) {
                Some(text) if text == CHECK_TEXT => Ok(()),
                _ => Err(StoreError::Corrupt(
                    "its rows do not open with this vault file; put back the vault file that belongs to it"
                        .into(),
                )),
            },
            None => {
                let mut first = Overlay::default();
                let value = seal_value(&self.row_key, &mut lock(&self.writer), &ad, CHECK_TEXT);
                first.put(CHECK_ROW, value);
                self.inner.write(&first)
            }
        }
    }

    fn name(&self, table: Table, name: &[u8]) -> Vec<u8> {
        if unsealed() || table == Table::Meta {
            return name.to_vec();
        }
        let mut mac = self.names.clone();
        mac.update(&[table as u8]);
        mac.update(name);
        let mut out = mac.finalize().into_bytes().to_vec();
        out.truncate(NAME_BYTES);
        out
    }

    fn view(&self) -> View<'_, S> {
        // The generation is read before the snapshot is taken: a key found in
        // the snapshot is cached only if nothing was shredded since.
        let generation = lock(&self.shred_keys).generation;
        View { sealed: self, rows: self.inner.raw_snapshot(), generation }
    }

    fn open_row(&self, table: Table, row_key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        if in_clear(table) {
            return Ok(value.to_vec());
        }
        open_value(&self.row_key, &associated_data(table, row_key), value).ok_or_else(|| unreadable(table))
    }

    /// The key for rows under a sealed name, for the writer: the caller holds
    /// `writer`, so neither cache nor store moves meanwhile.
    fn shred_key(&self, name: &[u8]) -> Result<Option<Secret>, StoreError> {
        if let Some(key) = lock(&self.shred_keys).get(name) {
            return Ok(Some(key));
        }
        self.stored_shred_key(name, &self.inner)
    }

    fn stored_shred_key(
        &self,
        name: &[u8],
        rows: &(impl Read + ?Sized),
    ) -> Result<Option<Secret>, StoreError> {
        let place = Key::of(Table::ShredKeys, name);
        let Some(value) = rows.get(place)? else { return Ok(None) };
        let key = self.open_row(Table::ShredKeys, &layout::row_key(place), &value)?;
        Secret::from_slice(&key).map(Some).ok_or_else(|| unreadable(Table::ShredKeys))
    }

    /// Seals the changes of one write. Answers them with the shred keys that
    /// they use for the first time.
    fn seal(&self, changes: &Overlay, rng: &mut ChaCha20Rng) -> Result<Prepared, StoreError> {
        let mut out = Prepared::default();
        for (table, name) in changes.shredded() {
            let name = self.name(*table, name);
            out.rows.shred(*table, &name);
            if table.shreddable() && !unsealed() {
                out.rows.delete(Key::of(Table::ShredKeys, &name));
                out.destroyed.insert(name);
            }
        }
        for (key, value) in changes.changes() {
            let name = self.name(key.table, key.name);
            let place = Key::at(key.table, &name, key.order);
            let Some(value) = value else {
                out.rows.delete(place);
                continue;
            };
            let value = if in_clear(key.table) {
                value.to_vec()
            } else {
                let row_key = layout::row_key(place);
                let ad = associated_data(key.table, &row_key);
                if key.table.shreddable() {
                    let secret = self.shred_key_for(&name, &mut out, rng)?;
                    seal_value(&secret, rng, &ad, value)
                } else {
                    seal_value(&self.row_key, rng, &ad, value)
                }
            };
            out.rows.put(place, value);
        }
        Ok(out)
    }

    fn shred_key_for(
        &self,
        name: &[u8],
        out: &mut Prepared,
        rng: &mut ChaCha20Rng,
    ) -> Result<Secret, StoreError> {
        if let Some(secret) = out.used.get(name) {
            return Ok(secret.clone());
        }
        let stored = if out.destroyed.contains(name) { None } else { self.shred_key(name)? };
        let secret = if let Some(secret) = stored {
            secret
        } else {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            let secret = Secret::new(bytes);
            let place = Key::of(Table::ShredKeys, name);
            let ad = associated_data(Table::ShredKeys, &layout::row_key(place));
            out.rows.put(place, seal_value(&self.row_key, rng, &ad, secret.expose()));
            secret
        };
        out.used.insert(name.to_vec(), secret.clone());
        Ok(secret)
    }
}

#[derive(Default)]
struct Prepared {
    rows: Overlay,
    /// Sealed names whose shred key goes.
    destroyed: BTreeSet<Vec<u8>>,
    /// Shred keys under which rows of this write are sealed.
    used: BTreeMap<Vec<u8>, Secret>,
}

impl<S: Backend> Store for Sealed<S> {
    fn write(&self, changes: &Overlay) -> Result<(), StoreError> {
        let mut rng = lock(&self.writer);
        let prepared = self.seal(changes, &mut rng)?;
        // Before and after: a reader may put a key back that it still saw.
        lock(&self.shred_keys).forget(&prepared.destroyed);
        lock(&self.opened).begin(changes);
        self.inner.write(&prepared.rows)?;
        lock(&self.opened).end(changes);
        let mut cache = lock(&self.shred_keys);
        cache.forget(&prepared.destroyed);
        for (name, secret) in prepared.used {
            cache.put(name, secret);
        }
        Ok(())
    }
    fn snapshot(&self) -> Box<dyn Read + Send + '_> {
        Box::new(self.view())
    }
}

impl<S: Backend> Read for Sealed<S> {
    fn get(&self, key: Key<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        if key.table.shreddable() {
            // Row and row key must be of one moment.
            return self.view().get(key);
        }
        let writes = match lock(&self.opened).look(key) {
            Look::Known(value) => return Ok(value),
            Look::Unknown(writes) => writes,
        };
        let name = self.name(key.table, key.name);
        let place = Key::at(key.table, &name, key.order);
        let value = self
            .inner
            .get(place)?
            .map(|value| self.open_row(key.table, &layout::row_key(place), &value))
            .transpose()?;
        lock(&self.opened).learnt(writes, key, value.as_deref());
        Ok(value)
    }
    fn scan(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        if range.table.shreddable() {
            return self.view().scan(range);
        }
        let name = self.name(range.table, range.name);
        let rows = self.inner.scan(Range { name: &name, ..range })?;
        open_rows(range.table, &name, rows, |row_key, value| self.open_row(range.table, row_key, value))
    }
    fn scan_table(&self, table: Table) -> Result<Vec<Vec<u8>>, StoreError> {
        self.view().scan_table(table)
    }
}

/// A sealed store at one moment.
struct View<'a, S> {
    sealed: &'a Sealed<S>,
    rows: Box<dyn RawRead + Send + 'a>,
    generation: u64,
}

impl<S: Backend> View<'_, S> {
    fn open(&self, table: Table, row_key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        if !table.shreddable() || unsealed() {
            return self.sealed.open_row(table, row_key, value);
        }
        let (name, _) = layout::split(row_key).ok_or_else(|| unreadable(table))?;
        let ad = associated_data(table, row_key);
        let cached = lock(&self.sealed.shred_keys).get(name);
        if let Some(opened) = cached.and_then(|key| open_value(&key, &ad, value)) {
            return Ok(opened);
        }
        // Not cached, or the cached key is older or newer than this view.
        let stored = self.sealed.stored_shred_key(name, &*self.rows)?;
        let key = stored.ok_or_else(|| unreadable(table))?;
        let opened = open_value(&key, &ad, value).ok_or_else(|| unreadable(table))?;
        let mut cache = lock(&self.sealed.shred_keys);
        if cache.generation == self.generation {
            cache.put(name.to_vec(), key);
        }
        Ok(opened)
    }
}

impl<S: Backend> Read for View<'_, S> {
    fn get(&self, key: Key<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        let name = self.sealed.name(key.table, key.name);
        let place = Key::at(key.table, &name, key.order);
        self.rows.get(place)?.map(|value| self.open(key.table, &layout::row_key(place), &value)).transpose()
    }
    fn scan(&self, range: Range<'_>) -> Result<Vec<Row>, StoreError> {
        let name = self.sealed.name(range.table, range.name);
        let rows = self.rows.scan(Range { name: &name, ..range })?;
        open_rows(range.table, &name, rows, |row_key, value| self.open(range.table, row_key, value))
    }
    fn scan_table(&self, table: Table) -> Result<Vec<Vec<u8>>, StoreError> {
        self.rows.raw_rows(table)?.iter().map(|(row_key, value)| self.open(table, row_key, value)).collect()
    }
}

fn open_rows(
    table: Table,
    name: &[u8],
    rows: Vec<Row>,
    open: impl Fn(&[u8], &[u8]) -> Result<Vec<u8>, StoreError>,
) -> Result<Vec<Row>, StoreError> {
    rows.into_iter()
        .map(|(order, value)| {
            let value = open(&layout::row_key(Key::at(table, name, &order)), &value)?;
            Ok((order, value))
        })
        .collect()
}

fn in_clear(table: Table) -> bool {
    unsealed() || table == Table::Meta
}

fn unreadable(table: Table) -> StoreError {
    StoreError::Corrupt(format!("a row of the table \"{}\" does not open", table.label()))
}

fn associated_data(table: Table, row_key: &[u8]) -> Vec<u8> {
    [table.label().as_bytes(), &[0], row_key].concat()
}

fn seal_value(key: &Secret, rng: &mut ChaCha20Rng, ad: &[u8], value: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    let mut out = nonce.to_vec();
    out.append(&mut crypto::seal(key, &nonce, ad, value));
    out
}

fn open_value(key: &Secret, ad: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = value.split_first_chunk::<NONCE_BYTES>()?;
    crypto::open(key, nonce, ad, sealed).ok()
}

fn keyed(secret: &Secret) -> Hmac<Sha256> {
    // HMAC fills a short key up with zeros to the hash's block of 64 bytes.
    let mut block = Zeroizing::new([0; 64]);
    if let Some(start) = block.first_chunk_mut() {
        *start = *secret.expose();
    }
    <Hmac<Sha256> as KeyInit>::new((&*block).into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these mutexes guard is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shred keys in use, by sealed name.
#[derive(Default)]
struct ShredKeys {
    keys: BTreeMap<Vec<u8>, (u64, Secret)>,
    by_use: BTreeMap<u64, Vec<u8>>,
    uses: u64,
    /// Counts shreds, so that no view puts back a key that is destroyed.
    generation: u64,
}

impl ShredKeys {
    fn get(&mut self, name: &[u8]) -> Option<Secret> {
        let (used, secret) = self.keys.get_mut(name)?;
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, name.to_vec());
        Some(secret.clone())
    }
    fn put(&mut self, name: Vec<u8>, secret: Secret) {
        self.uses += 1;
        self.by_use.insert(self.uses, name.clone());
        if let Some((used, _)) = self.keys.insert(name, (self.uses, secret)) {
            self.by_use.remove(&used);
        }
        while self.keys.len() > SHRED_KEYS_CACHED_MAX {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.keys.remove(&oldest);
        }
    }
    fn forget(&mut self, names: &BTreeSet<Vec<u8>>) {
        if names.is_empty() {
            return;
        }
        self.generation += 1;
        for name in names {
            if let Some((used, _)) = self.keys.remove(name) {
                self.by_use.remove(&used);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_of_shred_keys_is_bounded_and_forgets_the_least_used() {
        let mut cache = ShredKeys::default();
        let name = |n: usize| n.to_be_bytes().to_vec();
        for n in 0..SHRED_KEYS_CACHED_MAX {
            cache.put(name(n), Secret::new([1; 32]));
        }
        assert!(cache.get(&name(0)).is_some());
        cache.put(name(SHRED_KEYS_CACHED_MAX), Secret::new([2; 32]));
        cache.put(name(SHRED_KEYS_CACHED_MAX), Secret::new([3; 32]));
        assert_eq!((cache.keys.len(), cache.by_use.len()), (SHRED_KEYS_CACHED_MAX, SHRED_KEYS_CACHED_MAX));
        assert!(cache.get(&name(0)).is_some());
        assert!(cache.get(&name(1)).is_none());
        cache.forget(&BTreeSet::from([name(0)]));
        assert!(cache.get(&name(0)).is_none());
        assert_eq!(cache.keys.len(), cache.by_use.len());
    }
}
