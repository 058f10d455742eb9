//! The join bundle: what all joiners of one commit share. Beside the ratchet
//! tree it brings a piece of the group's past, so that a joiner can judge
//! branches that left before it came.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kith_store::Table;
use kith_wire::group::{Checkpoint, JoinBundle, Mark, kinds};
use kith_wire::ids::{CommitId, DeviceId, GroupId, StateId};
use kith_wire::limits;
use kith_wire::object::Versioned as _;
use kith_wire::signed::Raw;
use minicbor::bytes::ByteVec;
use openmls::group::{ProposalStore, PublicGroup};
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{MlsMessageBodyIn, MlsMessageIn, RatchetTreeIn};

use super::ctx::{Ctx, broken, mls_gid};
use super::enter::{id_of, members_of};
use crate::EngineError;
use crate::crypto::Crypto;
use crate::image::Image;
use crate::rows::{self, State};

/// Commits of the past that a bundle tries to bring, in this order.
const PASTS: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];
/// Commits of other branches that a bundle brings at most.
const ASIDE_MAX: usize = 64;
/// A bundle with a past is at most this large: it has to fit an inbox entry
/// beside the Welcome.
const PAST_BYTES_MAX: usize = limits::ENTRY_BYTES_MAX - (24 << 10);

/// A piece of the chain: the state before it, then each commit with its state.
struct Past {
    from: StateId,
    commits: Vec<(CommitId, StateId)>,
}

impl Ctx<'_, '_> {
    /// The bundle for the joiners of a state.
    pub(super) fn bundle(
        &mut self,
        after: &State,
        tree: Vec<u8>,
        cards: &[Vec<u8>],
    ) -> Result<Vec<u8>, EngineError> {
        let mut seen = BTreeMap::new();
        for m in &after.members {
            if let Some(row) = rows::device(self.tx, &self.gid, &m.device)? {
                seen.insert(m.device, (row.events.contiguous().unwrap_or(0), row.mark_n));
            }
        }
        seen.insert(self.me(), (self.row().seq, self.row().mark_n));
        let mut bundle = JoinBundle {
            kind: kinds::JOIN_BUNDLE,
            version: 1,
            gid: self.gid,
            tree,
            checkpoint: None,
            commits: Vec::new(),
            orders: self.stored_orders()?.into_iter().map(Into::into).collect(),
            marks: self.marks_at(&BTreeSet::from([after.id]))?,
            cards: cards.iter().map(|c| c.clone().into()).collect(),
            seen,
            topic_state: after.row.topic,
        };
        let plain = bundle.to_bytes();
        if plain.len() + bundle.tree.len() > PAST_BYTES_MAX {
            return Ok(plain);
        }
        // Rather less of other branches than less of the chain itself.
        let others: &[bool] = if self.row().contested { &[true, false] } else { &[false] };
        let mut tried = BTreeSet::new();
        for (commits, others) in PASTS.into_iter().flat_map(|n| others.iter().map(move |o| (n, *o))) {
            let Some(past) = self.past_of(after, commits)? else { continue };
            if !tried.insert((past.commits.len(), others)) {
                continue;
            }
            let mut states: BTreeSet<StateId> =
                past.commits.iter().map(|(_, state)| *state).chain([past.from]).collect();
            let mut envelopes = Vec::new();
            let aside = self.branches_of(&states, others)?;
            states.extend(aside.iter().map(|(_, state)| *state));
            for (commit, _) in past.commits.iter().chain(&aside) {
                envelopes.push(ByteVec::from(rows::envelope(self.tx, commit)?));
            }
            bundle.commits = envelopes;
            bundle.marks = self.marks_at(&states)?;
            bundle.checkpoint = None;
            // The tree then was about as large as it is now; to compute it may
            // mean to follow dozens of commits.
            if bundle.to_bytes().len() + bundle.tree.len() > PAST_BYTES_MAX {
                continue;
            }
            bundle.checkpoint = self.checkpoint_of(past.from)?;
            let bytes = bundle.to_bytes();
            if bundle.checkpoint.is_some() && bytes.len() <= PAST_BYTES_MAX {
                return Ok(bytes);
            }
        }
        Ok(plain)
    }

