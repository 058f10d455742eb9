//! States: how one becomes known, how its keys come here, which one is the
//! tip, whose keys are given up. The only place that moves a group from state
//! to state; which one it should stand in is the fork rule's to say
//! ([`super::decide`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kith_rule::mutant::{self, Mutant};
use kith_store::{Key, Table, Tx};
use kith_wire::cbor;
use kith_wire::group::{BadCommit, state_id};
use kith_wire::ids::{AccountId, CommitId, DeviceId, StateId};
use kith_wire::labels;
use openmls::group::PublicGroup;
use openmls::prelude::MlsGroup;
use openmls::prelude::tls_codec::Serialize as _;
use sha2::{Digest, Sha256};

use super::ctx::{Ctx, DeviceSigner, Loaded, broken, provider};
use super::public::{Effect, staged_of, stored_message};
use crate::EngineError;
use crate::api::{Outcome, TipChange};
use crate::image::Image;
use crate::limits;
use crate::rows::{self, Child, CommitRow, Member, State, StateRow};
use crate::valid;

/// Ancestors of the tip whose images are held.
pub(super) const WINDOW_STATES: usize = 8;
/// Members up to which a state is given up as soon as all are past it.
const EARLY_MEMBERS_MAX: usize = 64;
/// Topics of a group that are remembered.
const TOPICS_MAX: usize = 64;
/// How long an old topic is polled.
const TOPIC_MS: u64 = 30 * 24 * 3_600_000;
/// States back from the old tip that a common ancestor is looked for.
const BACK_MAX: usize = kith_rule::ANCHOR_DISTANCE + 64;
/// Commits that one mark calls bad.
const BAD_MAX: usize = 64;
/// Commits of which one after the other turns out not to be processable.
const BAD_ROUNDS_MAX: usize = 16;
/// Reason in a mark: its path or its confirmation tag does not fit.
const BAD_PATH: u8 = 1;

/// The id of the state that a group is in.
pub(super) fn id_of(group: &PublicGroup) -> Result<StateId, EngineError> {
    let context = group.group_context().tls_serialize_detached().map_err(broken)?;
    let tag = group.confirmation_tag().tls_serialize_detached().map_err(broken)?;
    Ok(state_id(&context, &tag))
}

/// The members of a group, ascending by leaf. Credentials that `parent` has
/// at the same leaf are not verified again.
pub(super) fn members_of(
    group: impl Iterator<Item = openmls::prelude::Member>,
    parent: Option<&State>,
) -> Result<Vec<Member>, &'static str> {
    let mut members = Vec::new();
    let mut devices = BTreeSet::new();
    for m in group {
        let leaf = m.index.u32();
        let bytes = m.credential.serialized_content();
        let hash: [u8; 32] = Sha256::digest(bytes).into();
        let before = parent
            .and_then(|p| p.leaf(leaf))
            .filter(|b| b.credential == hash && b.device.0 == *m.signature_key);
        let member = match before {
            Some(b) => b.clone(),
            None => valid::member_of(leaf, bytes, &m.signature_key)?,
        };
        if !devices.insert(member.device) {
            return Err("a device has two leaves");
        }
        members.push(member);
    }
    members.sort_by_key(|m| m.leaf);
    Ok(members)
}

/// Destroys a state's keys. How many of them were used stays: they may come
/// here again, by replay or by a Welcome.
pub(super) fn give_up(tx: &mut Tx<'_>, state: &StateId, spent: u32) {
    rows::put_spent(tx, state, spent);
    tx.shred(Table::Images, &state.0);
}

impl Ctx<'_, '_> {
    /// Stores a state's public rows.
    pub(super) fn put_known(&mut self, state: State) -> Arc<State> {
        rows::put(
            self.tx,
            Key::of(Table::Public, &rows::pair(&self.gid, &state.row.members)),
            &state.members,
        );
        self.put_state(state)
    }

