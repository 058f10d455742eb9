//! How a device gets into a group: it makes one, or it is welcomed.

use std::collections::BTreeSet;

use kith_rule::mutant::{self, Mutant};
use kith_store::{Key, Read as _, Table, Tx};
use kith_wire::cbor;
use kith_wire::crypto::Secret;
use kith_wire::group::{BundleRef, GroupExt, JoinBundle, WelcomeEnv, kinds};
use kith_wire::identity::{Credential, Verified};
use kith_wire::ids::{AccountId, DeviceId, GroupId, StateId};
use kith_wire::labels;
use kith_wire::object::Versioned as _;
use kith_wire::signed::{self, Raw};
use openmls::group::PublicGroup;
use openmls::prelude::tls_codec::Deserialize as _;
use openmls::prelude::{
    MlsGroup, MlsMessageBodyIn, MlsMessageIn, PURE_PLAINTEXT_WIRE_FORMAT_POLICY, RatchetTreeIn,
    SenderRatchetConfiguration, StagedWelcome,
};
use sha2::{Digest, Sha256};

use super::bundle::open_checkpoint;
use super::ctx::{self, Ctx, DeviceSigner, RATCHET, Session, broken, mls_gid};
use super::enter::{give_up, id_of, members_of};
use super::packages;
use super::public::message_of;
use crate::EngineError;
use crate::api::{DeviceKeys, Joined, Joiner, WelcomeInfo};
use crate::crypto::{Crypto, Rand, SUITE};
use crate::image::{Image, Kind};
use crate::news;
use crate::rows::{self, DeviceRow, GroupRow, Member, SeqSet, State, StateRow};
use crate::valid;
use crate::view::UPDATE_MS;

/// Device cards that a bundle may bring.
const CARDS_MAX: usize = 1000;

fn new_row(ext: &GroupExt, me: DeviceId, at: StateId) -> GroupRow {
    GroupRow {
        writes: 0,
        kind: ext.kind,
        tip: at,
        anchor: at,
        seq: 0,
        last_event: None,
        deps: Default::default(),
        mark_n: 0,
        mark_prev: None,
        mark_at: None,
        unmarked: Default::default(),
        mark_due: false,
        bad: Vec::new(),
        hlc: 0,
        held: Vec::new(),
        package: None,
        inviter: None,
        orphan_next: 0,
        orphan_count: 0,
        orphan_bytes: 0,
        topics: Vec::new(),
        me,
        unsettled: false,
        contested: false,
        goal: None,
        open: Vec::new(),
        resign: Vec::new(),
        hold_until: 0,
        updated_at: 0,
        readd: None,
        cuts: Default::default(),
        switches: 0,
        stray: Default::default(),
        put_back: false,
        wait_for_marks: None,
    }
}

/// Makes a group of one.
pub(super) fn create(
    keys: &DeviceKeys,
    crypto: &Crypto,
    rand: &Rand,
    tx: &mut Tx<'_>,
    now: u64,
    ext: &GroupExt,
) -> Result<GroupId, EngineError> {
    ext.check()?;
    let gid = GroupId::derive(keys.account, &rand.array());
    let image = Image::default();
    let given = ctx::provider(crypto, rand, &image);
    let group = MlsGroup::builder()
        .with_group_id(mls_gid(&gid))
        .ciphersuite(SUITE)
        .with_wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .max_past_epochs(0)
        .use_ratchet_tree_extension(false)
        .sender_ratchet_configuration(SenderRatchetConfiguration::new(RATCHET.0, RATCHET.1))
        .padding_size(0)
        .lifetime(valid::lifetime())
        .with_capabilities(ctx::capabilities())
        .with_group_context_extensions(ctx::extensions(ext)?)
        .build(&given, &DeviceSigner(keys), ctx::own_credential(keys))
        .map_err(broken)?;
    let at = id_of(group.public_group())?;
    let members = members_of(group.members(), None).map_err(EngineError::Refused)?;
    let state = first_state(gid, at, group.public_group(), members, ext.clone(), at, keys.device());
    let row = GroupRow { updated_at: now, ..new_row(ext, keys.device(), at) };
    let mut ctx = Ctx::new(keys, crypto, rand, tx, gid, now, Session::new(row));
    let state = ctx.put_known(state);
    ctx.put_checkpoint(at, &image)?;
    ctx.hold(&state, group, image)?;
    ctx.finish();
    Ok(gid)
}

