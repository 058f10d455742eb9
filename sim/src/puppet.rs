//! A device in an attacker's hands: its keys, an engine of its own, and a copy
//! of its rows. It makes what it likes, and the attacker decides who gets it.

use kith_mls::mutant::{self, Mutant};
use kith_mls::{Change, Committed, DeviceKeys, Engine, EngineError, view};
use kith_store::{MemoryStore, Overlay, Store as _, Tx};
use kith_wire::group::{Mark, Order, OrderKind, Target, kinds, mark_id};
use kith_wire::ids::{AccountId, GroupId, StateId};
use kith_wire::signed;

/// One of them.
pub(crate) struct Puppet {
    pub(crate) engine: Engine,
    pub(crate) store: MemoryStore,
    pub(crate) keys: DeviceKeys,
    gid: GroupId,
}

fn copy(keys: &DeviceKeys) -> DeviceKeys {
    DeviceKeys {
        signing: keys.signing.clone(),
        box_secret: keys.box_secret.clone(),
        credential: keys.credential.clone(),
        account: keys.account,
    }
}

/// What a commit sends out, in the order in which it belongs.
pub(crate) fn objects(done: &Committed) -> Vec<Vec<u8>> {
    let mut out = done.orders.clone();
    let last = done.marks.len().saturating_sub(1);
    out.extend(done.marks.iter().take(last).cloned());
    out.push(done.envelope.clone());
    out.extend(done.marks.iter().skip(last).cloned());
    out
}

impl Puppet {
    pub(crate) fn new(keys: DeviceKeys, store: MemoryStore, gid: GroupId, rng_seed: [u8; 32]) -> Self {
        Self { engine: Engine::new(copy(&keys), rng_seed), store, keys, gid }
    }

    /// Its keys, for another engine.
    pub(crate) fn keys(&self) -> DeviceKeys {
        copy(&self.keys)
    }

    /// Lets the engine do something on the copy.
    pub(crate) fn call<T>(
        &mut self,
        f: impl FnOnce(&mut Engine, &mut Tx<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let none = Overlay::default();
        let mut tx = Tx::new(&self.store, &none);
        let done = f(&mut self.engine, &mut tx);
        match done {
            Ok(done) => {
                let changes = tx.finish();
                self.store.write(&changes)?;
                Ok(done)
            }
            Err(e) => {
                drop(tx);
                self.engine.forget_cached();
                Err(e)
            }
        }
    }

    pub(crate) fn commit(&mut self, now_ms: u64, change: &Change) -> Result<Committed, EngineError> {
        let gid = self.gid;
        self.call(|engine, tx| engine.commit(tx, now_ms, gid, change))
    }

    /// A commit that its own engine does not check.
    pub(crate) fn forbidden(&mut self, now_ms: u64, change: &Change) -> Result<Committed, EngineError> {
        let mut on = mutant::set(&[]);
        on.push(Mutant::Unchecked);
        mutant::set(&on);
        let done = self.commit(now_ms, change);
        on.pop();
        mutant::set(&on);
        done
    }

    pub(crate) fn ingest(&mut self, now_ms: u64, object: &[u8]) {
        let gid = self.gid;
        let _looked_at_by_nobody = self.call(|engine, tx| engine.ingest(tx, now_ms, gid, object));
    }

    /// Where its chain of marks has come to, as its group has it.
    pub(crate) fn chain_end(&self) -> (u64, Option<[u8; 32]>) {
        view::own_chain(&self.store, self.gid).unwrap_or_default()
    }

    /// A mark by hand: on any state, under any number.
    pub(crate) fn mark(&self, n: u64, prev: Option<[u8; 32]>, at: StateId) -> (Vec<u8>, [u8; 32]) {
        let mark = Mark {
            kind: kinds::MARK,
            version: 1,
            gid: self.gid,
            device: self.keys.device(),
            n,
            prev,
            at,
            changed: [(self.keys.device(), (0, n))].into(),
            bad: Vec::new(),
        };
        let raw = signed::sign(&mark, &self.keys.signing, &[]);
        let id = mark_id(&raw).0;
        (raw.to_bytes(), id)
    }

    /// A removal that refers to the state before the last one, as if nothing
    /// had been marked since; the mark that it needs comes first.
    pub(crate) fn backdated(&self, whom: AccountId) -> Option<[Vec<u8>; 2]> {
        let facts = view::facts(&self.store, self.gid).ok()?;
        let at = facts.commits.iter().find(|c| c.child == facts.tip)?.parent;
        let (n, prev) = self.chain_end();
        let (mark, id) = self.mark(n + 1, prev, at);
        let members = facts.states.iter().find(|s| s.id == at)?.members.iter();
        let order = Order {
            kind: kinds::ORDER,
            version: 1,
            gid: self.gid,
            issuer: self.keys.account,
            device: self.keys.device(),
            n: n + 2,
            prev: Some(id),
            order: OrderKind::Remove,
            target: Target::Account(whom),
            at,
            lifts: Vec::new(),
            cut: members.filter(|(.., a)| *a == whom).map(|(_, d, _)| (*d, (0, 1))).collect(),
            hlc: 0,
            statement: None,
        };
        Some([mark, signed::sign(&order, &self.keys.signing, &[]).to_bytes()])
    }
}
