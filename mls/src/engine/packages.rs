//! Key packages of this device: made here, used up by Welcomes.

use kith_store::{Key, Read, Table, Tx};
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{KeyPackage, MlsMessageOut};

use super::ctx::{self, DeviceSigner, broken};
use crate::EngineError;
use crate::api::DeviceKeys;
use crate::crypto::{Crypto, Rand, SUITE};
use crate::image::Image;
use crate::rows;
use crate::valid;

/// Packages whose private parts are kept. The oldest go when more are made: a
/// Welcome for one of them fails, and its sender is asked to use a fresh one.
pub const PACKAGES_MAX: usize = 512;

type Pool = Vec<(minicbor::bytes::ByteVec, bool)>;

fn pool(read: &dyn Read) -> Result<Pool, EngineError> {
    Ok(rows::get(read, Key::of(Table::Packages, POOL_NAME))?.unwrap_or_default())
}

/// Row name of the pool's list: outside the packages' own names.
const POOL_NAME: &[u8] = b"mls/packages";

/// Key packages out in the world that have not been used, last-resort ones
/// not counted.
pub fn packages_left(read: &dyn Read) -> Result<usize, EngineError> {
    Ok(pool(read)?.iter().filter(|(_, last_resort)| !last_resort).count())
}

pub(super) fn make(
    keys: &DeviceKeys,
    crypto: &Crypto,
    rand: &Rand,
    tx: &mut Tx<'_>,
    last_resort: bool,
) -> Result<Vec<u8>, EngineError> {
    let image = Image::default();
    let provider = ctx::provider(crypto, rand, &image);
    let mut builder = KeyPackage::builder()
        .key_package_lifetime(valid::lifetime())
        .leaf_node_capabilities(ctx::capabilities());
    if last_resort {
        builder = builder.mark_as_last_resort();
    }
    let bundle =
        builder.build(SUITE, &provider, &DeviceSigner(keys), ctx::own_credential(keys)).map_err(broken)?;
    let package = bundle.key_package();
    let name = package.hash_ref(crypto).map_err(broken)?;
    image.save(tx, Table::Packages, name.as_slice())?;
    let mut list = pool(tx)?;
    list.push((name.as_slice().to_vec().into(), last_resort));
    while list.len() > PACKAGES_MAX {
        let (old, _) = list.remove(0);
        tx.shred(Table::Packages, &old);
    }
    rows::put(tx, Key::of(Table::Packages, POOL_NAME), &list);
    MlsMessageOut::from(package.clone()).tls_serialize_detached().map_err(broken)
}

/// The private parts for a package, by its reference.
pub(super) fn private(read: &dyn Read, name: &[u8]) -> Result<Option<Image>, EngineError> {
    Ok(Image::load(read, Table::Packages, name)?)
}

/// Takes a package off the list of unused ones; answers whether its private
/// part may go once the join stands.
pub(super) fn used(tx: &mut Tx<'_>, name: &[u8]) -> Result<bool, EngineError> {
    let mut list = pool(tx)?;
    let last_resort = list.iter().any(|(n, last)| n.as_slice() == name && *last);
    if !last_resort {
        list.retain(|(n, _)| n.as_slice() != name);
        rows::put(tx, Key::of(Table::Packages, POOL_NAME), &list);
    }
    Ok(!last_resort)
}

/// Destroys a used package's private part.
pub(super) fn forget(tx: &mut Tx<'_>, name: &[u8]) {
    tx.shred(Table::Packages, name);
}
