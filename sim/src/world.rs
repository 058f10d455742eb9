//! The world: nodes, links between them, and what is under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ed25519_dalek::SigningKey;
use kith_bootstrap::{Limits, Output as RelayOutput};
use kith_core::api::{Command, Event, Input, Now, Output, Refusal, Reply};
use kith_core::files::port::{Do, Heard};
use kith_core::{Config, Node, OpenError, read, view};
use kith_mls::DeviceKeys;
use kith_store::{MemoryStore, StoreError};
use kith_wire::ids::{AccountId, DeviceId, GroupId, PeerKey, TopicId, hash};
use kith_wire::net::{LinkId, LinkKind, NetCommand, NetEvent, Path};
use kith_wire::peer::Frame;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

use crate::relay::{Mood, Relay};

/// Start of the virtual clock, Unix ms: 2026-01-01.
const EPOCH_MS: u64 = 1_767_225_600_000;
/// Steps after which a run counts as never coming to rest.
const STEPS_MAX: u64 = 5_000_000;

/// Names a node of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeIndex(pub usize);

/// Names a relay of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayIndex(pub usize);

/// Where a link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Node(usize),
    Relay(usize),
}

/// What goes wrong by chance.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Shortest and longest time under way, ms.
    pub delay_ms: (u64, u64),
    /// Of 10,000 frames, how many take their link down with them.
    pub cut: u32,
    /// Of 10,000 inputs of a node, after how many it dies before its commit.
    pub crash_before: u32,
    /// The same after the commit, before anything leaves the node.
    pub crash_after: u32,
    /// Of 10,000 commits of a node, how many the disk refuses.
    pub refuse: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self { delay_ms: (1, 20), cut: 0, crash_before: 0, crash_after: 0, refuse: 0 }
    }
}

/// How long a node that died stays down at most, ms.
const DOWN_MS: u64 = 60_000;

/// Orders about files that are kept for one node.
const ORDERS_MAX: usize = 1_000;

struct Party {
    node: Option<Node>,
    store: Arc<MemoryStore>,
    transport: PeerKey,
    config: Config,
    events: Vec<Event>,
    /// What is to be done about files; the newest.
    orders: Vec<Do>,
    replies: BTreeMap<u64, Result<Reply, Refusal>>,
    /// Its wall clock is off by so much, ms.
    skew_ms: i64,
    /// The next write is refused.
    refuse: Arc<AtomicBool>,
    /// When it is started again after a crash.
    restart_at: Option<u64>,
    /// It was put back to an earlier day where nobody may have told it: its keys
    /// are not held against it.
    unwatched: bool,
    /// An attacker has it: it does nothing by itself, and what comes for it
    /// is kept here.
    caught: Option<Vec<(LinkId, Vec<u8>)>>,
}

#[derive(Debug, Clone, Copy)]
struct End {
    at: Place,
    far: LinkId,
}

/// Everything there is.
pub struct World {
    rng: ChaCha20Rng,
    now_ms: u64,
    /// What the network does.
    pub faults: Faults,
    parties: Vec<Party>,
    relays: Vec<Relay>,
    links: BTreeMap<LinkId, End>,
    next: u64,
    due: BTreeMap<(u64, u64), (Place, NetEvent)>,
    last_arrival: BTreeMap<LinkId, u64>,
    /// Pairs that cannot reach each other.
    cut_pairs: Vec<(Place, Place)>,
    /// Of these pairs the first one's frames vanish on the way to the second.
    stalled: Vec<(Place, Place)>,
    steps: u64,
    steps_max: u64,
    /// Nodes that died by a fault.
    pub crashes: u64,
    /// Hash over everything that left a node.
    trace: Sha256,
    /// Keys of ciphertexts, with a hash of the ciphertext; and how many keys
    /// were used for two.
    used: BTreeMap<String, String>,
    /// Keys that were used twice.
    pub reused: u64,
    /// Times that something left a node which died before it had stored what
    /// that told: a message, or that one has arrived.
    pub left_unstored: u64,
    /// The state for which a node last encrypted an event.
    sealed: BTreeMap<(usize, String), String>,
}

fn text_of(message: view::Message) -> Option<String> {
    match message.content {
        view::Content::Text { text } => Some(text),
        _ => None,
    }
}

