//! Rest, and the checkers: what must hold when everything has healed. They
//! know the stores and the timelines, and nothing of how the engine decides.

use std::collections::{BTreeMap, BTreeSet};

use kith_core::view::DeliveryState::{Failed, Queued};
use kith_mls::view;
use kith_store::{MemoryStore, Range, Read as _, Table};
use kith_wire::group::{CommitEnvelope, Role, Target};
use kith_wire::ids::StateId;
use kith_wire::signed::Raw;

use super::{Run, Said, oracle};

/// Virtual time of one round of healing, ms.
const ROUND_MS: u64 = 30_000;
/// Rounds after which a run counts as never coming to rest: ten hours.
const ROUNDS_MAX: u64 = 1_200;
/// Rounds in which nothing may change.
const STILL: u64 = 3;
/// The same while somebody lacks a text, or is not back: what waits for a time
/// of its own, like a relay that is tried again, comes within that.
const LACKING: u64 = 240;
/// Time after a hold in which a node may not have looked again yet, ms.
const HOLD_SLACK_MS: u64 = 120_000;

impl Run {
    /// The second phase: no more faults, until nothing changes any more.
    pub(super) fn heal(&mut self) {
        self.report.crashes = self.world.crashes;
        self.calm();
        let mut still = 0;
        let mut last = Vec::new();
        for round in 1..=ROUNDS_MAX {
            self.world.run(ROUND_MS);
            for node in self.nodes.clone() {
                let _runs = self.world.start(node);
            }
            let now = self.picture();
            still = if now == last { still + 1 } else { 0 };
            last = now;
            let complete = || self.lost().is_empty() && self.astray().is_empty();
            if still >= STILL && self.at_rest() && (still >= LACKING || complete()) {
                self.report.heal_rounds = self.report.heal_rounds.max(round - still);
                return;
            }
        }
        self.report.heal_rounds = ROUNDS_MAX;
        let why = self.unrest();
        self.fault("at_rest", why);
    }

    fn fault(&mut self, counter: &'static str, why: String) {
        self.report.faulty.push((counter, why));
    }

    /// The tip of the group as a node's store has it.
    pub(super) fn tip_of(&self, node: usize) -> Option<StateId> {
        view::group(&*self.world.store(self.nodes[node])?, self.group).ok().map(|g| g.tip)
    }

    /// What every node shows.
    pub(super) fn picture(&self) -> Vec<(String, usize)> {
        self.honest()
            .into_iter()
            .map(|n| {
                let tip = self.tip_of(n).map(|tip| tip.hex()).unwrap_or_default();
                (tip, self.world.texts(self.nodes[n], &self.group).len())
            })
            .collect()
    }

    /// Members who were put back to an earlier copy and do not stand where the
    /// others stand: they are let in again.
    fn astray(&self) -> Vec<usize> {
        let stands =
            |n: usize| self.world.store(self.nodes[n]).and_then(|s| view::group(&*s, self.group).ok());
        let inside = |n: &usize| stands(*n).filter(|g| g.me_in).map(|g| (*n, g.tip));
        let Some((first, tip)) = self.honest().iter().find_map(inside) else { return Vec::new() };
        let members = self.members(first);
        let back = |n: usize| stands(n).is_some_and(|g| !g.behind && g.tip == tip);
        self.put_back.iter().copied().filter(|n| members.contains(n) && !back(*n)).collect()
    }

    /// Nothing waits to be done in the group at any member.
    fn at_rest(&self) -> bool {
        self.unrest().is_empty() || self.forsaken()
    }

    /// Everybody who is left should stand where only attackers do, and they
    /// let nobody in: no keys of the group are in honest hands.
    fn forsaken(&self) -> bool {
        // In a calm world the others can always go on without the attacker.
        if self.strict {
            return false;
        }
        let mut left = false;
        for n in self.honest() {
            let Some(store) = self.world.store(self.nodes[n]) else { continue };
            let Ok(group) = view::group(&*store, self.group) else { continue };
            if !group.behind {
                if group.me_in {
                    return false;
                }
                continue;
            }
            left = true;
            let Ok(facts) = view::facts(&*store, self.group) else { return false };
            let made = facts.commits.iter().find(|c| Some(c.child) == facts.goal).map(|c| c.device);
            let by = self.devices.iter().position(|d| Some(*d) == made);
            if !by.is_some_and(|by| self.evil.contains(&by)) {
                return false;
            }
        }
        left
    }

