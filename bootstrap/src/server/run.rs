//! The thread between the network and the service: takes a burst of frames,
//! commits once, sends what came of it.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use ed25519_dalek::SigningKey;
use kith_bootstrap::{Now, Output, Service, Setup};
use kith_overlay::{Server, ServerConfig, ServerEvent, ServerHandle};
use kith_store::{RocksStore, StoreError};
use kith_wire::limits::ADDRS_MAX;
use kith_wire::relay::CommunityLink;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::chunks::DiskChunks;
use super::config::Config;
use super::folder::{self, Folder};
use super::{show, turn};

/// Frames in one burst, and so in one write.
const BURST_FRAMES: usize = 512;
/// Bytes in one burst, of frames or of answers.
const BURST_BYTES: usize = 8 << 20;
/// Between two complaints about a full disk.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// The longest wait without a look at the clock.
const IDLE: Duration = Duration::from_secs(60);

type Relay = Service<RocksStore, DiskChunks>;

/// Logs go to stderr; `RUST_LOG` chooses how much.
pub(crate) fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("kith_bootstrap=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Time from a start that is the same for the whole run.
struct Clock(Instant);

impl Clock {
    fn now(&self) -> Now {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        Now {
            wall_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, ms),
            mono_ms: ms(self.0.elapsed()),
        }
    }
}

/// Runs the relay until it is told to stop.
#[expect(clippy::needless_pass_by_value, reason = "the configuration ends here")]
pub(crate) fn run(config: Config, folder: Folder) -> anyhow::Result<()> {
    let path = folder.path();
    let clock = Clock(Instant::now());
    let admission = folder.admission.clone();
    let key = folder.key.clone();
    let setup = Setup {
        key: SigningKey::from_bytes(key.expose()),
        name: config.name.clone(),
        admission: admission.clone(),
        guests: config.guests,
        limits: config.limits,
        seed: folder::random()?,
    };
    let Folder { store, chunks, lock, .. } = folder;
    let mut service = Service::open(store, chunks, setup, clock.now())?;
    let strays = service.remove_strays()?;
    let (bytes, topics) = service.usage()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut server = ServerConfig::new(key);
        server.listen.clone_from(&config.listen);
        server.external.clone_from(&config.external);
        server.circuits = config.circuits.clone();
        // Each client has a link of the log protocol; some come for circuits only.
        server.connections_max = u32::try_from(config.limits.links.saturating_mul(2)).unwrap_or(u32::MAX);
        server.connections_per_ip_max = config.connections_per_ip;
        let (handle, events) = Server::spawn(server)?;
        let addrs = shareable(handle.addresses().await);
        if let Some(setup) = turn::start(&config.turn, &addrs).await? {
            service.offer_turn(setup);
        }
        let link = CommunityLink {
            name: config.name.clone(),
            key: service.id(),
            addrs,
            admission: admission.unwrap_or_default(),
        };
        folder::write_link(&path, &link)?;
        show::link(&link, config.qr).context("writing to the terminal")?;
        tracing::info!(bytes, topics, strays, "the relay is up");
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Handle::current();
        let sender = handle.clone();
        let mut worker = tokio::task::spawn_blocking(move || {
            Worker { service, clock, server: sender, events, stopped, complained: None }.run(&runtime)
        });
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let ended = tokio::select! {
            _ = term.recv() => None,
            _ = int.recv() => None,
            ended = &mut worker => Some(ended),
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                stop.send_replace(true);
                worker.await
            }
        };
        handle.shutdown().await;
        ended.context("the relay's thread ended unexpectedly")??;
        tracing::info!("the relay has stopped");
        drop(lock);
        Ok(())
    })
}

/// Addresses that others can use come first; those of this machine only
/// stand in the link when there are no others.
fn shareable(addrs: Vec<String>) -> Vec<String> {
    let local = |a: &String| a.starts_with("/ip4/127.") || a.starts_with("/ip6/::1/");
    let (own, mut world): (Vec<_>, Vec<_>) = addrs.into_iter().partition(local);
    if world.is_empty() {
        world = own;
    }
    // QUIC first, WebSocket last: clients try in this order.
    world.sort_by_key(|a| (a.ends_with("/ws"), !a.contains("/quic-v1")));
    world.dedup();
    world.truncate(ADDRS_MAX);
    world
}

