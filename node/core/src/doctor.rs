//! The doctor: what a path is, why it is not better, and what would help, in
//! sentences. Pure: facts in, words out; the table of words is tested.

use kith_wire::net::{LinkFacts, Mapping, Path};

/// Round trips above this are worth a word, ms.
const SLOW_MS: u32 = 800;

/// What is known of the own side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    /// Direct connections are switched on.
    pub direct: bool,
    /// Whether UDP leaves this network; `None`: nobody could be asked.
    pub udp: Option<bool>,
    /// What the router does with addresses.
    pub mapping: Mapping,
    /// Whether a relay that called back got through; `None`: not known.
    pub inbound: Option<bool>,
    /// Own relays, and how many of them are connected.
    pub relays: (usize, usize),
    /// Something could be bound to listen on UDP: the port, if known.
    pub port: Option<u16>,
}

/// A finding: what is, and what would help.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Finding {
    pub sentence: String,
    pub advice: Option<String>,
}

fn finding(sentence: impl Into<String>, advice: Option<String>) -> Finding {
    Finding { sentence: sentence.into(), advice }
}

/// The stable name of a path.
pub(crate) fn label(path: Path, facts: &LinkFacts) -> &'static str {
    match (path, facts) {
        (Path::Circuit, _) => "relayed",
        (_, LinkFacts { near: true, .. }) => "lan",
        (_, LinkFacts { punched: true, .. }) => "punched",
        (Path::DirectQuic, _) => "direct_quic",
        (Path::DirectTcp, _) => "direct_tcp",
    }
}

const UDP_HELPS: &str = "UDP does not leave this network. Allow outgoing UDP in the firewall: files and calls get faster, and more direct connections work.";

fn open_port(port: Option<u16>) -> String {
    match port {
        Some(port) => format!(
            "Forward UDP port {port} on the router to this computer (or switch on UPnP there), and direct connections work."
        ),
        None => "Forward a UDP port on the router to this computer (or switch on UPnP there), and direct connections work.".into(),
    }
}

fn allow_port(port: Option<u16>) -> String {
    match port {
        Some(port) => format!(
            "Let UDP in on port {port} in that firewall, and others reach this computer without a detour."
        ),
        None => {
            "Let UDP in to Kith’s port in that firewall, and others reach this computer without a detour."
                .into()
        }
    }
}

/// About a link that is up. `relay`: the name of the relay in between.
pub(crate) fn linked(own: &Own, path: Path, facts: &LinkFacts, relay: Option<&str>) -> Finding {
    let over = match path {
        Path::DirectTcp => "TCP",
        Path::DirectQuic | Path::Circuit => "QUIC",
    };
    let slow = facts.rtt_ms.filter(|ms| *ms >= SLOW_MS);
    let slow = slow.map(|ms| format!("Answers take {ms} ms: one of the two networks is busy or far away."));
    let udp_advice = || (path == Path::DirectTcp && own.udp == Some(false)).then(|| UDP_HELPS.to_owned());
    match label(path, facts) {
        "lan" => finding(format!("In the same network, directly over {over}."), slow),
        "punched" => {
            finding(format!("Punched through the routers of both sides, over {over}."), udp_advice().or(slow))
        }
        "relayed" => {
            let through = match relay {
                Some(name) => format!("through relay {name}"),
                None => "through relay of theirs".to_owned(),
            };
            if !own.direct {
                return finding(
                    format!("Connected {through}, because direct connections are switched off here."),
                    Some("Switch direct connections on in the settings: faster, and the other side then sees your address.".into()),
                );
            }
            if own.udp == Some(false) {
                return finding(
                    format!(
                        "Connected {through}: UDP does not leave this network, and over TCP the routers of both sides did not let each other in."
                    ),
                    Some(UDP_HELPS.into()),
                );
            }
            match own.mapping {
                Mapping::Varies => finding(
                    format!("Connected {through}: your router gives every far end another port (symmetric NAT), so the other side cannot be told where to send to."),
                    Some(open_port(own.port)),
                ),
                Mapping::Same | Mapping::None => finding(
                    format!("Connected {through}: your router would let a direct connection in, the one on the other side does not."),
                    Some("Nothing is wrong here. The other person can read in their own doctor what would help.".into()),
                ),
                Mapping::Unknown => finding(
                    format!("Connected {through}: a direct connection was tried, and the routers in between did not let it in."),
                    Some(open_port(own.port)),
                ),
            }
        }
        _ => finding(format!("Straight over {over}."), udp_advice().or(slow)),
    }
}