    fn unrest(&self) -> String {
        let mut out = String::new();
        let mut tips: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut holding = Vec::new();
        for n in self.honest() {
            let Some(store) = self.world.store(self.nodes[n]) else { continue };
            let Ok(group) = view::group(&*store, self.group) else { continue };
            let Ok(duties) = view::duties(&*store, self.group) else { continue };
            if duties.behind {
                out += &format!("node {n} is behind; ");
            }
            if group.me_in {
                if kith_core::is_holding(&*store, &self.group).unwrap_or(true) {
                    holding.push(n);
                }
                tips.entry(group.tip.hex()).or_default().push(n);
                if duties.enact {
                    out += &format!("node {n} has orders to carry out; ");
                }
            }
        }
        // Alone among attackers there is nobody to listen to, and to tell.
        let alone = |n: &usize| tips.values().any(|nodes| *nodes == [*n]);
        for n in holding.iter().filter(|n| !alone(n)) {
            out += &format!("node {n} has something to say yet; ");
        }
        if tips.len() > 1 {
            out += &format!("tips {tips:?}");
        }
        let inside: BTreeSet<usize> = tips.into_values().flatten().collect();
        for n in inside.first().map(|n| self.members(*n)).into_iter().flatten() {
            if self.should_know(n) && !inside.contains(&n) {
                out += &format!("node {n} does not know that it is in; ");
            }
        }
        out
    }

    /// All checkers.
    pub(super) fn check(&mut self) {
        self.count();
        self.show_facts();
        self.check_one_group();
        self.check_commits();
        self.check_bounds();
        self.check_rule();
        self.check_texts();
        self.check_said_again();
        if self.world.reused > 0 {
            let n = self.world.reused;
            self.fault("nonce_reuse", format!("{n} keys were used for two ciphertexts"));
        }
        if self.world.left_unstored > 0 {
            let n = self.world.left_unstored;
            self.fault("left_unstored", format!("{n} times a node told what it then had not stored"));
        }
        self.report.ciphertexts = self.world.ciphertexts() as u64;
    }

    fn count(&mut self) {
        let mut commits = BTreeSet::new();
        for node in &self.nodes {
            let Some(store) = self.world.store(*node) else { continue };
            if let Ok((known, switches)) = view::commits(&*store, self.group) {
                commits.extend(known);
                self.report.rollbacks += switches;
            }
        }
        let parents: BTreeSet<_> = commits.iter().map(|c| c.parent).collect();
        self.report.commits = commits.len() as u64;
        self.report.forks = (commits.len() - parents.len()) as u64;
        self.report.readds = commits.iter().map(|c| c.readds as u64).sum();
    }

    /// INV-1, INV-5: one tip, epoch, member set and settings, no target of a
    /// removal in it; who is not in it knows that.
    fn check_one_group(&mut self) {
        let mut views = Vec::new();
        for n in self.honest() {
            let Some(store) = self.world.store(self.nodes[n]) else { continue };
            if let Ok(group) = view::group(&*store, self.group) {
                views.push((n, group));
            }
        }
        let inside: Vec<_> = views.iter().filter(|(_, g)| g.me_in).cloned().collect();
        let Some((_, first)) = inside.first().cloned().filter(|_| !self.forsaken()) else { return };
        for (n, g) in &inside {
            let same = |m: &kith_mls::GroupView| {
                m.members.iter().map(|m| (m.account, m.device, m.leaf)).collect::<Vec<_>>()
            };
            if (g.tip, g.epoch, &g.ext, same(g)) != (first.tip, first.epoch, &first.ext, same(&first)) {
                self.fault(
                    "diverged",
                    format!("node {n} stands in {} of {inside_n}", g.tip.hex(), inside_n = inside.len()),
                );
            }
        }
        let members = self.members(inside[0].0);
        for n in self.astray() {
            let store = self.world.store(self.nodes[n]);
            let duties = store.and_then(|s| view::duties(&*s, self.group).ok());
            let me_in = self.members(n).contains(&n);
            let why = format!("node {n}, which was put back, does not come back: in {me_in}, {duties:?}");
            self.fault("diverged", why);
        }
        for n in self.honest() {
            if !self.gone.contains_key(&n) && !members.contains(&n) && !self.outrun(inside[0].0, n) {
                self.fault("put_out", format!("node {n} is out, and nobody asked for that"));
            }
        }
        for (account, entry) in &first.ext.roles {
            let given = |n: usize| self.accounts[n] == self.accounts[0] || self.appointed.contains(&n);
            let known = (0..self.nodes.len()).find(|n| self.accounts[*n] == *account);
            if entry.role >= Role::Admin && !known.is_some_and(given) {
                self.fault("authority", format!("{known:?} is {:?}, and nobody gave it that", entry.role));
            }
        }
        for n in &members {
            if self.should_know(*n) && !inside.iter().any(|(i, _)| i == n) {
                self.fault("diverged", format!("node {n} is a member and does not know it"));
            }
        }
        for (n, _) in &inside {
            if !members.contains(n) {
                self.fault("diverged", format!("node {n} believes to be a member"));
            }
        }
        let out: Vec<usize> = self.ordered_out.iter().copied().collect();
        let tainted = views.iter().any(|(n, _)| {
            self.world
                .store(self.nodes[*n])
                .and_then(|s| view::duties(&*s, self.group).ok())
                .is_some_and(|d| d.tainted && self.members(*n).len() > 1)
        });
        if tainted {
            let why = format!("orders are open at the end: {}", self.open_orders());
            self.fault("removed_still_in", why);
        }
        for n in out {
            if members.contains(&n) && !tainted {
                self.fault("removed_still_in", format!("node {n} was removed and is a member"));
            }
        }
    }

