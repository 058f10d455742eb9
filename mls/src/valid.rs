//! Validity of a commit on its parent: VAL-1 to VAL-9 of the group design, as
//! far as they are not OpenMLS's own checks.
//!
//! Reads only the commit and the parent's public state: never clocks, never
//! what is held in keys, never statements about accounts.

use std::collections::{BTreeMap, BTreeSet};

use kith_rule::mutant::{self, Mutant};
use kith_wire::group::{
    CommitEnvelope, CommitMeta, ConversationKind, EXTENSION_TYPE, GroupExt, Order, OrderKind, ReaddReq, Role,
    Target,
};
use kith_wire::identity::Credential;
use kith_wire::ids::{AccountId, DeviceId, GroupId};
use kith_wire::limits;
use kith_wire::signed::Raw;
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{
    Capabilities, CredentialType, Extension, ExtensionType, GroupContext, KeyPackage, LeafNode, Lifetime,
    MlsMessageOut, Proposal, StagedCommit,
};
use openmls::treesync::LeafNodeSource;
use sha2::{Digest, Sha256};

use crate::rows::{Member, State};

/// Every KeyPackage's lifetime (T8): OpenMLS judges lifetimes by the local
/// clock, so that any other value would let clocks decide about commits.
pub(crate) const LIFETIME: (u64, u64) = (0, 4_000_000_000);

pub(crate) fn lifetime() -> Lifetime {
    Lifetime::init(LIFETIME.0, LIFETIME.1)
}

/// What a commit does, read off OpenMLS's staged form.
#[derive(Debug)]
pub(crate) struct Facts {
    /// With the SHA-256 of the key package, as MLSMessage.
    pub(crate) adds: Vec<(Member, [u8; 32])>,
    pub(crate) removes: Vec<Member>,
    /// New settings, if the commit sets any.
    pub(crate) ext: Option<GroupExt>,
    /// Credential of the committer's new leaf.
    pub(crate) path: Member,
}

type Verdict<T> = Result<T, &'static str>;

/// A leaf's credential: verified, and for exactly this leaf's key.
pub(crate) fn member_of(leaf: u32, credential: &[u8], signature_key: &[u8]) -> Verdict<Member> {
    let who = Credential::verify_bytes(credential).map_err(|_| "a member's credential does not verify")?;
    if who.device.0 != signature_key {
        return Err("a member's credential is for another key");
    }
    Ok(Member {
        leaf,
        device: who.device,
        account: who.account,
        box_key: who.box_key,
        credential: Sha256::digest(credential).into(),
    })
}

fn leaf_member(leaf: &LeafNode) -> Verdict<Member> {
    if leaf.credential().credential_type() != CredentialType::Basic {
        return Err("a member's credential has another type");
    }
    member_of(0, leaf.credential().serialized_content(), leaf.signature_key().as_slice())
}

/// What every leaf must be able to do.
pub(crate) fn check_capabilities(capabilities: &Capabilities) -> Verdict<()> {
    if capabilities.extensions().contains(&ExtensionType::Unknown(EXTENSION_TYPE)) {
        Ok(())
    } else {
        Err("a member's device does not know this group's settings")
    }
}

/// SHA-256 of a key package as MLSMessage.
pub(crate) fn package_hash(package: &KeyPackage) -> Option<[u8; 32]> {
    let bytes = MlsMessageOut::from(package.clone()).tls_serialize_detached().ok()?;
    Some(Sha256::digest(bytes).into())
}

/// VAL-6 for a key package that is to be added.
pub(crate) fn check_package(package: &KeyPackage) -> Verdict<Member> {
    let leaf = package.leaf_node();
    let LeafNodeSource::KeyPackage(life) = leaf.leaf_node_source() else {
        return Err("its leaf was not made for a key package");
    };
    if *life != lifetime() {
        return Err("its lifetime is not the agreed one");
    }
    if package.ciphersuite() != crate::crypto::SUITE {
        return Err("it is for another cipher suite");
    }
    check_capabilities(leaf.capabilities())?;
    leaf_member(leaf)
}

