//! The rows that conversations, timelines and delivery are kept in: shapes,
//! keys, and typed access over a [`Read`] or [`Tx`]. What is derived from the
//! engine is copied here in the same batch, so that readers never load a group.

use kith_store::{Key, Range, Read, StoreError, Table, Tx};
use kith_wire::content::Attachment;
use kith_wire::ids::{AccountId, DeviceId, EventId, GroupId, RelayId, StateId, TopicId};
use minicbor::{Decode, Encode};

use crate::view::{self, Role};

/// Encodes a stored row.
pub(crate) fn encode<T: Encode<()>>(row: &T) -> Vec<u8> {
    kith_wire::cbor::encode(row)
}

/// Decodes a stored row; a row that does not decode is damage, not input.
pub(crate) fn decode<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, StoreError> {
    minicbor::decode(bytes).map_err(|e| StoreError::Corrupt(format!("a row does not decode: {e}")))
}

/// One typed row.
pub(crate) fn get<T: for<'b> Decode<'b, ()>>(r: &dyn Read, key: Key<'_>) -> Result<Option<T>, StoreError> {
    r.get(key)?.map(|bytes| decode(&bytes)).transpose()
}

/// A conversation. One row per conversation, keyed by its id.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Conversation {
    /// Id of the conversation: its first group.
    #[n(0)]
    pub id: GroupId,
    /// 1 direct, 2 group (protocol.md, conversation kinds).
    #[n(1)]
    pub kind: u16,
    /// Title of a group.
    #[n(2)]
    pub title: String,
    /// The other account of a direct conversation.
    #[n(3)]
    pub peer: Option<AccountId>,
    /// 0 active, 1 joining, 2 left, 3 removed.
    #[n(4)]
    pub standing: u8,
    /// All groups shown here; more than one only for direct conversations
    /// that both sides started at once.
    #[n(5)]
    pub groups: Vec<GroupId>,
    /// Highest position given out.
    #[n(6)]
    pub last_position: u64,
    /// The person has read up to here.
    #[n(7)]
    pub read_position: u64,
    /// Messages of others behind the read mark.
    #[n(8)]
    pub unread: u64,
    /// Time of the last thing that happened, Unix ms.
    #[n(9)]
    pub active_at: u64,
    /// Newest text.
    #[n(10)]
    pub last: Option<Last>,
    /// Deleted here: nothing of it is shown.
    #[n(11)]
    pub deleted: bool,
}

/// The newest text of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Last {
    #[n(0)]
    pub author: AccountId,
    #[n(1)]
    pub text: String,
    #[n(2)]
    pub at: u64,
    /// Group and own sequence number, for own messages.
    #[n(3)]
    pub own: Option<(GroupId, u64)>,
}

pub(crate) const STANDING_ACTIVE: u8 = 0;
pub(crate) const STANDING_JOINING: u8 = 1;
pub(crate) const STANDING_LEFT: u8 = 2;
pub(crate) const STANDING_REMOVED: u8 = 3;

pub(crate) const KIND_DIRECT: u16 = 1;
pub(crate) const KIND_GROUP: u16 = 2;

impl Conversation {
    /// The group that new messages are written to: the lowest of its ids.
    pub(crate) fn write_group(&self) -> GroupId {
        self.groups.iter().min().copied().unwrap_or(self.id)
    }
    pub(crate) fn load(r: &dyn Read, id: &GroupId) -> Result<Option<Self>, StoreError> {
        get(r, Key::of(Table::Conversations, &id.0))
    }
    pub(crate) fn save(&self, tx: &mut Tx<'_>) {
        tx.put(Key::of(Table::Conversations, &self.id.0), encode(self));
    }
    pub(crate) fn all(r: &dyn Read) -> Result<Vec<Self>, StoreError> {
        r.scan_table(Table::Conversations)?.iter().map(|b| decode(b)).collect()
    }
}

fn state_key(what: &str, id: &[u8]) -> Vec<u8> {
    [what.as_bytes(), &[0], id].concat()
}

