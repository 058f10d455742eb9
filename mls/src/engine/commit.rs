//! Own commits: built and merged on a copy of the tip's image, checked by the
//! rules that others apply, stored, and only then handed out.

use std::collections::BTreeSet;

use kith_store::{Key, Read, Table};
use kith_wire::crypto::Secret;
use kith_wire::group::{
    self, CommitEnvelope, CommitMeta, CommitReason, JoinBundle, OrderKind, Target, commit_id, kinds,
};
use kith_wire::ids::{AccountId, StateId};
use kith_wire::limits;
use kith_wire::object::Versioned as _;
use kith_wire::signed;
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{
    KeyPackage, LeafNodeIndex, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut, ProtocolVersion,
};

use super::ctx::{Ctx, DeviceSigner, broken, extensions, provider};
use super::enter::Merged;
use super::join::cut_welcome;
use crate::EngineError;
use crate::api::{Change, Committed, ExtBytes, Intent, Joiner};
use crate::crypto::Crypto;
use crate::rows::{self, CommitRow, Member, State};
use crate::valid;

impl Ctx<'_, '_> {
    pub(super) fn commit(&mut self, change: &Change) -> Result<Committed, EngineError> {
        let parent = self.tip_as_member()?;
        let me = self.me();
        let myself = parent.device(&me).cloned().ok_or(EngineError::NotMember)?;
        let packages = change
            .adds
            .iter()
            .map(|a| read_package(self.crypto, &a.package))
            .collect::<Result<Vec<_>, _>>()?;
        let (removes, ordered) = removals(&parent, &myself, change)?;
        if let Some(ext) = &change.ext {
            ext.check()?;
            if ext.to_bytes().len() > limits::GROUP_EXT_BYTES_MAX {
                return Err(EngineError::Refused("the group's settings are too large"));
            }
        }

        let mut marks = Vec::new();
        let mut orders = Vec::new();
        let mut embedded = Vec::new();
        for target in ordered {
            self.order_for(&parent, target, OrderKind::Remove, &mut marks, &mut orders, &mut embedded)?;
        }
        for account in demoted(&parent, &myself, change) {
            self.order_for(&parent, account, OrderKind::Demote, &mut marks, &mut orders, &mut embedded)?;
        }

        let gone_for_good =
            removes.iter().any(|r| packages.iter().all(|(_, added)| added.device != r.device));
        let meta = CommitMeta {
            kind: kinds::COMMIT_META,
            version: 1,
            gid: self.gid,
            parent: parent.id,
            orders: embedded.into_iter().map(Into::into).collect(),
            readds: Vec::new(),
            reason: reason(change, &removes),
            device: me,
            rotate: gone_for_good || change.rotate,
        };
        let (merged, welcome) = self.build(&parent, &myself, &meta, change, packages, &removes)?;
        let id = merged.id;
        let envelope = merged.row.envelope.clone();
        let intent = merged.row.intent.clone().unwrap_or_default();
        let tree = match &welcome {
            Some(_) => merged.group.export_ratchet_tree().tls_serialize_detached().map_err(broken)?,
            None => Vec::new(),
        };
        let joiners_of = merged.members.clone();
        let child = self.enter(&parent, merged)?;
        self.choose()?;
        if self.row().tip != child {
            return Err(broken("an own commit on the tip did not become the tip"));
        }
        // The author knows that it moved.
        self.out.clear();
        marks.push(self.make_mark()?);
        let after = self.known(&child)?;
        let (joiners, bundle) = match welcome {
            Some(welcome) => self.joiners(&after, change, &welcome, tree, &intent, &joiners_of, &marks)?,
            None => (Vec::new(), Vec::new()),
        };
        Ok(Committed {
            commit: id,
            parent: parent.id,
            state: child,
            envelope,
            parent_topic: parent.row.topic,
            rotated: meta.rotate,
            orders,
            marks,
            joiners,
            bundle,
            intent,
        })
    }

