//! Own commits: built and merged on a copy of the tip's image, checked by the
//! rules that others apply, stored, and only then handed out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kith_rule::mutant::{self, Mutant};
use kith_store::{Key, Read, Table};
use kith_wire::crypto::Secret;
use kith_wire::group::{
    CommitEnvelope, CommitMeta, CommitReason, GroupExt, OrderKind, PackedReadd, ReaddReq, Role, Target,
    commit_id, kinds,
};
use kith_wire::ids::{AccountId, CommitId, DeviceId, OrderId, TopicId};
use kith_wire::limits;
use kith_wire::object::Versioned as _;
use kith_wire::signed;
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{
    KeyPackage, LeafNodeIndex, MlsGroup, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut, ProtocolVersion,
};

use super::bundle::cut_welcome;
use super::ctx::{Ctx, DeviceSigner, broken, extensions, provider};
use super::public::Effect;
use crate::EngineError;
use crate::api::{Change, Committed, ExtBytes, Intent, Joiner};
use crate::crypto::Crypto;
use crate::image::Image;
use crate::rows::{CommitRow, Member, State};
use crate::valid;

/// Orders that one commit carries.
const OPEN_MAX: usize = 64;

/// An own commit, merged on a copy.
struct Built {
    id: CommitId,
    row: CommitRow,
    envelope: Vec<u8>,
    effect: Effect,
    welcome: Option<Vec<u8>>,
}

/// An own commit before it is merged.
struct Draft {
    group: MlsGroup,
    image: Image,
    message: MlsMessageOut,
    welcome: Option<MlsMessageOut>,
}

/// What a commit is made of, beside its keys.
struct Plan {
    packages: Vec<(KeyPackage, Member)>,
    removes: Vec<Member>,
    ext: Option<GroupExt>,
    /// Orders that it carries, signed.
    embedded: Vec<Vec<u8>>,
    /// Of these, the ones made for it, and the marks before them.
    orders: Vec<Vec<u8>>,
    marks: Vec<Vec<u8>>,
    /// Requests that it serves, signed.
    readds: Vec<Vec<u8>>,
    /// Removals and demotions that it lifts.
    lifted: Vec<OrderId>,
}

impl Ctx<'_, '_> {
    pub(super) fn commit(&mut self, change: &Change) -> Result<Committed, EngineError> {
        let parent = self.tip_as_member()?;
        if self.row().goal.is_some() {
            return Err(EngineError::Refused(
                "this device is catching up with the conversation: try again soon",
            ));
        }
        let me = self.me();
        let myself = parent.device(&me).cloned().ok_or(EngineError::NotMember)?;
        let plan = self.plan(&parent, &myself, change)?;
        let gone_for_good =
            plan.removes.iter().any(|r| plan.packages.iter().all(|(_, added)| added.device != r.device));
        let meta = CommitMeta {
            kind: kinds::COMMIT_META,
            version: 1,
            gid: self.gid,
            parent: parent.id,
            orders: plan.embedded.iter().map(|o| o.clone().into()).collect(),
            readds: plan.readds.iter().map(|r| r.clone().into()).collect(),
            reason: reason(&plan),
            device: me,
            rotate: gone_for_good || change.rotate,
        };
        let Built { id, row, envelope, effect, welcome } = self.build(&parent, &myself, meta, &plan)?;
        let rotated = row.rotate;
        let intent = row.intent.clone().unwrap_or_default();
        let left = row.left.clone();
        let tree = match (&welcome, &effect.entered) {
            (Some(_), Some((group, _))) => {
                group.export_ratchet_tree().tls_serialize_detached().map_err(broken)?
            }
            _ => Vec::new(),
        };
        let child = self.learn(&parent, id, &row, &envelope, effect)?;
        let now = self.now;
        self.row_mut().updated_at = now;
        let before = self.out.len();
        self.choose()?;
        let mut outcomes = self.out.split_off(before);
        let mut marks = plan.marks;
        if self.row().tip == child.id && child.row.me_in {
            // The author knows that it moved.
            outcomes.retain(|o| !matches!(o, crate::Outcome::Tip(_)));
            marks.push(self.make_mark()?);
        }
        let (joiners, bundle) = match welcome {
            Some(welcome) => {
                let joiners = self.joiners(&child, change, &plan.packages, &welcome)?;
                (joiners, self.bundle(&child, tree, &change.cards)?)
            }
            None => (Vec::new(), Vec::new()),
        };
        Ok(Committed {
            commit: id,
            parent: parent.id,
            state: child.id,
            envelope,
            parent_topic: parent.row.topic,
            rotated,
            orders: plan.orders,
            marks,
            joiners,
            bundle,
            intent,
            left,
            outcomes,
        })
    }

