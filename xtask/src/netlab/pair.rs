//! Two people in two homes, acquainted, with relays on the open internet.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::namespaces::Ns;
use super::street::{Kind, SERVER, Street};
use crate::lab::{Flags, Node, PATIENCE, Relay};

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
        let conversation = acquaint((&home_a.host, a), (&home_b.host, b))?;
        Ok(Self { street, nodes, conversation, relays, round: 0 })
    }

    /// Alice says something; how long until Bob has it.
    pub(super) fn deliver(&mut self, patience: std::time::Duration) -> Result<std::time::Duration> {
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

    /// Waits until a node's network view is as wanted; how long that took.
    pub(super) fn until_network(
        &mut self,
        node: usize,
        what: &str,
        patience: std::time::Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<std::time::Duration> {
        let began = Instant::now();
        let home = self.street.homes.get(node).context("there are two homes")?;
        let node = self.nodes.get_mut(node).context("there are two nodes")?;
        home.host.within(|| node.until(what, patience, |n| Ok(wanted(&n.get("/network")?).then_some(()))))?;
        Ok(began.elapsed())
    }
}

/// Makes the two contacts, each call in its own home.
pub(super) fn acquaint((home_a, a): (&Ns, &mut Node), (home_b, b): (&Ns, &mut Node)) -> Result<String> {
    let invite = home_a.within(|| a.post("/invites", &serde_json::json!({"uses": 1, "valid_s": 3600})))?;
    let link = invite["link"].as_str().context("an invite has a link")?.to_owned();
    home_b.within(|| b.post("/contacts", &serde_json::json!({"link": link, "greeting": "Hello"})))?;
    let account_a = home_a.within(|| a.account())?;
    let account_b = home_b.within(|| b.account())?;
    home_a.within(|| {
        a.until("the contact request", PATIENCE, |node| {
            Ok(node.contact(&account_b)?.filter(|c| c["state"] == "incoming"))
        })?;
        a.post(&format!("/contacts/{account_b}/accept"), &serde_json::json!({}))
    })?;
    let conversation = home_b.within(|| {
        b.until("the accepted request", PATIENCE, |node| {
            let contact = node.contact(&account_a)?.filter(|c| c["state"] == "accepted");
            Ok(contact.and_then(|c| c["conversation"].as_str().map(str::to_owned)))
        })
    })?;
    home_a.within(|| {
        a.until("the conversation", PATIENCE, |node| {
            let contact = node.contact(&account_b)?.filter(|c| c["state"] == "accepted");
            Ok(contact.filter(|c| c["conversation"].is_string()))
        })
    })?;
    Ok(conversation)
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