/// A state with which the known history begins.
fn first_state(
    gid: GroupId,
    id: StateId,
    group: &PublicGroup,
    members: Vec<Member>,
    ext: GroupExt,
    topic: StateId,
    me: DeviceId,
) -> State {
    let row = StateRow {
        gid,
        epoch: group.group_context().epoch().as_u64(),
        parent: None,
        commit: None,
        members: Sha256::digest(cbor::encode(&members)).into(),
        ext: ext.to_bytes(),
        topic,
        children: Vec::new(),
        me_in: members.iter().any(|m| m.device == me),
    };
    State::new(id, row, members, ext)
}

/// Signs the Welcome for one joiner.
pub(super) fn welcome(keys: &DeviceKeys, joiner: &Joiner, bundle: BundleRef) -> Vec<u8> {
    let env = WelcomeEnv {
        kind: kinds::WELCOME,
        version: 1,
        gid: joiner.gid,
        welcome: joiner.welcome.clone(),
        state: joiner.state,
        inviter: keys.credential.clone(),
        commit: joiner.commit,
        bundle,
        topic: joiner.topic.clone(),
        relays: joiner.relays.clone(),
        device: joiner.device,
        inbox: joiner.inbox,
    };
    signed::sign(&env, &keys.signing, &[]).to_bytes()
}

fn open_welcome(keys: &DeviceKeys, bytes: &[u8]) -> Result<(WelcomeEnv, Verified), EngineError> {
    let raw = Raw::from_bytes(bytes)?;
    let env: WelcomeEnv = raw.body()?;
    let inviter = Credential::verify_bytes(&env.inviter)?;
    raw.verify::<WelcomeEnv>(&inviter.device.0, &[])?;
    if env.device != keys.device() {
        return Err(EngineError::Welcome("it is for another device"));
    }
    Ok((env, inviter))
}

pub(super) fn welcome_info(keys: &DeviceKeys, bytes: &[u8]) -> Result<WelcomeInfo, EngineError> {
    let (env, inviter) = open_welcome(keys, bytes)?;
    Ok(WelcomeInfo {
        gid: env.gid,
        state: env.state,
        inviter: inviter.account,
        inviter_device: inviter.device,
        inbox: env.inbox,
        bundle: env.bundle,
        relays: env.relays,
    })
}

/// A Welcome with its bundle, read and signed by its sender.
pub(super) struct Invitation {
    env: WelcomeEnv,
    inviter: Verified,
    bundle: JoinBundle,
}

impl Invitation {
    pub(super) fn read(keys: &DeviceKeys, welcome: &[u8], bundle: &[u8]) -> Result<Self, EngineError> {
        let (env, inviter) = open_welcome(keys, welcome)?;
        let bundle = JoinBundle::from_bytes(bundle)?;
        if bundle.gid != env.gid || bundle.cards.len() > CARDS_MAX {
            return Err(EngineError::Welcome("its bundle is for another conversation"));
        }
        Ok(Self { env, inviter, bundle })
    }
    pub(super) fn gid(&self) -> GroupId {
        self.env.gid
    }
    /// Orders and marks of the past.
    pub(super) fn votes(&self) -> Vec<Vec<u8>> {
        self.bundle.orders.iter().chain(&self.bundle.marks).map(|o| o.to_vec()).collect()
    }
    fn joined(&self, members: &[Member], own: &AccountId, ext: &GroupExt) -> Joined {
        let accounts: BTreeSet<AccountId> = members.iter().map(|m| m.account).filter(|a| a != own).collect();
        Joined {
            gid: self.env.gid,
            kind: ext.kind,
            state: self.env.state,
            inviter: (self.inviter.account, self.inviter.device),
            accounts: accounts.into_iter().collect(),
            ext: ext.clone(),
            cards: self.bundle.cards.iter().map(|c| c.to_vec()).collect(),
            mark: Vec::new(),
            outcomes: Vec::new(),
            replaced: false,
            healed: false,
            put_back: false,
        }
    }
}

