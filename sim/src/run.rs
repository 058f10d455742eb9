//! A run: one seed decides who is there, what they do and what goes wrong.
//! First faults, then everything heals and must come to rest; then the
//! checkers look at what is there.

mod check;
mod oracle;
mod plot;

use std::collections::{BTreeMap, BTreeSet};

use kith_core::api::{Command, Reply};
use kith_wire::ids::{AccountId, GroupId, StateId};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::{Faults, NodeIndex, RelayIndex, World};

/// What one run did and found.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Different commits made.
    pub commits: u64,
    /// Commits beyond the first that leave one state.
    pub forks: u64,
    /// Times that a device left a branch which had lost.
    pub rollbacks: u64,
    /// Devices let in again.
    pub readds: u64,
    /// Nodes that died.
    pub crashes: u64,
    /// Removals that a node accepted from its person.
    pub removals: u64,
    /// Texts that nodes accepted.
    pub texts: u64,
    /// Ciphertexts whose keys were looked at.
    pub ciphertexts: u64,
    /// Virtual time from the end of faults to rest, in rounds of 30 s.
    pub heal_rounds: u64,
    /// Forks that the oracle judged, by the step that decided.
    pub oracle_forks: BTreeMap<&'static str, u64>,
    /// Kinds of fault in it.
    pub faults: BTreeSet<&'static str>,
    /// Hash over everything that was sent.
    pub trace: String,
    /// What did not hold, by the name of the counter that it belongs to.
    pub faulty: Vec<(&'static str, String)>,
}

/// A text that a node accepted.
struct Said {
    text: String,
    author: usize,
    /// Nodes that the author held for members.
    audience: BTreeSet<usize>,
}

/// One run under way.
struct Run {
    rng: ChaCha20Rng,
    world: World,
    nodes: Vec<NodeIndex>,
    accounts: Vec<AccountId>,
    relays: Vec<RelayIndex>,
    group: GroupId,
    said: Vec<Said>,
    /// Nodes that somebody ordered out, or that left, and how often they were
    /// let in again after it.
    gone: BTreeMap<usize, u32>,
    /// Of these, those whose removal has to hold: by the founder, or their own
    /// wish; and nobody let them in again.
    ordered_out: BTreeSet<usize>,
    /// Forks that the oracle judged, with the step that decided then.
    judged: BTreeSet<(StateId, oracle::Step)>,
    report: Report,
}

/// Runs a seed to its end.
#[must_use]
pub fn seed(seed: u64) -> Report {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut run = match Run::begin(seed, &mut rng) {
        Ok(run) => run,
        Err(why) => {
            return Report { seed, faulty: vec![("not_set_up", why)], ..Report::default() };
        }
    };
    run.trouble();
    run.heal();
    run.check();
    run.report.trace = run.world.trace();
    run.report
}

impl Run {
    fn below(&mut self, n: u32) -> u32 {
        self.rng.next_u32() % n.max(1)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    fn pick(&mut self) -> usize {
        let n = u32::try_from(self.nodes.len()).unwrap_or(1);
        self.below(n) as usize
    }

    /// People, relays and a group in which all of them are.
    fn begin(seed: u64, rng: &mut ChaCha20Rng) -> Result<Self, String> {
        let mut world = World::new(seed);
        let people = [2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 8, 9, 10, 12][(rng.next_u32() % 14) as usize];
        let mut relays = Vec::new();
        for n in 0..rng.next_u32() % 3 {
            let relay = world.relay(&format!("relay {n}"), kith_bootstrap::Limits::default());
            relays.push(relay.map_err(|e| e.to_string())?);
        }
        let mut nodes = Vec::new();
        for n in 0..people {
            nodes.push(world.node(&format!("person {n}")).map_err(|e| e.to_string())?);
        }
        let links: Vec<String> = relays.iter().map(|r| world.community_link(*r)).collect();
        for node in &nodes {
            for link in &links {
                world.ask(*node, Command::AddRelay { link: link.clone() }).map_err(|r| r.message)?;
            }
        }
        world.run(5_000);
        let founder = nodes[0];
        let made = world.ask(founder, Command::CreateGroup { title: "sim".into(), members: Vec::new() });
        let Reply::Conversation(group) = made.map_err(|r| r.message)? else {
            return Err("no group".into());
        };
        let accounts: Vec<AccountId> = nodes.iter().filter_map(|n| world.account(*n)).collect();
        let mut run = Self {
            rng: rng.clone(),
            world,
            nodes,
            accounts,
            relays,
            group,
            said: Vec::new(),
            gone: BTreeMap::new(),
            ordered_out: BTreeSet::new(),
            judged: BTreeSet::new(),
            report: Report { seed, ..Report::default() },
        };
        for n in 1..run.nodes.len() {
            run.invite(0, n)?;
            run.world.run(3_000);
        }
        for _ in 0..20 {
            if (0..run.nodes.len()).all(|n| run.members(n).len() == run.nodes.len()) {
                run.appoint();
                return Ok(run);
            }
            run.world.run(15_000);
        }
        Err("the members did not find together without any fault".into())
    }

    /// One hands another a link to the group, and it is used.
    fn invite(&mut self, host: usize, guest: usize) -> Result<(), String> {
        let (host, guest) = (self.nodes[host], self.nodes[guest]);
        let ask = Command::CreateInvite { group: Some(self.group), uses: 1, valid_s: 36_000 };
        let Reply::Invite(invite) = self.world.ask(host, ask).map_err(|r| r.message)? else {
            return Err("no invite".into());
        };
        let use_it = Command::UseInvite { link: invite.link, greeting: "hello".into() };
        self.world.ask(guest, use_it).map_err(|r| r.message)?;
        Ok(())
    }

    /// Some become admins.
    fn appoint(&mut self) {
        for n in 1..self.nodes.len() {
            if self.chance(50) {
                self.set_role(0, n, kith_core::view::Role::Admin);
                self.world.run(2_000);
            }
        }
        self.world.run(20_000);
    }

    fn set_role(&mut self, by: usize, of: usize, role: kith_core::view::Role) {
        let command = Command::SetRole { group: self.group, account: self.accounts[of], role };
        // A refusal is an answer like any other.
        let _answer = self.world.ask(self.nodes[by], command);
    }

    /// Nodes that a node holds for members, itself included; empty if it is
    /// none or does not know the group yet.
    fn members(&self, node: usize) -> BTreeSet<usize> {
        let Some(store) = self.world.store(self.nodes[node]) else { return BTreeSet::new() };
        let Ok(view) = kith_mls::view::group(&*store, self.group) else { return BTreeSet::new() };
        if !view.me_in {
            return BTreeSet::new();
        }
        let place = |a: &AccountId| self.accounts.iter().position(|b| a == b);
        view.members.iter().filter_map(|m| place(&m.account)).collect()
    }

    fn calm(&mut self) {
        self.world.faults = Faults::default();
        for a in 0..self.nodes.len() {
            for b in 0..self.nodes.len() {
                if a < b {
                    self.world.reachable(self.nodes[a], self.nodes[b], true);
                }
                if a != b {
                    self.world.stall(self.nodes[a], self.nodes[b], false);
                }
            }
            for relay in self.relays.clone() {
                self.world.relay_reachable(self.nodes[a], relay, true);
            }
        }
        for relay in self.relays.clone() {
            let _runs = self.world.start_relay(relay);
        }
        for node in self.nodes.clone() {
            let _runs = self.world.start(node);
        }
    }
}
