//! The overlay over real sockets on loopback: real libp2p, real ports from
//! the system, nothing replaced.

mod blobs;
mod contacts;
mod hostile;
mod outside;
mod relays;
mod silence;

use std::time::Duration;

use kith_overlay::{
    ClientConfig, Overlay, OverlayHandle, Server, ServerConfig, ServerEvent, ServerHandle, peer_id_text,
};
use kith_wire::crypto::Secret;
use kith_wire::ids::PeerKey;
use kith_wire::net::{LinkId, LinkKind, NetCommand, NetEvent, Path};
use tokio::sync::mpsc;

/// Nothing here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(90);

const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const TCP: &str = "/ip4/127.0.0.1/tcp/0";

/// A node, and the events that were looked past so far.
struct Node {
    handle: OverlayHandle,
    events: mpsc::Receiver<NetEvent>,
    addrs: Vec<String>,
}

impl Node {
    fn config(n: u8, listen: &[&str]) -> ClientConfig {
        let mut config = ClientConfig::new(Secret::new([n; 32]), [n ^ 0x80; 32]);
        config.listen = listen.iter().map(ToString::to_string).collect();
        config
    }

    fn with(config: ClientConfig) -> Self {
        let (handle, events) = Overlay::spawn(config).unwrap();
        Self { handle, events, addrs: Vec::new() }
    }

    /// Listens on these addresses and waits until all are known.
    async fn start(n: u8, listen: &[&str]) -> Self {
        let mut node = Self::with(Self::config(n, listen));
        while node.addrs.len() < listen.len() {
            node.until(|e| matches!(e, NetEvent::Addresses { .. })).await;
        }
        node
    }

    fn key(&self) -> PeerKey {
        self.handle.local_key()
    }

    /// The next event; facts about links may come between any two.
    async fn event(&mut self) -> NetEvent {
        loop {
            let event =
                tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").unwrap();
            match &event {
                NetEvent::Measured { .. } => continue,
                NetEvent::Addresses { addrs } => self.addrs.clone_from(addrs),
                _ => {}
            }
            return event;
        }
    }

    async fn until(&mut self, wanted: impl Fn(&NetEvent) -> bool) -> NetEvent {
        loop {
            let event = self.event().await;
            if wanted(&event) {
                return event;
            }
        }
    }

    fn dial(&self, peer: PeerKey, addrs: &[String]) {
        self.command(NetCommand::Dial { kind: LinkKind::Peer, peer, addrs: addrs.to_vec(), patient: true });
    }

    fn dial_log(&self, relay: &Relay) {
        let peer = relay.key();
        self.command(NetCommand::Dial {
            kind: LinkKind::Log,
            peer,
            addrs: relay.addrs.clone(),
            patient: true,
        });
    }

    fn command(&self, command: NetCommand) {
        self.handle.try_send(command).unwrap();
    }

    fn send(&self, link: LinkId, frame: Vec<u8>) {
        self.command(NetCommand::Send { link, frame });
    }

    async fn up(&mut self) -> (LinkId, PeerKey, PeerKey, Path) {
        let event = self.until(|e| matches!(e, NetEvent::Up { .. } | NetEvent::DialFailed { .. })).await;
        let NetEvent::Up { link, peer, local, path, .. } = event else { panic!("{event:?}") };
        (link, peer, local, path)
    }

    async fn down(&mut self, link: LinkId) -> String {
        let event = self.until(|e| matches!(e, NetEvent::Down { link: l, .. } if *l == link)).await;
        let NetEvent::Down { reason, .. } = event else { unreachable!() };
        reason
    }

    async fn failed(&mut self) -> String {
        let event = self.until(|e| matches!(e, NetEvent::Up { .. } | NetEvent::DialFailed { .. })).await;
        let NetEvent::DialFailed { reason, .. } = event else { panic!("{event:?}") };
        reason
    }

    async fn frame(&mut self, on: LinkId) -> Vec<u8> {
        let event = self
            .until(|e| match e {
                NetEvent::Frame { link, .. } | NetEvent::Down { link, .. } => *link == on,
                _ => false,
            })
            .await;
        let NetEvent::Frame { frame, .. } = event else { panic!("{event:?}") };
        frame
    }
}

/// A relay.
struct Relay {
    handle: ServerHandle,
    events: mpsc::Receiver<ServerEvent>,
    addrs: Vec<String>,
}

impl Relay {
    async fn start(n: u8, listen: &[&str]) -> Self {
        let mut config = ServerConfig::new(Secret::new([n; 32]));
        config.listen = listen.iter().map(ToString::to_string).collect();
        Self::with(config).await
    }

    async fn with(config: ServerConfig) -> Self {
        let (handle, events) = Server::spawn(config).unwrap();
        let addrs = handle.addresses().await;
        Self { handle, events, addrs }
    }

    fn key(&self) -> PeerKey {
        PeerKey(self.handle.relay_id().0)
    }

    async fn event(&mut self) -> ServerEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").unwrap()
    }

    /// Its address for circuits, as contacts get to know it.
    fn circuit(&self) -> String {
        format!("{}/p2p/{}/p2p-circuit", self.addrs[0], peer_id_text(&self.key()).unwrap())
    }
}