fn seed(rng: &mut ChaCha20Rng) -> [u8; 32] {
    let mut out = [0; 32];
    rng.fill_bytes(&mut out);
    out
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(world_seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&world_seed.to_le_bytes());
        kith_wire::crypto::once::begin();
        Self {
            rng: ChaCha20Rng::from_seed(bytes),
            now_ms: 0,
            faults: Faults::default(),
            parties: Vec::new(),
            relays: Vec::new(),
            links: BTreeMap::new(),
            next: 1,
            due: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
            cut_pairs: Vec::new(),
            stalled: Vec::new(),
            steps: 0,
            steps_max: STEPS_MAX,
            crashes: 0,
            trace: Sha256::new(),
            used: BTreeMap::new(),
            reused: 0,
            left_unstored: 0,
            sealed: BTreeMap::new(),
        }
    }

    /// Hash over everything that left a node until now: two runs of one seed
    /// have the same.
    #[must_use]
    pub fn trace(&self) -> String {
        self.trace.clone().finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
    }

    /// Ciphertexts whose keys were looked at.
    #[must_use]
    pub fn ciphertexts(&self) -> usize {
        self.used.len()
    }

    /// A node's time.
    fn now_at(&self, index: usize) -> Now {
        let skew = self.parties.get(index).map_or(0, |p| p.skew_ms);
        let now = self.now();
        Now { wall_ms: now.wall_ms.saturating_add_signed(skew), ..now }
    }

    /// A node's wall clock, Unix ms.
    #[must_use]
    pub fn wall_at(&self, node: NodeIndex) -> u64 {
        self.now_at(node.0).wall_ms
    }

    /// Sets a node's wall clock off.
    pub fn skew(&mut self, node: NodeIndex, ms: i64) {
        if let Some(p) = self.parties.get_mut(node.0) {
            p.skew_ms = ms;
        }
    }

    /// What a node has stored.
    #[must_use]
    pub fn store(&self, node: NodeIndex) -> Option<Arc<MemoryStore>> {
        self.parties.get(node.0).map(|p| p.store.clone())
    }

    /// Whether a node runs.
    #[must_use]
    pub fn runs(&self, node: NodeIndex) -> bool {
        self.parties.get(node.0).is_some_and(|p| p.node.is_some())
    }

    /// Lets what a node sends to another vanish, or ends that.
    pub fn stall(&mut self, from: NodeIndex, to: NodeIndex, yes: bool) {
        let (from, to) = (Place::Node(from.0), Place::Node(to.0));
        self.stalled.retain(|p| *p != (from, to));
        if yes {
            self.stalled.push((from, to));
        } else {
            // What was lost is noticed at last.
            self.cut_links(from, to);
        }
    }

    /// What a node sends to a relay vanishes without a trace, or passes again.
    pub fn stall_relay(&mut self, from: NodeIndex, relay: RelayIndex, yes: bool) {
        let (from, to) = (Place::Node(from.0), Place::Relay(relay.0));
        self.stalled.retain(|p| *p != (from, to));
        if yes {
            self.stalled.push((from, to));
        }
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { wall_ms: EPOCH_MS + self.now_ms, mono_ms: self.now_ms }
    }

    /// Adds a node with a new account.
    pub fn node(&mut self, name: &str) -> Result<NodeIndex, OpenError> {
        self.settle(|store, entropy, config, rng_seed, now| {
            Node::create(store, entropy, name, config, rng_seed, now)
        })
    }

    /// Adds a further device of the account of a running node.
    pub fn further(&mut self, of: NodeIndex) -> Result<NodeIndex, OpenError> {
        let Some(first) = self.parties.get_mut(of.0).and_then(|p| p.node.take()) else {
            return Err(OpenError::Damaged("the first device is stopped".into()));
        };
        let made = self.settle(|store, _, config, rng_seed, now| {
            Node::create_further(store, &first, config, rng_seed, now)
        });
        if let Some(p) = self.parties.get_mut(of.0) {
            p.node = Some(first);
        }
        made
    }

    /// Brings a further device into a group of the first one.
    pub fn add_further(
        &mut self,
        first: NodeIndex,
        further: NodeIndex,
        group: GroupId,
    ) -> Result<(), Refusal> {
        let now = self.now();
        let stopped = || Refusal::new("stopped", "the node is stopped");
        let node = |w: &mut Self, n: NodeIndex| w.parties.get_mut(n.0).and_then(|p| p.node.take());
        let mut new = node(self, further).ok_or_else(stopped)?;
        let presented = new.present(now);
        self.parties[further.0].node = Some(new);
        self.input(further.0, Input::Tick);
        let mut old = node(self, first).ok_or_else(stopped)?;
        let added = old.add_further(now, group, presented?);
        self.parties[first.0].node = Some(old);
        self.input(first.0, Input::Tick);
        added
    }

    /// A further device takes somebody for a contact, as if it had been linked.
    pub fn learn_contact(&mut self, node: NodeIndex, account: AccountId) -> Result<(), Refusal> {
        let now = self.now();
        let party = self.parties.get_mut(node.0).and_then(|p| p.node.as_mut());
        party.ok_or_else(|| Refusal::new("stopped", "the node is stopped"))?.learn_contact(now, account)
    }

    fn settle(
        &mut self,
        make: impl FnOnce(Arc<MemoryStore>, [u8; 32], Config, [u8; 32], Now) -> Result<Node, OpenError>,
    ) -> Result<NodeIndex, OpenError> {
        let refuse = Arc::new(AtomicBool::new(false));
        let hook = {
            let refuse = refuse.clone();
            Box::new(move |_, _: &kith_store::Overlay| {
                let no = StoreError::Io("a fault of the simulation".into());
                if refuse.swap(false, Ordering::Relaxed) { Err(no) } else { Ok(()) }
            })
        };
        let store = Arc::new(MemoryStore::with_hook(hook));
        let (entropy, rng_seed) = (seed(&mut self.rng), seed(&mut self.rng));
        let config = Config::default();
        let node = make(store.clone(), entropy, config, rng_seed, self.now())?;
        let key = SigningKey::from_bytes(node.transport_seed().expose());
        let transport = PeerKey(key.verifying_key().to_bytes());
        let index = self.parties.len();
        self.parties.push(Party {
            node: Some(node),
            store,
            transport,
            config,
            events: Vec::new(),
            orders: Vec::new(),
            replies: BTreeMap::new(),
            skew_ms: 0,
            refuse,
            restart_at: None,
            unwatched: false,
            caught: None,
        });
        let addrs = vec![format!("/sim/{index}")];
        self.input(index, Input::Net(NetEvent::Addresses { addrs }));
        Ok(NodeIndex(index))
    }

    /// An attacker takes a running device over, with its keys and a copy of its
    /// rows; its links stay up. It does nothing by itself from now on.
    pub fn possess(&mut self, node: NodeIndex) -> Option<(DeviceKeys, MemoryStore)> {
        let p = self.parties.get_mut(node.0)?;
        let device = p.node.take()?;
        p.caught = Some(Vec::new());
        p.restart_at = None;
        Some((device.device_keys(), p.store.fork()))
    }

    /// The keys of a running device.
    #[must_use]
    pub fn keys(&self, node: NodeIndex) -> Option<DeviceKeys> {
        self.parties.get(node.0)?.node.as_ref().map(Node::device_keys)
    }

    /// The inbox of a running device.
    #[must_use]
    pub fn inbox(&self, node: NodeIndex) -> Option<TopicId> {
        self.parties.get(node.0)?.node.as_ref().map(Node::inbox)
    }

    /// Sends a frame on the link between two devices, as if the first one had.
    /// False if there is none.
    pub fn inject(&mut self, from: NodeIndex, to: NodeIndex, frame: &Frame) -> bool {
        let (from, to) = (Place::Node(from.0), Place::Node(to.0));
        let there = |e: &End| e.at == from && self.links.get(&e.far).is_some_and(|f| f.at == to);
        let Some(link) = self.links.iter().find(|(_, e)| there(e)).map(|(l, _)| *l) else { return false };
        self.send(link, frame.to_bytes());
        true
    }

    /// A number that no frame has had.
    pub fn fresh_number(&mut self) -> u64 {
        self.next += 1;
        u64::MAX / 2 + self.next
    }

    /// Frames that came for a device since an attacker has it.
    pub fn take_caught(&mut self, node: NodeIndex) -> Vec<Frame> {
        let caught = self.parties.get_mut(node.0).and_then(|p| p.caught.as_mut());
        let caught = caught.map(core::mem::take).unwrap_or_default();
        caught.iter().filter_map(|(_, bytes)| Frame::from_bytes(bytes).ok()).collect()
    }

    /// Starts a device on rows of an earlier day, as who copies a disk back.
    /// `watched`: somebody who knows what it said since can be reached, so that it
    /// uses no key twice.
    pub fn rewind(&mut self, node: NodeIndex, to: MemoryStore, watched: bool) -> Result<(), OpenError> {
        self.stop(node);
        if let Some(p) = self.parties.get_mut(node.0) {
            p.store = Arc::new(to);
            p.unwatched |= !watched;
            p.caught = None;
        }
        self.start(node)
    }

    /// Stops a node as `kill -9` does: what was not committed is gone.
    pub fn stop(&mut self, node: NodeIndex) {
        if let Some(p) = self.parties.get_mut(node.0) {
            p.node = None;
        }
        self.silence(Place::Node(node.0));
    }

    /// Whoever was here is gone: its links end, nothing under way arrives.
    fn silence(&mut self, place: Place) {
        let ends: Vec<LinkId> = self.links.iter().filter(|(_, e)| e.at == place).map(|(l, _)| *l).collect();
        for link in ends {
            self.close(link, "the other side stopped");
        }
        self.due.retain(|_, (at, _)| *at != place);
    }

    /// Adds a relay with limits of its own, running.
    pub fn relay(&mut self, name: &str, limits: Limits) -> Result<RelayIndex, kith_bootstrap::OpenError> {
        let relay = Relay::new(name, seed(&mut self.rng), limits);
        self.relays.push(relay);
        let index = RelayIndex(self.relays.len() - 1);
        self.start_relay(index)?;
        Ok(index)
    }

    /// What a relay's operator hands out.
    #[must_use]
    pub fn community_link(&self, relay: RelayIndex) -> String {
        self.relays.get(relay.0).map(|r| r.link(relay.0).to_text()).unwrap_or_default()
    }

    /// Bytes and topics that a running relay holds.
    #[must_use]
    pub fn relay_usage(&self, relay: RelayIndex) -> (u64, u64) {
        self.relays.get(relay.0).map(Relay::usage).unwrap_or_default()
    }

    /// Stops a relay as `kill -9` does.
    pub fn stop_relay(&mut self, relay: RelayIndex) {
        if let Some(r) = self.relays.get_mut(relay.0) {
            r.stop();
        }
        self.silence(Place::Relay(relay.0));
    }

    /// A stopped relay loses its disk, but not its key.
    pub fn wipe_relay(&mut self, relay: RelayIndex) {
        if let Some(r) = self.relays.get_mut(relay.0).filter(|r| !r.running()) {
            r.wipe();
        }
    }

    /// Starts a stopped relay from its store.
    pub fn start_relay(&mut self, relay: RelayIndex) -> Result<(), kith_bootstrap::OpenError> {
        let (rng_seed, now) = (seed(&mut self.rng), self.now());
        match self.relays.get_mut(relay.0).filter(|r| !r.running()) {
            Some(r) => r.start(now, rng_seed),
            None => Ok(()),
        }
    }

    /// Starts a stopped node from its store.
    pub fn start(&mut self, node: NodeIndex) -> Result<(), OpenError> {
        let (rng_seed, now) = (seed(&mut self.rng), self.now_at(node.0));
        let stopped = |p: &&mut Party| p.node.is_none() && p.caught.is_none();
        let Some(p) = self.parties.get_mut(node.0).filter(stopped) else { return Ok(()) };
        p.restart_at = None;
        p.node = Some(Node::open(p.store.clone(), p.config, rng_seed, now)?);
        let addrs = vec![format!("/sim/{}", node.0)];
        self.input(node.0, Input::Net(NetEvent::Addresses { addrs }));
        Ok(())
    }

    /// Cuts or heals the network between two nodes.
    pub fn reachable(&mut self, a: NodeIndex, b: NodeIndex, yes: bool) {
        self.pair_reachable(Place::Node(a.0), Place::Node(b.0), yes);
    }

    /// Cuts or heals the network between a node and a relay.
    pub fn relay_reachable(&mut self, node: NodeIndex, relay: RelayIndex, yes: bool) {
        self.pair_reachable(Place::Node(node.0), Place::Relay(relay.0), yes);
    }

    fn pair_reachable(&mut self, a: Place, b: Place, yes: bool) {
        let pair = (a.min(b), a.max(b));
        self.cut_pairs.retain(|p| *p != pair);
        if yes {
            return;
        }
        self.cut_pairs.push(pair);
        self.cut_links(a, b);
    }

    fn cut_links(&mut self, a: Place, b: Place) {
        let pair = (a.min(b), a.max(b));
        let between: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, e)| {
                let far = self.links.get(&e.far).map_or(e.at, |f| f.at);
                (e.at.min(far), e.at.max(far)) == pair
            })
            .map(|(l, _)| *l)
            .collect();
        for link in between {
            self.close(link, "the network is cut");
        }
    }

    /// Asks a node something and waits for the answer.
    pub fn ask(&mut self, node: NodeIndex, command: Command) -> Result<Reply, Refusal> {
        self.next += 1;
        let id = self.next;
        self.input(node.0, Input::Command { id, command });
        self.parties
            .get_mut(node.0)
            .and_then(|p| p.replies.remove(&id))
            .unwrap_or_else(|| Err(Refusal::new("stopped", "the node is stopped")))
    }

    /// Own account of a node, also while it is stopped.
    #[must_use]
    pub fn account(&self, node: NodeIndex) -> Option<AccountId> {
        let me = read::me(&*self.parties.get(node.0)?.store).ok()??;
        AccountId::from_text(&me.account)
    }

    /// Own device of a node, also while it is stopped.
    #[must_use]
    pub fn device(&self, node: NodeIndex) -> Option<DeviceId> {
        read::device(&*self.parties.get(node.0)?.store).ok()?
    }

    /// The conversations of a node as its person sees them.
    #[must_use]
    pub fn conversations(&self, node: NodeIndex) -> Vec<view::Conversation> {
        let Some(me) = self.account(node) else { return Vec::new() };
        self.parties.get(node.0).and_then(|p| read::conversations(&*p.store, &me).ok()).unwrap_or_default()
    }

    /// The newest rows of a conversation of a node.
    #[must_use]
    pub fn messages(&self, node: NodeIndex, conversation: &GroupId) -> Vec<view::Message> {
        let Some(me) = self.account(node) else { return Vec::new() };
        self.parties
            .get(node.0)
            .and_then(|p| read::messages(&*p.store, &me, conversation, None, None, read::PAGE_MAX).ok())
            .flatten()
            .map(|page| page.messages)
            .unwrap_or_default()
    }

    /// The texts of a conversation of a node, in its order.
    #[must_use]
    pub fn texts(&self, node: NodeIndex, conversation: &GroupId) -> Vec<String> {
        self.messages(node, conversation).into_iter().filter_map(text_of).collect()
    }

    /// All texts of a conversation of a node, however many.
    #[must_use]
    pub fn all_texts(&self, node: NodeIndex, conversation: &GroupId) -> Vec<String> {
        self.all_messages(node, conversation).into_iter().filter_map(text_of).collect()
    }

    /// Own texts that a node shows as failed, with a button to send them again,
    /// or as waiting, or otherwise on their way.
    #[must_use]
    pub fn texts_in(
        &self,
        node: NodeIndex,
        conversation: &GroupId,
        delivery: view::DeliveryState,
    ) -> Vec<String> {
        let such = |m: &view::Message| m.delivery == Some(delivery);
        self.all_messages(node, conversation).into_iter().filter(such).filter_map(text_of).collect()
    }

    /// Own texts that are not shown as failed, with the state for which the
    /// node encrypted each last.
    #[must_use]
    pub fn sealed(&self, node: NodeIndex, conversation: &GroupId) -> Vec<(String, String)> {
        let stands = |m: &view::Message| m.delivery.is_some_and(|d| d != view::DeliveryState::Failed);
        let with_state = |m: view::Message| {
            let state = self.sealed.get(&(node.0, m.id.clone()))?.clone();
            Some((text_of(m)?, state))
        };
        self.all_messages(node, conversation).into_iter().filter(stands).filter_map(with_state).collect()
    }

    fn all_messages(&self, node: NodeIndex, conversation: &GroupId) -> Vec<view::Message> {
        let (Some(me), Some(p)) = (self.account(node), self.parties.get(node.0)) else { return Vec::new() };
        let mut out = Vec::new();
        let mut before = None;
        while let Ok(Some(page)) = read::messages(&*p.store, &me, conversation, before, None, read::PAGE_MAX)
        {
            let Some(first) = page.messages.first().map(|m| m.position) else { break };
            if before == Some(first) {
                break;
            }
            before = Some(first);
            out.extend(page.messages);
        }
        out
    }

    /// The people of a node.
    #[must_use]
    pub fn contacts(&self, node: NodeIndex) -> Vec<view::Contact> {
        self.parties.get(node.0).and_then(|p| read::contacts(&*p.store).ok()).unwrap_or_default()
    }

    /// What a node told its UI since the last call.
    pub fn take_events(&mut self, node: NodeIndex) -> Vec<Event> {
        self.parties.get_mut(node.0).map(|p| core::mem::take(&mut p.events)).unwrap_or_default()
    }

    /// What a node decided about files since the last call.
    pub fn take_orders(&mut self, node: NodeIndex) -> Vec<Do> {
        self.parties.get_mut(node.0).map(|p| core::mem::take(&mut p.orders)).unwrap_or_default()
    }

    /// Tells a node what the part that moves the bytes of files would.
    pub fn hear(&mut self, node: NodeIndex, heard: Heard) {
        self.input(node.0, Input::File(heard));
    }

    /// The transport key that contacts know a node by.
    #[must_use]
    pub fn transport(&self, node: NodeIndex) -> Option<PeerKey> {
        self.parties.get(node.0).map(|p| p.transport)
    }

    /// What counts as never coming to rest, for a world larger than most.
    pub fn allow_steps(&mut self, most: u64) {
        self.steps_max = most;
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while let Some(at) = self.next_at().filter(|at| *at <= until) {
            self.now_ms = self.now_ms.max(at);
            self.step();
            self.steps += 1;
            assert!(self.steps < self.steps_max, "the world does not come to rest");
        }
        self.now_ms = until;
    }

    fn next_at(&self) -> Option<u64> {
        let arrivals = self.due.first_key_value().map(|((at, _), _)| *at);
        let timers = self.parties.iter().filter_map(|p| p.node.as_ref()?.poll_timeout());
        let relays = self.relays.iter().filter_map(Relay::poll_timeout);
        let restarts = self.parties.iter().filter_map(|p| p.restart_at);
        arrivals.into_iter().chain(timers).chain(relays).chain(restarts).min()
    }

    fn step(&mut self) {
        let up = |p: &Party| p.restart_at.is_some_and(|at| at <= self.now_ms);
        if let Some(index) = self.parties.iter().position(up) {
            // A store that refuses is asked again by the next step.
            let _later = self.start(NodeIndex(index));
            return;
        }
        if let Some(((at, _), _)) = self.due.first_key_value()
            && *at <= self.now_ms
        {
            if let Some((_, (to, event))) = self.due.pop_first() {
                self.arrive(to, event);
            }
            return;
        }
        let ready = self
            .parties
            .iter()
            .position(|p| p.node.as_ref().and_then(Node::poll_timeout).is_some_and(|at| at <= self.now_ms));
        if let Some(index) = ready {
            self.input(index, Input::Tick);
            return;
        }
        let ready = self.relays.iter().position(|r| r.poll_timeout().is_some_and(|at| at <= self.now_ms));
        let now = self.now();
        if let Some(relay) = ready.and_then(|i| self.relays.get_mut(i)) {
            let out = relay.tick(now);
            self.relay_output(out);
        }
    }

    fn arrive(&mut self, to: Place, event: NetEvent) {
        let now = self.now();
        match to {
            Place::Node(index) => self.input(index, Input::Net(event)),
            Place::Relay(index) => {
                if let Some(relay) = self.relays.get_mut(index) {
                    let out = relay.event(now, event);
                    self.relay_output(out);
                }
            }
        }
    }

    fn relay_output(&mut self, out: Vec<RelayOutput>) {
        for output in out {
            match output {
                RelayOutput::Send { link, frame } => self.send(link, frame),
                RelayOutput::Close { link } => self.close(link, "the relay closed the link"),
            }
        }
    }

    fn send(&mut self, link: LinkId, frame: Vec<u8>) {
        let Some(end) = self.links.get(&link).copied() else { return };
        let Some(far) = self.links.get(&end.far).copied() else { return };
        if self.faults.cut > 0 && self.rng.next_u32() % 10_000 < self.faults.cut {
            self.close(link, "the connection broke");
            return;
        }
        if self.stalled.contains(&(end.at, far.at)) {
            return;
        }
        let at = self.arrival(end.far);
        let frame = match (end.at, far.at) {
            (Place::Relay(relay), _) => self.by_mood(relay, end.far, far.at, frame),
            (_, Place::Relay(relay)) if self.mood(relay) == Mood::Drops && self.chance(500) => None,
            _ => Some(frame),
        };
        if let Some(frame) = frame {
            self.schedule(at, far.at, NetEvent::Frame { link: end.far, frame });
        }
    }

    fn mood(&self, relay: usize) -> Mood {
        self.relays.get(relay).map(|r| r.mood).unwrap_or_default()
    }

    /// What becomes of a frame that a relay sends.
    fn by_mood(&mut self, relay: usize, link: LinkId, to: Place, mut frame: Vec<u8>) -> Option<Vec<u8>> {
        match self.mood(relay) {
            Mood::Drops if self.chance(500) => return None,
            Mood::Lies if self.chance(500) && !frame.is_empty() => {
                let at = self.rng.next_u32() as usize % frame.len();
                frame[at] ^= 1 << (self.rng.next_u32() % 8);
            }
            Mood::Repeats if self.chance(2_000) => {
                let again = self.now_ms + u64::from(self.rng.next_u32()) % 20_000;
                self.schedule(again, to, NetEvent::Frame { link, frame: frame.clone() });
            }
            _ => {}
        }
        Some(frame)
    }

    /// How a relay behaves from now on.
    pub fn set_mood(&mut self, relay: RelayIndex, mood: Mood) {
        if let Some(r) = self.relays.get_mut(relay.0) {
            r.mood = mood;
        }
    }

    fn chance(&mut self, of_10_000: u32) -> bool {
        of_10_000 > 0 && self.rng.next_u32() % 10_000 < of_10_000
    }

    /// A node dies and is started again some time later.
    pub fn crash(&mut self, node: NodeIndex) {
        self.crashes += 1;
        self.stop(node);
        let up_at = self.now_ms + u64::from(self.rng.next_u32()) % DOWN_MS;
        if let Some(p) = self.parties.get_mut(node.0) {
            p.restart_at = Some(up_at);
        }
    }

    fn input(&mut self, index: usize, input: Input) {
        let now = self.now_at(index);
        let (before, after) = (self.chance(self.faults.crash_before), self.chance(self.faults.crash_after));
        let refuse = self.chance(self.faults.refuse);
        let Some(p) = self.parties.get_mut(index) else { return };
        if let (Some(caught), Input::Net(NetEvent::Frame { link, frame })) = (&mut p.caught, &input) {
            caught.push((*link, frame.clone()));
        }
        let Some(node) = &mut p.node else { return };
        node.handle(now, input);
        if before {
            // Nothing may have left by now; what did goes on its way, and is
            // looked at like everything else.
            let early: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
            let traces = node.take_traces();
            let left = early.iter().any(|o| matches!(o, Output::Net(NetCommand::Send { .. })));
            self.left_unstored += u64::from(left && !p.unwatched);
            self.look_at(index, traces);
            for output in early {
                if let Output::Net(command) = output {
                    self.command(index, command);
                }
            }
            return self.crash(NodeIndex(index));
        }
        p.refuse.store(refuse, Ordering::Relaxed);
        if let Err(e) = node.commit() {
            // The driver of the product opens the node again; so do we.
            p.events.push(Event::Notice { conversation: None, code: "disk".into(), message: e.to_string() });
            return self.crash(NodeIndex(index));
        }
        p.refuse.store(false, Ordering::Relaxed);
        let mut out = Vec::new();
        let traces = node.take_traces();
        while let Some(output) = node.poll_output() {
            match output {
                Output::Reply { id, result } => {
                    p.replies.insert(id, result);
                }
                Output::Event(event) => p.events.push(event),
                // The bytes of files are not simulated; what is decided about
                // them is kept for those who ask.
                Output::File(order) => {
                    p.orders.push(order);
                    let over = p.orders.len().saturating_sub(ORDERS_MAX);
                    p.orders.drain(..over);
                }
                Output::Net(command) => out.push(command),
            }
        }
        self.look_at(index, traces);
        if after {
            // What was answered to a command is durable, and counts.
            return self.crash(NodeIndex(index));
        }
        for command in out {
            if let NetCommand::Send { frame, .. } = &command {
                self.trace.update(self.now_ms.to_be_bytes());
                self.trace.update(frame);
            }
            self.command(index, command);
        }
    }

    /// Notes which key each ciphertext used: none is used twice; and for which
    /// state each event was encrypted last.
    fn look_at(&mut self, index: usize, traces: Vec<String>) {
        if self.parties.get(index).is_some_and(|p| p.unwatched) {
            return;
        }
        for line in traces {
            let fields: Vec<&str> = line.split(' ').collect();
            let [state, leaf, generation, digest, event] = fields[..] else { continue };
            let key = format!("{state} {leaf} {generation}");
            let known = self.used.entry(key).or_insert_with(|| digest.into());
            self.reused += u64::from(known != digest);
            self.sealed.insert((index, event.into()), state.into());
        }
    }

    fn command(&mut self, from: usize, command: NetCommand) {
        match command {
            NetCommand::Dial { kind, peer, .. } => self.dial(from, kind, peer),
            NetCommand::Send { link, frame } => self.send(link, frame),
            NetCommand::Close { link } | NetCommand::Cut { link } => self.close(link, "closed"),
            NetCommand::Reserve { .. } | NetCommand::Check => {}
        }
    }

    fn dial(&mut self, from: usize, kind: LinkKind, peer: PeerKey) {
        let near_place = Place::Node(from);
        let (to, up) = match kind {
            LinkKind::Peer => {
                let to = self.parties.iter().position(|p| p.transport == peer);
                let up = to.and_then(|t| self.parties.get(t)).is_some_and(|p| p.node.is_some());
                (to.map(Place::Node), up)
            }
            LinkKind::Log => {
                let to = self.relays.iter().position(|r| r.key() == peer);
                let up = to.and_then(|t| self.relays.get(t)).is_some_and(Relay::running);
                (to.map(Place::Relay), up)
            }
        };
        let delay = self.delay();
        let cut = |to: Place| {
            self.cut_pairs.contains(&(near_place.min(to), near_place.max(to)))
                || self.stalled.iter().any(|p| *p == (near_place, to) || *p == (to, near_place))
        };
        let linked = |to: Place| {
            self.links
                .values()
                .any(|e| e.at == near_place && self.links.get(&e.far).is_some_and(|f| f.at == to))
        };
        if to.is_some_and(linked) {
            return;
        }
        let Some(to) = to.filter(|to| up && !cut(*to)) else {
            let event = NetEvent::DialFailed { kind, peer, reason: "nobody answers there".into() };
            self.schedule(self.now_ms + delay, near_place, event);
            return;
        };
        let (near, far) = (LinkId(self.next + 1), LinkId(self.next + 2));
        self.next += 2;
        self.links.insert(near, End { at: near_place, far });
        self.links.insert(far, End { at: to, far: near });
        let own = self.key_towards(from, to);
        for (link, at, peer, local) in [(near, near_place, peer, own), (far, to, own, peer)] {
            let when = self.now_ms + delay;
            self.last_arrival.insert(link, when);
            self.schedule(when, at, NetEvent::Up { link, kind, peer, local, path: Path::DirectQuic });
        }
    }

    /// Contacts know a node's transport key; each relay sees another one.
    fn key_towards(&self, node: usize, to: Place) -> PeerKey {
        let key = self.parties.get(node).map(|p| p.transport).unwrap_or_default();
        match to {
            Place::Node(_) => key,
            Place::Relay(relay) => PeerKey(hash("sim", &[&key.0, &relay.to_be_bytes()])),
        }
    }

    fn close(&mut self, link: LinkId, reason: &str) {
        let Some(near) = self.links.remove(&link) else { return };
        let far = self.links.remove(&near.far);
        for (link, end) in [(link, Some(near)), (near.far, far)] {
            if let Some(end) = end {
                let at = self.arrival(link);
                self.schedule(at, end.at, NetEvent::Down { link, reason: reason.into() });
            }
        }
    }

    fn delay(&mut self) -> u64 {
        let (low, high) = self.faults.delay_ms;
        low + u64::from(self.rng.next_u32()) % (high.saturating_sub(low) + 1)
    }

    fn arrival(&mut self, link: LinkId) -> u64 {
        let at = self.now_ms + self.delay();
        let last = self.last_arrival.entry(link).or_default();
        *last = at.max(*last);
        *last
    }

    fn schedule(&mut self, at: u64, to: Place, event: NetEvent) {
        self.next += 1;
        self.due.insert((at, self.next), (to, event));
    }
}