/// The settings in a group context, which must hold them and the fixed
/// required capabilities and nothing else.
pub(crate) fn read_ext(context: &GroupContext) -> Verdict<(Vec<u8>, GroupExt)> {
    let extensions = context.extensions();
    if extensions.iter().count() != 2 {
        return Err("the group has settings that do not belong there");
    }
    let required =
        extensions.required_capabilities().ok_or("the group's required capabilities are missing")?;
    if required.extension_types() != [ExtensionType::Unknown(EXTENSION_TYPE)]
        || !required.proposal_types().is_empty()
        || required.credential_types() != [CredentialType::Basic]
    {
        return Err("the group's required capabilities are not the agreed ones");
    }
    let bytes = extensions
        .iter()
        .find_map(|e| match e {
            Extension::Unknown(EXTENSION_TYPE, content) => Some(content.0.clone()),
            _ => None,
        })
        .ok_or("the group's settings are missing")?;
    let ext = GroupExt::from_bytes(&bytes).map_err(|_| "the group's settings are malformed")?;
    Ok((bytes, ext))
}

/// Reads the facts off a staged commit (VAL-3, VAL-4, VAL-6).
pub(crate) fn facts(parent: &State, staged: &StagedCommit) -> Verdict<Facts> {
    let mut sets_ext = false;
    for queued in staged.queued_proposals() {
        match queued.proposal() {
            Proposal::Add(_) | Proposal::Remove(_) => {}
            Proposal::GroupContextExtensions(_) => sets_ext = true,
            _ => return Err("the commit holds a proposal that is not allowed"),
        }
    }
    let adds = staged
        .add_proposals()
        .map(|a| -> Verdict<_> {
            let package = a.add_proposal().key_package();
            Ok((check_package(package)?, package_hash(package).ok_or("a key package is malformed")?))
        })
        .collect::<Verdict<Vec<_>>>()?;
    let removes = staged
        .remove_proposals()
        .map(|r| parent.leaf(r.remove_proposal().removed().u32()).cloned().ok_or("the commit removes nobody"))
        .collect::<Result<Vec<_>, _>>()?;
    let path = staged.update_path_leaf_node().ok_or("the commit brings no fresh keys")?;
    check_capabilities(path.capabilities())?;
    let path = leaf_member(path)?;
    let (_, ext) = read_ext(staged.group_context())?;
    Ok(Facts { adds, removes, ext: sets_ext.then_some(ext), path })
}

/// An order inside a commit: decoded, signed by a device of its issuer that is
/// a leaf of `at`.
pub(crate) fn order(gid: &GroupId, at: &State, signed: &[u8]) -> Verdict<Order> {
    let raw = Raw::from_bytes(signed).map_err(|_| "an order is malformed")?;
    let order: Order = raw.body().map_err(|_| "an order is malformed")?;
    if order.gid != *gid {
        return Err("an order is for another group");
    }
    let device = at.device(&order.device).ok_or("an order comes from outside the group")?;
    if device.account != order.issuer {
        return Err("an order names another issuer than its device's account");
    }
    raw.verify::<Order>(&order.device.0, &[]).map_err(|_| "an order's signature is wrong")?;
    Ok(order)
}

/// A device that may come in by its own request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) device: DeviceId,
    pub(crate) account: AccountId,
    /// SHA-256 of the key package that it asks to be added by.
    pub(crate) package: [u8; 32],
}

/// A re-add request (VAL-5b): signed by the device, whose account is in the
/// group.
pub(crate) fn readd(gid: &GroupId, at: &State, raw: &Raw) -> Verdict<Asked> {
    let request: ReaddReq = raw.body().map_err(|_| "a request to come back is malformed")?;
    if request.gid != *gid {
        return Err("a request to come back is for another group");
    }
    let who = Credential::verify_bytes(&request.credential)
        .map_err(|_| "the credential in a request to come back does not verify")?;
    if who.device != request.device || !at.has_account(&who.account) {
        return Err("a request to come back is from outside the group");
    }
    if at.device(&who.device).is_some_and(|m| m.account != who.account) {
        return Err("a request to come back names another account");
    }
    raw.verify::<ReaddReq>(&request.device.0, &[])
        .map_err(|_| "the signature of a request to come back is wrong")?;
    Ok(Asked { device: request.device, account: who.account, package: request.package })
}

