//! Who comes in and who goes: key packages asked for, adds gathered into one
//! commit.

use std::collections::{BTreeMap, BTreeSet};

use kith_mls::{Add, Change};
use kith_store::{Key, StoreError, Table};
use kith_wire::group::BundleRef;
use kith_wire::ids::{AccountId, GroupId, OrderId};
use kith_wire::peer::Frame;

use crate::changes::{self, How};
use crate::ctx::Ctx;
use crate::groups::{self, Reject};
use crate::live::{Live, Timer};
use crate::rows::GroupInfo;
use crate::{delivery, early, heard, people, rows, welcomes};

/// How long the first package of a group waits for others to join its commit.
const GATHER_MS: u64 = 400;
/// How soon packages are asked for again.
const ASK_AGAIN_MS: u64 = 5_000;

/// Adds under way. What was asked for is stored; packages are not: they are
/// asked for again after a restart.
#[derive(Debug, Default)]
pub(crate) struct Adds {
    /// With the removals that whoever decided it knew, and meant to lift.
    wanted: BTreeMap<Pair, Vec<OrderId>>,
    packages: BTreeMap<(GroupId, AccountId), Vec<u8>>,
    first_package_at: BTreeMap<GroupId, u64>,
    asked_at: BTreeMap<AccountId, u64>,
}

const WANTED: &[u8] = b"adds";

type Pair = (GroupId, AccountId);

impl Adds {
    /// What was asked for before the restart.
    pub(crate) fn load(r: &dyn kith_store::Read) -> Result<Self, StoreError> {
        let wanted: Vec<(Pair, Vec<OrderId>)> =
            rows::get(r, Key::of(Table::State, WANTED))?.unwrap_or_default();
        Ok(Self { wanted: wanted.into_iter().collect(), ..Self::default() })
    }
    /// Somebody is to be added to this group.
    pub(crate) fn wanted_in(&self, group: &GroupId) -> bool {
        self.wanted.keys().any(|(g, _)| g == group)
    }
    /// Accounts that are to be added and whose package is still missing.
    pub(crate) fn missing(&self) -> BTreeSet<AccountId> {
        self.wanted.keys().filter(|w| !self.packages.contains_key(w)).map(|(_, a)| *a).collect()
    }
}

fn save(ctx: &mut Ctx<'_>, live: &Live) {
    let wanted: Vec<(Pair, Vec<OrderId>)> =
        live.adds.wanted.iter().map(|(pair, knew)| (*pair, knew.clone())).collect();
    ctx.tx.put(Key::of(Table::State, WANTED), rows::encode(&wanted));
}

/// A person wants accounts in a group, also over every removal that is known
/// here by now.
pub(crate) fn invite(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    accounts: &[AccountId],
) -> Result<(), Reject> {
    for account in accounts {
        let knew = ctx.engine.removals_of(&mut ctx.tx, ctx.now.wall_ms, group, account)?;
        want(ctx, live, group, *account, knew);
    }
    Ok(())
}

/// Wants an account in a group, over the removals that were known when that was
/// decided. It comes in when a key package of it is had: from a link, from a
/// relay, or already at hand.
pub(crate) fn want(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    account: AccountId,
    knew: Vec<OrderId>,
) {
    live.adds.wanted.insert((group, account), knew);
    live.adds.asked_at.remove(&account);
    save(ctx, live);
    live.at(ctx.now.mono_ms, Timer::Adds);
}

/// Somebody came in another way, or was ordered out since: whoever wanted them
/// in before that does so no more. Answers whether they were wanted.
pub(crate) fn unwant(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId, account: AccountId) -> bool {
    live.adds.packages.remove(&(group, account));
    let wanted = live.adds.wanted.remove(&(group, account)).is_some();
    if wanted {
        save(ctx, live);
    }
    wanted
}

/// A key package of an account came in. It serves one group.
pub(crate) fn package(ctx: &mut Ctx<'_>, live: &mut Live, account: AccountId, package: Vec<u8>) {
    let open =
        live.adds.wanted.keys().find(|w| w.1 == account && !live.adds.packages.contains_key(w)).copied();
    if let Some(wanted) = open {
        package_for(ctx, live, wanted, package);
    }
}

