//! The public side of states: what anybody who has the commits can compute
//! without any key. Branches are judged by it whose keys were never here, or
//! are gone.

use kith_rule::ANCHOR_DISTANCE;
use kith_rule::mutant::{self, Mutant};
use kith_store::{StoreError, Table};
use kith_wire::group::{CommitEnvelope, CommitMeta};
use kith_wire::ids::{OrderId, StateId};
use kith_wire::object::Versioned as _;
use kith_wire::signed::Raw;
use minicbor::bytes::ByteArray;
use openmls::framing::PublicMessageIn;
use openmls::group::PublicGroup;
use openmls::prelude::tls_codec::Deserialize as _;
use openmls::prelude::{
    MlsGroup, MlsMessageIn, ProcessedMessage, ProcessedMessageContent, ProtocolMessage, StagedCommit,
};

use super::ctx::{Ctx, broken, mls_gid, provider};
use super::enter::{id_of, members_of};
use crate::EngineError;
use crate::image::Image;
use crate::rows::{self, Member, State};
use crate::valid;

/// Every state whose epoch is a multiple of this has its public side stored.
const CHECKPOINT: u64 = 64;
/// Commits that are followed from a stored public side, at most.
const FOLLOW_MAX: usize = ANCHOR_DISTANCE + CHECKPOINT as usize;
/// Public sides that a session keeps: so many of a large group,
const PUBLICS_MIN: usize = 8;
/// and more of a small one, until they have so many leaves together.
const PUBLIC_LEAVES_MAX: usize = 1_024;
/// Why a commit could not be processed with the keys held here.
const BAD_PRIVATE: u8 = 1;

/// What a commit does to its parent, once it is known to be valid.
pub(super) struct Effect {
    pub(super) child: StateId,
    pub(super) epoch: u64,
    pub(super) members: Vec<Member>,
    pub(super) ext: kith_wire::group::GroupExt,
    pub(super) meta: CommitMeta,
    pub(super) left: Vec<kith_wire::ids::AccountId>,
    pub(super) used: Vec<ByteArray<32>>,
    pub(super) orders: Vec<OrderId>,
    /// The child's public side.
    pub(super) public: Image,
    /// The child with its keys, if it could be entered.
    pub(super) entered: Option<(MlsGroup, Image)>,
    /// It is valid, but the keys held here do not follow it.
    pub(super) bad: Option<u8>,
}

/// The MLS message of a commit envelope.
pub(super) fn public_message(bytes: &[u8]) -> Option<Box<PublicMessageIn>> {
    let message = MlsMessageIn::tls_deserialize_exact(bytes).ok()?;
    match message.try_into_protocol_message().ok()? {
        ProtocolMessage::PublicMessage(message) => Some(message),
        ProtocolMessage::PrivateMessage(_) => None,
    }
}

/// The same of an envelope as it travels and is stored; `None` if it is malformed.
pub(super) fn message_of(envelope: &[u8]) -> Option<Box<PublicMessageIn>> {
    let envelope: CommitEnvelope = Raw::from_bytes(envelope).ok()?.body().ok()?;
    public_message(&envelope.message)
}

/// The same of a stored envelope.
pub(super) fn stored_message(envelope: &[u8]) -> Result<Box<PublicMessageIn>, EngineError> {
    message_of(envelope).ok_or_else(|| broken("a stored commit is malformed"))
}

pub(super) fn staged_of(
    processed: ProcessedMessage,
) -> Result<(CommitMeta, Box<StagedCommit>), &'static str> {
    let meta =
        CommitMeta::from_bytes(processed.aad()).map_err(|_| "the commit's own description is malformed")?;
    match processed.into_content() {
        ProcessedMessageContent::StagedCommitMessage(staged) => Ok((meta, staged)),
        _ => Err("the commit is something else"),
    }
}

impl Ctx<'_, '_> {
    fn open_public(&self, image: &Image) -> Result<PublicGroup, EngineError> {
        PublicGroup::load(image, &mls_gid(&self.gid))
            .map_err(broken)?
            .ok_or_else(|| broken("a state's public side is incomplete"))
    }

