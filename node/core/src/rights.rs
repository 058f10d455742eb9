//! What this account may do with the members of a group: read off the order of
//! accounts that every member follows, so that nothing is offered that others
//! would refuse. The rules themselves are the engine's.

use std::sync::Arc;

use kith_mls::GroupView;
use kith_wire::group::{Role, RoleEntry};
use kith_wire::ids::{AccountId, GroupId};

use crate::rows::Ordered;

/// Of a member: it may be removed.
pub(crate) const REMOVE: u8 = 1;
/// Of a member: it may be made a plain member; of oneself, one may step down.
pub(crate) const MEMBER: u8 = 2;
/// Of a member: it may be made an admin.
pub(crate) const ADMIN: u8 = 4;
/// Of a member: it may be made an owner.
pub(crate) const OWNER: u8 = 8;

/// Of the group: accounts may be added.
pub(crate) const ADD: u8 = 1;
/// Of the group: title and roles may be changed.
pub(crate) const CHANGE: u8 = 2;

/// The rights of one account at the tip of a group.
pub(crate) struct Rights<'a> {
    gid: GroupId,
    me: AccountId,
    view: &'a GroupView,
    rule: kith_rule::State,
    role: Role,
    /// The answer for plain members, who all stand alike.
    plain: Option<u8>,
}

impl<'a> Rights<'a> {
    pub(crate) fn new(gid: GroupId, me: AccountId, view: &'a GroupView) -> Self {
        let leaves = view.members.iter();
        let leaves = leaves.map(|m| kith_rule::Leaf { index: m.leaf, device: m.device, account: m.account });
        let policy = &view.ext.policy;
        let rights = kith_rule::Rights { add: policy.add, remove: policy.remove };
        let roles = Arc::new(view.ext.roles.clone());
        let rule =
            kith_rule::State::new(view.tip, view.epoch, view.ext.kind, rights, leaves.collect(), roles);
        let role = rule.role(&gid, &me);
        Self { gid, me, view, rule, role, plain: None }
    }

    /// Nothing can be changed from here: this device is out, or does not stand
    /// where the others do.
    fn idle(&self) -> bool {
        !self.view.me_in
            || self.view.behind
            || self.view.ext.kind != kith_wire::group::ConversationKind::Group
    }

    /// What this account may do in the group as a whole.
    pub(crate) fn group(&self) -> u8 {
        if self.idle() {
            return 0;
        }
        let add = if self.rule.may_add(&self.gid, &self.me) { ADD } else { 0 };
        let change = if self.role >= self.view.ext.policy.change { CHANGE } else { 0 };
        add | change
    }

    /// What this account may do with a member; `ordered` are the removals and
    /// demotions that are known.
    pub(crate) fn with(&mut self, account: &AccountId, ordered: &[Ordered]) -> u8 {
        if self.idle() {
            return 0;
        }
        let named = self.view.ext.roles.contains_key(account)
            || *account == self.me
            || self.view.ext.roles.is_empty()
            || ordered.iter().any(|o| o.target == *account);
        if named {
            return self.judge(account, ordered);
        }
        if let Some(known) = self.plain {
            return known;
        }
        let known = self.judge(account, ordered);
        self.plain = Some(known);
        known
    }