    /// Builds, stages and merges on a copy; checks the result by the rules.
    fn build(
        &mut self,
        parent: &State,
        myself: &Member,
        meta: &CommitMeta,
        change: &Change,
        packages: Vec<(KeyPackage, Member)>,
        removes: &[Member],
    ) -> Result<(Merged, Option<Vec<u8>>), EngineError> {
        let (mut group, image) =
            self.branch(parent.id)?.ok_or_else(|| broken("the tip's keys are missing"))?;
        group.set_aad(meta.to_bytes());
        let provider = provider(self.crypto, self.rand, &image);
        let signer = DeviceSigner(self.keys);
        let mut builder = group
            .commit_builder()
            .consume_proposal_store(false)
            .force_self_update(true)
            .propose_adds(packages.into_iter().map(|(p, _)| p))
            .propose_removals(removes.iter().map(|m| LeafNodeIndex::new(m.leaf)));
        if let Some(ext) = &change.ext {
            builder = builder.propose_group_context_extensions(extensions(ext)?).map_err(broken)?;
        }
        let bundle = builder
            .load_psks(&image)
            .map_err(broken)?
            .create_group_info(false)
            .build(self.rand, self.crypto, &signer, |_| true)
            .map_err(broken)?
            .stage_commit(&provider)
            .map_err(broken)?;
        let (message, welcome, _) = bundle.into_messages();
        let staged = group.pending_commit().ok_or_else(|| broken("the commit is not staged"))?;
        let facts = valid::facts(parent, staged).map_err(EngineError::Refused)?;
        let left = valid::check(&self.gid, parent, myself, meta, &facts).map_err(EngineError::Refused)?;
        group.merge_pending_commit(&provider).map_err(broken)?;
        group.set_aad(Vec::new());
        let members = super::enter::members_of(&group, Some(parent)).map_err(EngineError::Refused)?;
        let message = message.tls_serialize_detached().map_err(broken)?;
        let id = commit_id(&message);
        let envelope =
            CommitEnvelope { kind: kinds::COMMIT, version: 1, gid: self.gid, parent: parent.id, message };
        let row = CommitRow {
            gid: self.gid,
            parent: parent.id,
            child: super::enter::id_of(&group)?,
            account: self.keys.account,
            device: myself.device,
            rotate: meta.rotate,
            envelope: signed::sign(&envelope, &self.keys.signing, &[]).to_bytes(),
            intent: Some(Intent {
                added: facts.adds.iter().map(|m| (m.account, m.device)).collect(),
                removed: facts.removes.iter().map(|m| (m.account, m.device)).collect(),
                ext_before: facts.ext.as_ref().map(|_| ExtBytes(parent.row.ext.clone())),
                ext_after: facts.ext.as_ref().map(|e| ExtBytes(e.to_bytes())),
            }),
            left,
        };
        let welcome =
            welcome.map(|w: MlsMessageOut| w.tls_serialize_detached().map_err(broken)).transpose()?;
        Ok((Merged { id, row, members, group, image }, welcome))
    }