    /// Whether an attacker, an admin in good standing as far as anybody there
    /// knew, put somebody out before the order against it was carried out.
    fn outrun(&self, by: usize, who: usize) -> bool {
        let Some(facts) = self.world.store(self.nodes[by]).and_then(|s| view::facts(&*s, self.group).ok())
        else {
            return false;
        };
        let mut way = Vec::new();
        let mut at = facts.tip;
        while let Some(commit) = facts.commits.iter().find(|c| c.child == at) {
            way.push(commit);
            at = commit.parent;
        }
        let mut ordered = BTreeMap::new();
        for raw in facts.orders.iter().filter_map(|o| Raw::from_bytes(o).ok()) {
            if let Ok(order) = raw.body::<kith_wire::group::Order>() {
                ordered.insert(kith_wire::group::order_id(&raw), (order.device, order.target));
            }
        }
        let against = |n: usize| {
            let (account, device) = (Target::Account(self.accounts[n]), Target::Device(self.devices[n]));
            let carried =
                way.iter().rev().enumerate().flat_map(|(i, c)| c.orders.iter().map(move |o| (i, o)));
            carried
                .filter_map(|(i, o)| ordered.get(o).map(|(by, target)| (i, *by, *target)))
                .find(|(_, _, target)| *target == account || *target == device)
        };
        let Some((when, issuer, _)) = against(who) else { return false };
        let Some(issuer) = self.devices.iter().position(|d| *d == issuer) else { return false };
        self.evil.contains(&issuer)
            && self.appointed.contains(&issuer)
            && against(issuer).is_some_and(|(later, ..)| when < later)
    }

    /// Where everybody stands, and should.
    pub(super) fn stands(&self) -> String {
        let mut out = String::new();
        for n in 0..self.nodes.len() {
            let facts = self.world.store(self.nodes[n]).and_then(|s| view::facts(&*s, self.group).ok());
            let Some(facts) = facts else { continue };
            let short = |s: &kith_wire::ids::StateId| s.hex().get(..4).unwrap_or_default().to_owned();
            out += &format!(" {n}@{}", short(&facts.tip));
            out += &facts.goal.map(|goal| format!("→{}", short(&goal))).unwrap_or_default();
        }
        out
    }

    fn show_facts(&self) {
        if self.facts {
            for of in self.honest().into_iter().chain(self.put_back.iter().copied()) {
                println!("{}", self.facts_of(of));
            }
        }
    }

