//! One call's working set: the transaction, the group's session, and the
//! helpers that read and write rows through both.

use std::collections::BTreeMap;
use std::sync::Arc;

use kith_store::{Key, StoreError, Table, Tx};
use kith_wire::group::GroupExt;
use kith_wire::ids::{DeviceId, GroupId, StateId};
use openmls::prelude::{
    BasicCredential, Capabilities, CredentialType, CredentialWithKey, ExtensionType, MlsGroup,
    MlsGroupJoinConfig, PURE_PLAINTEXT_WIRE_FORMAT_POLICY, SenderRatchetConfiguration,
};
use openmls_traits::signatures::{Signer, SignerError};
use openmls_traits::types::SignatureScheme;

use crate::EngineError;
use crate::api::{DeviceKeys, Outcome};
use crate::crypto::{Crypto, Rand, SUITE};
use crate::image::{Image, Provider};
use crate::news;
use crate::rows::{self, DeviceRow, GroupRow, State, StateRow};

use super::orphans::Waiting;

/// OpenMLS groups that a session keeps loaded.
const LOADED_MAX: usize = 4;
/// Resolved states that a session keeps: few of a large group, all of a small one.
const STATES_MAX: usize = 1_024;
/// Members in all of them together.
const STATE_MEMBERS_MAX: usize = 65_536;
/// Device rows that a session keeps.
const DEVICES_MAX: usize = 1_024;
/// Out-of-order tolerance and forward bound of sender ratchets.
pub(crate) const RATCHET: (u32, u32) = (256, 4096);

/// What is kept loaded of a group between calls.
pub(super) struct Session {
    pub(super) row: GroupRow,
    pub(super) used: u64,
    pub(super) states: BTreeMap<StateId, Arc<State>>,
    /// Members in `states`.
    state_members: usize,
    devices: BTreeMap<DeviceId, DeviceRow>,
    loaded: Vec<Loaded>,
    /// Public sides of states, the last used one last.
    pub(super) publics: Vec<(StateId, Image)>,
    /// The facts of a contested group, once they were needed.
    pub(super) history: Option<kith_rule::History>,
    /// What this device tells others that it knows, as of a number of writes.
    pub(super) hello: Option<(u64, Vec<u8>)>,
    /// What the fork rule made of them; gone when a fact comes in.
    pub(super) decision: Option<Arc<kith_rule::Decision>>,
    /// The objects that wait for a state, once they were needed.
    pub(super) waiting: Option<Vec<Waiting>>,
    /// None of them waits for a state that is known.
    pub(super) none_due: bool,
    /// A call failed half-way: the store's rows count, not what is here.
    stale: bool,
}

/// An OpenMLS group with its image.
pub(super) struct Loaded {
    pub(super) state: StateId,
    pub(super) group: MlsGroup,
    pub(super) image: Image,
    /// Opens the sender data of the state's ciphertexts.
    #[cfg(feature = "test-trace")]
    pub(super) sender_data: Option<Vec<u8>>,
}

impl Loaded {
    pub(super) fn new(state: StateId, group: MlsGroup, image: Image) -> Self {
        Self {
            state,
            group,
            #[cfg(feature = "test-trace")]
            sender_data: crate::sender_data::secret(&image),
            image,
        }
    }
}

impl Session {
    pub(super) fn new(row: GroupRow) -> Self {
        Self {
            row,
            used: 0,
            states: BTreeMap::new(),
            state_members: 0,
            devices: BTreeMap::new(),
            loaded: Vec::new(),
            publics: Vec::new(),
            history: None,
            hello: None,
            decision: None,
            waiting: None,
            none_due: false,
            stale: false,
        }
    }
    /// Whether this is what the store holds, whose row was written so often. It
    /// is not after a transaction that never became durable.
    pub(super) fn is_stored(&self, writes: u64) -> bool {
        !self.stale && self.row.writes == writes
    }
    /// A session of the same group, from its row. What a state's public side is
    /// never changes, so it need not be computed again.
    pub(super) fn anew(self, row: GroupRow) -> Self {
        Self { publics: self.publics, ..Self::new(row) }
    }
}

/// One call.
pub(super) struct Ctx<'e, 'tx> {
    pub(super) keys: &'e DeviceKeys,
    pub(super) crypto: &'e Crypto,
    pub(super) rand: &'e Rand,
    pub(super) tx: &'e mut Tx<'tx>,
    pub(super) gid: GroupId,
    pub(super) now: u64,
    pub(super) out: Vec<Outcome>,
    /// The device at the far end of the proven stream that an object came by.
    pub(super) from: Option<DeviceId>,
    pub(super) session: Session,
    dirty: bool,
}

