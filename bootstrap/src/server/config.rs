//! Configuration: flag > environment > file > default, read once.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Parser;
use kith_bootstrap::Limits;
use kith_overlay::{CircuitLimits, check_address};
use kith_wire::ids::PeerKey;
use kith_wire::limits::{ADDRS_MAX, NAME_BYTES_MAX};
use kith_wire::relay::{ANSWER_BYTES_MAX, WORK_BITS_MAX};
use serde::Deserialize;

use super::turn::{self, FileTurn, TurnConfig};

/// Where the relay listens unless told otherwise.
const LISTEN: [&str; 2] = ["/ip4/0.0.0.0/udp/4001/quic-v1", "/ip4/0.0.0.0/tcp/4001"];
/// The largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A relay for a Kith community: keeps sealed messages for whoever is away,
/// and helps nodes to find each other. It cannot read anything.
#[derive(Debug, Parser)]
#[command(name = "kith-bootstrap", version, args_conflicts_with_subcommands = false)]
pub(crate) struct Args {
    /// Folder for the relay's key and everything that it keeps.
    #[arg(long, env = "KITH_BOOTSTRAP_DATA", global = true)]
    pub data: Option<PathBuf>,
    /// Configuration file (TOML). Default: config.toml in the data folder, if there is one.
    #[arg(long, env = "KITH_BOOTSTRAP_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address to listen on, as a multiaddr; may be repeated.
    #[arg(long, env = "KITH_BOOTSTRAP_LISTEN", value_delimiter = ',')]
    pub listen: Vec<String>,
    /// Address under which the world reaches this relay; may be repeated. Default: those listened on.
    #[arg(long, env = "KITH_BOOTSTRAP_EXTERNAL", value_delimiter = ',')]
    pub external: Vec<String>,
    /// The relay's name, as people see it.
    #[arg(long, env = "KITH_BOOTSTRAP_NAME")]
    pub name: Option<String>,
    /// Admit whoever comes, without the token of the community link.
    #[arg(long)]
    pub open: bool,
    /// Address of the STUN and TURN server, over UDP and TCP, as IP:PORT; may be repeated. “off”: none.
    /// Default: the IP addresses of --listen at port 3478.
    #[arg(long, env = "KITH_BOOTSTRAP_TURN", value_delimiter = ',')]
    pub turn: Vec<String>,
    /// Relay media into private networks and to this machine too: for tests and closed networks.
    #[arg(long, env = "KITH_BOOTSTRAP_TURN_ALLOW_LOCAL")]
    pub turn_allow_local: bool,
    /// Print no QR code.
    #[arg(long)]
    pub no_qr: bool,
    #[command(subcommand)]
    pub command: Option<Subcommand>,
}

/// What else than running the relay.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Subcommand {
    /// Print the community link again.
    Link {
        /// Print no QR code.
        #[arg(long)]
        no_qr: bool,
    },
}

/// The file, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    name: Option<String>,
    listen: Option<Vec<String>>,
    external: Option<Vec<String>>,
    /// Admit whoever comes.
    open: Option<bool>,
    /// Let others use topics that members started.
    guests: Option<bool>,
    limits: FileLimits,
    circuits: FileCircuits,
    turn: FileTurn,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileLimits {
    retention_days: Option<u64>,
    topic_mib: Option<u64>,
    sender_mib: Option<u64>,
    sender_topics: Option<u64>,
    total_mib: Option<u64>,
    total_topics: Option<u64>,
    connections: Option<u64>,
    connections_per_ip: Option<u64>,
    open_topics: Option<u64>,
    calls_per_s: Option<u64>,
    kib_per_s: Option<u64>,
    packages: Option<u64>,
    work_bits: Option<u64>,
    request_kib: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileCircuits {
    reservations: Option<u64>,
    circuits: Option<u64>,
    minutes: Option<u64>,
    mib: Option<u64>,
}

/// The configuration as it counts.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub data: PathBuf,
    pub name: String,
    pub listen: Vec<String>,
    pub external: Vec<String>,
    pub open: bool,
    pub guests: bool,
    pub qr: bool,
    pub limits: Limits,
    pub connections_per_ip: usize,
    pub circuits: CircuitLimits,
    pub turn: TurnConfig,
}

