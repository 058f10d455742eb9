//! A run: one seed decides who is there, what they do and what goes wrong.
//! First faults, then everything heals and must come to rest; then the
//! checkers look at what is there.

pub mod attack;
mod check;
mod oracle;
mod plot;

use std::collections::{BTreeMap, BTreeSet};

use kith_core::api::{Command, Reply};
use kith_mls::keep_images;
use kith_store::MemoryStore;
use kith_wire::group::Target;
use kith_wire::ids::{AccountId, CommitId, DeviceId, GroupId, StateId};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::{Faults, Mood, NodeIndex, RelayIndex, World};
use attack::Script;

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
    /// What people did, in their order: for who looks into one seed.
    pub story: Vec<String>,
    /// Devices in it.
    pub devices: u64,
    /// Virtual seconds from contact until all stood in one state.
    pub together_s: u64,
    /// A scenario found nobody to play it.
    pub skipped: bool,
    /// Attacks that took place.
    pub attacks: BTreeSet<&'static str>,
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
    /// Of these, those that it knew to be ordered out for good, with how often
    /// they had been let in again.
    barred: Vec<(usize, u32)>,
    /// Nothing was in the way: it has to arrive whatever its author was before.
    in_calm: bool,
}

/// One run under way.
struct Run {
    rng: ChaCha20Rng,
    /// `KITH_SIM_FACTS` is set: what everybody knows is printed.
    facts: bool,
    world: World,
    nodes: Vec<NodeIndex>,
    /// Of each node; further devices of one account have the same.
    accounts: Vec<AccountId>,
    devices: Vec<DeviceId>,
    relays: Vec<RelayIndex>,
    group: GroupId,
    said: Vec<Said>,
    /// Nodes that somebody ordered out, or that left, and how often they were
    /// let in again after it.
    gone: BTreeMap<usize, u32>,
    /// Of these, those whose removal has to hold: by the founder, or their own
    /// wish; and nobody let them in again.
    ordered_out: BTreeSet<usize>,
    /// Nodes that were made admins.
    appointed: BTreeSet<usize>,
    /// Nodes in an attacker's hands, and commits that must never count.
    evil: BTreeSet<usize>,
    /// Whose guests came back, or were to.
    hosts: BTreeMap<usize, BTreeSet<usize>>,
    rogue: BTreeSet<CommitId>,
    /// Whether nothing of the attack may come to count.
    strict: bool,
    /// A device and what lay on its disk some time ago.
    old_disk: Option<(usize, MemoryStore)>,
    /// Nodes that were put back to it.
    put_back: BTreeSet<usize>,
    /// Nobody keeps more than a few states' keys.
    few_images: bool,
    /// Commits that the others make while an old one is kept back.
    commits_before: u32,
    /// Forks that the oracle judged, with the step that decided then.
    judged: BTreeSet<(StateId, oracle::Step)>,
    report: Report,
}

/// Runs a seed to its end.
#[must_use]
pub fn seed(seed: u64) -> Report {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let people = PEOPLE[(rng.next_u32() % 14) as usize];
    run(seed, rng, people, |run| {
        if seed % FEW_IMAGES_EVERY == 2 {
            keep_images(Some(2 + (seed / FEW_IMAGES_EVERY % 4) as usize));
            run.few_images = true;
            run.report.faults.insert("few_images");
        }
        run.trouble();
        if seed.is_multiple_of(COPIES_EVERY) {
            run.heal();
            run.copy_a_disk_back();
        }
    })
}

/// Runs one attack in a calm world.
#[must_use]
pub fn scenario(script: &Script, seed: u64) -> Report {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let people = 5 + (rng.next_u32() % 3) as usize;
    run(seed, rng, people, |run| run.play(script))
}

/// Fifty devices, a day apart in two halves, with five that change the group
/// all the time, two of them started anew in the middle.
#[must_use]
pub fn day_apart(seed: u64) -> Report {
    run(seed, ChaCha20Rng::seed_from_u64(seed), 50, Run::a_day_apart)
}

/// Of so many seeds one ends with somebody who copies an old disk back when all
/// is calm: then no key may be used twice.
const COPIES_EVERY: u64 = 7;
/// In one of so many seeds nobody keeps more than a few states' keys, and all
/// talk much: they give up what others would have kept, and enter states again
/// in which they have used keys.
const FEW_IMAGES_EVERY: u64 = 5;
/// Times that a further device is added.
const TRIES: usize = 4;
/// People of a seed.
const PEOPLE: [usize; 14] = [2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 8, 9, 10, 12];

thread_local! {
    /// OpenMLS hands parts of its work to rayon: here to the thread that asks,
    /// without a switch to another one for each commit.
    static ALONE: Result<rayon::ThreadPool, rayon::ThreadPoolBuildError> =
        rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
}

fn run(seed: u64, rng: ChaCha20Rng, people: usize, first: impl FnOnce(&mut Run)) -> Report {
    // Where it cannot be had, it only takes longer.
    let _alone = ALONE.with(Result::is_ok);
    keep_images(None);
    let mut run = match Run::begin(seed, rng, people) {
        Ok(run) => run,
        Err(why) => {
            return Report { seed, faulty: vec![("not_set_up", why)], ..Report::default() };
        }
    };
    first(&mut run);
    run.heal();
    run.check();
    run.report.trace = run.world.trace();
    run.report
}