/// About a person none of whose devices is linked. `reason`: of the last dial.
pub(crate) fn away(own: &Own, relays: &[&str], reason: Option<&str>) -> Finding {
    let why = reason.map(|r| format!(" The last try: {r}.")).unwrap_or_default();
    match (relays, own.relays) {
        ([], _) => finding(
            format!("Not connected, and no relay keeps messages for them: they wait on this computer.{why}"),
            Some("Be online at the same time, or use a relay both of you know.".into()),
        ),
        (_, (_, 0)) => finding(
            format!("Not connected, and no relay is reached either: messages wait on this computer.{why}"),
            Some("Look at the relays below: as soon as one is connected, messages leave.".into()),
        ),
        (names, _) => finding(
            format!("Not connected. Messages are kept at {} until they come back.{why}", names.join(" and ")),
            None,
        ),
    }
}

/// About a relay. `problem` is its own sentence.
pub(crate) fn relay(own: &Own, up: Option<Path>, rtt_ms: Option<u32>, problem: Option<&str>) -> Finding {
    let slow = rtt_ms.filter(|ms| *ms >= SLOW_MS);
    let slow = slow.map(|ms| format!("Answers take {ms} ms: the relay or the network is busy or far away."));
    match (up, problem) {
        (Some(_), Some(problem)) => finding(format!("Connected, but: {problem}"), slow),
        (Some(Path::DirectTcp), None) if own.udp == Some(false) => {
            finding("Connected over TCP.", Some(UDP_HELPS.into()))
        }
        (Some(Path::DirectTcp), None) => finding("Connected over TCP.", slow),
        (Some(_), None) => finding("Connected over QUIC.", slow),
        (None, Some(problem)) => finding(
            format!("Not connected: {problem}"),
            Some(
                "Kith tries again by itself. If this stays, ask the relay’s operator, or use another relay."
                    .into(),
            ),
        ),
        (None, None) => finding("Connecting.", None),
    }
}

