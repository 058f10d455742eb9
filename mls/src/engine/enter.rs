//! States: how a new one is entered, which one is the tip, which are given up.
//! The only place that moves a group from state to state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kith_store::{Key, Table};
use kith_wire::cbor;
use kith_wire::group::state_id;
use kith_wire::ids::{AccountId, CommitId, DeviceId, StateId};
use kith_wire::labels;
use openmls::prelude::MlsGroup;
use openmls::prelude::tls_codec::Serialize as _;
use sha2::{Digest, Sha256};

use super::ctx::{Ctx, Loaded, broken};
use crate::EngineError;
use crate::api::{Outcome, TipChange};
use crate::fork::{self, Kid, Tree};
use crate::image::Image;
use crate::rows::{self, CommitRow, Member, State, StateRow};
use crate::valid;

/// Ancestors of the tip whose images are held.
pub(super) const WINDOW_STATES: usize = 8;
/// Images of one group.
const IMAGES_MAX: usize = 16;
/// Members up to which a state is given up as soon as all are past it.
const EARLY_MEMBERS_MAX: usize = 64;
/// Topics of a group that are remembered.
const TOPICS_MAX: usize = 64;
/// How long an old topic is polled.
const TOPIC_MS: u64 = 30 * 24 * 3_600_000;

/// The id of the state that a group is in.
pub(super) fn id_of(group: &MlsGroup) -> Result<StateId, EngineError> {
    let context = group.public_group().group_context().tls_serialize_detached().map_err(broken)?;
    let tag = group.confirmation_tag().tls_serialize_detached().map_err(broken)?;
    Ok(state_id(&context, &tag))
}