    /// Gathers what the change asks for, and the open orders of the tip, which
    /// every commit carries out; signs the orders that are still needed.
    fn plan(&mut self, parent: &Arc<State>, myself: &Member, change: &Change) -> Result<Plan, EngineError> {
        let mut plan = Plan {
            packages: Vec::new(),
            removes: Vec::new(),
            ext: change.ext.clone(),
            embedded: Vec::new(),
            orders: Vec::new(),
            marks: Vec::new(),
            readds: Vec::new(),
            lifted: Vec::new(),
        };
        for add in &change.adds {
            plan.packages.push(read_package(self.crypto, &add.package)?);
        }
        let (removes, mut ordered) = removals(parent, myself, change)?;
        plan.removes = removes;
        self.carry_out(parent, myself, &mut plan, &mut ordered, !change.readds.is_empty())?;
        for (i, (_, added)) in plan.packages.iter().enumerate() {
            let stays = parent.device(&added.device).is_some_and(|m| !plan.removes.contains(m));
            if stays || plan.packages.iter().take(i).any(|(_, m)| m.device == added.device) {
                return Err(EngineError::Refused("the device is in the conversation already"));
            }
        }
        for readd in &change.readds {
            let request = PackedReadd::from_bytes(&readd.request)?;
            let asked = valid::readd(&self.gid, parent, &request.raw).map_err(EngineError::Refused)?;
            if plan.removes.iter().any(|m| m.device == asked.device) || asked.device == myself.device {
                continue;
            }
            plan.packages.push(read_package(self.crypto, &request.package)?);
            plan.removes.extend(parent.device(&asked.device).cloned());
            plan.readds.push(request.raw.to_bytes());
        }
        if let Some(ext) = &plan.ext {
            ext.check()?;
            if ext.to_bytes().len() > limits::GROUP_EXT_BYTES_MAX {
                return Err(EngineError::Refused("the group's settings are too large"));
            }
        }
        if mutant::on(Mutant::Unchecked) {
            return Ok(plan);
        }
        for target in ordered {
            self.sign_order(parent, OrderKind::Remove, Target::Account(target), Vec::new(), &mut plan)?;
        }
        for account in demoted(parent, change) {
            self.sign_order(parent, OrderKind::Demote, Target::Account(account), Vec::new(), &mut plan)?;
        }
        self.lift(parent, change, &mut plan)?;
        Ok(plan)
    }

    /// The open orders of the tip: as they are where a commit may carry them,
    /// else signed anew if this account stands above.
    fn carry_out(
        &mut self,
        parent: &Arc<State>,
        myself: &Member,
        plan: &mut Plan,
        ordered: &mut BTreeSet<AccountId>,
        lets_in: bool,
    ) -> Result<(), EngineError> {
        let (open, resign) = (self.row().open.clone(), self.row().resign.clone());
        for id in open.iter().take(OPEN_MAX) {
            let Some((order, signed)) = self.order(id)? else { continue };
            let meant = |m: &&Member| match order.target {
                Target::Account(a) => m.account == a,
                Target::Device(d) => m.device == d,
            };
            let devices: Vec<Member> = parent.members.iter().filter(meant).cloned().collect();
            let Some(account) = devices.first().map(|m| m.account) else { continue };
            let demotes = order.order == OrderKind::Demote;
            if !demotes && devices.iter().any(|m| m.device == myself.device) {
                if lets_in {
                    // Who is about to go may be the last who can, even for
                    // the one who gave the order.
                    continue;
                }
                return Err(EngineError::Refused("this device is being removed from the conversation"));
            }
            if resign.contains(id) {
                if !parent.may_remove(&myself.account, &account) || !self.row().may_resign() {
                    continue;
                }
                let kind = if demotes { OrderKind::Demote } else { OrderKind::Remove };
                self.sign_order(parent, kind, order.target, Vec::new(), plan)?;
            } else {
                plan.embedded.push(signed);
            }
            if demotes {
                plan.ext.get_or_insert_with(|| parent.ext.clone()).roles.remove(&account);
                continue;
            }
            if order.target == Target::Account(account) {
                ordered.remove(&account);
            }
            for device in devices {
                if !plan.removes.contains(&device) {
                    plan.removes.push(device);
                }
            }
        }
        Ok(())
    }

