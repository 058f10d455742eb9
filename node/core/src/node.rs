//! The node: takes an input, computes, stages; makes a burst of inputs
//! durable as one batch; lets outputs out only then.

use std::collections::VecDeque;
use std::sync::Arc;

use kith_mls::Engine;
use kith_mls::mutant::{self, Mutant};
use kith_store::{Overlay, Store, StoreError, Tx};
use kith_wire::crypto::Secret;
use kith_wire::ids::AccountId;
use kith_wire::net::NetCommand;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::api::{Event, Input, Now, Output, Refusal};
use crate::ctx::{Ctx, Effect};
use crate::groups::Reject;
use crate::identity::Identity;
use crate::live::{Live, Timer};
use crate::rows::{Conversation, Entry};
use crate::{
    calls, commands, duty, files, groups, heard, inbox, lacking, membership, network, people, read, relays,
    welcomes,
};

/// How often pools and cards are looked after, ms.
const UPKEEP_MS: u64 = 60 * 60 * 1000;

/// Lets outputs out before they are durable once set, as the positive control
/// of the crash soak. Never in a product build; set before the first node.
#[cfg(feature = "test-early-send")]
pub static EARLY_SEND: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

/// Configuration from outside; settings of the person are stored.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Direct links may be dialled and accepted. Off: relays only.
    pub direct: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { direct: true }
    }
}

/// Why a node could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store holds no account.
    #[error("this data folder holds no account yet")]
    Empty,
    /// What is stored does not fit together.
    #[error("the data folder is damaged: {0}")]
    Damaged(String),
    /// The name for a new account is not usable.
    #[error("{0}")]
    Name(String),
}

/// One participant. See the crate's documentation.
pub struct Node {
    store: Arc<dyn Store>,
    burst: Overlay,
    staged: Vec<Output>,
    outputs: VecDeque<Output>,
    me: Identity,
    engine: Engine,
    rng: ChaCha20Rng,
    live: Live,
    #[cfg(feature = "test-trace")]
    traces: Vec<String>,
}

/// A store failure as an answer to a person.
pub(crate) fn disk(e: &StoreError) -> Refusal {
    Refusal::new("disk", format!("Nothing was changed, because the data could not be written: {e}."))
}

impl Node {
    /// Makes a new account in an empty store. `entropy` are the 256 bits of
    /// the recovery phrase. The account is durable when this returns.
    pub fn create(
        store: Arc<dyn Store>,
        entropy: [u8; 32],
        name: &str,
        config: Config,
        rng_seed: [u8; 32],
        now: Now,
    ) -> Result<Self, OpenError> {
        let mut rng = ChaCha20Rng::from_seed(rng_seed);
        let none = Overlay::default();
        let mut tx = Tx::new(&*store, &none);
        let me = Identity::create(&mut tx, entropy, name, &mut rng, now)
            .map_err(|e| OpenError::Name(e.to_string()))?;
        let mut engine = Engine::new(me.device_keys(), seed(&mut rng));
        // The group of own devices; linking joins it first.
        engine
            .create(&mut tx, now.wall_ms, &kith_wire::group::GroupExt::own(Vec::new()))
            .map_err(|e| OpenError::Damaged(e.to_string()))?;
        let changes = tx.finish();
        store.write(&changes)?;
        Self::open(store, config, seed(&mut rng), now)
    }

    /// Opens the account of a store.
    pub fn open(
        store: Arc<dyn Store>,
        config: Config,
        rng_seed: [u8; 32],
        now: Now,
    ) -> Result<Self, OpenError> {
        let mut rng = ChaCha20Rng::from_seed(rng_seed);
        let me = Identity::load(&*store)
            .map_err(|e| OpenError::Damaged(e.to_string()))?
            .ok_or(OpenError::Empty)?;
        let engine = Engine::new(me.device_keys(), seed(&mut rng));
        let live = Live::load(&*store, config.direct, &me)?;
        let mut node = Self {
            store,
            burst: Overlay::default(),
            staged: Vec::new(),
            outputs: VecDeque::new(),
            me,
            engine,
            rng,
            live,
            #[cfg(feature = "test-trace")]
            traces: Vec::new(),
        };
        node.apply(now, start).map_err(|e| match e {
            Reject::Store(e) => OpenError::Store(e),
            e => OpenError::Damaged(e.to_string()),
        })?;
        node.after_input(now);
        Ok(node)
    }