impl Ctx<'_, '_> {
    /// Comes back into a group that is known here: the Welcome is accepted
    /// only for a state on the chain that this device has verified. `None` if
    /// it leads somewhere that is not known.
    pub(super) fn come_back(&mut self, invitation: &Invitation) -> Result<Option<Joined>, EngineError> {
        for commit in &invitation.bundle.commits {
            self.ingest_one(commit)?;
        }
        for object in invitation.votes() {
            self.ingest_one(&object)?;
        }
        self.release_orphans()?;
        self.skip_marks(&invitation.bundle)?;
        let env = &invitation.env;
        let Some(state) = self.state(&env.state)? else { return Ok(None) };
        if self.holds(&state.id) {
            return Err(EngineError::Welcome("this device is in the conversation already"));
        }
        if !self.way()?.contains(&state.id) && !mutant::on(Mutant::AnyWelcome) {
            return Err(EngineError::Welcome("the members have gone another way since"));
        }
        let (group, image, used) =
            stage(self.keys, self.crypto, self.rand, self.tx, env, &invitation.bundle, &invitation.inviter)?;
        if id_of(group.public_group())? != state.id {
            return Err(EngineError::Welcome("it leads into another state than it says"));
        }
        let topic = state.row.topic;
        if topic != state.id && self.tx.get(Key::of(Table::Topics, &topic.0))?.is_none() {
            self.tx.put(Key::of(Table::Topics, &topic.0), env.topic.expose().to_vec());
        }
        // Others may have left that state before these were sent.
        let was = self.row().tip;
        self.lose_events(&[was])?;
        self.hold(&state, group, image)?;
        self.use_topic(topic);
        let forget = packages::used(self.tx, &used)?;
        let now = self.now;
        let row = self.row_mut();
        let put_back = row.put_back;
        row.readd = None;
        // Another leaf, and keys that no other copy of this store has.
        row.put_back = false;
        // The join is not open again: another Welcome has to lead along the
        // verified way, too.
        row.inviter = Some(invitation.inviter.device);
        row.package = forget.then_some(used);
        row.updated_at = now;
        // What it could not process before, it need not now.
        row.bad.clear();
        self.choose()?;
        let mut joined = invitation.joined(&state.members, &self.keys.account, &state.ext);
        joined.healed = true;
        joined.put_back = put_back;
        joined.mark = self.make_mark()?;
        joined.outcomes = core::mem::take(&mut self.out);
        Ok(Some(joined))
    }

    /// Marks up to those that the bundle's maker had are in the bundle as far
    /// as they matter.
    pub(super) fn skip_marks(&mut self, bundle: &JoinBundle) -> Result<(), EngineError> {
        let me = self.me();
        for (device, (_, n)) in bundle.seen.iter().filter(|(d, _)| **d != me) {
            let mut row = self.device(device)?;
            row.chain.skip(*n);
            self.put_device(*device, row);
        }
        Ok(())
    }
}

