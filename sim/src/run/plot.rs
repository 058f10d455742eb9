//! What people do and what goes wrong while they do it.

use kith_core::api::Command;
use kith_core::view::Role;

use super::attack::{Attack, SCRIPTS, Script};
use super::{Run, Said};
use crate::{Faults, Mood};

/// A deed of the plot. The numbers weigh how often it comes.
const DEEDS: &[(u32, Deed)] = &[
    (30, Deed::Say),
    (10, Deed::Rename),
    (8, Deed::RenameAtOnce),
    (10, Deed::Remove),
    (2, Deed::Leave),
    (6, Deed::Invite),
    (4, Deed::Promote),
    (3, Deed::Demote),
    (8, Deed::Part),
    (6, Deed::Stall),
    (10, Deed::Mend),
    (8, Deed::Crash),
    (3, Deed::RelayStops),
    (4, Deed::RelayMood),
    (2, Deed::Skew),
    (8, Deed::Wait),
    (3, Deed::LongWait),
];

/// Number of a text behind all others.
const LAST_TEXT: u32 = 1_000_000;

#[derive(Debug, Clone, Copy)]
enum Deed {
    Say,
    Rename,
    RenameAtOnce,
    Remove,
    Leave,
    Invite,
    Promote,
    Demote,
    Part,
    Stall,
    Mend,
    Crash,
    RelayStops,
    RelayMood,
    Skew,
    Wait,
    LongWait,
}

impl Run {
    /// The first phase: deeds and faults, one after the other.
    pub(super) fn trouble(&mut self) {
        self.appoint();
        let rough = self.below(3);
        self.world.faults = Faults {
            delay_ms: (1, [50, 400, 4_000][rough as usize]),
            cut: [0, 10, 60][self.below(3) as usize],
            crash_before: [0, 1, 4][self.below(3) as usize],
            crash_after: [0, 1, 4][self.below(3) as usize],
            refuse: [0, 1, 4][self.below(3) as usize],
        };
        let faults = self.world.faults;
        for (kind, on) in [
            ("delay", faults.delay_ms.1 > 50),
            ("loss", faults.cut > 0),
            ("crash_before_commit", faults.crash_before > 0),
            ("crash_after_commit", faults.crash_after > 0),
            ("failed_write", faults.refuse > 0),
        ] {
            if on {
                self.report.faults.insert(kind);
            }
        }
        // What a deed costs grows with the square of those that are there.
        let deeds = if self.nodes.len() > 8 { 24 + self.below(30) } else { 40 + self.below(60) };
        let all: u32 = DEEDS.iter().map(|(weight, _)| weight).sum();
        let attack_at = if self.chance(97) { deeds / 3 } else { u32::MAX };
        // By turns, so that each has its share. Two that can work together, or an
        // admin above others who are not, are rarely at hand: two turns each.
        let rare = [Attack::Colluders, Attack::BackdatedOrder];
        let turn = usize::try_from(self.report.seed).unwrap_or(0) % (SCRIPTS.len() + rare.len());
        let again = |attack: &Attack| SCRIPTS.iter().position(|s| s.attack == *attack);
        let first = rare.get(turn.wrapping_sub(SCRIPTS.len())).and_then(again).unwrap_or(turn);
        for n in 0..deeds {
            if n == deeds / 4 {
                self.keep_a_disk();
            }
            if n >= attack_at && self.report.attacks.is_empty() {
                self.some_attack(first, n >= deeds - deeds / 8);
            }
            let mut at = self.below(all);
            let mut chosen = Deed::Wait;
            for (weight, deed) in DEEDS {
                if at < *weight {
                    chosen = *deed;
                    break;
                }
                at -= weight;
            }
            self.deed(n, chosen);
            let pause = u64::from(self.below(4_000));
            self.world.run(pause);
            if self.few_images {
                self.all_talk(1_000 + n);
            }
            let one = n as usize % self.nodes.len();
            let now = self.world.wall_at(self.nodes[one]);
            // One that is down cannot have looked again after a hold.
            if !self.evil.contains(&one) && self.world.runs(self.nodes[one]) {
                let _verdict = self.ask_oracle(one, now);
            }
        }
    }