impl<'e, 'tx> Ctx<'e, 'tx> {
    pub(super) fn new(
        keys: &'e DeviceKeys,
        crypto: &'e Crypto,
        rand: &'e Rand,
        tx: &'e mut Tx<'tx>,
        gid: GroupId,
        now: u64,
        session: Session,
    ) -> Self {
        Self { keys, crypto, rand, tx, gid, now, out: Vec::new(), from: None, session, dirty: false }
    }
    /// Writes the group row if anything changed; the session may be kept.
    pub(super) fn finish(mut self) -> Session {
        if self.dirty {
            self.session.row.writes += 1;
            rows::put(self.tx, Key::of(Table::Groups, &self.gid.0), &self.session.row);
            news::save(self.tx, &self.gid, &mut self.session.row);
        }
        self.session
    }
    /// What is left of the session after a call that failed.
    pub(super) fn fail(mut self) -> Session {
        // OpenMLS may have gone on in memory.
        self.session.loaded.clear();
        self.session.stale = self.dirty;
        self.session
    }
    pub(super) fn row(&self) -> &GroupRow {
        &self.session.row
    }
    /// The group row, to be changed: it is written at the end of the call.
    pub(super) fn row_mut(&mut self) -> &mut GroupRow {
        self.dirty = true;
        &mut self.session.row
    }
    /// Something was stored that this group's writes have to count.
    pub(super) fn changed(&mut self) {
        self.dirty = true;
    }
    pub(super) fn me(&self) -> DeviceId {
        self.session.row.me
    }

    /// A known state of this group.
    pub(super) fn state(&mut self, id: &StateId) -> Result<Option<Arc<State>>, EngineError> {
        if let Some(state) = self.session.states.get(id) {
            return Ok(Some(state.clone()));
        }
        let state = rows::state(self.tx, &self.gid, id)?.map(Arc::new);
        if let Some(state) = &state {
            self.keep_state(state.clone());
        }
        Ok(state)
    }
    fn keep_state(&mut self, state: Arc<State>) {
        let session = &mut self.session;
        if let Some(stale) = session.states.remove(&state.id) {
            session.state_members -= stale.members.len();
        }
        session.state_members += state.members.len();
        if session.states.len() >= STATES_MAX || session.state_members > STATE_MEMBERS_MAX {
            session.states.clear();
            session.state_members = state.members.len();
        }
        session.states.insert(state.id, state);
    }
    /// A known state's row alone: walks through many states of a large group
    /// do not read each one's members.
    pub(super) fn state_row(&self, id: &StateId) -> Result<Option<StateRow>, EngineError> {
        match self.session.states.get(id) {
            Some(state) => Ok(Some(state.row.clone())),
            None => rows::state_row(self.tx, &self.gid, id),
        }
    }
    /// The row of a state that must be known.
    pub(super) fn known_row(&self, id: &StateId) -> Result<StateRow, EngineError> {
        self.state_row(id)?.ok_or_else(missing)
    }
    /// A state that must be known.
    pub(super) fn known(&mut self, id: &StateId) -> Result<Arc<State>, EngineError> {
        self.state(id)?.ok_or_else(missing)
    }
    pub(super) fn tip(&mut self) -> Result<Arc<State>, EngineError> {
        let tip = self.session.row.tip;
        self.known(&tip)
    }
    /// The tip, if this device is a member there and may speak.
    pub(super) fn tip_as_member(&mut self) -> Result<Arc<State>, EngineError> {
        if self.row().put_back {
            return Err(EngineError::NotHeard);
        }
        let tip = self.tip()?;
        if tip.row.me_in { Ok(tip) } else { Err(EngineError::NotMember) }
    }
    /// Stores a state's row anew.
    pub(super) fn put_state(&mut self, state: State) -> Arc<State> {
        self.dirty = true;
        rows::put(self.tx, Key::of(Table::Public, &state.id.0), &state.row);
        if !self.session.states.contains_key(&state.id) {
            self.session.none_due = false;
        }
        let state = Arc::new(state);
        self.keep_state(state.clone());
        state
    }

    pub(super) fn device(&mut self, device: &DeviceId) -> Result<DeviceRow, EngineError> {
        if let Some(row) = self.session.devices.get(device) {
            return Ok(row.clone());
        }
        let row = rows::device(self.tx, &self.gid, device)?;
        if row.is_none() {
            let mut all = rows::devices(self.tx, &self.gid)?;
            if !all.contains(device) {
                all.push(*device);
                rows::put_devices(self.tx, &self.gid, &all);
            }
        }
        Ok(row.unwrap_or_default())
    }
    pub(super) fn put_device(&mut self, device: DeviceId, row: DeviceRow) {
        self.dirty = true;
        rows::put(self.tx, Key::of(Table::Groups, &rows::pair(&self.gid, &device.0)), &row);
        if self.session.devices.len() >= DEVICES_MAX {
            self.session.devices.clear();
        }
        self.session.devices.insert(device, row);
    }