/// A key package that is meant for a certain group came in.
pub(crate) fn package_for(ctx: &mut Ctx<'_>, live: &mut Live, wanted: Pair, package: Vec<u8>) {
    live.adds.wanted.entry(wanted).or_default();
    live.adds.packages.insert(wanted, package);
    live.adds.asked_at.remove(&wanted.1);
    live.adds.first_package_at.entry(wanted.0).or_insert(ctx.now.mono_ms);
    save(ctx, live);
    live.at(ctx.now.mono_ms, Timer::Adds);
}

/// Goes on with everything that can go on.
pub(crate) fn advance(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    let now = ctx.now.mono_ms;
    ask(ctx, live)?;
    let groups: BTreeSet<GroupId> = live.adds.wanted.keys().map(|(g, _)| *g).collect();
    for group in groups {
        if !heard::may_speak(ctx, live, &group)? {
            continue;
        }
        let ready: Vec<Pair> = live
            .adds
            .wanted
            .keys()
            .filter(|w| w.0 == group && live.adds.packages.contains_key(w))
            .copied()
            .collect();
        if ready.is_empty() {
            continue;
        }
        let all = live.adds.wanted.keys().filter(|w| w.0 == group).count() == ready.len();
        let since = live.adds.first_package_at.get(&group).copied().unwrap_or(now);
        if !all && now < since + GATHER_MS {
            live.at(since + GATHER_MS, Timer::Adds);
            continue;
        }
        add(ctx, live, group, &ready)?;
    }
    if !live.adds.wanted.is_empty() {
        live.at(now + ASK_AGAIN_MS, Timer::Adds);
    }
    Ok(())
}

fn ask(ctx: &mut Ctx<'_>, live: &mut Live) -> Result<(), Reject> {
    let now = ctx.now.mono_ms;
    for account in live.adds.missing() {
        if live.adds.asked_at.get(&account).is_some_and(|at| now < at + ASK_AGAIN_MS) {
            continue;
        }
        live.adds.asked_at.insert(account, now);
        for reach in people::reaches_of(&ctx.tx, &account)? {
            if let Some(link) = live.links.of_device(&reach.device) {
                let frame = Frame::PackageRequest.to_bytes();
                live.net.push(kith_wire::net::NetCommand::Send { link, frame });
            } else {
                crate::relays::take_package(ctx, live, account, &reach)?;
            }
        }
    }
    Ok(())
}

fn add(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId, ready: &[Pair]) -> Result<(), Reject> {
    let mut adds = Vec::new();
    for wanted in ready {
        let knew = live.adds.wanted.remove(wanted).unwrap_or_default();
        let Some(package) = live.adds.packages.remove(wanted) else { continue };
        let against = ctx.engine.removals_of(&mut ctx.tx, ctx.now.wall_ms, group, &wanted.1)?;
        if !against.iter().all(|o| knew.contains(o)) {
            not_let_in(ctx, live, &group)?;
            continue;
        }
        match to_add(ctx, &wanted.1, package) {
            Ok(add) => adds.push(add),
            Err(e) => live.notice(None, "bad_package", format!("A person could not be added: {e}.")),
        }
    }
    live.adds.first_package_at.remove(&group);
    save(ctx, live);
    if adds.is_empty() {
        return Ok(());
    }
    match commit(ctx, live, group, Change { adds, ..Change::default() }) {
        Err(Reject::Invalid(why)) => {
            let conversation = rows::home(&ctx.tx, &group)?;
            live.notice(conversation, "not_added", format!("The members could not be added: {why}."));
            Ok(())
        }
        done => done,
    }
}

/// Says that somebody who was to come in is not let in.
pub(crate) fn not_let_in(ctx: &mut Ctx<'_>, live: &mut Live, group: &GroupId) -> Result<(), StoreError> {
    let conversation = rows::home(&ctx.tx, group)?;
    let why = "Somebody whom you had invited left or was removed before they could come in. Invite them again if they should.";
    live.notice(conversation, "not_added", why.into());
    Ok(())
}

/// A key package with the inbox that its Welcome goes to.
pub(crate) fn to_add(ctx: &Ctx<'_>, account: &AccountId, package: Vec<u8>) -> Result<Add, Reject> {
    let (owner, device) = ctx.engine.package_owner(&package)?;
    if owner != *account {
        return Err(Reject::Invalid("the key package is of somebody else".into()));
    }
    let reach = people::reach(&ctx.tx, &device)?
        .ok_or_else(|| Reject::Invalid("it is not known how to reach the device".into()))?;
    Ok(Add { package, inbox: reach.inbox.topic() })
}

