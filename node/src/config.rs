//! Settings of the process: flag > environment > file > default, read once,
//! each with where it came from.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::{DataDir, DataError, xdg};

/// Bytes of a config file that are read at most.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Addresses to listen on for other nodes.
const LISTEN_MAX: usize = 16;
const LISTEN_DEFAULT: &str = "127.0.0.1:0";
const P2P_DEFAULT: &[&str] =
    &["/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"];
const LOG_DEFAULT: &str = "info";

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("the config file {0} cannot be read: {1}")]
    Read(PathBuf, io::Error),
    #[error("the config file {0} is not valid: {1}")]
    File(PathBuf, String),
    #[error("{key} ({origin}) is not valid: {problem}")]
    Value { key: &'static str, origin: Origin, problem: String },
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Environment(&'static str),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct From<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

/// What flags say, if anything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    pub(crate) data: Option<PathBuf>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) listen: Option<String>,
    pub(crate) p2p_listen: Vec<String>,
    pub(crate) direct: Option<bool>,
    pub(crate) nearby: Option<bool>,
    pub(crate) log: Option<String>,
}

/// What a config file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<String>,
    p2p_listen: Option<Vec<String>>,
    direct: Option<bool>,
    nearby: Option<bool>,
    upnp: Option<bool>,
    log: Option<String>,
}

/// The settings of this process.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) data: From<PathBuf>,
    pub(crate) file: From<PathBuf>,
    pub(crate) listen: From<SocketAddr>,
    pub(crate) p2p_listen: From<Vec<String>>,
    pub(crate) direct: From<bool>,
    pub(crate) nearby: From<bool>,
    pub(crate) upnp: From<bool>,
    pub(crate) log: From<String>,
}

/// One line of `kith config show`.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) origin: String,
}

/// Reads an environment variable; a trait so that tests need no process-wide state.
pub(crate) trait Environment {
    fn get(&self, name: &str) -> Option<String>;
}

/// The process's own environment.
pub(crate) struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

impl Config {
    /// Puts the layers together.
    pub(crate) fn load(flags: &Flags, environment: &dyn Environment) -> Result<Self, ConfigError> {
        let data = match (&flags.data, environment.get("KITH_DATA")) {
            (Some(path), _) => From { value: path.clone(), origin: Origin::Flag },
            (None, Some(path)) => From { value: path.into(), origin: Origin::Environment("KITH_DATA") },
            (None, None) => From { value: DataDir::default_path()?, origin: Origin::Default },
        };
        let file = config_path(flags, environment, &data);
        let read = read_file(&file)?;
        let origin = Origin::File(file.value.clone());

        let listen = layer(flags.listen.clone(), environment, "KITH_LISTEN", read.listen, &origin, || {
            LISTEN_DEFAULT.into()
        });
        let listen = checked("listen", listen, |text| {
            text.parse::<SocketAddr>()
                .map_err(|_| format!("`{text}` is no address and port, like 127.0.0.1:4000"))
        })?;
        let from_flags = (!flags.p2p_listen.is_empty()).then(|| flags.p2p_listen.clone());
        let from_environment = environment
            .get("KITH_P2P_LISTEN")
            .map(|list| list.split(',').map(|a| a.trim().to_owned()).collect::<Vec<_>>());
        let p2p_listen =
            pick(from_flags, from_environment, "KITH_P2P_LISTEN", read.p2p_listen, &origin, || {
                P2P_DEFAULT.iter().map(|a| (*a).to_owned()).collect()
            });
        let p2p_listen = checked("p2p_listen", p2p_listen, check_multiaddrs)?;
        let switch = |key, variable| {
            environment
                .get(variable)
                .map(|text| match text.as_str() {
                    "1" | "true" | "yes" | "on" => Ok(true),
                    "0" | "false" | "no" | "off" => Ok(false),
                    other => Err(ConfigError::Value {
                        key,
                        origin: Origin::Environment(variable),
                        problem: format!("`{other}` is neither `true` nor `false`"),
                    }),
                })
                .transpose()
        };
        let from = switch("direct", "KITH_DIRECT")?;
        let direct = pick(flags.direct, from, "KITH_DIRECT", read.direct, &origin, || true);
        let from = switch("nearby", "KITH_NEARBY")?;
        let nearby = pick(flags.nearby, from, "KITH_NEARBY", read.nearby, &origin, || false);
        let from = switch("upnp", "KITH_UPNP")?;
        let upnp = pick(None, from, "KITH_UPNP", read.upnp, &origin, || true);
        let log = layer(flags.log.clone(), environment, "KITH_LOG", read.log, &origin, || LOG_DEFAULT.into());
        let log = checked("log", log, |text| {
            let known = ["off", "error", "warn", "info", "debug", "trace"].contains(&text.as_str());
            known
                .then_some(text)
                .ok_or_else(|| "it is one of off, error, warn, info, debug, trace".to_owned())
        })?;
        Ok(Self { data, file, listen, p2p_listen, direct, nearby, upnp, log })
    }

