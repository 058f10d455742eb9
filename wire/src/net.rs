//! The network port: what the composition root passes between the overlay
//! (which knows libp2p) and the state machines (which know objects).
//!
//! A *link* is an ordered, authenticated, encrypted stream of frames to one
//! peer. Frames are opaque here. The overlay reports links that come up in
//! either direction; who opened one does not matter to what may be said on it.

use crate::ids::PeerKey;

/// Names one link for its lifetime; never reused within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Which protocol, and so which swarm, a link belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkKind {
    /// `/kith/peer/1` between two nodes, under the PeerIds that contacts know.
    Peer,
    /// `/kith/log/1` from a node to a relay, under a throw-away PeerId.
    Log,
}

/// How the bytes of a link travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Straight, over QUIC.
    DirectQuic,
    /// Straight, over TCP.
    DirectTcp,
    /// Through a relay's circuit.
    Circuit,
}

/// What is known of a link besides its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkFacts {
    /// The far end is in the same network.
    pub near: bool,
    /// Both sides' routers were opened from within, at the same moment.
    pub punched: bool,
    /// The relay in between.
    pub relay: Option<PeerKey>,
    /// The last round trip, ms.
    pub rtt_ms: Option<u32>,
}

/// How routers in front of a node give out addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mapping {
    /// Too few far ends have told what they see.
    #[default]
    Unknown,
    /// None: the own address is what others see.
    None,
    /// Every far end sees the same one: others can be told it.
    Same,
    /// Every far end sees another one: nobody can be told where to send to.
    Varies,
}

/// What the overlay is asked to do.
#[derive(Debug, Clone)]
pub enum NetCommand {
    /// Have a link of this kind to `peer`; a no-op while one is up or being
    /// dialled. Otherwise answered by `Up` or `DialFailed` within 30 seconds.
    Dial {
        /// Protocol wanted.
        kind: LinkKind,
        /// Ed25519 transport key of the far end.
        peer: PeerKey,
        /// Multiaddrs in text form, best first, without `/p2p/…` of `peer`.
        addrs: Vec<String>,
        /// The far end may be starting at this moment, so every way is tried, and
        /// relays several times. Without: it was away for long, and the relays
        /// that it would come to first are asked once. Of no account for relays.
        patient: bool,
    },
    /// Send one frame (at most `limits::FRAME_BYTES_MAX`). Frames of a link
    /// arrive in order or the link goes `Down`; so it does when too much waits
    /// to be sent. To a link that is gone: dropped.
    Send {
        /// The link.
        link: LinkId,
        /// The frame.
        frame: Vec<u8>,
    },
    /// Close a link, after what waits on it has been written. `Down` follows.
    Close {
        /// The link.
        link: LinkId,
    },
    /// End a link at once: its far end does not answer. `Down` follows. What
    /// waits on it is lost.
    Cut {
        /// The link.
        link: LinkId,
    },
    /// Something does not answer: end every connection towards contacts and
    /// relays on which nothing answers now.
    Check,
    /// Keep circuit reservations at exactly these relays (key, addresses).
    Reserve {
        /// The relays.
        relays: Vec<(PeerKey, Vec<String>)>,
    },
}

/// What the overlay reports.
#[derive(Debug, Clone)]
pub enum NetEvent {
    /// A link is up: the one to use for this peer from now on. It may come
    /// before the `Down` of the one that it replaces (a direct link retires a
    /// relayed one after two seconds; a peer that restarted comes again).
    Up {
        /// Its name from now on.
        link: LinkId,
        /// Its protocol.
        kind: LinkKind,
        /// The far end's authenticated transport key.
        peer: PeerKey,
        /// Our own transport key on this link (log links use a throw-away one).
        local: PeerKey,
        /// How it travels.
        path: Path,
    },
    /// One frame came in.
    Frame {
        /// The link.
        link: LinkId,
        /// The frame.
        frame: Vec<u8>,
    },
    /// The link is gone. Frames sent before may be lost.
    Down {
        /// The link.
        link: LinkId,
        /// Why, as a sentence for the doctor (no addresses).
        reason: String,
    },
    /// No link could be made.
    DialFailed {
        /// Protocol wanted.
        kind: LinkKind,
        /// Whom.
        peer: PeerKey,
        /// Why, as a sentence.
        reason: String,
    },
    /// Our own reachable addresses changed, best first, at most
    /// `limits::ADDRS_MAX`: those listened on (loopback last) and circuit ones.
    Addresses {
        /// Multiaddrs in text form.
        addrs: Vec<String>,
    },
    /// What has been found out about a link. Comes after its `Up`, and again
    /// when it has changed much.
    Measured {
        /// The link.
        link: LinkId,
        /// What.
        facts: LinkFacts,
    },
    /// A peer has made itself known in the own network: a dial will find it.
    Nearby {
        /// Whom, as it says.
        peer: PeerKey,
    },
    /// How others see this node.
    Outside {
        /// How the routers in front of it give out addresses, as far as several
        /// far ends agree on what they see.
        mapping: Mapping,
        /// Whether a relay that called back got through; `None`: not known.
        /// It has the address of one that was called before: a router that
        /// looks at no more than that lets it in, and others not.
        inbound: Option<bool>,
    },
    /// A circuit reservation stands or fell.
    Reservation {
        /// The relay.
        relay: PeerKey,
        /// Whether it stands.
        active: bool,
    },
}