    /// Own account id.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.me.account()
    }
    /// Seed of the transport key that contacts know.
    #[must_use]
    pub fn transport_seed(&self) -> Secret {
        self.me.transport_seed()
    }
    /// Seed of the throw-away transport keys towards relays.
    #[must_use]
    pub fn relay_seed(&self) -> Secret {
        self.me.relay_seed()
    }

    /// Computes what an input leads to and stages it. Never fails: an input
    /// that cannot be taken is answered or dropped, and changes nothing.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Command { id, command } => {
                let result = self.apply(now, |ctx, live| commands::run(ctx, live, command));
                self.staged.push(Output::Reply { id, result });
                self.me_changed();
            }
            Input::Net(event) => network::on_event(self, now, event),
            Input::File(heard) => {
                // What fails here is the store: the commit will say so too.
                let _failed = self.apply(now, |ctx, live| files::heard(ctx, live, heard));
            }
            Input::Tick => {}
        }
        self.run_timers(now);
        for (link, device) in core::mem::take(&mut self.live.newly_proven) {
            self.live.network_changed = true;
            self.live.files.sources_changed();
            let _failed = self.apply(now, |ctx, live| network::proven(ctx, live, link, device));
        }
        self.after_input(now);
    }

    /// Makes everything staged durable; outputs come out after it. On `Err`
    /// nothing of the burst happened, and this node must be opened again.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        if !self.burst.is_empty() {
            self.store.write(&self.burst)?;
            self.burst = Overlay::default();
        }
        self.draw();
        self.outputs.extend(self.staged.drain(..));
        #[cfg(feature = "test-trace")]
        self.traces.append(&mut self.live.traces);
        Ok(())
    }

    /// The lines of the ciphertexts that may leave by now.
    #[cfg(feature = "test-trace")]
    pub fn take_traces(&mut self) -> Vec<String> {
        core::mem::take(&mut self.traces)
    }

    /// The next thing to do in the world; `None` until there is more.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `Tick` is due, monotonic ms.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        let timer = self.live.timers.next();
        let due = self.live.outbox.next_due();
        timer.into_iter().chain(due).min()
    }

    /// Runs a handler in a transaction of its own: all of its writes or none.
    pub(crate) fn apply<T, E: From<Reject>>(
        &mut self,
        now: Now,
        f: impl FnOnce(&mut Ctx<'_>, &mut Live) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut effects = Vec::new();
        let (net, events) = (self.live.net.len(), self.live.events.len());
        let file_orders = self.live.files.out.len();
        #[cfg(feature = "test-trace")]
        let traces = self.live.traces.len();
        let mut ctx = Ctx {
            tx: Tx::new(&*self.store, &self.burst),
            now,
            rng: &mut self.rng,
            me: &self.me,
            engine: &mut self.engine,
            out: &mut effects,
        };
        let result = f(&mut ctx, &mut self.live).and_then(|value| {
            run_effects(&mut ctx, &mut self.live)?;
            Ok(value)
        });
        match result {
            Ok(value) => {
                let changes = ctx.tx.finish();
                self.burst.absorb(changes);
                Ok(value)
            }
            Err(e) => {
                drop(ctx);
                self.live.events.truncate(events);
                self.live.files.out.truncate(file_orders);
                #[cfg(feature = "test-trace")]
                self.live.traces.truncate(traces);
                // A link whose numbered objects are taken back starts anew.
                let unsent: Vec<_> = self
                    .live
                    .net
                    .drain(net..)
                    .filter_map(|c| if let NetCommand::Send { link, .. } = c { Some(link) } else { None })
                    .collect();
                self.live.net.extend(unsent.into_iter().map(|link| NetCommand::Close { link }));
                Err(e)
            }
        }
    }

    pub(crate) fn live(&mut self) -> &mut Live {
        &mut self.live
    }

    #[cfg(feature = "mutants")]
    pub(crate) fn me(&self) -> &Identity {
        &self.me
    }

    pub(crate) fn nonce(&mut self) -> [u8; 32] {
        seed(&mut self.rng)
    }
    /// Reads including what is staged.
    pub(crate) fn reader(&self) -> Tx<'_> {
        Tx::new(&*self.store, &self.burst)
    }
    /// Splits for handlers that need links and keys but no transaction.
    pub(crate) fn parts(&mut self) -> (&mut Live, &Identity, &mut ChaCha20Rng) {
        (&mut self.live, &self.me, &mut self.rng)
    }

    fn me_changed(&mut self) {
        if core::mem::take(&mut self.live.me_changed)
            && let Ok(Some(me)) = Identity::load(&self.reader())
        {
            self.me = me;
        }
    }

    fn run_timers(&mut self, now: Now) {
        // Each timer that fires may set new ones; those wait for the next tick.
        let due = self.live.timers.due(now.mono_ms);
        if self.live.outbox.due(now.mono_ms) {
            // Somebody who is linked does not answer.
            self.live.net.push(NetCommand::Check);
        }
        for timer in due {
            // A timer's failure is the store's: the commit will say so too.
            let _failed = self.apply(now, |ctx, live| on_timer(ctx, live, timer));
        }
    }

    fn after_input(&mut self, now: Now) {
        let _failed = self.apply(now, relays::pump);
        relays::pulse(now, &mut self.live);
        let _failed = self.apply(now, files::pump);
        self.staged.extend(self.live.net.drain(..).map(Output::Net));
        self.staged.extend(self.live.files.out.drain(..).map(Output::File));
        if sends_early() {
            self.outputs.extend(self.staged.drain(..));
            #[cfg(feature = "test-trace")]
            self.traces.append(&mut self.live.traces);
        }
    }

    /// Turns what changed into events for the UI, each thing once per burst.
    fn draw(&mut self) {
        let me = self.me.account();
        let mut events = core::mem::take(&mut self.live.events);
        for (conversation, position) in core::mem::take(&mut self.live.touched) {
            if let Ok(Some(entry)) = Entry::load(&*self.store, &conversation, position)
                && let Ok(message) = read::message_view(&*self.store, &me, &entry)
            {
                events.push(Event::Message { conversation: conversation.hex(), message: Box::new(message) });
            }
        }
        for id in core::mem::take(&mut self.live.changed) {
            if let Ok(Some(c)) = Conversation::load(&*self.store, &id)
                && !c.deleted
                && let Ok(view) = read::conversation_view(&*self.store, &me, &c)
            {
                events.push(Event::Conversation { conversation: Box::new(view) });
            }
        }
        for account in core::mem::take(&mut self.live.people_changed) {
            if let Ok(Some(contact)) = people::read_contact(&*self.store, &account) {
                events.push(Event::Contact { contact: Box::new(contact) });
            }
        }
        if core::mem::take(&mut self.live.network_changed) {
            let network = network::view(&*self.store, &self.live);
            events.push(Event::Network { network: Box::new(network) });
        }
        self.staged.extend(events.into_iter().map(Output::Event));
    }
}

