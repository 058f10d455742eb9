//! The STUN and TURN server around its state machine: what it is configured
//! to, and its sockets.

mod sockets;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, bail};
use data_encoding::HEXLOWER;
use kith_bootstrap::TurnSetup;
use kith_bootstrap::turn::credentials::Secrets;
use kith_bootstrap::turn::{Guard, Rules};
use serde::Deserialize;

use super::config::pick;
use super::folder::random;

/// Where TURN servers are looked for.
const PORT: u16 = 3478;
/// Addresses to listen on.
const LISTEN_MAX: usize = 8;

/// The `[turn]` table of the file, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileTurn {
    listen: Option<Vec<String>>,
    external: Option<Vec<IpAddr>>,
    urls: Option<Vec<String>>,
    secret: Option<String>,
    previous_secret: Option<String>,
    realm: Option<String>,
    port_min: Option<u64>,
    port_max: Option<u64>,
    allow_local: Option<bool>,
    allocations: Option<u64>,
    allocations_per_user: Option<u64>,
    allocations_per_ip: Option<u64>,
    kbit_per_s: Option<u64>,
    total_mbit_per_s: Option<u64>,
    user_mib: Option<u64>,
    minutes: Option<u64>,
}

/// The TURN server as it counts.
#[derive(Clone)]
pub(crate) struct TurnConfig {
    listen: Vec<SocketAddr>,
    /// Somebody has chosen where to listen: it has to work.
    chosen: bool,
    external: Vec<IpAddr>,
    /// Told instead of the own ones.
    urls: Vec<String>,
    secrets: Option<Secrets>,
    realm: String,
    ports: (u16, u16),
    allow_local: bool,
    allocations: usize,
    allocations_per_user: usize,
    allocations_per_ip: usize,
    bytes_per_s: u64,
    total_bytes_per_s: u64,
    user_bytes: u64,
    valid_s: u64,
}

impl std::fmt::Debug for TurnConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TurnConfig").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// Where to listen if nobody says: the addresses of the relay itself, at
/// TURN's port; at any port where the relay takes any, or nobody else comes.
fn beside(listen: &[String]) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for text in listen {
        let parts: Vec<&str> = text.split('/').collect();
        let (Some(ip), Some(port)) = (parts.get(2), parts.get(4)) else { continue };
        let (Ok(ip), Ok(port)) = (ip.parse::<IpAddr>(), port.parse::<u16>()) else { continue };
        let at = SocketAddr::new(ip, if port == 0 || ip.is_loopback() { 0 } else { PORT });
        if !found.contains(&at) && found.len() < LISTEN_MAX {
            found.push(at);
        }
    }
    found
}

