//! A relay of the world: the service of `kith-bootstrap` on a store in memory.

use ed25519_dalek::SigningKey;
use kith_bootstrap::{Limits, MemoryChunks, Now, OpenError, Output, Service, Setup};
use kith_store::MemoryStore;
use kith_wire::ids::PeerKey;
use kith_wire::net::NetEvent;
use kith_wire::relay::CommunityLink;

/// What members of every relay of the world show.
const ADMISSION: &[u8] = b"sim";

/// How a relay treats what passes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// As it should.
    #[default]
    Honest,
    /// It loses some of what comes and goes.
    Drops,
    /// It changes some of what it hands out.
    Lies,
    /// It hands out some things twice, the second time later than others.
    Repeats,
}

/// One relay, running or not.
pub(crate) struct Relay {
    service: Option<Service<MemoryStore, MemoryChunks>>,
    store: MemoryStore,
    key: SigningKey,
    name: String,
    limits: Limits,
    pub(crate) mood: Mood,
}

impl Relay {
    pub(crate) fn new(name: &str, key: [u8; 32], limits: Limits) -> Self {
        let key = SigningKey::from_bytes(&key);
        Self { service: None, store: MemoryStore::new(), key, name: name.into(), limits, mood: Mood::Honest }
    }
    pub(crate) fn start(&mut self, now: kith_core::api::Now, seed: [u8; 32]) -> Result<(), OpenError> {
        let setup = Setup {
            key: self.key.clone(),
            name: self.name.clone(),
            admission: Some(ADMISSION.to_vec()),
            guests: true,
            limits: self.limits,
            seed,
        };
        self.service = Some(Service::open(self.store.clone(), MemoryChunks::default(), setup, time(now))?);
        Ok(())
    }
    /// As `kill -9`: what was not committed is gone.
    pub(crate) fn stop(&mut self) {
        self.service = None;
    }
    /// Everything that it kept is gone.
    pub(crate) fn wipe(&mut self) {
        self.store = MemoryStore::new();
    }
    pub(crate) fn running(&self) -> bool {
        self.service.is_some()
    }
    pub(crate) fn key(&self) -> PeerKey {
        PeerKey(self.key.verifying_key().to_bytes())
    }
    pub(crate) fn link(&self, index: usize) -> CommunityLink {
        CommunityLink {
            name: self.name.clone(),
            key: kith_wire::ids::RelayId(self.key().0),
            addrs: vec![format!("/sim/relay/{index}")],
            admission: ADMISSION.to_vec(),
        }
    }
    /// Bytes charged and topics held.
    pub(crate) fn usage(&self) -> (u64, u64) {
        self.service.as_ref().and_then(|s| s.usage().ok()).unwrap_or_default()
    }
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        self.service.as_ref().map(Service::poll_timeout)
    }
    pub(crate) fn tick(&mut self, now: kith_core::api::Now) -> Vec<Output> {
        let now = time(now);
        self.with(now, |service| {
            let _fails_with_commit = service.tick(now);
        })
    }
    /// What the network brings; answers what goes out.
    pub(crate) fn event(&mut self, now: kith_core::api::Now, event: NetEvent) -> Vec<Output> {
        let now = time(now);
        self.with(now, |service| match event {
            NetEvent::Up { link, peer, .. } => service.link_up(now, link, peer, &peer.0),
            NetEvent::Frame { link, frame } => {
                let _fails_with_commit = service.frame(now, link, &frame);
            }
            NetEvent::Down { link, .. } => service.link_down(link),
            _ => {}
        })
    }
    fn with(&mut self, now: Now, f: impl FnOnce(&mut Service<MemoryStore, MemoryChunks>)) -> Vec<Output> {
        let Some(service) = &mut self.service else { return Vec::new() };
        f(service);
        if service.commit(now).is_err() {
            self.service = None;
            return Vec::new();
        }
        core::iter::from_fn(|| service.poll_output()).collect()
    }
}

fn time(now: kith_core::api::Now) -> Now {
    Now { wall_ms: now.wall_ms, mono_ms: now.mono_ms }
}
