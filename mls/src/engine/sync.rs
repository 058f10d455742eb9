//! What a proven member lacks: commits on the way to the tip, orders, marks,
//! and the events of its audience.

use std::collections::{BTreeMap, BTreeSet};

use kith_store::{Key, Read, Table};
use kith_wire::group::{ChainEnd, Hello, kinds, mark_id, order_id};
use kith_wire::ids::{AccountId, CommitId, DeviceId, GroupId, StateId};
use kith_wire::object::Versioned as _;
use kith_wire::signed::Raw;
use sha2::{Digest, Sha256};

use super::ctx::Session;
use crate::EngineError;
use crate::rows::{self, EventRow, GroupRow, State, StateRow};

/// Heads in a hello.
const HEADS_MAX: usize = 64;
/// States back from the tip that an answer starts at, at most.
const BACK_MAX: usize = 1024;
/// Commits that somebody is told of who is out, so as to see it.
const STRANDED_MAX: usize = 64;
/// Marks that are given again to somebody who has others of the same device.
const REVIEW_MARKS: u64 = 64;
/// The same for somebody on a branch that has lost: who came back there was
/// told to look for no marks before, and those may be what decides.
const STRANDED_MARKS: u64 = 256;
/// Rows looked at per device in one answer.
const SCAN_MAX: usize = 1024;

fn orders_digest(read: &dyn Read, gid: &GroupId) -> Result<[u8; 32], EngineError> {
    let mut ids = BTreeSet::new();
    for order in rows::orders(read, gid)? {
        if let Ok(raw) = Raw::from_bytes(&order) {
            ids.insert(order_id(&raw));
        }
    }
    let mut hash = Sha256::new();
    for id in ids {
        hash.update(id.0);
    }
    Ok(hash.finalize().into())
}

pub(super) fn hello(
    read: &dyn Read,
    gid: GroupId,
    session: Option<&Session>,
) -> Result<Vec<u8>, EngineError> {
    let states = States { read, gid, session, known: BTreeMap::new() };
    let row = rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?;
    let mut heads: Vec<StateId> = if row.contested {
        // The ends of all branches: their commits carry votes.
        let mut ends = lines(&states, row.anchor)?;
        ends.retain(|_, line| line.children.is_empty());
        let mut ends: Vec<(u64, StateId)> = ends.into_iter().map(|(id, line)| (line.epoch, id)).collect();
        ends.sort_unstable();
        ends.into_iter().rev().map(|(_, id)| id).filter(|s| *s != row.tip).take(HEADS_MAX * 3 / 4).collect()
    } else {
        Vec::new()
    };
    ancestors(&states, row.tip, &mut heads)?;
    Ok(whole(read, gid, &row, heads)?.to_bytes())
}

/// All that is known here, with the heads given.
fn whole(read: &dyn Read, gid: GroupId, row: &GroupRow, heads: Vec<StateId>) -> Result<Hello, EngineError> {
    let (mut vv, mut marks) = (BTreeMap::new(), BTreeMap::new());
    vv.insert(row.me, row.seq);
    marks.insert(row.me, chain_end(read, &gid, &row.me, row.mark_n)?);
    for device in rows::devices(read, &gid)?.into_iter().take(kith_wire::limits::DEVICES_PER_GROUP_MAX - 1) {
        let Some(known) = rows::device(read, &gid, &device)? else { continue };
        if let Some(seq) = known.events.contiguous() {
            vv.insert(device, seq);
        }
        if let Some(n) = known.chain.contiguous() {
            marks.insert(device, chain_end(read, &gid, &device, n)?);
        }
    }
    Ok(Hello {
        kind: kinds::SYNC_HELLO,
        version: 1,
        gid,
        anchor: row.anchor,
        tip: row.tip,
        heads,
        vv,
        orders: orders_digest(read, &gid)?,
        marks,
    })
}

/// Adds ever sparser ancestors of a state, so that a member far ahead finds
/// common ground.
fn ancestors(states: &States<'_>, from: StateId, heads: &mut Vec<StateId>) -> Result<(), EngineError> {
    let mut at = from;
    let mut next = 1usize;
    for step in 0..BACK_MAX {
        if step == next {
            next *= 2;
            if !heads.contains(&at) {
                heads.push(at);
            }
        }
        match states.line(&at)?.and_then(|line| line.parent) {
            Some(parent) if heads.len() < HEADS_MAX - 1 => at = parent,
            _ => break,
        }
    }
    if at != from && !heads.contains(&at) {
        heads.push(at);
    }
    Ok(())
}