/// The conversation that a group is shown in.
pub(crate) fn home(r: &dyn Read, group: &GroupId) -> Result<Option<GroupId>, StoreError> {
    Ok(r.get(Key::of(Table::State, &state_key("home", &group.0)))?.and_then(|b| GroupId::from_slice(&b)))
}

/// Shows a group in a conversation.
pub(crate) fn set_home(tx: &mut Tx<'_>, group: &GroupId, conversation: &GroupId) {
    tx.put(Key::of(Table::State, &state_key("home", &group.0)), conversation.0.to_vec());
}

/// The direct conversation with an account.
pub(crate) fn direct_with(r: &dyn Read, account: &AccountId) -> Result<Option<GroupId>, StoreError> {
    Ok(r.get(Key::of(Table::State, &state_key("direct", &account.0)))?.and_then(|b| GroupId::from_slice(&b)))
}

/// Records the direct conversation with an account.
pub(crate) fn set_direct(tx: &mut Tx<'_>, account: &AccountId, conversation: &GroupId) {
    tx.put(Key::of(Table::State, &state_key("direct", &account.0)), conversation.0.to_vec());
}

/// One row of a timeline, keyed by (conversation, position).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Entry {
    #[n(0)]
    pub id: EventId,
    #[n(1)]
    pub position: u64,
    #[n(2)]
    pub author: AccountId,
    /// Device and sequence number of the event; none for local notices.
    #[n(3)]
    pub device: Option<DeviceId>,
    #[n(4)]
    pub seq: u64,
    #[n(5)]
    pub group: GroupId,
    /// Author's time, bounded by ours, Unix ms.
    #[n(6)]
    pub at: u64,
    /// 0 text, 1 notice, 2 newer, 3 report, 4 file, 5 call.
    #[n(7)]
    pub kind: u8,
    /// The text, or the notice's code.
    #[n(8)]
    pub text: String,
    /// The notice's arguments. Accounts as `kith1…`, resolved to names when read.
    #[n(9)]
    pub args: Vec<String>,
    #[n(10)]
    pub reply_to: Option<EventId>,
    /// The file that it brought.
    #[n(11)]
    pub file: Option<Attachment>,
}

pub(crate) const ENTRY_TEXT: u8 = 0;
pub(crate) const ENTRY_NOTICE: u8 = 1;
pub(crate) const ENTRY_NEWER: u8 = 2;
/// The reason is its text; its arguments: author, quote, `open` or not.
pub(crate) const ENTRY_REPORT: u8 = 3;
/// Its text: the words beside the file.
pub(crate) const ENTRY_FILE: u8 = 4;
/// A call; its argument says which and what became of it.
pub(crate) const ENTRY_CALL: u8 = 5;