/// Whether outputs leave before their write is durable: never, except where a
/// test proves that it would notice.
fn sends_early() -> bool {
    #[cfg(feature = "test-early-send")]
    if EARLY_SEND.load(core::sync::atomic::Ordering::Relaxed) {
        return true;
    }
    mutant::on(Mutant::SendBeforeStored)
}

fn seed(rng: &mut ChaCha20Rng) -> [u8; 32] {
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    seed
}

/// Brings everything that waited back to life.
fn start(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    live.relays.set_inbox(&ctx.me.inbox_topic());
    for c in Conversation::all(&ctx.tx)? {
        for group in &c.groups {
            if crate::rows::GroupInfo::load(&ctx.tx, group)?.is_some() {
                groups::refresh(ctx, live, *group)?;
                // What was taken in just before the stop is still to be
                // acknowledged.
                live.at(ctx.now.mono_ms, Timer::Mark(*group));
                duty::schedule(ctx, live, *group)?;
                lacking::watch(ctx, live, *group);
            }
        }
    }
    live.relearn_all(ctx)?;
    welcomes::resume(ctx, live)?;
    files::start(ctx, live)?;
    calls::start(ctx, live)?;
    live.at(ctx.now.mono_ms, Timer::RelayDials);
    live.at(ctx.now.mono_ms, Timer::Dials);
    live.at(ctx.now.mono_ms, Timer::Adds);
    live.at(ctx.now.mono_ms + UPKEEP_MS, Timer::Upkeep);
    live.changed.clear();
    live.network_changed = true;
    Ok(())
}

