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

use std::net::{TcpListener, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

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

/// Ports for listeners: below those that Linux gives to outgoing connections.
const PORTS: Range<u16> = 20_000..32_000;

/// A port that is free now, for TCP and UDP. For listeners that come up later,
/// or must return at the same address after a restart: no outgoing connection
/// takes it in between, and no other call gets it.
pub(crate) fn free_port() -> Result<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Runs beside each other begin at different places.
    let begin = std::process::id().wrapping_mul(127);
    for _ in PORTS {
        let step =
            begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % u32::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(step)?;
        let at = ("127.0.0.1", port);
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {} to {} is free on this machine", PORTS.start, PORTS.end - 1)
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
