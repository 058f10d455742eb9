//! Two nodes behind every pair of NAT kinds: how soon a first message comes,
//! whether they find a direct path, and whether they say truly which it is.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::pair::{Lab, best_peer, until_direct};
use super::street::{Kind, Traffic};
use super::truth::{self, Truth};
use crate::env::{Binaries, Env};
use crate::lab::{Node, PATIENCE, Scratch, figure, files, quantile};

/// The longest that a first message may take.
const FIRST_MAX: Duration = Duration::from_secs(3);
/// How long a punch may take before a pair counts as relayed.
const PUNCH_PATIENCE: Duration = Duration::from_secs(20);
/// The same where bare sockets do not get through either.
const NO_PUNCH_PATIENCE: Duration = Duration::from_secs(6);
/// How long the doctor may take until it knows its own network: a call back
/// that does not get through is given up after some seconds.
const OWN_PATIENCE: Duration = Duration::from_secs(20);
/// Size of the large message.
const LARGE: u64 = 1 << 20;

struct Args {
    pairs: Vec<(Kind, Kind)>,
    tries: u32,
}

fn parse(args: &[String]) -> Result<Args> {
    let mut parsed =
        Args { pairs: Kind::ALL.iter().flat_map(|a| Kind::ALL.map(|b| (*a, b))).collect(), tries: 3 };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match (arg.as_str(), rest.next()) {
            ("--pairs", Some(list)) => {
                let pair = |text: &str| {
                    let (a, b) = text.split_once(':').with_context(|| format!("{text:?} is no pair: A:B"))?;
                    Ok((Kind::parse(a)?, Kind::parse(b)?))
                };
                parsed.pairs = list.split(',').map(pair).collect::<Result<_>>()?;
            }
            ("--tries", Some(n)) => parsed.tries = n.parse().context("--tries needs a number")?,
            _ => bail!("unknown argument {arg:?}; `cargo xtask help` lists what there is"),
        }
    }
    Ok(parsed)
}

/// One cold start of a pair.
#[derive(Debug, Clone)]
struct Cold {
    first: Duration,
    direct: Option<Duration>,
    label: String,
    traffic: Traffic,
    /// What the doctor says of the other side, at both ends.
    said: [String; 2],
    /// What it says of its own network; asked in a pair's last try.
    own: Option<[Vec<String>; 2]>,
}

/// The words that have to stand in the sentence about the other side.
fn sentence(own: Kind, path: &str) -> &'static str {
    match (path, own) {
        ("direct_quic", _) => "Punched through the routers of both sides, over QUIC.",
        ("direct_tcp", _) => "Punched through the routers of both sides, over TCP.",
        (_, Kind::UdpBlocked) => {
            ": UDP does not leave this network, and over TCP the routers of both sides did not let each other in."
        }
        (_, Kind::Symmetric) => ": your router gives every far end another port (symmetric NAT)",
        _ => ": your router would let a direct connection in, the one on the other side does not.",
    }
}

/// The words that have to stand in a finding about the own network. A relay
/// calls back from an address that was called before, and from another port.
fn finding(own: Kind) -> &'static str {
    match own {
        Kind::UdpBlocked => "Only TCP gets out of this network.",
        Kind::Symmetric => "The router gives every far end another port (symmetric NAT)",
        Kind::FullCone | Kind::AddressRestricted => {
            "The router keeps one port for all far ends, and a relay that called back got through"
        }
        Kind::PortRestricted | Kind::Double => {
            "The router keeps one port for all far ends, and lets in only who was called first"
        }
    }
}