/// A hello to a device that is out here and, by its own hello, stands where
/// nobody here has been: it may know a branch that wins, and be the only one to
/// tell. It learns nothing by it that it does not know: the last state that
/// still held it, and of each chain no more than it has itself. `None`: it is
/// in, or never was, or stands where it is known to.
pub(super) fn hello_back(
    read: &dyn Read,
    gid: GroupId,
    peer: DeviceId,
    theirs: &[u8],
    session: Option<&Session>,
) -> Result<Option<Vec<u8>>, EngineError> {
    let theirs = Hello::from_bytes(theirs)?;
    let row = rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?;
    let mut states = States { read, gid, session, known: BTreeMap::new() };
    if theirs.gid != gid || states.line(&theirs.tip)?.is_some() {
        return Ok(None);
    }
    let mut last = row.tip;
    for step in 0.. {
        let Some(state) = states.get(&last)?.filter(|_| step < BACK_MAX) else { return Ok(None) };
        if state.device(&peer).is_some() {
            break;
        }
        let Some(parent) = state.row.parent else { return Ok(None) };
        last = parent;
    }
    if last == row.tip {
        return Ok(None);
    }
    let mut heads = Vec::new();
    ancestors(&states, last, &mut heads)?;
    let mut hello = Hello { tip: last, ..whole(read, gid, &row, heads)? };
    hello.vv.retain(|device, _| theirs.vv.contains_key(device));
    hello.marks.retain(|device, _| theirs.marks.contains_key(device));
    for (device, seq) in hello.vv.iter_mut().filter(|(d, _)| **d != peer) {
        *seq = theirs.vv.get(device).map_or(*seq, |said| *said.min(seq));
    }
    for (device, end) in hello.marks.iter_mut().filter(|(d, _)| **d != peer) {
        if let Some(said) = theirs.marks.get(device).filter(|said| said.n < end.n) {
            *end = chain_end(read, &gid, device, said.n)?;
        }
    }
    Ok(Some(hello.to_bytes()))
}

/// A device's chain up to a number, as it is known here.
fn chain_end(read: &dyn Read, gid: &GroupId, device: &DeviceId, n: u64) -> Result<ChainEnd, EngineError> {
    let name = rows::pair(gid, &device.0);
    let mut tag = [0; 16];
    if let Some((_, mark)) = rows::numbered_up_to(read, Table::Marks, &name, n)? {
        let id = mark_id(&Raw::from_bytes(&mark)?);
        tag.copy_from_slice(&id.0[..16]);
    }
    Ok(ChainEnd { n, tag })
}

/// Objects for one answer, until the budget is used up.
struct Answer {
    objects: Vec<Vec<u8>>,
    left: usize,
}

impl Answer {
    /// Adds an object; false when there is no room. The first always fits.
    fn add(&mut self, object: Vec<u8>) -> bool {
        if object.len() > self.left && !self.objects.is_empty() {
            self.left = 0;
            return false;
        }
        self.left = self.left.saturating_sub(object.len());
        self.objects.push(object);
        true
    }
}