    /// What lies on a disk now may be copied back one day.
    fn keep_a_disk(&mut self) {
        let from = self.pick();
        let n = self.nodes.len();
        let fit = |who: &usize| *who != 0 && self.siblings(*who).len() == 1;
        if let Some(who) = (from..n).chain(0..from).find(fit) {
            self.old_disk = self.world.store(self.nodes[who]).map(|s| (who, s.fork()));
        }
    }

    /// When all is calm, somebody says what a copy of its disk does not know of,
    /// and copies that back.
    pub(super) fn copy_a_disk_back(&mut self) {
        let members = self.members(0);
        let fit = |who: &usize| {
            members.contains(who)
                && self.members(*who) == members
                && self.siblings(*who).len() == 1
                && !self.gone.contains_key(who)
        };
        let Some(who) = (1..self.nodes.len()).find(fit).filter(|_| self.report.faulty.is_empty()) else {
            return;
        };
        self.old_disk = self.world.store(self.nodes[who]).map(|s| (who, s.fork()));
        self.say_as(who, LAST_TEXT);
        self.world.run(5_000);
        let done = self.rewind(true);
        self.tell(&format!("{who} copies an old disk back: {done}"));
    }

    /// An attack, if somebody can do it now; or the `first` of them, in their
    /// order, that somebody can do.
    fn some_attack(&mut self, first: usize, any: bool) {
        let n = if any { SCRIPTS.len() } else { 1 };
        for script in SCRIPTS.iter().cycle().skip(first).take(n) {
            if self.attack(script.attack, false) {
                break;
            }
        }
        let evil: Vec<usize> = self.evil.iter().copied().collect();
        for who in evil {
            // Sooner or later somebody does something about it.
            if !self.ordered_out.contains(&who) && self.chance(60) {
                self.order_out(0, who);
            }
        }
    }

    /// A calm world with one attack in it.
    pub(super) fn play(&mut self, script: &Script) {
        self.commits_before = script.commits_before;
        for n in [1, 2] {
            self.set_role(0, n, Role::Admin);
            self.world.run(3_000);
        }
        for n in 0..4 {
            let who = self.pick();
            self.say_as(who, n);
            self.rename(0, &format!("calm {n}"));
            self.world.run(4_000);
            if n == 1 {
                let alone = |who: &usize| self.siblings(*who).len() == 1;
                let who = (3..self.nodes.len()).rev().find(alone).unwrap_or(3);
                self.old_disk = self.world.store(self.nodes[who]).map(|s| (who, s.fork()));
                // It says something that the copy does not know of.
                self.say_as(who, 90);
                self.world.run(2_000);
            }
        }
        if !self.attack(script.attack, true) {
            self.report.skipped = true;
        }
        for n in 10..14 {
            let who = self.pick();
            self.say_as(who, n);
            self.world.run(4_000);
        }
        self.rename(0, "after all");
        self.world.run(10_000);
    }

    /// A day in two halves, then contact.
    pub(super) fn a_day_apart(&mut self) {
        const HOUR_MS: u64 = 3_600_000;
        // The day takes two and a half million, and as the halves meet each of
        // 25 gets what it lacks from 25: three and a half.
        self.world.allow_steps(10_000_000);
        for n in 1..5 {
            self.set_role(0, n, Role::Admin);
            self.appointed.insert(n);
            self.world.run(10_000);
        }
        let side = |n: usize| n % 2 == 1;
        for a in 0..self.nodes.len() {
            for b in 0..a {
                if side(a) != side(b) {
                    self.world.reachable(self.nodes[a], self.nodes[b], false);
                }
            }
            for relay in self.relays.clone() {
                if side(a) {
                    self.world.relay_reachable(self.nodes[a], relay, false);
                }
            }
        }
        for hour in 0..24 {
            for n in 0..5 {
                self.rename(n, &format!("hour {hour} by {n}"));
            }
            for _ in 0..4 {
                let who = self.pick();
                self.say_as(who, 100 + hour);
            }
            if hour == 12 {
                for n in [1, 2] {
                    self.world.stop(self.nodes[n]);
                    let _runs = self.world.start(self.nodes[n]);
                }
            }
            self.world.run(HOUR_MS);
        }
        self.report.devices = self.nodes.len() as u64;
        self.calm();
        self.report.together_s = 1_000;
        for s in 1..=120 {
            self.world.run(1_000);
            let tips: std::collections::BTreeSet<String> = self.picture().into_iter().map(|p| p.0).collect();
            if tips.len() == 1 {
                self.report.together_s = s;
                break;
            }
        }
    }

