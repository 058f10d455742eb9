//! What the simulator and tests need of a node beyond its inputs and outputs:
//! the keys of a device that turns against its group, and further devices of an
//! account. Only with the feature `mutants`, which no product build has.

use std::sync::Arc;

use kith_mls::{Add, Change, DeviceKeys, Engine};
use kith_store::{Overlay, Store, Tx};
use kith_wire::ids::{AccountId, GroupId};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::api::{Now, Refusal};
use crate::groups::Reject;
use crate::identity::Identity;
use crate::node::{Config, Node, OpenError};
use crate::{membership, people};

impl Node {
    /// The keys of this device.
    #[must_use]
    pub fn device_keys(&self) -> DeviceKeys {
        self.me().device_keys()
    }

    /// The topic of this device's inbox.
    #[must_use]
    pub fn inbox(&self) -> kith_wire::ids::TopicId {
        self.me().inbox_topic().id()
    }

    /// A further device of an account, in an empty store.
    pub fn create_further(
        store: Arc<dyn Store>,
        of: &Self,
        config: Config,
        rng_seed: [u8; 32],
        now: Now,
    ) -> Result<Self, OpenError> {
        let mut rng = ChaCha20Rng::from_seed(rng_seed);
        let none = Overlay::default();
        let mut tx = Tx::new(&*store, &none);
        let damaged = |e: &dyn core::fmt::Display| OpenError::Damaged(e.to_string());
        let me = Identity::create_further(&mut tx, &of.reader(), &mut rng, now).map_err(|e| damaged(&e))?;
        let mut engine = Engine::new(me.device_keys(), rng_seed);
        engine
            .create(&mut tx, now.wall_ms, &kith_wire::group::GroupExt::own(Vec::new()))
            .map_err(|e| damaged(&e))?;
        store.write(&tx.finish())?;
        Self::open(store, config, rng_seed, now)
    }

    /// How this device is reached, and a key package of it.
    pub fn present(&mut self, now: Now) -> Result<(Vec<u8>, Vec<u8>), Refusal> {
        self.apply(now, |ctx, _| {
            let (_, card) = people::introduction(ctx)?;
            let package = ctx.engine.key_package(&mut ctx.tx, false)?;
            Ok((card, package))
        })
        .map_err(|e: Reject| Refusal::new("not_possible", e.to_string()))
    }

    /// A group may be spoken in at once: the caller knows that there is no older
    /// copy of this store that could have spoken.
    pub fn only_copy(&mut self, group: GroupId) {
        self.live().heard.begun(group);
    }

    /// Brings a further device of the own account into a group.
    pub fn add_further(
        &mut self,
        now: Now,
        group: GroupId,
        (card, package): (Vec<u8>, Vec<u8>),
    ) -> Result<(), Refusal> {
        self.apply(now, |ctx, live| {
            people::learn_introductions(ctx, &[card])?;
            live.relearn_all(ctx)?;
            let account = ctx.me.account();
            let add: Add = membership::to_add(ctx, &account, package)?;
            membership::commit(ctx, live, group, Change { adds: vec![add], ..Change::default() })
        })
        .map_err(|e: Reject| Refusal::new("not_possible", e.to_string()))?;
        self.handle(now, crate::api::Input::Tick);
        Ok(())
    }

    /// Takes somebody for a contact, as a linked device learns it from the first.
    pub fn learn_contact(&mut self, now: Now, account: AccountId) -> Result<(), Refusal> {
        self.apply(now, |ctx, _| Ok(people::learn_contact(ctx, account)?))
            .map_err(|e: Reject| Refusal::new("not_possible", e.to_string()))
    }
}
