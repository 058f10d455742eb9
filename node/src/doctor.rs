//! `kith doctor`: what stands between this node and others, in words.

use anyhow::Result;
use kith_core::view::{Network, Relay};

use crate::client::Client;
use crate::commands::Out;
use crate::data::DataDir;
use crate::show;

/// Prints the findings; `report`: without anything that names anybody.
pub(crate) fn run(data: &DataDir, report: bool, out: Out) -> Result<()> {
    let mut network: Network = Client::of(data)?.get("/network")?;
    if report {
        hide(&mut network);
    }
    out.value(&network, || text(&network));
    Ok(())
}

/// Puts numbers in the place of names, and leaves out ids, links and addresses.
fn hide(network: &mut Network) {
    let names: Vec<(String, String)> = network
        .relays
        .iter()
        .enumerate()
        .map(|(i, relay)| (relay.name.clone(), format!("relay {}", i + 1)))
        .collect();
    let known = |text: &str| {
        names
            .iter()
            .filter(|(name, _)| !name.is_empty())
            .fold(text.to_owned(), |t, (name, n)| t.replace(name, n))
    };
    for peer in &mut network.peers {
        peer.sentence = known(&peer.sentence);
        // One that is not listed here is of a group or of the other side.
        let listed = peer.relay.as_ref().is_some_and(|r| names.iter().any(|(name, _)| name == r));
        if let Some(relay) = peer.relay.take() {
            if !listed {
                peer.sentence = peer.sentence.replace(&relay, "another relay");
            }
            peer.relay = listed.then(|| known(&relay));
        }
    }
    for (i, peer) in network.peers.iter_mut().enumerate() {
        peer.account = None;
        peer.name = format!("person {}", i + 1);
    }
    let linked = network.peers.len();
    for (i, away) in network.away.iter_mut().enumerate() {
        away.account = String::new();
        away.name = format!("person {}", linked + i + 1);
        // Relays of others are named in it.
        away.sentence = match away.sentence.split_once(" are kept at ") {
            Some((_, rest)) => {
                let after = rest.split_once(" until ").map_or("", |(_, after)| after);
                format!("Not connected. Messages are kept at relays until {after}")
            }
            None => known(&away.sentence),
        };
    }
    for (relay, (_, number)) in network.relays.iter_mut().zip(&names) {
        relay.id = String::new();
        relay.link = String::new();
        relay.name.clone_from(number);
    }
    network.addrs.clear();
}

fn text(network: &Network) -> String {
    let mut lines = Vec::new();
    for finding in &network.findings {
        push(&mut lines, "", &finding.sentence, finding.advice.as_deref());
    }
    for relay in &network.relays {
        let head = format!("Relay {}{}: ", show::line(&relay.name), trip(relay));
        push(&mut lines, &head, &relay.sentence, relay.advice.as_deref());
    }
    for peer in &network.peers {
        let rtt = peer.rtt_ms.map(|ms| format!(" ({ms} ms, since {})", show::time(peer.since)));
        let head = format!("{}{}: ", show::line(&peer.name), rtt.unwrap_or_default());
        push(&mut lines, &head, &peer.sentence, peer.advice.as_deref());
    }
    for away in &network.away {
        push(&mut lines, &format!("{}: ", show::line(&away.name)), &away.sentence, away.advice.as_deref());
    }
    if network.waiting > 0 {
        lines.push(format!("{} objects wait here for a path.", network.waiting));
    }
    lines.join("\n")
}

fn trip(relay: &Relay) -> String {
    match (relay.rtt_ms, relay.since) {
        (Some(ms), Some(since)) => format!(" ({ms} ms, since {})", show::time(since)),
        _ => String::new(),
    }
}

fn push(lines: &mut Vec<String>, head: &str, sentence: &str, advice: Option<&str>) {
    lines.push(format!("{head}{}", show::line(sentence)));
    if let Some(advice) = advice {
        lines.push(format!("    {}", show::line(advice)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kith_core::view::{Away, PeerLink};

    #[test]
    fn a_report_names_nobody() {
        let mut network = Network {
            relays: vec![Relay {
                id: "abcd".into(),
                name: "Chess club".into(),
                up: true,
                problem: None,
                retention_s: None,
                link: "kith-relay:secret".into(),
                path: None,
                since: None,
                rtt_ms: None,
                sentence: "Connected over QUIC.".into(),
                advice: None,
            }],
            peers: ["Chess club", "Family"]
                .map(|relay| PeerLink {
                    account: Some("kith1alice".into()),
                    name: "Alice".into(),
                    path: "circuit".into(),
                    label: "relayed".into(),
                    relay: Some(relay.into()),
                    since: 0,
                    rtt_ms: Some(5),
                    sentence: format!("Connected through relay {relay}: because."),
                    advice: None,
                })
                .to_vec(),
            addrs: vec!["/ip4/192.0.2.1/tcp/1".into()],
            waiting: 0,
            away: vec![Away {
                account: "kith1bob".into(),
                name: "Bob".into(),
                sentence: "Not connected. Messages are kept at Family and Chess club until they come back."
                    .into(),
                advice: None,
            }],
            findings: Vec::new(),
        };
        hide(&mut network);
        let all = format!("{}{}", serde_json::to_string(&network).unwrap(), text(&network));
        for word in ["Alice", "Bob", "Chess", "Family", "kith1", "192.0.2", "secret", "abcd"] {
            assert!(!all.contains(word), "{word}: {all}");
        }
        assert!(all.contains("through relay relay 1") && all.contains("person 3"));
    }
}