    /// The last commits before a state, down to the anchor at most.
    fn past_of(&mut self, after: &State, commits: usize) -> Result<Option<Past>, EngineError> {
        let anchor = self.row().anchor;
        let mut past = Past { from: after.id, commits: Vec::new() };
        while past.commits.len() < commits && past.from != anchor {
            let row = self.known_row(&past.from)?;
            let (Some(parent), Some(commit)) = (row.parent, row.commit) else { break };
            past.commits.push((commit, past.from));
            past.from = parent;
        }
        past.commits.reverse();
        Ok((!past.commits.is_empty()).then_some(past))
    }

    /// Commits of other branches that leave these states, parents first: those
    /// that lead to where orders were given, since an order counts for nobody
    /// who does not know where; and then `others`, since what their members had
    /// heard of whom an order is about decides what of that counts.
    fn branches_of(
        &mut self,
        known: &BTreeSet<StateId>,
        others: bool,
    ) -> Result<Vec<(CommitId, StateId)>, EngineError> {
        let mut known = known.clone();
        let mut out = Vec::new();
        for bytes in self.stored_orders()? {
            let order: kith_wire::group::Order = Raw::from_bytes(&bytes)?.body()?;
            let mut branch = Vec::new();
            let mut at = order.at;
            while !known.contains(&at) && branch.len() + out.len() < ASIDE_MAX {
                let Some(row) = self.state_row(&at)? else { break };
                let (Some(parent), Some(commit)) = (row.parent, row.commit) else { break };
                branch.push((commit, at));
                at = parent;
            }
            if known.contains(&at) {
                known.extend(branch.iter().map(|(_, state)| *state));
                out.extend(branch.into_iter().rev());
            }
        }
        let mut open: VecDeque<StateId> = known.iter().copied().collect();
        while let Some(at) = open.pop_front().filter(|_| others && out.len() < ASIDE_MAX) {
            let Some(row) = self.state_row(&at)? else { continue };
            for child in &row.children {
                if out.len() < ASIDE_MAX && known.insert(child.state) {
                    out.push((child.commit, child.state));
                    open.push_back(child.state);
                }
            }
        }
        Ok(out)
    }

    /// Signed marks that count as votes in any of these states, oldest first:
    /// of each device the first in each state, those before orders and those
    /// that call a commit bad, and its last.
    fn marks_at(&mut self, states: &BTreeSet<StateId>) -> Result<Vec<ByteVec>, EngineError> {
        let mut ordered: BTreeSet<(DeviceId, u64)> = BTreeSet::new();
        for bytes in self.stored_orders()? {
            let order: kith_wire::group::Order = Raw::from_bytes(&bytes)?.body()?;
            ordered.insert((order.device, order.n));
        }
        let mut devices = rows::devices(self.tx, &self.gid)?;
        devices.push(self.me());
        let mut out = Vec::new();
        for device in devices.into_iter().collect::<BTreeSet<_>>() {
            let name = rows::pair(&self.gid, &device.0);
            let stored = rows::numbered(self.tx, Table::Marks, &name, 0, usize::MAX)?;
            let last = stored.last().map(|(n, _)| *n);
            let mut at = None;
            for (n, bytes) in stored {
                let mark: Mark = Raw::from_bytes(&bytes)?.body()?;
                let counts = at != Some(mark.at)
                    || !mark.bad.is_empty()
                    || ordered.contains(&(device, n.saturating_add(1)))
                    || last == Some(n);
                at = Some(mark.at);
                if counts && states.contains(&mark.at) {
                    out.push(ByteVec::from(bytes));
                }
            }
        }
        Ok(out)
    }

    fn checkpoint_of(&mut self, state: StateId) -> Result<Option<Checkpoint>, EngineError> {
        let Some(image) = self.public_side(state)? else { return Ok(None) };
        let group = PublicGroup::load(&image, &mls_gid(&self.gid))
            .map_err(broken)?
            .ok_or_else(|| broken("a state's public side is incomplete"))?;
        let mut used = Vec::new();
        let mut at = Some(state);
        while let Some(id) = at.filter(|_| used.len() < limits::DEVICES_PER_GROUP_MAX) {
            let Some(row) = self.state_row(&id)? else { break };
            if let Some(commit) = row.commit
                && let Some(commit) = rows::commit(self.tx, &commit)?
            {
                used.extend(commit.used.iter().map(|u| ByteVec::from(u.to_vec())));
            }
            at = if id == self.row().anchor { None } else { row.parent };
        }
        Ok(Some(Checkpoint {
            state,
            tree: group.export_ratchet_tree().tls_serialize_detached().map_err(broken)?,
            context: group.group_context().tls_serialize_detached().map_err(broken)?,
            interim: image.interim().ok_or_else(|| broken("a state's transcript hash is missing"))?,
            tag: group.confirmation_tag().tls_serialize_detached().map_err(broken)?,
            used,
        }))
    }
}

