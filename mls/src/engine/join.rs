//! How a device gets into a group: it makes one, or it is welcomed.

use kith_store::{Key, Table, Tx};
use kith_wire::cbor;
use kith_wire::crypto::Secret;
use kith_wire::group::{BundleRef, GroupExt, JoinBundle, WelcomeEnv, kinds};
use kith_wire::identity::{Credential, Verified};
use kith_wire::ids::{DeviceId, GroupId, StateId};
use kith_wire::labels;
use kith_wire::object::Versioned as _;
use kith_wire::signed::{self, Raw};
use openmls::prelude::tls_codec::Deserialize as _;
use openmls::prelude::{
    MlsGroup, MlsMessageBodyIn, MlsMessageIn, PURE_PLAINTEXT_WIRE_FORMAT_POLICY, RatchetTreeIn,
    SenderRatchetConfiguration, StagedWelcome,
};
use sha2::{Digest, Sha256};

use super::ctx::{self, Ctx, DeviceSigner, RATCHET, Session, broken, mls_gid};
use super::enter::{id_of, members_of};
use super::packages;
use crate::EngineError;
use crate::api::{DeviceKeys, Joined, Joiner, WelcomeInfo};
use crate::crypto::{Crypto, Rand, SUITE};
use crate::image::{Image, Kind};
use crate::news;
use crate::rows::{self, DeviceRow, GroupRow, Member, SeqSet, StateRow};
use crate::valid;

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
    let at = id_of(&group)?;
    let members = members_of(&group, None).map_err(EngineError::Refused)?;
    let row = state_row(gid, &group, &members, ext, at)?;
    let session = Session::new(new_row(ext, keys.device(), at));
    let mut ctx = Ctx::new(keys, crypto, rand, tx, gid, now, session);
    ctx.store_state(&row, &members, group, image)?;
    ctx.finish();
    Ok(gid)
}

fn state_row(
    gid: GroupId,
    group: &MlsGroup,
    members: &Vec<Member>,
    ext: &GroupExt,
    topic: StateId,
) -> Result<StateRow, EngineError> {
    Ok(StateRow {
        gid,
        epoch: group.epoch().as_u64(),
        parent: None,
        commit: None,
        members: Sha256::digest(cbor::encode(members)).into(),
        ext: ext.to_bytes(),
        topic,
        children: Vec::new(),
        me_in: true,
    })
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

/// A join, and marks from the bundle that are still to be taken in.
pub(super) struct Started {
    pub(super) joined: Joined,
    pub(super) marks: Vec<Vec<u8>>,
}

pub(super) fn join(
    keys: &DeviceKeys,
    crypto: &Crypto,
    rand: &Rand,
    tx: &mut Tx<'_>,
    now: u64,
    welcome: &[u8],
    bundle: &[u8],
) -> Result<Started, EngineError> {
    let (env, inviter) = open_welcome(keys, welcome)?;
    let bundle = JoinBundle::from_bytes(bundle)?;
    if bundle.gid != env.gid || bundle.cards.len() > CARDS_MAX {
        return Err(EngineError::Welcome("its bundle is for another conversation"));
    }
    let before = rows::group(tx, &env.gid)?;
    if let Some(row) = &before {
        may_replace(tx, &env, &inviter, row)?;
    }
    let (group, image, used) = stage(keys, crypto, rand, tx, &env, &bundle, &inviter)?;
    let at = id_of(&group)?;
    if at != env.state {
        return Err(EngineError::Welcome("it leads into another state than it says"));
    }
    let (_, ext) = valid::read_ext(group.public_group().group_context()).map_err(EngineError::Welcome)?;
    if ext.rules > GroupExt::RULES {
        return Err(EngineError::Welcome("the conversation needs a newer Kith"));
    }
    let members = members_of(&group, None).map_err(EngineError::Welcome)?;
    let own = keys.device();
    if !members.iter().any(|m| m.device == own && m.account == keys.account) {
        return Err(EngineError::Welcome("this device is not among the members"));
    }
    let state = state_row(env.gid, &group, &members, &ext, bundle.topic_state)?;

    let mut row = new_row(&ext, own, at);
    if let Some(before) = &before {
        row = GroupRow {
            // The chains of events and marks go on; all else begins anew.
            writes: before.writes,
            seq: before.seq,
            last_event: before.last_event,
            mark_n: before.mark_n,
            mark_prev: before.mark_prev,
            hlc: before.hlc,
            topics: before.topics.clone(),
            orphan_next: before.orphan_next,
            orphan_count: before.orphan_count,
            orphan_bytes: before.orphan_bytes,
            ..row
        };
        news::clear(tx, &env.gid)?;
        for (state, _) in &before.held {
            tx.shred(Table::Images, &state.0);
        }
        for device in rows::devices(tx, &env.gid)? {
            if let Some(known) = rows::device(tx, &env.gid, &device)? {
                let known = DeviceRow { events: SeqSet::default(), mark_at: None, mark_seq: 0, ..known };
                rows::put(tx, Key::of(Table::Groups, &rows::pair(&env.gid, &device.0)), &known);
            }
        }
    }
    row.inviter = Some(inviter.device);
    row.unsettled = true;
    if packages::used(tx, &used)? {
        row.package = Some(used);
    }
    let topic_state = bundle.topic_state;
    let accounts: std::collections::BTreeSet<_> =
        members.iter().map(|m| m.account).filter(|a| *a != keys.account).collect();
    let kind = ext.kind;
    let mut ctx = Ctx::new(keys, crypto, rand, tx, env.gid, now, Session::new(row));
    if topic_state != at {
        ctx.tx.put(Key::of(Table::Topics, &topic_state.0), env.topic.expose().to_vec());
        ctx.use_topic(topic_state);
    } else if exported(&group, crypto, &env.gid)? != env.topic {
        return Err(EngineError::Welcome("its topic is not the conversation's"));
    }
    ctx.store_state(&state, &members, group, image)?;
    ctx.finish();
    Ok(Started {
        joined: Joined {
            gid: env.gid,
            kind,
            state: at,
            inviter: (inviter.account, inviter.device),
            accounts: accounts.into_iter().collect(),
            ext,
            cards: bundle.cards.into_iter().map(Into::into).collect(),
            mark: Vec::new(),
            outcomes: Vec::new(),
            replaced: before.is_some(),
        },
        marks: bundle.orders.into_iter().chain(bundle.marks).map(Into::into).collect(),
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
    if row.unsettled && trusted {
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