    /// The OpenMLS group of a held state; `None` if its image is gone.
    pub(super) fn load(&mut self, id: StateId) -> Result<Option<&mut Loaded>, EngineError> {
        let at = self.session.loaded.iter().position(|l| l.state == id);
        let loaded = match at {
            Some(at) => self.session.loaded.remove(at),
            None => {
                let Some(image) = Image::load(self.tx, Table::Images, &id.0)? else { return Ok(None) };
                let group = open_group(&image, &self.gid)?;
                Loaded::new(id, group, image)
            }
        };
        Ok(Some(self.keep(loaded)))
    }
    /// A copy of a held state's image, to make another state of it.
    pub(super) fn branch(&mut self, id: StateId) -> Result<Option<(MlsGroup, Image)>, EngineError> {
        let Some(image) = self.held_image(id)? else { return Ok(None) };
        let image = image.branch();
        let group = open_group(&image, &self.gid)?;
        Ok(Some((group, image)))
    }
    /// A held state's image.
    pub(super) fn held_image(&self, id: StateId) -> Result<Option<Image>, EngineError> {
        // What is loaded is as new as what is stored: each change is saved at once.
        if let Some(loaded) = self.session.loaded.iter().find(|l| l.state == id) {
            return Ok(Some(loaded.image.clone()));
        }
        if !self.holds(&id) {
            return Ok(None);
        }
        Ok(Image::load(self.tx, Table::Images, &id.0)?)
    }
    /// Whether a state's keys are here.
    pub(super) fn holds(&self, id: &StateId) -> bool {
        self.session.row.held.iter().any(|(held, _)| held == id)
    }
    /// Keeps a group loaded, the last used one last.
    pub(super) fn keep(&mut self, loaded: Loaded) -> &mut Loaded {
        let list = &mut self.session.loaded;
        list.retain(|l| l.state != loaded.state);
        if list.len() >= LOADED_MAX {
            list.remove(0);
        }
        list.push(loaded);
        let last = list.len() - 1;
        &mut list[last]
    }
    pub(super) fn unload(&mut self, id: &StateId) {
        self.session.loaded.retain(|l| l.state != *id);
    }
    /// Writes what a message changed in a loaded group.
    pub(super) fn save(&mut self, id: StateId) -> Result<(), StoreError> {
        self.dirty = true;
        match self.session.loaded.iter().find(|l| l.state == id) {
            Some(loaded) => loaded.image.save(self.tx, Table::Images, &id.0),
            None => Ok(()),
        }
    }
}

fn missing() -> EngineError {
    broken("a state is missing")
}

fn open_group(image: &Image, gid: &GroupId) -> Result<MlsGroup, EngineError> {
    MlsGroup::load(image, &mls_gid(gid))
        .map_err(|e| EngineError::Broken(e.to_string()))?
        .ok_or_else(|| EngineError::Broken("a state's image is incomplete".into()))
}

pub(crate) fn mls_gid(gid: &GroupId) -> openmls::prelude::GroupId {
    openmls::prelude::GroupId::from_slice(&gid.0)
}

/// Signs for OpenMLS with the device key.
pub(crate) struct DeviceSigner<'a>(pub(crate) &'a DeviceKeys);

impl Signer for DeviceSigner<'_> {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        use ed25519_dalek::Signer as _;
        Ok(self.0.signing.sign(payload).to_bytes().to_vec())
    }
    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

pub(crate) fn own_credential(keys: &DeviceKeys) -> CredentialWithKey {
    CredentialWithKey {
        credential: BasicCredential::new(keys.credential.clone()).into(),
        signature_key: keys.device().0.to_vec().into(),
    }
}

pub(crate) fn capabilities() -> Capabilities {
    Capabilities::new(
        None,
        Some(&[SUITE]),
        Some(&[ExtensionType::Unknown(kith_wire::group::EXTENSION_TYPE), ExtensionType::LastResort]),
        None,
        Some(&[CredentialType::Basic]),
    )
}

pub(crate) fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .max_past_epochs(0)
        .use_ratchet_tree_extension(false)
        .sender_ratchet_configuration(SenderRatchetConfiguration::new(RATCHET.0, RATCHET.1))
        .padding_size(0)
        .build()
}

/// The group context extensions of a group with these settings.
pub(crate) fn extensions(
    ext: &GroupExt,
) -> Result<openmls::prelude::Extensions<openmls::prelude::GroupContext>, EngineError> {
    use openmls::prelude::{Extension, Extensions, RequiredCapabilitiesExtension, UnknownExtension};
    let kind = kith_wire::group::EXTENSION_TYPE;
    Extensions::from_vec(vec![
        Extension::RequiredCapabilities(RequiredCapabilitiesExtension::new(
            &[ExtensionType::Unknown(kind)],
            &[],
            &[CredentialType::Basic],
        )),
        Extension::Unknown(kind, UnknownExtension(ext.to_bytes())),
    ])
    .map_err(|e| EngineError::Broken(e.to_string()))
}

pub(crate) fn provider<'a>(crypto: &'a Crypto, rand: &'a Rand, image: &'a Image) -> Provider<'a> {
    Provider { crypto, rand, image }
}

pub(super) fn broken(e: impl core::fmt::Display) -> EngineError {
    EngineError::Broken(e.to_string())
}
