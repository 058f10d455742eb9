//! The data folder: where it is, what lies in it, and whether it is ours.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use kith_store::{DataLock, LockError, StoreError, write_atomic};

/// What may lie in a data folder, besides hidden temporary files.
const KNOWN: &[&str] = &[
    "files",
    "lock",
    "vault",
    "vault.new",
    "api-token",
    "api-address",
    "sessions.cbor",
    "config.toml",
    "log",
];
/// Bytes of the token and address files that are read at most.
const SMALL_FILE_BYTES_MAX: u64 = 256;

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    /// Neither `--data` nor a home folder.
    #[error("there is no home folder to keep data in: choose a folder with --data")]
    NoHome,
    /// It could not be made or read.
    #[error("the data folder {0} cannot be used: {1}. Check its permissions, or choose another with --data")]
    Io(PathBuf, io::Error),
    /// It belongs to another user.
    #[error("the data folder {0} belongs to another user: choose your own with --data")]
    Owner(PathBuf),
    /// Something else lies there.
    #[error("the folder {0} holds something else than Kith's data ({1}): choose an empty folder with --data")]
    Foreign(PathBuf, String),
    /// Somebody else uses it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file in it could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No node runs on it.
    #[error("no node is running on {0}: start one with `kith run`, or name another folder with --data")]
    NotRunning(PathBuf),
}

/// A data folder by its path. Nothing is checked or made until asked for.
#[derive(Debug, Clone)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }
    /// By the XDG rules: `$XDG_DATA_HOME/kith`, else `~/.local/share/kith`.
    pub(crate) fn default_path() -> Result<PathBuf, DataError> {
        xdg("XDG_DATA_HOME", ".local/share").ok_or(DataError::NoHome)
    }
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
    pub(crate) fn vault(&self) -> PathBuf {
        self.0.join("vault")
    }
    /// Sealed bytes of files.
    pub(crate) fn files(&self) -> PathBuf {
        self.0.join("files")
    }
    /// A vault that is being made; whatever lies there was never confirmed.
    pub(crate) fn new_vault(&self) -> PathBuf {
        self.0.join("vault.new")
    }
    pub(crate) fn sessions(&self) -> PathBuf {
        self.0.join("sessions.cbor")
    }
    fn token_file(&self) -> PathBuf {
        self.0.join("api-token")
    }
    fn address_file(&self) -> PathBuf {
        self.0.join("api-address")
    }

    fn io(&self, error: io::Error) -> DataError {
        DataError::Io(self.0.clone(), error)
    }

    /// Makes the folder if need be, checks that it is ours, and takes its lock.
    pub(crate) fn open(&self) -> Result<DataLock, DataError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(|e| self.io(e))?;
        let meta = fs::metadata(&self.0).map_err(|e| self.io(e))?;
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(DataError::Owner(self.0.clone()));
        }
        for entry in fs::read_dir(&self.0).map_err(|e| self.io(e))? {
            let name = entry.map_err(|e| self.io(e))?.file_name();
            let name = name.to_string_lossy();
            if !name.starts_with('.') && !KNOWN.contains(&name.as_ref()) {
                return Err(DataError::Foreign(self.0.clone(), name.into_owned()));
            }
        }
        let lock = DataLock::acquire(&self.0)?;
        let half_made = self.new_vault();
        if half_made.exists() {
            fs::remove_dir_all(&half_made).map_err(|e| self.io(e))?;
        }
        Ok(lock)
    }

    /// Writes what other commands need to reach the running node.
    pub(crate) fn publish(&self, address: SocketAddr, token: &str) -> Result<(), DataError> {
        write_atomic(&self.token_file(), format!("{token}\n").as_bytes())?;
        Ok(write_atomic(&self.address_file(), format!("{address}\n").as_bytes())?)
    }

    /// Takes the token back when the node stops. The address stays, so that
    /// the next start can listen at the same place.
    pub(crate) fn unpublish(&self) {
        let _gone_already = fs::remove_file(self.token_file());
    }

    /// The address that a node listens at, or listened at last.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        small(&self.address_file())?.trim().parse().ok()
    }

    /// How to reach the node that runs on this folder.
    pub(crate) fn running(&self) -> Result<(SocketAddr, String), DataError> {
        let token = small(&self.token_file()).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
        match (self.address(), token) {
            (Some(address), Some(token)) => Ok((address, token)),
            _ => Err(DataError::NotRunning(self.0.clone())),
        }
    }
}

fn small(path: &Path) -> Option<String> {
    let meta = fs::metadata(path).ok()?;
    (meta.len() <= SMALL_FILE_BYTES_MAX).then(|| fs::read_to_string(path).ok()).flatten()
}

/// `kith` below a base folder of the XDG specification.
pub(crate) fn xdg(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home)))?;
    Some(base.join("kith"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_folder_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.odt"), "x").unwrap();
        let error = DataDir::at(dir.path().to_owned()).open().unwrap_err();
        assert!(error.to_string().contains("thesis.odt"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_has_one_user_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::at(dir.path().join("deep/er"));
        let lock = data.open().unwrap();
        let error = data.open().unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(lock);
        assert!(data.open().is_ok());
    }

    #[test]
    fn a_half_made_vault_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::at(dir.path().to_owned());
        fs::create_dir_all(data.new_vault().join("db")).unwrap();
        let _lock = data.open().unwrap();
        assert!(!data.new_vault().exists());
    }

    #[test]
    fn commands_find_the_running_node_and_only_while_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::at(dir.path().to_owned());
        assert!(matches!(data.running(), Err(DataError::NotRunning(_))));
        let address = "127.0.0.1:4000".parse().unwrap();
        data.publish(address, "token").unwrap();
        assert_eq!(data.running().unwrap(), (address, "token".into()));
        data.unpublish();
        assert!(data.running().is_err());
        assert_eq!(data.address(), Some(address));
        fs::write(data.address_file(), vec![b'x'; 10_000]).unwrap();
        assert_eq!(data.address(), None);
    }
}
