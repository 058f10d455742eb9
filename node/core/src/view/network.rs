//! The network as a person sees it: relays, links, people who are away, what
//! the doctor finds.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// State of a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Relay {
    /// Relay id.
    pub id: String,
    /// Name from its statement or link.
    pub name: String,
    /// Connected.
    pub up: bool,
    /// Why not, as a sentence.
    pub problem: Option<String>,
    /// How long it keeps messages, seconds.
    pub retention_s: Option<u64>,
    /// The community link.
    pub link: String,
    /// `direct_quic` or `direct_tcp`, while connected.
    pub path: Option<String>,
    /// Since when it is connected, Unix ms.
    pub since: Option<u64>,
    /// The last round trip, ms.
    pub rtt_ms: Option<u32>,
    /// How it stands, as the doctor says it.
    pub sentence: String,
    /// What would help.
    pub advice: Option<String>,
}

/// A TURN server and the right to use it, as a browser's `RTCIceServer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TurnServer {
    /// Name of the relay that runs it.
    pub relay: String,
    /// `stun:…` and `turn:…`.
    pub urls: Vec<String>,
    /// User name.
    pub username: String,
    /// Password.
    pub credential: String,
    /// How long new allocations are granted, seconds from now.
    pub valid_s: u64,
}

/// A live link to another person's device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerLink {
    /// Account, once proven.
    pub account: Option<String>,
    /// Name as shown here.
    pub name: String,
    /// `direct_quic`, `direct_tcp` or `circuit`.
    pub path: String,
    /// `lan`, `direct_quic`, `direct_tcp`, `punched` or `relayed`.
    pub label: String,
    /// Name of the relay in between.
    pub relay: Option<String>,
    /// Since when, Unix ms.
    pub since: u64,
    /// The last round trip, ms.
    pub rtt_ms: Option<u32>,
    /// What the path is and why it is not better, as the doctor says it.
    pub sentence: String,
    /// What would help.
    pub advice: Option<String>,
}

/// A person none of whose devices is linked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Away {
    /// Account.
    pub account: String,
    /// Name as shown here.
    pub name: String,
    /// Where messages are kept meanwhile, and why there is no link.
    pub sentence: String,
    /// What would help.
    pub advice: Option<String>,
}

/// A finding of the doctor about this node itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What is.
    pub sentence: String,
    /// What would help.
    pub advice: Option<String>,
}

/// The network in one view.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Network {
    /// Relays in use.
    pub relays: Vec<Relay>,
    /// Live links to people.
    pub peers: Vec<PeerLink>,
    /// Own addresses in use.
    pub addrs: Vec<String>,
    /// Objects waiting here for a path.
    pub waiting: u32,
    /// People that are not connected, at most [`AWAY_LIST_MAX`].
    pub away: Vec<Away>,
    /// What the doctor has to say about this node.
    pub findings: Vec<Finding>,
}

/// People that the network view lists as away.
pub const AWAY_LIST_MAX: usize = 100;