/// Opens a checkpoint. That it is the group's is proven by the commits that
/// lead from it to a state which is known otherwise; until then it is only
/// known to agree with itself. `member` is a leaf that is not blank.
pub(super) fn open_checkpoint(
    gid: &GroupId,
    checkpoint: &Checkpoint,
    member: u32,
) -> Result<(PublicGroup, Image), EngineError> {
    let malformed = || EngineError::Welcome("its account of the conversation's past is malformed");
    let tree = RatchetTreeIn::tls_deserialize_exact(checkpoint.tree.as_slice()).map_err(|_| malformed())?;
    // OpenMLS takes a tree from outside with a signed GroupInfo (RFC 9420
    // 12.4.3). Here the transcript proves more than that signature would.
    let mut info = vec![0, 1, 0, 4];
    info.extend_from_slice(&checkpoint.context);
    info.push(0);
    info.extend_from_slice(&checkpoint.tag);
    info.extend_from_slice(&member.to_be_bytes());
    info.push(0);
    let info = MlsMessageIn::tls_deserialize_exact(info.as_slice()).map_err(|_| malformed())?;
    let MlsMessageBodyIn::GroupInfo(info) = info.extract() else { return Err(malformed()) };
    let image = Image::default();
    let (group, _) =
        PublicGroup::from_external(&Crypto::for_checkpoints(), &image, tree, info, ProposalStore::new())
            .map_err(|_| malformed())?;
    let same = group.group_context().group_id() == &mls_gid(gid)
        && group.group_context().ciphersuite() == crate::crypto::SUITE
        && image.interim().as_ref() == Some(&checkpoint.interim)
        && id_of(&group)? == checkpoint.state;
    if !same {
        return Err(malformed());
    }
    members_of(group.members(), None).map_err(|_| malformed())?;
    Ok((group, image))
}

/// Leaves only one joiner's secrets in a Welcome message (RFC 9420 12.4.3.1):
/// the encrypted group info is bound to each secret, the list is not.
pub(super) fn cut_welcome(message: &[u8], reference: &[u8]) -> Option<Vec<u8>> {
    // MLSMessage: version u16, wire format u16; Welcome: suite u16, secrets<V>, info<V>.
    let (head, rest) = message.split_at_checked(6)?;
    let (secrets, rest) = vector(rest)?;
    let mut list = secrets;
    while !list.is_empty() {
        let start = list;
        let (name, after) = vector(list)?;
        let (_, after) = vector(after)?;
        let (_, after) = vector(after)?;
        let entry = start.get(..start.len() - after.len())?;
        list = after;
        if name == reference {
            let mut out = head.to_vec();
            out.extend(length(entry.len())?);
            out.extend_from_slice(entry);
            out.extend_from_slice(rest);
            return Some(out);
        }
    }
    None
}

/// Reads a vector with a variable-size length (RFC 9420 2.1.2).
fn vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = *bytes.first()?;
    let n = 1usize << (first >> 6);
    let (head, rest) = bytes.split_at_checked(n)?;
    let len = head.iter().skip(1).fold(usize::from(first & 0x3f), |v, b| v << 8 | usize::from(*b));
    (n <= 4).then_some(())?;
    rest.split_at_checked(len)
}

fn length(n: usize) -> Option<Vec<u8>> {
    let n = u32::try_from(n).ok()?;
    match n {
        0..=0x3f => Some(vec![u8::try_from(n).ok()?]),
        0x40..=0x3fff => Some((u16::try_from(n).ok()? | 0x4000).to_be_bytes().to_vec()),
        0x4000..=0x3fff_ffff => Some((n | 0x8000_0000).to_be_bytes().to_vec()),
        _ => None,
    }
}