    /// Makes a valid commit and the state that it leads to known, and holds
    /// the state's keys if they came with it.
    pub(super) fn learn(
        &mut self,
        parent: &Arc<State>,
        id: CommitId,
        commit: &CommitRow,
        envelope: &[u8],
        effect: Effect,
    ) -> Result<Arc<State>, EngineError> {
        let Effect { child, epoch, members, ext, public, entered, .. } = effect;
        let me = self.me();
        let row = StateRow {
            gid: self.gid,
            epoch,
            parent: Some(parent.id),
            commit: Some(id),
            members: Sha256::digest(cbor::encode(&members)).into(),
            ext: ext.to_bytes(),
            topic: if commit.rotate { child } else { parent.row.topic },
            children: Vec::new(),
            me_in: members.iter().any(|m| m.device == me),
        };
        let state = self.put_known(State::new(child, row, members, ext));
        rows::put_commit(self.tx, &id, commit, envelope);
        // A child may have been added since the caller read the parent.
        let mut before = self.known(&parent.id)?.row.clone();
        if !before.children.is_empty() {
            self.contest();
        }
        before.children.push(Child { commit: id, state: child });
        self.put_state(State::new(parent.id, before, parent.members.clone(), parent.ext.clone()));
        self.note_commit(id, commit, &state);
        self.checkpoint(child, epoch, &public)?;
        if let Some((group, image)) = entered {
            self.hold(&state, group, image)?;
        }
        Ok(state)
    }

    /// Holds a state's keys: the device can read and write there. Keys that
    /// came here anew begin where they did the first time; those that this
    /// device has used since are passed over.
    pub(super) fn hold(
        &mut self,
        state: &State,
        mut group: MlsGroup,
        image: Image,
    ) -> Result<(), EngineError> {
        if !state.row.me_in {
            return Ok(());
        }
        let id = state.id;
        if state.row.topic == id {
            // Now or never: after an own removal the exporter is gone.
            let secret = group.export_secret(self.crypto, labels::TOPIC, &self.gid.0, 32).map_err(broken)?;
            self.tx.put(Key::of(Table::Topics, &id.0), secret);
            self.use_topic(id);
        }
        let here = self.row().held.iter().find(|(held, _)| *held == id).map(|(_, n)| *n);
        let mut spent = match here {
            Some(spent) => spent,
            None => rows::spent(self.tx, &id)?,
        };
        if mutant::on(Mutant::KeysForgotten) {
            spent = 0;
        }
        for _ in 0..spent {
            let given = provider(self.crypto, self.rand, &image);
            group.create_message(&given, &DeviceSigner(self.keys), &[]).map_err(broken)?;
        }
        image.save(self.tx, Table::Images, &id.0)?;
        let row = self.row_mut();
        row.held.retain(|(held, _)| *held != id);
        row.held.push((id, spent));
        self.keep(Loaded::new(id, group, image));
        Ok(())
    }

    /// Says with the next mark that a commit cannot be processed here.
    pub(super) fn call_bad(&mut self, commit: CommitId, reason: u8) {
        let row = self.row_mut();
        if row.bad.len() < BAD_MAX && !row.bad.iter().any(|b| b.commit == commit) {
            row.bad.push(BadCommit { commit, reason });
            row.mark_due = true;
        }
        self.contest();
    }

    /// Notes that a topic is in use now.
    pub(super) fn use_topic(&mut self, topic: StateId) {
        let now = self.now;
        let row = self.row_mut();
        row.topics.retain(|(t, _)| *t != topic);
        row.topics.push((topic, now));
    }

    /// Wipes the secrets of topics that nobody may write to any more: long
    /// unused, or too many.
    pub(super) fn drop_topics(&mut self) -> Result<(), EngineError> {
        let now = self.now;
        let first = self.row().topics.len().saturating_sub(TOPICS_MAX);
        let mut in_use = BTreeSet::from([self.tip()?.row.topic]);
        for (state, _) in self.row().held.clone() {
            in_use.insert(self.known(&state)?.row.topic);
        }
        let doomed: Vec<StateId> = self
            .row()
            .topics
            .iter()
            .enumerate()
            .filter(|(i, (t, used))| {
                !in_use.contains(t) && (*i < first || used.saturating_add(TOPIC_MS) < now)
            })
            .map(|(_, (t, _))| *t)
            .collect();
        for topic in doomed {
            self.row_mut().topics.retain(|(t, _)| *t != topic);
            self.tx.shred(Table::Topics, &topic.0);
        }
        Ok(())
    }

