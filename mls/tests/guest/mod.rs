//! A member whose MLS is mls-rs: another implementation of RFC 9420, with just
//! so much of Kith around it as a member needs (key package, marks, events,
//! orders, commits).

use std::collections::BTreeMap;
use std::time::Duration;

use kith_mls::{Add, DeviceKeys};
use kith_wire::crypto::Secret;
use kith_wire::group::{
    self, BundleRef, CommitEnvelope, CommitMeta, CommitReason, EXTENSION_TYPE, Event, EventEnvelope,
    JoinBundle, Mark, Object, Order, OrderKind, SignedEvent, Target, WelcomeEnv, commit_id, kinds,
};
use kith_wire::ids::{AccountId, DeviceId, EventId, GroupId, StateId, TopicId};
use kith_wire::object::Versioned as _;
use kith_wire::signed::{self, Raw};
use kith_wire::{cbor, labels};
use mls_rs::client_builder::{ClientBuilder, MlsConfig, PaddingMode};
use mls_rs::crypto::{SignaturePublicKey, SignatureSecretKey};
use mls_rs::group::{CommitBuilder, CommitEffect, ExportedTree, ReceivedMessage};
use mls_rs::identity::SigningIdentity;
use mls_rs::identity::basic::{BasicCredential, BasicIdentityProvider};
use mls_rs::mls_rs_codec::MlsEncode as _;
use mls_rs::mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions};
use mls_rs::time::MlsTime;
use mls_rs::{CipherSuite, Client, ExtensionList, Group, MlsMessage};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

use super::common::T0;

/// What an object was to a guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// An event with this text.
    Text(String),
    /// A commit: it stands in the next state.
    Moved,
    /// A commit that removed it.
    Out,
    /// A mark or an order.
    Noted,
}

/// What a commit of a guest gives its author to publish.
pub(crate) struct Committed {
    pub(crate) envelope: Vec<u8>,
    /// MLS Welcome and ratchet tree, if somebody was added.
    pub(crate) welcome: Option<(Vec<u8>, Vec<u8>)>,
}

/// One device with mls-rs inside.
pub(crate) struct Guest<C: MlsConfig> {
    pub(crate) keys: DeviceKeys,
    client: Client<C>,
    group: Option<Group<C>>,
    gid: GroupId,
    /// Number and id of the last mark or order.
    chain: (u64, Option<[u8; 32]>),
    /// Number and id of the last event.
    last: (u64, Option<EventId>),
    /// Last event and last mark of the others.
    known: BTreeMap<DeviceId, (u64, u64)>,
}

/// A guest whose key packages live this long from 1970 on, in seconds. The
/// device key is its MLS signature key, its credential Kith's.
pub(crate) fn guest(keys: DeviceKeys, lifetime_s: u64) -> Guest<impl MlsConfig> {
    let public = SignaturePublicKey::new(keys.device().0.to_vec());
    let credential = BasicCredential::new(keys.credential.clone()).into_credential();
    let rules = DefaultMlsRules::new()
        .with_commit_options(CommitOptions::new().with_path_required(true).with_ratchet_tree_extension(false))
        .with_encryption_options(EncryptionOptions::new(false, PaddingMode::None));
    let client = ClientBuilder::new()
        .crypto_provider(RustCryptoProvider::with_enabled_cipher_suites(vec![CipherSuite::CURVE25519_CHACHA]))
        .identity_provider(BasicIdentityProvider::new())
        .extension_type(EXTENSION_TYPE.into())
        .key_package_lifetime(Duration::from_secs(lifetime_s))
        .mls_rules(rules)
        .signing_identity(
            SigningIdentity::new(credential, public),
            SignatureSecretKey::new(keys.signing.to_keypair_bytes().to_vec()),
            CipherSuite::CURVE25519_CHACHA,
        )
        .build();
    Guest {
        keys,
        client,
        group: None,
        gid: GroupId([0; 32]),
        chain: (0, None),
        last: (0, None),
        known: BTreeMap::new(),
    }
}

