//! The rows that people and their devices are kept in.

use kith_store::{Key, Read, StoreError, Table, Tx};
use kith_wire::identity::DeviceCard;
use kith_wire::ids::{AccountId, DeviceId, GroupId, InviteId};
use kith_wire::limits::DEVICES_PER_ACCOUNT_MAX;
use minicbor::{Decode, Encode};

use crate::rows;
use crate::view::ContactState;

/// People kept: contacts, requests, and those known from groups.
pub(crate) const PEOPLE_MAX: u32 = 5_000;
/// Requests of others that wait for an answer.
pub(crate) const INCOMING_MAX: u32 = 200;
/// Own requests to one account that may still be answered.
const ASKED_MAX: usize = 8;

const COUNTS: Key<'static> = Key { table: Table::Account, name: b"people", order: b"" };

/// Where we stand with somebody; see [`ContactState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum State {
    #[n(0)]
    Requested,
    #[n(1)]
    Incoming,
    #[n(2)]
    Accepted,
    #[n(3)]
    Refused,
    #[n(4)]
    Known,
    #[n(5)]
    Blocked,
}

impl From<State> for ContactState {
    fn from(state: State) -> Self {
        match state {
            State::Requested => Self::Requested,
            State::Incoming => Self::Incoming,
            State::Accepted => Self::Accepted,
            State::Refused => Self::Refused,
            State::Known => Self::Known,
            State::Blocked => Self::Blocked,
        }
    }
}

/// A generation of somebody's account key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct AccountKey {
    #[n(0)]
    pub generation: u32,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub public: [u8; 32],
}

/// A request of theirs that waits for our answer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Incoming {
    /// The device that asks, and that the answer goes to.
    #[n(0)]
    pub device: DeviceId,
    /// The request's id.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub request: [u8; 32],
    /// Key package to start the conversation with.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub key_package: Vec<u8>,
    /// The invite it came by.
    #[n(3)]
    pub invite: InviteId,
}

/// A request of ours that may still be answered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Asked {
    /// The request's id.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub request: [u8; 32],
    /// The group asked for; none for contact.
    #[n(1)]
    pub group: Option<GroupId>,
}

/// Somebody.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Person {
    #[n(0)]
    pub account: AccountId,
    #[n(1)]
    pub state: State,
    /// When the state began, Unix ms.
    #[n(2)]
    pub since: u64,
    #[n(3)]
    pub nickname: Option<String>,
    #[n(4)]
    pub verified: bool,
    /// Name as they wrote it; cleaned when shown.
    #[n(5)]
    pub name: String,
    #[n(6)]
    pub about: String,
    /// (generation, revision) of the profile; (0, 0) = from an invite or none.
    #[n(7)]
    pub profile: (u32, u64),
    /// Their profile as they signed it, for passing on to groups.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub profile_signed: Option<Vec<u8>>,
    /// The newest account key seen.
    #[n(9)]
    pub key: Option<AccountKey>,
    /// Devices with a [`DeviceRow`].
    #[n(10)]
    pub devices: Vec<DeviceId>,
    /// Greeting of the request, theirs or ours.
    #[n(11)]
    pub greeting: String,
    /// Why a request came to nothing, as a sentence.
    #[n(12)]
    pub problem: Option<String>,
    #[n(13)]
    pub incoming: Option<Incoming>,
    #[n(14)]
    pub asked: Vec<Asked>,
    /// What unblocking leads back to.
    #[n(15)]
    pub before_block: Option<State>,
    /// We said no, or turned them away: not shown while otherwise unknown.
    #[n(16)]
    pub declined: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Counts {
    #[n(0)]
    people: u32,
    #[n(1)]
    incoming: u32,
}

fn counts(r: &dyn Read) -> Result<Counts, StoreError> {
    Ok(rows::get(r, COUNTS)?.unwrap_or_default())
}

/// Whether one more account can be kept.
pub(crate) fn has_room(r: &dyn Read) -> Result<bool, StoreError> {
    Ok(counts(r)?.people < PEOPLE_MAX)
}

/// Whether one more request can wait.
pub(crate) fn has_room_for_request(r: &dyn Read) -> Result<bool, StoreError> {
    Ok(counts(r)?.incoming < INCOMING_MAX)
}