    fn facts_of(&self, n: usize) -> String {
        let Some(facts) = self.world.store(self.nodes[n]).and_then(|s| view::facts(&*s, self.group).ok())
        else {
            return String::new();
        };
        let mut out = format!(
            "node {n}: anchor {} tip {} goal {:?} states {}, oracle {:?}\n",
            facts.anchor.hex(),
            facts.tip.hex(),
            facts.goal,
            facts.states.len(),
            oracle::judge(&facts).map(|v| (v.tip, v.open, v.forks, v.ends)),
        );
        let mut at = facts.tip;
        let mut way = BTreeSet::new();
        while let Some(c) = facts.commits.iter().find(|c| c.child == at) {
            let by = self.devices.iter().position(|d| *d == c.device);
            let epoch = facts.states.iter().find(|s| s.id == c.child).map(|s| s.epoch);
            out += &format!(
                "{epoch:?}:{}<-{by:?}{:?} ",
                c.child.hex().get(..4).unwrap_or_default(),
                c.orders.iter().map(|o| o.hex().get(..8).unwrap_or_default().to_string()).collect::<Vec<_>>()
            );
            at = c.parent;
            way.insert(c.child);
        }
        out += "\n";
        for (of, device) in self.devices.iter().enumerate() {
            let marks = facts.marks.iter().filter_map(|m| Raw::from_bytes(m).ok()?.body().ok());
            let mut marks: Vec<kith_wire::group::Mark> = marks.collect();
            marks.retain(|m| m.device == *device);
            marks.sort_by_key(|m| m.n);
            let last = marks.iter().rev().take(64).rev();
            let at = last.map(|m| format!("{}@{}", m.n, m.at.hex().get(..4).unwrap_or_default()));
            out += &format!("   marks of {of}: {}\n", at.collect::<Vec<_>>().join(" "));
        }
        for c in &facts.commits {
            if !way.contains(&c.child) {
                let [parent, child] =
                    [c.parent, c.child].map(|s| s.hex().get(..4).unwrap_or_default().to_string());
                let by = self.devices.iter().position(|d| *d == c.device);
                out += &format!("   aside {parent}: {child}<-{by:?}\n");
            }
        }
        for bytes in &facts.orders {
            let Ok(raw) = Raw::from_bytes(bytes) else { continue };
            let Ok(o) = raw.body::<kith_wire::group::Order>() else { continue };
            let at = facts.states.iter().find(|s| s.id == o.at).map(|s| s.epoch);
            let mut before = Vec::new();
            for m in facts.marks.iter().filter_map(|m| Raw::from_bytes(m).ok()) {
                if let Ok(mark) = m.body::<kith_wire::group::Mark>()
                    && mark.device == o.device
                    && mark.n < o.n
                    && mark.n + 4 > o.n
                {
                    before.push((mark.n, facts.states.iter().find(|s| s.id == mark.at).map(|s| s.epoch)));
                }
            }
            let by = self.devices.iter().position(|d| *d == o.device);
            out += &format!(
                "   order {} {:?} by {by:?} n {} at epoch {at:?} lifts {:?} marks before {before:?} target {:?}\n",
                kith_wire::group::order_id(&raw).hex().get(..8).unwrap_or_default(),
                o.order,
                o.n,
                o.lifts.len(),
                self.accounts.iter().position(|a| Target::Account(*a) == o.target)
            );
        }
        out
    }

    /// Whether somebody who is on the list has to know that: an attacker need
    /// not give its guest the Welcome.
    fn should_know(&self, n: usize) -> bool {
        let hosts = self.hosts.get(&n).into_iter().flatten();
        !self.evil.contains(&n) && hosts.into_iter().all(|h| !self.evil.contains(h))
    }

    fn open_orders(&self) -> String {
        let mut out = String::new();
        for n in self.honest() {
            let Some(store) = self.world.store(self.nodes[n]) else { continue };
            let Ok(duties) = view::duties(&*store, self.group) else { continue };
            let targets: Vec<String> =
                duties.targets.iter().map(|t| format!("{t:?}").chars().take(24).collect()).collect();
            out += &format!(
                "node {n}: enact {} behind {} members {:?} targets {targets:?}; ",
                duties.enact,
                duties.behind,
                self.members(n)
            );
        }
        out
    }