pub(super) fn run(env: &Env, args: &[String]) -> Result<bool> {
    let args = parse(args)?;
    let Binaries { kith, bootstrap } = super::programs(env)?;
    let mut scratch = Scratch::new(&env.target, "netlab")?;
    // With two relays a node learns what its router does with ports.
    let mut lab = Lab::new(&kith, &bootstrap, scratch.path(), 2)?;
    let mut faults: Vec<String> = Vec::new();
    let mut firsts = Vec::new();
    for (a, b) in &args.pairs {
        match lab.pair((*a, *b), args.tries) {
            Ok((truth, colds)) => {
                faults.extend(judge((*a, *b), truth, &colds));
                firsts.extend(colds.iter().map(|c| c.first.as_secs_f64()));
                print!("{}", line((*a, *b), truth, &colds));
            }
            Err(error) => faults.push(format!("{} × {}: {error:#}", a.name(), b.name())),
        }
    }
    firsts.sort_by(f64::total_cmp);
    figure("netlab.matrix.pairs", args.pairs.len() as f64, "pairs");
    figure("netlab.matrix.first_message.p50", quantile(&firsts, 0.5), "s");
    figure("netlab.matrix.first_message.max", quantile(&firsts, 1.0), "s");
    figure("netlab.matrix.faults", faults.len() as f64, "faults");
    for fault in &faults {
        println!("fault: {fault}");
    }
    if !faults.is_empty() {
        scratch.keep();
        println!("logs: {}", scratch.path().display());
    }
    Ok(faults.is_empty())
}

fn line((a, b): (Kind, Kind), truth: Truth, colds: &[Cold]) -> String {
    let mut text = format!(
        "{:<18} {:<18} bare udp {} tcp {} |",
        a.name(),
        b.name(),
        if truth.udp { "yes" } else { "no " },
        if truth.tcp { "yes" } else { "no " }
    );
    for c in colds {
        let direct = c.direct.map_or_else(|| "-".to_owned(), |d| format!("{:.1} s", d.as_secs_f64()));
        let _infallible =
            write!(text, " first {:.2} s, direct {direct}, {};", c.first.as_secs_f64(), c.label);
    }
    text.push('\n');
    text
}

/// Which path the large message really took.
fn travelled(traffic: Traffic) -> &'static str {
    if traffic.peer_udp >= LARGE {
        "direct_quic"
    } else if traffic.peer_tcp >= LARGE {
        "direct_tcp"
    } else if traffic.server >= LARGE {
        "circuit"
    } else {
        "unknown"
    }
}

fn judge((a, b): (Kind, Kind), truth: Truth, colds: &[Cold]) -> Vec<String> {
    let mut faults = Vec::new();
    let pair = format!("{} × {}", a.name(), b.name());
    for (i, c) in colds.iter().enumerate() {
        if c.first > FIRST_MAX {
            faults.push(format!("{pair}, try {i}: the first message took {:.1} s", c.first.as_secs_f64()));
        }
        let real = travelled(c.traffic);
        if real != c.label {
            faults.push(format!(
                "{pair}, try {i}: says {}, but the bytes went {real} ({:?})",
                c.label, c.traffic
            ));
        }
        for (kind, said) in [a, b].into_iter().zip(&c.said) {
            let expected = sentence(kind, &c.label);
            if !said.contains(expected) {
                faults.push(format!("{pair}, try {i}: the doctor says {said:?}, not {expected:?}"));
            }
        }
        for (kind, own) in [a, b].into_iter().zip(c.own.iter().flatten()) {
            let expected = finding(kind);
            if !own.iter().any(|s| s.contains(expected)) {
                faults.push(format!("{pair}: of its own network the doctor says {own:?}, not {expected:?}"));
            }
        }
    }
    let punched = colds.iter().filter(|c| c.direct.is_some()).count();
    if (truth.udp || truth.tcp) && punched * 3 < colds.len() * 2 {
        faults.push(format!("{pair}: bare sockets get through, Kith in {punched} of {} tries", colds.len()));
    }
    faults
}

fn text(told: &serde_json::Value) -> String {
    told["sentence"].as_str().unwrap_or_default().to_owned()
}

