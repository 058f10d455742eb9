//! One process per data folder: an advisory lock, and who holds it.
//!
//! Owns the file `lock` of a data folder. The operating system drops the lock
//! with its holder, however that one ends, so the file itself may stay.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::StoreError;
use crate::file::io_error;

const FILE: &str = "lock";
/// What is read of a lock file at most; ours has two short numbers.
const CONTENT_BYTES_MAX: u64 = 64;

/// Why a data folder cannot be locked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("this data folder is in use{}: stop that Kith first, or choose another folder with --data", holder(*pid, *since))]
    InUse {
        /// Process id of the holder, if its file could be read.
        pid: Option<u32>,
        /// When it took the lock, in seconds since 1970 (UTC).
        since: Option<u64>,
    },
    /// The folder could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn holder(pid: Option<u32>, since: Option<u64>) -> String {
    match (pid, since) {
        (Some(pid), Some(since)) => format!(" by process {pid} since {}", utc(since)),
        (Some(pid), None) => format!(" by process {pid}"),
        _ => " by another process".to_owned(),
    }
}

/// A data folder that belongs to this process until this is dropped.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Takes the lock of a folder, which must exist.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(FILE);
        let failed = |error: &std::io::Error| LockError::Store(io_error(&path, error));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| failed(&e))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(in_use(&file)),
            Err(error) => return Err(failed(&error.into())),
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(format!("{} {now}\n", std::process::id()).as_bytes()))
            .map_err(|e| failed(&e))?;
        Ok(Self { _file: file })
    }
}

fn in_use(file: &File) -> LockError {
    let mut text = String::new();
    // Without a readable file the holder stays unnamed.
    let _read = file.take(CONTENT_BYTES_MAX).read_to_string(&mut text);
    let mut words = text.split_ascii_whitespace();
    let pid = words.next().and_then(|w| w.parse().ok());
    let since = words.next().and_then(|w| w.parse().ok());
    LockError::InUse { pid, since }
}

/// `2026-03-14 09:26:53 UTC`.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to year, month, day in the proleptic Gregorian calendar, with years
    // that start in March (H. Hinnant, "chrono-compatible low-level date algorithms").
    let z = days + 719_468;
    let era = z / 146_097;
    let of_era = z % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let lock = DataLock::acquire(folder.path()).unwrap();
        let error = DataLock::acquire(folder.path()).unwrap_err();
        let LockError::InUse { pid, since } = error.clone() else { panic!("{error}") };
        assert_eq!(pid, Some(std::process::id()));
        assert!(since.unwrap() > 1_700_000_000);
        let text = error.to_string();
        assert!(text.contains(&format!("process {}", std::process::id())) && text.contains("UTC"), "{text}");
        drop(lock);
        DataLock::acquire(folder.path()).unwrap();
    }

    #[test]
    fn a_strange_lock_file_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), [0xff; 4096]).unwrap();
        let held = DataLock::acquire(folder.path()).unwrap();
        std::fs::write(folder.path().join(FILE), b"no number").unwrap();
        let error = DataLock::acquire(folder.path()).unwrap_err();
        assert_eq!(error, LockError::InUse { pid: None, since: None });
        assert!(error.to_string().contains("another process"));
        drop(held);
        let error = DataLock::acquire(&folder.path().join("gone")).unwrap_err();
        assert!(matches!(error, LockError::Store(StoreError::Io(_))), "{error}");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_767_225_599), "2025-12-31 23:59:59 UTC");
        assert_eq!(utc(4_102_444_800), "2100-01-01 00:00:00 UTC");
    }
}