impl Run {
    /// Notes what somebody did.
    fn tell(&mut self, what: &str) {
        let at = self.world.now().mono_ms;
        let stands = if self.facts { self.stands() } else { String::new() };
        self.report.story.push(format!("{:>9.3} s  {what}{stands}", at as f64 / 1_000.0));
    }

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
    fn begin(seed: u64, mut rng: ChaCha20Rng, people: usize) -> Result<Self, String> {
        let mut world = World::new(seed);
        let mut relays = Vec::new();
        let mut full = false;
        for n in 0..rng.next_u32() % 3 {
            // A small one is full before long.
            let small = kith_bootstrap::Limits { total_bytes: 200_000, ..Default::default() };
            let is_small = people < 20 && rng.next_u32().is_multiple_of(6);
            full |= is_small;
            let limits = if is_small { small } else { Default::default() };
            let relay = world.relay(&format!("relay {n}"), limits);
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
        let devices: Vec<DeviceId> = nodes.iter().filter_map(|n| world.device(*n)).collect();
        let mut run = Self {
            rng,
            facts: std::env::var_os("KITH_SIM_FACTS").is_some(),
            world,
            nodes,
            accounts,
            devices,
            relays,
            group,
            said: Vec::new(),
            gone: BTreeMap::new(),
            ordered_out: BTreeSet::new(),
            appointed: BTreeSet::new(),
            evil: BTreeSet::new(),
            hosts: BTreeMap::new(),
            rogue: BTreeSet::new(),
            strict: false,
            old_disk: None,
            put_back: BTreeSet::new(),
            few_images: false,
            commits_before: 12,
            judged: BTreeSet::new(),
            report: Report { seed, ..Report::default() },
        };
        for n in 1..run.nodes.len() {
            run.invite(0, n)?;
            run.world.run(3_000);
        }
        if full {
            run.report.faults.insert("relay_full");
        }
        run.together("the members did not find together without any fault")?;
        run.more_devices()?;
        Ok(run)
    }

    fn together(&mut self, or: &str) -> Result<(), String> {
        for _ in 0..20 {
            if (0..self.nodes.len()).all(|n| self.members(n).len() == self.nodes.len()) {
                return Ok(());
            }
            self.world.run(15_000);
        }
        Err(or.into())
    }

    /// Some have a second or third device.
    fn more_devices(&mut self) -> Result<(), String> {
        if self.nodes.len() > 12 || !self.chance(40) {
            return Ok(());
        }
        for _ in 0..1 + self.below(3) {
            let of = self.pick();
            let first = self.accounts.iter().position(|a| *a == self.accounts[of]).unwrap_or(of);
            let further = self.world.further(self.nodes[first]).map_err(|e| e.to_string())?;
            for relay in self.relays.clone() {
                let link = self.world.community_link(relay);
                self.world.ask(further, Command::AddRelay { link }).map_err(|r| r.message)?;
            }
            self.world.run(3_000);
            self.nodes.push(further);
            self.accounts.push(self.accounts[first]);
            self.devices.extend(self.world.device(further));
            // Until devices are linked by people, nobody adds one again whose
            // commit has lost.
            let mut done = Err(String::new());
            for _ in 0..TRIES {
                self.world.add_further(self.nodes[first], further, self.group).map_err(|r| r.message)?;
                done = self.together("a further device did not find into the group");
                if done.is_ok() {
                    break;
                }
            }
            done?;
            self.report.faults.insert("several_devices");
        }
        Ok(())
    }

    /// All nodes of a node's account.
    fn siblings(&self, of: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.accounts[*n] == self.accounts[of]).collect()
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
                let all = self.siblings(n);
                self.appointed.extend(all);
                self.set_role(0, n, kith_core::view::Role::Admin);
                self.world.run(2_000);
            }
        }
        self.world.run(20_000);
    }

    fn set_role(&mut self, by: usize, of: usize, role: kith_core::view::Role) {
        let command = Command::SetRole { group: self.group, account: self.accounts[of], role };
        // A refusal is an answer like any other.
        let answer = self.world.ask(self.nodes[by], command).is_ok();
        if answer && role == kith_core::view::Role::Admin {
            let all = self.siblings(of);
            self.appointed.extend(all);
        }
        self.tell(&format!("{by} makes {of} {role:?}: {answer}"));
    }

    /// Nodes that a node holds for members, itself included; empty if it is
    /// none or does not know the group yet.
    fn members(&self, node: usize) -> BTreeSet<usize> {
        let Some(store) = self.world.store(self.nodes[node]) else { return BTreeSet::new() };
        let Ok(view) = kith_mls::view::group(&*store, self.group) else { return BTreeSet::new() };
        if !view.me_in {
            return BTreeSet::new();
        }
        let place = |d: &DeviceId| self.devices.iter().position(|b| d == b);
        view.members.iter().filter_map(|m| place(&m.device)).collect()
    }

    /// Of them, those that the node knows to be ordered out for good.
    fn barred(&self, node: usize) -> Vec<(usize, u32)> {
        let store = self.world.store(self.nodes[node]);
        let duties = store.and_then(|s| kith_mls::view::duties(&*s, self.group).ok());
        let targets = duties.map(|d| d.targets).unwrap_or_default();
        let out = |n: &usize| {
            targets.contains(&Target::Account(self.accounts[*n]))
                || targets.contains(&Target::Device(self.devices[*n]))
        };
        let barred = self.members(node).into_iter().filter(|n| out(n) && self.ordered_out.contains(n));
        barred.map(|n| (n, self.gone.get(&n).copied().unwrap_or_default())).collect()
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
            self.world.set_mood(relay, Mood::Honest);
            let _runs = self.world.start_relay(relay);
        }
        for node in self.nodes.clone() {
            let _runs = self.world.start(node);
        }
    }
}