/// Joins a group that is not known here, or whose join has not settled.
pub(super) fn join(
    keys: &DeviceKeys,
    crypto: &Crypto,
    rand: &Rand,
    tx: &mut Tx<'_>,
    now: u64,
    invitation: &Invitation,
) -> Result<Joined, EngineError> {
    let Invitation { env, inviter, bundle } = invitation;
    let before = rows::group(tx, &env.gid)?;
    if let Some(row) = &before {
        may_replace(tx, env, inviter, row)?;
    }
    let (group, image, used) = stage(keys, crypto, rand, tx, env, bundle, inviter)?;
    if id_of(group.public_group())? != env.state {
        return Err(EngineError::Welcome("it leads into another state than it says"));
    }
    let (_, ext) = valid::read_ext(group.public_group().group_context()).map_err(EngineError::Welcome)?;
    if ext.rules > GroupExt::RULES {
        return Err(EngineError::Welcome("the conversation needs a newer Kith"));
    }
    let members = members_of(group.members(), None).map_err(EngineError::Welcome)?;
    let own = keys.device();
    if !members.iter().any(|m| m.device == own && m.account == keys.account) {
        return Err(EngineError::Welcome("this device is not among the members"));
    }
    let joined = invitation.joined(&members, &keys.account, &ext);
    let topic = bundle.topic_state;
    let first = match checkpoint(env.gid, bundle, own)? {
        Some(first) => first,
        None => {
            let public = group.public_group();
            (first_state(env.gid, env.state, public, members, ext.clone(), topic, own), image.public())
        }
    };
    let mut row = new_row(&ext, own, first.0.id);
    if let Some(before) = &before {
        row = replacing(tx, &env.gid, before, row)?;
    }
    row.inviter = Some(inviter.device);
    row.unsettled = true;
    // Due within the hour, at a time of the device's own.
    row.updated_at = now.saturating_sub(UPDATE_MS);
    if packages::used(tx, &used)? {
        row.package = Some(used);
    }
    let mut ctx = Ctx::new(keys, crypto, rand, tx, env.gid, now, Session::new(row));
    let begun = ctx.put_known(first.0);
    ctx.put_checkpoint(begun.id, &first.1)?;
    for commit in &bundle.commits {
        ctx.ingest_one(commit)?;
    }
    ctx.skip_marks(bundle)?;
    ctx.out.clear();
    let Some(state) = ctx.state(&env.state)? else {
        return Err(EngineError::Welcome("its account of the conversation's past leads somewhere else"));
    };
    if topic != env.state {
        ctx.tx.put(Key::of(Table::Topics, &topic.0), env.topic.expose().to_vec());
        ctx.use_topic(topic);
    } else if exported(&group, crypto, &env.gid)? != env.topic {
        return Err(EngineError::Welcome("its topic is not the conversation's"));
    }
    if state.row.topic != topic {
        let row = StateRow { topic, ..state.row.clone() };
        ctx.put_state(State::new(state.id, row, state.members.clone(), state.ext.clone()));
    }
    ctx.hold(&state, group, image)?;
    ctx.row_mut().tip = state.id;
    ctx.row_mut().goal = None;
    ctx.finish();
    let put_back = before.as_ref().is_some_and(|row| row.put_back);
    Ok(Joined { replaced: before.is_some(), put_back, ..joined })
}

/// Where the history that a bundle brings begins.
fn checkpoint(
    gid: GroupId,
    bundle: &JoinBundle,
    me: DeviceId,
) -> Result<Option<(State, Image)>, EngineError> {
    let (Some(checkpoint), Some(commit)) = (&bundle.checkpoint, bundle.commits.first()) else {
        return Ok(None);
    };
    let message = message_of(commit);
    let Some(openmls::prelude::Sender::Member(leaf)) = message.as_deref().map(|m| m.sender()) else {
        return Err(EngineError::Welcome("its account of the conversation's past is malformed"));
    };
    let (group, image) = open_checkpoint(&gid, checkpoint, leaf.u32())?;
    let members = members_of(group.members(), None).map_err(EngineError::Welcome)?;
    let (_, ext) = valid::read_ext(group.group_context()).map_err(EngineError::Welcome)?;
    // The topic of states before the join is not known and never used.
    let state = first_state(gid, checkpoint.state, &group, members, ext, checkpoint.state, me);
    Ok(Some((state, image)))
}

/// A new beginning in a group that was known: the own chains of events and
/// marks go on, all else is new.
fn replacing(
    tx: &mut Tx<'_>,
    gid: &GroupId,
    before: &GroupRow,
    row: GroupRow,
) -> Result<GroupRow, EngineError> {
    news::clear(tx, gid)?;
    for (state, spent) in &before.held {
        give_up(tx, state, *spent);
    }
    for device in rows::devices(tx, gid)? {
        if let Some(known) = rows::device(tx, gid, &device)? {
            let known = DeviceRow { events: SeqSet::default(), mark_at: None, mark_seq: 0, ..known };
            rows::put(tx, Key::of(Table::Groups, &rows::pair(gid, &device.0)), &known);
        }
    }
    Ok(GroupRow {
        writes: before.writes,
        seq: before.seq,
        last_event: before.last_event,
        mark_n: before.mark_n,
        mark_prev: before.mark_prev,
        hlc: before.hlc,
        stray: before.stray.clone(),
        topics: before.topics.clone(),
        orphan_next: before.orphan_next,
        orphan_count: before.orphan_count,
        orphan_bytes: before.orphan_bytes,
        ..row
    })
}