    fn deed(&mut self, n: u32, deed: Deed) {
        if !matches!(deed, Deed::Say | Deed::Rename | Deed::RenameAtOnce) {
            self.tell(&format!("{deed:?}"));
        }
        match deed {
            Deed::Say => self.say(n),
            Deed::Rename => {
                let who = self.pick();
                self.rename(who, &format!("title {n}"));
            }
            Deed::RenameAtOnce => {
                for who in 0..self.nodes.len() {
                    if self.chance(60) {
                        self.rename(who, &format!("title {n} by {who}"));
                    }
                }
            }
            Deed::Remove => self.remove(),
            Deed::Leave => {
                let who = self.pick();
                if self.accounts[who] != self.accounts[0]
                    && self.gone.len() * 3 < self.nodes.len()
                    && !self.members(who).is_empty()
                {
                    let left = self.world.ask(self.nodes[who], Command::LeaveGroup { group: self.group });
                    self.tell(&format!("{who} leaves: {}", left.is_ok()));
                    if left.is_ok() {
                        for n in self.siblings(who) {
                            // What one says that was put back may not count.
                            if !self.put_back.contains(&n) {
                                self.ordered_out.insert(n);
                            }
                            self.gone.entry(n).or_default();
                        }
                    }
                }
            }
            Deed::Invite => {
                let guests: Vec<usize> = self.gone.keys().copied().filter(|g| self.may_return(*g)).collect();
                if let Some(guest) = guests.first().copied() {
                    let host = self.pick();
                    let invited = self.invite(host, guest).is_ok();
                    self.tell(&format!("{host} invites {guest}: {invited}"));
                    if invited {
                        self.hosts.entry(guest).or_default().insert(host);
                        for n in self.siblings(guest) {
                            self.ordered_out.remove(&n);
                        }
                        *self.gone.entry(guest).or_default() += 1;
                    }
                }
            }
            Deed::Promote | Deed::Demote => {
                let (by, of) = (self.pick(), self.pick());
                let role = if matches!(deed, Deed::Promote) { Role::Admin } else { Role::Member };
                if self.accounts[of] != self.accounts[0] {
                    if role == Role::Admin {
                        let all = self.siblings(of);
                        self.appointed.extend(all);
                    }
                    self.set_role(by, of, role);
                }
            }
            Deed::Part => self.part(),
            Deed::Stall => {
                let (a, b) = (self.pick(), self.pick());
                if a != b {
                    self.report.faults.insert("one_way");
                    self.world.stall(self.nodes[a], self.nodes[b], true);
                }
            }
            Deed::Mend => {
                let faults = self.world.faults;
                self.calm();
                self.world.faults = faults;
            }
            Deed::Crash => {
                self.report.faults.insert("crash");
                let who = self.pick();
                if self.world.runs(self.nodes[who]) {
                    self.world.crash(self.nodes[who]);
                }
            }
            Deed::RelayStops => {
                if let Some(relay) = self.relays.first().copied() {
                    self.report.faults.insert("relay_stops");
                    self.world.stop_relay(relay);
                }
            }
            Deed::RelayMood => {
                let n = u32::try_from(self.relays.len()).unwrap_or(0);
                let at = self.below(n) as usize;
                if let Some(relay) = self.relays.get(at).copied() {
                    let (mood, kind) = [
                        (Mood::Drops, "relay_drops"),
                        (Mood::Lies, "relay_lies"),
                        (Mood::Repeats, "relay_repeats"),
                    ][self.below(3) as usize];
                    self.report.faults.insert(kind);
                    self.world.set_mood(relay, mood);
                }
            }
            Deed::Skew => {
                self.report.faults.insert("clock_skew");
                let who = self.pick();
                let day = 24 * 3_600_000;
                let ms = i64::from(self.below(4 * day)) - 2 * i64::from(day);
                self.world.skew(self.nodes[who], ms);
            }
            Deed::Wait => {
                let ms = u64::from(self.below(30_000));
                self.world.run(ms);
            }
            Deed::LongWait => {
                let ms = u64::from(self.below(900_000));
                self.world.run(ms);
            }
        }
    }