    pub(crate) fn data_dir(&self) -> DataDir {
        DataDir::at(self.data.value.clone())
    }

    /// Each value and where it came from.
    pub(crate) fn show(&self) -> Vec<Shown> {
        let line = |key, value: String, origin: &Origin| Shown { key, value, origin: origin.to_string() };
        vec![
            line("data", self.data.value.display().to_string(), &self.data.origin),
            line("config", self.file.value.display().to_string(), &self.file.origin),
            line("listen", self.listen.value.to_string(), &self.listen.origin),
            line("p2p_listen", self.p2p_listen.value.join(", "), &self.p2p_listen.origin),
            line("direct", self.direct.value.to_string(), &self.direct.origin),
            line("nearby", self.nearby.value.to_string(), &self.nearby.origin),
            line("upnp", self.upnp.value.to_string(), &self.upnp.origin),
            line("log", self.log.value.clone(), &self.log.origin),
        ]
    }
}

/// `--config`, else `config.toml` in a data folder that was named, else by the
/// XDG rules.
fn config_path(flags: &Flags, environment: &dyn Environment, data: &From<PathBuf>) -> From<PathBuf> {
    if let Some(path) = &flags.config {
        return From { value: path.clone(), origin: Origin::Flag };
    }
    if let Some(path) = environment.get("KITH_CONFIG") {
        return From { value: path.into(), origin: Origin::Environment("KITH_CONFIG") };
    }
    let folder = match data.origin {
        Origin::Default => xdg("XDG_CONFIG_HOME", ".config").unwrap_or_else(|| data.value.clone()),
        _ => data.value.clone(),
    };
    From { value: folder.join("config.toml"), origin: Origin::Default }
}

fn read_file(path: &From<PathBuf>) -> Result<File, ConfigError> {
    let text = match read_bounded(&path.value) {
        Ok(text) => text,
        // A file that nobody named need not be there.
        Err(e) if e.kind() == io::ErrorKind::NotFound && path.origin == Origin::Default => {
            return Ok(File::default());
        }
        Err(e) => return Err(ConfigError::Read(path.value.clone(), e)),
    };
    toml::from_str(&text)
        .map_err(|e| ConfigError::File(path.value.clone(), e.to_string().trim_end().to_owned()))
}

fn read_bounded(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
    }
    fs::read_to_string(path)
}

fn pick<T>(
    flag: Option<T>,
    environment: Option<T>,
    variable: &'static str,
    file: Option<T>,
    file_origin: &Origin,
    default: impl FnOnce() -> T,
) -> From<T> {
    match (flag, environment, file) {
        (Some(value), _, _) => From { value, origin: Origin::Flag },
        (None, Some(value), _) => From { value, origin: Origin::Environment(variable) },
        (None, None, Some(value)) => From { value, origin: file_origin.clone() },
        (None, None, None) => From { value: default(), origin: Origin::Default },
    }
}