/// The data folder by flag, environment, or the XDG rules.
pub(crate) fn data_folder(args: &Args) -> anyhow::Result<PathBuf> {
    if let Some(data) = &args.data {
        return Ok(data.clone());
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("kith-bootstrap"))
        .context("no home folder is known: name a folder for the relay's data with --data")
}

/// A number of the file within bounds, times its unit.
pub(super) fn pick(
    value: Option<u64>,
    key: &str,
    (min, max): (u64, u64),
    unit: u64,
    default: u64,
) -> anyhow::Result<u64> {
    match value {
        None => Ok(default),
        Some(v) if (min..=max).contains(&v) => Ok(v.saturating_mul(unit)),
        Some(v) => bail!("{key} = {v} is out of bounds: choose a number from {min} to {max}"),
    }
}

impl Config {
    /// Reads flags, environment and file.
    pub(crate) fn load(args: &Args) -> anyhow::Result<Self> {
        let data = data_folder(args)?;
        let file = match &args.config {
            Some(path) => read_file(path)?,
            None => {
                let path = data.join("config.toml");
                if path.exists() { read_file(&path)? } else { File::default() }
            }
        };
        let listed = |flags: &[String], file: Option<Vec<String>>, default: &[&str]| {
            if flags.is_empty() {
                file.unwrap_or_else(|| default.iter().map(ToString::to_string).collect())
            } else {
                flags.to_vec()
            }
        };
        let listen = listed(&args.listen, file.listen, &LISTEN);
        let turn = turn::config(&args.turn, args.turn_allow_local, &file.turn, &listen)?;
        let config = Self {
            turn,
            name: args.name.clone().or(file.name).unwrap_or_else(|| "Kith relay".into()),
            listen,
            external: listed(&args.external, file.external, &[]),
            open: args.open || file.open.unwrap_or(false),
            guests: file.guests.unwrap_or(true),
            qr: !args.no_qr,
            limits: limits(&file.limits)?,
            connections_per_ip: usize::try_from(pick(
                file.limits.connections_per_ip,
                "limits.connections_per_ip",
                (1, 100_000),
                1,
                256,
            )?)?,
            circuits: circuits(&file.circuits)?,
            data,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || self.name.chars().any(char::is_control)
        {
            bail!(
                "the name is empty, too long or has control characters: choose up to {NAME_BYTES_MAX} bytes of text"
            );
        }
        if self.listen.is_empty() {
            bail!("there is no address to listen on: give one with --listen, for example {}", LISTEN[1]);
        }
        if self.external.len() > ADDRS_MAX || self.listen.len() > 4 * ADDRS_MAX {
            bail!("there are too many addresses: give up to {ADDRS_MAX} with --external");
        }
        // Whose key it is matters only for `/p2p/…` at the end, which nobody needs here.
        let nobody = PeerKey(ed25519_dalek::SigningKey::from_bytes(&[0; 32]).verifying_key().to_bytes());
        // Those to listen on are judged by the network when it listens.
        for address in &self.external {
            check_address(address, &nobody).map_err(anyhow::Error::msg)?;
        }
        Ok(())
    }
}

fn limits(file: &FileLimits) -> anyhow::Result<Limits> {
    let d = Limits::default();
    let limits = Limits {
        retention_s: pick(file.retention_days, "limits.retention_days", (1, 366), 86_400, d.retention_s)?,
        topic_bytes: pick(file.topic_mib, "limits.topic_mib", (1, 1 << 20), 1 << 20, d.topic_bytes)?,
        sender_bytes: pick(file.sender_mib, "limits.sender_mib", (1, 1 << 24), 1 << 20, d.sender_bytes)?,
        sender_topics: pick(file.sender_topics, "limits.sender_topics", (1, 1 << 32), 1, d.sender_topics)?,
        total_bytes: pick(file.total_mib, "limits.total_mib", (1, 1 << 30), 1 << 20, d.total_bytes)?,
        total_topics: pick(file.total_topics, "limits.total_topics", (1, 1 << 32), 1, d.total_topics)?,
        links: pick(file.connections, "limits.connections", (1, 100_000), 1, d.links)?,
        open_topics: pick(file.open_topics, "limits.open_topics", (16, 1 << 16), 1, d.open_topics)?,
        calls_per_s: pick(file.calls_per_s, "limits.calls_per_s", (1, 1 << 20), 1, d.calls_per_s)?,
        bytes_per_s: pick(
            file.kib_per_s,
            "limits.kib_per_s",
            (ANSWER_BYTES_MAX as u64 / 1024, 1 << 24),
            1024,
            d.bytes_per_s,
        )?,
        packages: pick(file.packages, "limits.packages", (1, 1000), 1, d.packages)?,
        work_bits: u8::try_from(pick(
            file.work_bits,
            "limits.work_bits",
            (0, u64::from(WORK_BITS_MAX)),
            1,
            u64::from(d.work_bits),
        )?)?,
        request_bytes: pick(file.request_kib, "limits.request_kib", (16, 1 << 20), 1024, d.request_bytes)?,
    };
    Ok(limits)
}

fn circuits(file: &FileCircuits) -> anyhow::Result<CircuitLimits> {
    let d = CircuitLimits::default();
    Ok(CircuitLimits {
        reservations_max: usize::try_from(pick(
            file.reservations,
            "circuits.reservations",
            (1, 100_000),
            1,
            d.reservations_max as u64,
        )?)?,
        circuits_max: usize::try_from(pick(
            file.circuits,
            "circuits.circuits",
            (1, 100_000),
            1,
            d.circuits_max as u64,
        )?)?,
        circuit_s_max: u32::try_from(pick(
            file.minutes,
            "circuits.minutes",
            (1, 24 * 60),
            60,
            u64::from(d.circuit_s_max),
        )?)?,
        circuit_bytes_max: pick(file.mib, "circuits.mib", (1, 1 << 20), 1 << 20, d.circuit_bytes_max)?,
        ..d
    })
}

fn read_file(path: &std::path::Path) -> anyhow::Result<File> {
    let shown = path.display();
    let meta = std::fs::metadata(path).with_context(|| format!("reading the configuration {shown}"))?;
    if meta.len() > FILE_BYTES_MAX {
        bail!("the configuration {shown} is too large to be one: name the right file with --config");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("reading the configuration {shown}"))?;
    toml::from_str(&text).with_context(|| format!("the configuration {shown} has an error"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, flags: &[&str]) -> anyhow::Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), text).unwrap();
        let mut args = vec!["kith-bootstrap", "--data", dir.path().to_str().unwrap()];
        args.extend(flags);
        Config::load(&Args::try_parse_from(args)?)
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let text = "name = \"From file\"\nopen = true\n[limits]\ntopic_mib = 2\n";
        let config = load(text, &["--name", "From flag", "--listen", "/ip4/127.0.0.1/tcp/0"]).unwrap();
        assert_eq!(config.name, "From flag");
        assert!(config.open && config.guests);
        assert_eq!(config.limits.topic_bytes, 2 << 20);
        assert_eq!(config.limits.packages, Limits::default().packages);
        assert_eq!(config.listen, ["/ip4/127.0.0.1/tcp/0"]);
        assert_eq!(load("", &[]).unwrap().listen.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, flags, said) in [
            ("colour = 1", &[][..], "unknown field `colour`"),
            ("[limits]\ntopics = 1", &[], "unknown field `topics`"),
            ("[limits]\ntopic_mib = 0", &[], "limits.topic_mib = 0"),
            ("[limits]\ntopic_mib = \"x\"", &[], "invalid type"),
            ("name = \"\"", &[], "the name is empty"),
            ("listen = []", &[], "no address to listen on"),
            ("", &["--external", "nonsense"], "nonsense"),
            ("= 1", &[], "has an error"),
        ] {
            let error = format!("{:#}", load(text, flags).unwrap_err());
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