/// Flags, then the file, then what lies beside the relay.
pub(super) fn config(
    flags: &[String],
    allow_local: bool,
    file: &FileTurn,
    beside_of: &[String],
) -> anyhow::Result<TurnConfig> {
    let given = if flags.is_empty() { file.listen.as_deref() } else { Some(flags) };
    let listen = match given {
        None => beside(beside_of),
        Some([off]) if off == "off" => Vec::new(),
        Some(list) => list
            .iter()
            .map(|text| {
                text.parse().with_context(|| {
                    format!("“{text}” is not an address for TURN: write for example 0.0.0.0:3478, or off")
                })
            })
            .collect::<anyhow::Result<_>>()?,
    };
    if listen.len() > LISTEN_MAX {
        bail!("there are too many addresses for TURN: give up to {LISTEN_MAX} with --turn");
    }
    let urls = file.urls.clone().unwrap_or_default();
    let secrets =
        file.secret.clone().map(|current| Secrets { current, previous: file.previous_secret.clone() });
    if secrets.as_ref().is_some_and(|s| s.current.len() < 16) {
        bail!("turn.secret is too short: choose at least 16 characters at random");
    }
    if !urls.is_empty() && secrets.is_none() {
        bail!("turn.urls names another TURN server: turn.secret has to be the secret that it uses");
    }
    let port = |value, key, default| {
        pick(value, key, (1024, 65_535), 1, default).map(|p| u16::try_from(p).unwrap_or(u16::MAX))
    };
    let ports =
        (port(file.port_min, "turn.port_min", 49_152)?, port(file.port_max, "turn.port_max", 65_535)?);
    if ports.0 > ports.1 {
        bail!("turn.port_min is above turn.port_max");
    }
    let count =
        |value, key, default| pick(value, key, (1, 16_384), 1, default).and_then(|n| Ok(usize::try_from(n)?));
    Ok(TurnConfig {
        listen,
        chosen: given.is_some(),
        external: file.external.clone().unwrap_or_default(),
        urls,
        secrets,
        realm: file.realm.clone().unwrap_or_else(|| "kith".into()),
        ports,
        allow_local: allow_local || file.allow_local.unwrap_or(false),
        allocations: count(file.allocations, "turn.allocations", 512)?,
        allocations_per_user: count(file.allocations_per_user, "turn.allocations_per_user", 8)?,
        allocations_per_ip: count(file.allocations_per_ip, "turn.allocations_per_ip", 64)?,
        bytes_per_s: pick(file.kbit_per_s, "turn.kbit_per_s", (64, 1 << 20), 125, 8_000 * 125)?,
        total_bytes_per_s: pick(
            file.total_mbit_per_s,
            "turn.total_mbit_per_s",
            (1, 100_000),
            125_000,
            200 * 125_000,
        )?,
        user_bytes: pick(file.user_mib, "turn.user_mib", (1, 1 << 24), 1 << 20, 8 << 30)?,
        valid_s: pick(file.minutes, "turn.minutes", (1, 24 * 60), 60, 3600)?,
    })
}

/// The host of a multiaddr: an address, or the name with its addresses.
fn host(text: &str) -> Option<(String, Vec<IpAddr>)> {
    let mut parts = text.split('/').skip(1);
    match (parts.next()?, parts.next()?) {
        ("ip4" | "ip6", ip) => {
            let ip: IpAddr = ip.parse().ok()?;
            let name = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
            Some((name, vec![ip]))
        }
        ("dns" | "dns4" | "dns6", name) => {
            let found = (name, 0).to_socket_addrs().ok()?.map(|at| at.ip()).collect();
            Some((name.to_owned(), found))
        }
        _ => None,
    }
}