impl Entry {
    pub(crate) fn save(&self, tx: &mut Tx<'_>, conversation: &GroupId) {
        tx.put(Key::at(Table::Timeline, &conversation.0, &self.position.to_be_bytes()), encode(self));
        tx.put(
            Key::of(Table::State, &state_key("at", &self.id.0)),
            [conversation.0.as_slice(), &self.position.to_be_bytes()].concat(),
        );
        if self.file.is_some() {
            // Only its place: the row itself says which file.
            tx.put(
                Key::at(Table::State, &state_key("files", &conversation.0), &self.position.to_be_bytes()),
                Vec::new(),
            );
        }
    }
    /// Messages of a conversation with files, before a position, newest first.
    pub(crate) fn with_files(
        r: &dyn Read,
        conversation: &GroupId,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Self>, StoreError> {
        let places = r.scan(Range {
            table: Table::State,
            name: &state_key("files", &conversation.0),
            from: &[],
            to: Some(&before.to_be_bytes()),
            reverse: true,
            limit,
        })?;
        let mut out = Vec::with_capacity(places.len());
        for (place, _) in places {
            let Ok(place) = place.as_slice().try_into() else { continue };
            out.extend(Self::load(r, conversation, u64::from_be_bytes(place))?);
        }
        Ok(out)
    }
    pub(crate) fn load(
        r: &dyn Read,
        conversation: &GroupId,
        position: u64,
    ) -> Result<Option<Self>, StoreError> {
        get(r, Key::at(Table::Timeline, &conversation.0, &position.to_be_bytes()))
    }
    /// Takes the row away.
    pub(crate) fn delete(&self, tx: &mut Tx<'_>, conversation: &GroupId) {
        tx.delete(Key::at(Table::Timeline, &conversation.0, &self.position.to_be_bytes()));
        tx.delete(Key::of(Table::State, &state_key("at", &self.id.0)));
        if self.file.is_some() {
            tx.delete(Key::at(
                Table::State,
                &state_key("files", &conversation.0),
                &self.position.to_be_bytes(),
            ));
        }
    }
    /// Where an event is shown, if it is.
    pub(crate) fn place(r: &dyn Read, id: &EventId) -> Result<Option<(GroupId, u64)>, StoreError> {
        Ok(r.get(Key::of(Table::State, &state_key("at", &id.0)))?.and_then(|b| {
            let (conversation, position) = b.split_at_checked(32)?;
            Some((GroupId::from_slice(conversation)?, u64::from_be_bytes(position.try_into().ok()?)))
        }))
    }
    /// Rows of a conversation in `[from, to)`.
    pub(crate) fn range(
        r: &dyn Read,
        conversation: &GroupId,
        from: u64,
        to: u64,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<Self>, StoreError> {
        r.scan(Range {
            table: Table::Timeline,
            name: &conversation.0,
            from: &from.to_be_bytes(),
            to: Some(&to.to_be_bytes()),
            reverse,
            limit,
        })?
        .iter()
        .map(|(_, b)| decode(b))
        .collect()
    }
}

/// What one relay said when it was asked to keep something.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct RelayWord {
    #[n(0)]
    pub relay: RelayId,
    /// The relay's name at that time.
    #[n(1)]
    pub name: String,
    /// It signed that it keeps it until then, Unix ms.
    #[n(2)]
    pub until: Option<u64>,
    /// It refused: why, as a sentence.
    #[n(3)]
    pub problem: Option<String>,
}

/// What a relay's receipts are worth. One that is not listed stands well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum RelayStanding {
    /// It has been away for so long that others take its place.
    #[n(0)]
    Silent,
    /// It does not have what it signed for.
    #[n(1)]
    Lied,
}

/// Relays that do not stand well.
pub(crate) type RelayStandings = std::collections::BTreeMap<RelayId, RelayStanding>;

/// Relays that do not stand well.
pub(crate) fn relay_standings(r: &dyn Read) -> Result<RelayStandings, StoreError> {
    let rows: Option<Vec<(RelayId, RelayStanding)>> =
        get(r, Key::of(Table::State, &state_key("standings", &[])))?;
    Ok(rows.into_iter().flatten().collect())
}

/// Keeps which relays do not stand well.
pub(crate) fn set_relay_standings(tx: &mut Tx<'_>, standings: &RelayStandings) {
    let rows: Vec<(RelayId, RelayStanding)> = standings.iter().map(|(id, s)| (*id, *s)).collect();
    tx.put(Key::of(Table::State, &state_key("standings", &[])), encode(&rows));
}

/// What became of one own message, keyed by (group, own seq).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Sent {
    #[n(0)]
    pub event: EventId,
    /// State it was written for: its audience.
    #[n(1)]
    pub state: StateId,
    /// What relays have said of it.
    #[n(2)]
    pub words: Vec<RelayWord>,
    /// Why it failed, as a sentence.
    #[n(3)]
    pub problem: Option<String>,
}

