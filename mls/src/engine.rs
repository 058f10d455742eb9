//! The engine: one device's view of all its groups, over a store.
//!
//! Owns nothing that the store does not hold: loaded groups are a cache, which
//! is checked against the store's counter at each call, and not used after a
//! call that failed half-way or a transaction that was not committed. Time,
//! randomness and bytes are arguments.

mod bundle;
mod commit;
pub(crate) mod ctx;
mod decide;
mod enter;
mod events;
mod heal;
mod ingest;
mod join;
mod marks;
mod orphans;
mod packages;
mod public;
mod put_back;
mod sync;

pub use orphans::{ORPHAN_BYTES_MAX, ORPHANS_MAX};
pub use packages::{PACKAGES_MAX, packages_left};

use std::collections::BTreeMap;

use kith_store::Tx;
use kith_wire::crypto::{Secret, derive};
use kith_wire::group::GroupExt;
use kith_wire::ids::{AccountId, DeviceId, EventId, GroupId, OrderId, TopicId};
use kith_wire::labels;

use kith_wire::group::BundleRef;

use crate::api::{
    Change, Committed, DeviceKeys, GroupView, Joined, Joiner, Outcome, Resealed, SentEvent, Topics,
    WelcomeInfo,
};
use crate::crypto::{Crypto, Rand};
use crate::{EngineError, inbox, news, rows};
use ctx::{Ctx, Session};

/// Groups whose sessions are kept loaded.
const SESSIONS_MAX: usize = 64;

/// The group engine of one device.
pub struct Engine {
    keys: DeviceKeys,
    crypto: Crypto,
    rand: Rand,
    sessions: BTreeMap<GroupId, Session>,
    uses: u64,
}