    /// The order that a removal or demotion needs: a stored leave order of
    /// the target, or a new one of this account.
    fn order_for(
        &mut self,
        parent: &State,
        target: AccountId,
        kind: OrderKind,
        marks: &mut Vec<Vec<u8>>,
        orders: &mut Vec<Vec<u8>>,
        embedded: &mut Vec<Vec<u8>>,
    ) -> Result<(), EngineError> {
        if kind == OrderKind::Remove {
            let open = crate::view::open_leaves(self.tx, &self.gid, parent)?;
            if let Some((_, signed)) = open.into_iter().find(|(account, _)| *account == target) {
                embedded.push(signed);
                return Ok(());
            }
        }
        if let Some(mark) = self.mark_for_order()? {
            marks.push(mark);
        }
        let order = self.make_order(parent, kind, Target::Account(target))?;
        orders.push(order.clone());
        embedded.push(order);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one call site; the parts come from different steps")]
    fn joiners(
        &mut self,
        after: &State,
        change: &Change,
        welcome: &[u8],
        tree: Vec<u8>,
        intent: &Intent,
        members: &[Member],
        marks: &[Vec<u8>],
    ) -> Result<(Vec<Joiner>, Vec<u8>), EngineError> {
        let secret = self.tx.get(Key::of(Table::Topics, &after.row.topic.0))?;
        let topic = secret
            .as_deref()
            .and_then(Secret::from_slice)
            .ok_or_else(|| broken("the topic's secret is missing"))?;
        let commit = after.row.commit.ok_or_else(|| broken("a state has no commit"))?;
        let mut joiners = Vec::new();
        for (add, (account, device)) in change.adds.iter().zip(&intent.added) {
            let member = members
                .iter()
                .find(|m| m.device == *device)
                .ok_or_else(|| broken("an added device is not in the group"))?;
            // Adds are validated, in this order, before the commit is built.
            let (package, _) = read_package(self.crypto, &add.package)?;
            let reference = package.hash_ref(self.crypto).map_err(broken)?;
            joiners.push(Joiner {
                device: *device,
                account: *account,
                box_key: member.box_key,
                inbox: add.inbox,
                gid: self.gid,
                state: after.id,
                commit,
                welcome: cut_welcome(welcome, reference.as_slice())
                    .ok_or_else(|| broken("a Welcome misses a joiner"))?,
                topic: topic.clone(),
                relays: after.ext.relays.clone(),
            });
        }
        let bundle = self.bundle(after, tree, &change.cards, marks)?;
        Ok((joiners, bundle))
    }

    fn bundle(
        &mut self,
        after: &State,
        tree: Vec<u8>,
        cards: &[Vec<u8>],
        marks: &[Vec<u8>],
    ) -> Result<Vec<u8>, EngineError> {
        let mut seen = std::collections::BTreeMap::new();
        for m in &after.members {
            if let Some(row) = rows::device(self.tx, &self.gid, &m.device)? {
                seen.insert(m.device, (row.events.contiguous().unwrap_or(0), row.mark_n));
            }
        }
        seen.insert(self.me(), (self.row().seq, self.row().mark_n));
        let orders = self.stored_orders()?;
        let bundle = JoinBundle {
            kind: kinds::JOIN_BUNDLE,
            version: 1,
            gid: self.gid,
            tree,
            checkpoint: None,
            commits: Vec::new(),
            orders: orders.into_iter().map(Into::into).collect(),
            marks: marks.iter().rev().take(1).map(|m| m.clone().into()).collect(),
            cards: cards.iter().map(|c| c.clone().into()).collect(),
            seen,
            topic_state: after.row.topic,
        };
        Ok(bundle.to_bytes())
    }

    /// Own events written in any of these states, oldest first.
    pub(super) fn own_events_at(
        &self,
        states: &[StateId],
    ) -> Result<Vec<kith_wire::ids::EventId>, EngineError> {
        let name = rows::pair(&self.gid, &self.me().0);
        let mut found = Vec::new();
        for (_, value) in rows::numbered_down(self.tx, Table::Events, &name, 4096)? {
            let event: rows::EventRow = rows::decode(&value)?;
            if !states.contains(&event.at) {
                break;
            }
            found.push(event.id);
        }
        found.reverse();
        Ok(found)
    }
}

fn reason(change: &Change, removes: &[Member]) -> CommitReason {
    if !removes.is_empty() {
        CommitReason::Remove
    } else if !change.adds.is_empty() {
        CommitReason::Add
    } else if change.ext.is_some() {
        CommitReason::Policy
    } else {
        CommitReason::Update
    }
}

/// Leaves to remove, and the accounts whose removal needs an order.
fn removals(
    parent: &State,
    myself: &Member,
    change: &Change,
) -> Result<(Vec<Member>, BTreeSet<AccountId>), EngineError> {
    let mut removes = Vec::new();
    let mut ordered = BTreeSet::new();
    let wanted_accounts: BTreeSet<_> = change.remove_accounts.iter().collect();
    let wanted_devices: BTreeSet<_> = change.remove_devices.iter().collect();
    for m in &parent.members {
        if !wanted_accounts.contains(&m.account) && !wanted_devices.contains(&m.device) {
            continue;
        }
        if m.device == myself.device {
            return Err(EngineError::Refused(
                "a device does not remove itself: leave the conversation instead",
            ));
        }
        if m.account != myself.account {
            ordered.insert(m.account);
        }
        removes.push(m.clone());
    }
    let known = wanted_accounts.iter().all(|a| parent.has_account(a))
        && wanted_devices.iter().all(|d| parent.device(d).is_some());
    if !known {
        return Err(EngineError::Refused("somebody to be removed is not in the conversation"));
    }
    Ok((removes, ordered))
}

/// Other accounts whose role the change lowers.
fn demoted(parent: &State, myself: &Member, change: &Change) -> Vec<AccountId> {
    let Some(ext) = &change.ext else { return Vec::new() };
    let role = |e: &group::GroupExt, a: &AccountId| e.roles.get(a).map(|r| r.role);
    parent
        .ext
        .roles
        .keys()
        .filter(|a| **a != myself.account && parent.has_account(a) && role(ext, a) < role(&parent.ext, a))
        .copied()
        .collect()
}

/// Parses and validates a key package.
pub(super) fn read_package(crypto: &Crypto, bytes: &[u8]) -> Result<(KeyPackage, Member), EngineError> {
    let malformed = |_| EngineError::Package("it is malformed");
    let message = MlsMessageIn::tls_deserialize_exact(bytes).map_err(malformed)?;
    let MlsMessageBodyIn::KeyPackage(package) = message.extract() else {
        return Err(EngineError::Package("it is something else"));
    };
    let package = package
        .validate(crypto, ProtocolVersion::Mls10)
        .map_err(|_| EngineError::Package("it does not verify"))?;
    let member = valid::check_package(&package).map_err(EngineError::Package)?;
    Ok((package, member))
}