    fn say(&mut self, n: u32) {
        let author = self.pick();
        self.say_as(author, n);
    }

    fn say_as(&mut self, author: usize, n: u32) {
        let (audience, barred) = (self.members(author), self.barred(author));
        let text = format!("text {n} of {author}");
        let command =
            Command::SendText { group: self.group, text: text.clone(), reply_to: None, key: text.clone() };
        let said = self.world.ask(self.nodes[author], command).is_ok();
        self.tell(&format!("{author} says {text:?} to {audience:?}: {said}"));
        if said {
            self.report.texts += 1;
            self.said.push(Said { text, author, audience, barred, in_calm: false });
        }
    }

    /// Many use keys of the state in which they are now.
    fn all_talk(&mut self, n: u32) {
        for who in 0..self.nodes.len() {
            if self.chance(30) {
                self.say_as(who, n);
            }
        }
    }

    /// Whether somebody who is out may be asked in again.
    fn may_return(&self, who: usize) -> bool {
        self.members(who).is_empty() && !self.evil.contains(&who)
    }

    pub(super) fn rename(&mut self, who: usize, title: &str) {
        let command = Command::RenameGroup { group: self.group, title: title.into() };
        // Who may not is refused, as is somebody who is out.
        let done = self.world.ask(self.nodes[who], command).is_ok();
        self.tell(&format!("{who} calls the group {title:?}: {done}"));
    }

    fn remove(&mut self) {
        let (by, of) = (self.pick(), self.pick());
        let founder = self.accounts[0];
        if self.accounts[of] == founder || self.accounts[by] == self.accounts[of] {
            return;
        }
        if self.gone.len() * 3 < self.nodes.len() {
            self.order_out(by, of);
        }
    }

    fn order_out(&mut self, by: usize, of: usize) {
        let command = Command::RemoveMember { group: self.group, account: self.accounts[of] };
        let ordered = self.world.ask(self.nodes[by], command).is_ok();
        self.tell(&format!("{by} removes {of}: {ordered}"));
        if ordered {
            self.report.removals += 1;
            for n in self.siblings(of) {
                self.gone.entry(n).or_default();
                // Another's order may be void: somebody above took the right away.
                if by == 0 {
                    self.ordered_out.insert(n);
                }
            }
        }
    }

    /// The network falls into two parts.
    fn part(&mut self) {
        self.report.faults.insert("partition");
        let side: Vec<bool> = (0..self.nodes.len()).map(|_| self.chance(50)).collect();
        for a in 0..self.nodes.len() {
            for b in 0..a {
                if side[a] != side[b] {
                    self.world.reachable(self.nodes[a], self.nodes[b], false);
                }
            }
            for relay in self.relays.clone() {
                if side[a] {
                    self.world.relay_reachable(self.nodes[a], relay, false);
                }
            }
        }
        let (ms, busy) = (u64::from(self.below(300_000)), self.below(24));
        for n in 0..busy {
            let who = self.pick();
            self.rename(who, &format!("apart {n}"));
            self.say(1_000 + n + self.report.texts as u32 * 100);
            self.world.run(ms / u64::from(busy.max(1)));
        }
    }
}
