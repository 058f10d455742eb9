//! The fetching of a file against sources in virtual time.

use kith_wire::limits::BLOB_CHUNK_BYTES;
use proptest::prelude::*;

use super::*;

/// A source: how long a chunk takes it, and what it does wrong.
#[derive(Debug, Clone)]
struct Fake {
    class: Class,
    chunk_ms: u64,
    holds: Vec<u8>,
    lies: bool,
    dies_after: Option<u64>,
    queue: Vec<(u64, Spot)>,
    free_at: u64,
    gave: u64,
}

impl Fake {
    fn new(chunk_ms: u64) -> Self {
        Self {
            class: Class::Device,
            chunk_ms,
            holds: Vec::new(),
            lies: false,
            dies_after: None,
            queue: Vec::new(),
            free_at: 0,
            gave: 0,
        }
    }
}

struct Outcome {
    took_ms: u64,
    fetched: BTreeMap<Spot, u64>,
    wasted: u64,
    parted: Vec<(SourceId, Why)>,
}

/// Runs until the file is here, or for at most `limit_ms`.
fn run(tree: &Tree, has: &BTreeSet<Spot>, mut fakes: Vec<Fake>, limit_ms: u64) -> (Fetch, Outcome) {
    let mut fetch = Fetch::new(tree.clone(), |spot| has.contains(&spot));
    for (id, fake) in fakes.iter().enumerate() {
        assert!(fetch.join(0, id as u64, fake.class, &fake.holds));
    }
    let mut out = Outcome { took_ms: 0, fetched: BTreeMap::new(), wasted: 0, parted: Vec::new() };
    let mut now = 0;
    while !fetch.done() && now < limit_ms {
        while let Some(step) = fetch.poll(now) {
            match step {
                Step::Get { source, spot } => {
                    let fake = &mut fakes[source as usize];
                    if fake.dies_after.is_some_and(|n| fake.gave + fake.queue.len() as u64 >= n) {
                        continue;
                    }
                    fake.free_at = fake.free_at.max(now) + fake.chunk_ms;
                    fake.queue.push((fake.free_at, spot));
                }
                Step::Refresh { source } => {
                    let holds = fakes[source as usize].holds.clone();
                    fetch.join(now, source, Class::Device, &holds);
                }
                Step::Part { source, why } => {
                    fakes[source as usize].queue.clear();
                    out.parted.push((source, why));
                }
            }
        }
        let next = fakes.iter().flat_map(|f| f.queue.iter().map(|(at, _)| *at)).chain(fetch.next_due()).min();
        now = next.unwrap_or(limit_ms).max(now + u64::from(next.is_none()));
        for (id, fake) in fakes.iter_mut().enumerate() {
            let due: Vec<Spot> = fake.queue.iter().filter(|(at, _)| *at <= now).map(|(_, s)| *s).collect();
            fake.queue.retain(|(at, _)| *at > now);
            for spot in due {
                fake.gave += 1;
                if fake.lies && fake.gave > 3 {
                    out.parted.push((id as u64, Why::Lied));
                    fetch.lied(id as u64);
                    fake.queue.clear();
                    break;
                }
                if spot.level == 0 && !Bits::from_bytes(&fake.holds, tree.data_chunks()).get(spot.index) {
                    fetch.lacks(now, id as u64, spot);
                } else if fetch.arrived(now, id as u64, spot) {
                    *out.fetched.entry(spot).or_default() += 1;
                } else {
                    out.wasted += 1;
                }
            }
        }
        // A deadline that stays in the past would hang a driver.
        now += u64::from(fetch.next_due().is_some_and(|at| at <= now));
    }
    out.took_ms = now;
    (fetch, out)
}

fn tree(chunks: u64) -> Tree {
    Tree::of(chunks * BLOB_CHUNK_BYTES as u64).unwrap()
}

fn all(tree: &Tree) -> BTreeSet<Spot> {
    (0..tree.chunks()).filter_map(|n| tree.spot(n)).collect()
}

const NONE: BTreeSet<Spot> = BTreeSet::new();

#[test]
fn one_source_brings_each_chunk_once_and_lists_first() {
    for chunks in [1, 2, 500] {
        let tree = tree(chunks);
        let (fetch, out) = run(&tree, &NONE, vec![Fake::new(5)], 1_000_000);
        assert!(fetch.done(), "{chunks}");
        assert_eq!(out.fetched.len() as u64, tree.chunks());
        assert_eq!((out.wasted, out.parted.len()), (0, 0));
        assert!(out.fetched.values().all(|n| *n == 1));
    }
}

#[test]
fn what_is_here_is_not_fetched_again() {
    let tree = tree(300);
    let has: BTreeSet<Spot> = all(&tree).into_iter().filter(|s| s.index % 3 != 1).collect();
    let (fetch, out) = run(&tree, &has, vec![Fake::new(5), Fake::new(9)], 1_000_000);
    assert!(fetch.done());
    assert!(out.fetched.keys().all(|spot| !has.contains(spot)));
    assert_eq!(out.fetched.len(), all(&tree).len() - has.len());
}

#[test]
fn three_equal_sources_are_nearly_three_times_as_fast() {
    let tree = tree(600);
    let one = run(&tree, &NONE, vec![Fake::new(52)], 10_000_000).1.took_ms;
    let three = run(&tree, &NONE, vec![Fake::new(52), Fake::new(52), Fake::new(52)], 10_000_000).1;
    assert!(three.took_ms * 27 <= one * 10, "{} of {one}", three.took_ms);
    assert!(three.wasted <= 6, "{}", three.wasted);
}