    /// The winning chain's states, from the oldest held one to the tip.
    fn chain(&mut self) -> Result<Vec<StateId>, EngineError> {
        let held: BTreeSet<StateId> = self.row().held.iter().map(|(s, _)| *s).collect();
        let mut at = self.row().tip;
        let mut chain = vec![at];
        while let Some(parent) = self.known_row(&at)?.parent {
            if !held.contains(&parent) || chain.len() > limits::images() {
                break;
            }
            chain.push(parent);
            at = parent;
        }
        chain.reverse();
        Ok(chain)
    }

    /// Moves the group to where the fork rule wants it, as far as the keys
    /// held here lead.
    pub(super) fn choose(&mut self) -> Result<(), EngineError> {
        for _ in 0..BAD_ROUNDS_MAX {
            let way = self.way()?;
            if self.on_hold()? {
                break;
            }
            let goal = *way.last().ok_or_else(|| broken("the fork rule has no answer"))?;
            let (reached, failed) = self.follow(&way)?;
            let old = self.row().tip;
            // A state before the old tip is no better place to wait.
            let better = reached.filter(|r| *r == goal || !self.is_ancestor(r, &old).unwrap_or(true));
            if let Some(new) = better.filter(|new| *new != old) {
                self.move_tip(old, new)?;
            }
            let there = self.row().tip == goal;
            let wanted = (!there).then_some(goal);
            if self.row().goal != wanted {
                self.row_mut().goal = wanted;
                self.out.push(Outcome::Duties);
            }
            match failed {
                Some(commit) if !there => self.call_bad(commit, BAD_PATH),
                _ => break,
            }
        }
        self.look_at_orders()?;
        self.trail_anchor()?;
        self.find_strays()?;
        self.drop_images()
    }

    /// Whether `above` is `below` or one of its ancestors, as far as is looked.
    pub(super) fn is_ancestor(&mut self, above: &StateId, below: &StateId) -> Result<bool, EngineError> {
        let mut at = Some(*below);
        for _ in 0..BACK_MAX {
            match at {
                Some(id) if id == *above => return Ok(true),
                Some(id) => at = self.known_row(&id)?.parent,
                None => break,
            }
        }
        Ok(false)
    }

    /// Walks the way as far as the keys lead, and holds each state's keys on
    /// it. Answers the last state that this device can stand in, and the
    /// commit that stopped it if that one cannot be processed.
    fn follow(&mut self, way: &[StateId]) -> Result<(Option<StateId>, Option<CommitId>), EngineError> {
        let mut start = None;
        for (i, id) in way.iter().enumerate().rev() {
            if self.holds(id) || !self.known_row(id)?.me_in {
                start = Some(i);
                break;
            }
        }
        let Some(start) = start else { return Ok((None, None)) };
        let mut reached = way.get(start).copied();
        for id in way.iter().skip(start + 1) {
            let state = self.known(id)?;
            let (Some(parent), Some(commit)) = (state.row.parent, state.row.commit) else { break };
            if self.row().bad.iter().any(|b| b.commit == commit) || !self.holds(&parent) {
                return Ok((reached, None));
            }
            let row = rows::commit(self.tx, &commit)?.ok_or_else(|| broken("a commit is missing"))?;
            if row.device == self.me() {
                // A device cannot process its own commit, and its keys are gone.
                return Ok((reached, None));
            }
            let Some((mut group, image)) = self.branch(parent)? else { return Ok((reached, None)) };
            let given = provider(self.crypto, self.rand, &image);
            let Ok(processed) =
                group.process_message(&given, *stored_message(&rows::envelope(self.tx, &commit)?)?)
            else {
                return Ok((reached, Some(commit)));
            };
            let (_, staged) = staged_of(processed).map_err(broken)?;
            if staged.self_removed() {
                // Removed and added at once: a Welcome leads in.
                return Ok((reached, None));
            }
            let given = provider(self.crypto, self.rand, &image);
            group.merge_staged_commit(&given, *staged).map_err(broken)?;
            if id_of(group.public_group())? != *id {
                return Ok((reached, Some(commit)));
            }
            self.hold(&state, group, image)?;
            reached = Some(*id);
        }
        Ok((reached, None))
    }