/// Starts it. Answers what members are to be told; `None`: there is none.
/// `addrs`: under which the world reaches this relay.
pub(super) async fn start(config: &TurnConfig, addrs: &[String]) -> anyhow::Result<Option<TurnSetup>> {
    let secrets = match &config.secrets {
        Some(secrets) => secrets.clone(),
        // With no other server to share it with, it lives as long as the program.
        None => Secrets { current: HEXLOWER.encode(&random::<32>()?), previous: None },
    };
    let told = |urls| Ok(Some(TurnSetup { urls, secrets: secrets.clone(), valid_s: config.valid_s }));
    if config.listen.is_empty() {
        return if config.urls.is_empty() { Ok(None) } else { told(config.urls.clone()) };
    }
    let hosts = addrs.to_vec();
    let hosts: Vec<(String, Vec<IpAddr>)> =
        tokio::task::spawn_blocking(move || hosts.iter().filter_map(|a| host(a)).collect()).await?;
    let outside = |v6: bool| {
        let own = config.external.iter().copied().map(|ip| (ip, None));
        let known = hosts.iter().flat_map(|(name, ips)| ips.iter().map(move |ip| (*ip, Some(name.clone()))));
        own.chain(known).find(|(ip, _)| ip.is_ipv6() == v6)
    };
    let rules = Rules {
        realm: config.realm.clone(),
        secrets: secrets.clone(),
        guard: Guard { allow_local: config.allow_local, own: Vec::new(), ports: config.ports },
        allocations: config.allocations,
        allocations_per_user: config.allocations_per_user,
        allocations_per_ip: config.allocations_per_ip,
        bytes_per_s: config.bytes_per_s,
        total_bytes_per_s: config.total_bytes_per_s,
        user_bytes: config.user_bytes,
        seed: random()?,
    };
    let relayed = |v6: bool| {
        let bind = config.listen.iter().map(SocketAddr::ip).find(|ip| ip.is_ipv6() == v6)?;
        let ip = outside(v6).map(|(ip, _)| ip).or((!bind.is_unspecified()).then_some(bind))?;
        Some(sockets::Outside { bind, ip })
    };
    let bound = match sockets::start(rules, &config.listen, (relayed(false), relayed(true))).await {
        Ok(bound) => bound,
        Err(error) if config.chosen => return Err(error),
        Err(error) => {
            tracing::warn!("calls are not relayed: {error:#}");
            return Ok(None);
        }
    };
    if !config.urls.is_empty() {
        return told(config.urls.clone());
    }
    let mut urls = Vec::new();
    for at in bound {
        let name = match outside(at.is_ipv6()) {
            Some((_, Some(name))) => name,
            Some((ip, None)) => {
                if ip.is_ipv6() {
                    format!("[{ip}]")
                } else {
                    ip.to_string()
                }
            }
            None if at.ip().is_unspecified() => continue,
            None => {
                if at.is_ipv6() {
                    format!("[{}]", at.ip())
                } else {
                    at.ip().to_string()
                }
            }
        };
        let port = at.port();
        urls.push(format!("stun:{name}:{port}"));
        urls.push(format!("turn:{name}:{port}?transport=udp"));
        urls.push(format!("turn:{name}:{port}?transport=tcp"));
    }
    urls.truncate(kith_wire::relay::Turn::URLS_MAX);
    if urls.is_empty() {
        bail!(
            "no address is known under which TURN is reached: name one with --external, or turn it off with --turn off"
        );
    }
    told(urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn it_listens_beside_the_relay() {
        let any = texts(&["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"]);
        assert_eq!(beside(&any), ["127.0.0.1:0".parse().unwrap()]);
        let usual = texts(&["/ip4/0.0.0.0/udp/4001/quic-v1", "/ip6/::/tcp/4001"]);
        assert_eq!(beside(&usual), ["0.0.0.0:3478".parse().unwrap(), "[::]:3478".parse().unwrap()]);
    }

    #[test]
    fn flags_win_and_mistakes_are_told() {
        let file = FileTurn { listen: Some(texts(&["192.0.2.1:5"])), ..FileTurn::default() };
        let of = |flags: &[&str], file: &FileTurn| config(&texts(flags), false, file, &[]);
        assert_eq!(of(&[], &file).unwrap().listen, ["192.0.2.1:5".parse().unwrap()]);
        assert!(of(&["off"], &file).unwrap().listen.is_empty());
        assert!(of(&["nonsense"], &file).unwrap_err().to_string().contains("0.0.0.0:3478"));
        let short = FileTurn { secret: Some("short".into()), ..FileTurn::default() };
        assert!(of(&[], &short).unwrap_err().to_string().contains("too short"));
        let alone = FileTurn { urls: Some(texts(&["turn:a"])), ..FileTurn::default() };
        assert!(of(&[], &alone).unwrap_err().to_string().contains("turn.secret"));
        let ports = FileTurn { port_min: Some(60_000), port_max: Some(50_000), ..FileTurn::default() };
        assert!(of(&[], &ports).unwrap_err().to_string().contains("port_min"));
    }

    #[test]
    fn hosts_are_read_from_addresses() {
        assert_eq!(
            host("/ip4/192.0.2.1/tcp/1"),
            Some(("192.0.2.1".into(), vec!["192.0.2.1".parse().unwrap()]))
        );
        assert_eq!(host("/ip6/::1/udp/1/quic-v1").unwrap().0, "[::1]");
        assert_eq!(host("/memory/1"), None);
    }
}