impl Sent {
    /// Copies that count: who has one, and until when.
    pub(crate) fn kept<'a>(
        &'a self,
        standings: &'a RelayStandings,
    ) -> impl Iterator<Item = (RelayId, u64)> + 'a {
        self.words
            .iter()
            .filter(move |c| !standings.contains_key(&c.relay))
            .filter_map(|c| Some((c.relay, c.until?)))
    }
    /// Something may come of it without this device: some relay has it that is
    /// only away, or even there.
    pub(crate) fn stored(&self, standings: &RelayStandings) -> bool {
        self.words.iter().any(|c| c.until.is_some() && standings.get(&c.relay) != Some(&RelayStanding::Lied))
    }
    /// Notes what a relay has said.
    pub(crate) fn note(&mut self, word: RelayWord) {
        self.words.retain(|w| w.relay != word.relay);
        self.words.push(word);
    }
    pub(crate) fn load(r: &dyn Read, group: &GroupId, seq: u64) -> Result<Option<Self>, StoreError> {
        get(r, Key::at(Table::Delivery, &group.0, &seq.to_be_bytes()))
    }
    pub(crate) fn save(&self, tx: &mut Tx<'_>, group: &GroupId, seq: u64) {
        tx.put(Key::at(Table::Delivery, &group.0, &seq.to_be_bytes()), encode(self));
    }
    /// Highest sequence number of own messages of a group.
    pub(crate) fn last_seq(r: &dyn Read, group: &GroupId) -> Result<u64, StoreError> {
        let range =
            Range { table: Table::Delivery, name: &group.0, from: &[], to: None, reverse: true, limit: 1 };
        Ok(r.scan(range)?
            .first()
            .and_then(|(order, _)| order.as_slice().try_into().ok())
            .map_or(0, u64::from_be_bytes))
    }
    /// Own messages of a group with seq in `(after, up_to]`.
    pub(crate) fn range(
        r: &dyn Read,
        group: &GroupId,
        after: u64,
        up_to: u64,
        limit: usize,
    ) -> Result<Vec<Self>, StoreError> {
        r.scan(Range {
            table: Table::Delivery,
            name: &group.0,
            from: &after.saturating_add(1).to_be_bytes(),
            to: Some(&up_to.saturating_add(1).to_be_bytes()),
            reverse: true,
            limit,
        })?
        .iter()
        .map(|(_, b)| decode(b))
        .collect()
    }
}

/// Devices that a message at a state is meant for, oneself left out.
pub(crate) fn audience(
    r: &dyn Read,
    group: &GroupId,
    state: &StateId,
) -> Result<Vec<(DeviceId, AccountId)>, StoreError> {
    Ok(get(r, Key::of(Table::State, &state_key("aud", &[group.0, state.0].concat())))?.unwrap_or_default())
}

/// Records a state's audience.
pub(crate) fn set_audience(
    tx: &mut Tx<'_>,
    group: &GroupId,
    state: &StateId,
    devices: &Vec<(DeviceId, AccountId)>,
) {
    tx.put(Key::of(Table::State, &state_key("aud", &[group.0, state.0].concat())), encode(devices));
}

/// How far one device has come with own messages of a group.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Progress {
    #[n(0)]
    pub device: DeviceId,
    /// Own events up to here are on the device.
    #[n(1)]
    pub acked: u64,
    #[n(2)]
    pub acked_at: u64,
    /// Own events up to here were read by its person.
    #[n(3)]
    pub read: u64,
    #[n(4)]
    pub read_at: u64,
}

/// Progress of all devices of a group.
pub(crate) fn progress(r: &dyn Read, group: &GroupId) -> Result<Vec<Progress>, StoreError> {
    Ok(get(r, Key::of(Table::State, &state_key("acks", &group.0)))?.unwrap_or_default())
}

/// Records progress.
pub(crate) fn set_progress(tx: &mut Tx<'_>, group: &GroupId, rows: &Vec<Progress>) {
    tx.put(Key::of(Table::State, &state_key("acks", &group.0)), encode(rows));
}