    /// INV-16 and what is expected of commits in a calm world.
    fn check_commits(&mut self) {
        let mut faults = Vec::new();
        for n in self.honest() {
            let Some(store) = self.world.store(self.nodes[n]) else { continue };
            let Ok((commits, _)) = view::commits(&*store, self.group) else { continue };
            let Ok(group) = view::group(&*store, self.group) else { continue };
            let mut at = group.tip;
            let mut chain = BTreeSet::new();
            while let Some(c) = commits.iter().find(|c| c.child == at) {
                chain.insert(c.id);
                at = c.parent;
            }
            for c in &commits {
                let signed = Raw::from_bytes(&c.envelope)
                    .is_ok_and(|raw| raw.verify::<CommitEnvelope>(&c.device.0, &[]).is_ok());
                if !signed {
                    faults
                        .push(("forged", format!("node {n} holds a commit that its committer did not sign")));
                }
                let after = view::audience(&*store, self.group, c.child).unwrap_or_default();
                if !after.contains(&(c.account, c.device)) {
                    faults.push(("forged", format!("node {n} holds a commit that changes its committer")));
                }
            }
            if self.strict && group.me_in && chain.iter().any(|c| self.rogue.contains(c)) {
                faults.push(("undone", format!("node {n} stands behind a commit of the attacker")));
            }
        }
        for (counter, why) in faults {
            self.fault(counter, why);
        }
    }

    /// INV-10: what others can make a device keep is bounded.
    fn check_bounds(&mut self) {
        for n in self.honest() {
            let Some(store) = self.world.store(self.nodes[n]) else { continue };
            let all = Range {
                table: Table::Orphans,
                name: &self.group.0,
                from: &[],
                to: None,
                reverse: false,
                limit: usize::MAX,
            };
            let waiting = store.scan(all).map_or(0, |rows| rows.len());
            if waiting > kith_mls::ORPHANS_MAX as usize {
                self.fault(
                    "unbounded",
                    format!("node {n} keeps {waiting} objects for states that nobody knows"),
                );
            }
        }
    }

    /// The fork rule as the oracle reads it: every member stands where its facts
    /// say; no order that holds is open there; what most voted for stands; nobody
    /// honest has signed two objects under one number.
    fn check_rule(&mut self) {
        for n in self.honest() {
            let Some(store) = self.world.store(self.nodes[n]) else { continue };
            let Ok(group) = view::group(&*store, self.group) else { continue };
            if !group.me_in || group.behind {
                continue;
            }
            let Some(verdict) = self.ask_oracle(n, u64::MAX) else { continue };
            for order in verdict.open {
                self.fault("order_open", format!("node {n}: order {} holds and is open", order.hex()));
            }
            for (device, number) in verdict.ends {
                if self.honest().iter().any(|h| self.devices[*h] == device) {
                    let who = device.hex();
                    self.fault("two_faced", format!("node {n}: {who} signed two objects as {number}"));
                }
            }
            for at in verdict.undone {
                self.fault("finality", format!("node {n}: most left {} by another child", at.hex()));
            }
        }
        for (_, step) in &self.judged {
            *self.report.oracle_forks.entry(step.name()).or_default() += 1;
        }
    }

    /// Whether a node stands, or knows that it should stand, where the oracle
    /// says, at any time; unless it may be keeping its tip for a new order.
    pub(super) fn ask_oracle(&mut self, n: usize, now_ms: u64) -> Option<oracle::Verdict> {
        let store = self.world.store(self.nodes[n])?;
        let facts = match view::facts(&*store, self.group) {
            Ok(facts) => facts,
            Err(kith_mls::EngineError::UnknownGroup) => return None,
            Err(e) => {
                self.fault("oracle", format!("node {n}: {e}"));
                return None;
            }
        };
        if facts.hold_until.saturating_add(HOLD_SLACK_MS) > now_ms {
            return None;
        }
        let verdict = match oracle::judge(&facts) {
            Ok(verdict) => verdict,
            Err(why) => {
                self.fault("oracle", format!("node {n}: {why}"));
                return None;
            }
        };
        let stands = facts.goal.unwrap_or(facts.tip);
        if verdict.tip != stands {
            let (stands, should, contested) = (stands.hex(), verdict.tip.hex(), facts.contested);
            self.fault(
                "oracle",
                format!("node {n} stands in {stands}, should in {should} (contested: {contested})"),
            );
            if self.facts {
                println!("at {} ms: {}", self.world.now().mono_ms, self.facts_of(n));
            }
        }
        self.judged.extend(verdict.forks.clone());
        Some(verdict)
    }