    fn judge(&self, account: &AccountId, ordered: &[Ordered]) -> u8 {
        let (mine, theirs) = (*account == self.me, self.rule.role(&self.gid, account));
        let given: Option<&RoleEntry> = self.view.ext.roles.get(account);
        let above = self.rule.may_remove(&self.gid, &self.me, account);
        let mut may = if above { REMOVE } else { 0 };
        if given.is_some_and(|r| r.role > Role::Member) && (mine || above) {
            may |= MEMBER;
        }
        // Whoever was made a member by somebody above us is raised by them.
        let by_senior = ordered.iter().any(|o| {
            o.target == *account && o.demotes && self.rule.may_remove(&self.gid, &o.issuer, &self.me)
        });
        if self.role < self.view.ext.policy.change || self.role < Role::Admin || by_senior {
            return may;
        }
        for (role, bit) in [(Role::Admin, ADMIN), (Role::Owner, OWNER)] {
            if theirs < role && self.role >= role {
                may |= bit;
            }
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kith_mls::MemberView;
    use kith_wire::group::GroupExt;
    use kith_wire::ids::{DeviceId, StateId};

    use super::*;

    const GID: GroupId = GroupId([9; 32]);

    fn id(n: u8) -> AccountId {
        AccountId([n; 32])
    }

    /// A group of accounts 1 to `n` with these roles, each given in its epoch.
    fn group(n: u8, roles: &[(u8, Role, u64)]) -> GroupView {
        let mut ext = GroupExt::group(id(1), "Choir", Vec::new());
        ext.roles = roles
            .iter()
            .map(|(a, role, epoch)| (id(*a), RoleEntry { role: *role, epoch: *epoch }))
            .collect::<BTreeMap<_, _>>();
        let role = |a: u8| ext.roles.get(&id(a)).map_or(Role::Member, |r| r.role);
        let members = (1..=n).map(|a| MemberView {
            account: id(a),
            device: DeviceId([a; 32]),
            leaf: u32::from(a),
            role: role(a),
            box_key: [0; 32],
            seen: true,
        });
        GroupView {
            kind: ext.kind,
            tip: StateId([1; 32]),
            epoch: 7,
            members: members.collect(),
            me_in: true,
            behind: false,
            role: Role::Member,
            ext,
        }
    }

    fn may(view: &GroupView, me: u8, whom: u8, ordered: &[Ordered]) -> u8 {
        Rights::new(GID, id(me), view).with(&id(whom), ordered)
    }

    const ROLES: &[(u8, Role, u64)] =
        &[(1, Role::Owner, 0), (2, Role::Admin, 1), (3, Role::Admin, 2), (6, Role::Owner, 3)];

    #[test]
    fn each_may_only_touch_who_stands_below() {
        let view = group(6, ROLES);
        // The first owner stands above the second, and not the other way round.
        assert_eq!(may(&view, 1, 6, &[]), REMOVE | MEMBER);
        assert_eq!(may(&view, 6, 1, &[]), 0);
        assert_eq!(may(&view, 1, 2, &[]), REMOVE | MEMBER | OWNER);
        assert_eq!(may(&view, 1, 4, &[]), REMOVE | ADMIN | OWNER);
        // Of two admins the earlier one stands above.
        assert_eq!(may(&view, 2, 3, &[]), REMOVE | MEMBER);
        assert_eq!(may(&view, 3, 2, &[]), 0);
        assert_eq!(may(&view, 2, 1, &[]), 0);
        assert_eq!(may(&view, 2, 4, &[]), REMOVE | ADMIN);
        // Plain members may do nothing, not even with themselves.
        assert_eq!(may(&view, 4, 5, &[]), 0);
        assert_eq!(may(&view, 4, 4, &[]), 0);
        // Who has a role may lay it down.
        assert_eq!(may(&view, 2, 2, &[]), MEMBER);
        assert_eq!(may(&view, 1, 1, &[]), MEMBER);
        assert_eq!(Rights::new(GID, id(2), &view).group(), ADD | CHANGE);
        assert_eq!(Rights::new(GID, id(4), &view).group(), 0);
    }

    #[test]
    fn who_was_put_down_by_somebody_above_is_raised_by_them_only() {
        let view = group(6, ROLES);
        let by = |issuer: u8| [Ordered { target: id(4), issuer: id(issuer), demotes: true }];
        assert_eq!(may(&view, 2, 4, &by(1)), REMOVE);
        assert_eq!(may(&view, 2, 4, &by(3)), REMOVE | ADMIN);
        assert_eq!(may(&view, 1, 4, &by(1)), REMOVE | ADMIN | OWNER);
    }

    #[test]
    fn nothing_is_offered_where_nothing_can_be_done() {
        for change in [|v: &mut GroupView| v.me_in = false, |v: &mut GroupView| v.behind = true] {
            let mut view = group(6, ROLES);
            change(&mut view);
            assert_eq!((may(&view, 1, 2, &[]), Rights::new(GID, id(1), &view).group()), (0, 0));
        }
        let mut view = group(2, &[]);
        view.ext = GroupExt::direct(Vec::new());
        assert_eq!(may(&view, 1, 2, &[]), 0);
    }

    /// With nobody above `member` one account stands for the owner.
    #[test]
    fn the_heir_acts_as_owner_and_has_nothing_to_lay_down() {
        let view = group(3, &[]);
        let heir = (1..=3).find(|a| may(&view, *a, *a % 3 + 1, &[]) != 0).unwrap();
        for other in (1..=3).filter(|a| *a != heir) {
            assert_eq!(may(&view, heir, other, &[]), REMOVE | ADMIN | OWNER);
            assert_eq!(may(&view, other, heir, &[]), 0);
        }
        assert_eq!(may(&view, heir, heir, &[]), 0);
    }
}
