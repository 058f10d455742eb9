//! What became of a group between two states that this device stood in, said
//! as lines of its timeline: who came and went, who was given which role by
//! whom, and what was shown of a branch that lost and does not hold.
//!
//! Owns the words' codes and whom a change is put down to. What a group is, is
//! the engine's to decide.

use std::collections::BTreeMap;

use kith_mls::GroupView;
use kith_store::StoreError;
use kith_wire::group::{OrderKind, Target};
use kith_wire::ids::{AccountId, GroupId};

use crate::ctx::Ctx;
use crate::groups::Reject;
use crate::live::Live;
use crate::rows::{GroupInfo, Ordered};
use crate::{people, timeline};

/// How a group came from one state to another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How<'a> {
    /// Author of the last commit on the way, if its commits are known.
    pub by: Option<AccountId>,
    /// Accounts that left by their own order.
    pub left: &'a [AccountId],
    /// States were given up: a concurrent change won.
    pub switched: bool,
}

/// Remembers an order, so that what it leads to is put down to who gave it.
pub(crate) fn ordered(
    ctx: &mut Ctx<'_>,
    group: &GroupId,
    kind: OrderKind,
    issuer: AccountId,
    target: AccountId,
) -> Result<(), StoreError> {
    let mut all = Ordered::all(&ctx.tx, group)?;
    match kind {
        OrderKind::Remove | OrderKind::Demote => {
            let new = Ordered { target, issuer, demotes: kind == OrderKind::Demote };
            if all.contains(&new) {
                return Ok(());
            }
            all.push(new);
        }
        // It lifts what was ordered before.
        OrderKind::Add => all.retain(|o| o.target != target),
        OrderKind::Leave => return Ok(()),
    }
    Ordered::save_all(&mut ctx.tx, group, all);
    Ok(())
}

/// Says what is different between `before` and what the group is now.
/// Answers the accounts that came.
pub(crate) fn say(
    ctx: &mut Ctx<'_>,
    live: &mut Live,
    group: GroupId,
    before: Option<&GroupInfo>,
    how: How<'_>,
) -> Result<Vec<AccountId>, Reject> {
    let (Some(before), Some(after)) = (before, GroupInfo::load(&ctx.tx, &group)?) else {
        return Ok(Vec::new());
    };
    if before.tip == after.tip {
        return Ok(Vec::new());
    }
    let view = ctx.engine.view(&ctx.tx, group)?;
    let targets = kith_mls::view::duties(&ctx.tx, group)?.targets;
    let mut ordered = Ordered::all(&ctx.tx, &group)?;
    // Of several commits on the way only the last one's author is known.
    let steps = if how.switched { before.epoch } else { before.epoch + 1 };
    let by = how.by.filter(|_| after.epoch <= steps);
    let (were, are) = (roles(before), roles(&after));
    let mut said = Said { ctx, live, group };

    if !view.me_in {
        // What else changed is no concern of somebody who is out.
        out(&mut said, &ordered, by, how)?;
        return Ok(Vec::new());
    }
    let mut came = Vec::new();
    for account in are.keys().filter(|a| !were.contains_key(a)) {
        people::learn_account(said.ctx, account)?;
        came.push(*account);
        if how.switched && targets.contains(&Target::Account(*account)) {
            said.line(*account, "withdrawn_removed", vec![account.to_text()])?;
        } else {
            said.of(by, *account, "added", Vec::new())?;
        }
        ordered.retain(|o| o.target != *account || targets.contains(&Target::Account(*account)));
    }
    for account in were.keys().filter(|a| !are.contains_key(a)) {
        let issuer = issuer_of(&ordered, account, false, how.by);
        if how.left.contains(account) || how.by == Some(*account) {
            said.of(Some(*account), *account, "left", Vec::new())?;
        } else if how.switched && issuer.is_none() {
            said.line(*account, "withdrawn_added", vec![account.to_text()])?;
        } else {
            said.of(issuer.or(by), *account, "removed", Vec::new())?;
        }
    }
    for (account, (was, is)) in
        were.iter().filter_map(|(a, was)| Some((a, (*was, *are.get(a)?)))).filter(|(_, (a, b))| a != b)
    {
        role(&mut said, &view, &ordered, &targets, (by, how), (*account, was, is))?;
        if is < was {
            ordered.retain(|o| o.target != *account || !o.demotes);
        }
    }
    if before.title != after.title {
        let who = by.unwrap_or(said.ctx.me.account());
        if how.switched {
            said.line(who, "named", vec![after.title])?;
        } else {
            said.line(who, "renamed", vec![text_of(by), after.title])?;
        }
    }
    if ordered != Ordered::all(&said.ctx.tx, &group)? {
        Ordered::save_all(&mut said.ctx.tx, &group, ordered);
    }
    Ok(came)
}