/// A group as readers see it, copied from the engine when its tip changes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct GroupInfo {
    #[n(0)]
    pub epoch: u64,
    #[n(1)]
    pub tip: StateId,
    #[n(2)]
    pub members: Vec<MemberInfo>,
    #[n(3)]
    pub relays: Vec<String>,
    /// What this account may do in it: bits of [`crate::rights`].
    #[n(4)]
    #[cbor(default)]
    pub may: u8,
    /// The others have gone on, and this device looks for its way back.
    #[n(5)]
    #[cbor(default)]
    pub behind: bool,
    /// Its title, empty for direct groups.
    #[n(6)]
    #[cbor(default)]
    pub title: String,
}

/// One device of a group.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct MemberInfo {
    #[n(0)]
    pub account: AccountId,
    #[n(1)]
    pub device: DeviceId,
    /// 0 owner, 1 admin, 2 member.
    #[n(2)]
    pub role: u8,
    #[n(3)]
    pub seen: bool,
    /// What this account may do with it: bits of [`crate::rights`].
    #[n(4)]
    #[cbor(default)]
    pub may: u8,
}

impl MemberInfo {
    pub(crate) fn role(&self) -> Role {
        match self.role {
            0 => Role::Owner,
            1 => Role::Admin,
            _ => Role::Member,
        }
    }
}

impl GroupInfo {
    pub(crate) fn load(r: &dyn Read, group: &GroupId) -> Result<Option<Self>, StoreError> {
        get(r, Key::of(Table::State, &state_key("info", &group.0)))
    }
    pub(crate) fn save(&self, tx: &mut Tx<'_>, group: &GroupId) {
        tx.put(Key::of(Table::State, &state_key("info", &group.0)), encode(self));
    }
}

/// "This account is to go, or to be a plain member": an order that is known.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Ordered {
    #[n(0)]
    pub target: AccountId,
    #[n(1)]
    pub issuer: AccountId,
    /// It takes a role away, not the membership.
    #[n(2)]
    pub demotes: bool,
}

impl Ordered {
    /// Orders remembered for one group; the oldest go.
    const MAX: usize = 256;

    pub(crate) fn all(r: &dyn Read, group: &GroupId) -> Result<Vec<Self>, StoreError> {
        Ok(get(r, Key::of(Table::State, &state_key("ordered", &group.0)))?.unwrap_or_default())
    }
    pub(crate) fn save_all(tx: &mut Tx<'_>, group: &GroupId, mut all: Vec<Self>) {
        all.drain(..all.len().saturating_sub(Self::MAX));
        tx.put(Key::of(Table::State, &state_key("ordered", &group.0)), encode(&all));
    }
}

/// How a device that has fallen behind in a group looks for its way back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Asking {
    /// Accounts that were asked to let it in again.
    #[n(0)]
    pub asked: Vec<AccountId>,
    /// When the next ones are, Unix ms.
    #[n(1)]
    pub next_at: u64,
}

impl Asking {
    /// Accounts remembered; more than these need not be counted.
    const MAX: usize = 1_000;

    pub(crate) fn load(r: &dyn Read, group: &GroupId) -> Result<Self, StoreError> {
        Ok(get(r, Key::of(Table::State, &state_key("asking", &group.0)))?.unwrap_or_default())
    }
    pub(crate) fn note(&mut self, account: AccountId) {
        if self.asked.len() < Self::MAX && !self.asked.contains(&account) {
            self.asked.push(account);
        }
    }
    pub(crate) fn save(&self, tx: &mut Tx<'_>, group: &GroupId) {
        tx.put(Key::of(Table::State, &state_key("asking", &group.0)), encode(self));
    }
    pub(crate) fn delete(tx: &mut Tx<'_>, group: &GroupId) {
        tx.delete(Key::of(Table::State, &state_key("asking", &group.0)));
    }
}

/// An own report to a group's admins.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Told {
    #[n(0)]
    pub event: EventId,
    #[n(1)]
    pub at: u64,
}

impl Told {
    /// Reports remembered for one group; the oldest go.
    const MAX: usize = 256;

