//! Objects come in: parsed, told apart, and handed to the rules.

use kith_wire::group::{CommitEnvelope, CommitMeta, Object, commit_id, kinds};
use kith_wire::object::Versioned as _;
use kith_wire::signed::Raw;
use openmls::prelude::tls_codec::Deserialize as _;
use openmls::prelude::{MlsMessageIn, ProcessedMessageContent, ProtocolMessage, Sender, StagedCommit};

use super::ctx::{Ctx, broken, provider};
use super::enter::{Merged, id_of, members_of};
use crate::EngineError;
use crate::api::Outcome;
use crate::rows::{self, CommitRow, Member, State};
use crate::valid;

/// Known commits that leave one state.
const CHILDREN_MAX: usize = 64;
/// Of these, commits of one device.
const CHILDREN_PER_DEVICE_MAX: usize = 4;

impl Ctx<'_, '_> {
    /// Takes in one object, and what waited for it.
    pub(super) fn ingest(&mut self, object: &[u8]) -> Result<(), EngineError> {
        self.ingest_one(object)?;
        self.release_orphans()
    }

    pub(super) fn ingest_one(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let Ok(object) = Object::from_bytes(bytes) else {
            return self.reject("the object is malformed");
        };
        match object {
            Object::EventEnvelope(envelope) => self.ingest_envelope(&envelope, bytes),
            Object::BareEvent(signed) => self.ingest_event(&signed, None),
            Object::Signed { kind: kinds::COMMIT, raw } => self.ingest_commit(&raw, bytes),
            Object::Signed { kind: kinds::MARK, raw } => self.ingest_mark(&raw, bytes),
            Object::Signed { kind: kinds::ORDER, raw } => self.ingest_order(&raw, bytes),
            Object::Signed { .. } => self.reject("objects of this kind do not belong to a group"),
        }
    }

    fn ingest_commit(&mut self, raw: &Raw, bytes: &[u8]) -> Result<(), EngineError> {
        let Ok(envelope) = raw.body::<CommitEnvelope>() else {
            return self.reject("the commit is malformed");
        };
        if envelope.gid != self.gid {
            return self.reject("the commit is for another group");
        }
        let id = commit_id(&envelope.message);
        if rows::commit(self.tx, &id)?.is_some() {
            self.out.push(Outcome::Known);
            return Ok(());
        }
        let Some(parent) = self.state(&envelope.parent)? else { return self.orphan(envelope.parent, bytes) };
        if !parent.row.me_in {
            return self.reject("the commit leaves a state that this device is not in");
        }
        let Ok(message) = MlsMessageIn::tls_deserialize_exact(envelope.message.as_slice()) else {
            return self.reject("the commit is malformed");
        };
        let Ok(ProtocolMessage::PublicMessage(message)) = message.try_into_protocol_message() else {
            return self.reject("the commit is not a public message");
        };
        let committer = match message.sender() {
            Sender::Member(leaf) => parent.leaf(leaf.u32()).cloned(),
            _ => None,
        };
        let Some(committer) = committer else {
            return self.reject("the commit comes from outside the group");
        };
        if let Err(why) = valid::envelope(raw, &committer) {
            return self.reject(why);
        }
        if let Some(why) = self.over_cap(&parent, &committer)? {
            return self.reject(why);
        }
        let Some((mut group, image)) = self.branch(parent.id)? else {
            return self.reject("the commit leaves a state that is too old to follow from");
        };
        let given = provider(self.crypto, self.rand, &image);
        let Ok(processed) = group.process_message(&given, *message) else {
            return self.reject("the commit cannot be processed");
        };
        let Ok(meta) = CommitMeta::from_bytes(processed.aad()) else {
            return self.reject("the commit's own description is malformed");
        };
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            return self.reject("the commit is something else");
        };
        let left = match self.check(&parent, &committer, &meta, &staged) {
            Ok(left) => left,
            Err(why) => return self.reject(why),
        };
        let given = provider(self.crypto, self.rand, &image);
        group.merge_staged_commit(&given, *staged).map_err(broken)?;
        let members = match members_of(&group, Some(&parent)) {
            Ok(members) => members,
            Err(why) => return self.reject(why),
        };
        for order in &meta.orders {
            if let Ok(raw) = Raw::from_bytes(order) {
                let before = self.out.len();
                self.ingest_order(&raw, order)?;
                // They are being enacted: nothing is left to do about them.
                self.out.truncate(before);
            }
        }
        let row = CommitRow {
            gid: self.gid,
            parent: parent.id,
            child: id_of(&group)?,
            account: committer.account,
            device: committer.device,
            rotate: meta.rotate,
            envelope: bytes.to_vec(),
            intent: None,
            left,
        };
        if self.state(&row.child)?.is_some() {
            // The same state by a variant that differs in the membership tag.
            self.out.push(Outcome::Known);
            return Ok(());
        }
        self.enter(&parent, Merged { id, row, members, group, image })?;
        let before = self.out.len();
        self.choose()?;
        if self.out.len() == before {
            self.out.push(Outcome::Known);
        }
        Ok(())
    }

    fn check(
        &self,
        parent: &State,
        committer: &Member,
        meta: &CommitMeta,
        staged: &StagedCommit,
    ) -> Result<Vec<kith_wire::ids::AccountId>, &'static str> {
        let facts = valid::facts(parent, staged)?;
        valid::check(&self.gid, parent, committer, meta, &facts)
    }

    fn over_cap(&self, parent: &State, committer: &Member) -> Result<Option<&'static str>, EngineError> {
        if parent.row.children.len() >= CHILDREN_MAX {
            return Ok(Some("too many commits leave the same state"));
        }
        let mut of_device = 0;
        for id in &parent.row.children {
            if rows::commit(self.tx, id)?.is_some_and(|c| c.device == committer.device) {
                of_device += 1;
            }
        }
        Ok((of_device >= CHILDREN_PER_DEVICE_MAX)
            .then_some("a device made too many commits on the same state"))
    }
}