fn layer(
    flag: Option<String>,
    environment: &dyn Environment,
    variable: &'static str,
    file: Option<String>,
    file_origin: &Origin,
    default: impl FnOnce() -> String,
) -> From<String> {
    pick(flag, environment.get(variable), variable, file, file_origin, default)
}

fn checked<A, B>(
    key: &'static str,
    from: From<A>,
    check: impl FnOnce(A) -> Result<B, String>,
) -> Result<From<B>, ConfigError> {
    let From { value, origin } = from;
    match check(value) {
        Ok(value) => Ok(From { value, origin }),
        Err(problem) => Err(ConfigError::Value { key, origin, problem }),
    }
}

fn check_multiaddrs(addrs: Vec<String>) -> Result<Vec<String>, String> {
    if addrs.is_empty() || addrs.len() > LISTEN_MAX {
        return Err(format!("name between 1 and {LISTEN_MAX} addresses"));
    }
    match addrs.iter().find(|a| !a.starts_with("/ip4/") && !a.starts_with("/ip6/")) {
        Some(wrong) => Err(format!("`{wrong}` is no multiaddr, like /ip4/0.0.0.0/udp/0/quic-v1")),
        None => Ok(addrs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct Fixed(BTreeMap<&'static str, &'static str>);
    impl Environment for Fixed {
        fn get(&self, name: &str) -> Option<String> {
            self.0.get(name).map(|v| (*v).to_owned())
        }
    }

    fn folder(file: &str) -> (tempfile::TempDir, Flags) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.toml"), file).unwrap();
        let flags = Flags { data: Some(dir.path().to_owned()), ..Flags::default() };
        (dir, flags)
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let (_dir, mut flags) = folder("listen = \"127.0.0.1:1\"\nlog = \"warn\"\ndirect = false\n");
        let nothing = Fixed::default();
        let config = Config::load(&flags, &nothing).unwrap();
        assert_eq!(config.listen.value.port(), 1);
        assert!(matches!(config.listen.origin, Origin::File(_)));
        assert!(!config.direct.value);
        assert_eq!(config.p2p_listen.origin, Origin::Default);
        let environment = Fixed(BTreeMap::from([("KITH_LISTEN", "127.0.0.1:2"), ("KITH_DIRECT", "on")]));
        let config = Config::load(&flags, &environment).unwrap();
        assert_eq!(config.listen.value.port(), 2);
        assert_eq!(config.direct, From { value: true, origin: Origin::Environment("KITH_DIRECT") });
        flags.listen = Some("127.0.0.1:3".into());
        let config = Config::load(&flags, &environment).unwrap();
        assert_eq!((config.listen.value.port(), &config.listen.origin), (3, &Origin::Flag));
        assert_eq!(config.show().len(), 8);
        assert!(!config.nearby.value, "nobody is made known unasked");
    }

    #[test]
    fn every_wrong_value_is_a_sentence_that_says_where() {
        for (file, says) in [
            ("lisen = \"127.0.0.1:1\"", "lisen"),
            ("listen = 5", "listen"),
            ("listen = \"nowhere\"", "no address and port"),
            ("log = \"loud\"", "one of off"),
            ("p2p_listen = []", "between 1 and"),
            ("p2p_listen = [\"10.0.0.1\"]", "multiaddr"),
            ("listen = ", "config.toml"),
        ] {
            let (_dir, flags) = folder(file);
            let error = Config::load(&flags, &Fixed::default()).unwrap_err().to_string();
            assert!(error.contains(says), "{file}: {error}");
        }
        let (_dir, flags) = folder("");
        let environment = Fixed(BTreeMap::from([("KITH_DIRECT", "perhaps")]));
        let error = Config::load(&flags, &environment).unwrap_err().to_string();
        assert!(error.contains("KITH_DIRECT") && error.contains("perhaps"));
        let missing = Flags { config: Some("/nowhere/at/all.toml".into()), ..flags };
        assert!(matches!(Config::load(&missing, &Fixed::default()), Err(ConfigError::Read(..))));
    }
}