    /// Texts that somebody lacks who stayed a member all the time, as their
    /// author did.
    fn lost(&self) -> Vec<String> {
        let mut out = Vec::new();
        for n in (0..self.nodes.len()).filter(|n| !self.gone.contains_key(n)) {
            let texts: BTreeSet<String> =
                self.world.all_texts(self.nodes[n], &self.group).into_iter().collect();
            let stayed = |s: &Said| s.in_calm || !self.gone.contains_key(&s.author);
            let due = self.said.iter().filter(|s| stayed(s) && s.audience.contains(&n));
            out.extend(
                due.filter(|s| !texts.contains(&s.text) && !self.explained(s) && !self.waits_forsaken(s))
                    .map(|s| format!("node {n} lacks {:?}", s.text)),
            );
        }
        out
    }

    /// Whether a text never left, for a reason that its author is shown: the device
    /// was put back and does not know if it has said it; it is out by now; or there
    /// are people for whom the text was not written.
    fn explained(&self, said: &Said) -> bool {
        let author = said.author;
        let meant = |n: usize| said.audience.iter().any(|a| self.accounts[*a] == self.accounts[n]);
        let others = (0..self.nodes.len()).any(|n| !meant(n));
        let reason = self.put_back.contains(&author) || others || self.members(author).is_empty();
        reason && self.world.texts_in(self.nodes[author], &self.group, Failed).contains(&said.text)
    }

    /// Whether a text waits at its author until the device is let in, by people
    /// who let nobody in: it is shown as waiting.
    fn waits_forsaken(&self, said: &Said) -> bool {
        let author = self.nodes[said.author];
        let holds = |s: &MemoryStore| kith_core::is_holding(s, &self.group).unwrap_or(false);
        self.forsaken()
            && self.world.store(author).is_some_and(|s| holds(&s))
            && self.world.texts_in(author, &self.group, Queued).contains(&said.text)
    }

    /// INV-2, INV-9: who stayed a member all the time has every text of
    /// everybody who did, once; nobody reads what was said without them.
    fn check_texts(&mut self) {
        let shown: Vec<Vec<String>> =
            (0..self.nodes.len()).map(|n| self.world.all_texts(self.nodes[n], &self.group)).collect();
        let mut faults = Vec::new();
        for (n, texts) in shown.iter().enumerate() {
            let mut once = BTreeSet::new();
            for text in texts {
                if !once.insert(text) {
                    faults.push(("duplicated", format!("node {n} shows {text:?} twice")));
                }
            }
        }
        faults.extend(self.lost().into_iter().map(|why| ("lost", why)));
        for said in &self.said {
            for (n, texts) in shown.iter().enumerate() {
                let has = texts.contains(&said.text);
                // What an account may read, all its devices may.
                let own = self.siblings(n);
                let outside = self.gone.contains_key(&n)
                    && !said.audience.iter().any(|a| own.contains(a))
                    && !said.audience.is_empty();
                let barred = self.ordered_out.contains(&n)
                    && !own.contains(&said.author)
                    && said.barred.iter().any(|(b, times)| *b == n && self.gone.get(b) == Some(times));
                if has && (outside || barred) {
                    let who = if self.evil.contains(&n) { "the attacker" } else { "who was out" };
                    faults.push((
                        "read_after_removal",
                        format!("node {n}, {who}, reads {:?}, meant for {:?}", said.text, said.audience),
                    ));
                }
            }
        }
        for (counter, why) in faults {
            self.fault(counter, why);
        }
    }

    /// INV-9: what a member said on a branch that lost it says again on the one
    /// that won, or shows that it did not; others need not ask for it.
    fn check_said_again(&mut self) {
        let mut faults = Vec::new();
        for n in self.honest() {
            let Some(facts) = self.world.store(self.nodes[n]).and_then(|s| view::facts(&*s, self.group).ok())
            else {
                continue;
            };
            if !self.members(n).contains(&n) || facts.goal.is_some() {
                continue;
            }
            let mut aside: BTreeSet<String> = facts.commits.iter().map(|c| c.child.hex()).collect();
            let mut at = facts.tip;
            aside.remove(&at.hex());
            while let Some(commit) = facts.commits.iter().find(|c| c.child == at) {
                at = commit.parent;
                aside.remove(&at.hex());
            }
            let sealed = self.world.sealed(self.nodes[n], &self.group);
            let lost = sealed.into_iter().filter(|(_, state)| aside.contains(state));
            faults.extend(
                lost.map(|(text, _)| format!("node {n} said {text:?} on a branch that lost, and not again")),
            );
        }
        for why in faults {
            self.fault("said_aside", why);
        }
    }
}