/// The members of a group, ascending by leaf. Credentials that `parent` has
/// at the same leaf are not verified again.
pub(super) fn members_of(group: &MlsGroup, parent: Option<&State>) -> Result<Vec<Member>, &'static str> {
    let mut members = Vec::new();
    let mut devices = BTreeSet::new();
    for m in group.members() {
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

/// A commit that was checked and merged on a copy.
pub(super) struct Merged {
    pub(super) id: CommitId,
    pub(super) row: CommitRow,
    pub(super) members: Vec<Member>,
    pub(super) group: MlsGroup,
    pub(super) image: Image,
}

impl Ctx<'_, '_> {
    /// Stores a state and holds its image. `topic` is where its topic began.
    pub(super) fn store_state(
        &mut self,
        row: &StateRow,
        members: &Vec<Member>,
        group: MlsGroup,
        image: Image,
    ) -> Result<StateId, EngineError> {
        let id = id_of(&group)?;
        let begins_topic = row.topic == id;
        rows::put(self.tx, Key::of(Table::Public, &rows::pair(&self.gid, &row.members)), members);
        rows::put(self.tx, Key::of(Table::Public, &id.0), row);
        if row.me_in {
            if begins_topic {
                // Now or never: after an own removal the exporter is gone.
                let secret =
                    group.export_secret(self.crypto, labels::TOPIC, &self.gid.0, 32).map_err(broken)?;
                self.tx.put(Key::of(Table::Topics, &id.0), secret);
            }
            image.save(self.tx, Table::Images, &id.0);
            let now = self.now;
            self.row_mut().held.push((id, now));
            self.keep(Loaded::new(id, group, image));
        }
        if begins_topic && row.me_in {
            self.use_topic(id);
        }
        Ok(id)
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
    fn drop_topics(&mut self) -> Result<(), EngineError> {
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

    /// Enters the state that a valid commit leads to.
    pub(super) fn enter(&mut self, parent: &Arc<State>, merged: Merged) -> Result<StateId, EngineError> {
        let Merged { id, row: commit, members, group, image } = merged;
        let me = self.me();
        let me_in = members.iter().any(|m| m.device == me);
        let child = id_of(&group)?;
        let (_, ext) = valid::read_ext(group.public_group().group_context()).map_err(broken)?;
        let row = StateRow {
            gid: self.gid,
            epoch: group.epoch().as_u64(),
            parent: Some(parent.id),
            commit: Some(id),
            members: Sha256::digest(cbor::encode(&members)).into(),
            ext: ext.to_bytes(),
            topic: if commit.rotate { child } else { parent.row.topic },
            children: Vec::new(),
            me_in,
        };
        self.store_state(&row, &members, group, image)?;
        rows::put(self.tx, Key::of(Table::Commits, &id.0), &commit);
        let mut before = parent.row.clone();
        before.children.push(id);
        self.put_state(&State {
            id: parent.id,
            row: before,
            members: parent.members.clone(),
            ext: parent.ext.clone(),
        });
        Ok(child)
    }

    /// The winning chain's states, from the oldest held one to the tip.
    fn chain(&mut self) -> Result<Vec<StateId>, EngineError> {
        let held: BTreeSet<StateId> = self.row().held.iter().map(|(s, _)| *s).collect();
        let mut at = self.row().tip;
        let mut chain = vec![at];
        while let Some(parent) = self.known(&at)?.row.parent {
            if !held.contains(&parent) || chain.len() > IMAGES_MAX {
                break;
            }
            chain.push(parent);
            at = parent;
        }
        chain.reverse();
        Ok(chain)
    }

    /// Known commits below a state.
    fn tree(&mut self, root: StateId) -> Result<Tree, EngineError> {
        let mut tree = Tree::new();
        let mut open = vec![root];
        while let Some(at) = open.pop() {
            let state = self.known(&at)?;
            for id in &state.row.children {
                let commit = rows::commit(self.tx, id)?.ok_or_else(|| broken("a commit is missing"))?;
                tree.entry(at).or_default().push(Kid { commit: *id, state: commit.child });
                open.push(commit.child);
            }
        }
        Ok(tree)
    }

    /// Runs the fork rule and moves the tip to its answer.
    pub(super) fn choose(&mut self) -> Result<(), EngineError> {
        let old_chain = self.chain()?;
        let Some(&root) = old_chain.first() else { return Ok(()) };
        let tree = self.tree(root)?;
        let path = fork::best(&tree, root);
        let old = self.row().tip;
        let new = path.last().map_or(root, |k| k.state);
        if new != old {
            self.move_tip(&old_chain, root, &path, old, new)?;
        }
        self.drop_images(&tree)
    }

    fn move_tip(
        &mut self,
        old_chain: &[StateId],
        root: StateId,
        path: &[Kid],
        old: StateId,
        new: StateId,
    ) -> Result<(), EngineError> {
        let new_states: BTreeSet<StateId> = path.iter().map(|k| k.state).chain([root]).collect();
        let lost: Vec<StateId> = old_chain.iter().filter(|s| !new_states.contains(s)).copied().collect();
        let before = self.known(&old)?;
        let after = self.known(&new)?;
        self.row_mut().tip = new;
        let mut left = BTreeSet::new();
        let mut by = self.keys.account;
        for kid in path.iter().filter(|k| !old_chain.contains(&k.state)) {
            if let Some(commit) = rows::commit(self.tx, &kid.commit)? {
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
            let Some(id) = self.known(state)?.row.commit else { continue };
            if let Some(CommitRow { intent: Some(intent), .. }) = rows::commit(self.tx, &id)? {
                self.out.push(Outcome::OwnCommitLost { commit: id, intent });
            }
        }
        if !lost.is_empty() {
            let events = self.own_events_at(&lost)?;
            if !events.is_empty() {
                self.out.push(Outcome::Resend(events));
            }
        }
        Ok(())
    }

    /// Gives up images outside the secret window.
    pub(super) fn drop_images(&mut self, tree: &Tree) -> Result<(), EngineError> {
        let chain = self.chain()?;
        let (past, confirmed) = self.past(&chain)?;
        // The window is counted in states, not in time: the fork rule gives up
        // a late commit by depth, and both sides must come to the same answer.
        let first = chain.len().saturating_sub(WINDOW_STATES + 1).min(confirmed).max(past);
        let window: Vec<StateId> = chain.iter().skip(first).rev().take(IMAGES_MAX).copied().collect();
        // Branches that start inside the window stay, the newest of them.
        let mut keep: BTreeSet<StateId> = window.iter().copied().collect();
        let mut branches: BTreeSet<StateId> = BTreeSet::new();
        let mut open = window;
        while let Some(at) = open.pop() {
            for kid in tree.get(&at).into_iter().flatten() {
                if !keep.contains(&kid.state) && branches.insert(kid.state) {
                    open.push(kid.state);
                }
            }
        }
        let newest = self.row().held.iter().rev().map(|(s, _)| *s).filter(|s| branches.contains(s));
        let room = IMAGES_MAX.saturating_sub(keep.len());
        let newest: Vec<StateId> = newest.take(room).collect();
        keep.extend(newest);
        let doomed: Vec<StateId> =
            self.row().held.iter().map(|(s, _)| *s).filter(|s| !keep.contains(s)).collect();
        for state in doomed {
            self.row_mut().held.retain(|(s, _)| *s != state);
            self.unload(&state);
            self.tx.shred(Table::Images, &state.0);
        }
        Ok(())
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

    /// As [`Ctx::drop_images`], after a mark that may have moved somebody on.
    pub(super) fn drop_past_images(&mut self) -> Result<(), EngineError> {
        if self.row().held.len() < 2 {
            return Ok(());
        }
        let Some(root) = self.chain()?.first().copied() else { return Ok(()) };
        let tree = self.tree(root)?;
        self.drop_images(&tree)
    }
}
