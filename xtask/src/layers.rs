//! The layer rules: which crate must never reach which. Read from
//! `cargo tree`, so no import can slip past.

use anyhow::Result;

use crate::env::{Env, output};
use crate::tally::Tally;

/// A crate and what its tree must not contain.
const RULES: &[(&str, &[&str])] = &[
    // The proof that a relay cannot decrypt.
    ("kith-bootstrap", &["openmls", "openmls_traits", "openmls_rust_crypto", "kith-mls", "kith-core"]),
    // The proof that a simulator can run the core.
    ("kith-core", &["kith-overlay", "libp2p", "tokio", "rocksdb", "librocksdb-sys", "axum"]),
    ("kith-rule", &["kith-store", "kith-mls", "openmls", "tokio", "libp2p", "rocksdb"]),
    ("kith-mls", &["kith-overlay", "libp2p", "tokio", "rocksdb", "axum"]),
    (
        "kith-wire",
        &["kith-store", "kith-mls", "kith-core", "kith-overlay", "libp2p", "tokio", "rocksdb", "openmls"],
    ),
    ("kith-store", &["kith-mls", "kith-core", "kith-overlay", "libp2p", "tokio", "openmls"]),
    ("kith-overlay", &["kith-store", "kith-mls", "kith-core", "rocksdb", "openmls", "axum"]),
    ("kith-web", &["kith-overlay", "libp2p", "rocksdb", "openmls_rust_crypto_provider"]),
];

/// Checks every rule.
pub(crate) fn check(env: &Env) -> Result<Tally> {
    let mut tally = Tally::default();
    for (package, banned) in RULES {
        let tree = output(&mut env.cargo(&[
            "tree",
            "--quiet",
            "--package",
            package,
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]))?;
        let found = offenders(&tree, banned);
        for name in &found {
            println!(
                "{package} must not depend on {name}: `cargo tree -p {package} -e normal,build -i {name}`"
            );
        }
        println!("{package}: {} of {} banned crates reached", found.len(), banned.len());
        tally = tally.plus(Tally::one(found.is_empty()));
    }
    Ok(tally)
}

/// The banned names that occur in a tree of `name vVERSION` lines.
fn offenders(tree: &str, banned: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| banned.contains(name))
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::offenders;

    #[test]
    fn finds_whole_names_only() {
        let tree = "kith-bootstrap v0.1.0 (/x)\nopenmls v0.9.2\nlibp2p-core v0.1.0\nopenmls v0.9.2 (*)";
        assert_eq!(offenders(tree, &["openmls", "libp2p"]), ["openmls"]);
        assert!(offenders(tree, &["tokio"]).is_empty());
    }
}