/// VAL-1 (the envelope's own signature), VAL-2, VAL-5, VAL-5b, VAL-6, VAL-9.
/// Answers the accounts that leave by their own order, and the key packages by
/// which devices are let in again.
pub(crate) fn check(
    gid: &GroupId,
    parent: &State,
    committer: &Member,
    meta: &CommitMeta,
    facts: &Facts,
) -> Verdict<(Vec<AccountId>, Vec<[u8; 32]>)> {
    if mutant::on(Mutant::Unchecked) {
        return Ok((Vec::new(), Vec::new()));
    }
    if meta.gid != *gid || meta.parent != parent.id {
        return Err("the commit speaks of another state than its envelope");
    }
    if meta.device != committer.device {
        return Err("the commit names another device than its leaf");
    }
    let same = facts.path.device == committer.device && facts.path.account == committer.account;
    if !same && !mutant::on(Mutant::SeatChanges) {
        return Err("the commit changes its committer's identity");
    }
    let orders =
        meta.orders.iter().map(|o| order(gid, parent, o)).collect::<Result<Vec<_>, &'static str>>()?;
    let asked = meta
        .readds
        .iter()
        .map(|r| {
            let raw = Raw::from_bytes(r).map_err(|_| "a request to come back is malformed")?;
            readd(gid, parent, &raw)
        })
        .collect::<Result<Vec<_>, &'static str>>()?;
    for a in &asked {
        if !facts.adds.iter().any(|(m, package)| m.device == a.device && *package == a.package) {
            return Err("the commit carries a request to come back and does not serve it");
        }
    }
    let left = check_removes(parent, committer, &orders, &asked, facts)?;
    check_adds(parent, committer, &asked, facts)?;
    if let Some(ext) = &facts.ext {
        check_ext(parent, committer, &orders, ext)?;
    }
    let gone_for_good = facts.removes.iter().any(|r| facts.adds.iter().all(|(a, _)| a.device != r.device));
    if gone_for_good && !meta.rotate {
        return Err("the commit removes a device and keeps the topic");
    }
    Ok((left, asked.into_iter().map(|a| a.package).collect()))
}

fn check_removes(
    parent: &State,
    committer: &Member,
    orders: &[Order],
    asked: &[Asked],
    facts: &Facts,
) -> Verdict<Vec<AccountId>> {
    let mut left = BTreeSet::new();
    for target in &facts.removes {
        let comes_back = asked.iter().any(|a| a.device == target.device && a.account == target.account);
        if target.account == committer.account || comes_back {
            continue;
        }
        let meant = |o: &Order| match o.target {
            Target::Account(a) => a == target.account,
            Target::Device(d) => d == target.device,
        };
        let leaves = orders.iter().any(|o| {
            o.order == OrderKind::Leave
                && o.issuer == target.account
                && o.target == Target::Account(target.account)
        });
        let removed = orders.iter().any(|o| {
            o.order == OrderKind::Remove && meant(o) && parent.may_remove(&o.issuer, &target.account)
        });
        // A device of one's own account may be ordered out by any other of it.
        let own =
            orders.iter().any(|o| o.order == OrderKind::Remove && meant(o) && o.issuer == target.account);
        if mutant::on(Mutant::RemoveWithoutOrder) {
            continue;
        }
        if leaves {
            left.insert(target.account);
        } else if !removed && !own {
            return Err("the commit removes somebody without an order from above");
        }
    }
    Ok(left.into_iter().collect())
}

