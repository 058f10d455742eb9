//! A small laboratory: real relays and nodes as processes on this machine,
//! driven through their binaries and the HTTP API only.

pub(crate) mod distance;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod namespace;
pub(crate) mod node;
pub(crate) mod process;
pub(crate) mod queue;
pub(crate) mod relay;
pub(crate) mod socket;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

pub(crate) use node::{Flags, Node};
pub(crate) use relay::Relay;

/// Upper bound for anything that should happen by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder for the processes of one run, removed at the end.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// A fresh folder below `parent`.
    pub(crate) fn new(parent: &Path, name: &str) -> Result<Self> {
        let path = parent.join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { path, keep: false })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it for a person to look at.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A port that is free now. For listeners that must return at the same
/// address after a restart.
pub(crate) fn free_port() -> Result<u16> {
    let tcp = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(tcp.local_addr()?.port())
}

/// Listen addresses on loopback, QUIC and TCP, at a port that stays.
pub(crate) fn loopback_addresses(port: u16) -> [String; 2] {
    [format!("/ip4/127.0.0.1/udp/{port}/quic-v1"), format!("/ip4/127.0.0.1/tcp/{port}")]
}

/// Prints one figure in the form that all runs share.
pub(crate) fn figure(name: &str, value: f64, unit: &str) {
    let digits = if value.abs() >= 100.0 || value == value.trunc() { 0 } else { 3 };
    println!("{name}: {value:.digits$} {unit}");
}

/// The value at `q` (0 to 1) of sorted values.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * q).round() as usize;
    sorted.get(at.min(last)).copied().unwrap_or(f64::NAN)
}

/// The median.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}
