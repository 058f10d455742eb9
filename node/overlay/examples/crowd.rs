//! Many nodes' network sides in one process, each with a link to one relay and
//! a reservation at it, each coming back by itself: what a relay meets that
//! returns after it was away.
//!
//! `crowd COUNT COMMUNITY_LINK` prints `here: N of COUNT` whenever the number of
//! those that are served has changed.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kith_overlay::{ClientConfig, Overlay, OverlayHandle};
use kith_wire::crypto::Secret;
use kith_wire::ids::PeerKey;
use kith_wire::net::{LinkId, LinkKind, NetCommand, NetEvent};
use kith_wire::relay::{Answer, Call, ClientFrame, CommunityLink, ServerFrame};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// As the node dials its relays: the first pause, and the longest.
const PAUSE_MS: (u64, u64) = (2_000, 16_000);
const NEVER: Duration = Duration::from_secs(24 * 3600);
const COUNT_MAX: usize = 10_000;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(count), Some(link), None) = (args.next(), args.next(), args.next()) else {
        bail!("crowd COUNT COMMUNITY_LINK");
    };
    let count: usize = count.parse().context("COUNT is a number")?;
    let link = CommunityLink::from_text(&link).context("COMMUNITY_LINK is what the relay prints")?;
    if count > COUNT_MAX {
        bail!("at most {COUNT_MAX}");
    }
    let (told, mut news) = mpsc::channel(1024);
    for n in 0..count {
        let one = One::start(n, link.clone(), told.clone()).await?;
        tokio::spawn(one.run());
    }
    let mut here = 0;
    while let Some(served) = news.recv().await {
        here = if served { here + 1 } else { here - 1 };
        println!("here: {here} of {count}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

struct One {
    handle: OverlayHandle,
    events: mpsc::Receiver<NetEvent>,
    relay: CommunityLink,
    told: mpsc::Sender<bool>,
    link: Option<LinkId>,
    greeted: bool,
    reserved: bool,
    served: bool,
    pause_ms: u64,
}

impl One {
    async fn start(n: usize, relay: CommunityLink, told: mpsc::Sender<bool>) -> Result<Self> {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&n.to_be_bytes());
        // An address of its own: relays count what comes from one.
        let ip = format!("127.{}.{}.1", 1 + n / 250, 1 + n % 250);
        let listen = vec![format!("/ip4/{ip}/udp/0/quic-v1"), format!("/ip4/{ip}/tcp/0")];
        let config = ClientConfig { listen, ..ClientConfig::new(Secret::new(seed), seed) };
        let (handle, events) = Overlay::spawn(config)?;
        let at = vec![(PeerKey(relay.key.0), relay.addrs.clone())];
        handle.send(NetCommand::Reserve { relays: at }).await?;
        Ok(Self {
            handle,
            events,
            relay,
            told,
            link: None,
            greeted: false,
            reserved: false,
            served: false,
            pause_ms: PAUSE_MS.0,
        })
    }

    async fn run(mut self) -> Result<()> {
        let mut dial_at = Instant::now();
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => {
                        if let Some(pause_ms) = self.on(event).await? {
                            dial_at = Instant::now() + Duration::from_millis(pause_ms);
                        }
                    }
                    None => return Ok(()),
                },
                () = sleep_until(dial_at) => {
                    dial_at = Instant::now() + NEVER;
                    let (peer, addrs) = (PeerKey(self.relay.key.0), self.relay.addrs.clone());
                    self.handle.send(NetCommand::Dial { kind: LinkKind::Log, peer, addrs, patient: true }).await?;
                }
            }
            let served = self.greeted && self.reserved;
            if core::mem::replace(&mut self.served, served) != served {
                self.told.send(served).await?;
            }
        }
    }

    /// `Some`: dial again after so many ms.
    async fn on(&mut self, event: NetEvent) -> Result<Option<u64>> {
        match event {
            NetEvent::Up { link, .. } => self.link = Some(link),
            NetEvent::Frame { link, frame } => match ServerFrame::from_bytes(&frame)? {
                ServerFrame::Hello { .. } => {
                    let call = Call::hello(&self.relay.admission);
                    let frame = ClientFrame { number: 1, call }.to_bytes();
                    self.handle.send(NetCommand::Send { link, frame }).await?;
                }
                ServerFrame::Answer { answer: Answer::Hello { .. }, .. } => {
                    self.greeted = true;
                    self.pause_ms = PAUSE_MS.0;
                }
                _ => {}
            },
            NetEvent::Down { link, .. } if self.link == Some(link) => {
                (self.link, self.greeted) = (None, false);
                return Ok(Some(200 + u64::from(random()?) * 4));
            }
            NetEvent::DialFailed { .. } => {
                let pause_ms = self.pause_ms + self.pause_ms * u64::from(random()?) / 512;
                self.pause_ms = (self.pause_ms * 2).min(PAUSE_MS.1);
                return Ok(Some(pause_ms));
            }
            NetEvent::Reservation { active, .. } => self.reserved = active,
            _ => {}
        }
        Ok(None)
    }
}

fn random() -> Result<u8> {
    let mut byte = [0];
    getrandom::fill(&mut byte).map_err(|e| anyhow::anyhow!("{e}"))?;
    Ok(byte[0])
}
