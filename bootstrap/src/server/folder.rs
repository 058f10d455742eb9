//! The data folder: who may use it, the relay's key, its admission token, the
//! database, the community link.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use kith_store::{DataLock, RocksOptions, RocksStore, open_schema, write_atomic};
use kith_wire::crypto::Secret;
use kith_wire::relay::CommunityLink;

use super::chunks::DiskChunks;
use super::config::Config;

const KEY: &str = "identity.key";
const ADMISSION: &str = "admission.token";
const LINK: &str = "community-link";
const LOG: &str = "log";
const CHUNKS: &str = "chunks";
const ADMISSION_BYTES: usize = 16;
/// The largest of the small files, in bytes.
const SMALL_BYTES_MAX: u64 = 8 << 10;

/// An open data folder.
pub(crate) struct Folder {
    path: PathBuf,
    pub key: Secret,
    /// `None` under open admission.
    pub admission: Option<Vec<u8>>,
    pub store: RocksStore,
    pub chunks: DiskChunks,
    pub lock: DataLock,
}

/// The operating system's randomness.
pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| anyhow!("the system gives no random numbers: {e}"))?;
    Ok(bytes)
}

impl Folder {
    /// Opens the folder, and makes what is missing in it.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let path = config.data.clone();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).with_context(|| {
            format!("cannot make the data folder {}: choose another one with --data", path.display())
        })?;
        let lock = DataLock::acquire(&path)?;
        let has_log = path.join(LOG).exists();
        let key = match secret(&path.join(KEY))? {
            Some(bytes) => Secret::from_slice(&bytes).with_context(|| {
                format!("{} is damaged: put it back from a copy", path.join(KEY).display())
            })?,
            None if has_log => bail!(
                "{} is missing, but the folder holds a relay's log: put the key back from a copy, or choose an empty folder",
                path.join(KEY).display()
            ),
            None => {
                let seed = random::<32>()?;
                save(&path.join(KEY), &seed)?;
                Secret::new(seed)
            }
        };
        let admission = if config.open { None } else { Some(admission(&path.join(ADMISSION))?) };
        let options = RocksOptions {
            write_buffer_bytes: 32 << 20,
            block_cache_bytes: 32 << 20,
            open_files_max: 512,
            ..RocksOptions::default()
        };
        let store = RocksStore::open(&path.join(LOG), options)?;
        let mut copy = |version| store.checkpoint(&path.join(format!("log-copy-v{version}")));
        open_schema(&store, &mut copy)?;
        let chunks = DiskChunks::open(&path.join(CHUNKS))?;
        Ok(Self { path, key, admission, store, chunks, lock })
    }

    /// Where things of this folder lie, for [`write_link`].
    pub(crate) fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

/// Keeps the community link for `kith-bootstrap link`.
pub(crate) fn write_link(folder: &Path, link: &CommunityLink) -> anyhow::Result<()> {
    Ok(write_atomic(&folder.join(LINK), format!("{}\n", link.to_text()).as_bytes())?)
}

/// The community link that a relay wrote when it was last started.
pub(crate) fn read_link(folder: &Path) -> anyhow::Result<CommunityLink> {
    let path = folder.join(LINK);
    let text = small(&path)?.with_context(|| {
        format!(
            "there is no community link in {}: start the relay once, or name its folder with --data",
            folder.display()
        )
    })?;
    CommunityLink::from_text(&text)
        .with_context(|| format!("{} is damaged: start the relay again, it writes a new one", path.display()))
}

/// A small text file; `None` if there is none.
fn small(path: &Path) -> anyhow::Result<Option<String>> {
    let reading = || format!("reading {}", path.display());
    match fs::metadata(path) {
        Ok(meta) if meta.len() > SMALL_BYTES_MAX => {
            bail!("{} is damaged: it is too large", path.display())
        }
        Ok(_) => Ok(Some(fs::read_to_string(path).with_context(reading)?)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(reading),
    }
}

/// A file of one line of hex that only its owner may read.
fn secret(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(text) = small(path)? else { return Ok(None) };
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!(
            "{} can be read by others: make it private with “chmod 600”, and if others use this machine, start over in an empty folder",
            path.display()
        );
    }
    let bytes = data_encoding::HEXLOWER
        .decode(text.trim().as_bytes())
        .with_context(|| format!("{} is damaged: put it back from a copy", path.display()))?;
    Ok(Some(bytes))
}

fn save(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let text = format!("{}\n", data_encoding::HEXLOWER.encode(bytes));
    Ok(write_atomic(path, text.as_bytes())?)
}

fn admission(path: &Path) -> anyhow::Result<Vec<u8>> {
    match secret(path)? {
        Some(bytes) if bytes.len() == ADMISSION_BYTES => Ok(bytes),
        Some(_) => bail!("{} is damaged: delete it, and hand out the new community link", path.display()),
        None => {
            let bytes = random::<ADMISSION_BYTES>()?;
            save(path, &bytes)?;
            Ok(bytes.to_vec())
        }
    }
}
