//! Objects come in: parsed, told apart, and handed to the rules.

use kith_wire::group::{CommitEnvelope, Object, commit_id, kinds};
use kith_wire::signed::Raw;
use openmls::prelude::Sender;

use super::ctx::Ctx;
use super::public::public_message;
use crate::EngineError;
use crate::api::Outcome;
use crate::rows::{self, CommitRow};
use crate::valid;

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
            Object::Readd(request) => self.ingest_readd(&request, bytes),
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
        let Some(message) = public_message(&envelope.message) else {
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
        let effect = match self.judge(&parent, &committer, &envelope.message)? {
            Ok(effect) => effect,
            Err(why) => return self.reject(why),
        };
        let before = self.out.len();
        for order in &effect.meta.orders {
            if let Ok(raw) = Raw::from_bytes(order) {
                self.ingest_order(&raw, order)?;
            }
        }
        // The commit itself tells of them; what they changed is still news.
        let came = self.out.split_off(before);
        self.out.extend(came.into_iter().filter(|o| {
            matches!(
                o,
                Outcome::Tip(_) | Outcome::Duties | Outcome::Resend(_) | Outcome::OwnCommitLost { .. }
            )
        }));
        if let Some(known) = self.state(&effect.child)? {
            // The same state by a variant that differs in the membership tag.
            if let Some((group, image)) = effect.entered.filter(|_| !self.holds(&known.id)) {
                self.hold(&known, group, image)?;
                self.choose()?;
            }
            if self.out.len() == before {
                self.out.push(Outcome::Known);
            }
            return Ok(());
        }
        let bad = effect.bad;
        let row = CommitRow {
            gid: self.gid,
            parent: parent.id,
            child: effect.child,
            account: committer.account,
            device: committer.device,
            rotate: effect.meta.rotate,
            intent: None,
            left: effect.left.clone(),
            used: effect.used.clone(),
            orders: effect.orders.clone(),
        };
        self.learn(&parent, id, &row, bytes, effect)?;
        if let Some(reason) = bad {
            self.call_bad(id, reason);
        }
        self.choose()?;
        if self.out.len() == before {
            self.out.push(Outcome::Known);
        }
        Ok(())
    }
}
