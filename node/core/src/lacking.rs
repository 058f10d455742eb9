//! Members that lack what this device has said, and will not get it from the
//! topic where it was put: they were let in again after a fork, or a relay has
//! lost it. Who is linked gets it by sync; for the others it is encrypted
//! anew, for where the group stands now (groups.md 2.6).

use std::collections::{BTreeMap, BTreeSet};

use kith_mls::{EngineError, view};
use kith_wire::ids::{DeviceId, GroupId};

use crate::ctx::Ctx;
use crate::groups::Reject;
use crate::live::{Live, Timer};
use crate::saying;

/// Wait until a look, and the longest one; each is four times the last.
const LOOK_MS: (u64, u64) = (30_000, 3_600_000);
/// Between two portions.
const MORE_MS: u64 = 2_000;
/// Events said again at once.
const AT_ONCE: usize = 64;
/// Times that one event is said again, until the next start.
const TIMES_MAX: u8 = 3;
/// Events whose times are remembered for a group; beyond that none is said
/// again until the next start.
const TIMED_MAX: usize = 4_096;

/// Groups in which somebody lacks something.
#[derive(Debug, Default)]
pub(crate) struct Lacking(BTreeMap<GroupId, Group>);

#[derive(Debug)]
struct Group {
    wait_ms: u64,
    /// The mark number of each device that lacked something at the last look.
    spoke: BTreeMap<DeviceId, u64>,
    /// Times that each event was said again.
    times: BTreeMap<u64, u8>,
}

impl Default for Group {
    fn default() -> Self {
        Self { wait_ms: LOOK_MS.0, spoke: BTreeMap::new(), times: BTreeMap::new() }
    }
}

/// Something was said, or the group went on: look soon whether all have it.
pub(crate) fn watch(ctx: &Ctx<'_>, live: &mut Live, group: GroupId) {
    live.lacking.0.entry(group).or_default().wait_ms = LOOK_MS.0;
    live.at(ctx.now.mono_ms + LOOK_MS.0, Timer::Lacking(group));
}

/// Looks who lacks what, and says again what will not come by itself.
pub(crate) fn look(ctx: &mut Ctx<'_>, live: &mut Live, group: GroupId) -> Result<(), Reject> {
    let Ok(now) = view::group(&ctx.tx, group) else { return Ok(()) };
    let last = view::own_events(&ctx.tx, group)?;
    let mut late: BTreeSet<DeviceId> = BTreeSet::new();
    for (_, device, acked) in view::delivered(&ctx.tx, group)? {
        if acked < last && live.links.of_device(&device).is_none() {
            late.insert(device);
        }
    }
    if late.is_empty() || !now.me_in || now.behind {
        live.lacking.0.remove(&group);
        return Ok(());
    }
    let Some(mut of_group) = live.lacking.0.remove(&group) else { return Ok(()) };
    let before = ctx.now.wall_ms.saturating_sub(LOOK_MS.0);
    let lacked = view::lacked(&ctx.tx, group, &late, &of_group.spoke, before)?;
    let mut said = 0;
    for one in lacked {
        let times = of_group.times.get(&one.seq).copied().unwrap_or(0);
        if times >= TIMES_MAX || (times == 0 && of_group.times.len() >= TIMED_MAX) {
            continue;
        }
        if said >= AT_ONCE {
            break;
        }
        match saying::say_again(ctx, live, group, one.event) {
            Ok(None) => {}
            Ok(Some(may)) => {
                let bare = view::event_bytes(&ctx.tx, group, one.event)?;
                for (account, device) in one.by.iter().filter(|(_, d)| may.contains(d)) {
                    if crate::people::reach(&ctx.tx, device)?.is_some() {
                        crate::inbox::send(ctx, live, *account, *device, &bare)?;
                    }
                }
            }
            // Nobody may speak here now; looked at again later.
            Err(
                EngineError::Tainted
                | EngineError::NotMember
                | EngineError::NotHeard
                | EngineError::UnknownEvent,
            ) => break,
            Err(e) => return Err(e.into()),
        }
        of_group.times.insert(one.seq, times + 1);
        said += 1;
    }
    of_group.spoke.clear();
    for device in late {
        let marks = view::last_mark(&ctx.tx, group, device)?;
        of_group.spoke.insert(device, marks);
    }
    let wait = if said >= AT_ONCE { MORE_MS } else { of_group.wait_ms };
    of_group.wait_ms = of_group.wait_ms.saturating_mul(4).min(LOOK_MS.1);
    live.lacking.0.insert(group, of_group);
    live.at(ctx.now.mono_ms + wait, Timer::Lacking(group));
    Ok(())
}
