//! The work of `examples/ceiling.rs` and of the message bench: the same
//! messages through bare OpenMLS and through the engine; [`group`] does it for
//! groups of any size. The caller measures the time. Only with the feature
//! `bench`.

mod bare;
mod crowd;
pub mod group;

use ed25519_dalek::SigningKey;
use kith_store::{MemoryStore, Overlay, Store, Tx};
use kith_wire::crypto::Secret;
use kith_wire::group::{BundleRef, GroupExt};
use kith_wire::identity::{Credential, Rotation};
use kith_wire::ids::{DeviceId, TopicId};
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{
    KeyPackage, MlsGroup, MlsMessageBodyIn, MlsMessageIn, PURE_PLAINTEXT_WIRE_FORMAT_POLICY,
    ProcessedMessageContent, SenderRatchetConfiguration, StagedWelcome,
};

use crate::crypto::{Crypto, Rand, SUITE};
use crate::engine::ctx;
use crate::image::Image;
use crate::{Add, Change, DeviceKeys, Engine, Outcome, valid};

/// Size of the messages.
const TEXT: [u8; 200] = [b'x'; 200];
const NOW: u64 = 1_800_000_000_000;

/// A seed of its own for each purpose and number.
fn seed(purpose: u8, n: u32) -> [u8; 32] {
    let mut out = [purpose; 32];
    out[..4].copy_from_slice(&n.to_be_bytes());
    out
}

/// The keys of device number `n`, the only one of its account.
fn keys(n: u32) -> DeviceKeys {
    let recovery = SigningKey::from_bytes(&seed(1, n));
    let account = SigningKey::from_bytes(&seed(2, n));
    let signing = SigningKey::from_bytes(&seed(3, n));
    let box_secret = x25519_dalek::StaticSecret::from(seed(4, n));
    let rotation = Rotation::issue(&recovery, 0, account.verifying_key().to_bytes());
    let box_pub = x25519_dalek::PublicKey::from(&box_secret).to_bytes();
    let device = DeviceId(signing.verifying_key().to_bytes());
    let credential = Credential::issue(&rotation, &account, device, box_pub).to_bytes();
    DeviceKeys { signing, box_secret, credential, account: rotation.account() }
}

/// Creates and processes messages between two members with OpenMLS alone:
/// Kith's suite, provider, row codec, settings; nothing stored.
///
/// # Panics
/// If OpenMLS fails, which would be a fault of the bench.
pub fn bare(messages: u32) {
    let (alice, bob) = (keys(1), keys(2));
    let crypto = Crypto::new(Secret::new([1; 32]));
    let rand = Rand::new([2; 32]);
    let (image_a, image_b) = (Image::default(), Image::default());
    let (a, b) = (ctx::provider(&crypto, &rand, &image_a), ctx::provider(&crypto, &rand, &image_b));
    let package = KeyPackage::builder()
        .key_package_lifetime(valid::lifetime())
        .leaf_node_capabilities(ctx::capabilities())
        .build(SUITE, &b, &ctx::DeviceSigner(&bob), ctx::own_credential(&bob))
        .unwrap();
    let mut at_a = MlsGroup::builder()
        .ciphersuite(SUITE)
        .with_wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .max_past_epochs(0)
        .sender_ratchet_configuration(SenderRatchetConfiguration::new(ctx::RATCHET.0, ctx::RATCHET.1))
        .padding_size(0)
        .lifetime(valid::lifetime())
        .with_capabilities(ctx::capabilities())
        .with_group_context_extensions(ctx::extensions(&GroupExt::direct(Vec::new())).unwrap())
        .build(&a, &ctx::DeviceSigner(&alice), ctx::own_credential(&alice))
        .unwrap();
    let bundle = at_a
        .commit_builder()
        .propose_adds([package.key_package().clone()])
        .load_psks(&image_a)
        .unwrap()
        .build(&rand, &crypto, &ctx::DeviceSigner(&alice), |_| true)
        .unwrap()
        .stage_commit(&a)
        .unwrap();
    at_a.merge_pending_commit(&a).unwrap();
    let welcome = bundle.into_welcome_msg().unwrap().tls_serialize_detached().unwrap();
    let MlsMessageBodyIn::Welcome(welcome) =
        MlsMessageIn::tls_deserialize_exact(welcome.as_slice()).unwrap().extract()
    else {
        return;
    };
    let mut at_b = StagedWelcome::build_from_welcome(&b, &ctx::join_config(), welcome)
        .unwrap()
        .with_ratchet_tree(at_a.export_ratchet_tree().into())
        .build()
        .unwrap()
        .into_group(&b)
        .unwrap();
    for _ in 0..messages {
        let bytes = at_a
            .create_message(&a, &ctx::DeviceSigner(&alice), &TEXT)
            .unwrap()
            .tls_serialize_detached()
            .unwrap();
        let message = MlsMessageIn::tls_deserialize_exact(bytes.as_slice()).unwrap();
        let processed = at_b.process_message(&b, message.try_into_protocol_message().unwrap()).unwrap();
        let ProcessedMessageContent::ApplicationMessage(m) = processed.into_content() else { return };
        assert_eq!(m.into_bytes(), TEXT);
    }
}

fn run<T>(store: &MemoryStore, f: impl FnOnce(&mut Tx<'_>) -> T) -> T {
    let under = Overlay::default();
    let mut tx = Tx::new(store, &under);
    let out = f(&mut tx);
    let changes = tx.finish();
    let _written = store.write(&changes);
    out
}

/// The same through two engines, each over a memory store, one transaction
/// per message and side.
///
/// # Panics
/// If the engine fails, which would be a fault of the bench.
pub fn engine(messages: u32) {
    let (store_a, store_b) = (MemoryStore::new(), MemoryStore::new());
    let (mut a, mut b) = (Engine::new(keys(1), [1; 32]), Engine::new(keys(2), [2; 32]));
    let gid = run(&store_a, |tx| a.create(tx, NOW, &GroupExt::direct(Vec::new()))).unwrap();
    let package = run(&store_b, |tx| b.key_package(tx, false)).unwrap();
    let change = Change { adds: vec![Add { package, inbox: TopicId([0; 32]) }], ..Change::default() };
    let commit = run(&store_a, |tx| a.commit(tx, NOW, gid, &change)).unwrap();
    let welcome = a.welcome(&commit.joiners[0], BundleRef::Inline(commit.bundle.clone()));
    run(&store_b, |tx| b.join(tx, NOW, &welcome, &commit.bundle)).unwrap();
    for i in 0..messages {
        let now = NOW + u64::from(i);
        let sent = run(&store_a, |tx| a.send(tx, now, gid, 2, &TEXT)).unwrap();
        let out = run(&store_b, |tx| b.ingest(tx, now, gid, &sent.envelope)).unwrap();
        assert!(matches!(out.as_slice(), [Outcome::Event(_)]));
    }
}