pub(super) fn answer(
    read: &dyn Read,
    gid: GroupId,
    peer: DeviceId,
    hello: &[u8],
    max_bytes: usize,
    session: Option<&Session>,
) -> Result<Vec<Vec<u8>>, EngineError> {
    let hello = Hello::from_bytes(hello)?;
    if hello.gid != gid {
        return Err(EngineError::UnknownGroup);
    }
    let row = rows::group(read, &gid)?.ok_or(EngineError::UnknownGroup)?;
    let mut states = States { read, gid, session, known: BTreeMap::new() };
    let mut out = Answer { objects: Vec::new(), left: max_bytes };
    let has: BTreeSet<StateId> = hello.heads.iter().copied().chain([hello.tip, hello.anchor]).collect();
    let here = states.get(&row.tip)?.is_some_and(|s| s.device(&peer).is_some());
    let stranded = if row.contested && !here { stranded(&mut states, row.tip, peer, &has)? } else { None };
    let account = commits(&mut states, row.tip, peer, &has, stranded, &mut out)?;
    // Where what it can follow begins. Who is in judges by what all others judge
    // by: orders that were given where it was not, and what was known there of
    // those whom they are about, count for it as well.
    let since = match here {
        true => Some(states.line(&hello.anchor)?.map_or(0, |line| line.epoch)),
        false => None,
    };
    if row.contested && account.is_some() {
        let about = match (stranded, since) {
            (Some(_), _) => Branches::Stranded,
            (None, Some(epoch)) => Branches::Since(epoch),
            (None, None) => Branches::Own,
        };
        branches(&mut states, row.anchor, peer, &has, about, &mut out)?;
    }
    let Some(account) = account else { return Ok(Vec::new()) };
    if hello.orders != orders_digest(read, &gid)? {
        for order in rows::orders(read, &gid)? {
            if !out.add(order) {
                return Ok(out.objects);
            }
        }
    }
    let mut devices = rows::devices(read, &gid)?;
    if !devices.contains(&row.me) {
        devices.push(row.me);
    }
    for device in devices.iter().filter(|d| **d != peer) {
        // Who signed two objects under one number may have shown each to
        // others: the proof goes to everybody.
        for object in proof(read, &gid, device)? {
            if !out.add(object) {
                return Ok(out.objects);
            }
        }
        let from = match hello.marks.get(device) {
            Some(end) if stranded.is_some() => end.n.saturating_sub(STRANDED_MARKS),
            Some(end) if chain_end(read, &gid, device, end.n)?.tag == end.tag => end.n.saturating_add(1),
            // It has other marks of that device than we: somewhere before, it
            // signed two under one number.
            Some(end) => end.n.saturating_sub(REVIEW_MARKS),
            None => 0,
        };
        for (_, mark) in rows::numbered(read, Table::Marks, &rows::pair(&gid, &device.0), from, SCAN_MAX)? {
            let wanted = stranded.is_some() || mark_is_for(&mut states, &mark, &account, since)?;
            if wanted && !out.add(mark) {
                return Ok(out.objects);
            }
        }
    }
    if !own_words(read, &gid, peer, &hello, &mut out)? {
        return Ok(out.objects);
    }
    for device in devices.iter().filter(|d| **d != peer) {
        if !events(&mut states, *device, &account, hello.vv.get(device).copied(), &mut out)? {
            break;
        }
    }
    Ok(out.objects)
}

/// What the peer itself has said beyond what it remembers: its store is an older
/// copy. False when there is no more room.
fn own_words(
    read: &dyn Read,
    gid: &GroupId,
    peer: DeviceId,
    hello: &Hello,
    out: &mut Answer,
) -> Result<bool, EngineError> {
    // Or two copies of its store have spoken: it stops counting on its own word.
    for mark in proof(read, gid, &peer)? {
        if !out.add(mark) {
            return Ok(false);
        }
    }
    let name = rows::pair(gid, &peer.0);
    let known = rows::device(read, gid, &peer)?.map_or(0, |d| d.mark_n);
    let said = hello.marks.get(&peer).map_or(known, |end| end.n);
    if said < known {
        for (_, mark) in rows::numbered(read, Table::Marks, &name, said.saturating_add(1), SCAN_MAX)? {
            if !out.add(mark) {
                return Ok(false);
            }
        }
    }
    let last = rows::numbered_down(read, Table::Events, &name, 1)?.into_iter().next();
    if let (Some((seq, value)), Some(said)) = (last, hello.vv.get(&peer))
        && seq > *said
    {
        return Ok(out.add(rows::decode::<EventRow>(&value)?.bare));
    }
    Ok(true)
}

/// The account of somebody who is out here, but in on a branch that has lost:
/// it must be able to see that.
fn stranded(
    states: &mut States<'_>,
    tip: StateId,
    peer: DeviceId,
    has: &BTreeSet<StateId>,
) -> Result<Option<AccountId>, EngineError> {
    let mut elsewhere = BTreeMap::new();
    for head in has {
        if let Some(member) = states.get(head)?.and_then(|s| s.device(&peer)) {
            elsewhere.insert(*head, member.account);
        }
    }
    let mut at = Some(tip);
    for _ in 0..BACK_MAX {
        let Some(id) = at.filter(|_| !elsewhere.is_empty()) else { break };
        elsewhere.remove(&id);
        at = states.get(&id)?.and_then(|s| s.row.parent);
    }
    Ok(elsewhere.into_values().next())
}