    /// A state and its ancestors, at most so many.
    fn line(&self, from: StateId, most: usize) -> Result<Vec<StateId>, EngineError> {
        let mut line = vec![from];
        let mut at = from;
        while let Some(parent) = self.known_row(&at)?.parent.filter(|_| line.len() < most) {
            line.push(parent);
            at = parent;
        }
        Ok(line)
    }

    /// The states from a common ancestor (exclusive) to each of two states.
    fn apart(&self, old: StateId, new: StateId) -> Result<(Vec<StateId>, Vec<StateId>), EngineError> {
        let (mut lost, mut won) = (Vec::new(), Vec::new());
        let (mut a, mut b) = (Some(old), Some(new));
        while a != b && lost.len().max(won.len()) < BACK_MAX {
            let (left, right) = (self.step(a)?, self.step(b)?);
            let (on_a, on_b) = (left.as_ref().map(|r| r.epoch), right.as_ref().map(|r| r.epoch));
            // The one further on goes back first: they meet where they parted.
            if on_a >= on_b {
                lost.extend(a);
                a = left.and_then(|row| row.parent);
            }
            if on_b >= on_a {
                won.extend(b);
                b = right.and_then(|row| row.parent);
            }
        }
        lost.reverse();
        won.reverse();
        Ok((lost, won))
    }

    fn step(&self, at: Option<StateId>) -> Result<Option<StateRow>, EngineError> {
        at.map(|id| self.known_row(&id)).transpose()
    }

    pub(super) fn move_tip(&mut self, old: StateId, new: StateId) -> Result<(), EngineError> {
        let (lost, won) = self.apart(old, new)?;
        let before = self.known(&old)?;
        let after = self.known(&new)?;
        let row = self.row_mut();
        row.tip = new;
        row.switches += u64::from(!lost.is_empty());
        let mut left = BTreeSet::new();
        let mut by = self.keys.account;
        for state in &won {
            let Some(id) = self.known_row(state)?.commit else { continue };
            if let Some(commit) = rows::commit(self.tx, &id)? {
                left.extend(commit.left);
                by = commit.account;
            }
        }
        let devices = |s: &State| -> BTreeMap<DeviceId, AccountId> {
            s.members.iter().map(|m| (m.device, m.account)).collect()
        };
        let (were, are) = (devices(&before), devices(&after));
        let minus = |a: &BTreeMap<DeviceId, AccountId>,
                     b: &BTreeMap<DeviceId, AccountId>|
         -> Vec<(AccountId, DeviceId)> {
            a.iter().filter(|(d, _)| !b.contains_key(d)).map(|(d, acc)| (*acc, *d)).collect()
        };
        let accounts = |list: &[(AccountId, DeviceId)], other: &State| -> Vec<AccountId> {
            let set: BTreeSet<AccountId> =
                list.iter().map(|(a, _)| *a).filter(|a| !other.has_account(a)).collect();
            set.into_iter().collect()
        };
        let added_devices = minus(&are, &were);
        let removed_devices = minus(&were, &are);
        let removed = accounts(&removed_devices, &after);
        self.out.push(Outcome::Tip(TipChange {
            old,
            new,
            epoch: after.row.epoch,
            added: accounts(&added_devices, &before),
            left: left.into_iter().filter(|a| removed.contains(a)).collect(),
            removed,
            added_devices,
            removed_devices,
            ext: (after.ext != before.ext).then(|| after.ext.clone()),
            me_removed: before.row.me_in && !after.row.me_in,
            by,
            rotated: after.row.topic != before.row.topic,
            switched: !lost.is_empty(),
        }));
        if after.row.topic != before.row.topic {
            self.use_topic(before.row.topic);
            if after.row.me_in {
                self.use_topic(after.row.topic);
            }
            self.drop_topics()?;
        }
        for state in &lost {
            let Some(id) = self.known_row(state)?.commit else { continue };
            if let Some(CommitRow { intent: Some(intent), .. }) = rows::commit(self.tx, &id)? {
                self.out.push(Outcome::OwnCommitLost { commit: id, intent });
            }
        }
        self.lose_events(&lost)
    }