/// Makes a commit, stores it, sends it to those who leave or stay, and its
/// Welcomes when they may go.
pub(crate) fn commit(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    mut change: Change,
) -> Result<(), Reject> {
    if !heard::may_speak(ctx, live, &group)? {
        return Err(kith_mls::EngineError::NotHeard.into());
    }
    let parent_topic = live.relays.current_topic(&group);
    for account in &change.remove_accounts {
        unwant(ctx, live, group, *account);
    }
    let before = GroupInfo::load(&ctx.tx, &group)?;
    if !change.adds.is_empty() {
        let owners = change.adds.iter().map(|add| ctx.engine.package_owner(&add.package));
        let joiners: Vec<_> = owners.collect::<Result<_, _>>()?;
        change.cards = people::introductions(ctx, group, &joiners)?;
    }
    let done = ctx.engine.commit(&mut ctx.tx, ctx.now.wall_ms, group, &change)?;
    let alone = rows::audience(&ctx.tx, &group, &done.parent)?.is_empty();
    let at_parent = (group, done.parent, parent_topic);
    let (own_mark, marks_before) = done.marks.split_last().map_or((None, &[][..]), |(l, r)| (Some(l), r));
    // An order counts by the marks before it.
    for object in marks_before.iter().chain(&done.orders) {
        delivery::enqueue_group(ctx, live, at_parent, None, object.clone())?;
    }
    delivery::enqueue_group(ctx, live, at_parent, None, done.envelope.clone())?;
    groups::refresh(ctx, live, group)?;
    if let Some(mark) = own_mark {
        let topic = live.relays.current_topic(&group);
        delivery::enqueue_group(ctx, live, (group, done.state, topic), None, mark.clone())?;
    }
    if done.rotated {
        hand_on(ctx, live, group, &done.envelope)?;
    }
    let me = ctx.me.account();
    let how = How { by: Some(me), left: &done.left, switched: false };
    if !changes::say(ctx, live, group, before.as_ref(), how)?.is_empty() {
        early::send(ctx, live, group)?;
    }
    let welcomes: Vec<_> = done
        .joiners
        .iter()
        .map(|j| (j.clone(), ctx.engine.welcome(j, BundleRef::Inline(done.bundle.clone()))))
        .collect();
    welcomes::keep(ctx, live, group, &welcomes, alone)?;
    live.at(ctx.now.mono_ms + 200, Timer::Mark(group));
    groups::apply_all(ctx, live, group, done.outcomes)?;
    crate::duty::schedule(ctx, live, group)
}

/// A commit that begins a new topic also goes to the members' inboxes: who
/// cannot read the old topic any more finds the way there.
fn hand_on(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId, envelope: &[u8]) -> Result<(), Reject> {
    let mine = ctx.me.device();
    for member in ctx.engine.view(&ctx.tx, group)?.members {
        if member.device != mine && people::reach(&ctx.tx, &member.device)?.is_some() {
            crate::inbox::send(ctx, live, member.account, member.device, envelope)?;
        }
    }
    Ok(())
}

/// Leaves a group: tells the members, who commit the removal.
pub(crate) fn leave(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    if !heard::may_speak(ctx, live, &group)? {
        return Ok(heard::leave_later(ctx, &group)?);
    }
    let said = match ctx.engine.leave(&mut ctx.tx, ctx.now.wall_ms, group) {
        Err(kith_mls::EngineError::NotHeard) => return Ok(heard::leave_later(ctx, &group)?),
        said => said?,
    };
    for object in said {
        groups::publish(ctx, live, group, object)?;
    }
    // Whoever is to go holds no branch up any more: another may win by that.
    let outcomes = ctx.engine.look(&mut ctx.tx, ctx.now.wall_ms, group)?;
    groups::apply_all(ctx, live, group, outcomes)
}

/// An engine error as the reason why a membership change is refused.
pub(crate) fn refusal(e: Reject) -> crate::api::Refusal {
    match e {
        Reject::Store(e) => crate::node::disk(&e),
        e => crate::api::Refusal::new("not_possible", format!("That is not possible: {e}.")),
    }
}