    pub(crate) fn all(r: &dyn Read, group: &GroupId) -> Result<Vec<Self>, StoreError> {
        Ok(get(r, Key::of(Table::State, &state_key("told", &group.0)))?.unwrap_or_default())
    }
    pub(crate) fn save_all(tx: &mut Tx<'_>, group: &GroupId, mut all: Vec<Self>) {
        all.drain(..all.len().saturating_sub(Self::MAX));
        tx.put(Key::of(Table::State, &state_key("told", &group.0)), encode(&all));
    }
}

/// A report that came from a member, and where it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Reported {
    #[n(0)]
    pub reporter: AccountId,
    #[n(1)]
    pub event: EventId,
    /// When it came, Unix ms.
    #[n(2)]
    pub at: u64,
    /// Its row in the conversation.
    #[n(3)]
    pub position: u64,
    /// Nobody has settled it here.
    #[n(4)]
    pub open: bool,
}

impl Reported {
    /// Reports remembered for one group; the oldest go.
    const MAX: usize = 512;

    pub(crate) fn all(r: &dyn Read, group: &GroupId) -> Result<Vec<Self>, StoreError> {
        Ok(get(r, Key::of(Table::State, &state_key("reported", &group.0)))?.unwrap_or_default())
    }
    pub(crate) fn save_all(tx: &mut Tx<'_>, group: &GroupId, mut all: Vec<Self>) {
        all.drain(..all.len().saturating_sub(Self::MAX));
        tx.put(Key::of(Table::State, &state_key("reported", &group.0)), encode(&all));
    }
}

/// The accounts that are admin or owner at a group's tip.
pub(crate) fn admins(r: &dyn Read, group: &GroupId) -> Result<Vec<AccountId>, StoreError> {
    Ok(get(r, Key::of(Table::State, &state_key("admins", &group.0)))?.unwrap_or_default())
}

/// Records a group's admins.
pub(crate) fn set_admins(tx: &mut Tx<'_>, group: &GroupId, admins: &Vec<AccountId>) {
    tx.put(Key::of(Table::State, &state_key("admins", &group.0)), encode(admins));
}

/// The first answer given to an idempotency key.
pub(crate) fn answered(r: &dyn Read, key: &str) -> Result<Option<(EventId, u64)>, StoreError> {
    get(r, Key::of(Table::Seen, &state_key("key", key.as_bytes())))
}

/// Remembers the answer to an idempotency key.
pub(crate) fn set_answered(tx: &mut Tx<'_>, key: &str, event: EventId, position: u64) {
    tx.put(Key::of(Table::Seen, &state_key("key", key.as_bytes())), encode(&(event, position)));
}

/// An own text that waits to be said: its group has to be listened to first, or
/// its author was alone in a group to which others were being added. It is sent
/// anew then.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Early {
    #[n(0)]
    pub group: GroupId,
    #[n(1)]
    pub event: EventId,
    /// The request's idempotency key.
    #[n(2)]
    pub key: String,
    /// Why it waits no longer, as a sentence, until its author decides.
    #[n(3)]
    pub problem: Option<String>,
    /// The state for whose members it was written; `None`: for those who come.
    #[n(4)]
    pub at: Option<StateId>,
}

impl Early {
    const ROW: Key<'static> = Key { table: Table::State, name: b"early", order: b"" };

    pub(crate) fn all(r: &dyn Read) -> Result<Vec<Self>, StoreError> {
        Ok(get(r, Self::ROW)?.unwrap_or_default())
    }
    pub(crate) fn save_all(tx: &mut Tx<'_>, all: &Vec<Self>) {
        tx.put(Self::ROW, encode(all));
    }
    pub(crate) fn of(r: &dyn Read, event: &EventId) -> Result<Option<Self>, StoreError> {
        Ok(Self::all(r)?.into_iter().find(|early| early.event == *event))
    }
}

