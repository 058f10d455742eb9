//! The traffic of the soak: a pool of senders that repeat each message, under
//! one idempotency key, until the node has answered 202, and what both ends
//! show of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::lab::http::Client;
use crate::lab::{Node, PATIENCE};

/// Senders at work at the same time.
const SENDERS: usize = 8;
/// Every message's text begins so, its number follows.
const PREFIX: &str = "soak ";

/// What is true of the messages so far.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct State {
    pub(super) accepted: u64,
    pub(super) lost: u64,
    pub(super) twice: u64,
    pub(super) stuck: u64,
}

/// Shared between the senders and the soak.
#[derive(Debug, Default)]
struct Shared {
    /// The next number that nobody has taken.
    next: u64,
    /// Numbers up to this one are to be sent.
    goal: u64,
    /// Taken and not accepted yet.
    open: BTreeSet<u64>,
    /// 202 was seen.
    accepted: BTreeSet<u64>,
    /// A client of the running sender, by its count of starts; none while down.
    sender: Option<(u64, Arc<Mutex<Vec<Client>>>)>,
    /// Something that no repeat cures.
    broken: Option<String>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Pool {
    shared: Mutex<Shared>,
    changed: Condvar,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Traffic from one node to another.
#[derive(Debug)]
pub(super) struct Flow {
    sender: Node,
    receiver: Node,
    conversation: String,
    pool: Arc<Pool>,
    starts: u64,
    /// How often each number stands in each timeline, as far as it was read.
    shown: [Timeline; 2],
    /// Own messages that a device of the other side acknowledged, and when.
    acknowledged: Arc<Mutex<BTreeMap<u64, Instant>>>,
}

/// What was read of one node's timeline.
#[derive(Debug, Default)]
struct Timeline {
    /// Rows up to here were counted.
    position: u64,
    times: BTreeMap<u64, u64>,
}

impl Flow {
    /// Starts the senders; they wait for work.
    pub(super) fn new(sender: Node, receiver: Node, conversation: String) -> Self {
        let pool = Arc::new(Pool::default());
        for _ in 0..SENDERS {
            let (pool, path) = (Arc::clone(&pool), format!("/conversations/{conversation}/messages"));
            std::thread::spawn(move || work(&pool, &path));
        }
        let mut flow = Self {
            sender,
            receiver,
            conversation,
            pool,
            starts: 0,
            shown: [Timeline::default(), Timeline::default()],
            acknowledged: Arc::default(),
        };
        flow.sender_is_up();
        flow
    }

    /// Both nodes.
    pub(super) fn nodes(&mut self) -> [&mut Node; 2] {
        [&mut self.sender, &mut self.receiver]
    }

    /// Lets `count` more messages be sent.
    pub(super) fn send(&self, count: u64) {
        self.pool.lock().goal += count;
        self.pool.changed.notify_all();
    }

    /// When the last acknowledgement so far was seen.
    pub(super) fn last_acknowledged(&self) -> Option<Instant> {
        self.acknowledged.lock().ok()?.values().max().copied()
    }

    /// Messages begun and not acknowledged by the receiver's device.
    pub(super) fn in_flight(&self) -> u64 {
        let begun = self.pool.lock().next;
        let done = self.acknowledged.lock().map_or(0, |known| known.len() as u64);
        begun.saturating_sub(done)
    }

    pub(super) fn kill_sender(&mut self) -> Result<()> {
        let killed = self.sender.kill();
        self.pool.lock().sender = None;
        killed
    }

    pub(super) fn resume_sender(&mut self) -> Result<()> {
        self.sender.resume()?;
        self.sender_is_up();
        Ok(())
    }

    pub(super) fn kill_receiver(&mut self) -> Result<()> {
        self.receiver.kill()
    }

    pub(super) fn resume_receiver(&mut self) -> Result<()> {
        self.receiver.resume()
    }

    /// Gives the senders clients of the node as it runs now, and listens for
    /// its acknowledgements.
    fn sender_is_up(&mut self) {
        self.starts += 1;
        let clients = (0..SENDERS).map(|_| self.sender.fresh_client()).collect();
        self.pool.lock().sender = Some((self.starts, Arc::new(Mutex::new(clients))));
        self.pool.changed.notify_all();
        if let Ok(mut events) = self.sender.events() {
            let acknowledged = Arc::clone(&self.acknowledged);
            // Ends with the node's process.
            std::thread::spawn(move || {
                while let Ok(event) = events.next(Instant::now() + PATIENCE) {
                    let Some(event) = event else { continue };
                    if event["event"]["type"] == "message"
                        && let Some(number) = acknowledged_number(&event["event"]["message"])
                        && let Ok(mut known) = acknowledged.lock()
                    {
                        known.entry(number).or_insert_with(Instant::now);
                    }
                }
            });
        }
    }

    /// Waits until all is accepted and acknowledged; then both timelines are
    /// read on. What is still open after `patience` counts as stuck.
    pub(super) fn settle(&mut self, patience: Duration) -> Result<State> {
        let deadline = Instant::now() + patience;
        {
            let mut shared = self.pool.lock();
            while shared.next < shared.goal || !shared.open.is_empty() {
                if let Some(reason) = &shared.broken {
                    bail!("a message could not be sent: {reason}");
                }
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    bail!("{} messages were not accepted within {} s", shared.open.len(), patience.as_secs());
                }
                shared = self
                    .pool
                    .changed
                    .wait_timeout(shared, left)
                    .map_or_else(|e| e.into_inner().0, |(guard, _)| guard);
            }
        }
        let goal = self.pool.lock().goal;
        let conversation = self.conversation.clone();
        let acknowledged = Arc::clone(&self.acknowledged);
        let mut stuck = 0;
        let settled = self.sender.until(
            "all acknowledgements",
            deadline.saturating_duration_since(Instant::now()),
            |node| {
                let known = acknowledged.lock().map_or(0, |known| known.len() as u64);
                if known < goal {
                    collect(node, &conversation, goal, &acknowledged)?;
                }
                let known = acknowledged.lock().map_or(0, |known| known.len() as u64);
                stuck = goal.saturating_sub(known);
                Ok((stuck == 0).then_some(()))
            },
        );
        if let Err(error) = settled {
            if stuck == 0 {
                return Err(error);
            }
            println!("{stuck} messages were not acknowledged within {} s", patience.as_secs());
        }
        for (node, shown) in [&mut self.sender, &mut self.receiver].into_iter().zip(&mut self.shown) {
            shown.read_on(node, &self.conversation)?;
        }
        let mut state = self.state();
        state.stuck = stuck;
        Ok(state)
    }

    /// Reads both timelines from their beginning.
    pub(super) fn census(&mut self) -> Result<State> {
        self.shown = [Timeline::default(), Timeline::default()];
        for (node, shown) in [&mut self.sender, &mut self.receiver].into_iter().zip(&mut self.shown) {
            shown.read_on(node, &self.conversation)?;
        }
        Ok(self.state())
    }

    fn state(&self) -> State {
        let shared = self.pool.lock();
        let [own, theirs] = &self.shown;
        let lost = shared
            .accepted
            .iter()
            .filter(|number| !own.times.contains_key(number) || !theirs.times.contains_key(number))
            .count() as u64;
        let twice =
            own.times.values().chain(theirs.times.values()).filter(|times| **times > 1).count() as u64;
        State { accepted: shared.accepted.len() as u64, lost, twice, stuck: 0 }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.pool.lock().ended = true;
        self.pool.changed.notify_all();
    }
}

impl Timeline {
    /// Counts the rows after the last one counted.
    fn read_on(&mut self, node: &mut Node, conversation: &str) -> Result<()> {
        loop {
            let page = page(node, conversation, &format!("after={}", self.position))?;
            let Some(last) = page.last().and_then(|row| row["position"].as_u64()) else {
                return Ok(());
            };
            if last <= self.position {
                bail!("{} pages in circles at position {last}", node.name);
            }
            self.position = last;
            for number in page.iter().filter_map(number_of) {
                *self.times.entry(number).or_default() += 1;
            }
        }
    }
}

/// Adds the acknowledged ones among the newest messages.
fn collect(
    node: &mut Node,
    conversation: &str,
    goal: u64,
    into: &Arc<Mutex<BTreeMap<u64, Instant>>>,
) -> Result<()> {
    let mut before: Option<u64> = None;
    loop {
        let query = before.map_or_else(String::new, |position| format!("before={position}"));
        let rows = page(node, conversation, &query)?;
        let Ok(mut known) = into.lock() else { return Ok(()) };
        let before_page = known.len();
        for number in rows.iter().filter_map(acknowledged_number) {
            known.entry(number).or_insert_with(Instant::now);
        }
        before = rows.first().and_then(|row| row["position"].as_u64());
        // Further back all is known already.
        if before.is_none() || known.len() as u64 >= goal || known.len() == before_page {
            return Ok(());
        }
    }
}

fn page(node: &mut Node, conversation: &str, query: &str) -> Result<Vec<Value>> {
    let path = format!("/conversations/{conversation}/messages?limit=200&{query}");
    let path = path.trim_end_matches('&').to_owned();
    let answer = node.get(&path)?;
    answer["messages"].as_array().cloned().context("a page without messages")
}

fn number_of(row: &Value) -> Option<u64> {
    row["content"]["text"].as_str()?.strip_prefix(PREFIX)?.parse().ok()
}

/// The number of an own message that the other side has.
fn acknowledged_number(row: &Value) -> Option<u64> {
    let state = row["delivery"].as_str()?;
    matches!(state, "delivered" | "delivered_all" | "read").then(|| number_of(row)).flatten()
}

/// One sender: takes a number, and repeats it until it is accepted.
fn work(pool: &Pool, path: &str) {
    loop {
        let number = {
            let mut shared = pool.lock();
            loop {
                if shared.ended {
                    return;
                }
                if shared.next < shared.goal {
                    break;
                }
                shared = pool.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
            }
            shared.next += 1;
            let number = shared.next;
            shared.open.insert(number);
            number
        };
        let body = json!({"text": format!("{PREFIX}{number}"), "key": format!("soak-{number}")});
        let mut tried = 0;
        while let Some((start, clients)) = up(pool, tried) {
            tried = start;
            let client = clients.lock().ok().and_then(|mut clients| clients.pop());
            let Some(mut client) = client else { continue };
            // An idle connection may have been closed: a fresh one is tried once.
            let answer =
                client.send("POST", path, Some(&body)).or_else(|_| client.send("POST", path, Some(&body)));
            match answer {
                Ok(answer) if answer.status == 202 => {
                    if let Ok(mut clients) = clients.lock() {
                        clients.push(client);
                    }
                    let mut shared = pool.lock();
                    shared.open.remove(&number);
                    shared.accepted.insert(number);
                    break;
                }
                // The process is down, or back, with another token and still
                // locked: wait for the clients of its next start.
                Err(_) => {}
                Ok(answer) if answer.status >= 500 || [401, 423].contains(&answer.status) => {}
                Ok(answer) => {
                    pool.lock().broken = Some(format!("{}: {}", answer.status, answer.body));
                    pool.changed.notify_all();
                    return;
                }
            }
        }
        pool.changed.notify_all();
    }
}

/// The running sender's clients, once it was started more often than `tried`
/// says (0: any start will do).
fn up(pool: &Pool, tried: u64) -> Option<(u64, Arc<Mutex<Vec<Client>>>)> {
    let mut shared = pool.lock();
    loop {
        if shared.ended {
            return None;
        }
        if let Some((start, clients)) = &shared.sender
            && *start > tried
        {
            return Some((*start, Arc::clone(clients)));
        }
        shared = pool.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
    }
}