impl Person {
    /// Somebody of whom nothing is known yet.
    pub(crate) fn new(account: AccountId, now_ms: u64) -> Self {
        Self {
            account,
            state: State::Known,
            since: now_ms,
            nickname: None,
            verified: false,
            name: String::new(),
            about: String::new(),
            profile: (0, 0),
            profile_signed: None,
            key: None,
            devices: Vec::new(),
            greeting: String::new(),
            problem: None,
            incoming: None,
            asked: Vec::new(),
            before_block: None,
            declined: false,
        }
    }
    pub(crate) fn load(r: &dyn Read, account: &AccountId) -> Result<Option<Self>, StoreError> {
        rows::get(r, Key::of(Table::Contacts, &account.0))
    }
    pub(crate) fn all(r: &dyn Read) -> Result<Vec<Self>, StoreError> {
        r.scan_table(Table::Contacts)?.iter().map(|b| rows::decode(b)).collect()
    }
    /// Changes the state.
    pub(crate) fn enter(&mut self, state: State, now_ms: u64) {
        if self.state != state {
            self.state = state;
            self.since = now_ms;
        }
    }
    /// Notes a request of ours; the oldest gives way when there are too many.
    pub(crate) fn ask(&mut self, asked: Asked) {
        if self.asked.len() >= ASKED_MAX {
            self.asked.remove(0);
        }
        self.asked.push(asked);
    }
    /// Stores the row and keeps the counts in step.
    pub(crate) fn save(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let old = Self::load(tx, &self.account)?;
        let mut counts = counts(tx)?;
        let before = counts;
        if old.is_none() {
            counts.people = counts.people.saturating_add(1);
        }
        let waited = old.is_some_and(|p| p.state == State::Incoming);
        match (waited, self.state == State::Incoming) {
            (false, true) => counts.incoming = counts.incoming.saturating_add(1),
            (true, false) => counts.incoming = counts.incoming.saturating_sub(1),
            _ => {}
        }
        if counts != before {
            tx.put(COUNTS, rows::encode(&counts));
        }
        tx.put(Key::of(Table::Contacts, &self.account.0), rows::encode(self));
        Ok(())
    }
    /// Adds a device; when there are too many, the one whose card is oldest
    /// gives way.
    pub(crate) fn add_device(&mut self, tx: &mut Tx<'_>, device: DeviceId) -> Result<(), StoreError> {
        if self.devices.contains(&device) {
            return Ok(());
        }
        if self.devices.len() >= DEVICES_PER_ACCOUNT_MAX {
            let mut oldest: Option<(u64, DeviceId)> = None;
            for known in &self.devices {
                let issued = DeviceRow::load(tx, known)?.map_or(0, |row| row.card.issued_ms);
                if oldest.is_none_or(|(at, _)| issued < at) {
                    oldest = Some((issued, *known));
                }
            }
            if let Some((_, gone)) = oldest {
                self.devices.retain(|d| *d != gone);
                tx.delete(Key::of(Table::Cards, &gone.0));
            }
        }
        self.devices.push(device);
        Ok(())
    }
}

/// A device of somebody, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct DeviceRow {
    #[n(0)]
    pub device: DeviceId,
    #[n(1)]
    pub account: AccountId,
    /// X25519 key that is sealed to.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub box_key: [u8; 32],
    /// Generation of the account key that certified it.
    #[n(3)]
    pub generation: u32,
    /// Its credential; none while only an invite is known.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub credential: Option<Vec<u8>>,
    /// The card; revision 0 = put together from an invite.
    #[n(5)]
    pub card: DeviceCard,
    /// The card as signed, for passing on to groups.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub card_signed: Option<Vec<u8>>,
    /// A delivery token given to us alone.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub token: Option<Vec<u8>>,
}

impl DeviceRow {
    pub(crate) fn load(r: &dyn Read, device: &DeviceId) -> Result<Option<Self>, StoreError> {
        rows::get(r, Key::of(Table::Cards, &device.0))
    }
    pub(crate) fn save(&self, tx: &mut Tx<'_>) {
        tx.put(Key::of(Table::Cards, &self.device.0), rows::encode(self));
    }
    pub(crate) fn all(r: &dyn Read) -> Result<Vec<Self>, StoreError> {
        r.scan_table(Table::Cards)?.iter().map(|b| rows::decode(b)).collect()
    }
}
