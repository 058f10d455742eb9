//! The ciphertexts that nodes of a `test-trace` build let out: one line each,
//! `STATE LEAF GENERATION DIGEST EVENT`, in a file of each node that outlives it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::lab::Flags;

/// Names the file to a node.
const VARIABLE: &str = "KITH_TEST_TRACE";

/// All traces of a soak.
#[derive(Debug)]
pub(super) struct Trace {
    folder: PathBuf,
    /// Nodes send before they write.
    early_send: bool,
}

impl Trace {
    pub(super) fn new(folder: &Path, early_send: bool) -> Self {
        Self { folder: folder.to_path_buf(), early_send }
    }

    /// How a node is started so that it traces.
    pub(super) fn flags(&self, name: &str) -> Flags {
        let file = self.folder.join(format!("{name}.trace"));
        let mut environment = vec![(VARIABLE.to_owned(), file.display().to_string())];
        if self.early_send {
            environment.push(("KITH_TEST_EARLY_SEND".to_owned(), "1".to_owned()));
        }
        super::flags(environment)
    }

    /// Ciphertexts seen, and pairs that share (state, leaf, generation).
    pub(super) fn reused(&self) -> Result<(u64, u64)> {
        let mut text = String::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "trace") {
                text.push_str(&std::fs::read_to_string(&path).context("reading a trace")?);
                text.push('\n');
            }
        }
        pairs(&text)
    }
}

/// Counts different ciphertexts, and pairs of them under one key and nonce.
fn pairs(text: &str) -> Result<(u64, u64)> {
    let mut seen: BTreeMap<[&str; 3], Vec<&str>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(' ').collect();
        // A line cut by the kill is the last thing before the next start's.
        let [state, leaf, generation, digest, _] = fields[..] else {
            bail!("a trace line that is not `STATE LEAF GENERATION DIGEST EVENT`: {line:?}");
        };
        let digests = seen.entry([state, leaf, generation]).or_default();
        if !digests.contains(&digest) {
            digests.push(digest);
        }
    }
    let mut total = 0u64;
    let mut reused = 0u64;
    for (place, digests) in &seen {
        let count = digests.len() as u64;
        total += count;
        if count > 1 {
            println!("{count} ciphertexts at state {}, leaf {}, generation {}", place[0], place[1], place[2]);
        }
        reused += count * (count - 1) / 2;
    }
    Ok((total, reused))
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn counts_pairs_not_repeats() {
        let text = "s 0 1 aa e\ns 0 1 aa e\ns 0 2 bb f\ns 1 2 cc g\n";
        assert_eq!(pairs(text).ok(), Some((3, 0)));
        assert_eq!(pairs("s 0 1 aa e\ns 0 1 bb f\ns 0 1 cc g\n").ok(), Some((3, 3)));
        assert!(pairs("cut").is_err());
    }
}
