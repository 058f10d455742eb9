//! How long one decision takes. Prints figures; asserts nothing about them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kith_rule::{Commit, History, Leaf, Mark, Rights, State, decide};
use kith_wire::group::{ConversationKind, Role, RoleEntry};
use kith_wire::ids::{AccountId, CommitId, DeviceId, GroupId, MarkId, StateId};

fn id(kind: u8, n: usize) -> [u8; 32] {
    let mut id = [0; 32];
    // Spread like hashes, so that lookups compare like real ones.
    let mixed = ((n as u64) << 8 | u64::from(kind)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    id[..8].copy_from_slice(&mixed.to_be_bytes());
    id[8..16].copy_from_slice(&(n as u64).to_be_bytes());
    id[16] = kind;
    id
}

/// A chain of `commits` by 64 voters who all mark each, with a rival at every
/// `rivals`-th state.
fn history(commits: usize, voters: usize, rivals: usize) -> History {
    let leaves: Vec<Leaf> = (0..voters)
        .map(|a| Leaf { index: a as u32, device: DeviceId(id(1, a)), account: AccountId(id(2, a)) })
        .collect();
    let rights = Rights { add: Role::Admin, remove: Role::Admin };
    let state = |n: usize, epoch: u64| {
        State::new(
            StateId(id(3, n)),
            epoch,
            ConversationKind::Group,
            rights,
            leaves.clone(),
            Arc::new(BTreeMap::from([(leaves[0].account, RoleEntry { role: Role::Owner, epoch: 0 })])),
        )
    };
    let mut h = History::new(GroupId(id(0, 0)), StateId(id(3, 0)));
    h.insert_state(state(0, 0));
    let mut mark_no = 0;
    for n in 1..=commits {
        let by = leaves[n % voters];
        let commit = |child: usize, by: Leaf| Commit {
            id: CommitId(id(4, child)),
            parent: StateId(id(3, n - 1)),
            child: StateId(id(3, child)),
            account: by.account,
            device: by.device,
            enacts: Vec::new(),
        };
        h.insert_state(state(n, n as u64));
        h.insert_commit(commit(n, by));
        if n % rivals == 0 {
            let rival = commits + n;
            h.insert_state(state(rival, n as u64));
            h.insert_commit(commit(rival, leaves[(n + 1) % voters]));
        }
        for l in &leaves {
            mark_no += 1;
            h.insert_mark(Mark {
                id: MarkId(id(5, mark_no)),
                device: l.device,
                n: n as u64,
                prev: (n > 1).then(|| id(5, mark_no - voters)),
                at: StateId(id(3, n)),
                acks: BTreeMap::new(),
                bad: BTreeSet::new(),
            });
        }
    }
    h
}

#[test]
#[ignore = "figures for the record; run with --release"]
#[expect(clippy::disallowed_methods, reason = "measures time")]
fn speed() {
    for (commits, voters, rivals) in [(1_024, 64, 16), (1_024, 64, 2_000), (1_024, 8, 16), (64, 64, 16)] {
        let h = history(commits, voters, rivals);
        let mut best = f64::MAX;
        for _ in 0..10 {
            let start = std::time::Instant::now();
            let d = decide(&h);
            best = best.min(start.elapsed().as_secs_f64());
            assert_eq!(d.map(|d| d.path.len()), Some(commits));
        }
        println!("decide_{commits}_commits_{voters}_voters_{}_forks: {:.2} ms", commits / rivals, best * 1e3);
    }
}