/// What the doctor says of its own network.
fn findings(node: &mut Node) -> Result<Vec<String>> {
    let network = node.get("/network")?;
    Ok(network["findings"].as_array().into_iter().flatten().map(text).collect())
}

impl Lab {
    /// Starts a pair cold, `tries` times.
    fn pair(&mut self, (a, b): (Kind, Kind), tries: u32) -> Result<(Truth, Vec<Cold>)> {
        for node in &mut self.nodes {
            node.kill()?;
        }
        self.street.homes[0].translate(a)?;
        self.street.homes[1].translate(b)?;
        let truth = truth::measure(&self.street).context("measuring with bare sockets")?;
        let mut colds = (0..tries).map(|_| self.attempt(truth)).collect::<Result<Vec<_>>>()?;
        // Of its own network the doctor has known enough by the last one's end.
        let own = [self.own(0, a)?, self.own(1, b)?];
        if let Some(last) = colds.last_mut() {
            last.own = Some(own);
        }
        Ok((truth, colds))
    }

    /// What the doctor of one side says of its own network, once it says what
    /// it should or has had its time.
    fn own(&mut self, side: usize, kind: Kind) -> Result<Vec<String>> {
        let Self { street, nodes, .. } = self;
        let (home, node) = (&street.homes[side], &mut nodes[side]);
        home.host.within(|| {
            let known = node.until("the doctor’s own findings", OWN_PATIENCE, |node| {
                Ok(findings(node)?.iter().any(|s| s.contains(finding(kind))).then_some(()))
            });
            // Judged by what it says, not by how long that took.
            let _late = known;
            findings(node)
        })
    }

    fn attempt(&mut self, truth: Truth) -> Result<Cold> {
        let patience = if truth.udp || truth.tcp { PUNCH_PATIENCE } else { NO_PUNCH_PATIENCE };
        let (accepted, first) = self.cold()?;
        let round = self.round;
        let Self { street, nodes, conversation, .. } = self;
        let [a, b] = nodes.as_mut_slice() else { bail!("two nodes") };
        let [home_a, home_b] = &street.homes;
        let direct =
            home_a.host.within(|| until_direct(a, accepted + patience)).context("looking at the path")?;
        let direct = direct.map(|at| at.duration_since(accepted));
        // A larger one, to be counted on the way.
        let before = home_a.traffic(home_b)?;
        let seed = u64::from(round);
        let name = format!("large-{round}");
        let (file, _) = home_a.host.within(|| files::add(a, &name, LARGE, seed)).context("adding a file")?;
        home_a.host.within(|| files::send(a, conversation, &file))?;
        home_b.host.within(|| {
            let id = b.until("the large message", PATIENCE, |node| {
                let page =
                    node.send("GET", &format!("/conversations/{conversation}/messages?limit=50"), None)?;
                let rows = page.body["messages"].as_array().cloned().unwrap_or_default();
                let file = rows.iter().find(|r| r["content"]["file"]["name"] == name.as_str()).cloned();
                Ok(file.and_then(|f| f["content"]["file"]["id"].as_str().map(str::to_owned)))
            })?;
            files::until_here(b, &id, PATIENCE)?;
            files::verify(b, &id, LARGE, seed).map(drop)
        })?;
        let after = home_a.traffic(home_b)?;
        let peer = home_a.host.within(|| best_peer(a))?;
        let said = [home_a.host.within(|| best_peer(a))?, home_b.host.within(|| best_peer(b))?];
        let field = |field: &str| peer[field].as_str().unwrap_or_default().to_owned();
        Ok(Cold {
            first,
            direct,
            label: if field("path").is_empty() { "none".into() } else { field("path") },
            traffic: Traffic {
                peer_udp: after.peer_udp.saturating_sub(before.peer_udp),
                peer_tcp: after.peer_tcp.saturating_sub(before.peer_tcp),
                server: after.server.saturating_sub(before.server),
            },
            said: said.each_ref().map(text),
            own: None,
        })
    }
}
