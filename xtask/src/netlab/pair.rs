//! Two people in two homes, acquainted, with relays on the open internet.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::street::{Kind, SERVER, Street};
use crate::lab::node::{acquaint_in, cold_in};
use crate::lab::{Flags, Node, Relay};

/// The lab of one run.
pub(super) struct Lab {
    pub(super) street: Street,
    pub(super) nodes: Vec<Node>,
    pub(super) conversation: String,
    pub(super) relays: Vec<Relay>,
    pub(super) round: u32,
}

impl Lab {
    /// Builds the network, starts relays and nodes, and makes the two people
    /// contacts.
    pub(super) fn new(kith: &Path, bootstrap: &Path, folder: &Path, relays: usize) -> Result<Self> {
        let street = Street::build()?;
        for home in &street.homes {
            home.translate(Kind::PortRestricted)?;
        }
        let relays: Vec<Relay> = SERVER
            .iter()
            .take(relays)
            .enumerate()
            .map(|(i, ip)| {
                let listen = vec![format!("/ip4/{ip}/udp/4001/quic-v1"), format!("/ip4/{ip}/tcp/4001")];
                let name = format!("relay{i}");
                street.server.within(|| Relay::start_at(bootstrap, folder, &name, listen, &[]))
            })
            .collect::<Result<_>>()?;
        let mut nodes = Vec::new();
        for (home, name) in street.homes.iter().zip(["Alice", "Bob"]) {
            let flags = Flags { everywhere: true, ..Flags::default() };
            let mut node = home.host.within(|| Node::create(kith, folder, name, flags))?;
            for relay in &relays {
                home.host.within(|| node.add_relay(&relay.link))?;
            }
            nodes.push(node);
        }
        let [a, b] = nodes.as_mut_slice() else { bail!("two nodes") };
        let [home_a, home_b] = &street.homes;
        let conversation = acquaint_in((&home_a.host, a), (&home_b.host, b))?;
        Ok(Self { street, nodes, conversation, relays, round: 0 })
    }

    /// Alice says something; how long until Bob has it.
    pub(super) fn deliver(&mut self, patience: Duration) -> Result<Duration> {
        self.round += 1;
        let words = format!("word {}", self.round);
        let Self { street, nodes, conversation, .. } = self;
        let [a, b] = nodes.as_mut_slice() else { bail!("two nodes") };
        let [home_a, home_b] = &street.homes;
        home_a.host.within(|| a.say(conversation, &words, &words))?;
        let said = Instant::now();
        home_b.host.within(|| b.until_text(conversation, &words, patience))?;
        Ok(said.elapsed())
    }

    /// Both nodes start anew, with nothing left of their old ways in the routers,
    /// and Alice says something: when that was accepted, and how long until Bob
    /// had it.
    pub(super) fn cold(&mut self) -> Result<(Instant, Duration)> {
        self.round += 1;
        let words = format!("cold {}", self.round);
        let Self { street, nodes, conversation, .. } = self;
        let [a, b] = nodes.as_mut_slice() else { bail!("two nodes") };
        let [home_a, home_b] = &street.homes;
        for (home, node) in [(home_a, &mut *a), (home_b, &mut *b)] {
            node.kill()?;
            home.forget()?;
        }
        cold_in((&home_a.host, a), (&home_b.host, b), conversation, &words)
    }

    /// The linked peer as a node tells it.
    pub(super) fn best_peer(&mut self, node: usize) -> Result<Value> {
        let home = self.street.homes.get(node).context("there are two homes")?;
        let node = self.nodes.get_mut(node).context("there are two nodes")?;
        home.host.within(|| best_peer(node))
    }

    /// Waits until a node's network view is as wanted; how long that took.
    pub(super) fn until_network(
        &mut self,
        node: usize,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Duration> {
        let began = Instant::now();
        let home = self.street.homes.get(node).context("there are two homes")?;
        let node = self.nodes.get_mut(node).context("there are two nodes")?;
        home.host.within(|| node.until(what, patience, |n| Ok(wanted(&n.get("/network")?).then_some(()))))?;
        Ok(began.elapsed())
    }
}

/// The linked peer as the node tells it, its direct link if there are several;
/// null if there is none.
pub(super) fn best_peer(node: &mut Node) -> Result<Value> {
    let network = node.get("/network")?;
    let peers = || network["peers"].as_array().into_iter().flatten();
    let direct = peers().find(|p| p["path"].as_str().is_some_and(|path| path.starts_with("direct")));
    Ok(direct.or_else(|| peers().next()).cloned().unwrap_or(Value::Null))
}

/// When a direct link stands; `None` if none does by then.
pub(super) fn until_direct(node: &mut Node, deadline: Instant) -> Result<Option<Instant>> {
    let mut events = node.events()?;
    loop {
        let path = best_peer(node)?["path"].as_str().unwrap_or_default().to_owned();
        if path.starts_with("direct") {
            return Ok(Some(Instant::now()));
        }
        if events.next(deadline)?.is_none() {
            return Ok(None);
        }
    }
}