/// What quotas of open admission are counted by: an IPv4 address, or the /56
/// that a household has.
fn source(ip: Option<IpAddr>) -> Vec<u8> {
    match ip.map(|ip| ip.to_canonical()) {
        Some(IpAddr::V4(ip)) => ip.octets().to_vec(),
        Some(IpAddr::V6(ip)) => ip.octets().into_iter().take(7).collect(),
        None => Vec::new(),
    }
}

struct Worker {
    service: Relay,
    clock: Clock,
    server: ServerHandle,
    events: mpsc::Receiver<ServerEvent>,
    stopped: watch::Receiver<bool>,
    complained: Option<Instant>,
}

impl Worker {
    fn run(mut self, runtime: &tokio::runtime::Handle) -> anyhow::Result<()> {
        while let Some(first) = self.wait(runtime) {
            let mut bytes = 0;
            let mut frames = 0;
            let mut next = first;
            while let Some(event) = next {
                frames += 1;
                if let ServerEvent::Frame { frame, .. } = &event {
                    bytes += frame.len();
                }
                self.event(event)?;
                if frames >= BURST_FRAMES || bytes.max(self.service.staged_bytes()) >= BURST_BYTES {
                    break;
                }
                next = self.events.try_recv().ok();
            }
            let now = self.clock.now();
            let ticked = self.service.tick(now);
            self.judge(ticked)?;
            let committed = self.service.commit(now);
            self.judge(committed)?;
            self.send();
        }
        self.service.stop();
        let now = self.clock.now();
        let committed = self.service.commit(now);
        self.send();
        self.judge(committed)
    }

    /// The next event; `Some(None)` when only time has passed, `None` when it
    /// is time to stop.
    fn wait(&mut self, runtime: &tokio::runtime::Handle) -> Option<Option<ServerEvent>> {
        let now = self.clock.now().mono_ms;
        let wait = Duration::from_millis(self.service.poll_timeout().saturating_sub(now)).min(IDLE);
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = self.stopped.wait_for(|stop| *stop) => None,
                event = self.events.recv() => event.map(Some),
                () = tokio::time::sleep(wait) => Some(None),
            }
        })
    }

    fn event(&mut self, event: ServerEvent) -> anyhow::Result<()> {
        let now = self.clock.now();
        match event {
            ServerEvent::Up { link, peer, ip } => {
                self.service.link_up(now, link, peer, &source(ip));
                Ok(())
            }
            ServerEvent::Frame { link, frame } => {
                let handled = self.service.frame(now, link, &frame);
                self.judge(handled)
            }
            ServerEvent::Down { link, .. } => {
                self.service.link_down(link);
                Ok(())
            }
        }
    }

    /// A full disk refuses and lets the relay go on: reading works, and
    /// expiry makes room. Anything else ends it.
    fn judge(&mut self, result: Result<(), StoreError>) -> anyhow::Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(error @ StoreError::Full(_)) => {
                if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                    self.complained = Some(Instant::now());
                    tracing::error!(
                        "the disk is full: nothing new is taken until there is room. Free some space; the relay need not be restarted"
                    );
                }
                drop(error);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self) {
        while let Some(output) = self.service.poll_output() {
            match output {
                // A link that takes no more is cut by the network and reported.
                Output::Send { link, frame } => {
                    let _reported = self.server.send(link, frame);
                }
                Output::Close { link } => self.server.close(link, "the relay closed the link"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_world_come_first() {
        let addrs = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let given = addrs(&["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/udp/1/quic-v1"]);
        assert_eq!(shareable(given), addrs(&["/ip4/10.0.0.1/udp/1/quic-v1", "/ip4/10.0.0.1/tcp/1"]));
        let own = addrs(&["/ip4/127.0.0.1/tcp/1"]);
        assert_eq!(shareable(own.clone()), own);
    }

    #[test]
    fn a_household_is_one_source() {
        let ip = |s: &str| source(Some(s.parse().unwrap()));
        assert_eq!(ip("2001:db8:1:100::1"), ip("2001:db8:1:1ff::2"));
        assert_ne!(ip("2001:db8:1:100::1"), ip("2001:db8:1:200::1"));
        assert_eq!(ip("::ffff:10.0.0.1"), ip("10.0.0.1"));
    }
}
