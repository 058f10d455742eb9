//! A second device of an account, for tests of what happens on both: until
//! devices are linked by people, nothing in the product makes one.
//!
//! `twin FIRST SECOND ADDRESS...` makes a data folder SECOND with a new device of
//! the account in FIRST, which takes the same people for contacts and is to be
//! reached at these addresses, and brings it into the conversations of FIRST.
//! FIRST must not be running. Both have the passphrase that the variable
//! `KITH_TWIN_PASSPHRASE` holds.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};
use kith_core::api::{Input, Now, Refusal};
use kith_core::{Config, Node, read};
use kith_store::{Argon2Params, RocksOptions, RocksStore, Sealed, Store, VaultHeader, open_schema};
use kith_wire::crypto::Secret;
use kith_wire::ids::{AccountId, GroupId};
use kith_wire::net::NetEvent;

/// Longer than a node waits before it takes new addresses into its card.
const CARD: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [first, second, addrs @ ..] = &args[..] else { bail!("twin FIRST SECOND ADDRESS...") };
    let passphrase = std::env::var("KITH_TWIN_PASSPHRASE").context("KITH_TWIN_PASSPHRASE")?;

    let vault = Path::new(first).join("vault");
    let header = VaultHeader::read(&vault.join("header"))?.context("there is no vault")?;
    let rows = open(&vault, &header.unlock(&passphrase)?)?;
    let mut first = Node::open(Arc::clone(&rows), Config::default(), random()?, now())?;

    let vault = Path::new(second).join("vault");
    std::fs::create_dir_all(&vault)?;
    let (master, phrase_key) = (Secret::new(random()?), Secret::new(random()?));
    VaultHeader::create(&master, &passphrase, &phrase_key, Argon2Params::MIN, random()?)?
        .write(&vault.join("header"))?;
    let mut second =
        Node::create_further(open(&vault, &master)?, &first, Config::default(), random()?, now())?;
    for contact in read::contacts(&*rows)? {
        let account = AccountId::from_text(&contact.account).context("a contact's account")?;
        second.learn_contact(now(), account).map_err(refused)?;
    }
    second.handle(now(), Input::Net(NetEvent::Addresses { addrs: addrs.to_vec() }));
    second.handle(later(now(), CARD), Input::Tick);

    for conversation in read::conversations(&*rows, &first.account())? {
        let group = GroupId::from_hex(&conversation.id).context("a conversation's id")?;
        let presented = second.present(now()).map_err(refused)?;
        // It is kept before anybody rests on it.
        second.commit()?;
        first.only_copy(group);
        first.add_further(now(), group, presented).map_err(refused)?;
        first.commit()?;
        println!("added to {}", conversation.title);
    }
    Ok(())
}

fn open(vault: &Path, master: &Secret) -> Result<Arc<dyn Store>> {
    let rocks = RocksStore::open(&vault.join("db"), RocksOptions::default())?;
    let sealed = Sealed::open(rocks, master, random()?)?;
    open_schema(&sealed, &mut |_| Ok(()))?;
    Ok(Arc::new(sealed))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn now() -> Now {
    static START: OnceLock<Instant> = OnceLock::new();
    let wall = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Now { wall_ms: millis(wall), mono_ms: millis(START.get_or_init(Instant::now).elapsed()) }
}

fn later(now: Now, by: Duration) -> Now {
    Now { wall_ms: now.wall_ms + millis(by), mono_ms: now.mono_ms + millis(by) }
}

fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| anyhow!("{e}"))?;
    Ok(bytes)
}

fn refused(refusal: Refusal) -> anyhow::Error {
    anyhow!(refusal.message)
}