/// The two marks that show that a device signed two under one number.
fn proof(read: &dyn Read, gid: &GroupId, device: &DeviceId) -> Result<Vec<Vec<u8>>, EngineError> {
    let Some(mute) = rows::device(read, gid, device)?.and_then(|d| d.mute) else { return Ok(Vec::new()) };
    let name = rows::pair(gid, &device.0);
    let number = mute.to_be_bytes();
    let one = read.get(Key::at(Table::Marks, &name, &number))?;
    let other = read.get(Key::of(Table::Marks, &rows::rival(gid, device)))?;
    Ok(one.into_iter().chain(other).collect())
}

/// Resolved states of one answer.
struct States<'a> {
    read: &'a dyn Read,
    gid: GroupId,
    /// What is loaded of the group.
    session: Option<&'a Session>,
    known: BTreeMap<StateId, Option<State>>,
}

impl States<'_> {
    fn get(&mut self, id: &StateId) -> Result<Option<&State>, EngineError> {
        if let Some(state) = self.session.and_then(|s| s.states.get(id)) {
            return Ok(Some(&**state));
        }
        if !self.known.contains_key(id) {
            let state = rows::state(self.read, &self.gid, id)?;
            self.known.insert(*id, state);
        }
        Ok(self.known.get(id).and_then(Option::as_ref))
    }
    /// Where a state lies in the known history.
    fn line(&self, id: &StateId) -> Result<Option<Line>, EngineError> {
        if let Some(state) = self.session.and_then(|s| s.states.get(id)) {
            return Ok(Some(Line::of(&state.row)));
        }
        Ok(rows::state_row(self.read, &self.gid, id)?.as_ref().map(Line::of))
    }
}

/// Adds the commits that the peer lacks, oldest first; a device that was
/// removed gets the way to its removal and no further, unless it is `stranded`
/// on a branch that has lost. Answers the peer's account, or `None` if it is in no state of the chain looked at.
fn commits(
    states: &mut States<'_>,
    tip: StateId,
    peer: DeviceId,
    has: &BTreeSet<StateId>,
    stranded: Option<AccountId>,
    out: &mut Answer,
) -> Result<Option<AccountId>, EngineError> {
    let mut account = stranded;
    let mut way = Vec::new();
    let mut at = tip;
    let mut common = false;
    for _ in 0..BACK_MAX {
        let Some(state) = states.get(&at)? else { break };
        if let Some(member) = state.device(&peer) {
            account = account.or(Some(member.account));
        }
        let (parent, commit) = (state.row.parent, state.row.commit);
        common = common || has.contains(&at);
        if common && account.is_some() {
            break;
        }
        let (Some(parent), Some(commit)) = (parent, commit) else { break };
        if !common {
            way.push((parent, commit));
        }
        at = parent;
    }
    if account.is_none() {
        return Ok(None);
    }
    let most = if stranded.is_some() { STRANDED_MAX } else { usize::MAX };
    for (parent, commit) in way.into_iter().rev().take(most) {
        let was_in = states.get(&parent)?.is_some_and(|s| s.device(&peer).is_some());
        if !was_in && stranded.is_none() {
            continue;
        }
        if !out.add(rows::envelope(states.read, &commit)?) {
            break;
        }
    }
    Ok(account)
}

/// One state of the known history, as sync sees it.
struct Line {
    parent: Option<StateId>,
    commit: Option<CommitId>,
    epoch: u64,
    children: Vec<StateId>,
}

impl Line {
    fn of(row: &StateRow) -> Self {
        let children = row.children.iter().map(|child| child.state).collect();
        Self { parent: row.parent, commit: row.commit, epoch: row.epoch, children }
    }
}

/// All states that are known from the anchor on.
fn lines(states: &States<'_>, anchor: StateId) -> Result<BTreeMap<StateId, Line>, EngineError> {
    let mut out = BTreeMap::new();
    let mut open = vec![anchor];
    while let Some(id) = open.pop() {
        let Some(line) = states.line(&id)? else { continue };
        open.extend(&line.children);
        out.insert(id, line);
    }
    Ok(out)
}