/// About this node itself, most important first.
pub(crate) fn own(own: &Own) -> Vec<Finding> {
    let mut all = Vec::new();
    match own.relays {
        (0, _) => all.push(finding(
            "No relay is in use: messages leave only while the other person is online.",
            Some("Ask somebody who runs a relay for its community link.".into()),
        )),
        (_, 0) => all.push(finding(
            "No relay is reached.",
            Some("Check this computer’s connection to the internet first.".into()),
        )),
        (1, 1) => all.push(finding(
            "One relay is connected.",
            Some("With a second relay nothing waits when the first one is down.".into()),
        )),
        (all_of, up) if up < all_of => {
            all.push(finding(format!("{up} of {all_of} relays are connected."), None));
        }
        (n, _) => all.push(finding(format!("All {n} relays are connected."), None)),
    }
    if !own.direct {
        all.push(finding("Direct connections are switched off: everything goes through relays.", None));
        return all;
    }
    match own.udp {
        Some(true) => {}
        Some(false) => all.push(finding("Only TCP gets out of this network.", Some(UDP_HELPS.into()))),
        None => return all,
    }
    match (own.mapping, own.inbound) {
        (Mapping::None, Some(true)) => all.push(finding(
            "No router translates this computer’s address, and a relay that called back got through: direct connections work.",
            None,
        )),
        (Mapping::None, Some(false)) => all.push(finding(
            "No router translates this computer’s address, but a relay that called back did not get through: a firewall lets in only who was called first.",
            Some(allow_port(own.port)),
        )),
        (Mapping::None, None) => all.push(finding("No router translates this computer’s address.", None)),
        (Mapping::Same, Some(true)) => all.push(finding(
            "The router keeps one port for all far ends, and a relay that called back got through: direct connections to most people work.",
            None,
        )),
        (Mapping::Same, Some(false)) => all.push(finding(
            "The router keeps one port for all far ends, and lets in only who was called first: direct connections to most people work.",
            None,
        )),
        (Mapping::Same, None) => all.push(finding(
            "The router keeps one port for all far ends: direct connections to most people work.",
            None,
        )),
        (Mapping::Varies, _) => all.push(finding(
            "The router gives every far end another port (symmetric NAT): direct connections to some people do not work.",
            Some(open_port(own.port)),
        )),
        (Mapping::Unknown, _) => {}
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Own = Own {
        direct: true,
        udp: Some(true),
        mapping: Mapping::Unknown,
        inbound: None,
        relays: (1, 1),
        port: Some(4242),
    };

    fn facts() -> LinkFacts {
        LinkFacts::default()
    }

    /// Own side, path, facts → what has to stand in the sentence, and in the
    /// advice (empty: there is none).
    #[test]
    fn every_path_has_its_sentence() {
        let near = LinkFacts { near: true, ..facts() };
        let punched = LinkFacts { punched: true, ..facts() };
        let slow = LinkFacts { rtt_ms: Some(900), ..facts() };
        let blocked = Own { udp: Some(false), ..OWN };
        let symmetric = Own { mapping: Mapping::Varies, ..OWN };
        let open = Own { mapping: Mapping::Same, ..OWN };
        let off = Own { direct: false, ..OWN };
        let nameless = Own { port: None, ..symmetric };
        let table: &[(Own, Path, LinkFacts, &str, &str)] = &[
            (OWN, Path::DirectQuic, near, "In the same network, directly over QUIC.", ""),
            (OWN, Path::DirectTcp, near, "In the same network, directly over TCP.", ""),
            (OWN, Path::DirectQuic, facts(), "Straight over QUIC.", ""),
            (OWN, Path::DirectTcp, facts(), "Straight over TCP.", ""),
            (blocked, Path::DirectTcp, facts(), "Straight over TCP.", "Allow outgoing UDP"),
            (OWN, Path::DirectQuic, slow, "Straight over QUIC.", "900 ms"),
            (OWN, Path::DirectQuic, punched, "Punched through the routers of both sides, over QUIC.", ""),
            (blocked, Path::DirectTcp, punched, "Punched through", "Allow outgoing UDP"),
            (
                off,
                Path::Circuit,
                facts(),
                "because direct connections are switched off here",
                "Switch direct",
            ),
            (blocked, Path::Circuit, facts(), "through relay Club: UDP does not leave", "Allow outgoing UDP"),
            (symmetric, Path::Circuit, facts(), "symmetric NAT", "Forward UDP port 4242"),
            (nameless, Path::Circuit, facts(), "symmetric NAT", "Forward a UDP port"),
            (open, Path::Circuit, facts(), "the one on the other side does not", "The other person"),
            (
                OWN,
                Path::Circuit,
                facts(),
                "the routers in between did not let it in",
                "Forward UDP port 4242",
            ),
        ];
        for (own, path, facts, sentence, advice) in table {
            let found = linked(own, *path, facts, Some("Club"));
            assert!(found.sentence.contains(sentence), "{found:?}");
            match &found.advice {
                Some(text) => assert!(!advice.is_empty() && text.contains(advice), "{found:?}"),
                None => assert!(advice.is_empty(), "{found:?}"),
            }
        }
        assert_eq!(label(Path::Circuit, &near), "relayed");
        assert_eq!(label(Path::DirectQuic, &near), "lan");
    }

    #[test]
    fn who_is_away_is_told_where_messages_are() {
        let reason = Some("nobody answers at any known address");
        let kept = away(&OWN, &["Club", "Home"], reason);
        assert!(kept.sentence.contains("kept at Club and Home"), "{kept:?}");
        assert!(kept.sentence.ends_with("The last try: nobody answers at any known address."), "{kept:?}");
        assert!(away(&OWN, &[], None).sentence.contains("no relay keeps messages"));
        let cut = Own { relays: (2, 0), ..OWN };
        assert!(away(&cut, &["Club"], None).sentence.contains("no relay is reached"));
    }

    #[test]
    fn relays_and_the_own_side_are_told() {
        assert_eq!(
            relay(&OWN, Some(Path::DirectQuic), Some(20), None),
            finding("Connected over QUIC.", None)
        );
        let blocked = Own { udp: Some(false), ..OWN };
        assert!(relay(&blocked, Some(Path::DirectTcp), None, None).advice.unwrap().contains("UDP"));
        assert!(relay(&OWN, Some(Path::DirectQuic), None, Some("full.")).sentence.contains("but: full."));
        assert!(relay(&OWN, None, None, Some("gone.")).advice.unwrap().contains("tries again by itself"));
        let first = |o: Own| own(&o).remove(0).sentence;
        assert!(first(Own { relays: (0, 0), ..OWN }).contains("No relay is in use"));
        assert!(first(Own { relays: (2, 0), ..OWN }).contains("No relay is reached"));
        assert!(first(Own { relays: (3, 2), ..OWN }).contains("2 of 3"));
        assert!(own(&blocked)[1].sentence.contains("Only TCP"));
        assert!(own(&Own { mapping: Mapping::Varies, ..OWN })[1].sentence.contains("symmetric"));
        assert!(own(&Own { direct: false, ..OWN })[1].sentence.contains("switched off"));
        let called = |mapping, inbound| own(&Own { mapping, inbound, ..OWN }).remove(1);
        assert!(called(Mapping::None, Some(true)).sentence.contains("got through"));
        let walled = called(Mapping::None, Some(false));
        assert!(walled.sentence.contains("a firewall lets in only who was called first"), "{walled:?}");
        assert!(walled.advice.unwrap().contains("UDP in on port 4242"));
        assert!(called(Mapping::Same, Some(true)).sentence.contains("called back got through"));
        assert!(called(Mapping::Same, Some(false)).sentence.contains("only who was called first"));
        assert!(!called(Mapping::Same, None).sentence.contains("called"));
    }
}