    /// Gives up images outside the secret window.
    pub(super) fn drop_images(&mut self) -> Result<(), EngineError> {
        if self.row().held.len() < 2 {
            return Ok(());
        }
        let chain = self.chain()?;
        let (past, confirmed) = self.past(&chain)?;
        // The window is counted in states, not in time: whoever follows a
        // commit of another branch needs the state that it leaves.
        let first = chain.len().saturating_sub(WINDOW_STATES + 1).min(confirmed).max(past);
        let window: Vec<StateId> = chain.iter().skip(first).rev().take(limits::images()).copied().collect();
        // Branches that start inside the window stay, the newest of them.
        let mut keep: BTreeSet<StateId> = window.iter().copied().collect();
        let mut branches: BTreeSet<StateId> = BTreeSet::new();
        let mut open = window;
        while let Some(at) = open.pop() {
            for kid in self.children(&at)? {
                if !keep.contains(&kid) && branches.insert(kid) {
                    open.push(kid);
                }
            }
        }
        let mut rest: Vec<StateId> = self.row().held.iter().rev().map(|(s, _)| *s).collect();
        rest.retain(|s| !keep.contains(s));
        if rest.is_empty() {
            return Ok(());
        }
        let recent = self.line(self.row().tip, WINDOW_STATES + 1)?;
        for state in rest {
            if keep.len() >= limits::images() {
                break;
            }
            if branches.contains(&state) || self.is_own_rival(&state, &recent)? {
                keep.insert(state);
            }
        }
        let doomed: Vec<(StateId, u32)> =
            self.row().held.iter().filter(|(s, _)| !keep.contains(s)).copied().collect();
        for (state, spent) in doomed {
            self.row_mut().held.retain(|(s, _)| *s != state);
            self.unload(&state);
            give_up(self.tx, &state, spent);
        }
        Ok(())
    }

    /// Whether an own commit leads to a state, from one of the last states before
    /// the tip: should it win after all, nothing but its image leads there.
    fn is_own_rival(&mut self, state: &StateId, window: &[StateId]) -> Result<bool, EngineError> {
        let Some(commit) = self.known_row(state)?.commit else { return Ok(false) };
        if rows::commit(self.tx, &commit)?.is_none_or(|c| c.device != self.me()) {
            return Ok(false);
        }
        let own = self.line(*state, WINDOW_STATES + 1)?;
        Ok(!window.contains(state) && own.iter().any(|s| window.contains(s)))
    }

    /// States that known commits lead to from one.
    pub(super) fn children(&mut self, of: &StateId) -> Result<Vec<StateId>, EngineError> {
        Ok(self.known_row(of)?.children.iter().map(|child| child.state).collect())
    }

    /// Two positions in the chain. Nobody can still be before the first: every
    /// other device of the tip has a mark there or further on, and we have all
    /// events that it had sent by then. Somebody else is known to have come to
    /// the second: what is behind it are own commits that may not have left
    /// this device yet, and from before them another branch may come.
    fn past(&mut self, chain: &[StateId]) -> Result<(usize, usize), EngineError> {
        let tip = self.tip()?;
        let last = chain.len().saturating_sub(1);
        if tip.members.len() > EARLY_MEMBERS_MAX {
            return Ok((0, last));
        }
        let me = self.me();
        let mut past = last;
        let mut confirmed = if tip.members.len() > 1 { 0 } else { last };
        for m in tip.members.iter().filter(|m| m.device != me) {
            let row = self.device(&m.device)?;
            let at = row.mark_at.and_then(|s| chain.iter().position(|c| *c == s)).unwrap_or(0);
            let complete = row.events.contiguous().is_some_and(|n| n >= row.mark_seq);
            past = past.min(if complete { at } else { 0 });
            confirmed = confirmed.max(at);
        }
        Ok((past, confirmed))
    }
}
