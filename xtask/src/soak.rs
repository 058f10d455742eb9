//! `cargo xtask soak crash`: `kill -9` on the sender, the receiver and the
//! relay while messages flow. What was accepted may not be lost, nothing may
//! be shown twice, and no two ciphertexts may share (state, leaf, generation).

mod file;
mod flow;
mod trace;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;

use crate::env::{Binaries, CONTROLS, Env, Profile, number, only_flags};
use crate::lab::node::acquaint;
use crate::lab::{Flags, Node, Relay, Scratch, figure, median};
use crate::random::Random;
use crate::tally::Tally;
use crate::{tools, ui};
use flow::Flow;

/// Messages of a whole soak.
const MESSAGES: u64 = 5_000;
/// Kills per role that a whole soak needs.
const KILLS_PER_ROLE: u64 = 50;
/// Kills with messages in flight that a whole soak needs.
const KILLS_IN_FLIGHT: u64 = 150;
/// Rounds of a whole soak, at least.
const ROUNDS: u64 = 165;
/// Rounds in which the control must fail.
const CONTROL_ROUNDS: u64 = 80;
/// Rounds without a kill that measure when the last acknowledgement comes.
const UNDISTURBED: usize = 3;
/// How long a round's messages may take to be acknowledged after the kill.
const SETTLE: Duration = Duration::from_secs(90);

/// The same in the control, where it may take for ever.
const CONTROL_SETTLE: Duration = Duration::from_secs(10);

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Sender,
    Receiver,
    Relay,
}

const ROLES: [Role; 3] = [Role::Sender, Role::Receiver, Role::Relay];

/// What a soak is asked for.
#[derive(Debug, Clone, Copy)]
struct Plan {
    seed: u64,
    rounds: u64,
    messages: u64,
    /// Go on until the whole soak's numbers are reached.
    whole: bool,
    /// Send before the commit; stop at the first fault.
    control: bool,
}

/// Runs a soak from the command line.
pub(crate) fn run(env: &Env, args: &[String]) -> Result<bool> {
    let rest = match args.split_first().map(|(name, rest)| (name.as_str(), rest)) {
        Some(("crash", rest)) => rest,
        Some(("file", rest)) => return file::run(env, rest),
        _ => bail!("there are `cargo xtask soak crash` and `cargo xtask soak file`"),
    };
    only_flags(rest, &["--rounds", "--seed", "--messages"], &["--control"])?;
    tools::ensure(env, &[tools::CLANG, tools::NPM])?;
    ui::build(env, false)?;
    if rest.iter().any(|a| a == "--control") {
        return Ok(control(env)?.failed == 0);
    }
    let rounds = number(rest, "--rounds", ROUNDS)?.clamp(3, 100_000);
    let plan = Plan {
        seed: number(rest, "--seed", Random::fresh_seed())?,
        rounds,
        messages: number(rest, "--messages", MESSAGES * rounds / ROUNDS)?.max(rounds),
        whole: rounds >= ROUNDS,
        control: false,
    };
    Ok(soak(env, plan)?.faults() == 0)
}

/// The short soak of every test run.
pub(crate) fn rounds(env: &Env, rounds: u64) -> Result<Tally> {
    let plan = Plan {
        seed: Random::fresh_seed(),
        rounds,
        messages: MESSAGES * rounds / ROUNDS,
        whole: false,
        control: false,
    };
    Ok(soak(env, plan)?.tally())
}

/// With sending before the commit the same soak must find a fault.
pub(crate) fn control(env: &Env) -> Result<Tally> {
    let plan = Plan {
        seed: Random::fresh_seed(),
        rounds: CONTROL_ROUNDS,
        messages: CONTROL_ROUNDS * 60,
        whole: false,
        control: true,
    };
    let result = soak(env, plan)?;
    let found = result.faults() > 0;
    println!(
        "soak.control: {} ({} kills until the first fault)",
        if found { "a fault was found, as it must be" } else { "no fault was found: the soak is blind" },
        result.kills
    );
    Ok(Tally::one(found))
}