/// Which commits of other branches somebody gets.
#[derive(Clone, Copy)]
enum Branches {
    /// Those that were made where it was a member.
    Own,
    /// All that left what it knows in this epoch, its anchor's, or later.
    Since(u64),
    /// As `Own`, and some from where it is out: the first votes there may lie on
    /// a branch that has lost.
    Stranded,
}

/// Adds the commits of other branches that the peer lacks, parents first: none
/// that leads to a state of its hello.
fn branches(
    states: &mut States<'_>,
    anchor: StateId,
    peer: DeviceId,
    has: &BTreeSet<StateId>,
    about: Branches,
    out: &mut Answer,
) -> Result<(), EngineError> {
    let lines = lines(states, anchor)?;
    let mut had: BTreeSet<StateId> = BTreeSet::new();
    for head in has {
        let mut at = Some(*head);
        while let Some(id) = at.filter(|id| lines.contains_key(id) && had.insert(*id)) {
            at = lines.get(&id).and_then(|line| line.parent);
        }
    }
    let mut lacks: Vec<(u64, StateId, CommitId, StateId)> = Vec::new();
    for (id, line) in lines.iter().filter(|(id, _)| !had.contains(id)) {
        if let (Some(parent), Some(commit)) = (line.parent, line.commit) {
            lacks.push((line.epoch, parent, commit, *id));
        }
    }
    lacks.sort_unstable();
    let mut follows = had;
    follows.retain(|id| match about {
        Branches::Since(epoch) => lines.get(id).is_some_and(|line| line.epoch >= epoch),
        Branches::Own | Branches::Stranded => false,
    });
    let mut beyond = 0;
    for (_, parent, commit, child) in lacks {
        if follows.contains(&parent) {
            follows.insert(child);
        } else if states.get(&parent)?.is_none_or(|s| s.device(&peer).is_none()) {
            beyond += 1;
            if !matches!(about, Branches::Stranded) || beyond > STRANDED_MAX {
                continue;
            }
        }
        if !out.add(rows::envelope(states.read, &commit)?) {
            break;
        }
    }
    Ok(())
}

/// Whether a mark was given where the account is in, or since an epoch.
fn mark_is_for(
    states: &mut States<'_>,
    mark: &[u8],
    account: &AccountId,
    since: Option<u64>,
) -> Result<bool, EngineError> {
    let at = rows::mark_at(mark)?;
    let wanted = |s: &State| s.has_account(account) || since.is_some_and(|epoch| s.row.epoch >= epoch);
    Ok(states.get(&at)?.is_some_and(wanted))
}

/// Adds events of one device that are for the account; false when there is
/// no more room.
fn events(
    states: &mut States<'_>,
    device: DeviceId,
    account: &AccountId,
    has: Option<u64>,
    out: &mut Answer,
) -> Result<bool, EngineError> {
    let name = rows::pair(&states.gid, &device.0);
    let from = match has {
        Some(seq) => seq.saturating_add(1),
        None => first_for(states, &name, account)?,
    };
    for (_, value) in rows::numbered(states.read, Table::Events, &name, from, SCAN_MAX)? {
        let event: EventRow = rows::decode(&value)?;
        let for_peer = states.get(&event.at)?.is_some_and(|s| s.has_account(account));
        if for_peer && !out.add(event.bare) {
            return Ok(false);
        }
    }
    Ok(out.left > 0)
}

/// The number of the first event that is for the account, by halving: an
/// account that is in stays in for the events that follow.
fn first_for(states: &mut States<'_>, name: &[u8; 64], account: &AccountId) -> Result<u64, EngineError> {
    let last = rows::numbered_down(states.read, Table::Events, name, 1)?;
    let Some((mut high, _)) = last.into_iter().next() else { return Ok(0) };
    let mut low = 0;
    high = high.saturating_add(1);
    while low < high {
        let middle = low + (high - low) / 2;
        let row = rows::numbered(states.read, Table::Events, name, middle, 1)?;
        let inside = match row.into_iter().next() {
            Some((_, value)) => {
                let event: EventRow = rows::decode(&value)?;
                states.get(&event.at)?.is_some_and(|s| s.has_account(account))
            }
            None => true,
        };
        if inside {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}