    fn keep_public(&mut self, state: StateId, image: Image) -> Result<(), EngineError> {
        let leaves = self.tip()?.members.len().max(1);
        let list = &mut self.session.publics;
        list.retain(|(id, _)| *id != state);
        let most = (PUBLIC_LEAVES_MAX / leaves).max(PUBLICS_MIN);
        let too_many = (list.len() + 1).saturating_sub(most);
        list.drain(..too_many);
        list.push((state, image));
        Ok(())
    }

    /// Stores a state's public side, if it is one of those that are kept.
    pub(super) fn checkpoint(
        &mut self,
        state: StateId,
        epoch: u64,
        public: &Image,
    ) -> Result<(), StoreError> {
        match epoch.is_multiple_of(CHECKPOINT) {
            true => self.put_checkpoint(state, public),
            false => Ok(()),
        }
    }

    pub(super) fn put_checkpoint(&mut self, state: StateId, public: &Image) -> Result<(), StoreError> {
        public.public().save(self.tx, Table::Public, &rows::pair(&self.gid, &state.0))
    }

    fn stored_public(&mut self, state: StateId) -> Result<Option<Image>, EngineError> {
        let list = &mut self.session.publics;
        if let Some(at) = list.iter().position(|(id, _)| *id == state) {
            let found = list.remove(at);
            let image = found.1.clone();
            list.push(found);
            return Ok(Some(image));
        }
        if let Some(image) = self.held_image(state)? {
            return Ok(Some(image.public()));
        }
        Ok(Image::load(self.tx, Table::Public, &rows::pair(&self.gid, &state.0))?)
    }

    /// The public side of a known state, computed from the nearest one that is
    /// stored; `None` if that is too far back.
    pub(super) fn public_side(&mut self, state: StateId) -> Result<Option<Image>, EngineError> {
        let mut way = Vec::new();
        let mut at = state;
        let mut image = loop {
            if let Some(image) = self.stored_public(at)? {
                break image;
            }
            let row = self.known_row(&at)?;
            let (Some(parent), Some(commit)) = (row.parent, row.commit) else { return Ok(None) };
            if way.len() >= FOLLOW_MAX {
                return Ok(None);
            }
            way.push((at, commit));
            at = parent;
        };
        let mut group = None;
        for (child, commit) in way.into_iter().rev() {
            let message = stored_message(&rows::envelope(self.tx, &commit)?)?;
            let next = image.branch();
            let group = match &mut group {
                Some(group) => group,
                none => none.insert(self.open_public(&next)?),
            };
            let processed = group.process_message(self.crypto, *message).map_err(broken)?;
            let (_, staged) = staged_of(processed).map_err(broken)?;
            group.merge_commit(&next, *staged).map_err(broken)?;
            self.keep_public(child, next.clone())?;
            image = next;
        }
        Ok(Some(image))
    }