impl<C: MlsConfig> Guest<C> {
    pub(crate) fn id(&self) -> DeviceId {
        self.keys.device()
    }
    pub(crate) fn account(&self) -> AccountId {
        self.keys.account
    }
    /// A fresh key package, valid from 1970 on, as others add it.
    pub(crate) fn add(&self) -> Add {
        let none = ExtensionList::new;
        let package = self.client.generate_key_package_message(none(), none(), Some(MlsTime::from(0)));
        Add { package: package.unwrap().to_bytes().unwrap(), inbox: TopicId(self.id().0) }
    }
    pub(crate) fn group(&mut self) -> &mut Group<C> {
        self.group.as_mut().unwrap()
    }
    /// The id of its state, from its own group context and confirmation tag.
    pub(crate) fn state(&mut self) -> StateId {
        let group = self.group();
        let context = group.context().mls_encode_to_vec().unwrap();
        // GroupInfo, after version and wire format: context, extensions<V>, confirmation_tag<V>.
        let info = group.group_info_message(false).unwrap().to_bytes().unwrap();
        let rest = info[4..].strip_prefix(context.as_slice()).unwrap();
        let [0, rest @ ..] = rest else { panic!("the group info has extensions") };
        let tag = &rest[..=usize::from(rest[0])];
        group::state_id(&context, tag)
    }
    /// The topic secret that would begin at its state.
    pub(crate) fn topic(&mut self) -> Secret {
        let gid = self.gid;
        let secret = self.group().export_secret(labels::TOPIC.as_bytes(), &gid.0, 32).unwrap();
        Secret::from_slice(&secret).unwrap()
    }
    /// Joins by a signed Welcome and its bundle; answers its first mark.
    pub(crate) fn join(&mut self, welcome: &[u8], bundle: &[u8]) -> Vec<u8> {
        let env: WelcomeEnv = Raw::from_bytes(welcome).unwrap().body().unwrap();
        assert_eq!(env.device, self.id());
        let bundle = JoinBundle::from_bytes(bundle).unwrap();
        let tree = ExportedTree::from_bytes(&bundle.tree).unwrap();
        let message = MlsMessage::from_bytes(&env.welcome).unwrap();
        let (group, _) = self.client.join_group(Some(tree), &message, None).unwrap();
        assert_eq!(group.group_id(), env.gid.0);
        self.gid = env.gid;
        self.group = Some(group);
        assert_eq!(self.state(), env.state);
        for mark in &bundle.marks {
            self.take(mark);
        }
        self.mark()
    }
    /// Takes in one object of the topic.
    pub(crate) fn take(&mut self, object: &[u8]) -> Taken {
        match Object::from_bytes(object).unwrap() {
            Object::Signed { kind: kinds::COMMIT, raw } => {
                let envelope: CommitEnvelope = raw.body().unwrap();
                assert_eq!(envelope.parent, self.state());
                self.process(&envelope.message)
            }
            Object::Signed { kind: kinds::MARK, raw } => {
                let mark: Mark = raw.body().unwrap();
                raw.verify::<Mark>(&mark.device.0, &[]).unwrap();
                self.known.insert(mark.device, (mark.changed[&mark.device].0, mark.n));
                Taken::Noted
            }
            Object::Signed { kind: kinds::ORDER, .. } => Taken::Noted,
            Object::EventEnvelope(envelope) => {
                assert_eq!(envelope.state, self.state());
                self.process(&envelope.message)
            }
            other => panic!("not for a topic: {other:?}"),
        }
    }
    fn process(&mut self, message: &[u8]) -> Taken {
        let message = MlsMessage::from_bytes(message).unwrap();
        match self.group().process_incoming_message(message).unwrap() {
            ReceivedMessage::Commit(commit) => {
                let meta = CommitMeta::from_bytes(&commit.authenticated_data).unwrap();
                assert_eq!(meta.gid, self.gid);
                if matches!(commit.effect, CommitEffect::Removed { .. }) { Taken::Out } else { Taken::Moved }
            }
            ReceivedMessage::ApplicationMessage(message) => {
                let at = self.state();
                let signed = SignedEvent::from_payload(message.data(), self.gid, at).unwrap();
                let event = signed.verify().unwrap();
                // Whoever wrote it also encrypted it.
                let sender = self.group().member_at_index(message.sender_index).unwrap();
                assert_eq!(sender.signing_identity.signature_key.as_bytes(), event.device.0);
                self.known.entry(event.device).or_default().0 = event.seq;
                Taken::Text(String::from_utf8(event.content).unwrap())
            }
            other => panic!("not from a member: {other:?}"),
        }
    }
    /// The next mark, at its state.
    pub(crate) fn mark(&mut self) -> Vec<u8> {
        let at = self.state();
        let (n, prev) = (self.chain.0 + 1, self.chain.1);
        let mut changed = self.known.clone();
        changed.insert(self.id(), (self.last.0, n));
        let mark = Mark {
            kind: kinds::MARK,
            version: 1,
            gid: self.gid,
            device: self.id(),
            n,
            prev,
            at,
            changed,
            bad: Vec::new(),
        };
        let raw = signed::sign(&mark, &self.keys.signing, &[]);
        self.chain = (n, Some(group::mark_id(&raw).0));
        raw.to_bytes()
    }
    /// An order to remove an account, with the mark before it.
    pub(crate) fn order(&mut self, target: AccountId, devices: &[DeviceId]) -> [Vec<u8>; 2] {
        let mark = self.mark();
        let (n, prev) = (self.chain.0 + 1, self.chain.1);
        let order = Order {
            kind: kinds::ORDER,
            version: 1,
            gid: self.gid,
            issuer: self.account(),
            device: self.id(),
            n,
            prev,
            order: OrderKind::Remove,
            target: Target::Account(target),
            at: self.state(),
            lifts: Vec::new(),
            cut: devices.iter().map(|d| (*d, self.known[d])).collect(),
            hlc: T0 << 16,
            statement: None,
        };
        let raw = signed::sign(&order, &self.keys.signing, &[]);
        self.chain = (n, Some(group::order_id(&raw).0));
        [mark, raw.to_bytes()]
    }
    /// Writes a text: signed as an event, encrypted by mls-rs.
    pub(crate) fn send(&mut self, text: &str) -> Vec<u8> {
        let at = self.state();
        let event = Event {
            kind: kinds::EVENT,
            version: 1,
            device: self.id(),
            seq: self.last.0 + 1,
            prev: self.last.1,
            deps: BTreeMap::new(),
            hlc: T0 << 16,
            event_type: 2,
            content: text.as_bytes().to_vec(),
        };
        let signed = SignedEvent::sign(&event, self.gid, at, &self.keys.signing);
        self.last = (event.seq, Some(signed.id()));
        let message = self.group().encrypt_application_message(&signed.to_payload(at), Vec::new()).unwrap();
        EventEnvelope::new(at, message.to_bytes().unwrap()).to_bytes()
    }
    /// What a commit of it says to Kith.
    pub(crate) fn meta(&mut self, reason: CommitReason, orders: &[Vec<u8>], rotate: bool) -> CommitMeta {
        CommitMeta {
            kind: kinds::COMMIT_META,
            version: 1,
            gid: self.gid,
            parent: self.state(),
            orders: orders.iter().cloned().map(Into::into).collect(),
            readds: Vec::new(),
            reason,
            device: self.id(),
            rotate,
        }
    }
    /// Makes a commit and signs its envelope; not applied yet.
    pub(crate) fn commit(
        &mut self,
        meta: &CommitMeta,
        fill: impl for<'a> FnOnce(CommitBuilder<'a, C>) -> CommitBuilder<'a, C>,
    ) -> Committed {
        let parent = self.state();
        let builder = self.group().commit_builder().authenticated_data(meta.to_bytes());
        let output = fill(builder).build().unwrap();
        assert!(output.contains_update_path);
        let tree = output.ratchet_tree.map(|t| t.to_bytes().unwrap());
        let welcome = output.welcome_messages.first().map(|w| w.to_bytes().unwrap());
        let message = output.commit_message.to_bytes().unwrap();
        Committed { envelope: self.envelope(parent, message), welcome: welcome.zip(tree) }
    }
    /// A signed commit envelope around an MLS message.
    pub(crate) fn envelope(&self, parent: StateId, message: Vec<u8>) -> Vec<u8> {
        let envelope = CommitEnvelope { kind: kinds::COMMIT, version: 1, gid: self.gid, parent, message };
        signed::sign(&envelope, &self.keys.signing, &[]).to_bytes()
    }
    /// Stands where its commit leads; answers its mark there.
    pub(crate) fn apply(&mut self) -> Vec<u8> {
        self.group().apply_pending_commit().unwrap();
        self.mark()
    }
    /// Throws its commit away.
    pub(crate) fn withdraw(&mut self) {
        self.group().clear_pending_commit();
    }
    /// The signed Welcome and the bundle for a device that its commit added.
    pub(crate) fn welcome(&mut self, committed: &Committed, device: DeviceId, mark: &[u8]) -> [Vec<u8>; 2] {
        let (welcome, tree) = committed.welcome.clone().unwrap();
        let envelope: CommitEnvelope = Raw::from_bytes(&committed.envelope).unwrap().body().unwrap();
        let state = self.state();
        let mut seen = self.known.clone();
        seen.insert(self.id(), (self.last.0, self.chain.0));
        let bundle = JoinBundle {
            kind: kinds::JOIN_BUNDLE,
            version: 1,
            gid: self.gid,
            tree,
            checkpoint: None,
            commits: Vec::new(),
            orders: Vec::new(),
            marks: vec![mark.to_vec().into()],
            cards: Vec::new(),
            seen,
            topic_state: state,
        };
        let bundle = cbor::encode(&bundle);
        let env = WelcomeEnv {
            kind: kinds::WELCOME,
            version: 1,
            gid: self.gid,
            welcome,
            state,
            inviter: self.keys.credential.clone(),
            commit: commit_id(&envelope.message),
            bundle: BundleRef::Inline(bundle.clone()),
            topic: self.topic(),
            relays: Vec::new(),
            device,
            inbox: TopicId(device.0),
        };
        [signed::sign(&env, &self.keys.signing, &[]).to_bytes(), bundle]
    }
}