impl core::fmt::Debug for Engine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine").field("device", &self.keys.device()).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine for this device. `rng_seed` must be fresh in every process:
    /// all its randomness comes from it.
    #[must_use]
    pub fn new(keys: DeviceKeys, rng_seed: [u8; 32]) -> Self {
        let seed = Secret::new(rng_seed);
        Self {
            keys,
            crypto: Crypto::new(derive(&seed, labels::LOCAL_MLS_HPKE, &[])),
            rand: Rand::new(*derive(&seed, labels::LOCAL_MLS_RAND, &[]).expose()),
            sessions: BTreeMap::new(),
            uses: 0,
        }
    }

    /// Which path secrets of this engine's commits are garbage.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn garble(&self) -> &crate::rogue::Garble {
        &self.crypto.garble
    }

    /// This device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.keys.device()
    }

    /// Drops what is loaded. The engine notices by itself when a transaction
    /// was not committed; this frees memory, for instance when locking.
    pub fn forget_cached(&mut self) {
        self.sessions.clear();
    }

    /// Makes a group with this device as its only member.
    pub fn create(&mut self, tx: &mut Tx<'_>, now_ms: u64, ext: &GroupExt) -> Result<GroupId, EngineError> {
        join::create(&self.keys, &self.crypto, &self.rand, tx, now_ms, ext)
    }

    /// A fresh key package of this device; its private part is stored. A
    /// last-resort package may be used more than once.
    pub fn key_package(&mut self, tx: &mut Tx<'_>, last_resort: bool) -> Result<Vec<u8>, EngineError> {
        packages::make(&self.keys, &self.crypto, &self.rand, tx, last_resort)
    }

    /// Whose a key package is; it is checked as when it is added.
    pub fn package_owner(&self, package: &[u8]) -> Result<(AccountId, DeviceId), EngineError> {
        let (_, member) = commit::read_package(&self.crypto, package)?;
        Ok((member.account, member.device))
    }

    /// Changes a group by one commit: built and merged on a copy, stored, and
    /// the tip moved, before anything is published.
    pub fn commit(
        &mut self,
        tx: &mut Tx<'_>,
        now_ms: u64,
        gid: GroupId,
        change: &Change,
    ) -> Result<Committed, EngineError> {
        // Orders are signed before it is known whether all of it is possible: an
        // order that stayed while its number is given again would be a second
        // word under one number.
        tx.all_or_nothing(|tx| self.with(tx, now_ms, gid, |ctx| ctx.commit(change)))
    }

    /// The signed Welcome for one joiner, to be sealed to its inbox.
    #[must_use]
    pub fn welcome(&self, joiner: &Joiner, bundle: BundleRef) -> Vec<u8> {
        join::welcome(&self.keys, joiner, bundle)
    }

    /// Reads who sent a Welcome and where it leads; verifies the sender's
    /// signature and that it is for this device. Nothing is consumed.
    pub fn welcome_info(&self, welcome: &[u8]) -> Result<WelcomeInfo, EngineError> {
        join::welcome_info(&self.keys, welcome)
    }

    /// Joins a group by a signed Welcome and its bundle. One that is refused
    /// leaves nothing behind: what its bundle tells was not judged to the end.
    pub fn join(
        &mut self,
        tx: &mut Tx<'_>,
        now_ms: u64,
        welcome: &[u8],
        bundle: &[u8],
    ) -> Result<Joined, EngineError> {
        let invitation = join::Invitation::read(&self.keys, welcome, bundle)?;
        tx.all_or_nothing(|tx| self.join_by(tx, now_ms, &invitation))
    }

    fn join_by(
        &mut self,
        tx: &mut Tx<'_>,
        now_ms: u64,
        invitation: &join::Invitation,
    ) -> Result<Joined, EngineError> {
        let gid = invitation.gid();
        if rows::group(tx, &gid)?.is_some()
            && let Some(joined) = self.with(tx, now_ms, gid, |ctx| ctx.come_back(invitation))?
        {
            return Ok(Joined { outcomes: news(joined.outcomes), ..joined });
        }
        self.sessions.remove(&gid);
        let joined = self.join_anew(tx, now_ms, invitation);
        if joined.is_err() {
            self.sessions.remove(&gid);
        }
        joined
    }

    fn join_anew(
        &mut self,
        tx: &mut Tx<'_>,
        now_ms: u64,
        invitation: &join::Invitation,
    ) -> Result<Joined, EngineError> {
        let gid = invitation.gid();
        let mut joined = join::join(&self.keys, &self.crypto, &self.rand, tx, now_ms, invitation)?;
        self.with(tx, now_ms, gid, |ctx| {
            joined.mark = ctx.make_mark()?;
            for object in invitation.votes() {
                ctx.ingest(&object)?;
            }
            ctx.release_orphans()?;
            joined.outcomes = news(core::mem::take(&mut ctx.out));
            Ok(())
        })?;
        Ok(joined)
    }

    /// A request of this device to be let into a group again, or in as a new
    /// device of an account that is in; with its key package. It goes to
    /// members by any way there is, and again until a Welcome comes.
    pub fn ask_back(&mut self, tx: &mut Tx<'_>, now_ms: u64, gid: GroupId) -> Result<Vec<u8>, EngineError> {
        if rows::group(tx, &gid)?.is_none() {
            return heal::request(&self.keys, &self.crypto, &self.rand, tx, gid, Vec::new());
        }
        self.with(tx, now_ms, gid, |ctx| ctx.ask_back())
    }

    /// Asks the fork rule again, after time has passed: for a group whose tip
    /// was kept for an order.
    pub fn look(&mut self, tx: &mut Tx<'_>, now_ms: u64, gid: GroupId) -> Result<Vec<Outcome>, EngineError> {
        self.with(tx, now_ms, gid, |ctx| {
            ctx.choose()?;
            Ok(core::mem::take(&mut ctx.out))
        })
    }

    /// Removals that somebody who lets an account in has to lift, and so has to
    /// know of when deciding.
    pub fn removals_of(
        &mut self,
        tx: &mut Tx<'_>,
        now_ms: u64,
        gid: GroupId,
        account: &AccountId,
    ) -> Result<Vec<OrderId>, EngineError> {
        self.with(tx, now_ms, gid, |ctx| ctx.orders_to_lift(account, None))
    }

    /// Demotions that somebody who gives an account a role has to lift.
    pub fn demotions_of(
        &mut self,
        tx: &mut Tx<'_>,
        now_ms: u64,
        gid: GroupId,
        account: &AccountId,
    ) -> Result<Vec<OrderId>, EngineError> {
        self.with(tx, now_ms, gid, |ctx| ctx.demotions_of(account))
    }

    /// Encrypts and stores an own event at the tip.
    pub fn send(
        &mut self,
        tx: &mut Tx<'_>,
        now_ms: u64,
        gid: GroupId,
        event_type: u16,
        content: &[u8],
    ) -> Result<SentEvent, EngineError> {
        self.with(tx, now_ms, gid, |ctx| ctx.send(event_type, content))
    }

    /// An own mark, if others' events came or the tip moved since the last;
    /// publish it on the current topic, and [`Engine::look`]: it may decide.
    pub fn mark(
        &mut self,
        tx: &mut Tx<'_>,
        now_ms: u64,
        gid: GroupId,
    ) -> Result<Option<Vec<u8>>, EngineError> {
        self.with(tx, now_ms, gid, |ctx| ctx.due_mark())
    }

    /// An order by which this account leaves, and the mark before it if one
    /// was due, in the order to publish. Some other member commits it.
    pub fn leave(&mut self, tx: &mut Tx<'_>, now_ms: u64, gid: GroupId) -> Result<Vec<Vec<u8>>, EngineError> {
        tx.all_or_nothing(|tx| self.with(tx, now_ms, gid, |ctx| ctx.leave()))
    }

    /// Takes in one object of a topic or stream. Order does not matter, nor
    /// does how often it comes.
    pub fn ingest(
        &mut self,
        tx: &mut Tx<'_>,
        now_ms: u64,
        gid: GroupId,
        object: &[u8],
    ) -> Result<Vec<Outcome>, EngineError> {
        self.with(tx, now_ms, gid, |ctx| {
            ctx.ingest(object)?;
            Ok(core::mem::take(&mut ctx.out))
        })
    }

    /// As [`Engine::ingest`], for an object that came on a stream whose far
    /// end has proven to be this device.
    pub fn ingest_from(
        &mut self,
        tx: &mut Tx<'_>,
        now_ms: u64,
        gid: GroupId,
        from: DeviceId,
        object: &[u8],
    ) -> Result<Vec<Outcome>, EngineError> {
        self.with(tx, now_ms, gid, |ctx| {
            ctx.from = Some(from);
            ctx.ingest(object)?;
            Ok(core::mem::take(&mut ctx.out))
        })
    }

    /// Encrypts an event again under the tip, if all of the tip were in its
    /// audience.
    pub fn reseal(
        &mut self,
        tx: &mut Tx<'_>,
        now_ms: u64,
        gid: GroupId,
        event: EventId,
    ) -> Result<Resealed, EngineError> {
        self.with(tx, now_ms, gid, |ctx| ctx.reseal(event))
    }

    /// The group at its tip. Reads only: see [`crate::view::group`].
    pub fn view(&self, tx: &Tx<'_>, gid: GroupId) -> Result<GroupView, EngineError> {
        crate::view::group(tx, gid)
    }

    /// The group's topics. Reads only: see [`crate::view::topics`].
    pub fn topics(&self, tx: &Tx<'_>, gid: GroupId) -> Result<Topics, EngineError> {
        crate::view::topics(tx, gid)
    }

    /// What this device knows of a group, for a member on a proven stream.
    pub fn sync_hello(&mut self, tx: &Tx<'_>, gid: GroupId) -> Result<Vec<u8>, EngineError> {
        let writes = rows::writes(tx, &gid)?.ok_or(EngineError::UnknownGroup)?;
        let session = self.sessions.get_mut(&gid).filter(|s| s.is_stored(writes));
        if let Some((_, hello)) =
            session.as_ref().and_then(|s| s.hello.as_ref()).filter(|(w, _)| *w == writes)
        {
            return Ok(hello.clone());
        }
        let hello = sync::hello(tx, gid, session.as_deref())?;
        if let Some(session) = session {
            session.hello = Some((writes, hello.clone()));
        }
        Ok(hello)
    }

    /// A hello to a device that is out here, if its own hello names a state that
    /// is not known here: it may be the only one to know a branch that wins.
    pub fn sync_hello_back(
        &self,
        tx: &Tx<'_>,
        gid: GroupId,
        peer: DeviceId,
        theirs: &[u8],
    ) -> Result<Option<Vec<u8>>, EngineError> {
        let writes = rows::writes(tx, &gid)?.ok_or(EngineError::UnknownGroup)?;
        let session = self.sessions.get(&gid).filter(|s| s.is_stored(writes));
        sync::hello_back(tx, gid, peer, theirs, session)
    }

    /// Objects that a proven device lacks, by its hello: at most about
    /// `max_bytes` of them; ask again with the next hello for the rest.
    pub fn sync_answer(
        &self,
        tx: &Tx<'_>,
        gid: GroupId,
        peer: DeviceId,
        hello: &[u8],
        max_bytes: usize,
    ) -> Result<Vec<Vec<u8>>, EngineError> {
        let writes = rows::writes(tx, &gid)?.ok_or(EngineError::UnknownGroup)?;
        let session = self.sessions.get(&gid).filter(|s| s.is_stored(writes));
        sync::answer(tx, gid, peer, hello, max_bytes, session)
    }

    /// Opens an entry of this device's inbox; see [`inbox`].
    pub fn open_inbox(&self, topic: TopicId, entry: &[u8]) -> Result<Vec<u8>, EngineError> {
        inbox::open(&self.keys.box_secret, topic, self.device(), entry)
    }

    /// Seals an object to another device's inbox; see [`inbox`].
    pub fn seal_inbox(
        &self,
        box_key: &[u8; 32],
        topic: TopicId,
        device: DeviceId,
        object: &[u8],
    ) -> Result<Vec<u8>, EngineError> {
        inbox::seal(self.rand.array(), box_key, topic, device, object)
    }

    fn with<T>(
        &mut self,
        tx: &mut Tx<'_>,
        now_ms: u64,
        gid: GroupId,
        f: impl FnOnce(&mut Ctx<'_, '_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        // A cached session whose counter differs was loaded in a transaction
        // that never became durable.
        let writes = rows::writes(tx, &gid)?.ok_or(EngineError::UnknownGroup)?;
        let cached = self.sessions.remove(&gid);
        let session = match cached {
            Some(session) if session.is_stored(writes) => session,
            cached => {
                let mut row = rows::group(tx, &gid)?.ok_or(EngineError::UnknownGroup)?;
                if row.me != self.keys.device() {
                    return Err(EngineError::NotMember);
                }
                news::load(tx, &gid, &mut row)?;
                match cached {
                    Some(stale) => stale.anew(row),
                    None => Session::new(row),
                }
            }
        };
        let mut ctx = Ctx::new(&self.keys, &self.crypto, &self.rand, tx, gid, now_ms, session);
        let result = f(&mut ctx);
        let mut session = if result.is_ok() { ctx.finish() } else { ctx.fail() };
        self.uses += 1;
        session.used = self.uses;
        if self.sessions.len() >= SESSIONS_MAX
            && let Some(oldest) = self.sessions.iter().min_by_key(|(_, s)| s.used).map(|(g, _)| *g)
        {
            self.sessions.remove(&oldest);
        }
        self.sessions.insert(gid, session);
        result
    }
}

/// Outcomes without those that only say what became of one object.
fn news(outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let idle = |o: &Outcome| {
        matches!(o, Outcome::Known | Outcome::Buffered | Outcome::NeedCommits | Outcome::Rejected(_))
    };
    outcomes.into_iter().filter(|o| !idle(o)).collect()
}