/// What a soak found.
#[derive(Debug, Default, Clone)]
struct Outcome {
    kills: u64,
    per_role: [u64; 3],
    in_flight: u64,
    accepted: u64,
    lost: u64,
    twice: u64,
    checked: u64,
    reused: u64,
    /// Messages that no one acknowledged in time.
    stuck: u64,
}

impl Outcome {
    fn faults(&self) -> u64 {
        self.lost + self.twice + self.reused + self.stuck
    }

    fn tally(&self) -> Tally {
        let checks = [
            self.lost == 0,
            self.twice == 0,
            self.reused == 0,
            self.stuck == 0,
            // A kill between the commit and the trace line loses that line.
            self.checked * 100 >= self.accepted * 99 && self.accepted > 0,
        ];
        checks.iter().fold(Tally::default(), |sum, ok| sum.plus(Tally::one(*ok)))
    }

    fn print(&self) {
        let [sender, receiver, relay] = self.per_role;
        for (name, value) in [
            ("soak.kills_sender", sender),
            ("soak.kills_receiver", receiver),
            ("soak.kills_relay", relay),
            ("soak.kills_in_flight", self.in_flight),
        ] {
            figure(name, value as f64, "kills");
        }
        for (name, value) in [
            ("soak.accepted", self.accepted),
            ("soak.accepted_and_lost", self.lost),
            ("soak.shown_twice", self.twice),
            ("soak.not_acknowledged", self.stuck),
        ] {
            figure(name, value as f64, "messages");
        }
        figure("soak.ciphertexts_checked", self.checked as f64, "ciphertexts");
        figure("soak.nonce_reuse", self.reused as f64, "pairs");
    }
}

/// Runs a plan.
fn soak(env: &Env, plan: Plan) -> Result<Outcome> {
    println!("soak.seed: {}", plan.seed);
    let Binaries { kith, bootstrap } = env.binaries(CONTROLS, Profile::Dev)?;
    let mut scratch = Scratch::new(&env.target, "soak")?;
    let begin = Instant::now();
    let result = (|| {
        let mut soak = Soak::start(&kith, &bootstrap, &scratch, plan)?;
        soak.rounds()?;
        soak.finish()
    })();
    match &result {
        Ok(outcome) => outcome.print(),
        Err(error) => println!("soak.error: {error:#}"),
    }
    figure("soak.duration", begin.elapsed().as_secs_f64(), "s");
    if !plan.control && result.as_ref().map_or(true, |outcome| outcome.faults() > 0) {
        scratch.keep();
        println!("data folders and logs are kept in {}", scratch.path().display());
    }
    result
}

/// A running soak.
struct Soak {
    plan: Plan,
    random: Random,
    relay: Relay,
    flow: Flow,
    trace: trace::Trace,
    outcome: Outcome,
    /// From the first send to the last acknowledgement of an undisturbed
    /// round: [direct, by relay].
    usual: [Duration; 2],
}

impl Soak {
    fn start(
        kith: &std::path::Path,
        bootstrap: &std::path::Path,
        scratch: &Scratch,
        plan: Plan,
    ) -> Result<Self> {
        let relay = Relay::start(bootstrap, scratch.path())?;
        let trace = trace::Trace::new(scratch.path(), plan.control);
        let mut alice = Node::create(kith, scratch.path(), "Alice", trace.flags("alice"))?;
        let mut bob = Node::create(kith, scratch.path(), "Bob", trace.flags("bob"))?;
        alice.add_relay(&relay.link)?;
        bob.add_relay(&relay.link)?;
        let conversation = acquaint(&mut alice, &mut bob)?;
        let flow = Flow::new(alice, bob, conversation);
        let usual = [Duration::ZERO; 2];
        Ok(Self {
            plan,
            random: Random::new(plan.seed),
            relay,
            flow,
            trace,
            outcome: Outcome::default(),
            usual,
        })
    }