#[test]
fn a_liar_costs_little_and_is_parted_with() {
    let tree = tree(600);
    let honest = run(&tree, &NONE, vec![Fake::new(20), Fake::new(20)], 10_000_000).1.took_ms;
    let liar = Fake { lies: true, ..Fake::new(20) };
    let (fetch, out) = run(&tree, &NONE, vec![Fake::new(20), liar, Fake::new(20)], 10_000_000);
    assert!(fetch.done());
    assert_eq!(out.parted, [(1, Why::Lied)]);
    assert!(out.took_ms * 100 <= honest * 105, "{} of {honest}", out.took_ms);
}

#[test]
fn a_slow_source_does_not_hold_up_the_end() {
    let tree = tree(400);
    let (fetch, out) = run(&tree, &NONE, vec![Fake::new(10), Fake::new(4_000)], 10_000_000);
    assert!(fetch.done());
    assert!(out.took_ms < 10_000, "{}", out.took_ms);
    assert!(out.wasted <= 8, "{}", out.wasted);
}

#[test]
fn a_source_that_stalls_is_parted_with_and_the_others_finish() {
    let tree = tree(200);
    let dead = Fake { dies_after: Some(20), ..Fake::new(10) };
    let (fetch, out) = run(&tree, &NONE, vec![dead.clone(), Fake::new(30)], 10_000_000);
    assert!(fetch.done());
    assert_eq!(out.fetched.len() as u64, tree.chunks());
    let (fetch, out) = run(&tree, &NONE, vec![dead], 60_000);
    assert!(!fetch.done());
    assert_eq!(out.parted, [(0, Why::Stalled)]);
    assert_eq!(fetch.sources(), (0, 0));
}

#[test]
fn relays_are_used_only_when_no_device_has_what_is_missing() {
    let tree = tree(64);
    let relay = Fake { class: Class::Relay, ..Fake::new(10) };
    let (_, out) = run(&tree, &NONE, vec![Fake::new(20), relay.clone()], 1_000_000);
    assert_eq!(out.took_ms, (tree.chunks()) * 20, "the device brought all of it");
    let (fetch, out) = run(&tree, &NONE, vec![relay.clone()], 1_000_000);
    assert!(fetch.done());
    assert_eq!(out.wasted, 0);
    // A device that has the first half only.
    let half = Fake { holds: [vec![0xff; 4], vec![0; 4]].concat(), ..Fake::new(1) };
    let (fetch, _) = run(&tree, &NONE, vec![half, relay], 1_000_000);
    assert!(fetch.done());
}

#[test]
fn reading_in_the_middle_fetches_from_there() {
    let tree = tree(1_000);
    let mut fetch = Fetch::new(tree.clone(), |_| false);
    fetch.join(0, 1, Class::Device, &[]);
    fetch.focus(700);
    assert_eq!(fetch.poll(0), Some(Step::Get { source: 1, spot: tree.top() }));
    assert_eq!(fetch.poll(0), None, "nothing is named yet");
    assert!(fetch.arrived(1, 1, tree.top()));
    assert_eq!(fetch.poll(1), Some(Step::Get { source: 1, spot: Spot::data(700) }));
    fetch.focus(10);
    assert_eq!(fetch.poll(1), Some(Step::Get { source: 1, spot: Spot::data(10) }));
    fetch.focus(u64::MAX);
    assert_eq!(fetch.poll(1), Some(Step::Get { source: 1, spot: Spot::data(999) }));
    assert_eq!(fetch.poll(1), Some(Step::Get { source: 1, spot: Spot::data(0) }));
}

#[test]
fn what_nobody_asked_for_is_not_kept() {
    let tree = tree(10);
    let mut fetch = Fetch::new(tree.clone(), |_| false);
    fetch.join(0, 1, Class::Device, &[]);
    assert!(!fetch.arrived(0, 1, Spot::data(3)));
    assert!(!fetch.arrived(0, 9, tree.top()));
    fetch.lacks(0, 9, tree.top());
    fetch.leave(9);
    assert!(!fetch.done());
    for id in 0..100 {
        fetch.join(0, id, Class::Device, &[]);
    }
    assert_eq!(fetch.sources().0, SOURCES_MAX);
}

#[test]
fn a_damaged_chunk_is_fetched_again() {
    let mut fetch = Fetch::new(tree(4), |_| true);
    assert!(fetch.done());
    fetch.lost(Spot::data(2));
    fetch.lost(Spot::data(2));
    fetch.lost(Spot::data(99));
    fetch.join(0, 1, Class::Device, &[]);
    assert_eq!(fetch.poll(0), Some(Step::Get { source: 1, spot: Spot::data(2) }));
    assert!(fetch.arrived(0, 1, Spot::data(2)) && fetch.done());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever mix of sources: with one that has all of it and answers, the
    /// file comes, each chunk kept once, little fetched twice.
    #[test]
    fn any_mix_with_one_good_source_finishes(
        chunks in 1u64..400,
        good in 1u64..50,
        others in proptest::collection::vec((1u64..500, any::<bool>(), proptest::option::of(0u64..40), any::<u8>()), 0..5),
    ) {
        let tree = tree(chunks);
        let mut fakes = vec![Fake::new(good)];
        for (chunk_ms, lies, dies_after, holds) in others {
            fakes.push(Fake { lies, dies_after, holds: vec![holds; 50], ..Fake::new(chunk_ms) });
        }
        let (fetch, out) = run(&tree, &NONE, fakes, 100_000_000);
        prop_assert!(fetch.done());
        prop_assert_eq!(out.fetched.len() as u64, tree.chunks());
        prop_assert!(out.fetched.values().all(|n| *n == 1));
        prop_assert!(out.wasted <= 40, "{}", out.wasted);
    }
}
