//! What people do and what goes wrong while they do it.

use kith_core::api::Command;
use kith_core::view::Role;

use super::{Run, Said};
use crate::Faults;

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
    (2, Deed::Skew),
    (8, Deed::Wait),
    (3, Deed::LongWait),
];

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
    Skew,
    Wait,
    LongWait,
}

impl Run {
    /// The first phase: deeds and faults, one after the other.
    pub(super) fn trouble(&mut self) {
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
        let deeds = 40 + self.below(60);
        let all: u32 = DEEDS.iter().map(|(weight, _)| weight).sum();
        for n in 0..deeds {
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
            let one = n as usize % self.nodes.len();
            let now = self.world.wall_at(self.nodes[one]);
            let _verdict = self.ask_oracle(one, now);
        }
    }

    fn deed(&mut self, n: u32, deed: Deed) {
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
                if who != 0 && self.gone.len() * 3 < self.nodes.len() && !self.members(who).is_empty() {
                    let left = self.world.ask(self.nodes[who], Command::LeaveGroup { group: self.group });
                    if left.is_ok() {
                        self.ordered_out.insert(who);
                        self.gone.entry(who).or_default();
                    }
                }
            }
            Deed::Invite => {
                let guests: Vec<usize> =
                    self.gone.keys().copied().filter(|g| self.members(*g).is_empty()).collect();
                if let Some(guest) = guests.first().copied() {
                    let host = self.pick();
                    if self.invite(host, guest).is_ok() {
                        self.ordered_out.remove(&guest);
                        *self.gone.entry(guest).or_default() += 1;
                    }
                }
            }
            Deed::Promote | Deed::Demote => {
                let (by, of) = (self.pick(), self.pick());
                let role = if matches!(deed, Deed::Promote) { Role::Admin } else { Role::Member };
                if of != 0 {
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
        let audience = self.members(author);
        let text = format!("text {n} of {author}");
        let command =
            Command::SendText { group: self.group, text: text.clone(), reply_to: None, key: text.clone() };
        if self.world.ask(self.nodes[author], command).is_ok() {
            self.report.texts += 1;
            self.said.push(Said { text, author, audience });
        }
    }

    fn rename(&mut self, who: usize, title: &str) {
        let command = Command::RenameGroup { group: self.group, title: title.into() };
        // Who may not is refused, as is somebody who is out.
        let _answer = self.world.ask(self.nodes[who], command);
    }

    fn remove(&mut self) {
        let (by, of) = (self.pick(), self.pick());
        if of == 0 || by == of || self.gone.len() * 3 >= self.nodes.len() {
            return;
        }
        let command = Command::RemoveMember { group: self.group, account: self.accounts[of] };
        if self.world.ask(self.nodes[by], command).is_ok() {
            self.report.removals += 1;
            self.gone.entry(of).or_default();
            // Another's order may be void: somebody above took the right away.
            if by == 0 {
                self.ordered_out.insert(of);
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