    /// Judges a commit on its parent: with the parent's keys if they are here,
    /// else, or if they do not follow it, by its public side. The inner result
    /// says why it is not valid.
    pub(super) fn judge(
        &mut self,
        parent: &State,
        committer: &Member,
        message: &[u8],
    ) -> Result<Result<Effect, &'static str>, EngineError> {
        let mut bad = None;
        if let Some((mut group, image)) = self.branch(parent.id)? {
            let Some(parsed) = public_message(message) else { return Ok(Err(MALFORMED)) };
            let given = provider(self.crypto, self.rand, &image);
            match group.process_message(&given, *parsed).map(staged_of) {
                Ok(Err(why)) => return Ok(Err(why)),
                // Of a commit that removes this device OpenMLS computes
                // neither transcript nor confirmation tag; its public side has
                // both.
                Ok(Ok((_, staged))) if staged.self_removed() => {}
                Ok(Ok((meta, staged))) => {
                    let (left, used) = match self.verdict(parent, committer, &meta, &staged)? {
                        Ok(verdict) => verdict,
                        Err(why) => return Ok(Err(why)),
                    };
                    let given = provider(self.crypto, self.rand, &image);
                    group.merge_staged_commit(&given, *staged).map_err(broken)?;
                    let effect = effect(group.public_group(), parent, meta, left, used, image.public());
                    return Ok(effect.map(|e| Effect { entered: Some((group, image)), ..e }));
                }
                Err(_) => bad = Some(BAD_PRIVATE),
            }
        }
        let Some(image) = self.public_side(parent.id)? else {
            return Ok(Err("the commit leaves a state that is too old to follow from"));
        };
        let Some(parsed) = public_message(message) else { return Ok(Err(MALFORMED)) };
        let next = image.branch();
        let mut group = self.open_public(&next)?;
        let Ok(processed) = group.process_message(self.crypto, *parsed) else {
            return Ok(Err("the commit cannot be processed"));
        };
        let (meta, staged) = match staged_of(processed) {
            Ok(parts) => parts,
            Err(why) => return Ok(Err(why)),
        };
        let (left, used) = match self.verdict(parent, committer, &meta, &staged)? {
            Ok(verdict) => verdict,
            Err(why) => return Ok(Err(why)),
        };
        group.merge_commit(&next, *staged).map_err(broken)?;
        let effect = effect(&group, parent, meta, left, used, next.clone());
        if let Ok(e) = &effect {
            self.keep_public(e.child, next)?;
        }
        Ok(effect.map(|e| Effect { bad: bad.filter(|_| committer.device != self.me()), ..e }))
    }

    /// What the rules say: who leaves, and which key packages let devices in
    /// again, none of which an ancestor used.
    #[expect(clippy::type_complexity, reason = "a verdict inside a failure of the store")]
    fn verdict(
        &mut self,
        parent: &State,
        committer: &Member,
        meta: &CommitMeta,
        staged: &StagedCommit,
    ) -> Result<Result<(Vec<kith_wire::ids::AccountId>, Vec<[u8; 32]>), &'static str>, EngineError> {
        let verdict = valid::facts(parent, staged)
            .and_then(|facts| valid::check(&self.gid, parent, committer, meta, &facts));
        if let Ok((_, used)) = &verdict
            && self.any_used(parent.id, used)?
        {
            return Ok(Err("the commit lets a device in by a key package that was used before"));
        }
        Ok(verdict)
    }

    /// Whether a re-add on the way to a state used any of these packages.
    pub(super) fn any_used(&self, state: StateId, packages: &[[u8; 32]]) -> Result<bool, EngineError> {
        if packages.is_empty() || mutant::on(Mutant::ReplayedRequest) {
            return Ok(false);
        }
        let mut at = Some(state);
        for _ in 0..FOLLOW_MAX {
            let Some(state) = at else { break };
            let Some(row) = self.state_row(&state)? else { break };
            if let Some(commit) = row.commit
                && let Some(commit) = rows::commit(self.tx, &commit)?
                && commit.used.iter().any(|u| packages.contains(u))
            {
                return Ok(true);
            }
            at = row.parent;
        }
        Ok(false)
    }
}

const MALFORMED: &str = "the commit is malformed";

/// Reads what a commit led to off the merged group.
pub(super) fn effect(
    group: &PublicGroup,
    parent: &State,
    meta: CommitMeta,
    left: Vec<kith_wire::ids::AccountId>,
    used: Vec<[u8; 32]>,
    public: Image,
) -> Result<Effect, &'static str> {
    let (_, ext) = valid::read_ext(group.group_context())?;
    let orders = meta
        .orders
        .iter()
        .filter_map(|o| Raw::from_bytes(o).ok())
        .map(|raw| kith_wire::group::order_id(&raw))
        .collect();
    Ok(Effect {
        child: id_of(group).map_err(|_| "the commit leads to a state without an id")?,
        epoch: group.group_context().epoch().as_u64(),
        members: members_of(group.members(), Some(parent))?,
        ext,
        meta,
        left,
        used: used.into_iter().map(ByteArray::from).collect(),
        orders,
        public,
        entered: None,
        bad: None,
    })
}