    fn rounds(&mut self) -> Result<()> {
        let per_round = (self.plan.messages / self.plan.rounds).max(1);
        for direct in [true, false] {
            self.direct(direct)?;
            let mut times = Vec::new();
            for _ in 0..UNDISTURBED {
                let begin = Instant::now();
                self.flow.send(per_round);
                self.settle()?;
                let end = self.flow.last_acknowledged().unwrap_or(begin);
                times.push(end.saturating_duration_since(begin).as_secs_f64());
            }
            let usual = median(times);
            self.usual[usize::from(!direct)] = Duration::from_secs_f64(usual);
            let way = if direct { "direct" } else { "by relay" };
            println!("undisturbed, {way}: last acknowledgement after {:.0} ms", usual * 1e3);
        }
        let most = self.plan.rounds * 2;
        let mut bag: Vec<Role> = Vec::new();
        for round in 0..most {
            if self.outcome.faults() > 0 || (round >= self.plan.rounds && !self.short()) {
                break;
            }
            if bag.is_empty() {
                bag.extend(ROLES);
                self.random.shuffle(&mut bag);
            }
            let role = if self.plan.control { Role::Sender } else { bag.pop().unwrap_or(Role::Sender) };
            // The relay matters where there is no other way.
            let direct = self.plan.control || (role != Role::Relay && self.random.below(2) == 0);
            self.round(role, direct, per_round)?;
        }
        Ok(())
    }

    /// A whole soak that has not reached its numbers.
    fn short(&self) -> bool {
        self.plan.whole
            && (self.outcome.in_flight < KILLS_IN_FLIGHT
                || self.outcome.per_role.iter().any(|kills| *kills < KILLS_PER_ROLE))
    }

    /// Messages flow, one process is killed, comes back, and all settles.
    fn round(&mut self, role: Role, direct: bool, messages: u64) -> Result<()> {
        self.direct(direct)?;
        let usual = self.usual[usize::from(!direct)];
        let micros = u64::try_from(usual.as_micros()).unwrap_or(u64::MAX);
        let after = Duration::from_micros(self.random.below(micros));
        let begin = Instant::now();
        self.flow.send(messages);
        // The moment of the kill is what is drawn: nothing is waited for.
        std::thread::sleep(after.saturating_sub(begin.elapsed()));
        let flying = self.flow.in_flight();
        match role {
            Role::Sender => {
                self.flow.kill_sender()?;
                self.flow.resume_sender()?;
            }
            Role::Receiver => {
                self.flow.kill_receiver()?;
                self.flow.resume_receiver()?;
            }
            Role::Relay => {
                self.relay.kill()?;
                self.relay.restart()?;
            }
        }
        self.outcome.kills += 1;
        self.outcome.per_role[role as usize] += 1;
        self.outcome.in_flight += u64::from(flying > 0);
        println!(
            "kill {}: {role:?} after {} ms, {}, {flying} in flight",
            self.outcome.kills,
            after.as_millis(),
            if direct { "direct" } else { "by relay" }
        );
        self.settle()?;
        self.outcome.reused = self.trace.reused()?.1;
        Ok(())
    }

    /// Waits until everything sent so far is accepted and acknowledged, and
    /// looks for losses and doubles.
    fn settle(&mut self) -> Result<()> {
        let state = self.flow.settle(if self.plan.control { CONTROL_SETTLE } else { SETTLE })?;
        self.outcome.accepted = state.accepted;
        self.outcome.lost = state.lost;
        self.outcome.twice = state.twice;
        self.outcome.stuck = state.stuck;
        Ok(())
    }

    fn direct(&mut self, on: bool) -> Result<()> {
        for node in self.flow.nodes() {
            let mut settings = node.get("/settings")?;
            if settings["direct"] != json!(on) {
                settings["direct"] = json!(on);
                node.put("/settings", &settings)?;
            }
        }
        Ok(())
    }

    /// The last look, at everything.
    fn finish(mut self) -> Result<Outcome> {
        let state = self.flow.census()?;
        self.outcome.accepted = state.accepted;
        self.outcome.lost = state.lost;
        self.outcome.twice = state.twice;
        for node in self.flow.nodes() {
            node.stop()?;
        }
        self.relay.stop()?;
        let (checked, reused) = self.trace.reused()?;
        self.outcome.checked = checked;
        self.outcome.reused = reused;
        Ok(self.outcome)
    }
}

/// Flags of a soak's node.
fn flags(environment: Vec<(String, String)>) -> Flags {
    Flags { environment, ..Flags::default() }
}