fn exported(group: &MlsGroup, crypto: &Crypto, gid: &GroupId) -> Result<Secret, EngineError> {
    let bytes = group.export_secret(crypto, labels::TOPIC, &gid.0, 32).map_err(broken)?;
    Secret::from_slice(&bytes).ok_or_else(|| broken("a topic secret has another length"))
}

/// A Welcome for a group that is known here is accepted only while the first
/// join has not settled, or after a removal.
fn may_replace(tx: &Tx<'_>, env: &WelcomeEnv, inviter: &Verified, row: &GroupRow) -> Result<(), EngineError> {
    let tip = rows::state(tx, &env.gid, &row.tip)?.ok_or_else(|| broken("a state is missing"))?;
    if !tip.row.me_in {
        return Ok(());
    }
    if rows::state(tx, &env.gid, &env.state)?.is_some() {
        return Err(EngineError::Welcome("this device is in the conversation already"));
    }
    let trusted = row.inviter == Some(inviter.device)
        || (tip.has_account(&inviter.account) && tip.role(&inviter.account) >= kith_wire::group::Role::Admin);
    if (row.unsettled && trusted) || mutant::on(Mutant::AnyWelcome) {
        return Ok(());
    }
    Err(EngineError::Welcome("this device is in the conversation already, in another state"))
}

fn stage(
    keys: &DeviceKeys,
    crypto: &Crypto,
    rand: &Rand,
    tx: &Tx<'_>,
    env: &WelcomeEnv,
    bundle: &JoinBundle,
    inviter: &Verified,
) -> Result<(MlsGroup, Image, Vec<u8>), EngineError> {
    let malformed = EngineError::Welcome("it is malformed");
    let Ok(message) = MlsMessageIn::tls_deserialize_exact(env.welcome.as_slice()) else {
        return Err(malformed);
    };
    let MlsMessageBodyIn::Welcome(welcome) = message.extract() else { return Err(malformed) };
    let Ok(tree) = RatchetTreeIn::tls_deserialize_exact(bundle.tree.as_slice()) else {
        return Err(EngineError::Welcome("its member list is malformed"));
    };
    // Staging consumes the key package: it happens on a copy.
    let mut found = None;
    for secrets in welcome.secrets() {
        let reference = secrets.new_member();
        let name = reference.as_slice();
        if let Some(image) = packages::private(tx, name)? {
            found = Some((image, name.to_vec()));
            break;
        }
    }
    let Some((image, used)) = found else {
        return Err(EngineError::Welcome("its key package has been used or is not known any more"));
    };
    let given = ctx::provider(crypto, rand, &image);
    let staged = StagedWelcome::build_from_welcome(&given, &ctx::join_config(), welcome)
        .map_err(|_| EngineError::Welcome("it does not open"))?
        .with_ratchet_tree(tree)
        .skip_lifetime_validation()
        .build()
        .map_err(|_| EngineError::Welcome("its content does not fit its member list"))?;
    if staged.group_context().group_id() != &mls_gid(&env.gid)
        || staged.group_context().ciphersuite() != SUITE
    {
        return Err(EngineError::Welcome("it is for another conversation"));
    }
    let sender = staged.welcome_sender().map_err(|_| EngineError::Welcome("its sender is not a member"))?;
    if sender.signature_key().as_slice() != inviter.device.0 {
        return Err(EngineError::Welcome("it was made by somebody else than its sender"));
    }
    let own = staged.own_leaf_node().map(|l| l.signature_key().as_slice().to_vec());
    if own.as_deref() != Some(keys.device().0.as_slice()) {
        return Err(EngineError::Welcome("it is for another device"));
    }
    let group = staged.into_group(&given).map_err(|_| EngineError::Welcome("it does not open"))?;
    image.drop_kind(Kind::KeyPackage);
    image.drop_kind(Kind::EncryptionKey);
    Ok((group, image.branch(), used))
}