/// Something that still has to leave this node, keyed by a local number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Outgoing {
    #[n(0)]
    pub number: u64,
    #[n(1)]
    pub to: To,
    /// Exact bytes; a retry sends the same.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub object: Vec<u8>,
    #[n(3)]
    pub created_at: u64,
}

/// Where an outgoing object goes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum To {
    /// To the members of a group: `seq` for own events (delivery is shown),
    /// none for commits, marks and orders.
    #[n(0)]
    Group {
        #[n(0)]
        group: GroupId,
        #[n(1)]
        state: StateId,
        #[n(2)]
        topic: TopicId,
        #[n(3)]
        seq: Option<u64>,
    },
    /// To the inbox of one device; the object is already sealed to it.
    #[n(1)]
    Inbox {
        #[n(0)]
        account: AccountId,
        #[n(1)]
        device: DeviceId,
    },
}

impl Outgoing {
    pub(crate) fn save(&self, tx: &mut Tx<'_>) {
        tx.put(Key::at(Table::Outbox, &[], &self.number.to_be_bytes()), encode(self));
    }
    pub(crate) fn delete(tx: &mut Tx<'_>, number: u64) {
        tx.delete(Key::at(Table::Outbox, &[], &number.to_be_bytes()));
    }
    /// Forgets which relays keep a row.
    pub(crate) fn delete_kept(tx: &mut Tx<'_>, number: u64) {
        tx.delete(Key::of(Table::State, &state_key("kept", &number.to_be_bytes())));
    }
    /// The relays that keep a row, and until when; none while too few do.
    pub(crate) fn kept(r: &dyn Read, number: u64) -> Result<Vec<(RelayId, u64)>, StoreError> {
        Ok(get(r, Key::of(Table::State, &state_key("kept", &number.to_be_bytes())))?.unwrap_or_default())
    }
    /// Notes which relays keep a row.
    pub(crate) fn set_kept(tx: &mut Tx<'_>, number: u64, at: &Vec<(RelayId, u64)>) {
        tx.put(Key::of(Table::State, &state_key("kept", &number.to_be_bytes())), encode(at));
    }
    pub(crate) fn load(r: &dyn Read, number: u64) -> Result<Option<Self>, StoreError> {
        get(r, Key::at(Table::Outbox, &[], &number.to_be_bytes()))
    }
    /// All rows from `from` on, ascending.
    pub(crate) fn from(r: &dyn Read, from: u64, limit: usize) -> Result<Vec<Self>, StoreError> {
        r.scan(Range {
            table: Table::Outbox,
            name: &[],
            from: &from.to_be_bytes(),
            to: None,
            reverse: false,
            limit,
        })?
        .iter()
        .map(|(_, b)| decode(b))
        .collect()
    }
}

/// How far a topic was read at a relay.
pub(crate) fn cursor(r: &dyn Read, relay: &RelayId, topic: &TopicId) -> Result<u64, StoreError> {
    Ok(r.get(Key::of(Table::State, &state_key("cursor", &[relay.0, topic.0].concat())))?
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_be_bytes))
}

/// Moves a cursor.
pub(crate) fn set_cursor(tx: &mut Tx<'_>, relay: &RelayId, topic: &TopicId, next: u64) {
    tx.put(
        Key::of(Table::State, &state_key("cursor", &[relay.0, topic.0].concat())),
        next.to_be_bytes().to_vec(),
    );
}

/// The person's settings.
pub(crate) fn settings(r: &dyn Read) -> Result<view::Settings, StoreError> {
    let row: Option<(bool, bool, bool)> = get(r, Key::of(Table::Settings, b"settings"))?;
    Ok(row.map_or_else(view::Settings::default, |(read_receipts, typing, direct)| view::Settings {
        read_receipts,
        typing,
        direct,
    }))
}

/// Keeps the person's settings.
pub(crate) fn set_settings(tx: &mut Tx<'_>, s: &view::Settings) {
    tx.put(Key::of(Table::Settings, b"settings"), encode(&(s.read_receipts, s.typing, s.direct)));
}