fn on_timer(ctx: &mut Ctx<'_>, live: &mut Live, timer: Timer) -> Result<(), Reject> {
    match timer {
        Timer::Dials => network::dial_people(ctx, live),
        Timer::RelayDials => {
            relays::dial(ctx, live);
            Ok(())
        }
        Timer::Mark(group) => groups::send_mark(ctx, live, group),
        Timer::Sync(group) => network::sync_all(ctx, live, group),
        Timer::Welcome(group) => welcomes::send(ctx, live, &group),
        Timer::Duty(group) => duty::act(ctx, live, group),
        Timer::Listened(group) => heard::look(ctx, live, group),
        Timer::Lacking(group) => lacking::look(ctx, live, group),
        Timer::Adds => membership::advance(ctx, live),
        Timer::Card => network::publish_card(ctx, live),
        Timer::Refused => {
            live.outbox.forgive();
            Ok(())
        }
        Timer::Deposit(file) => files::consider(ctx, live, &file),
        Timer::DepositAgain(file) => files::forgive(ctx, live, &file),
        Timer::Calls => calls::tick(ctx, live),
        Timer::Audit => {
            relays::audit(ctx, live);
            Ok(())
        }
        // What follows every input looks.
        Timer::Pulse | Timer::Standing => Ok(()),
        Timer::Turn(relay) => {
            relays::renew_turn(live, &relay);
            Ok(())
        }
        Timer::Upkeep => {
            live.at(ctx.now.mono_ms + UPKEEP_MS, Timer::Upkeep);
            crate::delivery::end_kept(ctx, live);
            relays::fill_packages(ctx, live)?;
            network::sync_split(ctx, live)?;
            network::publish_card(ctx, live)
        }
    }
}

fn run_effects(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    while !ctx.out.is_empty() {
        for effect in core::mem::take(ctx.out) {
            match effect {
                Effect::SendInbox { to, device, object } => {
                    live.relearn(ctx, &to)?;
                    inbox::send(ctx, live, to, device, &object)?;
                }
                Effect::CreateDirect { account, key_package } => {
                    inbox::create_direct(ctx, live, account, key_package)?;
                }
                Effect::AddToGroup { group, account, key_package } => {
                    live.relearn(ctx, &account)?;
                    membership::package_for(ctx, live, (group, account), key_package);
                }
                Effect::Joining { group, title } => inbox::joining(ctx, live, group, title)?,
                Effect::Changed(account) => {
                    live.relearn(ctx, &account)?;
                    live.people_changed.insert(account);
                }
                Effect::Notice { conversation, code, message } => {
                    live.notice(conversation, code, message);
                }
            }
        }
    }
    Ok(())
}