/// This account is out. That it left by itself it was told as it asked to.
fn out(
    said: &mut Said<'_, '_>,
    ordered: &[Ordered],
    by: Option<AccountId>,
    how: How<'_>,
) -> Result<(), StoreError> {
    let me = said.ctx.me.account();
    if how.left.contains(&me) {
        return Ok(());
    }
    said.of(issuer_of(ordered, &me, false, how.by).or(by), me, "removed", Vec::new())
}

/// Somebody's role is another one: 0 owner, 1 admin, 2 member.
fn role(
    said: &mut Said<'_, '_>,
    view: &GroupView,
    ordered: &[Ordered],
    targets: &[Target],
    (by, how): (Option<AccountId>, How<'_>),
    (account, was, is): (AccountId, u8, u8),
) -> Result<(), StoreError> {
    let name = |role: u8| match role {
        0 => "owner",
        1 => "admin",
        _ => "member",
    };
    if is > was {
        let issuer = issuer_of(ordered, &account, true, how.by);
        if how.switched && issuer.is_none() {
            return said.line(account, "withdrawn_role", vec![account.to_text(), name(is).into()]);
        }
        return said.of(issuer.or(by), account, "role", vec![name(is).into()]);
    }
    let Some(given) = view.ext.roles.get(&account) else {
        return said.line(account, "heir", vec![account.to_text()]);
    };
    if how.switched && targets.contains(&Target::Account(account)) {
        return said.line(account, "withdrawn_role", vec![account.to_text(), name(is).into()]);
    }
    // A role names the commit that gave it.
    let by = by.or(how.by.filter(|_| given.epoch == view.epoch));
    said.of(by, account, "role", vec![name(is).into()])
}

/// Who ordered it; of several the one who carried it out.
fn issuer_of(
    ordered: &[Ordered],
    target: &AccountId,
    demotes: bool,
    by: Option<AccountId>,
) -> Option<AccountId> {
    let of = || ordered.iter().filter(|o| o.target == *target && o.demotes == demotes).map(|o| o.issuer);
    of().find(|issuer| Some(*issuer) == by).or_else(|| of().next())
}

fn text_of(account: Option<AccountId>) -> String {
    account.map_or_else(String::new, |a| a.to_text())
}

fn roles(info: &GroupInfo) -> BTreeMap<AccountId, u8> {
    info.members.iter().map(|m| (m.account, m.role)).collect()
}

/// The timeline that is written to.
struct Said<'a, 'b> {
    ctx: &'a mut Ctx<'b>,
    live: &'a mut Live,
    group: GroupId,
}

impl Said<'_, '_> {
    fn line(&mut self, author: AccountId, code: &str, args: Vec<String>) -> Result<(), StoreError> {
        timeline::notice(self.ctx, self.live, &self.group, author, code, args)
    }

    /// Somebody, if it is known who, did something with an account.
    fn of(
        &mut self,
        by: Option<AccountId>,
        account: AccountId,
        code: &str,
        more: Vec<String>,
    ) -> Result<(), StoreError> {
        let args = [vec![text_of(by), account.to_text()], more].concat();
        self.line(by.unwrap_or(account), code, args)
    }
}