    /// Signs an order and the mark that it needs before it.
    fn sign_order(
        &mut self,
        parent: &State,
        kind: OrderKind,
        target: Target,
        lifts: Vec<OrderId>,
        plan: &mut Plan,
    ) -> Result<(), EngineError> {
        if plan.embedded.len() >= OPEN_MAX {
            return Err(EngineError::Refused("too many removals at once: do it in several steps"));
        }
        plan.marks.extend(self.mark_for_order()?);
        let order = self.make_order(parent, kind, target, lifts)?;
        plan.orders.push(order.clone());
        plan.embedded.push(order);
        Ok(())
    }

    /// Whoever was removed comes in again, or a demoted account rises again,
    /// only by an order that lifts the earlier ones.
    fn lift(&mut self, parent: &Arc<State>, change: &Change, plan: &mut Plan) -> Result<(), EngineError> {
        let mut lifted: BTreeMap<AccountId, Vec<OrderId>> = BTreeMap::new();
        let added: Vec<(AccountId, DeviceId)> =
            plan.packages.iter().take(change.adds.len()).map(|(_, m)| (m.account, m.device)).collect();
        for (account, device) in added {
            let against = self.orders_to_lift(&account, Some(&device))?;
            if !against.is_empty() {
                lifted.entry(account).or_default().extend(against);
            }
        }
        if let Some(ext) = &change.ext {
            for (account, role) in &ext.roles {
                if parent.ext.roles.get(account).is_none_or(|was| was.role < role.role) {
                    let demotions = self.demotions_of(account)?;
                    if !demotions.is_empty() {
                        lifted.entry(*account).or_default().extend(demotions);
                    }
                }
            }
        }
        for (account, orders) in lifted {
            self.sign_order(parent, OrderKind::Add, Target::Account(account), orders.clone(), plan)?;
            plan.lifted.extend(&orders);
            let held = self.held_at(&parent.id)?;
            if orders.iter().any(|o| held.contains(o)) {
                return Err(EngineError::Refused(
                    "somebody with a higher role removed this person: they have to let them in again",
                ));
            }
        }
        Ok(())
    }

    /// A staged commit on a copy of its parent.
    fn draft(&mut self, parent: &State, meta: &CommitMeta, plan: &Plan) -> Result<Draft, EngineError> {
        // OpenMLS lists removals in the order of a hash map, which differs from
        // run to run; the simulator wants the same commit every time.
        #[cfg(feature = "mutants")]
        for _ in 0..1_000 {
            let before = self.rand.state();
            let draft = self.draft_once(parent, meta, plan)?;
            let staged = draft.group.pending_commit().ok_or_else(|| broken("the commit is not staged"))?;
            if staged.remove_proposals().map(|r| r.remove_proposal().removed()).is_sorted() {
                return Ok(draft);
            }
            self.rand.restore(before);
        }
        self.draft_once(parent, meta, plan)
    }

    fn draft_once(&mut self, parent: &State, meta: &CommitMeta, plan: &Plan) -> Result<Draft, EngineError> {
        let (mut group, image) =
            self.branch(parent.id)?.ok_or_else(|| broken("the tip's keys are missing"))?;
        group.set_aad(meta.to_bytes());
        let provider = provider(self.crypto, self.rand, &image);
        let signer = DeviceSigner(self.keys);
        let mut builder = group
            .commit_builder()
            .consume_proposal_store(false)
            .force_self_update(true)
            .propose_adds(plan.packages.iter().map(|(p, _)| p.clone()))
            .propose_removals(plan.removes.iter().map(|m| LeafNodeIndex::new(m.leaf)));
        if let Some(ext) = &plan.ext {
            builder = builder.propose_group_context_extensions(extensions(ext)?).map_err(broken)?;
        }
        let builder = builder.load_psks(&image).map_err(broken)?.create_group_info(false);
        #[cfg(feature = "mutants")]
        let seat = crate::rogue::seat();
        #[cfg(feature = "mutants")]
        let built = match &seat {
            Some(keys) => {
                let new = openmls::prelude::NewSignerBundle {
                    signer: &DeviceSigner(keys),
                    credential_with_key: super::ctx::own_credential(keys),
                };
                builder.build_with_new_signer(self.rand, self.crypto, &signer, new, |_| true)
            }
            None => builder.build(self.rand, self.crypto, &signer, |_| true),
        };
        #[cfg(not(feature = "mutants"))]
        let built = builder.build(self.rand, self.crypto, &signer, |_| true);
        let bundle = built.map_err(broken)?.stage_commit(&provider).map_err(broken)?;
        let (message, welcome, _) = bundle.into_messages();
        Ok(Draft { group, image, message, welcome })
    }