fn check_adds(parent: &State, committer: &Member, asked: &[Asked], facts: &Facts) -> Verdict<()> {
    let may_add = parent.role(&committer.account) >= parent.ext.policy.add;
    let gone: BTreeSet<DeviceId> = facts.removes.iter().map(|m| m.device).collect();
    let mut devices: BTreeMap<AccountId, usize> = BTreeMap::new();
    let mut all: BTreeSet<DeviceId> = BTreeSet::new();
    for m in parent.members.iter().filter(|m| !gone.contains(&m.device)) {
        *devices.entry(m.account).or_default() += 1;
        all.insert(m.device);
    }
    for (added, package) in &facts.adds {
        let comes_back =
            asked.contains(&Asked { device: added.device, account: added.account, package: *package });
        if added.account != committer.account && !may_add && !comes_back {
            return Err("the commit adds somebody without the right to");
        }
        if !all.insert(added.device) {
            return Err("the commit adds a device that is in the group already");
        }
        *devices.entry(added.account).or_default() += 1;
    }
    match parent.ext.kind {
        ConversationKind::Direct if devices.len() > 2 => return Err("a direct conversation has two people"),
        ConversationKind::Own if devices.len() > 1 => {
            return Err("an account's own group holds its devices only");
        }
        _ => {}
    }
    if devices.values().any(|n| *n > limits::DEVICES_PER_ACCOUNT_MAX) {
        return Err("an account has ten devices in a group at most");
    }
    if all.len() > limits::DEVICES_PER_GROUP_MAX {
        return Err("a group has 1,000 devices at most");
    }
    Ok(())
}

fn check_ext(parent: &State, committer: &Member, orders: &[Order], new: &GroupExt) -> Verdict<()> {
    let old = &parent.ext;
    if new.kind != old.kind {
        return Err("a conversation does not change its kind");
    }
    if new.rules < old.rules || new.rules > GroupExt::RULES {
        return Err("the group's rules need a newer Kith");
    }
    if old.kind != ConversationKind::Group && (new.policy != old.policy || !new.roles.is_empty()) {
        return Err("only groups have a title and roles");
    }
    if mutant::on(Mutant::AnybodyAppoints) {
        return Ok(());
    }
    let role = parent.role(&committer.account);
    let demoted = |account: &AccountId| {
        orders.iter().any(|o| {
            o.order == OrderKind::Demote
                && o.target == Target::Account(*account)
                && (o.issuer == *account || parent.may_remove(&o.issuer, account))
        })
    };
    // Anybody may carry out an order, and tidy up the roles of who is gone.
    let mut carried_out = old.clone();
    carried_out.roles.retain(|a, _| new.roles.contains_key(a) || (!demoted(a) && parent.has_account(a)));
    if role < old.policy.change && carried_out != *new {
        return Err("the commit changes the group's settings without the right to");
    }
    let accounts: BTreeSet<&AccountId> = old.roles.keys().chain(new.roles.keys()).collect();
    for account in accounts {
        let (before, after) = (old.roles.get(account), new.roles.get(account));
        if before == after || (after.is_none() && !parent.has_account(account)) {
            continue;
        }
        let was = before.map_or(Role::Member, |r| r.role);
        let is = after.map_or(Role::Member, |r| r.role);
        if after.is_some_and(|r| r.epoch != parent.row.epoch + 1) {
            return Err("a role carries another epoch than the one it was given in");
        }
        if is > was {
            if role < is || role < Role::Admin {
                return Err("the commit gives a role that its author may not give");
            }
        } else if parent.has_account(account) && (is > Role::Member || !demoted(account)) {
            // Lowering one's own role takes an order as well: it holds on
            // every branch.
            return Err("the commit lowers a role without an order that makes its holder a member");
        }
    }
    Ok(())
}

/// VAL-1, second half: the envelope's signature by the committing leaf.
pub(crate) fn envelope(raw: &Raw, committer: &Member) -> Verdict<()> {
    if mutant::on(Mutant::UnsignedEnvelope) {
        return Ok(());
    }
    raw.verify::<CommitEnvelope>(&committer.device.0, &[])
        .map_err(|_| "the commit's envelope is not signed by its committer")
}