    /// Builds, stages and merges on a copy; checks the result by the rules.
    fn build(
        &mut self,
        parent: &State,
        myself: &Member,
        meta: CommitMeta,
        plan: &Plan,
    ) -> Result<Built, EngineError> {
        let Draft { mut group, image, message, welcome } = self.draft(parent, &meta, plan)?;
        let provider = provider(self.crypto, self.rand, &image);
        let staged = group.pending_commit().ok_or_else(|| broken("the commit is not staged"))?;
        let facts = valid::facts(parent, staged).map_err(EngineError::Refused)?;
        let (left, used) =
            valid::check(&self.gid, parent, myself, &meta, &facts).map_err(EngineError::Refused)?;
        if self.any_used(parent.id, &used)? {
            return Err(EngineError::Refused("a device asked to come back by a key package that was used"));
        }
        group.merge_pending_commit(&provider).map_err(broken)?;
        group.set_aad(Vec::new());
        let effect = super::public::effect(group.public_group(), parent, meta, left, used, image.public())
            .map_err(EngineError::Refused)?;
        let message = message.tls_serialize_detached().map_err(broken)?;
        let id = commit_id(&message);
        let envelope =
            CommitEnvelope { kind: kinds::COMMIT, version: 1, gid: self.gid, parent: parent.id, message };
        let envelope = signed::sign(&envelope, &self.keys.signing, &[]).to_bytes();
        let row = CommitRow {
            gid: self.gid,
            parent: parent.id,
            child: effect.child,
            account: self.keys.account,
            device: myself.device,
            rotate: effect.meta.rotate,
            intent: Some(Intent {
                added: facts.adds.iter().map(|(m, _)| (m.account, m.device)).collect(),
                removed: facts.removes.iter().map(|m| (m.account, m.device)).collect(),
                ext_before: facts.ext.as_ref().map(|_| ExtBytes(parent.row.ext.clone())),
                ext_after: facts.ext.as_ref().map(|e| ExtBytes(e.to_bytes())),
                lifted: plan.lifted.clone(),
            }),
            left: effect.left.clone(),
            used: effect.used.clone(),
            orders: effect.orders.clone(),
        };
        let welcome =
            welcome.map(|w: MlsMessageOut| w.tls_serialize_detached().map_err(broken)).transpose()?;
        let effect = Effect { entered: Some((group, image)), ..effect };
        Ok(Built { id, row, envelope, effect, welcome })
    }

    fn joiners(
        &mut self,
        after: &State,
        change: &Change,
        packages: &[(KeyPackage, Member)],
        welcome: &[u8],
    ) -> Result<Vec<Joiner>, EngineError> {
        let secret = self.tx.get(Key::of(Table::Topics, &after.row.topic.0))?;
        let topic = secret
            .as_deref()
            .and_then(Secret::from_slice)
            .ok_or_else(|| broken("the topic's secret is missing"))?;
        let commit = after.row.commit.ok_or_else(|| broken("a state has no commit"))?;
        let mut inboxes: BTreeMap<DeviceId, TopicId> = BTreeMap::new();
        for (add, (_, member)) in change.adds.iter().zip(packages) {
            inboxes.insert(member.device, add.inbox);
        }
        for readd in &change.readds {
            let request: ReaddReq = PackedReadd::from_bytes(&readd.request)?.raw.body()?;
            inboxes.insert(request.device, readd.inbox);
        }
        let mut joiners = Vec::new();
        for (package, added) in packages {
            let member =
                after.device(&added.device).ok_or_else(|| broken("an added device is not in the group"))?;
            let reference = package.hash_ref(self.crypto).map_err(broken)?;
            joiners.push(Joiner {
                device: member.device,
                account: member.account,
                box_key: member.box_key,
                inbox: inboxes.get(&member.device).copied().unwrap_or_default(),
                gid: self.gid,
                state: after.id,
                commit,
                welcome: cut_welcome(welcome, reference.as_slice())
                    .ok_or_else(|| broken("a Welcome misses a joiner"))?,
                topic: topic.clone(),
                relays: after.ext.relays.clone(),
            });
        }
        Ok(joiners)
    }
}

fn reason(plan: &Plan) -> CommitReason {
    if !plan.readds.is_empty() {
        CommitReason::Readd
    } else if !plan.removes.is_empty() {
        CommitReason::Remove
    } else if !plan.packages.is_empty() {
        CommitReason::Add
    } else if plan.ext.is_some() {
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

/// Accounts whose role the change takes away.
fn demoted(parent: &State, change: &Change) -> Vec<AccountId> {
    let Some(ext) = &change.ext else { return Vec::new() };
    let role = |e: &GroupExt, a: &AccountId| e.roles.get(a).map_or(Role::Member, |r| r.role);
    parent
        .ext
        .roles
        .keys()
        .filter(|a| parent.has_account(a) && role(ext, a) < role(&parent.ext, a))
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
